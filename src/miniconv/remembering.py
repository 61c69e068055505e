"""What it takes to remember a call: a dictionary with a bound, and which arguments may be part of a key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

__all__ = ["Bounded", "are_memorable"]

Key = TypeVar("Key")
Value = TypeVar("Value")


class Bounded(dict[Key, Value]):
    """A dictionary that ``remember`` empties when it is full. Reading it is as fast as any dictionary.

    Threads may share one: each step that it takes is a single one of the dictionary's own.

    Args:
        most: how many entries it holds at most.

    >>> squares = Bounded(2)
    >>> [squares.remember(n, n * n) for n in (2, 3, 4)], squares
    ([4, 9, 16], {4: 16})
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def remember(self, key: Key, value: Value) -> Value:
        """``value``, which is found under ``key`` from now on."""
        if len(self) >= self.most:
            self.clear()
        self[key] = value
        return value


def are_memorable(options: Iterable[Any]) -> bool:
    """Whether all are integers, words, or tuples of such: 1 == 1.0 == True, but a float must not find what 1 left.

    >>> are_memorable([1, "same", ((0, 1), (2, 3))]), are_memorable([1, True]), are_memorable([(1, 2.0)])
    (True, False, False)
    """
    for option in options:
        kind = type(option)
        if kind is not int and kind is not str and not (kind is tuple and are_memorable(option)):
            return False
    return True
