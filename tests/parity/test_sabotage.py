"""The suite can judge: it passes a right convolution, and catches every sabotaged one for the right reason."""

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
from miniconv.parity.targets import Target, family  # noqa: E402
from miniconv.parity.verdict import Verdict  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and sabotages is no test
from sabotages import SABOTAGES, WINDOWS, RightModule, right  # noqa: E402

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
    report = run(cases_of("conv2d"), Target(right, RightModule))
    assert not report.wrong, str(report)
    assert report.within_bound
    assert report.counts["SAME_ERROR"] > 100


@pytest.mark.parametrize("op", sorted({sabotage.op for sabotage in SABOTAGES.values()} - {"conv2d"}))
def test_no_false_alarm_in_the_family(op):
    report = run(cases_of(op), family(torch.nn.functional, torch.nn))  # a target like any other: nothing is excused
    assert not report.wrong, str(report)
    assert report.within_bound
    assert report.counts["SAME_ERROR"] > 50


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_sabotage_is_caught(name):
    target, caught_by, op = SABOTAGES[name]
    caught = first_catch(target, op)
    assert caught is not None, f"{name} went unnoticed"
    assert caught[1].name in caught_by, str(caught[1])


@pytest.mark.parametrize("name", WINDOWS)
def test_a_sabotaged_window_is_caught(name):
    WINDOWS[name].check(WINDOWS[name].right)  # no false alarm
    with pytest.raises(AssertionError):
        WINDOWS[name].check(WINDOWS[name].wrong)


def noticed(name: str) -> bool:
    """Whether the check of a window's sabotage fails."""
    try:
        WINDOWS[name].check(WINDOWS[name].wrong)
    except AssertionError:
        return True
    return False


def test_mutation_score(capsys):
    caught = {name: first_catch(target, op) for name, (target, _, op) in SABOTAGES.items()}
    windows = {name: noticed(name) for name in WINDOWS}
    score, of_windows = sum(catch is not None for catch in caught.values()), sum(windows.values())
    with capsys.disabled():
        print(f"\nmutation score: {score} of {len(SABOTAGES)} sabotaged convolutions caught")
        for name, catch in caught.items():
            number, verdict = catch or (0, None)
            print(
                f"  {name:38} {verdict.name:16} {verdict.part:12} case {number:3}: {verdict.case}" if verdict else name
            )
        print(f"mutation score: {of_windows} of {len(WINDOWS)} sabotaged windows caught")
    assert score == len(SABOTAGES) >= 65
    assert of_windows == len(WINDOWS) >= 25
