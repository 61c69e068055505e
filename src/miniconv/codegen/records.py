"""The records that a program is made of: one array of 64-bit integers, which kernels walk and ``model`` executes.

The first words are ``HEAD``. A problem is so many images, groups and *items*; an item is a box of one pass and a range
of its channel blocks: where its operands begin, and the pass's record (``PASS``), which passes that differ in nothing
else share. It names tables in turn:

    phase_table   (f_d, f_h, f_w) for each phase plane that is packed
    chunk_table   CHUNK: channels that are packed at a time, and their blocks of steps
    block of steps  STEPS: where its steps begin in the table of steps, how many, and what to add to both operands
    table of steps  (input bytes, weight bytes): one multiply-add of every output in the tile
    block_table   BLOCK: the first output channel, and how many rows of the tile
    tile_table    TILE: where its input begins, how many vectors, and the runs that are stored
    run_table     RUN: lanes that are outputs which lie one behind another
    source_table  SOURCE: a vector of a panel's row, and where in the box's input it comes from

Distances are bytes, sizes and counts elements. Tables are named by the word of the program where they begin.
``packed``, ``panelled`` and ``store`` are numbers of functions (``PARTS``) that do it, or 0 where it is not done.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLOCK",
    "CHUNK",
    "HEAD",
    "ITEM",
    "KERNELS",
    "MAX_VECTORS",
    "PARTS",
    "PASS",
    "RUN",
    "SOURCE",
    "STEPS",
    "TILE",
    "Table",
    "rows_of",
]

Table = NDArray[np.int64]

MAX_ROWS, MAX_VECTORS = 30, 6  # of a tile
# The table of micro-kernels has an address for each number of rows and vectors: first of those that read a table of
# steps, then of those that walk a panel.
KERNELS = (2, MAX_ROWS + 1, MAX_VECTORS + 1)
# Behind them it has one for each other function that a program may call. A program names it by this number.
PARTS = {
    name: math.prod(KERNELS) + index
    for index, name in enumerate(("run", "pack", "pack_across", "panel", "runs", "runs_across"))
}


def rows_of(*columns: Table) -> Table:
    """A table of which these are the columns."""
    return np.array(columns, np.int64).T


def _fields(*names: str) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}


HEAD = _fields("images", "groups", "items", "item_table")
ITEM = _fields(
    *("pass", "d", "h", "w"),  # the first input cell
    *("weight", "output", "first_block", "end_block"),
)
PASS = _fields(
    *("x_image", "x_group", "x_channel", "x_d", "x_h", "x_w"),  # the caller's input
    *("size_d", "size_h", "size_w"),  # cells of the input
    *("step_d", "step_h", "step_w"),  # from a packed cell to the next, in cells of the input
    *("packed", "planes", "phases", "phase_table", "rows_d", "rows_h"),
    *("pitch", "overlap", "row", "slice", "plane", "channel"),
    *("panelled", "panels", "panel"),  # the first panel in scratch memory, and from a tile's to the next one's
    *("w_group", "w_row", "steps", "chunks", "chunk_table"),
    *("y_image", "y_group", "y_channel", "y_w", "store"),
    *("outputs", "block_table", "tiles", "tile_table", "channels_outside"),
)
CHUNK = _fields("channel", "channels", "blocks", "block_table", "weight")
STEPS = _fields("first", "count", "input", "weight", "panel")  # panel: rows to add to a step's number in its block
BLOCK = _fields("channel", "rows")
TILE = _fields(
    *("position", "vectors", "kernel", "steps"),  # kernel: the first of so many vectors in the table of micro-kernels
    *("runs", "run_table", "dense", "output"),
    *("whole", "sources", "source_table"),  # whole: vectors that lie one behind another in the input, or 0
)
RUN = _fields("lane", "count", "output")
SOURCE = _fields("lane", "input")
