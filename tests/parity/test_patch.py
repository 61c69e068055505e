"""patch(): every way of calling torch's convolutions, exact against torch itself, with the counts."""

import sys
from pathlib import Path
from shutil import which

import pytest
import torch
import torch.nn.functional as F

import miniconv

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and ways.py is no test
from ways import OPTIONS, WAYS, gradients, integer_module, integers, operands


@pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")  # torch's own, in forward mode
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_calling(way):
    call, counts = WAYS[way]
    expected = call()
    with miniconv.patch() as report:
        got = call()
    for ours, theirs in zip(got, expected, strict=True):
        assert torch.equal(ours, theirs)
        assert (ours.dtype, ours.stride()) == (theirs.dtype, theirs.stride())
        assert (ours.requires_grad, ours.grad_fn is None) == (theirs.requires_grad, theirs.grad_fn is None)
    assert report.handed_back == {}
    if counts is None:
        assert sum(report.taken.values()) >= 2
    else:
        assert report.taken == counts
    assert report.seconds > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param("inductor", marks=pytest.mark.skipif(which("g++") is None, reason="inductor needs a compiler")),
    ],
)
def test_compiled(backend):
    conv, x = integer_module(padding=1), integers(2, 4, 7, 5)
    expected = gradients(conv(x), x, *conv.parameters())
    torch._dynamo.reset()
    with torch._inductor.config.patch(compile_threads=1), miniconv.patch() as report:
        compiled = torch.compile(conv, backend=backend)
        for _ in range(2):
            got = gradients(compiled(x), x, *conv.parameters())
            assert all(map(torch.equal, got, expected))
    assert report.taken == {"conv2d": 2, "conv2d backward": 2}
    assert report.handed_back == {}
    assert all(map(torch.equal, gradients(compiled(x), x, *conv.parameters()), expected))
    torch._dynamo.reset()


@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
def test_gradients_by_differences(check):
    x, w, b = (t.detach().clone().requires_grad_() for t in operands())
    with miniconv.patch() as report:
        assert check(lambda *o: F.conv2d(*o, **OPTIONS), (x, w, b))
        assert check(lambda x, w: F.conv_transpose2d(x, w.transpose(0, 1), stride=2), (x[:, :2], w[:2]))
    assert report.handed_back == {}


def test_random_numbers_stay_within_the_bound():
    """float32, both sides within gamma_(L+1) * S of the exact sum, so within twice that of each other."""
    generator = torch.Generator().manual_seed(1)
    x, w = (torch.randn(s, generator=generator) for s in ((2, 8, 9, 11), (6, 8, 3, 2)))
    expected = F.conv2d(x, w)
    with miniconv.patch():
        got = F.conv2d(x, w)
    terms = 8 * 3 * 2 + 1
    gamma = terms * 2.0**-24 / (1 - terms * 2.0**-24)
    assert bool(((got - expected).abs() <= 2 * gamma * F.conv2d(x.abs().double(), w.abs().double())).all())


def test_what_torch_refuses_and_miniconv_computes():
    x, w = integers(1, 2, 7, 6, dtype=torch.int16), integers(3, 2, 3, 2, dtype=torch.int16)
    with pytest.raises(RuntimeError):
        F.conv2d(x, w, dilation=2)
    with miniconv.patch() as report:
        got = F.conv2d(x, w, dilation=2)
    assert torch.equal(got, F.conv2d(x.double(), w.double(), dilation=2).to(torch.int16))
    assert report.taken == {"conv2d": 1}
