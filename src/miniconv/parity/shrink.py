"""From a failing case to the smallest one that fails in the same way.

Greedy: one thing at a time is made simpler, and stays so if the verdict is still the same. What comes out is minimal
in the sense that no single step of ``steps`` leads to another failing case; it need not be the smallest of all.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from miniconv.parity.cases import Case
from miniconv.parity.runner import judge
from miniconv.parity.targets import Target
from miniconv.parity.verdict import Verdict

__all__ = ["same", "shrink", "steps"]


def shrink(
    verdict: Verdict, target: Target, *, seconds: float = 10.0, ask: Callable[[Case, Target], Verdict] = judge
) -> Verdict:
    """The verdict on the smallest case found that fails with the same name, in the same part.

    Args:
        verdict: what ``judge`` said of a case; one that passed comes back as it is.
        target: what it said so of.
        seconds: no further case is tried after so long; the smallest until then is returned.
        ask: how a case is judged: in this process, unless something else is given. A verdict of CRASHED is only
            shrunk by something else.

    Returns:
        The verdict on the smaller case, dtype and operator unchanged.

    Cost:
        Some dozens of cases, each about as long as the first at most.
    """
    if verdict.passed or (verdict.name == "CRASHED" and ask is judge):
        return verdict
    deadline = time.perf_counter() + seconds

    def asked(case: Case) -> Verdict:
        return ask(case, target)

    moved = True
    while moved:
        moved = False
        for axis in _AXES:
            while (smaller := _first_failing(axis(verdict.case), verdict, asked, deadline)) is not None:
                verdict, moved = smaller, True
    return verdict


def steps(case: Case) -> Iterator[Case]:
    """Every case that is one step simpler.

    >>> [str(step) for step in steps(Case.parse("conv1d c1 o1 i2 k1 p1 float32"))]
    ['conv1d c1 o1 i1 k1 p1 float32', 'conv1d c1 o1 i2 k1 float32']
    """
    for axis in _AXES:
        yield from axis(case)


def same(verdict: Verdict, other: Verdict) -> bool:
    """Whether two verdicts say the same: name and part."""
    return (verdict.name, verdict.part) == (other.name, other.part)


def _first_failing(
    cases: Iterator[Case], verdict: Verdict, ask: Callable[[Case], Verdict], deadline: float
) -> Verdict | None:
    """The verdict on the first case that fails in the same way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in cases:
            if time.perf_counter() > deadline:
                return None
            found = ask(case)
            if same(found, verdict):
                return found
    return None


def _smaller(number: int, least: int) -> list[int]:
    """Numbers to try in place of one, the least first.

    >>> _smaller(9, 1), _smaller(2, 1), _smaller(0, 1)
    ([1, 5, 8], [1], [])
    """
    return sorted({least, (number + least) // 2, number - 1} - {number}) if number > least else []


def _words(case: Case) -> Iterator[Case]:
    """Options at their defaults, the simplest numbers, contiguous memory, and what was given instead left out."""
    simpler: dict[str, tuple[Any, ...]] = {
        "given": tuple(tuple(pair for pair in case.given if pair != left_out) for left_out in case.given),
        "data": ("integers", "random") if case.data == "specials" else ("integers",),
        "layout": ("contiguous",),
        "padding_mode": ("zeros",),
        "bias": (False,),
        "seed": (0,),
        "padding": ((0,) * len(case.input_size),) if isinstance(case.padding, str) else (),
    }
    for name, values in simpler.items():
        yield from (_with(case, name, value) for value in values if value != getattr(case, name))


def _batch(case: Case) -> Iterator[Case]:
    """Fewer images, then one without a batch axis."""
    if case.batch:
        values = [*_smaller(case.batch, 1), *([None] if case.batch == 1 else [])]
        yield from (replace(case, batch=value) for value in values)


def _channels(case: Case) -> Iterator[Case]:
    """Fewer groups, fewer channels in each, and one group of the channels that there are."""
    groups = case.groups
    ins, outs = case.in_channels // max(groups, 1), case.out_channels // max(groups, 1)
    if groups > 1:
        for fewer in _smaller(groups, 1):
            yield replace(case, groups=fewer, in_channels=ins * fewer, out_channels=outs * fewer)
        yield replace(case, groups=1)
    yield from (replace(case, in_channels=fewer * groups) for fewer in _smaller(ins, 1))
    yield from (replace(case, out_channels=fewer * groups) for fewer in _smaller(outs, 1))


def _with(case: Case, name: str, value: Any) -> Case:
    """``case`` with another value in the field of that name."""
    return replace(case, **{name: value})


def _sizes(name: str, least: int) -> Callable[[Case], Iterator[Case]]:
    """Smaller numbers in a field that has one for each spatial axis: all of them at their least, then one at a time."""

    def smaller(case: Case) -> Iterator[Case]:
        numbers = getattr(case, name)
        if isinstance(numbers, str):
            return
        everywhere = tuple(min(number, least) for number in numbers)
        if sum(a != b for a, b in zip(numbers, everywhere)) > 1:
            yield _with(case, name, everywhere)
        for axis, number in enumerate(numbers):
            for less in _smaller(number, least):
                yield _with(case, name, (*numbers[:axis], less, *numbers[axis + 1 :]))

    return smaller


def _together(case: Case) -> Iterator[Case]:
    """Input and kernel smaller on every axis at once, so that a cubic kernel stays cubic."""
    if sum(size > 1 for size in case.kernel_size) > 1:
        input_size, kernel_size = (tuple(max(1, n - 1) for n in sizes) for sizes in (case.input_size, case.kernel_size))
        yield replace(case, input_size=input_size, kernel_size=kernel_size)


_AXES: tuple[Callable[[Case], Iterator[Case]], ...] = (
    _words, _batch, _channels, _sizes("input_size", 1), _sizes("kernel_size", 1), _sizes("stride", 1),
    _sizes("padding", 0), _sizes("dilation", 1), _sizes("output_padding", 0), _together,
)  # fmt: skip
