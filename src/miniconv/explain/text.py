"""A trace as text: the formula with the problem's numbers, the terms as an aligned table, the sum written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from miniconv.dtypes import DTYPES
from miniconv.explain.links import Index
from miniconv.explain.trace import Term, Trace

__all__ = ["formula", "shown", "written"]

ROWS = 24
"""How many terms a table shows at most; of more, the first and the last ones."""

SUMMANDS = 6
"""How many products the written-out sum shows at most."""

_LETTERS = ("d", "h", "w")


def written(trace: Trace) -> str:
    """The whole text: what ``str(trace)`` is.

    >>> from miniconv.explain import explain
    >>> from miniconv.problem import ConvProblem
    >>> print(explain(ConvProblem.parse("conv1d c1 o1 i4 k3 p1 int64"), [[1, 2, 3, 4]], [[[5, 6, 7]]], at=(0, 0)))
    conv1d c1 o1 i4 k3 p1 int64
    output[oc, ow] = sum over ic, kw of input[ic, iw] * weight[oc, ic, kw]
    where iw = ow - 1 + kw
    <BLANKLINE>
    output[0, 0]: 3 terms
      #     input  value     weight  value  product  running sum
      1  [0, -1]z      0  [0, 0, 0]      5        0            0
      2   [0, 0]       1  [0, 0, 1]      6        6            6
      3   [0, 1]       2  [0, 0, 2]      7       14           20
    z: a zero of the border
    0*5 + 1*6 + 2*7 = 20
    """
    lines = [str(trace.problem), *formula(trace), "", f"{trace.of}{_index(trace.at)}: {_count(trace.terms)}"]
    lines += _table(trace) if trace.terms else []
    return "\n".join([*lines, _sum(trace)])


def formula(trace: Trace) -> list[str]:
    """The definition of the part in this problem's numbers, and how the indices meet."""
    problem, letters = trace.problem, _LETTERS[-trace.problem.spatial_dims :]
    n = [] if problem.batch is None else ["n"]
    ins, outs, taps = (", ".join(kind + letter for letter in letters) for kind in "iok")
    divided = f" % {problem.weight_shape[1]}" if problem.groups > 1 else ""
    channels = f"ic, oc{divided}" if problem.transposed else f"oc, ic{divided}"
    input, output = (", ".join([*n, *rest]) for rest in (("ic", ins), ("oc", outs)))
    weight = f"{channels}, {taps}"
    ics, ocs = ("ic in oc's group", "oc in ic's group") if problem.groups > 1 else ("ic", "oc")
    summed = {
        "output": (f"output[{output}]", f"{ics}, {taps}", f"input[{input}] * weight[{weight}]"),
        "input_grad": (f"input_grad[{input}]", f"{ocs}, {taps}", f"grad_output[{output}] * weight[{weight}]"),
        "weight_grad": (
            f"weight_grad[{weight}]",
            ", ".join([*n, ins if problem.transposed else outs]),
            f"grad_output[{output}] * input[{input}]",
        ),
        "bias_grad": ("bias_grad[oc]", ", ".join([*n, outs]), f"grad_output[{output}]"),
    }
    left, over, product = summed[trace.of]
    bias = "bias[oc] + " if trace.bias is not None else ""
    lines = [f"{left} = {bias}sum over {over} of {product}"]
    return lines if trace.of == "bias_grad" else [*lines, f"where {_relation(trace)}"]


def _relation(trace: Trace) -> str:
    """``ih = oh * 2 - 1 + kh, iw = ow + kw``; transposed with o and i exchanged."""
    problem = trace.problem
    wide, narrow = ("o", "i") if problem.transposed else ("i", "o")
    axes = zip(_LETTERS[-problem.spatial_dims :], problem.stride, problem.padding, problem.dilation)
    relations = []
    for letter, stride, (low, _), dilation in axes:
        shift = f" - {low}" if low else ""
        relations.append(
            f"{wide}{letter} = {_times(narrow + letter, stride)}{shift} + {_times('k' + letter, dilation)}"
        )
    return ", ".join(relations)


def _times(name: str, factor: int) -> str:
    """``name * factor``, or ``name`` alone."""
    return name if factor == 1 else f"{name} * {factor}"


def _table(trace: Trace) -> list[str]:
    """The terms, aligned; the middle of a long list left out, and said so."""
    heads = ["#", *(head for factor in trace.factors for head in (factor, "value")), "product", "running sum"]
    numbered = list(enumerate(trace.terms, 1))
    first = ROWS // 2
    elided = max(0, len(numbered) - ROWS)
    kept = [*numbered[:first], *numbered[first + elided :]] if elided else numbered
    rows = [heads, *(_row(trace, number, term) for number, term in kept)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    if elided:
        lines.insert(1 + first, f"  ... {elided} more ...")
    marks = {_MARKS[term.place]: term.place for _, term in kept if term.place != "inside"}
    meant = {"zeros": "a zero of the border"}
    shows = "input" in trace.factors
    return lines + [f"{mark}: {meant.get(place, f'in the border, {place}')}" for mark, place in marks.items() if shows]


_MARKS = {"inside": " ", "zeros": "z", "reflect": "m", "replicate": "e", "circular": "c"}


def _row(trace: Trace, number: int, term: Term) -> list[str]:
    """One line of the table; an input in the border is shown where the tap falls, with a mark."""
    cells = [str(number)]
    for factor, value in zip(trace.factors, term.values):
        at_input = factor == "input"
        index, mark = (term.position, _MARKS[term.place]) if at_input else (term.index_of(factor), "")
        cells += [_index(index or ()) + mark, shown(value, trace.problem.dtype)]
    return [*cells, shown(term.product, trace.problem.dtype), shown(term.running, trace.problem.dtype)]


def _sum(trace: Trace) -> str:
    """``0*5 + 1*6 + 2*7 = 20``, and the exact sum where it is another number."""
    dtype = trace.problem.dtype
    products = ["*".join(_in_product(value, dtype) for value in term.values) for term in trace.terms]
    if len(products) > SUMMANDS:
        half = SUMMANDS // 2
        products[half:-half] = [f"... ({len(products) - 2 * half} more)"]
    products += [] if trace.bias is None else [f"{_in_product(trace.bias, dtype)} (bias)"]
    text = f"{' + '.join(products) or '0'} = {shown(trace.computed, dtype)}"
    parts = [float(part) for part in trace.exact]
    got = (trace.computed.real, trace.computed.imag)[: len(parts)] if parts and DTYPES[dtype].kind != "object" else ()
    if any(part != value for part, value in zip(trace.exact, got)):
        text += f" in {dtype}; exactly {' + '.join(f'{p!r}{unit}' for p, unit in zip(map(_short, parts), ('', 'j')))}"
    return text


def _short(value: float) -> Any:
    """A whole number without its decimal point."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _in_product(value: Any, dtype: str) -> str:
    """A factor; a negative one in brackets."""
    text = shown(value, dtype)
    return f"({text})" if text.startswith("-") else text


def shown(value: Any, dtype: str) -> str:
    """A number of ``dtype``'s compute dtype in as few digits as tell it from its neighbours.

    >>> shown(0.10000000149011612, "float32"), shown(1234567.0, "float32"), shown((1 - 2j), "complex64")
    ('0.1', '1234567', '1-2j')
    """
    kind = DTYPES[dtype].kind
    if kind in ("int", "object"):
        return str(value)
    number = np.dtype(DTYPES[dtype].compute).type(value)
    if kind == "float" and number.is_integer() and abs(number) < 10**15:
        return np.format_float_positional(number, trim="-")
    return str(number).strip("()").removesuffix(".0")


def _index(index: Sequence[int] | Index) -> str:
    """``[0, 2, 1]``."""
    return f"[{', '.join(map(str, index))}]"


def _count(terms: Sequence[Term]) -> str:
    """``12 terms``."""
    return f"{len(terms)} term{'' if len(terms) == 1 else 's'}"
