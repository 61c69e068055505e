"""Sums of products with 106 significant bits: pairs (high, low) of float64 whose exact sum is meant.

Sources: Dekker, "A floating-point technique for extending the available precision", 1971 (product); Knuth, "The Art of
Computer Programming", volume 2, section 4.2.2 (sum).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["double_double_sums", "two_product", "two_sum"]

Array = npt.NDArray[Any]
SPLITTER = 2.0**27 + 1.0


def double_double_sums(left: Array, right: Array, inside: Array | None) -> tuple[Array, Array]:
    """(G, M, L), (G, P, L) -> (G, M, P) as pairs, summed by halving the list of terms until one is left.

    Args:
        left: one factor.
        right: the other.
        inside: (G, M, L), which terms count; None for all.
    """
    high, low = two_product(left[:, :, None, :], right[:, None, :, :])
    if inside is not None:
        high, low = (np.where(inside[:, :, None, :], half, 0) for half in (high, low))
    while high.shape[-1] > 1:
        if high.shape[-1] % 2:
            zero = np.zeros((*high.shape[:-1], 1))
            high, low = np.concatenate([high, zero], -1), np.concatenate([low, zero], -1)
        half = high.shape[-1] // 2
        total, error = two_sum(high[..., :half], high[..., half:])
        high, low = two_sum(total, error + (low[..., :half] + low[..., half:]))
    if not high.shape[-1]:
        return np.zeros(high.shape[:-1]), np.zeros(high.shape[:-1])
    return high[..., 0], low[..., 0]


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b as its rounded value and the error of that.

    >>> two_sum(np.float64(1.0), np.float64(2.0**-60))
    (np.float64(1.0), np.float64(8.673617379884035e-19))
    """
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a * b as its rounded value and the error of that; exact unless an intermediate result over- or underflows.

    >>> two_product(np.float64(1 + 2.0**-30), np.float64(1 + 2.0**-30))
    (np.float64(1.0000000018626451), np.float64(8.673617379884035e-19))
    """
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _split(a: Array) -> tuple[Array, Array]:
    """A number as two of 26 bits."""
    scaled = a * SPLITTER
    high = scaled - (scaled - a)
    return high, a - high
