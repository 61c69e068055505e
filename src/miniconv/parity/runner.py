"""Runs cases on an implementation and judges it: values by the oracle, everything else by torch itself.

torch is a target too. Every case is run on torch first and judged by the oracle; where torch is wrong, an entry of
``divergences.json`` must explain it, or the case fails as TORCH_UNEXPLAINED.
"""

from __future__ import annotations

import importlib
import itertools
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from miniconv.parity.bounds import BOUNDS
from miniconv.parity.cases import COMPLEX_DTYPES, Case
from miniconv.parity.data import Array, Values, arguments
from miniconv.parity.divergences import explain
from miniconv.parity.operands import Operands, changed, make, memory, numbers
from miniconv.parity.oracle import Exact, Oracle
from miniconv.parity.report import Report
from miniconv.parity.verdict import VERDICTS, Verdict, judge_values

__all__ = ["TORCH", "Target", "Unsupported", "judge", "observe", "reproduce", "run"]

GRADIENTS = ("input_grad", "weight_grad", "bias_grad")


class Unsupported(Exception):  # noqa: N818 - a clean refusal is not an error
    """Raised by a target that refuses a case cleanly; the case counts as UNSUPPORTED, not as wrong."""


@dataclass(frozen=True)
class Target:
    """An implementation to judge.

    Attributes:
        conv2d: a callable with the signature of ``torch.nn.functional.conv2d``.
        module: a class with the signature of ``torch.nn.Conv2d``, for the padding modes; without one, torch's
            module pads and ``conv2d`` does the rest.
        name: how ``reproduce`` finds it again, ``package.module:function``; empty for miniconv.
        bound: which of ``miniconv.parity.bounds.BOUNDS`` its outputs keep.
        fft_constant: c of the FFT's bound.
        gradients: whether its results can be differentiated.
        layout: whether its strides must be torch's.
    """

    conv2d: Callable[..., Any]
    module: Callable[..., Any] | None = None
    name: str = ""
    bound: str = "direct"
    fft_constant: float = 0.0
    gradients: bool = True
    layout: bool = True

    def __post_init__(self) -> None:
        if self.bound not in BOUNDS:
            raise ValueError(f"bound is one of {', '.join(BOUNDS)}, but got {self.bound!r}")


TORCH = Target(torch.nn.functional.conv2d, torch.nn.Conv2d, "torch.nn.functional:conv2d")
"""torch itself, as it was when this module was imported."""


@dataclass
class Outcome:
    """What a call gave: tensors by the name of the part, or an exception and the part that it came in."""

    parts: dict[str, torch.Tensor | None]
    error: Exception | None = None
    failed_in: str = "call"
    modified: bool = False

    @property
    def first_line(self) -> str:
        """``RuntimeError: the first line of its message``."""
        return f"{type(self.error).__name__}: {(str(self.error).splitlines() or [''])[0]}"


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
        if part in ("output", "input_grad"):
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
        target: a ``Target``, or a callable with the signature of ``torch.nn.functional.conv2d``; default miniconv.
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


def reproduce(text: str, target: str = "") -> Verdict:
    """Runs the case that a failure printed, prints its verdict and returns it.

    Args:
        text: the case's text.
        target: ``package.module:function``; default miniconv.
    """
    function = None
    if target:
        module, _, name = target.partition(":")
        function = getattr(importlib.import_module(module), name)
    report = run([Case.parse(text)], TORCH if target == TORCH.name else function)
    verdict = report.failures[0] if report.failures else Verdict(next(iter(report.counts)), Case.parse(text))
    print(verdict if report.failures else f"{verdict.name}: {text}")
    return verdict


def observe(case: Case) -> Verdict:
    """What the oracle says of torch itself, with nothing explained away."""
    operands = make(case)
    outcome = _call(case, operands, TORCH)
    return _compare(_Truth(case, operands), outcome, outcome, TORCH)


def judge(case: Case, target: Target) -> Verdict:
    """One case: torch first, by the oracle; then the target, by both."""
    operands = make(case)
    before = memory(operands)
    truth = _Truth(case, operands)
    expected = _call(case, operands, TORCH)
    of_torch = _compare(truth, expected, expected, TORCH)
    if not of_torch.passed and explain(of_torch, of_torch=True) is None:
        return replace(of_torch, name="TORCH_UNEXPLAINED", detail=f"{of_torch.name} {of_torch.detail}", target=TORCH.name)
    got = expected if target is TORCH else _call(case, operands, target)
    got.modified = changed(operands, before)
    verdict = _compare(truth, got, expected, target)
    if not verdict.passed:
        entry = explain(verdict, of_torch=target is TORCH)
        if entry is not None and verdict.name == "NOT_RAISED":  # the values must be right all the same
            verdict = replace(_compare(truth, got, None, target), divergence=entry.id)
        elif entry is not None:
            verdict = replace(verdict, name="EXPLAINED", divergence=entry.id)
    return replace(verdict, target=target.name)


def _as_target(target: Target | Callable[..., Any] | None) -> Target:
    """``target`` with what it leaves out."""
    if isinstance(target, Target):
        return target
    if target is None:
        return Target(
            importlib.import_module("miniconv.functional").conv2d, importlib.import_module("miniconv.nn").Conv2d
        )
    name = f"{target.__module__}:{getattr(target, '__qualname__', '')}"
    return Target(target, name="" if name.startswith("miniconv.functional") else name)


def _call(case: Case, operands: Operands, target: Target) -> Outcome:
    """Calls the target and takes its gradients along ``operands.grad``."""
    differentiable = target.gradients and case.differentiable
    leaves = [None if t is None else t.detach() for t in operands[:3]]
    for leaf in leaves:
        if leaf is not None and (leaf.is_floating_point() or leaf.is_complex()):
            leaf.requires_grad_(differentiable)
    outcome = Outcome({})
    try:
        output = _forward(case, leaves, target)
        outcome.parts["output"] = output
        if differentiable and isinstance(output, torch.Tensor) and output.shape == operands.grad.shape:
            outcome.failed_in = "gradients"
            present = [(name, leaf) for name, leaf in zip(GRADIENTS, leaves) if leaf is not None]
            grads = torch.autograd.grad(output, [leaf for _, leaf in present], operands.grad, allow_unused=True)
            outcome.parts.update(zip((name for name, _ in present), grads))
    except Exception as error:  # any exception of a target is a verdict on it
        outcome.error = error
    return outcome


def _forward(case: Case, leaves: list[torch.Tensor | None], target: Target) -> Any:
    """The call itself: the function, or the module where a padding mode asks for it."""
    input, weight, bias = leaves
    present = (input, weight) if bias is None else (input, weight, bias)
    passed = arguments(case)
    if case.padding_mode == "zeros":
        return target.conv2d(*present, **passed)
    module = (target.module or _module_around(target.conv2d))(
        case.in_channels, case.out_channels, case.kernel_size, **passed, bias=case.bias, padding_mode=case.padding_mode
    )
    for name, leaf in (("weight", weight), ("bias", bias)):
        if leaf is not None:  # a leaf in place of the parameter, so that its gradient can be asked for
            delattr(module, name)
            setattr(module, name, leaf)
    return module(input)


def _module_around(conv2d: Callable[..., Any]) -> type[torch.nn.Conv2d]:
    """torch's module with its border, around another function."""

    class Around(torch.nn.Conv2d):
        def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> Any:
            pairs = self._reversed_padding_repeated_twice
            padded = torch.nn.functional.pad(input, pairs, mode=self.padding_mode)
            options = {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}
            return conv2d(padded, weight, bias, **options)

    return Around


def _compare(truth: _Truth, got: Outcome, expected: Outcome | None, target: Target) -> Verdict:
    """What the target did against what torch did (None: torch's refusal does not count) and what is exact."""
    case = truth.case
    refused = isinstance(got.error, Unsupported)
    if got.modified:
        return Verdict("INPUT_MODIFIED", case, detail="an operand's memory differs after the call")
    if refused:
        return Verdict("UNSUPPORTED", case, detail=str(got.error))
    if got.error is not None:
        return _compare_errors(case, got, expected)
    if expected is not None and expected.error is not None:
        return Verdict("NOT_RAISED", case, expected.failed_in, detail=expected.first_line)
    verdicts = [Verdict("EQUAL", case)]
    for part in ("output", *(GRADIENTS if case.differentiable and target.gradients else ())):
        if part == "bias_grad" and not case.bias:
            continue
        verdicts.append(_compare_part(truth, part, got, expected, target))
        if not verdicts[-1].passed:
            break
    return max(verdicts, key=lambda verdict: (VERDICTS.index(verdict.name), verdict.eta))


def _compare_errors(case: Case, got: Outcome, expected: Outcome | None) -> Verdict:
    """The target raised: as torch did?"""
    if expected is None or expected.error is None or expected is got:
        same = expected is got and _must_raise(case)
        return Verdict("SAME_ERROR" if same else "RAISED", case, got.failed_in, detail=got.first_line)
    if type(got.error) is not type(expected.error):
        return Verdict("ERROR_TYPE", case, got.failed_in, detail=f"{got.first_line} | {expected.first_line}")
    if got.first_line != expected.first_line:
        return Verdict("ERROR_TEXT", case, got.failed_in, detail=f"{got.first_line} | {expected.first_line}")
    return Verdict("SAME_ERROR", case, got.failed_in, detail=got.first_line)


def _must_raise(case: Case) -> bool:
    """Whether the case is illegal by the definition, so that torch's refusal needs no explanation."""
    strided_same = case.padding == "same" and any(s != 1 for s in case.stride)
    sizes_past = case.padding_mode in ("reflect", "circular") and any(
        max(pair) > size - (case.padding_mode == "reflect") for pair, size in zip(case.padding_pairs, case.input_size)
    )
    return bool(case.given) or strided_same or sizes_past or min(case.output_size) < 1


def _compare_part(truth: _Truth, part: str, got: Outcome, expected: Outcome | None, target: Target) -> Verdict:
    """One tensor: type, shape, dtype, values, strides, in the order in which a difference matters."""
    case, tensor = truth.case, got.parts.get(part)
    if not isinstance(tensor, torch.Tensor):
        if part != "output" and expected is not None and expected.parts.get(part) is None:
            return Verdict("EQUAL", case, part)  # torch has none either: an operand without gradients
        name = "DTYPE" if part == "output" else "GRADIENT_MISSING"
        return Verdict(name, case, part, detail=f"{type(tensor).__name__} is no tensor")
    like = None if expected is None else expected.parts.get(part)
    if like is None and case.given:  # nothing says what it must be
        return Verdict("EQUAL", case, part)
    shapes = {"output": case.output_shape, "input_grad": case.input_shape, "weight_grad": case.weight_shape}
    shape = shapes.get(part, (case.out_channels,)) if like is None else tuple(like.shape)
    dtype = getattr(torch, case.dtype) if like is None else like.dtype
    if tuple(tensor.shape) != shape:
        return Verdict("SHAPE", case, part, detail=f"{tuple(tensor.shape)}, but torch gives {shape}")
    if tensor.dtype != dtype:
        return Verdict("DTYPE", case, part, detail=f"{tensor.dtype}, but torch gives {dtype}", shape=shape)
    if not case.given:
        kind = target.bound if part == "output" else "direct"
        verdict = judge_values(
            case, part, numbers(tensor), truth.exact(part), truth.values, kind=kind, fft_constant=target.fft_constant
        )
        if not verdict.passed:
            return replace(verdict, detail=_otherwise(truth, part, tensor) or verdict.detail)
    else:  # the case's own words do not say what was computed; torch's result does
        same = like is None or np.array_equal(numbers(tensor), numbers(like), equal_nan=True)
        verdict = Verdict("EQUAL" if same else "WRONG_VALUE", case, part, "" if same else "not torch's values", shape)
    if like is not None and target.layout and not _same_layout(part, tensor, like):
        return Verdict("LAYOUT", case, part, detail=f"strides {tensor.stride()}, torch's {like.stride()}", shape=shape)
    return verdict


def _same_layout(part: str, tensor: torch.Tensor, like: torch.Tensor) -> bool:
    """Whether two tensors of one shape lie alike in memory.

    A tensor without elements has no layout: torch's strides for it are whatever its backend left behind. The stride
    of an axis of size 1 addresses nothing; it is compared in the output, where the next layer reads its format from
    it, and not in gradients, where torch's own depend on the dtype.
    """
    if not tensor.numel():
        return True
    sizes = tensor.shape if part != "output" else [2] * tensor.ndim
    return all(a == b for a, b, size in zip(tensor.stride(), like.stride(), sizes) if size > 1)


def _otherwise(truth: _Truth, part: str, tensor: torch.Tensor) -> str:
    """Under which other reading a wrong array would be right, in words that the catalogue can name; or nothing."""
    case, got = truth.case, numbers(tensor)
    readings = truth.readings(part, got)
    kinds = {"": "direct", "three real products": "three_products"} if case.dtype in COMPLEX_DTYPES else {"": "direct"}
    for (special, exact), (product, kind) in itertools.product(readings.items(), kinds.items()):
        if (special or product) and judge_values(case, part, got, exact, truth.values, kind=kind).passed:
            return f"right with {', '.join(filter(None, (special, product)))}"
    return ""
