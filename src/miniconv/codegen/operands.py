"""From arrays and tensors to addresses, and from a problem to the work that computes it.

Kernels are handed addresses, so this is where every operand is looked at for the last time: its dtype, its shape (the
problem's, which has been validated), and that it lies in memory in a way that strides in bytes describe.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from miniconv.arrays import Array, is_tensor, namespace
from miniconv.codegen import threads
from miniconv.codegen.engine import Work, execute
from miniconv.codegen.jit import host
from miniconv.codegen.paths import PATHS, choose
from miniconv.codegen.schedule import Layout
from miniconv.problem import ConvProblem

__all__ = ["Compiled", "Ready"]

SMALL = 1 << 19  # multiply-adds that one thread has done before a second one has woken up
KEPT = 16  # layouts of operands whose work one problem keeps


class Ready:
    """A problem's work for operands of one kind and layout; it looks at nothing but their addresses."""

    def __init__(self, work: Work, problem: ConvProblem, like: Array) -> None:
        self.work, self.tensors = work, is_tensor(like)
        self._empty, self._options = namespace(like).empty, {"dtype": like.dtype}
        self._shape, self._back = problem.batched_output_shape, None
        if problem.memory_format == "channels_last" and self.tensors:  # never a view of one: torch's results are none
            name = "channels_last" + "_3d" * (problem.spatial_dims == 3)
            self._options["memory_format"] = getattr(namespace(like), name)
        elif problem.memory_format == "channels_last":
            order, self._back = _order(len(self._shape))
            self._shape = tuple(self._shape[axis] for axis in order)

    def __call__(self, input: Array, weight: Array, bias: Array | None) -> Array:
        """The output. The bias' elements must lie one behind another."""
        output = self._empty(self._shape, **self._options)
        if self.tensors:
            bias_at = 0 if bias is None else bias.data_ptr()
            execute(self.work, input.data_ptr(), weight.data_ptr(), bias_at, output.data_ptr())
            return output
        execute(self.work, _address(input), _address(weight), 0 if bias is None else _address(bias), _address(output))
        return output if self._back is None else output.transpose(self._back)


class Compiled:
    """One problem by the engine: call it with operands.

    Attributes:
        problem: of dtype float32 or float64.
    """

    def __init__(self, problem: ConvProblem) -> None:
        self.problem = problem
        self._ready: dict[tuple[Any, ...], Ready] = {}
        self._small = problem.multiply_adds < SMALL

    def __call__(
        self, input: Array, weight: Array, bias: Array | None, threads_wanted: int | None, reproducible: bool
    ) -> Array:
        """The output, of ``problem.batched_output_shape`` and the problem's memory format, in memory of its own.

        Args:
            input, weight, bias: of the problem's shapes (batched) and dtype, NumPy arrays or tensors on the CPU.
            threads_wanted: how many threads to use; None leaves it to torch or the process.
            reproducible: whether only plain sums are allowed.
        """
        input, weight = _readable(input), _readable(weight)
        if bias is not None:
            bias = _readable(bias)
            bias = bias if len(bias) == 1 or _byte_strides(bias)[0] == bias.itemsize else _copied(bias)
        return self.ready(input, weight, threads_wanted, reproducible)(input, weight, bias)

    def ready(self, input: Array, weight: Array, threads_wanted: int | None, reproducible: bool) -> Ready:
        """What computes operands that lie in memory like these."""
        problem = self.problem
        count = 1 if self._small else threads_wanted or threads.available()
        tensor = is_tensor(input)
        key = (tensor, _strides(input), _strides(weight), count, reproducible)
        found = self._ready.get(key)
        if found is None:
            if len(self._ready) >= KEPT:
                self._ready.clear()
            # an output that finds no memory is refused here, before tables are made for it
            namespace(input).empty(problem.batched_output_shape, dtype=input.dtype)
            layout = Layout(_five(_byte_strides(input)), _five(_byte_strides(weight)), self._output_strides())
            name, _ = choose(problem, layout, host(), reproducible)
            work = PATHS[name].prepare(problem, layout, host(), count)
            found = self._ready[key] = Ready(work, problem, input)
        return found

    def _output_strides(self) -> tuple[int, ...]:
        shape, itemsize = self.problem.batched_output_shape, np.dtype(self.problem.dtype).itemsize
        if self.problem.memory_format == "contiguous":
            return _five(_contiguous(shape, itemsize))
        order, back = _order(len(shape))
        turned = _contiguous(tuple(shape[axis] for axis in order), itemsize)
        return _five(tuple(turned[axis] for axis in back))

    def explain(self, threads_wanted: int | None, reproducible: bool) -> tuple[str, ...]:
        """The engine's part of ``ConvPlan.explain``, for contiguous operands."""
        problem, itemsize = self.problem, np.dtype(self.problem.dtype).itemsize
        shapes = (problem.batched_input_shape, problem.weight_shape)
        first, second = (_five(_contiguous(shape, itemsize)) for shape in shapes)
        layout = Layout(first, second, self._output_strides())
        name, refused = choose(problem, layout, host(), reproducible)
        count = 1 if self._small else threads_wanted or threads.available()
        work = PATHS[name].prepare(problem, layout, host(), count)
        return (
            f"path {name}",
            *work.lines,
            f"workspace {work.scratch_bytes:,} bytes for each of {count} threads, {work.shared_bytes:,} for all",
            *(f"not {other}: {reason}" for other, reason in refused.items()),
        )


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
