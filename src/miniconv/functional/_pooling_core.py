"""The arithmetic of pooling, for any number of axes, on arrays and tensors.

A one-dimensional pooling is the two-dimensional one of an image of one row, as in torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from miniconv.arrays import Array, cast, describe, dtype_name, is_tensor, laid_out, namespace, pad, tap, widened
from miniconv.functional import _pooling_rules as rules
from miniconv.functional._operands import (
    is_array,
    not_implemented,
    torch_function,
    truth,
    under_autocast,
)
from miniconv.functional._pooling_rules import Window

__all__ = ["average", "maximum"]


def maximum(op: str, input: Array, options: Sequence[Any], return_indices: bool) -> Any:
    """The largest number of each window, and on demand where it stood."""
    if not is_array(input):
        return torch_function(op, input)(input, *options, return_indices=return_indices)
    input = input if return_indices else under_autocast(op, input)
    x, window = rules.stated(op, input, options, indexed=return_indices)
    if not rules.is_real(input):
        raise not_implemented(rules.kernel_name(op, return_indices), input)
    memory_format = _memory_format(op, input, x)
    if op == "max_pool1d" and not return_indices and not _records(input):
        memory_format = "contiguous"  # torch has a kernel of its own here, which forgets the layout
    if not is_tensor(x) and not return_indices:
        return _result(op, input, laid_out(_largest(x, window), memory_format))
    places = _places(x.detach() if is_tensor(x) else x, window)
    out = _result(op, input, laid_out(_taken(x, places, window), memory_format))
    return (out, _result(op, input, laid_out(places, memory_format))) if return_indices else out


def _largest(x: np.ndarray, window: Window) -> np.ndarray:
    """The largest number of each window of an array."""
    padded = pad(x, window.border(), _lowest(x))
    out: np.ndarray = np.full((*x.shape[:2], *window.output), _lowest(x), x.dtype)
    for at in product(*map(range, window.kernel)):
        np.maximum(out, tap(padded, at, window.output, window.stride, window.dilation), out=out)
    return out


def _places(x: Array, window: Window) -> Array:
    """Where in its channel the largest number of each window stands: the last NaN, else the first of equals."""
    starts = [[o * s - p for o in range(n)] for n, s, p in zip(window.output, window.stride, window.padding)]
    # the search begins at the first tap that is not in the low padding: the answer where nothing exceeds the lowest
    places = _grid(x, [[b if b >= 0 else b % d for b in begin] for begin, d in zip(starts, window.dilation)], window)
    padded = pad(x, window.border(), _lowest(x))
    best = _filled(x, (*x.shape[:2], *window.output), _lowest(x))
    where = namespace(x).where
    for at in product(*map(range, window.kernel)):
        seen = tap(padded, at, window.output, window.stride, window.dilation)
        here = _grid(x, [[b + k * d for b in begin] for begin, k, d in zip(starts, at, window.dilation)], window)
        better = (seen > best) | (seen != seen)  # only NaN differs from itself
        best, places = where(better, seen, best), where(better, here, places)
    return places


def _taken(x: Array, places: Array, window: Window) -> Array:
    """The numbers that stand at ``places``: a selection, so that its gradient goes to them alone."""
    flat, at = x.reshape(*x.shape[:2], math.prod(window.size)), places.reshape(*x.shape[:2], math.prod(window.output))
    void = window.has_empty_windows()
    if void:  # a window that holds padding alone has a place outside of the input, in torch too
        inside = _inside(x, window).reshape(math.prod(window.output))
        at = namespace(x).where(inside, at, 0)
    taken = flat.gather(2, at) if is_tensor(x) else np.take_along_axis(flat, at, 2)
    if void:
        taken = namespace(x).where(inside, taken, _filled(x, (), _lowest(x)))
    return taken.reshape(places.shape)


def average(op: str, input: Array, options: Sequence[Any], count_include_pad: bool, divisor: Any) -> Array:
    """The average of each window."""
    kernel_size, stride, padding, _, ceil_mode = options
    if not is_array(input):
        extra = {} if op == "avg_pool1d" else {"divisor_override": divisor}
        return torch_function(op, input)(input, kernel_size, stride, padding, ceil_mode, count_include_pad, **extra)
    if divisor is not None and (isinstance(divisor, bool) or not hasattr(divisor, "__index__")):
        raise TypeError(f"{op}(): argument 'divisor_override' (position 7) must be int, not {type(divisor).__name__}")
    input = under_autocast(op, input)
    x, window = rules.stated(op, input, options, divisor=divisor)
    count_include_pad = truth(op, "count_include_pad", count_include_pad, 6)
    if not rules.is_real(input):
        raise not_implemented(rules.kernel_name(op, False), input)
    whole = "int" in dtype_name(input)
    padded = pad(cast(x, "int64") if whole else widened(x), window.border(), 0)
    total = sum(
        tap(padded, at, window.output, window.stride, window.dilation) for at in product(*map(range, window.kernel))
    )
    by = divisor if divisor is not None else _counts(total, window, count_include_pad)
    out = _towards_zero(total, by) if whole else total / by
    return _result(op, input, laid_out(cast(out, dtype_name(input)), _memory_format(op, input, x)))


def _counts(total: Array, window: Window, with_padding: bool) -> Array:
    """How many cells of each window count, as an array of the windows' shape and ``total``'s dtype."""
    counts = np.ones((), np.int64)
    for i, k, s, p, n in zip(window.size, window.kernel, window.stride, window.padding, window.output):
        begin = np.arange(n) * s - p
        low, high = (-p, i + p) if with_padding else (0, i)
        seen = np.minimum(begin + k, high) - np.maximum(begin, low)
        counts = counts[..., None] * np.maximum(seen, 1)  # a window of padding alone sums to 0, whatever it counts
    return _as(total, counts)


def _towards_zero(total: Array, by: Any) -> Array:
    """Integers divided as C++ divides them."""
    if is_tensor(total):
        return total.div(by, rounding_mode="trunc")
    quotient = abs(total) // abs(by)
    return quotient * np.sign(total) * np.sign(by)


def _grid(x: Array, positions: Sequence[Sequence[int]], window: Window) -> Array:
    """Positions on each axis combined into places in a channel, (*output), int64, where ``x`` is."""
    grid = np.zeros((), np.int64)
    for at, size in zip(positions, window.size):
        grid = grid[..., None] * size + np.asarray(at, np.int64)
    return namespace(x).asarray(grid, device=x.device) if is_tensor(x) else grid


def _inside(x: Array, window: Window) -> Array:
    """Whether each window holds a number of the input at all, (*output)."""
    inside = np.ones((), bool)
    for held in window.held():
        inside = inside[..., None] & np.asarray(held)
    return namespace(x).asarray(inside, device=x.device) if is_tensor(x) else inside


def _as(like: Array, numbers: np.ndarray) -> Array:
    """Whole numbers in ``like``'s library, dtype and device."""
    return (
        namespace(like).asarray(numbers, device=like.device).to(like.dtype)
        if is_tensor(like)
        else numbers.astype(like.dtype)
    )


def _filled(x: Array, shape: tuple[int, ...], value: Any) -> Array:
    """An array of ``value`` like ``x``."""
    return x.new_full(shape, value) if is_tensor(x) else np.full(shape, value, x.dtype)


def _lowest(x: Array) -> Any:
    """What no number of the dtype is below."""
    name = dtype_name(x)
    return int(np.iinfo(name).min) if "int" in name else -math.inf


def _records(x: Array) -> bool:
    """Whether autograd would record an operation on ``x``."""
    return is_tensor(x) and x.requires_grad and namespace(x).is_grad_enabled()


def _memory_format(op: str, input: Array, x: Array) -> str:
    """That of the result: the input's, but torch forgets it in two places."""
    if op == "avg_pool3d" or (x.ndim == 4 and input.ndim < int(op[-2]) + 2):
        return "contiguous"
    if input.ndim == 4 and x.ndim == 5:  # torch looks at the strides beside those of an axis of size 1: the batch
        return "channels_last" if is_tensor(input) and _channels_run_fastest(input) else "contiguous"
    return describe(x).memory_format


def _channels_run_fastest(x: Array) -> bool:
    """Whether memory runs through a tensor (C, D, H, W) in the order D, H, W, C, and not in its own as well."""
    return bool(x.permute(1, 2, 3, 0).is_contiguous() and not x.is_contiguous())


def _result(op: str, input: Array, out: Array) -> Array:
    """``out`` without the axes that were put in: not by a reshape, which may change strides."""
    if op.endswith("1d"):
        out = out[..., 0, :]
    return out if out.ndim == input.ndim else out[0]
