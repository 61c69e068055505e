"""unfold and fold against torch's.

Facts of torch 2.13 that these cases hold: columns are always contiguous, also of a channels_last image; a pair must
have two entries, a list of one is refused; an empty batch is allowed, zero channels and sizes are not; integers and
complex32 are refused, bool is taken (and folded with "or"); ``fold`` checks the number of columns before the size of
the grid.
"""

# ruff: noqa: B023 - the functions made in loops are called at once
from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import pytest
import torch

import miniconv.nn as nn
from miniconv import functional as F

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and same.py is no test
from same import assert_same, outcome, refused
from window_checks import fold_in_every_geometry, unfold_in_every_geometry, whole

torchs = torch.nn.functional


def test_unfold_and_fold_in_every_geometry() -> None:
    unfold_in_every_geometry(F.unfold)
    fold_in_every_geometry(F.fold)


DTYPES = ["bool", "float16", "bfloat16", "float32", "float64", "complex64", "complex128"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_layouts(dtype: str) -> None:
    x = whole(2, 3, 7, 9, dtype=getattr(torch, dtype))
    for image in (
        x,
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(2, 3),
        x[:, :, ::2],
        x[:1].expand(2, -1, -1, -1),
    ):
        assert_same(lambda: F.unfold(image, 2, 1, 1), lambda: torchs.unfold(image, 2, 1, 1), dtype)
    y = whole(2, 56, 12, dtype=x.dtype).transpose(1, 2)
    assert_same(lambda: F.fold(y, (8, 9), 2), lambda: torchs.fold(y, (8, 9), 2), dtype)


def test_small_floats_are_added_in_float32_and_rounded_once() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        y = torch.rand(1, 9, 25, generator=torch.Generator().manual_seed(2)).to(dtype)
        assert torch.equal(F.fold(y, (7, 7), 3), torchs.fold(y.double(), (7, 7), 3).float().to(dtype))


def test_integers_which_torch_refuses_are_taken() -> None:
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        x = whole(2, 3, 7, 9).to(dtype)
        assert torch.equal(F.unfold(x, 2), torchs.unfold(x.double(), 2).to(dtype))
        assert refused(outcome(lambda: torchs.unfold(x, 2)))


@pytest.mark.parametrize(
    "arguments",
    [{"kernel_size": k} for k in (0, -1, 9, (3, 4, 5), (2,), (), "a", 2.0, None, True, (2.0, 2), (2, 2.0))]
    + [
        {"kernel_size": 3, name: bad}
        for name in ("dilation", "padding", "stride")
        for bad in (0, -1, (1,), (1, 1, 1), 1.5)
    ]
    + [{"kernel_size": 20, "padding": 4}],
)
def test_arguments_that_torch_refuses(arguments: dict) -> None:
    x, y = whole(2, 3, 8, 9), whole(2, 12, 56)
    assert_same(lambda: F.unfold(x, **arguments), lambda: torchs.unfold(x, **arguments), arguments)
    assert_same(lambda: F.fold(y, (8, 9), **arguments), lambda: torchs.fold(y, (8, 9), **arguments), arguments)


def test_shapes_that_torch_refuses() -> None:
    for shape in [(8,), (8, 9), (2, 0, 8, 9), (2, 3, 0, 9), (1, 2, 3, 8, 9), (0, 8, 9), (3, 0, 9)]:
        assert_same(lambda: F.unfold(torch.ones(shape), 2), lambda: torchs.unfold(torch.ones(shape), 2), shape)
    for shape in [
        (12, 56),
        (0, 12, 56),
        (2, 0, 56),
        (2, 12, 0),
        (56,),
        (1, 2, 12, 56),
        (0, 56),
        (2, 11, 56),
        (2, 12, 55),
    ]:
        y = torch.ones(shape)
        assert_same(lambda: F.fold(y, (8, 9), 2), lambda: torchs.fold(y, (8, 9), 2), shape)
    for size in [8, (8, 10), (8,), (8, 9, 1), (1, 1), (0, 9), (-1, 9), (8.0, 9), (0, 0)]:
        for y in (torch.ones(2, 12, 56), torch.ones(1, 4, 1)):
            assert_same(lambda: F.fold(y, size, 2), lambda: torchs.fold(y, size, 2), size)


@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # torch's own forward mode uses it
def test_gradients_of_every_order() -> None:
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 12, 6, dtype=torch.float64, requires_grad=True)
    for call, operand in (
        (lambda x: F.unfold(x, (2, 3), 1, 1, 2), x),
        (lambda y: F.fold(y, (4, 5), (2, 3), 1, 1, (2, 3)), y[:, :, :6]),
    ):
        operand = operand.detach().requires_grad_()
        assert torch.autograd.gradcheck(call, operand, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(call, operand)
    assert torch.equal(torch.func.vmap(lambda x: F.unfold(x, 2))(x), F.unfold(x, 2))
    assert torch.equal(
        torch.func.vmap(lambda y: F.fold(y, (3, 4), (2, 3)))(y[..., :4]), F.fold(y[..., :4], (3, 4), (2, 3))
    )


def test_modules() -> None:
    x = whole(2, 3, 8, 9)
    for arguments in [((2, 3), 1, 1, 2), (2,), ((3, 2), (1, 2))]:
        mine, other = nn.Unfold(*arguments), torch.nn.Unfold(*arguments)
        assert isinstance(mine, torch.nn.Unfold)
        assert repr(mine) == repr(other)
        assert torch.equal(pickle.loads(pickle.dumps(copy.deepcopy(mine)))(x), other(x))
        back, torchs_back = nn.Fold((8, 9), *arguments), torch.nn.Fold((8, 9), *arguments)
        assert isinstance(back, torch.nn.Fold)
        assert repr(back) == repr(torchs_back)
        assert torch.equal(back(other(x)), torchs_back(other(x)))
