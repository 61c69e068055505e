"""The exact result of a convolution and of its gradients, by a road that no implementation under test takes.

Every spatial axis becomes a table of indices, ``table[o, k]`` = the input cell that tap ``k`` of output ``o`` reads,
or -1 for a zero. Borders are then nothing but another table, nothing is padded, and a gather turns the output, the
input gradient and the weight gradient alike into one product of two matrices, summed along their last axis. A
transposed convolution takes the input gradient's road for its output and the output's for its input gradient. How the
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
from miniconv.parity.tables import border_table, gather, gradient_table, taps

__all__ = ["Exact", "Oracle"]

Array = npt.NDArray[Any]


class Exact(NamedTuple):
    """What one array must hold.

    Attributes:
        high: the result, (parts, *shape): parts is 1, or 2 (real, imaginary) for a complex dtype.
        low: what ``high`` lacks of the exact result, or None where it lacks nothing or nothing that counts.
        terms: L, the number of terms of each sum; an array that broadcasts to ``high`` where they differ.
        magnitude: calls for S, the same sums over absolute values; as ``high``.
        folded: how many sums were then added to give one element (1 unless a border's gradient flows back inside).
    """

    high: Array
    low: Array | None
    terms: int | Array
    magnitude: Callable[[], Array]
    folded: int = 1


class Oracle:
    """The exact results of one legal case over the numbers that its operands really hold.

    Args:
        case: a legal case.
        values: the operands' numbers, rounded to the case's dtype: int64, float64 or complex128.
        multiply_zeros: whether taps on a zero of the border, and taps that no output took, are terms, 0 * weight, or
            are left out. By definition (None) they are terms of the output and none of the input gradient; of a
            transposed convolution the reverse. It matters only where the weight is infinite or NaN.
    """

    def __init__(self, case: Case, values: Values, *, multiply_zeros: bool | None = None) -> None:
        self.case = case
        self._multiply_zeros = multiply_zeros
        self._batch = 1 if case.batch is None else case.batch
        self._input = values.input.reshape(self._batch, case.in_channels, *case.input_size)
        self._weight = values.weight
        self._bias = values.bias
        self._grad = values.grad.reshape(self._batch, case.out_channels, *case.output_size)
        # the windows of an ordinary convolution slide over its input, those of a transposed one over its output
        sides = [(case.in_channels, case.input_size), (case.out_channels, case.output_size)]
        (self._wide_channels, self._wide), (self._narrow_channels, self._narrow) = (
            reversed(sides) if case.transposed else sides
        )
        self._geometry: list[Any] = list(
            zip(
                self._wide, self._narrow, case.stride, (low for low, _ in case.padding_pairs), case.kernel_size,
                case.dilation,
            )
        )  # fmt: skip

    def output(self) -> Exact:
        """y[n, oc, o] = bias[oc] + sum over ic, k of x[n, ic, i] * w, where o and i meet at tap k.

        Ordinary: i = o * stride - padding + k * dilation and w[oc, ic, k]; transposed: the same equation with o and i
        exchanged, and w[ic, oc, k].
        """
        if self.case.transposed:
            return self._onto_wide(self._input, self._weight, self._bias)
        return self._onto_narrow(self._input, self._weight, self._bias)

    def input_grad(self) -> Exact:
        """gx[n, ic, i] = sum over oc, k of g[n, oc, o] * conj(w), over all o that i went into at tap k."""
        if self.case.transposed:
            return self._onto_narrow(self._grad, self._weight.conj(), None)
        return self._onto_wide(self._grad, self._weight.conj(), None)

    def weight_grad(self) -> Exact:
        """gw[oc, ic, k] = sum over n, o of g[n, oc, o] * conj(x[n, ic, i]); transposed: gw[ic, oc, k]."""
        case, groups = self.case, self.case.groups
        narrow, wide = (self._input.conj(), self._grad) if case.transposed else (self._grad, self._input.conj())
        columns, inside = self._columns(wide)
        channels, pixels = self._narrow_channels // groups, math.prod(self._narrow)
        per_image = narrow.reshape(self._batch, groups, channels, pixels)
        rows = per_image.transpose(1, 2, 0, 3).reshape(groups, channels, self._batch * pixels)
        inside = inside if inside is None else inside.transpose(0, 2, 1)

        def shaped(sums: Array) -> Array:  # (parts, G, C_wide / G * K, C_narrow / G) -> (parts, *weight_shape)
            return sums.swapaxes(-1, -2).reshape(len(sums), *case.weight_shape)

        return self._exact(columns.transpose(0, 2, 1), rows, shaped, self._batch * pixels, inside=inside)

    def bias_grad(self) -> Exact:
        """gb[oc] = sum over n, o of g[n, oc, o]."""
        channels, positions = self.case.out_channels, self._batch * math.prod(self.case.output_size)
        grad = np.moveaxis(self._grad, 1, 0).reshape(1, channels, positions)
        ones = np.ones((1, 1, positions), grad.dtype)
        return self._exact(grad, ones, lambda sums: sums.reshape(len(sums), channels), positions)

    def _onto_narrow(self, wide: Array, weight: Array, bias: Array | None) -> Exact:
        """One sum for each window: an ordinary output, a transposed input gradient."""
        groups, channels = self.case.groups, self._narrow_channels // self.case.groups
        columns, inside = self._columns(wide)
        terms = columns.shape[-1]
        weight = weight.reshape(groups, channels, terms)
        columns, weight, inside = _with_bias(columns, weight, inside, bias)

        def shaped(sums: Array) -> Array:  # (parts, G, N * cells, C / G) -> (parts, *shape)
            return self._shaped(sums, self._narrow_channels, self._narrow)

        return self._exact(columns, weight, shaped, terms, inside=inside)

    def _onto_wide(self, narrow: Array, weight: Array, bias: Array | None) -> Exact:
        """One sum for each cell, over the windows that it is in: an ordinary input gradient, a transposed output."""
        case, groups = self.case, self.case.groups
        geometry, padded = self._geometry, self._wide
        if case.padding_mode != "zeros":  # the gradient of the padded input, folded back inside afterwards
            padded = tuple(i + low + high for i, (low, high) in zip(self._wide, case.padding_pairs))
            geometry = [(i, o, s, 0, k, d) for i, (_, o, s, _, k, d) in zip(padded, self._geometry)]
        channels, terms = self._wide_channels // groups, self._narrow_channels // groups * math.prod(case.kernel_size)
        tables = [gradient_table(*axis) for axis in geometry]
        gathered, taken = gather(narrow, tables)
        rows = self._rows(gathered, padded, terms)
        inside = None if self._multiply_zeros or case.data != "specials" else self._rows(taken, padded, terms)
        per_group = weight.reshape(groups, self._narrow_channels // groups, channels, -1)
        weight = per_group.transpose(0, 2, 1, 3).reshape(groups, channels, terms)
        rows, weight, inside = _with_bias(rows, weight, inside, bias)

        def shaped(sums: Array) -> Array:  # (parts, G, N * cells, C / G) -> (parts, *shape)
            return self._fold(self._shaped(sums, self._wide_channels, padded))

        if case.padding_mode != "zeros":
            return self._exact(rows, weight, shaped, terms, inside=inside)._replace(folded=self._most_folded())
        return self._exact(rows, weight, shaped, terms // math.prod(case.kernel_size) * taps(tables), inside=inside)

    def _shaped(self, sums: Array, channels: int, cells: Sequence[int]) -> Array:
        """(parts, G, N * cells, C / G) -> (parts, N, C, *cells), without N where the case has none."""
        groups, pixels = self.case.groups, math.prod(cells)
        parts = sums.reshape(len(sums), groups, self._batch, pixels, channels // groups)
        batch = () if self.case.batch is None else (self._batch,)
        return np.moveaxis(parts, (1, 4), (2, 3)).reshape(len(sums), *batch, channels, *cells)

    def _columns(self, wide: Array) -> tuple[Array, Array | None]:
        """What every window holds, (G, N * cells, C / G * K), and where that is no border."""
        terms = self._wide_channels // self.case.groups * math.prod(self.case.kernel_size)
        gathered, real = gather(wide, [border_table(self.case.padding_mode, *axis) for axis in self._geometry])
        columns = self._rows(gathered, self._narrow, terms)
        return columns, self._rows(real, self._narrow, terms) if self._multiply_zeros is False else None

    def _rows(self, gathered: Array, cells: Sequence[int], terms: int) -> Array:
        """(N, G * C, *cells, *taps) -> (G, N * cells, C * taps): one row for each sum."""
        dims, groups = len(cells), self.case.groups
        array = gathered.reshape(self._batch, groups, gathered.shape[1] // groups, *gathered.shape[2:])
        array = array.transpose(1, 0, *range(3, 3 + dims), 2, *range(3 + dims, 3 + 2 * dims))
        return array.reshape(groups, self._batch * math.prod(cells), terms)

    @np.errstate(all="ignore")
    def _exact(
        self, left: Array, right: Array, shaped: Callable[[Array], Array], terms: int | Array,
        inside: Array | None = None,
    ) -> Exact:  # fmt: skip
        """The sums of ``left[g, m, :] * right[g, p, :]`` in the way that the dtype needs."""
        dtype = self.case.dtype
        lefts, rights = _real_parts(left, right)

        terms = terms * len(lefts)
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
        for axis, table in enumerate(self._fold_tables(), padded.ndim - len(self._wide)):
            moved = np.moveaxis(padded, axis, 0)
            inner = np.zeros((table.max() + 1, *moved.shape[1:]), padded.dtype)
            np.add.at(inner, table, moved)
            padded = np.moveaxis(inner, 0, axis)
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


def _with_bias(
    rows: Array, weight: Array, inside: Array | None, bias: Array | None
) -> tuple[Array, Array, Array | None]:
    """The bias as one more term, so that every kind of sum handles it."""
    if bias is None:
        return rows, weight, inside
    ones = np.ones((*rows.shape[:-1], 1), rows.dtype)
    weight = np.concatenate([weight, bias.reshape(len(weight), -1, 1)], -1)
    inside = inside if inside is None else np.concatenate([inside, ones.real > 0], -1)
    return np.concatenate([rows, ones], -1), weight, inside


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
