"""The kernels of the depthwise path for channels_last: what ``depthwise_last_model`` says, as LLVM IR."""

from __future__ import annotations

from miniconv.codegen.depthwise_last_tables import AXES, CELL, GROUP, RECORD, RUN, TAP
from miniconv.codegen.emit import Code, Value
from miniconv.codegen.kernels import CONTEXT, Element

__all__ = ["emit_pixels", "emit_stages", "pixels_name"]

# The arguments of a micro-kernel: the program, the lists of taps, and how many cells of the kernel's first two axes the
# row has; input, u, bias and output of some channels, and bytes from the first vector of channels to the last.
PIXELS = ("ptr", "ptr", "i64", *("ptr",) * 4, "i64")


def pixels_name(vectors: int, copies: int) -> str:
    """The name of a micro-kernel in its module."""
    return f"pixels_{vectors}_{copies}"


def emit_pixels(code: Code, element: Element, vectors: int, copies: int, together: int) -> None:
    """A row of pixels, so many vectors of channels of each and so many outputs of a channel: sums over a list of taps.

    Pixels of a run are computed so many together: a weight is loaded once for all of them.
    """
    vector, size, align = element.vector, element.bytes * element.lanes, element.bytes
    with code.function(pixels_name(vectors, copies), *PIXELS) as arguments:
        program, lists, cells, x, u, bias, y, last = arguments
        places: list[Value] = [*(v * size for v in range(vectors - 1)), last]
        r = code.words(program, RECORD)
        of_u = [[code.add(place, code.mul(r["u_copy"], c)) for c in range(copies)] for place in places]
        of_y = [[code.add(code.mul(place, copies), c * size) for c in range(copies)] for place in places]

        def pixels(run: dict[str, str], taps: str, numbers: list[Value]) -> None:
            """Neighbouring pixels of a run."""
            from_ = [code.at(x, code.mul(number, run["input_step"])) for number in numbers]
            into = [code.at(y, code.add(run["output"], code.mul(number, run["output_step"]))) for number in numbers]
            zeros: list[tuple[str, Value]] = [(vector, "zeroinitializer")] * (vectors * copies * len(numbers))
            with code.loop(0, code.mul(code.mul(run["taps"], cells), 8 * len(TAP)), 8 * len(TAP), zeros) as loop:
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
                totals = [[code.op(f"fadd {vector} {next(sums)}, {one}") for _ in numbers] for one in added]
                for pixel, of_pixel in zip(into, zip(*totals)):
                    for place, value in zip(of_y[v], element.interleaved(code, *of_pixel)):
                        code.store(vector, value, pixel, place, align)

        with code.loop(0, r["runs"], carried=[("ptr", lists)]) as number:
            run, taps = code.words(code.table(program, r["run_table"], number.index, RUN), RUN), number.values[0]
            whole = code.sub(run["count"], code.rest(run["count"], together))
            parts: list[tuple[Value, Value, int]] = [(0, whole, together), (whole, run["count"], 1)]
            for begin, end, count in parts if together > 1 else parts[:1]:
                with code.loop(begin, end, count) as first:
                    pixels(run, taps, [code.add(first.index, p) for p in range(count)])
            number.next[0] = code.at(taps, code.mul(code.mul(run["taps"], cells), 8 * len(TAP)))


def emit_lists(code: Code, columns_outside: bool) -> None:
    """Write for each run the list of its taps: each of its own with each of the row's cells of the first two axes.

    A list is walked once for all pixels of a run and all channels, in a single loop.
    """
    with code.function("lists", *("ptr",) * 4, internal=True) as (program, cell_d, cell_h, lists):
        r = code.words(program, RECORD)
        outer = [code.words(cell, CELL) for cell in (cell_d, cell_h)]

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
        with code.loop(begin, end) as row:
            h, rest = code.rest(row.index, r["cells_h"]), code.divided(row.index, r["cells_h"])
            d, n = code.rest(rest, r["cells_d"]), code.divided(rest, r["cells_d"])
            places = [code.table(program, r[f"cell_table_{axis}"], cell, CELL) for axis, cell in (("d", d), ("h", h))]
            code.call("@lists", *(f"ptr {pointer}" for pointer in (program, *places, lists)))
            cells = code.mul(*(code.words(place, CELL)["taps"] for place in places))
            x = code.at(code.pointer(c["input"]), code.mul(n, r["x_image"]))
            y = code.add(code.mul(d, r["y_d"]), code.mul(h, r["y_h"]))
            y = code.at(code.pointer(c["output"]), code.add(code.mul(n, r["y_image"]), y))
            with code.loop(0, r["groups"]) as number:
                group = code.words(code.table(program, r["group_table"], number.index, GROUP), GROUP)
                first = code.mul(group["channel"], size)
                operands = (
                    *(program, lists, cells, *(code.at(p, first) for p in (x, u, bias))),
                    *(code.at(y, code.mul(first, r["copies"])), group["last"]),
                )
                texts = (f"{type_} {value}" for type_, value in zip(PIXELS, operands))
                code.call(code.pointer(group["kernel"]), *texts)
