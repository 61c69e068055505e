"""Pooling, unfold, fold and pad held against torch's: checks of any function, so that wrong ones can be tried too."""

# ruff: noqa: B023 - the functions made in loops are called at once
from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from same import assert_same, outcome, refused

from miniconv.parity.bounds import gamma

torchs = torch.nn.functional
Function = Callable[..., Any]
SIZES = {1: (9,), 2: (7, 9), 3: (5, 7, 6)}
KERNELS = {1: [1, 2, 3], 2: [1, 3, (2, 3), (3, 1)], 3: [2, (1, 3, 2)]}
STRIDES = {1: [None, 1, 4], 2: [None, 1, (3, 2)], 3: [None, (2, 1, 4)]}
PADDINGS = {1: [0, 1], 2: [0, 1, (1, 0)], 3: [0, (0, 1, 1)]}
DILATIONS = {1: [1, 2, 3], 2: [1, (2, 1), 3], 3: [1, (1, 2, 3)]}
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
UNFOLDED = ([1, 3, (2, 3), (3, 1)], [1, (2, 1), (1, 3)], [0, 1, (2, 0)], [1, (2, 3), 3])
GEOMETRIES = list(itertools.product(*UNFOLDED))
IMAGES = [(2, 3, 7, 9), (3, 7, 9), (0, 3, 7, 9), (1, 1, 7, 9), (2, 3, 2, 9)]
MODES = ["constant", "reflect", "replicate", "circular"]
SIDES = [(0, 0), (1, 2), (3, 0), (-1, 2), (2, -1), (-1, -2), (4, 4)]
PADDED = {1: (9,), 2: (5, 7), 3: (5, 6, 7)}


def whole(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randint(-9, 10, shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def maximum_in_every_geometry(mine: Function, dims: int, indices: bool) -> None:
    """max_pool, with NaN, -inf and a small image, over the full product of its arguments."""
    other = getattr(torchs, f"max_pool{dims}d")
    x = whole(2, 3, *SIZES[dims])
    x[1, 2] = math.nan
    x[0, 1, ..., 3] = math.nan
    x[0, 0, ..., :4] = -math.inf
    small = whole(2, 3, *([2] * dims))
    for geometry in itertools.product(KERNELS[dims], STRIDES[dims], PADDINGS[dims], DILATIONS[dims], [False, True]):
        for image in (x, x[0], small):
            assert_same(lambda: mine(image, *geometry, indices), lambda: other(image, *geometry, indices), geometry)


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


def average_in_every_geometry(mine: Function, dims: int) -> None:
    """avg_pool in floating point and int64 over the full product of its arguments."""
    other = getattr(torchs, f"avg_pool{dims}d")
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


def unfold_in_every_geometry(unfold: Function) -> None:
    """unfold, over the full product of its arguments and several images."""
    for shape, geometry in itertools.product(IMAGES, GEOMETRIES):
        x = whole(*shape)
        assert_same(lambda: unfold(x, *geometry), lambda: torchs.unfold(x, *geometry), (shape, geometry))


def fold_in_every_geometry(fold: Function) -> None:
    """fold, over the full product of its arguments and several images."""
    for shape, geometry in itertools.product(IMAGES, GEOMETRIES):
        columns = outcome(lambda: torchs.unfold(whole(*shape), *geometry))
        if not refused(columns):
            y, size = whole(*columns[0].shape), shape[-2:]
            assert_same(lambda: fold(y, size, *geometry), lambda: torchs.fold(y, size, *geometry), (shape, geometry))


def pads_every_pair_of_sides(pad: Function, mode: str, dims: int) -> None:
    """pad in one mode: every pair of sides, negative ones too, on several images and layouts."""
    x = torch.arange(6.0 * math.prod(PADDED[dims])).reshape(2, 3, *PADDED[dims])
    images = [x, x[0], x[:0], x[:1, :1]]
    if dims > 1:
        images.append(x.transpose(-1, -2))
        images.append(x.contiguous(memory_format={2: torch.channels_last, 3: torch.channels_last_3d}[dims]))
    for pairs in itertools.product(SIDES, repeat=min(dims, 2)):
        sides = [side for pair in pairs for side in pair] + [1, 0] * (dims == 3)
        for image in images:
            assert_same(lambda: pad(image, sides, mode), lambda: torchs.pad(image, sides, mode), (sides, image.shape))


def pads_values(pad: Function) -> None:
    """pad with every kind of value."""
    x = torch.ones(2, 3, 4, 5)
    for mode, value in itertools.product(MODES, [None, 0.0, 1.5, "a", 1j]):
        if mode == "constant" or not isinstance(value, (str, complex)):
            assert_same(
                lambda: pad(x, (1, 1, 1, 1), mode, value), lambda: torchs.pad(x, (1, 1, 1, 1), mode, value), mode
            )
