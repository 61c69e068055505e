"""The words of the Winograd path: its sizes, the tables' fields, and which problems it has a form for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from miniconv.codegen.winograd_axis import LARGEST_KERNEL, LARGEST_STRIDE, form_of
from miniconv.problem import ConvProblem

__all__ = [
    "BLOCK",
    "CHUNK",
    "DISTANT_BYTES",
    "HEAD",
    "JOINED",
    "LINE_BYTES",
    "PART",
    "REGION",
    "SCRATCH_BYTES",
    "SHARED_BYTES",
    "STAGGER",
    "STEPS",
    "TURN_BYTES",
    "Lattice",
    "images_together",
    "lattices_of",
    "refusal",
]

LINE_BYTES = 64
STEPS = 64  # products that are summed in registers: 128 and 256 have 1.3 and 1.8 times the error, and save 1 to 3 %
SCRATCH_BYTES = 2 << 20
DISTANT_BYTES = 8 << 20  # of transformed weights: more of them come from so far away that they are fetched ahead
SHARED_BYTES = 64 << 20  # of transformed weights, before they are filled up to whole vectors
TURN_BYTES = 192 << 10  # of scratch for the input of channels that are turned together
STAGGER = 80  # elements between planes: distances that are powers of two would all fall into one set of the cache


def _fields(*names: str) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}


# Distances in bytes, sizes and counts in elements; tables are named by the word of the program where they begin.
HEAD = _fields(
    *("channels", "w_row", "w_channel", "w_h", "w_w", "dense", "u_group", "u_block", "u_plane", "u_distant"),
    *("flags", "images"),  # in shared memory, behind U: a word for each image, not 0 if it is to be computed again
    *("groups", "blocks", "block_table", "parts", "part_table", "together", "panel"),
    *("x_image", "x_group", "x_channel", "x_row", "x_column"),
    *("y_image", "y_group", "y_channel", "y_row", "y_column"),
    *("outputs", "row_blocks", "row_table", "chunks", "chunk_table", "joined_table"),
    *("planes", "v_row", "v_plane", "sums", "m_plane", "lines", "line", "checks", "buffer"),  # in scratch
    *("turned_in", "turned_out"),  # channels that are turned together: a vector's width, or 1
)
BLOCK = _fields("vectors", "tiles", "tile_table", "regions", "region_table", "buffer")
REGION = _fields(
    *("image", "lane", "rows", "columns"),  # tiles
    *("buffer", "pitch", "first_row", "first_column"),  # a row of the buffer; where input that exists begins in it
    *("input", "rows_seen", "columns_seen"),  # what exists of the input
    *("output", "out_rows", "out_columns"),
)
CHUNK = _fields("channel", "channels", "steps")
JOINED = _fields("plane", "planes")  # of a sum
PART = _fields("first", "end")  # blocks of outputs


class Lattice(NamedTuple):
    """Outputs of one image that form an undilated convolution: the first one, and how many on each axis."""

    first: tuple[int, int]
    size: tuple[int, int]


def refusal(problem: ConvProblem) -> str | None:
    """Why there is no Winograd form of ``problem``; None if there is one."""
    if problem.transposed or problem.spatial_dims != 2:
        return f"Winograd's tiles are for an ordinary conv2d, and this is {problem.op}"
    kernel, stride = ("x".join(map(str, pair)) for pair in (problem.kernel_size, problem.stride))
    if max(problem.kernel_size) > LARGEST_KERNEL or max(problem.stride) > LARGEST_STRIDE:
        return (
            f"Winograd's forms are for kernels up to {LARGEST_KERNEL} and strides up to {LARGEST_STRIDE} on each axis, "
            f"and these are {kernel} and {stride}"
        )
    if form_of(problem.kernel_size, problem.stride).saved == 1:
        return f"Winograd saves no product of a kernel of {kernel} at a stride of {stride}"
    if problem.dtype not in ("float32", "float64"):
        return f"Winograd's transforms halve, and {problem.dtype} has no kernel that does"
    if 0 in problem.batched_input_shape or 0 in problem.batched_output_shape:
        return "there is nothing to compute"
    return None


def lattices_of(problem: ConvProblem) -> Iterator[Lattice]:
    """The undilated convolutions in one image, the empty ones left out."""
    for first in product(*(range(min(d, n)) for d, n in zip(problem.dilation, problem.output_size))):
        d, n = problem.dilation, problem.output_size
        yield Lattice((first[0], first[1]), (-(-(n[0] - first[0]) // d[0]), -(-(n[1] - first[1]) // d[1])))


def images_together(images: int, tiles: int, lanes: int) -> int:
    """How many images' tiles are counted through: the fewest (a divisor of all) that fill the lanes and some blocks."""
    divisors = [n for n in range(1, min(images, 64) + 1) if images % n == 0]
    filled = [n for n in divisors if n * tiles >= 24 * lanes and -(-n * tiles // lanes) * lanes <= 1.04 * n * tiles]
    return filled[0] if filled else divisors[-1]
