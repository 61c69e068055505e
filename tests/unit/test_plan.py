"""plan: the choice, its explanation, and the three operators on arrays."""

import numpy as np
import pytest

from miniconv import reference
from miniconv.algorithms import ALGORITHMS
from miniconv.plan import plan
from miniconv.problem import ConvProblem

PROBLEMS = [
    "conv1d n2 c4 o6 i9 k3 s2 p1:2 g2 int64",
    "conv2d n2 c4 o6 i7x9 k3x2 s1x2 p0x1:2 d2x1 g2 int64",
    "conv2d c3 o2 i5x4 k3x2 s2x3 int64",
    "conv3d n1 c2 o4 i4x5x6 k2x1x3 s1x2x1 p1x0x2 g2 int64",
    "conv_transpose1d n2 c4 o6 i5 k3 s2 p1 op1 g2 int64",
    "conv_transpose2d c4 o2 i5x4 k3x2 s2x3 p1:0x0 op1x2 d1x2 int64",
    "conv_transpose3d n2 c2 o3 i3x4x2 k2x1x3 s1x2x1 int64",
]


@pytest.mark.parametrize("text", PROBLEMS)
def test_the_three_operators_equal_their_definitions(text):
    problem = ConvProblem.parse(text)
    rng = np.random.default_rng(5)
    x, w, g = (
        rng.integers(-9, 10, shape) for shape in (problem.input_shape, problem.weight_shape, problem.output_shape)
    )
    chosen = plan(problem)
    np.testing.assert_array_equal(chosen(x, w), reference.conv(problem, x, w))
    np.testing.assert_array_equal(chosen.input_grad(g, w), reference.conv_input_grad(problem, g, w))
    np.testing.assert_array_equal(chosen.weight_grad(g, x), reference.conv_weight_grad(problem, g, x))


def test_plans_are_cached_and_bounded():
    text = "conv2d n1 c3 o4 i8x9 k3x2"
    assert plan(ConvProblem.parse(text)) is plan(ConvProblem.parse(text))
    assert plan.cache_info().maxsize is not None


def test_every_algorithm_can_be_asked_for():
    problem = ConvProblem.parse("conv2d n2 c3 o4 i8x9 k3x3 p1 bias")
    rng = np.random.default_rng(5)
    x, w, b = (
        rng.integers(-3, 4, shape).astype("float32") for shape in (problem.input_shape, problem.weight_shape, (4,))
    )
    expected = reference.conv(problem, x, w, b)
    for name, algorithm in ALGORITHMS.items():
        got = plan(problem, name)(x, w, b)
        if algorithm.bound in ("direct", "winograd_f2"):
            np.testing.assert_array_equal(got, expected, err_msg=name)
        else:
            np.testing.assert_allclose(got, expected, atol=1e-3, err_msg=name)


def test_a_refusal_names_its_reason():
    problem = ConvProblem.parse("conv2d n1 c3 o4 i8x9 k3x2")
    with pytest.raises(ValueError, match="winograd_f2 cannot compute conv2d n1 c3 o4 i8x9 k3x2 float32: "):
        plan(problem, "winograd_f2")
    with pytest.raises(ValueError, match="algorithm is one of im2col, "):
        plan(problem, "magic")


def test_explain_says_what_and_why():
    text = plan(ConvProblem.parse("conv2d n1 c3 o4 i8x9 k3x2 p1"), "im2col").explain()
    assert "conv2d n1 c3 o4 i8x9 k3x2 p1x1 float32" in text
    assert "im2col" in text
    assert "not winograd_f2: " in text
    assert f"{1 * 4 * 8 * 10 * 3 * 6:,}" in text
    assert "adjoint" in plan(ConvProblem.parse("conv_transpose2d n1 c3 o4 i8x9 k3x2 p1"), "im2col").explain()


def test_the_engine_says_how_it_computes():
    chosen = plan(ConvProblem.parse("conv2d n1 c3 o4 i8x9 k3x2 p1"))
    assert chosen.algorithm == "engine"
    assert "tile 4 channels" in chosen.explain()
    assert "computed in int64" in plan(ConvProblem.parse("conv2d n1 c3 o4 i8x9 k3x2 p1 int64")).refused["engine"]
