"""What the tests of the engine share: its paths, the targets that run here, problems, and operands to run them on.

A path joins all these tests by one line in ``PATHS``.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from miniconv.codegen import engine, jit
from miniconv.codegen.depthwise import depthwise, depthwise_refusal
from miniconv.codegen.depthwise_last import depthwise_last, depthwise_last_refusal
from miniconv.codegen.engine import Work
from miniconv.codegen.schedule import Layout
from miniconv.codegen.target import RUNS, TARGETS, Target
from miniconv.codegen.winograd import winograd, winograd_refusal
from miniconv.problem import ConvProblem

Values = NDArray[Any]


class Path(NamedTuple):
    """How work is prepared, why it is not (a sentence, or None for what is served), and a problem that is served."""

    prepare: Callable[[ConvProblem, Layout, Target, int], Work]
    refuses: Callable[[ConvProblem, Layout, Target], str | None]
    typical: str


DENSE = "conv2d n2 c34 o36 i13x17 k3x3 p1x1 bias"

PATHS = {
    "depthwise": Path(depthwise, depthwise_refusal, "conv2d n2 c34 o34 i13x17 k3x3 p1x1 g34 bias"),
    "depthwise_last": Path(
        depthwise_last, depthwise_last_refusal, "conv2d n2 c34 o34 i13x17 k3x3 p1x1 g34 bias channels_last"
    ),
    "winograd": Path(winograd, lambda problem, layout, target: winograd_refusal(problem), DENSE),
    "direct": Path(engine.direct, lambda problem, layout, target: None, DENSE),
}

DTYPES = ("float32", "float64")

# One of every kind, the sizes of all axes different.
FAMILY = [
    "conv1d n2 c2 o6 i200 k5 s2 p3 d2",
    "conv2d n1 c3 o4 i5x6 k3x2 p1x1 bias",
    "conv2d n2 c4 o20 i9x11 k3x3 s2x3 p1:2x2 d1x2 g2 bias",
    "conv2d n2 c4 o6 i9x11 k1x1 bias",
    "conv2d n2 c34 o36 i13x17 k3x3 p1x1 bias",
    "conv2d n1 c40 o6 i19x31 k5x5 p2x2",
    "conv2d n2 c8 o16 i34x16 k4x1 s2x1 p0:1x1 d1x3 g8 bias",  # padding, and no neighbour that a row could share it with
    "conv2d n2 c20 o29 i8x39 k5x1 s1x3 p1:2x0:3 d2x1",  # the tallest tile
    "conv2d n1 c2 o6 i60x61 k3x3 s1x2",
    "conv2d n1 c3 o40 i15x16 k3x3 p5x2 d5x1",
    "conv2d n2 c12 o12 i14x19 k3x3 p1x1 g12 bias",
    "conv2d n1 c6 o12 i14x19 k5x3 s2x2 p2x1 g6",
    "conv2d n2 c9 o9 i5x41 k3x5 s3x1 d2x3 p4x1 g9 bias",
    "conv1d n2 c5 o5 i61 k5 s2 p2 d2 g5 bias",
    "conv3d n1 c3 o4 i9x5x8 k3x2x2 p2x0x1 d2x3x3",
    "conv_transpose1d n1 c4 o6 i9 k3 s1 p1 d3",
    "conv_transpose2d n1 c4 o6 i5x7 k3x4 s2x3 p1x1 op1x0 g2 bias",
    "conv_transpose2d n1 c4 o8 i15x17 k3x2 p3x2 d2x4 op1x3 g4",
    "conv_transpose2d n3 c8 o8 i2x30 k3x3 s2x2 p1x1 g8",  # a single row of outputs from two rows of input
    "conv_transpose3d n1 c2 o2 i3x4x5 k2x3x2 s2x1x2 p0x1x1",
]


def targets() -> dict[str, Target]:
    """The targets whose code this processor can run: its own, and the narrower ones of its kind."""
    host = jit.host()
    return {name: host if name == host.name else TARGETS[name] for name in RUNS[host.name]}


def five(x: Values) -> Values:
    """``x`` with five axes, as the engine wants it: those that are missing have one cell."""
    return x.reshape(x.shape[:2] + (1,) * (5 - x.ndim) + x.shape[2:])


def strides_of(x: Values) -> tuple[int, ...]:
    """The strides of ``x``, of five axes."""
    missing = (0,) * (5 - x.ndim)  # an axis of one cell: its stride is never used
    return x.strides[:2] + missing + x.strides[2:]


def layout_of(x: Values, w: Values, y: Values) -> Layout:
    """Where the elements of these operands lie."""
    return Layout(strides_of(x), strides_of(w), strides_of(y))


def serves(path: str, problem: ConvProblem, target: Target, *operands: Values) -> bool:
    """Whether a path computes ``problem`` for operands that lie as these do; by default in its memory format."""
    if not operands:
        shapes = (problem.batched_input_shape, problem.weight_shape, problem.batched_output_shape)
        operands = tuple(laid_out(np.empty(shape, problem.dtype), problem.memory_format) for shape in shapes)
    return PATHS[path].refuses(problem, layout_of(*operands), target) is None


def served(path: str, dtype: str, target: Target, texts: list[str]) -> list[ConvProblem]:
    """Those of the problems that a path computes."""
    every = (ConvProblem.parse(f"{text} {dtype}") for text in texts)
    return [problem for problem in every if serves(path, problem, target)]


def prepared(path: str, problem: ConvProblem, x: Values, w: Values, y: Values, target: Target, threads: int) -> Work:
    """The work of ``problem`` for operands that lie as these do."""
    assert serves(path, problem, target, x, w, y), PATHS[path].refuses(problem, layout_of(x, w, y), target)
    return PATHS[path].prepare(problem, layout_of(x, w, y), target, threads)


def execute(work: Work, x: Values, w: Values, b: Values | None, y: Values) -> None:
    """Run ``work`` on these operands."""
    engine.execute(work, x.ctypes.data, w.ctypes.data, 0 if b is None else b.ctypes.data, y.ctypes.data)


def convolved(
    path: str, problem: ConvProblem, x: Values, w: Values, b: Values | None, target: Target, threads: int = 1
) -> Values:
    """The batched convolution by that path, in the problem's memory format."""
    y = laid_out(np.full(problem.batched_output_shape, np.nan, x.dtype), problem.memory_format)
    execute(prepared(path, problem, x, w, y, target, threads), x, w, b, y)
    return y


def laid_out(x: Values, memory_format: str) -> Values:
    """A copy of ``x`` whose channels come first or last in memory."""
    if memory_format != "channels_last":
        return np.ascontiguousarray(x)
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def operands(
    problem: ConvProblem, rng: np.random.Generator, whole: bool = True
) -> tuple[Values, Values, Values | None]:
    """Input (batched, in the problem's memory format), weight and bias.

    They are small whole numbers, whose sums are exact in any order, or normal ones.
    """

    def values(shape: tuple[int, ...]) -> Values:
        numbers = rng.integers(-4, 5, shape) if whole else rng.standard_normal(shape)
        return numbers.astype(problem.dtype)

    bias = values((problem.out_channels,)) if problem.bias else None
    input = laid_out(values(problem.batched_input_shape), problem.memory_format)
    return input, values(problem.weight_shape), bias


def problems(rng: np.random.Generator, dtype: str, largest: int = 400_000) -> Iterator[ConvProblem]:
    """Random problems of the whole family, without end, of at most so many multiply-adds and no empty operand."""
    while True:
        try:
            problem = _draw(rng, dtype)
        except (RuntimeError, ValueError):  # not a problem: a window larger than its image, ...
            continue
        if problem.multiply_adds <= largest and 0 not in problem.batched_output_shape:
            yield problem


def _draw(rng: np.random.Generator, dtype: str) -> ConvProblem:
    dims, transposed = int(rng.choice([1, 2, 2, 2, 3])), bool(rng.random() < 0.3)
    longest = {1: 400, 2: 40, 3: 12}[dims]
    usual = rng.random() < 0.4  # what networks are made of: the kernel 3, one padding, one stride

    def each(choices: list[int]) -> tuple[int, ...]:
        return tuple(int(rng.choice(choices)) for _ in range(dims))

    kernel = (3,) * dims if usual else each([1, 1, 2, 3, 3, 4, 5, 7])
    stride = (int(rng.choice([1, 1, 2])),) * dims if usual else each([1, 1, 1, 2, 2, 3, 5])
    low, high = each([0, 0, 1, 1, 2, 3, 9]), each([0, 0, 1, 1, 2, 3, 9])
    groups = int(rng.choice([1, 1, 1, 2, 3, 8, 17]))
    depthwise = groups > 3
    per_group = (1, int(rng.choice([1, 1, 2]))) if depthwise else (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    return ConvProblem(
        batch=int(rng.choice([1, 1, 2, 3])),
        in_channels=groups * per_group[0],
        out_channels=groups * per_group[1],
        input_size=tuple(int(rng.integers(1, longest)) for _ in range(dims)),
        kernel_size=kernel,
        stride=stride,
        padding=((1, 1),) * dims if usual else tuple(zip(low, high)),
        dilation=(1,) * dims if usual else each([1, 1, 1, 2, 3, 6]),
        groups=groups,
        output_padding=each([0, 0, 1]) if transposed else (),
        transposed=transposed,
        bias=bool(rng.random() < 0.5),
        dtype=dtype,
        memory_format="channels_last" if dims > 1 and rng.random() < 0.3 else "contiguous",
    )


class Guarded:
    """Memory between two pages that nobody may touch; whatever is not handed out holds 0xFF, a NaN to a float."""

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        size = -(-size // page) * page
        self._mmap = mmap.mmap(-1, size + 2 * page)
        first = ctypes.addressof(ctypes.c_char.from_buffer(self._mmap))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for guard in (first, first + page + size):
            if protect(guard, page, 0) != 0:  # 0: PROT_NONE
                raise OSError(ctypes.get_errno(), "mprotect")
        self.begin, self.size = first + page, size
        self.memory = np.frombuffer(self._mmap, np.uint8, size, page)
        self._used = slice(0, size)

    def bytes(self, size: int, at_end: bool, align: int = 1) -> Values:
        """``size`` bytes against the page behind or the one in front; the page of memory around them is wiped."""
        begin = (self.size - size) // align * align if at_end else 0
        if begin < 0:
            raise ValueError(f"{size} bytes do not fit {self.size}")
        self._used = slice(begin, begin + size)
        self.memory[max(0, begin - mmap.PAGESIZE) : begin + size + mmap.PAGESIZE] = 0xFF
        return self.memory[self._used]

    def like(self, x: Values, at_end: bool) -> Values:
        """A copy of ``x`` with its strides, which are positive, from its first element to its last."""
        extent = x.itemsize + sum((n - 1) * stride for n, stride in zip(x.shape, x.strides))
        block = self.bytes(extent, at_end)
        copy = np.ndarray(x.shape, x.dtype, block.data, 0, x.strides)  # type: ignore[arg-type]
        if 0 not in [stride for n, stride in zip(x.shape, x.strides) if n > 1]:
            copy[...] = x
        else:
            np.ndarray(_once(x).shape, x.dtype, block.data, 0, x.strides)[...] = _once(x)  # type: ignore[arg-type]
        return copy

    def untouched(self) -> bool:
        """Whether what lies beside the bytes that were handed out is as it was."""
        begin, end = self._used.start, self._used.stop
        near = (self.memory[max(0, begin - mmap.PAGESIZE) : begin], self.memory[end : end + mmap.PAGESIZE])
        return all(bool((side == 0xFF).all()) for side in near)


def _once(x: Values) -> Values:
    """``x`` with a single cell on every axis of stride 0."""
    return x[tuple(slice(1) if stride == 0 else slice(None) for stride in x.strides)]


def narrow(target: Target) -> Target:
    """``target`` with so small a cache that boxes are cut and channels are taken in chunks."""
    return replace(target, l2_bytes=4096)
