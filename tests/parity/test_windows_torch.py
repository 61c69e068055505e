"""Pooling, pad, unfold and fold at home in torch: transforms, compilers, meta tensors, autocast, overrides."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch

import miniconv.functional as F

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    # torch has no batching rule of its own for the gradient of Tensor.unfold
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
]

TORCH = torch.nn.functional
SIZES = {1: (9,), 2: (7, 8), 3: (4, 5, 6)}
SIDES = {1: (1, 2), 2: (1, 2, 2, 1), 3: (1, 2, 2, 1, 0, 1)}
MODES = ["constant", "reflect", "replicate", "circular"]


def calls() -> dict[str, tuple[int, Callable[[Any, torch.Tensor], Any]]]:
    """Each with its number of axes, and what a user writes with ``F`` being miniconv's or torch's."""
    made: dict[str, tuple[int, Callable[[Any, torch.Tensor], Any]]] = {
        "unfold": (2, lambda m, x: m.unfold(x, (3, 2), (1, 2), (1, 0), (2, 1))),
        "fold": (2, lambda m, x: m.fold(x.flatten(-3)[..., :24].unflatten(-1, (4, 6)), (3, 4), 2)),
        "avg_pool2d with a divisor": (2, lambda m, x: m.avg_pool2d(x, 3, 2, divisor_override=4)),
    }
    for dims in (1, 2, 3):
        for mode in MODES:
            made[f"pad {mode} {dims}d"] = dims, lambda m, x, d=dims, mode=mode: m.pad(x, SIDES[d], mode)
        made[f"pad crop {dims}d"] = dims, lambda m, x, d=dims: m.pad(x, (2, -1) * d, value=2.5)
        for op, options in {
            "max": (3, 2, 1),
            "max dilated": (2, 2, 1, 2, True),
            "avg": (3, 2, 1),
            "avg uncounted": (3, 2, 1, True, False),
        }.items():
            name = f"{op[:3]}_pool{dims}d"
            made[f"{op} {dims}d"] = dims, lambda m, x, name=name, options=options: getattr(m, name)(x, *options)
    return made


CALLS = calls()
each = pytest.mark.parametrize("name", CALLS)


def both(name: str) -> tuple[Callable[..., Any], Callable[..., Any], torch.Tensor]:
    """The call with miniconv's function and with torch's, and an input of which no two numbers are equal."""
    dims, call = CALLS[name]
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, *SIZES[dims], generator=generator, dtype=torch.float64)
    return (lambda x: call(F, x)), (lambda x: call(TORCH, x)), x


def assert_close(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def total(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: function(x).square().sum()


@each
def test_torch_func(name: str) -> None:
    ours, theirs, x = both(name)
    tangent = x.flip(-1)
    func = torch.func
    transforms: list[Callable[[Callable[..., Any]], Any]] = [
        lambda f: func.jvp(f, (x,), (tangent,)),
        lambda f: func.grad(total(f))(x),
        lambda f: func.jvp(func.grad(total(f)), (x,), (tangent,)),
        lambda f: func.vjp(f, x)[1](f(x)),
        lambda f: func.jacrev(f)(x[:1, :1]) if name != "fold" else None,
        lambda f: func.jacfwd(f)(x[:1, :1]) if name != "fold" else None,
    ]
    for transform in transforms:
        assert_close(transform(ours), transform(theirs))


@each
def test_vmap(name: str) -> None:
    ours, theirs, x = both(name)
    many = torch.stack([x, -x, x.flip(0)])
    for axis in (0, 1, 2):
        given = many.movedim(0, axis)
        assert_close(torch.vmap(ours, axis, 1)(given), torch.vmap(theirs, axis, 1)(given))
    assert_close(torch.vmap(ours)(x), theirs(x))  # the batch is vmap's: unbatched inside
    assert_close(torch.vmap(torch.vmap(ours))(many), torch.vmap(torch.vmap(theirs))(many))
    gradients = [torch.vmap(torch.func.grad(total(f)))(x) for f in (ours, theirs)]
    assert_close(*gradients)


@each
def test_gradients_of_every_order_and_forward_mode(name: str) -> None:
    ours, _, x = both(name)
    leaf = x[:1, :2].clone().requires_grad_() if name != "fold" else x[:1].clone().requires_grad_()
    assert torch.autograd.gradcheck(ours, leaf, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(ours, leaf, check_fwd_over_rev=True, fast_mode=True)


STATIC = [
    "unfold",
    "fold",
    "pad constant 2d",
    "pad reflect 2d",
    "pad circular 1d",
    "max dilated 2d",
    "avg uncounted 2d",
]


@pytest.mark.parametrize(
    ("name", "dynamic"),
    [*((name, False) for name in STATIC), *((f"{op} 1d", True) for op in ("pad reflect", "max", "avg"))],
)
def test_compiled_whole(name: str, dynamic: bool) -> None:
    ours, theirs, x = both(name)
    torch._dynamo.reset()
    compiled = torch.compile(ours, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    inputs = [x, torch.cat([x, x[..., :2]], -1)] if dynamic else [x]
    for image in inputs:
        got, expected = compiled(image), theirs(image)
        assert_close(got, expected)
        assert got.stride() == expected.stride()
        gradients = []
        for function in (compiled, theirs):
            leaf = image.clone().requires_grad_()
            gradients += torch.autograd.grad(total(function)(leaf), leaf)
        assert_close(*gradients)


@each
def test_meta_tensors_have_the_real_shape_and_strides(name: str) -> None:
    """Ours are what ours really gives, which other tests hold against torch: torch's own meta strides differ."""
    ours, theirs, x = both(name)
    formats = [torch.contiguous_format, {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)]
    for dtype, form in itertools.product((torch.float32, torch.bfloat16, torch.float64), formats):
        image = x.to(dtype)
        image = image if form is None else image.contiguous(memory_format=form)
        for real in (image, image[0]):
            meta, got = ours(real.to("meta")), ours(real)
            assert meta.device.type == "meta"
            assert (meta.shape, meta.dtype, meta.stride()) == (got.shape, got.dtype, got.stride())
            torchs = theirs(real.to("meta"))
            assert (meta.shape, meta.dtype) == (torchs.shape, torchs.dtype)


@each
def test_autocast(name: str) -> None:
    ours, theirs, x = both(name)
    for low, dtype in itertools.product(
        (torch.bfloat16, torch.float16), (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    ):
        with torch.autocast("cpu", dtype=low):
            assert ours(x.to(dtype)).dtype == theirs(x.to(dtype)).dtype


def test_autocast_leaves_a_maximum_with_places() -> None:
    x = torch.randn(2, 3, 4, 5, 6, dtype=torch.bfloat16)
    with torch.autocast("cpu"):
        for module in (F, TORCH):
            assert module.max_pool3d(x, 2, return_indices=True)[0].dtype is torch.bfloat16


class Plain(torch.Tensor):
    """A subclass that keeps torch's ways."""


class Logged(torch.Tensor):
    """A subclass that writes down what it is handed to."""

    seen: ClassVar[list[str]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.seen.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})


class Mode(torch.overrides.TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


@each
def test_subclasses_and_function_modes(name: str) -> None:
    ours, theirs, x = both(name)
    assert type(ours(x.as_subclass(Plain))) is Plain
    firsts = []
    for function in (ours, theirs):
        Logged.seen.clear()
        out = function(x.as_subclass(Logged))
        assert type(out) is Logged
        # fold's call prepares its input by operations of its own
        firsts.append([word for word in Logged.seen if word not in ("flatten", "__getitem__", "unflatten")][:1])
    assert firsts[0] == firsts[1]
    with Mode() as mode:
        out = ours(x)
    own = [func for func in mode.seen if getattr(func, "__module__", "").startswith("miniconv.functional")]
    assert len(own) == 1  # the call as a whole, and nothing of what it is made of
    assert own[0] is getattr(F, firsts[0][0])
    assert_close(out, theirs(x))


def test_a_mode_may_answer_in_its_place() -> None:
    class Answer(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return (func.__name__, args[1:], kwargs)

    with Answer():
        assert F.pad(torch.ones(1, 2), (1, 1), value=2.0) == ("pad", ((1, 1),), {"value": 2.0})
        assert F.max_pool2d(torch.ones(1, 2, 2), 2, return_indices=True) == (
            "max_pool2d",
            (2,),
            {"return_indices": True},
        )


def test_torch_fx_sees_one_node_a_call() -> None:
    def net(x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(F.max_pool2d(F.pad(x, (1, 2, 1, 0), mode="reflect"), 2), 2)

    traced = torch.fx.symbolic_trace(net)
    targets = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    assert targets == [F.pad, F.max_pool2d, F.avg_pool2d]
    x = torch.randn(2, 3, 8, 9)
    assert torch.equal(traced(x), net(x))


@pytest.mark.parametrize("name", STATIC)
def test_export(name: str) -> None:
    ours, theirs, x = both(name)

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return ours(x)

    assert_close(torch.export.export(Net(), (x,)).module()(x), theirs(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True, return_indices=True)[1],
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        lambda x: F.max_pool1d(x[0], 3, 2, 1, 2),
        lambda x: F.avg_pool3d(x[None], 2, ceil_mode=True),
        lambda x: F.fold(F.unfold(x, 2), (8, 9), 2),
        lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect"),
    ],
)
def test_a_trace_repeats_what_it_saw(call):
    x = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(1))
    traced = torch.jit.trace(call, x)
    other = x.flip(0) * 2
    assert torch.equal(traced(other), call(other))
