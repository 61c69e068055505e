"""The depthwise path for channels_last: its kernels and its model, in exact integers against the definition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")

from miniconv import reference
from miniconv.codegen import depthwise_last_model, jit
from miniconv.codegen.depthwise_last import depthwise_last, depthwise_last_refusal
from miniconv.codegen.depthwise_last_tables import MOST_VECTORS, Tables
from miniconv.codegen.engine import execute
from miniconv.codegen.operands import Compiled
from miniconv.codegen.schedule import Layout
from miniconv.codegen.target import TARGETS, Target
from miniconv.problem import ConvProblem

Values = NDArray[Any]

# One vector and many, the last of them whole or not; strides, dilations and paddings of all kinds; a stride of the
# transposed one beyond its kernel, outputs that no tap meets, and every number of axes.
PROBLEMS = """conv2d n2 c5 o5 g5 i9x11 k3x2 p1x1 bias
conv2d n2 c16 o16 g16 i8x9 k3x3 s2x3 p1x2 d1x2 bias
conv2d n1 c37 o37 g37 i7x6 k3x3 p1:0x2:1
conv2d n1 c144 o144 g144 i6x15 k3x3 p1x1 bias
conv2d n1 c230 o230 g230 i3x4 k3x2 p1x1
conv2d n1 c20 o20 g20 i5x4 k2x2 p9x7 s5x3 d3x2
conv2d n1 c8 o8 g8 i12x13 k11x9 p5x4
conv1d n2 c19 o19 g19 i40 k5 s2 p3 d2 bias
conv1d c4 o4 g4 i9 k3 p1 bias
conv3d n2 c17 o17 g17 i5x4x6 k3x2x3 p1x0x2 s1x2x1 d1x1x2 bias
conv_transpose1d n1 c6 o6 g6 i9 k3 s2 p1 d3
conv_transpose2d n2 c33 o33 g33 i5x14 k4x3 s2x3 p1x1 op1x0 bias
conv_transpose2d n1 c9 o9 g9 i5x6 k2x1 s5x3
conv_transpose3d n1 c18 o18 g18 i3x2x4 k2x3x2 s2x1x3 p1x0x1
conv2d n2 c33 o66 g33 i5x9 k3x3 p1x1 bias
conv2d n1 c20 o60 g20 i6x5 k2x3 s2x1 p1x1 bias
conv1d n2 c70 o280 g70 i9 k3 p1
conv_transpose2d n2 c18 o54 g18 i4x5 k4x3 s2x3 p1x1 op1x0 bias
conv_transpose2d n1 c5 o20 g5 i4x5 k3x2 bias
conv1d n2 c9 o54 g9 i7 k2 bias""".splitlines()


def targets() -> list[Target]:
    """This machine's own, and where it can run them the narrower ones."""
    host = jit.host()
    x86 = [TARGETS["avx2"], TARGETS["x86-64"]] if host.name in ("avx512", "avx2") else []
    return [host, *(target for target in x86 if target.name != host.name)]


def last(x: Values) -> Values:
    """A copy whose channels are consecutive."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def five(x: Values) -> Values:
    """``x`` with five axes: those that are missing have one cell."""
    return x.reshape(x.shape[:2] + (1,) * (5 - x.ndim) + x.shape[2:])


def layout_of(*operands: Values) -> Layout:
    """Strides of five axes, of which those that are missing are never used."""
    return Layout(*((*x.strides[:2], *(0,) * (5 - x.ndim), *x.strides[2:]) for x in operands))


def operands(problem: ConvProblem, whole: bool = True) -> tuple[Values, Values, Values | None]:
    """Input, weight and bias, batched; small integers or normal numbers."""
    rng = np.random.default_rng(0)
    shapes = problem.batched_input_shape, problem.weight_shape, (problem.out_channels,)
    draw = (lambda shape: rng.integers(-4, 5, shape)) if whole else rng.standard_normal
    x, w, b = (np.asarray(draw(shape), problem.dtype) for shape in shapes)
    return x, w, b if problem.bias else None


def run(
    problem: ConvProblem, target: Target, threads: int, x: Values, w: Values, b: Values | None, y: Values | None = None
) -> Values:
    """The path's result, whose channels are consecutive."""
    y = last(np.full(problem.batched_output_shape, np.nan, x.dtype)) if y is None else y
    layout = layout_of(x, w, y)
    assert depthwise_last_refusal(problem, layout, target) is None
    work = depthwise_last(problem, layout, target, threads)
    execute(work, x.ctypes.data, w.ctypes.data, 0 if b is None else b.ctypes.data, y.ctypes.data)
    return y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", PROBLEMS)
def test_kernels_are_exact_on_integers(text: str, dtype: str) -> None:
    problem = ConvProblem.parse(f"{text} {dtype}")
    x, w, b = operands(problem)
    expected = reference.conv(replace(problem, batch=len(x)), x, w, b)
    holes = np.full((*x.shape[:2], *(2 * n for n in x.shape[2:])), np.nan, x.dtype)
    spread = last(holes)[(..., *[slice(None, None, 2)] * (x.ndim - 2))]
    spread[...] = x
    turned = np.asfortranarray(w)
    for target in targets():
        for threads in (1, 2, 3):
            for input, weight in ((last(x), w), (spread, turned)):
                np.testing.assert_array_equal(run(problem, target, threads, input, weight, b), expected)


def test_an_output_with_gaps_is_written_and_what_lies_between_is_not() -> None:
    problem = ConvProblem.parse("conv2d n2 c21 o21 g21 i5x6 k3x3 p1x1 bias")
    x, w, b = operands(problem)
    around = np.full((2, 7, 13, 30), -1, x.dtype)
    inside = around[:, 1:6, ::2, 4:25][:, :, :6].transpose(0, 3, 1, 2)
    run(problem, jit.host(), 1, last(x), w, b, inside)
    np.testing.assert_array_equal(inside, reference.conv(problem, x, w, b))
    inside[...] = -1
    assert (around == -1).all()


@pytest.mark.parametrize("target", ["avx512", "avx2", "x86-64"])
@pytest.mark.parametrize("text", PROBLEMS)
def test_model_is_exact_on_integers(text: str, target: str) -> None:
    problem = ConvProblem.parse(f"{text} float64")
    x, w, b = operands(problem)
    lanes = min(TARGETS[target].lanes(8), 1 << (problem.in_channels.bit_length() - 1))
    y = last(np.full(problem.batched_output_shape, np.nan))
    tables = Tables.of(problem, layout_of(last(x), w, y), lanes, 8)
    assert max(tables.groups.values()) <= MOST_VECTORS
    depthwise_last_model.run(tables, lanes, five(last(x)), five(w), b, five(y))
    np.testing.assert_array_equal(y, reference.conv(replace(problem, batch=len(x)), x, w, b))


@pytest.mark.skipif(jit.host().name not in ("avx512", "avx2"), reason="the target without fused multiply-adds is x86")
@pytest.mark.parametrize("text", PROBLEMS)
def test_kernels_equal_the_model(text: str) -> None:
    # without fused multiply-adds the kernel rounds where NumPy does: the same order of summation gives the same bits
    problem = ConvProblem.parse(f"{text} float64")
    x, w, b = operands(problem, whole=False)
    y = last(np.full(problem.batched_output_shape, np.nan))
    tables = Tables.of(problem, layout_of(last(x), w, y), 2, 8)
    depthwise_last_model.run(tables, 2, five(last(x)), five(w), b, five(y))
    np.testing.assert_array_equal(run(problem, TARGETS["x86-64"], 1, last(x), w, b), y)


@pytest.mark.parametrize("text", [text for text in PROBLEMS if "1d" not in text])
def test_the_same_bits_as_with_channels_first(text: str) -> None:
    problem = replace(ConvProblem.parse(text), batch=2)
    x, w, b = operands(problem, whole=False)
    first = Compiled(problem)(x, w, b, 1, True)
    second = Compiled(replace(problem, memory_format="channels_last"))(last(x), w, b, 1, True)
    np.testing.assert_array_equal(second, first)


def test_same_bits_for_any_threads_and_batch() -> None:
    problem = ConvProblem.parse("conv2d n3 c70 o70 g70 i14x11 k5x3 p2x1 float32")
    x, w, _ = operands(problem, whole=False)
    whole = run(problem, jit.host(), 1, last(x), w, None)
    for threads in (2, 3, 16):
        np.testing.assert_array_equal(run(problem, jit.host(), threads, last(x), w, None), whole)
    alone = run(replace(problem, batch=1), jit.host(), 1, last(x[1:2]), w, None)
    np.testing.assert_array_equal(alone, whole[1:2])


def test_not_a_number_stays_in_its_windows_and_its_channel() -> None:
    problem = ConvProblem.parse("conv2d n1 c18 o18 g18 i12x13 k3x5 p1x2 float32")
    x, w, _ = operands(problem)
    x[0, 3, 7, 8] = np.nan
    y = run(problem, jit.host(), 1, last(x), w, None)
    expected = np.zeros(y.shape, bool)
    expected[0, 3, 6:9, 6:11] = True
    np.testing.assert_array_equal(np.isnan(y), expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv2d n1 c4 o40 g4 i8x9 k3x3", "more than 9 outputs"),
        ("conv2d n1 c4 o4 g2 i8x9 k3x3", "groups differ"),
        ("conv2d n1 c3 o3 g3 i8x9 k3x3", "do not fill"),
        ("conv2d n1 c4 o4 g4 i40x41 k17x16", "taps"),
    ],
)
def test_refusals_say_why(text: str, reason: str) -> None:
    problem = ConvProblem.parse(f"{text} float32")
    shapes = problem.batched_input_shape, problem.weight_shape, problem.batched_output_shape
    x, w, y = (last(np.empty(shape, "f")) for shape in shapes)
    assert reason in (depthwise_last_refusal(problem, layout_of(x, w, y), jit.host()) or "")
    problem = ConvProblem.parse("conv2d n1 c4 o4 g4 i8x9 k3x3 float32")
    shapes = problem.batched_input_shape, problem.weight_shape, problem.batched_output_shape
    operands = [np.empty(shape, "f") for shape in shapes]
    assert "consecutive" in (depthwise_last_refusal(problem, layout_of(*operands), jit.host()) or "")
