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
from miniconv.codegen.records import RUN, SOURCE, TILE, Table
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
    begins = np.cumsum([0, *sizes[:-1]]) * lanes.vector
    ends = np.minimum(begins + sizes * lanes.vector, total)
    rows = np.arange(shape[0] * shape[1])
    row_input = rows // shape[1] * geometry.slice + rows % shape[1] * geometry.row
    y_d, y_h, y_w = lanes.outputs
    row_output = rows // shape[1] * y_d + rows % shape[1] * y_h
    row_lane = rows * shape[2] if lanes.panelled else row_input // size
    in_line = bool((row_lane == rows * shape[2]).all() and (row_output == rows * shape[2] * y_w).all())
    firsts = begins.copy()
    if total >= sizes[-1] * lanes.vector:  # the last tile begins earlier, for the caller's memory may end behind it
        firsts[-1] = min(firsts[-1], total - sizes[-1] * lanes.vector)
        if lanes.again and in_line:
            begins = firsts
    # the runs that are stored; rows of outputs that lie one behind another are one
    width = total if in_line else shape[2]
    runs = _runs(begins, ends, firsts, row_lane[:1] if in_line else row_lane, width)
    output = row_output[runs.row] + runs.column * y_w
    run_table = table(np.stack([runs.lane, runs.length, output], axis=1))
    run_count = np.bincount(runs.tile, minlength=len(sizes))
    start = np.cumsum(run_count) - run_count
    one = np.minimum(start, len(output) - 1)
    dense = (run_count == 1) & (runs.length[one] == sizes * lanes.vector) & (y_w == size)
    fields = {
        "position": np.zeros_like(firsts) if lanes.panelled else firsts * size,
        "vectors": sizes,
        "steps": np.array([steps(int(vectors)) for vectors in sizes]),
        "runs": run_count,
        "run_table": run_table + len(RUN) * start,
        "dense": dense,
        "output": output[one] - runs.lane[one] * y_w,
        **(_sources(lanes, sizes, firsts, ends, row_lane, row_input, table) if lanes.panelled else {}),
    }
    nothing = np.zeros_like(firsts)
    return np.stack([fields.get(name, nothing) for name in TILE], axis=1)


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
    whole = np.where(
        np.bincount(runs.tile, minlength=len(sizes)) == 1,
        runs.length[np.searchsorted(runs.tile, np.arange(len(sizes)))],
        0,
    )
    pieces = -(-runs.length // lanes.vector)
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    lane = np.repeat(runs.lane, pieces) + number * lanes.vector
    column = np.repeat(runs.column, pieces) + number * lanes.vector
    input = row_input[np.repeat(runs.row, pieces)] + column * lanes.itemsize
    count = np.bincount(np.repeat(runs.tile, pieces), minlength=len(sizes))
    first = table(np.stack([lane * lanes.itemsize, input], axis=1))
    return {
        "whole": np.where(whole == sizes * lanes.vector, sizes, 0),
        "sources": count,
        "source_table": first + len(SOURCE) * (np.cumsum(count) - count),
    }


def _runs(begins: Table, ends: Table, firsts: Table, row_begins: Table, width: int) -> _Runs:
    """The rows, ``width`` lanes each, cut to the lanes of the tiles; ``firsts`` are the tiles' lanes number 0."""
    low = np.searchsorted(row_begins, begins, side="right") - 1
    rows = np.searchsorted(row_begins, ends, side="left") - low
    tile = np.repeat(np.arange(len(begins)), rows)
    row = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows) + low[tile]
    begin = np.maximum(begins[tile], row_begins[row])
    length = np.minimum(ends[tile], row_begins[row] + width) - begin
    kept = length > 0
    tile, row, begin, length = (values[kept] for values in (tile, row, begin, length))
    return _Runs(tile, row, begin - firsts[tile], begin - row_begins[row], length)
