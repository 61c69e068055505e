"""The operators at home in torch: both modes of differentiation, torch.func, vmap, compilers, tracers, autocast."""

import itertools
import warnings
from functools import partial

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

import miniconv.functional as F
import miniconv.nn as nn

# torch's own: its forward mode, inductor and trace build on torch.jit, which it calls deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

TORCH = torch.nn.functional
KINDS = {
    "conv2d": ({"stride": (2, 1), "padding": (1, 2), "groups": 2}, (6, 2, 3, 2)),
    "conv_transpose2d": ({"stride": (2, 1), "padding": (1, 0), "output_padding": (1, 0), "groups": 2}, (4, 3, 3, 2)),
}
kinds = pytest.mark.parametrize("op", KINDS)


def operands(op, batch=2, size=(5, 4)):
    generator = torch.Generator().manual_seed(3)
    shapes = ((batch, 4, *size), KINDS[op][1], (6,))
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]


def both(op):
    """The operator on x, w, b: ours and torch's."""
    return [partial(getattr(module, op), **KINDS[op][0]) for module in (F, TORCH)]


def scalar(function):
    """A function whose derivatives of every order depend on every operand."""
    return lambda x, w, b: (function(x.tanh(), w.sin(), b).tanh() ** 2).sum()


def assert_close(ours, theirs):
    for mine, torchs in zip(tree_leaves(ours), tree_leaves(theirs), strict=True):
        assert mine.shape == torchs.shape
        torch.testing.assert_close(mine, torchs, rtol=1e-10, atol=1e-10)


class Net(torch.nn.Module):
    def __init__(self, layers):
        super().__init__()
        torch.manual_seed(1)
        self.first = layers.Conv2d(4, 6, 3, padding="same", groups=2)
        self.second = layers.Conv2d(6, 8, (3, 2), stride=2, padding=1, bias=False)
        self.third = layers.ConvTranspose2d(8, 3, 3, stride=2, output_padding=1)

    def forward(self, x):
        return self.third(self.second(self.first(x).relu()).tanh())


# ---- differentiation ---------------------------------------------------------------------------------------------


@kinds
def test_both_modes_batched_and_second_order(op):
    leaves = [t.requires_grad_() for t in operands(op, batch=1, size=(3, 3))]
    function, _ = both(op)
    assert torch.autograd.gradcheck(
        function, leaves, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )
    assert torch.autograd.gradgradcheck(function, leaves, check_fwd_over_rev=True, check_batched_grad=True)


@kinds
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_tangent_on_one_argument_alone(op, which):
    tensors = operands(op)

    def derivative(function):
        with torch.autograd.forward_ad.dual_level():
            duals = list(tensors)
            duals[which] = torch.autograd.forward_ad.make_dual(tensors[which], tensors[which].cos())
            return tuple(torch.autograd.forward_ad.unpack_dual(function(*duals)))

    ours, theirs = map(derivative, both(op))
    assert_close(ours, theirs)


FUNC = {
    "grad": lambda f: torch.func.grad(f, (0, 1, 2)),
    "vjp": lambda f: lambda *t: torch.func.vjp(f, *t)[1](torch.ones((), dtype=torch.float64)),
    "jvp": lambda f: lambda *t: torch.func.jvp(f, t, tuple(x.cos() for x in t)),
    "jacrev of jacrev": lambda f: torch.func.jacrev(torch.func.jacrev(f, 1), 0),
    "jacfwd of jacfwd": lambda f: torch.func.jacfwd(torch.func.jacfwd(f, 1), 0),
    "jacrev of jacfwd": lambda f: torch.func.jacrev(torch.func.jacfwd(f, 2), 0),
    "hessian": lambda f: torch.func.hessian(f, (1,)),
    "per-sample": lambda f: torch.vmap(torch.func.grad(f, (0, 1, 2)), (0, None, None)),
}


@kinds
@pytest.mark.parametrize("transform", FUNC)
def test_torch_func(op, transform):
    ours, theirs = (FUNC[transform](scalar(function)) for function in both(op))
    tensors = operands(op, batch=2, size=(3, 3))
    assert_close(ours(*tensors), theirs(*tensors))


@kinds
@pytest.mark.parametrize("batched_image", [True, False])
def test_vmap_over_any_operand_and_axis(op, batched_image):
    base = operands(op)
    base[0] = base[0] if batched_image else base[0][0]
    ours, theirs = both(op)
    for in_dims in itertools.product((None, 0, 1, -1), repeat=3):
        if in_dims == (None, None, None):
            continue
        stacked = [t if dim is None else torch.stack([t, 2 * t + 1, -t], dim) for t, dim in zip(base, in_dims)]
        for out_dim in (0, 2):
            results = (torch.vmap(f, in_dims=in_dims, out_dims=out_dim)(*stacked) for f in (ours, theirs))
            assert_close(*results)


@kinds
def test_nested_vmap(op):
    x, w, b = operands(op)
    stacked = torch.stack([x, -x]), torch.stack([w, 2 * w, 3 * w]), torch.stack([b, b, -b])
    results = (torch.vmap(torch.vmap(f, in_dims=(0, None, None)), in_dims=(None, 0, 0))(*stacked) for f in both(op))
    assert_close(*results)


# ---- fake tensors and opcheck ------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("channels_last", [False, True])
def test_opcheck(op, channels_last):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x, w, b = (t.contiguous(memory_format=layout) if t.dim() == 4 else t for t in operands(op))
    output_padding = [1, 0] if op == "conv_transpose2d" else [0, 0]
    geometry = ([2, 1], [1, 0, 0, 1], [1, 1], output_padding, op == "conv_transpose2d", 2)
    operators = torch.ops.miniconv
    y = operators.convolution(x, w, b, *geometry)
    for operator, args in (
        (operators.convolution, (x, w, b)),
        (operators.convolution_input_grad, (y, w, x.shape[2:], channels_last)),
        (operators.convolution_weight_grad, (y, x, w.shape[2:], channels_last)),
    ):
        leaves = [a.detach().clone().requires_grad_() if isinstance(a, torch.Tensor) else a for a in args]
        torch.library.opcheck(operator.default, (*leaves, *geometry))


@kinds
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_meta_and_fake_tensors_have_the_real_shape_and_strides(op, layout):
    x, w, b = operands(op)
    for image in (x.contiguous(memory_format=layout), x[:0], x[0]):
        ours, _ = both(op)
        real = ours(image, w, b)
        meta = ours(*(t.to("meta") for t in (image, w, b)))
        with FakeTensorMode() as mode:
            fake = ours(*map(mode.from_tensor, (image, w, b)))
        for other in (meta, fake):
            assert (other.shape, other.stride(), other.dtype) == (real.shape, real.stride(), real.dtype)


# ---- compilers and tracers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_whole_with_dynamic_shapes(backend):
    torch._dynamo.reset()
    ours, theirs = Net(nn), Net(torch.nn)
    compiled = torch.compile(ours, fullgraph=True, dynamic=True, backend=backend)
    for shape in ((2, 4, 7, 6), (3, 4, 9, 8), (5, 4, 12, 11)):
        x = torch.randn(shape, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        compiled(x).square().mean().backward()
        theirs(y).square().mean().backward()
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-5)
        for mine, torchs in zip(ours.parameters(), theirs.parameters()):
            torch.testing.assert_close(mine.grad, torchs.grad, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), theirs(y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strict", [False, True])
def test_export_with_dynamic_shapes(strict):
    net = Net(nn)
    sizes = {0: torch.export.Dim("n", min=2, max=9), 2: torch.export.Dim("height", min=4, max=99)}
    program = torch.export.export(net, (torch.randn(2, 4, 7, 6),), dynamic_shapes=(sizes,), strict=strict)
    x = torch.randn(3, 4, 9, 6)
    torch.testing.assert_close(program.module()(x), net(x))


def test_make_fx_symbolic_of_a_gradient():
    net = Net(nn).double()
    gradient = torch.func.grad(lambda x: net(x).square().sum())
    trace = make_fx(gradient, tracing_mode="symbolic", _allow_non_fake_inputs=True)
    traced = trace(torch.randn(2, 4, 7, 6, dtype=torch.float64))
    x = torch.randn(3, 4, 9, 8, dtype=torch.float64)
    assert_close(traced(x), gradient(x))


def test_jit_trace_follows_the_sizes():
    net = Net(nn)
    traced = torch.jit.trace(net, torch.randn(2, 4, 7, 6))
    x = torch.randn(3, 4, 9, 8)
    torch.testing.assert_close(traced(x), net(x))


def test_fx_sees_one_node_a_convolution():
    net = Net(nn)
    graph = torch.fx.symbolic_trace(net)
    names = [node.target.__name__ for node in graph.graph.nodes if node.op == "call_function"]
    assert names == ["conv2d", "conv2d", "conv_transpose2d"]
    x = torch.randn(2, 4, 7, 6)
    assert torch.equal(graph(x), net(x))


# ---- subclasses, autocast, states --------------------------------------------------------------------------------


class Named(torch.Tensor):
    pass


class Seen(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.functions = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.functions.append(func)
        return func(*args, **(kwargs or {}))


@kinds
def test_subclasses_and_function_modes(op):
    x, w, b = operands(op)
    function, _ = both(op)
    assert type(function(x.as_subclass(Named), w, b)) is Named
    assert type(function(x, torch.nn.Parameter(w), b)) is torch.Tensor
    with Seen() as seen:
        function(x, w, b)
    assert getattr(F, op) in seen.functions
    assert getattr(TORCH, op) not in seen.functions


def test_autocast_lowers_what_torch_lowers():
    outcomes = []
    for module in (F, TORCH):
        x, w, b = (t.float() for t in operands("conv2d"))
        w.requires_grad_()
        with torch.autocast("cpu"):
            low = module.conv2d(x, w, b, groups=2)
            double = module.conv2d(x.double(), w.double(), groups=2)
            mixed = module.conv2d(x, w.bfloat16(), groups=2)
        low.sum().backward()
        assert w.grad.dtype == torch.float32
        outcomes.append((low.dtype, double.dtype, mixed.dtype))
    assert outcomes[0] == outcomes[1] == (torch.bfloat16, torch.float64, torch.bfloat16)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(reentrant):
    net, grads = Net(nn), []
    for run in (net, lambda x: checkpoint(net, x, use_reentrant=reentrant)):
        x = torch.ones(2, 4, 7, 6, requires_grad=True)
        run(x).sum().backward()
        grads.append(x.grad)
    assert torch.equal(*grads)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("layout", ["to_sparse", "to_mkldnn"])
def test_other_layouts_are_refused(layout, requires_grad):
    x, w, _ = (t.float() for t in operands("conv2d"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = getattr(x, layout)()
    with pytest.raises(RuntimeError, match="miniconv convolves dense tensors, but got input with layout"):
        F.conv2d(x, w.requires_grad_(requires_grad), groups=2)


def test_an_operator_checks_what_it_is_given():
    geometry = ([1], [0, 0], [1], [0], False, 1)
    with pytest.raises(RuntimeError, match=r"Expected grad_output of size \[1, 3, 4\] and dtype float32, but got"):
        torch.ops.miniconv.convolution_input_grad(torch.ones(1, 3, 5), torch.ones(3, 2, 2), [5], False, *geometry)
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        torch.ops.miniconv.convolution(torch.ones(1, 2, 3), torch.ones(3, 2, 4), None, *geometry)
