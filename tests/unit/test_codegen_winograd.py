"""The Winograd path: kernels, model and definition agree; nothing leaks; the error stays within its bound."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from miniconv import ConvProblem, reference
from miniconv.codegen import engine, jit
from miniconv.codegen.schedule import Layout
from miniconv.codegen.target import TARGETS, Target
from miniconv.codegen.winograd import winograd, winograd_refusal
from miniconv.codegen.winograd_axis import form_of
from miniconv.codegen.winograd_cost import winograd_gain, worth_it
from miniconv.codegen.winograd_form import SCRATCH_BYTES
from miniconv.codegen.winograd_model import WinogradModel
from miniconv.codegen.winograd_schedule import WinogradSchedule
from miniconv.parity.bounds import allowed_error
from miniconv.parity.cases import Case
from miniconv.parity.data import draw
from miniconv.parity.oracle import Oracle

HOST = jit.host()
NARROW = [TARGETS["avx2"], TARGETS["x86-64"]] if HOST.name in ("avx512", "avx2", "x86-64") else []
# Edges that tiles overhang, tiles of several images in one vector, rows longer and shorter than a vector, groups,
# asymmetric padding, padding wider than the kernel, and dilations that differ, one of them larger than the output.
GRID = [
    "conv2d n1 c3 o4 i5x6 k3x3 p1x1 bias",
    "conv2d n2 c1 o3 i4x9 k3x3",
    "conv2d n2 c4 o20 i9x11 k3x3 p1:0x0:2 g2 bias",
    "conv2d n1 c19 o5 i11x70 k3x3 p2x0 bias",
    "conv2d n6 c5 o9 i7x8 k3x3 p1x1",
    "conv2d n3 c2 o37 i3x4 k3x3 p4x3 bias",
    "conv2d n2 c3 o7 i12x15 k3x3 p2x3 d2x3 bias",
    "conv2d n1 c5 o7 i9x10 k3x3 p6x1 d6x1",
    "conv2d n1 c70 o6 i5x7 k3x3 p1x0",
    "conv2d n1 c300 o33 i4x5 k3x3 p1x1",
    "conv2d n1 c35 o38 i6x41 k3x3 p1x1 bias",
    # other forms: phases of a stride, kernels that are sums of pieces, axes that differ, a single output on one of them
    "conv2d n2 c5 o9 i12x67 k3x3 s2x2 p1:0x2:1 bias",
    "conv2d n1 c70 o6 i3x2 k3x3 s2x2 p1x1",
    "conv2d n3 c4 o10 i9x8 k3x3 s2x2 p0x1 d2x3 g2",
    "conv2d n5 c18 o3 i7x9 k3x3 s1x2 p1x0",
    "conv2d n2 c3 o5 i10x37 k5x5 p2:1x0:4 bias",
    "conv2d n1 c33 o4 i9x11 k5x5 s2x2 p2x1 d1x2",
    "conv2d n1 c20 o17 i13x6 k4x2 s2x1 p1:2x0 bias",
    "conv2d n2 c6 o4 i8x40 k1x5 p0x2 bias",
    "conv2d n1 c34 o2 i9x23 k7x6 s2x1 p3:2x1 bias",
    "conv2d n1 c19 o7 i11x5 k3x1 s1x2 p1x0",
]
SPECIAL = [np.inf, -np.inf, np.nan]


def five(x: Any) -> Any:
    """With a depth axis, as the engine counts axes."""
    return x.reshape(x.shape[:2] + (1,) * (5 - x.ndim) + x.shape[2:])


def layout(*arrays: Any) -> Layout:
    return Layout(*(five(x).strides for x in arrays))


def run(
    problem: ConvProblem,
    input: Any,
    weight: Any,
    bias: Any,
    target: Target = HOST,
    threads: int = 1,
    output: Any = None,
) -> Any:
    """The kernels' output."""
    output = np.full(problem.batched_output_shape, np.nan, input.dtype) if output is None else output
    work = winograd(problem, layout(input, weight, output), target, threads)
    engine.execute(
        work, input.ctypes.data, weight.ctypes.data, 0 if bias is None else bias.ctypes.data, output.ctypes.data
    )
    return output


def operands(problem: ConvProblem, seed: int = 0, integers: bool = True) -> tuple[Any, Any, Any]:
    """Input, weight and bias; small integers, of which few are zero, or normal numbers."""
    rng = np.random.default_rng(seed)
    shapes = problem.batched_input_shape, problem.weight_shape, (problem.out_channels,)

    def values(shape: tuple[int, ...]) -> Any:
        return (rng.integers(-4, 5, shape) if integers else rng.standard_normal(shape)).astype(problem.dtype)

    input, weight, bias = map(values, shapes)
    return input, weight, bias if problem.bias else None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", GRID)
def test_kernels_and_model_give_the_definition_on_integers(text: str, dtype: str) -> None:
    problem = ConvProblem.parse(f"{text} {dtype}")
    input, weight, bias = operands(problem)
    expected = reference.conv(problem, input, weight, bias)
    for machine in (HOST, *NARROW):
        # the small cache makes blocks small and many
        for target, threads in ((machine, 1), (machine, 3), (replace(machine, l2_bytes=1 << 12), 2)):
            np.testing.assert_array_equal(run(problem, input, weight, bias, target, threads), expected)
        output = np.full(problem.batched_output_shape, np.nan, dtype)
        schedule = WinogradSchedule.of(problem, layout(input, weight, output), target, input.itemsize, threads)
        model = WinogradModel(schedule, five(input), five(weight), bias, five(output))
        assert model.run() == []
        np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize("text", GRID)
def test_any_strides_are_read_and_written(text: str) -> None:
    problem = ConvProblem.parse(text)
    input, weight, bias = operands(problem)
    expected = reference.conv(problem, input, weight, bias)
    last = [np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for x in (input, weight)]
    n, c, h, w = problem.batched_output_shape
    output = np.full((n, h, w, c), np.nan, input.dtype).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(run(problem, *last, bias, output=output), expected)
    # parts of larger arrays, whose other elements are left alone and have no influence
    sparse = np.full((*input.shape[:2], input.shape[2] + 1, 2 * input.shape[3]), np.nan, input.dtype)
    view = sparse[:, :, 1:, ::2]
    view[:] = input
    larger = np.full((n, c + 1, h + 1, 3 * w), -1, input.dtype)
    run(problem, view, weight, bias, output=larger[:, 1:, :h, ::3])
    np.testing.assert_array_equal(larger[:, 1:, :h, ::3], expected)
    larger[:, 1:, :h, ::3] = -1
    assert (larger == -1).all()


@pytest.mark.parametrize(
    "text",
    [
        "conv2d n2 c3 o2 i5x6 k3x3 p1x0 bias",
        "conv2d n1 c2 o3 i5x4 k3x3 p2x1 d2x1 bias",
        "conv2d n1 c2 o2 i8x7 k3x3 s2x2 p1x0 bias",
        "conv2d n1 c2 o1 i6x5 k5x3 s1x2 p2x1 bias",
    ],
)
def test_what_is_not_finite_comes_out_as_the_definition_says(text: str) -> None:
    problem = ConvProblem.parse(text)
    input, weight, bias = operands(problem)
    weight[0, 0, 1, 1] = 0  # zero times infinity is not a number
    for operand in (input, weight, bias):
        for place in np.ndindex(*operand.shape):
            for value in SPECIAL:
                before, operand[place] = operand[place], value
                with np.errstate(invalid="ignore"):
                    expected = reference.conv(problem, input, weight, bias)
                if (
                    operand is weight
                ):  # the definition has no padding to multiply it with: only the direct path compares
                    expected[:] = np.nan
                    work = engine.direct(problem, layout(input, weight, expected), HOST, 1)
                    engine.execute(work, *(x.ctypes.data for x in (input, weight, bias, expected)))
                np.testing.assert_array_equal(run(problem, input, weight, bias), expected)
                operand[place] = before


def test_products_that_only_winograd_overflows_come_out_finite() -> None:
    problem = ConvProblem.parse("conv2d n1 c1 o1 i4x5 k3x3 p1x1")
    input = np.full((1, 1, 4, 5), 3e38, np.float32)
    weight = np.zeros((1, 1, 3, 3), np.float32)
    weight[0, 0, 1, 1] = 1
    np.testing.assert_array_equal(run(problem, input, weight, None), input)


def test_only_the_image_that_holds_it_is_computed_again() -> None:
    problem = ConvProblem.parse("conv2d n5 c6 o4 i5x6 k3x3 p1x1 bias")
    input, weight, bias = operands(problem, integers=False)
    clean = run(problem, input, weight, bias)
    input[3, 2, 1, 1] = np.nan
    output = run(problem, input, weight, bias)
    others = [0, 1, 2, 4]
    assert np.isnan(output[3]).any()
    assert np.isfinite(output[3]).any()
    assert output[others].tobytes() == clean[others].tobytes()
    schedule = WinogradSchedule.of(problem, layout(input, weight, output), HOST, 4)
    assert WinogradModel(schedule, five(input), five(weight), bias, five(output)).run() == [3]


@pytest.mark.parametrize("text", GRID)
def test_threads_batch_and_memory_layout_do_not_change_a_bit(text: str) -> None:
    problem = ConvProblem.parse(text)
    input, weight, bias = operands(problem, integers=False)
    output = run(problem, input, weight, bias)
    for threads in (2, 3, 5):
        assert run(problem, input, weight, bias, threads=threads).tobytes() == output.tobytes()
    for n in range(len(input)):
        alone = run(replace(problem, batch=1), input[n : n + 1], weight, bias)
        assert alone.tobytes() == output[n].tobytes()
    last = np.ascontiguousarray(input.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert run(problem, last, weight, bias).tobytes() == output.tobytes()


def winograd_scale(problem: ConvProblem, input: Any, weight: Any, bias: Any) -> Any:
    """S_W = |A^T| [(|G| |g| |G^T|) * (|B^T| |d| |B|)] |A|, summed over channels, plus |bias|; undilated."""
    axes = form_of(problem.kernel_size, problem.stride)
    a_t = []
    for axis in axes:  # from the products themselves to the outputs
        joined = np.eye(len(axis.a_t[0]))[list(axis.sums)]
        a_t.append(np.abs(np.array(axis.a_t)) @ joined.T)
    (b_h, g_h), (b_w, g_w) = ((np.abs(np.array(axis.b_t)), np.abs(np.array(axis.g))) for axis in axes)
    (top, bottom), (left, right) = problem.padding
    tall, wide = axes
    around = (0, 0), (0, 0), (top, bottom + tall.seen), (left, right + wide.seen)
    padded = np.pad(np.abs(input.astype(np.float64)), around)
    height, width = problem.output_size
    scale = np.zeros((len(input), problem.out_channels, height + 1, width + 1))
    per_group = problem.out_channels // problem.groups
    u = np.einsum("ai,ocij,bj->ocab", g_h, np.abs(weight.astype(np.float64)), g_w)
    for row, column in product(range(0, height, tall.outputs), range(0, width, wide.outputs)):
        y, x = row * problem.stride[0], column * problem.stride[1]
        v = np.einsum("ai,ncij,bj->ncab", b_h, padded[:, :, y : y + tall.seen, x : x + wide.seen], b_w)
        for o in range(problem.out_channels):
            first = o // per_group * u.shape[1]
            m = (u[o] * v[:, first : first + u.shape[1]]).sum(axis=1)
            into = scale[:, o, row : row + tall.outputs, column : column + wide.outputs]
            into[:] = np.einsum("ai,nij,bj->nab", a_t[0], m, a_t[1])
    scale = scale[:, :, :height, :width]
    return scale if bias is None else scale + np.abs(bias.astype(np.float64))[:, None, None]


@pytest.mark.parametrize("text", [text for text in GRID if " d" not in text])
def test_random_data_stay_within_the_bound(text: str) -> None:
    problem = ConvProblem.parse(text)
    for seed in range(3):
        input, weight, bias = operands(problem, seed, integers=False)
        if seed == 2:  # an edge detector over a bright line: its sums cancel
            weight[:] = np.resize([1, -2, 1], weight.shape[2:]) / 3
            input[:, :, 1] += 1000
        wide = replace(problem, dtype="float64")
        exact = reference.conv(wide, *(None if x is None else x.astype(np.float64) for x in (input, weight, bias)))
        form = form_of(problem.kernel_size, problem.stride)
        terms = (form.longest * problem.in_channels // problem.groups + form.roundings) * 2.0**-24
        bound = terms / (1 - terms) * winograd_scale(problem, input, weight, bias)
        for target in (HOST, *NARROW):
            error = np.abs(run(problem, input, weight, bias, target).astype(np.float64) - exact)
            assert (error <= bound).all(), (error / bound).max()
            assert error.max() > 0


@pytest.mark.parametrize("text", [text for text in GRID if ":" not in text])  # a case has one padding for both sides
def test_the_judge_allows_the_same_error(text: str) -> None:
    """It composes the matrices itself."""
    case = Case.parse(f"{text} float32 random")
    problem, values = ConvProblem.parse(text), draw(case)
    exact = Oracle(case, values).output()
    allowed = allowed_error("winograd", case, values, exact)[0]
    form = form_of(problem.kernel_size, problem.stride)
    terms = (form.longest * problem.in_channels // problem.groups + form.roundings) * 2.0**-24
    if problem.dilation == (1, 1):
        scale = winograd_scale(problem, values.input, values.weight, values.bias)
        np.testing.assert_allclose(allowed, terms / (1 - terms) * scale, rtol=1e-6)
    assert (allowed > terms * exact.magnitude()[0]).all()  # every window is among what its tile sees


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv2d n1 c2 o3 i5x8 k3x8", "3x8"),
        ("conv2d n1 c2 o3 i5x6 k3x3 s1x3", "1x3"),
        ("conv2d n1 c2 o3 i5x6 k1x1", "saves no product"),
        ("conv2d n1 c2 o3 i5x6 k2x1 s2x2", "saves no product"),
        ("conv_transpose2d n1 c2 o3 i5x6 k3x3", "conv_transpose2d"),
        ("conv1d n1 c2 o3 i5 k3", "conv1d"),
        ("conv2d n1 c2 o3 i5x6 k3x3 int32", "int32"),
        ("conv2d n0 c2 o3 i5x6 k3x3", "nothing"),
        ("conv2d n1 c1024 o1025 i5x6 k3x3", "67174400 bytes"),
        ("conv2d n1 c1024 o672 i5x6 k3x3 s2x2", "68812800 bytes"),
    ],
)
def test_refuses(text: str, reason: str) -> None:
    assert reason in (winograd_refusal(ConvProblem.parse(text)) or "")


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("conv2d n1 c64 o64 i56x56 k3x3 p1x1", True),
        ("conv2d n1 c256 o256 i65x65 k3x3 p12x12 d12x12", True),
        ("conv2d n1 c256 o256 i8x8 k3x3 p1x1", True),  # slower alone, faster in a batch: the mean decides
        ("conv2d n1 c512 o512 i7x7 k3x3 p1x1", False),  # one vector of tiles for 262144 transformed weights
        ("conv2d n1 c3 o64 i224x224 k3x3 p1x1", False),  # three channels to share an output's transform
        ("conv2d n1 c256 o256 i65x65 k3x3 p24x24 d24x24", False),  # half of each tile is no output
        ("conv2d n1 c128 o128 i56x56 k3x3 s2x2 p1x1", True),
        ("conv2d n1 c512 o512 i14x14 k3x3 s2x2 p1x1", False),
        ("conv2d n1 c48 o64 i35x35 k5x5 p2x2", True),
        ("conv2d n1 c3 o64 i224x224 k7x7 s2x2 p3x3", False),
    ],
)
def test_worth_it(text: str, worth: bool) -> None:
    problem = ConvProblem.parse(text)
    assert worth_it(problem) is worth
    assert winograd_gain(replace(problem, batch=64)) == winograd_gain(problem)


@pytest.mark.parametrize(
    "text",
    [
        "conv2d n1 c64 o64 i224x225 k3x3 p1x1",
        "conv2d n8 c512 o500 i7x8 k3x3 p1x1",
        "conv2d n1 c2048 o256 i65x66 k3x3 p12x11 d12x11",
        "conv2d n1 c1 o1 i4096x4095 k3x3",
        "conv2d n64 c320 o1000 i5x6 k3x3",
        "conv2d n1 c1 o1 i4096x4095 k3x3 s2x2",
        "conv2d n1 c64 o500 i57x225 k5x5 p2x2",
        "conv2d n2 c300 o30 i57x225 k5x3 s2x1",
    ],
)
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_memory_is_bounded(text: str, target: Target) -> None:
    problem = ConvProblem.parse(text)
    shapes = problem.batched_input_shape, problem.weight_shape, problem.batched_output_shape
    for order in ((0, 1, 2, 3, 4), (0, 2, 3, 4, 1)):  # contiguous, channels_last
        strides = []
        for shape in shapes:
            sizes = (*shape[:2], 1, *shape[2:])
            inner = [math.prod(sizes[axis] for axis in order[i + 1 :]) * 4 for i in range(5)]
            strides.append(tuple(inner[order.index(axis)] for axis in range(5)))
        schedule = WinogradSchedule.of(problem, Layout(*strides), target, 4, 2)
        assert schedule.scratch_bytes <= SCRATCH_BYTES
        assert schedule.shared_bytes >= schedule.form.places * problem.out_channels * problem.in_channels * 4
