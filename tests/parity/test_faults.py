"""Naming the fault: every sabotage is named for what it is, and so are wrong convolutions written from nothing."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from miniconv.parity.cases import Case  # noqa: E402
from miniconv.parity.diagnose import BY_VERDICT, OTHERWISE, UNSTEADY, diagnose, where_wrong  # noqa: E402
from miniconv.parity.faults import FAULTS, Setting  # noqa: E402
from miniconv.parity.operands import make, numbers  # noqa: E402
from miniconv.parity.runner import judge  # noqa: E402
from miniconv.parity.targets import TORCH, Target, call  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out
from fault_names import NAMES  # noqa: E402
from sabotages import SABOTAGES, right  # noqa: E402
from test_sabotage import first_catch  # noqa: E402


@pytest.fixture(autouse=True)
def _torch_may_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", NAMES)
def test_a_sabotage_is_named(name):
    target, _, op, _ = SABOTAGES[name]
    found = diagnose(first_catch(target, op)[1], target)
    assert found.name == NAMES[name], f"{found}"


def test_the_table_covers_the_sabotages_and_every_name_is_known():
    known = {fault.name for fault in FAULTS} | {name for name, _ in [*BY_VERDICT.values(), *OTHERWISE.values()]}
    assert set(NAMES.values()) <= known | {"mixed_dtypes_accepted"}
    assert len(set(NAMES) & set(SABOTAGES)) >= 90
    assert not [name for name, count in Counter(fault.name for fault in FAULTS).items() if count > 1]
    sentences = [fault.sentence for fault in FAULTS]
    assert len(sentences) == len(set(sentences))


# ---- wrong convolutions that share nothing with the sabotages --------------------------------------------------


def loops(**bug):
    """conv2d as a beginner writes it, NumPy loops over outputs and taps, with one thing done as ``bug`` says."""

    def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if isinstance(padding, str):
            raise_unsupported()
        (sh, sw), (ph, pw), (dh, dw) = ((v, v) if isinstance(v, int) else v for v in (stride, padding, dilation))
        x, w = input.numpy().astype(float), weight.numpy().astype(float)
        x = x[None] if input.ndim == 3 else x
        top, left = bug.get("corner", lambda ph, pw: (ph, pw))(ph, pw)
        padded = np.zeros((*x.shape[:2], x.shape[2] + 2 * ph, x.shape[3] + 2 * pw))
        padded[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
        kh, kw = w.shape[2:]
        oh, ow = (padded.shape[2] - dh * (kh - 1) - 1) // sh + 1, (padded.shape[3] - dw * (kw - 1) - 1) // sw + 1
        out = np.zeros((len(x), len(w), oh, ow))
        per_out, per_in = len(w) // groups, w.shape[1]
        for oc in range(len(w)):
            first = bug.get("first", lambda oc, per_out, per_in, groups: oc // per_out * per_in)(
                oc, per_out, per_in, groups
            )
            for ic in range(bug.get("channels", lambda n: n)(per_in)):
                for i in range(kh):
                    for j in range(bug.get("taps", lambda n: n)(kw)):
                        a, b = bug.get("tap", lambda i, j, kh, kw: (i, j))(i, j, kh, kw)
                        rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)
                        columns = slice(j * dw, j * dw + (ow - 1) * sw + 1, sw)
                        out[:, oc] += padded[:, first + ic, rows, columns] * w[oc, ic, a, b]
            if bias is not None:
                out[:, oc] += bug.get("bias", lambda b, oc, groups: b[oc])(bias.numpy(), oc, groups)
        bug.get("end", lambda out: None)(out)
        result = torch.from_numpy(out).to(input.dtype)
        return result[0] if input.ndim == 3 else result

    return Target(conv2d, gradients=False, layout=False)


def raise_unsupported():
    from miniconv.parity.targets import Unsupported

    raise Unsupported("padding by a word")


def last_row_unwritten(out):
    out[:, :, -1] = 0


def another_number_each_time(out):
    out[..., -1] = np.random.default_rng().random()


WRITTEN = {
    "flipped_kernel": {"tap": lambda i, j, kh, kw: (kh - 1 - i, kw - 1 - j)},
    "dropped_slice": {"taps": lambda n: max(1, n - 1)},
    "dropped_channel": {"channels": lambda n: max(1, n - 1)},
    "padding_on_one_side": {"corner": lambda ph, pw: (2 * ph, 2 * pw)},
    "group_order": {"first": lambda oc, per_out, per_in, groups: oc % groups * per_in},
    "first_group_for_all": {"first": lambda oc, per_out, per_in, groups: 0},
    "bias_per_group": {"bias": lambda b, oc, groups: b[oc] * groups},
    "missing_bias": {"bias": lambda b, oc, groups: 0},
    "bias_order": {"bias": lambda b, oc, groups: b[0]},
    "padding_off_by_one": {"corner": lambda ph, pw: (ph - 1 if ph else 0, pw)},
    "unwritten_memory": {"end": last_row_unwritten},
    "unsteady": {"end": another_number_each_time},
}
CASE = "conv2d n2 c4 o6 i7x9 k3x2 s2x1 p1x2 d1x2 g2 bias float32"


def test_the_loops_are_right_without_a_bug():
    assert judge(Case.parse(CASE), loops()).name == "EQUAL"


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("text", [CASE, CASE.replace("float32", "float64 random")], ids=["integers", "random"])
def test_a_bug_in_plain_loops_is_named(name, text):
    target = loops(**WRITTEN[name])
    verdict = judge(Case.parse(text), target)
    assert verdict.name == "WRONG_VALUE"
    found = diagnose(verdict, target)
    assert found.name == name, found
    assert found.seen_on == verdict.case


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("scaled", lambda y: -y),
        ("result_in_float16", lambda y: y.half().float()),
        ("result_in_bfloat16", lambda y: y.bfloat16().float()),
        ("shifted_output", lambda y: y.roll(-1, 3)),
        ("unwritten_memory", lambda y: torch.cat([y[..., :-1], 1e30 + 0 * y[..., -1:]], -1)),
        ("unwritten_memory", lambda y: torch.cat([y[:, :, :-1], torch.nan * y[:, :, -1:]], 2)),
        ("unwritten_memory", lambda y: torch.cat([y[:-1], 0 * y[-1:]])),
        ("first_image_for_all", lambda y: y[:1].repeat(len(y), 1, 1, 1)),
        ("", lambda y: y + 1),
        ("", lambda y: y.flip(1).abs()),
    ],
)
def test_a_result_changed_at_the_end(name, wrong):
    target = Target(lambda *a, **k: wrong(right(*a, **k)) if a[0].ndim == 4 else right(*a, **k), gradients=False)
    verdict = judge(Case.parse("conv2d n3 c4 o6 i7x9 k3x2 s2x3 p1x2 float32"), target)
    assert verdict.name == "WRONG_VALUE"
    assert diagnose(verdict, target).name == name


def with_backward(input_grad, weight_grad):
    """torch's convolution with gradients that are written by hand, one of them wrong."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, input, weight, bias, options):
            ctx.save_for_backward(input, weight)
            ctx.options = options
            return torch.nn.functional.conv2d(input, weight, bias, **options)

        @staticmethod
        def backward(ctx, grad):
            input, weight = ctx.saved_tensors
            options = ctx.options
            gx = input_grad(torch.nn.grad.conv2d_input, input.shape, weight, grad, options)
            gw = weight_grad(torch.nn.grad.conv2d_weight, input, weight.shape, grad, options)
            return gx, gw, grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None

    return Target(
        lambda input, weight, bias=None, **options: Function.apply(input, weight, bias, options), layout=False
    )


def right_one(gradient, first, second, grad, options):
    return gradient(first, second, grad, **options)


@pytest.mark.parametrize(
    ("name", "part", "input_grad", "weight_grad"),
    [
        ("flipped_kernel", "input_grad", lambda f, s, w, g, o: f(s, w.flip(2, 3), g, **o), right_one),
        ("turned_kernel", "input_grad", lambda f, s, w, g, o: f(s, w.transpose(2, 3), g, **o), right_one),
        ("dropped_channel", "input_grad", lambda f, s, w, g, o: f(s, torch.cat([0 * w[:1], w[1:]]), g, **o), right_one),
        ("gradient_flipped", "weight_grad", right_one, lambda f, x, s, g, o: f(x, s, g, **o).flip(2, 3)),
        ("scaled", "weight_grad", right_one, lambda f, x, s, g, o: f(x, s, g, **o) / len(x)),
        ("unwritten_memory", "weight_grad", right_one, lambda f, x, s, g, o: 0 * f(x, s, g, **o)),
    ],
)
def test_a_wrong_gradient_is_named(name, part, input_grad, weight_grad):
    target = with_backward(input_grad, weight_grad)
    verdict = judge(Case.parse("conv2d n2 c4 o6 i7x9 k3x3 s1x2 p1x2 bias float64"), target)
    assert (verdict.name, verdict.part) == ("WRONG_VALUE", part)
    found = diagnose(verdict, target)
    assert found.name == name, found


def test_a_case_that_proves_nothing():
    verdict = judge(Case.parse("conv2d c1 o1 i1x1 k1x1 p1x1 s2x2 float32"), TORCH)
    assert "MISTRUSTED" in verdict.detail
    assert diagnose(verdict, TORCH).name == "no_test"


def test_narrow_arithmetic_on_integers():
    target = Target(lambda *a, **k: right(*a, **k).to(torch.int16).long())
    assert diagnose(judge(Case.parse("conv2d n1 c4 o6 i5x6 k3x2 int64"), target), target).name == "narrower_integers"


def test_rounding_towards_zero():
    def cut(*operands, **options):
        wide = torch.nn.functional.conv2d(*(x.float() for x in operands), **options)
        return (wide.view(torch.int32) & -65536).view(torch.float32).bfloat16()

    target = Target(cut, gradients=False)
    found = diagnose(judge(Case.parse("conv2d n2 c4 o6 i5x6 k3x2 bfloat16"), target), target)
    assert found.name == "wrong_rounding"


def test_an_exception_is_no_hypothesis():
    def refuses(*operands, **options):
        raise KeyError("nothing works")

    target = Target(refuses)
    verdict = judge(Case.parse(CASE), target)
    assert diagnose(verdict, target).name == "legal_call_refused"
    assert UNSTEADY[0] == "unsteady"


@pytest.mark.parametrize("text", [CASE, "conv_transpose2d n2 c4 o6 i4x5 k3x2 s2x3 p1x0 op1x2 g2 bias float64 random"])
def test_no_hypothesis_fits_what_is_right(text):
    """Torch's own result is no fault's: a hypothesis that fits it says nothing of the case."""
    case = Case.parse(text)
    operands = make(case)
    got = numbers(call(case, operands, TORCH).parts["output"])
    fitting = {fault.name for fault in FAULTS if fault.fits(Setting(case, operands.values()), "output", got)}
    without_effect = {"nan_dropped", "subnormals_flushed"}  # there are no such numbers
    without_effect |= {"odd_padding_first", "turned_kernel"}  # padding is even, the kernel is not square
    without_effect |= {"padding_off_by_one", "size_rounded_up"}  # a further cell may be too little for a further window
    assert fitting <= without_effect


# ---- where ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (np.s_[:], "every element (288 of 288 elements)"),
        (np.s_[:0], "nothing, this time"),
        (np.s_[..., -1], "only the last column (48 of 288 elements)"),
        (np.s_[:, :, 0], "only the first row (72 of 288 elements)"),
        (np.s_[:, 2], "only channel 2 (48 of 288 elements)"),
        (np.s_[1], "only the last image (144 of 288 elements)"),
        (np.s_[0, 0, 1, 1], "only in the first image (1 of 288 elements)"),
        (np.s_[:, [0, 2]], "only in groups 0 (96 of 288 elements)"),
        (np.s_[:, :, [0, 3]], "only windows that reach over the border (144 of 288 elements)"),
        (np.s_[:, ::2, 1:3, 1:4:2], "scattered (24 of 288 elements)"),
    ],
)
def test_where_in_words(index, words):
    case = Case.parse("conv2d n2 c4 o6 i4x6 k3x3 p1x1 g2")
    wrong = np.zeros(case.output_shape, bool)
    wrong[index] = True
    assert where_wrong(case, "output", wrong) == words


def test_where_in_a_gradient():
    case = Case.parse("conv2d n2 c4 o6 i4x6 k3x3")
    wrong = np.zeros(case.weight_shape, bool)
    wrong[:, -1] = True
    assert where_wrong(case, "weight_grad", wrong) == "only the last input channel (54 of 216 elements)"
    wrong = np.zeros(6, bool)
    wrong[3] = True
    assert where_wrong(case, "bias_grad", wrong) == "only channel 3 (1 of 6 elements)"
