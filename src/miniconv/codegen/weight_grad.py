"""The weight's gradient by the same kernels: a convolution whose operands have exchanged their roles.

    grad_weight[oc, ic, kh, kw] =
        sum over n, oh, ow of grad_output[n, oc, oh, ow] * padded_input[n, ic, oh * s_h + kh * d_h, ow * s_w + kw * d_w]

What it sums over, a convolution calls channels and kernel cells; what it keeps, images and positions. So there is one
with three axes, for each group, that says the same:

    images    kh          output channels  oc          positions     1, kw, ic
    channels  oh          kernel cells     n, ow, 1

Its operands are views of this one's. The input's rows overlap, because ``kh`` and ``oh`` both step from row to row, and
strides can say that; the output's strides are those of the weight. Padding alone costs a copy.
"""

from __future__ import annotations

from operator import methodcaller
from typing import NamedTuple

import numpy as np

from miniconv.arrays import Array, is_tensor
from miniconv.codegen.engine import direct, execute
from miniconv.codegen.jit import host
from miniconv.codegen.operands import KEPT, Ready, address, byte_strides, outputs, readable, threads_for
from miniconv.codegen.schedule import Layout
from miniconv.problem import ConvProblem
from miniconv.remembering import Bounded

__all__ = ["CompiledWeightGrad", "weight_grad_refusal"]

MOST_CELLS = 1 << 16  # of the kernel: its table of steps has a record for each
TINY = 1 << 16  # multiply-adds that are done before another algorithm has begun


class _Strides(NamedTuple):
    """Strides in bytes; of a sequence, an image with one row."""

    n: int
    c: int
    h: int
    w: int

    @classmethod
    def of(cls, strides: tuple[int, ...]) -> _Strides:
        return cls(strides[0], strides[1], 0 if len(strides) == 3 else strides[2], strides[-1])


def weight_grad_refusal(problem: ConvProblem) -> str | None:
    """Why the engine does not compute the weight's gradient of an ordinary ``problem``; None if it does.

    >>> weight_grad_refusal(ConvProblem.parse("conv2d n8 c32 o32 i56x57 k3x5 g32"))
    '5 positions of a vector of 16'
    """
    if problem.spatial_dims > 2:
        return "three spatial axes"
    cells = problem.batched_output_shape[0] * problem.output_size[-1]
    if cells > MOST_CELLS:
        return f"{cells} kernel cells, and at most {MOST_CELLS} are put in a table"
    positions = problem.in_channels // problem.groups * problem.kernel_size[-1]
    lanes = host().lanes(np.dtype(problem.dtype).itemsize)
    if 2 * positions < lanes and problem.multiply_adds > TINY:
        return f"{positions} positions of a vector of {lanes}"
    return None


class CompiledWeightGrad:
    """The weight's gradient of one problem by the engine: call it with operands.

    Attributes:
        problem: of dtype float32 or float64, ordinary, with no empty operand; one that is not refused.
    """

    def __init__(self, problem: ConvProblem) -> None:
        self.problem = problem
        one_row = problem.spatial_dims == 1
        (self._out_rows, columns) = (1,) * one_row + problem.output_size
        (self._rows, _) = (1,) * one_row + problem.kernel_size
        self._steps = (1,) * one_row + problem.stride
        self._dilations = (1,) * one_row + problem.dilation
        images, kernel, step = problem.batched_output_shape[0], problem.kernel_size[-1], self._dilations[1]
        per_group = problem.in_channels // problem.groups
        self._exchanged = ConvProblem(
            batch=self._rows,
            in_channels=self._out_rows,
            out_channels=problem.out_channels // problem.groups,
            input_size=(images, (columns - 1) * self._steps[1] + (kernel - 1) * step + 1, per_group),
            kernel_size=(images, columns, 1),
            stride=(1, step, 1),
            dilation=(1, self._steps[1], 1),
            dtype=problem.dtype,
        )
        self._known: Bounded[tuple[int | bool, ...], Ready] = Bounded(KEPT)

    def __call__(
        self, grad_output: Array, input: Array, bias: None, threads_wanted: int | None, reproducible: bool
    ) -> Array:
        """The gradient, of ``problem.weight_shape`` and the problem's memory format, in memory of its own.

        Args:
            grad_output, input: of the problem's shapes (batched) and dtype, NumPy arrays or tensors on the CPU.
            bias: there is none.
            threads_wanted: how many threads to use; None leaves it to torch or the process.
            reproducible: this one adds plain products always.

        Numerics: exact on small integers, else within gamma_(L+2) * S, L = N * H_out * W_out.
        Cost: the problem's multiply-adds; a padded copy of the input, if there is padding.
        """
        del bias
        grad_output, input = readable(grad_output), readable(input)
        return self.ready(grad_output, input, threads_wanted, reproducible)(grad_output, input)

    def ready(self, grad_output: Array, input: Array, threads_wanted: int | None, reproducible: bool) -> Ready:
        """What computes operands that lie in memory like these."""
        del reproducible
        threads = threads_for(self.problem, threads_wanted)
        key = (is_tensor(input), *byte_strides(grad_output), *byte_strides(input), threads)
        return self._known.get(key) or self._known.remember(key, self._prepared(grad_output, input, threads))

    def _prepared(self, grad_output: Array, input: Array, threads: int) -> Ready:
        problem = self.problem
        make = outputs(problem.weight_shape, problem.memory_format, input)
        grad, weight = _Strides.of(byte_strides(grad_output)), _Strides.of(byte_strides(make()))
        padded = any(map(any, problem.padding))
        seen = _Strides.of(byte_strides(self._padded(input) if padded else input))
        layout = Layout(
            (seen.h * self._dilations[0], seen.h * self._steps[0], seen.n, seen.w, seen.c),
            (grad.c, grad.h, grad.n, grad.w, 0),
            (weight.h, weight.n, 0, weight.w, weight.c),
        )
        work = direct(self._exchanged, layout, host(), threads)
        per_group, out_per_group = problem.in_channels // problem.groups, self._exchanged.out_channels
        groups, at = range(problem.groups), methodcaller("data_ptr") if is_tensor(input) else address
        steps = (per_group * seen.c, out_per_group * grad.c, out_per_group * weight.n)

        def run(grad_output: Array, input: Array, bias: None = None) -> Array:
            result = make()
            source = self._padded(input) if padded else input  # named, so that it lives for as long as it is read
            first = address(source) if padded else at(source)
            second, third = at(grad_output), at(result)
            for i in groups:
                execute(work, first + i * steps[0], second + i * steps[1], 0, third + i * steps[2])
            return result

        return run

    def _padded(self, x: Array) -> Array:
        """``x`` with zeros around it, as an array of NumPy's; channels lie last in memory, where they are read."""
        problem = self.problem
        values = np.from_dlpack(x.detach()) if is_tensor(x) else x
        padded = np.zeros((len(values), *problem.padded_size, values.shape[1]), values.dtype)
        inside = tuple(slice(low, low + size) for size, (low, _) in zip(problem.input_size, problem.padding))
        turned = padded.transpose(0, -1, *range(1, padded.ndim - 1))
        turned[(slice(None), slice(None), *inside)] = values
        return turned
