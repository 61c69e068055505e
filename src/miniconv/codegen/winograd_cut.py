"""How much Winograd computes at a time: tiles of a block, channels of a chunk, outputs of a panel."""

from __future__ import annotations

from typing import NamedTuple

from miniconv.codegen.schedule import Tile, choose_tile, split
from miniconv.codegen.target import Target
from miniconv.codegen.winograd_axis import Form
from miniconv.codegen.winograd_form import SCRATCH_BYTES, STEPS

__all__ = ["Cut", "cut_of"]

CHANNELS = 128  # that are transformed together, at most, so that V and the sums of many outputs fit scratch
PLACES = 2048  # of all channels that are transformed together, at most, for the same reason


class Cut(NamedTuple):
    """How much is computed at a time."""

    tile: Tile
    vectors: int
    chunk: int
    panel: int  # blocks of tile.rows outputs
    part: int  # likewise: how many share one transformed input


def cut_of(form: Form, channels: int, outputs: int, vectors: int, target: Target, itemsize: int) -> Cut:
    """How wide a block is, and how much it holds at a time.

    V and M stay in three quarters of the second cache while U is there too. A U that is larger comes from
    further away for every block: then blocks are as wide as scratch allows.
    """
    places, sums = (n * target.vector_bytes for n in (form.places, form.sums))  # one vector wide
    room = SCRATCH_BYTES * 7 // 8
    far = form.places * channels * outputs * itemsize > target.l2_bytes // 2
    held = room if far else target.l2_bytes * 3 // 4
    tile = choose_tile(outputs, min(vectors, 12) * target.lanes(itemsize), target, itemsize, near=True)
    chunk = _channels_together(form, channels)
    each = places * chunk + sums * min(outputs, 256 if far else outputs)
    wide = min(vectors, max(tile.vectors, held // each))
    if tile.vectors < wide < vectors:
        wide -= wide % tile.vectors
    width = max(split(split(vectors, wide)[0], tile.vectors))
    rows = max(split(outputs, (target.registers - 1 - width) // width))
    blocks = -(-outputs // rows)
    panel = max(1, min(blocks, (held // wide - places * chunk) // (sums * rows)))
    return Cut(Tile(rows, width), wide, chunk, panel, blocks if chunk == channels else panel)


def _channels_together(form: Form, channels: int) -> int:
    """How many channels are transformed at a time: all, or a part that fills the vectors of transformed weights."""
    most = CHANNELS
    while most * form.places > PLACES:
        most //= 2
    chunks = -(-channels // most)
    each = min(most, STEPS)
    return channels if chunks == 1 else -(-channels // (chunks * each)) * each
