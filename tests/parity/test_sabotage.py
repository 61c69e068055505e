"""The suite can judge: it passes a right convolution, and catches every sabotaged one for the right reason."""

from __future__ import annotations

import random
import sys
import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from miniconv.parity.cases import Case  # noqa: E402
from miniconv.parity.grids import GRIDS, listed  # noqa: E402
from miniconv.parity.runner import judge, run  # noqa: E402
from miniconv.parity.targets import Target  # noqa: E402
from miniconv.parity.verdict import Verdict  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and sabotage.py is no test
from sabotage import SABOTAGES, RightModule, right  # noqa: E402

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


CASES = ordinary_cases()


@pytest.fixture(autouse=True)
def _torch_may_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def first_catch(target: Target) -> tuple[int, Verdict] | None:
    """After how many cases the target is caught, and by which verdict."""
    for number, case in enumerate(CASES, 1):
        verdict = judge(case, target)
        if not verdict.passed:
            return number, verdict
    return None


def test_no_false_alarm():
    report = run(CASES, Target(right, RightModule))
    assert not report.wrong, str(report)
    assert report.within_bound
    assert report.counts["SAME_ERROR"] > 100


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_sabotage_is_caught(name):
    target, caught_by = SABOTAGES[name]
    caught = first_catch(target)
    assert caught is not None, f"{name} went unnoticed"
    assert caught[1].name in caught_by, str(caught[1])


def test_mutation_score(capsys):
    caught = {name: first_catch(target) for name, (target, _) in SABOTAGES.items()}
    score = sum(catch is not None for catch in caught.values())
    with capsys.disabled():
        print(f"\nmutation score: {score} of {len(SABOTAGES)} sabotaged convolutions caught")
        for name, catch in caught.items():
            number, verdict = catch or (0, None)
            print(
                f"  {name:38} {verdict.name:16} {verdict.part:12} case {number:3}: {verdict.case}" if verdict else name
            )
    assert score == len(SABOTAGES) >= 40
