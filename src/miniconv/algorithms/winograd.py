"""Winograd: fewer multiplications for a 3x3 kernel, F(2x2, 3x3) and F(4x4, 3x3).

The output is cut into m x m tiles. A tile needs (m + 2) x (m + 2) inputs d, and with three small constant matrices

    tile = A^T [ (G g G^T) * (B^T d B) ] A          (* elementwise)

for each kernel g: (m + 2)^2 multiplications instead of 9 m^2, so 16 instead of 36 for m = 2, and 36 instead of 144 for
m = 4. Over channels, the elementwise products of one place in the tile are a matrix product, [C_out, C_in / groups] by
[C_in / groups, tiles]; the inverse transform with A runs once, after the sum.

The two variants are one text with different matrices. A transform adds up scaled slices and skips the zeros of its
matrix, so that an infinity is never multiplied by a zero of the matrix; yet tiles mix their elements by construction,
so an infinity or a NaN in the input spreads over the tiles that see it.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from miniconv.arrays import Array, blocks, empty, matmul, pad, permute, windows
from miniconv.dtypes import DTYPES
from miniconv.problem import ConvProblem

__all__ = ["F2", "F4", "Winograd", "conv_f2", "conv_f4", "unsupported_reason"]

KERNEL = 3
Matrix = tuple[tuple[float, ...], ...]


class Winograd(NamedTuple):
    """One variant: its three matrices, and how many roundings they cost.

    Attributes:
        b_t: B^T, (m + 2, m + 2), transforms the input.
        g: G, (m + 2, 3), transforms the kernel.
        a_t: A^T, (m, m + 2), transforms the products back.
        roundings: with S_W = |A^T| [(|G| |g| |G^T|) * (|B^T| |d| |B|)] |A| summed over the channels, each element
            is within gamma_(C_in / groups + roundings) * S_W of the exact one.
    """

    b_t: Matrix
    g: Matrix
    a_t: Matrix
    roundings: int

    @property
    def tile(self) -> int:
        """m, the outputs of a tile on each axis."""
        return len(self.a_t)


F2 = Winograd(
    b_t=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    g=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    a_t=((1, 1, 1, 0), (0, 1, -1, -1)),
    roundings=12,
)
"""F(2x2, 3x3). Roundings on both axes: input 2, kernel 4 (halving is exact), output 4, and the product: 11 at most."""

F4 = Winograd(
    b_t=(
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    g=(
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
    a_t=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    roundings=24,
)
"""F(4x4, 3x3). Roundings on both axes: input 6, kernel 8 (1/6 is itself rounded), output 8, and the product: 23."""


def unsupported_reason(problem: ConvProblem) -> str | None:
    """Why Winograd refuses the problem; None if it serves it."""
    if problem.transposed:
        return "a transposed convolution runs as the input gradient of its adjoint"
    if problem.kernel_size != (KERNEL, KERNEL):
        return f"the transforms are for 3x3 kernels, but this one is {'x'.join(map(str, problem.kernel_size))}"
    if problem.stride != (1, 1):
        return f"a tile is made of neighbouring outputs, so the stride must be 1, but it is {problem.stride}"
    if problem.dilation != (1, 1):
        return f"a tile is made of neighbouring inputs, so the dilation must be 1, but it is {problem.dilation}"
    if DTYPES[problem.dtype].kind != "float":
        return f"the kernel's transform has fractions and floating-point matrices, which {problem.dtype} does not take"
    return None


def conv_f2(problem: ConvProblem, input: Array, weight: Array) -> Array:
    """The convolution with F(2x2, 3x3), without its bias.

    Args:
        problem: a problem that ``unsupported_reason`` does not refuse.
        input: (N, C_in, H_in, W_in), in the compute dtype.
        weight: (C_out, C_in / groups, 3, 3), likewise.

    Returns:
        (N, C_out, H_out, W_out), in the compute dtype.

    Numerics: exact on integers if 4 * S_W < 2^24 in float32; else within gamma_(C_in / groups + 12) * S_W.
    Cost: 4 multiplications for each output, input and output channel instead of 9; workspace: the transformed
    kernels, 16 / 9 of the weight; the transformed tiles of a block, within twice ``arrays.COLUMNS_BYTES``; and a padded
    copy of the input.

    >>> problem = ConvProblem.parse("conv2d n1 c1 o1 i4x4 k3x3")
    >>> conv_f2(problem, np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4), np.ones((1, 1, 3, 3), np.float32))
    array([[[[45., 54.],
             [81., 90.]]]], dtype=float32)
    """
    return _conv(F2, problem, input, weight)


def conv_f4(problem: ConvProblem, input: Array, weight: Array) -> Array:
    """The convolution with F(4x4, 3x3), without its bias: fewer multiplications, larger rounding errors.

    Args:
        problem: a problem that ``unsupported_reason`` does not refuse.
        input: (N, C_in, H_in, W_in), in the compute dtype.
        weight: (C_out, C_in / groups, 3, 3), likewise.

    Returns:
        (N, C_out, H_out, W_out), in the compute dtype.

    Numerics: within gamma_(C_in / groups + 24) * S_W; never claimed exact, for 1/6 and 1/24 are rounded.
    Cost: 2.25 multiplications for each output, input and output channel instead of 9; workspace: the transformed
    kernels, 4 times the weight; the transformed tiles of a block, within twice ``arrays.COLUMNS_BYTES``; and a padded
    copy of the input.

    >>> problem = ConvProblem.parse("conv2d n1 c1 o1 i4x4 k3x3")
    >>> input = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    >>> output = conv_f4(problem, input, np.ones((1, 1, 3, 3), np.float32))
    >>> bool(abs(output[0, 0] - [[45, 54], [81, 90]]).max() < 1e-4)
    True
    """
    return _conv(F4, problem, input, weight)


@np.errstate(over="ignore", invalid="ignore")
def _conv(variant: Winograd, problem: ConvProblem, input: Array, weight: Array) -> Array:
    """Transform kernels and tiles, multiply, transform back; a block of tiles at a time."""
    output = empty(problem.batched_output_shape, input)
    if 0 in problem.batched_output_shape:
        return output
    m, seen, groups = variant.tile, variant.tile + KERNEL - 1, problem.groups
    tiles = [-(-size // m) for size in problem.output_size]
    # the last tiles may reach past the output: zeros for them to see, and their surplus is cut off below
    surplus = [t * m - size for t, size in zip(tiles, problem.output_size)]
    padded = pad(input, [(low, high + extra) for (low, high), extra in zip(problem.padding, surplus)])
    view = windows(padded, [seen, seen], [m, m], [1, 1])  # (N, C_in, *tiles, seen, seen)
    kernels = _transform(variant.g, weight, axes=(2, 3))
    kernels = permute(kernels.reshape(groups, -1, *kernels.shape[1:]), (3, 4, 0, 1, 2))  # (seen, seen, g, oc, ic)
    tile_bytes = seen * seen * (problem.in_channels + problem.out_channels) * input.itemsize
    for n, *at in blocks((output.shape[0], *tiles), tile_bytes):
        corner = [slice(a.start * m, min(a.stop * m, size)) for a, size in zip(at, problem.output_size)]
        target = output[(n, slice(None), *corner)]
        whole = _outputs_of_tiles(variant, kernels, view[(n, slice(None), *at)])
        target[...] = whole[..., : target.shape[2], : target.shape[3]]
    return output


def _outputs_of_tiles(variant: Winograd, kernels: Array, view: Array) -> Array:
    """A block of tiles (n, C_in, rows, cols, seen, seen) to its outputs (n, C_out, rows * m, cols * m), surplus too."""
    n, _, rows, cols, seen, _ = view.shape
    m, (groups, per_group, channels) = variant.tile, kernels.shape[2:]  # kernels: (seen, seen, g, oc, ic)
    split = _transform(variant.b_t, view, axes=(4, 5)).reshape(n, groups, channels, rows * cols, seen, seen)
    tiles = permute(split, (4, 5, 1, 2, 0, 3)).reshape(seen, seen, groups, channels, n * rows * cols)
    back = _transform(variant.a_t, matmul(kernels, tiles), axes=(0, 1))  # (m, m, g, oc, n * rows * cols)
    placed = permute(back.reshape(m, m, groups * per_group, n, rows, cols), (3, 2, 4, 0, 5, 1))
    return placed.reshape(n, groups * per_group, rows * m, cols * m)


def _transform(matrix: Matrix, x: Array, axes: Sequence[int]) -> Array:
    """The constant matrix applied along both axes of ``x``, as sums of scaled slices; its zeros are skipped."""
    for axis in axes:
        before = (slice(None),) * axis
        result = empty((*x.shape[:axis], len(matrix), *x.shape[axis + 1 :]), x)
        for row, coefficients in enumerate(matrix):
            terms = [(c, x[(*before, j)]) for j, c in enumerate(coefficients) if c]
            total = terms[0][1] * terms[0][0]
            for c, term in terms[1:]:
                total += term if c == 1 else term * c
            result[(*before, row)] = total
        x = result
    return x
