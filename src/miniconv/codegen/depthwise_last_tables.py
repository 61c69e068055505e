"""A depthwise problem whose channels lie one behind another (channels_last) as one array of integers, the *program*.

A vector holds neighbouring channels of one pixel. Input, weight and output of a channel then stand in the same lane,
so a pixel of the output is a sum of products of whole vectors, one for each tap that meets the input:

    y[pixel][channels] = bias[channels] + sum over taps of  x[pixel of the tap][channels] * u[tap][channels]

A channel that has several outputs (*copies*) is multiplied with as many u; the sums are interleaved before they are
stored, for a channel's outputs are neighbours.

Stage 1 writes u: the weight with its channels one behind another, and the bias as one tap more. Stage 2 computes a few
rows of pixels a unit, some vectors of channels at a time, whose weights stay in the nearest cache.

Which taps meet the input is data, for each cell of each axis a list (``taps_of``). So there is no padding to copy, and
stride, dilation and a transposed convolution's stride are one and the same thing. Most rows have the same taps, and so
have most pixels of a row: such are computed together, from one list. The order in which taps are added is that of the
path that computes the problem with channels first, so that the bits are the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from miniconv.codegen.depthwise_geometry import MOST_UP
from miniconv.codegen.geometry import LINE_BYTES
from miniconv.codegen.records import Table, rows_of
from miniconv.codegen.schedule import Layout, ranges, split
from miniconv.problem import ConvProblem

__all__ = [
    "AXES",
    "BLOCK",
    "CELL",
    "GROUP",
    "MOST_VECTORS",
    "RECORD",
    "RUN",
    "TAP",
    "Tables",
    "columns_outside",
    "taps_of",
]

MOST_VECTORS = 9  # of outputs of a pixel at a time: many hide the time of a sum, and read long stretches of memory
MOST_ROWS = 8  # of a unit
UNITS = 4  # for each of several threads, or more, if the rows are enough
AXES = ("d", "h", "w")


def _fields(*names: str) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}


# Distances in bytes, sizes and counts in elements; tables are named by the word of the program where they begin.
RECORD = _fields(
    *("channels", "copies", "taps", "u_row", "u_copy", "kernel_h", "kernel_w"),
    *("w_channel", "w_copy", "w_d", "w_h", "w_w"),
    *("x_image", "y_image", "y_d", "groups", "group_table"),
    *("cells", "cell_table", "blocks", "block_table", "runs", "run_table"),
)
# last: from the first vector to the last; kernel: the address of the micro-kernel
GROUP = _fields("channel", "vectors", "last", "kernel")
CELL = _fields("taps", "tap_table")  # of an output's index on the first axis
# Outputs of the last axis that the same taps meet; the taps' inputs are those of the first, the others' lie further.
RUN = _fields("taps", "tap_table", "count", "input_step", "output", "output_step")
BLOCK = _fields(*RUN, "input")  # some neighbours of such outputs of the axis before; input: from the taps' to theirs
TAP = _fields("input", "weight")


def columns_outside(problem: ConvProblem) -> bool:
    """Whether taps are added column by column and follow the input, as in the depthwise path; else row by row."""
    return problem.spatial_dims <= 2 and not (problem.transposed and problem.stride[-1] > MOST_UP)


def taps_of(problem: ConvProblem, axis: int) -> tuple[Table, Table, Table]:
    """The taps that meet the input on one axis: how many each output has, and all their indices in input and weight.

    An axis that the problem does not have is a single cell with a single tap.
    """
    inputs, taps, meets = _meetings(problem, axis)
    return meets.sum(axis=1), inputs[meets], np.broadcast_to(taps, meets.shape)[meets]


def _meetings(problem: ConvProblem, axis: int) -> tuple[Table, Table, NDArray[np.bool_]]:
    """For each output and each tap of an axis the input's index, the tap's, and whether there is such an input."""
    if -axis > problem.spatial_dims:
        return np.zeros((1, 1), np.int64), np.zeros(1, np.int64), np.ones((1, 1), np.bool_)
    stride, dilation, low = problem.stride[axis], problem.dilation[axis], problem.padding[axis][0]
    outputs = np.arange(problem.output_size[axis])[:, None]
    taps = np.arange(problem.kernel_size[axis])
    if problem.transposed:
        taps = taps[::-1] if columns_outside(problem) else taps
        inputs, rest = np.divmod(outputs + low - dilation * taps, stride)
    else:
        inputs, rest = stride * outputs + dilation * taps - low, np.zeros_like(outputs)
    meets = (inputs >= 0) & (inputs < problem.input_size[axis]) & (rest == 0)
    return inputs, taps, meets


def _runs_of(problem: ConvProblem, axis: int) -> list[tuple[int, int, int, list[tuple[int, int]]]]:
    """The outputs of an axis that the same taps meet: the first one, how many, from one to the next, the taps.

    The taps are pairs of indices, in the first output's input and in the weight.
    """
    inputs, taps, meets = _meetings(problem, axis)
    apart = problem.stride[axis] if problem.transposed and -axis <= problem.spatial_dims else 1
    runs = []
    for begin in range(min(apart, len(meets))):
        these = meets[begin::apart]
        changes = np.flatnonzero((these[1:] != these[:-1]).any(axis=1)) + 1
        for first, end in pairwise([0, *changes.tolist(), len(these)]):
            output = begin + apart * first
            met = meets[output]
            runs.append((output, end - first, apart, list(zip(inputs[output][met].tolist(), taps[met].tolist()))))
    return runs


@dataclass(frozen=True)
class Tables:
    """All that the kernels walk.

    Attributes:
        program: the tables; the kernels' addresses are not in it as yet.
        groups: where they belong: the word of each group of channels, and how many vectors it has.
        columns_outside: the order in which taps are added.
        units: of the stages 1 and 2.
        shared_bytes: u.
        scratch_bytes: the lists of the taps of a unit.
    """

    program: NDArray[np.int64]
    groups: dict[int, int]
    columns_outside: bool
    units: tuple[int, int]
    shared_bytes: int
    scratch_bytes: int

    @classmethod
    def of(cls, problem: ConvProblem, layout: Layout, lanes: int, itemsize: int, threads: int = 1) -> Tables:
        """The tables for operands that lie as ``layout`` says; a vector has so many lanes, at most one a channel."""
        x, w, y = layout
        channels, taps = problem.in_channels, math.prod(problem.kernel_size)
        kernel = (1, 1, 1, *problem.kernel_size)
        copies = problem.out_channels // channels
        u_copy = -(-channels * itemsize // LINE_BYTES) * LINE_BYTES
        u_row = u_copy * copies
        w_channel, w_copy = (w[0], w[1]) if problem.transposed else (w[0] * copies, w[0])
        record = {
            **{"channels": channels, "copies": copies, "taps": taps, "u_row": u_row, "u_copy": u_copy},
            **{"kernel_h": kernel[-2], "kernel_w": kernel[-1]},
            **{"w_channel": w_channel, "w_copy": w_copy, "w_d": w[2], "w_h": w[3], "w_w": w[4]},
            **{"x_image": x[0], "y_image": y[0], "y_d": y[2]},
        }
        words: list[Table] = [np.zeros(len(RECORD), np.int64)]

        def table(rows: Table) -> int:
            begin = sum(map(len, words))
            words.append(rows.reshape(-1))
            return begin

        count, inputs, indices = taps_of(problem, -3)
        tap_table = table(rows_of(inputs * x[2], indices * (math.prod(kernel[-2:]) * u_row)))
        cells = table(rows_of(count, tap_table + len(TAP) * (count.cumsum() - count)))
        record |= {"cells": len(count), "cell_table": cells}

        def runs(axis: int) -> list[tuple[int, ...]]:
            """The runs of an axis."""
            stride = problem.stride[axis] if -axis <= problem.spatial_dims and not problem.transposed else 1
            after = u_row if axis == -1 else kernel[-1] * u_row
            found: list[tuple[int, ...]] = []
            for output, number, apart, met in _runs_of(problem, axis):
                tap_table = table(np.array([(i * x[axis], k * after) for i, k in met], np.int64))
                place = output * y[axis], apart * y[axis]
                found.append((len(met), tap_table, number, stride * x[axis], *place))
            return found

        columns, images = runs(-1), problem.batched_output_shape[0]
        record |= {"runs": len(columns), "run_table": table(np.array(columns))}
        rows = images * len(count) * (1, 1, *problem.output_size)[-2]
        most = max(1, min(MOST_ROWS, rows // (UNITS * threads))) if threads > 1 else MOST_ROWS
        blocks = [
            (taps_, tap_table, size, step, output + first * further, further, first * step)
            for taps_, tap_table, number, step, output, further in runs(-2)
            for first, size in ranges(number, most)
        ]
        record |= {"blocks": len(blocks), "block_table": table(np.array(blocks))}
        list_taps = int(count.max()) * max(block[0] for block in blocks) * sum(run[0] for run in columns)
        vectors = split(-(-channels // lanes), max(1, MOST_VECTORS // copies))
        first = [lanes * sum(vectors[:i]) for i in range(len(vectors))]
        # the last vector of all begins earlier, so that it is whole: some channels are computed twice
        last = [min(lanes * (n - 1), channels - lanes - begin) for begin, n in zip(first, vectors)]
        begin = table(np.array([(c, n, at * itemsize, 0) for c, n, at in zip(first, vectors, last)]))
        record |= {"groups": len(vectors), "group_table": begin}
        words[0][:] = [record[name] for name in RECORD]
        units = taps + 1, images * record["cells"] * record["blocks"]
        groups = {begin + len(GROUP) * i: n for i, n in enumerate(vectors)}
        scratch = list_taps * 8 * len(TAP)
        return cls(np.concatenate(words), groups, columns_outside(problem), units, (taps + 1) * u_row, scratch)
