"""One case explained: what was asked, what the target, torch and exact arithmetic answer, and the likely fault.

The worst element is shown term by term through ``miniconv.explain``, the fault is named by ``diagnose``, and the case
is shrunk to the smallest one that fails in the same way. The command ``miniconv parity show`` has all of this done in a
child process; the function here calls the target where it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from miniconv.explain import Trace, explain
from miniconv.explain.trace import part_shape
from miniconv.parity.cases import Case
from miniconv.parity.diagnose import Diagnosis, diagnose, part_of, where_wrong, wrong_elements
from miniconv.parity.faults import Setting
from miniconv.parity.operands import Operands, make, numbers
from miniconv.parity.runner import judge
from miniconv.parity.shrink import shrink
from miniconv.parity.targets import TORCH, Outcome, Target, call, find
from miniconv.problem import ConvProblem

__all__ = ["explanation", "problem_of", "show", "trace_of"]


def show(case_text: str, target: str | Target | Callable[..., Any] = "") -> str:
    """The explanation of one case.

    Args:
        case_text: the case's text.
        target: what is judged: ``package.module:function``, ``torch``, nothing for miniconv; or a ``Target`` or a
            callable with the signature of torch's function.

    Returns:
        Lines of text: the problem and the verdict; if something is wrong, where, and the likely fault; the three
        results at the worst element, and its terms; the smallest case that fails in the same way.

    Raises:
        ValueError: the text is no case.
        ImportError, AttributeError: there is no such target.

    Cost:
        A second or two.

    >>> print(show("conv1d c1 o1 i3 k2 int64").splitlines()[0])
    conv1d c1 o1 i3 k2 int64
    """
    case = Case.parse(case_text)
    return explanation(case, _found(target, case.op))[0]


def explanation(case: Case, target: Target) -> tuple[str, bool]:
    """The text of ``show``, and whether the case passes."""
    shown = _Shown(case, target)
    return shown.text(), shown.verdict.passed


def _found(target: str | Target | Callable[..., Any], op: str) -> Target:
    """What ``show`` is told to judge."""
    if isinstance(target, Target):
        return target
    if not isinstance(target, str):
        return Target(target, name=f"{target.__module__}:{getattr(target, '__qualname__', '')}")
    return find(target or "miniconv", op=op)


def problem_of(case: Case) -> ConvProblem | None:
    """The problem that a case states; None for an illegal call, or one whose words do not say what is computed."""
    if case.given or case.must_be_refused:
        return None
    try:
        return ConvProblem(
            case.batch, case.in_channels, case.out_channels, case.input_size, case.kernel_size, case.stride,
            case.padding_pairs, case.dilation, case.groups, case.output_padding, case.transposed, case.bias, case.dtype,
        )  # fmt: skip
    except RuntimeError:
        return None


def trace_of(case: Case, part: str, at: tuple[int, ...]) -> Trace | None:
    """One element of a case's output or of one of its gradients, term by term; None where there is no such problem."""
    problem, operands = problem_of(case), make(case)
    if problem is None:
        return None
    present = [tensor for tensor in operands[:3] if tensor is not None]
    return explain(problem, *present, at=at, of=part, grad_output=operands.grad, padding_mode=case.padding_mode)


class _Shown:
    """One case and everything that is said of it."""

    def __init__(self, case: Case, target: Target) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.case = case
            self.verdict = judge(case, target)
            self.target = TORCH if self.verdict.name == "TORCH_UNEXPLAINED" else target
            self.operands: Operands = make(case)
            self.got = call(case, self.operands, self.target)
            self.torchs = self.got if self.target is TORCH else call(case, self.operands, TORCH)

    def text(self) -> str:
        """All of it."""
        blocks = [self._head()]
        if not self.verdict.passed:
            blocks.append(self._fault(diagnose(self.verdict, self.target)))
        blocks.append(self._element())
        if not self.verdict.passed:
            blocks.append(self._smallest())
        return "\n\n".join("\n".join(block) for block in blocks if block)

    @property
    def _part(self) -> str:
        """The part that is wrong; the output where nothing is."""
        return "output" if self.verdict.passed else part_of(self.verdict)

    def _head(self) -> list[str]:
        """The case, its sizes, and the verdict."""
        case, verdict = self.case, self.verdict
        shapes = f"input {case.input_shape}, weight {case.weight_shape}"
        shapes += "" if problem_of(case) is None else f", output {case.output_shape}"
        said = verdict.name if verdict.part == "call" else f"{verdict.name} in {verdict.part}"
        lines = [str(case), f"  {shapes}", f"  target {self.target.name or 'miniconv'}: {said}"]
        lines += [f"  {verdict.detail}"] if verdict.detail else []
        return lines + ([f"  known: {verdict.divergence}"] if verdict.divergence else [])

    def _fault(self, found: Diagnosis) -> list[str]:
        """The likely fault, and how far it explains what was seen; where the wrong elements are."""
        lines = []
        if found.name:
            lines.append(f"likely fault: {found.sentence} [{found.name}]")
            explained, wrong = found.explained
            if found.seen_on != self.case:
                lines.append(f"  seen on {found.seen_on}")
            if wrong:
                lines.append(f"  it explains {explained} of {wrong} other cases that are wrong")
            lines += [f"  or: {sentence}" for sentence in found.others]
        else:
            lines.append("likely fault: none of the known ones gives these numbers")
        tensor = self.got.parts.get(self._part)
        if self.verdict.wrong and isinstance(tensor, torch.Tensor):
            setting = Setting(self.case, self.operands.values(), self.target.bound, self.target.fft_constant)
            wrong_ones = wrong_elements(setting, self._part, numbers(tensor))
            lines += [] if wrong_ones is None else [f"wrong: {where_wrong(self.case, self._part, wrong_ones)}"]
        return lines

    def _element(self) -> list[str]:
        """The three results at one element, and its terms."""
        problem = problem_of(self.case)
        shape = () if problem is None else part_shape(problem, self._part)
        if problem is None or 0 in shape:
            return [f"torch: {self.torchs.first_line}"] if self.torchs.error else []
        worst = bool(self.verdict.index)
        places = [tuple(at(size) for size in shape) for at in (lambda n: n // 2, lambda n: 0, lambda n: n - 1)]
        traces = [trace_of(self.case, self._part, at) for at in ([self.verdict.index] if worst else places)]
        trace = max((trace for trace in traces if trace is not None), key=lambda trace: len(trace.terms))
        at = trace.at
        lines = [f"{'worst element' if worst else 'an element'}: {self._part}{list(at)}"]
        for name, outcome in (("target", self.got), ("torch", self.torchs)):
            lines.append(f"  {name:7}{_value_at(outcome, self._part, at)}")
        lines.append(f"  {'exact':7}{' , '.join(_decimal(part) for part in trace.exact) or 'not a finite number'}")
        return [*lines, "", *str(trace).splitlines()[1:]]

    def _smallest(self) -> list[str]:
        """The smallest case that fails in the same way, and the line that runs it."""
        small = shrink(self.verdict, self.target)
        return ["the smallest case that fails in the same way:", *str(small).splitlines()]


def _value_at(outcome: Outcome, part: str, at: tuple[int, ...]) -> str:
    """One element of an outcome's part, or why there is none."""
    tensor = outcome.parts.get(part)
    if outcome.error is not None:
        return outcome.first_line
    if not isinstance(tensor, torch.Tensor):
        return f"{type(tensor).__name__}, no tensor"
    try:
        return str(tensor[at].item())
    except IndexError:
        return f"no such element: its shape is {tuple(tensor.shape)}"


def _decimal(part: Any) -> str:
    """A rational number as an integer, or to 17 digits."""
    return str(part.numerator) if part.denominator == 1 else repr(float(part))
