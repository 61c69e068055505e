"""``Change``: what could be written in place of what was refused, and how it is spelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from miniconv.advice.attempts import Attempt

__all__ = [
    "Change", "Kind", "option", "padding_of", "sized",
]  # fmt: skip


class Change(NamedTuple):
    """One change.

    Attributes:
        values: what stands in the place of what.
        words: the change as code; empty for an operand that must have another shape.
    """

    values: Mapping[str, Any]
    words: str = ""


Kind = Callable[[Attempt], Iterator[Change]]
"""What proposes changes of one kind, the smallest first."""


def option(name: str, numbers: Sequence[Any]) -> Change:
    """``padding=1`` or ``padding=(1, 0)``: an option with one entry for each axis."""
    value = numbers[0] if len(set(numbers)) == 1 and isinstance(numbers[0], int) else tuple(numbers)
    return Change({name: value}, f"{name}={value!r}")


def padding_of(pairs: Sequence[tuple[int, int]]) -> Change:
    """An option ``padding``; by sides only where the sides differ."""
    return option("padding", [low for low, _ in pairs] if all(low == high for low, high in pairs) else list(pairs))


def sized(a: Attempt, name: str, shape: Sequence[int]) -> Change:
    """An operand of another shape."""
    return Change({name: a.values[name]._replace(shape=tuple(shape))})
