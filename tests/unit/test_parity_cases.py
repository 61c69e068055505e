"""A case is one line of text, and the grids hold every pair of values that can meet."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter

import pytest

from miniconv.parity.cases import DTYPES, LAYOUTS, PADDING_MODES, Case
from miniconv.parity.grids import AXES, GRIDS, counts, full_grid, geometries, listed, short_grid


@pytest.fixture(scope="module")
def everything() -> list[Case]:
    return full_grid()


def test_text_round_trips(everything):
    for case in everything[::37] + listed("errors.txt") + listed("regressions.txt"):
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


def test_the_geometry_is_the_full_product():
    points = {tuple(case.axes[name] for name in AXES) for case in geometries()}
    assert len(points) == len(geometries()) == 7200


def test_spatial_values_differ_per_axis():
    for case in geometries():
        assert case.input_size[0] != case.input_size[1]
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


def test_cases_need_no_torch():
    code = "import sys; sys.modules['torch'] = None; from miniconv.parity import Case, Verdict, catalogue, short_grid"
    subprocess.run([sys.executable, "-c", code], check=True)
