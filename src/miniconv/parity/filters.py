"""``-k``: words of a case's text, joined by ``and``, ``or``, ``not`` and parentheses.

A word matches a word of the case's text as a whole, with ``*`` and ``?`` for what may stand there; ``axis=value``
matches what reports count by (``Case.axes``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase

from miniconv.parity.cases import Case

__all__ = ["Filter"]

_Test = Callable[[frozenset[str]], bool]


class Filter:
    """An expression over the words of cases.

    Args:
        text: the expression.

    Raises:
        ValueError: it cannot be read.

    >>> case = Case.parse("conv2d n1 c5 o5 i7x9 k3x2 g5 bias float16")
    >>> Filter("float* and not (g2 or k1x1)")(case), Filter("groups=depthwise and pvalid")(case)
    (True, False)
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = re.findall(r"[()]|[^\s()]+", text)
        self._at = 0
        self._test = self._either()
        if self._at < len(self._words):
            raise self._error(f"{self._words[self._at]!r} is one word too many")

    def __call__(self, case: Case) -> bool:
        """Whether ``case`` matches."""
        axes = (f"{axis}={value}" for axis, value in case.axes.items()) if "=" in self._text else ()
        return self._test(frozenset([*str(case).split(), *axes]))

    def _error(self, why: str) -> ValueError:
        return ValueError(f"-k {self._text!r}: {why}")

    def _next(self, *words: str) -> bool:
        """Takes the next word if it is one of ``words``."""
        found = self._at < len(self._words) and self._words[self._at] in words
        self._at += found
        return found

    def _either(self) -> _Test:
        """Tests joined by ``or``."""
        tests = [self._both()]
        while self._next("or"):
            tests.append(self._both())
        return lambda words: any(test(words) for test in tests)

    def _both(self) -> _Test:
        """Tests joined by ``and``."""
        tests = [self._one()]
        while self._next("and"):
            tests.append(self._one())
        return lambda words: all(test(words) for test in tests)

    def _one(self) -> _Test:
        """A word, an expression in parentheses, or ``not`` and one of these."""
        if self._next("not"):
            test = self._one()
            return lambda words: not test(words)
        if self._next("("):
            inner = self._either()
            if not self._next(")"):
                raise self._error("a parenthesis is not closed")
            return inner
        if self._at == len(self._words) or self._words[self._at] in ("and", "or", ")"):
            raise self._error("a word is missing")
        self._at += 1
        return _matching(self._words[self._at - 1])


def _matching(pattern: str) -> _Test:
    """The test that one word is."""
    if any(letter in pattern for letter in "*?["):
        return lambda words: any(fnmatchcase(word, pattern) for word in words)
    return lambda words: pattern in words
