"""Pooling, unfold, fold and pad, each with one thing done wrong, and the check that has to notice."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from window_checks import (
    average_in_every_geometry,
    fold_in_every_geometry,
    maximum_in_every_geometry,
    pads_every_pair_of_sides,
    pads_values,
    unfold_in_every_geometry,
)

torchs = torch.nn.functional


class Window(NamedTuple):
    """A wrong function, torch's own, and the check that holds either against torch."""

    wrong: Callable[..., Any]
    right: Callable[..., Any]
    check: Callable[[Callable[..., Any]], None]


WINDOWS: dict[str, Window] = {}


def wrong(right: Callable[..., Any], check: Callable[..., None], *arguments: Any) -> Callable[..., Any]:
    """Registers a wrong function under its own name."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        WINDOWS[function.__name__] = Window(function, right, lambda target: check(target, *arguments))
        return function

    return register


maximum = functools.partial(wrong, torchs.max_pool2d, maximum_in_every_geometry, 2)
average = functools.partial(wrong, torchs.avg_pool2d, average_in_every_geometry, 2)
folding = functools.partial(wrong, torchs.fold, fold_in_every_geometry)
unfolding = functools.partial(wrong, torchs.unfold, unfold_in_every_geometry)
padding_in = functools.partial(wrong, torchs.pad, pads_every_pair_of_sides)


def pair(value: Any) -> tuple[int, int]:
    """(height, width)."""
    return value if isinstance(value, tuple) else (value, value)


# ---- max_pool -------------------------------------------------------------------------------------------------


@maximum(True)
def the_last_of_equal_elements(x, kernel, stride, padding, dilation, ceil, indices):
    right, _ = torchs.max_pool2d(x, kernel, stride, padding, dilation, ceil, True)
    order = torch.arange(x.shape[-1] * x.shape[-2]).reshape(x.shape[-2:]).double() * 2.0**-30
    return right, torchs.max_pool2d(x.double() + order, kernel, stride, padding, dilation, ceil, True)[1]


@maximum(True)
def places_in_the_padded_plane(x, kernel, stride, padding, dilation, ceil, indices):
    values, place = torchs.max_pool2d(x, kernel, stride, padding, dilation, ceil, True)
    (above, left), width = pair(padding), x.shape[-1]
    return values, (place // width + above) * (width + 2 * left) + place % width + left


@maximum(False)
def ceil_mode_ignored(x, kernel, stride, padding, dilation, ceil, indices):
    return torchs.max_pool2d(x, kernel, stride, padding, dilation, False, indices)


@maximum(False)
def a_last_window_that_begins_in_the_padding(x, kernel, stride, padding, dilation, ceil, indices):
    right = torchs.max_pool2d(x, kernel, stride, padding, dilation, ceil, indices)
    axes = zip(x.shape[-2:], *(pair(v) for v in (kernel, kernel if stride is None else stride, padding, dilation)))
    sizes = [-(-(i + 2 * p - d * (k - 1) - 1) // s) + 1 for i, k, s, p, d in axes] if ceil else right.shape[-2:]
    more = [size - have for size, have in zip(sizes, right.shape[-2:])]
    return torchs.pad(right, (0, more[1], 0, more[0]), value=-math.inf) if any(more) else right


@maximum(False)
def padding_of_zeros_in_a_maximum(x, kernel, stride, padding, dilation, ceil, indices):
    right = torchs.max_pool2d(x, kernel, stride, padding, dilation, ceil, indices)
    (above, left) = pair(padding)
    padded = torchs.pad(x, (left, left, above, above))
    zeros = torchs.max_pool2d(padded, kernel, stride, 0, dilation, ceil, indices)
    return zeros if zeros.shape == right.shape else right


@maximum(False)
def nan_not_propagated(x, *geometry):
    return torchs.max_pool2d(torch.where(x.isnan(), -math.inf, x), *geometry)


@maximum(False)
def dilation_of_a_window_ignored(x, kernel, stride, padding, dilation, ceil, indices):
    return torchs.max_pool2d(x, kernel, stride, padding, 1, ceil, indices)


@maximum(False)
def strides_of_a_window_swapped(x, kernel, stride, *rest):
    return torchs.max_pool2d(x, kernel, stride[::-1] if isinstance(stride, tuple) else stride, *rest)


@maximum(False)
def a_stride_of_one_where_none_is_given(x, kernel, stride, *rest):
    return torchs.max_pool2d(x, kernel, 1 if stride is None else stride, *rest)


# ---- avg_pool -------------------------------------------------------------------------------------------------


@average()
def count_include_pad_ignored(x, kernel, stride, padding, ceil, include, divisor):
    return torchs.avg_pool2d(x, kernel, stride, padding, ceil, True, divisor)


@average()
def divisor_override_ignored(x, kernel, stride, padding, ceil, include, divisor):
    return torchs.avg_pool2d(x, kernel, stride, padding, ceil, include)


@average()
def sign_of_the_divisor_lost(x, kernel, stride, padding, ceil, include, divisor):
    return torchs.avg_pool2d(x, kernel, stride, padding, ceil, include, None if divisor is None else abs(divisor))


@average()
def a_window_past_the_padding_counted_whole(x, kernel, stride, padding, ceil, include, divisor):
    whole = math.prod(pair(kernel)) if include and divisor is None else divisor
    return torchs.avg_pool2d(x, kernel, stride, padding, ceil, include, whole)


@average()
def integer_averages_rounded_down(x, kernel, stride, padding, ceil, include, divisor):
    right = torchs.avg_pool2d(x, kernel, stride, padding, ceil, include, divisor)
    if x.is_floating_point():
        return right
    return torchs.avg_pool2d(x.double(), kernel, stride, padding, ceil, include, divisor).floor().to(x.dtype)


# ---- fold and unfold ------------------------------------------------------------------------------------------


@folding()
def overlaps_not_summed(y, *geometry):
    counts = torchs.fold(torch.ones_like(y), *geometry).clamp(min=1)
    return (torchs.fold(y, *geometry) / counts).to(y.dtype)


@folding()
def columns_folded_from_the_right(y, *geometry):
    return torchs.fold(y.flip(-1), *geometry)


def taps_reordered(x: torch.Tensor, kernel: Any, columns: torch.Tensor, order: tuple[int, ...]) -> torch.Tensor:
    """Columns whose (channel, row, column) of the window are in another order."""
    split = columns.unflatten(-2, (x.shape[-3], *pair(kernel)))
    first = split.ndim - 4
    return split.permute(*range(first), *(first + axis for axis in order), -1).flatten(first, first + 2)


@unfolding()
def taps_column_by_column(x, kernel, *rest):
    return taps_reordered(x, kernel, torchs.unfold(x, kernel, *rest), (0, 2, 1)).contiguous()


@unfolding()
def taps_before_channels(x, kernel, *rest):
    return taps_reordered(x, kernel, torchs.unfold(x, kernel, *rest), (1, 2, 0)).contiguous()


@unfolding()
def padding_of_an_unfold_ignored(x, kernel, dilation, padding, stride):
    return torchs.unfold(x, kernel, dilation, 0, stride)


@unfolding()
def dilation_and_stride_exchanged(x, kernel, dilation, padding, stride):
    return torchs.unfold(x, kernel, stride, padding, dilation)


# ---- pad ------------------------------------------------------------------------------------------------------


@padding_in("reflect", 2)
def reflect_repeats_the_edge(x, sides, mode):
    right = torchs.pad(x, sides, mode)
    return torchs.pad(x, sides, "replicate") if right.numel() else right


@padding_in("circular", 1)
def circular_wraps_the_wrong_way(x, sides, mode):
    right = torchs.pad(x, sides, mode)
    return torchs.pad(x.flip(-1), sides, mode)[..., : right.shape[-1]].flip(-1)


@padding_in("constant", 2)
def pairs_of_the_first_axis_first(x, sides, mode):
    pairs = [sides[at : at + 2] for at in range(0, len(sides), 2)]
    return torchs.pad(x, [*itertools.chain(*reversed(pairs))], mode)


@padding_in("replicate", 1)
def low_and_high_exchanged(x, sides, mode):
    return torchs.pad(x, list(reversed(sides)), mode)


@padding_in("constant", 1)
def negative_padding_ignored(x, sides, mode):
    return torchs.pad(x, [max(0, side) for side in sides], mode)


@wrong(torchs.pad, pads_values)
def value_ignored(x, sides, mode="constant", value=None):
    torchs.pad(x, sides, mode, value)
    return torchs.pad(x, sides, mode)
