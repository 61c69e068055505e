from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from miniconv import ConvProblem, reference

# One row for each thing that the definition must get right; H != W and C_in != C_out throughout.
PROBLEMS = [
    "conv1d n2 c3 o4 i9 k3 int64",
    "conv1d c4 o2 i11 k2 s3 p2:1 d2 g2 int64",
    "conv2d n2 c4 o6 i5x6 k3x2 s2x1 p1:2x0:1 d1x2 g2 int64",
    "conv2d n1 c3 o6 i6x4 k1x3 s1x2 p0x2 g3 int64",
    "conv2d c2 o3 i2x3 k4x5 p2x3:2 int64",
    "conv3d n1 c2 o3 i3x4x5 k2x1x3 s1x2x2 p1x0x1:0 d2x1x1 int64",
    "conv_transpose1d n2 c4 o6 i5 k3 s2 p1 op1 g2 int64",
    "conv_transpose2d n2 c3 o2 i3x4 k3x2 s2x3 p1x0 d1x2 op1x2 int64",
    "conv_transpose2d c2 o4 i4x3 k2x3 s1x2 p0:1x1:2 g2 int64",
    "conv_transpose3d n1 c2 o3 i2x3x2 k2x1x3 s2x1x3 p1x0x1 d1x1x2 int64",
]


def integers(*shape, seed=0, low=-9, high=10, dtype="int64"):
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(dtype)


def operands(problem):
    return (
        integers(*problem.input_shape, seed=1, dtype=problem.dtype),
        integers(*problem.weight_shape, seed=2, dtype=problem.dtype),
        integers(*problem.output_shape, seed=3, dtype=problem.dtype),
    )


# ---- by hand --------------------------------------------------------------------------------------------------

# The dark-line detector of the tutorials. Every channel's kernel is a row of three ones in the middle, so an output is
# the sum, over the channels, of three neighbours on the row below it. Row 1 of the channels: 0+5+3 and 0+0+6 and 7+2+4
# make 27; row 2 has the line: 21+25+25, 24+25+25, 24+23+28 make 220; and so on.
LINES_INPUT = [
    [[1, 4, 1, 4, 5], [0, 5, 3, 2, 1], [21, 25, 25, 23, 26], [5, 2, 5, 2, 5], [4, 9, 3, 0, 7]],
    [[2, 2, 2, 7, 2], [0, 0, 6, 3, 0], [24, 25, 25, 23, 27], [0, 1, 1, 1, 5], [0, 2, 0, 2, 2]],
    [[2, 2, 2, 1, 0], [7, 2, 4, 3, 1], [24, 23, 28, 23, 24], [0, 0, 2, 2, 5], [5, 2, 4, 5, 2]],
]
LINES_OUTPUT = [[[27, 28, 23], [220, 220, 224], [16, 16, 28]]]


@pytest.mark.parametrize("dtype", ["int64", "float32", "float16", "bfloat16", "complex64", "object"])
def test_dark_lines(dtype):
    problem = ConvProblem.parse(f"conv2d c3 o1 i5x5 k3x3 {dtype}")
    storage = {"bfloat16": "float32"}.get(dtype, dtype)
    weight = np.array([[[[0, 0, 0], [1, 1, 1], [0, 0, 0]]] * 3], storage)
    output = reference.conv(problem, np.array(LINES_INPUT, storage), weight)
    assert output.dtype == storage
    np.testing.assert_array_equal(output, np.array(LINES_OUTPUT))


def test_every_axis_has_its_own_stride_padding_and_dilation():
    problem = ConvProblem.parse("conv2d c1 o1 i2x3 k2x2 s2x1 p0:1x1:0 d2x1 int64")
    weight = np.array([[[[1, 10], [100, 1000]]]])
    # rows 0 and 2 (below the input, zeros); columns -1 0, 0 1, 1 2
    np.testing.assert_array_equal(reference.conv(problem, np.array([[[1, 2, 3], [4, 5, 6]]]), weight), [[[10, 21, 32]]])


def test_a_kernel_is_not_flipped():
    problem = ConvProblem.parse("conv1d c1 o1 i3 k2 int64")
    np.testing.assert_array_equal(reference.conv(problem, np.array([[1, 2, 3]]), np.array([[[1, 10]]])), [[21, 32]])


def test_groups_see_their_own_channels():
    problem = ConvProblem.parse("conv1d c4 o2 i1 k1 g2 int64")
    weight = np.array([[[1], [10]], [[100], [1000]]])
    np.testing.assert_array_equal(reference.conv(problem, np.array([[1], [2], [3], [4]]), weight), [[21], [4300]])


def test_transposed_scatters_the_kernel():
    problem = ConvProblem.parse("conv_transpose1d c1 o1 i2 k3 s2 p1 op1 int64")
    # 1 * (1, 2, 3) at 0 and 10 * (1, 2, 3) at 2, of 0 ... 5; padding cuts the first, output_padding keeps the last
    np.testing.assert_array_equal(
        reference.conv(problem, np.array([[1, 10]]), np.array([[[1, 2, 3]]])), [[2, 13, 20, 30]]
    )


def test_bias_is_added_to_its_channel():
    for op in ("conv2d", "conv_transpose2d"):
        problem = ConvProblem.parse(f"{op} n2 c1 o2 i2x3 k1x1 bias int64")
        output = reference.conv(
            problem, np.zeros((2, 1, 2, 3), int), np.ones(problem.weight_shape, int), np.array([5, 7])
        )
        np.testing.assert_array_equal(output, np.broadcast_to(np.reshape([5, 7], (1, 2, 1, 1)), (2, 2, 2, 3)))


def test_bias_gradient_sums_each_channel():
    problem = ConvProblem.parse("conv2d n2 c1 o3 i2x3 k1x1 bias int64")
    grad_output = integers(2, 3, 2, 3)
    np.testing.assert_array_equal(reference.conv_bias_grad(problem, grad_output), grad_output.sum((0, 2, 3)))


# ---- against independent arithmetic ---------------------------------------------------------------------------


def as_matrix(problem, weight):
    """The convolution as a dense matrix (outputs, inputs): tap by tap, in exact integers."""
    out_shape, in_shape = problem.batched_output_shape[1:], problem.batched_input_shape[1:]
    matrix = np.zeros((*out_shape, *in_shape), dtype=object)
    wide, narrow = (in_shape, out_shape) if problem.transposed else (out_shape, in_shape)
    for first, second, *k in np.ndindex(problem.weight_shape):
        group = first // (problem.weight_shape[0] // problem.groups)
        channel = group * problem.weight_shape[1] + second
        for at in np.ndindex(wide[1:]):
            place = [
                a * s - low + b * d
                for a, s, (low, _), b, d in zip(at, problem.stride, problem.padding, k, problem.dilation)
            ]
            if all(0 <= p < size for p, size in zip(place, narrow[1:])):
                ends = ((first, *at), (channel, *place))
                out, inp = reversed(ends) if problem.transposed else ends
                matrix[(*out, *inp)] += int(weight[(first, second, *k)])
    return matrix.reshape(int(np.prod(out_shape)), int(np.prod(in_shape)))


@pytest.mark.parametrize("text", PROBLEMS)
def test_conv_and_input_gradient_are_a_matrix_and_its_transpose(text):
    problem = ConvProblem.parse(text)
    x, w, g = operands(problem)
    matrix = as_matrix(problem, w)
    n = problem.batched_input_shape[0]
    expected = x.reshape(n, -1) @ matrix.T
    np.testing.assert_array_equal(reference.conv(problem, x, w), expected.reshape(problem.output_shape))
    expected = g.reshape(n, -1) @ matrix
    np.testing.assert_array_equal(reference.conv_input_grad(problem, g, w), expected.reshape(problem.input_shape))


@pytest.mark.parametrize("text", PROBLEMS)
def test_the_three_operators_are_one_trilinear_form(text):
    problem = ConvProblem.parse(text)
    x, w, g = operands(problem)
    total = (reference.conv(problem, x, w) * g).sum()
    assert total == (reference.conv_input_grad(problem, g, w) * x).sum()
    assert total == (reference.conv_weight_grad(problem, g, x) * w).sum()
    assert total != 0


@pytest.mark.parametrize("text", [PROBLEMS[1], PROBLEMS[2], PROBLEMS[6], PROBLEMS[7]])
def test_weight_gradient_is_the_exact_difference_quotient(text):
    problem = ConvProblem.parse(text)
    x, w, g = operands(problem)
    grad = reference.conv_weight_grad(problem, g, x)
    before = (reference.conv(problem, x, w) * g).sum()
    for at in np.ndindex(w.shape):
        moved = w.copy()
        moved[at] += 1  # the convolution is linear in the weight, so a step of 1 is exact
        assert (reference.conv(problem, x, moved) * g).sum() - before == grad[at]


@pytest.mark.parametrize("text", [t for t in PROBLEMS if "transpose" in t])
def test_transposed_is_the_input_gradient_of_its_adjoint(text):
    problem = ConvProblem.parse(text)
    x, w, g = operands(problem)
    np.testing.assert_array_equal(reference.conv(problem, x, w), reference.conv_input_grad(problem.adjoint, x, w))
    np.testing.assert_array_equal(reference.conv_input_grad(problem, g, w), reference.conv(problem.adjoint, g, w))
    np.testing.assert_array_equal(
        reference.conv_weight_grad(problem, g, x), reference.conv_weight_grad(problem.adjoint, x, g)
    )


# ---- dtypes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("op", ["conv1d", "conv_transpose1d"])
def test_integers_wrap(dtype, op):
    problem = ConvProblem.parse(f"{op} n2 c3 o2 i5 k3 bias {dtype}")
    info = np.iinfo(dtype)
    x, w, b, g = (
        np.random.default_rng(7).integers(info.min, info.max, shape, dtype, endpoint=True)
        for shape in (problem.input_shape, problem.weight_shape, (2,), problem.output_shape)
    )
    exact_problem = ConvProblem.parse(f"{op} n2 c3 o2 i5 k3 bias object")
    ex, ew, eb, eg = (a.astype(object) for a in (x, w, b, g))
    for got, exact in [
        (reference.conv(problem, x, w, b), reference.conv(exact_problem, ex, ew, eb)),
        (reference.conv_input_grad(problem, g, w), reference.conv_input_grad(exact_problem, eg, ew)),
        (reference.conv_weight_grad(problem, g, x), reference.conv_weight_grad(exact_problem, eg, ex)),
        (reference.conv_bias_grad(problem, g), reference.conv_bias_grad(exact_problem, eg)),
    ]:
        assert got.dtype == dtype
        np.testing.assert_array_equal((got.astype(object) - exact) % 2**info.bits, 0)


def test_int64_is_exact_above_2_to_the_53():
    problem = ConvProblem.parse("conv1d c1 o1 i2 k2 int64")
    x = np.array([[2**53, 1]])
    assert reference.conv(problem, x, np.array([[[1, 1]]])).item() == 2**53 + 1


def test_fractions_are_exact():
    problem = ConvProblem.parse("conv1d c1 o1 i3 k3 p1 bias object")
    third = np.array([[Fraction(1, 3), Fraction(1, 7), Fraction(2, 5)]])
    weight = np.array([[[Fraction(1, 2), Fraction(3), Fraction(-1, 11)]]])
    expected = [
        Fraction(3, 3) - Fraction(1, 77) + 1,
        Fraction(1, 6) + Fraction(3, 7) - Fraction(2, 55) + 1,
        Fraction(1, 14) + Fraction(6, 5) + 1,
    ]
    assert reference.conv(problem, third, weight, np.array([Fraction(1)])).tolist() == [expected]


def test_floats_are_summed_in_the_order_of_the_loops():
    problem = ConvProblem.parse("conv1d c2 o1 i2 k2")
    x = np.array([[2.0**24, 1], [1, 1]], np.float32)
    assert reference.conv(problem, x, np.ones((1, 2, 2), np.float32)).item() == 2.0**24
    assert reference.conv(problem, x[::-1].copy(), np.ones((1, 2, 2), np.float32)).item() == 2.0**24 + 4


def test_float16_accumulates_in_float32_and_rounds_once():
    problem = ConvProblem.parse("conv1d c1 o1 i4 k4 float16")
    x = np.array([[2048, 1, 1, 1]], np.float16)  # in float16, 2048 + 1 is 2048
    output = reference.conv(problem, x, np.ones((1, 1, 4), np.float16))
    assert output.dtype == np.float16
    assert output.item() == 2052


def test_bfloat16_rounds_once_to_even():
    problem = ConvProblem.parse("conv1d c1 o1 i3 k3 bfloat16")
    for values, expected in [((256, 1, 0), 256), ((256, 1, 1), 258), ((256, 2, 1), 260), ((256, 1, 2.0**-8), 258)]:
        output = reference.conv(problem, np.array([values], np.float32), np.ones((1, 1, 3), np.float32))
        assert output.dtype == np.float32
        assert output.item() == expected


def test_complex32_rounds_both_parts_once():
    problem = ConvProblem.parse("conv1d c1 o1 i2 k2 complex32")
    output = reference.conv(problem, np.array([[4096, 1 + 3j]], np.complex64), np.array([[[1, 1j]]], np.complex64))
    assert output.dtype == np.complex64
    assert output.item() == 4092 + 1j  # 4093 + 1j, and 4093 is half way between 4092 and 4094 in float16


def test_complex_gradients_are_of_the_bilinear_form():
    problem = ConvProblem.parse("conv1d c1 o1 i1 k1 complex128")
    x, w, g = np.array([[1 + 2j]]), np.array([[[3 - 1j]]]), np.array([[2 + 5j]])
    assert reference.conv_input_grad(problem, g, w).item() == (2 + 5j) * (3 - 1j)
    assert reference.conv_weight_grad(problem, g, x).item() == (2 + 5j) * (1 + 2j)


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("bfloat16", 3.4e38, np.inf),
        ("bfloat16", -np.inf, -np.inf),
        ("bfloat16", 1.0 + 2.0**-8, 1.0),
        ("bfloat16", 1.0 + 3 * 2.0**-8, 1.0 + 2.0**-6),
        ("float16", 65519.0, 65504.0),
        ("float16", 65520.0, np.inf),
        ("float32", 0.1, np.float32(0.1)),
    ],
)
def test_rounded(dtype, value, expected):
    assert reference.rounded(np.array([value], np.float32), dtype)[0] == expected


def test_rounded_keeps_nans():
    every_bit = np.array([0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(reference.rounded(every_bit, "bfloat16")).all()


# ---- edges ----------------------------------------------------------------------------------------------------


def test_padding_contributes_nothing_even_under_an_infinite_weight():
    problem = ConvProblem.parse("conv1d c1 o1 i2 k3 p1")
    output = reference.conv(problem, np.ones((1, 2), np.float32), np.array([[[np.inf, 1, 1]]], np.float32))
    np.testing.assert_array_equal(output, [[2, np.inf]])


def test_infinities_and_nans_arise_without_a_warning():
    problem = ConvProblem.parse("conv1d c1 o1 i2 k2")
    x = np.array([[3e38, 3e38]], np.float32)
    assert reference.conv(problem, x, np.ones((1, 1, 2), np.float32)).item() == np.inf
    assert np.isnan(
        reference.conv(problem, np.array([[np.inf, np.inf]], np.float32), np.array([[[1, -1]]], np.float32))
    )


@pytest.mark.parametrize(
    "text",
    ["conv2d n0 c2 o3 i4x5 k3x2 bias", "conv2d n2 c0 o3 i4x5 k3x2 bias", "conv_transpose2d n0 c2 o3 i4x5 k3x2 bias"],
)
def test_empty_batch_and_empty_channels(text):
    problem = ConvProblem.parse(text)
    x, w, g = (
        np.zeros(problem.input_shape, "f"),
        np.ones(problem.weight_shape, "f"),
        np.zeros(problem.output_shape, "f"),
    )
    assert reference.conv(problem, x, w, np.ones(3, "f")).shape == problem.output_shape
    assert reference.conv_input_grad(problem, g, w).shape == problem.input_shape
    assert not reference.conv_weight_grad(problem, g, x).any()
    np.testing.assert_array_equal(reference.conv_bias_grad(problem, g), [0, 0, 0])


def test_operands_are_left_alone():
    problem = ConvProblem.parse("conv1d c1 o1 i3 k2 bias")
    x, w, b = np.ones((1, 3), "f"), np.ones((1, 1, 2), "f"), np.ones(1, "f")
    for array in (x, w, b):
        array.flags.writeable = False
    reference.conv(problem, x, w, b)
    reference.conv_input_grad(problem, np.ones((1, 2), "f"), w)
    reference.conv_weight_grad(problem, np.ones((1, 2), "f"), x)
