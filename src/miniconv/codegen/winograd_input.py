"""Winograd's input, of stage 2: the tiles of a block, copied with the zeros around them and transformed."""

from __future__ import annotations

from miniconv.codegen.emit import Code
from miniconv.codegen.kernels import Element
from miniconv.codegen.winograd_axis import Axis, Form
from miniconv.codegen.winograd_emit import across, combined
from miniconv.codegen.winograd_form import BLOCK, HEAD, LINE_BYTES, REGION

__all__ = ["emit_fill", "emit_input", "emit_tiles_in"]


def emit_input(code: Code, element: Element) -> None:
    """V from the input of a block's tiles: region by region, channel by channel or some channels together."""
    with code.function("input", "ptr", "ptr", "ptr", "i64", "ptr", internal=True) as (
        head,
        regions,
        x,
        channels,
        scratch,
    ):
        h = code.words(head, HEAD)
        count, table = (
            code.load("i64", regions, 8 * BLOCK["regions"]),
            code.load("i64", regions, 8 * BLOCK["region_table"]),
        )
        with code.loop(0, channels, h["turned_in"]) as first:
            source = code.at(x, code.mul(first.index, h["x_channel"]))
            together = code.clamp(code.sub(channels, first.index), 0, h["turned_in"])
            with code.loop(0, count) as i:
                region = code.table(head, table, i.index, REGION)
                code.call("@fill", *(f"ptr {p}" for p in (head, region, source, scratch)), f"i64 {together}")
            # channel by channel, region by region: what a row's last vector writes behind the row is written again
            with code.loop(0, together) as c, code.loop(0, count) as i:
                region = code.table(head, table, i.index, REGION)
                buffer = code.at(scratch, code.mul(c.index, h["buffer"]))
                v_row = code.mul(code.add(first.index, c.index), h["v_row"])
                v = code.at(code.at(scratch, h["planes"]), v_row)
                code.call("@tiles_in", *(f"ptr {p}" for p in (head, region, buffer, v)))


def emit_fill(code: Code, element: Element, turns: bool) -> None:
    """The cells that exist of a region's input to its buffer, for one channel or for a vector's width of them."""
    lanes = element.lanes
    with code.function("fill", *["ptr"] * 4, "i64", internal=True) as (head, record, x, scratch, together):
        h, region = code.words(head, HEAD), code.words(record, REGION)
        source = code.at(code.at(x, code.mul(region["image"], h["x_image"])), region["input"])
        into = code.at(code.at(scratch, region["buffer"]), code.add(region["first_row"], region["first_column"]))
        columns, step = region["columns_seen"], h["buffer"]
        full = code.test("eq", together, lanes), code.test("sge", columns, lanes), code.test("sgt", h["turned_in"], 1)
        turned = code.op(f"and i1 {full[0]}, {code.op(f'and i1 {full[1]}, {full[2]}')}") if turns else "false"
        with code.loop(0, region["rows_seen"]) as row:
            target = code.at(into, code.mul(row.index, region["pitch"]))
            cells = code.at(source, code.mul(row.index, h["x_row"]))
            if turns:
                with code.when(turned):
                    numbers = f"i64 {columns}", f"i64 {h['x_column']}", f"i64 {step}"
                    code.call("@turn", f"ptr {target}", f"ptr {cells}", *numbers)
            some = code.op(f"and i1 {code.negated(turned)}, {code.test('sgt', columns, 0)}")
            with code.when(some), code.loop(0, together) as c:
                one = f"ptr {code.at(target, code.mul(c.index, step))}"
                other = f"ptr {code.at(cells, code.mul(c.index, h['x_channel']))}"
                code.call("@copy", one, other, f"i64 {h['x_column']}", f"i64 {columns}")
                # where channels lie apart, the same row of the next one comes while tiles of this one are transformed
                row_bytes = code.mul(columns, h["x_column"])
                with (
                    code.when(code.test("sgt", h["x_channel"], row_bytes)),
                    code.loop(0, row_bytes, LINE_BYTES) as cell,
                ):
                    after = code.at(cells, code.mul(code.add(c.index, 1), h["x_channel"]))
                    code.prefetch(code.at(after, cell.index))


def emit_tiles_in(code: Code, element: Element, form: Form) -> None:
    """V of one region and channel."""
    size, lanes = element.bytes, element.lanes
    vectors = form.columns.step - (form.columns.step - form.columns.seen) // lanes  # of a row
    with code.function("tiles_in", *["ptr"] * 4, internal=True) as (head, record, buffers, v):
        h, region = code.words(head, HEAD), code.words(record, REGION)
        buffer = code.at(buffers, region["buffer"])
        with code.loop(0, region["rows"]) as row, code.loop(0, region["columns"], lanes) as column:
            lane = code.add(code.add(region["lane"], code.mul(row.index, region["columns"])), column.index)
            tile = code.at(buffer, code.mul(code.mul(row.index, form.rows.step), region["pitch"]))
            tile = code.at(tile, code.mul(column.index, form.columns.step * size))
            into = code.at(v, code.mul(lane, size))

            def line(i: int, tile: str = tile, pitch: str = region["pitch"]) -> list[str]:
                """The cells of a row that some tiles see, as they lie in the buffer."""
                at = code.at(tile, code.mul(pitch, i))
                return [code.load(element.vector, at, j * lanes * size, size) for j in range(vectors)]

            for planes, cells in zip(form.planes, combined(code, element, form.rows.b_t, line)):
                seen = _columns(code, element, form.columns, cells)
                for plane, vector in zip(planes, across(code, element, form.columns.b_t, seen)):
                    code.store(element.vector, vector, into, code.mul(h["v_plane"], plane), size)


def _columns(code: Code, element: Element, axis: Axis, cells: list[str]) -> list[str]:
    """The first cell of each tile, the second, and so on, from the cells of a vector's width of tiles in a row."""
    lanes, columns = element.lanes, [cells[: axis.step]]
    while len(columns) < axis.step:  # a step is a power of two: what is even and what is odd, again and again
        halves = [
            [element.every_second(code, *vectors[i : i + 2]) for i in range(0, len(vectors), 2)] for vectors in columns
        ]
        columns = [[pair[odd] for pair in half] for odd in (0, 1) for half in halves]
    seen = [vector for (vector,) in columns[: axis.seen]]
    for k in range(axis.step, axis.seen):  # the next tile's: one lane further, and in the last lane one behind them
        vector, lane = divmod(k - axis.step, lanes)
        seen.append(
            element.shuffled(code, seen[k - axis.step], cells[axis.step + vector], [*range(1, lanes), lanes + lane])
        )
    return seen
