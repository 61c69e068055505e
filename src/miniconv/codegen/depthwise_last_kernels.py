"""The kernels of the depthwise path for channels_last: what ``depthwise_last_model`` says, as LLVM IR."""

from __future__ import annotations

from miniconv.codegen.depthwise_last_tables import AXES, BLOCK, CELL, GROUP, RECORD, RUN, TAP
from miniconv.codegen.emit import Code, Value
from miniconv.codegen.kernels import CONTEXT, Element

__all__ = ["emit_pixels", "emit_stages", "pixels_name"]

# The arguments of a micro-kernel: the program, the lists of taps, and how many cells of the kernel's first two axes the
# rows have; how many rows, and bytes from one to the next of input and output; input, u, bias and output of some
# channels, and bytes from the first vector of channels to the last.
PIXELS = ("ptr", "ptr", *("i64",) * 4, *("ptr",) * 4, "i64")


def pixels_name(vectors: int, copies: int) -> str:
    """The name of a micro-kernel in its module."""
    return f"pixels_{vectors}_{copies}"


def emit_pixels(code: Code, element: Element, vectors: int, copies: int, together: int) -> None:
    """Rows of pixels, so many vectors of channels of each and so many outputs of a channel: sums over a list of taps.

    Pixels of a run are computed so many together: a weight is loaded once for all of them. They are neighbours in a
    row, or in a column where the run is short.
    """
    vector, size, align = element.vector, element.bytes * element.lanes, element.bytes
    with code.function(pixels_name(vectors, copies), *PIXELS) as arguments:
        program, lists, cells, *rows = arguments[:6]
        x, u, bias, y, last = arguments[6:]
        places: list[Value] = [*(v * size for v in range(vectors - 1)), last]
        r = code.words(program, RECORD)
        of_u = [[code.add(place, code.mul(r["u_copy"], c)) for c in range(copies)] for place in places]
        of_y = [[code.add(code.mul(place, copies), c * size) for c in range(copies)] for place in places]

        def pixels(from_: list[str], into: list[str], taps: str, end: Value) -> None:
            """Some pixels with the same taps."""
            zeros: list[tuple[str, Value]] = [(vector, "zeroinitializer")] * (vectors * copies * len(from_))
            with code.loop(0, end, 8 * len(TAP), zeros) as loop:
                tap = code.words(code.at(taps, loop.index), TAP)
                inside, weights = [code.at(pixel, tap["input"]) for pixel in from_], code.at(u, tap["weight"])
                sums = iter(list(loop.next))
                loop.next.clear()
                for v, place in enumerate(places):
                    values = [code.load(vector, pixel, place, align) for pixel in inside]
                    for c in range(copies):
                        weight = code.load(vector, weights, of_u[v][c], align)
                        loop.next += [element.multiply_add(code, weight, value, next(sums)) for value in values]
            sums = iter(loop.values)
            for v in range(vectors):
                added = [code.load(vector, bias, place, align) for place in of_u[v]]
                totals = [[code.op(f"fadd {vector} {next(sums)}, {one}") for _ in into] for one in added]
                for pixel, of_pixel in zip(into, zip(*totals)):
                    for place, value in zip(of_y[v], element.interleaved(code, *of_pixel)):
                        code.store(vector, value, pixel, place, align)

        with code.loop(0, r["runs"], carried=[("ptr", lists)]) as number:
            run, taps = code.words(code.table(program, r["run_table"], number.index, RUN), RUN), number.values[0]
            end = code.mul(code.mul(run["taps"], cells), 8 * len(TAP))
            down = code.test("slt", run["count"], together)
            of_run = [run[name] for name in ("count", "input_step", "output_step")]
            ways = list(zip(of_run, rows)), list(zip(rows, of_run))
            along, across = ([code.op(f"select i1 {down}, i64 {b}, i64 {a}") for a, b in way] for way in ways)
            whole = code.sub(along[0], code.rest(along[0], together))
            with code.loop(0, across[0]) as line:
                x_line = code.at(x, code.mul(line.index, across[1]))
                y_line = code.at(y, code.add(run["output"], code.mul(line.index, across[2])))
                parts: list[tuple[Value, Value, int]] = [(0, whole, together), (whole, along[0], 1)]
                for begin, stop, count in parts if together > 1 else parts[:1]:
                    with code.loop(begin, stop, count) as first:
                        numbers = [code.add(first.index, p) for p in range(count)]
                        from_, into = (
                            [code.at(pointer, code.mul(number, step)) for number in numbers]
                            for pointer, step in ((x_line, along[1]), (y_line, along[2]))
                        )
                        pixels(from_, into, taps, end)
            number.next[0] = code.at(taps, end)


def emit_lists(code: Code, columns_outside: bool) -> None:
    """Write for each run the list of its taps: each of its own with each of the rows' and of the slice's.

    A list is walked in a single loop.
    """
    with code.function("lists", *("ptr",) * 4, internal=True) as (program, slice_, rows, lists):
        r = code.words(program, RECORD)
        outer = [code.words(slice_, CELL), code.words(rows, CELL)]  # a block begins as a cell does

        def write(axes: list[dict[str, str]], into: Value, input_: Value, weight: Value) -> Value:
            """The taps of these axes, each added to these distances; behind the last one."""
            if not axes:
                for distance, value in zip((0, 8), (input_, weight)):
                    code.store("i64", value, into, distance)
                return code.at(into, 8 * len(TAP))
            taps = code.table(program, axes[0]["tap_table"])
            with code.loop(0, axes[0]["taps"], carried=[("ptr", into)]) as loop:
                tap = code.words(code.at(taps, code.mul(loop.index, 8 * len(TAP))), TAP)
                further = code.add(input_, tap["input"]), code.add(weight, tap["weight"])
                loop.next[0] = write(axes[1:], loop.next[0], *further)
            return loop.values[0]

        with code.loop(0, r["runs"], carried=[("ptr", lists)]) as number:
            run = code.words(code.table(program, r["run_table"], number.index, RUN), RUN)
            axes = [run, *outer] if columns_outside else [*outer, run]
            number.next[0] = write(axes, number.next[0], 0, 0)


def emit_stages(code: Code, element: Element, columns_outside: bool) -> None:
    """The stages ``taps`` and ``rows``."""
    size = element.bytes
    emit_lists(code, columns_outside)
    with code.function("taps", "ptr", "i64", "i64", "ptr") as (context, begin, end, _):
        c = code.words(context, CONTEXT)
        r = code.words(code.pointer(c["program"]), RECORD)
        with code.loop(begin, end) as tap:
            h = code.divided(tap.index, r["kernel_w"])
            indices = {
                "d": code.divided(h, r["kernel_h"]),
                "h": code.rest(h, r["kernel_h"]),
                "w": code.rest(tap.index, r["kernel_w"]),
            }
            last = code.test("eq", tap.index, r["taps"])  # the bias
            at: Value = 0
            for axis in AXES:
                at = code.add(at, code.mul(indices[axis], r[f"w_{axis}"]))
            at = code.op(f"select i1 {last}, i64 0, i64 {at}")
            from_ = code.at(code.pointer(code.op(f"select i1 {last}, i64 {c['bias']}, i64 {c['weight']}")), at)
            of_bias = code.mul(c["bias_step"], r["copies"]), c["bias_step"]
            steps = [
                code.op(f"select i1 {last}, i64 {step}, i64 {r[name]}")
                for step, name in zip(of_bias, ("w_channel", "w_copy"))
            ]
            into = code.at(code.pointer(c["shared"]), code.mul(tap.index, r["u_row"]))
            with code.loop(0, r["copies"]) as copy, code.loop(0, r["channels"]) as channel:
                from_one = code.at(from_, code.mul(copy.index, steps[1]))
                value = code.load(element.type, from_one, code.mul(channel.index, steps[0]), size)
                into_one = code.at(into, code.mul(copy.index, r["u_copy"]))
                code.store(element.type, value, into_one, code.mul(channel.index, size), size)
    with code.function("rows", "ptr", "i64", "i64", "ptr") as (context, begin, end, lists):
        c = code.words(context, CONTEXT)
        program, u = code.pointer(c["program"]), code.pointer(c["shared"])
        r = code.words(program, RECORD)
        bias = code.at(u, code.mul(r["taps"], r["u_row"]))
        with code.loop(begin, end) as unit:
            number, rest = code.rest(unit.index, r["blocks"]), code.divided(unit.index, r["blocks"])
            d, n = code.rest(rest, r["cells"]), code.divided(rest, r["cells"])
            slice_ = code.table(program, r["cell_table"], d, CELL)
            rows = code.table(program, r["block_table"], number, BLOCK)
            code.call("@lists", *(f"ptr {pointer}" for pointer in (program, slice_, rows, lists)))
            block = code.words(rows, BLOCK)
            cells = code.mul(code.words(slice_, CELL)["taps"], block["taps"])
            x = code.at(code.pointer(c["input"]), code.add(code.mul(n, r["x_image"]), block["input"]))
            y = code.add(code.mul(n, r["y_image"]), code.add(code.mul(d, r["y_d"]), block["output"]))
            y = code.at(code.pointer(c["output"]), y)
            with code.loop(0, r["groups"]) as index:
                group = code.words(code.table(program, r["group_table"], index.index, GROUP), GROUP)
                first = code.mul(group["channel"], size)
                operands = (
                    *(program, lists, cells, *(block[name] for name in ("count", "input_step", "output_step"))),
                    *(code.at(p, first) for p in (x, u, bias)),
                    *(code.at(y, code.mul(first, r["copies"])), group["last"]),
                )
                texts = (f"{type_} {value}" for type_, value in zip(PIXELS, operands))
                code.call(code.pointer(group["kernel"]), *texts)
