"""Memory in which channels lie one behind another (channels_last), turned to rows of columns and back.

The transforms want a channel's columns side by side. Where instead the channels of a column are side by side, a square
of as many channels as columns is read, transposed in registers, and written: memory is touched in whole vectors.
"""

from __future__ import annotations

from miniconv.codegen.emit import Code
from miniconv.codegen.kernels import Element
from miniconv.codegen.winograd_axis import Form
from miniconv.codegen.winograd_form import BLOCK, HEAD, REGION

__all__ = ["emit_place_turned", "emit_turn"]


def emit_turn(code: Code, element: Element) -> None:
    """A vector's width of channels of a row: ``count`` columns, no fewer than lanes, to rows ``step`` bytes apart."""
    size, lanes = element.bytes, element.lanes
    with code.function("turn", "ptr", "ptr", "i64", "i64", "i64", internal=True) as (into, x, count, x_column, step):
        last = code.sub(count, lanes)
        with code.loop(0, count, lanes) as loop:
            column = code.clamp(loop.index, 0, last)  # the last square repeats some of the one before
            source = code.at(x, code.mul(column, x_column))
            vectors = [code.load(element.vector, source, code.mul(x_column, j), size) for j in range(lanes)]
            target = code.at(into, code.mul(column, size))
            for k, vector in enumerate(element.transposed(code, vectors)):
                code.store(element.vector, vector, target, code.mul(step, k), size)


def emit_place_turned(code: Code, element: Element, form: Form) -> None:
    """As ``place``, for a vector's width of outputs, of which the lines of the first one begin at number ``first``."""
    size, lanes = element.bytes, element.lanes
    tall, wide = form.outputs
    with code.function("place_turned", "ptr", "ptr", "ptr", "ptr", "i64", internal=True) as (
        head,
        block,
        y,
        lines,
        first,
    ):
        h, b = code.words(head, HEAD), code.words(block, BLOCK)
        each = code.mul(h["line"], tall)
        rows = [
            code.at(lines, code.mul(code.op(f"and i64 {code.add(first, k)}, {lanes - 1}"), each)) for k in range(lanes)
        ]
        with code.loop(0, b["regions"]) as i:
            region = code.words(code.table(head, b["region_table"], i.index, REGION), REGION)
            into = code.at(code.at(y, code.mul(region["image"], h["y_image"])), region["output"])
            with code.loop(0, region["out_rows"]) as row, code.loop(0, region["out_columns"], lanes) as column:
                tile, line = code.divided(row.index, tall), code.rest(row.index, tall)
                lane = code.add(region["lane"], code.mul(tile, region["columns"]))
                at = code.add(code.mul(line, h["line"]), code.mul(code.add(code.mul(lane, wide), column.index), size))
                vectors = element.transposed(code, [code.load(element.vector, from_, at, size) for from_ in rows])
                target = code.at(code.at(into, code.mul(row.index, h["y_row"])), code.mul(column.index, h["y_column"]))
                left = code.sub(region["out_columns"], column.index)
                for j, vector in enumerate(vectors):
                    with code.when(code.test("slt", j, left)):
                        code.store(element.vector, vector, target, code.mul(h["y_column"], j), size)
