"""The tiles of a box: which lanes of which vector are which outputs, and where their input comes from.

Lanes are numbered through a box. Without panels they are the cells of its planes from the first output to the last,
those between two rows included. With panels they are the outputs and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from miniconv.codegen.geometry import Geometry
from miniconv.codegen.records import RUN, SOURCE, TILE, Table, rows_of
from miniconv.codegen.schedule import Triple, split

__all__ = ["Lanes", "tile_table"]


class Lanes(NamedTuple):
    """How vectors are laid over a box.

    Attributes:
        shape: the box's outputs.
        geometry: of its input.
        itemsize: bytes of an element.
        vector: elements of a vector.
        vectors: of a tile, at most.
        panelled: whether lanes are outputs only.
        outputs: bytes from an output to the next, on each axis.
        again: whether an output may be written twice.
    """

    shape: Triple
    geometry: Geometry
    itemsize: int
    vector: int
    vectors: int
    panelled: bool
    outputs: Triple
    again: bool

    @property
    def total(self) -> int:
        """How many lanes there are."""
        return math.prod(self.shape) if self.panelled else self.geometry.positions(self.shape, self.itemsize)


class _Runs(NamedTuple):
    """Stretches of a row within a tile: which tile and row, the lane and column where each begins, and how many."""

    tile: Table
    row: Table
    lane: Table
    column: Table
    length: Table


def tile_table(lanes: Lanes, steps: Callable[[int], int], table: Callable[[object], int]) -> Table:
    """A record (``TILE``, without its kernel) for each tile.

    Args:
        lanes: of the box.
        steps: the table of steps for so many vectors.
        table: appends a table to the program; the word where it begins.
    """
    shape, geometry, size, total = lanes.shape, lanes.geometry, lanes.itemsize, lanes.total
    sizes = np.array(split(-(-total // lanes.vector), lanes.vectors))
    ends = sizes.cumsum() * lanes.vector
    begins = ends - sizes * lanes.vector
    ends[-1] = total
    y_d, y_h, y_w = lanes.outputs
    row_input, row_output = _rows_at(shape, geometry.slice, geometry.row), _rows_at(shape, y_d, y_h)
    number = np.arange(len(row_input)) * shape[2]  # of a row's first output
    row_lane = number if lanes.panelled else row_input // size
    in_line = len(number) == 1 or bool((row_lane == number).all() and (row_output == number * y_w).all())
    firsts = begins.copy()
    if total >= sizes[-1] * lanes.vector:  # the last tile begins earlier, for the caller's memory may end behind it
        firsts[-1] = min(firsts[-1], total - sizes[-1] * lanes.vector)
        if lanes.again and in_line:
            begins = firsts
    # the runs that are stored; rows of outputs that lie one behind another are one
    width = total if in_line else shape[2]
    runs = _runs(begins, ends, firsts, row_lane[:1] if in_line else row_lane, width)
    output = row_output[runs.row] + runs.column * y_w
    count = np.bincount(runs.tile, minlength=len(sizes))
    start = count.cumsum() - count
    one = np.minimum(start, len(output) - 1)
    run_table = table(rows_of(runs.lane, runs.length, output))
    tiles = np.zeros((len(sizes), len(TILE)), np.int64)
    fields = {
        "position": 0 if lanes.panelled else firsts * size,
        "vectors": sizes,
        "steps": np.where(sizes == sizes[0], steps(int(sizes[0])), steps(int(sizes[-1]))),
        "runs": count,
        "run_table": run_table + len(RUN) * start,
        "dense": (count == 1) & (runs.length[one] == sizes * lanes.vector) & (y_w == size),
        "output": output[one] - runs.lane[one] * y_w,
        **(_sources(lanes, sizes, firsts, ends, row_lane, row_input, table) if lanes.panelled else {}),
    }
    for name, values in fields.items():
        tiles[:, TILE[name]] = values
    return tiles


def _rows_at(shape: Triple, slice_: int, row: int) -> Table:
    """Where the rows of a box begin, if so much lies between two slices and two rows."""
    rows = np.arange(shape[1]) * row
    return rows if shape[0] == 1 else (np.arange(shape[0])[:, None] * slice_ + rows).reshape(-1)


def _sources(
    lanes: Lanes,
    sizes: NDArray[np.int64],
    firsts: Table,
    ends: Table,
    row_lane: Table,
    row_input: Table,
    table: Callable[[object], int],
) -> dict[str, Table]:
    """Where a panel's row comes from: each piece at most a vector, of one row of the input."""
    if lanes.geometry.packed:
        runs = _runs(firsts, ends, firsts, row_lane, lanes.shape[2])
    else:  # a single row
        runs = _runs(firsts, ends, firsts, row_lane[:1], lanes.total)
    pieces = -(-runs.length // lanes.vector)
    number = np.arange(pieces.sum()) - (pieces.cumsum() - pieces).repeat(pieces)
    lane = runs.lane.repeat(pieces) + number * lanes.vector
    column = runs.column.repeat(pieces) + number * lanes.vector
    input = row_input[runs.row.repeat(pieces)] + column * lanes.itemsize
    of = runs.tile.repeat(pieces)
    count = np.bincount(of, minlength=len(sizes))
    first = count.cumsum() - count
    length = runs.length[np.searchsorted(runs.tile, np.arange(len(sizes)))]
    return {
        "whole": np.where(length == sizes * lanes.vector, sizes, 0),
        "sources": count,
        "source_table": table(rows_of(lane * lanes.itemsize, input)) + len(SOURCE) * first,
    }


def _runs(begins: Table, ends: Table, firsts: Table, row_begins: Table, width: int) -> _Runs:
    """The rows, ``width`` lanes each, cut to the lanes of the tiles; ``firsts`` are the tiles' lanes number 0."""
    if len(row_begins) == 1:
        tile, column = np.arange(len(begins)), begins - row_begins
        return _Runs(tile, np.zeros_like(tile), begins - firsts, column, np.minimum(ends - begins, width - column))
    low = row_begins.searchsorted(begins, side="right") - 1
    rows = row_begins.searchsorted(ends) - low
    tile = np.arange(len(begins)).repeat(rows)
    row = np.arange(len(tile)) - (rows.cumsum() - rows - low).repeat(rows)
    column = begins[tile] - row_begins[row]
    column[column < 0] = 0
    begin = row_begins[row] + column
    length = np.minimum(ends[tile] - begin, width - column)
    runs = _Runs(tile, row, begin - firsts[tile], column, length)
    kept = length > 0
    return runs if kept.all() else _Runs(*(values[kept] for values in runs))
