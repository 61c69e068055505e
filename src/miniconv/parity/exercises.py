"""The judge of a lesson's exercise: a reader's own function, held to what the lesson has taught, and no more.

>>> import numpy as np
>>> def mine(input, weight):
...     return np.zeros((len(input), len(weight), *np.subtract(input.shape[2:], weight.shape[2:]) + 1))
>>> exercise(mine, kernel=[(3, 2)]).right
False
"""

from __future__ import annotations

import inspect
import math
import random
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from miniconv.language import language as spoken
from miniconv.parity.axes import AXES
from miniconv.parity.cases import Case
from miniconv.parity.data import DEFAULTS, draw
from miniconv.parity.diagnose import diagnose
from miniconv.parity.grids import geometries
from miniconv.parity.report import Report
from miniconv.parity.runner import judge, run
from miniconv.parity.shrink import shrink
from miniconv.parity.targets import Target, TargetError, Unsupported
from miniconv.parity.targets.adapters import ADAPTERS, adapted
from miniconv.parity.targets.axis_orders import AXIS_ORDERS, AxisOrder
from miniconv.parity.verdict import Verdict

__all__ = ["Judged", "exercise"]

_PER_AXIS = ("stride", "padding", "dilation", "output_padding")
_BY_HAND = 12
_SHRINK = 3.0  # seconds; a reader waits

_WORDS = {
    "en": {
        "right": "All {cases} calls are right.",
        "wrong": "{right} of {cases} calls are right, {wrong} wrong.",
        "smallest": "The smallest wrong one: {case}",
        "value": "  {part}{index} is {got}, but must be {want}",
        "SHAPE": "  the shape of {part} is {detail}, but must be {shape}",
        "DTYPE": "  {part} is {detail}",
        "RAISED": "  your function stops: {detail}",
        "other": "  {name} in {part}: {detail}",
        "fault": "Likely fault: {fault}",
    },
    "zh": {
        "right": "{cases} 次调用全部正确。",
        "wrong": "{cases} 次调用中 {right} 次正确，{wrong} 次错误。",
        "smallest": "最小的错误情形：{case}",
        "value": "  {part}{index} 是 {got}，应为 {want}",
        "SHAPE": "  {part} 的形状是 {detail}，应为 {shape}",
        "DTYPE": "  {part} 是 {detail}",
        "RAISED": "  函数中途出错：{detail}",
        "other": "  {part}：{name}，{detail}",
        "fault": "可能的错误：{fault}",
    },
}


@dataclass(frozen=True)
class Judged:
    """What is said of an exercise; a notebook shows it as a few lines.

    Attributes:
        report: the counts and every failure.
        smallest: the verdict on the smallest call that fails like the first; None where all are right.
        fault: the likely fault in words; empty where none of the known ones gives these numbers.
        language: ``"en"`` or ``"zh"``: of the lines.
    """

    report: Report
    smallest: Verdict | None = None
    fault: str = ""
    language: str = "en"

    @property
    def right(self) -> bool:
        """Whether every call was right."""
        return not self.report.wrong

    def __str__(self) -> str:
        """One line if all is right, else the counts, the smallest failure and the likely fault."""
        words, report = _WORDS[self.language], self.report
        if self.smallest is None:
            return words["right"].format(cases=report.cases)
        lines = [words["wrong"].format(cases=report.cases, right=report.cases - report.wrong, wrong=report.wrong)]
        lines += [words["smallest"].format(case=self.smallest.case), *_operands(self.smallest.case)]
        lines += [self._what(self.smallest)]
        return "\n".join(lines + ([words["fault"].format(fault=self.fault)] if self.fault else []))

    __repr__ = __str__

    def _what(self, verdict: Verdict) -> str:
        """The smallest failure in words."""
        words, case = _WORDS[self.language], verdict.case
        shapes = {"output": case.output_shape, "input_grad": case.input_shape, "weight_grad": case.weight_shape}
        about = {
            "name": verdict.name, "part": verdict.part, "index": list(verdict.index),
            "got": _plain(verdict.got), "want": _plain(verdict.want),
            "detail": verdict.detail.partition(", but")[0], "shape": shapes.get(verdict.part, (case.out_channels,)),
        }  # fmt: skip
        return words["value" if verdict.wrong else verdict.name if verdict.name in words else "other"].format(**about)


def _operands(case: Case) -> list[str]:
    """The numbers of a case that can be worked out by hand; of any other nothing."""
    values = draw(case)
    named = {"input": values.input, "weight": values.weight, "bias": values.bias}
    shown = {name: array for name, array in named.items() if array is not None}
    if case.data != "integers" or max(array.size for array in shown.values()) > _BY_HAND:
        return []
    return [f"  {name} = {array.astype(int).tolist()}" for name, array in shown.items()]


def exercise(
    function: Callable[..., Any],
    *,
    op: str = "conv2d",
    calls: int = 24,
    adapter: str = "numpy",
    bound: str = "direct",
    language: str | None = None,
    **only: Sequence[Any],
) -> Judged:
    """Judges a function on calls that need no argument but those in its signature.

    A function of ``(input, weight)`` is asked for plain convolutions only; one that also takes ``stride`` for strides
    too, and so on for ``bias``, ``padding``, ``dilation``, ``groups`` and ``output_padding``. Every argument that it
    takes is passed: one number for each axis as a tuple, ``groups`` as a number, ``bias`` perhaps as None.

    Args:
        function: what the reader wrote; takes and returns arrays in torch's order of axes, a batch first.
        op: the operator that it computes.
        calls: how many calls; about half with whole numbers, the others with random ones, in float32.
        adapter: a key of ``miniconv.parity.targets.adapters.ADAPTERS``: ``"numpy"``, or ``"torch"``, which also judges
            the gradients.
        bound: one of ``miniconv.parity.bounds.BOUNDS``: which rounding its algorithm may have.
        language: ``"en"`` or ``"zh"``; None asks the environment.
        **only: for an axis of ``miniconv.parity.axes.AXES``, the values to keep to, such as ``kernel=[(1, 1)]``,
            ``groups=["depthwise"]``, ``padding=["same"]``, or ``batch=[None]`` for an input without a batch.

    Returns:
        The verdict, which prints itself.

    Raises:
        TargetError: the signature wants what no convolution has.
        ValueError: no call is left.

    Numerics: whole numbers must be exact, random ones within ``miniconv.parity.bounds``.
    Cost: a few seconds at most, of which the function's own loops are most.

    >>> from miniconv.functional import conv2d
    >>> exercise(lambda input, weight: conv2d(input, weight), calls=4, kernel=[(1, 1)])
    All 4 calls are right.
    >>> print(str(exercise(lambda input, weight: conv2d(input, weight[..., ::-1]))).splitlines()[-1])
    Likely fault: the kernel is flipped: a true convolution, not a cross-correlation
    """
    told = spoken(language)
    names = _arguments(function)
    cases = _cases(op, names, calls, only)
    order = AxisOrder.parse(AXIS_ORDERS["conv_transpose" if "transpose" in op else "conv"][0], op)
    target = Target(
        adapted(_with_every_argument(function, names, len(cases[0].input_size)), ADAPTERS[adapter], order),
        name="yours", bound=bound, level="values", layout=False, gradients=adapter != "numpy",
    )  # fmt: skip
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        report = run(cases, target)
        if not report.wrong:
            return Judged(report, language=told)
        first = max(
            report.failures,
            key=lambda verdict: (verdict.wrong > 0, verdict.case.is_exact, math.prod(verdict.case.weight_shape)),
        )
        fault = diagnose(first, target).sentence if first.wrong or first.name == "SHAPE" else ""
        smallest = shrink(first, target, seconds=_SHRINK, ask=_judge_like(first.case, {"batch", *only}))
    return Judged(report, smallest, fault, told)


def _judge_like(first: Case, axes: Collection[str]) -> Callable[[Case, Target], Verdict]:
    """``judge`` for cases that keep to what the exercise keeps to; it lets any other pass."""

    def judged(case: Case, target: Target) -> Verdict:
        kept = all(case.axes[axis] == first.axes[axis] for axis in axes if axis != "batch")
        if not kept or (case.batch is None) != (first.batch is None):
            return Verdict("UNSUPPORTED", case)
        return judge(case, target)

    return judged


def _arguments(function: Callable[..., Any]) -> tuple[str, ...]:
    """The arguments of a convolution that a function takes beside its first two."""
    parameters = list(inspect.signature(function).parameters.values())
    rest = [parameter.name for parameter in parameters[2:]]
    foreign = [name for name in rest if name not in (*DEFAULTS, "bias")]
    if len(parameters) < 2 or foreign:
        wanted = f"input, weight, and of {', '.join(('bias', *DEFAULTS))} those that it needs"
        raise TargetError(f"an exercise takes {wanted}, but got {inspect.signature(function)}")
    return tuple(rest)


def _cases(op: str, names: tuple[str, ...], calls: int, only: dict[str, Sequence[Any]]) -> list[Case]:
    """A sample of the operator's geometries that need nothing but these arguments."""
    dims = int(op[-2])
    untaught: dict[str, Sequence[Any]] = {
        "batch": [1, 3], "kernel": AXES[op]["kernel"][: -1 if "transpose" not in op else None], "groups": ["1"],
        "stride": [(1,) * dims], "padding": [(0,) * dims], "dilation": [(1,) * dims], "bias": [False],
    }  # fmt: skip
    if "transpose" in op:
        untaught["output_padding"] = [(0,) * dims]
    chosen = {axis: values for axis, values in untaught.items() if axis not in names}
    if "padding" in names:
        chosen["padding"] = [value for value in AXES[op]["padding"] if not isinstance(value, str)]
    every = [case for case in geometries(op, **{**chosen, **only}) if not case.must_be_refused]
    if not every:
        raise ValueError(f"no call of {op} is left by {only}")
    every = [
        replace(case, data=kind, seed=seed) for seed in (0, 1) for case in every for kind in ("integers", "random")
    ]
    return random.Random(0).sample(every, min(calls, len(every)))


def _with_every_argument(function: Callable[..., Any], names: tuple[str, ...], dims: int) -> Callable[..., Any]:
    """``function`` as the suite calls it: what a call leaves out, or writes as one number, is spelt out."""

    def called(input: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
        lacking = [name for name in (*options, *(() if bias is None else ("bias",))) if name not in names]
        if lacking:
            raise Unsupported(f"the function takes no {' and no '.join(lacking)}")
        passed = {name: options.get(name, DEFAULTS.get(name)) for name in names if name != "bias"}
        for name in _PER_AXIS:
            if isinstance(passed.get(name), int):
                passed[name] = (passed[name],) * dims
        return function(input, weight, **passed, **({"bias": bias} if "bias" in names else {}))

    return called


def _plain(number: complex) -> str:
    """A number as a reader writes it: 4, not 4.0."""
    if not math.isfinite(number.real):
        return str(number.real)
    return f"{number.real:.0f}" if number == round(number.real) else f"{number.real:.6g}"
