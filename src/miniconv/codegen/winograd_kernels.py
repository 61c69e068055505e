"""Winograd's kernels: what ``winograd_model`` says, for one processor and one element type, as LLVM IR.

In the order of reading: the weights, stage 1, are in ``winograd_weights``; of stage 2, a block of tiles, the input is
in ``winograd_input``, and here are products and outputs.
"""

from __future__ import annotations

from miniconv.codegen.emit import Code
from miniconv.codegen.kernels import MICRO_KERNEL, Element
from miniconv.codegen.moves import emit_copy
from miniconv.codegen.records import MAX_VECTORS
from miniconv.codegen.winograd_axis import Form
from miniconv.codegen.winograd_emit import (
    context_of,
    row_at,
    stretch_at,
    stretch_of,
    transform,
)
from miniconv.codegen.winograd_form import BLOCK, CHUNK, HEAD, JOINED, LINE_BYTES, PART, REGION, STEPS
from miniconv.codegen.winograd_input import emit_fill, emit_input, emit_tiles_in
from miniconv.codegen.winograd_turn import emit_place_turned, emit_turn
from miniconv.codegen.winograd_weights import emit_taps, emit_weights

__all__ = ["emit_stages"]


def emit_products(code: Code, element: Element, form: Form) -> None:
    """M, or what a chunk of channels adds to it, for some blocks of outputs: a matrix product for each sum."""
    with code.function("products", *["ptr"] * 5, *["i64"] * 4, internal=True) as arguments:
        context, block, u, scratch, steps, channels, more, first, end = arguments
        c, head = context_of(code, context)
        h, b = code.words(head, HEAD), code.words(block, BLOCK)
        start = code.load("i64", row_at(code, head, h, first))
        kernels = code.pointer(c["kernels"])
        with code.loop(0, form.sums) as number_of_sum, code.loop(first, end) as i:
            joined = code.words(code.table(head, h["joined_table"], number_of_sum.index, JOINED), JOINED)
            count = code.mul(joined["planes"], channels)
            row = code.words(row_at(code, head, h, i.index), {"output": 0, "rows": 1})
            weights = code.at(code.at(u, code.mul(joined["plane"], h["u_plane"])), code.mul(i.index, h["u_block"]))
            with code.loop(0, b["tiles"]) as t:
                vectors, values, sums = stretch_of(code, element, head, h, b, t.index, row, start, scratch)
                values = code.at(values, code.mul(joined["plane"], h["v_plane"]))
                sums = code.at(sums, code.mul(number_of_sum.index, h["m_plane"]))
                number = code.add(code.mul(row["rows"], MAX_VECTORS + 1), vectors)
                kernel = code.load("ptr", kernels, code.mul(number, 8))
                ahead = code.op(f"and i1 {code.test('ne', h['u_distant'], 0)}, {code.test('eq', t.index, 0)}")
                with code.loop(0, count, STEPS) as k:
                    now, many = code.at(steps, code.mul(k.index, 16)), code.clamp(code.sub(count, k.index), 0, STEPS)
                    with code.when(ahead):
                        _emit_ahead(code, element, code.at(weights, h["u_block"]), now, many, row["rows"])
                    operands = (
                        *(values, weights, sums, now, many, element.lanes * element.bytes, code.add(more, k.index)),
                        *("null", 0, "null", 0),
                    )
                    code.call(kernel, *(f"{type_} {value}" for type_, value in zip(MICRO_KERNEL, operands)))


def _emit_ahead(code: Code, element: Element, u: str, steps: str, count: str, rows: str) -> None:
    """Bring near what these steps read of U, while others are computed."""
    with code.loop(0, count, element.lanes) as step:
        at = code.at(u, code.load("i64", steps, code.add(code.mul(step.index, 16), 8)))
        with code.loop(0, code.mul(rows, element.lanes * element.bytes), LINE_BYTES) as line:
            code.prefetch(code.at(at, line.index))


def emit_outputs(code: Code, element: Element, form: Form, turns: bool) -> None:
    """The output from M: transformed back, plus bias, a row of it after another; and a check of every number."""
    size, lanes = element.bytes, element.lanes
    tall, wide = form.outputs
    with code.function("outputs", *["ptr"] * 5, *["i64"] * 2, internal=True) as arguments:
        context, block, bias, y, scratch, first, end = arguments
        c, head = context_of(code, context)
        h, b = code.words(head, HEAD), code.words(block, BLOCK)
        start = code.load("i64", row_at(code, head, h, first))
        all_lines, checks = (code.at(scratch, h[name]) for name in ("lines", "checks"))
        last = code.sub(end, 1)
        final = code.words(row_at(code, head, h, last), {"output": 0, "rows": 1})
        count = code.sub(code.add(final["output"], final["rows"]), start)
        enough = code.op(f"and i1 {code.test('sgt', h['turned_out'], 1)}, {code.test('sge', count, lanes)}")
        with code.loop(first, end) as i:
            row = code.words(row_at(code, head, h, i.index), {"output": 0, "rows": 1})
            with code.loop(0, row["rows"]) as m:
                output = code.add(row["output"], m.index)
                number = code.add(code.sub(output, start), 1)  # with this one, of the panel
                slot = code.rest(code.sub(output, start), h["turned_out"])
                lines = code.at(all_lines, code.mul(slot, code.mul(h["line"], tall)))
                added = element.splat(code, code.load(element.type, bias, code.mul(output, c["bias_step"]), size))
                with code.loop(0, b["tiles"]) as t:
                    vectors, _, sums = stretch_of(code, element, head, h, b, t.index, row, start, scratch)
                    at = code.load("i64", stretch_at(code, head, b, t.index))
                    sums = code.at(sums, code.mul(code.mul(m.index, vectors), lanes * size))
                    with code.loop(0, code.mul(vectors, lanes * size), lanes * size) as v:
                        m_planes = [
                            code.load(element.vector, sums, code.add(v.index, code.mul(h["m_plane"], plane)), size)
                            for plane in range(form.sums)
                        ]
                        width = len(form.columns.a_t[0])
                        square = [m_planes[j : j + width] for j in range(0, form.sums, width)]
                        lane = code.add(code.mul(at, lanes * size), v.index)
                        check = code.load(element.vector, checks, lane, size)
                        results = transform(code, element, form.rows.a_t, form.columns.a_t, square.__getitem__)
                        for j, result in enumerate(results):
                            values = [code.op(f"fadd {element.vector} {value}, {added}") for value in result]
                            for value in values:  # zero times a finite number adds nothing
                                check = element.multiply_add(code, value, "zeroinitializer", check)
                            line = code.at(code.at(lines, code.mul(h["line"], j)), code.mul(lane, wide))
                            along = element.interleaved(code, *values) if wide == 2 else values
                            for k, vector in enumerate(along):
                                code.store(element.vector, vector, line, k * lanes * size, size)
                        code.store(element.vector, check, checks, lane, size)
                if turns:
                    full = code.test("eq", code.rest(number, lanes), 0)
                    due = code.op(f"or i1 {full}, {code.test('eq', number, count)}")
                    now = code.op(f"and i1 {enough}, {due}")
                    with code.when(now):  # the last outputs, though some of them be written again
                        begin = code.sub(code.add(output, 1), lanes)
                        target = code.at(y, code.mul(begin, h["y_channel"]))
                        pointers = (f"ptr {p}" for p in (head, block, target, all_lines))
                        code.call("@place_turned", *pointers, f"i64 {code.sub(number, lanes)}")
                with code.when(code.negated(enough)):
                    target = code.at(y, code.mul(output, h["y_channel"]))
                    code.call("@place", *(f"ptr {p}" for p in (head, block, target, lines)))


def emit_place(code: Code, element: Element, form: Form) -> None:
    """The lines of a block's outputs to where they belong: each region's rows."""
    size = element.bytes
    tall, wide = form.outputs
    with code.function("place", "ptr", "ptr", "ptr", "ptr", internal=True) as (head, block, y, lines):
        h, b = code.words(head, HEAD), code.words(block, BLOCK)
        with code.loop(0, b["regions"]) as i:
            region = code.words(code.table(head, b["region_table"], i.index, REGION), REGION)
            into = code.at(code.at(y, code.mul(region["image"], h["y_image"])), region["output"])
            dense = code.test("eq", h["y_column"], size)
            with code.loop(0, region["out_rows"]) as row:
                tile, line = code.divided(row.index, tall), code.rest(row.index, tall)
                lane = code.add(region["lane"], code.mul(tile, region["columns"]))
                source = code.at(code.at(lines, code.mul(line, h["line"])), code.mul(lane, wide * size))
                target = code.at(into, code.mul(row.index, h["y_row"]))
                with code.when(dense):
                    operands = f"ptr {target}", f"ptr {source}", f"i64 {size}", f"i64 {region['out_columns']}"
                    code.call("@copy", *operands)
                with code.when(code.negated(dense)), code.loop(0, region["out_columns"]) as column:
                    value = code.load(element.type, source, code.mul(column.index, size), size)
                    code.store(element.type, value, target, code.mul(column.index, h["y_column"]), size)


def emit_block(code: Code, element: Element) -> None:
    """One block of tiles and one part of the outputs: chunk after chunk of channels."""
    size, lanes = element.bytes, element.lanes
    with code.function("block", "ptr", *["i64"] * 4, "ptr", internal=True) as (context, n, g, b, part, scratch):
        c, head = context_of(code, context)
        h = code.words(head, HEAD)
        block = code.table(head, h["block_table"], b, BLOCK)
        fields = code.words(block, BLOCK)
        blocks = code.words(code.table(head, h["part_table"], part, PART), PART)
        x = code.at(code.pointer(c["input"]), code.add(code.mul(n, h["x_image"]), code.mul(g, h["x_group"])))
        y = code.at(code.pointer(c["output"]), code.add(code.mul(n, h["y_image"]), code.mul(g, h["y_group"])))
        output = code.mul(g, h["outputs"])
        bias = code.at(code.pointer(c["bias"]), code.mul(output, c["bias_step"]))
        u = code.at(code.pointer(c["shared"]), code.mul(code.mul(g, h["row_blocks"]), h["u_block"]))
        checks = code.at(scratch, h["checks"])
        with code.loop(0, h["turned_in"]) as one:
            element.zeros(code, code.at(scratch, code.mul(one.index, h["buffer"])), fields["buffer"])
        element.zeros(code, checks, code.mul(fields["vectors"], lanes * size))
        with code.loop(0, h["chunks"]) as chunk_loop:
            chunk = code.words(code.table(head, h["chunk_table"], chunk_loop.index, CHUNK), CHUNK)
            x_chunk = code.at(x, code.mul(chunk["channel"], h["x_channel"]))
            u_chunk = code.at(u, code.mul(code.divided(chunk["channel"], lanes), h["u_group"]))
            channels, steps = f"i64 {chunk['channels']}", code.table(head, chunk["steps"])
            code.call("@input", f"ptr {head}", f"ptr {block}", f"ptr {x_chunk}", channels, f"ptr {scratch}")
            last = code.test("eq", code.add(chunk_loop.index, 1), h["chunks"])
            with code.loop(blocks["first"], blocks["end"], h["panel"]) as panel:
                end = code.clamp(code.add(panel.index, h["panel"]), 0, blocks["end"])
                pointers = (f"ptr {p}" for p in (context, block, u_chunk, scratch, steps))
                span = f"i64 {panel.index}", f"i64 {end}"
                code.call("@products", *pointers, channels, f"i64 {chunk_loop.index}", *span)
                with code.when(last):
                    code.call("@outputs", *(f"ptr {p}" for p in (context, block, bias, y, scratch)), *span)
        flags = code.at(code.pointer(c["shared"]), h["flags"])
        with code.loop(0, fields["regions"]) as i:
            region = code.words(code.table(head, fields["region_table"], i.index, REGION), REGION)
            lane_end = code.add(region["lane"], code.mul(region["rows"], region["columns"]))
            flag = code.at(flags, code.mul(code.add(n, region["image"]), 8))
            with code.loop(region["lane"], lane_end) as lane:
                check = code.load(element.type, checks, code.mul(lane.index, size), size)
                with code.when(code.op(f"fcmp uno {element.type} {check}, 0.0")):
                    code.do(f"store atomic i64 1, ptr {flag} monotonic, align 8")  # other threads may set it too


def emit_stages(code: Code, element: Element, form: Form, turns: bool) -> None:
    """The stages ``weights`` and ``tiles``, and what they call; ``turns``: for operands that are channels_last too."""
    emit_copy(code, element)
    emit_taps(code, element, form)
    emit_weights(code, element, form)
    if turns:
        emit_turn(code, element)
        emit_place_turned(code, element, form)
    emit_fill(code, element, turns)
    emit_tiles_in(code, element, form)
    emit_input(code, element)
    emit_products(code, element, form)
    emit_place(code, element, form)
    emit_outputs(code, element, form, turns)
    emit_block(code, element)
    with code.function("tiles", "ptr", "i64", "i64", "ptr") as (context, begin, end, scratch):
        _, head = context_of(code, context)
        h = code.words(head, HEAD)
        with code.loop(begin, end) as unit:
            rest, numbers = unit.index, []
            for name in ("parts", "blocks", "groups"):
                numbers.append(code.rest(rest, h[name]))
                rest = code.divided(rest, h[name])
            n = code.mul(rest, h["together"])
            operands = (f"i64 {number}" for number in (n, *reversed(numbers)))
            code.call("@block", f"ptr {context}", *operands, f"ptr {scratch}")
