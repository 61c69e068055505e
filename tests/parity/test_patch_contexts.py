"""patch(): contexts, nested and broken off, and what a report says."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import miniconv
from miniconv.patch import KINDS, kernels

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and ways.py is no test
from ways import BOTH, ONCE, OPTIONS, REFUSED, WAYS, operands, ordinary, transposed


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

    monkeypatch.setattr(kernels, "_decide", lambda *_: kernels.Decision("conv2d", "", Broken(), ""))
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
