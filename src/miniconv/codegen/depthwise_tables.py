"""A depthwise problem as one array of 64-bit integers, the *program*, which the depthwise kernels walk.

A channel of the output is a sum of shifted copies of one channel of the input, so nothing is shared between channels
and each input cell is read by a few neighbouring outputs only. What can be saved is loads, and this is how:

- One input channel is *packed*: copied to scratch memory with its padding, one plane for each phase of the stride of
  the last axis. There every tap is a constant distance from its output, no test for the border is left, and a
  vector of outputs reads vectors of consecutive cells. Without padding and stride the caller's memory is like that.
- A *tile* is ``rows`` vectors of outputs, one below the other. A step of a tile is a column of the kernel, ``taps``
  rows of it: each input row is loaded once, at that column, and added to every output that reads it. A 3x3 kernel
  loads 16 vectors for the 42 multiply-adds of 14 rows.
- Output rows share input rows if they lie ``dilation / gcd(stride, dilation)`` apart; in a dilated convolution the
  rows of a tile are so far apart.
- The last tile of a row, and of a column, begins earlier, so that it is whole: some outputs are computed twice, by the
  same sum. Only rows shorter than a vector are stored by a mask.
- Where there are few output rows, the vectors of a tile are neighbours in the row.

A transposed convolution of stride 1 is an ordinary one with the kernel turned round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from miniconv.codegen.depthwise_geometry import Shape, plane_bytes, window
from miniconv.codegen.schedule import Layout, split
from miniconv.codegen.target import Target
from miniconv.problem import ConvProblem

__all__ = ["BAND", "PHASE", "RECORD", "STEP", "TILE", "Tables"]

MOST_ROWS = 14  # of a tile; more save few loads, and fewer images divide by them
TAPS = (7, 5, 3, 2, 1)  # kernel rows in a step, whose weights are kept in registers
SHARED_STEP = 2  # with a larger one the rows of a tile share hardly an input row: one kernel row in a step does as well
FEW_ROWS = 4  # of output: with fewer a tile's vectors are neighbours in the row
NEAR_BYTES = 24 << 10  # of input that is packed before it is computed: half of a first-level cache
FAR_BYTES = 256 << 10  # of one packed channel that is computed in no smaller bands for the rows that they share


def _fields(*names: str) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}


# Distances in bytes, sizes and counts in elements; tables are named by the word of the program where they begin.
RECORD = _fields(
    *("units", "bands", "block", "channels", "multiplier", "band_table", "step_table", "steps"),
    *("x_image", "x_channel", "x_h", "x_step", "x_first"),  # x_first: the first column that is read
    *("packed", "plane", "row", "into", "phase", "manner", "columns", "phases", "phase_table"),
    *("tap_row", "w_first", "w_channel", "w_row"),
    *("y_image", "y_channel", "y_row", "y_columns"),
)
# input: the first row; from begin to end the input has them, after that so many it has not
BAND = _fields("input", "begin", "end", "after", "output", "tiles", "tile_table")
PHASE = _fields("input", "count", "plane")
TILE = _fields("input", "output")
STEP = _fields("input", "weight")


@dataclass(frozen=True)
class Tables:
    """All that the kernels know of a problem.

    Attributes:
        program: the record, and the tables that it names.
        shape: the micro-kernel that is called.
        scratch_bytes: what a thread needs beside the operands.
        packed: whether input is copied.
        block: channels that are packed together.
        bands: parts of an image.
        units: images times blocks of channels times bands.
    """

    program: NDArray[np.int64]
    shape: Shape
    scratch_bytes: int
    packed: bool
    block: int
    bands: int
    units: int

    @classmethod
    def of(cls, problem: ConvProblem, layout: Layout, target: Target, itemsize: int, threads: int = 1) -> Tables:
        """The tables of ``problem``, which ``depthwise_refusal`` accepts, for operands that lie as ``layout`` says."""
        return _Builder(problem, layout, target, itemsize, threads).tables()


class _Builder:
    """Collects words of the program."""

    def __init__(self, problem: ConvProblem, layout: Layout, target: Target, itemsize: int, threads: int) -> None:
        self.problem, self.layout, self.target = problem, layout, target
        self.itemsize, self.threads, self.lanes = itemsize, threads, target.lanes(itemsize)
        self.h, self.w = window(problem, -2), window(problem, -1)
        self.images, self.channels = problem.batch or 1, problem.in_channels
        self.narrow = self.w.output < self.lanes
        dense = layout.input[4] == itemsize and self.w.stride == 1
        self.packed = self.narrow or not (dense and self.h.inside and self.w.inside)
        self.words = [0] * len(RECORD)

    def table(self, rows: Sequence[Sequence[int]]) -> int:
        """Append a table; the word where it begins."""
        begin = len(self.words)
        for row in rows:
            self.words.extend(row)
        return begin

    def tables(self) -> Tables:
        h, w = self.h, self.w
        bands = self.bands()
        row, phase, plane = plane_bytes(h, w, bands[0], self.target, self.itemsize)
        row = row if self.packed else self.layout.input[3]
        plane = plane if self.packed else 0
        block = self.block(plane, len(bands))
        shape, across = self.shape(bands[-1])
        rows_apart = h.dilation // math.gcd(h.stride, h.dilation)
        x, y, vector = self.layout.input, self.layout.output, self.target.vector_bytes
        band_rows, begin = [], 0
        tile_tables = {n: self.tiles(n, shape, across, rows_apart, row) for n in dict.fromkeys(bands)}
        for n in bands:
            first = h.stride * begin - h.low
            rows = h.stride * (n - 1) + h.dilation * (h.kernel - 1) + 1
            inside = min(max(-first, 0), rows)
            end = max(inside, min(rows, h.input - first))
            band_rows.append((first, inside, end, rows - end, begin * y[3], *tile_tables[n]))
            begin += n
        steps = self.steps(shape, row, phase)
        blocks = -(-self.channels // block)
        sign = -1 if self.problem.transposed else 1
        lead = max(0, -w.first)  # cells of padding in front of a packed row
        columns = max(0, min(w.input - w.stride * (lead + w.first), w.stride * (w.output + w.halo - lead)))
        tap_row = (
            vector
            if across
            else row * h.dilation * (h.stride // math.gcd(h.stride, h.dilation) if shape.taps == 1 else 1)
        )
        weight = self.layout.weight
        w_last = (h.kernel - 1) * weight[3] + (w.kernel - 1) * weight[4]
        record = {
            "units": blocks * len(bands),
            "bands": len(bands),
            "block": block,
            "channels": self.channels,
            "multiplier": self.problem.out_channels // self.channels,
            "band_table": self.table(band_rows),
            "step_table": self.table(steps),
            "steps": len(steps),
            "x_image": x[0],
            "x_channel": x[1],
            "x_h": x[3],
            "x_step": x[4] * w.stride,
            "x_first": x[4] * w.stride * (lead + w.first),
            "packed": self.packed,
            "plane": plane,
            "row": row,
            "into": lead * self.itemsize,
            "phase": phase,
            "manner": self.manner(columns),
            "columns": columns,
            "phases": len(w.phases),
            "phase_table": self.table(
                [(f * x[4], -(-(columns - f) // w.stride), i * phase) for i, f in enumerate(w.phases)]
            ),
            "tap_row": tap_row,
            "w_first": w_last if self.problem.transposed else 0,
            "w_channel": self.w_channel(),
            "w_row": sign * weight[3],
            "y_image": y[0],
            "y_channel": y[1],
            "y_row": vector if across else rows_apart * y[3],
            "y_columns": w.output,
        }
        self.words[: len(RECORD)] = [int(record[name]) for name in RECORD]
        units = self.images * blocks * len(bands)
        program = np.array(self.words, np.int64)
        return Tables(program, shape, plane * block, self.packed, block, len(bands), units)

    def w_channel(self) -> int:
        """From an output channel's weights to the next one's."""
        weight = self.layout.weight
        return weight[1] if self.problem.transposed and self.problem.out_channels > self.channels else weight[0]

    def bands(self) -> list[int]:
        """How many output rows are computed at a time."""
        rows = self.h.output
        if self.packed:
            shared = self.h.dilation * (self.h.kernel - 1)  # rows that two bands both pack
            while rows > 1:
                size = plane_bytes(self.h, self.w, rows, self.target, self.itemsize)[2]
                if size <= (NEAR_BYTES if rows * self.h.stride >= 8 * shared else FAR_BYTES):
                    break
                rows = -(-rows // 2)
        wanted = -(-4 * self.threads // (self.images * self.channels)) if self.threads > 1 else 1
        return split(self.h.output, max(1, min(rows, self.h.output // wanted)))

    def block(self, plane: int, bands: int) -> int:
        """How many channels are packed together."""
        near = max(1, NEAR_BYTES // max(1, plane)) if self.packed else self.channels
        share = self.images * self.channels * bands // (4 * self.threads) if self.threads > 1 else self.channels
        return max(1, min(near, share, self.channels))

    def shape(self, rows: int) -> tuple[Shape, bool]:
        """The micro-kernel for bands of at least so many rows, and whether its vectors are neighbours in a row."""
        h = self.h
        common = math.gcd(h.stride, h.dilation)
        smallest = max(1, rows * common // h.dilation)  # output rows that share input
        across = smallest < FEW_ROWS and self.w.output >= 2 * self.lanes
        step = h.stride // common
        taps = next(
            n for n in TAPS if n == 1 or (not across and h.kernel % n == 0 and step < n and step <= SHARED_STEP)
        )
        most = min(MOST_ROWS, self.target.registers - taps - 2)
        count = self.w.output // self.lanes if across else smallest
        # the fewest tiles, and those as small as they can be
        size = min(most, count) if across else -(-smallest // -(-smallest // most))
        return Shape(size, taps, step if taps > 1 else 1, self.narrow), across

    def tiles(self, rows: int, shape: Shape, across: bool, apart: int, row: int) -> tuple[int, int]:
        """The table of tiles of a band with so many rows: how many, and where it begins."""
        wide = self.lanes * (shape.rows if across else 1)
        columns = [0] if self.narrow else _starts(self.w.output, wide)
        if across:
            lines = list(range(rows))
        else:
            lines = [
                begin + apart * start
                for begin in range(min(apart, rows))
                for start in _starts(-(-(rows - begin) // apart), shape.rows)
            ]
        cells = [
            (line * self.h.stride * row + c * self.itemsize, line * self.layout.output[3] + c * self.itemsize)
            for line, c in product(lines, columns)
        ]
        return len(cells), self.table(cells)

    def steps(self, shape: Shape, row: int, phase: int) -> list[tuple[int, int]]:
        """Columns of the kernel, each in groups of ``taps`` rows; the last tap of a transposed one comes first."""
        h, w, weight = self.h, self.w, self.layout.weight
        sign = -1 if self.problem.transposed else 1
        steps = []
        for j, k in product(range(w.kernel), range(0, h.kernel, shape.taps)):
            shift = j * w.dilation - w.low
            plane = w.phases.index(shift % w.stride) * phase
            column = (shift // w.stride - w.first) * self.itemsize
            steps.append((plane + column + k * h.dilation * row, sign * (j * weight[4] + k * weight[3])))
        return steps

    def manner(self, columns: int) -> int:
        """How a row is copied: 0 by cells; 1, 3 in vectors of one phase or two; 2, 4 in one masked vector of each."""
        every = self.w.stride
        if self.layout.input[4] != self.itemsize or every > 2 or columns == 0:
            return 0
        return 2 * every - (columns // every >= self.lanes)


def _starts(total: int, size: int) -> list[int]:
    """Where pieces of ``size`` begin that cover ``total``; the last begins earlier, so that it is whole."""
    return [min(start, total - size) for start in range(0, total, size)]
