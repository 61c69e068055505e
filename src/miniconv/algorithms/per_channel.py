"""per_channel: one single-channel convolution for each output and input channel, summed over the input channels.

This is how the tutorials that the project grew from explain what a layer does: each of the C_out groups of kernels
holds one kernel for each input channel; each kernel slides over its own channel alone; the results of a group are
added up. ``output[n, oc] = sum over ic of input[n, ic] (*) weight[oc, ic]``, (*) with one channel in and one out.
Chosen for reading, not for speed.
"""

from __future__ import annotations

import numpy as np

from miniconv.arrays import Array, empty, pad, tap, zeros
from miniconv.problem import ConvProblem

__all__ = ["conv", "partial_results", "unsupported_reason"]


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
    Cost: ``problem.multiply_adds``, as C_out * C_in / groups * K passes over one channel of the output; workspace: a
    padded copy of the input, and two channels.

    >>> problem = ConvProblem.parse("conv1d n1 c1 o1 i4 k3 p1 int64")
    >>> conv(problem, np.array([[[1, 2, 3, 4]]]), np.array([[[10, 0, -1]]]))
    array([[[-2,  7, 16, 30]]])
    """
    output = zeros(problem.batched_output_shape, input)
    padded = pad(input, problem.padding)
    for oc in range(output.shape[1]):
        for ic in range(weight.shape[1]):
            output[:, oc] += _single_channel(problem, padded[:, _in_channel(problem, oc, ic)], weight[oc, ic])
    return output


@np.errstate(over="ignore", invalid="ignore")
def partial_results(problem: ConvProblem, input: Array, weight: Array) -> Array:
    """Every single-channel convolution by itself, before the sum over the input channels.

    Args:
        problem: what to compute.
        input: (N, C_in, *input_size), in the compute dtype.
        weight: (C_out, C_in / groups, *kernel_size), likewise.

    Returns:
        (N, C_out, C_in / groups, *output_size); its sum over axis 2 is the convolution.

    >>> problem = ConvProblem.parse("conv1d n1 c2 o1 i3 k2 int64")
    >>> partial_results(problem, np.array([[[1, 2, 3], [4, 5, 6]]]), np.array([[[1, 1], [1, -1]]]))
    array([[[[ 3,  5],
             [-1, -1]]]])
    """
    n, out_channels, *size = problem.batched_output_shape
    partial = empty((n, out_channels, problem.weight_shape[1], *size), input)
    padded = pad(input, problem.padding)
    for oc in range(out_channels):
        for ic in range(weight.shape[1]):
            partial[:, oc, ic] = _single_channel(problem, padded[:, _in_channel(problem, oc, ic)], weight[oc, ic])
    return partial


def _in_channel(problem: ConvProblem, oc: int, ic: int) -> int:
    """The input channel that is channel ``ic`` of the group to which output channel ``oc`` belongs."""
    group = oc // (problem.out_channels // problem.groups)
    return group * (problem.in_channels // problem.groups) + ic


def _single_channel(problem: ConvProblem, channel: Array, kernel: Array) -> Array:
    """One channel (N, *padded) convolved with one kernel (*kernel_size): (N, *output_size)."""
    total = zeros((channel.shape[0], *problem.output_size), channel)
    for k in np.ndindex(problem.kernel_size):
        seen = tap(channel[:, None], k, problem.output_size, problem.stride, problem.dilation)
        total += seen[:, 0] * kernel[k]
    return total
