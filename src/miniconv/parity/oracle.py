"""The exact result of a convolution and of its gradients, by a road that no implementation under test takes.

Every spatial axis becomes a table of indices, ``table[o, k]`` = the input cell that tap ``k`` of output ``o`` reads,
or -1 for a zero. Borders are then nothing but another table, nothing is padded, and a gather turns the output, the
input gradient and the weight gradient alike into one product of two matrices, summed along their last axis. How that
sum is taken is what exactness depends on:

- integer dtypes: int64, which wraps modulo 2^64 and therefore modulo every smaller power of two;
- integers held in floating point: float64, exact below 2^53;
- float32 and narrower: float64, whose error is at most 2^-29 of the bound that is judged by;
- float64 and complex128: double-double, a pair of numbers with 106 bits (Dekker, 1971; Knuth, TAOCP 2, 4.2.2).

A complex product is two real sums of twice as many terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from miniconv.parity.cases import INTEGER_DTYPES, Case
from miniconv.parity.data import Values
from miniconv.parity.double_double import double_double_sums

__all__ = ["Exact", "Oracle", "border_table", "gradient_table"]

Array = npt.NDArray[Any]


class Exact(NamedTuple):
    """What one array must hold.

    Attributes:
        high: the result, (parts, *shape): parts is 1, or 2 (real, imaginary) for a complex dtype.
        low: what ``high`` lacks of the exact result, or None where it lacks nothing or nothing that counts.
        terms: L, the number of terms of each sum.
        magnitude: calls for S, the same sums over absolute values; as ``high``.
        folded: how many sums were then added to give one element (1 unless a border's gradient flows back inside).
    """

    high: Array
    low: Array | None
    terms: int
    magnitude: Callable[[], Array]
    folded: int = 1


def border_table(mode: str, size: int, out: int, stride: int, low: int, kernel: int, dilation: int) -> Array:
    """Which input cell each tap of each output reads on one axis: (out, kernel), -1 for a zero.

    >>> border_table("zeros", size=4, out=4, stride=1, low=1, kernel=3, dilation=1).tolist()
    [[-1, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, -1]]
    >>> border_table("circular", size=4, out=4, stride=1, low=1, kernel=3, dilation=1).tolist()
    [[3, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 0]]
    """
    cell = np.arange(out)[:, None] * stride - low + np.arange(kernel) * dilation
    table: dict[str, Array] = {
        "zeros": np.where((cell >= 0) & (cell < size), cell, -1),
        "reflect": np.where(cell < 0, -cell, np.where(cell >= size, 2 * (size - 1) - cell, cell)),
        "replicate": np.clip(cell, 0, size - 1),
        "circular": cell % size,
    }
    return table[mode]


def gradient_table(size: int, out: int, stride: int, low: int, kernel: int, dilation: int) -> Array:
    """Which output each tap of each input cell went into on one axis: (size, kernel), -1 for none.

    >>> gradient_table(size=4, out=2, stride=2, low=1, kernel=3, dilation=1).tolist()
    [[-1, 0, -1], [1, -1, 0], [-1, 1, -1], [-1, -1, 1]]
    """
    reach = np.arange(size)[:, None] + low - np.arange(kernel) * dilation
    return np.where((reach % stride == 0) & (reach >= 0) & (reach < out * stride), reach // stride, -1)


class Oracle:
    """The exact results of one legal case over the numbers that its operands really hold.

    Args:
        case: a legal case.
        values: the operands' numbers, rounded to the case's dtype: int64, float64 or complex128.
        multiply_zeros: whether taps on a zero of the border, and taps that no output took, are terms, 0 * weight, or
            are left out. By definition (None) they are terms of the output and none of the input gradient. It
            matters only where the weight is infinite or NaN.
    """

    def __init__(self, case: Case, values: Values, *, multiply_zeros: bool | None = None) -> None:
        self.case = case
        self._multiply_zeros = multiply_zeros
        self._batch = 1 if case.batch is None else case.batch
        self._input = values.input.reshape(self._batch, case.in_channels, *case.input_size)
        self._weight = values.weight
        self._bias = values.bias
        self._grad = values.grad.reshape(self._batch, case.out_channels, *case.output_size)
        self._positions = self._batch * math.prod(case.output_size)
        self._terms = case.in_channels // case.groups * math.prod(case.kernel_size)
        self._geometry: list[Any] = list(
            zip(
                case.input_size, case.output_size, case.stride, (low for low, _ in case.padding_pairs),
                case.kernel_size, case.dilation,
            )
        )  # fmt: skip

    def output(self) -> Exact:
        """y[n, oc, o] = bias[oc] + sum over ic, k of x[n, ic, o * stride - padding + k * dilation] * w[oc, ic, k]."""
        case, groups = self.case, self.case.groups
        columns, inside = self._columns()
        weight = self._weight.reshape(groups, case.out_channels // groups, self._terms)
        if self._bias is not None:  # one more term, so that every kind of sum handles it
            ones = np.ones((*columns.shape[:-1], 1), columns.dtype)
            columns, weight = (
                np.concatenate([columns, ones], -1),
                np.concatenate([weight, self._bias.reshape(groups, -1, 1)], -1),
            )
            inside = inside if inside is None else np.concatenate([inside, ones.real > 0], -1)

        def shaped(sums: Array) -> Array:  # (parts, G, N * O, C_out / G) -> (parts, *output_shape)
            pixels = math.prod(case.output_size)
            parts = sums.reshape(len(sums), groups, self._batch, pixels, case.out_channels // groups)
            return np.moveaxis(parts, (1, 4), (2, 3)).reshape(len(sums), *case.output_shape)

        return self._exact(columns, weight, shaped, self._terms, inside=inside)

    def input_grad(self) -> Exact:
        """gx[n, ic, i] = sum over oc, k of g[n, oc, (i + padding - k * dilation) / stride] * conj(w[oc, ic, k])."""
        case, groups = self.case, self.case.groups
        geometry, padded = self._geometry, case.input_size
        if case.padding_mode != "zeros":  # the gradient of the padded input, folded back inside afterwards
            padded = tuple(i + low + high for i, (low, high) in zip(case.input_size, case.padding_pairs))
            geometry = [(i, o, s, 0, k, d) for i, (_, o, s, _, k, d) in zip(padded, self._geometry)]
        terms = case.out_channels // groups * math.prod(case.kernel_size)
        gathered, taken = _gather(self._grad, [gradient_table(*axis) for axis in geometry])
        rows = self._rows(gathered, padded, terms)
        inside = None if self._multiply_zeros or case.data != "specials" else self._rows(taken, padded, terms)
        per_group = self._weight.reshape(groups, case.out_channels // groups, case.in_channels // groups, -1)
        weight = per_group.transpose(0, 2, 1, 3).reshape(groups, case.in_channels // groups, terms)

        def shaped(sums: Array) -> Array:  # (parts, G, N * I, C_in / G) -> (parts, *input_shape)
            parts = sums.reshape(len(sums), groups, self._batch, math.prod(padded), case.in_channels // groups)
            parts = np.moveaxis(parts, (1, 4), (2, 3)).reshape(len(sums), self._batch, case.in_channels, *padded)
            return self._fold(parts).reshape(len(sums), *case.input_shape)

        exact = self._exact(rows, weight.conj(), shaped, terms, inside=inside)
        return exact._replace(folded=self._most_folded())

    def weight_grad(self) -> Exact:
        """gw[oc, ic, k] = sum over n, o of g[n, oc, o] * conj(x[n, ic, o * stride - padding + k * dilation])."""
        case, groups = self.case, self.case.groups
        columns, _ = self._columns()
        channels = case.out_channels // groups
        per_image = self._grad.reshape(self._batch, groups, channels, math.prod(case.output_size))
        grad = per_image.transpose(1, 2, 0, 3).reshape(groups, channels, self._positions)

        def shaped(sums: Array) -> Array:
            return sums.reshape(len(sums), *case.weight_shape)

        return self._exact(grad, columns.transpose(0, 2, 1).conj(), shaped, self._positions)

    def bias_grad(self) -> Exact:
        """gb[oc] = sum over n, o of g[n, oc, o]."""
        channels = self.case.out_channels
        grad = np.moveaxis(self._grad, 1, 0).reshape(1, channels, self._positions)
        ones = np.ones((1, 1, self._positions), grad.dtype)
        return self._exact(grad, ones, lambda sums: sums.reshape(len(sums), channels), self._positions)

    def _columns(self) -> tuple[Array, Array | None]:
        """What every output reads, (G, N * O, C_in / G * K), and where that is real input."""
        case = self.case
        tables = [border_table(case.padding_mode, *axis) for axis in self._geometry]
        gathered, real = _gather(self._input, tables)
        columns = self._rows(gathered, case.output_size, self._terms)
        return columns, self._rows(real, case.output_size, self._terms) if self._multiply_zeros is False else None

    def _rows(self, gathered: Array, cells: Sequence[int], terms: int) -> Array:
        """(N, G * C, *cells, *taps) -> (G, N * cells, C * taps): one row for each sum."""
        dims, groups = len(cells), self.case.groups
        array = gathered.reshape(self._batch, groups, gathered.shape[1] // groups, *gathered.shape[2:])
        array = array.transpose(1, 0, *range(3, 3 + dims), 2, *range(3 + dims, 3 + 2 * dims))
        return array.reshape(groups, self._batch * math.prod(cells), terms)

    @np.errstate(all="ignore")
    def _exact(
        self, left: Array, right: Array, shaped: Callable[[Array], Array], terms: int, inside: Array | None = None
    ) -> Exact:
        """The sums of ``left[g, m, :] * right[g, p, :]`` in the way that the dtype needs."""
        dtype = self.case.dtype
        lefts, rights = _real_parts(left, right)

        terms *= len(lefts)
        mask = None if inside is None else np.concatenate([inside] * len(lefts), -1)

        @np.errstate(all="ignore")
        def magnitude() -> Array:
            return shaped(np.stack([_sums(abs(a), abs(b), mask) for a, b in zip(lefts, rights)]))

        plain = shaped(np.stack([_sums(a, b, mask) for a, b in zip(lefts, rights)]))
        if dtype in INTEGER_DTYPES:
            return Exact(plain.astype(dtype), None, terms, magnitude)  # modulo 2^n
        if dtype not in ("float64", "complex128") or self.case.is_exact:
            return Exact(plain, None, terms, magnitude)
        pairs = [double_double_sums(a, b, mask) for a, b in zip(lefts, rights)]
        high, low = (shaped(np.stack(half)) for half in zip(*pairs))
        finite = np.isfinite(plain)
        return Exact(np.where(finite, high, plain), np.where(finite, low, 0), terms, magnitude)

    def _fold(self, padded: Array) -> Array:
        """Adds what the border's cells received to the cells that they were copies of; zeros were copies of none."""
        if self.case.padding_mode == "zeros":
            return padded
        for axis, table in enumerate(self._fold_tables()):
            moved = np.moveaxis(padded, 3 + axis, 0)
            inner = np.zeros((self.case.input_size[axis], *moved.shape[1:]), padded.dtype)
            np.add.at(inner, table, moved)
            padded = np.moveaxis(inner, 0, 3 + axis)
        return padded

    def _fold_tables(self) -> list[Array]:
        """For each axis, the cell that each cell of the padded input copies."""
        return [
            border_table(self.case.padding_mode, size, size + low + high, 1, low, 1, 1)[:, 0]
            for size, (low, high) in zip(self.case.input_size, self.case.padding_pairs)
        ]

    def _most_folded(self) -> int:
        """How many padded cells at most are copies of one cell."""
        if self.case.padding_mode == "zeros":
            return 1
        return math.prod(int(np.bincount(table).max()) for table in self._fold_tables())


def _gather(array: Array, tables: Sequence[Array]) -> tuple[Array, Array]:
    """``array[n, c, table_0[o_0, k_0], ...]`` -> (N, C, o_0, ..., k_0, ...), 0 at -1; and where it is not -1."""
    dims = len(tables)
    edged = np.zeros((*array.shape[:2], *(size + 1 for size in array.shape[2:])), array.dtype)
    inner: tuple[Any, ...] = (..., *(slice(size) for size in array.shape[2:]))
    edged[inner] = array  # cell -1 of every axis holds zeros
    index: list[Any] = []
    inside = np.ones((1,) * (2 * dims), bool)
    for axis, table in enumerate(tables):
        shape = [1] * (2 * dims)
        shape[axis], shape[dims + axis] = table.shape
        index.append(table.reshape(shape))
        inside = inside & (index[-1] >= 0)
    everything: list[Any] = [slice(None), slice(None)]
    gathered = edged[(*everything, *index)]
    return gathered, np.broadcast_to(inside, gathered.shape)


def _real_parts(left: Array, right: Array) -> tuple[list[Array], list[Array]]:
    """A complex product as two real ones with twice the terms: (ar, -ai).(br, bi) and (ar, ai).(bi, br)."""
    if not (np.iscomplexobj(left) or np.iscomplexobj(right)):
        return [left], [right]
    lefts = [np.concatenate([left.real, sign * left.imag], -1) for sign in (-1, 1)]
    rights = [np.concatenate([right.real, right.imag], -1), np.concatenate([right.imag, right.real], -1)]
    return lefts, rights


def _sums(left: Array, right: Array, inside: Array | None = None) -> Array:
    """(G, M, L), (G, P, L) -> (G, M, P); without the terms where ``inside``, (G, M, L), is false."""
    result: Array = (
        left @ right.swapaxes(-1, -2)
        if inside is None
        else np.where(inside[:, :, None, :], left[:, :, None, :] * right[:, None, :, :], 0).sum(-1)
    )
    return result
