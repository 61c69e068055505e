"""The direct path on exact integers: kernels = model = reference, for every processor, however the operands lie."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest

from miniconv import ConvProblem, reference
from miniconv.codegen import engine, jit, model, schedule
from miniconv.codegen.schedule import Layout, panels_pay, passes_of
from miniconv.codegen.tables import Schedule
from miniconv.codegen.target import TARGETS

PROBLEMS = [
    "conv2d n1 c3 o4 i5x6 k3x2 p1x1 bias",
    "conv2d n2 c4 o20 i9x11 k3x3 s2x3 p1x2 d1x2 g2 bias",
    "conv2d n2 c4 o6 i9x11 k1x1 bias",
    "conv2d n1 c37 o6 i17x33 k5x5 p2x2",
    "conv2d n1 c2 o6 i19x31 k5x4",
    "conv2d n1 c2 o35 i40x61 k3x3",
    "conv2d n1 c18 o33 i7x14 k3x3 p1x1 bias",
    "conv2d n5 c17 o18 i4x5 k3x3 p1x1 bias",
    "conv2d n9 c33 o19 i4x4 k1x1",
    "conv2d n1 c5 o3 i20x21 k1x1 s2x2",
    "conv1d n2 c2 o6 i200 k5 s2 p3 d2",
    "conv3d n3 c2 o3 i5x6x7 k2x3x2 s1x2x1 p1x0x1",
    "conv_transpose2d n1 c4 o6 i5x7 k3x4 s2x3 p1x1 op1x0 g2 bias",
    "conv_transpose2d n1 c4 o6 i5x7 k1x2 s2x3",
    "conv_transpose2d n3 c20 o18 i5x6 k2x2 s2x2",
    "conv_transpose1d n1 c4 o6 i9 k3 s1 p1 d3",
    "conv2d n1 c3 o4 i15x16 k3x2 p3x2 d4x3 bias",
    "conv2d n1 c3 o40 i15x16 k3x3 p5x2 d5x1",
    "conv3d n1 c3 o4 i9x5x8 k3x2x2 p2x0x1 d2x3x3",
    "conv_transpose3d n2 c2 o2 i3x4x5 k2x3x2 s2x1x2 p0x1x1",
    "conv2d n3 c300 o90 i5x3 k1x1 bias",
    "conv2d n2 c18 o130 i7x4 k3x3 p1x1 bias",
    "conv2d n1 c7 o33 i41x70 k1x1",
    "conv_transpose2d n2 c9 o300 i5x6 k3x2 s2x1 p1x1",
    "conv2d n2 c3 o4 i44x52 k3x3 p20x25 d20x25 bias",
]
PANELLED = PROBLEMS[20:24]
ZONED = PROBLEMS[24]
SMALL = PROBLEMS[:2] + PROBLEMS[6:9] + PROBLEMS[11:14]
# the host, and those that it can stand in for where it has their instructions
HOSTS = ["avx2", "x86-64"] if jit.host().triple.startswith("x86_64") else []
LAYOUTS = ["contiguous", "channels last", "sliced", "expanded"]


def target(name, l2_bytes):
    return replace(jit.host() if name == "host" else TARGETS[name], l2_bytes=l2_bytes)


def empty(shape, layout, dtype):
    """An array of NaN of that shape; what lies between its elements is NaN too."""
    if layout == "channels last":
        return np.moveaxis(np.full((shape[0], *shape[2:], shape[1]), np.nan, dtype), -1, 1)
    if layout == "sliced":
        padded = np.full([2 * n + 1 for n in shape], np.nan, dtype)
        return padded[tuple(slice(1, 2 * n, 2) for n in shape)]
    return np.full(shape, np.nan, dtype)


@cache
def exact(text, expanded):
    """Input, weight and bias of small integers, and the output; expanded: one channel and row for all of them."""
    problem = ConvProblem.parse(f"{text} float64")
    rng = np.random.default_rng(0)
    x, weight = (
        rng.integers(-4, 5, shape).astype(float) for shape in (problem.batched_input_shape, problem.weight_shape)
    )
    if expanded:
        x, weight = (np.broadcast_to(a[:, :1, :1], a.shape).copy() for a in (x, weight))
    bias = rng.integers(-4, 5, problem.out_channels).astype(float) if problem.bias else None
    return x, weight, bias, reference.conv(problem, x, weight, bias)


def operands(text, dtype, layout):
    """What ``exact`` says, in memory of that layout."""
    x, weight, bias, expected = exact(text, layout == "expanded")
    arrays = []
    for values in (x, weight):
        array = empty(values.shape, layout, dtype)
        array[...] = values
        arrays.append(np.broadcast_to(array[:, :1, :1], values.shape) if layout == "expanded" else array)
    return *arrays, None if bias is None else bias.astype(dtype), expected


def five(array):
    return array[(slice(None), slice(None), *[None] * (5 - array.ndim))]


def laid_out(*arrays):
    return Layout(*(five(array).strides for array in arrays))


def run(problem, target, threads, x, weight, bias, y):
    work = engine.direct(problem, laid_out(x, weight, y), target, threads)
    addresses = [0 if a is None else a.ctypes.data for a in (x, weight, bias, y)]
    engine.execute(work, *addresses)
    return y


@pytest.mark.parametrize("l2_bytes", [1 << 20, 8192])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["host", *HOSTS])
@pytest.mark.parametrize("text", PROBLEMS)
def test_kernels_compute_the_definition(text, name, dtype, l2_bytes):
    problem = ConvProblem.parse(f"{text} {dtype}")
    for layout in LAYOUTS:
        x, weight, bias, expected = operands(text, dtype, layout)
        for threads in (1, 2, 3):
            y = run(problem, target(name, l2_bytes), threads, x, weight, bias, empty(expected.shape, layout, dtype))
            np.testing.assert_array_equal(y, expected, err_msg=f"{layout}, {threads} threads")
            if layout == "sliced":  # and nothing between the outputs was written
                assert np.count_nonzero(~np.isnan(y.base)) == y.size


@pytest.mark.parametrize("l2_bytes", [1 << 20, 8192])
@pytest.mark.parametrize("name", ["avx512", "x86-64", "neon"])
@pytest.mark.parametrize("text", SMALL)
def test_the_model_computes_the_definition(text, name, l2_bytes):
    problem = ConvProblem.parse(f"{text} float64")
    for layout in LAYOUTS:
        x, weight, bias, expected = operands(text, "float64", layout)
        y = empty(expected.shape, layout, "float64")
        threads = 3 if layout == "contiguous" else 1
        schedule = Schedule.of(problem, laid_out(x, weight, y), target(name, l2_bytes), 8, threads)
        model.run(schedule, five(x), five(weight), bias, five(y))
        np.testing.assert_array_equal(y, expected, err_msg=layout)


def test_panels_and_zones_are_among_the_problems():
    for problem in map(ConvProblem.parse, PANELLED):
        assert any(panels_pay(axes, problem.out_channels, 4) for axes in passes_of(problem)), problem
    assert len(passes_of(ConvProblem.parse(ZONED))) == 9


@pytest.fixture
def panels_everywhere(monkeypatch):
    monkeypatch.setattr(schedule, "panels_pay", lambda axes, *_: all(axis.taps for axis in axes))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["host", *HOSTS[-1:]])
@pytest.mark.parametrize("text", PROBLEMS)
def test_panels_compute_the_definition(text, name, dtype, panels_everywhere):
    problem = ConvProblem.parse(f"{text} {dtype}")
    for l2_bytes, layout in product([1 << 20, 8192], LAYOUTS):
        x, weight, bias, expected = operands(text, dtype, layout)
        y = run(problem, target(name, l2_bytes), 2, x, weight, bias, empty(expected.shape, layout, dtype))
        np.testing.assert_array_equal(y, expected, err_msg=f"{layout}, {l2_bytes}")


@pytest.mark.parametrize("name", ["avx512", "x86-64", "neon"])
@pytest.mark.parametrize("text", SMALL)
def test_the_model_computes_the_definition_from_panels(text, name, panels_everywhere):
    problem = ConvProblem.parse(f"{text} float64")
    for l2_bytes, layout in product([1 << 20, 8192], LAYOUTS):
        x, weight, bias, expected = operands(text, "float64", layout)
        y = empty(expected.shape, layout, "float64")
        plan = Schedule.of(problem, laid_out(x, weight, y), target(name, l2_bytes), 8)
        model.run(plan, five(x), five(weight), bias, five(y))
        np.testing.assert_array_equal(y, expected, err_msg=f"{layout}, {l2_bytes}")


# images that share vectors; pixels of a whole image behind one another; input that is read in place
SAME = ["conv2d n7 c40 o21 i5x6 k3x3 p1x1", "conv2d n7 c300 o21 i4x4 k1x1", "conv2d n7 c70 o21 i19x16 k1x1"]


@pytest.mark.parametrize("l2_bytes", [1 << 20, 8192])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", SAME)
def test_the_same_bits_for_any_batch_threads_and_layout(text, dtype, l2_bytes):
    problem = ConvProblem.parse(f"{text} {dtype}")
    rng = np.random.default_rng(1)
    x = rng.standard_normal(problem.input_shape).astype(dtype)
    weight = rng.standard_normal(problem.weight_shape).astype(dtype)
    expected = np.empty(problem.output_shape, dtype)
    for i in range(7):
        run(replace(problem, batch=1), target("host", l2_bytes), 1, x[i : i + 1], weight, None, expected[i : i + 1])
    for threads in (1, 2, 3):
        for layout in LAYOUTS[:3]:
            values = empty(x.shape, layout, dtype)
            values[...] = x
            y = run(
                problem, target("host", l2_bytes), threads, values, weight, None, empty(expected.shape, layout, dtype)
            )
            np.testing.assert_array_equal(y, expected)
