"""From arrays and tensors to addresses, and from a problem to the work that computes it.

Kernels are handed addresses, so this is where every operand is looked at for the last time: its dtype, its shape (the
problem's, which has been validated), and that it lies in memory in a way that strides in bytes describe.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from miniconv.arrays import Array, is_tensor, namespace
from miniconv.codegen import engine, threads
from miniconv.codegen.engine import Work, execute
from miniconv.codegen.jit import host
from miniconv.codegen.schedule import Layout
from miniconv.problem import ConvProblem

__all__ = ["Compiled"]

SMALL = 1 << 19  # multiply-adds that one thread has done before a second one has woken up
KEPT = 16  # layouts of operands whose work one problem keeps


class Compiled:
    """One problem by the engine: call it with operands.

    Attributes:
        problem: of dtype float32 or float64.
    """

    def __init__(self, problem: ConvProblem) -> None:
        self.problem = problem
        self._works: dict[tuple[Any, ...], Work] = {}

    def __call__(
        self, input: Array, weight: Array, bias: Array | None, threads_wanted: int | None, reproducible: bool
    ) -> Array:
        """The output, of ``problem.batched_output_shape`` and the problem's memory format, in memory of its own.

        Args:
            input, weight, bias: of the problem's shapes (batched) and dtype, NumPy arrays or tensors on the CPU.
            threads_wanted: how many threads to use; None leaves it to torch or the process.
            reproducible: whether only plain sums are allowed.
        """
        problem = self.problem
        input, weight = _readable(input), _readable(weight)
        output = _empty(problem, input)
        count = 1 if problem.multiply_adds < SMALL else threads_wanted or threads.available()
        key = (_strides(input), _strides(weight), _strides(output), count, reproducible)
        work = self._works.get(key)
        if work is None:
            if len(self._works) >= KEPT:
                self._works.clear()
            work = self._works[key] = self.work(input, weight, output, count, reproducible)
        if bias is not None:
            bias = _readable(bias)
            bias = bias if _strides(bias) in ((1,), (bias.itemsize,)) or len(bias) == 1 else _copied(bias)
        execute(work, _address(input), _address(weight), 0 if bias is None else _address(bias), _address(output))
        return output

    def work(self, input: Array, weight: Array, output: Array, count: int, reproducible: bool) -> Work:
        """What computes operands that lie like these."""
        layout = Layout(*(_five(_byte_strides(x)) for x in (input, weight, output)))
        return engine.direct(self.problem, layout, host(), count)

    def explain(self) -> tuple[str, ...]:
        """The engine's part of ``ConvPlan.explain``, for contiguous operands."""
        problem = self.problem
        shapes = (problem.batched_input_shape, problem.weight_shape)
        dtype = np.dtype(problem.dtype)
        layout = Layout(
            *(_five(_contiguous(shape, dtype.itemsize)) for shape in (*shapes, problem.batched_output_shape))
        )
        return engine.direct(problem, layout, host(), threads.available()).lines


def _readable(x: Array) -> Array:
    """``x``, or a copy where its memory does not hold its values one by one at strides that are not negative."""
    if is_tensor(x):
        return x.resolve_neg() if x.is_neg() else x
    fits = x.flags.aligned and x.dtype.isnative and all(s >= 0 and s % x.itemsize == 0 for s in x.strides)
    return x if fits else np.array(x, x.dtype.newbyteorder("="), order="C")


def _copied(x: Array) -> Array:
    return x.contiguous() if is_tensor(x) else np.ascontiguousarray(x)


def _strides(x: Array) -> tuple[int, ...]:
    strides: tuple[int, ...] = x.stride() if is_tensor(x) else x.strides
    return strides


def _byte_strides(x: Array) -> tuple[int, ...]:
    return tuple(s * x.element_size() for s in x.stride()) if is_tensor(x) else x.strides


def _five(strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of (N, C, D, H, W); those of missing axes are never used."""
    return (*strides[:2], *(0,) * (5 - len(strides)), *strides[2:])


def _contiguous(shape: tuple[int, ...], step: int) -> tuple[int, ...]:
    return tuple(step * int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))


def _address(x: Array) -> int:
    address: int = x.data_ptr() if is_tensor(x) else x.__array_interface__["data"][0]
    return address


@lru_cache(maxsize=256)
def _order(rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Axes from channels first to channels last, and back."""
    order = (0, *range(2, rank), 1)
    return order, tuple(int(i) for i in np.argsort(order))


def _empty(problem: ConvProblem, like: Array) -> Array:
    """Memory for the output, as tensor or array, in the problem's memory format."""
    shape = problem.batched_output_shape
    if problem.memory_format == "contiguous":
        return namespace(like).empty(shape, dtype=like.dtype)
    order, back = _order(len(shape))
    turned = namespace(like).empty([shape[axis] for axis in order], dtype=like.dtype)
    return turned.permute(back) if is_tensor(like) else turned.transpose(back)
