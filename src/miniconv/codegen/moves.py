"""The kernels that move: from the caller's input to scratch memory, and from a tile's sums to the output.

Both directions exist in two forms. Where cells of a row lie one behind another, a vector holds cells. Where channels
do (channels last), a vector in memory holds channels, and a block of as many cells as lanes is transposed.
"""

from __future__ import annotations

from miniconv.codegen.element import Element
from miniconv.codegen.emit import Code, Value
from miniconv.codegen.records import CHUNK, ITEM, MAX_VECTORS, PASS, SOURCE, STEPS, TILE

__all__ = ["emit_copy", "emit_copy_across", "emit_pack", "emit_panel", "emit_store", "emit_store_across"]


def emit_store(code: Code, element: Element, first: bool) -> None:
    """Write a run of a tile's row: plus the bias for the first chunk of channels, else plus what lies there."""
    vector, size = element.vector, element.bytes * element.lanes
    arguments = ("ptr", "ptr", "i64", "i64", element.type)
    with code.function("store_first" if first else "store_more", *arguments, internal=True) as args:
        sums, y, count, step, bias = args
        biases = element.splat(code, bias) if first else ""
        whole = code.op(f"and i64 {count}, {-element.lanes}")
        rest = code.sub(count, whole)
        dense = code.test("eq", step, element.bytes)
        with code.when(dense):
            with code.loop(0, code.mul(whole, element.bytes), size) as loop:
                value = code.load(vector, sums, loop.index, element.bytes)
                before = biases if first else code.load(vector, y, loop.index, element.bytes)
                total = code.op(f"fadd {vector} {value}, {before}")
                code.store(vector, total, y, loop.index, element.bytes)
            with code.when(code.test("ne", rest, 0)):
                mask, at = element.mask(code, rest), code.mul(whole, element.bytes)
                before = biases if first else element.load_some(code, mask, y, at)
                total = code.op(f"fadd {vector} {element.load_some(code, mask, sums, at)}, {before}")
                element.store_some(code, mask, total, y, at)
        with code.loop(code.op(f"select i1 {dense}, i64 {count}, i64 0"), count) as loop:
            at = code.mul(loop.index, step)
            value = code.load(element.type, sums, code.mul(loop.index, element.bytes), element.bytes)
            one = bias if first else code.load(element.type, y, at, element.bytes)
            code.store(element.type, code.op(f"fadd {element.type} {value}, {one}"), y, at, element.bytes)


def emit_store_across(code: Code, element: Element, first: bool) -> None:
    """``store`` for all rows of a tile at once, where the channels of a position lie one behind another."""
    vector, lanes = element.vector, element.lanes
    arguments = ("ptr", "i64", "i64", "ptr", "i64", "i64", "ptr", "i64")
    with code.function("across_first" if first else "across_more", *arguments, internal=True) as args:
        sums, row_bytes, rows, y, count, step, bias, bias_step = args
        with code.loop(0, rows, lanes) as m:
            rows_now = code.sub(rows, m.index)
            mask = element.mask(code, rows_now)
            channels = code.at(y, code.mul(m.index, element.bytes))
            # without a bias there is one zero, and no distance to the next
            some = element.mask(code, code.op(f"select i1 {code.test('eq', bias_step, 0)}, i64 0, i64 {rows_now}"))
            biases = element.load_some(code, some, bias, code.mul(m.index, bias_step)) if first else ""
            with code.loop(0, count, lanes) as loop:
                x = code.at(sums, code.add(code.mul(m.index, row_bytes), code.mul(loop.index, element.bytes)))
                last = code.sub(rows_now, 1)
                values = [
                    code.load(vector, x, code.mul(code.least(i, last), row_bytes), element.bytes) for i in range(lanes)
                ]
                left = code.sub(count, loop.index)
                for i, value in enumerate(element.transposed(code, values)):
                    with code.when(code.test("sgt", left, i)):
                        at = code.at(channels, code.mul(code.add(loop.index, i), step))
                        before = biases if first else element.load_some(code, mask, at)
                        element.store_some(code, mask, code.op(f"fadd {vector} {value}, {before}"), at)


def emit_copy(code: Code, element: Element) -> None:
    """Copy ``count`` cells, at least one, that lie ``step`` bytes apart to consecutive memory."""
    vector, size, lanes = element.vector, element.bytes * element.lanes, element.lanes
    even = [2 * i for i in range(lanes)]
    with code.function("copy", "ptr", "ptr", "i64", "i64", internal=True) as (into, x, step, count):
        # all but the last 1 to VL cells: whole vectors
        whole = code.op(f"and i64 {code.sub(count, 1)}, {-lanes}")
        rest, end = code.sub(count, whole), code.mul(whole, element.bytes)
        dense, halved = (code.test("eq", step, n * element.bytes) for n in (1, 2))
        with code.when(dense):
            with code.loop(0, end, size) as loop:
                code.store(vector, code.load(vector, x, loop.index, element.bytes), into, loop.index, element.bytes)
            mask = element.mask(code, rest)
            element.store_some(code, mask, element.load_some(code, mask, x, end), into, end)
        with code.when(halved):  # every second cell: the even lanes of two vectors
            with code.loop(0, end, size) as loop:
                pair = code.at(x, code.mul(loop.index, 2))
                low, high = (code.load(vector, pair, n * size, element.bytes) for n in (0, 1))
                kept = element.shuffled(code, low, high, even)
                code.store(vector, kept, into, loop.index, element.bytes)
            pair, cells = code.at(x, code.mul(end, 2)), code.sub(code.mul(rest, 2), 1)
            masks = (element.mask(code, code.sub(cells, n * lanes)) for n in (0, 1))
            low, high = (element.load_some(code, mask, pair, n * size) for n, mask in enumerate(masks))
            element.store_some(code, element.mask(code, rest), element.shuffled(code, low, high, even), into, end)
        neither = code.negated(code.op(f"or i1 {dense}, {halved}"))
        with code.loop(0, code.op(f"select i1 {neither}, i64 {count}, i64 0")) as loop:
            value = code.load(element.type, x, code.mul(loop.index, step), element.bytes)
            code.store(element.type, value, into, code.mul(loop.index, element.bytes), element.bytes)


def emit_copy_across(code: Code, element: Element) -> None:
    """``copy`` for up to VL channels at once, where the channels of a cell lie one behind another."""
    vector, lanes = element.vector, element.lanes
    arguments = ("ptr", "i64", "ptr", "i64", "i64", "i64")
    with code.function("copy_across", *arguments, internal=True) as args:
        into, channel, x, step, count, channels = args
        with code.loop(0, count, lanes) as loop:
            source = code.at(x, code.mul(loop.index, step))
            target = code.at(into, code.mul(loop.index, element.bytes))
            left = code.sub(count, loop.index)
            full = code.op(f"and i1 {code.test('sge', left, lanes)}, {code.test('eq', channels, lanes)}")
            with code.when(full):
                rows = [code.load(vector, source, code.mul(step, i), element.bytes) for i in range(lanes)]
                for i, value in enumerate(element.transposed(code, rows)):
                    code.store(vector, value, target, code.mul(channel, i), element.bytes)
            with code.when(code.negated(full)):
                mask, last = element.mask(code, channels), code.sub(left, 1)
                cells = (code.mul(code.least(i, last), step) for i in range(lanes))
                rows = [element.load_some(code, mask, source, cell) for cell in cells]
                some = element.mask(code, left)
                for i, value in enumerate(element.transposed(code, rows)):
                    with code.when(code.test("sgt", channels, i)):
                        element.store_some(code, some, value, target, code.mul(channel, i))


def emit_pack(code: Code, element: Element, across: bool) -> None:
    """Copy a chunk's cells to scratch, zeros where the input has none: a plane a channel and phase."""
    (emit_copy_across if across else emit_copy)(code, element)
    with code.function(f"pack{'_across' * across}", "ptr", "ptr", "ptr", "ptr", "ptr", "i64") as args:
        program, record, item, x, scratch, channels = args
        r, box = code.words(record, PASS), code.words(item, ITEM)

        def zeros(pointer: Value, start: Value, end: Value) -> None:
            with code.loop(0, together) as k, code.loop(start, end, element.lanes) as loop:
                mask = element.mask(code, code.sub(end, loop.index))
                at = code.add(code.mul(k.index, r["channel"]), code.mul(loop.index, element.bytes))
                element.store_some(code, mask, "zeroinitializer", pointer, at)

        most = element.lanes if across else 1
        with code.loop(0, channels, most) as c, code.loop(0, r["phases"]) as p:
            together = code.least(code.sub(channels, c.index), most) if across else 1
            table = code.at(program, code.mul(code.add(r["phase_table"], code.mul(p.index, 3)), 8))
            phase = code.words(table, {"d": 0, "h": 1, "w": 2})
            plane = code.at(scratch, code.mul(c.index, r["channel"]))
            plane = code.at(plane, code.mul(p.index, r["plane"]))
            x_plane = code.at(x, code.mul(c.index, r["x_channel"]))
            # the cells of a row that the input has
            column = code.add(box["w"], phase["w"])
            before = code.op(f"sdiv i64 {code.sub(code.sub(r['step_w'], 1), column)}, {r['step_w']}")
            low = code.clamp(before, 0, r["pitch"])
            until = code.add(code.sub(r["size_w"], column), code.sub(r["step_w"], 1))
            high = code.clamp(code.op(f"sdiv i64 {until}, {r['step_w']}"), low, r["pitch"])
            column = code.add(column, code.mul(low, r["step_w"]))
            with code.loop(0, r["rows_d"]) as d, code.loop(0, r["rows_h"]) as h:
                cell = {
                    a: code.add(code.add(box[a], phase[a]), code.mul(row.index, r[f"step_{a}"]))
                    for a, row in (("d", d), ("h", h))
                }
                inside = [code.test("ult", cell[a], r[f"size_{a}"]) for a in "dh"]  # unsigned: negative is outside
                exists = code.op(f"and i1 {inside[0]}, {inside[1]}")
                begin = code.op(f"select i1 {exists}, i64 {low}, i64 {r['pitch']}")
                end = code.op(f"select i1 {exists}, i64 {high}, i64 {r['pitch']}")
                into = code.at(plane, code.add(code.mul(d.index, r["slice"]), code.mul(h.index, r["row"])))
                zeros(into, 0, begin)
                with code.when(code.test("slt", begin, end)):
                    distance = code.add(code.mul(cell["d"], r["x_d"]), code.mul(cell["h"], r["x_h"]))
                    source = code.at(x_plane, code.add(distance, code.mul(column, r["x_w"])))
                    bytes_apart = code.mul(r["step_w"], r["x_w"])
                    target, count = code.at(into, code.mul(begin, element.bytes)), code.sub(end, begin)
                    numbers = f"i64 {bytes_apart}", f"i64 {count}"
                    if across:
                        planes = f"i64 {r['channel']}", f"i64 {together}"
                        code.call("@copy_across", f"ptr {target}", planes[0], f"ptr {source}", *numbers, planes[1])
                    else:
                        code.call("@copy", f"ptr {target}", f"ptr {source}", *numbers)
                zeros(into, end, r["pitch"])
            rows = code.mul(r["slice"], r["rows_d"])
            zeros(code.at(plane, rows), 0, r["overlap"])


def emit_panel(code: Code, element: Element) -> None:
    """Copy what a tile reads in a chunk's steps to consecutive memory: a row of vectors a step."""
    size = element.bytes * element.lanes
    with code.function("panel", *["ptr"] * 6) as args:
        program, record, chunk_record, tile_record, x, panel = args
        r, chunk, tile = code.words(record, PASS), code.words(chunk_record, CHUNK), code.words(tile_record, TILE)
        row_bytes = code.mul(tile["vectors"], size)
        all_steps = code.table(program, r["steps"])
        sources = code.table(program, tile["source_table"])
        with code.loop(0, chunk["blocks"]) as b:
            steps = code.words(code.table(program, chunk["block_table"], b.index, STEPS), STEPS)
            x_block = code.at(x, steps["input"])
            begin, end = steps["first"], code.add(steps["first"], steps["count"])
            into = code.at(panel, code.mul(steps["panel"], row_bytes))
            for vectors in range(1, MAX_VECTORS + 1):  # one piece of memory, as long as the tile
                whole = code.test("eq", tile["whole"], vectors)
                with code.when(whole):
                    first = code.words(sources, SOURCE)
                    from_ = code.at(x_block, first["input"])
                    with code.loop(begin, end) as s:
                        x_now = code.at(from_, code.load("i64", all_steps, code.mul(s.index, 16)))
                        row = code.at(into, code.mul(s.index, vectors * size))
                        values = [code.load(element.vector, x_now, v * size, element.bytes) for v in range(vectors)]
                        for v, value in enumerate(values):
                            code.store(element.vector, value, row, v * size, element.bytes)
            pieces = code.op(f"select i1 {code.test('eq', tile['whole'], 0)}, i64 {tile['sources']}, i64 0")
            with code.when(code.test("ne", pieces, 0)), code.loop(begin, end) as s:
                x_now = code.at(x_block, code.load("i64", all_steps, code.mul(s.index, 16)))
                row = code.at(into, code.mul(s.index, row_bytes))
                with code.loop(0, code.mul(pieces, 8 * len(SOURCE)), 8 * len(SOURCE)) as i:
                    source = code.words(code.at(sources, i.index), SOURCE)
                    value = code.load(element.vector, code.at(x_now, source["input"]), 0, element.bytes)
                    code.store(element.vector, value, row, source["lane"], element.bytes)
