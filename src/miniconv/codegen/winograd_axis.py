"""Winograd's matrices, composed for any kernel and stride: an axis of a tile at a time.

On one axis a tile is two neighbouring outputs. Two outputs of 3, 2 or 1 taps take 4, 3 or 2 products, where the
definition takes 6, 4 or 2. The coefficients are 1, -1 and 1/2 only, so that whole numbers stay exact:

    F(2, 3)    (x0 - x2) g0    (x1 + x2) (g0 + g1 + g2) / 2    (x2 - x1) (g0 - g1 + g2) / 2    (x1 - x3) g2
    F(2, 2)    (x0 - x1) g0     x1       (g0 + g1)                                             (x1 - x2) g1
    F(2, 1)     x0       g0                                                                     x1      -g0
    first          +                +                               +
    second                          +                               -                              -

A longer kernel is a sum of such pieces. With a stride of 2, even and odd taps meet cells of their own, two apart, so
each of these *phases* is a sum of pieces too. Products that are added to the outputs alike, whichever piece they are
of, are summed before that: they *join*. So no axis has more than four sums.

Sources: Winograd, "Arithmetic Complexity of Computations", 1980, chapter 5, for F(m, r); Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks", 2016, section 4, for two axes.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

from miniconv.codegen.schedule import split

__all__ = ["LARGEST_KERNEL", "LARGEST_STRIDE", "Axis", "Form", "Matrix", "axis_of", "form_of"]

Matrix = tuple[tuple[float, ...], ...]
_TO_OUTPUTS = (1, 0), (1, 1), (1, -1), (0, -1)  # how often a sum is added to the first output, and to the second

LARGEST_KERNEL, LARGEST_STRIDE = 7, 2


class Axis(NamedTuple):
    """One axis of a tile. Within a row all that is not zero has one magnitude: transforms add and halve.

    Attributes:
        b_t: products by cells of input that the tile sees.
        g: products by taps.
        a_t: outputs by sums.
        sums: of each product, to which sum it is added; in rising order.
        step: cells of input from a tile to the next one.
    """

    b_t: Matrix
    g: Matrix
    a_t: Matrix
    sums: tuple[int, ...]
    step: int

    @property
    def outputs(self) -> int:
        """How many outputs a tile has."""
        return len(self.a_t)

    @property
    def seen(self) -> int:
        """How many cells of input a tile sees."""
        return len(self.b_t[0])

    @property
    def taps(self) -> int:
        """How many taps the kernel has."""
        return len(self.g[0])

    @property
    def roundings(self) -> int:
        """How often a number is rounded on its way through the three matrices, at most."""
        return sum(max(sum(map(bool, row)) for row in matrix) - 1 for matrix in (self.b_t, self.g, self.a_t))


class Form(NamedTuple):
    """Both axes of a tile.

    A *place* is a product of each axis, and a *plane* the number of a place: planes whose products join follow one
    another.
    """

    rows: Axis
    columns: Axis

    @property
    def outputs(self) -> tuple[int, int]:
        """Outputs of a tile, on each axis."""
        return self.rows.outputs, self.columns.outputs

    @property
    def taps(self) -> tuple[int, int]:
        """The kernel."""
        return self.rows.taps, self.columns.taps

    @property
    def places(self) -> int:
        """Products of a tile, an input channel and an output channel."""
        return len(self.rows.b_t) * len(self.columns.b_t)

    @property
    def sums(self) -> int:
        """Sums of a tile and an output channel."""
        return len(self.rows.a_t[0]) * len(self.columns.a_t[0])

    @property
    def saved(self) -> float:
        """How many products the definition has for one of these."""
        return math.prod(self.outputs) * math.prod(self.taps) / self.places

    @property
    def planes(self) -> tuple[tuple[int, ...], ...]:
        """The plane of each product of the rows and each of the columns."""
        places = [(i, j) for i in range(len(self.rows.b_t)) for j in range(len(self.columns.b_t))]
        order = sorted(places, key=lambda place: (self.rows.sums[place[0]], self.columns.sums[place[1]]))
        number = {place: plane for plane, place in enumerate(order)}
        width = len(self.columns.b_t)
        return tuple(tuple(number[i, j] for j in range(width)) for i in range(len(self.rows.b_t)))

    @property
    def joined(self) -> list[tuple[int, int]]:
        """The first plane of each sum, and how many join in it."""
        counts = [
            self.rows.sums.count(i) * self.columns.sums.count(j)
            for i in range(len(self.rows.a_t[0]))
            for j in range(len(self.columns.a_t[0]))
        ]
        return [(sum(counts[:i]), count) for i, count in enumerate(counts)]

    @property
    def roundings(self) -> int:
        """How often a number is rounded on its way to an output, beside the sum over channels, at most."""
        return self.rows.roundings + self.columns.roundings + 2  # the product, and the bias

    @property
    def longest(self) -> int:
        """Planes that join in one sum, at most."""
        return max(count for _, count in self.joined)

    @property
    def name(self) -> str:
        """F(outputs, taps), and the stride if there is one."""
        outputs, taps = (f"{height}x{width}" for height, width in (self.outputs, self.taps))
        stride = [axis.step // axis.outputs for axis in self]
        return f"F({outputs}, {taps})" + f" of stride {stride[0]}x{stride[1]}" * (stride != [1, 1])


class _Product(NamedTuple):
    """A product of a piece: what it is added to, and its coefficients of the cells and of the taps."""

    outputs: tuple[int, int]
    cells: tuple[float, ...]
    taps: tuple[float, ...]


_PIECES = {
    1: (_Product((1, 0), (1, 0), (1,)), _Product((0, -1), (0, 1), (-1,))),
    2: (
        _Product((1, 0), (1, -1, 0), (1, 0)),
        _Product((1, 1), (0, 1, 0), (1, 1)),
        _Product((0, -1), (0, 1, -1), (0, 1)),
    ),
    3: (
        _Product((1, 0), (1, 0, -1, 0), (1, 0, 0)),
        _Product((1, 1), (0, 1, 1, 0), (1 / 2, 1 / 2, 1 / 2)),
        _Product((1, -1), (0, -1, 1, 0), (1 / 2, -1 / 2, 1 / 2)),
        _Product((0, -1), (0, 1, 0, -1), (0, 0, 1)),
    ),
}


@cache
def axis_of(kernel: int, stride: int) -> Axis:
    """The axis of so many taps and this stride: F(2, 3) for (3, 1).

    >>> axis_of(3, 2).b_t  # F(2, 2) of x0, x2 and x4, and x1 and x3 for the tap between
    ((1, 0, -1, 0, 0), (0, 1, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, 1, 0, -1), (0, 0, 0, 1, 0))
    >>> axis_of(3, 2).sums, axis_of(3, 2).a_t
    ((0, 0, 1, 2, 2), ((1, 1, 0), (0, 1, -1)))
    """
    if kernel == 1:  # nothing to share: one output is a tile
        return Axis(((1,),), ((1,),), ((1,),), (0,), stride)
    products = []
    for phase in range(min(stride, kernel)):
        first = phase
        for count in split(len(range(phase, kernel, stride)), max(_PIECES)):
            for outputs, cells, taps in _PIECES[count]:
                b_t = _spread(cells, first, stride, stride + kernel)
                products.append(_Product(outputs, b_t, _spread(taps, first, stride, kernel)))
            first += count * stride
    used = [outputs for outputs in _TO_OUTPUTS if any(product.outputs == outputs for product in products)]
    products.sort(key=lambda product: used.index(product.outputs))
    return Axis(
        b_t=tuple(product.cells for product in products),
        g=tuple(product.taps for product in products),
        a_t=tuple(zip(*used)),
        sums=tuple(used.index(product.outputs) for product in products),
        step=2 * stride,
    )


def _spread(values: tuple[float, ...], first: int, step: int, size: int) -> tuple[float, ...]:
    """A row of so many zeros, with ``values`` in it."""
    row: list[float] = [0] * size
    row[first : first + step * len(values) : step] = values
    return tuple(row)


def form_of(kernel: tuple[int, ...], stride: tuple[int, ...]) -> Form:
    """The form of a kernel and a stride of two axes.

    >>> form_of((3, 3), (1, 1)).places, form_of((3, 3), (2, 2)).places, form_of((5, 5), (1, 1)).places
    (16, 25, 49)
    >>> form_of((3, 3), (2, 2)).joined  # nine sums, of 4, 2 or 1 products for each input channel
    [(0, 4), (4, 2), (6, 4), (10, 2), (12, 1), (13, 2), (15, 4), (19, 2), (21, 4)]
    """
    rows, columns = (axis_of(k, s) for k, s in zip(kernel, stride))
    return Form(rows, columns)
