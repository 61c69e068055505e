"""One layer judged: one implementation's output of one call against the exact result, in figures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from miniconv.audit.calls import Call
from miniconv.audit.expected import Expected
from miniconv.audit.implementations import Implementation
from miniconv.dtypes import DTYPES
from miniconv.parity.bounds import allowed_error
from miniconv.parity.cases import Case
from miniconv.parity.data import Values
from miniconv.parity.operands import numbers
from miniconv.parity.oracle import Exact
from miniconv.parity.targets import Unsupported
from miniconv.parity.verdict import PASSING, round_to
from miniconv.problem import ConvProblem

__all__ = ["Outcome", "Side", "computed", "distance", "judged", "values_of"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Side:
    """What one implementation made of one convolution.

    Attributes:
        verdict: ``EQUAL``, ``WITHIN_BOUND``, ``WRONG_VALUE``, ``SHAPE``, ``DTYPE``, ``RAISED``, ``INPUT_MODIFIED`` or
            ``UNSUPPORTED``, as ``miniconv.parity`` names them.
        detail: for a verdict that is not about numbers, what is the matter; for a wrong value, where and what.
        local: ``||output - exact||_2 / ||exact||_2`` over the elements whose exact result is finite.
        bits: the bits that are right in the worst element, relative to S: ``-log2(|output - exact| / S)``; infinite
            where all are equal.
        eta: ``|output - exact| / (u * S)`` there, u of the dtype that sums are accumulated in.
        of_bound: the largest ``|output - exact|`` as a part of what its bound allows; above 1 is wrong.
        bound: which bound that is.
        seconds: the shorter of two calls.
    """

    verdict: str
    detail: str = ""
    local: float = 0.0
    bits: float = math.inf
    eta: float = 0.0
    of_bound: float = 0.0
    bound: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict in PASSING

    @property
    def judged(self) -> bool:
        """Whether there are numbers behind the verdict."""
        return self.verdict in ("EQUAL", "WITHIN_BOUND", "WRONG_VALUE")


class Outcome(NamedTuple):
    """A result that the model can go on with, or None, and why; and how long it took."""

    result: torch.Tensor | None
    verdict: str
    detail: str
    seconds: float


def values_of(call: Call) -> Values:
    """The numbers of a call's operands, in memory of their own."""
    operands = (call.input, call.weight, call.bias)
    input, weight, bias = (None if x is None else np.array(numbers(x.cpu())) for x in operands)
    assert input is not None
    assert weight is not None
    return Values(input, weight, bias, np.zeros(0))


def computed(implementation: Implementation, call: Call, times: int = 2) -> Outcome:
    """Runs one convolution; whatever the implementation does wrong is an outcome.

    Args:
        implementation: what runs.
        call: the convolution.
        times: how often; the shortest time counts.

    Returns:
        The result as the model can go on with it; or None, and the verdict.
    """
    prepared = implementation.prepared(call)
    operands = [x for x in (prepared.input, prepared.weight, prepared.bias) if x is not None]
    before = [x.clone() for x in operands]
    seconds, result = math.inf, None
    try:
        for _ in range(times):
            start = perf_counter()
            result = implementation.function(prepared)
            if isinstance(result, torch.Tensor) and result.device.type != "cpu":
                torch.accelerator.synchronize()
            seconds = min(seconds, perf_counter() - start)
    except (Unsupported, NotImplementedError) as refusal:
        return Outcome(None, "UNSUPPORTED", str(refusal), 0.0)
    except Exception as error:  # any exception of an implementation is an outcome
        text = (str(error).splitlines() or [""])[0]
        return Outcome(None, "RAISED", f"{type(error).__name__}: {text}", 0.0)
    if not all(map(_same, operands, before)):
        for x, copy in zip(operands, before):
            x.copy_(copy)  # they are the model's own
        return Outcome(None, "INPUT_MODIFIED", "an operand differs after the call", seconds)
    if isinstance(result, np.ndarray):
        result = torch.from_numpy(result)
    if not isinstance(result, torch.Tensor):
        return Outcome(None, "DTYPE", f"{type(result).__name__} is no tensor", seconds)
    problem = prepared.problem
    if tuple(result.shape) != problem.batched_output_shape:
        return Outcome(None, "SHAPE", f"{tuple(result.shape)} in place of {problem.batched_output_shape}", seconds)
    if result.dtype != prepared.input.dtype:
        return Outcome(None, "DTYPE", f"{result.dtype} in place of {prepared.input.dtype}", seconds)
    return Outcome(implementation.finished(call, result.detach()), "", "", seconds)


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors hold the same numbers, NaN included."""
    return bool(((a == b) | ((a != a) & (b != b))).all())


@np.errstate(all="ignore")
def judged(implementation: Implementation, call: Call, values: Values, exact: Expected, outcome: Outcome) -> Side:
    """The figures of one outcome.

    Args:
        implementation: whose outcome it is; it says which bound holds.
        call: what was computed.
        values: the operands' numbers before the call.
        exact: what the output must hold.
        outcome: what was computed.

    Numerics:
        Within the bound means ``|output - exact| <= allowed``: the implementation's own bound, see
        ``miniconv.parity.bounds``, with what a variant's casts may lose and the oracle's own error added. Where the
        exact result is not finite, the output must be that number; where the weight is not finite either, any number
        that is not finite will do.
    """
    if outcome.result is None:
        return Side(outcome.verdict, outcome.detail, seconds=outcome.seconds)
    problem, got = call.problem, numbers(outcome.result.cpu())
    kind, allowed = _allowed(implementation, problem, values, exact)
    best = round_to(problem.dtype, exact.high)
    equal = (got == best) | (np.isnan(got) & np.isnan(best))
    if not np.isfinite(values.weight).all():
        equal |= ~np.isfinite(got) & ~np.isfinite(best)
    error = np.where(equal, 0.0, abs((got - exact.high) - exact.low))
    right = equal | (np.isfinite(best) & (error <= allowed))
    ratio = _over(error, exact.magnitude)
    part = _over(error, allowed)
    finite = np.isfinite(exact.high)
    difference = ((got - exact.high) - exact.low)[finite]
    largest = float(ratio.max(initial=0.0))
    unit = DTYPES[DTYPES[implementation.dtype or problem.dtype].compute].unit_roundoff
    figures: dict[str, Any] = {
        "local": _relative(difference, exact.high[finite]),
        "bits": -math.log2(largest) if largest else math.inf,
        "eta": largest / unit,
        "of_bound": float(part.max(initial=0.0)),
        "bound": kind,
        "seconds": outcome.seconds,
    }
    if right.all():
        return Side("EQUAL" if equal.all() else "WITHIN_BOUND", **figures)
    index = np.unravel_index(int(np.where(right, -1.0, part).argmax()), got.shape)
    place = tuple(int(i) for i in index)
    detail = f"{int((~right).sum()):,} of {got.size:,} wrong, worst at {place}: got {got[place]:.9g}, want "
    return Side("WRONG_VALUE", f"{detail}{best[place]:.9g}", **figures)


def _over(error: Array, scale: Array) -> Array:
    """error / scale, with 0 / 0 = 0 and anything that is not a number as infinite."""
    ratio = np.where(error == 0, 0.0, error / scale)
    return np.where(np.isnan(ratio), np.inf, ratio)


def _allowed(
    implementation: Implementation, problem: ConvProblem, values: Values, exact: Expected
) -> tuple[str, Array]:
    """The largest error of a right output, element by element: the bound, a variant's casts, the oracle's own error.

    Operands cast to a narrower dtype change by a factor 1 + d, |d| <= u, or by half a subnormal number; so each
    product moves by at most (2u + u^2) of its magnitude, and the sum by that much of S.
    """
    own, narrow = DTYPES[problem.dtype], DTYPES[implementation.dtype or problem.dtype]
    u = narrow.unit_roundoff if narrow.unit_roundoff > own.unit_roundoff else 0.0
    lost = narrow.smallest_subnormal / 2 if narrow.smallest_subnormal > own.smallest_subnormal else 0.0
    cast = ((1 + u) ** 2 - 1) * exact.magnitude
    if lost:
        weights = abs(values.weight).sum()
        inputs = np.max(exact.terms) * abs(values.input).max(initial=0.0)
        cast = cast + lost * ((1 + u) * (weights + inputs) + np.max(exact.terms) * lost + 1)
    magnitude = (exact.magnitude + cast)[None]
    kind, constant = implementation.bound(
        problem if implementation.dtype is None else _in_dtype(problem, implementation.dtype)
    )
    stated = Exact(abs(exact.high)[None] + cast[None], None, exact.terms, lambda: magnitude)
    grown = Values(*(None if x is None else x * (1 + u) for x in values))  # type: ignore[arg-type]  # bias alone is None
    allowed = allowed_error(kind, _case(_in_dtype(problem, narrow.name)), grown, stated, constant)[0] + cast
    if own.unit_roundoff > narrow.unit_roundoff:  # the variant computed in a wider dtype, and rounded once more
        allowed = allowed + own.unit_roundoff * (abs(exact.high) + allowed) + own.smallest_subnormal / 2
    total: Array = allowed + exact.slack
    return kind, total


def _in_dtype(problem: ConvProblem, dtype: str) -> ConvProblem:
    return replace(problem, dtype=dtype)


def _case(problem: ConvProblem) -> Case:
    """The problem as the bounds want it."""
    names = ("in_channels", "out_channels", "input_size", "kernel_size", "stride", "dilation", "groups", "bias")
    return Case(
        batch=problem.batched_input_shape[0],
        padding=tuple(low for low, _ in problem.padding),
        transposed=problem.transposed,
        output_padding=problem.output_padding if problem.transposed else (),
        dtype=problem.dtype,
        data="random",
        **{name: getattr(problem, name) for name in names},
    )


@np.errstate(all="ignore")
def distance(first: torch.Tensor, second: torch.Tensor) -> float | None:
    """``||first - second||_2 / ||second||_2`` over the elements that are finite in both; None for unequal shapes."""
    if first.shape != second.shape:
        return None
    a, b = numbers(first.cpu()), numbers(second.cpu())
    finite = np.isfinite(a) & np.isfinite(b)
    return _relative((a - b)[finite], b[finite])


def _relative(difference: Array, of: Array) -> float:
    """``||difference|| / ||of||``, with 0 / 0 = 0."""
    above, below = float(np.linalg.norm(difference)), float(np.linalg.norm(of))
    return 0.0 if above == 0 else above / below if below else math.inf
