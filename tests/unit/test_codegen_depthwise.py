"""The depthwise path: its kernels and its model, in exact integers against the definition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from miniconv import reference
from miniconv.codegen import depthwise_model, engine, jit
from miniconv.codegen.depthwise import depthwise, depthwise_refusal
from miniconv.codegen.depthwise_tables import Tables
from miniconv.codegen.schedule import Layout
from miniconv.codegen.target import TARGETS, Target
from miniconv.problem import ConvProblem

Values = NDArray[Any]

PROBLEMS = """conv2d n1 c3 o3 g3 i5x6 k3x2 p1x1 bias
conv2d n2 c4 o8 g4 i9x11 k3x3 s2x3 p1x2 d1x2 bias
conv2d n2 c5 o5 g5 i30x41 k3x3 p1x1 bias
conv2d n2 c5 o5 g5 i30x41 k3x3
conv2d n2 c5 o10 g5 i7x8 k5x3 p2x1
conv2d n2 c5 o5 g5 i29x61 k3x5 s2x2 p1x2
conv2d n2 c5 o5 g5 i14x15 k5x3 s2x2 p2x1
conv2d n1 c9 o9 g9 i56x55 k3x3 p1x1
conv2d n1 c3 o3 g3 i32x33 k3x3 p2x1 d2x1
conv2d n1 c3 o3 g3 i33x32 k3x4 p2x3 d3x2 s2x2
conv2d n1 c3 o3 g3 i33x32 k3x4 p2x3 d4x1 s6x2
conv2d n1 c2 o2 g2 i24x40 k11x9 p5x4
conv2d n1 c2 o2 g2 i24x40 k1x1 s2x2
conv2d n1 c2 o2 g2 i4x3 k1x2 s5x4 p3x9
conv2d n1 c2 o2 g2 i300x401 k3x5 p1x2
conv2d n1 c1 o3 i300x40 k3x5 p1x2
conv2d n1 c2 o2 g2 i2x400 k2x5 p1x2
conv1d n2 c3 o3 g3 i200 k5 s2 p3 d2 bias
conv1d n2 c3 o3 g3 i200 k5 bias
conv1d n2 c3 o6 g3 i7 k5 p2 bias
conv1d c3 o3 g3 i40 k3 p1 bias
conv_transpose2d n1 c4 o4 g4 i15x17 k3x4 p1x2 bias
conv_transpose2d n1 c4 o8 g4 i15x17 k3x2 p3x2 d2x4 op1x3
conv_transpose2d n1 c4 o4 g4 i9x40 k3x3 p4x3
conv_transpose1d n1 c6 o6 g6 i9 k3 s1 p1 d3
conv_transpose1d n2 c5 o5 g5 i90 k4 s2 p1 bias
conv_transpose1d n2 c3 o6 g3 i41 k3 s3 d2 op2 bias
conv_transpose1d n1 c3 o3 g3 i2 k9 s7 op6
conv_transpose2d n2 c5 o5 g5 i20x33 k4x4 s2x2 p1x1 bias
conv_transpose2d n2 c5 o10 g5 i14x15 k3x3 s2x2 p1x1 bias
conv_transpose2d n1 c4 o4 g4 i7x9 k3x3 s2x2 p1x1 op1x1
conv_transpose2d n1 c4 o4 g4 i6x50 k5x6 s1x4 p2x1 d1x3
conv_transpose2d n1 c4 o4 g4 i16x9 k6x2 s4x1 p1x0 d2x1
conv_transpose2d n1 c3 o3 g3 i21x20 k2x3 s3x5 op1x2 bias
conv_transpose2d n1 c3 o3 g3 i11x12 k16x16 s8x8 p4x4
conv_transpose2d n1 c3 o3 g3 i1x40 k3x3 s5x6 p1x1
conv_transpose2d n1 c3 o3 g3 i40x1 k3x2 s3x7 p1x0 op2x6
conv_transpose2d n1 c2 o2 g2 i4x3 k4x3 s2x2 p3x1 d1x2
conv_transpose2d n1 c2 o2 g2 i99x130 k4x4 s2x2 p1x1""".splitlines()

SMALL = [text for text in PROBLEMS if ConvProblem.parse(text).multiply_adds < 200_000]


def targets() -> list[Target]:
    """This machine's own, and where it can run them the narrower ones."""
    host = jit.host()
    x86 = [TARGETS["avx2"], TARGETS["x86-64"]] if host.name in ("avx512", "avx2") else []
    return [host, *(target for target in x86 if target.name != host.name)]


def operands(problem: ConvProblem) -> tuple[Values, Values, Values | None, Values]:
    """Small integers, and the result."""
    rng = np.random.default_rng(0)
    shapes = (problem.batched_input_shape, problem.weight_shape, (problem.out_channels,))
    x, w, b = (rng.integers(-4, 5, shape).astype(problem.dtype) for shape in shapes)
    bias = b if problem.bias else None
    return x, w, bias, reference.conv(replace(problem, batch=problem.batch or 1), x, w, bias)


def layouts(x: Values) -> list[Values]:
    """The input contiguous, with its axes the other way round, and every third cell of something larger."""
    holes = np.full((*x.shape[:-1], 3 * x.shape[-1]), np.nan, x.dtype)
    holes[..., ::3] = x
    return [x, np.asfortranarray(x), holes[..., ::3]]


def run(problem: ConvProblem, target: Target, threads: int, x: Values, w: Values, b: Values | None) -> Values:
    """The path's result; cells that it did not write are not numbers."""
    y = np.full(problem.batched_output_shape, np.nan, x.dtype)
    layout = Layout(five_strides(x), five_strides(w), five_strides(y))
    assert depthwise_refusal(problem, layout, target) is None
    work = depthwise(problem, layout, target, threads)
    engine.execute(work, x.ctypes.data, w.ctypes.data, 0 if b is None else b.ctypes.data, y.ctypes.data)
    return y


def five_strides(x: Values) -> tuple[int, ...]:
    """Strides of five axes, of which those that ``x`` has not have one cell."""
    return x.strides[:2] + (x.strides[2],) * (5 - x.ndim) + x.strides[2:]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", PROBLEMS)
def test_kernels_are_exact_on_integers(text: str, dtype: str) -> None:
    problem = ConvProblem.parse(f"{text} {dtype}")
    x, w, b, expected = operands(problem)
    for target in targets():
        for threads in (1, 2, 3):
            for layout in layouts(x):
                np.testing.assert_array_equal(run(problem, target, threads, layout, w, b), expected)


@pytest.mark.parametrize("target", ["avx512", "avx2", "x86-64"])
@pytest.mark.parametrize("text", SMALL)
def test_model_is_exact_on_integers(text: str, target: str) -> None:
    problem = ConvProblem.parse(f"{text} float64")
    x, w, b, expected = operands(problem)
    y = np.full(problem.batched_output_shape, np.nan)
    tables = Tables.of(problem, Layout(five_strides(x), five_strides(w), five_strides(y)), TARGETS[target], 8, 2)
    depthwise_model.run(tables, TARGETS[target].lanes(8), x, w, b, y)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.skipif(jit.host().name not in ("avx512", "avx2"), reason="the target without fused multiply-adds is x86")
@pytest.mark.parametrize("text", SMALL)
def test_kernels_equal_the_model(text: str) -> None:
    # without fused multiply-adds the kernel rounds where NumPy does: the same order of summation gives the same bits
    problem = ConvProblem.parse(f"{text} float64")
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal(problem.batched_input_shape), rng.standard_normal(problem.weight_shape)
    b = rng.standard_normal(problem.out_channels) if problem.bias else None
    y = np.full(problem.batched_output_shape, np.nan)
    layout = Layout(five_strides(x), five_strides(w), five_strides(y))
    depthwise_model.run(Tables.of(problem, layout, TARGETS["x86-64"], 8), 2, x, w, b, y)
    np.testing.assert_array_equal(run(problem, TARGETS["x86-64"], 1, x, w, b), y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_threads_and_batch(dtype: str) -> None:
    problem = ConvProblem.parse(f"conv2d n3 c7 o7 g7 i40x31 k5x3 p2x1 {dtype}")
    rng = np.random.default_rng(2)
    x = rng.standard_normal(problem.batched_input_shape).astype(dtype)
    w = rng.standard_normal(problem.weight_shape).astype(dtype)
    host = jit.host()
    whole = run(problem, host, 1, x, w, None)
    for threads in (2, 3, 16):
        np.testing.assert_array_equal(run(problem, host, threads, x, w, None), whole)
    alone = run(replace(problem, batch=1), host, 1, x[1:2], w, None)
    np.testing.assert_array_equal(alone, whole[1:2])


def test_not_a_number_stays_in_its_windows() -> None:
    problem = ConvProblem.parse("conv2d n1 c2 o2 g2 i20x33 k3x5 p1x2 float32")
    x, w, _, _ = operands(problem)
    x[0, 0, 7, 11] = np.nan
    y = run(problem, jit.host(), 1, x, w, None)
    expected = np.zeros(y.shape, bool)
    expected[0, 0, 6:9, 9:14] = True
    np.testing.assert_array_equal(np.isnan(y), expected)


REFUSED = {
    "conv2d n1 c4 o4 g2 i8x9 k3x3": "groups",
    "conv3d n1 c4 o4 g4 i8x9x7 k3x3x3": "three spatial axes",
    "conv_transpose2d n1 c4 o4 g4 i8x9 k3x3 s2x9": "transposed",
    "conv2d n1 c4 o4 g4 i40x41 k17x16": "taps",
    "conv2d n1 c2 o2 g2 i3x400001 k3x3": "scratch memory",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_refusals_say_why(text: str, reason: str) -> None:
    problem = ConvProblem.parse(f"{text} float32")
    x, w, y = (
        np.empty(shape, "f")
        for shape in (problem.batched_input_shape, problem.weight_shape, problem.batched_output_shape)
    )
    answer = depthwise_refusal(problem, Layout(five_strides(x), five_strides(w), five_strides(y)), jit.host())
    assert answer is not None
    assert reason in answer


def test_output_whose_columns_are_apart_is_refused() -> None:
    problem = ConvProblem.parse("conv2d n1 c2 o2 g2 i8x9 k3x3 float32")
    layout = Layout((576, 288, 288, 36, 4), (36, 36, 36, 12, 4), (336, 4, 336, 56, 8))
    assert "consecutive" in (depthwise_refusal(problem, layout, jit.host()) or "")
