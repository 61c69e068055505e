"""What a recorded call remembers of the one before it: nothing that would let a wrong call through."""

import pytest
import torch

import miniconv.functional as F
from miniconv.torch_ops import _call, _operators, _plain


def operands():
    generator = torch.Generator().manual_seed(3)
    shapes = ((2, 4, 7, 6), (6, 2, 3, 2), (6,))
    return [torch.randint(-3, 4, s, generator=generator).double().requires_grad_() for s in shapes]


OPTIONS = {"stride": (2, 1), "padding": 1, "dilation": (1, 2), "groups": 2}


@pytest.fixture(autouse=True)
def after_a_right_call():
    x, w, b = operands()
    F.conv2d(x, w, b, **OPTIONS)
    F.conv2d(x, w, **OPTIONS)


@pytest.mark.parametrize("change", [{"padding": 1.0}, {"padding": True}, {"stride": (2.0, 1)}, {"groups": 2.0}])
def test_a_float_does_not_find_an_integer(change):
    with pytest.raises(TypeError) as theirs:
        torch.nn.functional.conv2d(*operands(), **OPTIONS | change)
    with pytest.raises(TypeError) as ours:
        F.conv2d(*operands(), **OPTIONS | change)
    assert str(ours.value).splitlines()[0].split(" - ")[0] == str(theirs.value).splitlines()[0].split(" - ")[0]


def test_another_dtype_is_looked_at_again():
    x, w, b = operands()
    for wrong in ((x, w, b.float()), (x, w.float(), b), (x.float(), w, b)):
        with pytest.raises(RuntimeError):
            F.conv2d(*wrong, **OPTIONS)


def test_another_shape_is_looked_at_again():
    x, w, b = operands()
    assert (
        F.conv2d(x[:, :, :5], w, b, **OPTIONS).shape == torch.nn.functional.conv2d(x[:, :, :5], w, b, **OPTIONS).shape
    )
    for wrong in ((x[:, :3], w, b), (x, w, b[:5]), (x[0, 0], w, b)):
        with pytest.raises(RuntimeError):
            F.conv2d(*wrong, **OPTIONS)


def test_a_sparse_operand_is_refused():
    x, w, b = operands()
    for wrong in ((x.to_sparse(), w), (x, w.to_sparse()), (x, w, b.to_sparse())):
        with pytest.raises(RuntimeError, match="dense tensors"):
            F.conv2d(*wrong, **OPTIONS)


def test_same_padding_follows_the_sizes():
    x, w, _ = operands()
    for size in (7, 5, 6):
        got = F.conv2d(x[:, :, :size], w, padding="same", groups=2)
        assert torch.equal(got, F.conv2d(x[:, :, :size].detach(), w.detach(), padding="same", groups=2))


def test_channels_last_is_another_call():
    x, w, b = operands()
    assert F.conv2d(x, w, b, **OPTIONS).is_contiguous()
    assert F.conv2d(x.contiguous(memory_format=torch.channels_last), w, b, **OPTIONS).stride()[1] == 1
    assert F.conv2d(x, w, b, **OPTIONS).is_contiguous()


def test_a_view_that_is_negated_as_it_is_read():
    x, w, b = (t.detach() for t in operands())
    for neg in ((x.neg(), w), (x, w.neg()), (x, w, b.neg())):
        lazy = [torch._neg_view(-t) if t is not x and t is not w else t for t in neg]
        assert torch.equal(F.conv2d(*lazy, **OPTIONS), F.conv2d(*neg, **OPTIONS))
    wr = w.clone().requires_grad_()
    F.conv2d(x, wr, **OPTIONS).backward(torch._neg_view(torch.ones(2, 6, 4, 6, dtype=torch.float64)))
    (expected,) = torch.autograd.grad(F.conv2d(x, wr, **OPTIONS).sum(), wr)
    assert torch.equal(wr.grad, -expected)


def test_what_has_no_memory_here_is_not_known():
    look = _plain.looker_for()
    dense = torch.ones(2, 3)
    odd = [dense.to_sparse(), dense.to_mkldnn(), dense.to("meta"), torch.ones((1,) * 6), None]
    assert [look(dense, x) for x in odd] == [b""] * len(odd)
    assert torch.func.vmap(lambda x: len(look(x)) + x)(dense).equal(dense)
    seen = {look(dense), look(dense.double()), look(dense.T), look(dense[:1]), look(dense, dense), look(dense.int())}
    assert len(seen) == 6
    assert b"" not in seen


def test_saved_tensors_that_come_back_as_others_are_looked_at_again():
    x, w, _ = (t.detach() for t in operands())
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t.float())
    wr = w.clone().requires_grad_()
    with hooks:
        y = F.conv2d(x, wr, **OPTIONS)
    with pytest.raises(RuntimeError, match="expected scalar type Float but found Double"):
        y.sum().backward()


def test_memory_is_bounded(monkeypatch):
    kept = (_plain._known, _call._geometries, _operators._plans)
    for memory in kept:
        monkeypatch.setattr(memory, "most", 2)
        memory.clear()
    x, w, _ = operands()
    for padding in range(5):
        F.conv2d(x, w, padding=padding, groups=2)
        torch.func.grad(lambda x: F.conv2d(x, w, padding=padding, groups=2).sum())(x)  # noqa: B023
        assert all(1 <= len(memory) <= 2 for memory in kept)
