"""Dilated convolution in two ways, each of which leaves an undilated one to compute.

A dilated kernel's taps stand ``dilation`` apart, so one of the two must give way:

- ``conv_zeros`` writes the kernel out in full, with dilation - 1 zeros between two taps: 3x3 with dilation 2 becomes
  5x5. Simple, and it multiplies by the zeros: prod(effective kernel) / K times the work.
- ``conv_sampled`` thins out the input instead: outputs whose windows start at the same place modulo the dilation see
  the same sample of the input, ``input[phase::dilation]``, and on that sample the kernel is undilated. No product is
  wasted; there is one undilated convolution for each phase.

Both end in a matrix product. For the second, on one axis with g = gcd(stride, dilation): the outputs
``first + j * dilation / g`` (j = 0, 1, ...) start at ``first * stride + j * stride * dilation / g``, which on the input
taken from ``first * stride`` in steps of ``dilation`` is ``j * stride / g``. So each first = 0 ... dilation / g - 1
leaves an undilated convolution of stride ``stride / g``.

Source: Yu and Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", 2016, for the operator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

from miniconv.arrays import Array, blocks, columns, empty, from_rows, matmul, pad, windows, zeros
from miniconv.problem import ConvProblem

__all__ = ["conv_sampled", "conv_zeros", "unsupported_reason"]


def unsupported_reason(problem: ConvProblem) -> str | None:
    """Why these algorithms refuse the problem; None if they serve it (dilation 1 is merely trivial)."""
    return "a transposed convolution runs as the input gradient of its adjoint" if problem.transposed else None


@np.errstate(over="ignore", invalid="ignore")
def conv_zeros(problem: ConvProblem, input: Array, weight: Array) -> Array:
    """The convolution of an ordinary problem, without its bias: zeros inserted into the kernel.

    Args:
        problem: what to compute.
        input: (N, C_in, *input_size), in the compute dtype.
        weight: (C_out, C_in / groups, *kernel_size), likewise.

    Returns:
        (N, C_out, *output_size), in the compute dtype.

    Numerics: exact where the sums fit; else each element is within gamma_L of the exact one, L = C_in / groups * K
    (adding a zero is exact). An infinity or a NaN that falls between two taps meets an inserted zero and makes a NaN.
    Cost: ``problem.multiply_adds`` * prod(effective kernel) / K; workspace: the columns of a block, the kernel in
    full, and a padded copy of the input.

    >>> problem = ConvProblem.parse("conv1d n1 c1 o1 i4 k2 d2 int64")
    >>> conv_zeros(problem, np.array([[[1, 2, 3, 4]]]), np.array([[[10, 1]]]))  # the kernel becomes 10, 0, 1
    array([[[13, 24]]])
    """
    full = zeros((*problem.weight_shape[:2], *problem.effective_kernel), weight)
    full[(..., *(slice(None, None, d) for d in problem.dilation))] = weight
    output = empty(problem.batched_output_shape, input)
    _undilated(pad(input, problem.padding), full, problem.stride, problem.groups, output)
    return output


@np.errstate(over="ignore", invalid="ignore")
def conv_sampled(problem: ConvProblem, input: Array, weight: Array) -> Array:
    """The convolution of an ordinary problem, without its bias: the input sampled in steps of the dilation.

    Args:
        problem: what to compute.
        input: (N, C_in, *input_size), in the compute dtype.
        weight: (C_out, C_in / groups, *kernel_size), likewise.

    Returns:
        (N, C_out, *output_size), in the compute dtype.

    Numerics: exact where the sums fit; else each element is within gamma_L of the exact one, L = C_in / groups * K.
    Cost: ``problem.multiply_adds``; workspace: the columns of a block, and a padded copy of the input.

    >>> problem = ConvProblem.parse("conv1d n1 c1 o1 i4 k2 d2 int64")
    >>> conv_sampled(problem, np.array([[[1, 2, 3, 4]]]), np.array([[[10, 1]]]))  # samples 1, 3 and 2, 4
    array([[[13, 24]]])
    """
    output = empty(problem.batched_output_shape, input)
    padded = pad(input, problem.padding)
    common = [math.gcd(s, d) for s, d in zip(problem.stride, problem.dilation)]
    phases = [d // c for d, c in zip(problem.dilation, common)]
    strides = [s // c for s, c in zip(problem.stride, common)]
    # an axis with fewer outputs than phases has no output in the last ones
    for first in product(*(range(min(q, o)) for q, o in zip(phases, problem.output_size))):
        sample = tuple(slice(f * s, None, d) for f, s, d in zip(first, problem.stride, problem.dilation))
        target = output[(..., *(slice(f, None, q) for f, q in zip(first, phases)))]
        _undilated(padded[(..., *sample)], weight, strides, problem.groups, target)
    return output


def _undilated(padded: Array, weight: Array, stride: Sequence[int], groups: int, output: Array) -> None:
    """An undilated convolution as matrix products, written to ``output`` (N, C_out, *size) block by block."""
    if 0 in output.shape:
        return
    per_group = weight.shape[0] // groups
    matrix = weight.reshape(groups, per_group, math.prod(weight.shape[1:]))
    kernel = weight.shape[2:]
    view = windows(padded, kernel, stride, [1] * len(kernel))
    column_bytes = matrix.shape[2] * padded.itemsize
    for n, g, *o in blocks((output.shape[0], groups, *output.shape[2:]), column_bytes):
        ic = slice(g.start * weight.shape[1], g.stop * weight.shape[1])
        oc = slice(g.start * per_group, g.stop * per_group)
        target = output[(n, oc, *o)]
        # the columns have no name: one would keep a block's alive while the next block's are laid out
        product = matmul(matrix[g], columns(view[(n, ic, *o)], g.stop - g.start))
        target[...] = from_rows(product, target.shape[0], target.shape[2:])
