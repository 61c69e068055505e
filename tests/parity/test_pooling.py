"""Pooling against torch's.

Facts of torch 2.13 that these cases hold: NaN wins, the last one of a window; ``max_pool1d`` without indices has a
kernel and texts of its own and gives a contiguous result, unless autograd records; ``avg_pool3d`` forgets
channels_last, wants an input as large as its kernel whatever the padding, and refuses float16; int64 averages are cut
towards zero; a window of padding alone gives -inf, or the lowest integer, and a place outside of the input; padding is
checked twice, once with the dilation and once without; the maximum of a volume in channels_last refuses small integers.
"""

# ruff: noqa: B023 - the functions made in loops are called at once
from __future__ import annotations

import copy
import itertools
import math
import pickle
import re
import sys
from pathlib import Path

import pytest
import torch

import miniconv.nn as nn
from miniconv import functional as F
from miniconv.parity.bounds import gamma

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and same.py is no test
from same import assert_same, outcome, refused
from window_checks import FLOATS, SIZES, average_in_every_geometry, average_is_right, maximum_in_every_geometry, whole

torchs = torch.nn.functional
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


def both(name: str):
    return getattr(F, name), getattr(torchs, name)


def layouts(x: torch.Tensor) -> list[torch.Tensor]:
    found = [
        x,
        x[0],
        x[:0],
        x.transpose(-1, 1).contiguous().transpose(-1, 1),
        x.transpose(-1, -2).contiguous().transpose(-1, -2),
        x[:1, :1],
    ]
    if x.ndim > 3:
        last = {4: torch.channels_last, 5: torch.channels_last_3d}[x.ndim]
        found += [
            x.contiguous(memory_format=last),
            x.contiguous(memory_format=last)[0],
            x[:, :1].clone(memory_format=last),
        ]
    return found


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("indices", [False, True])
def test_maximum_in_every_geometry(dims: int, indices: bool) -> None:
    maximum_in_every_geometry(getattr(F, f"max_pool{dims}d"), dims, indices)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_maximum_in_every_dtype_and_layout(dims: int) -> None:
    mine, other = both(f"max_pool{dims}d")
    for dtype, indices in itertools.product([*FLOATS, *INTEGERS, torch.bool, torch.complex64], [False, True]):
        for x in layouts(whole(2, 3, *SIZES[dims], dtype=dtype)):
            expected = outcome(lambda: other(x, 2, None, 1, return_indices=indices))
            if dtype in (torch.bool, torch.complex64):  # its kernels' names differ, and an empty batch needs no kernel
                assert not x.numel() or expected[0] is NotImplementedError
                assert outcome(lambda: mine(x, 2, None, 1, return_indices=indices))[0] is NotImplementedError
                continue
            if dims == 3 and dtype in INTEGERS and refused(expected):  # and int8 for more than 127 numbers
                same = other(x.contiguous().int(), 2, None, 1, return_indices=True)
                got = mine(x, 2, None, 1, return_indices=True)
                assert got[0].dtype == dtype
                assert torch.equal(got[0].int(), same[0].int())
                assert torch.equal(got[1], same[1])
                continue
            if dims == 1 and not indices and dtype in INTEGERS:  # torch refuses these, with indices it does not
                assert torch.equal(mine(x, 2), other(x, 2, return_indices=True)[0])
                continue
            assert_same(
                lambda: mine(x, 2, None, 1, return_indices=indices),
                lambda: other(x, 2, None, 1, return_indices=indices),
                dtype,
            )
    for x in layouts(torch.randn(2, 3, *SIZES[dims])):
        recorded = x.detach().requires_grad_()
        assert_same(lambda: mine(recorded, 2).detach(), lambda: other(recorded, 2).detach(), dims)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_average_in_every_geometry_dtype_and_layout(dims: int) -> None:
    mine, other = both(f"avg_pool{dims}d")
    average_in_every_geometry(mine, dims)
    x = torch.randn(2, 3, *SIZES[dims], generator=torch.Generator().manual_seed(3))
    for y in layouts(x):
        average_is_right(y, dims, (2,), mine(y, 2), other(y, 2))
    for dtype in (torch.bool, torch.complex64):
        assert_same(lambda: mine(x.to(dtype), 2), lambda: other(x.to(dtype), 2), dtype)


ARGUMENTS = [
    {"kernel_size": k} for k in (0, -1, -5, 20, (), (2,), [2, 2], (2, 2, 2), (2, 2, 2, 2), 2.0, "a", None, True)
]
ARGUMENTS += [
    {"kernel_size": 2, name: value}
    for name, values in {
        "stride": (0, -1, (), [1, 1], (1, 1, 1), (1, 1, 1, 1), (0, 1), (0, 1, 1), 2.5),
        "padding": (-1, 2, 5, [1, 1], (1, 1, 1), (1, 1, 1, 1), (0, 2), None, 1.5),
        "dilation": (0, -1, [2, 2], (2, 2, 2), (2, 2, 2, 2), 20),
        "divisor_override": (0, 2.5, True),
    }.items()
    for value in values
]
ARGUMENTS += [{"kernel_size": 2, "padding": 2, "dilation": 3}, {"kernel_size": 1, "stride": 20, "ceil_mode": True}]


@pytest.mark.parametrize("name", ["max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"])
def test_what_torch_refuses(name: str) -> None:
    mine, other = both(name)
    dims, full = int(name[-2]), (2, 3, *SIZES[int(name[-2])])
    x = whole(*full)
    for arguments, indices in itertools.product(ARGUMENTS, [{}, {"return_indices": True}]):
        if (("dilation" in arguments or indices) and name[:3] == "avg") or (
            "divisor_override" in arguments and name in ("avg_pool1d", "max_pool1d", "max_pool2d", "max_pool3d")
        ):
            continue
        got, expected = (
            outcome(lambda: mine(x, **arguments, **indices)),
            outcome(lambda: other(x, **arguments, **indices)),
        )
        if refused(expected) and expected[0] is TypeError and name[:3] == "avg":
            # the builtin names a position only for what was not passed by name
            assert got[0] is TypeError
            assert re.sub(r" \(position \d\)", "", got[1]) == expected[1]
        elif refused(expected) or refused(got):
            assert got == expected, (arguments, indices)
        else:
            assert_same(lambda: got, lambda: expected, (arguments, indices))
    shapes = [
        full[2:],
        full[3:],
        (2, 0, *full[2:]),
        (*full[:2], 0, *full[3:]),
        (*full[:-1], 0),
        (1, *full),
        (0, *full[2:]),
        (3, 0, *full[3:]),
        (*full[:-1], 1),
    ]
    for shape, extra in itertools.product(shapes, [{}] if name[:3] == "avg" else [{}, {"return_indices": True}]):
        image = torch.ones(shape)
        assert_same(lambda: mine(image, 2, **extra), lambda: other(image, 2, **extra), (shape, extra))
    assert_same(lambda: mine([1], 2), lambda: other([1], 2), dims)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own forward mode
@pytest.mark.parametrize("name", ["max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"])
def test_gradients_of_every_order(name: str) -> None:
    mine, other = both(name)
    shape = (2, 2, *SIZES[int(name[-2])][:1], *([4] * (int(name[-2]) - 1)))
    x = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(4)).reshape(shape).double() / 10
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mine(x, 3, 2, 1), x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda x: mine(x, 3, 2, 1), x)
    ours, theirs = (torch.autograd.grad(f(x, 3, 2, 1, ceil_mode=True).square().sum(), x)[0] for f in (mine, other))
    assert torch.allclose(ours, theirs, rtol=1e-14, atol=1e-14)
    assert torch.equal(torch.func.vmap(lambda x: mine(x, 2))(x.detach()), mine(x.detach(), 2))


def test_modules() -> None:
    for dims in (1, 2, 3):
        x = torch.randn(2, 3, *SIZES[dims])
        for name, arguments in [
            ("Max", {"padding": 1, "ceil_mode": True}),
            ("Max", {"return_indices": True, "stride": 1}),
            ("Avg", {"padding": 1, "count_include_pad": False}),
            ("Avg", {"stride": 3}),
            *([("Avg", {"divisor_override": 3})] if dims > 1 else []),
        ]:
            own, other = (getattr(module, f"{name}Pool{dims}d") for module in (nn, torch.nn))
            mine, theirs = own(3, **arguments), other(3, **arguments)
            assert isinstance(mine, other)
            assert repr(mine) == repr(theirs)
            got, expected = (
                outcome(lambda: pickle.loads(pickle.dumps(copy.deepcopy(mine)))(x)),
                outcome(lambda: theirs(x)),
            )
            for a, b in zip(got, expected):
                assert torch.allclose(a, b, rtol=gamma(30, 2.0**-24), atol=gamma(30, 2.0**-24) * float(x.abs().max()))
