"""im2col: copy every window into a column, then do the whole sum as one matrix product a group.

``output[g] = weight[g] @ columns[g]``, where weight[g] is (C_out / groups, C_in / groups * K) and a column holds the
C_in / groups * K elements that one window sees. The product is where a BLAS library is at its best. The price is
memory: with stride 1 each input element is copied once for every tap, so the work is cut into blocks of output
positions whose columns never take more than ``arrays.COLUMNS_BYTES``.

Both gradients are the same product with one factor moved across: the columns' gradient is ``weight^T @ grad_output``,
and is added back into the windows that the columns were copied from; the weight's is ``grad_output @ columns^T``.

Source: Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document Processing", 2006.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from miniconv.arrays import (
    Array,
    blocks,
    columns,
    empty,
    from_rows,
    matmul,
    pad,
    permute,
    tap,
    to_rows,
    windows,
    zeros,
)
from miniconv.problem import ConvProblem

__all__ = ["conv", "input_grad", "unsupported_reason", "weight_grad"]


def unsupported_reason(problem: ConvProblem) -> str | None:
    """Why this algorithm refuses the problem; None if it serves it."""
    return "a transposed convolution runs as the input gradient of its adjoint" if problem.transposed else None


@np.errstate(over="ignore", invalid="ignore")
def conv(problem: ConvProblem, input: Array, weight: Array) -> Array:
    """The convolution of an ordinary problem, without its bias.

    Args:
        problem: what to compute.
        input: (N, C_in, *input_size), in the compute dtype.
        weight: (C_out, C_in / groups, *kernel_size), likewise.

    Returns:
        (N, C_out, *output_size), in the compute dtype.

    Numerics: exact where the sums fit; else each element is within gamma_L of the exact one, L = C_in / groups * K.
    Cost: ``problem.multiply_adds``; workspace: the columns of a block, its product, and a padded copy of the input.

    >>> problem = ConvProblem.parse("conv1d n1 c1 o1 i4 k3 p1 int64")
    >>> conv(problem, np.array([[[1, 2, 3, 4]]]), np.array([[[10, 0, -1]]]))
    array([[[-2,  7, 16, 30]]])
    """
    output = empty(problem.batched_output_shape, input)
    matrix = _matrix(problem, weight)
    view = _windows(problem, pad(input, problem.padding))
    for n, g, o in _blocks(problem, input):
        target = output[_part(problem.out_channels, problem, n, g, o)]
        # the columns have no name: one would keep a block's alive while the next block's are laid out
        product = matmul(matrix[g], columns(view[_part(problem.in_channels, problem, n, g, o)], g.stop - g.start))
        target[...] = from_rows(product, target.shape[0], target.shape[2:])
    return output


@np.errstate(over="ignore", invalid="ignore")
def input_grad(problem: ConvProblem, grad_output: Array, weight: Array) -> Array:
    """The adjoint of ``conv`` in its input: the gradient, and what a transposed convolution computes.

    Args:
        problem: the ordinary problem.
        grad_output: (N, C_out, *output_size), in the compute dtype.
        weight: (C_out, C_in / groups, *kernel_size), likewise.

    Returns:
        (N, C_in, *input_size), in the compute dtype; a view of the padded array, so not always contiguous.

    Numerics: as ``conv``, with L = C_out / groups * K.
    Cost: as ``conv``.

    >>> problem = ConvProblem.parse("conv1d n1 c1 o1 i4 k3 p1 int64")
    >>> input_grad(problem, np.array([[[1, 0, 0, 1]]]), np.array([[[10, 7, -1]]]))
    array([[[ 7, -1, 10,  7]]])
    """
    padded = zeros((*problem.batched_input_shape[:2], *problem.padded_size), grad_output)
    turned = permute(_matrix(problem, weight), (0, 2, 1))
    for n, g, o in _blocks(problem, grad_output):
        rows = to_rows(grad_output[_part(problem.out_channels, problem, n, g, o)], g.stop - g.start)
        _add_columns(problem, padded, matmul(turned[g], rows), n, g, o)
    inside = (slice(low, low + i) for i, (low, _) in zip(problem.input_size, problem.padding))
    return padded[(..., *inside)]


@np.errstate(over="ignore", invalid="ignore")
def weight_grad(problem: ConvProblem, grad_output: Array, input: Array) -> Array:
    """The adjoint of ``conv`` in its weight: the gradient.

    Args:
        problem: the ordinary problem.
        grad_output: (N, C_out, *output_size), in the compute dtype.
        input: (N, C_in, *input_size), likewise.

    Returns:
        (C_out, C_in / groups, *kernel_size), in the compute dtype.

    Numerics: as ``conv``, with L = N * P, P the number of output positions.
    Cost: as ``conv``.

    >>> problem = ConvProblem.parse("conv1d n1 c1 o1 i4 k3 p1 int64")
    >>> weight_grad(problem, np.array([[[1, 0, 0, 1]]]), np.array([[[1, 2, 3, 4]]]))
    array([[[3, 5, 2]]])
    """
    grad = zeros(problem.weight_shape, grad_output)
    matrix = _matrix(problem, grad)
    view = _windows(problem, pad(input, problem.padding))
    for n, g, o in _blocks(problem, input):
        seen = view[_part(problem.in_channels, problem, n, g, o)]
        rows = to_rows(grad_output[_part(problem.out_channels, problem, n, g, o)], g.stop - g.start)
        matrix[g] += matmul(rows, permute(columns(seen, g.stop - g.start), (0, 2, 1)))
    return grad


def _add_columns(problem: ConvProblem, padded: Array, part: Array, n: slice, g: slice, o: Sequence[slice]) -> None:
    """Adds a block's columns back into the windows that they belong to, tap by tap: ``columns`` turned round."""
    size = [s.stop - s.start for s in o]
    starts = (s.start * stride for s, stride in zip(o, problem.stride))
    corner = padded[(*_part(problem.in_channels, problem, n, g, ()), *(slice(start, None) for start in starts))]
    per_group = problem.in_channels // problem.groups
    taps = part.reshape(g.stop - g.start, per_group, *problem.kernel_size, n.stop - n.start, math.prod(size))
    for k in np.ndindex(problem.kernel_size):
        seen = tap(corner, k, size, problem.stride, problem.dilation)
        seen += from_rows(taps[(slice(None), slice(None), *k)], n.stop - n.start, size)


def _matrix(problem: ConvProblem, weight: Array) -> Array:
    """The weight as one matrix a group: (groups, C_out / groups, C_in / groups * K)."""
    return weight.reshape(problem.groups, problem.out_channels // problem.groups, math.prod(problem.weight_shape[1:]))


def _windows(problem: ConvProblem, padded: Array) -> Array:
    """(N, C_in, *output_size, *kernel_size), a view."""
    return windows(padded, problem.kernel_size, problem.stride, problem.dilation)


def _blocks(problem: ConvProblem, like: Array) -> Iterator[tuple[slice, slice, Sequence[slice]]]:
    """Images, groups and output positions whose columns are laid out together; none where there is no output."""
    if 0 in problem.batched_output_shape:
        return
    images = problem.batched_output_shape[0]
    column_bytes = math.prod(problem.weight_shape[1:]) * like.itemsize
    # a 1x1 kernel's columns of one image are the image itself, without a copy; those of several are not
    together = 1 if math.prod(problem.kernel_size) == 1 else images
    for first in range(0, images, together):
        for n, g, *o in blocks((together, problem.groups, *problem.output_size), column_bytes):
            yield slice(first + n.start, first + n.stop), g, o


def _part(channels: int, problem: ConvProblem, n: slice, g: slice, o: Sequence[slice]) -> tuple[slice, ...]:
    """The index of a block in an array with that many channels."""
    per_group = channels // problem.groups
    return (n, slice(g.start * per_group, g.stop * per_group), *o)
