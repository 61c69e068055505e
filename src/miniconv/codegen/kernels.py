"""The kernels: what ``model`` says, for one processor and one element type, as LLVM IR.

In the order of reading: the micro-kernel, where all the time goes; in ``moves`` what brings the input to it and its
sums to the output; ``tile``, ``item`` and ``run``, the loops around them. Each has its meaning in ``model`` under the
same name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from miniconv.codegen.element import Element
from miniconv.codegen.emit import Code, Value
from miniconv.codegen.moves import emit_pack, emit_panel, emit_store, emit_store_across
from miniconv.codegen.records import BLOCK, CHUNK, HEAD, ITEM, KERNELS, MAX_VECTORS, PARTS, PASS, RUN, STEPS, TILE

__all__ = [
    "CONTEXT",
    "Element",
    "Function",
    "emit_function",
    "emit_micro_kernel",
    "function_name",
    "function_number",
    "micro_kernel_name",
]

# What a call hands over: addresses and sizes, 64 bits each.
CONTEXT = {
    name: index
    for index, name in enumerate(("program", "input", "weight", "bias", "bias_step", "output", "kernels", "shared"))
}
# The arguments of a micro-kernel: input, weight, sums, steps, how many, bytes from a row's weight to the next one's,
# whether sums are continued, output, bytes from a row to the next, bias, bytes to the next. Steps are a table, or where
# there is none, the bytes from a step's input to the next one's; then a step's weights lie behind the last one's.
MICRO_KERNEL = ("ptr", "ptr", "ptr", "ptr", "i64", "i64", "i64", "ptr", "i64", "ptr", "i64")
MOST_SUMS = 24  # of a tile whose loop over a panel is unrolled
UNROLLED = 4  # steps in a turn of the loop: up to a tenth faster than one


def unrolled_steps(element: Element, panel: bool, rows: int, vectors: int) -> int:
    """Steps in a turn of the first loop; 1 if there is only the second one.

    Without loads from a table in between, LLVM begins the loads of all four steps at once where vectors are short, a
    tile is one vector wide or has nearly as many sums as there are registers, and sums leave them.
    """
    crowded = element.bytes * element.lanes <= 16 or vectors == 1 or rows * vectors > MOST_SUMS
    return 1 if panel and crowded else UNROLLED


def micro_kernel_name(panel: bool, rows: int, vectors: int) -> str:
    """The name of a micro-kernel in its module."""
    return f"micro_kernel_{rows}x{vectors}{'_panel' * panel}"


def emit_micro_kernel(code: Code, element: Element, panel: bool, rows: int, vectors: int) -> None:
    """The sums of a tile over some steps, in registers from the first to the last.

    A step loads one vector after another of the input, one weight for each row, and does rows * vectors multiply-adds.
    The sums go to the tile in memory, to be continued, or if ``y`` is not null, with the bias, to where they belong.
    """
    vector, size = element.vector, element.bytes * element.lanes
    with code.function(micro_kernel_name(panel, rows, vectors), *MICRO_KERNEL) as arguments:
        x, w, sums, steps, count, w_row, more, y, y_row, bias, bias_step = arguments
        odd = {m: code.mul(w_row, m) for m in range(1, rows, 2)}
        sums_now: list[tuple[str, Value]] = [(vector, "zeroinitializer")] * (rows * vectors)
        unrolled = unrolled_steps(element, panel, rows, vectors)
        parts: list[tuple[Value, Value, int]] = [(0, count, 1)]
        if unrolled > 1:
            whole = code.op(f"and i64 {count}, {-unrolled}")
            parts = [(0, whole, unrolled), (whole, count, 1)]
        each = 1 if panel else 16  # a step of the loop: a number, or bytes of the table
        for begin, end, together in parts:
            with code.loop(code.mul(begin, each), code.mul(end, each), each * together, sums_now) as loop:
                for turn in range(together):
                    if panel:
                        x_now = code.at(x, code.mul(code.add(loop.index, turn), vectors * size))
                        w_now = code.at(w, code.mul(code.add(loop.index, turn), element.bytes))
                    else:
                        step = code.at(steps, code.add(loop.index, each * turn))
                        x_now = code.at(x, code.load("i64", step))
                        w_now = code.at(w, code.load("i64", step, 8))
                    values = [code.load(vector, x_now, v * size, element.bytes) for v in range(vectors)]
                    for m in range(rows):
                        at = _row_distance(code, odd, m)
                        weight = element.splat(code, code.load(element.type, w_now, at, element.bytes))
                        for v in range(vectors):
                            i = m * vectors + v
                            loop.next[i] = element.multiply_add(code, weight, values[v], loop.next[i])
            sums_now = [(vector, total) for total in loop.values]
        once = code.op(f"zext i1 {code.test('ne', more, 0)} to i64")
        with code.loop(0, once, carried=sums_now) as loop:  # once or not at all
            for i, total in enumerate(loop.values):
                before = code.load(vector, sums, i * size, element.bytes)
                loop.next[i] = code.op(f"fadd {vector} {before}, {total}")
        is_last = code.op(f"icmp ne ptr {y}, null")
        into, from_ = (code.op(f"select i1 {is_last}, ptr {there}, ptr {sums}") for there in (y, bias))
        row_bytes = code.op(f"select i1 {is_last}, i64 {y_row}, i64 {vectors * size}")
        for m in range(rows):
            one = code.load(element.type, from_, code.mul(bias_step, m), element.bytes)
            # to be continued, not finished: minus zero leaves every number as it is
            one = code.op(f"select i1 {is_last}, {element.type} {one}, {element.type} -0.0")
            added, row = element.splat(code, one), code.at(into, code.mul(row_bytes, m))
            for v in range(vectors):
                total = code.op(f"fadd {vector} {loop.values[m * vectors + v]}, {added}")
                code.store(vector, total, row, v * size, element.bytes)


def _row_distance(code: Code, odd: dict[int, Value], row: int) -> Value:
    """``row`` times the distance of rows, as an odd multiple and a shift: x86 shifts by 1 to 3 inside an address."""
    if row == 0:
        return 0
    shift = (row & -row).bit_length() - 1
    multiple = odd.get(row >> shift)
    return code.op(f"shl i64 {multiple}, {shift}") if shift else odd[row]


def emit_item(code: Code, element: Element) -> None:
    """One box of one image and group: chunk after chunk of channels; in each, every tile of every channel block."""
    with code.function("item", "ptr", "ptr", "ptr", "i64", "i64", "ptr", internal=True) as args:
        program, context, item, n, g, scratch = args
        c, box = code.words(context, CONTEXT), code.words(item, ITEM)
        record = code.table(program, box["pass"])
        r = code.words(record, PASS)
        x = code.at(code.pointer(c["input"]), code.add(code.mul(n, r["x_image"]), code.mul(g, r["x_group"])))
        w = code.at(code.pointer(c["weight"]), code.add(code.mul(g, r["w_group"]), box["weight"]))
        y = code.at(code.pointer(c["output"]), code.add(code.mul(n, r["y_image"]), code.mul(g, r["y_group"])))
        y = code.at(y, box["output"])
        planes = code.at(scratch, r["planes"])
        packed = code.test("ne", r["packed"], 0)
        with code.loop(0, r["chunks"]) as c_loop:
            chunk_record = code.table(program, r["chunk_table"], c_loop.index, CHUNK)
            chunk = code.words(chunk_record, CHUNK)
            start = x_chunk = code.at(x, code.mul(chunk["channel"], r["x_channel"]))
            with code.when(packed):
                arguments = (f"ptr {pointer}" for pointer in (program, record, item, x_chunk, planes))
                code.call(_part(code, c, r["packed"]), *arguments, f"i64 {chunk['channels']}")
            for axis in "dhw":
                start = code.at(start, code.mul(box[axis], r[f"x_{axis}"]))
            source = code.op(f"select i1 {packed}, ptr {planes}, ptr {start}")
            blocks = code.sub(box["end_block"], box["first_block"])
            # the inner loop, in tile, is over all blocks for a tile; or blocks are outside, and it has only one
            outside = code.test("ne", r["channels_outside"], 0)
            turns = code.op(f"select i1 {outside}, i64 {blocks}, i64 1")
            each = code.op(f"select i1 {outside}, i64 1, i64 {blocks}")
            panelled = code.test("ne", r["panelled"], 0)
            with code.loop(0, turns) as turn, code.loop(0, r["tiles"]) as t:
                first = code.add(turn.index, box["first_block"])
                tile = code.table(program, r["tile_table"], t.index, TILE)
                panel = code.at(code.at(scratch, r["panels"]), code.mul(t.index, r["panel"]))
                with code.when(code.op(f"and i1 {panelled}, {code.test('eq', turn.index, 0)}")):
                    places = (program, record, chunk_record, tile, source, panel)
                    code.call(_part(code, c, r["panelled"]), *(f"ptr {p}" for p in places))
                from_ = code.op(f"select i1 {panelled}, ptr {panel}, ptr {source}")
                numbers = (c_loop.index, g, first, code.add(first, each))
                pointers = (program, context, record, chunk_record, tile, from_, w, y, scratch)
                code.call("@tile", *(f"ptr {p}" for p in pointers), *(f"i64 {i}" for i in numbers))


def _part(code: Code, context: dict[str, str], number: Value) -> str:
    """The function of that number in the table of kernels."""
    return code.load("ptr", code.pointer(context["kernels"]), code.mul(number, 8))


def emit_tile(code: Code, element: Element) -> None:
    """One tile of positions, for some blocks of channels: all the chunk's steps, block after block of them."""
    with code.function("tile", *["ptr"] * 9, *["i64"] * 4, internal=True) as args:
        program, context, record, chunk_record, tile_record, x, w, y, sums, chunk_number, g, first_block, end = args
        c, r, chunk = code.words(context, CONTEXT), code.words(record, PASS), code.words(chunk_record, CHUNK)
        tile = code.words(tile_record, TILE)
        kernels = code.at(code.pointer(c["kernels"]), code.mul(tile["kernel"], 8))
        x, w = code.at(x, tile["position"]), code.at(w, chunk["weight"])
        all_steps = code.table(program, tile["steps"])
        all_blocks = code.table(program, r["block_table"])
        step_blocks = code.table(program, chunk["block_table"])
        bias = code.at(code.pointer(c["bias"]), code.mul(code.mul(g, r["outputs"]), c["bias_step"]))
        panelled = code.test("ne", r["panelled"], 0)
        row_bytes = code.mul(tile["vectors"], element.bytes * element.lanes)
        # a tile whose lanes are all outputs that lie one behind another needs no run: the last steps write it
        direct = code.op(f"and i1 {code.test('eq', tile['dense'], 1)}, {code.test('eq', r['chunks'], 1)}")
        last_steps = code.sub(chunk["blocks"], 1)
        y_direct = code.at(y, tile["output"])
        with code.loop(first_block, end) as block:
            rows = code.words(code.at(all_blocks, code.mul(block.index, 8 * len(BLOCK))), BLOCK)
            kernel = code.load("ptr", kernels, code.mul(rows["rows"], 8 * (MAX_VECTORS + 1)))
            w_block = code.at(w, code.mul(rows["channel"], r["w_row"]))
            y_row = code.mul(rows["channel"], r["y_channel"])
            y_tile = code.at(y_direct, y_row)
            biases = code.at(bias, code.mul(rows["channel"], c["bias_step"]))
            with code.loop(0, chunk["blocks"]) as b:
                steps = code.words(code.at(step_blocks, code.mul(b.index, 8 * len(STEPS))), STEPS)
                last = code.op(f"and i1 {direct}, {code.test('eq', b.index, last_steps)}")
                into = code.op(f"select i1 {last}, ptr {y_tile}, ptr null")
                row = code.mul(steps["panel"], row_bytes)
                distance = code.op(f"select i1 {panelled}, i64 {row}, i64 {steps['input']}")
                arguments = (
                    code.at(x, distance),
                    code.at(w_block, steps["weight"]),
                    sums,
                    code.at(all_steps, code.mul(steps["first"], 16)),
                    *(steps["count"], r["w_row"], b.index, into, r["y_channel"], biases, c["bias_step"]),
                )
                code.call(kernel, *(f"{type_} {value}" for type_, value in zip(MICRO_KERNEL, arguments)))
            with code.when(code.negated(direct)):
                pointers = (program, context, record, tile_record, sums, code.at(y, y_row), biases)
                numbers = (rows["rows"], chunk_number)
                code.call(_part(code, c, r["store"]), *(f"ptr {p}" for p in pointers), *(f"i64 {i}" for i in numbers))


def emit_runs(code: Code, element: Element, across: bool) -> None:
    """The sums of a tile to where they belong, run after run; across its rows where channels lie one behind another."""
    for to_bias in (True, False):
        (emit_store_across if across else emit_store)(code, element, to_bias)
    with code.function(f"runs{'_across' * across}", *["ptr"] * 7, *["i64"] * 2) as args:
        program, context, record, tile_record, sums, y, bias, rows, chunk_number = args
        c, r, tile = code.words(context, CONTEXT), code.words(record, PASS), code.words(tile_record, TILE)
        first = code.test("eq", chunk_number, 0)
        runs = code.table(program, tile["run_table"])
        row_bytes = code.mul(tile["vectors"], element.bytes * element.lanes)

        def each_run(sums: str, y: str, kernel: str, *arguments: str) -> None:
            with code.loop(0, tile["runs"]) as run_loop:
                run = code.words(code.at(runs, code.mul(run_loop.index, 8 * len(RUN))), RUN)
                from_, into = code.at(sums, code.mul(run["lane"], element.bytes)), code.at(y, run["output"])
                ends = f"ptr {into}", f"i64 {run['count']}", f"i64 {r['y_w']}"
                for condition, name in ((first, "first"), (code.negated(first), "more")):
                    with code.when(condition):
                        code.call(f"@{kernel}_{name}", f"ptr {from_}", *arguments[:-1], *ends, arguments[-1])

        if across:
            lines, biases = (f"i64 {row_bytes}", f"i64 {rows}"), f"ptr {bias}, i64 {c['bias_step']}"
            each_run(sums, y, "across", *lines, biases)
            return
        with code.loop(0, rows) as m:
            row_sums = code.at(sums, code.mul(m.index, row_bytes))
            row_y = code.at(y, code.mul(m.index, r["y_channel"]))
            added = code.load(element.type, bias, code.mul(m.index, c["bias_step"]), element.bytes)
            each_run(row_sums, row_y, "store", f"{element.type} {added}")


def emit_run(code: Code, element: Element) -> None:
    """The loops around everything; ``run`` computes the units from ``begin`` to ``end``."""
    emit_tile(code, element)
    emit_item(code, element)
    with code.function("run", "ptr", "i64", "i64", "ptr") as (context, begin, end, scratch):
        program = code.pointer(code.load("i64", context, 8 * CONTEXT["program"]))
        head = code.words(program, HEAD)
        per_image = code.mul(head["groups"], head["items"])
        with code.loop(begin, end) as unit:
            n, inside = code.divided(unit.index, per_image), code.rest(unit.index, per_image)
            g, i = code.divided(inside, head["items"]), code.rest(inside, head["items"])
            item = code.table(program, head["item_table"], i, ITEM)
            pointers = (program, context, item)
            code.call("@item", *(f"ptr {p}" for p in pointers), f"i64 {n}", f"i64 {g}", f"ptr {scratch}")


_PARTS: dict[str, Callable[[Code, Element], None]] = {
    "run": emit_run,
    "pack": partial(emit_pack, across=False),
    "pack_across": partial(emit_pack, across=True),
    "panel": emit_panel,
    "runs": partial(emit_runs, across=False),
    "runs_across": partial(emit_runs, across=True),
}

Function = str | tuple[bool, int, int]
"""A function of the table: one of ``PARTS``, or a micro-kernel: whether of panels, rows, vectors."""


def function_name(function: Function) -> str:
    """The function's name in its module."""
    return function if isinstance(function, str) else micro_kernel_name(*function)


def function_number(function: Function) -> int:
    """The function's place in the table of kernels."""
    if isinstance(function, str):
        return PARTS[function]
    panel, rows, vectors = function
    return (panel * KERNELS[1] + rows) * KERNELS[2] + vectors


def emit_function(code: Code, element: Element, function: Function) -> None:
    """A function of the table, and what it calls."""
    if isinstance(function, str):
        _PARTS[function](code, element)
    else:
        emit_micro_kernel(code, element, *function)
