"""Which fault it is: the hypotheses of ``faults`` held against what a target returned, on its case and on others.

A single small case often cannot tell two faults apart: with one channel, any order of the channels is right. So the
target is asked again, about a few larger cases of the same operator and dtype, and the fault is named that explains
most of what is wrong there, and least contradicts what is right. Where the failing case itself has no numbers to
explain (a call that was refused), those cases alone decide.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from miniconv.parity.bounds import allowed_error
from miniconv.parity.cases import INTEGER_DTYPES, LAYOUTS, Case
from miniconv.parity.faults import FAULTS, Array, Fault, Setting, exact_part
from miniconv.parity.grids import geometries
from miniconv.parity.operands import make, numbers
from miniconv.parity.runner import judge
from miniconv.parity.targets import GRADIENTS, Outcome, Target, call
from miniconv.parity.verdict import Verdict, round_to

__all__ = ["Diagnosis", "diagnose", "part_of", "where_wrong", "wrong_elements"]

PROBES = 16
"""How many other cases the target is asked about."""

ENOUGH = 3
"""A fault that explains none of so many other cases that are wrong is not named."""


@dataclass(frozen=True)
class Diagnosis:
    """What is likely wrong.

    Attributes:
        name: of the fault, as in ``FAULTS`` or ``BY_VERDICT``; empty where no hypothesis fits.
        sentence: the same in words.
        seen_on: the case whose numbers the fault reproduces.
        explained: how many of the other cases that are wrong it reproduces, and how many are wrong.
        others: sentences of the faults that fit as well.
    """

    name: str
    sentence: str
    seen_on: Case
    explained: tuple[int, int] = (0, 0)
    others: tuple[str, ...] = ()


BY_VERDICT = {
    "DTYPE": ("result_dtype", "the result has another dtype than the input"),
    "LAYOUT": ("memory_format", "the result does not keep the memory format"),
    "INPUT_MODIFIED": ("input_modified", "the call writes to its operands"),
    "GRADIENT_MISSING": ("gradient_cut_off", "the gradient is cut off: the operand is detached, or leaves the graph"),
    "CRASHED": ("crashed", "the call ends its process, or does not end"),
}
"""Verdicts that name their fault themselves."""

UNSTEADY = ("unsteady", "two calls give different numbers: memory that is never written, or a race")
"""What is said where the same call does not give the same result."""

OTHERWISE = {
    "NOT_RAISED": ("illegal_call_accepted", "a call is accepted that must be refused"),
    "ERROR_TEXT": ("error_text", "the refusal is right, its words are not torch's"),
    "ERROR_TYPE": ("error_type", "the refusal is right, the type of the exception is not torch's"),
    "RAISED": ("legal_call_refused", "a legal call is refused"),
}
"""What is said where no fault explains the numbers."""


_OF_NUMBERS = ("WRONG_VALUE", "SHAPE", "TORCH_UNEXPLAINED")


class _Evidence(NamedTuple):
    """One case, asked."""

    setting: Setting
    verdict: Verdict
    outcome: Outcome

    @property
    def wrong(self) -> bool:
        """Whether there are numbers, or a shape, that are wrong."""
        return self.verdict.name in _OF_NUMBERS

    def numbers(self, part: str = "") -> Array | None:
        """What the target returned for a part, or for that of the verdict; None where that is no tensor."""
        tensor = self.outcome.parts.get(part or part_of(self.verdict))
        return numbers(tensor) if isinstance(tensor, torch.Tensor) else None

    def explained_by(self, fault: Fault, part: str = "") -> bool:
        """Whether the fault would give these numbers."""
        got = self.numbers(part)
        return got is not None and fault.fits(self.setting, part or part_of(self.verdict), got)


def part_of(verdict: Verdict) -> str:
    """The part whose numbers a verdict is about: the output, if it is about none in particular."""
    return verdict.part if verdict.part in GRADIENTS else "output"


def diagnose(verdict: Verdict, target: Target) -> Diagnosis:
    """The fault that a failing verdict is likely due to.

    Args:
        verdict: what ``judge`` said of a case.
        target: what it said so of; it is called again.

    Returns:
        The fault named, or nothing but the verdict's own words where no hypothesis fits.

    Cost:
        A second at most for cases of the grids' size.
    """
    if verdict.name in BY_VERDICT:
        return Diagnosis(*BY_VERDICT[verdict.name], verdict.case)
    if "every exact result is zero" in verdict.detail:
        return Diagnosis("no_test", "the case proves nothing: a target that returns zeros would pass", verdict.case)
    if "does not require grad" in verdict.detail:
        return Diagnosis(*BY_VERDICT["GRADIENT_MISSING"], verdict.case)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        first = _ask(verdict.case, target)
        if _unsteady(first, target):
            return Diagnosis(*UNSTEADY, verdict.case)
        candidates = [fault for fault in FAULTS if not verdict.case.given and first.explained_by(fault)]
        others = [_ask(case, target) for case in _probes(verdict.case)]
        wrong = [each for each in others if each.wrong]
        seen = first
        if not candidates:
            seen, candidates = _first_explained(wrong)
        explained = {fault.name: sum(each.explained_by(fault) for each in wrong) for fault in candidates}
        right = [each for each in others if each.verdict.passed and not each.outcome.error]
        part = part_of(verdict)
        contradicted = {fault.name: sum(not each.explained_by(fault, part) for each in right) for fault in candidates}
    if not first.wrong or len(wrong) >= ENOUGH:  # nothing to tell from, or chance on a case of few numbers
        candidates = [fault for fault in candidates if explained[fault.name]]
    if not candidates:
        return Diagnosis(*_default(verdict), verdict.case)
    ranked = sorted(candidates, key=lambda fault: (-explained[fault.name], contradicted[fault.name]))
    best = ranked[0]
    score = (explained[best.name], contradicted[best.name])
    equal = [fault.sentence for fault in ranked[1:] if (explained[fault.name], contradicted[fault.name]) == score]
    return Diagnosis(best.name, best.sentence, seen.setting.case, (explained[best.name], len(wrong)), tuple(equal))


def _default(verdict: Verdict) -> tuple[str, str]:
    """What the verdict itself says."""
    mixed = [name for name, _ in verdict.case.given if name.endswith(":")]
    if verdict.name == "NOT_RAISED" and mixed:
        return "mixed_dtypes_accepted", "operands of different dtypes are accepted"
    return OTHERWISE.get(verdict.name, ("", ""))


def _first_explained(evidence: Iterable[_Evidence]) -> tuple[_Evidence, list[Fault]]:
    """The first case that some fault explains, and those faults."""
    for each in evidence:
        if candidates := [fault for fault in FAULTS if each.explained_by(fault)]:
            return each, candidates
    return None, []  # type: ignore[return-value]  # without candidates nobody looks at it


def _ask(case: Case, target: Target) -> _Evidence:
    """The target's verdict and numbers on one case."""
    operands = make(case)
    setting = Setting(case, operands.values(), target.bound, target.fft_constant)
    return _Evidence(setting, judge(case, target), call(case, operands, target))


def _unsteady(evidence: _Evidence, target: Target) -> bool:
    """Whether a further call gives other numbers, after memory of the result's size was filled with other things."""
    got = evidence.numbers()
    if got is None or not got.size:
        return False
    for filler in (math.nan, 1e30, -7.0):
        junk = [torch.full(got.shape, filler, dtype=torch.float32) for _ in range(4)]
        del junk  # freed memory is what a result that is never written would show
        again = evidence._replace(outcome=call(evidence.setting.case, make(evidence.setting.case), target)).numbers()
        if again is None or not np.array_equal(again, got, equal_nan=True):
            return True
    return False


def _probes(case: Case) -> Iterator[Case]:
    """Other legal cases of the operator, in the same dtype; most with the same border, some in the same layout."""
    rng = random.Random(0)
    cases = rng.sample(_legal(case.op), PROBES)
    layouts = [
        case.layout,
        "contiguous",
        "sliced",
        *(name for name in LAYOUTS if case.op[-2] != "1" or "last" not in name),
    ]
    for at, probe in enumerate(cases):
        border = case.padding_mode if at % 4 else "zeros"
        probe = replace(probe, dtype=case.dtype, padding_mode=border, layout=layouts[at % len(layouts)])
        if case.data == "random" and at % 2:
            probe = replace(probe, data="random")
        if not probe.must_be_refused:
            yield probe


@lru_cache
def _legal(op: str) -> tuple[Case, ...]:
    """The operator's geometries that are no refusal, and have something to compute."""
    return tuple(case for case in geometries(op) if not case.must_be_refused and case.batch != 0)


# ---- where ----------------------------------------------------------------------------------------------------


def wrong_elements(setting: Setting, part: str, got: Array) -> Array | None:
    """Which elements of a part are wrong, a mask of its shape; None where nothing of that shape is expected."""
    exact = exact_part(setting, part)
    if exact is None or exact.high.shape[1:] != got.shape:
        return None
    parts = np.stack([got.real, got.imag]) if len(exact.high) == 2 else got[None]
    with np.errstate(all="ignore"):
        best = exact.high if setting.case.dtype in INTEGER_DTYPES else round_to(setting.case.dtype, exact.high)
        equal = (parts == best) | (np.isnan(parts) & np.isnan(best))
        if not setting.case.is_exact:
            kind = setting.kind if part == "output" else "direct"
            allowed = allowed_error(kind, setting.case, setting.values, exact, setting.fft_constant)
            equal |= np.isfinite(best) & (abs(parts - exact.high) <= allowed)
    wrong: Array = ~equal.all(0)
    return wrong


def where_wrong(case: Case, part: str, wrong: Array) -> str:
    """Where the wrong elements of a part lie, in words.

    >>> case = Case.parse("conv2d n1 c1 o2 i3x4 k1x1")
    >>> wrong = np.zeros(case.output_shape, bool)
    >>> wrong[:, :, :, -1] = True
    >>> where_wrong(case, "output", wrong)
    'only the last column (6 of 24 elements)'
    """
    count = f"({int(wrong.sum())} of {wrong.size} elements)"
    if not wrong.any():
        return "nothing, this time"
    if wrong.all():
        return f"every element {count}"
    names = _axis_names(case, part, wrong.ndim)
    for axis, name in enumerate(names):
        places = np.flatnonzero(wrong.any(tuple(other for other in range(wrong.ndim) if other != axis)))
        whole = wrong.take(places, axis).all()
        if len(places) == 1 and wrong.shape[axis] > 1:
            at = int(places[0])
            which = "the last" if at == wrong.shape[axis] - 1 else "the first" if at == 0 else ""
            words = f"{which} {name}" if which else f"{name} {at}"
            return f"{'only' if whole else 'only in'} {words} {count}"
    if part == "output" and (border := _border(case, wrong.shape)) is not None and not (wrong & ~border).any():
        return f"only windows that reach over the border {count}"
    if part in ("output", "input_grad") and case.groups > 1:
        axis = 0 if case.batch is None else 1
        of_group = [group.any() for group in np.split(wrong, case.groups, axis)]
        if not all(of_group):
            return f"only in groups {', '.join(str(at) for at, some in enumerate(of_group) if some)} {count}"
    return f"scattered {count}"


def _axis_names(case: Case, part: str, ndim: int) -> tuple[str, ...]:
    """What one step along each axis of a part is called."""
    spatial = ("slice", "row", "column")[-len(case.input_size) :]
    if part == "bias_grad":
        return ("channel",)
    if part == "weight_grad":
        channels = ("output channel", "input channel")
        return (*(reversed(channels) if case.transposed else channels), *spatial)
    return ("image", "channel", *spatial)[-ndim:]


def _border(case: Case, shape: tuple[int, ...]) -> Array | None:
    """The outputs of an ordinary convolution whose window has a cell outside the input."""
    if case.transposed:
        return None
    border = np.zeros(shape[-len(case.input_size) :], bool)
    for axis, (size, out, stride, (low, _), kernel, dilation) in enumerate(
        zip(case.input_size, case.output_size, case.stride, case.padding_pairs, case.kernel_size, case.dilation)
    ):
        first = np.arange(out) * stride - low
        outside = (first < 0) | (first + dilation * (kernel - 1) >= size)
        border |= outside.reshape([-1 if other == axis else 1 for other in range(border.ndim)])
    return np.broadcast_to(border, shape)
