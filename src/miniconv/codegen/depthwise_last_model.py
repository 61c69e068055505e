"""What the tables of the depthwise path for channels_last mean, executed in NumPy: to be read before its kernels."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miniconv.codegen.depthwise_last_tables import AXES, BLOCK, CELL, GROUP, RECORD, RUN, TAP, Tables
from miniconv.codegen.model import _memory, _record

__all__ = ["run"]

Values = NDArray[Any]
Record = dict[str, int]


def run(tables: Tables, lanes: int, input: Values, weight: Values, bias: Values | None, output: Values) -> None:
    """Write the depthwise convolution of ``input`` and ``weight``, plus ``bias``, to ``output``.

    Args:
        tables: made for operands of these strides.
        lanes: elements of a vector.
        input, weight, output: with five axes each, as the tables' layout says.
        bias: (C_out,) or None.
    """
    program, size = tables.program, input.itemsize
    r = _record(program, 0, RECORD)
    x, w, y = (_memory(operand) for operand in (input, weight, output))
    u = np.full((r["taps"] + 1, r["copies"], r["u_copy"] // size), np.nan, input.dtype)
    channels, copies = np.arange(r["channels"]), np.arange(r["copies"])[:, None]
    for tap in range(r["taps"]):
        indices = *divmod(tap // r["kernel_w"], r["kernel_h"]), tap % r["kernel_w"]
        at = sum(index * r[f"w_{axis}"] for index, axis in zip(indices, AXES))
        u[tap, :, : len(channels)] = w[(at + copies * r["w_copy"] + channels * r["w_channel"]) // size]
    u[r["taps"], :, : len(channels)] = 0 if bias is None else bias.reshape(len(channels), -1).T

    def taps(record: Record) -> list[tuple[int, int]]:
        """The (input bytes, bytes in u) of the taps."""
        rows = program[record["tap_table"] :][: len(TAP) * record["taps"]].reshape(-1, len(TAP))
        return [(int(a), int(b)) for a, b in rows]

    def records(word: str, count: int, fields: Record) -> list[Record]:
        """A table of the program."""
        return [_record(program, r[word] + len(fields) * i, fields) for i in range(count)]

    slices = records("cell_table", r["cells"], CELL)
    lines = [(block, line) for block in records("block_table", r["blocks"], BLOCK) for line in range(block["count"])]
    pixels = [(run, pixel) for run in records("run_table", r["runs"], RUN) for pixel in range(run["count"])]
    images = range(tables.units[1] // (r["cells"] * r["blocks"]))
    places = product(images, enumerate(slices), lines, range(r["groups"]), pixels)
    for n, (d, slice_), (block, line), number, (run, pixel) in places:
        group = _record(program, r["group_table"] + len(GROUP) * number, GROUP)
        first = group["channel"]
        count = group["last"] // size + lanes  # the last vector may repeat some of the one before
        sums = np.zeros((r["copies"], count), input.dtype)
        rows, columns = (taps(slice_), taps(block)), (taps(run),)
        for cells in product(*columns, *rows) if tables.columns_outside else product(*rows, *columns):
            at, tap = map(sum, zip(*cells))
            at += block["input"] + line * block["input_step"] + pixel * run["input_step"]
            begin = (n * r["x_image"] + at) // size + first
            sums += u[tap // r["u_row"], :, first : first + count] * x[begin:][:count]
        at = n * r["y_image"] + d * r["y_d"] + run["output"] + pixel * run["output_step"]
        at += block["output"] + line * block["output_step"]
        sums += u[r["taps"], :, first : first + count]
        y[at // size + first * r["copies"] :][: sums.size] = sums.T.reshape(-1)
