"""What Winograd's kernels are made of: the transform in vectors, shuffles of lanes, and the records of the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from miniconv.codegen.emit import Code, Value
from miniconv.codegen.kernels import CONTEXT, Element
from miniconv.codegen.winograd_axis import Matrix

__all__ = [
    "across",
    "combined",
    "context_of",
    "row_at",
    "stretch_at",
    "stretch_of",
    "transform",
]


def transform(
    code: Code, element: Element, rows: Matrix, columns: Matrix, x: Callable[[int], list[str]]
) -> Iterator[list[str]]:
    """The rows of ``rows @ x @ columns.T``, row i of x being ``x(i)``, in adds and halvings: none meets a zero.

    What a row needs is asked for when its turn has come, so that it can stay in registers.
    """
    for line in combined(code, element, rows, x):
        yield across(code, element, columns, line)


def combined(code: Code, element: Element, matrix: Matrix, x: Callable[[int], list[str]]) -> Iterator[list[str]]:
    """The rows of ``matrix @ x``."""
    for row in matrix:
        needed = [x(i) if c else [] for i, c in enumerate(row)]
        width = max(map(len, needed))
        yield [_sum(code, element, row, [line[j] if line else "" for line in needed]) for j in range(width)]


def across(code: Code, element: Element, matrix: Matrix, x: Sequence[str]) -> list[str]:
    """``matrix @ x``."""
    return [_sum(code, element, row, x) for row in matrix]


def _sum(code: Code, element: Element, row: Sequence[float], x: Sequence[str]) -> str:
    """``row @ x``: a sum, and one multiplication where its numbers are not ones."""
    terms = sorted(((c, value) for c, value in zip(row, x) if c), key=lambda term: term[0] < 0)
    (scale, total), *others = terms
    if scale < 0:
        scale, total = -scale, code.op(f"fneg {element.vector} {total}")
    for c, value in others:
        total = code.op(f"{'fadd' if c > 0 else 'fsub'} {element.vector} {total}, {value}")
    return total if scale == 1 else code.op(f"fmul {element.vector} {total}, {_constant(element, scale)}")


def _constant(element: Element, number: float) -> str:
    return f"splat ({element.type} {number:e})"


def context_of(code: Code, context: str) -> tuple[dict[str, str], str]:
    """What the call hands over, and the program."""
    c = code.words(context, CONTEXT)
    return c, code.pointer(c["program"])


def row_at(code: Code, head: str, h: dict[str, str], index: Value) -> str:
    """The record of a block of outputs: the first one, and how many."""
    return code.table(head, h["row_table"], index, {"output": 0, "rows": 1})


def stretch_at(code: Code, head: str, b: dict[str, str], index: Value) -> str:
    """The record of a stretch of lanes: its first vector, and how many."""
    return code.table(head, b["tile_table"], index, {"vector": 0, "vectors": 1})


def stretch_of(
    code: Code,
    element: Element,
    head: str,
    h: dict[str, str],
    b: dict[str, str],
    index: Value,
    row: dict[str, str],
    start: Value,
    scratch: str,
) -> tuple[str, str, str]:
    """How many vectors a stretch of lanes has, and where in the first place its values and its sums lie."""
    stretch = code.words(stretch_at(code, head, b, index), {"vector": 0, "vectors": 1})
    size = element.bytes * element.lanes
    values = code.at(code.at(scratch, h["planes"]), code.mul(stretch["vector"], size))
    # the sums of a tile lie together, as the micro-kernel keeps them: rows times vectors
    before = code.mul(code.sub(row["output"], start), h["v_row"])
    inside = code.mul(code.mul(row["rows"], stretch["vector"]), size)
    return stretch["vectors"], values, code.at(code.at(scratch, h["sums"]), code.add(before, inside))
