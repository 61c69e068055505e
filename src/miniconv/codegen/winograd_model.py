"""What a Winograd schedule means, executed in NumPy: the text to read before ``winograd_kernels``.

Every function here has its counterpart of the same name there, and does the same with the same tables, a whole block
at a time where the kernel does it vector by vector. The sums of a product are NumPy's, so on numbers that are not exact
the last bits may differ. What is then computed again is the direct path's, and so is its model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from miniconv.codegen.winograd_axis import Matrix
from miniconv.codegen.winograd_form import BLOCK, CHUNK, HEAD, JOINED, REGION, STEPS
from miniconv.codegen.winograd_schedule import WinogradSchedule

__all__ = ["WinogradModel", "transform"]

Values = NDArray[Any]
Record = dict[str, int]


def transform(rows: Matrix, columns: Matrix, x: Values) -> Values:
    """``rows @ x @ columns.T`` over the first two axes, in adds and halvings: nothing is multiplied by a zero."""
    return _combined(columns, _combined(rows, x).swapaxes(0, 1)).swapaxes(0, 1)


def _combined(matrix: Matrix, x: Values) -> Values:
    """``matrix @ x`` over the first axis."""
    results = []
    for row in matrix:
        scale = max(map(abs, row))
        terms = [np.sign(c) * value for c, value in zip(row, x) if c]
        results.append(sum(terms[1:], terms[0]) * np.asarray(scale, x.dtype))
    return np.stack(results)


class WinogradModel:
    """The stages of one problem, and the memory that they share.

    Args:
        schedule: made for operands of these strides.
        input, weight, output: with five axes each.
        bias: (C_out,) or None.
    """

    def __init__(
        self, schedule: WinogradSchedule, input: Values, weight: Values, bias: Values | None, output: Values
    ) -> None:
        self.program, self.form, self.units = schedule.program, schedule.form, schedule.units
        self.planes = [plane for row in self.form.planes for plane in row]  # of each place
        self.size, self.dtype = input.itemsize, input.dtype
        self.lanes = schedule.lanes
        self.head = _record(self.program, 0, HEAD)
        self.input, self.weight, self.output = (_memory(x) for x in (input, weight, output))
        self.bias = np.zeros(weight.shape[0], input.dtype) if bias is None else bias
        self.u = np.full(self.head["flags"] // self.size, np.nan, input.dtype)
        self.flags = np.ones(self.head["images"], np.int64)
        self.scratch = np.full(schedule.scratch_bytes // self.size, np.nan, input.dtype)

    def run(self) -> list[int]:
        """Both stages; the images that are then computed again."""
        with np.errstate(all="ignore"):
            for unit in range(self.units[0]):
                self.weights(unit)
            for unit in range(self.units[1]):
                rest, part = divmod(unit, self.head["parts"])
                rest, block = divmod(rest, self.head["blocks"])
                n, g = divmod(rest, self.head["groups"])
                self.block(n * self.head["together"], g, block, part)
        return np.flatnonzero(self.flags).tolist()

    def weights(self, unit: int) -> None:
        """Stage 1: U from the weights of some outputs; and no image is to be computed again as yet."""
        h = self.head
        if unit == 0:
            self.flags[:] = 0
        g, block = divmod(unit, h["row_blocks"])
        first, rows = self.row(block)
        for m in range(rows):
            begin = (g * h["outputs"] + first + m) * h["w_row"] // self.size
            strides = h["w_h"], h["w_w"], h["w_channel"]
            taps = as_strided(self.weight[begin:], (*self.form.taps, h["channels"]), strides)
            u = transform(self.form.rows.g, self.form.columns.g, taps)
            for plane, values in zip(self.planes, u.reshape(self.form.places, -1)):
                for c, value in enumerate(values):
                    at = plane * h["u_plane"] + unit * h["u_block"] + c // self.lanes * h["u_group"]
                    self.u[at // self.size + m * self.lanes + c % self.lanes] = value

    def block(self, n: int, g: int, number: int, part: int) -> None:
        """One block of tiles and one part of the outputs: chunk after chunk of channels."""
        h = self.head
        block = _record(self.program, h["block_table"] + number * len(BLOCK), BLOCK)
        first, end = self.program[h["part_table"] + 2 * part :][:2].tolist()
        self.scratch[: block["buffer"] // self.size] = 0
        checks = self.scratch[h["checks"] // self.size :][: block["vectors"] * self.lanes]
        checks[:] = 0
        regions = list(self.regions(block))
        for number in range(h["chunks"]):
            chunk = _record(self.program, h["chunk_table"] + number * len(CHUNK), CHUNK)
            self.read(chunk, regions, n * h["x_image"] + g * h["x_group"])
            for panel in range(first, end, h["panel"]):
                span = range(panel, min(panel + h["panel"], end))
                self.products(block, chunk, number > 0, g, span)
                if number == h["chunks"] - 1:
                    self.outputs(block, regions, checks, n, g, span)
        for region in regions:
            lanes = checks[region["lane"] :][: region["rows"] * region["columns"]]
            if np.isnan(lanes).any():
                self.flags[n + region["image"]] = 1

    def read(self, chunk: Record, regions: list[Record], at: int) -> None:
        """V from the input of a block's tiles: region by region, channel by channel. ``input`` in the kernels."""
        h, (tall, wide) = self.head, self.form
        for c in range(chunk["channels"]):
            for region in regions:
                pitch, rows = region["pitch"] // self.size, tall.step * region["rows"] + tall.seen - tall.step
                buffer = self.scratch[region["buffer"] // self.size :][: rows * pitch].reshape(rows, pitch)
                source = at + (chunk["channel"] + c) * h["x_channel"] + region["image"] * h["x_image"] + region["input"]
                top, left = region["first_row"] // region["pitch"], region["first_column"] // self.size
                if region["rows_seen"] * region["columns_seen"]:
                    shape = region["rows_seen"], region["columns_seen"]
                    cells = as_strided(self.input[source // self.size :], shape, (h["x_row"], h["x_column"]))
                    buffer[top : top + shape[0], left : left + shape[1]] = cells
                square = (tall.seen, wide.seen, region["rows"], region["columns"])
                row, column = buffer.strides
                tiles = as_strided(buffer, square, (row, column, tall.step * row, wide.step * column))
                cells = transform(tall.b_t, wide.b_t, tiles)
                for plane, values in zip(self.planes, cells.reshape(self.form.places, -1)):
                    v = h["planes"] + plane * h["v_plane"] + c * h["v_row"]
                    self.scratch[v // self.size + region["lane"] :][: values.size] = values

    def products(self, block: Record, chunk: Record, more: bool, g: int, span: range) -> None:
        """M, or what a chunk of channels adds to it, for some blocks of outputs: a matrix product for each sum."""
        h, lanes = self.head, self.lanes
        for number in range(self.form.sums):
            joined = _record(self.program, h["joined_table"] + number * len(JOINED), JOINED)
            for i in span:
                rows = self.row(i)[1]
                at = joined["plane"] * h["u_plane"] + (g * h["row_blocks"] + i) * h["u_block"]
                at += chunk["channel"] // lanes * h["u_group"]
                all_steps = self.program[chunk["steps"] :][: 2 * joined["planes"] * chunk["channels"]].reshape(-1, 2)
                for vector, vectors, sums in self.tiles(block, span[0], i, number):
                    v = (h["planes"] + joined["plane"] * h["v_plane"]) // self.size + vector * lanes
                    for first in range(0, len(all_steps), STEPS):
                        steps = all_steps[first : first + STEPS] // self.size
                        x = self.scratch[v + steps[:, :1] + np.arange(vectors * lanes)]
                        w = self.u[at // self.size + steps[:, 1] + np.arange(rows)[:, None] * lanes]
                        sums[:] = (sums if more or first else 0) + w @ x

    def outputs(self, block: Record, regions: list[Record], checks: Values, n: int, g: int, span: range) -> None:
        """The output from M: transformed back, plus bias, a row of it after another; and a check of every number."""
        h = self.head
        for i in span:
            first, rows = self.row(i)
            stretches = (self.tiles(block, span[0], i, number) for number in range(self.form.sums))
            planes = [[sums for _, _, sums in each] for each in stretches]
            shape = len(self.form.rows.a_t[0]), len(self.form.columns.a_t[0]), rows, -1
            m = np.stack([np.concatenate(sums, axis=1) for sums in planes]).reshape(shape)
            output = g * h["outputs"] + first
            tiles = transform(self.form.rows.a_t, self.form.columns.a_t, m) + self.bias[output : output + rows, None]
            checks += (tiles * 0).sum(axis=(0, 1, 2))
            lines = tiles.transpose(2, 0, 3, 1).reshape(rows, self.form.rows.outputs, -1)
            for row in range(rows):
                y = n * h["y_image"] + g * h["y_group"] + (first + row) * h["y_channel"]
                self.place(regions, lines[row], y)

    def place(self, regions: list[Record], lines: Values, y: int) -> None:
        """The lines of a block's outputs to where they belong: each region's rows."""
        h, (tall, wide) = self.head, self.form.outputs
        for region in regions:
            for row in range(region["out_rows"]):
                tile, line = divmod(row, tall)
                at = y + region["image"] * h["y_image"] + region["output"] + row * h["y_row"]
                into = as_strided(self.output[at // self.size :], (region["out_columns"],), (h["y_column"],))
                into[:] = lines[line, wide * (region["lane"] + tile * region["columns"]) :][: len(into)]

    def row(self, block: int) -> tuple[int, int]:
        """A block of outputs: the first one, and how many."""
        first, rows = self.program[self.head["row_table"] + 2 * block :][:2].tolist()
        return first, rows

    def regions(self, block: Record) -> Iterator[Record]:
        """The regions of a block."""
        for i in range(block["regions"]):
            yield _record(self.program, block["region_table"] + i * len(REGION), REGION)

    def tiles(self, block: Record, start: int, i: int, number: int) -> Iterator[tuple[int, int, Values]]:
        """The stretches of lanes: first vector, how many, and their values of one sum, [rows, lanes]."""
        h = self.head
        first, rows = self.row(i)
        base = h["sums"] + number * h["m_plane"] + (first - self.row(start)[0]) * h["v_row"]
        for t in range(block["tiles"]):
            vector, vectors = self.program[block["tile_table"] + 2 * t :][:2].tolist()
            at = base // self.size + rows * vector * self.lanes
            yield vector, vectors, self.scratch[at:][: rows * vectors * self.lanes].reshape(rows, -1)


def _record(program: NDArray[np.int64], begin: int, fields: dict[str, int]) -> Record:
    return dict(zip(fields, program[begin : begin + len(fields)].tolist()))


def _memory(x: Values) -> Values:
    """The memory behind an array with positive strides, from its first element to its last, as one axis."""
    extent = 1 + sum((n - 1) * stride for n, stride in zip(x.shape, x.strides)) // x.itemsize
    return as_strided(x, (extent,), (x.itemsize,))
