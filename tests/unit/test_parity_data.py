"""The numbers of a case keep the promises that the verdicts rest on."""

from __future__ import annotations

import numpy as np
import pytest

from miniconv.parity.cases import OPS, Case
from miniconv.parity.data import EXACT_SUM, SPECIALS, arguments, draw, literal
from miniconv.parity.grids import geometries, geometry
from miniconv.parity.oracle import Oracle


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex32", "complex64"])
def test_integers_are_exact_in_every_order(dtype):
    limit = 65504 if dtype in ("float16", "complex32") else EXACT_SUM
    significant = {"float16": 11, "complex32": 11, "bfloat16": 8}.get(dtype, 24)
    for case in [case for op in OPS for case in geometry(dtype, op)[::31]]:
        if min(case.output_size) < 1:
            continue
        values = draw(case)
        oracle = Oracle(case, values)
        for exact in (oracle.output(), oracle.input_grad(), oracle.weight_grad(), oracle.bias_grad()):
            assert exact.magnitude().size == 0 or exact.magnitude().max() <= limit, case
        for array in (values.input, values.weight):
            parts = [array.real, array.imag] if np.iscomplexobj(array) else [array]
            for part in parts:
                assert (part != 0).all()
                assert (part == np.round(part)).all()
                assert part.size == 0 or abs(part).max() < 2**significant


def test_integers_use_the_low_bits():
    """An operand that loses its last bits on the way (bfloat16, tf32) must show."""
    assert abs(draw(Case.parse("conv2d n3 c4 o6 i7x9 k3x2 float32")).input).max() > 2**12


def test_integer_dtypes_wrap():
    case = Case.parse("conv2d n3 c4 o6 i7x9 k3x2 int8")
    values = draw(case)
    wide = Oracle(Case.parse(str(case).replace("int8", "int64")), values).output().high
    assert abs(wide).max() > 127
    assert (Oracle(case, values).output().high == wide.astype(np.int8)).all()


@pytest.mark.parametrize("seed", range(len(SPECIALS)))
def test_specials(seed):
    values = draw(Case.parse(f"conv2d n3 c4 o6 i7x9 k3x2 float32 specials seed{seed}"))
    kind = SPECIALS[seed]
    assert np.isnan(values.input).any() == (kind == "nan")
    assert np.isinf(values.input).any() == (kind == "infinite_input")
    assert np.isinf(values.weight).any() == (kind == "infinite_weight")
    assert (np.signbit(values.input) & (values.input == 0)).any() == (kind == "signed_zeros")
    assert (abs(values.input) < 2.0**-126).all() == (kind == "subnormals")


def test_a_case_draws_the_same_numbers_again():
    case = Case.parse("conv2d n3 c4 o6 i7x9 k3x2 float32 random seed7")
    assert all((a == b).all() for a, b in zip(draw(case), draw(case)) if a is not None)
    other = draw(Case.parse("conv2d n3 c4 o6 i7x9 k3x2 float32 random seed8"))
    assert (draw(case).input != other.input).any()


def test_arguments():
    assert arguments(Case.parse("conv2d c4 o6 i7x9 k3x2")) == {}
    assert arguments(Case.parse("conv2d c4 o6 i7x9 k3x2 s2x2 p1x2 stride=None")) == {"stride": None, "padding": (1, 2)}
    assert literal("(1,1.0)") == (1, 1.0)
    assert isinstance(literal("int8(2)"), np.int8)
    with pytest.raises(ValueError, match="neither a Python literal"):
        literal("int8(2")


@pytest.mark.parametrize("op", OPS)
def test_every_legal_geometry_has_an_output_that_tests_something(op):
    for case in geometries(op)[::7]:
        if case.batch != 0 and min(case.output_size) > 0:
            assert Oracle(case, draw(case)).output().high.any(), case
