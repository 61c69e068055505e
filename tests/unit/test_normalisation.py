"""Batch norm of NumPy arrays: against numbers that are exact, and against 60 decimal digits."""

from __future__ import annotations

import itertools
from decimal import Decimal, localcontext

import numpy as np
import pytest

from miniconv.functional import batch_norm

# Sum 0, mean square 2, and one less than their count a power of two: with eps = 2 no number below needs rounding.
VALUES = {
    5: [-2, -1, 0, 1, 2],
    9: [-2, 2, -2, 2, -1, 1, 0, 0, 0],
    33: [-2] * 8 + [2] * 8 + [-1, 1] + [0] * 15,
}
SHAPES = {
    5: [(5, 3), (1, 3, 5), (5, 3, 1, 1)],
    9: [(9, 3), (3, 3, 3), (1, 3, 3, 3), (1, 3, 3, 1, 3, 1)],
    33: [(3, 3, 11)],
}
CASES = [(count, shape) for count in VALUES for shape in SHAPES[count]]


def exact_data(count: int, shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers with mean c + 1 and variance 2 in channel c, and the same numbers with mean 0."""
    rng = np.random.default_rng(count)
    rows = np.stack([rng.permutation(VALUES[count]) for _ in range(3)])
    x = rows.reshape(3, shape[0], *shape[2:]).swapaxes(0, 1).astype(dtype)
    return x + np.arange(1, 4).reshape(-1, *(1,) * (len(shape) - 2)).astype(dtype), x


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("count", "shape"), CASES)
def test_training_is_exact_where_nothing_needs_rounding(count: int, shape: tuple[int, ...], dtype: str) -> None:
    x, centred = exact_data(count, shape, dtype)
    weight, bias = np.array([2, -1, 4], dtype), np.array([1, 0, -3], dtype)
    mean, var = np.array([4, 0, -2], dtype), np.array([1, 3, 0.5], dtype)
    along = (-1, *(1,) * (len(shape) - 2))
    out = batch_norm(x, mean, var, weight, bias, training=True, momentum=0.5, eps=2.0)
    assert out.dtype == dtype
    assert np.array_equal(out, centred / 2 * weight.reshape(along) + bias.reshape(along))
    assert mean.tolist() == [2.5, 1, 0.5]
    unbiased = 2 * count / (count - 1)
    assert var.tolist() == [(unbiased + before) / 2 for before in (1, 3, 0.5)]
    assert np.array_equal(batch_norm(x, None, None, training=True, eps=2.0), centred / 2)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_evaluation_takes_the_running_statistics_and_leaves_them(dtype: str) -> None:
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(dtype)
    mean, var = np.array([4, 0, -2], dtype), np.array([1, 13, 61], dtype)
    expected = (x - mean.reshape(3, 1, 1)) / np.array([2, 4, 8], dtype).reshape(3, 1, 1)
    assert np.array_equal(batch_norm(x, mean, var, eps=3.0), expected)
    assert mean.tolist() == [4, 0, -2]
    assert var.tolist() == [1, 13, 61]
    with_bias = batch_norm(x, mean, var, None, np.array([1, 2, 3], dtype), eps=3.0)
    assert np.array_equal(with_bias, expected + np.array([1, 2, 3], dtype).reshape(3, 1, 1))


def test_small_floats_take_float32_parameters() -> None:
    x, centred = exact_data(9, (9, 3), "float16")
    mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
    out = batch_norm(x, mean, var, np.ones(3, np.float32), training=True, momentum=1.0, eps=2.0)
    assert out.dtype == np.float16
    assert np.array_equal(out, centred / 2)
    assert mean.tolist() == [1, 2, 3]
    assert mean.dtype == np.float32


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_numbers_are_within_a_bound_of_the_exact_result(dtype: str, offset: float) -> None:
    """The mean is off by e, its one rounding and those of its sum; the scale by 4 roundings, the rest by 4."""
    rng = np.random.default_rng(7)
    x = (rng.standard_normal((4, 3, 5, 6)) + offset).astype(dtype)
    weight, bias = rng.standard_normal((2, 3)).astype(dtype)
    out = batch_norm(x, None, None, weight, bias, training=True, eps=1e-5)
    u = float(np.finfo(dtype).eps) / 2
    with localcontext() as context:
        context.prec = 60
        for c in range(3):
            numbers = np.array([Decimal(float(v)) for v in x[:, c].ravel()])
            mean = numbers.mean()
            var = ((numbers - mean) ** 2).mean()
            scale = Decimal(float(weight[c])) / (var + Decimal("1e-5")).sqrt()
            exact = (numbers - mean) * scale + Decimal(float(bias[c]))
            sums = 2.0**-53 * (len(numbers) + 4)
            of_mean = u * abs(float(mean)) + sums * float(abs(numbers).mean())
            of_var = sums * float((numbers**2).mean()) / float(var)  # beyond its rounding to the dtype
            moved = abs(float(scale)) * np.array([abs(float(v - mean)) for v in numbers])
            bound = abs(float(scale)) * of_mean + (8.01 * u + of_var) * (moved + abs(float(bias[c])))
            found = np.array([abs(float(Decimal(float(v)) - e)) for v, e in zip(out[:, c].ravel(), exact)])
            assert (found <= bound).all(), (found / bound).max()


def test_inf_and_nan_spoil_their_channel_alone() -> None:
    x = np.ones((2, 3, 4), np.float32)
    x[0, 0, 0], x[1, 2, 3] = np.inf, np.nan
    out = batch_norm(x, None, None, training=True)
    assert np.isnan(out[:, [0, 2]]).all()
    assert (out[:, 1] == 0).all()
    kept = batch_norm(x, np.zeros(3, np.float32), np.ones(3, np.float32), eps=0.0)
    assert np.array_equal(kept, x, equal_nan=True)


def test_layout() -> None:
    x = np.arange(120.0).reshape(2, 4, 5, 3)
    out = batch_norm(x.transpose(0, 3, 1, 2), None, None, training=True)
    assert out.strides == x.transpose(0, 3, 1, 2).strides
    assert batch_norm(x.transpose(0, 1, 3, 2), None, None, training=True).flags.c_contiguous


def test_an_empty_batch_changes_nothing() -> None:
    mean, var = np.zeros(3), np.ones(3)
    for shape, training in itertools.product([(0, 3, 4, 5), (2, 3, 0)], [False, True]):
        assert batch_norm(np.ones(shape), mean, var, var, mean, training).shape == shape
    assert (mean.tolist(), var.tolist()) == ([0] * 3, [1] * 3)


X, ONES, FOUR = np.ones((2, 3, 4)), np.ones(3), np.ones(4)
WRONG = [
    ((np.ones((1, 3)), None, None, None, None, True), ValueError, r"more than 1 value per channel .* size \(1, 3\)"),
    ((X, None, None, None, None, True, 0.1, 0.0), ValueError, "eps must be positive during training, but got 0.0"),
    ((X, ONES, ONES, None, None, False, 0.1, -1.0), ValueError, "eps must be non-negative, but got -1.0"),
    ((X, ONES, ONES, [1.0] * 3), TypeError, r"'weight' \(position 2\) must be numpy.ndarray, not list"),
    ((X, ONES, ONES, None, None, 1), TypeError, r"'training' \(position 6\) must be bool, not int"),
    ((X, ONES, ONES, None, None, False, None), TypeError, r"'momentum' \(position 7\) must be float, not NoneType"),
    ((X, None, ONES), RuntimeError, "running_mean must be defined in evaluation mode"),
    ((X, ONES, None), RuntimeError, "running_var must be defined in evaluation mode"),
    ((X, ONES, None, None, None, True), ValueError, "must either both be None or neither be None"),
    ((X, FOUR, ONES), RuntimeError, "running_mean should contain 3 elements not 4"),
    ((X, ONES, ONES, ONES, FOUR), RuntimeError, "bias should contain 3 elements not 4"),
    ((X, ONES[None], ONES), RuntimeError, "TensorAccessor expected 1 dims but tensor has 2"),
    ((FOUR, None, None, None, None, True), IndexError, "Dimension out of range"),
    ((X.astype(int), ONES, ONES), NotImplementedError, "\"batch_norm\" not implemented for 'Long'"),
    ((X, ONES, ONES.astype("f")), RuntimeError, "expected scalar type Double but found Float"),
    ((X, ONES.astype("f"), ONES.astype("f")), RuntimeError, "all inputs must share same datatype"),
    ((X.astype("f"), ONES, ONES), RuntimeError, "expect parameter to have scalar type of Float"),
]


@pytest.mark.parametrize(("arguments", "error", "text"), WRONG)
def test_what_is_refused(arguments: tuple[object, ...], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        batch_norm(*arguments)
