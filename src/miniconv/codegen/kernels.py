"""The kernels: what ``model`` says, for one processor and one element type, as LLVM IR.

In the order of reading: the micro-kernel, where all the time goes; ``store``; ``pack_row`` and what it is made of;
``item`` and ``run``, the loops around them. Each has its meaning in ``model`` under the same name.
"""

from __future__ import annotations

from dataclasses import dataclass

from miniconv.codegen.emit import Code, Value
from miniconv.codegen.tables import BLOCK, CHUNK, HEAD, ITEM, PASS, RUN, STEPS, TILE
from miniconv.codegen.target import Target

__all__ = ["CONTEXT", "MAX_ROWS", "MAX_VECTORS", "Element", "emit_micro_kernel", "emit_walk", "micro_kernel_name"]

# What a call hands over: addresses and sizes, 64 bits each.
CONTEXT = {
    name: index
    for index, name in enumerate(
        ("program", "input", "weight", "bias", "bias_step", "output", "kernels", "shared")
    )
}
# The arguments of a micro-kernel: input, weight, sums, steps, how many, bytes from a row's weight to the next one's,
# whether sums are continued, output, bytes from a row to the next, bias, bytes to the next.
MICRO_KERNEL = ("ptr", "ptr", "ptr", "ptr", "i64", "i64", "i64", "ptr", "i64", "ptr", "i64")
UNROLLED = 4  # steps in a turn of the loop: up to a tenth faster than one, and no slower anywhere
# The table of micro-kernels has MAX_VECTORS + 1 addresses for each number of rows.
MAX_ROWS, MAX_VECTORS = 30, 6


@dataclass(frozen=True)
class Element:
    """What a kernel computes with: an element type, and vectors of it.

    Attributes:
        type: LLVM's name, "float" or "double".
        bytes: its size.
        lanes: elements in a vector.
    """

    type: str
    bytes: int
    lanes: int

    @classmethod
    def of(cls, dtype: str, target: Target) -> Element:
        """The element of float32 or float64 on ``target``."""
        type_, size = {"float32": ("float", 4), "float64": ("double", 8)}[dtype]
        return cls(type_, size, target.lanes(size))

    @property
    def vector(self) -> str:
        """LLVM's name of the vector."""
        return f"<{self.lanes} x {self.type}>"

    def splat(self, code: Code, scalar: str) -> str:
        """A vector of one number."""
        one = code.op(f"insertelement {self.vector} poison, {self.type} {scalar}, i32 0")
        return code.op(f"shufflevector {self.vector} {one}, {self.vector} poison, <{self.lanes} x i32> zeroinitializer")

    def multiply_add(self, code: Code, a: str, b: str, c: str) -> str:
        """``a * b + c``, fused where the processor can."""
        letter = "f32" if self.bytes == 4 else "f64"
        name = f"@llvm.fmuladd.v{self.lanes}{letter}"
        code.declare(name, f"{self.vector} {name}({self.vector}, {self.vector}, {self.vector})")
        return code.op(f"call {self.vector} {name}({self.vector} {a}, {self.vector} {b}, {self.vector} {c})")


def micro_kernel_name(rows: int, vectors: int) -> str:
    """The name of a micro-kernel in its module."""
    return f"micro_kernel_{rows}x{vectors}"


def emit_micro_kernel(code: Code, element: Element, rows: int, vectors: int) -> None:
    """The sums of a tile over some steps, in registers from the first to the last.

    A step loads one vector after another of the input, one weight for each row, and does rows * vectors multiply-adds.
    The sums go to the tile in memory, to be continued, or if ``y`` is not null, with the bias, to where they belong.
    """
    vector, size = element.vector, element.bytes * element.lanes
    with code.function(micro_kernel_name(rows, vectors), *MICRO_KERNEL) as arguments:
        x, w, sums, steps, count, w_row, more, y, y_row, bias, bias_step = arguments
        odd = {m: code.mul(w_row, m) for m in range(1, rows, 2)}
        sums_now: list[tuple[str, Value]] = [(vector, "zeroinitializer")] * (rows * vectors)
        whole = code.op(f"and i64 {count}, {-UNROLLED}")
        for begin, end, together in ((0, whole, UNROLLED), (whole, count, 1)):
            with code.loop(code.mul(begin, 16), code.mul(end, 16), 16 * together, sums_now) as loop:
                for turn in range(together):
                    step = code.at(steps, code.add(loop.index, 16 * turn))
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
        is_more, is_last = code.test("ne", more, 0), code.op(f"icmp ne ptr {y}, null")
        for continues in (False, True):
            for ends in (False, True):
                begin = is_more if continues else code.negated(is_more)
                end = is_last if ends else code.negated(is_last)
                with code.when(code.op(f"and i1 {begin}, {end}")):
                    for i, total in enumerate(loop.values):
                        m, v = divmod(i, vectors)
                        if continues:
                            before = code.load(vector, sums, i * size, element.bytes)
                            total = code.op(f"fadd {vector} {before}, {total}")
                        into: tuple[Value, Value] = (sums, i * size)
                        if ends:
                            if v == 0:
                                one = code.load(element.type, bias, code.mul(bias_step, m), element.bytes)
                                added = element.splat(code, one)
                                row = code.at(y, code.mul(y_row, m))
                            total = code.op(f"fadd {vector} {total}, {added}")
                            into = (row, v * size)
                        code.store(vector, total, *into, element.bytes)


def _row_distance(code: Code, odd: dict[int, Value], row: int) -> Value:
    """``row`` times the distance of rows, as an odd multiple and a shift: x86 shifts by 1 to 3 inside an address."""
    if row == 0:
        return 0
    shift = (row & -row).bit_length() - 1
    multiple = odd.get(row >> shift)
    return code.op(f"shl i64 {multiple}, {shift}") if shift else odd[row]


def emit_store(code: Code, element: Element, first: bool) -> None:
    """Write a run of a tile's row: plus the bias for the first chunk of channels, else plus what lies there."""
    vector, size = element.vector, element.bytes * element.lanes
    arguments = ("ptr", "ptr", "i64", "i64", element.type)
    with code.function("store_first" if first else "store_more", *arguments, internal=True) as args:
        sums, y, count, step, bias = args
        biases = element.splat(code, bias) if first else ""

        def put(type_: str, from_: Value, to: Value, added: str) -> None:
            before = added if first else code.load(type_, y, to, element.bytes)
            value = code.load(type_, sums, from_, element.bytes)
            code.store(type_, code.op(f"fadd {type_} {value}, {before}"), y, to, element.bytes)

        dense = code.test("eq", step, element.bytes)
        vectors = code.op(f"select i1 {dense}, i64 {code.divided(count, element.lanes)}, i64 0")
        with code.loop(0, code.mul(vectors, size), size) as loop:
            put(vector, loop.index, loop.index, biases)
        done = code.mul(vectors, element.lanes)
        if first:  # what is left of a long run: a vector that repeats some of the last one
            left = code.op(f"and i1 {code.test('sgt', vectors, 0)}, {code.test('slt', done, count)}")
            with code.when(left):
                last = code.mul(code.sub(count, element.lanes), element.bytes)
                put(vector, last, last, biases)
            done = code.op(f"select i1 {left}, i64 {count}, i64 {done}")
        with code.loop(done, count) as loop:
            put(element.type, code.mul(loop.index, element.bytes), code.mul(loop.index, step), bias)


def emit_copy(code: Code, element: Element) -> None:
    """Copy ``count`` cells that lie ``step`` bytes apart to consecutive memory."""
    vector, size, lanes = element.vector, element.bytes * element.lanes, element.lanes
    with code.function("copy", "ptr", "ptr", "i64", "i64", internal=True) as (into, x, count, step):

        def scalar(start: Value) -> None:
            with code.loop(start, count) as loop:
                value = code.load(element.type, x, code.mul(loop.index, step), element.bytes)
                code.store(element.type, value, into, code.mul(loop.index, element.bytes), element.bytes)

        long = code.test("sge", count, lanes)
        dense = code.op(f"and i1 {long}, {code.test('eq', step, element.bytes)}")
        with code.when(dense):
            end = code.mul(code.sub(count, lanes), element.bytes)
            with code.loop(0, end, size) as loop:
                code.store(vector, code.load(vector, x, loop.index, element.bytes), into, loop.index, element.bytes)
            code.store(vector, code.load(vector, x, end, element.bytes), into, end, element.bytes)
        # every second cell: two vectors, of which the even lanes are kept. The last cell is read by itself, for the
        # cell behind it need not exist
        halved = code.op(f"and i1 {code.test('sgt', count, lanes)}, {code.test('eq', step, 2 * element.bytes)}")
        pairs = code.op(f"select i1 {halved}, i64 {code.divided(code.sub(count, 1), lanes)}, i64 0")
        even = ", ".join(f"i32 {2 * i}" for i in range(lanes))
        with code.loop(0, pairs) as loop:
            pair = code.at(x, code.mul(loop.index, 2 * size))
            low, high = code.load(vector, pair, 0, element.bytes), code.load(vector, pair, size, element.bytes)
            kept = code.op(f"shufflevector {vector} {low}, {vector} {high}, <{lanes} x i32> <{even}>")
            code.store(vector, kept, into, code.mul(loop.index, size), element.bytes)
        done = code.op(f"select i1 {dense}, i64 {count}, i64 {code.mul(pairs, lanes)}")
        scalar(done)


def emit_pack(code: Code, element: Element) -> None:
    """Copy a chunk's cells to scratch, zeros where the input has none: a plane a channel and phase."""
    with code.function("pack", "ptr", "ptr", "ptr", "ptr", "ptr", "i64", internal=True) as args:
        program, record, item, x, scratch, channels = args
        r, box = code.words(record, PASS), code.words(item, ITEM)

        def zeros(pointer: Value, start: Value, end: Value) -> None:
            with code.loop(code.mul(start, element.bytes), code.mul(end, element.bytes), element.bytes) as loop:
                code.store(element.type, "0.0", pointer, loop.index, element.bytes)

        with code.loop(0, channels) as c, code.loop(0, r["phases"]) as p:
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
                    target = code.at(into, code.mul(begin, element.bytes))
                    code.call(
                        "@copy", f"ptr {target}", f"ptr {source}", f"i64 {code.sub(end, begin)}", f"i64 {bytes_apart}"
                    )
                zeros(into, end, r["pitch"])
            rows = code.mul(r["slice"], r["rows_d"])
            zeros(code.at(plane, rows), 0, r["overlap"])


def emit_item(code: Code, element: Element) -> None:
    """One box of one image and group: chunk after chunk of channels; in each, every tile of every channel block."""
    with code.function("item", "ptr", "ptr", "ptr", "i64", "i64", "ptr", internal=True) as args:
        program, context, item, n, g, scratch = args
        c, box = code.words(context, CONTEXT), code.words(item, ITEM)
        record = _table(code, program, box["pass"])
        r = code.words(record, PASS)
        x = code.at(_pointer(code, c["input"]), code.add(code.mul(n, r["x_image"]), code.mul(g, r["x_group"])))
        w = code.at(_pointer(code, c["weight"]), code.mul(g, r["w_group"]))
        y = code.at(_pointer(code, c["output"]), code.add(code.mul(n, r["y_image"]), code.mul(g, r["y_group"])))
        y = code.at(y, box["output"])
        planes = code.at(scratch, r["planes"])
        packed = code.test("ne", r["packed"], 0)
        with code.loop(0, r["chunks"]) as c_loop:
            chunk_record = _table(code, program, r["chunk_table"], c_loop.index, CHUNK)
            chunk = code.words(chunk_record, CHUNK)
            start = x_chunk = code.at(x, code.mul(chunk["channel"], r["x_channel"]))
            with code.when(packed):
                arguments = (f"ptr {pointer}" for pointer in (program, record, item, x_chunk, planes))
                code.call("@pack", *arguments, f"i64 {chunk['channels']}")
            for axis in "dhw":
                start = code.at(start, code.mul(box[axis], r[f"x_{axis}"]))
            source = code.op(f"select i1 {packed}, ptr {planes}, ptr {start}")
            blocks = code.sub(box["end_block"], box["first_block"])
            outside = code.test("ne", r["channels_outside"], 0)
            inner = code.op(f"select i1 {outside}, i64 {r['tiles']}, i64 {blocks}")
            with code.loop(0, code.mul(blocks, r["tiles"])) as turn:
                one, other = code.divided(turn.index, inner), code.rest(turn.index, inner)
                block = code.op(f"select i1 {outside}, i64 {one}, i64 {other}")
                index = code.op(f"select i1 {outside}, i64 {other}, i64 {one}")
                block = code.add(block, box["first_block"])
                numbers = (c_loop.index, g, block, index)
                pointers = (program, context, record, chunk_record, source, w, y, scratch)
                code.call("@tile", *(f"ptr {p}" for p in pointers), *(f"i64 {i}" for i in numbers))


def emit_tile(code: Code, element: Element) -> None:
    """One register tile: all the chunk's steps, block after block of them, and then the runs."""
    with code.function("tile", *["ptr"] * 8, *["i64"] * 4, internal=True) as args:
        program, context, record, chunk_record, x, w, y, sums, chunk_number, g, block, index = args
        c, r, chunk = code.words(context, CONTEXT), code.words(record, PASS), code.words(chunk_record, CHUNK)
        tile = code.words(_table(code, program, r["tile_table"], index, TILE), TILE)
        rows = code.words(_table(code, program, r["block_table"], block, BLOCK), BLOCK)
        number = code.add(code.mul(rows["rows"], MAX_VECTORS + 1), tile["vectors"])
        kernel = code.load("ptr", _pointer(code, c["kernels"]), code.mul(number, 8))
        x = code.at(x, tile["position"])
        w = code.at(w, code.add(chunk["weight"], code.mul(rows["channel"], r["w_row"])))
        all_steps = _table(code, program, r["steps"])
        channel = code.add(code.mul(g, r["outputs"]), rows["channel"])
        bias = code.at(_pointer(code, c["bias"]), code.mul(channel, c["bias_step"]))
        y = code.at(y, code.mul(rows["channel"], r["y_channel"]))
        # a tile whose lanes are all outputs that lie one behind another needs no run: the last steps write it
        dense = code.test("eq", tile["dense"], 1)
        direct = code.op(f"and i1 {dense}, {code.test('eq', r['chunks'], 1)}")
        y_tile = code.at(y, tile["output"])
        with code.loop(0, chunk["blocks"]) as b:
            steps = code.words(_table(code, program, chunk["block_table"], b.index, STEPS), STEPS)
            last = code.op(f"and i1 {direct}, {code.test('eq', code.add(b.index, 1), chunk['blocks'])}")
            into = code.op(f"select i1 {last}, ptr {y_tile}, ptr null")
            arguments = (
                code.at(x, steps["input"]),
                code.at(w, steps["weight"]),
                sums,
                code.at(all_steps, code.mul(steps["first"], 16)),
                *(steps["count"], r["w_row"], b.index, into, r["y_channel"], bias, c["bias_step"]),
            )
            code.call(kernel, *(f"{type_} {value}" for type_, value in zip(MICRO_KERNEL, arguments)))
        first = code.test("eq", chunk_number, 0)
        runs = _table(code, program, tile["run_table"])
        row_bytes = code.mul(tile["vectors"], element.bytes * element.lanes)
        rows_left = code.op(f"select i1 {direct}, i64 0, i64 {rows['rows']}")
        with code.loop(0, rows_left) as m:
            row_sums = code.at(sums, code.mul(m.index, row_bytes))
            row_y = code.at(y, code.mul(m.index, r["y_channel"]))
            added = code.load(element.type, bias, code.mul(m.index, c["bias_step"]), element.bytes)
            with code.loop(0, tile["runs"]) as run_loop:
                run = code.words(code.at(runs, code.mul(run_loop.index, 8 * len(RUN))), RUN)
                from_ = code.at(row_sums, code.mul(run["lane"], element.bytes))
                into = code.at(row_y, run["output"])
                numbers = f"i64 {run['count']}", f"i64 {r['y_w']}", f"{element.type} {added}"
                for condition, name in ((first, "first"), (code.negated(first), "more")):
                    with code.when(condition):
                        code.call(f"@store_{name}", f"ptr {from_}", f"ptr {into}", *numbers)


def emit_walk(code: Code, element: Element) -> None:
    """Everything but the micro-kernels; ``run`` computes the units from ``begin`` to ``end``."""
    emit_copy(code, element)
    emit_store(code, element, first=True)
    emit_store(code, element, first=False)
    emit_pack(code, element)
    emit_tile(code, element)
    emit_item(code, element)
    with code.function("run", "ptr", "i64", "i64", "ptr") as (context, begin, end, scratch):
        program = _pointer(code, code.load("i64", context, 8 * CONTEXT["program"]))
        head = code.words(program, HEAD)
        per_image = code.mul(head["groups"], head["items"])
        with code.loop(begin, end) as unit:
            n, inside = code.divided(unit.index, per_image), code.rest(unit.index, per_image)
            g, i = code.divided(inside, head["items"]), code.rest(inside, head["items"])
            item = _table(code, program, head["item_table"], i, ITEM)
            pointers = (program, context, item)
            code.call("@item", *(f"ptr {p}" for p in pointers), f"i64 {n}", f"i64 {g}", f"ptr {scratch}")


def _pointer(code: Code, address: str) -> str:
    return code.op(f"inttoptr i64 {address} to ptr")


def _table(code: Code, program: str, word: Value, index: Value = 0, fields: dict[str, int] | None = None) -> str:
    """The table that begins with that word of the program, or one of its records."""
    return code.at(program, code.mul(code.add(word, code.mul(index, len(fields or ()))), 8))
