"""A schedule as one array of 64-bit integers, the *program*, which the compiled kernels walk and ``model`` executes.

The program's first words are ``HEAD``. A problem is so many images, groups and *items*; an item is a box of one pass
and a range of its channel blocks, and names the pass's record (``PASS``), which in turn names its tables:

    phase_table   (f_d, f_h, f_w) for each phase plane that is packed
    chunk_table   CHUNK: channels that are packed at a time, and their blocks of steps
    block of steps  STEPS: where its steps begin in the table of steps, how many, and what to add to both operands
    table of steps  (input bytes, weight bytes): one multiply-add of every output in the tile
    block_table   BLOCK: the first output channel, and how many rows of the tile
    tile_table    TILE: the first position in the plane, how many vectors, and the runs that are stored
    run_table     RUN: lanes that are outputs which lie one behind another
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from miniconv.codegen.schedule import (
    STEPS_IN_REGISTERS,
    Axis,
    Box,
    Layout,
    Pass,
    Segment,
    Tile,
    choose_box,
    choose_channels,
    choose_tile,
    passes_of,
    split,
    whole_axis,
)
from miniconv.codegen.target import Target
from miniconv.problem import ConvProblem

__all__ = ["BLOCK", "CHUNK", "HEAD", "ITEM", "PASS", "RUN", "STEPS", "TILE", "Schedule"]

Table = NDArray[np.int64]

LINE_BYTES = 64
LARGEST_BUDGET = 1 << 20  # bytes of packed input
PAGE_BYTES = 4096
SCATTERED_BYTES = 8 << 20  # from here on a copy was measured to pay, by 5 to 20 %
SMALL_IMAGE = 128  # outputs; several images of a batch are then one problem


def _fields(*names: str) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}


# Distances in bytes, sizes and counts in elements; tables are named by the word of the program where they begin.
HEAD = _fields("images", "groups", "items", "item_table")
ITEM = _fields("pass", "d", "h", "w", "output", "first_block", "end_block")  # d, h, w: the first input cell
PASS = _fields(
    *("x_image", "x_group", "x_channel", "x_d", "x_h", "x_w"),  # the caller's input
    *("size_d", "size_h", "size_w"),  # cells of the input
    *("step_d", "step_h", "step_w"),  # from a packed cell to the next, in cells of the input
    *(
        "packed",
        "planes",
        "phases",
        "phase_table",
        "rows_d",
        "rows_h",
        "pitch",
        "overlap",
        "row",
        "slice",
        "plane",
        "channel",
    ),
    *("w_group", "w_row", "steps", "chunks", "chunk_table"),
    *("y_image", "y_group", "y_channel", "y_w"),
    *("outputs", "block_table", "tiles", "tile_table", "channels_outside"),
)
CHUNK = _fields("channel", "channels", "blocks", "block_table", "weight")
STEPS = _fields("first", "count", "input", "weight")
BLOCK = _fields("channel", "rows")
TILE = _fields("position", "vectors", "runs", "run_table", "dense", "output")
RUN = _fields("lane", "count", "output")


class Geometry(NamedTuple):
    """How the input of one box lies, in scratch or where the caller has it. Distances in bytes."""

    packed: bool
    pitch: int  # cells from a row to the next
    overlap: int  # cells of padding behind the last slice, which others share with the next
    row: int
    slice: int
    plane: int
    channel: int


@dataclass(frozen=True)
class Schedule:
    """All tables of one problem.

    Attributes:
        program: the tables.
        tile: the register tile of the first pass.
        kernels: the (rows, vectors) of the micro-kernels that are called.
        scratch_bytes: what a thread needs beside the operands.
        packed: whether input is copied.
        box: the first pass's box.
        units: images times groups times items.
        lanes: elements of a vector.
    """

    program: Table
    tile: Tile
    kernels: frozenset[tuple[int, int]]
    scratch_bytes: int
    packed: bool
    box: Box
    units: int
    lanes: int

    @classmethod
    def of(
        cls,
        problem: ConvProblem,
        layout: Layout,
        target: Target,
        itemsize: int,
        threads: int = 1,
        images_apart: bool = False,
    ) -> Schedule:
        """The schedule of ``problem`` for operands that lie as ``layout`` says.

        Args:
            problem: any problem with no empty operand.
            layout: strides in bytes, of five axes each.
            target: the processor.
            itemsize: bytes of an element: 4 or 8.
            threads: how many will share the work. The cut changes with it, the sums do not.
            images_apart: whether every unit must belong to a single image.
        """
        return _Writer(problem, layout, target, itemsize, threads, images_apart).schedule()


class _Writer:
    """Writes the tables; a class for what they all need to know."""

    def __init__(
        self, problem: ConvProblem, layout: Layout, target: Target, itemsize: int, threads: int, images_apart: bool
    ) -> None:
        self.problem, self.layout, self.target = problem, layout, target
        self.images_apart = images_apart
        self.itemsize, self.threads = itemsize, threads
        self.lanes = target.lanes(itemsize)
        self.budget = min(target.l2_bytes // 2, LARGEST_BUDGET)
        self.channels = problem.in_channels // problem.groups
        self.outputs = problem.out_channels // problem.groups
        sizes = (1,) * (3 - problem.spatial_dims) + problem.input_size
        self.size = (sizes[0], sizes[1], sizes[2])
        self.words: list[Table] = [np.zeros(len(HEAD), np.int64)]
        self.end = len(HEAD)
        self.kernels: set[tuple[int, int]] = set()
        self.scratch_bytes = 0

    def table(self, rows: object) -> int:
        """Append a table; the word where it begins."""
        words = np.asarray(rows, np.int64).reshape(-1)
        begin, self.end = self.end, self.end + len(words)
        self.words.append(words)
        return begin

    def schedule(self) -> Schedule:
        """All passes, then the head."""
        groups = self.problem.groups
        of_image = passes_of(self.problem)
        chunks = [choose_channels(axes, self.channels, self.budget, self.itemsize) for axes in of_image]
        images = self.problem.batch or 1
        if self.images_are_slices(images):
            self.layout = Layout(*((s[0], s[1], s[0], *s[3:]) for s in self.layout))._replace(weight=self.layout.weight)
            self.size, images = (images, *self.size[1:]), 1
            of_image = [(whole_axis(self.size[0]), h, w) for _, h, w in of_image]
        passes = [self.merged(axes) for axes in of_image]
        boxes = [self.box(axes, chunk) for axes, chunk in zip(passes, chunks)]
        units = images * groups * sum(map(_box_count, passes, boxes))
        parts = 1 if units % self.threads == 0 or units >= 4 * self.threads else self.threads
        items = [item for axes, box in zip(passes, boxes) for item in self.items(axes, box, parts)]
        self.words[0][:] = images, groups, len(items), self.table(items)
        return Schedule(
            program=np.concatenate(self.words),
            tile=self.tile,
            kernels=frozenset(self.kernels),
            scratch_bytes=self.scratch_bytes,
            packed=self.packed,
            box=boxes[0],
            units=images * groups * len(items),
            lanes=self.lanes,
        )

    def images_are_slices(self, images: int) -> bool:
        """Whether the images are a spatial axis: vectors then hold positions of several, and the weights serve all."""
        if images == 1 or self.images_apart or self.problem.spatial_dims == 3:
            return False
        outputs = math.prod(self.problem.output_size)
        vectors = -(-outputs // self.lanes)
        return outputs <= SMALL_IMAGE and (outputs < 0.9 * vectors * self.lanes or any(map(sum, self.problem.padding)))

    def merged(self, axes: Pass) -> Pass:
        """A pointwise pass over long rows, if rows (and slices) lie one behind another in input and output."""
        for axis in (1, 0):  # rows that are joined to slices, slices to one long row
            d, h, w = self.size
            inner, outer = (w, h) if axis else (h * w, d)
            joined = all(s[axis + 2] == s[4] * inner for s in (self.layout.input, self.layout.output)) or outer == 1
            if not joined or tuple(axes[axis:]) != tuple(map(whole_axis, self.size[axis:])):
                break
            self.size = (d, 1, h * w) if axis else (1, 1, d * h * w)
            axes = (axes[0] if axis else whole_axis(1), whole_axis(1), whole_axis(self.size[2]))
            strides = ((*s[:3], s[4] * self.size[2], s[4]) for s in (self.layout.input, self.layout.output))
            self.layout = Layout(next(strides), self.layout.weight, next(strides))
        return axes

    def box(self, axes: Pass, chunk: int) -> Box:
        """All positions where nothing is packed and the weights stay in the cache; else what the cache holds."""
        whole = (axes[0].count, axes[1].count, axes[2].count)
        weights = self.outputs * self.channels * math.prod(len(axis.taps) for axis in axes) * self.itemsize
        if weights <= self.budget and not self.geometry(axes, whole).packed:
            return Box(whole, chunk)
        return choose_box(axes, chunk, self.budget, self.itemsize)

    def items(self, axes: Pass, box: Box, parts: int) -> list[Sequence[int]]:
        """The items of one pass, cut into parts if there are too few for the threads: positions if there are many."""
        size = list(box.size)
        cut = next((axis for axis in range(3) if size[axis] >= parts), 2)
        if parts > 1 and math.prod(size) >= parts * 2 * self.lanes * 3 and size[cut] >= parts:
            size[cut], parts = -(-size[cut] // parts), 1
        pieces = [_pieces(axis, n, m) for axis, n, m in zip(axes, size, (1, 1, self.lanes))]
        records: dict[tuple[int, ...], tuple[int, int]] = {}
        items: list[Sequence[int]] = []
        for corner in product(*pieces):
            shape = (corner[0].count, corner[1].count, corner[2].count)
            if shape not in records:
                records[shape] = self.record(axes, shape, box.channels)
            record, blocks = records[shape]
            output = sum(piece.out * stride for piece, stride in zip(corner, self.layout.output[2:]))
            bounds = np.cumsum([0, *split(blocks, -(-blocks // parts))]).tolist()
            for first, end in pairwise(bounds):
                items.append((record, *(piece.input for piece in corner), output, first, end))
        return items

    def record(self, axes: Pass, shape: tuple[int, int, int], chunk: int) -> tuple[int, int]:
        """The record of a pass over boxes of one shape, and how many channel blocks it has."""
        geometry = self.geometry(axes, shape)
        positions = _positions(shape, geometry, self.itemsize)
        self.tile = tile = choose_tile(self.outputs, positions, self.target, self.itemsize)
        if not geometry.packed and positions < tile.vectors * self.lanes:
            geometry = self.packed_geometry(axes, shape)
            positions = _positions(shape, geometry, self.itemsize)
        self.packed = geometry.packed
        blocks = split(self.outputs, tile.rows)
        tiles = self.tiles(shape, geometry, axes, positions, tile.vectors, chunk)
        self.kernels |= {
            (rows, int(vectors))
            for rows in blocks
            for vectors in {tiles[0, TILE["vectors"]], tiles[-1, TILE["vectors"]]}
        }
        steps, chunks = self.steps(axes, geometry, chunk)
        phases = list(product(*(axis.phases for axis in axes)))
        # scratch: the tile's sums, then the planes, then a tile's width that lanes of no output may read
        planes = -(-(tile.rows * tile.vectors + 1) * self.target.vector_bytes // LINE_BYTES) * LINE_BYTES
        behind = chunk * geometry.channel + tile.vectors * self.target.vector_bytes if geometry.packed else 0
        self.scratch_bytes = max(self.scratch_bytes, planes + behind)
        x, w, y = self.layout
        w_group, w_row = (self.outputs, w[0]) if not self.problem.transposed else (self.channels, w[1])
        fields = {
            **dict(zip(PASS, (x[0], x[1] * self.channels, *x[1:], *self.size))),
            **{f"step_{a}": axis.in_step for a, axis in zip("dhw", axes)},
            "planes": planes,
            "phases": len(phases),
            "phase_table": self.table(phases),
            "rows_d": shape[0] + axes[0].halo,
            "rows_h": geometry.slice // geometry.row,
            **geometry._asdict(),
            "w_group": w_group * w[0],
            "w_row": w_row,
            "steps": steps,
            "chunks": len(chunks),
            "chunk_table": self.table(chunks),
            **{"y_image": y[0], "y_group": y[1] * self.outputs, "y_channel": y[1], "y_w": y[4] * axes[2].out_step},
            "outputs": self.outputs,
            "block_table": self.table(list(zip(np.cumsum([0, *blocks]).tolist(), blocks))),
            "tiles": len(tiles),
            "tile_table": self.table(tiles),
            "channels_outside": self.channels_outside(axes, shape, geometry, chunk),
        }
        return self.table([fields[name] for name in PASS]), len(blocks)

    def channels_outside(self, axes: Pass, shape: tuple[int, int, int], geometry: Geometry, chunk: int) -> bool:
        """Whether the outer loop is over blocks of channels: what the inner loop passes over again must be the smaller.

        That is the weights of all channels for each tile, or the input of the box for each block of channels. Few
        steps and many outputs are another reason: then one block's outputs are a few long stretches of memory.
        """
        steps = chunk * math.prod(len(axis.taps) for axis in axes)
        weights = self.outputs * steps * self.itemsize
        input_bytes = chunk * _positions(shape, geometry, self.itemsize) * self.itemsize
        few = steps <= self.outputs // 2 and self.layout.output[1] != self.itemsize
        return few or weights > max(input_bytes, self.target.l2_bytes // 2)

    def geometry(self, axes: Pass, shape: tuple[int, int, int]) -> Geometry:
        """The caller's own memory if nothing has to be copied, else scratch."""
        x_d, x_h, x_w = self.layout.input[2:]
        channel = self.layout.input[1]
        inside = all(s.input == 0 for a in axes for s in a.segments) and all(
            a.low >= 0 and a.low + a.halo + a.count <= n for a, n in zip(axes, self.size)
        )
        unit = x_w == self.itemsize and all(a.in_step == 1 for a in axes) and all(a.taps for a in axes)
        width = shape[2] * self.itemsize
        rows = shape[0] * shape[1] == 1 or (x_h % self.itemsize == 0 and width <= x_h <= width * 5 // 4)
        slices = shape[0] == 1 or (x_d % max(1, x_h) == 0 and shape[1] * x_h <= x_d <= shape[1] * x_h * 5 // 4)
        # planes a multiple of the cache's sets apart would push one another out
        crowded = channel % 2048 == 0 and self.outputs > 32
        # so many pages, and a new one for each channel: one copy costs less than to visit them for every tile
        bytes_ = (self.problem.batch or 1) * self.problem.in_channels * channel
        scattered = self.outputs > 32 and channel >= PAGE_BYTES and bytes_ > SCATTERED_BYTES
        if inside and unit and rows and slices and not crowded and not scattered:
            # a single row has no next one, but its taps may: then, too, the distance is the caller's
            row = x_h if shape[0] * shape[1] > 1 or axes[1].halo else width
            slice_bytes = x_d if shape[0] > 1 or axes[0].halo else row * shape[1]
            return Geometry(False, row // self.itemsize, 0, row, slice_bytes, 0, channel)
        return self.packed_geometry(axes, shape)

    def packed_geometry(self, axes: Pass, shape: tuple[int, int, int]) -> Geometry:
        """Scratch: rows of all cells that are read."""
        cells, rows = shape[2] + axes[2].halo, shape[1] + axes[1].halo
        overlap, shared = (self.shared_padding(axes[i], shape[i], self.size[i]) for i in (2, 1))
        pitch = cells - overlap
        row = pitch * self.itemsize
        slice_bytes = row * (rows - shared)
        zeros = shared * pitch + overlap  # behind the last slice
        plane = slice_bytes * (shape[0] + axes[0].halo) + zeros * self.itemsize
        phases = math.prod(len(a.phases) for a in axes)
        lines = -(-plane * phases // LINE_BYTES) | 1  # an odd number: neighbours use different sets of the cache
        return Geometry(True, pitch, zeros, row, slice_bytes, plane, lines * LINE_BYTES)

    def shared_padding(self, axis: Axis, count: int, size: int) -> int:
        """How many cells of padding behind a row or slice are also those before the next: of whole ones only."""
        if count != axis.count or axis.segments[0].input:
            return 0
        behind = axis.low + count + axis.halo - -(-size // axis.in_step)
        return max(0, min(-axis.low, behind, axis.halo))

    def steps(self, axes: Pass, geometry: Geometry, chunk: int) -> tuple[int, list[Sequence[int]]]:
        """The table of steps, and the chunks of channels."""
        w = self.layout.weight
        w_channel = w[0] if self.problem.transposed else w[1]
        phase = {f: i * geometry.plane for i, f in enumerate(product(*(axis.phases for axis in axes)))}
        unit = (geometry.slice, geometry.row, self.itemsize)
        taps = [
            (
                phase[tuple(tap.phase for tap in cell)]
                + sum((tap.step - axis.low) * bytes_ for tap, axis, bytes_ in zip(cell, axes, unit)),
                sum(tap.index * stride for tap, stride in zip(cell, w[2:])),
            )
            for cell in product(*(axis.taps for axis in axes))
        ]
        together = max(1, STEPS_IN_REGISTERS // max(1, len(taps)))  # channels in one block of steps
        channel = np.arange(min(together, chunk))[:, None, None] * [geometry.channel, w_channel]
        steps = self.table(channel + np.array(taps, np.int64).reshape(1, -1, 2))
        chunks: list[Sequence[int]] = []
        tables: dict[int, tuple[int, int]] = {}
        for first in range(0, self.channels, chunk):
            size = min(chunk, self.channels - first)
            if size not in tables:
                rows = [
                    (begin, count, c * geometry.channel, c * w_channel)
                    for c in range(0, size, together)
                    for begin, count in _ranges(min(together, size - c) * len(taps))
                ]
                tables[size] = len(rows), self.table(rows)
            chunks.append((first, size, *tables[size], first * w_channel))
        return steps, chunks

    def tiles(
        self, shape: tuple[int, int, int], geometry: Geometry, axes: Pass, positions: int, vectors: int, chunk: int
    ) -> Table:
        """The tiles of a box: where each begins, how many vectors it has, and which runs of its lanes are outputs."""
        sizes = np.array(split(-(-positions // self.lanes), vectors))
        begins = np.cumsum([0, *sizes]) * self.lanes
        rows = np.arange(shape[1]) * (geometry.row // self.itemsize)
        slices = np.arange(shape[0]) * (geometry.slice // self.itemsize)
        row_begins = (slices[:, None] + rows).ravel()
        y_d, y_h, y_w = (self.layout.output[2 + i] * axes[i].out_step for i in range(3))
        row_outputs = (np.arange(shape[0])[:, None] * y_d + np.arange(shape[1]) * y_h).ravel()
        # a run ends where its row or its tile ends
        run_begins = np.sort(np.concatenate([row_begins, begins[:-1]]))  # of two equal ones the first is an empty run
        row = np.searchsorted(row_begins, run_begins, side="right") - 1
        column = run_begins - row_begins[row]
        tile = np.searchsorted(begins, run_begins, side="right") - 1
        next_begin = np.append(run_begins[1:], positions)
        length = np.minimum(next_begin, row_begins[row] + shape[2]) - run_begins
        kept = length > 0
        firsts = begins[:-1].copy()
        if positions >= sizes[-1] * self.lanes:
            # the last tile begins earlier: the caller's memory ends with the last position. In a single row it writes
            # some outputs a second time, and all its lanes are outputs
            firsts[-1] = min(firsts[-1], positions - sizes[-1] * self.lanes)
            if len(row_begins) == 1 and chunk >= self.channels:
                run_begins[-1], column[-1] = firsts[-1], firsts[-1]
                length[-1] = positions - firsts[-1]
        lane = run_begins - firsts[tile]
        runs = np.stack([lane, length, row_outputs[row] + column * y_w], axis=1)[kept]
        count = np.bincount(tile[kept], minlength=len(sizes))
        run_table = self.table(runs)
        first_run = run_table + len(RUN) * np.cumsum(np.append(0, count[:-1]))
        kept_lane, kept_length, kept_output = runs.T
        first_of = np.minimum(np.cumsum(np.append(0, count[:-1])), len(runs) - 1)
        dense = (count == 1) & (kept_length[first_of] == sizes * self.lanes) & (y_w == self.itemsize)
        columns = [
            firsts * self.itemsize,
            sizes,
            count,
            first_run,
            dense,
            kept_output[first_of] - kept_lane[first_of] * y_w,
        ]
        return np.stack(columns, axis=1)


def _pieces(axis: Axis, largest: int, multiple: int) -> list[Segment]:
    """The segments of an axis cut into pieces; ``input`` is the first cell that is read, ``out`` the first written.

    All but the last have a multiple of so many cells, that what was aligned stays so.
    """
    pieces = []
    for segment in axis.segments:
        parts = -(-segment.count // largest)
        each = -(-segment.count // parts)
        each = each if parts == 1 else -(-each // multiple) * multiple
        for start in range(0, segment.count, each):
            first = axis.in_step * (start + axis.low) + segment.input
            count = min(each, segment.count - start)
            pieces.append(Segment(axis.out_step * start + segment.out, first, count))
    return pieces


def _box_count(axes: Pass, box: Box) -> int:
    return math.prod(len(axis.segments) * -(-axis.count // size) for axis, size in zip(axes, box.size))


def _positions(shape: tuple[int, int, int], geometry: Geometry, itemsize: int) -> int:
    """From the first to the last output of a box, those between rows included."""
    return ((shape[0] - 1) * geometry.slice + (shape[1] - 1) * geometry.row) // itemsize + shape[2]


def _ranges(count: int) -> list[tuple[int, int]]:
    """``count`` steps in ranges that are summed in registers; one empty range where there are none."""
    return [(i, min(STEPS_IN_REGISTERS, count - i)) for i in range(0, max(1, count), STEPS_IN_REGISTERS)]
