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

torchs = torch.nn.functional
SIZES = {1: (9,), 2: (7, 9), 3: (5, 7, 6)}
KERNELS = {1: [1, 2, 3], 2: [1, 3, (2, 3), (3, 1)], 3: [2, (1, 3, 2)]}
STRIDES = {1: [None, 1, 4], 2: [None, 1, (3, 2)], 3: [None, (2, 1, 4)]}
PADDINGS = {1: [0, 1], 2: [0, 1, (1, 0)], 3: [0, (0, 1, 1)]}
DILATIONS = {1: [1, 2, 3], 2: [1, (2, 1), 3], 3: [1, (1, 2, 3)]}
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


def whole(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randint(-9, 10, shape, generator=torch.Generator().manual_seed(1)).to(dtype)


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
    mine, other = both(f"max_pool{dims}d")
    x = whole(2, 3, *SIZES[dims])
    x[1, 2] = math.nan
    x[0, 1, ..., 3] = math.nan
    x[0, 0, ..., :4] = -math.inf
    small = whole(2, 3, *([2] * dims))
    for geometry in itertools.product(KERNELS[dims], STRIDES[dims], PADDINGS[dims], DILATIONS[dims], [False, True]):
        for image in (x, x[0], small):
            assert_same(lambda: mine(image, *geometry, indices), lambda: other(image, *geometry, indices), geometry)


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


def average_is_right(x: torch.Tensor, dims: int, arguments: tuple, got: torch.Tensor, expected: torch.Tensor) -> None:
    """Whether an average is within its bound of torch's in float64; and of torch's own, within twice it."""
    count = math.prod(arguments[0] if isinstance(arguments[0], tuple) else [arguments[0]] * dims)
    pool = getattr(torchs, f"avg_pool{dims}d")
    exact, magnitude = pool(x.double(), *arguments), pool(x.double().abs(), *arguments).abs()
    u = torch.finfo(torch.float64 if x.dtype == torch.float64 else torch.float32).eps / 2
    bound = gamma(count + 2, u) * magnitude
    if x.dtype in (torch.float16, torch.bfloat16):
        bound = bound + (exact.abs() + bound) * torch.finfo(x.dtype).eps / 2 + torch.finfo(x.dtype).smallest_normal
    assert (got.shape, got.dtype, got.stride()) == (expected.shape, expected.dtype, expected.stride()), arguments
    assert ((got.double() - exact).abs() <= bound).all(), arguments


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_average_in_every_geometry_dtype_and_layout(dims: int) -> None:
    mine, other = both(f"avg_pool{dims}d")
    divisors = [()] if dims == 1 else [(None,), (3,), (-2,)]
    options = list(itertools.product(KERNELS[dims], STRIDES[dims], PADDINGS[dims], [False, True], [False, True]))
    x = torch.randn(2, 3, *SIZES[dims], generator=torch.Generator().manual_seed(3))
    for option, divisor in itertools.product(options, divisors):
        arguments = (*option, *divisor)
        expected = outcome(lambda: other(x, *arguments))
        if refused(expected):
            assert outcome(lambda: mine(x, *arguments)) == expected, arguments
            continue
        for dtype in FLOATS:
            y = x.to(dtype)
            average_is_right(y, dims, arguments, mine(y, *arguments), expected[0].to(dtype))
        y = whole(2, 3, *SIZES[dims], dtype=torch.int64)
        assert_same(lambda: mine(y, *arguments), lambda: other(y, *arguments), arguments)
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
