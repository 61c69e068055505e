"""The algorithms are one text for arrays and tensors: the same numbers come out, in the same dtype, on the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from miniconv import ConvProblem, arrays, reference
from miniconv.algorithms import ALGORITHMS, im2col, per_channel

TEXTS = [
    "conv1d n3 c4 o2 i12 k2 s3 p2:1 d2 g2",
    "conv2d n2 c4 o6 i9x8 k3x3 p1:2x0:1 g2",
    "conv2d n3 c4 o6 i9x11 k3x2 s2x1 p1:2x0:1 d1x2 g2",
    "conv2d n2 c4 o2 i5x6 k1x1 g2",
    "conv3d n2 c4 o2 i5x6x7 k2x3x1 s2x1x3 p1x0x1:0 d1x2x1 g2",
    "conv2d n0 c2 o3 i5x6 k3x3",
    "conv2d n2 c0 o3 i5x6 k3x3",
]
DTYPES = ["float32", "float64", "complex64", "complex128", "uint8", "int8", "int16", "int32", "int64"]
PROBLEMS = [f"{text} {dtype}" for text in TEXTS for dtype in DTYPES]
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def pairs(texts):
    served = [
        (n, t) for n, row in ALGORITHMS.items() for t in texts if row.unsupported_reason(ConvProblem.parse(t)) is None
    ]
    return pytest.mark.parametrize(("name", "text"), served)


def operands(problem):
    rng = np.random.default_rng(len(str(problem)))
    shapes = (problem.batched_input_shape, problem.weight_shape, problem.batched_output_shape)
    return tuple(rng.integers(-4, 5, shape).astype(problem.dtype) for shape in shapes)


def assert_same(name, got, expected, device):
    assert got.device.type == device
    got = got.cpu().numpy()
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    if ALGORITHMS[name].bound in ("direct", "winograd_f2"):
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3)


@pytest.fixture(autouse=True)
def no_tf32():
    assert not torch.backends.cuda.matmul.allow_tf32  # torch's default, which the equality on a GPU relies on


@pairs(PROBLEMS)
@pytest.mark.parametrize("device", DEVICES)
def test_tensors_give_what_arrays_give(name, text, device):
    problem = ConvProblem.parse(text)
    x, w, _ = operands(problem)
    conv = ALGORITHMS[name].conv
    got = conv(problem, torch.from_numpy(x).to(device), torch.from_numpy(w).to(device))
    assert_same(name, got, conv(problem, x, w), device)


@pytest.mark.parametrize("text", PROBLEMS)
@pytest.mark.parametrize("device", DEVICES)
def test_gradients_of_tensors_are_those_of_arrays(text, device):
    problem = ConvProblem.parse(text)
    x, w, g = operands(problem)
    tx, tw, tg = (torch.from_numpy(a).to(device) for a in (x, w, g))
    assert_same("im2col", im2col.input_grad(problem, tg, tw), im2col.input_grad(problem, g, w), device)
    assert_same("im2col", im2col.weight_grad(problem, tg, tx), im2col.weight_grad(problem, g, x), device)


@pairs([TEXTS[1], TEXTS[2]])
@pytest.mark.parametrize("limit", [1, 300, 3000])
def test_blocks_change_nothing(monkeypatch, name, text, limit):
    problem = ConvProblem.parse(text)
    x, w, g = operands(problem)
    expected = ALGORITHMS[name].conv(problem, x, w)
    monkeypatch.setattr(arrays, "COLUMNS_BYTES", limit)
    tx, tw, tg = map(torch.from_numpy, (x, w, g))
    assert_same(name, ALGORITHMS[name].conv(problem, tx, tw), expected, "cpu")
    np.testing.assert_array_equal(im2col.input_grad(problem, tg, tw), reference.conv_input_grad(problem, g, w))
    np.testing.assert_array_equal(im2col.weight_grad(problem, tg, tx), reference.conv_weight_grad(problem, g, x))


@pytest.mark.parametrize("name", [n for n in ALGORITHMS if n not in ("winograd_f2", "winograd_f4")])
def test_lazy_conjugate_and_negative_views(name):
    problem = ConvProblem.parse("conv2d n2 c4 o6 i5x7 k3x2 s1x2 p1x0 g2 complex64")
    x, w, _ = operands(problem)
    x, w = x * np.complex64(1 + 2j), w * np.complex64(3 - 1j)
    conv = ALGORITHMS[name].conv
    got = conv(problem, torch.from_numpy(x).conj(), torch.from_numpy(w).conj())
    assert_same(name, got.resolve_conj(), conv(problem, x.conj(), w.conj()), "cpu")
    real = ConvProblem.parse("conv2d n2 c4 o6 i5x7 k3x2 s1x2 p1x0 g2")
    got = conv(real, torch.from_numpy(x).conj().imag, torch.from_numpy(w).conj().imag)
    assert_same(name, got, conv(real, -x.imag, -w.imag), "cpu")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_any_strides(name):
    problem = ConvProblem.parse("conv2d n2 c4 o6 i5x7 k3x3 p1x0 g2")
    x, w, _ = operands(problem)
    conv, (tx, tw) = ALGORITHMS[name].conv, map(torch.from_numpy, (x, w))
    expected = conv(problem, x, w)
    for same_x in (tx.to(memory_format=torch.channels_last), tx.repeat_interleave(2, 3)[..., ::2]):
        for same_w in (tw.to(memory_format=torch.channels_last), tw.transpose(0, 3).contiguous().transpose(0, 3)):
            assert_same(name, conv(problem, same_x, same_w), expected, "cpu")
    expanded = tx[:1, :, :, :1].expand(tx.shape)
    assert_same(name, conv(problem, expanded, tw), conv(problem, expanded.numpy(), w), "cpu")


def test_partial_results_of_tensors():
    problem = ConvProblem.parse("conv2d n2 c4 o6 i5x6 k3x2 p1x0 g2")
    x, w, _ = operands(problem)
    got = per_channel.partial_results(problem, torch.from_numpy(x), torch.from_numpy(w))
    np.testing.assert_array_equal(got, per_channel.partial_results(problem, x, w))


def test_fft_refuses_an_infinite_tensor():
    problem = ConvProblem.parse("conv1d n1 c1 o1 i4 k3")
    with pytest.raises(ValueError, match="the input holds an infinity or a NaN"):
        ALGORITHMS["fft"].conv(problem, torch.full((1, 1, 4), torch.inf), torch.ones(1, 1, 3))


def test_windows_of_a_tensor_are_a_view():
    x = torch.arange(2.0 * 3 * 9 * 11).reshape(2, 3, 9, 11)
    view = arrays.windows(x, (3, 2), (2, 1), (1, 3))
    assert view.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    np.testing.assert_array_equal(view, arrays.windows(x.numpy(), (3, 2), (2, 1), (1, 3)))
