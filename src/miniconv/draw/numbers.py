"""The numbers of a drawing: operands, traces, and the definition's output, as planes.

Nothing is worked out a second time: a product, a gradient and every mark is a trace's, the output is
``miniconv.reference``'s, and what is added up here are products.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from miniconv import reference
from miniconv.draw.planes import Cell, Plane, Position, fit, named, spatial_position, window_of
from miniconv.explain import Term, Trace, links
from miniconv.explain.sums import traced
from miniconv.explain.trace import part_shape
from miniconv.lazy import cached_property
from miniconv.problem import ConvProblem

__all__ = ["Numbers", "greys"]

Index = tuple[int, ...]
Array = npt.NDArray[Any]

PICTURE = 240
"""How many pixels a picture of grey levels is wide or high."""

_NUMPY_MODES: Mapping[str, Any] = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class Numbers:
    """The numbers of one problem, and which of its cells windows reach.

    Attributes:
        problem: the convolution.
        of: the part that is explained.
        padding_mode: what lies past the border.
        picture: whether channels are drawn as grey levels.
    """

    def __init__(
        self, problem: ConvProblem, of: str, operands: Mapping[str, Array], padding_mode: str, picture: bool
    ) -> None:
        self.problem, self.of, self.padding_mode, self.picture = problem, of, padding_mode, picture
        self._operands = operands
        self._traces: dict[tuple[str, Index], Trace] = {}

    def trace(self, at: Index, of: str = "") -> Trace:
        """The trace of one element of the part explained, or of another; each is worked out once."""
        key = (of or self.of, at)
        if key not in self._traces:
            self._traces[key] = traced(self.problem, key[0], at, self._operands, self.padding_mode)
        return self._traces[key]

    def value(self, name: str, index: Index) -> str:
        """One number of an operand, as a cell has room for it."""
        return fit(_python(self._operands[name][index]), self.problem.dtype)[0]

    def operand(self, name: str, lead: Index, marked: Iterable[Index] = (), *, dim: bool = False) -> Plane:
        """One channel of an operand, the border of an ordinary convolution's input around it."""
        values, low = self._operands[name][lead], (0,) * self.problem.spatial_dims
        bordered = name == "input" and not self.problem.transposed
        if bordered:
            values, low = self._bordered[lead], tuple(pair[0] for pair in self.problem.padding)
        marks = {spatial_position(index[len(lead) :]) for index in marked}
        inside = self._operands[name].shape[len(lead) :]
        grey = name != "weight" and self.picture
        levels = greys(self._bordered if bordered else self._operands[name])[lead] if grey else None
        reached, stands = self._places if bordered and not grey else (None, frozenset())
        cells = {}
        for place in np.ndindex(values.shape):
            index = tuple(p - first for p, first in zip(place, low))
            spot = spatial_position(index)
            text, full = ("", "") if grey else fit(_python(values[place]), self.problem.dtype)
            cells[spot] = Cell(
                text, full, named(name, (*lead, *index)), any(not 0 <= i < n for i, n in zip(index, inside)),
                spot in marks, unreached=reached is not None and spot not in reached, stands=spot in stands,
                grey=0 if levels is None else int(levels[place]),
            )  # fmt: skip
        first, size = spatial_position(-i for i in low), _size(values.shape)
        group, pixel = self._group(name, lead), self._pixel if grey else 0
        return Plane(named(name, lead), first, size, cells, group, dim, window_of(marks), pixel)

    def result(
        self,
        lead: Index,
        at: Index | None = None,
        marked: Iterable[Index] = (),
        of: str = "",
        *,
        cut: bool = False,
        until: Index | None = None,
    ) -> Plane:
        """One channel of a part.

        Args:
            lead: the indices before the spatial ones.
            at: the element explained, where it lies in this channel.
            marked: elements to mark.
            of: the part; none is the one explained.
            cut: whether to draw the cells that the padding cuts off a transposed output, without numbers.
            until: an input element; of an output, the bias and what this element and all before it add.
        """
        of, problem = of or self.of, self.problem
        shape = part_shape(problem, of)[len(lead) :]
        marks = {spatial_position(index[len(lead) :]) for index in marked}
        grey = of == "output" and self.picture
        levels = greys(self._output[lead]) if grey else None
        lands = problem.transposed and of == "output" and not grey
        reached, stands = self._places if lands else (None, frozenset())
        cells = {}
        for place in np.ndindex(shape):
            index, spot = (*lead, *place), spatial_position(place)
            value = self._so_far(index, until) if until is not None else self._computed(index, of)
            alone = spot not in reached if reached is not None else of != "output" and not self.trace(index, of).terms
            text, full = ("", "") if grey else fit(value, problem.dtype)
            cells[spot] = Cell(
                text, full, named(of, index), marked=spot in marks, result=index == at, unreached=alone,
                stands=spot in stands, grey=0 if levels is None else int(levels[place]),
            )  # fmt: skip
        first = (0, 0, 0)
        if cut:
            first, shape, around = self._cut_off()
            cells = {**around, **cells}
        group, pixel = self._group(of, lead), self._pixel if grey else 0
        return Plane(named(of, lead), first, _size(shape), cells, group, window=window_of(marks), pixel=pixel)

    def _computed(self, index: Index, of: str) -> Any:
        """One number of a part: of the output, the definition's."""
        return _python(self._output[index]) if of == "output" else self.trace(index, of).computed

    def _so_far(self, index: Index, until: Index) -> Any:
        """An output while its inputs are still being added, one after another."""
        trace = self.trace(index, "output")
        terms = [term for term in trace.terms if term.input is not None and term.input <= until]
        if len(terms) == sum(term.input is not None for term in trace.terms):
            return trace.computed
        return self.partial(terms) + (0 if trace.bias is None else trace.bias)

    def products(self, terms: Sequence[Term], title: str, group: int | None) -> Plane:
        """The products of one column, laid out as the kernel; of a weight gradient, as the positions summed over."""
        problem, dims = self.problem, self.problem.spatial_dims
        size = problem.kernel_size
        if self.of == "weight_grad":
            size = problem.input_size if problem.transposed else problem.output_size
        indices = [self._summed(term) for term in terms]
        places = [spatial_position(index[-dims:]) for index in indices]
        if len(set(places)) < len(places):  # copies in a border: a tap meets the same element more than once
            places, size = [(0, 0, i) for i in range(len(terms))], (len(terms),)
        cells = {spatial_position(place): Cell() for place in np.ndindex(size)}
        for spot, index, term in zip(places, indices, terms):
            cells[spot] = Cell(*fit(term.product, problem.dtype), named("product", index), marked=True)
        return Plane(title, (0, 0, 0), _size(size), cells, group)

    def laid(self, lead: Index, terms: Sequence[Term], title: str) -> Plane:
        """Products at the outputs that they are added to."""
        met: dict[Position, list[Term]] = {}
        for term in terms:
            met.setdefault(spatial_position(term.output[len(lead) :]), []).append(term)
        first, size, cells = self._cut_off()
        for spot, added in met.items():
            name = named("product", added[0].output)
            cells[spot] = Cell(*fit(self.partial(added), self.problem.dtype), name, marked=True)
        return Plane(title, first, _size(size), cells, self._group("output", lead), window=window_of(met))

    def partial(self, terms: Sequence[Term]) -> Any:
        """The sum of some products."""
        return sum((term.product for term in terms[1:]), start=terms[0].product) if terms else 0

    def _summed(self, term: Term) -> Index:
        """The index that tells a column's terms apart."""
        if self.of != "weight_grad":
            return term.weight or ()
        return term.position if self.problem.transposed else term.output

    def _cut_off(self) -> tuple[Position, tuple[int, ...], dict[Position, Cell]]:
        """An output without numbers, and around a transposed one the cells that padding cuts off."""
        problem = self.problem
        cut = problem.padding if problem.transposed else ((0, 0),) * problem.spatial_dims
        low, size = [pair[0] for pair in cut], tuple(o + sum(pair) for o, pair in zip(problem.output_size, cut))
        cells = {}
        for place in np.ndindex(size):
            index = [p - first for p, first in zip(place, low)]
            outside = any(not 0 <= i < o for i, o in zip(index, problem.output_size))
            cells[spatial_position(index)] = Cell(border=outside)
        return spatial_position(-i for i in low), size, cells

    @cached_property
    def _bordered(self) -> Array:
        """The input of an ordinary convolution with its border filled."""
        x = self._operands["input"]
        pairs = [(0, 0)] * (x.ndim - self.problem.spatial_dims) + list(self.problem.padding)
        return np.pad(x, pairs, _NUMPY_MODES[self.padding_mode])

    @cached_property
    def _output(self) -> Array:
        """The whole output, by the definition, which knows no mode of padding: it is given the border as input."""
        problem, x = self.problem, self._operands["input"]
        if self.padding_mode != "zeros":
            problem, x = replace(problem, input_size=problem.padded_size, padding=()), self._bordered
        return reference.conv(problem, x, self._operands["weight"], self._operands.get("bias"))

    @cached_property
    def _places(self) -> tuple[frozenset[Position], frozenset[Position]]:
        """Where windows reach, and where their first taps stand: on the input, transposed on the output."""
        problem = self.problem
        lead = (0,) * (len(problem.output_shape) - problem.spatial_dims)
        reached, stands = set(), set()
        for o in np.ndindex(problem.output_size):
            met = links(problem, "output", (*lead, *o), self.padding_mode)
            for link in islice(met, math.prod(problem.kernel_size)):  # of the first channel: the others are alike
                spot = spatial_position((link.output if problem.transposed else link.position)[len(lead) :])
                reached.add(spot)
                if not any(link.weight[2:]):
                    stands.add(spot)
        return frozenset(reached), frozenset(stands if max(problem.stride) > 1 else ())

    @property
    def _pixel(self) -> float:
        """The side of a grey cell."""
        longest = max(*self.problem.padded_size, *self.problem.output_size)
        return min(26, max(1, PICTURE // longest))

    def _group(self, name: str, lead: Index) -> int | None:
        """The group of a channel; None where there is but one."""
        problem = self.problem
        if problem.groups == 1 or not lead:
            return None
        if name.startswith("weight"):
            channel, channels = lead[0], problem.in_channels if problem.transposed else problem.out_channels
        else:
            channel, channels = lead[-1], problem.in_channels if name.startswith("input") else problem.out_channels
        return channel // (channels // problem.groups)


def _size(spatial: Sequence[int]) -> Position:
    """How many slices, rows and columns."""
    slices, rows, columns = (1, 1, *spatial)[-3:]
    return slices, rows, columns


def _python(number: Any) -> Any:
    """A NumPy scalar as a Python number."""
    return number.item() if isinstance(number, np.generic) else number


def greys(values: Array) -> Array:
    """From 0 for the least to 255 for the greatest number; what is not finite is as if it were 0.

    >>> greys(np.array([-1.0, 0.0, 3.0]))
    array([  0,  64, 255], dtype=uint8)
    """
    finite = np.nan_to_num(values.astype(np.float64), nan=0, posinf=0, neginf=0)
    low, high = finite.min(), finite.max()
    levels: Array = np.rint((finite - low) / ((high - low) or 1) * 255).astype(np.uint8)
    return levels
