"""Winograd as tables: tiles of outputs, which of them are computed together, and where everything lies.

With the matrices of a ``Form``, a tile of 2x2 outputs is

    A^T [ sum over channels of (G g G^T) * (B^T d B) ] A          (* elementwise; d: inputs, g: weights)

so each place of a transformed tile is a matrix product, [outputs, channels] by [channels, tiles], and the direct
path's micro-kernel computes it: its *lanes* are tiles here, its steps channels. Places that join in a sum are one
matrix product, the channels of each place one after another. The order of work is

    stage 1   every weight transformed:  U [plane][output block][channel / lanes][output][lane], memory for all threads
    stage 2   for each block of tiles, and each part of the outputs:
                  the tiles' inputs transformed:  V [plane][channel][lane]
                  the products:                   M [sum][output][lane], a panel of outputs at a time
                  M transformed back, plus bias, to the output
    then      images in which a number came out that is not finite, if any, once more by the direct path

A block is so small that its V and M stay in the second cache. Its tiles need not be a rectangle: they are counted
image after image, row after row, and cut where the vectors are full. So no lane idles but the last few. The pieces of a
block that *are* rectangles are its *regions*: a region's input is copied to a small buffer that has the padding's zeros
around it, from which tiles are taken a step apart.

A convolution of dilation d is d * d undilated ones, of the rows and columns that lie d apart. Each is a *lattice* whose
tiles are counted like another image's; only the strides between its rows and columns differ.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product

import numpy as np
from numpy.typing import NDArray

from miniconv.codegen.records import Table, rows_of
from miniconv.codegen.schedule import Layout, Tile, ranges, split
from miniconv.codegen.target import Target
from miniconv.codegen.winograd_axis import Form, form_of
from miniconv.codegen.winograd_cut import Cut, cut_of
from miniconv.codegen.winograd_form import (
    DISTANT_BYTES,
    HEAD,
    LINE_BYTES,
    REGION,
    STAGGER,
    TURN_BYTES,
    Lattice,
    images_together,
    lattices_of,
)
from miniconv.problem import ConvProblem

__all__ = ["WinogradSchedule"]


@dataclass(frozen=True)
class WinogradSchedule:
    """All tables of one problem.

    Attributes:
        form: the tile's matrices.
        program: the tables.
        kernels: the (whether of panels, rows, vectors) of the micro-kernels that are called.
        tile: the largest of them.
        units: of the stages 1 and 2.
        lanes: elements of a vector.
        vectors: of the largest block.
        chunk: channels that are transformed at a time.
        panel: outputs whose products are kept at a time.
        scratch_bytes, shared_bytes: memory for each thread, and for all together.
    """

    form: Form
    program: Table
    kernels: frozenset[tuple[bool, int, int]]
    tile: Tile
    units: tuple[int, int]
    lanes: int
    vectors: int
    chunk: int
    panel: int
    scratch_bytes: int
    shared_bytes: int

    @classmethod
    def of(
        cls, problem: ConvProblem, layout: Layout, target: Target, itemsize: int, threads: int = 1
    ) -> WinogradSchedule:
        """The schedule of a problem that is not refused, for operands that lie as ``layout`` says."""
        return _Writer(problem, layout, target, itemsize, threads).schedule()


class _Writer:
    """Writes the tables; a class for what they all need to know."""

    def __init__(self, problem: ConvProblem, layout: Layout, target: Target, itemsize: int, threads: int) -> None:
        self.problem, self.layout, self.target = problem, layout, target
        self.itemsize, self.threads = itemsize, threads
        self.lanes = target.lanes(itemsize)
        self.form = form_of(problem.kernel_size, problem.stride)
        self.channels = problem.in_channels // problem.groups
        self.outputs = problem.out_channels // problem.groups
        self.images = problem.batched_input_shape[0]
        self.words: list[Table] = [np.zeros(len(HEAD), np.int64)]
        self.end = len(HEAD)

    def table(self, rows: object) -> int:
        """Append a table; the word where it begins."""
        words = np.asarray(rows, np.int64).reshape(-1)
        begin, self.end = self.end, self.end + len(words)
        self.words.append(words)
        return begin

    def schedule(self) -> WinogradSchedule:
        """Every table, then the head, which says where they are."""
        lattices = list(lattices_of(self.problem))
        tiles = int(self.tiles(np.array([lattice.size for lattice in lattices])).prod(axis=1).sum())
        together = images_together(self.images, tiles, self.lanes)
        vectors = -(-tiles * together // self.lanes)
        cut = cut_of(self.form, self.channels, self.outputs, vectors, self.target, self.itemsize)
        sizes = split(vectors, cut.vectors)
        blocks, buffer_bytes = self.blocks(lattices, together, sizes, cut.tile.vectors)
        rows = split(self.outputs, cut.tile.rows)
        units = self.images // together * self.problem.groups * len(blocks)
        parts = split(len(rows), min(cut.part, -(-len(rows) // self.parts_for_threads(units))))
        bounds = [*accumulate(parts, initial=0)]
        head, scratch_bytes, shared_bytes = self.memory(cut, buffer_bytes, sizes[0])
        chunks = self.chunks(cut.chunk, head)
        head |= self.distances() | {
            "blocks": len(blocks),
            "block_table": self.table(blocks),
            "parts": len(parts),
            "part_table": self.table(list(pairwise(bounds))),
            "together": together,
            "panel": cut.panel,
            "row_blocks": len(rows),
            "row_table": self.table(list(zip(accumulate(rows, initial=0), rows))),
            "chunks": len(chunks),
            "chunk_table": self.table(chunks),
            "joined_table": self.table(self.form.joined),
        }
        self.words[0][:] = [head.get(name, 0) for name in HEAD]
        widths = {width for size in set(sizes) for width in split(size, cut.tile.vectors)}
        return WinogradSchedule(
            form=self.form,
            program=np.concatenate(self.words),
            kernels=frozenset(product([False], set(rows), widths)),
            tile=cut.tile,
            units=(self.problem.groups * len(rows), units * len(parts)),
            lanes=self.lanes,
            vectors=sizes[0],
            chunk=cut.chunk,
            panel=min(cut.panel * cut.tile.rows, self.outputs),
            scratch_bytes=scratch_bytes,
            shared_bytes=shared_bytes,
        )

    def chunks(self, size: int, where: dict[str, int]) -> list[tuple[int, int, int]]:
        """The chunks of channels, and where each one's steps are: plane after plane of those that join in a sum."""
        tables = {}
        chunks = [(c, min(size, self.channels - c)) for c in range(0, self.channels, size)]
        for channels in {count for _, count in chunks}:
            plane, c = np.divmod(np.arange(self.form.longest * channels), channels)
            u = plane * where["u_plane"] + c // self.lanes * where["u_group"] + c % self.lanes * self.itemsize
            tables[channels] = self.table(rows_of(plane * where["v_plane"] + c * where["v_row"], u))
        return [(c, count, tables[count]) for c, count in chunks]

    def tiles(self, size: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many tiles so many outputs take, on each axis."""
        tiles: NDArray[np.int64] = -(-size // np.array(self.form.outputs))
        return tiles

    def parts_for_threads(self, units: int) -> int:
        """How many parts of the outputs each block needs, for every thread to have as much to do."""
        return 1 if units % self.threads == 0 or units >= 4 * self.threads else self.threads

    def blocks(
        self, lattices: Sequence[Lattice], together: int, sizes: Sequence[int], widest: int
    ) -> tuple[Table, int]:
        """The blocks' records, and the bytes of the largest buffer."""
        bounds = _sums(np.array(sizes)) * self.lanes
        regions, block, buffers = self.regions(lattices, together, bounds)
        table = self.table(regions)
        count = np.bincount(block, minlength=len(sizes))
        tables = {}
        for size in set(sizes):
            stretches = ranges(size, widest)
            tables[size] = size, len(stretches), self.table(stretches)
        first = table + len(REGION) * (count.cumsum() - count)
        return rows_of(*np.array([tables[size] for size in sizes]).T, count, first, buffers), int(buffers.max())

    def regions(self, lattices: Sequence[Lattice], together: int, bounds: Table) -> tuple[Table, Table, Table]:
        """The records of all regions, the block of each, and the bytes of each block's buffer."""
        first, size = (np.tile([lattice[i] for lattice in lattices], (together, 1)) for i in (0, 1))
        rows, columns = self.tiles(size).T
        begins = _sums(rows * columns)
        # cut where blocks begin, where images do, and around a block's whole rows: what is left are rectangles
        inner = bounds[(bounds > 0) & (bounds < begins[-1])]
        at = begins.searchsorted(inner, side="right") - 1
        width, local = columns[at], inner - begins[at]
        cuts = np.unique(np.concatenate([begins, inner, inner - local % width, inner + -local % width]))
        start, length = cuts[:-1], cuts[1:] - cuts[:-1]
        of = begins.searchsorted(start, side="right") - 1
        row, column = np.divmod(start - begins[of], columns[of])
        many = (column == 0) & (length >= columns[of])
        rows, columns = np.where(many, length // columns[of], 1), np.where(many, columns[of], length)
        block = bounds.searchsorted(start, side="right") - 1
        # whole vectors are read from the buffer, and behind them what a tile sees of the next one's cells
        tall, wide = self.form
        vectors = wide.step * -(-columns // self.lanes) - (wide.step - wide.seen) // self.lanes
        pitch = self.lanes * vectors * self.itemsize
        buffer = _sums(pitch * (tall.step * rows + tall.seen - tall.step))
        of_block = buffer[start.searchsorted(bounds)]
        fields = {
            **{"image": of // len(lattices), "lane": start - bounds[block], "rows": rows, "columns": columns},
            **{"buffer": buffer[:-1] - of_block[block], "pitch": pitch, "input": 0, "output": 0},
        }
        axes = ("row", row, rows), ("column", column, columns)
        for axis, (name, begin, tiles) in enumerate(axes):
            dilation, form = self.problem.dilation[axis], self.form[axis]
            output = first[of, axis] + dilation * form.outputs * begin
            # of the input, the first cell that is seen: it may not exist
            cell = output * self.problem.stride[axis] - self.problem.padding[axis][0]
            seen = form.step * tiles + form.seen - form.step
            low = np.minimum(np.maximum(-(cell // dilation), 0), seen)
            high = np.minimum(np.maximum(-((cell - self.problem.input_size[axis]) // dilation), low), seen)
            fields |= {f"first_{name}": low, f"{name}s_seen": high - low}
            fields |= {f"out_{name}s": np.minimum(form.outputs * tiles, size[of, axis] - form.outputs * begin)}
            fields["input"] += (cell + low * dilation) * self.layout.input[3 + axis]
            fields["output"] += output * self.layout.output[3 + axis]
        fields["first_row"] = fields["first_row"] * pitch
        fields["first_column"] = fields["first_column"] * self.itemsize
        return rows_of(*(fields[name] for name in REGION)), block, of_block[1:] - of_block[:-1]

    def distances(self) -> dict[str, int]:
        """What the caller's operands say."""
        x, w, y = self.layout
        dilation = self.problem.dilation
        row = self.itemsize * self.form.columns.taps
        dense = (w[1], w[3], w[4]) == (row * self.form.rows.taps, row, self.itemsize)
        return {
            **{"channels": self.channels, "images": self.images},
            **{"w_row": w[0], "w_channel": w[1], "w_h": w[3], "w_w": w[4], "dense": dense},
            **{"groups": self.problem.groups, "outputs": self.outputs},
            **{"x_image": x[0], "x_group": x[1] * self.channels, "x_channel": x[1]},
            **{"x_row": x[3] * dilation[0], "x_column": x[4] * dilation[1]},
            **{"y_image": y[0], "y_group": y[1] * self.outputs, "y_channel": y[1]},
            **{"y_row": y[3] * dilation[0], "y_column": y[4] * dilation[1]},
        }

    def memory(self, cut: Cut, buffer_bytes: int, vectors: int) -> tuple[dict[str, int], int, int]:
        """Where scratch and shared memory hold what, and their sizes."""
        stagger, row = STAGGER * self.itemsize, vectors * self.target.vector_bytes
        where = {"v_row": row, "v_plane": cut.chunk * row + stagger}
        where["m_plane"] = min(cut.panel * cut.tile.rows, self.outputs) * row + stagger
        lines, along = self.form.outputs
        where["line"] = along * row
        where["buffer"] = _lines(buffer_bytes)
        x, _, y = self.layout
        turned = x[1] == self.itemsize != x[4] and where["buffer"] * self.lanes <= TURN_BYTES
        where["turned_in"] = self.lanes if turned else 1
        where["turned_out"] = self.lanes if y[1] == self.itemsize != y[4] else 1
        end = max(where["buffer"] * where["turned_in"], _lines(math.prod(self.form.taps) * self.target.vector_bytes))
        sizes = {
            "planes": self.form.places * where["v_plane"],
            "sums": self.form.sums * where["m_plane"],
            "lines": lines * where["line"] * where["turned_out"],
            "checks": row,
        }
        for name, size in sizes.items():
            where[name], end = end, end + _lines(size)
        where["u_group"] = cut.tile.rows * self.target.vector_bytes
        where["u_block"] = -(-self.channels // self.lanes) * where["u_group"]
        blocks = self.problem.groups * -(-self.outputs // cut.tile.rows)
        where["u_plane"] = blocks * where["u_block"] + stagger
        where["u_distant"] = int(self.form.places * where["u_plane"] > DISTANT_BYTES)
        where["flags"] = self.form.places * where["u_plane"]
        return where, end, where["flags"] + 8 * self.images


def _sums(x: Table) -> Table:
    """The sums of the first 0, 1, 2, ... of them."""
    return np.array([0, *x.tolist()]).cumsum()


def _lines(size: int) -> int:
    """That many bytes, as whole cache lines."""
    return -(-size // LINE_BYTES) * LINE_BYTES
