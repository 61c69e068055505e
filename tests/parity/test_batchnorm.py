"""BatchNorm1d to BatchNorm3d and their lazy forms against torch's: constructors, state, training, text, errors."""

from __future__ import annotations

import copy
import inspect
import itertools
import pickle
from typing import Any

import pytest
import torch

import miniconv.nn as nn

# torch's own: inductor scripts, and the tracer is deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")

torchs = torch.nn
SHAPES = {1: [(16, 3), (8, 3, 2)], 2: [(2, 3, 4, 8)], 3: [(2, 3, 2, 4, 8)]}
CASES = [(dims, shape) for dims, shapes in SHAPES.items() for shape in shapes]
OPTIONS = [
    {"eps": 3.0, "momentum": momentum, "affine": affine, "track_running_stats": tracked, "bias": bias}
    for momentum, affine, tracked, bias in itertools.product(
        [0.5, None, 0], [True, False], [True, False], [True, False]
    )
]
BLOCK = [-2, 0, 0, 2, 0, 0, 0, 0, -1, 1, 1, -1, -1, 1, -1, 1]  # mean 0, variance 1: with eps = 3 the deviation is 2


def batches(shape: tuple[int, ...], count: int = 4) -> list[torch.Tensor]:
    """Batches that need no rounding to be normalised; their means differ by powers of two."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for step in range(count):
        numbers = torch.tensor(BLOCK * (torch.Size(shape).numel() // 48), dtype=torch.float64)
        rows = [numbers[torch.randperm(len(numbers), generator=generator)] + 4 * step + c for c in range(3)]
        found.append(torch.stack(rows).reshape(3, shape[0], *shape[2:]).transpose(0, 1).contiguous())
    return found


def pair(name: str, *arguments: Any, **options: Any) -> list[Any]:
    return [getattr(source, name)(*arguments, **options) for source in (nn, torchs)]


def assert_equal_state(mine: Any, other: Any) -> None:
    ours, theirs = mine.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        # an unbiased variance may be rounded once more or less
        torch.testing.assert_close(value, theirs[name], rtol=2.0**-50 if name.endswith("var") else 0, atol=0)
    assert ours._metadata == theirs._metadata


@pytest.mark.parametrize(("dims", "shape"), CASES)
def test_training_and_evaluation_step_by_step(dims: int, shape: tuple[int, ...]) -> None:
    for options in OPTIONS:
        ours, theirs = pair(f"BatchNorm{dims}d", 3, **options, dtype=torch.float64)
        assert repr(ours) == repr(theirs)
        assert_equal_state(ours, theirs)
        for step, x in enumerate(batches(shape)):
            results = []
            for norm in (ours, theirs):
                norm.train(step != 3)
                leaf = x.clone().requires_grad_()
                out = norm(leaf)
                own = [p for p in norm.parameters()]
                grads = torch.autograd.grad(out, [leaf, *own], torch.ones_like(out).cumsum(0))
                results.append((out, *grads))
                with torch.no_grad():
                    for parameter, grad in zip(own, grads[1:]):
                        parameter -= grad.round() / 4
            exact = step != 3 or not options["track_running_stats"]
            for a, b in zip(*results):
                torch.testing.assert_close(a, b, rtol=0 if exact else 2.0**-46, atol=0 if exact else 2.0**-46)
            assert_equal_state(ours, theirs)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_what_a_module_is(dims: int) -> None:
    name = f"BatchNorm{dims}d"
    mine, other = getattr(nn, name), getattr(torchs, name)
    assert issubclass(mine, other)
    signatures = [list(inspect.signature(kind.__init__).parameters.values()) for kind in (mine, other)]
    assert [(p.name, p.default, p.kind) for p in signatures[0]] == [(p.name, p.default, p.kind) for p in signatures[1]]
    norm = mine(3, device="meta", dtype=torch.bfloat16)
    assert {x.device.type for x in (*norm.parameters(), *norm.buffers())} == {"meta"}
    assert [x.dtype for x in norm.buffers()] == [torch.bfloat16, torch.bfloat16, torch.int64]
    assert norm.double().weight.dtype == torch.float64
    assert list(mine(3).__dict__) == list(other(3).__dict__)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    mine(3)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.nn.utils.skip_init(mine, 3).weight.shape == (3,)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_state_crosses_over_both_ways(dims: int) -> None:
    ours, theirs = pair(f"BatchNorm{dims}d", 3)
    x = torch.randn(SHAPES[dims][0])
    theirs(x)
    ours.load_state_dict(theirs.state_dict())
    assert_equal_state(ours, theirs)
    ours(x)
    theirs.load_state_dict(ours.state_dict(), assign=True)
    assert theirs.num_batches_tracked == 2
    old = {name: value for name, value in ours.state_dict().items() if name != "num_batches_tracked"}
    fresh = getattr(nn, f"BatchNorm{dims}d")(3)
    fresh.load_state_dict(old)  # a checkpoint without metadata: from before the count was kept
    assert fresh.num_batches_tracked == 0
    texts = []
    for norm in pair(f"BatchNorm{dims}d", 4):
        with pytest.raises(RuntimeError) as caught:
            norm.load_state_dict(ours.state_dict())
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(copied) is type(ours)
        assert torch.equal(copied.eval()(x), copy.deepcopy(ours).eval()(x))
    ours.reset_parameters()
    assert_equal_state(ours, getattr(torchs, f"BatchNorm{dims}d")(3))


def test_buffers_that_are_no_longer_tracked_still_serve_in_evaluation() -> None:
    x = batches((2, 3, 4, 8))[1]
    for training in (True, False):
        found = []
        for norm in pair("BatchNorm2d", 3, eps=3.0, dtype=torch.float64):
            norm(x)
            norm.track_running_stats = False
            found.append((norm.train(training)(x + 8), *norm.buffers()))
        for a, b in zip(*found):
            torch.testing.assert_close(a, b, rtol=2.0**-46, atol=2.0**-46)


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"])
def test_errors_are_torchs(name: str) -> None:
    for shape in [
        (),
        (3,),
        (2, 3),
        (2, 3, 4),
        (2, 3, 4, 5),
        (2, 3, 4, 5, 6),
        (1, 3),
        (1, 3, 1, 1),
        (2, 0),
        (2, 4, 4, 5),
    ]:
        texts = []
        for norm in pair(name, 3):
            try:
                texts.append(norm(torch.ones(shape)).shape)
            except Exception as error:
                texts.append((type(error), str(error)))
        assert texts[0] == texts[1], shape


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_lazy(dims: int) -> None:
    for options in ({}, {"affine": False}, {"bias": False}, {"track_running_stats": False}, {"dtype": torch.float64}):
        ours, theirs = pair(f"LazyBatchNorm{dims}d", **options)
        assert type(ours) is getattr(nn, f"LazyBatchNorm{dims}d")
        x = torch.randn(SHAPES[dims][-1], dtype=options.get("dtype"))
        outputs = [norm(x) for norm in (ours, theirs)]
        torch.testing.assert_close(*outputs)
        assert type(ours) is getattr(nn, f"BatchNorm{dims}d")
        assert repr(ours) == repr(theirs)
        assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize(("dims", "shape"), [case for case in CASES if len(case[1]) > 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_and_its_batch_norm_fuse(dims: int, shape: tuple[int, ...], transposed: bool) -> None:
    """In float64, where 2**-40 leaves room for every rounding and for no wrong number."""
    conv = getattr(nn, f"Conv{'Transpose' if transposed else ''}{dims}d")(3, 5, 1, dtype=torch.float64)
    norm = getattr(nn, f"BatchNorm{dims}d")(5, dtype=torch.float64)
    x = torch.randn(shape, dtype=torch.float64)
    torch.nn.Sequential(conv, norm)(x).square().sum().backward()
    with torch.no_grad():
        norm.weight += 1.5
        norm.bias -= 0.5
    fused = torch.nn.utils.fuse_conv_bn_eval(conv.eval(), norm.eval(), transposed)
    assert type(fused) is type(conv)
    torch.testing.assert_close(fused(x), norm(conv(x)), rtol=2.0**-40, atol=2.0**-40)


def test_ensembles_under_vmap() -> None:
    """Each member keeps its own running statistics."""
    norms = [nn.BatchNorm2d(3, eps=3.0, momentum=0.5) for _ in range(4)]
    parameters, buffers = torch.func.stack_module_state(norms)
    x = torch.stack([batch.float() for batch in batches((2, 3, 4, 8))])
    call = lambda p, b, x: torch.func.functional_call(norms[0], (p, b), (x,))  # noqa: E731
    outs = torch.vmap(call)(parameters, buffers, x)
    for i, norm in enumerate(norms):
        assert torch.equal(outs[i], norm(x[i]))
        assert all(torch.equal(buffers[name][i], value) for name, value in norm.named_buffers())


def test_gradients_of_functional_calls() -> None:
    """torch counts batches by an in-place addition, which torch.func.grad refuses: in evaluation there is none."""
    x = batches((2, 3, 4, 8))[1].float()
    found = []
    for norm in pair("BatchNorm2d", 3, eps=3.0):
        call = lambda p: torch.func.functional_call(norm, p, (x,)).square().sum()  # noqa: B023, E731
        with pytest.raises(RuntimeError, match="mutate a captured Tensor") as caught:
            torch.func.grad(call)(dict(norm.named_parameters()))
        grads = torch.func.grad(call)(dict(norm.eval().named_parameters()))
        found.append((str(caught.value), *(grad.tolist() for grad in grads.values())))
    assert found[0] == found[1]


@pytest.mark.parametrize("training", [True, False])
def test_compiled_and_traced(training: bool) -> None:
    x = batches((2, 3, 4, 8))[1].float()
    torch.compiler.reset()
    norm = nn.BatchNorm2d(3, eps=3.0, momentum=0.5).train(training)
    compiled = copy.deepcopy(norm)
    assert torch.equal(torch.compile(compiled, fullgraph=True)(x), norm(x))
    assert_equal_state(compiled, norm)
    graph = torch.fx.symbolic_trace(torch.nn.Sequential(norm, torch.nn.ReLU()))
    assert [node.op for node in graph.graph.nodes] == ["placeholder", "call_module", "call_module", "output"]
    assert torch.equal(graph(x), norm(x).relu())
    with pytest.raises(RuntimeError, match=r"torch.jit.script cannot compile miniconv's BatchNorm2d"):
        norm.__prepare_scriptable__()


def test_traced_by_torch_jit() -> None:
    x = batches((2, 3, 4, 8))[1].float()
    norm = nn.BatchNorm2d(3, eps=3.0).eval()
    traced = torch.jit.trace(norm, x)
    for image in (x, x[:1, :, :2]):
        assert torch.equal(traced(image), norm(image))


def test_memory_formats_and_checkpointing() -> None:
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    norm = nn.BatchNorm2d(3)
    assert norm(x).is_contiguous(memory_format=torch.channels_last)
    leaf = x.clone().requires_grad_()
    out = torch.utils.checkpoint.checkpoint(norm, leaf, use_reentrant=False)
    (grad,) = torch.autograd.grad(out.square().mul(leaf).sum(), leaf)
    twin = x.clone().requires_grad_()
    assert torch.equal(grad, torch.autograd.grad(norm(twin).square().mul(twin).sum(), twin)[0])


def test_mixed_precision() -> None:
    """torch's usual mixture: float32 parameters under autocast, which hands a convolution's bfloat16 on."""
    net = torch.nn.Sequential(nn.Conv2d(3, 4, (1, 2)), nn.BatchNorm2d(4))
    with torch.autocast("cpu", torch.bfloat16):
        out = net(torch.randn(2, 3, 4, 5))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert net[1].weight.grad.dtype == net[1].running_mean.dtype == torch.float32
