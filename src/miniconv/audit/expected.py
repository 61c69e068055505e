"""The exact result of one layer of any size, and the magnitude S that its bound is made of.

``parity.oracle`` lays a whole problem out at once and is meant for small ones. Here the same tables of indices are
walked a block of output rows at a time, as products of two float64 matrices. What float64 itself may lose is a bound of
its own, ``slack``. Where the layer is float64, that would be as much as the layer may lose: then the sums are taken in
double-double (106 bits), of the whole layer if it is small, else of a sample of its elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from miniconv.parity.bounds import gamma
from miniconv.parity.data import Values
from miniconv.parity.double_double import double_double_sums, two_sum
from miniconv.parity.tables import border_table, gather, gradient_table, taps
from miniconv.problem import ConvProblem

__all__ = ["Expected", "expected"]

Array = npt.NDArray[Any]

BLOCK_BYTES = 32 * 2**20  # of columns at once
BLOCK_PRODUCTS = 2**20  # summed in double-double at once
WHOLE = 2**21  # multiply-adds of a float64 layer of which every element is summed in double-double
SAMPLE = 256  # elements of a larger one
UNIT = 2.0**-53


class Expected(NamedTuple):
    """What a layer's output must hold.

    Attributes:
        high: the result, float64, (N, C_out, *output_size).
        low: what ``high`` lacks of it, where that is known.
        magnitude: S, the same sums over absolute values.
        terms: L, how many products each element sums, an integer or an array that broadcasts to ``high``.
        slack: how far high + low may be from the exact result.
        exact: how many elements were summed in double-double.
    """

    high: Array
    low: Array
    magnitude: Array
    terms: int | Array
    slack: Array
    exact: int


@np.errstate(all="ignore")
def expected(problem: ConvProblem, values: Values, sample: int | None = None) -> Expected:
    """The output of a convolution, to be held against what an implementation made of the same numbers.

    Args:
        problem: with equal padding on both sides of an axis.
        values: the operands' numbers, float64.
        sample: how many elements to sum in double-double, chosen evenly; None: of a float64 layer all, or 256 if it
            has more than two million multiply-adds, of any other layer none.

    Returns:
        The result and how exact it is.

    Numerics:
        float64 sums lie within gamma_(L+2) * S, u = 2^-53; that is ``slack``. Double-double sums have none.

    Cost:
        Twice the layer's multiply-adds in float64, columns of 32 MiB or one row of the output; about 30 operations
        for each product that is summed in double-double.

    >>> problem = ConvProblem.parse("conv1d n1 c1 o1 i3 k2 float64")
    >>> x, w = np.array([[[1.0, 2.0**-60, 1.0]]]), np.ones((1, 1, 2))
    >>> result = expected(problem, Values(x, w, None, np.zeros(0)))
    >>> result.high.tolist(), (result.low / 2.0**-60).tolist(), result.exact
    ([[[1.0, 1.0]]], [[[1.0, 1.0]]], 2)
    """
    x, weight, bias = values.input, _matrix(problem, values.weight), values.bias
    tables = _tables(problem)
    shape = problem.batched_output_shape
    whole = problem.dtype == "float64" and problem.multiply_adds <= WHOLE
    high, low, magnitude = (np.zeros(shape) for _ in range(3))
    grouped = (problem.groups, problem.out_channels // problem.groups, *problem.output_size)
    for image, rows in _blocks(problem, whole):
        columns = _columns(problem, x[image : image + 1], [tables[0][rows], *tables[1:]])
        sums = double_double_sums(columns, weight, None) if whole else (columns @ weight.swapaxes(1, 2), None)
        for target, found in zip((high, low, magnitude), (*sums, abs(columns) @ abs(weight).swapaxes(1, 2))):
            if found is not None:
                block = target[image].reshape(grouped)[:, :, rows]
                block[...] = found.swapaxes(1, 2).reshape(block.shape)
    if bias is not None:
        along = np.broadcast_to(bias.reshape(-1, *(1,) * problem.spatial_dims), shape)
        magnitude += abs(along)
        high, lost = two_sum(high, along) if whole else (high + along, None)
        low = low if lost is None else low + lost
    finite = np.isfinite(high) & np.isfinite(low)
    low = np.where(finite, low, 0)
    terms = (
        problem.in_channels
        // max(1, problem.groups)
        * (taps(tables) if problem.transposed else math.prod(problem.kernel_size))
    )
    slack = np.zeros(shape) if whole else gamma(weight.shape[-1] + 2, UNIT) * magnitude
    default = SAMPLE if problem.dtype == "float64" else 0
    count = high.size if whole else min(high.size, default if sample is None else sample)
    if count and not whole:
        _put_exact(problem, values, tables, np.linspace(0, high.size - 1, count).astype(int), high, low, slack)
    return Expected(high, low, magnitude, terms, slack, count)


def _tables(problem: ConvProblem) -> list[Array]:
    """For each axis, which input cell each tap of each output cell reads, or -1."""
    low = [first for first, _ in problem.padding]
    axes = zip(problem.input_size, problem.output_size, problem.stride, low, problem.kernel_size, problem.dilation)
    if problem.transposed:  # the definition has it the other way round: each input cell goes into the outputs it taps
        return [gradient_table(out, size, *rest) for size, out, *rest in axes]
    return [border_table("zeros", *axis) for axis in axes]


def _matrix(problem: ConvProblem, weight: Array) -> Array:
    """The weight as (G, C_out / G, C_in / G * K)."""
    groups, inside, outside = (
        problem.groups,
        *(c // problem.groups for c in (problem.in_channels, problem.out_channels)),
    )
    if problem.transposed:
        weight = weight.reshape(groups, inside, outside, -1).swapaxes(1, 2)
    return weight.reshape(groups, outside, inside * math.prod(problem.kernel_size))


def _blocks(problem: ConvProblem, whole: bool) -> Iterator[tuple[int, slice]]:
    """Image and rows of the first spatial axis, as many as the limits allow at once."""
    batch, _, first, *rest = problem.batched_output_shape
    products = problem.in_channels * math.prod(problem.kernel_size) * math.prod(rest)  # of one row's columns
    limit = BLOCK_PRODUCTS // max(1, problem.out_channels // problem.groups) if whole else BLOCK_BYTES // 8
    step = max(1, limit // max(1, products))
    for image in range(batch):
        for start in range(0, first, step):
            yield image, slice(start, min(first, start + step))


def _columns(problem: ConvProblem, image: Array, tables: Sequence[Array]) -> Array:
    """What the taps of every output cell read, (G, cells, C_in / G * K)."""
    dims, groups = problem.spatial_dims, problem.groups
    gathered, _ = gather(image, tables)  # (1, C_in, *cells, *taps)
    array = gathered.reshape(groups, -1, *gathered.shape[2:])
    array = array.transpose(0, *range(2, 2 + dims), 1, *range(2 + dims, 2 + 2 * dims))
    return array.reshape(groups, math.prod(array.shape[1 : 1 + dims]), -1)


def _put_exact(
    problem: ConvProblem, values: Values, tables: Sequence[Array], chosen: Array, high: Array, low: Array, slack: Array
) -> None:
    """Sums the chosen elements in double-double, in place; those that are not finite stay as they are."""
    matrix, dims = _matrix(problem, values.weight), problem.spatial_dims
    inside, outside = (c // problem.groups for c in (problem.in_channels, problem.out_channels))
    edged = np.pad(values.input, [(0, 0), (0, 0), *[(0, 1)] * dims])  # cell -1 of every axis holds zeros
    for start in range(0, len(chosen), max(1, BLOCK_PRODUCTS // matrix.shape[-1])):
        part = chosen[start : start + max(1, BLOCK_PRODUCTS // matrix.shape[-1])]
        image, channel, *cells = np.unravel_index(part, high.shape)
        index: list[Array] = []
        for axis, (table, cell) in enumerate(zip(tables, cells)):
            index.append(table[cell].reshape(len(part), 1, *(-1 if i == axis else 1 for i in range(dims))))
        group = channel // outside
        channels = group[:, None] * inside + np.arange(inside)
        leading = (image.reshape(-1, *(1,) * (dims + 1)), channels.reshape(len(part), inside, *(1,) * dims))
        rows = edged[(*leading, *index)].reshape(len(part), 1, -1)
        sums, rest = double_double_sums(rows, matrix[group, channel % outside][:, None], None)
        sums, rest = sums.reshape(-1), rest.reshape(-1)
        if values.bias is not None:
            sums, lost = two_sum(sums, values.bias[channel])
            rest = rest + lost
        kept = np.isfinite(sums) & np.isfinite(rest)
        for array, found in ((high, sums), (low, rest), (slack, np.zeros(len(part)))):
            array.reshape(-1)[part[kept]] = found[kept]
