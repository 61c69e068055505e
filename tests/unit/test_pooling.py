"""Pooling of NumPy arrays: against plain loops and numbers worked out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from miniconv.functional import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d

KERNELS, STRIDES, PADDINGS = [(2, 3), (3, 2), (1, 1)], [None, (1, 2), (3, 1)], [(0, 0), (1, 0)]
POOLS = list(itertools.product(KERNELS, STRIDES, PADDINGS, [(1, 1), (2, 1)], [False, True]))


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "ceil_mode"), POOLS)
def test_max_pool2d_is_the_largest_of_each_window(kernel, stride, padding, dilation, ceil_mode) -> None:
    if any(p > (d * (k - 1) + 1) // 2 for k, p, d in zip(kernel, padding, dilation)):
        with pytest.raises(RuntimeError, match="pad should be at most half of effective kernel size"):
            max_pool2d(np.ones((1, 1, 9, 9)), kernel, stride, padding, dilation, ceil_mode)
        return
    x = np.random.default_rng(2).integers(-50, 0, (2, 3, 8, 11))
    out = max_pool2d(x, kernel, stride, padding, dilation, ceil_mode)
    step = stride or kernel
    for (n, c, oh, ow), value in np.ndenumerate(out):
        window = [
            x[n, c, ih, iw]
            for kh, kw in np.ndindex(*kernel)
            if 0 <= (ih := oh * step[0] - padding[0] + kh * dilation[0]) < 8
            and 0 <= (iw := ow * step[1] - padding[1] + kw * dilation[1]) < 11
        ]
        assert value == max(window)
    values, places = max_pool2d(x, kernel, stride, padding, dilation, ceil_mode, return_indices=True)
    assert np.array_equal(values, out)
    assert np.array_equal(np.take_along_axis(x.reshape(2, 3, 88), places.reshape(2, 3, -1), 2).reshape(out.shape), out)
    for axis, size in enumerate((8, 11)):
        free = size + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1
        expected = math.ceil(free / step[axis]) if ceil_mode else free // step[axis]
        expected += 0 if ceil_mode and expected * step[axis] >= size + padding[axis] else 1
        assert out.shape[2 + axis] == expected


def test_max_pool2d_without_a_batch_and_with_one_number_for_both_axes() -> None:
    x = np.random.default_rng(3).standard_normal((2, 6, 8)).astype(np.float32)
    assert np.array_equal(max_pool2d(x, 2), max_pool2d(x[None], (2, 2), (2, 2))[0])
    assert max_pool2d(x, 2).dtype == np.float32


def test_max_pool2d_of_floats_pads_with_what_never_wins() -> None:
    assert max_pool2d(np.full((1, 2, 3), -9.0), 3, 1, 1).tolist() == [[[-9.0] * 3] * 2]


def test_max_pool2d_leaves_its_input_alone() -> None:
    x = np.arange(24.0).reshape(1, 4, 6)
    out = max_pool2d(x, 1)
    out[:] = 0
    assert x.sum() == 276


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"kernel_size": 0, "stride": 1}, RuntimeError, "kernel size should be greater than zero, but got kH: 0 kW: 0"),
        ({"kernel_size": 2, "stride": 0}, RuntimeError, "stride should not be zero"),
        ({"kernel_size": 2, "stride": -1}, RuntimeError, "stride should be greater than zero, but got dH: -1 dW: -1"),
        ({"kernel_size": 2, "dilation": 0}, RuntimeError, "dilation should be greater than zero"),
        ({"kernel_size": 2, "padding": -1}, RuntimeError, "pad must be non-negative, but got pad: -1"),
        ({"kernel_size": (2, 2, 2)}, RuntimeError, "kernel_size must either be a single int, or a tuple of two ints"),
        ({"kernel_size": 7}, RuntimeError, "Output size is too small"),
    ],
)
def test_max_pool2d_says_what_is_wrong(arguments, error, text) -> None:
    with pytest.raises(error, match=text):
        max_pool2d(np.ones((1, 4, 6)), **arguments)


def test_max_pool2d_refuses_other_ranks() -> None:
    with pytest.raises(RuntimeError, match="non-empty 3D or 4D"):
        max_pool2d(np.ones((4, 6)), 2)


@pytest.mark.parametrize("with_padding", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [((2, 3), (1, 2), (1, 0)), ((3, 2), (2, 3), (1, 1))])
def test_avg_pool2d_is_the_average_of_each_window(kernel, stride, padding, with_padding: bool) -> None:
    x = np.random.default_rng(4).integers(-9, 10, (2, 3, 8, 11)).astype(float)
    for ceil_mode, divisor in itertools.product((False, True), (None, 5, -2)):
        out = avg_pool2d(x, kernel, stride, padding, ceil_mode, with_padding, divisor)
        for (n, c, oh, ow), value in np.ndenumerate(out):
            rows = range(oh * stride[0] - padding[0], min(oh * stride[0] - padding[0] + kernel[0], 8 + padding[0]))
            columns = range(ow * stride[1] - padding[1], min(ow * stride[1] - padding[1] + kernel[1], 11 + padding[1]))
            window = [x[n, c, h, w] for h in rows for w in columns if 0 <= h < 8 and 0 <= w < 11]
            count = divisor or (len(rows) * len(columns) if with_padding else len(window))
            assert value == pytest.approx(sum(window) / count, rel=1e-15, abs=1e-15)


def test_one_and_three_axes_are_two_with_one_of_them_whole() -> None:
    x = np.random.default_rng(5).integers(-9, 10, (2, 3, 4, 6, 8)).astype(float)
    assert np.array_equal(
        max_pool1d(x[:, :, 0, 0], 3, 2, 1), max_pool2d(x[:, :, :1, 0], (1, 3), (1, 2), (0, 1))[:, :, 0]
    )
    assert np.array_equal(max_pool3d(x, (1, 2, 3))[:, :, 1], max_pool2d(x[:, :, 1], (2, 3)))
    assert np.array_equal(avg_pool3d(x, (1, 2, 3))[:, :, 1], avg_pool2d(x[:, :, 1], (2, 3)))
    assert np.array_equal(avg_pool1d(x[0, :, 0, 0], 2), avg_pool2d(x[0, :, :1, 0], (1, 2))[:, 0])


def test_nan_wins_and_the_first_of_equals() -> None:
    values, places = max_pool1d(np.array([[1.0, np.nan, 3.0, np.nan, 7.0, 7.0]]), 4, 2, return_indices=True)
    assert np.isnan(values).all()
    assert places.tolist() == [[3, 3]]
    assert max_pool1d(np.array([[7, 7]], np.int8), 2, return_indices=True)[1].tolist() == [[0]]
    assert max_pool1d(np.full((1, 2), -np.inf), 2, 2, 1, return_indices=True)[1].tolist() == [[0, 1]]


def test_averages_of_small_floats_and_of_integers() -> None:
    x = np.array([[2048, 1, 1, 2]], np.float16)
    assert avg_pool1d(x, 4).tolist() == [[513.0]]
    assert avg_pool1d(x, 4).dtype == np.float16
    assert avg_pool1d(np.array([[-3, -4, 100, 100]], np.int8), 2).tolist() == [[-3, 100]]


def test_an_empty_batch() -> None:
    assert max_pool2d(np.ones((0, 3, 4, 6)), 2).shape == (0, 3, 2, 3)
    assert avg_pool2d(np.ones((0, 3, 4, 6)), 2).shape == (0, 3, 2, 3)
