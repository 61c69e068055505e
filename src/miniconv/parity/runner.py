"""Runs cases on an implementation and judges it: values by the oracle, everything else by torch itself.

torch is a target too. Every case is run on torch first and judged by the oracle; where torch is wrong, an entry of
``divergences.json`` must explain it, or the case fails as TORCH_UNEXPLAINED.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from miniconv.parity.cases import COMPLEX_DTYPES, Case
from miniconv.parity.data import Array, Values
from miniconv.parity.divergences import explain
from miniconv.parity.operands import Operands, changed, make, memory, numbers
from miniconv.parity.oracle import Exact, Oracle
from miniconv.parity.report import Report
from miniconv.parity.results import fitted, misfit
from miniconv.parity.targets import (
    GRADIENTS,
    NAMES,
    TORCH,
    Outcome,
    Target,
    call,
    find,
    not_asked,
    refusal,
)
from miniconv.parity.verdict import PASSING, Verdict, judge_values

__all__ = ["judge", "observe", "reproduce", "run"]


class _Truth:
    """The exact results of one case, worked out when first asked for."""

    def __init__(self, case: Case, operands: Operands) -> None:
        self.case = case
        self._operands = operands
        self._exact: dict[tuple[str, bool | None], Exact] = {}

    @cached_property
    def values(self) -> Values:
        return self._operands.values()

    def exact(self, part: str, multiply_zeros: bool | None = None) -> Exact:
        if (part, multiply_zeros) not in self._exact:
            oracle = Oracle(self.case, self.values, multiply_zeros=multiply_zeros)
            self._exact[part, multiply_zeros] = getattr(oracle, part)()
        return self._exact[part, multiply_zeros]

    def readings(self, part: str, got: Array) -> dict[str, Exact]:
        """What the part would hold under the definition (no name), and under what backends make of special numbers."""
        exact = self.exact(part)
        readings = {"": exact}
        if self.case.data != "specials":
            return readings
        nan = np.isnan(np.stack([got.real, got.imag]) if len(exact.high) == 2 else got[None])
        if part in ("output", "input_grad") or (part == "weight_grad" and self.case.transposed):
            left_out, multiplied = self.exact(part, False), self.exact(part, True)
            either = np.where(nan, multiplied.high, left_out.high)
            readings["zeros of the border taken either way"] = left_out._replace(high=either)
        if self.case.dtype in COMPLEX_DTYPES:
            for name, base in list(readings.items()):
                infinite = nan & ~np.isfinite(base.high).all(0)
                name = f"{name}, NaN for an infinite part".removeprefix(", ")
                readings[name] = base._replace(high=np.where(infinite, np.nan, base.high))
        readings["NaN where no term is NaN"] = exact._replace(high=np.where(nan, np.nan, exact.high))
        return readings


def run(
    cases: Iterable[Case],
    target: Target | Callable[..., Any] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Runs every case on ``target`` and on torch, forward and gradients, and judges them.

    Args:
        cases: what to run.
        target: a ``Target``, or a callable with the signature of torch's function of the cases' operator;
            default miniconv.
        progress: called after each case with how many are done and how many there are.

    Returns:
        The counts and every failure.

    Numerics: exact data must agree exactly; other data within ``miniconv.parity.bounds``.
    Cost: about two milliseconds a case.
    """
    todo = list(cases)
    target = _as_target(target)
    report = Report()
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for done, case in enumerate(todo, 1):
            report.add(judge(case, target))
            if progress is not None:
                progress(done, len(todo))
    report.seconds = time.perf_counter() - start
    return report


def reproduce(text: str, target: str = "", level: str = "drop-in") -> Verdict:
    """Runs the case that a failure printed, prints its verdict and returns it.

    Args:
        text: the case's text.
        target: as ``miniconv.parity.targets.find`` takes it; default miniconv.
        level: one of ``miniconv.parity.targets.LEVELS``.
    """
    case = Case.parse(text)
    found = find(target or "miniconv", op=case.op, level=level)
    if level == "drop-in":  # as ``run`` judges a function that nothing is known of
        found = replace(found, refusals="named")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdict = judge(case, found)
    print(verdict if not verdict.passed else f"{verdict.name}: {text}")
    return verdict


def observe(case: Case) -> Verdict:
    """What the oracle says of torch itself, with nothing explained away."""
    operands = make(case)
    outcome = call(case, operands, TORCH)
    return _worst(_compare(_Truth(case, operands), outcome, outcome, TORCH))


def judge(case: Case, target: Target) -> Verdict:
    """One case: torch first, by the oracle; then the target, by both."""
    reason = not_asked(case, target)
    if reason is not None:
        return Verdict("UNSUPPORTED", case, detail=reason, target=target.name)
    operands = make(case)
    before = memory(operands)
    truth = _Truth(case, operands)
    expected = call(case, operands, TORCH)
    of_torchs = _compare(truth, expected, expected, TORCH)
    for of_torch in of_torchs:
        if not of_torch.passed and explain(of_torch, of_torch=True) is None:
            detail = f"{of_torch.name} {of_torch.detail}"
            return replace(of_torch, name="TORCH_UNEXPLAINED", detail=detail, target=TORCH.name)
    got = expected if target.function is TORCH.function else call(case, operands, target)
    got.modified = changed(operands, before)
    verdicts = []
    for verdict in _compare(truth, got, expected, target):
        entry = None if verdict.passed else explain(verdict, of_torch=target.is_torch)
        if entry is None:
            verdicts.append(verdict)
        elif verdict.name == "NOT_RAISED":  # the values must be right all the same
            verdicts += [replace(part, divergence=entry.id) for part in _compare(truth, got, None, target)]
        else:
            verdicts.append(replace(verdict, name="EXPLAINED", divergence=entry.id))
    torch_bits = min((of_torch.bits for of_torch in of_torchs if of_torch.part != "call"), default=None)
    judged = replace(_worst(verdicts), target=target.name, level=target.level)
    return replace(judged, torch_bits=torch_bits, seconds=got.seconds)


def _worst(verdicts: list[Verdict]) -> Verdict:
    """The first verdict that did not pass; else the one that says most."""
    failed = next((verdict for verdict in verdicts if not verdict.passed), None)
    return failed or max(verdicts, key=lambda verdict: (PASSING.index(verdict.name), verdict.eta))


def _as_target(target: Target | Callable[..., Any] | None) -> Target:
    """``target`` with what it leaves out."""
    if isinstance(target, Target):
        return target
    if target is None:
        return NAMES["miniconv"]()
    name = f"{target.__module__}:{getattr(target, '__qualname__', '')}"
    return Target(target, name="" if name.startswith("miniconv.functional") else name)


def _compare(truth: _Truth, got: Outcome, expected: Outcome | None, target: Target) -> list[Verdict]:
    """What the target did against what torch did (None: torch's refusal does not count) and what is exact, by part."""
    case = truth.case
    if got.modified:
        return [Verdict("INPUT_MODIFIED", case, detail="an operand's memory differs after the call")]
    if got.error is not None:
        return [_compare_errors(case, got, expected, target)]
    if expected is not None and expected.error is not None:
        if target.level == "drop-in" or case.must_be_refused:
            return [Verdict("NOT_RAISED", case, expected.failed_in, detail=expected.first_line)]
        expected = None  # torch refuses what has a result all the same
    parts = ["output"]
    if case.differentiable and target.gradients:
        parts += GRADIENTS if case.bias else GRADIENTS[:2]
    return [_compare_part(truth, part, got, expected, target) for part in parts]


def _compare_errors(case: Case, got: Outcome, expected: Outcome | None, target: Target) -> Verdict:
    """The target raised: as torch did, or as it may?"""
    assert got.error is not None
    torch_refuses = expected is not None and expected.error is not None
    if target.level != "drop-in" and (torch_refuses or case.must_be_refused) and isinstance(got.error, Exception):
        return Verdict("SAME_ERROR", case, got.failed_in, detail=got.first_line)
    refused = refusal(case, got.error, target)
    if refused is not None:
        return Verdict("UNSUPPORTED", case, detail=refused)
    if expected is None or expected.error is None or expected is got:
        same = expected is got and (bool(case.given) or case.must_be_refused)
        return Verdict("SAME_ERROR" if same else "RAISED", case, got.failed_in, detail=got.first_line)
    if type(got.error) is not type(expected.error):
        return Verdict("ERROR_TYPE", case, got.failed_in, detail=f"{got.first_line} | {expected.first_line}")
    if got.first_line != expected.first_line:
        return Verdict("ERROR_TEXT", case, got.failed_in, detail=f"{got.first_line} | {expected.first_line}")
    return Verdict("SAME_ERROR", case, got.failed_in, detail=got.first_line)


def _compare_part(truth: _Truth, part: str, got: Outcome, expected: Outcome | None, target: Target) -> Verdict:
    """One tensor: type, shape, dtype, values, strides, in the order in which a difference matters."""
    case, tensor = truth.case, got.parts.get(part)
    like = None if expected is None else expected.parts.get(part)
    if like is None and (case.given or (part != "output" and expected is not None)):
        return Verdict("EQUAL", case, part)  # nothing says what it must be, or torch has no such gradient either
    if tensor is None and part != "output":
        return Verdict("GRADIENT_MISSING", case, part, detail="None, which is no array")
    shapes = {"output": case.output_shape, "input_grad": case.input_shape, "weight_grad": case.weight_shape}
    shape = shapes.get(part, (case.out_channels,)) if like is None else tuple(like.shape)
    dtype = getattr(torch, case.dtype) if like is None else like.dtype
    wrong = misfit(tensor, shape, dtype, target.level)
    if wrong is not None:
        return Verdict(wrong[0], case, part, detail=wrong[1], shape=() if wrong[0] == "SHAPE" else shape)
    assert tensor is not None
    array = fitted(tensor, shape)
    if not case.given:
        kind = target.bound if part == "output" else "direct"
        verdict = judge_values(
            case, part, array, truth.exact(part), truth.values, kind=kind, fft_constant=target.fft_constant
        )
        if not verdict.passed:
            return replace(verdict, detail=_otherwise(truth, part, array) or verdict.detail)
    else:  # the case's own words do not say what was computed; torch's result does
        same = like is None or np.array_equal(array, numbers(like), equal_nan=True)
        verdict = Verdict("EQUAL" if same else "WRONG_VALUE", case, part, "" if same else "not torch's values", shape)
    layout = (
        _layout_difference(tensor, like) if like is not None and target.layout and target.level == "drop-in" else ""
    )
    return Verdict("LAYOUT", case, part, layout, shape) if layout else verdict


def _layout_difference(tensor: torch.Tensor, like: torch.Tensor) -> str:
    """How two tensors of one shape lie differently in memory, or nothing.

    A tensor without elements has no layout: torch's strides for it are whatever its backend left behind.
    """
    if not tensor.numel() or tensor.stride() == like.stride():
        return ""
    far = any(a != b for a, b, size in zip(tensor.stride(), like.stride(), tensor.shape) if size > 1)
    return f"strides {tensor.stride()}, torch's {like.stride()}{'' if far else ', on axes of size 1 only'}"


def _otherwise(truth: _Truth, part: str, got: Array) -> str:
    """Under which other reading a wrong array would be right, in words that the catalogue can name; or nothing."""
    case = truth.case
    readings = truth.readings(part, got)
    kinds = {"": "direct"}
    if case.dtype in COMPLEX_DTYPES:
        kinds["three real products"] = "three_products"
    elif case.dtype in ("float16", "bfloat16"):
        kinds["sums rounded on the way"] = "rounded_on_the_way"
    for (special, exact), (product, kind) in itertools.product(readings.items(), kinds.items()):
        if (special or product) and judge_values(case, part, got, exact, truth.values, kind=kind).passed:
            return f"right with {', '.join(filter(None, (special, product)))}"
    return ""
