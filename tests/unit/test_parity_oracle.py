"""The oracle against the definition written as loops, on integers, on fractions and on complex numbers."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

from miniconv import reference
from miniconv.parity.cases import Case
from miniconv.parity.data import Values, draw
from miniconv.parity.grids import geometries
from miniconv.parity.oracle import Oracle
from miniconv.parity.tables import border_table
from miniconv.problem import ConvProblem, Operand

PARTS = ("output", "input_grad", "weight_grad", "bias_grad")


def problem_of(case: Case, dtype: str) -> ConvProblem:
    make = ConvProblem.from_conv_transpose if case.transposed else ConvProblem.from_conv
    extra = {"output_padding": case.output_padding} if case.transposed else {}
    return make(
        Operand(case.input_shape, dtype), Operand(case.weight_shape, dtype),
        Operand((case.out_channels,), dtype) if case.bias else None,
        case.stride, case.padding, dilation=case.dilation, groups=case.groups, dims=len(case.input_size), **extra,
    )  # fmt: skip


def by_definition(case: Case, values: Values, dtype: str) -> dict[str, np.ndarray]:
    problem = problem_of(case, dtype)
    return {
        "output": reference.conv(problem, values.input, values.weight, values.bias),
        "input_grad": reference.conv_input_grad(problem, values.grad, values.weight),
        "weight_grad": reference.conv_weight_grad(problem, values.grad, values.input),
        "bias_grad": reference.conv_bias_grad(problem, values.grad),
    }


def small_cases(dtype: str, count: int, data: str = "integers") -> list[Case]:
    legal = [case for case in geometries(batch=[None, 1, 0]) if not case.must_be_refused]
    texts = [f"{case} {data}".replace("float32", dtype) for case in random.Random(dtype).sample(legal, count)]
    others = [
        f"conv1d n2 c4 o6 i9 k3 s2 p2 d2 g2 bias {dtype} {data}",
        f"conv3d n1 c2 o3 i3x4x5 k2x3x1 s1x2x3 p1x0x2 bias {dtype} {data}",
        f"conv1d c4 o2 i9 k4 psame {dtype} {data}",
        f"conv_transpose1d n2 c4 o6 i5 k3 s2 p1 d2 op1 g2 bias {dtype} {data}",
        f"conv_transpose1d c4 o2 i5 k2 s3 bias {dtype} {data}",
        f"conv_transpose2d n2 c4 o6 i3x4 k3x2 s2x3 p1x0 d1x2 op1x2 g2 bias {dtype} {data}",
        f"conv_transpose2d c3 o6 i3x4 k2x3 p2x0 d3x1 op2x0 g3 {dtype} {data}",
        f"conv_transpose2d n0 c4 o6 i3x4 k3x2 s2x3 bias {dtype} {data}",
        f"conv_transpose3d n1 c2 o3 i2x3x2 k2x3x1 s1x2x3 p1x0x0 op0x1x2 bias {dtype} {data}",
    ]
    return [Case.parse(text) for text in texts + others]


@pytest.mark.parametrize("dtype", ["int64", "int8", "float64"])
def test_integers(dtype):
    for case in small_cases(dtype, 40):
        values = draw(case)
        typed = Values(*(None if x is None else x.astype(dtype) for x in values))
        expected = by_definition(case, typed, dtype)
        for part in PARTS:
            exact = getattr(Oracle(case, values), part)()
            assert exact.low is None
            assert exact.high.shape == (1, *expected[part].shape)
            assert (exact.high[0] == expected[part]).all(), (part, str(case))


def test_double_double_against_fractions():
    for case in small_cases("float64", 6, "random"):
        values = draw(case)
        fractions = Values(*(None if x is None else np.vectorize(Fraction, otypes=[object])(x) for x in values))
        expected = by_definition(case, fractions, "object")
        for part in PARTS:
            exact = getattr(Oracle(case, values), part)()
            scale = exact.magnitude()[0]
            for high, low, want, s in zip(exact.high.flat, exact.low.flat, expected[part].flat, scale.flat):
                error = abs(Fraction(high) + Fraction(low) - want)
                assert error <= Fraction(s) * Fraction(1, 2**98), (part, str(case))


def test_complex():
    for case in small_cases("complex128", 20):
        values = draw(case)
        turned = values._replace(input=values.input.conj(), weight=values.weight.conj())  # gradients conjugate these
        expected = by_definition(case, turned, "complex128")
        expected["output"] = by_definition(case, values, "complex128")["output"]
        for part in PARTS:
            exact = getattr(Oracle(case, values), part)()
            assert (exact.high[0] + 1j * exact.high[1] == expected[part]).all(), (part, str(case))
            assert not (np.asarray(exact.terms) % 2).any()


def test_magnitude_is_the_sum_of_absolute_products():
    case = Case.parse("conv2d n2 c4 o6 i5x6 k3x2 p1x2 g2 bias float64 random")
    values = draw(case)
    expected = by_definition(case, Values(*map(abs, values)), "float64")
    for part in PARTS:
        exact = getattr(Oracle(case, values), part)()
        np.testing.assert_allclose(exact.magnitude()[0], expected[part], rtol=1e-14)
    assert Oracle(case, values).output().terms == 2 * 6
    assert Oracle(case, values).input_grad().terms.max() == 3 * 6
    assert Oracle(case, values).weight_grad().terms == 2 * 5 * 9


@pytest.mark.parametrize(("mode", "numpy_mode"), [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
def test_borders(mode, numpy_mode):
    case = Case.parse(f"conv2d n2 c4 o6 i5x6 k3x2 s2x1 p1x3 d1x2 g2 bias int64 {mode}")
    inside = Case.parse("conv2d n2 c4 o6 i7x12 k3x2 s2x1 d1x2 g2 bias int64")
    values = draw(case)
    padded = np.pad(values.input, [(0, 0), (0, 0), (1, 1), (3, 3)], mode=numpy_mode)
    expected = by_definition(inside, values._replace(input=padded), "int64")
    oracle = Oracle(case, values)
    assert (oracle.output().high[0] == expected["output"]).all()
    assert (oracle.weight_grad().high[0] == expected["weight_grad"]).all()
    cells = np.pad(np.arange(30).reshape(5, 6), [(1, 1), (3, 3)], mode=numpy_mode)
    folded = np.zeros((2, 4, 30), np.int64)
    np.add.at(folded, (slice(None), slice(None), cells), expected["input_grad"])
    exact = oracle.input_grad()
    assert (exact.high[0] == folded.reshape(2, 4, 5, 6)).all()
    assert exact.folded == np.bincount(cells.ravel()).max()


def test_terms_of_a_transposed_output_are_the_taps_that_reach_it():
    case = Case.parse("conv_transpose2d n2 c4 o6 i3x4 k3x2 s2x3 op0x2 g2 bias int64")
    exact = Oracle(case, draw(case)).output()
    rows, columns = [1, 1, 2, 1, 2, 1, 1], [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 0]
    assert (exact.terms == 2 * np.outer(rows, columns)).all()
    bias = draw(case).bias
    assert (exact.high[0, :, :, :, 2] == bias[:, None]).all()  # no tap reaches it


def test_an_infinite_input_whose_product_is_cropped():
    case = Case.parse("conv_transpose1d n1 c1 o1 i3 k1 p1 float32 specials seed1")
    values = Values(np.array([[[np.inf, 1.0, 1.0]]]), np.ones((1, 1, 1)), None, np.ones((1, 1, 1)))
    assert Oracle(case, values).output().high.tolist() == [[[[1.0]]]]
    assert np.isnan(Oracle(case, values).weight_grad().high).all()
    assert Oracle(case, values, multiply_zeros=False).weight_grad().high.tolist() == [[[[1.0]]]]


def test_a_border_table_wraps_only_where_asked():
    assert border_table("replicate", 3, 5, 1, 1, 1, 1).ravel().tolist() == [0, 0, 1, 2, 2]
    assert border_table("reflect", 3, 5, 1, 1, 1, 1).ravel().tolist() == [1, 0, 1, 2, 1]


def test_infinite_weights_at_the_border():
    case = Case.parse("conv2d n1 c1 o1 i3x4 k1x3 p0x1 float32 specials seed2")
    values = Values(np.ones((1, 1, 3, 4)), np.array([[[[np.inf, 1.0, 1.0]]]]), None, np.ones((1, 1, 3, 4)))
    assert np.isnan(Oracle(case, values).output().high[0, 0, 0, :, 0]).all()
    left_out = Oracle(case, values, multiply_zeros=False).output().high[0, 0, 0]
    assert left_out[0].tolist() == [2.0, np.inf, np.inf, np.inf]
    assert Oracle(case, values).input_grad().high[0, 0, 0, 0].tolist() == [np.inf, np.inf, np.inf, 2.0]
    assert np.isnan(Oracle(case, values, multiply_zeros=True).input_grad().high[0, 0, 0, 0, 3])
