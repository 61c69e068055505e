"""What the tables of the depthwise path mean, executed in NumPy: the text to read before its kernels.

Every function has its counterpart in ``depthwise_kernels`` (``micro_kernel`` is ``rows`` there), and does the same to
the same memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from miniconv.codegen.depthwise_tables import BAND, PHASE, RECORD, STEP, TILE, TURN, Tables
from miniconv.codegen.model import _memory, _record

__all__ = ["run"]

Values = NDArray[Any]
Record = dict[str, int]


def run(tables: Tables, lanes: int, input: Values, weight: Values, bias: Values | None, output: Values) -> None:
    """Write the depthwise convolution of ``input`` and ``weight``, plus ``bias``, to ``output``.

    Args:
        tables: made for operands of these strides.
        lanes: elements of a vector.
        input, weight, output: as the layout of the tables says, with five axes each.
        bias: (C_out,) or None.
    """
    program = tables.program
    record = _record(program, 0, RECORD)
    images = tables.units // record["units"]
    model = _Model(tables, lanes, record, input, weight, bias, output)
    for n in range(images):
        for unit in range(record["units"]):
            model.unit(n, *divmod(unit, record["bands"]))


class _Model:
    """One thread's memory: the operands as flat arrays, and scratch, which begins as zeros."""

    def __init__(
        self,
        tables: Tables,
        lanes: int,
        record: Record,
        input: Values,
        weight: Values,
        bias: Values | None,
        output: Values,
    ) -> None:
        self.program, self.shape, self.lanes, self.record = tables.program, tables.shape, lanes, record
        self.itemsize = input.itemsize
        self.input, self.weight, self.output = _memory(input), _memory(weight), _memory(output)
        self.bias = bias
        self.scratch = np.zeros(tables.scratch_bytes // input.itemsize, input.dtype)

    def unit(self, n: int, block: int, number: int) -> None:
        """A band of rows of a block of channels: pack them all, then compute them all."""
        r = self.record
        band = _record(self.program, r["band_table"] + number * len(BAND), BAND)
        first = block * r["block"]
        channels = range(min(r["block"], r["channels"] - first))
        x = n * r["x_image"] + first * r["x_channel"] + band["input"] * r["x_h"]
        if r["packed"]:
            for c in channels:
                for p in range(r["phases"] if r["bands"] != 1 else 0):
                    top = c * r["plane"] + p * r["phase"]
                    self.zeros(top, band["begin"] * r["row"])
                    self.zeros(top + band["end"] * r["row"], band["after"] * r["row"])
                self.pack(x + c * r["x_channel"], c * r["plane"], band)
        for c in channels:
            source, at = (
                (self.scratch, c * r["plane"]) if r["packed"] else (self.input, x + r["x_first"] + c * r["x_channel"])
            )
            for copy in range(r["multiplier"]):
                channel = (first + c) * r["multiplier"] + copy
                y = n * r["y_image"] + channel * r["y_channel"] + band["output"]
                for t in range(band["tiles"]):
                    tile = _record(self.program, band["tile_table"] + t * len(TILE), TILE)
                    turns = [
                        _record(self.program, r["turn_table"] + tile["turns"] // 8 + len(TURN) * p, TURN)
                        for p in range(self.shape.up)
                    ]
                    sums = [
                        self.micro_kernel(source, at + tile["input"], channel * r["w_channel"], turn) for turn in turns
                    ]
                    self.store(
                        np.stack(sums, -1).reshape(self.shape.rows, -1),
                        0 if self.bias is None else self.bias[channel],
                        y + tile["output"],
                    )

    def zeros(self, begin: int, size: int) -> None:
        """At least so many bytes of zeros, in whole vectors."""
        vector = self.lanes * self.itemsize
        self.scratch[begin // self.itemsize :][: -(-size // vector) * self.lanes] = 0

    def pack(self, x: int, plane: int, band: Record) -> None:
        """Copy the rows of one channel that exist to its plane; what is around them in the plane stays as it is."""
        r = self.record
        for row in range(band["begin"], band["end"]):
            for p in range(r["phases"]):
                phase = _record(self.program, r["phase_table"] + p * len(PHASE), PHASE)
                into = (plane + phase["plane"] + row * r["row"] + r["into"]) // self.itemsize
                from_ = x + row * r["x_h"] + r["x_first"] + phase["input"]
                for i in range(phase["count"]):
                    self.scratch[into + i] = self.input[(from_ + i * r["x_step"]) // self.itemsize]

    def micro_kernel(self, source: Values, x: int, w: int, turn: Record) -> Values:
        """A tile's sums of one phase over its steps: each loads rows, and adds each to the outputs that read it."""
        r, shape = self.record, self.shape
        sums = np.zeros((shape.rows, self.lanes), source.dtype)
        for at in range(turn["begin"], turn["end"], 8 * len(STEP)):
            step = _record(self.program, r["step_table"] + at // 8, STEP)
            for i in range((shape.rows - 1) * shape.step + shape.taps):
                at = (x + step["input"] + i * r["tap_row"]) // self.itemsize
                row = source[at : at + self.lanes]
                for m in range(shape.rows):
                    k = i - m * shape.step
                    if 0 <= k < shape.taps:
                        sums[m] += self.weight[(w + step["weight"] + k * r["w_row"]) // self.itemsize] * row
        return sums

    def store(self, sums: Values, bias: Any, y: int) -> None:
        """Write a tile: all of it, or where a row of the output is shorter what belongs to it."""
        r = self.record
        columns = r["y_columns"] if self.shape.narrow else sums.shape[1]
        for m, row in enumerate(sums):
            at = (y + m * r["y_row"]) // self.itemsize
            self.output[at : at + columns] = row[:columns] + bias
