"""Winograd's weights, stage 1: every weight transformed, in the order in which the products read them."""

from __future__ import annotations

import math

from miniconv.codegen.emit import Code
from miniconv.codegen.kernels import Element
from miniconv.codegen.winograd_axis import Form
from miniconv.codegen.winograd_emit import context_of, row_at, transform
from miniconv.codegen.winograd_form import HEAD

__all__ = ["emit_taps", "emit_weights"]


def emit_taps(code: Code, element: Element, form: Form) -> None:
    """The taps of a vector's width of channels, a vector for each of them."""
    size, lanes, taps = element.bytes, element.lanes, math.prod(form.taps)
    with code.function("taps", "ptr", "ptr", "ptr", "i64", internal=True) as (head, into, w, count):
        h = code.words(head, HEAD)
        dense = code.op(f"and i1 {code.test('ne', h['dense'], 0)}, {code.test('sge', count, lanes)}")
        with code.when(dense):  # the channels' taps lie one behind another: a square of them is transposed
            for from_tap in range(0, taps, lanes):
                rows = []
                for lane in range(lanes):
                    begin = lane * taps + from_tap
                    beyond = max(0, begin + lanes - lanes * taps)  # the weight may end here: begin earlier, and shift
                    row = code.load(element.vector, w, (begin - beyond) * size, size)
                    shift = [min(i + beyond, lanes - 1) for i in range(lanes)]
                    rows.append(element.shuffled(code, row, "poison", shift) if beyond else row)
                for tap, vector in zip(range(from_tap, taps), element.transposed(code, rows)):
                    code.store(element.vector, vector, into, tap * lanes * size, size)
        with code.when(code.negated(dense)):
            element.zeros(code, into, taps * lanes * size)
            with code.loop(0, count) as c:
                channel = code.at(w, code.mul(c.index, h["w_channel"]))
                lane_of = code.at(into, code.mul(c.index, size))
                for tap in range(taps):
                    i, j = divmod(tap, form.columns.taps)
                    distance = code.add(code.mul(h["w_h"], i), code.mul(h["w_w"], j))
                    code.store(
                        element.type, code.load(element.type, channel, distance, size), lane_of, tap * lanes * size
                    )


def emit_weights(code: Code, element: Element, form: Form) -> None:
    """Stage 1: U from the weights of some outputs; and no image is to be computed again as yet."""
    size, lanes = element.bytes, element.lanes
    with code.function("weights", "ptr", "i64", "i64", "ptr") as (context, begin, end, scratch):
        c, head = context_of(code, context)
        h = code.words(head, HEAD)
        weight, u = code.pointer(c["weight"]), code.pointer(c["shared"])
        with code.when(code.test("eq", begin, 0)), code.loop(0, h["images"]) as n:
            code.store("i64", 0, code.at(u, h["flags"]), code.mul(n.index, 8))
        with code.loop(begin, end) as unit:
            g, block = code.divided(unit.index, h["row_blocks"]), code.rest(unit.index, h["row_blocks"])
            rows = code.words(row_at(code, head, h, block), {"output": 0, "rows": 1})
            output = code.add(code.mul(g, h["outputs"]), rows["output"])
            u_block = code.at(u, code.mul(unit.index, h["u_block"]))
            with code.loop(0, h["channels"], lanes) as first, code.loop(0, rows["rows"]) as m:
                count = code.clamp(code.sub(h["channels"], first.index), 0, lanes)
                w = code.at(weight, code.mul(code.add(output, m.index), h["w_row"]))
                w = code.at(w, code.mul(first.index, h["w_channel"]))
                code.call("@taps", f"ptr {head}", f"ptr {scratch}", f"ptr {w}", f"i64 {count}")
                into = code.at(u_block, code.mul(code.divided(first.index, lanes), h["u_group"]))
                into = code.at(into, code.mul(m.index, lanes * size))
                row = [lanes * size * j for j in range(form.columns.taps)]
                line = [
                    [code.load(element.vector, scratch, i * len(row) * lanes * size + at, size) for at in row]
                    for i in range(form.rows.taps)
                ]
                lines = transform(code, element, form.rows.g, form.columns.g, line.__getitem__)
                for planes, vectors in zip(form.planes, lines):
                    for plane, vector in zip(planes, vectors):
                        code.store(element.vector, vector, into, code.mul(h["u_plane"], plane), size)
