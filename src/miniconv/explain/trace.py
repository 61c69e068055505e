"""``Trace``: one element of a convolution or of a gradient, as data: its terms, their sum, and what it is exactly."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from miniconv.explain.links import PARTS, Index, feeds
from miniconv.language import language as spoken
from miniconv.problem import ConvProblem

__all__ = ["Term", "Trace", "part_shape"]

Number = Any
"""A Python number: int, float, complex, or what an object array holds."""


class Term(NamedTuple):
    """One term of the sum.

    Attributes:
        input: index of the input element; None where the tap falls on a zero of the border, and for ``bias_grad``.
        weight: index of the weight element; None for ``bias_grad``.
        output: index of the output element (of a gradient: of the element of ``grad_output``).
        position: where the tap falls, as an index into the input; in the border if ``place`` is not ``"inside"``.
        place: ``"inside"``, or the padding mode: ``"zeros"``, ``"reflect"``, ``"replicate"``, ``"circular"``.
        values: the factors, in the order of ``Trace.factors``.
        product: of the factors, in the compute dtype.
        running: the sum so far, this term included, in the compute dtype.
    """

    input: Index | None
    weight: Index | None
    output: Index
    position: Index
    place: str
    values: tuple[Number, ...]
    product: Number
    running: Number

    def index_of(self, factor: str) -> Index | None:
        """The index of one factor: ``input``, ``weight`` or ``grad_output``."""
        return {"input": self.input, "weight": self.weight, "grad_output": self.output}[factor]


@dataclass(frozen=True)
class Trace:
    """One element, explained.

    Attributes:
        problem: the convolution.
        of: the part that the element belongs to, a key of ``PARTS``.
        at: its index.
        terms: every term, in the order of summation.
        bias: what is added after the terms; None where nothing is.
        computed: the sum in the compute dtype of the problem's, the bias added, rounded once to its dtype.
        exact: the same without any rounding: one ``Fraction``, or two (real, imaginary) of a complex dtype; empty where
            a factor is infinite or NaN, or an object that is no rational number.
        padding_mode: what lies past the border.
    """

    problem: ConvProblem
    of: str
    at: Index
    terms: tuple[Term, ...]
    bias: Number | None
    computed: Number
    exact: tuple[Fraction, ...]
    padding_mode: str = "zeros"

    @property
    def factors(self) -> tuple[str, ...]:
        """The tensors whose elements are multiplied."""
        return PARTS[self.of]

    @property
    def window(self) -> tuple[tuple[int, ...], ...]:
        """For each spatial axis, the positions that the terms visit.

        Of the output and the weight gradient they lie on the input, the border included; of the input gradient and the
        bias gradient on the output.
        """
        dims = self.problem.spatial_dims
        on_output = self.of in ("input_grad", "bias_grad")
        places = [(term.output if on_output else term.position)[-dims:] for term in self.terms]
        return tuple(tuple(sorted({place[axis] for place in places})) for axis in range(dims))

    def feeds(self, input_index: Index) -> list[Index]:
        """The outputs that one input element reaches: see ``miniconv.explain.feeds``."""
        return feeds(self.problem, input_index, self.padding_mode)

    @property
    def document(self) -> dict[str, Any]:
        """Everything as dictionaries, lists, strings and numbers, which JSON has.

        A complex number is [real, imaginary]; NaN and infinities are the strings ``"NaN"``, ``"Infinity"`` and
        ``"-Infinity"``; a rational number, such as each part of ``exact``, is a string such as ``"-7/2"``.
        """
        terms = [{**term._asdict(), "values": dict(zip(self.factors, term.values))} for term in self.terms]
        return {
            "problem": str(self.problem),
            "padding_mode": self.padding_mode,
            "of": self.of,
            "at": list(self.at),
            "shape": list(self.shape),
            "factors": list(self.factors),
            "window": [list(axis) for axis in self.window],
            "terms": [{name: _plain(value) for name, value in term.items()} for term in terms],
            "bias": _plain(self.bias),
            "computed": _plain(self.computed),
            "exact": [str(part) for part in self.exact],
        }

    def to_json(self) -> str:
        """``document`` as JSON text."""
        return json.dumps(self.document, allow_nan=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the part that the element belongs to."""
        return part_shape(self.problem, self.of)

    def text(self, language: str | None = None, *, rows: int | None = 24, width: int | None = None) -> str:
        """The formula, the terms as a table, and the sum; ``str`` gives it in English.

        Args:
            language: ``"en"`` or ``"zh"``; None asks the environment, as ``miniconv.language`` does.
            rows: how many terms are shown at most, of a longer list the first and the last; None is all.
            width: columns that it must fit; None is as many as it takes.

        >>> from miniconv.explain import explain
        >>> print(explain(ConvProblem.parse("conv1d c1 o1 i2 k2 int64"), [[1, 2]], [[[5, 6]]], at=(0, 0)).text("zh"))
        conv1d c1 o1 i2 k2 int64
        output[oc, ow] = 对 ic、kw 求和:input[ic, iw] * weight[oc, ic, kw]
        其中 iw = ow + kw
        <BLANKLINE>
        output[0, 0]:共 2 项
          #    input  值     weight  值  乘积  累加和
          1  [0, 0]    1  [0, 0, 0]   5     5       5
          2  [0, 1]    2  [0, 0, 1]   6    12      17
        1*5 + 2*6 = 17
        """
        from miniconv.explain.text import written

        return written(self, spoken(language), rows, width)

    def __str__(self) -> str:
        return self.text("en")


def part_shape(problem: ConvProblem, of: str) -> tuple[int, ...]:
    """The shape of a part, as the caller has it."""
    shapes = {"output": problem.output_shape, "input_grad": problem.input_shape, "weight_grad": problem.weight_shape}
    return shapes.get(of, (problem.out_channels,))


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if value is None or isinstance(value, (int, float, str)) else str(value)
