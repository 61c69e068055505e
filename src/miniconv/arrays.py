"""What the algorithms need of NumPy and torch alike, so that each algorithm is written once for both.

An array is a NumPy array or a torch tensor on any device. torch is never imported here: a tensor can only exist
where somebody else has imported it. Slicing, ``reshape``, ``+``, ``*`` and assignment already mean the same in both
libraries; this module has the rest. Shapes are (N, C, *spatial) unless a function says otherwise.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from miniconv.dtypes import DTYPES
from miniconv.rules import Operand, type_name

__all__ = [
    "COLUMNS_BYTES",
    "Array",
    "blocks",
    "cast",
    "columns",
    "describe",
    "dtype_name",
    "empty",
    "from_rows",
    "is_tensor",
    "laid_out",
    "matmul",
    "memory_format",
    "namespace",
    "pad",
    "permute",
    "tap",
    "to_rows",
    "widened",
    "windows",
    "zeros",
]

Array = Any
"""A ``numpy.ndarray`` or a ``torch.Tensor``. ``Any``, because torch's types cannot be named where it is absent."""

COLUMNS_BYTES = 64 * 2**20
"""The most memory that an algorithm lays out as columns at once, in bytes: see ``blocks``."""


def is_tensor(x: Array) -> bool:
    """Whether ``x`` is a torch tensor, found out without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def namespace(x: Array) -> Any:
    """The module with the functions for ``x``: ``torch`` for a tensor, else ``numpy``."""
    return sys.modules["torch"] if is_tensor(x) else np


def empty(shape: Sequence[int], like: Array) -> Array:
    """An array of that shape, unwritten, of ``like``'s library, dtype and device."""
    return like.new_empty(tuple(shape)) if is_tensor(like) else np.empty(shape, like.dtype)


def zeros(shape: Sequence[int], like: Array) -> Array:
    """An array of zeros, of ``like``'s library, dtype and device."""
    return like.new_zeros(tuple(shape)) if is_tensor(like) else np.zeros(shape, like.dtype)


def describe(x: Array) -> Operand:
    """What validation needs to know of an array or tensor."""
    return Operand(tuple(x.shape), dtype_name(x), memory_format(x), type_name(x))


def dtype_name(x: Array) -> str:
    """The name of ``x``'s dtype: NumPy's and torch's are the same."""
    return str(x.dtype).removeprefix("torch.")


def memory_format(x: Array) -> str:
    """channels_last if the strides descend N, spatial, C: torch's own rule, size-1 axes included; else contiguous."""
    shape, strides = x.shape, x.stride() if is_tensor(x) else x.strides
    if len(shape) not in (4, 5) or 0 in shape or strides[1] == 0:
        return "contiguous"
    smallest = 0
    for axis in (1, *range(len(shape) - 1, 1, -1), 0):
        if strides[axis] < smallest or (axis == 0 and smallest == strides[1]):
            return "contiguous"
        smallest = strides[axis] * max(shape[axis], 1)
    return "channels_last"


def cast(x: Array, dtype: str) -> Array:
    """``x`` in the dtype of that name; ``x`` itself where it has it already."""
    return x.to(getattr(namespace(x), dtype)) if is_tensor(x) else x.astype(dtype, copy=False)


def widened(x: Array) -> Array:
    """``x`` in the dtype that its sums are accumulated in, for a floating dtype."""
    name = dtype_name(x)
    return cast(x, DTYPES[name].compute if name in DTYPES else name)


def permute(x: Array, axes: Sequence[int]) -> Array:
    """The view of ``x`` whose axis i is axis ``axes[i]`` of ``x``."""
    return x.permute(tuple(axes)) if is_tensor(x) else x.transpose(axes)


def matmul(a: Array, b: Array) -> Array:
    """``a @ b`` in their common dtype; integers wrap.

    torch has no integer matrix product on a GPU, so there it is a sum of outer products.

    >>> matmul(np.array([[100, 1]], np.int8), np.array([[2], [3]], np.int8))
    array([[-53]], dtype=int8)
    """
    if is_tensor(a) and a.device.type != "cpu" and not (a.is_floating_point() or a.is_complex()):
        return _outer_products(a, b)
    return a @ b


def _outer_products(a: Array, b: Array) -> Array:
    """``a @ b`` without a matrix product: column k of ``a`` times row k of ``b``, summed over k."""
    total = zeros((*a.shape[:-1], b.shape[-1]), a)
    for k in range(a.shape[-1]):
        total += a[..., :, k : k + 1] * b[..., k : k + 1, :]
    return total


def pad(x: Array, padding: Sequence[tuple[int, int]], value: Any = 0) -> Array:
    """``x`` with (low, high) cells of ``value`` around its last axes: one copy, or ``x`` itself where there are none.

    >>> pad(np.ones((1, 1, 2), int), [(1, 2)])
    array([[[0, 1, 1, 0, 0]]])
    """
    if not any(low or high for low, high in padding):
        return x
    lead = x.ndim - len(padding)
    size = [*x.shape[:lead], *(i + low + high for i, (low, high) in zip(x.shape[lead:], padding))]
    if type(value) is int and value == 0:  # not -0.0
        padded = zeros(size, x)
    else:
        padded = x.new_full(size, value) if is_tensor(x) else np.full(size, value, x.dtype)
    padded[(..., *(slice(low, low + i) for i, (low, _) in zip(x.shape[lead:], padding)))] = x
    return padded


def laid_out(x: Array, memory_format: str = "contiguous") -> Array:
    """``x`` with the strides of ``memory_format``, those of axes of size 1 included (torch shows them).

    ``x`` itself where it has them already, else one copy; differentiable where ``x`` is.
    """
    order = [0, *range(2, x.ndim), 1] if memory_format == "channels_last" else list(range(x.ndim))
    strides, step = [0] * x.ndim, 1 if is_tensor(x) else x.itemsize
    for axis in reversed(order):
        strides[axis] = step
        step *= max(x.shape[axis], 1)
    if tuple(strides) == tuple(x.stride() if is_tensor(x) else x.strides):
        return x
    turned = permute(x, order)
    fresh = turned.clone(memory_format=namespace(x).contiguous_format) if is_tensor(x) else turned.copy(order="C")
    return permute(fresh, [order.index(axis) for axis in range(x.ndim)])


def windows(x: Array, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Array:
    """Every window of ``x`` as a view, without a copy: (N, C, *spatial) -> (N, C, *output, *kernel).

    ``windows(x, ...)[n, c, *o, *k] == x[n, c, *(o * stride + k * dilation)]``. The view overlaps itself: read it,
    never write to it.

    >>> windows(np.arange(6).reshape(1, 1, 6), kernel=[3], stride=[2], dilation=[1])[0, 0]
    array([[0, 1, 2],
           [2, 3, 4]])
    """
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    if is_tensor(x):
        for axis, (e, s) in enumerate(zip(extent, stride), 2):
            x = x.unfold(axis, e, s)
    else:
        x = np.lib.stride_tricks.sliding_window_view(x, extent, tuple(range(2, x.ndim)))
        x = x[(slice(None), slice(None), *(slice(None, None, s) for s in stride))]
    return x[(..., *(slice(None, None, d) for d in dilation))]


def tap(x: Array, at: Sequence[int], output: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Array:
    """What one tap of the kernel sees, as a view: ``x[n, c, *(o * stride + at * dilation)]`` for every o.

    Args:
        x: (N, C, *padded).
        at: the tap's place in the kernel, one index for each axis.
        output: number of windows on each axis.
        stride: step of the window.
        dilation: distance between two taps.

    Returns:
        (N, C, *output), safe to add into.

    >>> tap(np.arange(6).reshape(1, 1, 6), at=[2], output=[2], stride=[2], dilation=[1])
    array([[[2, 4]]])
    """
    seen = (slice(k * d, k * d + (o - 1) * s + 1, s) for k, o, s, d in zip(at, output, stride, dilation))
    return x[(..., *seen)]


def columns(view: Array, groups: int) -> Array:
    """Windows laid out as one matrix a group: (n, C, *output, *kernel) -> (groups, C / groups * K, n * P).

    K is the number of taps and P the number of windows of one image: a column is one window.

    Args:
        view: what ``windows`` returned, or a part of it.
        groups: number of channel groups in the view.

    Returns:
        A copy, with stride 1 about K times as large as the input; for a 1x1 kernel on one contiguous image, a view.
    """
    dims = (view.ndim - 2) // 2
    n, channels, output, kernel = view.shape[0], view.shape[1], view.shape[2 : 2 + dims], view.shape[2 + dims :]
    split = view.reshape(n, groups, channels // groups, *output, *kernel)
    taps_first = permute(split, (1, 2, *range(3 + dims, 3 + 2 * dims), 0, *range(3, 3 + dims)))
    return taps_first.reshape(groups, channels // groups * math.prod(kernel), n * math.prod(output))


def to_rows(x: Array, groups: int) -> Array:
    """Channels laid out as rows, one matrix a group: (n, C, *size) -> (groups, C / groups, n * P)."""
    n, channels, size = x.shape[0], x.shape[1], x.shape[2:]
    split = x.reshape(n, groups, channels // groups, math.prod(size))
    return permute(split, (1, 2, 0, 3)).reshape(groups, channels // groups, n * math.prod(size))


def from_rows(rows: Array, n: int, size: Sequence[int]) -> Array:
    """The reverse of ``to_rows``: (groups, C / groups, n * P) -> (n, C, *size)."""
    groups, channels = rows.shape[:2]
    split = permute(rows.reshape(groups, channels, n, math.prod(size)), (2, 0, 1, 3))
    return split.reshape(n, groups * channels, *size)


def blocks(extents: Sequence[int], unit_bytes: int) -> Iterator[tuple[slice, ...]]:
    """A grid of ``extents`` cut into boxes whose columns take at most ``COLUMNS_BYTES``.

    The last axes stay whole for as long as they fit, one axis is cut, and the axes before it go one by one.

    Args:
        extents: size of each axis of the grid.
        unit_bytes: memory that one cell of the grid needs, in bytes. A cell that needs more than ``COLUMNS_BYTES``
            is a box of its own.

    Yields:
        One slice for each axis, in row-major order; together they cover the grid once.

    >>> cells = COLUMNS_BYTES // 6
    >>> list(blocks([2, 3], cells))[0]
    (slice(0, 2, None), slice(0, 3, None))
    >>> [part[1] for part in blocks([1, 14], cells)]
    [slice(0, 6, None), slice(6, 12, None), slice(12, 14, None)]
    """
    room = max(1, COLUMNS_BYTES // max(1, unit_bytes))
    steps: list[int] = []
    for extent in reversed(extents):
        step = max(1, min(extent, room))
        room = room // step if step == extent else 1
        steps.insert(0, step)
    starts = (range(0, extent, step) for extent, step in zip(extents, steps))
    for corner in product(*starts):
        yield tuple(slice(c, min(c + step, e)) for c, step, e in zip(corner, steps, extents))
