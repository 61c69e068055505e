"""kn2row: a K_h x K_w convolution is the sum of K_h * K_w shifted 1x1 convolutions.

``output[n, oc, o] = sum over k of (weight[:, :, k] @ input)[n, oc, o * stride - padding_low + k * dilation]``. For each
tap the shifted (and, with a stride, thinned out) input is multiplied by that tap's C_out x C_in matrix, and the
products are added up. Nothing is copied K times: the workspace is one shifted image, where im2col lays out K of them.

Source: Vasudevan, Anderson and Gregg, "Parallel Multi Channel Convolution using General Matrix Multiplication", 2017
(they shift the products; here the input is shifted before the product, which serves strides without waste).
"""

from __future__ import annotations

import numpy as np

from miniconv.arrays import Array, from_rows, matmul, pad, tap, to_rows, zeros
from miniconv.problem import ConvProblem

__all__ = ["conv", "unsupported_reason"]


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
    Cost: ``problem.multiply_adds``; workspace: a padded copy of the input, one shifted image and its product.

    >>> problem = ConvProblem.parse("conv1d n1 c1 o1 i4 k3 p1 int64")
    >>> conv(problem, np.array([[[1, 2, 3, 4]]]), np.array([[[10, 0, -1]]]))
    array([[[-2,  7, 16, 30]]])
    """
    output = zeros(problem.batched_output_shape, input)
    if 0 in problem.batched_output_shape:
        return output
    padded = pad(input, problem.padding)
    matrices = weight.reshape(problem.groups, problem.out_channels // problem.groups, *problem.weight_shape[1:])
    for k in np.ndindex(problem.kernel_size):
        matrix = matrices[(..., *k)]
        shifted = tap(padded, k, problem.output_size, problem.stride, problem.dilation)
        for n in range(output.shape[0]):
            rows = to_rows(shifted[n : n + 1], problem.groups)
            output[n : n + 1] += from_rows(matmul(matrix, rows), 1, problem.output_size)
    return output
