"""Shrinking: what comes out still fails, in the same way, is small, and no single step makes it smaller."""

from __future__ import annotations

import math
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from miniconv.parity.cases import Case  # noqa: E402
from miniconv.parity.runner import judge  # noqa: E402
from miniconv.parity.shrink import same, shrink, steps  # noqa: E402
from miniconv.parity.targets import TORCH, Target  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out
from fault_names import NAMES  # noqa: E402
from sabotages import SABOTAGES, axes_and_taps, right  # noqa: E402
from test_sabotage import first_catch  # noqa: E402


@pytest.fixture(autouse=True)
def _torch_may_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def numbers(case: Case) -> int:
    """How many numbers the operands hold, whatever the case would compute of them."""
    return math.prod(case.input_shape) + math.prod(case.weight_shape) + case.bias * case.out_channels


# These show only in a square kernel that is not symmetric, where several groups have several channels each, or in a sum
# that is too large for float16.
LARGER = ("square_kernel_transposed", "groups_second_in_the_transposed_weight", "float16_accumulation")


@pytest.mark.parametrize("name", NAMES)
def test_a_caught_sabotage_shrinks(name):
    target, _, op, _ = SABOTAGES[name]
    caught = first_catch(target, op)[1]
    small = shrink(caught, target)
    assert same(small, caught)
    assert same(judge(small.case, target), caught), small.case
    assert (small.case.op, small.case.dtype) == (op, caught.case.dtype)
    assert numbers(small.case) <= 12 or name in LARGER, small.case
    for step in steps(small.case):
        assert not same(judge(step, target), caught), f"{small.case} could have become {step}"


def test_a_verdict_that_passed_stays():
    verdict = judge(Case.parse("conv2d n2 c4 o6 i5x7 k3x2 float32"), Target(right))
    assert verdict.passed
    assert shrink(verdict, Target(right)) is verdict


def test_torch_is_a_target_too():
    case = Case.parse("conv1d n2 c3 o4 i9 k3 float32 stride=1.5")
    verdict = judge(case, TORCH)
    assert verdict.name == "SAME_ERROR"
    assert shrink(verdict, TORCH) is verdict


def test_time_is_bounded():
    slow, calls = axes_and_taps.swapped_strides, []

    def swapped(*operands, **options):
        calls.append(time.sleep(0.01))
        return slow(*operands, **options)

    target = Target(swapped)
    verdict = judge(Case.parse("conv2d n3 c8 o12 i9x11 k3x2 s2x3 p3x1 g2 bias float32"), target)
    assert verdict.name == "SHAPE"
    calls.clear()
    assert shrink(verdict, target, seconds=0.0) is verdict
    assert not calls
    assert same(shrink(verdict, target, seconds=0.05), verdict)
    assert len(calls) < 12


def test_cases_are_asked_in_the_way_that_is_given():
    target, asked = SABOTAGES["flipped_kernel"].target, []

    def ask(case, its_target):
        asked.append(case)
        return replace(judge(case, its_target), name="CRASHED")

    crashed = replace(judge(Case.parse("conv2d n2 c4 o6 i5x7 k3x2 float32"), target), name="CRASHED")
    assert shrink(crashed, target) is crashed
    small = shrink(crashed, target, ask=ask)
    assert (small.name, small.part) == (crashed.name, crashed.part)
    assert small.case in asked


def test_what_was_given_instead_is_left_out_if_it_can_be():
    def refuses(*operands, **options):
        raise KeyError("nothing works")

    verdict = judge(Case.parse("conv2d n2 c4 o6 i5x7 k3x2 float32 stride=1.5 groups=2.0"), Target(refuses))
    assert verdict.name == "ERROR_TYPE"
    small = shrink(verdict, Target(refuses)).case
    assert len(small.given) == 1


@pytest.mark.parametrize(
    "text",
    [
        "conv2d n3 c4 o6 i7x9 k3x2 s2x3 p1x2 d1x3 g2 bias float32 reflect sliced specials seed3",
        "conv_transpose1d n0 c6 o9 i6 k5 s3 p1 d2 op2 g3 int64",
        "conv3d c5 o5 i5x6x3 k3x3x3 psame g5 float16 groups=2.0",
    ],
)
def test_every_step_is_simpler_and_steps_end(text):
    seen, todo = set(), [Case.parse(text)]
    start = todo[0]
    for _ in range(200):
        case = todo.pop()
        todo += [step for step in steps(case) if step not in seen]
        seen.update(todo)
        assert len(str(case)) <= len(text)
        if not todo:
            break
    assert all(case.dtype == start.dtype and case.op == start.op for case in seen)
    case, taken = start, 0
    while (step := next(steps(case), None)) is not None:
        case, taken = step, taken + 1
        assert taken < 60
    assert numbers(case) <= 3
    assert (case.padding_mode, case.layout, case.data, case.seed, case.given) == (
        "zeros",
        "contiguous",
        "integers",
        0,
        (),
    )
