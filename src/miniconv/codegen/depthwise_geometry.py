"""The axes of a depthwise problem, its packed planes and its micro-kernels: what the tables are made of."""

from __future__ import annotations

from typing import NamedTuple

from miniconv.codegen.target import Target
from miniconv.problem import ConvProblem

__all__ = ["Shape", "Window", "plane_bytes", "window"]

LINE_BYTES = 64


class Shape(NamedTuple):
    """What a micro-kernel is compiled for.

    Attributes:
        rows: vectors of output in registers, one below the other.
        taps: kernel rows in a step, one input row apart.
        step: input rows from an output row to the next.
        narrow: whether an output row is shorter than a vector.
    """

    rows: int
    taps: int
    step: int
    narrow: bool


class Window(NamedTuple):
    """One axis: output j is the sum over k of weight[k] * input[stride * j + dilation * k - low]."""

    kernel: int
    stride: int
    dilation: int
    low: int  # padding before the input; negative where its first cells are not read
    input: int
    output: int

    @property
    def first(self) -> int:
        """The lowest step of a tap: the cell of its phase that output 0 reads, counted from the input's first."""
        return -self.low // self.stride

    @property
    def halo(self) -> int:
        """How many more cells of a phase than outputs are read."""
        return (self.dilation * (self.kernel - 1) - self.low) // self.stride - self.first

    @property
    def inside(self) -> bool:
        """Whether no padding is read."""
        last = self.stride * (self.output - 1) + self.dilation * (self.kernel - 1) - self.low
        return self.low <= 0 and last < self.input

    @property
    def phases(self) -> tuple[int, ...]:
        """The phases that are packed. Those of stride 2 are split in one go, and both are."""
        if self.stride <= 2:
            return tuple(range(self.stride))
        return tuple(sorted({(k * self.dilation - self.low) % self.stride for k in range(self.kernel)}))


def window(problem: ConvProblem, axis: int) -> Window:
    """The last axis of ``problem`` is -1, the one before it -2; one that it does not have is a single cell."""
    if -axis > problem.spatial_dims:
        return Window(1, 1, 1, 0, 1, 1)
    kernel, dilation, low = problem.kernel_size[axis], problem.dilation[axis], problem.padding[axis][0]
    stride, dilation = problem.stride[axis], dilation if kernel > 1 else 1
    if problem.transposed:
        low = dilation * (kernel - 1) - low
    return Window(kernel, stride, dilation, low, problem.input_size[axis], problem.output_size[axis])


def plane_bytes(h: Window, w: Window, rows: int, target: Target, itemsize: int) -> tuple[int, int, int]:
    """Of a packed channel with so many output rows: bytes of a row, of a phase's plane, and of all planes."""
    row = (w.output + w.halo) * itemsize
    cells = row * (h.stride * (rows - 1) + h.dilation * (h.kernel - 1) + 1)
    # vectors of a row that is shorter reach beyond the plane
    phase = -(-(cells + target.vector_bytes) // LINE_BYTES) * LINE_BYTES
    return row, phase, (phase * len(w.phases) // LINE_BYTES | 1) * LINE_BYTES
