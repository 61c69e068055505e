"""A trace as text: the formula with the problem's numbers, the terms as an aligned table, the sum written out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from miniconv.dtypes import DTYPES
from miniconv.explain.columns import cells, right, wrapped
from miniconv.explain.links import Index
from miniconv.explain.trace import Term, Trace
from miniconv.explain.words import said

__all__ = ["ROWS", "formula", "index_text", "shown", "written"]

ROWS = 28
"""How many terms a table shows at most, enough for 3x3 on three channels; of more, the first and the last ones."""

SUMMANDS = 6
"""How many products the written-out sum shows at most."""

_LETTERS = ("d", "h", "w")
_MARKS = {"inside": " ", "zeros": "z", "reflect": "m", "replicate": "e", "circular": "c"}


def written(trace: Trace, language: str = "en", rows: int | None = ROWS, width: int | None = None) -> str:
    """The whole text: what ``str(trace)`` is.

    Args:
        trace: the element.
        language: ``"en"`` or ``"zh"``.
        rows: how many terms are shown at most; None is all of them, and of the summands too.
        width: columns of the terminal; None is as many as it takes.

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
    element, count = f"{trace.of}{index_text(trace.at)}", len(trace.terms)
    counted = said("one term" if count == 1 else "terms", language, element=element, count=count)
    head = [str(trace.problem), *formula(trace, language), "", counted]
    table = _table(trace, language, rows, width) if trace.terms else []
    total = _sum(trace, language, SUMMANDS if rows is not None else None)
    return "\n".join(line for text in (*head, *table, total) for line in wrapped(text, width))


def formula(trace: Trace, language: str = "en") -> list[str]:
    """The definition of the part in this problem's numbers, and how the indices meet."""
    problem, letters = trace.problem, _LETTERS[-trace.problem.spatial_dims :]
    n = [] if problem.batch is None else ["n"]
    ins, outs, taps = ([kind + letter for letter in letters] for kind in "iok")
    divided = f" % {problem.weight_shape[1]}" if problem.groups > 1 else ""
    channels = f"ic, oc{divided}" if problem.transposed else f"oc, ic{divided}"
    input, output = (", ".join([*n, *rest]) for rest in (("ic", *ins), ("oc", *outs)))
    weight = ", ".join([channels, *taps])
    ics, ocs = (said(f"{name} in group", language) if problem.groups > 1 else name for name in ("ic", "oc"))
    summed = {
        "output": (f"output[{output}]", [ics, *taps], f"input[{input}] * weight[{weight}]"),
        "input_grad": (f"input_grad[{input}]", [ocs, *taps], f"grad_output[{output}] * weight[{weight}]"),
        "weight_grad": (
            f"weight_grad[{weight}]",
            [*n, *(ins if problem.transposed else outs)],
            f"grad_output[{output}] * input[{input}]",
        ),
        "bias_grad": ("bias_grad[oc]", [*n, *outs], f"grad_output[{output}]"),
    }
    left, over, product = summed[trace.of]
    bias = "bias[oc] + " if trace.bias is not None else ""
    line = said("sum", language, left=left, bias=bias, over=said("and", language).join(over), product=product)
    return [line] if trace.of == "bias_grad" else [line, said("where", language, relation=_relation(trace))]


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


def _table(trace: Trace, language: str, rows: int | None, width: int | None) -> list[str]:
    """The terms, aligned; the middle of a long list and what is too wide left out, and said so."""
    value, product, running = (said(name, language) for name in ("value", "product", "running sum"))
    heads = ["#", *(head for factor in trace.factors for head in (factor, value)), product, running]
    numbered = list(enumerate(trace.terms, 1))
    limit = len(numbered) if rows is None else rows
    first = (limit + 1) // 2
    elided = max(0, len(numbered) - limit)
    kept = [*numbered[:first], *numbered[first + elided :]] if elided else numbered
    columns = list(zip(heads, *(_row(trace, number, term) for number, term in kept)))
    dropped: list[str] = []
    while width is not None and _width(columns) > width and len(dropped) < 2:
        at = 0 if not dropped else -2  # the number of the term, then its product: the rest tells both
        dropped.append(columns.pop(at)[0])
    widths = [max(map(cells, column)) for column in columns]
    lines = ["  " + "  ".join(map(right, row, widths)).rstrip() for row in zip(*columns)]
    if elided:
        lines.insert(1 + first, "  " + said("more rows", language, count=elided))
    marks = {_MARKS[term.place]: term.place for _, term in kept if term.place != "inside"}
    if "input" in trace.factors:
        for mark, place in marks.items():
            lines.append(said("zeros" if place == "zeros" else "border", language, mark=mark, mode=place))
    return [*lines, *([said("dropped", language, columns=", ".join(dropped))] if dropped else [])]


def _width(columns: Sequence[Sequence[str]]) -> int:
    """How wide a table of these columns is."""
    return sum(2 + max(map(cells, column)) for column in columns)


def _row(trace: Trace, number: int, term: Term) -> list[str]:
    """One line of the table; an input in the border is shown where the tap falls, with a mark."""
    row = [str(number)]
    for factor, value in zip(trace.factors, term.values):
        at_input = factor == "input"
        index, mark = (term.position, _MARKS[term.place]) if at_input else (term.index_of(factor), "")
        row += [index_text(index or ()) + mark, shown(value, trace.problem.dtype)]
    return [*row, shown(term.product, trace.problem.dtype), shown(term.running, trace.problem.dtype)]


def _sum(trace: Trace, language: str, limit: int | None) -> str:
    """``0*5 + 1*6 + 2*7 = 20``, and the exact sum where it is another number."""
    dtype = trace.problem.dtype
    products = ["*".join(_in_product(value, dtype) for value in term.values) for term in trace.terms]
    if limit is not None and len(products) > limit:
        half = limit // 2
        products[half:-half] = [said("more products", language, count=len(products) - 2 * half)]
    products += [] if trace.bias is None else [said("bias", language, value=_in_product(trace.bias, dtype))]
    text = f"{' + '.join(products) or '0'} = {shown(trace.computed, dtype)}"
    parts = [float(part) for part in trace.exact]
    got = (trace.computed.real, trace.computed.imag)[: len(parts)] if parts and DTYPES[dtype].kind != "object" else ()
    if any(part != value for part, value in zip(trace.exact, got)):
        exact = " + ".join(f"{p!r}{unit}" for p, unit in zip(map(_short, parts), ("", "j")))
        return said("rounded", language, sum=text, dtype=dtype, exact=exact)
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


def index_text(index: Sequence[int] | Index) -> str:
    """``[0, 2, 1]``.

    >>> index_text((0, 2, 1))
    '[0, 2, 1]'
    """
    return f"[{', '.join(map(str, index))}]"
