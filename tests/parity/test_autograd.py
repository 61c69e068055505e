"""conv2d under autograd: any order, any operand, views and flags."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import miniconv.functional as F
from miniconv import torch_ops
from miniconv.problem import ConvProblem

OPTIONS = [
    {},
    {"stride": (2, 1), "padding": (1, 2)},
    {"padding": "same", "dilation": (1, 2)},
    {"groups": 2, "stride": (1, 3), "padding": (3, 0), "dilation": (2, 1)},
]


def operands(groups=1, dtype=torch.float64, batch=2):
    torch.manual_seed(1)
    shapes = ((batch, 2, 5, 4), (4, 2 // groups, 3, 2), (4,))
    return tuple(torch.randn(s, dtype=dtype, requires_grad=True) for s in shapes)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_of_first_and_second_order(options, dtype):
    tensors = operands(options.get("groups", 1), dtype)
    assert torch.autograd.gradcheck(lambda *t: F.conv2d(*t, **options), tensors)
    assert torch.autograd.gradgradcheck(lambda *t: F.conv2d(*t, **options), tensors)


def test_third_order_equals_torch():
    x, w, b = operands()

    def third(conv2d):
        y = conv2d(x, w, b, padding=1).tanh().square().sum()
        (g,) = torch.autograd.grad(y, w, create_graph=True)
        (h,) = torch.autograd.grad(g.square().sum(), x, create_graph=True)
        return torch.autograd.grad(h.square().sum(), (x, w))

    for ours, theirs in zip(third(F.conv2d), third(torch.nn.functional.conv2d)):
        assert float((ours - theirs).abs().max()) < 1e-12 * float(theirs.abs().max())


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("batch", ["", "n2 "])
def test_the_three_operators_are_closed(transposed, batch):
    """gradgradcheck of each operator by itself, ordinary and transposed."""
    text = "conv2d {}c4 o6 i5x7 k3x2 s2x1 p1x0 g2 float64"
    problem = ConvProblem.parse(text.format(batch))
    problem = problem.adjoint if transposed else problem
    x, w, g = (
        torch.randn(s, dtype=torch.float64, requires_grad=True)
        for s in (problem.input_shape, problem.weight_shape, problem.output_shape)
    )
    for operator, pair in (
        (torch_ops.convolution, (x, w)),
        (torch_ops.convolution_input_grad, (g, w)),
        (torch_ops.convolution_weight_grad, (g, x)),
    ):
        assert torch.autograd.gradgradcheck(lambda *t, op=operator: op(problem, *t), pair)


class CalledOperators(TorchDispatchMode):
    """Notes miniconv's operators as they are called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "miniconv":
            self.names.append(func._opname)
        return func(*args, **(kwargs or {}))


def test_only_what_is_asked_for_is_computed():
    x, w, b = operands()
    y = F.conv2d(x.detach(), w, b).sum()
    with CalledOperators() as called:
        y.backward()
    assert called.names == ["convolution_weight_grad"]
    assert b.grad is not None


def test_no_graph_where_none_is_recorded():
    x, w, b = operands()
    with torch.no_grad():
        assert F.conv2d(x, w, b).grad_fn is None
    assert F.conv2d(x.detach(), w.detach()).grad_fn is None
    assert not F.conv2d(x.detach(), w.detach()).requires_grad
    with torch.inference_mode():
        assert F.conv2d(x, w, b).is_inference()


def test_hooks_retain_graph_and_accumulation():
    x, w, b = operands()
    seen = []
    w.register_hook(seen.append)
    y = F.conv2d(x, w, b).sum()
    y.backward(retain_graph=True)
    first = w.grad.clone()
    y.backward()
    assert len(seen) == 2
    assert torch.equal(w.grad, 2 * first)


def test_writing_into_a_saved_operand_is_noticed():
    x, w, b = operands()
    y = F.conv2d(x, w, b)
    with torch.no_grad():
        w.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("batch", [0, 1])
def test_empty_and_single_batches_have_gradients(batch):
    x, w, b = operands(batch=batch)
    F.conv2d(x, w, b).sum().backward()
    grads = [t.grad for t in (x, w, b)]
    x2, w2, b2 = operands(batch=batch)
    torch.nn.functional.conv2d(x2, w2, b2).sum().backward()
    for ours, theirs in zip(grads, (x2.grad, w2.grad, b2.grad)):
        assert ours.shape == theirs.shape
        assert torch.allclose(ours, theirs, rtol=1e-13, atol=1e-13)


def test_lazy_conjugate_and_negative_views():
    x, w = (t.detach() for t in operands(dtype=torch.complex128)[:2])
    expected = F.conv2d(x.conj().resolve_conj(), w)
    assert torch.equal(F.conv2d(x.conj(), w), expected)
    assert x.conj().is_conj()
    negative = x.conj().imag
    assert negative.is_neg()
    assert torch.equal(F.conv2d(negative, w.real), F.conv2d(-x.imag, w.real))


def test_a_parameter_and_a_plain_tensor_give_a_plain_tensor():
    x, w, _ = operands()
    y = F.conv2d(x, torch.nn.Parameter(w.detach()))
    assert type(y) is torch.Tensor
    y.sum().backward()


def test_the_result_is_fresh_memory():
    x, w = torch.ones(1, 1, 4, 5), torch.ones(1, 1, 1, 1)
    y = F.conv2d(x, w)
    y.add_(1)
    assert torch.equal(x, torch.ones(1, 1, 4, 5))
    assert y.untyped_storage().data_ptr() not in (x.untyped_storage().data_ptr(), w.untyped_storage().data_ptr())
