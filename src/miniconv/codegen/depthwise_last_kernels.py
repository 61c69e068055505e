"""The kernels of the depthwise path for channels_last: what ``depthwise_last_model`` says, as LLVM IR."""

from __future__ import annotations

from miniconv.codegen.depthwise_last_tables import AXES, CELL, GROUP, RECORD, RUN, TAP
from miniconv.codegen.emit import Code, Value
from miniconv.codegen.kernels import CONTEXT, Element

__all__ = ["emit_pixels", "emit_stages", "pixels_name"]

# The arguments of a micro-kernel: the program, input, u, bias and output of some channels, the row's cells of the first
# two axes, and bytes from the first vector of channels to the last.
PIXELS = (*("ptr",) * 7, "i64")


def pixels_name(vectors: int, columns_outside: bool) -> str:
    """The name of a micro-kernel in its module."""
    return f"{'columns' if columns_outside else 'rows'}_of_{vectors}"


def emit_pixels(code: Code, element: Element, vectors: int, columns_outside: bool, together: int) -> None:
    """A row of pixels, so many vectors of channels of each: sums over the taps of all three axes, in registers.

    Pixels of a run are computed so many together: a weight is loaded once for all of them.
    """
    vector, size, align = element.vector, element.bytes * element.lanes, element.bytes
    with code.function(pixels_name(vectors, columns_outside), *PIXELS) as arguments:
        program, x, u, bias, y, cell_d, cell_h, last = arguments
        places: list[Value] = [*(v * size for v in range(vectors - 1)), last]
        r = code.words(program, RECORD)
        outer = [code.words(cell, CELL) for cell in (cell_d, cell_h)]
        with code.loop(0, r["runs"]) as number:
            run = code.words(code.table(program, r["run_table"], number.index, RUN), RUN)
            cells = [run, *outer] if columns_outside else [*outer, run]
            whole = code.sub(run["count"], code.rest(run["count"], together))

            def add(cells: list[dict[str, str]], x: list[str], u: str, before: list[Value]) -> list[Value]:
                """The sums with the products of all taps of the first of these cells, and of the others within."""
                if not cells:
                    after: list[Value] = []
                    for v, place in enumerate(places):
                        weight = code.load(vector, u, place, align)
                        for p, pixel in enumerate(x):
                            some = code.load(vector, pixel, place, align)
                            after.append(element.multiply_add(code, weight, some, before[v * len(x) + p]))
                    return after
                taps = code.table(program, cells[0]["tap_table"])
                with code.loop(0, cells[0]["taps"], carried=[(vector, value) for value in before]) as loop:
                    tap = code.words(code.at(taps, code.mul(loop.index, 8 * len(TAP))), TAP)
                    inside = [code.at(pixel, tap["input"]) for pixel in x]
                    loop.next[:] = add(cells[1:], inside, code.at(u, tap["weight"]), list(loop.next))
                return list(loop.values)

            parts: list[tuple[Value, Value, int]] = [(0, whole, together), (whole, run["count"], 1)]
            for begin, end, count in parts if together > 1 else parts[:1]:
                with code.loop(begin, end, count) as first:
                    numbers = [code.add(first.index, p) for p in range(count)]
                    pixels = [code.at(x, code.mul(number, run["input_step"])) for number in numbers]
                    into = [
                        code.at(y, code.add(run["output"], code.mul(number, run["output_step"]))) for number in numbers
                    ]
                    zeros: list[Value] = ["zeroinitializer"] * (vectors * count)
                    sums = add(cells, pixels, u, zeros)
                    for v, place in enumerate(places):
                        added = code.load(vector, bias, place, align)
                        for p, pixel in enumerate(into):
                            total = code.op(f"fadd {vector} {sums[v * count + p]}, {added}")
                            code.store(vector, total, pixel, place, align)


def emit_stages(code: Code, element: Element) -> None:
    """The stages ``taps`` and ``rows``."""
    size = element.bytes
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
            step = code.op(f"select i1 {last}, i64 {c['bias_step']}, i64 {r['w_channel']}")
            into = code.at(code.pointer(c["shared"]), code.mul(tap.index, r["u_row"]))
            with code.loop(0, r["channels"]) as channel:
                value = code.load(element.type, from_, code.mul(channel.index, step), size)
                code.store(element.type, value, into, code.mul(channel.index, size), size)
    with code.function("rows", "ptr", "i64", "i64", "ptr") as (context, begin, end, _):
        c = code.words(context, CONTEXT)
        program, u = code.pointer(c["program"]), code.pointer(c["shared"])
        r = code.words(program, RECORD)
        bias = code.at(u, code.mul(r["taps"], r["u_row"]))
        with code.loop(begin, end) as row, code.loop(0, r["groups"]) as number:
            h, rest = code.rest(row.index, r["cells_h"]), code.divided(row.index, r["cells_h"])
            d, n = code.rest(rest, r["cells_d"]), code.divided(rest, r["cells_d"])
            group = code.words(code.table(program, r["group_table"], number.index, GROUP), GROUP)
            y = code.add(code.mul(d, r["y_d"]), code.mul(h, r["y_h"]))
            first = code.mul(group["channel"], size)
            operands = (
                program,
                code.at(code.at(code.pointer(c["input"]), code.mul(n, r["x_image"])), first),
                code.at(u, first),
                code.at(bias, first),
                code.at(code.at(code.pointer(c["output"]), code.add(code.mul(n, r["y_image"]), y)), first),
                *(code.table(program, r[f"cell_table_{axis}"], cell, CELL) for axis, cell in (("d", d), ("h", h))),
                group["last"],
            )
            code.call(code.pointer(group["kernel"]), *(f"{type_} {value}" for type_, value in zip(PIXELS, operands)))
