"""The tables of numbers that a drawing shows, without their places on paper.

Every number is an operand's or a trace's: a factor, a product, a sum of one column's products, a result. Every mark
follows from the trace's terms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from miniconv.explain import Term, Trace, links
from miniconv.explain.sums import traced
from miniconv.explain.text import shown
from miniconv.problem import ConvProblem

__all__ = ["Cell", "Numbers", "Plane", "Position", "fit", "window_of"]

Position = tuple[int, int, int]
"""Slice, row and column; what a problem of fewer axes lacks is 0."""

Index = tuple[int, ...]

LETTERS = 6
"""How long a number in a cell may be."""

_NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


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
        value: the number, for a picture of grey levels; None where nothing is.
    """

    text: str = ""
    full: str = ""
    name: str = ""
    border: bool = False
    marked: bool = False
    result: bool = False
    unreached: bool = False
    stands: bool = False
    value: Any = None


class Plane(NamedTuple):
    """One channel of a tensor: a table, or several side by side where there are three spatial axes.

    Attributes:
        title: such as ``input[0, 1]``.
        first: the lowest position, below 0 in a border.
        size: slices, rows and columns.
        cells: by position.
        group: which group's colour it has; None for the colour of text.
        dim: whether it takes no part.
        window: the lowest and the highest marked position, where they make a window.
    """

    title: str
    first: Position
    size: Position
    cells: Mapping[Position, Cell]
    group: int | None = None
    dim: bool = False
    window: tuple[Position, Position] | None = None


class Numbers:
    """The numbers of one problem: its operands, and the traces of the elements that were asked for."""

    def __init__(self, problem: ConvProblem, of: str, operands: Mapping[str, Any], padding_mode: str) -> None:
        self.problem, self.of, self.padding_mode = problem, of, padding_mode
        self._operands = operands
        self._traces: dict[tuple[str, Index], Trace] = {}
        self._reached = self._stands = frozenset[Position]()
        if of != "bias_grad":
            self._find_places()

    def trace(self, at: Index, of: str | None = None) -> Trace:
        """The trace of one element, each worked out once."""
        key = (of or self.of, at)
        if key not in self._traces:
            self._traces[key] = traced(self.problem, key[0], at, self._operands, self.padding_mode)
        return self._traces[key]

    @property
    def stands(self) -> bool:
        """Whether the window skips places."""
        return bool(self._stands)

    @property
    def unreached(self) -> bool:
        """Whether a cell, of the input or of a transposed output, meets no tap at all."""
        problem = self.problem
        size = problem.output_size if problem.transposed else problem.padded_size
        return self.of != "bias_grad" and len(self._reached) < math.prod(size)

    def value(self, name: str, index: Index) -> str:
        """One number of an operand, as a cell has room for it."""
        number = self._operands[name][index]
        return fit(number.item() if isinstance(number, np.generic) else number, self.problem.dtype)[0]

    def position(self, spatial: Iterable[int]) -> Position:
        """Spatial indices as slice, row and column."""
        spatial = tuple(spatial)
        slice_, row, column = (0,) * (3 - len(spatial)) + spatial
        return slice_, row, column

    def operand(self, name: str, lead: Index, marked: Iterable[Index] = (), *, dim: bool = False) -> Plane:
        """One channel of an operand, the border of an ordinary convolution's input around it."""
        problem, values = self.problem, self._operands[name][lead]
        bordered = name == "input" and not problem.transposed
        low = tuple(pair[0] for pair in problem.padding) if bordered else (0,) * values.ndim
        if bordered:
            values = np.pad(values, problem.padding, _NUMPY_MODES[self.padding_mode])  # type: ignore[call-overload]  # the mode is no literal
        at = {self.position(index[len(index) - problem.spatial_dims :]) for index in marked}
        inside = self._operands[name].shape[len(lead) :]
        cells = {}
        for place in np.ndindex(values.shape):
            index = tuple(p - first for p, first in zip(place, low))
            spot = self.position(index)
            value = values[place].item() if isinstance(values, np.ndarray) and values.dtype != object else values[place]
            text, full = fit(value, problem.dtype)
            outside = any(not 0 <= i < size for i, size in zip(index, inside))
            cells[spot] = Cell(
                text, full, _name(name, (*lead, *index)), outside, spot in at,
                unreached=bordered and self.of != "bias_grad" and spot not in self._reached,
                stands=bordered and spot in self._stands, value=value,
            )  # fmt: skip
        first = self.position(-i for i in low)
        return Plane(
            _name(name, lead), first, self._size(values.shape), cells, self._group(name, lead), dim, window_of(at)
        )

    def result(
        self, lead: Index, at: Index | None = None, marked: Iterable[Index] = (), of: str = "", *, cut: bool = False
    ) -> Plane:
        """One channel of the part that is explained; ``at`` is the element explained, where it lies in this one.

        ``cut`` draws the cells that the padding cuts off a transposed output, without numbers.
        """
        of = of or self.of
        shape = self._shape(of)[len(lead) :]
        marks = {self.position(index[len(lead) :]) for index in marked}
        cells = {}
        for place in np.ndindex(shape):
            trace = self.trace((*lead, *place), of)
            spot = self.position(place)
            text, full = fit(trace.computed, self.problem.dtype)
            lands = self.problem.transposed and of == "output" and spot in self._stands
            cells[spot] = Cell(
                text, full, _name(of, trace.at), marked=spot in marks, result=trace.at == at,
                unreached=not trace.terms, stands=lands, value=trace.computed,
            )  # fmt: skip
        first = (0, 0, 0)
        if cut:
            first, shape, around = self._cut_off()
            cells = {**around, **cells}
        return Plane(_name(of, lead), first, self._size(shape), cells, self._group(of, lead), window=window_of(marks))

    def products(self, terms: Sequence[Term], title: str, group: int | None) -> Plane:
        """The products of one column, laid out as the kernel; of a weight gradient, as the positions summed over."""
        dims, problem = self.problem.spatial_dims, self.problem
        places = [self.position(self._summed(term)[-dims:]) for term in terms]
        size = problem.kernel_size
        if self.of in ("weight_grad", "bias_grad"):
            size = problem.input_size if problem.transposed and self.of == "weight_grad" else problem.output_size
        if len(set(places)) < len(places):  # copies in a border: the same tap meets the same element more than once
            places, size = [(0, 0, i) for i in range(len(terms))], (len(terms),)
        cells = {self.position(place): Cell() for place in np.ndindex(size)}
        for spot, term in zip(places, terms):
            text, full = fit(term.product, problem.dtype)
            name = _name("product", self._summed(term))
            cells[spot] = Cell(text, full, name, marked=True, value=term.product)
        return Plane(title, (0, 0, 0), self._size(size), cells, group)

    def laid(self, lead: Index, terms: Sequence[Term], title: str) -> Plane:
        """Products at the outputs that they are added to."""
        met: dict[Position, list[Term]] = {}
        for term in terms:
            met.setdefault(self.position(term.output[len(lead) :]), []).append(term)
        first, size, cells = self._cut_off()
        for spot, added in met.items():
            value = self.partial(added)
            text, full = fit(value, self.problem.dtype)
            name = _name("product", added[0].output)
            cells[spot] = Cell(text, full, name, marked=True, value=value)
        return Plane(title, first, self._size(size), cells, self._group("output", lead), window=window_of(met))

    def _cut_off(self) -> tuple[Position, tuple[int, ...], dict[Position, Cell]]:
        """An output without numbers, and around a transposed one the cells that padding cuts off."""
        problem = self.problem
        cut = problem.padding if problem.transposed else ((0, 0),) * problem.spatial_dims
        low, size = [pair[0] for pair in cut], tuple(o + sum(pair) for o, pair in zip(problem.output_size, cut))
        cells = {}
        for place in np.ndindex(size):
            index = [p - first for p, first in zip(place, low)]
            cells[self.position(index)] = Cell(border=any(not 0 <= i < o for i, o in zip(index, problem.output_size)))
        return self.position(-i for i in low), size, cells

    def partial(self, terms: Sequence[Term]) -> Any:
        """The sum of some products: the running sum of the trace, where they are its first ones."""
        return sum((term.product for term in terms[1:]), start=terms[0].product) if terms else 0

    def _summed(self, term: Term) -> Index:
        """The index that tells a column's terms apart."""
        if self.of == "weight_grad" and self.problem.transposed:
            return term.position
        return term.output if self.of in ("weight_grad", "bias_grad") else term.weight or ()

    def _shape(self, of: str) -> tuple[int, ...]:
        problem = self.problem
        shapes = {
            "output": problem.output_shape,
            "input_grad": problem.input_shape,
            "weight_grad": problem.weight_shape,
        }
        return shapes.get(of, (problem.out_channels,))

    def _size(self, spatial: Sequence[int]) -> Position:
        """How many slices, rows and columns."""
        slices, rows, columns = (1,) * (3 - len(spatial)) + tuple(spatial)
        return slices, rows, columns

    def _group(self, name: str, lead: Index) -> int | None:
        """The group of a channel; None where there is but one."""
        problem = self.problem
        if problem.groups == 1 or not lead:
            return None
        if name.startswith("weight"):
            channels = problem.in_channels if problem.transposed else problem.out_channels
            return lead[0] // (channels // problem.groups)
        channels = problem.in_channels if name.startswith("input") else problem.out_channels
        return lead[-1] // (channels // problem.groups)

    def _find_places(self) -> None:
        """Where windows reach, and where their first taps stand: on the input, transposed on the output."""
        problem = self.problem
        lead = (0, 0) if problem.batch is not None else (0,)
        reached, stands = set(), set()
        for o in np.ndindex(problem.output_size):
            for link in links(problem, "output", (*lead, *o), self.padding_mode):
                spatial = (link.output if problem.transposed else link.position)[len(lead) :]
                spot = self.position(spatial)
                reached.add(spot)
                if not any(link.weight[2:]):
                    stands.add(spot)
        self._reached = frozenset(reached)
        self._stands = frozenset(stands) if max(problem.stride) > 1 else frozenset()


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
    text = f"{float(value):.{digits}g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def _name(tensor: str, index: Sequence[int]) -> str:
    """``input[0, 1]``; the tensor alone where there is no index."""
    return f"{tensor}[{', '.join(map(str, index))}]" if index else tensor
