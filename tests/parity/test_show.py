"""``miniconv parity show``: one case explained, for every kind of verdict; and the trace of a case is the oracle's."""

from __future__ import annotations

import argparse
import random
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from miniconv import ConvProblem, cli, explain  # noqa: E402
from miniconv.parity import command  # noqa: E402
from miniconv.parity import show as show_module  # noqa: E402
from miniconv.parity.cases import DTYPES, Case  # noqa: E402
from miniconv.parity.grids import grids, padding_modes  # noqa: E402
from miniconv.parity.operands import make  # noqa: E402
from miniconv.parity.oracle import Oracle  # noqa: E402
from miniconv.parity.show import problem_of, show, trace_of  # noqa: E402
from miniconv.parity.targets import TORCH  # noqa: E402
from miniconv.parity.verdict import round_to  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out
from fault_names import NAMES  # noqa: E402
from sabotages import SABOTAGES, right  # noqa: E402
from test_sabotage import first_catch  # noqa: E402

CASE = "conv2d n2 c4 o6 i7x9 k3x2 s2x3 p1x1 g2 bias float32"


@pytest.fixture(autouse=True)
def _torch_may_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- the trace against the oracle and torch -------------------------------------------------------------------


@pytest.mark.parametrize(
    "op", ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
)
def test_traces_of_the_grids_are_the_oracles(op):
    rng = random.Random(op)
    name = "geometry-float32" if op == "conv2d" else "exact"
    cases = rng.sample([case for case in grids(op)[name]() if not case.must_be_refused and case.batch != 0], 12)
    for mode in () if "transpose" in op else ("reflect", "replicate", "circular"):
        cases += rng.sample(
            [case for case in padding_modes(mode, op) if not case.must_be_refused and case.batch != 0], 5
        )
    traced = 0
    for case in cases:
        oracle = Oracle(case, make(case).values())
        for part in ("output", "input_grad", "weight_grad", "bias_grad")[: 4 if case.differentiable else 1]:
            exact = getattr(oracle, part)()
            best = exact.high if not case.differentiable else round_to(case.dtype, exact.high)
            at = tuple(rng.randrange(size) for size in best.shape[1:])
            trace = trace_of(case, part, at)
            if trace is None:  # a narrow problem that torch refuses, and ConvProblem too
                continue
            traced += 1
            want = best[(slice(None), *at)]
            if case.differentiable:
                parts = [float(p) for p in trace.exact]
                np.testing.assert_allclose(parts, exact.high[(slice(None), *at)], rtol=1e-9, atol=1e-9)
            if case.is_exact:
                got = [trace.computed.real, trace.computed.imag][: len(want)]
                assert got == want.tolist(), str(trace)
    assert traced > 10


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_of_every_dtype(dtype):
    x, w = torch.arange(1, 9).reshape(1, 2, 4), torch.arange(1, 7).reshape(1, 2, 3)
    x, w = x.to(getattr(torch, dtype)), w.to(getattr(torch, dtype))
    want = 1 + 4 + 9 + 4 * 5 + 5 * 6 + 6 * 7
    trace = explain(x, w, at=(0, 0, 0))
    assert trace.problem.dtype == dtype
    assert trace.computed == want
    assert trace.exact[0] == want


def test_lazily_negated_and_conjugated_tensors():
    x = torch.tensor([[1 + 2j, 3 - 1j]])
    w = torch.ones(1, 1, 1, dtype=torch.complex64, requires_grad=True)
    assert explain(x.conj(), w, at=(0, 0)).computed == 1 - 2j
    assert explain(x.conj().imag, torch.ones(1, 1, 1), at=(0, 0)).computed == -2.0


@pytest.mark.parametrize("of", ["input_grad", "weight_grad", "bias_grad"])
def test_gradients_are_those_of_autograd(of):
    rng = torch.Generator().manual_seed(0)
    complexes = {"dtype": torch.complex128, "generator": rng, "requires_grad": True}
    x, w, b = (torch.randn(shape, **complexes) for shape in ((2, 4, 5, 6), (4, 3, 3, 2), (6,)))
    y = torch.nn.functional.conv_transpose2d(x, w, b, stride=(2, 1), padding=(1, 0), output_padding=(1, 0), groups=2)
    gy = torch.randn(y.shape, dtype=torch.complex128, generator=rng)
    grads = dict(zip(("input_grad", "weight_grad", "bias_grad"), torch.autograd.grad(y, (x, w, b), gy)))
    options = {"stride": (2, 1), "padding": (1, 0), "output_padding": (1, 0), "groups": 2, "transposed": True}
    for at in [(0,) * grads[of].ndim, tuple(size - 1 for size in grads[of].shape)]:
        trace = explain(x, w, b, at=at, of=of, grad_output=gy, **options)
        np.testing.assert_allclose(trace.computed, grads[of][at].item(), rtol=1e-13)


def test_the_problem_of_a_case():
    assert problem_of(Case.parse("conv2d n1 c4 o6 i7x9 k3x2 psame d1x3 float32")) == ConvProblem.parse(
        "conv2d n1 c4 o6 i7x9 k3x2 p1x1:2 d1x3 float32"
    )
    assert problem_of(Case.parse("conv2d c4 o6 i7x9 k3x2 psame s2x1 float32")) is None
    assert problem_of(Case.parse("conv2d c4 o6 i7x9 k3x2 float32 stride=1.5")) is None
    assert trace_of(Case.parse("conv2d c4 o6 i2x9 k3x2 float32"), "output", (0, 0, 0)) is None


# ---- what is shown --------------------------------------------------------------------------------------------


def test_what_is_right_is_explained_too():
    text = show(CASE)
    assert "target miniconv: EQUAL in output" in text
    assert "an element: output[1, 3, 2, 2]" in text
    assert "running sum" in text
    assert "fault" not in text
    assert "smallest" not in text
    text = show(f"{CASE} random")
    assert "target miniconv: WITHIN_BOUND in" in text
    assert " in float32; exactly " in text


def test_a_wrong_value_is_explained():
    target = SABOTAGES["flipped_kernel"].target
    text = show(CASE, target)
    assert "target flipped_kernel: WRONG_VALUE in output" in text
    assert "likely fault: the kernel is flipped: a true convolution, not a cross-correlation [flipped_kernel]" in text
    assert "wrong: every element" in text
    assert "worst element: output[" in text
    lines = {line.split()[0]: line.split()[-1] for line in text.splitlines() if line.startswith("  ") and line.split()}
    assert float(lines["torch"]) == int(lines["exact"]) != float(lines["target"])
    assert f"= {lines['exact']}" in text
    assert "the smallest case that fails in the same way:" in text
    assert 'reproduce("conv2d c1 o1' in text


@pytest.mark.parametrize("name", NAMES)
def test_every_verdict_has_an_explanation(name):
    target, _, op, _ = SABOTAGES[name]
    verdict = first_catch(target, op)[1]
    shown = show_module._Shown(verdict.case, target)
    assert shown.verdict.name == verdict.name
    blocks = ["\n".join(block) for block in (shown._head(), shown._element())]
    assert verdict.name in blocks[0]
    if verdict.name == "WRONG_VALUE":
        assert f"worst element: {verdict.part}{list(verdict.index)}" in blocks[1]
        assert "\n  exact  " in blocks[1]
    if verdict.name == "SHAPE" and 0 not in verdict.case.output_shape and not verdict.case.must_be_refused:
        assert "\n  torch  " in blocks[1]


def test_an_illegal_call_is_shown_with_torchs_words():
    text = show("conv2d n1 c4 o6 i7x9 k3x2 s2x2 psame float32", SABOTAGES["error_swallowed"].target)
    assert "NOT_RAISED" in text
    assert "likely fault: a call is accepted that must be refused [illegal_call_accepted]" in text
    assert "torch: RuntimeError: padding='same' is not supported for strided convolutions" in text


def test_a_fault_seen_elsewhere_says_where():
    text = show(
        "conv_transpose3d n3 c4 o6 i3x2x4 k3x3x3 p4x5x4 op1x0x2 float64", SABOTAGES["output_padding_swapped"].target
    )
    assert "likely fault: the output padding of one axis is taken for another's" in text
    assert "  seen on conv_transpose3d" in text
    assert "other cases that are wrong" in text


def test_a_gradient_that_is_cut_off():
    def cut(input, weight, bias=None, **options):
        return torch.nn.functional.conv2d(input, weight, bias, **options).detach()

    text = show(CASE, cut)
    assert "GRADIENT_MISSING in input_grad" in text
    assert "[gradient_cut_off]" in text
    assert "an element: input_grad[" in text


def test_numbers_that_change_from_call_to_call():
    def unwritten(input, weight, bias=None, **options):
        result = torch.nn.functional.conv2d(input, weight, bias, **options)
        noise = torch.zeros_like(result)
        noise[..., -1] = 1000 * torch.rand(result.shape[:-1]) + 1
        return result + noise

    text = show(CASE, unwritten)
    assert "two calls give different numbers" in text
    assert "wrong: only the last column" in text


def test_what_no_hypothesis_explains_is_said():
    text = show(CASE, lambda *operands, **options: right(*operands, **options) + 1)
    assert "likely fault: none of the known ones gives these numbers" in text
    assert "wrong: every element" in text


def test_torch_is_a_target():
    assert f"target {TORCH.name}: EQUAL" in show("conv1d n2 c3 o4 i9 k3 float64", "torch")


# ---- the command ----------------------------------------------------------------------------------------------


def test_command(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["parity", "show", "conv1d", "c2", "o3", "i5", "k3", "p1", "int64"]) == 0
    assert "target miniconv: EQUAL" in capsys.readouterr().out
    assert cli.main(["parity", "show", "conv1d c2 o3 i5 k3 p1 int64", "--target", "torch"]) == 0
    assert "target torch: EQUAL" in capsys.readouterr().out


def told(case: str, target: str = "", **more: Any) -> int:
    """The exit status of the command."""
    return command.show(argparse.Namespace(**{"case": case, "target": target, "level": None, "timeout": 60.0, **more}))


def test_command_on_a_wrong_target(capsys: pytest.CaptureFixture[str]):
    assert told("conv2d c2 o3 i5x6 k3x2 float32", "sabotages.axes_and_taps:flipped_kernel") == 1
    out = capsys.readouterr().out
    assert "[flipped_kernel]" in out
    assert 'target="sabotages.axes_and_taps:flipped_kernel"' in out


@pytest.mark.parametrize(
    ("case", "target", "says"),
    [
        ("conv9d c1", "", "conv9d"),
        ("conv1d c1 o1 i3 k2", "no_such_module:f", "no_such_module"),
        ("conv1d c1 o1 i3 k2", "math:conv", "conv"),
        ("conv1d c1 o1 i3 k2 x9", "", "x9"),
    ],
)
def test_command_that_is_not_understood(case, target, says, capsys: pytest.CaptureFixture[str]):
    assert told(case, target) == 2
    assert says in capsys.readouterr().err


ENDS = """
import ctypes, os, time, torch

def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    if groups == 2:
        print("before")
        print("the end")
        AT
    return torch.nn.functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("ctypes.string_at(0)", "killed by SIGSEGV"),
        ("time.sleep(600)", "no answer within 6 s, in conv2d at mine_show.py:8"),
        ("os._exit(3)", "the process ended with status 3"),
        ("raise SystemExit(3)", "RAISED\n  SystemExit: 3"),
        ("raise KeyboardInterrupt", "RAISED in call\n  KeyboardInterrupt"),
        ("return [object()]", "DTYPE in output\n  a list, which is no array"),
    ],
)
def test_the_command_outlives_its_target(at, says, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("mine_show.py").write_text(ENDS.replace("AT", at))
    assert told("conv2d n2 c4 o6 i7x9 k3x2 g2 float32", "mine_show:conv2d", timeout=6.0) == 1
    out = capfd.readouterr().out
    assert says in out
    assert ("it printed:\n    before\n    the end" in out) == ("CRASHED" in out)


@pytest.mark.skipif(sys.platform == "win32", reason="os._exit in a forked child")
def test_a_target_that_ends_only_where_others_are_asked(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    source = ENDS.replace("if groups == 2:", "if stride != 1:").replace("AT", "os._exit(3)")
    Path("mine_elsewhere.py").write_text(source.replace("return torch", "return 2 * torch"))
    assert told("conv2d n2 c4 o6 i7x9 k3x2 g2 float32", "mine_elsewhere:conv2d") == 1
    out = capfd.readouterr().out
    assert "WRONG_VALUE in output" in out
    assert "asked about other cases, the target ends its process (the process ended with status 3)" in out
