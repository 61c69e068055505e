"""From a convolution to a schedule: which numbers are multiplied, in which order, written as one table of integers.

A schedule says everything that the compiled kernels need to know about a problem, so that a new shape compiles
nothing. It is made in four steps, each a function below:

1. ``passes_of``: the convolution as one or more *passes*. In a pass, output cell ``out_step * j + out`` is the sum over
   taps of ``weight[tap] * input[in_step * j + shift(tap)]``, on every axis. An ordinary convolution is one pass
   (out_step 1, in_step its stride); a transposed one is a pass for each phase of its stride (in_step 1, out_step its
   stride), which never multiplies by the zeros that a definition would insert. Rows of a dilated convolution that lie
   one dilation apart are a segment of their own: they share input, and their neighbours none.
2. ``choose_sums``: how many channels at a time, and whether the input is copied to panels. ``choose_box``: how many
   output positions share a piece of input that stays in the cache.
3. ``choose_tile``: how many output channels (MR) by how many vectors of positions (NV) are kept in registers.
4. ```tables.Schedule``: all of it as integers.

The input of a box is *packed*: copied to scratch memory, zero padding included, one plane for each channel and each
phase ``(in_step * j + f) mod in_step`` of the stride. There every tap is a constant distance, and consecutive outputs
of all rows are consecutive in memory. So positions are *flattened*: a vector holds VL consecutive cells of the packed
plane and may straddle the end of a row; what it computes between two rows is not stored. Where there is no padding and
no stride and rows lie one behind another, the caller's own memory has these properties, and nothing is packed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise, product
from typing import NamedTuple

from miniconv.codegen.target import Target
from miniconv.lazy import cached_property
from miniconv.problem import ConvProblem

__all__ = [
    "PAGE_BYTES",
    "STEPS_IN_REGISTERS",
    "Axis",
    "Box",
    "Layout",
    "Pass",
    "Segment",
    "Sums",
    "Tap",
    "Tile",
    "Triple",
    "cells_of",
    "choose_box",
    "choose_sums",
    "choose_tile",
    "panels_pay",
    "passes_of",
    "ranges",
    "split",
    "whole_axis",
]

Triple = tuple[int, int, int]

STEPS_IN_REGISTERS = 192  # then the sums go to the tile in memory: shorter sums, smaller rounding errors
LEAST_PANEL_STEPS = 256  # of a chunk of channels, where panels are kept: each chunk's sums are added to the output
PANEL_STEPS = 2048  # of a chunk of channels, where panels are made: more would not stay in the cache
PAGE_BYTES = 4096
ZONED_CELLS = 1 << 14  # of the input's plane: all rows from the first tap's to the last one's are packed together
MIN_POSITIONS = 192  # of a box: fewer would make the halo and the weights' traffic dear


class Layout(NamedTuple):
    """Where the elements of the operands lie: strides in bytes, of (N, C, D, H, W), and for the weight its own axes."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    output: tuple[int, ...]


@dataclass(frozen=True)
class Tap:
    """One kernel cell on one axis: its index in the weight, the input phase it reads, and how many steps away."""

    index: int
    phase: int
    step: int


@dataclass(frozen=True)
class Segment:
    """Outputs of a pass that are computed together: the cells ``out_step * j + out`` for ``count`` values of j."""

    out: int
    input: int  # added to the input cell: out_step * j + out reads in_step * (j + step) + phase + input
    count: int


@dataclass(frozen=True)
class Axis:
    """One pass on one axis."""

    segments: tuple[Segment, ...]
    out_step: int
    in_step: int
    taps: tuple[Tap, ...]

    @cached_property
    def count(self) -> int:
        """The cells of the longest segment."""
        return self.segments[0].count

    @cached_property
    def low(self) -> int:
        """The lowest step of a tap."""
        return min((tap.step for tap in self.taps), default=0)

    @cached_property
    def halo(self) -> int:
        """How many more cells of a phase than outputs are read."""
        return max((tap.step for tap in self.taps), default=0) - self.low if len(self.taps) > 1 else 0

    @cached_property
    def cells(self) -> tuple[tuple[int, int, int], ...]:
        """Of each tap its index, phase and step, index and step counted from the lowest one."""
        return tuple((tap.index - self.taps[0].index, tap.phase, tap.step - self.low) for tap in self.taps)

    @cached_property
    def phases(self) -> tuple[int, ...]:
        """The phases of the input that are read."""
        return tuple(sorted({tap.phase for tap in self.taps}))


Pass = tuple[Axis, Axis, Axis]


class Sums(NamedTuple):
    """How a sum is formed: over so many channels at a time, and whether from panels or from planes."""

    channels: int
    panelled: bool


class Box(NamedTuple):
    """Output positions that share packed input, and how their sums are formed."""

    size: Triple
    sums: Sums


class Tile(NamedTuple):
    """What the registers hold: ``rows`` output channels by ``vectors`` vectors of positions (MR x NV)."""

    rows: int
    vectors: int


def passes_of(problem: ConvProblem) -> list[Pass]:
    """The passes of ``problem``; missing axes in front have one cell and one tap."""
    missing = [[whole_axis(1)]] * (3 - problem.spatial_dims)
    each = range(problem.spatial_dims)
    per_axis = [_zones(problem, axis) for axis in each] if _may_have_zones(problem) else []
    if not per_axis or not _zones_pay(problem, per_axis):
        per_axis = [_axis_passes(problem, axis) for axis in each]
    return [(d, h, w) for d, h, w in product(*missing, *per_axis)]


def _may_have_zones(problem: ConvProblem) -> bool:
    """Whether ``_zones_pay`` is worth asking."""
    if problem.transposed or not any(map(any, problem.padding)):
        return False
    return math.prod(problem.input_size) <= ZONED_CELLS and math.prod(problem.output_size) >= MIN_POSITIONS


def _zones_pay(problem: ConvProblem, per_axis: list[list[Axis]]) -> bool:
    """Whether to leave out the products with padding, a pass for each zone in which the same taps meet the input."""
    real = math.prod(sum(axis.count * len(axis.taps) for axis in zones) for zones in per_axis)
    zones, outputs = math.prod(map(len, per_axis)), math.prod(problem.output_size)
    return real < 0.85 * outputs * math.prod(problem.kernel_size) and outputs >= zones * MIN_POSITIONS


def _zones(problem: ConvProblem, axis: int) -> list[Axis]:
    """An ordinary convolution's axis, cut where a tap begins or ends to meet the input."""
    stride, size, out = problem.stride[axis], problem.input_size[axis], problem.output_size[axis]
    shifts = [k * problem.dilation[axis] - problem.padding[axis][0] for k in range(problem.kernel_size[axis])]
    meets = [(-(-max(0, -shift) // stride), -(-max(0, size - shift) // stride)) for shift in shifts]
    cuts = sorted({0, out, *(min(cut, out) for pair in meets for cut in pair)})
    zones = []
    for begin, end in pairwise(cuts):
        taps = tuple(
            Tap(k, shift % stride, shift // stride)
            for k, (shift, (first, last)) in enumerate(zip(shifts, meets))
            if first <= begin < last
        )
        zones.append(Axis((Segment(begin, stride * begin, end - begin),), 1, stride, taps))
    return zones


@lru_cache(maxsize=256)
def whole_axis(count: int) -> Axis:
    """An axis on which nothing happens: every cell is its own output."""
    return Axis((Segment(0, 0, count),), 1, 1, (Tap(0, 0, 0),))


def cells_of(axes: Pass) -> int:
    """How many kernel cells a pass multiplies by."""
    return math.prod(len(axis.taps) for axis in axes)


def _axis_passes(problem: ConvProblem, axis: int) -> list[Axis]:
    kernel, stride, dilation = problem.kernel_size[axis], problem.stride[axis], problem.dilation[axis]
    low, out = problem.padding[axis][0], problem.output_size[axis]
    if problem.transposed:
        passes = []
        for start in range(min(stride, out)):
            shifts = (start + low - k * dilation for k in range(kernel))
            taps = tuple(Tap(k, 0, shift // stride) for k, shift in enumerate(shifts) if shift % stride == 0)
            passes.append(Axis((Segment(start, 0, -(-(out - start) // stride)),), stride, 1, taps))
        return passes
    if stride == 1 and dilation > 1 and kernel > 1 and axis < problem.spatial_dims - 1:
        # rows that lie dilation apart share their input; the rows between them need not be near
        segments = tuple(Segment(r, r - low, -(-(out - r) // dilation)) for r in range(min(dilation, out)))
        return [Axis(segments, dilation, dilation, tuple(Tap(k, 0, k) for k in range(kernel)))]
    shifts = (k * dilation - low for k in range(kernel))
    taps = tuple(Tap(k, shift % stride, shift // stride) for k, shift in enumerate(shifts))
    return [Axis((Segment(0, 0, out),), 1, stride, taps)]


def choose_tile(out_channels: int, positions: int, target: Target, itemsize: int, near: bool = False) -> Tile:
    """The register tile with the fewest cycles for so many outputs, as a simple processor would count them.

    A step of a tile takes rows * vectors multiply-adds, two a cycle, rows broadcasts and vectors loads, two a cycle,
    and no less than the 4 cycles until a sum can be added to again. Sums, a vector of input each and one broadcast
    weight must fit the registers.

    Args:
        out_channels, positions: the outputs.
        target, itemsize: the processor, and the bytes of an element.
        near: whether a tile's steps are so few that all they read is in the first cache, however wide it is. Then the
            fewest loads are best, and they are counted on top of the multiply-adds; else a wide tile's input would be
            pushed out before the next rows read it.
    """
    vectors_needed = -(-positions // target.lanes(itemsize))

    def cycles(vectors: int) -> tuple[float, int]:
        rows = (target.registers - 1 - vectors) // vectors
        blocks, tiles = _parts(out_channels, rows), _parts(vectors_needed, vectors)
        step = sum(i * j * max((m * v + (m + v) * near) / 2, (m + v + 2) / 2, 4) for m, i in blocks for v, j in tiles)
        return step, abs(vectors - 3)  # among equals the squarest

    vectors = min(range(1, 5 if near else 7), key=cycles)
    return Tile(max(split(out_channels, (target.registers - 1 - vectors) // vectors)), vectors)


def split(total: int, largest: int) -> list[int]:
    """``total`` in the fewest parts of at most ``largest``, as equal as can be, the larger ones first."""
    return [size for size, count in _parts(total, largest) for _ in range(count)]


def ranges(total: int, largest: int) -> list[tuple[int, int]]:
    """``split``: where each part begins, and its size."""
    sizes = split(total, largest)
    return list(zip(accumulate(sizes, initial=0), sizes))


def _parts(total: int, largest: int) -> list[tuple[int, int]]:
    """The sizes of ``split``, and how often each occurs."""
    parts = -(-total // largest)
    if parts == 0:
        return []
    small, more = divmod(total, parts)
    return [(small + 1, more), (small, parts - more)] if more else [(small, parts)]


def choose_sums(axes: Pass, channels: int, outputs: int, budget_bytes: int, itemsize: int) -> Sums:
    """How many channels are packed at a time, and whether panels are made of them.

    All channels, if so many planes of a small box are within the budget. Sums are rounded where a chunk of channels
    ends. So ``axes`` are those of one image, and how the operands lie is not asked.
    """
    panelled = panels_pay(axes, outputs, itemsize)
    taps = max(1, cells_of(axes))
    largest = max(1, budget_bytes // (_plane_cells(axes, _box_size(axes, 0)) * itemsize))
    if panelled:
        largest = min(largest, max(1, _panel_steps(axes, channels * taps, outputs, budget_bytes // itemsize) // taps))
    return Sums(-(-channels // -(-channels // largest)), panelled)


def _panel_steps(axes: Pass, steps: int, outputs: int, budget: int) -> int:
    """How many of so many steps a chunk has where panels are made; the budget in elements.

    The weights of a chunk stay in the cache, for one tile after another. Or they are read once for a box, and all its
    panels stay there: then more steps would make the box smaller, and the weights be read more often.
    """
    positions = max(MIN_POSITIONS, math.prod(axis.count for axis in axes))
    if 2 * outputs * min(steps, PANEL_STEPS) > budget:
        return min(steps, max(LEAST_PANEL_STEPS, budget // positions))
    return min(steps, PANEL_STEPS)


def panels_pay(axes: Pass, outputs: int, itemsize: int) -> bool:
    """Whether a tile's input is worth copying once more, step by step, for so many outputs of a group.

    The copy costs a few cycles a vector and step; what follows takes half a cycle for each output. It saves the lanes
    between two rows, and loads that meet neither the beginning of a cache line nor a page that is at hand. The
    numbers are fitted to 80 layers, each timed both ways.
    """
    depth, height, width = (axis.count for axis in axes)
    taps = cells_of(axes)
    if taps == 1 and all(axis.in_step == 1 for axis in axes):  # then rows lie one behind another
        gain, pieces = (1.2 if depth * height * width * itemsize > PAGE_BYTES else 1.05), 2.0
    else:
        strided = any(axis.in_step > 1 for axis in axes)
        gain = (1.05 if taps == 1 or strided else 0.97) * (width + axes[2].halo / 2) / width
        pieces = 3 * (1 + 8 / width)
    return taps > 0 and gain > 1 + 2 * pieces / outputs


def choose_box(axes: Pass, sums: Sums, budget_bytes: int, itemsize: int, steps: int = 0) -> Box:
    """The largest box of which all planes, and panels of so many steps, are within the budget."""
    return Box(_box_size(axes, budget_bytes // (max(sums.channels, steps) * itemsize)), sums)


def _box_size(axes: Pass, cells: int) -> Triple:
    """All positions, or if a channel's plane has more cells: fewer slices, then fewer rows, then shorter rows."""
    size = [axis.count for axis in axes]
    plane = _plane_cells(axes, size)
    for i, axis in enumerate(axes):
        if plane <= cells:
            break
        row = plane // (size[i] + axis.halo)
        needed = -(-MIN_POSITIONS // max(1, math.prod(size[i + 1 :])))
        size[i] = min(size[i], max(1, cells // max(1, row) - axis.halo, needed))
        plane = row * (size[i] + axis.halo)
    return size[0], size[1], size[2]


def _plane_cells(axes: Pass, size: Sequence[int]) -> int:
    """The packed cells of a channel."""
    cells = 1
    for axis, n in zip(axes, size):
        cells *= max(1, len(axis.phases)) * (n + axis.halo)
    return cells
