"""The definition of a convolution, as loops. Everything else in miniconv is held against this file.

One output element is a sum of products, over the input channels of its group and over the taps of the kernel. On
every spatial axis, tap k of output o meets the input element

    i = o * stride - padding_low + k * dilation

and a tap that falls outside the input contributes nothing. This one relation between i, o and k says everything: a
convolution sums over the taps of each output; a transposed convolution has the roles of i and o exchanged, and
scatters each input element into the outputs that it reaches; a gradient collects the products that an element took
part in. The loops count n (image), g (group), oc and ic (channels inside the group), and positions and taps as tuples
with one index for each of the 1, 2 or 3 spatial axes, so that the same text serves them all.

NumPy arrays only, of the problem's shapes, batched or not. Numbers are summed one after another in the order of the
loops, in the dtype given: integers wrap modulo 2^n; float16 accumulates in float32 and rounds once at the end;
bfloat16 and complex32, which NumPy lacks, come as float32 and complex64 and are rounded to their own numbers once at
the end; object arrays (``fractions.Fraction``, ``int``) are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from miniconv.dtypes import DTYPES
from miniconv.problem import ConvProblem

__all__ = ["conv", "conv_bias_grad", "conv_input_grad", "conv_weight_grad", "rounded"]

Position = tuple[int, ...]
NDArray = npt.NDArray[Any]


@np.errstate(over="ignore", invalid="ignore")
def conv(problem: ConvProblem, input: NDArray, weight: NDArray, bias: NDArray | None = None) -> NDArray:
    """The convolution itself.

    Ordinary: ``output[n, oc, o] = bias[oc] + sum over ic, k of input[n, ic, i] * weight[oc, ic, k]``, with ic among
    the channels of oc's group. Transposed: every ``input[n, ic, i]`` is multiplied by the kernel ``weight[ic, oc]`` and
    added to the output with tap k at ``o = i * stride - padding_low + k * dilation``; then the bias is added.

    Args:
        problem: what to compute.
        input: ``problem.input_shape``.
        weight: ``problem.weight_shape``.
        bias: (C_out,) or None.

    Returns:
        ``problem.output_shape``, in the input's dtype.

    Numerics: the sum of L terms is within gamma_L of the exact one, L = C_in / groups * K; exact where it fits.
    Cost: ``problem.in_bounds_multiply_adds``, about a microsecond each.

    >>> problem = ConvProblem.parse("conv1d c1 o1 i4 k3 p1 int64")
    >>> conv(problem, np.array([[1, 2, 3, 4]]), np.array([[[10, 0, -1]]]))
    array([[-2,  7, 16, 30]])
    """
    x, w = _operand(problem, input, problem.batched_input_shape), _operand(problem, weight)
    y = (_scatter if problem.transposed else _gather)(problem, x, w)
    if bias is not None and problem.in_channels:  # without input channels torch returns no output channels either
        y = y + _operand(problem, bias).reshape(-1, *(1,) * problem.spatial_dims)
    return _result(problem, y, input, problem.output_shape)


@np.errstate(over="ignore", invalid="ignore")
def conv_input_grad(problem: ConvProblem, grad_output: NDArray, weight: NDArray) -> NDArray:
    """The derivative of ``L = sum of output * grad_output`` with respect to the input.

    ``output[n, oc, o]`` holds ``input[n, ic, i]`` once for every tap k that links i and o, with the factor
    ``weight[oc, ic, k]``, so ``dL / d input[n, ic, i] = sum over oc, k of grad_output[n, oc, o] * weight[oc, ic, k]``
    over those k for which ``i = o * stride - padding_low + k * dilation`` has a solution o inside the output.
    Transposed: weight[ic, oc, k], and ``o = i * stride - padding_low + k * dilation`` always is one.

    Args:
        problem: the forward problem.
        grad_output: ``problem.output_shape``.
        weight: ``problem.weight_shape``.

    Returns:
        ``problem.input_shape``, in grad_output's dtype.

    >>> problem = ConvProblem.parse("conv1d c1 o1 i4 k3 p1 int64")
    >>> conv_input_grad(problem, np.array([[1, 0, 0, 1]]), np.array([[[10, 7, -1]]]))
    array([[ 7, -1, 10,  7]])
    """
    gy, w = _operand(problem, grad_output, problem.batched_output_shape), _operand(problem, weight)
    gx = np.zeros(problem.batched_input_shape, gy.dtype)
    links_of = _links if problem.transposed else _links_back
    for i in np.ndindex(problem.input_size):
        links = list(links_of(problem, i))
        for n, g, ic, oc in _channel_loops(problem):
            in_channel, out_channel = _channels(problem, g, ic, oc)
            kernel = w[in_channel, oc] if problem.transposed else w[out_channel, ic]
            for k, o in links:
                gx[(n, in_channel, *i)] += gy[(n, out_channel, *o)] * kernel[k]
    return _result(problem, gx, grad_output, problem.input_shape)


@np.errstate(over="ignore", invalid="ignore")
def conv_weight_grad(problem: ConvProblem, grad_output: NDArray, input: NDArray) -> NDArray:
    """The derivative of ``L = sum of output * grad_output`` with respect to the weight.

    ``weight[oc, ic, k]`` is a factor of every output in oc, with the input element that tap k meets there, so
    ``dL / d weight[oc, ic, k] = sum over n, o of grad_output[n, oc, o] * input[n, ic, i]``, with
    ``i = o * stride - padding_low + k * dilation`` inside the input. Transposed: weight[ic, oc, k], and the sum is
    over n, i with ``o = i * stride - padding_low + k * dilation`` inside the output.

    Args:
        problem: the forward problem.
        grad_output: ``problem.output_shape``.
        input: ``problem.input_shape``.

    Returns:
        ``problem.weight_shape``, in grad_output's dtype.

    >>> problem = ConvProblem.parse("conv1d c1 o1 i4 k3 p1 int64")
    >>> conv_weight_grad(problem, np.array([[1, 0, 0, 1]]), np.array([[1, 2, 3, 4]]))
    array([[[3, 5, 2]]])
    """
    gy = _operand(problem, grad_output, problem.batched_output_shape)
    x = _operand(problem, input, problem.batched_input_shape)
    gw = np.zeros(problem.weight_shape, gy.dtype)
    for position in np.ndindex(problem.input_size if problem.transposed else problem.output_size):
        links = list(_links(problem, position))
        for n, g, ic, oc in _channel_loops(problem):
            in_channel, out_channel = _channels(problem, g, ic, oc)
            for k, linked in links:
                i, o = (position, linked) if problem.transposed else (linked, position)
                factor = (in_channel, oc) if problem.transposed else (out_channel, ic)
                gw[(*factor, *k)] += gy[(n, out_channel, *o)] * x[(n, in_channel, *i)]
    return _result(problem, gw, grad_output, problem.weight_shape)


@np.errstate(over="ignore", invalid="ignore")
def conv_bias_grad(problem: ConvProblem, grad_output: NDArray) -> NDArray:
    """The derivative of ``L = sum of output * grad_output`` with respect to the bias.

    Every output of channel oc holds ``bias[oc]`` once: ``dL / d bias[oc] = sum over n, o of grad_output[n, oc, o]``.

    Args:
        problem: the forward problem.
        grad_output: ``problem.output_shape``.

    Returns:
        (C_out,), in grad_output's dtype.

    >>> conv_bias_grad(ConvProblem.parse("conv1d c1 o2 i3 k2 bias int64"), np.array([[1, 2], [3, 4]]))
    array([3, 7])
    """
    gy = _operand(problem, grad_output, problem.batched_output_shape)
    gb = np.zeros(problem.out_channels, gy.dtype)
    for n, oc, *o in np.ndindex(gy.shape):
        gb[oc] += gy[(n, oc, *o)]
    return _result(problem, gb, grad_output, gb.shape)


# ---- the two sums ---------------------------------------------------------------------------------------------


def _gather(problem: ConvProblem, x: NDArray, w: NDArray) -> NDArray:
    """Ordinary: each output is the sum of what its window meets; x (N, C_in, *input), w (C_out, C_in / groups, *K)."""
    y = np.zeros(problem.batched_output_shape, x.dtype)
    in_group = problem.in_channels // problem.groups
    for n, out_channel, *o in np.ndindex(y.shape):
        first = out_channel // (problem.out_channels // problem.groups) * in_group
        links = list(_links(problem, tuple(o)))
        for ic in range(in_group):
            for k, i in links:
                y[(n, out_channel, *o)] += x[(n, first + ic, *i)] * w[(out_channel, ic, *k)]
    return y


def _scatter(problem: ConvProblem, x: NDArray, w: NDArray) -> NDArray:
    """Transposed: each input element adds a scaled kernel to the output; w (C_in, C_out / groups, *K)."""
    y = np.zeros(problem.batched_output_shape, x.dtype)
    for i in np.ndindex(problem.input_size):
        links = list(_links(problem, i))
        for n, g, ic, oc in _channel_loops(problem):
            in_channel, out_channel = _channels(problem, g, ic, oc)
            for k, o in links:
                y[(n, out_channel, *o)] += x[(n, in_channel, *i)] * w[(in_channel, oc, *k)]
    return y


# ---- the relation i = o * stride - padding_low + k * dilation -------------------------------------------------


def _links(problem: ConvProblem, position: Position) -> Iterator[tuple[Position, Position]]:
    """Each tap k of the kernel laid at ``position`` that falls inside, and where it falls.

    Ordinary: from an output o to the input elements of its window. Transposed: from an input i to its outputs.
    """
    size = problem.output_size if problem.transposed else problem.input_size
    falls = [
        [(k, place) for k in range(kernel) if 0 <= (place := p * stride - low + k * dilation) < limit]
        for p, limit, kernel, stride, (low, _), dilation in zip(
            position, size, problem.kernel_size, problem.stride, problem.padding, problem.dilation
        )
    ]
    return _joined(falls)


def _links_back(problem: ConvProblem, i: Position) -> Iterator[tuple[Position, Position]]:
    """Each tap k through which an ordinary problem's input i is part of an output, and that output o."""
    falls = [
        [
            (k, steps // stride)
            for k in range(kernel)
            if (steps := p + low - k * dilation) % stride == 0 and 0 <= steps // stride < limit
        ]
        for p, limit, kernel, stride, (low, _), dilation in zip(
            i, problem.output_size, problem.kernel_size, problem.stride, problem.padding, problem.dilation
        )
    ]
    return _joined(falls)


def _joined(falls: Sequence[Sequence[tuple[int, int]]]) -> Iterator[tuple[Position, Position]]:
    """Every choice of one (tap, place) for each axis, as one tap and one place."""
    for choice in product(*falls):
        yield tuple(k for k, _ in choice), tuple(place for _, place in choice)


def _channel_loops(problem: ConvProblem) -> Iterator[tuple[int, ...]]:
    """The loops n, g, ic, oc; ic and oc count inside the group."""
    batch, g = problem.batched_input_shape[0], problem.groups
    return np.ndindex(batch, g, problem.in_channels // g, problem.out_channels // g)


def _channels(problem: ConvProblem, g: int, ic: int, oc: int) -> tuple[int, int]:
    """The input and the output channel that ic and oc of group g are."""
    return (
        g * (problem.in_channels // problem.groups) + ic,
        g * (problem.out_channels // problem.groups) + oc,
    )


# ---- the dtype ------------------------------------------------------------------------------------------------


def _operand(problem: ConvProblem, array: NDArray, shape: Sequence[int] | None = None) -> NDArray:
    """``array`` as the loops sum it: the compute dtype; integers as Python's own, which cannot overflow."""
    row = DTYPES[problem.dtype]
    dtype = "object" if row.kind == "int" else row.compute
    return np.asarray(array).astype(dtype).reshape(array.shape if shape is None else shape)


def _result(problem: ConvProblem, sums: NDArray, like: NDArray, shape: Sequence[int]) -> NDArray:
    """The finished sums, wrapped or rounded once, in the dtype and shape that the caller expects."""
    if DTYPES[problem.dtype].kind == "int":  # modulo 2^64 first: the rest of the wrap is a cast
        sums = (sums % 2**64).astype(np.uint64)
    return rounded(sums, problem.dtype).astype(like.dtype).reshape(shape)


@np.errstate(over="ignore")
def rounded(array: NDArray, dtype: str) -> NDArray:
    """``array`` rounded to the nearest numbers of ``dtype``, ties to even.

    Args:
        array: any shape, in the compute dtype of ``dtype``.
        dtype: a key of ``DTYPES``. NumPy has no bfloat16 and no complex32: their numbers come back as float32 and
            complex64.

    >>> rounded(np.array([1.00390625, 1.01], np.float32), "bfloat16")
    array([1.       , 1.0078125], dtype=float32)
    """
    if dtype == "complex32":
        parts = np.ascontiguousarray(array).view(np.float32).astype(np.float16)
        return parts.astype(np.float32).view(np.complex64)
    if dtype == "bfloat16":
        bits = np.array(array, np.float32).view(np.uint32)
        to_even = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        kept = ((bits + to_even) & np.uint32(0xFFFF0000)).view(np.float32)
        return np.where(np.isnan(array), array, kept).astype(np.float32)
    return array.astype(dtype)
