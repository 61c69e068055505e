from __future__ import annotations

import math
import re
import tracemalloc

import numpy as np
import pytest

from miniconv import ConvProblem, arrays, reference
from miniconv.algorithms import ALGORITHMS, dilation, fft, im2col, per_channel, winograd

# Every axis has its own size, kernel, stride, padding and dilation; C_in != C_out.
GRID = [
    "conv1d n2 c3 o4 i9 k3",
    "conv1d n3 c4 o2 i12 k2 s3 p2:1 d2 g2",
    "conv1d n1 c2 o3 i17 k3 s2 p0:3 d4",
    "conv1d n2 c3 o6 i6 k1 s2 g3",
    "conv2d n2 c3 o4 i7x9 k3x3",
    "conv2d n2 c4 o6 i9x8 k3x3 p1:2x0:1 g2",
    "conv2d n1 c5 o5 i6x5 k3x3 p1x2 g5",
    "conv2d n3 c4 o6 i9x11 k3x2 s2x1 p1:2x0:1 d1x2 g2",
    "conv2d n2 c3 o2 i8x10 k2x3 s3x2 p2x1 d2x3",
    "conv2d n2 c3 o2 i18x15 k3x3 s4x6 d6x4",
    "conv2d n2 c4 o3 i5x6 k1x1",
    "conv2d n2 c4 o2 i5x6 k1x1 s1x2 p1x0 g2",
    "conv2d n1 c2 o3 i2x3 k4x5 p2x3:2",
    "conv3d n1 c2 o3 i4x5x6 k2x3x1",
    "conv3d n2 c4 o2 i5x6x7 k2x3x1 s2x1x3 p1x0x1:0 d1x2x1 g2",
]
EMPTY = [
    "conv2d n0 c2 o3 i5x6 k3x3",
    "conv2d n2 c0 o3 i5x6 k3x3",
    "conv1d n0 c4 o2 i9 k1 g2",
    "conv2d n0 c2 o3 i0x4 k1x3 p1x1",
]
DTYPES = ["float32", "float64", "complex64", "uint8", "int8", "int16", "int32", "int64", "object"]
DTYPE_TEXTS = ["conv2d n2 c4 o6 i5x6 k3x3 p0:1x2 g2", "conv2d n1 c3 o2 i5x7 k2x3 s2x1 d1x2"]
EXACT = [name for name, row in ALGORITHMS.items() if row.bound in ("direct", "winograd_f2")]


def operands(problem, low=-4, high=5):
    """Whole numbers, so small that every sum is exact in float32: input, weight, grad_output in the compute dtype."""
    rng = np.random.default_rng(len(str(problem)))
    shapes = (problem.batched_input_shape, problem.weight_shape, problem.batched_output_shape)
    return tuple(rng.integers(low, high, shape).astype(problem.dtype) for shape in shapes)


def pairs(names, texts):
    """Each algorithm with each problem that it serves."""
    served = [(n, t) for n in names for t in texts if ALGORITHMS[n].unsupported_reason(ConvProblem.parse(t)) is None]
    return pytest.mark.parametrize(("name", "text"), served)


# ---- exact ----------------------------------------------------------------------------------------------------


@pairs(EXACT, [f"{text} {dtype}" for text in GRID for dtype in ("float32", "int64")])
def test_equals_the_definition_on_whole_numbers(name, text):
    problem = ConvProblem.parse(text)
    x, w, _ = operands(problem)
    output = ALGORITHMS[name].conv(problem, x, w)
    np.testing.assert_array_equal(output, reference.conv(problem, x, w), strict=True)
    assert np.count_nonzero(output) > output.size // 2


@pairs(EXACT, [f"{text} {dtype}" for text in DTYPE_TEXTS for dtype in DTYPES])
def test_every_dtype_and_integers_wrap(name, text):
    problem = ConvProblem.parse(text)
    x, w, _ = operands(problem)
    if "int" in problem.dtype:
        x, w = x * x.dtype.type(37), w * w.dtype.type(11)
    if problem.dtype == "complex64":
        x, w = x * np.complex64(1 + 2j), w * np.complex64(2 - 1j)
    output = ALGORITHMS[name].conv(problem, x, w)
    assert output.dtype == problem.dtype
    np.testing.assert_array_equal(output, reference.conv(problem, x, w))


@pairs(ALGORITHMS, EMPTY)
def test_empty_batch_and_empty_channels(name, text):
    problem = ConvProblem.parse(text)
    x, w, _ = operands(problem)
    assert ALGORITHMS[name].conv(problem, x, w).shape == problem.batched_output_shape


@pytest.mark.parametrize("name", EXACT)
def test_any_strides_and_read_only_operands(name):
    problem = ConvProblem.parse("conv2d n2 c4 o6 i5x7 k3x3 p1x0 g2")
    x, w, _ = operands(problem)
    expected = reference.conv(problem, x, w)
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    sliced = np.repeat(x, 2, axis=3)[..., ::2]
    reversed_weight = w[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1]
    for array in (channels_last, sliced, reversed_weight):
        array.flags.writeable = False
    for array in (channels_last, sliced):
        np.testing.assert_array_equal(ALGORITHMS[name].conv(problem, array, reversed_weight), expected)
    expanded = np.broadcast_to(x[:1, :, :, :1], x.shape)
    expected = reference.conv(problem, expanded, w)
    np.testing.assert_array_equal(ALGORITHMS[name].conv(problem, expanded, w), expected)


@pytest.mark.parametrize("text", [*GRID, *EMPTY])
@pytest.mark.parametrize("dtype", ["float32", "int8", "complex64"])
def test_im2col_gradients_equal_the_definition(text, dtype):
    problem = ConvProblem.parse(f"{text} {dtype}")
    x, w, g = operands(problem)
    got = im2col.input_grad(problem, g, w)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, reference.conv_input_grad(problem, g, w), strict=True)
    got = im2col.weight_grad(problem, g, x)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, reference.conv_weight_grad(problem, g, x), strict=True)


@pytest.mark.parametrize(
    "text",
    [
        "conv_transpose1d n2 c4 o6 i5 k3 s2 p1 op1 g2",
        "conv_transpose2d n2 c3 o2 i3x4 k3x2 s2x3 p1x0 d1x2 op1x2",
        "conv_transpose3d n1 c2 o3 i2x3x2 k2x1x3 s2x1x3 p1x0x1 d1x1x2",
    ],
)
def test_a_transposed_problem_runs_on_its_adjoint(text):
    problem = ConvProblem.parse(text)
    x, w, g = operands(problem)
    adjoint = problem.adjoint
    np.testing.assert_array_equal(im2col.input_grad(adjoint, x, w), reference.conv(problem, x, w))
    np.testing.assert_array_equal(im2col.conv(adjoint, g, w), reference.conv_input_grad(problem, g, w))
    np.testing.assert_array_equal(im2col.weight_grad(adjoint, x, g), reference.conv_weight_grad(problem, g, x))


def test_partial_results_are_single_channel_convolutions():
    problem = ConvProblem.parse("conv2d n2 c4 o6 i5x6 k3x2 p1x0 g2")
    x, w, _ = operands(problem)
    partial = per_channel.partial_results(problem, x, w)
    assert partial.shape == (2, 6, 2, 5, 5)
    np.testing.assert_array_equal(partial.sum(2), reference.conv(problem, x, w))
    single = ConvProblem.parse("conv2d n2 c1 o1 i5x6 k3x2 p1x0")
    expected = reference.conv(single, x[:, 3:4], w[4:5, 1:2])  # output channel 4 is in group 1, channels 2 and 3
    np.testing.assert_array_equal(partial[:, 4, 1], expected[:, 0])


# ---- within the stated bound ----------------------------------------------------------------------------------

U = 2.0**-24


def gamma(n):
    return n * U / (1 - n * U)


def winograd_bound(variant, problem, x, w):
    """gamma * S_W, with S_W from the module's own formula, as dense matrices in float64."""
    b_t, g, a_t = (np.abs(np.array(matrix, float)) for matrix in (variant.b_t, variant.g, variant.a_t))
    m, seen = variant.tile, variant.tile + 2
    n, channels, height, width = problem.batched_output_shape
    tiles = (-(-height // m), -(-width // m))
    padded = np.zeros((n, problem.in_channels, tiles[0] * m + 2, tiles[1] * m + 2))
    (top, _), (left, _) = problem.padding
    padded[:, :, top : top + x.shape[2], left : left + x.shape[3]] = abs(x)
    kernels = g @ abs(w).astype(float) @ g.T
    result = np.zeros((n, channels, tiles[0] * m, tiles[1] * m))
    in_group, out_group = w.shape[1], channels // problem.groups
    for row, col in np.ndindex(tiles):
        d = b_t @ padded[:, :, row * m : row * m + seen, col * m : col * m + seen] @ b_t.T
        for oc in range(channels):
            first = oc // out_group * in_group
            total = (d[:, first : first + in_group] * kernels[oc]).sum(1)
            result[:, oc, row * m : row * m + m, col * m : col * m + m] = a_t @ total @ a_t.T
    return gamma(in_group + variant.roundings) * result[:, :, :height, :width]


@pytest.mark.parametrize(("name", "variant"), [("winograd_f2", winograd.F2), ("winograd_f4", winograd.F4)])
@pytest.mark.parametrize("text", [t for t in GRID if "k3x3" in t and " s" not in t])
@pytest.mark.parametrize("seed", range(3))
def test_winograd_keeps_its_bound(name, variant, text, seed):
    problem = ConvProblem.parse(text)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(problem.batched_input_shape).astype("f")
    w = rng.standard_normal(problem.weight_shape).astype("f")
    wide = ConvProblem.parse(f"{text} float64")
    exact = im2col.conv(wide, x.astype(float), w.astype(float))
    error = abs(ALGORITHMS[name].conv(problem, x, w) - exact)
    bound = winograd_bound(variant, problem, x, w)
    assert (error <= bound).all()
    assert bound.max() < 1e-3 * abs(exact).max()


@pytest.mark.parametrize("variant", [winograd.F2, winograd.F4])
def test_winograd_matrices_are_an_exact_identity_on_one_axis(variant):
    """A^T [(G g) * (B^T d)] is the 1d convolution: checked on every pair of unit vectors, in whole numbers over 24."""
    g24 = np.rint(24 * np.array(variant.g)).astype(int)
    b_t, a_t = np.array(variant.b_t, int), np.array(variant.a_t, int)
    np.testing.assert_array_equal(g24 / 24, variant.g)
    for k, d in np.ndindex(3, variant.tile + 2):
        expected = [24 * (o + k == d) for o in range(variant.tile)]
        np.testing.assert_array_equal(a_t @ (g24[:, k] * b_t[:, d]), expected)


@pytest.mark.parametrize("text", [*GRID, "conv1d n1 c512 o2 i1 k1", "conv2d n2 c300 o3 i3x2 k3x2"])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_fft_keeps_its_bound(text, dtype):
    problem, wide = ConvProblem.parse(f"{text} {dtype}"), ConvProblem.parse(f"{text} complex128")
    rng = np.random.default_rng(5)
    for draw in (rng.standard_normal, rng.random, np.ones, rng.standard_exponential):
        x, w = draw(problem.batched_input_shape), draw(problem.weight_shape)
        if dtype == "complex64":
            x, w = x * (1 - 2j), w * np.exp(1j * rng.random(w.shape))
        x, w = x.astype(dtype), w.astype(dtype)
        output = fft.conv(problem, x, w)
        assert output.dtype == dtype
        axes = tuple(range(2, x.ndim))
        norms = np.sqrt((abs(x) ** 2).sum(axes)).reshape(len(x), problem.groups, 1, -1)
        kernel_norms = np.sqrt((abs(w) ** 2).sum(axes)).reshape(1, problem.groups, -1, w.shape[1])
        bound = fft.bound_factor(problem) * (norms * kernel_norms).sum(3).reshape(len(x), -1)
        error = abs(output - im2col.conv(wide, x.astype("D"), w.astype("D"))).max(axes)
        assert (error <= bound).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("operand", ["input", "weight"])
def test_fft_refuses_infinities_and_nans(value, operand):
    problem = ConvProblem.parse("conv2d n1 c2 o3 i5x6 k3x2")
    x, w, _ = operands(problem)
    (x if operand == "input" else w)[0, 1, 1, 1] = value
    with pytest.raises(ValueError, match=f"fft needs finite numbers, but the {operand} holds an infinity or a NaN"):
        fft.conv(problem, x, w)


@pytest.mark.parametrize("n", [1, 2, 7, 11, 97, 1025, 65537])
def test_transform_sizes_are_smooth_and_large_enough(n):
    (size,) = fft.transform_size(ConvProblem.parse(f"conv1d c1 o1 i{n} k1"))
    assert n <= size <= 1.3 * n
    for prime in (2, 3, 5):
        while size % prime == 0:
            size //= prime
    assert size == 1


@pytest.mark.parametrize("name", ["im2col", "kn2row", "per_channel", "dilation_sampled"])
def test_infinities_and_nans_stay_in_their_windows(name):
    problem = ConvProblem.parse("conv2d n1 c2 o3 i9x8 k3x2 s2x1 d1x2")
    x, w, _ = operands(problem)
    w[w == 0] = 1  # a zero weight would turn an infinity into a NaN, as it should
    x[0, 1, 4, 3] = np.inf
    x[0, 0, 0, 7] = np.nan
    np.testing.assert_array_equal(ALGORITHMS[name].conv(problem, x, w), reference.conv(problem, x, w))


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if n != "fft"])
def test_overflow_is_an_infinity_without_a_warning(name):
    problem = ConvProblem.parse("conv2d n1 c1 o1 i4x4 k3x3")
    output = ALGORITHMS[name].conv(problem, np.full((1, 1, 4, 4), 3e38, "f"), np.ones((1, 1, 3, 3), "f"))
    assert not np.isfinite(output).any()


# ---- memory ---------------------------------------------------------------------------------------------------

USES_BLOCKS = ["im2col", "winograd_f2", "winograd_f4", "dilation_zeros", "dilation_sampled", "fft"]


@pairs(USES_BLOCKS, GRID)
@pytest.mark.parametrize("limit", [1, 300, 3000])
def test_blocks_change_nothing(monkeypatch, name, limit, text):
    problem = ConvProblem.parse(text)
    conv = ALGORITHMS[name].conv
    x, w, g = operands(problem)
    whole = conv(problem, x, w)
    monkeypatch.setattr(arrays, "COLUMNS_BYTES", limit)
    if name in EXACT:
        np.testing.assert_array_equal(conv(problem, x, w), whole)
    else:
        np.testing.assert_allclose(conv(problem, x, w), whole, rtol=0, atol=1e-3)
    if name == "im2col":
        np.testing.assert_array_equal(im2col.input_grad(problem, g, w), reference.conv_input_grad(problem, g, w))
        np.testing.assert_array_equal(im2col.weight_grad(problem, g, x), reference.conv_weight_grad(problem, g, x))


@pytest.mark.parametrize("operator", ["conv", "input_grad", "weight_grad"])
def test_im2col_holds_no_more_than_its_columns(operator):
    """The columns of one image alone would take 227 MB."""
    problem = ConvProblem.parse("conv2d n2 c16 o8 i380x373 k5x5 s1x1 p2x2")
    x, w, g = (a.astype("f") for a in operands(problem))
    size = math.prod(problem.batched_output_shape[2:]) * math.prod(problem.weight_shape[1:]) * 4
    assert size > 200e6
    arguments = {"conv": (x, w), "input_grad": (g, w), "weight_grad": (g, x)}[operator]
    tracemalloc.start()
    getattr(im2col, operator)(problem, *arguments)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < arrays.COLUMNS_BYTES + 3 * (x.nbytes + g.nbytes)


def test_a_1x1_layer_needs_no_columns():
    problem = ConvProblem.parse("conv2d n4 c32 o2 i150x140 k1x1")
    x, w, g = operands(problem)
    tracemalloc.start()
    im2col.conv(problem, x, w)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * g.nbytes + 2**16
    assert 4 * g.nbytes < x.nbytes


# ---- refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_refuses_transposed_problems(name):
    problem = ConvProblem.parse("conv_transpose2d n1 c2 o3 i5x6 k3x3")
    assert "adjoint" in ALGORITHMS[name].unsupported_reason(problem)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv2d c2 o3 i9x8 k3x2", "for 3x3 kernels, but this one is 3x2"),
        ("conv1d c2 o3 i9 k3", "for 3x3 kernels, but this one is 3"),
        ("conv3d c2 o3 i4x5x6 k3x3x3", "for 3x3 kernels, but this one is 3x3x3"),
        ("conv2d c2 o3 i9x8 k3x3 s1x2", r"the stride must be 1, but it is \(1, 2\)"),
        ("conv2d c2 o3 i9x8 k3x3 d2x1", r"the dilation must be 1, but it is \(2, 1\)"),
        ("conv2d c2 o3 i9x8 k3x3 int8", "int8 does not take"),
        ("conv2d c2 o3 i9x8 k3x3 complex64", "complex64 does not take"),
        ("conv2d c2 o3 i9x8 k3x3 object", "object does not take"),
    ],
)
@pytest.mark.parametrize("name", ["winograd_f2", "winograd_f4"])
def test_winograd_says_why_it_refuses(name, text, reason):
    assert re.search(reason, ALGORITHMS[name].unsupported_reason(ConvProblem.parse(text)))


@pytest.mark.parametrize("dtype", ["int32", "uint8", "object"])
def test_fft_refuses_exact_numbers(dtype):
    reason = ALGORITHMS["fft"].unsupported_reason(ConvProblem.parse(f"conv1d c1 o1 i4 k3 {dtype}"))
    assert f"{dtype} would lose its exactness" in reason


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_algorithm_serves_a_plain_3x3_layer(name, dtype):
    assert ALGORITHMS[name].unsupported_reason(ConvProblem.parse(f"conv2d n2 c4 o6 i9x8 k3x3 p1 g2 {dtype}")) is None


def test_the_table():
    assert list(ALGORITHMS) == [row.name for row in ALGORITHMS.values()]
    assert next(iter(ALGORITHMS)) == "im2col"
    assert {row.bound for row in ALGORITHMS.values()} == {"direct", "winograd_f2", "winograd_f4", "fft"}
    with pytest.raises(TypeError):
        ALGORITHMS["mine"] = None


def test_the_dilated_kernel_and_the_sampled_input_agree_on_every_stride_and_dilation():
    for s in range(1, 7):
        for d in range(1, 7):
            problem = ConvProblem.parse(f"conv1d n1 c1 o1 i23 k3 s{s} d{d} p1:0 int64")
            x, w, _ = operands(problem)
            expected = reference.conv(problem, x, w)
            np.testing.assert_array_equal(dilation.conv_sampled(problem, x, w), expected)
            np.testing.assert_array_equal(dilation.conv_zeros(problem, x, w), expected)
