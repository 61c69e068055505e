"""relu, linear and log_softmax of NumPy arrays: against numbers worked out by hand and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from miniconv.functional import linear, log_softmax, relu


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
