"""From arrays and tensors to addresses, and from a problem to the work that computes it.

Kernels are handed addresses, so this is where every operand is looked at for the last time: its dtype, its shape (the
problem's, which has been validated), and that it lies in memory in a way that strides in bytes describe.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any

import numpy as np

from miniconv.arrays import Array, is_tensor, namespace
from miniconv.codegen import threads
from miniconv.codegen.engine import Work, runner
from miniconv.codegen.jit import host
from miniconv.codegen.paths import PATHS, choose
from miniconv.codegen.schedule import Layout
from miniconv.problem import ConvProblem
from miniconv.remembering import Bounded

__all__ = ["KEPT", "Compiled", "Ready", "address", "byte_strides", "outputs", "readable", "threads_for"]

SMALL = 1 << 19  # multiply-adds that one thread has done before a second one has woken up
FAR = 1 << 31  # a smaller stride or dilation is no danger to 64 bits, even in bytes
KEPT = 16  # layouts of operands whose work one problem keeps


Ready = Callable[..., Array]
"""A problem's work for operands of one kind and layout: input, weight, bias or None -> output.

It looks at nothing but their addresses. The bias' elements must lie one behind another.
"""


def _ready(work: Work, problem: ConvProblem, like: Array) -> Ready:
    make, run = outputs(problem.batched_output_shape, problem.memory_format, like), runner(work)

    def on_tensors(input: Array, weight: Array, bias: Array | None = None) -> Array:
        output = make()
        run(input.data_ptr(), weight.data_ptr(), 0 if bias is None else bias.data_ptr(), output.data_ptr())
        return output

    def on_arrays(input: Array, weight: Array, bias: Array | None = None) -> Array:
        output = make()
        run(address(input), address(weight), 0 if bias is None else address(bias), address(output))
        return output

    return on_tensors if is_tensor(like) else on_arrays


def outputs(shape: tuple[int, ...], memory_format: str, like: Array) -> Callable[[], Array]:
    """What makes unwritten arrays of that shape and layout, of ``like``'s library and dtype."""
    if not is_tensor(like):
        order, back = _order(len(shape))
        if memory_format == "contiguous":
            return partial(np.empty, shape, like.dtype)
        return lambda: np.empty(tuple(shape[axis] for axis in order), like.dtype).transpose(back)
    torch = namespace(like)
    name = "contiguous_format" if memory_format == "contiguous" else "channels_last" + "_3d" * (len(shape) == 5)
    pattern = torch.empty(shape, dtype=like.dtype, memory_format=getattr(torch, name))
    pattern.untyped_storage().resize_(0)  # it has a shape and strides, and no elements
    return partial(torch.empty_like, pattern)  # in half the time of torch.empty


class Compiled:
    """One problem by the engine: call it with operands.

    Attributes:
        problem: of dtype float32 or float64.
    """

    def __init__(self, problem: ConvProblem) -> None:
        self.problem = _needed(problem)
        self._known: Bounded[tuple[Any, ...], Ready] = Bounded(KEPT)

    def __call__(
        self, input: Array, weight: Array, bias: Array | None, threads_wanted: int | None, reproducible: bool
    ) -> Array:
        """The output, of ``problem.batched_output_shape`` and the problem's memory format, in memory of its own.

        Args:
            input, weight, bias: of the problem's shapes (batched) and dtype, NumPy arrays or tensors on the CPU.
            threads_wanted: how many threads to use; None leaves it to torch or the process.
            reproducible: whether only plain sums are allowed.
        """
        input, weight = readable(input), readable(weight)
        if bias is not None:
            bias = readable(bias)
            bias = bias if len(bias) == 1 or byte_strides(bias)[0] == bias.itemsize else _copied(bias)
        return self.ready(input, weight, threads_wanted, reproducible)(input, weight, bias)

    def ready(self, input: Array, weight: Array, threads_wanted: int | None, reproducible: bool) -> Ready:
        """What computes operands that lie in memory like these."""
        problem = self.problem
        count = threads_for(problem, threads_wanted)
        tensor = is_tensor(input)
        key = (tensor, _strides(input), _strides(weight), count, reproducible)
        found = self._known.get(key)
        if found is None:
            # an output that finds no memory is refused here, before tables are made for it
            namespace(input).empty(problem.batched_output_shape, dtype=input.dtype)
            output = self._strides_of(problem.batched_output_shape)
            layout = Layout(_five(byte_strides(input)), _five(byte_strides(weight)), output)
            name, _ = choose(problem, layout, host(), reproducible)
            work = PATHS[name].prepare(problem, layout, host(), count)
            found = self._known.remember(key, _ready(work, problem, input))
        return found

    def _strides_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The strides of five axes that an operand in the problem's memory format has."""
        itemsize = np.dtype(self.problem.dtype).itemsize
        if self.problem.memory_format == "contiguous":
            return _five(_contiguous(shape, itemsize))
        order, back = _order(len(shape))
        turned = _contiguous(tuple(shape[axis] for axis in order), itemsize)
        return _five(tuple(turned[axis] for axis in back))

    def explain(self, threads_wanted: int | None, reproducible: bool) -> tuple[str, ...]:
        """The engine's part of ``ConvPlan.explain``, for operands in the problem's memory format."""
        problem = self.problem
        shapes = (problem.batched_input_shape, problem.weight_shape, problem.batched_output_shape)
        layout = Layout(*map(self._strides_of, shapes))
        name, refused = choose(problem, layout, host(), reproducible)
        count = threads_for(problem, threads_wanted)
        work = PATHS[name].prepare(problem, layout, host(), count)
        return (
            f"path {name}",
            *work.lines,
            f"workspace {work.scratch_bytes:,} bytes for each of {count} threads, {work.shared_bytes:,} for all",
            *(f"not {other}: {reason}" for other, reason in refused.items()),
        )


def _needed(problem: ConvProblem) -> ConvProblem:
    """The problem without strides and dilations so large that nothing follows them: in bytes they may pass 64 bits."""
    if max(*problem.stride, *problem.dilation) < FAR:
        return problem
    sizes, outputs, taps = problem.input_size, problem.output_size, problem.kernel_size
    extra = [1 + more for more in problem.output_padding]  # which must be smaller than stride or dilation
    if problem.transposed:
        strides = [s if i > 1 else e for s, i, e in zip(problem.stride, sizes, extra)]
    else:  # a second window would begin past the end, as it does now
        strides = [s if n > 1 else i + sum(p) for s, n, i, p in zip(problem.stride, outputs, sizes, problem.padding)]
    dilations = [d if k > 1 else e for d, k, e in zip(problem.dilation, taps, extra)]
    return replace(problem, stride=tuple(strides), dilation=tuple(dilations))


def threads_for(problem: ConvProblem, wanted: int | None) -> int:
    """How many threads compute ``problem`` if so many are wanted; None leaves it to torch or the process."""
    return 1 if problem.multiply_adds < SMALL else wanted or threads.available()


def readable(x: Array) -> Array:
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


def byte_strides(x: Array) -> tuple[int, ...]:
    """The strides of ``x`` in bytes."""
    return tuple(s * x.element_size() for s in x.stride()) if is_tensor(x) else x.strides


def _five(strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of (N, C, D, H, W); those of missing axes are never used."""
    return (*strides[:2], *(0,) * (5 - len(strides)), *strides[2:])


def _contiguous(shape: tuple[int, ...], step: int) -> tuple[int, ...]:
    return (*accumulate(shape[:0:-1], operator.mul, initial=step),)[::-1]


def address(x: Array) -> int:
    """Where the first element of ``x`` lies."""
    at: int = x.data_ptr() if is_tensor(x) else x.__array_interface__["data"][0]
    return at


@lru_cache(maxsize=256)
def _order(rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Axes from channels first to channels last, and back."""
    order = (0, *range(2, rank), 1)
    return order, tuple(int(i) for i in np.argsort(order))
