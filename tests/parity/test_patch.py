"""patch(): every way of calling torch's convolutions, exact against torch itself, with the counts."""

import subprocess
import sys
import threading
import time
import warnings
from shutil import which

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import miniconv
from miniconv.patch import KINDS, kernels

OPERATORS = ("aten::convolution", "aten::_convolution", "aten::convolution_backward")


def integers(*shape, dtype=torch.float64, grad=True):
    """Small integers: every sum below is exact, in any order, in bfloat16 too."""
    generator = torch.Generator().manual_seed(sum(shape))
    drawn = torch.randint(-1, 2, shape, generator=generator)
    return drawn.to(dtype).requires_grad_(grad and dtype.is_floating_point)


def operands(dtype=torch.float64):
    return integers(2, 4, 7, 5, dtype=dtype), integers(6, 2, 3, 2, dtype=dtype), integers(6, dtype=dtype)


OPTIONS = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}


def gradients(y, *leaves, **options):
    """y and the gradients of a sum that weights its elements with 0, 1 and 2."""
    factor = torch.arange(y.numel(), dtype=y.dtype).reshape(y.shape) % 3
    return [y, *torch.autograd.grad((y * factor).sum(), leaves, **options)]


def ordinary(dims):
    x, w, b = integers(2, 4, *(7, 5, 6)[:dims]), integers(6, 2, *(3, 2, 3)[:dims]), integers(6)
    options = {"stride": (2, 1, 3)[:dims], "padding": (1, 2, 0)[:dims], "dilation": (1, 2, 1)[:dims], "groups": 2}
    return gradients(getattr(F, f"conv{dims}d")(x, w, b, **options), x, w, b)


def transposed(dims):
    x, w, b = integers(2, 4, *(3, 4, 2)[:dims]), integers(4, 3, *(3, 2, 3)[:dims]), integers(6)
    options = {"stride": (2, 1, 3)[:dims], "padding": (1, 0, 2)[:dims], "dilation": (1, 2, 1)[:dims], "groups": 2}
    options["output_padding"] = (1, 1, 0)[:dims]
    return gradients(getattr(F, f"conv_transpose{dims}d")(x, w, b, **options), x, w, b)


def unbatched():
    x, w, b = operands()
    return gradients(F.conv2d(x[0], w, b, **OPTIONS), x, w, b)


def module():
    conv = integer_module()
    x = integers(2, 4, 7, 5)
    return gradients(conv(x), x, *conv.parameters())


def integer_module(**options):
    conv = torch.nn.Conv2d(4, 6, (3, 2), dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(integers(*parameter.shape))
    return conv


def lazy_module():
    conv = torch.nn.LazyConv2d(6, (3, 2), dtype=torch.float64)
    with torch.no_grad():
        y = conv(integers(2, 4, 7, 5))
    return [torch.zeros_like(y)]  # the weights are drawn anew: only the call itself is looked at


def padding_mode():
    conv = integer_module(padding=(1, 2), padding_mode="reflect")
    x = integers(2, 4, 7, 5)
    return gradients(conv(x), x, *conv.parameters())


def same():
    x, w, b = operands()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said once a process
        return gradients(F.conv2d(x, w, b, padding="same", groups=2), x, w, b)


def double_backward():
    x, w, b = operands()
    first = gradients(F.conv2d(x, w, b, **OPTIONS), x, w, b, create_graph=True)
    return gradients(first[1].square() + first[2].sum(), x, w)[1:]


def forward_mode():
    x, w, b = operands()
    return list(torch.func.jvp(lambda *o: F.conv2d(*o, **OPTIONS), (x, w, b), (x + 1, w - 1, b)))


def dual_numbers():
    x, w, b = operands()
    with torch.autograd.forward_ad.dual_level():
        y = F.conv2d(torch.autograd.forward_ad.make_dual(x, x + 1), w, b, **OPTIONS)
        return list(torch.autograd.forward_ad.unpack_dual(y))


def vmap_input():
    x, w, b = integers(3, 2, 4, 7, 5), *operands()[1:]
    return [torch.vmap(lambda x: F.conv2d(x, w, b, **OPTIONS), in_dims=0, out_dims=1)(x)]


def vmap_weight():
    x, w = operands()[0], integers(6, 2, 3, 2, 3)
    return [torch.vmap(lambda w: F.conv2d(x, w, **OPTIONS), in_dims=-1)(w)]


def per_sample_gradients():
    x, w, b = operands()
    one = torch.func.grad(lambda w, x: F.conv2d(x, w, b, **OPTIONS).square().sum())
    return [torch.vmap(one, in_dims=(None, 0))(w, x)]


def hessian():
    x = integers(1, 1, 3, 2)
    return [torch.func.hessian(lambda w: F.conv2d(x, w).pow(3).sum())(integers(1, 1, 2, 1))]


def autocast():
    x, w, b = operands(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = F.conv2d(x, w, b, **OPTIONS)
    return gradients(y, x, w, b)


def checkpointed():
    x, w, b = operands()
    return gradients(checkpoint(lambda x: F.conv2d(x, w, b, **OPTIONS).relu(), x, use_reentrant=False), x, w, b)


def inference_mode():
    with torch.inference_mode():
        y = F.conv2d(*operands(), **OPTIONS)
    assert y.is_inference()
    return [y]


def another_thread():
    results = []
    thread = threading.Thread(target=lambda: results.extend(ordinary(2)))
    thread.start()
    thread.join()
    return results


def channels_last():
    x, w, b = operands()
    x, w = (t.to(memory_format=torch.channels_last).detach().requires_grad_() for t in (x, w))
    return gradients(F.conv2d(x, w, b, **OPTIONS), x, w, b)


def views():
    x, w = integers(2, 5, 4, 7).permute(0, 2, 3, 1).detach(), integers(6, 2, 1, 2).detach().expand(6, 2, 3, 2)
    return [F.conv2d(x, w, **OPTIONS), F.conv2d(torch.complex(x, x).conj().imag, w, **OPTIONS)]


def complex_numbers():
    x, w, b = (torch.complex(t, t - 1).detach().requires_grad_() for t in operands())
    y = F.conv2d(x, w, b, **OPTIONS)
    return [y, *torch.autograd.grad((y.real + 2 * y.imag).sum(), (x, w, b))]


def long_integers():
    return [F.conv2d(*operands(torch.int64), **OPTIONS)]


def empty_batch():
    x, w, b = operands()
    return gradients(F.conv2d(x[:0], w, b, **OPTIONS), x, w, b)


def named_gradients():
    x, w, b = operands()
    g = F.conv2d(x, w, b, **OPTIONS).detach()
    return [
        torch.nn.grad.conv2d_weight(x, w.shape, g, **OPTIONS),
        torch.nn.grad.conv2d_input(x.shape, w, g, **OPTIONS),
    ]


def direct():
    x, w, b = operands()
    numbers = ([2, 1], [1, 2], [1, 2], False, [0, 0], 2)
    flags = (False, False, False, False)
    return gradients(torch.convolution(x, w, b, *numbers) + torch._convolution(x, w, b, *numbers, *flags), x, w, b)


def traced():
    conv, x = integer_module(), integers(2, 4, 7, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        conv = torch.jit.trace(conv, x, check_trace=False)
        return gradients(conv(x), x, *conv.parameters())


def exported():
    conv, x = integer_module(), integers(2, 4, 7, 5)
    return [torch.export.export(conv, (x,)).module()(x)]


ONCE = {"conv2d": 1}
BOTH = {"conv2d": 1, "conv2d backward": 1}
WAYS = {
    "conv1d": (lambda: ordinary(1), {"conv1d": 1, "conv1d backward": 1}),
    "conv2d": (lambda: ordinary(2), BOTH),
    "conv3d": (lambda: ordinary(3), {"conv3d": 1, "conv3d backward": 1}),
    "conv_transpose1d": (lambda: transposed(1), {"conv_transpose1d": 1, "conv_transpose1d backward": 1}),
    "conv_transpose2d": (lambda: transposed(2), {"conv_transpose2d": 1, "conv_transpose2d backward": 1}),
    "conv_transpose3d": (lambda: transposed(3), {"conv_transpose3d": 1, "conv_transpose3d backward": 1}),
    "unbatched": (unbatched, BOTH),
    "module": (module, BOTH),
    "lazy_module": (lazy_module, ONCE),
    "padding_mode": (padding_mode, BOTH),
    "same": (same, BOTH),
    "double_backward": (double_backward, None),
    "forward_mode": (forward_mode, {"conv2d": 3}),
    "dual_numbers": (dual_numbers, {"conv2d": 3}),
    "vmap_input": (vmap_input, ONCE),
    "vmap_weight": (vmap_weight, ONCE),
    "per_sample_gradients": (per_sample_gradients, None),
    "hessian": (hessian, None),
    "autocast": (autocast, BOTH),
    "checkpointed": (checkpointed, {"conv2d": 2, "conv2d backward": 1}),
    "inference_mode": (inference_mode, ONCE),
    "another_thread": (another_thread, BOTH),
    "channels_last": (channels_last, BOTH),
    "views": (views, {"conv2d": 2}),
    "complex_numbers": (complex_numbers, {"conv2d": 3, "conv2d backward": 3}),
    "long_integers": (long_integers, ONCE),
    "empty_batch": (empty_batch, BOTH),
    "named_gradients": (named_gradients, {"conv2d": 1, "conv2d backward": 2}),
    "direct": (direct, {"conv2d": 2, "conv2d backward": 2}),
    "traced": (traced, {"conv2d": 2, "conv2d backward": 1}),
    "exported": (exported, ONCE),
}
"""How torch's convolutions are reached, and what is then counted (None: torch decides; all of it is taken)."""


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


REFUSED = {
    "channels": (lambda: F.conv2d(torch.ones(1, 3, 5, 5), torch.ones(2, 4, 3, 3)), "to have 4 channels"),
    "bool": (lambda: F.conv2d(torch.ones(1, 1, 5, 5).bool(), torch.ones(1, 1, 3, 3).bool()), "'Bool'"),
    "unbatched": (
        lambda: torch.convolution(torch.ones(1, 5, 5), torch.ones(1, 1, 3, 3), None, [1], [0], [1], False, [0], 1),
        "another number of axes",
    ),
    "four axes": (
        lambda: torch.convolution(
            torch.ones((1,) * 6), torch.ones((1,) * 6), None, [1] * 4, [0] * 4, [1] * 4, False, [0] * 4, 1
        ),
        "",
    ),
}


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


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
def test_not_taken():
    x, w = torch.ones(1, 4, 5, 6), torch.ones(3, 4, 3, 2)
    with miniconv.patch() as report:
        F.conv2d(x.to_mkldnn(), w.to_mkldnn())
        torch.mkldnn_convolution(x, w, None, [0, 0], [1, 1], [1, 1], 1)
        torch.conv_tbc(torch.ones(5, 2, 4), torch.ones(3, 4, 6), torch.ones(6))
        F.conv2d(x.to("meta"), w.to("meta"))
    assert report.taken == report.handed_back == {}


def test_only():
    with miniconv.patch(only="conv1d") as report:
        ordinary(1), ordinary(2)
    assert report.taken == {"conv1d": 1, "conv1d backward": 1}
    reason = "not named by only"
    assert report.handed_back == {("conv2d", reason): 1, ("conv2d backward", reason): 1}
    with pytest.raises(ValueError, match=r"only names some of conv1d, .*but got 'conv4d'"):
        miniconv.patch(only=["conv2d", "conv4d"])


def test_every_kind_can_be_named():
    for kind in KINDS:
        with miniconv.patch(only=[kind]) as report:
            ordinary(int(kind[-2])), transposed(int(kind[-2]))
        assert report.taken == {kind: 1, f"{kind} backward": 1}


def test_nested():
    call = WAYS["conv2d"][0]
    with miniconv.patch(only="conv1d") as outer:
        call()
        with miniconv.patch(only="conv2d") as inner:
            call()
        call()
    call()
    assert inner.taken == outer.taken == BOTH
    assert inner.handed_back == {}
    assert sum(outer.handed_back.values()) == 4


def test_as_a_decorator():
    reports = []

    @miniconv.patch()
    def decorated():
        reports.append(kernels._Open.reports)

    decorated()
    decorated()
    assert [len(open_) for open_ in reports] == [1, 1]
    assert kernels._Open.reports == ()


def test_state_after_an_exception():
    def broken():
        F.conv2d(*operands(), **OPTIONS)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), miniconv.patch() as report:
        broken()
    assert report.taken == ONCE
    F.conv2d(*operands(), **OPTIONS)
    assert report.taken == ONCE
    assert kernels._Open.reports == ()
    assert not kernels._thread.in_torch
    for call, _ in REFUSED.values():
        with miniconv.patch(), pytest.raises((RuntimeError, NotImplementedError)):
            call()
        assert not kernels._thread.in_torch


def test_an_error_of_miniconvs_own_is_not_hidden(monkeypatch):
    class Broken:
        def __call__(self, *operands):
            raise MemoryError

    monkeypatch.setattr(kernels, "_decide", lambda *_: kernels.Decision("conv2d", Broken(), ""))
    with miniconv.patch(), pytest.raises(MemoryError):
        F.conv2d(*operands(), **OPTIONS)


def test_modes_see_what_they_see_without_patch():
    class Dispatched(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.seen.append(str(function))
            return function(*args, **(kwargs or {}))

    class Called(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            self.seen.append(str(function))
            return function(*args, **(kwargs or {}))

    def seen():
        dispatched, called = Dispatched(), Called()
        dispatched.seen, called.seen = [], []
        with dispatched, called:
            ordinary(2)
        return dispatched.seen, called.seen

    expected = seen()
    with miniconv.patch() as report:
        assert seen() == expected
    assert report.taken == BOTH


def test_threads_that_come_and_go():
    """Contexts opened and closed while others convolve: every result right, and nothing is open at the end."""
    expected = ordinary(2)
    wrong, stop = [], threading.Event()

    def convolve():
        while not stop.is_set():
            if not all(map(torch.equal, ordinary(2), expected)):
                wrong.append("wrong")

    def toggle():
        for _ in range(50):
            with miniconv.patch():
                time.sleep(0.001)

    with miniconv.patch() as report:
        convolving = [threading.Thread(target=convolve) for _ in range(2)]
        toggling = [threading.Thread(target=toggle) for _ in range(2)]
        for thread in convolving + toggling:
            thread.start()
        for thread in toggling:
            thread.join()
    toggle()
    stop.set()
    for thread in convolving:
        thread.join()
    assert not wrong
    assert report.handed_back == {}
    assert sum(report.taken.values()) > 2
    assert kernels._Open.reports == ()


QUIET = f"""
import threading, torch, miniconv
def replaced():
    return [torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU") for name in {OPERATORS}]
def convolve():
    return torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2)).sum().item()
before = replaced()
with miniconv.patch() as report:
    assert all(replaced())
    with miniconv.patch():
        convolve()
    assert all(replaced())
assert replaced() == before == [False, False, False], replaced()
done = threading.Event()
thread = threading.Thread(target=done.wait)
with miniconv.patch():
    thread.start()
assert all(replaced()), "a thread is alive: only switched off"
assert convolve() == 16
done.set()
thread.join()
with miniconv.patch() as last:
    convolve()
assert not any(replaced())
assert convolve() == 16
print(report.taken, last.taken)
"""


def test_torchs_kernels_are_back_in_the_table():
    """In a process of its own: here pytest may have threads, and then they are only switched on again."""
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "{'conv2d': 1} {'conv2d': 1}\n"), done.stderr


def test_switched_off_torchs_kernel_answers(monkeypatch):
    monkeypatch.setattr(kernels, "_decide", None)  # whoever asks, fails
    with pytest.raises(TypeError), miniconv.patch():
        F.conv2d(*operands(), **OPTIONS)
    for way in ("conv2d", "conv_transpose3d", "traced", "double_backward"):
        WAYS[way][0]()


def test_importing_patch_as_a_module_leaves_the_function():
    import importlib

    assert importlib.import_module("miniconv.patch").patch is miniconv.patch


def test_report_as_text():
    with miniconv.patch(only="conv2d") as report:
        ordinary(2), ordinary(1)
    lines = str(report).splitlines()
    assert lines[0].startswith("miniconv computed 2 convolutions in 0.")
    assert lines[1:] == [
        "  conv2d: 1",
        "  conv2d backward: 1",
        "torch computed 2",
        "  conv1d: 1 (not named by only)",
        "  conv1d backward: 1 (not named by only)",
    ]
    assert repr(report) == "<Report: 2 taken, 2 handed back>"
