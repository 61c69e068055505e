"""unfold and fold of NumPy arrays: against plain loops, and each as the other's adjoint."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from miniconv.functional import fold, unfold

GEOMETRIES = list(itertools.product([(2, 3), (1, 2)], [(1, 1), (2, 1)], [(0, 0), (1, 2)], [(1, 1), (2, 3)]))


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("dtype", ["int8", "int64", "float16", "float64", "complex64", "bool"])
def test_unfold_is_every_window_and_fold_its_adjoint(geometry, dtype: str) -> None:
    kernel, dilation, padding, stride = geometry
    x = np.random.default_rng(1).integers(0, 5, (2, 3, 6, 8)).astype(dtype)
    out = unfold(x, kernel, dilation, padding, stride)
    size = [(i + 2 * p - d * (k - 1) - 1) // s + 1 for i, k, d, p, s in zip((6, 8), *geometry)]
    assert out.shape == (2, 3 * kernel[0] * kernel[1], size[0] * size[1])
    assert out.dtype == x.dtype
    split = out.reshape(2, 3, *kernel, *size)
    for kh, kw, oh, ow in np.ndindex(*kernel, *size):
        ih, iw = oh * stride[0] - padding[0] + kh * dilation[0], ow * stride[1] - padding[1] + kw * dilation[1]
        inside = 0 <= ih < 6 and 0 <= iw < 8
        assert np.array_equal(split[:, :, kh, kw, oh, ow], x[:, :, ih, iw] if inside else np.zeros((2, 3)))
    if dtype in ("int64", "float64"):
        y = np.random.default_rng(2).integers(0, 5, out.shape).astype(dtype)
        back = fold(y, (6, 8), kernel, dilation, padding, stride)
        assert back.shape == x.shape
        assert (back * x).sum() == (y * out).sum()


def test_without_a_batch_and_with_an_empty_one() -> None:
    x = np.arange(60.0).reshape(3, 4, 5)
    assert np.array_equal(unfold(x, 2), unfold(x[None], 2)[0])
    assert np.array_equal(fold(unfold(x, 2), (4, 5), 2), fold(unfold(x[None], 2), (4, 5), 2)[0])
    assert unfold(x[None][:0], 2).shape == (0, 12, 12)
    assert fold(np.zeros((0, 12, 12)), (4, 5), 2).shape == (0, 3, 4, 5)


def test_float16_is_added_in_float32() -> None:
    # the middle cell of a 3x3 image is in all four windows: their taps 3, 2, 1 and 0
    y = np.zeros((4, 4), np.float16)
    y[3, 0], y[2, 1], y[1, 2] = 2048, 1, 1
    assert fold(y, (3, 3), 2)[0, 1, 1] == 2050


def test_what_is_refused() -> None:
    with pytest.raises(RuntimeError, match="components must be at least one"):
        unfold(np.ones((1, 2, 2)), 3)
    with pytest.raises(RuntimeError, match="to match the calculated number of sliding blocks 2 \\* 3 = 6"):
        fold(np.ones((4, 5)), (3, 4), 2)
    with pytest.raises(IndexError, match="Dimension out of range"):
        unfold(np.ones((2, 2)), 1)
