"""What a schedule means, executed in NumPy: the text to read before the kernels, and what they are tested against.

Every function here has its counterpart of the same name in ``kernels``, and does the same to the same memory, a vector
or a tile at a time where the kernel does it element by element.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from miniconv.codegen.records import CHUNK, HEAD, ITEM, KERNELS, PASS, RUN, SOURCE, STEPS, TILE
from miniconv.codegen.tables import Schedule

__all__ = ["run"]

Values = NDArray[Any]
Record = dict[str, int]


def run(schedule: Schedule, input: Values, weight: Values, bias: Values | None, output: Values) -> None:
    """Write the convolution of ``input`` and ``weight``, plus ``bias``, to ``output``.

    Args:
        schedule: made for operands of these strides.
        input, weight, output: as the schedule's layout says, with five axes each.
        bias: (C_out,) or None.
    """
    program = schedule.program
    head = _record(program, 0, HEAD)
    scratch = np.full(schedule.scratch_bytes // input.itemsize, np.nan, input.dtype)
    for n in range(head["images"]):
        for g in range(head["groups"]):
            for i in range(head["items"]):
                item = _record(program, head["item_table"] + i * len(ITEM), ITEM)
                _Item(schedule, item, n, g, scratch, input, weight, bias, output).run()


class _Item:
    """One box of one image and group, for a range of channel blocks."""

    def __init__(
        self,
        schedule: Schedule,
        item: Record,
        n: int,
        g: int,
        scratch: Values,
        input: Values,
        weight: Values,
        bias: Values | None,
        output: Values,
    ) -> None:
        self.program, self.lanes, self.itemsize = schedule.program, schedule.lanes, input.itemsize
        self.item, self.record = item, _record(schedule.program, item["pass"], PASS)
        record = self.record
        self.scratch = scratch[record["planes"] // self.itemsize :]  # a tile's sums, before them, are arrays here
        self.panels = scratch[record["panels"] // self.itemsize :]
        self.input = _memory(input)[(n * record["x_image"] + g * record["x_group"]) // self.itemsize :]
        self.weight = _memory(weight)[(g * record["w_group"] + item["weight"]) // self.itemsize :]
        self.bias = None if bias is None else bias[g * record["outputs"] :]
        at = n * record["y_image"] + g * record["y_group"] + item["output"]
        self.output = _memory(output)[at // self.itemsize :]

    def run(self) -> None:
        """Chunk after chunk of channels; in each, all blocks for every tile, or every tile for each block."""
        record, first, end = self.record, self.item["first_block"], self.item["end_block"]
        tiles = range(record["tile_table"], record["tile_table"] + record["tiles"] * len(TILE), len(TILE))
        turns = [(b, b + 1) for b in range(first, end)] if record["channels_outside"] else [(first, end)]
        for c in range(record["chunks"]):
            chunk = _record(self.program, record["chunk_table"] + c * len(CHUNK), CHUNK)
            x = self.pack(chunk) if record["packed"] else self.in_place(chunk)
            for turn, (begin, stop) in enumerate(turns):
                for number, at in enumerate(tiles):
                    tile, from_ = _record(self.program, at, TILE), x
                    if record["panelled"]:
                        from_ = self.panels[number * record["panel"] // self.itemsize :]
                        if turn == 0:
                            self.panel(x, from_, chunk, tile)
                    for block in range(begin, stop):
                        self.tile(from_, chunk, c == 0, block, tile)

    def panel(self, x: Values, into: Values, chunk: Record, tile: Record) -> None:
        """Copy what a tile reads in a chunk's steps, a row for each step."""
        width = tile["vectors"] * self.lanes
        for b in range(chunk["blocks"]):
            steps = _record(self.program, chunk["block_table"] + b * len(STEPS), STEPS)
            for s in range(steps["first"], steps["first"] + steps["count"]):
                at = steps["input"] + int(self.program[self.record["steps"] + 2 * s])
                row = into[(steps["panel"] + s) * width :]
                for i in range(tile["sources"]):
                    source = _record(self.program, tile["source_table"] + i * len(SOURCE), SOURCE)
                    piece = x[(at + source["input"]) // self.itemsize :][: self.lanes]
                    row[source["lane"] // self.itemsize :][: len(piece)] = piece

    def in_place(self, chunk: Record) -> Values:
        """The caller's own memory, from the first cell that the box reads."""
        record, item = self.record, self.item
        at = chunk["channel"] * record["x_channel"]
        at += sum(item[a] * record[f"x_{a}"] for a in "dhw")
        return self.input[at // self.itemsize :]

    def pack(self, chunk: Record) -> Values:
        """Copy the chunk's cells to scratch, zeros where the input has none: a plane a channel and phase."""
        record, item = self.record, self.item
        for c in range(chunk["channels"]):
            for p in range(record["phases"]):
                phase = self.program[record["phase_table"] + 3 * p :][:3].tolist()
                plane = (c * record["channel"] + p * record["plane"]) // self.itemsize
                rows = record["rows_d"] * record["rows_h"]
                self.scratch[plane + rows * record["pitch"] :][: record["overlap"]] = 0
                for row in range(rows):
                    into = self.scratch[plane + row * record["pitch"] :][: record["pitch"]]
                    d = item["d"] + row // record["rows_h"] * record["step_d"] + phase[0]
                    h = item["h"] + row % record["rows_h"] * record["step_h"] + phase[1]
                    self.pack_row(into, (chunk["channel"] + c) * record["x_channel"], d, h, item["w"] + phase[2])
        return self.scratch

    def pack_row(self, into: Values, at: int, d: int, h: int, w: int) -> None:
        """One row: every ``step_w``-th cell of the input's row ``d, h``, from ``w`` on."""
        record = self.record
        into[:] = 0
        if 0 <= d < record["size_d"] and 0 <= h < record["size_h"]:
            for j in range(len(into)):
                if 0 <= w < record["size_w"]:
                    offset = at + d * record["x_d"] + h * record["x_h"] + w * record["x_w"]
                    into[j] = self.input[offset // self.itemsize]
                w += record["step_w"]

    def tile(self, x: Values, chunk: Record, first: bool, block: int, tile: Record) -> None:
        """One tile of positions and one block of channels: all the chunk's steps, block after block of them."""
        channel, rows = self.program[self.record["block_table"] + 2 * block :][:2].tolist()
        sums = np.zeros((rows, tile["vectors"] * self.lanes), self.scratch.dtype)
        for b in range(chunk["blocks"]):
            steps = _record(self.program, chunk["block_table"] + b * len(STEPS), STEPS)
            at = chunk["weight"] + steps["weight"] + channel * self.record["w_row"]
            row_bytes = tile["vectors"] * self.lanes * self.itemsize
            distance = steps["panel"] * row_bytes if self.record["panelled"] else tile["position"] + steps["input"]
            sums += self.micro_kernel(
                x[distance // self.itemsize :], self.weight[at // self.itemsize :], tile, steps, sums.shape
            )
        self.store(sums, tile, channel, first)

    def micro_kernel(self, x: Values, w: Values, tile: Record, steps: Record, shape: tuple[int, ...]) -> Values:
        """A tile's sums over some steps: in each, a weight a row times a stretch of ``x``."""
        sums = np.zeros(shape, x.dtype)
        for s in range(steps["first"], steps["first"] + steps["count"]):
            at, w_at = self.program[tile["steps"] + 2 * s :][:2].tolist()
            if tile["kernel"] >= KERNELS[1] * KERNELS[2]:  # without the table it must come to the same
                assert (at, w_at) == (s * shape[1] * self.itemsize, s * self.itemsize)
            stretch = np.zeros(shape[1], x.dtype)  # lanes behind the end of memory are nobody's output
            read = x[at // self.itemsize :][: shape[1]]
            stretch[: len(read)] = read
            for m in range(shape[0]):
                sums[m] += w[(w_at + m * self.record["w_row"]) // self.itemsize] * stretch
        return sums

    def store(self, sums: Values, tile: Record, channel: int, first: bool) -> None:
        """Write the lanes that are outputs: plus bias, or plus what earlier chunks left there."""
        for m, row in enumerate(sums):
            for run in range(tile["runs"]):
                lane, length, at = self.program[tile["run_table"] + len(RUN) * run :][: len(RUN)].tolist()
                at = (at + (channel + m) * self.record["y_channel"]) // self.itemsize
                step = self.record["y_w"] // self.itemsize
                into = self.output[at : at + (length - 1) * step + 1 : step]
                before = (0 if self.bias is None else self.bias[channel + m]) if first else into
                into[:] = row[lane : lane + length] + before


def _record(program: NDArray[np.int64], begin: int, fields: dict[str, int]) -> Record:
    return dict(zip(fields, program[begin : begin + len(fields)].tolist()))


def _memory(x: Values) -> Values:
    """The memory behind an array with positive strides, from its first element to its last, as one axis."""
    extent = 1 + sum((n - 1) * stride for n, stride in zip(x.shape, x.strides)) // x.itemsize
    return as_strided(x, (extent,), (x.itemsize,))
