"""A case is one line of text, and the grids hold every pair of values that can meet."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections import Counter

import pytest

from miniconv.parity.axes import AXES
from miniconv.parity.cases import DTYPES, LAYOUTS, OPS, PADDING_MODES, Case
from miniconv.parity.grids import GRIDS, counts, full_grid, geometries, listed, short_grid


@pytest.fixture(scope="module")
def everything() -> list[Case]:
    return full_grid()


def test_text_round_trips(everything):
    family = [case for op in OPS for case in geometries(op)[::37] + listed("errors.txt", op)]
    for case in everything[::37] + family + listed("regressions.txt"):
        assert Case.parse(str(case)) == case


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("conv4d c4 o6 i7 k3", "begins with"),
        ("conv2d c4 o6 i7x9", "kernel_size missing"),
        ("conv2d c4 o6 i7x9 k3x2 c4", "given twice"),
        ("conv2d c4 o6 i7x9 k3x2 float31", "is not a word"),
        ("conv2d c4 o6 i7x9x11 k3x2", "one number or 2"),
        ("conv2d c4x2 o6 i7x9 k3x2", "is one number"),
    ],
)
def test_bad_text(text, why):
    with pytest.raises(ValueError, match=why):
        Case.parse(text)


def test_what_follows_from_a_case():
    case = Case.parse("conv2d n3 c4 o6 i7x9 k3x2 psame d1x3 g2")
    assert case.padding_pairs == ((1, 1), (1, 2))
    assert case.output_shape == (3, 6, 7, 9)
    assert case.weight_shape == (6, 2, 3, 2)
    assert not Case.parse("conv2d c4 o6 i7x9 k3x2 int8").differentiable
    assert Case.parse("conv2d c4 o6 i7x9 k9x11").output_size == (-1, -1)
    assert Case.parse("conv2d c3 o6 i7x9 k3x2 p4x4 g3").axes["groups"] == "multiplier"
    assert Case.parse("conv2d c3 o6 i7x9 k3x2 p4x4 g3").axes["padding"] == "larger"


@pytest.mark.parametrize("op", OPS)
def test_the_geometry_is_the_full_product(op):
    points = {tuple(case.axes[name] for name in AXES[op]) for case in geometries(op)}
    assert len(points) == len(geometries(op)) == math.prod(map(len, AXES[op].values()))
    assert {case.op for case in geometries(op)} == {op}


@pytest.mark.parametrize("op", OPS)
def test_spatial_values_differ_per_axis(op):
    for case in geometries(op):
        assert len(set(case.input_size)) == len(case.input_size)
        assert case.in_channels != case.out_channels or case.axes["groups"] == "depthwise"


def test_the_counts_are_as_published(everything):
    assert {name: len(grid()) for name, grid in GRIDS.items() if name.startswith("geometry")} == {
        f"geometry-{dtype}": 7200 for dtype in DTYPES
    }
    by_axis = counts(everything)
    assert sum(by_axis["dtype"].values()) == len(everything) > 142_000
    assert set(by_axis["layout"]) == set(LAYOUTS)
    assert set(by_axis["padding_mode"]) == set(PADDING_MODES)


@pytest.mark.parametrize("cases", ["everything", "short"])
def test_every_pair_of_values_meets(everything, cases):
    chosen = everything if cases == "everything" else short_grid()
    values = {name: [value for value, n in found.items() if n > 1000] for name, found in counts(everything).items()}
    values |= {"padding_mode": list(PADDING_MODES), "data": ["integers", "random", "specials"]}
    seen = {pair: Counter() for pair in itertools.combinations(values, 2)}
    for case in chosen:
        axes = case.axes
        for (one, other), found in seen.items():
            found[axes[one], axes[other]] += 1
    integer_dtypes = DTYPES[:5]
    never = {("dtype", "data"): {(dtype, "specials") for dtype in integer_dtypes}}
    never["padding_mode", "data"] = {(mode, "specials") for mode in PADDING_MODES[1:]}
    for (one, other), found in seen.items():
        wanted = set(itertools.product(values[one], values[other])) - never.get((one, other), set())
        assert not wanted - set(found), (one, other, wanted - set(found))


@pytest.mark.parametrize("op", [op for op in OPS if op != "conv2d"])
def test_every_pair_of_values_meets_in_the_family(op):
    cases = full_grid(op)
    values = {name: [value for value, n in found.items() if n > 300] for name, found in counts(cases).items()}
    missing = Counter()
    pairs = (itertools.combinations(case.axes.items(), 2) for case in cases)
    seen = {(one, a, other, b) for of_case in pairs for (one, a), (other, b) in of_case}
    for one, other in itertools.combinations(values, 2):
        missing[one, other] += sum(
            (one, a, other, b) not in seen for a, b in itertools.product(values[one], values[other])
        )
    # integers have no specials, and a border's mode goes with no special number
    assert set(+missing) <= {("dtype", "data"), ("padding_mode", "data")}


def test_what_follows_from_a_transposed_case():
    case = Case.parse("conv_transpose2d n3 c4 o6 i4x5 k3x2 s2x3 p1x0 d1x2 op1x2 g2")
    assert case.output_shape == (3, 6, 8, 17)
    assert case.weight_shape == (4, 3, 3, 2)
    assert not case.must_be_refused
    assert Case.parse("conv_transpose2d n3 c4 o6 i4x5 k3x2 op1x0").must_be_refused
    assert not Case.parse("conv_transpose2d n3 c4 o6 i4x5 k3x2 d2x1 op1x0").must_be_refused
    assert Case.parse("conv_transpose2d n3 c4 o6 i4x5 k3x2 p3x0").must_be_refused
    assert (case.axes["op"], case.axes["output_padding"]) == ("conv_transpose2d", "1x2")


def test_cases_need_no_torch():
    code = "import sys; sys.modules['torch'] = None; from miniconv.parity import Case, Verdict, catalogue, short_grid"
    subprocess.run([sys.executable, "-c", code], check=True)
