"""A schedule as one array of integers, the *program*: ``records`` says what its words are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate, pairwise, product

import numpy as np

from miniconv.codegen.geometry import LINE_BYTES, Geometry, in_place, packed
from miniconv.codegen.records import HEAD, KERNELS, PARTS, PASS, TILE, Table, rows_of
from miniconv.codegen.schedule import (
    PAGE_BYTES,
    STEPS_IN_REGISTERS,
    Axis,
    Box,
    Layout,
    Pass,
    Segment,
    Sums,
    Tile,
    Triple,
    cells_of,
    choose_box,
    choose_sums,
    choose_tile,
    passes_of,
    ranges,
    split,
    whole_axis,
)
from miniconv.codegen.target import Target
from miniconv.codegen.tiles import Lanes, tile_table
from miniconv.problem import ConvProblem

__all__ = ["Schedule"]

LARGEST_BUDGET = 1 << 20  # bytes of packed input
SCATTERED_BYTES = 8 << 20  # from here on a copy was measured to pay, by 5 to 20 %
PART_VECTORS = 6  # of positions that a thread is given at least, rather than some of the outputs
POINTWISE_PART_VECTORS = 24  # of one tap: its input is copied cheaply, and threads had better not meet in cache lines
SMALL_IMAGE = 128  # outputs; several images of a batch are then one problem


@dataclass(frozen=True)
class Schedule:
    """All tables of one problem.

    Attributes:
        program: the tables.
        tile: the register tile of the first pass.
        kernels: the functions that are called: micro-kernels, and those that ``PARTS`` names.
        scratch_bytes: what a thread needs beside the operands.
        packed: whether input is copied.
        box: the first pass's box.
        units: images times groups times items.
        lanes: elements of a vector.
        filled: which share of the lanes that are computed are outputs; the others lie behind the end of a row or box.
    """

    program: Table
    tile: Tile
    kernels: frozenset[str | tuple[bool, int, int]]
    scratch_bytes: int
    packed: bool
    box: Box
    units: int
    lanes: int
    filled: float

    @classmethod
    def of(
        cls,
        problem: ConvProblem,
        layout: Layout,
        target: Target,
        itemsize: int,
        threads: int = 1,
    ) -> Schedule:
        """The schedule of ``problem`` for operands that lie as ``layout`` says.

        Args:
            problem: any problem with no empty operand.
            layout: strides in bytes, of five axes each.
            target: the processor.
            itemsize: bytes of an element: 4 or 8.
            threads: how many will share the work. The cut changes with it, the sums do not.
        """
        return _Writer(problem, layout, target, itemsize, threads).schedule()


class _Writer:
    """Writes the tables; a class for what they all need to know."""

    def __init__(self, problem: ConvProblem, layout: Layout, target: Target, itemsize: int, threads: int) -> None:
        self.problem, self.layout, self.target = problem, layout, target
        self.itemsize, self.threads = itemsize, threads
        self.lanes = target.lanes(itemsize)
        self.budget = min(target.l2_bytes // 2, LARGEST_BUDGET)
        self.channels = problem.in_channels // problem.groups
        self.outputs = problem.out_channels // problem.groups
        sizes = (1,) * (3 - problem.spatial_dims) + problem.input_size
        self.size = (sizes[0], sizes[1], sizes[2])
        self.words: list[Table] = [np.zeros(len(HEAD), np.int64)]
        self.end = len(HEAD)
        self.kernels: set[str | tuple[bool, int, int]] = {"run"}
        self.scratch_bytes = 0
        self.records: dict[tuple[object, ...], tuple[int, int, int]] = {}
        self.wanted = self.computed = 0  # outputs, and lanes that are computed for them, times the taps of each

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
        sums = self.sums(of_image)
        images = self.problem.batch or 1
        if self.images_are_slices(images):
            self.layout = Layout(*((s[0], s[1], s[0], *s[3:]) for s in self.layout))._replace(weight=self.layout.weight)
            self.size, images = (images, *self.size[1:]), 1
            of_image = [(whole_axis(self.size[0]), h, w) for _, h, w in of_image]
        passes = [self.merged(axes) for axes in of_image]
        boxes = [self.box(axes, each) for axes, each in zip(passes, sums)]
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
            filled=self.wanted / max(1, self.computed),
        )

    def sums(self, passes: list[Pass]) -> list[Sums]:
        """How each pass forms its sums; those that differ in position alone, such as phases, ask once."""
        known: dict[object, Sums] = {}
        chosen = []
        for axes in passes:
            key = tuple((axis.count, axis.halo, len(axis.taps), len(axis.phases), axis.in_step) for axis in axes)
            if key not in known:
                known[key] = choose_sums(axes, self.channels, self.outputs, self.budget, self.itemsize)
            chosen.append(known[key])
        return chosen

    def images_are_slices(self, images: int) -> bool:
        """Whether the images are a spatial axis: vectors then hold positions of several, and the weights serve all."""
        if images == 1 or self.problem.spatial_dims == 3:
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

    def box(self, axes: Pass, sums: Sums) -> Box:
        """All positions where nothing is packed and the weights stay in the cache; else what the cache holds."""
        whole = (axes[0].count, axes[1].count, axes[2].count)
        steps = sums.channels * cells_of(axes)
        weights = self.outputs * self.channels * cells_of(axes) * self.itemsize
        kept = sums.panelled and self.channels_outside(steps, self.budget // 2)
        if weights <= self.budget and not kept and self.in_place(axes, whole, sums.panelled):
            return Box(whole, sums)
        return choose_box(axes, sums, self.budget, self.itemsize, steps if kept else 0)

    def items(self, axes: Pass, box: Box, parts: int) -> list[Sequence[int]]:
        """The items of one pass, cut into parts if there are too few for the threads: positions if there are many."""
        size = list(box.size)
        cut = next((axis for axis in range(3) if size[axis] >= parts), 2)
        least = POINTWISE_PART_VECTORS if cells_of(axes) == 1 else PART_VECTORS
        if parts > 1 and math.prod(size) >= parts * least * self.lanes and size[cut] >= parts:
            size[cut], parts = -(-size[cut] // parts), 1
        pieces = [_pieces(axis, n, m) for axis, n, m in zip(axes, size, (1, 1, self.lanes))]
        weight = sum(axis.taps[0].index * stride for axis, stride in zip(axes, self.layout.weight[2:]) if axis.taps)
        items: list[Sequence[int]] = []
        for corner in product(*pieces):
            shape = corner[0].count, corner[1].count, corner[2].count
            record, blocks, vectors = self.record(axes, shape, box.sums)
            self.wanted += math.prod(shape) * cells_of(axes)
            self.computed += vectors * self.lanes * cells_of(axes)
            output = sum(piece.out * stride for piece, stride in zip(corner, self.layout.output[2:]))
            for first, end in pairwise(accumulate(split(blocks, -(-blocks // parts)), initial=0)):
                items.append((record, *(piece.input for piece in corner), weight, output, first, end))
        return items

    def record(self, axes: Pass, shape: Triple, sums: Sums) -> tuple[int, int, int]:
        """The record of a pass over boxes of one shape, its channel blocks and vectors; the same for equal ones."""
        geometry = self.geometry(axes, shape, sums.panelled)
        key = shape, sums, geometry, *(axis.cells for axis in axes)
        if key not in self.records:
            self.records[key] = self.new_record(axes, shape, sums, geometry)
        return self.records[key]

    def new_record(self, axes: Pass, shape: Triple, sums: Sums, geometry: Geometry) -> tuple[int, int, int]:
        """As ``record``, for the first of those that are equal."""
        y_d, y_h, y_w = (self.layout.output[2 + i] * axes[i].out_step for i in range(3))
        lanes = Lanes(
            *(shape, geometry, self.itemsize, self.lanes, 0, sums.panelled),
            outputs=(y_d, y_h, y_w),
            again=sums.channels >= self.channels,
        )
        self.tile = tile = choose_tile(self.outputs, lanes.total, self.target, self.itemsize)
        if not geometry.packed and lanes.total < tile.vectors * self.lanes:
            geometry = packed(axes, shape, self.size, self.itemsize)
        self.packed = geometry.packed
        lanes = lanes._replace(geometry=geometry, vectors=tile.vectors)
        blocks = split(self.outputs, tile.rows)
        steps, chunks = self.steps(axes, geometry, sums.channels)
        plain = self.table(steps)
        tiles = tile_table(
            lanes, cache(partial(self.panel_steps, steps)) if sums.panelled else lambda _: plain, self.table
        )
        # weights that lie one behind another need no table of steps
        walks = sums.panelled and bool((steps[:, 1] == np.arange(len(steps)) * self.itemsize).all())
        tiles[:, TILE["kernel"]] = walks * KERNELS[1] * KERNELS[2] + tiles[:, TILE["vectors"]]
        vectors = tiles[0, TILE["vectors"]].item(), tiles[-1, TILE["vectors"]].item()
        self.kernels |= set(product([walks], set(blocks), vectors))
        store = "runs_across" if y_w != self.itemsize == self.layout.output[1] else "runs"
        if len(chunks) > 1 or not tiles[:, TILE["dense"]].all():
            self.kernels.add(store)
        pack = "pack_across" if self.layout.input[4] != self.itemsize == self.layout.input[1] else "pack"
        self.kernels.update(name for name, used in ((pack, geometry.packed), ("panel", sums.panelled)) if used)
        phases = list(product(*(axis.phases for axis in axes)))
        all_steps = sums.channels * cells_of(axes)
        inputs = sums.channels * lanes.total * self.itemsize
        kept = self.channels_outside(
            all_steps, self.budget // 2 if sums.panelled else max(inputs, self.target.l2_bytes // 2)
        )
        # scratch: the tile's sums, then the planes, then the panels; lanes of no output may read or write a tile's
        # width behind them
        planes = _lines((tile.rows * tile.vectors + 1) * self.target.vector_bytes)
        width = tile.vectors * self.target.vector_bytes
        panels = planes + _lines(sums.channels * geometry.channel + width if geometry.packed else 0)
        panel = all_steps * width if kept else 0
        behind = all_steps * width * (len(tiles) if kept else 1) + width if sums.panelled else 0
        self.scratch_bytes = max(self.scratch_bytes, panels + behind)
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
            "packed": PARTS[pack] * geometry.packed,
            **{"panelled": PARTS["panel"] * sums.panelled, "panels": panels, "panel": panel},
            "w_group": w_group * w[0],
            "w_row": w_row,
            "steps": plain,
            "chunks": len(chunks),
            "chunk_table": self.table(chunks),
            **{"y_image": y[0], "y_group": y[1] * self.outputs, "y_channel": y[1], "y_w": y_w, "store": PARTS[store]},
            "outputs": self.outputs,
            "block_table": self.table(list(zip(accumulate(blocks, initial=0), blocks))),
            "tiles": len(tiles),
            "tile_table": self.table(tiles),
            "channels_outside": kept,
        }
        return self.table([fields[name] for name in PASS]), len(blocks), int(tiles[:, TILE["vectors"]].sum())

    def panel_steps(self, steps: Table, vectors: int) -> int:
        """The table of steps for panels of so many vectors: the same weights, and rows one behind another."""
        rows = np.arange(len(steps)) * vectors * self.target.vector_bytes
        return self.table(rows_of(rows, steps[:, 1]))

    def channels_outside(self, steps: int, cached_bytes: int) -> bool:
        """Whether the outer loop is over blocks of channels; then a box's panels are all made first, and kept.

        What the inner loop passes over again must be the smaller: the weights of a chunk for each tile, if so many
        bytes of them stay in the cache, or the input of the box for each block of channels. Few steps and many outputs
        are another reason: then one block's outputs are a few long stretches of memory.
        """
        few = steps <= self.outputs // 2 and self.layout.output[1] != self.itemsize
        return few or self.outputs * steps * self.itemsize > cached_bytes

    def geometry(self, axes: Pass, shape: Triple, panelled: bool) -> Geometry:
        """The caller's own memory if nothing has to be copied, else scratch."""
        return self.in_place(axes, shape, panelled) or packed(axes, shape, self.size, self.itemsize)

    def in_place(self, axes: Pass, shape: Triple, panelled: bool) -> Geometry | None:
        """The caller's own memory, if nothing has to be copied and a copy does not pay."""
        strides = self.layout.input[1:]
        there = in_place(axes, shape, self.size, strides, self.itemsize, gaps=not panelled)
        # planes a multiple of the cache's sets apart would push one another out
        crowded = strides[0] % 2048 == 0
        # so many pages, and a new one for each channel: one copy costs less than to visit them for every tile
        bytes_ = (self.problem.batch or 1) * self.problem.in_channels * strides[0]
        scattered = strides[0] >= PAGE_BYTES and bytes_ > SCATTERED_BYTES
        if there is None or (not panelled and self.outputs > 32 and (crowded or scattered)):
            return None
        return there

    def steps(self, axes: Pass, geometry: Geometry, chunk: int) -> tuple[Table, list[Sequence[int]]]:
        """The steps, and the chunks of channels."""
        w = self.layout.weight
        w_channel = w[0] if self.problem.transposed else w[1]
        planes = math.prod(len(axis.phases) for axis in axes) * geometry.plane
        taps = [(0, 0)]
        for axis, bytes_, stride in zip(axes, (geometry.slice, geometry.row, self.itemsize), w[2:]):
            planes //= max(1, len(axis.phases))
            ways = [(axis.phases.index(f) * planes + step * bytes_, i * stride) for i, f, step in axis.cells]
            taps = [(x + more_x, at + more) for x, at in taps for more_x, more in ways]
        together = max(1, STEPS_IN_REGISTERS // max(1, len(taps)))  # channels in one block of steps
        channel = np.arange(min(together, chunk))[:, None, None] * np.array([geometry.channel, w_channel])
        steps = (channel + np.array(taps, np.int64).reshape(1, -1, 2)).reshape(-1, 2)
        chunks: list[Sequence[int]] = []
        tables: dict[int, tuple[int, int]] = {}
        for first in range(0, self.channels, chunk):
            size = min(chunk, self.channels - first)
            if size not in tables:
                rows = [
                    (begin, count, c * geometry.channel, c * w_channel, c * len(taps))
                    for c, n in ranges(size, together)
                    # equal parts, because an error grows faster than the length of the longest sum; one of nothing
                    for begin, count in ranges(n * len(taps), STEPS_IN_REGISTERS) or [(0, 0)]
                ]
                tables[size] = len(rows), self.table(rows)
            chunks.append((first, size, *tables[size], first * w_channel))
        return steps, chunks


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


def _lines(size: int) -> int:
    """So many bytes in whole cache lines."""
    return -(-size // LINE_BYTES) * LINE_BYTES
