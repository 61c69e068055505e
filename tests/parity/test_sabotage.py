"""No false alarm over the right convolutions that the sabotages are made of; and every sabotaged window is caught.

That every sabotaged convolution is caught is the claim of the table of ``bench.mutations``, and held by its tests.
"""

from __future__ import annotations

import random
import sys
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from miniconv.parity.cases import Case  # noqa: E402
from miniconv.parity.grids import GRIDS, grids, listed  # noqa: E402
from miniconv.parity.runner import judge, run  # noqa: E402
from miniconv.parity.targets import Target  # noqa: E402
from miniconv.parity.verdict import Verdict  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and sabotages is no test
from sabotages import SABOTAGES, WINDOWS, base  # noqa: E402

SIMPLE = ("int64", "float16", "bfloat16", "float32", "float64")
GRID_NAMES = [
    *(f"geometry-{dtype}" for dtype in SIMPLE), "random-float32", "random-any", "layout-channels_last", "layout-sliced",
    "layout-expanded", "layout-transposed_weight", "layout-channels_last_weight", "mode-reflect", "mode-circular",
]  # fmt: skip


def ordinary_cases() -> list[Case]:
    """A small sample of every grid, in dtypes in which the base of the sabotages has no faults of its own."""
    rng = random.Random(0)
    cases = []
    for name in GRID_NAMES:
        plain = [case for case in GRIDS[name]() if case.dtype in SIMPLE]
        cases += rng.sample(plain, 60)
    specials = [case for case in GRIDS["specials-float32"]() if case.seed != 2]
    cases += rng.sample(specials, 60)
    rng.shuffle(cases)
    return cases + listed("errors.txt")


EXACT = ("int64", "float32", "float64")


@lru_cache
def cases_of(op: str) -> list[Case]:
    """A small sample of an operator's grids, in dtypes in which torch, the base of its sabotages, has no faults."""
    if op == "conv2d":
        return ordinary_cases()
    rng = random.Random(0)
    cases = []
    for name in ("exact", "random-any"):
        cases += rng.sample([case for case in grids(op)[name]() if case.dtype in EXACT], 200)
    cases += [replace(case, dtype="float64") for case in cases[:100] if case.data == "random"]
    rng.shuffle(cases)
    return cases + [case for case in listed("errors.txt", op) if case.dtype == "float64"]


@pytest.fixture(autouse=True)
def _torch_may_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def first_catch(target: Target, op: str) -> tuple[int, Verdict] | None:
    """After how many cases the target is caught, and by which verdict."""
    for number, case in enumerate(cases_of(op), 1):
        verdict = judge(case, target)
        if not verdict.passed:
            return number, verdict
    return None


def test_no_false_alarm():
    report = run(cases_of("conv2d"), base("conv2d"))
    assert not report.wrong, str(report)
    assert report.within_bound
    assert report.counts["SAME_ERROR"] > 100


@pytest.mark.parametrize("op", sorted({sabotage.op for sabotage in SABOTAGES.values()} - {"conv2d"}))
def test_no_false_alarm_in_the_family(op):
    report = run(cases_of(op), base(op))
    assert not report.wrong, str(report)
    assert report.within_bound
    assert report.counts["SAME_ERROR"] > 50


@pytest.mark.parametrize("name", WINDOWS)
def test_a_sabotaged_window_is_caught(name):
    WINDOWS[name].check(WINDOWS[name].right)  # no false alarm
    with pytest.raises(AssertionError):
        WINDOWS[name].check(WINDOWS[name].wrong)
