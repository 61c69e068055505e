"""relu, linear, max_pool2d and log_softmax of NumPy arrays: against numbers worked out by hand and plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from miniconv.functional import linear, log_softmax, max_pool2d, relu


def test_relu_keeps_what_is_positive() -> None:
    x = np.array([[-3, 0, 2], [5, -1, -7]], dtype=np.int32)
    out = relu(x)
    assert out.tolist() == [[0, 0, 2], [5, 0, 0]]
    assert out.dtype == np.int32
    assert x[0, 0] == -3


def test_relu_in_place_overwrites_its_input() -> None:
    x = np.array([-1.0, 4.0], dtype=np.float32)
    assert relu(x, inplace=True) is x
    assert x.tolist() == [0.0, 4.0]


def test_relu_keeps_nan() -> None:
    assert math.isnan(relu(np.array([np.nan, -1.0]))[0])


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3)])
def test_linear_is_a_product_and_a_bias(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(1)
    x = generator.integers(-5, 6, shape).astype(np.float32)
    weight = generator.integers(-5, 6, (4, 3)).astype(np.float32)
    bias = generator.integers(-5, 6, 4).astype(np.float32)
    out = linear(x, weight, bias)
    assert out.dtype == np.float32
    assert out.shape == (*shape[:-1], 4)
    for position in np.ndindex(*shape[:-1]):
        for o in range(4):
            assert out[(*position, o)] == bias[o] + sum(weight[o, i] * x[(*position, i)] for i in range(3))


def test_linear_rounds_float16_once() -> None:
    # one after the other, 2048 + 1 would stay 2048 in float16
    x = np.array([[2048.0, 1.0, 1.0]], dtype=np.float16)
    assert linear(x, np.ones((1, 3), np.float16)).tolist() == [[2050.0]]


def test_linear_refuses_two_dtypes() -> None:
    with pytest.raises(RuntimeError, match="one dtype, but got float32, float64"):
        linear(np.ones((1, 2)), np.ones((3, 2), np.float32))


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
        ({"kernel_size": 7}, RuntimeError, "leaves no output"),
        ({"kernel_size": 2, "return_indices": True}, NotImplementedError, "does not return indices"),
    ],
)
def test_max_pool2d_says_what_is_wrong(arguments, error, text) -> None:
    with pytest.raises(error, match=text):
        max_pool2d(np.ones((1, 4, 6)), **arguments)


def test_max_pool2d_refuses_other_ranks() -> None:
    with pytest.raises(RuntimeError, match=r"takes \(N, C, H, W\) or \(C, H, W\), but got \[4, 6\]"):
        max_pool2d(np.ones((4, 6)), 2)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_log_softmax_sums_to_one_along_its_axis(dim: int) -> None:
    x = np.random.default_rng(4).standard_normal((3, 5))
    out = log_softmax(x, dim)
    assert np.allclose(np.exp(out).sum(axis=dim), 1, rtol=1e-14)
    assert np.allclose(out - x, (out - x).take([0], axis=dim), rtol=1e-14)


def test_log_softmax_does_not_overflow() -> None:
    assert log_softmax(np.array([1e4, 0.0], np.float32), 0).tolist() == [0.0, -1e4]


def test_log_softmax_casts_first_and_keeps_float16() -> None:
    assert log_softmax(np.array([1, 1]), 0, dtype=np.float64).tolist() == [-math.log(2)] * 2
    assert log_softmax(np.ones(2, np.float16), 0).dtype == np.float16


def test_log_softmax_refuses_integers_and_warns_without_an_axis() -> None:
    with pytest.raises(NotImplementedError, match="int64"):
        log_softmax(np.array([1, 2]), 0)
    with pytest.warns(UserWarning, match="Implicit dimension choice for log_softmax has been deprecated"):
        assert np.array_equal(log_softmax(np.eye(3)), log_softmax(np.eye(3), 1))
