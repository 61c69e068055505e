"""How far a right result may be from the exact one: one function for each kind of algorithm.

u is the unit roundoff of the dtype that sums are accumulated in, gamma(n) = n * u / (1 - n * u) the error of n
roundings in a row (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1). A bound is an array
of the result's shape, so that a small element next to large ones is still held to its own sum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from miniconv.dtypes import DTYPES
from miniconv.parity.cases import COMPLEX_DTYPES, Case
from miniconv.parity.data import Values
from miniconv.parity.oracle import Exact

__all__ = ["BOUNDS", "READINGS", "allowed_error", "gamma"]

Array = npt.NDArray[Any]


class Transform(NamedTuple):
    """One axis of a Winograd algorithm: its matrices' absolute values, and what a result is rounded by.

    ``output`` takes products to outputs, whether or not some are summed on the way. ``joined`` says how many of them at
    most are, for each input channel, and ``roundings`` how often a number is rounded in the three transforms.
    """

    input: Array
    weight: Array
    output: Array
    joined: int
    roundings: int
    stride: int = 1


# Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section 4. Roundings of a result, worst
# row: F(2x2) input 1, weight 2, output 2 on each axis; F(4x4), with a product by 5, by 1/6 (itself rounded) and so on:
# input 3, weight 4, output 4. Twice that, the product, the channels' sum C - 1, the bias 1, and one more as a margin of
# the estimate: C + 12 and C + 24.
_F2 = Transform(
    np.array([[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]], float),
    np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 1]]),
    np.array([[1, 1, 1, 0], [0, 1, 1, 1]], float),
    1,
    5,
)
_F4 = Transform(
    np.array(
        [
            [4, 0, 5, 0, 1, 0], [0, 4, 4, 1, 1, 0], [0, 4, 4, 1, 1, 0],
            [0, 2, 1, 2, 1, 0], [0, 2, 1, 2, 1, 0], [0, 4, 0, 5, 0, 1],
        ],
        float,
    ),
    np.array([[6, 0, 0], [4, 4, 4], [4, 4, 4], [1, 2, 4], [1, 2, 4], [0, 0, 24]]) / 24,
    np.array([[1, 1, 1, 1, 1, 0], [0, 1, 1, 2, 2, 0], [0, 1, 1, 4, 4, 0], [0, 1, 1, 8, 8, 1]], float),
    1,
    11,
)  # fmt: skip
# Two outputs of three, two or one taps, as the engine has them.
_PIECES = {
    3: _F2,
    2: Transform(
        np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1]], float),
        np.array([[1, 0], [1, 1], [0, 1]], float),
        np.array([[1, 1, 0], [0, 1, 1]], float),
        1,
        3,
    ),
    1: Transform(np.eye(2), np.ones((2, 1)), np.eye(2), 1, 0),
}


def _composed(kernel: int, stride: int) -> Transform:
    """The engine's axis of so many taps: those of each phase of the stride in pieces of at most three, about equal."""
    if kernel == 1:
        return Transform(np.eye(1), np.eye(1), np.eye(1), 1, 0, stride)
    rows, outputs, used = [], [], list[Transform]()
    for phase in range(min(stride, kernel)):
        taps = np.arange(phase, kernel, stride)
        for part in np.array_split(taps, -(-len(taps) // 3)):
            piece = _PIECES[len(part)]
            b, g = np.zeros((len(piece.input), stride + kernel)), np.zeros((len(piece.input), kernel))
            b[:, part[0] + stride * np.arange(piece.input.shape[1])], g[:, part] = piece.input, piece.weight
            rows.append((b, g))
            outputs.append(piece.output)
            used.append(piece)
    b, g = (np.concatenate(parts) for parts in zip(*rows))
    return Transform(b, g, np.concatenate(outputs, axis=1), len(used), max(p.roundings for p in used), stride)


_FIXED = {"winograd_f2": (_F2, _F2), "winograd_f4": (_F4, _F4)}
_BORDERS: Mapping[str, Any] = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
BOUNDS = ("direct", *_FIXED, "fft", "winograd")
"""The kinds of bound that a target may state; ``winograd`` is that of the engine's Winograd path."""

READINGS = ("three_products", "rounded_on_the_way")
"""Wider bounds that describe what torch does where it breaks its own: no target may state them."""


def gamma(n: int | Array, unit_roundoff: float) -> Any:
    """n * u / (1 - n * u), of a number or of each number in an array.

    >>> gamma(2, 0.25)
    1.0
    """
    return n * unit_roundoff / (1 - n * unit_roundoff)


def allowed_error(kind: str, case: Case, values: Values, exact: Exact, fft_constant: float = 0.0) -> Array:
    """The largest error that a right result may have, element by element.

    ``direct``: gamma(L + 2) * S + (L + 2) * smallest subnormal. Winograd and FFT put their own term in place of the
    first. Then one rounding to the result's dtype where sums are accumulated in a wider one; and where a border's
    gradient flows back inside, as many roundings more as there are cells to add.

    Args:
        kind: one of ``BOUNDS`` or ``READINGS``; only outputs are judged by others than ``direct``.
        case: a legal case of a floating or complex dtype.
        values: its operands' numbers.
        exact: what the array must hold.
        fft_constant: c of the FFT's bound.

    Returns:
        (parts, *shape), float64.
    """
    result, compute = DTYPES[case.dtype], DTYPES[DTYPES[case.dtype].compute]
    u, tiny = compute.unit_roundoff, compute.smallest_subnormal
    with np.errstate(all="ignore"):
        if kind in _FIXED or kind == "winograd":
            axes = _FIXED.get(kind) or tuple(map(_composed, case.kernel_size, case.stride))
            terms = math.prod(axis.joined for axis in axes) * (case.in_channels // case.groups)
            steps = terms + sum(axis.roundings for axis in axes) + 2
            allowed = gamma(steps, u) * _winograd_magnitude(axes, case, values)
        elif kind == "fft":
            allowed = _fft_error(case, values, u, fft_constant)
        elif kind == "three_products":
            allowed = _three_products(exact, u, result.unit_roundoff, result.smallest_subnormal)
        else:
            allowed = gamma(exact.terms + 2, u) * exact.magnitude()
            if kind == "rounded_on_the_way":
                allowed = allowed + _rounded_on_the_way(case, exact, result.unit_roundoff, result.smallest_subnormal)
        allowed = np.broadcast_to(allowed, exact.high.shape) + (exact.terms + 2) * tiny
        if exact.folded > 1:
            # (1 + u)^n - 1: a wide border of a volume folds more cells into one than gamma is defined for
            growth = math.expm1(exact.folded * math.log1p(result.unit_roundoff))
            allowed = allowed + growth * (exact.magnitude() + allowed)
        if result.name != compute.name:
            allowed = allowed + result.unit_roundoff * (abs(exact.high) + allowed) + result.smallest_subnormal / 2
    rounded: Array = allowed
    return rounded


def _rounded_on_the_way(case: Case, exact: Exact, u: float, tiny: float) -> Array:
    """What a sum loses that is rounded to the result's dtype after each tap or each image.

    No sum loses more than gamma(steps) * S. With many terms of either sign that says nothing, since S is then larger
    than the sums themselves by the root of their number. So it may not lose more than roundings of either sign would
    either, which add up as their root does (Higham and Mary, "A New Approach to Probabilistic Rounding Error
    Analysis", 2019): each is u times a sum no larger than usual for this array, and eight times their root is twice
    what torch was ever seen to need.
    """
    steps = max(math.prod(case.kernel_size), case.batch or 1) + 2
    finite = exact.high[np.isfinite(exact.high)]
    usual = math.sqrt(float((finite**2).mean())) if finite.size else 0.0
    return np.asarray(np.minimum(gamma(steps, u) * exact.magnitude(), 8 * math.sqrt(steps) * u * usual) + steps * tiny)


def _three_products(exact: Exact, u: float, u_result: float, tiny: float) -> Array:
    """A complex product from three real ones, a = xr*wr, b = xi*wi, c = (xr + xi)*(wr + wi): a - b and c - a - b.

    Each part then holds sums as large as (|xr| + |xi|) * (|wr| + |wi|), twice, so both parts lose what the larger one
    would; the two sums beforehand, the three products and the two differences are each rounded to the result's dtype.
    """
    both = 2 * exact.magnitude().sum(0)
    return np.asarray((gamma(exact.terms + 6, u) + gamma(6, u_result)) * both + (exact.terms + 6) * tiny)


def _padded(case: Case, values: Values) -> tuple[Array, Array]:
    """|input| with its border, (N, G, C, H, W), and |weight|, (G, O, C, ...); complex as |real| + |imaginary|."""

    def absolute(array: Array) -> Array:
        return abs(array.real) + abs(array.imag) if case.dtype in COMPLEX_DTYPES else abs(array)

    batch = 1 if case.batch is None else case.batch
    x = absolute(values.input).reshape(batch, case.groups, case.in_channels // case.groups, *case.input_size)
    x = np.pad(x, [(0, 0)] * 3 + list(case.padding_pairs), mode=_BORDERS[case.padding_mode])
    w = absolute(values.weight).reshape(case.groups, case.out_channels // case.groups, *case.weight_shape[1:])
    return x, w


def _bias_magnitude(case: Case, values: Values) -> Array | float:
    """|bias| in a shape that broadcasts over the output."""
    if values.bias is None:
        return 0.0
    bias = abs(values.bias.real) + abs(values.bias.imag)
    return np.asarray(bias).reshape(-1, *(1,) * len(case.input_size))


def _tiles(axis: Transform, size: int, dilation: int) -> tuple[Array, Array]:
    """Of each tile on an axis the cells of input that it sees, and its outputs, of which some may lie behind the last.

    Outputs that lie a dilation apart form tiles, as those of an undilated convolution do.
    """
    outputs = len(axis.output)
    first = np.concatenate([np.arange(rest, size, outputs * dilation) for rest in range(min(dilation, size))])
    cells = first * axis.stride + dilation * np.arange(axis.input.shape[1])[:, None]
    return cells.T, (first + dilation * np.arange(outputs)[:, None]).T


def _winograd_magnitude(axes: tuple[Transform, ...], case: Case, values: Values) -> Array:
    """S_W = |A^T| [(|G| |g| |G^T|) * (|B^T| |d| |B|)] |A| for each tile d, summed over the input channels."""
    x, w = _padded(case, values)
    (cells_h, into_h), (cells_w, into_w) = map(_tiles, axes, case.output_size, case.dilation)
    x = np.pad(x, [(0, 0)] * 3 + [(0, max(0, c.max() + 1 - n)) for c, n in zip((cells_h, cells_w), x.shape[3:])])
    tall, wide = axes
    d = x[:, :, :, cells_h[:, None, :, None], cells_w[None, :, None, :]]
    d = (tall.input @ d @ wide.input.T).transpose(1, 5, 6, 2, 0, 3, 4)
    w = (tall.weight @ w @ wide.weight.T).transpose(0, 3, 4, 1, 2)
    products = w @ d.reshape(*d.shape[:4], -1)  # one product of matrices for each element of a tile: (G, i, j, O, ...)
    products = products.reshape(*products.shape[:4], *d.shape[4:]).transpose(4, 0, 3, 5, 6, 1, 2)
    y = tall.output @ products @ wide.output.T  # (N, G, O, tiles_h, tiles_w, outputs, outputs)
    total = np.zeros((*y.shape[:3], into_h.max() + 1, into_w.max() + 1))
    total[:, :, :, into_h[:, None, :, None], into_w[None, :, None, :]] = y
    total = total[..., : case.output_size[0], : case.output_size[1]]
    batch = 1 if case.batch is None else case.batch
    total = total.reshape(batch, case.out_channels, *case.output_size) + _bias_magnitude(case, values)
    return np.asarray(total.reshape(case.output_shape))


def _fft_error(case: Case, values: Values, u: float, constant: float) -> Array:
    """u * (c * log2(points) + C_in / groups) * sum over the input channels of ||x_c|| * ||w_c||, and the bias's own.

    One number for each image and output channel: a Fourier transform spreads the error of each element over all.
    """
    x, w = _padded(case, values)
    extents = [d * (k - 1) + 1 for k, d in zip(case.kernel_size, case.dilation)]
    points = math.prod(size + extent for size, extent in zip(x.shape[3:], extents))
    norm_x = np.sqrt((x**2).sum(axis=tuple(range(3, x.ndim))))
    norm_w = np.sqrt((w**2).sum(axis=tuple(range(3, w.ndim))))
    batch = 1 if case.batch is None else case.batch
    norms = np.einsum("ngc,goc->ngo", norm_x, norm_w).reshape(batch, -1, *(1,) * len(case.input_size))
    factor = u * (constant * math.log2(points) + case.in_channels // case.groups + 2)
    error = factor * (norms + _bias_magnitude(case, values))
    return np.broadcast_to(error, (batch, case.out_channels, *case.output_size)).reshape(case.output_shape)
