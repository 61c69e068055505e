"""conv2d on NumPy arrays, without torch: against the definition, with torch's rules."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

import miniconv.functional as F
from miniconv import reference
from miniconv.problem import ConvProblem

RNG = np.random.default_rng(0)


def integers(*shape, dtype="float32"):
    """Small, never zero, exact in every dtype."""
    return (RNG.integers(1, 4, shape) * RNG.choice([-1, 1], shape)).astype(dtype)


DARK_LINES = np.array(
    [
        [[1, 4, 1, 4, 5], [0, 5, 3, 2, 1], [21, 25, 25, 23, 26], [5, 2, 5, 2, 5], [4, 9, 3, 0, 7]],
        [[2, 2, 2, 7, 2], [0, 0, 6, 3, 0], [24, 25, 25, 23, 27], [0, 1, 1, 1, 5], [0, 2, 0, 2, 2]],
        [[2, 2, 2, 1, 0], [7, 2, 4, 3, 1], [24, 23, 28, 23, 24], [0, 0, 2, 2, 5], [5, 2, 4, 5, 2]],
    ],
    dtype=np.float32,
)


def test_dark_lines():
    kernel = np.zeros((1, 3, 3, 3), np.float32)
    kernel[:, :, 1] = 1
    result = F.conv2d(DARK_LINES, kernel)
    assert result.tolist() == [[[27.0, 28.0, 23.0], [220.0, 220.0, 224.0], [16.0, 16.0, 28.0]]]
    assert result.dtype == np.float32


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex64"]
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)},
        {"padding": "same", "dilation": (2, 1)},
        {"groups": 2, "padding": "valid", "stride": 2},
    ],
)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_equals_the_definition(dtype, options, batch):
    input, weight = (
        integers(*batch, 4, 7, 9, dtype=dtype),
        integers(6, 4 // options.get("groups", 1), 3, 2, dtype=dtype),
    )
    bias = integers(6, dtype=dtype)
    problem = ConvProblem.from_conv(*(F._convolution.describe(x) for x in (input, weight, bias)), **options)
    got = F.conv2d(input, weight, bias, **options)
    assert got.dtype == input.dtype
    np.testing.assert_array_equal(got, reference.conv(problem, input, weight, bias))


def test_fractions_stay_exact():
    input = np.array([[[Fraction(1, 3), Fraction(1, 7)], [Fraction(2), Fraction(-1, 2)]]], dtype=object)
    weight = np.array([[[[Fraction(3, 5), Fraction(7)]]]], dtype=object)
    assert F.conv2d(input, weight).tolist() == [[[Fraction(6, 5)], [Fraction(-23, 10)]]]


def test_every_stride_of_the_input_is_read_right():
    weight = integers(5, 4, 3, 2)
    big = integers(3, 8, 14, 20)
    views = {
        "sliced": big[:, ::2, ::2, 1:19:2],
        "reversed": big[:, :4, ::-1, ::-1],
        "transposed": big.transpose(0, 1, 3, 2)[:, :4],
        "channels last": big.transpose(0, 3, 1, 2)[:, :4],
        "expanded": np.broadcast_to(big[:1, :1], (3, 4, 14, 20)),
    }
    for name, view in views.items():
        dense = np.ascontiguousarray(view)
        expected = F.conv2d(dense, weight, padding=1)
        np.testing.assert_array_equal(F.conv2d(view, weight, padding=1), expected, err_msg=name)
        swapped = np.ascontiguousarray(weight.transpose(2, 3, 0, 1)).transpose(2, 3, 0, 1)
        np.testing.assert_array_equal(F.conv2d(view, swapped, padding=1), expected, err_msg=name)


def test_channels_last_in_channels_last_out():
    input = np.ascontiguousarray(integers(2, 7, 9, 4)).transpose(0, 3, 1, 2)
    result = F.conv2d(input, integers(6, 4, 3, 3))
    assert result.strides == (5 * 7 * 6 * 4, 4, 7 * 6 * 4, 6 * 4)
    result = F.conv2d(np.ascontiguousarray(input), integers(6, 4, 3, 3))
    assert result.flags.c_contiguous


def test_operands_are_not_written_to_and_may_be_read_only():
    operands = [integers(2, 4, 6, 7), integers(6, 4, 3, 3), integers(6)]
    copies = [x.copy() for x in operands]
    for x in operands:
        x.flags.writeable = False
    first = F.conv2d(*operands, padding=1)
    first[...] = 0
    for x, copy in zip(operands, copies):
        np.testing.assert_array_equal(x, copy)


def test_inf_and_nan_pass_without_a_warning():
    input = np.zeros((1, 1, 5, 6), np.float32)
    input[0, 0, 2, 3] = np.inf
    result = F.conv2d(input, np.ones((1, 1, 3, 3), np.float32))
    assert np.isinf(result[0, 0, :, 1:4]).all()
    assert not np.isinf(result[0, 0, :, 0]).any()
    assert np.isnan(F.conv2d(input, np.zeros((1, 1, 3, 3), np.float32))[0, 0, :, 1:4]).all()


def test_overflow_of_float16_is_inf_without_a_warning():
    input = np.full((1, 1, 2, 2), 6e4, np.float16)
    assert np.isinf(F.conv2d(input, np.ones((1, 1, 2, 2), np.float16))).all()


def test_empty_batch_and_channels():
    assert F.conv2d(np.zeros((0, 4, 8, 9)), np.zeros((6, 4, 3, 3))).shape == (0, 6, 6, 7)
    assert F.conv2d(np.zeros((2, 0, 8, 9)), np.zeros((6, 0, 3, 3))).shape == (2, 0, 6, 7)


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        (([[1.0]], np.ones((1, 1, 1, 1))), "(list, numpy.ndarray)"),
        ((np.ones((1, 1, 1)), None), "(numpy.ndarray, NoneType)"),
        ((np.ones((1, 1, 1)), np.ones((1, 1, 1, 1)), 3.0), "(numpy.ndarray, numpy.ndarray, float)"),
        ((np.ones((1, 1, 1)), np.ones((1, 1, 1, 1)), None, 1.0), "(numpy.ndarray, numpy.ndarray, stride=float)"),
    ],
)
def test_what_is_no_array(arguments, got):
    with pytest.raises(TypeError, match="invalid combination of arguments") as caught:
        F.conv2d(*arguments)
    assert f"got {got}, but expected" in str(caught.value)


def test_what_is_remembered_of_an_integer_does_not_let_a_float_in():
    operands = integers(1, 2, 5, 6), integers(3, 2, 3, 3)
    F.conv2d(*operands, stride=1, padding=(1, 1))
    for options in (
        {"stride": 1.0},
        {"stride": True},
        {"padding": (1.0, 1.0)},
        {"padding": (True, 1)},
        {"groups": 1.0},
    ):
        with pytest.raises(TypeError):
            F.conv2d(*operands, **{"stride": 1, "padding": (1, 1)} | options)
    with pytest.raises(RuntimeError, match="to have 2 channels, but got 1"):
        F.conv2d(operands[0][:, :1], operands[1], stride=1, padding=(1, 1))


def test_a_huge_padding_is_refused_and_not_computed():
    with pytest.raises((MemoryError, ValueError)):
        F.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding=2**40)


def test_import_brings_neither_torch_nor_llvmlite():
    code = (
        "import sys, numpy as np, miniconv, miniconv.functional as F\n"
        "with miniconv.config(algorithm='im2col'): F.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)))\n"
        "assert not {'torch', 'llvmlite'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import miniconv.functional as F\n"
        "assert {'conv2d', 'relu'} <= set(dir(F))\n"
        "try: F.gelu\n"
        "except AttributeError as error: assert 'torch is not installed' in str(error)\n"
        "else: raise SystemExit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
