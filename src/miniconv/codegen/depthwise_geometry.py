"""The axes of a depthwise problem, its packed planes and its micro-kernels: what the tables are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from miniconv.codegen.target import Target
from miniconv.lazy import cached_property
from miniconv.problem import ConvProblem

__all__ = ["MOST_UP", "Shape", "Window", "plane_bytes", "window"]

LINE_BYTES = 64
MOST_UP = 8  # phases of the output in a row, whose vectors are dealt in registers


class Shape(NamedTuple):
    """What a micro-kernel is compiled for.

    Attributes:
        rows: vectors of output in registers, one below the other.
        taps: kernel rows in a step, one input row apart.
        step: input rows from an output row to the next.
        narrow: whether an output row is shorter than what a tile has of it.
        up: phases of the output in a row of the tile, as many vectors; their cells take turns.
    """

    rows: int
    taps: int
    step: int
    narrow: bool
    up: int


@dataclass(frozen=True)
class Window:
    """One axis: output up * j + p is the sum over the taps of phase p of weight[tap] * input[down * j + shift].

    An ordinary convolution has one phase of outputs. A transposed one has as many as its stride, and reads every cell.
    """

    kernel: int
    stride: int
    dilation: int
    low: int  # padding before the input, or of a transposed convolution what is cut off
    input: int
    output: int
    transposed: bool

    @cached_property
    def up(self) -> int:
        """Phases of the output."""
        return self.stride if self.transposed else 1

    @cached_property
    def down(self) -> int:
        """Input cells from an output of a phase to the next one."""
        return 1 if self.transposed else self.stride

    @cached_property
    def count(self) -> int:
        """Outputs of the first phase: no other has more."""
        return -(-self.output // self.up)

    def taps(self, phase: int) -> list[tuple[int, int]]:
        """The taps of a phase in the order of the input: the index in the weight, and the shift."""
        if not self.transposed:
            return [(k, self.dilation * k - self.low) for k in range(self.kernel)]
        shifts = ((k, phase + self.low - self.dilation * k) for k in reversed(range(self.kernel)))
        return [(k, shift // self.up) for k, shift in shifts if shift % self.up == 0]

    @cached_property
    def outputs(self) -> range:
        """The phases that have outputs."""
        return range(min(self.up, self.output))

    def shares(self, begin: int, count: int) -> tuple[int, ...]:
        """How many outputs each phase has, counted from its ``begin``-th and at most ``count``."""
        return tuple(min(count, len(range(self.up * begin + phase, self.output, self.up))) for phase in self.outputs)

    @cached_property
    def apart(self) -> tuple[int, int]:
        """From a tap of a phase to the next one: so many in the weight, and so many input cells."""
        common = math.gcd(self.dilation, self.up)
        return (-self.up // common if self.transposed else 1), self.dilation // common

    @cached_property
    def reach(self) -> tuple[int, int]:
        """The lowest and the highest shift of a tap."""
        shifts = [shift for phase in self.outputs for _, shift in self.taps(phase)]
        return min(shifts, default=0), max(shifts, default=0)

    @cached_property
    def first(self) -> int:
        """The lowest step of a tap: the cell of its phase that output 0 reads, counted from the input's first."""
        return self.reach[0] // self.down

    @cached_property
    def halo(self) -> int:
        """How many more cells of a phase than outputs are read."""
        return self.reach[1] // self.down - self.first

    @cached_property
    def inside(self) -> bool:
        """Whether no padding is read."""
        low, high = self.reach
        return low >= 0 and self.down * (self.count - 1) + high < self.input

    @cached_property
    def phases(self) -> tuple[int, ...]:
        """The phases of the input that are packed. Those of stride 2 are split in one go, and both are."""
        if self.down <= 2:
            return tuple(range(self.down))
        return tuple(sorted({shift % self.down for _, shift in self.taps(0)}))

    def rows(self, outputs: int) -> int:
        """How many cells so many neighbouring outputs of each phase read, from the first to the last."""
        return self.down * (outputs - 1) + self.reach[1] - self.reach[0] + 1


def window(problem: ConvProblem, axis: int) -> Window:
    """The last axis of ``problem`` is -1, the one before it -2; one that it does not have is a single cell."""
    if -axis > problem.spatial_dims:
        return _window(1, 1, 1, 0, 1, 1, False)
    kernel, stride, dilation = problem.kernel_size[axis], problem.stride[axis], problem.dilation[axis]
    sizes = problem.input_size[axis], problem.output_size[axis]
    return _window(kernel, stride, dilation if kernel > 1 else 1, problem.padding[axis][0], *sizes, problem.transposed)


_window = lru_cache(maxsize=256)(Window)  # axes are asked for more than once, and layers have equal ones


def plane_bytes(h: Window, w: Window, rows: int, target: Target, itemsize: int) -> tuple[int, int, int]:
    """Of a packed channel with so many output rows of each phase: bytes of a row, of a phase's plane, of all planes."""
    row = (w.count + w.halo) * itemsize
    cells = row * h.rows(rows)
    # vectors of a row that is shorter reach beyond the plane
    phase = -(-(cells + target.vector_bytes) // LINE_BYTES) * LINE_BYTES
    return row, phase, (phase * len(w.phases) // LINE_BYTES | 1) * LINE_BYTES
