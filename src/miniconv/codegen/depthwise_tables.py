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

A transposed convolution of stride 1 is an ordinary one with the kernel turned round. One with a stride is an ordinary
one for each phase of its outputs, that is for those that lie a stride apart: it reads neighbouring cells, and those
taps of the kernel that lie a stride apart. The rows of a tile belong to one phase. Its columns belong to all phases
by turns; so each phase is computed in vectors of its own, and they are interleaved before they are stored. The last
tile of a row, which begins earlier, may begin with another phase than the first: a tile names its *turns*, which are
its phases' steps.
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

__all__ = ["BAND", "PHASE", "RECORD", "STEP", "TILE", "TURN", "Tables"]

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
    *("units", "bands", "block", "channels", "multiplier", "band_table", "turn_table", "step_table"),
    *("x_image", "x_channel", "x_h", "x_step", "x_first"),  # x_first: the first column that is read
    *("packed", "plane", "row", "into", "phase", "manner", "columns", "phases", "phase_table"),
    *("tap_row", "w_channel", "w_row"),
    *("y_image", "y_channel", "y_row", "y_columns"),
)
# input: the first row; from begin to end the input has them, after that so many it has not
BAND = _fields("input", "begin", "end", "after", "output", "tiles", "tile_table")
PHASE = _fields("input", "count", "plane")
TILE = _fields("input", "output", "turns")
TURN = _fields("begin", "end")  # the steps of a phase, as distances in the table of steps
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
        self.wide = self.lanes * self.w.up  # outputs of a row that are computed together
        self.narrow = self.w.output < self.wide
        dense = layout.input[4] == itemsize and self.w.down == 1
        self.packed = self.narrow or not (dense and self.h.inside and self.w.inside)
        # the last tile of a row begins with the phase that so many columns lead to
        self.turns = self.w.up + (0 if self.narrow else self.w.output % self.w.up)
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
        shape, across = self.shape(min(filter(None, h.shares(sum(bands[:-1]), bands[-1]))))
        rows_apart = h.apart[1] // math.gcd(h.down, h.apart[1])
        x, y, vector = self.layout.input, self.layout.output, self.target.vector_bytes
        band_rows, begin = [], 0
        tile_tables: dict[tuple[int, ...], tuple[int, int]] = {}
        for n in bands:
            outputs = h.shares(begin, n)
            if outputs not in tile_tables:
                tile_tables[outputs] = self.tiles(outputs, shape, across, rows_apart, row)
            first, rows = h.down * begin + h.reach[0], h.rows(n)
            inside = min(max(-first, 0), rows)
            end = max(inside, min(rows, h.input - first))
            band_rows.append((first, inside, end, rows - end, h.up * begin * y[3], *tile_tables[outputs]))
            begin += n
        steps, turns = self.steps(shape, row, phase)
        blocks = -(-self.channels // block)
        lead = max(0, -w.first)  # cells of padding in front of a packed row
        columns = max(0, min(w.input - w.down * (lead + w.first), w.down * (w.count + w.halo - lead)))
        tap_row = row * h.apart[1] if shape.taps > 1 else row * h.down * rows_apart
        record = {
            "units": blocks * len(bands),
            "bands": len(bands),
            "block": block,
            "channels": self.channels,
            "multiplier": self.problem.out_channels // self.channels,
            "band_table": self.table(band_rows),
            "turn_table": self.table(turns),
            "step_table": self.table(steps),
            "x_image": x[0],
            "x_channel": x[1],
            "x_h": x[3],
            "x_step": x[4] * w.down,
            "x_first": x[4] * w.down * (lead + w.first),
            "packed": self.packed,
            "plane": plane,
            "row": row,
            "into": lead * self.itemsize,
            "phase": phase,
            "manner": self.manner(columns),
            "columns": columns,
            "phases": len(w.phases),
            "phase_table": self.table(
                [(f * x[4], -(-(columns - f) // w.down), i * phase) for i, f in enumerate(w.phases)]
            ),
            "tap_row": vector if across else tap_row,
            "w_channel": self.w_channel(),
            "w_row": h.apart[0] * self.layout.weight[3],
            "y_image": y[0],
            "y_channel": y[1],
            "y_row": vector * w.up if across else rows_apart * h.up * y[3],
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
        """How many output rows of each phase are computed at a time."""
        rows = self.h.count
        if self.packed:
            shared = self.h.rows(1) - 1  # rows that two bands both pack
            while rows > 1:
                size = plane_bytes(self.h, self.w, rows, self.target, self.itemsize)[2]
                if size <= (NEAR_BYTES if rows * self.h.down >= 8 * shared else FAR_BYTES):
                    break
                rows = -(-rows // 2)
        wanted = -(-4 * self.threads // (self.images * self.channels)) if self.threads > 1 else 1
        return split(self.h.count, max(1, min(rows, self.h.count // wanted)))

    def block(self, plane: int, bands: int) -> int:
        """How many channels are packed together."""
        near = max(1, NEAR_BYTES // max(1, plane)) if self.packed else self.channels
        share = self.images * self.channels * bands // (4 * self.threads) if self.threads > 1 else self.channels
        return max(1, min(near, share, self.channels))

    def shape(self, rows: int) -> tuple[Shape, bool]:
        """The micro-kernel for at least so many rows of a phase, and whether its vectors are neighbours in a row."""
        h = self.h
        common = math.gcd(h.down, h.apart[1])
        smallest = max(1, rows * common // h.apart[1])  # output rows that share input
        across = smallest < FEW_ROWS and self.w.output >= 2 * self.wide
        step = h.down // common
        kernels = [len(h.taps(phase)) for phase in h.outputs]
        taps = next(
            n
            for n in TAPS
            if n == 1 or (not across and not any(k % n for k in kernels) and step < n and step <= SHARED_STEP)
        )
        most = max(1, min(MOST_ROWS, self.target.registers - taps - 2) // self.w.up)
        count = self.w.output // self.wide if across else smallest
        # the fewest tiles, and those as small as they can be
        size = min(most, count) if across else -(-smallest // -(-smallest // most))
        return Shape(size, taps, step if taps > 1 else 1, self.narrow, self.w.up), across

    def tiles(self, outputs: tuple[int, ...], shape: Shape, across: bool, apart: int, row: int) -> tuple[int, int]:
        """The table of tiles of a band with so many rows of each phase: how many, and where it begins."""
        h, up = self.h, self.w.up
        columns = [0] if self.narrow else _starts(self.w.output, self.wide * (shape.rows if across else 1))

        def lines(rows: int) -> list[int]:
            if across:
                return list(range(rows))
            return [
                begin + apart * start
                for begin in range(min(apart, rows))
                for start in _starts(-(-(rows - begin) // apart), shape.rows)
            ]

        cells = [
            (
                line * h.down * row + column // up * self.itemsize,
                (h.up * line + phase) * self.layout.output[3] + column * self.itemsize,
                (phase * self.turns + column % up) * 8 * len(TURN),
            )
            for phase, rows in enumerate(outputs)
            for line, column in product(lines(rows), columns)
        ]
        return len(cells), self.table(cells)

    def steps(self, shape: Shape, row: int, phase: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The steps of all phases of outputs, and which are whose: ``turns`` of them for each phase of rows.

        Steps are columns of the kernel, each in groups of ``taps`` rows, and follow the input.
        """
        h, w, weight = self.h, self.w, self.layout.weight
        steps: list[tuple[int, int]] = []
        turns = []
        for of_rows, turn in product(h.outputs, range(self.turns)):
            begin, (further, of_columns) = len(steps), divmod(turn, w.up)
            for (j, shift), (k, line) in product(w.taps(of_columns), h.taps(of_rows)[:: shape.taps]):
                plane = w.phases.index(shift % w.down) * phase
                column = (shift // w.down - w.first + further) * self.itemsize
                steps.append((plane + column + (line - h.reach[0]) * row, j * weight[4] + k * weight[3]))
            turns.append((8 * len(STEP) * begin, 8 * len(STEP) * len(steps)))
        return steps, turns

    def manner(self, columns: int) -> int:
        """How a row is copied: 0 by cells; 1, 3 in vectors of one phase or two; 2, 4 in one masked vector of each."""
        every = self.w.down
        if self.layout.input[4] != self.itemsize or every > 2 or columns == 0:
            return 0
        return 2 * every - (columns // every >= self.lanes)


def _starts(total: int, size: int) -> list[int]:
    """Where pieces of ``size`` begin that cover ``total``; the last begins earlier, so that it is whole."""
    return [min(start, total - size) for start in range(0, total, size)]
