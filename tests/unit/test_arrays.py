from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from miniconv import arrays

GEOMETRIES = [
    ((9,), (3,), (2,), (1,)),
    ((9, 11), (3, 2), (2, 1), (1, 3)),
    ((5, 6, 8), (2, 1, 3), (1, 2, 3), (3, 1, 2)),
]


def output_size(size, kernel, stride, dilation):
    return tuple((i - d * (k - 1) - 1) // s + 1 for i, k, s, d in zip(size, kernel, stride, dilation))


def numbered(*shape):
    return np.arange(math.prod(shape)).reshape(shape)


@pytest.mark.parametrize(("size", "kernel", "stride", "dilation"), GEOMETRIES)
def test_windows_hold_what_their_formula_says(size, kernel, stride, dilation):
    x = numbered(2, 3, *size)
    out = output_size(size, kernel, stride, dilation)
    view = arrays.windows(x, kernel, stride, dilation)
    assert view.shape == (2, 3, *out, *kernel)
    for o in np.ndindex(out):
        for k in np.ndindex(kernel):
            place = tuple(a * s + b * d for a, s, b, d in zip(o, stride, k, dilation))
            np.testing.assert_array_equal(view[(..., *o, *k)], x[(..., *place)])


@pytest.mark.parametrize(("size", "kernel", "stride", "dilation"), GEOMETRIES)
def test_windows_are_a_view_of_any_layout(size, kernel, stride, dilation):
    x = numbered(*reversed(size), 3, 2).transpose()
    view = arrays.windows(x, kernel, stride, dilation)
    assert np.shares_memory(view, x)
    np.testing.assert_array_equal(view, arrays.windows(x.copy(), kernel, stride, dilation))


@pytest.mark.parametrize(("size", "kernel", "stride", "dilation"), GEOMETRIES)
def test_a_tap_is_one_kernel_index_of_the_windows(size, kernel, stride, dilation):
    x = numbered(2, 3, *size)
    out = output_size(size, kernel, stride, dilation)
    view = arrays.windows(x, kernel, stride, dilation)
    for k in np.ndindex(kernel):
        seen = arrays.tap(x, k, out, stride, dilation)
        assert np.shares_memory(seen, x)
        np.testing.assert_array_equal(seen, view[(..., *k)])


def test_columns_are_windows_and_rows_are_channels_of_a_group():
    x = numbered(2, 4, 5, 6)
    view = arrays.windows(x, (3, 2), (1, 2), (1, 1))
    laid_out = arrays.columns(view, 2)
    assert laid_out.shape == (2, 2 * 6, 2 * 9)
    for n, g, ic, oh, ow, kh, kw in np.ndindex(2, 2, 2, 3, 3, 3, 2):
        row, column = (ic * 3 + kh) * 2 + kw, (n * 3 + oh) * 3 + ow
        assert laid_out[g, row, column] == x[n, 2 * g + ic, oh + kh, 2 * ow + kw]


def test_the_columns_of_a_1x1_kernel_on_one_image_are_the_image_without_a_copy():
    x = numbered(1, 4, 5, 6)
    assert np.shares_memory(arrays.columns(arrays.windows(x, (1, 1), (1, 1), (1, 1)), 2), x)


def test_rows_go_there_and_back():
    x = numbered(3, 4, 5, 6)
    rows = arrays.to_rows(x, 2)
    assert rows.shape == (2, 2, 90)
    np.testing.assert_array_equal(rows[1, 0], x[:, 2].ravel())
    np.testing.assert_array_equal(arrays.from_rows(rows, 3, (5, 6)), x)


def test_pad_puts_zeros_on_each_side_and_copies_only_if_there_are_any():
    x = numbered(1, 2, 2, 3) + 1
    padded = arrays.pad(x, [(1, 0), (0, 2)])
    np.testing.assert_array_equal(padded, np.pad(x, [(0, 0), (0, 0), (1, 0), (0, 2)]))
    assert arrays.pad(x, [(0, 0), (0, 0)]) is x


@pytest.mark.parametrize("extents", [(1,), (7,), (2, 3), (3, 4, 5), (2, 3, 4, 5), (2, 0, 3)])
@pytest.mark.parametrize("cells", [1, 2, 5, 7, 12, 60, 1000])
def test_blocks_cover_the_grid_once_and_keep_the_limit(monkeypatch, extents, cells):
    monkeypatch.setattr(arrays, "COLUMNS_BYTES", cells * 8 + 7)
    covered = np.zeros(extents, int)
    for part in arrays.blocks(extents, 8):
        assert 1 <= covered[part].size <= cells
        covered[part] += 1
    assert (covered == 1).all()


def test_a_cell_above_the_limit_is_a_block_of_its_own(monkeypatch):
    monkeypatch.setattr(arrays, "COLUMNS_BYTES", 10)
    assert len(list(arrays.blocks((2, 3), 11))) == 6


def test_new_arrays_have_the_dtype_of_their_like():
    like = np.zeros(1, np.int16)
    assert arrays.empty((2, 3), like).dtype == arrays.zeros((2, 3), like).dtype == np.int16
    assert arrays.zeros((2, 3), like).sum() == 0
    assert arrays.cast(like, "int16") is like
    assert arrays.cast(like, "float32").dtype == np.float32
    assert arrays.namespace(like) is np
    assert not arrays.is_tensor(like)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
def test_integer_products_wrap(dtype):
    most = np.iinfo(dtype).max
    product = arrays.matmul(np.full((1, 2), most, dtype), np.full((2, 1), most, dtype))
    expected = 2 * int(most) ** 2 % 2 ** (8 * np.dtype(dtype).itemsize)
    assert product.dtype == dtype
    assert int(product[0, 0]) % 2 ** (8 * np.dtype(dtype).itemsize) == expected


@pytest.mark.parametrize("dtype", ["int8", "int64", "float32"])
def test_a_sum_of_outer_products_is_the_matrix_product(dtype):
    a, b = numbered(2, 3, 4).astype(dtype), numbered(2, 4, 5).astype(dtype)
    np.testing.assert_array_equal(arrays._outer_products(a, b), a @ b, strict=True)


def test_the_algorithms_do_not_import_torch():
    code = "import sys, miniconv.algorithms, miniconv.reference; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
