"""patch(): what goes to torch, counted with its reason, and what never comes by."""

import sys
from pathlib import Path
from shutil import which

import pytest
import torch
import torch.nn.functional as F

import miniconv

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and ways.py is no test
from ways import REFUSED, integer_module, integers, operands


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_problems_get_torchs_error_and_a_reason(name):
    call, reason = REFUSED[name]
    with pytest.raises((RuntimeError, NotImplementedError)) as theirs:
        call()
    with miniconv.patch() as report:
        with pytest.raises(type(theirs.value)) as ours:
            call()
        with pytest.raises(type(theirs.value)):
            call()
    assert str(ours.value) == str(theirs.value)
    assert report.taken == {}
    assert [reason in said for _, said in report.handed_back] == [True]
    assert list(report.handed_back.values()) == [2]


def test_a_gradient_of_another_shape_is_torchs():
    x, w, _ = operands()
    numbers = ([1, 1], [0, 0], [1, 1], False, [0, 0], 2, [True, True, False])
    with miniconv.patch() as report, pytest.raises(RuntimeError):
        torch.ops.aten.convolution_backward(torch.ones(1, 6, 9, 9, dtype=x.dtype), x, w, None, *numbers)
    ((kind, reason),) = report.handed_back
    assert kind == "conv2d backward"
    assert "grad_output" in reason


def test_complex_gradients_are_refused_as_torch_refuses_them():
    """torch's autograd has none for this operator, and its kernel none to imitate: so nobody can say what is right."""
    x, w, g = (torch.ones(s, dtype=torch.complex128) for s in ((1, 1, 4, 5), (2, 1, 2, 3), (1, 2, 3, 3)))
    numbers = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)

    def gradient():
        torch.ops.aten.convolution_backward(g, x, w, None, *numbers, [True, True, False])

    with pytest.raises(NotImplementedError) as theirs:
        gradient()
    with miniconv.patch() as report, pytest.raises(NotImplementedError) as ours:
        gradient()
    assert str(ours.value) == str(theirs.value)
    ((kind, reason),) = report.handed_back
    assert (kind, reason[:29]) == ("conv2d backward", "torch has no complex gradient")
    with miniconv.patch() as report, pytest.raises(RuntimeError, match="does not support automatic differentiation"):
        torch.convolution(x, w.requires_grad_(), None, *numbers)
    assert report.taken == {"conv2d": 1}


def mkldnn_layout():
    x, w = torch.ones(1, 4, 5, 6), torch.ones(3, 4, 3, 2)
    return F.conv2d(x.to_mkldnn(), w.to_mkldnn()).to_dense()


def mkldnn_by_name():
    return torch.mkldnn_convolution(torch.ones(1, 4, 5, 6), torch.ones(3, 4, 3, 2), None, [0, 0], [1, 1], [1, 1], 1)


def time_batch_channel():
    return torch.conv_tbc(torch.ones(5, 2, 4), torch.ones(3, 4, 6), torch.ones(6))


def meta():
    return torch.zeros(F.conv2d(torch.ones(1, 4, 5, 6, device="meta"), torch.ones(3, 4, 3, 2, device="meta")).shape)


def quantized():
    x = torch.quantize_per_tensor(torch.ones(1, 4, 5, 6), 1.0, 0, torch.quint8)
    w = torch.quantize_per_tensor(torch.ones(3, 4, 3, 2), 1.0, 0, torch.qint8)
    return torch.ao.nn.quantized.functional.conv2d(x, w, torch.ones(3), scale=1.0, zero_point=0).dequantize()


ONEDNN = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
QUANTIZED = pytest.mark.skipif("fbgemm" not in torch.backends.quantized.supported_engines, reason="needs FBGEMM")
COMPILER = pytest.mark.skipif(which("g++") is None, reason="inductor needs a compiler")


@pytest.mark.filterwarnings("ignore")  # torch's quantization is deprecated
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(mkldnn_layout, marks=ONEDNN),
        pytest.param(mkldnn_by_name, marks=ONEDNN),
        time_batch_channel,
        meta,
        pytest.param(quantized, marks=QUANTIZED),
    ],
)
def test_what_does_not_come_by_is_left_alone(call):
    expected = call()
    with miniconv.patch() as report:
        got = call()
    assert torch.equal(got, expected)
    assert report.taken == report.handed_back == {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "frozen",
    [pytest.param("inductor", marks=[ONEDNN, COMPILER]), pytest.param("optimized", marks=ONEDNN), "jit.freeze"],
)
@torch.no_grad()
def test_graphs_that_are_frozen_already(frozen):
    """What has been rewritten for oneDNN calls that; torch.jit.freeze alone keeps the convolution, and it is taken."""
    conv, x = integer_module().float().eval(), integers(2, 4, 7, 5, dtype=torch.float32, grad=False)
    if frozen == "inductor":
        torch._dynamo.reset()
        with torch._inductor.config.patch(freezing=True, compile_threads=1):
            program = torch.compile(conv)
            program(x)
    else:
        traced = torch.jit.trace(conv, x)
        program = torch.jit.freeze(traced) if frozen == "jit.freeze" else torch.jit.optimize_for_inference(traced)
    with miniconv.patch() as report:
        got = program(x)
    assert torch.equal(got, conv(x))
    assert report.taken == ({"conv2d": 1} if frozen == "jit.freeze" else {})
    assert report.handed_back == {}
    torch._dynamo.reset()
