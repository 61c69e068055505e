"""audit: every convolution of a model is seen, named, judged and ranked, and a bad implementation is an answer."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import miniconv  # noqa: E402
import miniconv.nn  # noqa: E402
from miniconv.algorithms import ALGORITHMS  # noqa: E402
from miniconv.audit import AuditError, AuditReport, audit  # noqa: E402
from miniconv.audit.expected import expected  # noqa: E402
from miniconv.audit.implementations import find  # noqa: E402
from miniconv.parity.cases import Case  # noqa: E402
from miniconv.parity.data import Values, draw  # noqa: E402
from miniconv.parity.oracle import Oracle  # noqa: E402
from miniconv.problem import ConvProblem  # noqa: E402

nn, F = torch.nn, torch.nn.functional


class Net(nn.Module):
    """Layers of several kinds, one of them used twice, and bare calls."""

    def __init__(self, kind=nn) -> None:
        super().__init__()
        self.stem = nn.Sequential(kind.Conv2d(3, 8, (3, 2), stride=(2, 1), padding=(1, 0)), nn.BatchNorm2d(8))
        self.shared = kind.Conv2d(8, 8, (3, 5), padding="same", groups=4, bias=False)
        self.border = kind.Conv2d(8, 8, (2, 3), padding=(1, 2), padding_mode="circular")
        self.up = kind.ConvTranspose2d(8, 6, (3, 2), stride=(2, 3), output_padding=(1, 0), groups=2)
        self.line = kind.Conv1d(6, 4, 3, dilation=2)
        self.kernel = nn.Parameter(torch.randn(4, 2, 3))

    def forward(self, x):
        x = F.relu(self.stem(x), inplace=True)
        x = self.shared(self.shared(x))
        x = self.up(F.dropout(self.border(x), training=self.training))
        x = self.line(x.flatten(2))
        return F.conv1d(F.conv1d(x, self.kernel, groups=2), self.kernel, groups=2)


NAMES = ["stem.0", "shared", "shared#2", "border", "up", "line", "Net", "Net#2"]
OPS = ["conv2d"] * 4 + ["conv_transpose2d"] + ["conv1d"] * 3


def net(kind=nn, dtype=torch.float32):
    torch.manual_seed(5)
    return Net(kind).to(dtype)


def image(dtype=torch.float32):
    return torch.randn(2, 3, 11, 9, generator=torch.Generator().manual_seed(1)).to(dtype)


def sabotaged(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """conv2d that loses the last tap of grouped convolutions."""
    if groups > 1:
        weight = weight.clone()
        weight[..., -1, -1] = 0
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


# ---- what is seen, and what is said of it -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.nn, miniconv.nn], ids=["torch.nn", "miniconv.nn"])
def test_every_convolution_is_seen_and_named(kind):
    report = audit(net(kind), image())
    assert [layer.name for layer in report.layers] == NAMES
    assert [layer.problem.split()[0] for layer in report.layers] == OPS
    assert [layer.number for layer in report.layers] == list(range(1, 9))
    assert all(layer.left.passed and layer.right.passed for layer in report.layers)
    assert all(layer.left.local < 1e-6 for layer in report.layers)
    assert (report.model, report.left, report.right, report.mode) == ("Net", "miniconv", "torch", "evaluation")
    assert report.inputs == ("2x3x11x9 float32",)
    assert report.passed
    assert report.first_beyond is None


def test_figures_of_a_layer():
    layer = audit(net(), image()).layers[0]
    problem = ConvProblem.parse("conv2d n2 c3 o8 i11x9 k3x2 s2x1 p1x0 bias float32")
    assert layer.problem == str(problem)
    assert layer.multiply_adds == problem.multiply_adds
    assert layer.operation == "conv2d c3 o8 i11x9 k3x2 s2x1 p1x0 bias"
    assert layer.inherited == 0
    assert layer.left.seconds > 0
    assert layer.left.bound == "direct"
    assert layer.oracle == "float64"
    assert 20 < layer.left.bits < 26
    assert math.isclose(layer.left.eta, 2.0 ** (24 - layer.left.bits))


def test_progress():
    seen = []
    audit(net(), image(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 8) for done in range(1, 9)]


def test_one_sabotaged_layer_is_first():
    report = audit(net(), image(), left=sabotaged)
    assert not report.passed
    assert report.first_beyond.name == "shared"
    assert [layer.name for layer in report.wrong] == ["shared", "shared#2"]
    assert {layer.name for layer in report.ranked[:2]} == {"shared", "shared#2"}
    assert report.layers[1].left.verdict == "WRONG_VALUE"
    assert "wrong, worst at (" in report.layers[1].left.detail
    assert report.layers[1].left.local > 1e-2
    # the error travels: what comes after is right on an input that is not
    border = report.layers[3]
    assert border.left.passed
    assert border.inherited > 1e-2
    assert border.total > 1e-2
    # and the right is right on the left's input
    assert all(layer.right.passed for layer in report.layers)
    assert [layer.name for layer in report.unsupported] == ["up", "line", "Net", "Net#2"]
    text = str(report)
    assert "the first to diverge beyond its bound is shared (convolution 2)" in text
    assert text.splitlines()[5].split()[1].startswith("shared")


@pytest.mark.parametrize(
    ("variant", "low", "high"), [("bfloat16", 6.5, 10), ("float16", 9.5, 13), ("float64", 25, math.inf)]
)
def test_low_precision_against_float32(variant, low, high):
    report = audit(net(), image(), left=f"torch:{variant}", right="torch")
    assert report.passed
    assert all(low < layer.left.bits <= high for layer in report.layers), [layer.left.bits for layer in report.layers]
    assert all(layer.inherited > 0 for layer in report.layers[1:])
    assert all(layer.right.bits > 20 for layer in report.layers)


def test_channels_last_against_contiguous():
    seen = []

    def conv2d(input, weight, *rest, **options):
        seen.append((input.stride(1), weight.stride(1)))
        return F.conv2d(input, weight, *rest, **options)

    left = replace(find(conv2d), channels_last=True)
    model = nn.Sequential(nn.Conv2d(3, 8, (3, 2)), nn.Conv2d(8, 5, (2, 3)))
    assert audit(model, image(), left=left, right="torch").passed
    assert set(seen) == {(1, 1)}
    assert audit(net(), image(), left="torch:channels_last", right="torch:native").passed


@pytest.mark.parametrize("name", ["engine", *ALGORITHMS])
def test_every_algorithm_keeps_the_bound_it_states(name):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=(1, 2)), nn.ReLU(), nn.ConvTranspose2d(8, 4, (3, 2)))
    report = audit(model, image(), left=name, right="torch")
    first, second = report.layers
    assert report.passed
    assert first.left.verdict == "WITHIN_BOUND"
    serves = name in ("engine", "im2col")
    assert second.left.verdict == ("WITHIN_BOUND" if serves else "UNSUPPORTED")
    assert serves or second.left.detail


def test_the_engines_winograd_is_held_to_winograds_bound():
    torch.manual_seed(3)
    model = nn.Conv2d(32, 32, 3, padding=1)
    report = audit(model, torch.randn(1, 32, 30, 28), left="miniconv", right="miniconv:bfloat16")
    assert report.passed
    assert report.layers[0].left.bound == report.layers[0].right.bound == "winograd"
    with miniconv.config(reproducible=True):
        assert audit(model, torch.randn(1, 32, 30, 28)).layers[0].left.bound == "direct"


def test_float64_is_held_against_double_double():
    report = audit(net(dtype=torch.float64), image(torch.float64))
    assert report.passed
    assert {layer.oracle for layer in report.layers} == {"double-double"}
    assert all(48 < layer.left.bits < 56 for layer in report.layers)
    # one bit of float64 is not lost on the way: a result that is rounded to float32 in between is wrong
    assert not audit(net(dtype=torch.float64), image(torch.float64), left=_through_float32).passed


def _through_float32(input, *rest, **options):
    return F.conv2d(input, *rest, **options).float().double()


@pytest.mark.parametrize("sample", [None, 0, 7])
def test_a_large_float64_layer_is_sampled(sample):
    model = nn.Conv2d(16, 32, (5, 3), padding=1, dtype=torch.float64)
    report = audit(model, torch.randn(1, 16, 24, 20, dtype=torch.float64), sample=sample)
    count = 256 if sample is None else sample
    assert report.layers[0].multiply_adds > 2**21
    assert report.layers[0].oracle == ("float64" if not count else f"float64, {count} elements double-double")
    assert report.passed


# ---- the exact result ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "text",
    [
        "conv1d n2 c3 o4 i9 k3 s2 p1 d2 bias",
        "conv2d n2 c4 o6 i7x9 k3x2 s2x3 p1x0 g2 bias",
        "conv3d n1 c2 o4 i5x4x6 k2x3x1 p1x1x0 s1x2x1",
        "conv_transpose2d n2 c4 o6 i4x3 k3x2 s2x3 p1x0 op1x0 g2 bias",
        "conv_transpose1d n1 c2 o3 i6 k4 s3 d2",
    ],
)
def test_the_exact_result_is_the_oracles(text, dtype):
    case = Case.parse(f"{text} {dtype} random")
    values = Values(*(None if x is None else x.astype(dtype).astype(float) for x in draw(case)))
    exact = Oracle(case, values).output()
    problem = ConvProblem.parse(f"{text} {dtype}")
    for sample in (0, 5):
        found = expected(problem, values, sample)
        np.testing.assert_allclose(found.magnitude, exact.magnitude()[0], rtol=1e-14)
        assert (np.asarray(found.terms) + 0 * found.high == np.asarray(exact.terms) + 0 * exact.high[0]).all()
        if dtype == "float32":
            assert (abs(found.high - exact.high[0]) <= 2 * found.slack + 1e-15).all()
            assert np.count_nonzero(found.slack == 0) >= sample == found.exact
        else:
            error = (found.high - exact.high[0]) + (found.low - exact.low[0])
            assert (abs(error) <= 2.0**-95 * found.magnitude).all()
            assert found.exact == found.high.size


def test_blocks_of_rows_make_no_difference(monkeypatch):
    problem = ConvProblem.parse("conv2d n2 c4 o6 i17x9 k3x2 s2x3 p1x0 g2 float32")
    values = draw(Case.parse("conv2d n2 c4 o6 i17x9 k3x2 s2x3 p1x0 g2 float32 integers"))
    whole = expected(problem, values)
    monkeypatch.setattr(sys.modules[expected.__module__], "BLOCK_BYTES", 1)
    assert np.array_equal(expected(problem, values).high, whole.high)


# ---- what a model may be ------------------------------------------------------------------------------------------


def test_lazy_modules_are_initialised_first():
    model = nn.Sequential(nn.LazyConv2d(4, (3, 2)), nn.LazyBatchNorm2d(), nn.LazyConvTranspose2d(3, 2))
    assert [layer.name for layer in audit(model, image()).layers] == ["0", "2"]


def test_the_model_is_as_before():
    model = net().train()
    model.border.eval()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    state = torch.get_rng_state()
    x = image()
    copy = x.clone()
    report = audit(model, x, training=True)
    assert report.mode == "training"
    assert report.passed
    assert [layer.inherited < 1e-4 for layer in report.layers] == [True] * 8  # the same dropout in both passes
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    assert [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()] == hooks
    assert model.training
    assert not model.border.training
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, copy)


def test_inputs_by_position_and_by_name():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, (2, 3))

        def forward(self, x, *, scale=None):
            return self.conv(x if scale is None else x * scale)

    for inputs in (image(), (image(),), [image()], {"x": image(), "scale": torch.tensor(2.0)}):
        assert audit(Two(), inputs).passed


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_scripted_and_traced_models():
    model = nn.Sequential(nn.Conv2d(3, 4, (2, 3)), nn.ReLU(), nn.Conv2d(4, 2, (3, 1))).eval()
    scripted, traced = torch.jit.script(model), torch.jit.trace(model, image())
    for compiled in (scripted, traced):
        report = audit(compiled, image())
        assert len(report.layers) == 2
        assert report.passed


def test_a_compiled_model_runs_uncompiled():
    model = torch.compile(nn.Sequential(nn.Conv2d(3, 4, (2, 3)), nn.ReLU()), backend=lambda *graph: 1 / 0)
    report = audit(model, image())
    assert [layer.name for layer in report.layers] == ["_orig_mod.0"]
    assert report.passed


def test_autocast_and_inference_mode_inside_the_model():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Conv2d(3, 3, (3, 5), padding="same")
            self.conv = nn.Conv2d(3, 4, (2, 3))
            self.up = nn.ConvTranspose2d(4, 4, (2, 3))

        def forward(self, x):
            with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
                x = self.up(self.conv(self.same(x)))
            with torch.enable_grad():
                return F.conv2d(x.clone().float(), self.conv.weight.mean((1, 2), keepdim=True).expand(-1, 4, -1, -1))

    report = audit(Inside(), image())
    assert [layer.name for layer in report.layers] == ["same", "conv", "up", "Inside"]
    assert [layer.problem.split()[-1] for layer in report.layers] == ["bfloat16"] * 3 + ["float32"]
    assert report.passed


def test_numbers_that_are_not_finite_are_reported():
    x = image()
    x[0, 0, 5, 4], x[1, 2, 3, 3] = math.inf, math.nan
    report = audit(net(), x)
    assert report.passed
    assert report.layers[0].note == "2 of 594 numbers of its input are not finite"
    assert report.layers[0].note in str(report)
    assert AuditReport.parse(report.json()) == report
    overflow = audit(nn.Conv1d(2, 3, 2), torch.full((1, 2, 5), 1e30), left="torch:float16")
    assert overflow.layers[0].left.verdict == "WRONG_VALUE"
    assert overflow.layers[0].left.of_bound == math.inf


def test_an_empty_batch():
    report = audit(nn.Conv2d(3, 4, (2, 3)), torch.zeros(0, 3, 5, 6))
    assert report.layers[0].left.verdict == "EQUAL"


def test_patch_makes_no_difference():
    with miniconv.patch() as counted:
        report = audit(net(), image(), left="torch", right="torch:native")
    assert not counted.taken
    assert {layer.left.bits for layer in report.layers} == {
        layer.left.bits for layer in audit(net(), image(), left="torch", right="torch:native").layers
    }


# ---- bad input ----------------------------------------------------------------------------------------------------


def test_what_an_implementation_may_do_wrong():
    def modifies(input, *rest, **options):
        result = F.conv2d(input, *rest, **options)
        input.mul_(2)
        return result

    def raises(*operands, **options):
        raise ZeroDivisionError("by\nzero")

    def refuses(*operands, **options):
        raise NotImplementedError("no groups here")

    wrongs = {
        modifies: ("INPUT_MODIFIED", "an operand differs"),
        raises: ("RAISED", "ZeroDivisionError: by"),
        refuses: ("UNSUPPORTED", "no groups here"),
        (lambda *a, **k: F.conv2d(*a, **k)[:, :, 1:]): ("SHAPE", "in place of (2, 8, 6, 8)"),
        (lambda *a, **k: F.conv2d(*a, **k).double()): ("DTYPE", "torch.float64 in place of torch.float32"),
        (lambda *a, **k: None): ("DTYPE", "NoneType is no tensor"),
    }
    for function, (verdict, detail) in wrongs.items():
        report = audit(net(), image(), left=function, right=function)
        assert not report.passed
        for layer in report.layers[:4]:
            assert layer.left.verdict == layer.right.verdict == verdict
        assert detail in report.layers[0].left.detail
        assert report.layers[1].inherited < 1e-6  # torch's result took its place in both passes
    as_arrays = audit(net(), image(), left=lambda *a, **k: F.conv2d(*a, **k).numpy())
    assert as_arrays.passed


def test_layers_that_are_not_judged():
    class Mixed(nn.Module):
        def forward(self, x):
            z = F.conv2d(x.long(), torch.ones(2, 3, 2, 2, dtype=torch.int64))
            z = F.conv2d(torch.complex(z.float(), x[:, :2, 1:, 1:]), torch.ones(2, 2, 2, 2, dtype=torch.complex64))
            return F.conv2d(z.real, torch.ones(1, 2, 1, 1))

    report = audit(Mixed(), image())
    integer, *others = report.layers
    assert integer.left.verdict == integer.right.verdict == "UNSUPPORTED"
    assert integer.left.detail.endswith("this layer is torch.int64")
    assert [layer.name for layer in others] == ["Mixed#2", "Mixed#3", "Mixed#4", "Mixed#5"]  # torch makes three of one
    assert report.passed
    nothing = audit(nn.Conv1d(3, 4, 2), image()[:, :, 0], left="torch.nn.functional:conv2d")
    assert not nothing.passed
    assert "was judged in no layer" in str(nothing)


def test_a_model_that_fails_says_where():
    model = nn.Sequential(nn.Conv2d(3, 4, (2, 3)), nn.Sequential(nn.ReLU(), nn.Linear(5, 5)))
    with pytest.raises(
        AuditError, match=r"the pass of torch failed in 1\.1, after convolution 1 \(0\): RuntimeError: "
    ):
        audit(model, image())
    with pytest.raises(AuditError, match="no convolution ran in Linear"):
        audit(nn.Linear(9, 2), image())
    with pytest.raises(AuditError, match="on the meta device"):
        audit(nn.Conv2d(3, 4, 2, device="meta"), image())
    with pytest.raises(TypeError, match=r"a model is a torch\.nn\.Module, but got str"):
        audit("net", image())
    with pytest.raises(ValueError, match="a sample has 0 elements or more, but got -1"):
        audit(net(), image(), sample=-1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nonsense", "nothing is called 'nonsense': name one of torch, torch:native, miniconv, engine, im2col"),
        ("no.such.module:conv2d", "no.such.module cannot be imported: ModuleNotFoundError"),
        ("torch.nn.functional:conv9d", "torch.nn.functional has no 'conv9d'"),
        ("math:pi", "math:pi cannot be called: it is of type float"),
        ("math", "math is neither a function nor has one of conv1d"),
        ("torch:float8", "torch has no 'float8'"),
    ],
)
def test_names_that_mean_nothing(name, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        find(name)


def test_names_of_functions():
    for name in ("torch.nn.functional", "torch.nn.functional:conv2d", "torch.nn.functional:conv2d:channels_last"):
        report = audit(net(), image(), left=name, right="torch")
        assert report.passed
        assert bool(report.unsupported) == (":" in name)
