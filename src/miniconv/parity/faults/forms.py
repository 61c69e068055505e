"""What the hypotheses of ``FAULTS`` are made of: ways to say what a wrong convolution would have computed.

A hypothesis is held against numbers that a target returned. Most describe another convolution: with other parameters
(``other_case``), with other operands (``other_operands``), or with the right result moved about or scaled
(``other_result``). What that gives is worked out by the oracle, and the target's numbers must agree with it as they
would have to agree with the truth: exactly on integers, within the bound elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from miniconv.parity.cases import Case
from miniconv.parity.data import Values
from miniconv.parity.oracle import Exact, Oracle
from miniconv.parity.verdict import judge_values

__all__ = [
    "Array", "Fault", "Fits", "Setting", "agrees", "any_of", "exact_part", "ones_like", "other_case", "other_operands",
    "other_result", "with_sides",
]  # fmt: skip

Array = npt.NDArray[Any]


class Setting(NamedTuple):
    """What a target was given: a case, the numbers of its operands, and the bound that its outputs keep."""

    case: Case
    values: Values
    kind: str = "direct"
    fft_constant: float = 0.0


Fits = Callable[[Setting, str, Array], bool]
"""Whether the numbers of one part are what a fault would give."""


class Fault(NamedTuple):
    """One hypothesis.

    Attributes:
        name: a word for it, for tables and tests.
        sentence: what is wrong, in words.
        fits: whether a part's numbers are what the fault would give.
    """

    name: str
    sentence: str
    fits: Fits


@dataclasses.dataclass(frozen=True)
class _Sided(Case):
    """A case whose padding differs from side to side; it may be negative."""

    sides: tuple[tuple[int, int], ...] = ()

    @property
    def padding_pairs(self) -> tuple[tuple[int, int], ...]:
        """(low, high) for each axis."""
        return self.sides


def with_sides(case: Case, sides: Iterable[tuple[int, int]]) -> Case:
    """``case`` with (low, high) cells of padding on each axis, whatever it had.

    >>> with_sides(Case.parse("conv1d c1 o1 i5 k3 psame"), [(0, 1)]).output_size
    (4,)
    """
    fields = {field.name: getattr(case, field.name) for field in dataclasses.fields(Case)}
    return _Sided(**{**fields, "padding": (0,) * len(case.input_size)}, sides=tuple(sides))


def exact_part(setting: Setting, part: str) -> Exact | None:
    """The exact result; None where the case is illegal, or the part is a gradient that no call could have had."""
    case, values = setting.case, setting.values
    if case.must_be_refused or (values.bias is None) != (not case.bias):
        return None
    if values.grad.shape != case.output_shape:
        if part != "output":
            return None
        values = values._replace(grad=np.zeros(case.output_shape, values.grad.dtype))
    exact: Exact = getattr(Oracle(case, values), part)()
    return exact


def agrees(setting: Setting, part: str, got: Array, exact: Exact | None) -> bool:
    """Whether ``got`` would be right if ``exact`` were the truth."""
    if exact is None or exact.high.shape[1:] != got.shape:
        return False
    kind = setting.kind if part == "output" else "direct"
    verdict = judge_values(setting.case, part, got, exact, setting.values, kind=kind, fft_constant=setting.fft_constant)
    return verdict.passed or verdict.name == "MISTRUSTED"


def other_case(change: Callable[[Case], Iterable[Case]]) -> Fits:
    """The numbers are those of one of the cases that ``change`` returns, over the same operands."""

    def fits(setting: Setting, part: str, got: Array) -> bool:
        for case in change(setting.case):
            changed = setting._replace(case=case)
            if case != setting.case and agrees(changed, part, got, exact_part(changed, part)):
                return True
        return False

    return fits


def other_operands(change: Callable[[Setting], Iterable[Values]]) -> Fits:
    """The numbers are those of one of the sets of operands that ``change`` returns."""

    def fits(setting: Setting, part: str, got: Array) -> bool:
        changed = (setting._replace(values=values) for values in change(setting))
        return any(agrees(each, part, got, exact_part(each, part)) for each in changed)

    return fits


def other_result(change: Callable[[Setting, str], Iterable[Callable[[Array], Array]]]) -> Fits:
    """The numbers are the right ones after one of the maps that ``change`` returns.

    A map is given arrays of the part's shape with one more axis in front (real and imaginary part).
    """

    def fits(setting: Setting, part: str, got: Array) -> bool:
        exact = exact_part(setting, part)
        if exact is None:
            return False
        return any(agrees(setting, part, got, _mapped(exact, each)) for each in change(setting, part))

    return fits


def _mapped(exact: Exact, change: Callable[[Array], Array]) -> Exact:
    """``exact`` after a map of its numbers."""
    low = None if exact.low is None else change(exact.low)
    high = change(exact.high)
    terms = exact.terms if isinstance(exact.terms, int) else int(np.max(exact.terms, initial=0))
    return exact._replace(high=high, low=low, terms=terms, magnitude=lambda: abs(change(exact.magnitude())))


def ones_like(setting: Setting) -> Array | None:
    """How many terms each output is the sum of: the same convolution of ones, without bias, (*output_shape)."""
    case = dataclasses.replace(setting.case, bias=False, data="integers", dtype="float64")
    values = setting.values
    ones = Values(np.ones(values.input.shape), np.ones(values.weight.shape), None, np.zeros(0))
    exact = exact_part(Setting(case, ones), "output")
    return None if exact is None else exact.high[0]


def any_of(*several: Fits) -> Fits:
    """Whether one of several descriptions of one fault fits."""
    return lambda setting, part, got: any(fits(setting, part, got) for fits in several)
