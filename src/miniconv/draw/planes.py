"""The tables of numbers that a drawing shows, without their places on paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from miniconv.explain.text import shown

__all__ = ["Cell", "Plane", "Position", "fit", "named", "spatial_position", "window_of"]

Position = tuple[int, int, int]
"""Slice, row and column; what a problem of fewer axes lacks is 0."""

LETTERS = 6
"""How long a number in a cell may be."""


class Cell(NamedTuple):
    """One number.

    Attributes:
        text: as it is written; empty where nothing is.
        full: before it was shortened; empty where it was not.
        name: which element it is, such as ``input[0, 1, 2]``.
        border: whether it lies in the border.
        marked: whether it takes part.
        result: whether it is the element explained.
        unreached: whether no window reaches it.
        stands: whether a window's first tap stands here.
        grey: from 0 for the least number to 255 for the greatest, in a plane without numbers.
    """

    text: str = ""
    full: str = ""
    name: str = ""
    border: bool = False
    marked: bool = False
    result: bool = False
    unreached: bool = False
    stands: bool = False
    grey: int = 0


class Plane(NamedTuple):
    """One channel of a tensor: a table, or several side by side where there are three spatial axes.

    Attributes:
        title: such as ``input[0, 1]``.
        first: the lowest position, below 0 in a border.
        size: slices, rows and columns.
        cells: by position.
        group: which group's colour it has; None for the colour of text.
        dim: whether it takes no part.
        window: the lowest and the highest marked position.
        pixel: side of a cell that is a grey level; 0 for cells with numbers.
    """

    title: str
    first: Position
    size: Position
    cells: Mapping[Position, Cell]
    group: int | None = None
    dim: bool = False
    window: tuple[Position, Position] | None = None
    pixel: float = 0


def spatial_position(spatial: Iterable[int]) -> Position:
    """1 to 3 spatial indices as slice, row and column.

    >>> spatial_position([4, 5])
    (0, 4, 5)
    """
    slice_, row, column = (0, 0, *spatial)[-3:]
    return slice_, row, column


def window_of(spots: Iterable[Position]) -> tuple[Position, Position] | None:
    """The corners of the smallest box around some positions.

    >>> window_of([(0, 1, 2), (0, 3, 0)])
    ((0, 1, 0), (0, 3, 2))
    """
    axes = list(zip(*spots))
    if not axes:
        return None
    (low0, high0), (low1, high1), (low2, high2) = ((min(axis), max(axis)) for axis in axes)
    return (low0, low1, low2), (high0, high1, high2)


def fit(value: Any, dtype: str, letters: int = LETTERS) -> tuple[str, str]:
    """A number as a cell has room for it, and in full where that is another text.

    >>> fit(0.123456789, "float64"), fit(-12, "int64"), fit(123456789, "int64")
    (('0.1235', '0.123456789'), ('-12', ''), ('1.23e8', '123456789'))
    """
    full = shown(value, dtype)
    if len(full) <= letters:
        return full, ""
    for digits in range(5, 0, -1):
        text = _rounded(value, digits)
        if len(text) <= letters:
            return text, full
    return "...", full


def _rounded(value: Any, digits: int) -> str:
    """So many significant digits, the exponent as short as can be."""
    if isinstance(value, complex):
        imaginary = _rounded(value.imag, digits)
        return f"{_rounded(value.real, digits)}{'' if imaginary.startswith('-') else '+'}{imaginary}j"
    mantissa, e, exponent = f"{float(value):.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def named(tensor: str, index: Sequence[int]) -> str:
    """``input[0, 1]``; the tensor alone where there is no index."""
    return f"{tensor}[{', '.join(map(str, index))}]" if index else tensor
