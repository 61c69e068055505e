"""Which cell each tap of a window reads, one axis at a time, and the gathering along such tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["border_table", "gather", "gradient_table", "taps"]

Array = npt.NDArray[Any]


def border_table(mode: str, size: int, out: int, stride: int, low: int, kernel: int, dilation: int) -> Array:
    """Which input cell each tap of each output reads on one axis: (out, kernel), -1 for a zero.

    >>> border_table("zeros", size=4, out=4, stride=1, low=1, kernel=3, dilation=1).tolist()
    [[-1, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, -1]]
    >>> border_table("circular", size=4, out=4, stride=1, low=1, kernel=3, dilation=1).tolist()
    [[3, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 0]]
    """
    cell = np.arange(out)[:, None] * stride - low + np.arange(kernel) * dilation
    table: dict[str, Array] = {
        "zeros": np.where((cell >= 0) & (cell < size), cell, -1),
        "reflect": np.where(cell < 0, -cell, np.where(cell >= size, 2 * (size - 1) - cell, cell)),
        "replicate": np.clip(cell, 0, size - 1),
        "circular": cell % size,
    }
    return table[mode]


def gradient_table(size: int, out: int, stride: int, low: int, kernel: int, dilation: int) -> Array:
    """Which output each tap of each input cell went into on one axis: (size, kernel), -1 for none.

    >>> gradient_table(size=4, out=2, stride=2, low=1, kernel=3, dilation=1).tolist()
    [[-1, 0, -1], [1, -1, 0], [-1, 1, -1], [-1, -1, 1]]
    """
    reach = np.arange(size)[:, None] + low - np.arange(kernel) * dilation
    return np.where((reach % stride == 0) & (reach >= 0) & (reach < out * stride), reach // stride, -1)


def gather(array: Array, tables: Sequence[Array]) -> tuple[Array, Array]:
    """``array[n, c, table_0[o_0, k_0], ...]`` -> (N, C, o_0, ..., k_0, ...), 0 at -1; and where it is not -1."""
    dims = len(tables)
    edged = np.zeros((*array.shape[:2], *(size + 1 for size in array.shape[2:])), array.dtype)
    inner: tuple[Any, ...] = (..., *(slice(size) for size in array.shape[2:]))
    edged[inner] = array  # cell -1 of every axis holds zeros
    index: list[Any] = []
    inside = np.ones((1,) * (2 * dims), bool)
    for axis, table in enumerate(tables):
        shape = [1] * (2 * dims)
        shape[axis], shape[dims + axis] = table.shape
        index.append(table.reshape(shape))
        inside = inside & (index[-1] >= 0)
    everything: list[Any] = [slice(None), slice(None)]
    gathered = edged[(*everything, *index)]
    return gathered, np.broadcast_to(inside, gathered.shape)


def taps(tables: Sequence[Array]) -> Array:
    """How many taps reach each cell, from the table of each axis: the cells' shape."""
    counts = np.ones((), np.int64)
    for table in tables:
        counts = counts[..., None] * np.count_nonzero(table >= 0, axis=1)
    return counts
