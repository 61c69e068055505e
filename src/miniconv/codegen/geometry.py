"""How the input of a box lies: where the caller has it, or copied to scratch memory with the padding that it meets."""

from __future__ import annotations

import math
from typing import NamedTuple

from miniconv.codegen.schedule import Axis, Pass, Triple

__all__ = ["LINE_BYTES", "Geometry", "in_place", "packed"]

LINE_BYTES = 64


class Geometry(NamedTuple):
    """The planes of a box's input. Distances in bytes."""

    packed: bool
    pitch: int  # cells from a row to the next
    overlap: int  # cells of padding behind the last slice, which others share with the next
    row: int
    slice: int
    plane: int
    channel: int

    def positions(self, shape: Triple, itemsize: int) -> int:
        """From the first to the last output of a box, those between rows included."""
        return ((shape[0] - 1) * self.slice + (shape[1] - 1) * self.row) // itemsize + shape[2]


def in_place(
    axes: Pass, shape: Triple, size: Triple, strides: tuple[int, ...], itemsize: int, gaps: bool
) -> Geometry | None:
    """The caller's own memory, if every tap of every position is a cell there, and rows follow one another.

    Args:
        axes: the pass.
        shape: the box's outputs.
        size: the cells of the input.
        strides: of the input's channel and spatial axes, in bytes.
        itemsize: of an element, in bytes.
        gaps: whether rows may be followed by cells that are no output's, up to a quarter of their length.
    """
    channel, x_d, x_h, x_w = strides
    if x_w != itemsize or any(a.in_step != 1 or a.low < 0 or not a.taps for a in axes):
        return None
    inside = all(s.input == 0 for a in axes for s in a.segments) and all(
        a.low + a.halo + a.count <= n for a, n in zip(axes, size)
    )
    width = shape[2] * itemsize
    rows = shape[0] * shape[1] == 1 or (gaps and x_h % itemsize == 0 and width <= x_h <= width * 5 // 4)
    slices = shape[0] == 1 or (x_d % max(1, x_h) == 0 and shape[1] * x_h <= x_d <= shape[1] * x_h * 5 // 4)
    if not (inside and rows and slices):
        return None
    # a single row has no next one, but its taps may: then, too, the distance is the caller's
    row = x_h if shape[0] * shape[1] > 1 or axes[1].halo else width
    slice_bytes = x_d if shape[0] > 1 or axes[0].halo else row * shape[1]
    return Geometry(False, row // itemsize, 0, row, slice_bytes, 0, channel)


def packed(axes: Pass, shape: Triple, size: Triple, itemsize: int) -> Geometry:
    """Scratch: rows of all cells that are read."""
    cells, rows = shape[2] + axes[2].halo, shape[1] + axes[1].halo
    overlap, shared = (_shared_padding(axes[i], shape[i], size[i]) for i in (2, 1))
    pitch = cells - overlap
    row = pitch * itemsize
    slice_bytes = row * (rows - shared)
    zeros = shared * pitch + overlap  # behind the last slice
    plane = slice_bytes * (shape[0] + axes[0].halo) + zeros * itemsize
    phases = math.prod(len(a.phases) for a in axes)
    lines = -(-plane * phases // LINE_BYTES) | 1  # an odd number: neighbours use different sets of the cache
    return Geometry(True, pitch, zeros, row, slice_bytes, plane, lines * LINE_BYTES)


def _shared_padding(axis: Axis, count: int, size: int) -> int:
    """How many cells of padding behind a row or slice are also those before the next: of whole ones only."""
    if count != axis.count or axis.segments[0].input:
        return 0
    behind = axis.low + count + axis.halo - -(-size // axis.in_step)
    return max(0, min(-axis.low, behind, axis.halo))
