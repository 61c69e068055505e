"""The kernels of the depthwise path: what ``depthwise_model`` says, as LLVM IR.

In the order of reading: ``emit_rows``, the micro-kernel, where the multiply-adds are; ``emit_pack``, which copies one
channel to scratch; ``emit_units``, the loops around them.
"""

from __future__ import annotations

from collections.abc import Callable

from miniconv.codegen.depthwise_geometry import Shape
from miniconv.codegen.depthwise_tables import BAND, PHASE, RECORD, STEP, TILE, TURN
from miniconv.codegen.emit import Code, Value
from miniconv.codegen.kernels import CONTEXT, Element

__all__ = ["emit_rows", "emit_walk", "rows_name"]

# The arguments of a micro-kernel: input, weight, bias, output, tiles, how many, turns, steps, bytes from an input row
# to the next, from a weight row to the next, from an output row to the next, columns that are stored; how many
# channels, and bytes from one to the next of input, weight, bias and output.
ROWS = ("ptr", "ptr", "ptr", "ptr", "ptr", "i64", "ptr", "ptr", "i64", "i64", "i64", "i64", *["i64"] * 5)


def rows_name(shape: Shape) -> str:
    """The name of a micro-kernel in its module."""
    return f"rows_{shape.rows}_{shape.taps}_{shape.step}_{shape.up}{'_narrow' * shape.narrow}"


def emit_rows(code: Code, element: Element, shape: Shape) -> None:
    """All tiles of some channels: in each, for every step, an input row is loaded once for all outputs that read it."""
    vector, align = element.vector, element.bytes
    with code.function(rows_name(shape), *ROWS) as arguments:
        operands, (tiles, tile_count, turns, steps) = arguments[:4], arguments[4:8]
        x_row, w_row, y_row, columns, channels, *distances = arguments[8:]
        firsts = [element.lanes * i for i in range(shape.up)]
        masks = [element.mask(code, code.sub(columns, first)) for first in firsts] if shape.narrow else []
        tile_end = code.mul(tile_count, 8 * len(TILE))

        def summed(turn: dict[str, str], x_tile: str, w: str) -> list[Value]:
            """The sums of one phase of outputs."""
            sums: list[tuple[str, Value]] = [(vector, "zeroinitializer")] * shape.rows
            with code.loop(turn["begin"], turn["end"], 8 * len(STEP), sums) as loop:
                step = code.words(code.at(steps, loop.index), STEP)
                x_now, w_now = code.at(x_tile, step["input"]), code.at(w, step["weight"])
                weights = []
                for _ in range(shape.taps):
                    weights.append(element.splat(code, code.load(element.type, w_now, 0, align)))
                    w_now = code.at(w_now, w_row)
                for i in range((shape.rows - 1) * shape.step + shape.taps):
                    readers = [m for m in range(shape.rows) if 0 <= i - m * shape.step < shape.taps]
                    value = code.load(vector, x_now, 0, align) if readers else ""
                    for m in readers:
                        total = str(loop.next[m])
                        loop.next[m] = element.multiply_add(code, weights[i - m * shape.step], value, total)
                    x_now = code.at(x_now, x_row)
            return list(loop.values)

        with code.loop(0, channels) as c, code.loop(0, tile_end, 8 * len(TILE)) as tile_loop:
            x, w, bias, y = (code.at(p, code.mul(c.index, distance)) for p, distance in zip(operands, distances))
            start = element.splat(code, code.load(element.type, bias, 0, align))
            tile = code.words(code.at(tiles, tile_loop.index), TILE)
            x_tile, y_now = code.at(x, tile["input"]), code.at(y, tile["output"])
            mine = code.at(turns, tile["turns"])
            phases = [summed(code.words(code.at(mine, 8 * len(TURN) * p), TURN), x_tile, w) for p in range(shape.up)]
            for totals in zip(*phases):
                results = [code.op(f"fadd {vector} {total}, {start}") for total in totals]
                for i, result in enumerate(element.interleaved(code, *results)):
                    if shape.narrow:
                        element.store_some(code, masks[i], result, y_now, firsts[i] * align)
                    else:
                        code.store(vector, result, y_now, firsts[i] * align, align)
                y_now = code.at(y_now, y_row)


def emit_zeros(code: Code, element: Element) -> None:
    """At least so many bytes of zeros, in whole vectors."""
    with code.function("zeros", "ptr", "i64", internal=True) as (into, count):
        element.zeros(code, into, count)


def emit_pack(code: Code, element: Element) -> None:
    """Copy the rows of some channels that exist to their planes; what is around them in the plane stays as it is."""
    with code.function("pack", "ptr", "ptr", "ptr", "i64", "i64", "i64", internal=True) as args:
        program, x, planes, channels, begin, end = args
        r = code.words(program, RECORD)
        x, planes = code.at(x, r["x_first"]), code.at(planes, r["into"])

        def rows(manner: int, copy: Callable[[str, list[str]], None]) -> None:
            with code.when(code.test("eq", r["manner"], manner)), code.loop(0, channels) as c:
                x_now, plane = (
                    code.at(x, code.mul(c.index, r["x_channel"])),
                    code.at(planes, code.mul(c.index, r["plane"])),
                )
                with code.loop(begin, end) as loop:
                    into = code.at(plane, code.mul(loop.index, r["row"]))
                    copy(code.at(x_now, code.mul(loop.index, r["x_h"])), [into, code.at(into, r["phase"])])

        for every in (1, 2):
            copy_wide, copy_narrow = _copies(code, element, every, r["columns"])
            rows(2 * every - 1, copy_wide)
            rows(2 * every, copy_narrow)

        def copy_any(from_: str, into: list[str]) -> None:
            with code.loop(0, r["phases"]) as loop:
                phase = code.words(code.table(program, r["phase_table"], loop.index, PHASE), PHASE)
                cells, first = code.at(into[0], phase["plane"]), code.at(from_, phase["input"])
                with code.loop(0, phase["count"]) as cell:
                    value = code.load(element.type, first, code.mul(cell.index, r["x_step"]), element.bytes)
                    code.store(element.type, value, cells, code.mul(cell.index, element.bytes), element.bytes)

        rows(0, copy_any)


def _copies(code: Code, element: Element, every: int, columns: str) -> tuple[Callable[[str, list[str]], None], ...]:
    """How a row of consecutive cells is copied to ``every`` phases: one that fills a vector of each, or not."""
    vector, lanes, align = element.vector, element.lanes, element.bytes
    size = lanes * align
    full = code.divided(columns, every)  # cells that every phase has
    last = code.mul(code.sub(full, lanes), align)

    def deal(values: list[str], into: list[str], distance: Value) -> None:
        if every == 2:
            values = element.every_second(code, *values)
        for value, phase in zip(values, into):
            code.store(vector, value, phase, distance, align)

    def copy_wide(from_: str, into: list[str]) -> None:
        def cells(distance: Value) -> None:
            first = code.at(from_, code.mul(distance, every))
            deal([code.load(vector, first, i * size, align) for i in range(every)], into, distance)

        with code.loop(0, last, size) as loop:
            cells(loop.index)
        cells(last)  # a vector that repeats some of the one before
        if every == 2:
            with code.loop(code.mul(full, 2 * align), code.mul(columns, align), align) as loop:
                value = code.load(element.type, from_, loop.index, align)
                code.store(element.type, value, into[0], code.mul(full, align), align)

    masks = [element.mask(code, code.sub(columns, i * lanes)) for i in range(every)]

    def copy_narrow(from_: str, into: list[str]) -> None:
        # zeros follow the row; where they meet the next one, that is copied later
        deal([element.load_some(code, mask, from_, i * size) for i, mask in enumerate(masks)], into, 0)

    return copy_wide, copy_narrow


def emit_walk(code: Code, element: Element) -> None:
    """Everything but the micro-kernels; ``run`` computes the units from ``begin`` to ``end``."""
    emit_zeros(code, element)
    emit_pack(code, element)
    emit_unit(code, element)
    with code.function("run", "ptr", "i64", "i64", "ptr") as (context, begin, end, scratch):
        program = code.pointer(code.load("i64", context, 8 * CONTEXT["program"]))
        r = code.words(program, RECORD)
        # copies never write where there is padding, so zeros are put there once
        code.call("@zeros", f"ptr {scratch}", f"i64 {code.mul(r['plane'], r['block'])}")
        with code.loop(begin, end) as unit:
            n, inside = code.divided(unit.index, r["units"]), code.rest(unit.index, r["units"])
            block, band = code.divided(inside, r["bands"]), code.rest(inside, r["bands"])
            numbers = ", ".join(f"i64 {value}" for value in (n, block, band))
            code.call("@unit", f"ptr {program}", f"ptr {context}", numbers, f"ptr {scratch}")


def emit_unit(code: Code, element: Element) -> None:
    """A band of rows of a block of channels: pack them all, then compute them all.

    What was stored a moment ago is dear to load at another alignment; after some other channels it is in the cache.
    """
    with code.function("unit", "ptr", "ptr", "i64", "i64", "i64", "ptr", internal=True) as args:
        program, context, n, block, number, scratch = args
        c, r = code.words(context, CONTEXT), code.words(program, RECORD)
        band = code.words(code.table(program, r["band_table"], number, BAND), BAND)
        first = code.mul(block, r["block"])
        count = code.clamp(code.sub(r["channels"], first), 0, r["block"])
        packed = code.test("ne", r["packed"], 0)
        x = code.at(code.pointer(c["input"]), code.add(code.mul(n, r["x_image"]), code.mul(first, r["x_channel"])))
        x = code.at(x, code.mul(band["input"], r["x_h"]))
        several = code.op(f"and i1 {packed}, {code.test('ne', r['bands'], 1)}")
        with code.when(several), code.loop(0, count) as one, code.loop(0, r["phases"]) as p:
            # other bands have had rows where this one has padding; what is overwritten behind them is packed next
            top = code.at(scratch, code.add(code.mul(one.index, r["plane"]), code.mul(p.index, r["phase"])))
            below = code.at(top, code.mul(band["end"], r["row"]))
            code.call("@zeros", f"ptr {top}", f"i64 {code.mul(band['begin'], r['row'])}")
            code.call("@zeros", f"ptr {below}", f"i64 {code.mul(band['after'], r['row'])}")
        with code.when(packed):
            numbers = f"i64 {count}", f"i64 {band['begin']}", f"i64 {band['end']}"
            code.call("@pack", f"ptr {program}", f"ptr {x}", f"ptr {scratch}", *numbers)
        source = code.op(f"select i1 {packed}, ptr {scratch}, ptr {code.at(x, r['x_first'])}")
        distance = code.op(f"select i1 {packed}, i64 {r['plane']}, i64 {r['x_channel']}")
        y = code.at(code.pointer(c["output"]), code.add(code.mul(n, r["y_image"]), band["output"]))
        kernel = code.pointer(c["kernels"])
        words = band["tile_table"], r["turn_table"], r["step_table"]
        tiles, turns, steps = (code.table(program, word) for word in words)
        every = r["multiplier"]
        with code.loop(0, every) as copy:
            channel = code.add(code.mul(first, every), copy.index)
            values = (
                source,
                code.at(code.pointer(c["weight"]), code.mul(channel, r["w_channel"])),
                code.at(code.pointer(c["bias"]), code.mul(channel, c["bias_step"])),
                code.at(y, code.mul(channel, r["y_channel"])),
                *(tiles, band["tiles"], turns, steps, r["tap_row"], r["w_row"], r["y_row"], r["y_columns"]),
                *(
                    count,
                    distance,
                    *(code.mul(step, every) for step in (r["w_channel"], c["bias_step"], r["y_channel"])),
                ),
            )
            code.call(kernel, *(f"{type_} {value}" for type_, value in zip(ROWS, values)))
