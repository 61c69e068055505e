"""What the parity suite is said to reach: the table is made of what happens, and nothing of importance is missing."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2]))  # bench/ is a folder of the source, not an installed package

from bench import coverage  # noqa: E402
from miniconv.parity import Case  # noqa: E402
from miniconv.parity.cases import OPS  # noqa: E402
from miniconv.parity.grids import listed  # noqa: E402
from miniconv.parity.suites import choose  # noqa: E402
from miniconv.parity.targets import find  # noqa: E402


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("conv2d n2 c4 o6 i7x9 k3x2 float64 random", "Slow2d"),
        ("conv2d n2 c4 o6 i7x9 k3x2 d1x3 float64 random", "SlowDilated2d"),
        ("conv2d n0 c4 o6 i7x9 k3x2 float32", "Empty"),
        ("conv2d n2 c4 o6 i7x9 k3x2 psame float64 circular", "Slow2d"),
        ("conv2d n2 c4 o6 i7x9 k3x2 p1x1 int8 circular", "Slow2d"),
        ("conv2d n2 c4 o6 i7x9 k3x2 p1x1 int8 reflect", "Slow2d"),
        ("conv1d c4 o6 i9 k3 float64", "Slow2d"),
        ("conv_transpose3d c4 o6 i3x2x4 k2x3x1 float64", "SlowTranspose3d"),
    ],
)
def test_torch_is_asked(text, name):
    assert coverage.backend(Case.parse(text)) == name


def test_a_case_counts_where_it_belongs():
    found, miniconv = coverage.Coverage(), find("miniconv", level="drop-in")
    legal, refused = Case.parse("conv1d n2 c4 o6 i9 k3 float64"), Case.parse("conv1d n2 c4 o6 i9 k3 float64 groups=0")
    found.add(legal, miniconv)
    found.add(refused, miniconv)
    assert found.backends == {"Slow2d": {"conv1d": 1}}
    assert list(found.refused.values()) == [(refused, 1)]
    assert "non-positive groups" in coverage.refusals()[next(iter(found.refused))]
    assert ("kernel", "3", "dtype", "float64") in found.pairs["conv1d"]
    assert ("kernel", "3", "dtype", "float32") in coverage.possible_pairs("conv1d") - found.pairs["conv1d"]


def test_every_refusal_is_reached():
    cases = [case for op in OPS for case in [*choose("smoke", [op]), *listed("errors.txt", op)]]
    found = coverage.measured(cases)
    every, direct = coverage.refusals(), coverage._refused_directly()
    assert len(direct) == len(coverage.DIRECT)
    assert set(every) == set(found.refused) | set(direct)
    assert not set(found.refused) & set(direct)
    page = coverage.page(found, "smoke", 0)
    assert f"{len(every)} of {len(every)} are reached: {len(found.refused)} by cases" in page
    assert "| nothing |" not in page


def test_ci_has_every_pair():
    for op in ("conv2d", "conv_transpose1d"):
        found = coverage.Coverage()
        for case in choose("ci", [op]):
            found.pairs[op].update(coverage.pairs_of(case))
        assert not coverage.possible_pairs(op) - found.pairs[op]


def test_every_backend_is_reached_or_explained():
    page = (coverage.RESULTS / "coverage.md").read_text()
    for name in coverage.torch_backends():
        assert f"| {name} |" in page or f"{name} (" in page


def test_the_command(capsys):
    assert coverage.main(["--suite", "regressions", "--op", "conv3d"]) == 0
    assert "python -m bench.coverage --suite regressions --seed 0" in capsys.readouterr().out
