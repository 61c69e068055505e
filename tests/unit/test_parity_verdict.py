"""Verdicts: what is right passes, what is wrong by the smallest amount that matters does not, and both say why."""

from __future__ import annotations

import math

import numpy as np
import pytest

from miniconv.parity.bounds import BOUNDS, allowed_error, gamma
from miniconv.parity.cases import Case
from miniconv.parity.data import Values, draw
from miniconv.parity.oracle import Oracle
from miniconv.parity.report import Report
from miniconv.parity.verdict import PASSING, VERDICTS, Verdict, judge_values, round_to


def setting(text: str):
    """A case, its numbers rounded to its dtype, and its exact output."""
    case = Case.parse(text)
    values = draw(case)
    if case.data == "random":
        values = Values(*(None if x is None else round_to(case.dtype, x) for x in values))
    return case, values, Oracle(case, values).output()


def test_equal_and_one_off():
    case, values, exact = setting("conv2d n2 c4 o6 i5x6 k3x2 bias float32")
    right = exact.high[0]
    assert judge_values(case, "output", right, exact, values).name == "EQUAL"
    wrong = right.copy()
    wrong[1, 2, 1, 3] += 1
    verdict = judge_values(case, "output", wrong, exact, values)
    assert (verdict.name, verdict.wrong, verdict.index) == ("WRONG_VALUE", 1, (1, 2, 1, 3))
    assert verdict.got == verdict.want + 1
    assert not verdict.passed


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_random_numbers_are_held_to_their_bound(dtype):
    case, values, exact = setting(f"conv2d n2 c4 o6 i5x6 k3x2 p1x2 bias {dtype} random")
    allowed = allowed_error("direct", case, values, exact)[0]
    inside = exact.high[0] + 0.9 * allowed
    outside = exact.high[0] + np.where(np.arange(allowed.size).reshape(allowed.shape) == 5, 1.1, 0) * allowed
    assert judge_values(case, "output", round_to(dtype, exact.high)[0], exact, values).name == "EQUAL"
    verdict = judge_values(case, "output", inside, exact, values)
    assert verdict.name == "WITHIN_BOUND"
    assert verdict.eta > 1
    assert 0 < verdict.bits < 53
    verdict = judge_values(case, "output", outside, exact, values)
    assert (verdict.name, verdict.wrong) == ("WRONG_VALUE", 1)


def test_the_direct_bound_is_the_formula():
    case, values, exact = setting("conv2d n1 c4 o6 i5x6 k3x2 bias float32 random")
    terms = 4 * 6
    expected = gamma(terms + 2, 2.0**-24) * exact.magnitude() + (terms + 2) * 2.0**-149
    np.testing.assert_array_equal(allowed_error("direct", case, values, exact), expected)


def test_a_dropped_tap_and_tf32_are_outside_any_bound():
    case, values, exact = setting("conv2d n2 c4 o6 i7x9 k3x3 p1x1 float32 random")
    dropped = values.weight.copy()
    dropped[..., 2, 2] = 0
    less = Oracle(case, values._replace(weight=dropped)).output().high[0]
    coarse = np.round(values.input * 2**10) / 2**10
    tf32 = Oracle(case, values._replace(input=coarse)).output().high[0]
    for kind in BOUNDS[:3]:
        assert judge_values(case, "output", less, exact, values, kind=kind).name == "WRONG_VALUE"
        assert judge_values(case, "output", tf32, exact, values, kind=kind).name == "WRONG_VALUE"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_rounded_tap_by_tap_are_recognised_and_other_wrong_sums_are_not(dtype):
    case = Case.parse(f"conv2d n2 c8 o6 i17x25 k8x9 s8x8 {dtype} random")
    values = draw(case)
    exact = Oracle(case, values).output()
    result = np.zeros(case.output_shape)
    for kh, kw in np.ndindex(*case.kernel_size):
        taken = values.input[..., kh : kh + 16 : 8, kw : kw + 24 : 8][..., : result.shape[2], : result.shape[3]]
        result = round_to(dtype, result + np.einsum("ncij,oc->noij", taken, values.weight[..., kh, kw]))

    def judged(result, kind):
        return judge_values(case, "output", result, exact, values, kind=kind).name

    assert judged(result, "direct") == "WRONG_VALUE"
    assert judged(result, "rounded_on_the_way") == "WITHIN_BOUND"
    for wrong in (0 * result, 0.5 * result, np.roll(result, 1, axis=-1)):
        assert judged(wrong, "rounded_on_the_way") == "WRONG_VALUE"


def test_winograd_bounds_cover_a_line_that_the_direct_bound_does_not():
    """Sobel over a bright line: the transform adds what the sum cancels."""
    case = Case.parse("conv2d n1 c1 o1 i6x6 k3x3 float32 random")
    image = np.zeros((1, 1, 6, 6))
    image[..., 2] = 1000.0
    sobel = np.array([[[[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]]])
    values = Values(image, sobel, None, np.ones((1, 1, 4, 4)))
    exact = Oracle(case, values).output()
    direct, f2, f4 = (allowed_error(kind, case, values, exact)[0, 0, 0] for kind in BOUNDS[:3])
    assert (f2[:, 1] > 2 * direct[:, 1]).all()  # the middle of the line, where the window is all zeros
    assert (f4 > f2).all()


@pytest.mark.parametrize("kind", ["winograd_f2", "winograd_f4", "fft"])
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_a_border_counts_as_what_it_holds(mode, kind):
    """As the same convolution of the padded image, element for element."""
    case, values, exact = setting(f"conv2d n1 c2 o3 i6x7 k3x3 p2x3 float32 random {mode}")
    padded = np.pad(
        values.input, [(0, 0), (0, 0), (2, 2), (3, 3)], {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    )
    inside = Case.parse("conv2d n1 c2 o3 i10x13 k3x3 float32 random")
    same = Oracle(inside, values._replace(input=padded)).output()
    np.testing.assert_array_equal(same.high, exact.high)
    allowed = [
        allowed_error(kind, c, v, e, 2.0)
        for c, v, e in ((case, values, exact), (inside, values._replace(input=padded), same))
    ]
    np.testing.assert_allclose(*allowed, rtol=1e-12)


def test_special_numbers_must_be_where_they_belong():
    case, values, exact = setting("conv2d n2 c4 o6 i5x6 k3x2 float32 specials")
    right = exact.high[0].astype(np.float32).astype(float)
    assert judge_values(case, "output", right, exact, values).passed
    for replacement in (0.0, np.inf):
        wrong = np.where(np.isnan(right), replacement, right)
        assert judge_values(case, "output", wrong, exact, values).name == "WRONG_VALUE"
    spread = right.copy()
    spread[~np.isnan(right)] = np.nan
    assert judge_values(case, "output", spread, exact, values).name == "WRONG_VALUE"


def test_complex_numbers_are_judged_by_part():
    case, values, exact = setting("conv2d n1 c4 o6 i5x6 k3x2 complex64")
    right = exact.high[0] + 1j * exact.high[1]
    assert judge_values(case, "output", right, exact, values).name == "EQUAL"
    verdict = judge_values(case, "output", right + 1j, exact, values)
    assert verdict.name == "WRONG_VALUE"
    assert verdict.got == verdict.want + 1j


def test_an_output_of_zeros_is_not_trusted():
    case = Case.parse("conv2d n1 c1 o1 i3x4 k1x1 float32")
    values = Values(np.zeros((1, 1, 3, 4)), np.ones((1, 1, 1, 1)), None, np.ones((1, 1, 3, 4)))
    exact = Oracle(case, values).output()
    assert judge_values(case, "output", np.zeros((1, 1, 3, 4)), exact, values).name == "MISTRUSTED"


@pytest.mark.parametrize(
    ("dtype", "value", "rounded"),
    [
        ("float16", 2049.0, 2048.0),
        ("float16", 2051.0, 2052.0),
        ("bfloat16", 257.0, 256.0),
        ("bfloat16", 259.0, 260.0),
        ("bfloat16", -math.inf, -math.inf),
        ("float32", 2.0**24 + 1, 2.0**24),
        ("complex32", 2049.0, 2048.0),
    ],
)
def test_rounding_is_to_nearest_even(dtype, value, rounded):
    assert round_to(dtype, np.array([value]))[0] == rounded


def test_a_verdict_begins_with_the_shape_and_ends_with_the_way_to_reproduce_it():
    case, values, exact = setting("conv2d n2 c4 o6 i5x6 k3x2 bias float32")
    lines = str(judge_values(case, "output", exact.high[0] + 1, exact, values)).splitlines()
    assert lines[0] == "(2, 6, 3, 5) float32: WRONG_VALUE in output"
    assert "180 of 180 wrong, worst at" in lines[1]
    assert lines[-1].strip().startswith("python -c ")
    assert str(case) in lines[-1]


def test_a_report_adds_up():
    case = Case.parse("conv2d n2 c4 o6 i5x6 k3x2")
    report = Report()
    for name in ("EQUAL", "EQUAL", "SAME_ERROR", "WITHIN_BOUND", "EXPLAINED", "SHAPE"):
        report.add(Verdict(name, case, divergence="some-id" if name == "EXPLAINED" else ""))
    assert (report.cases, report.equal, report.within_bound, report.known, report.wrong) == (6, 3, 1, 1, 1)
    assert report.cases == report.equal + report.within_bound + report.known + report.wrong
    assert report.by_axis["kernel"]["3x2"]["EQUAL"] == 2
    assert report.explained == {"some-id": 1}
    assert "6 cases: 3 equal" in str(report)
    assert set(PASSING) < set(VERDICTS)
