"""Anybody's convolution as a target: how it is found, adapted, called, and what is said of what it returns."""

from __future__ import annotations

import random
import sys
import textwrap
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2]))  # examples/ is a folder of the source

from examples import numpy_conv2d  # noqa: E402
from miniconv.parity import Case, Target, TargetError, find, reproduce, short_grid  # noqa: E402
from miniconv.parity.grids import geometries  # noqa: E402
from miniconv.parity.runner import judge, run  # noqa: E402
from miniconv.parity.targets import AxisOrder, Capabilities  # noqa: E402
from miniconv.parity.targets.refusals import plainest  # noqa: E402

F = torch.nn.functional
ORDINARY = [
    replace(case, dtype=dtype, data=data)
    for dtype, data in (("float32", "random"), ("float64", "integers"), ("int64", "integers"))
    for case in random.Random(dtype).sample(geometries(groups=["1"], batch=[1, 3], padding=[(0, 0), (1, 2)]), 15)
]
CASE = Case.parse("conv2d n2 c4 o6 i7x9 k3x2 s2x3 p1x2 bias float32")


@pytest.fixture(autouse=True)
def _torch_may_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a module into the current directory, and names one of its functions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != ""])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    count = 0

    def write(source: str, function: str = "conv") -> str:
        nonlocal count
        count += 1
        name = f"written_{tmp_path.name.replace('-', '_')}_{count}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        return f"{name}:{function}"

    return write


def verdict(function, text="conv2d n2 c4 o6 i7x9 k3x2 s2x3 p1x2 bias float32", **options):
    return judge(Case.parse(text), Target(function, **options))


# ---- finding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "function", "said"),
    [
        ("import nothing_of_that_name", "conv", "cannot be imported: ModuleNotFoundError: No module named 'nothing"),
        ("raise SystemExit(3)", "conv", "cannot be imported: SystemExit: 3"),
        ("def conv(: pass", "conv", "cannot be imported: SyntaxError"),
        ("conv = 3", "conv", "cannot be called: it is of type int"),
        ("conv = 3", "other", "has no 'other'"),
        ("class A: pass", "A.conv", ":A has no 'conv'"),
        ("def conv(input): pass", "conv", r"input and weight as its first two arguments, but got .*\(input\)"),
        ("def conv(x, w, *, scale): pass", "conv", r"no argument scale to pass, but got .*\(x, w, \*, scale\)"),
    ],
)
def test_what_cannot_be_a_target(written, source, function, said):
    with pytest.raises(TargetError, match=said):
        find(written(source, function))


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("a_module", {}, "a target is package.module:function, or one of miniconv, torch"),
        ("a_module:", {}, "a target is package.module:function"),
        ("torch:conv2d", {"adapter": "cupy"}, "adapter is one of torch, numpy, jax, but got 'cupy'"),
        ("torch:conv2d", {"layout": "NHWC"}, "a layout is INPUT/WEIGHT"),
        ("torch:conv2d", {"layout": "NHWC/HWOO"}, "HWOO, which is not an order of OIHW"),
        ("torch:conv2d", {"level": "strict"}, "level is one of values, shapes, drop-in, but got 'strict'"),
        ("torch:conv2d", {"op": "conv4d"}, "op is one of conv1d"),
        ("torch:conv2d", {"capabilities": "some groups"}, "begins with only, no, or one of op, dtype"),
        ("torch:conv2d", {"capabilities": "no cat"}, "'cat' in the capabilities is not something to lack: one of str"),
        ("torch:conv2d", {"capabilities": "only groups, kernel"}, "'kernel' in the capabilities is not an argument"),
        ("torch:conv2d", {"capabilities": "dtype float31"}, "'float31' in the capabilities is not a value of dtype"),
        ("torch:conv2d", {"capabilities": "no "}, "names nothing"),
        ("im2col", {"adapter": "numpy"}, "im2col is miniconv's name for a target"),
    ],
)
def test_options_that_are_not_understood(text, options, said):
    with pytest.raises(TargetError, match=said):
        find(text, **options)


def test_a_method_deep_inside_is_found(written):
    text = written(
        """
        import torch
        class Outer:
            class Inner:
                @staticmethod
                def conv(x, w, bias=None, **options): return torch.conv2d(x, w, bias, **options)
        """,
        "Outer.Inner.conv",
    )
    target = find(text)
    assert (target.name, target.level, target.gradients) == (text, "values", True)
    assert judge(CASE, target).name == "EQUAL"


@pytest.mark.parametrize("layout", ["NCHW/OIHW", "NHWC/HWIO", "NHWC/OHWI"])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_the_kind_of_array_and_the_order_of_axes_are_found_by_a_call(written, kind, layout):
    order = AxisOrder.parse(layout, "conv2d")
    back = "torch.from_numpy" if kind == "torch" else ""
    text = written(
        f"""
        import numpy as np, torch
        from examples.numpy_conv2d import conv2d
        def turned(array, own, wanted): return np.transpose(array, [own.index(letter) for letter in wanted])
        def conv(x, w, b=None, stride=1, padding=0, dilation=1):
            assert isinstance(x, {"torch.Tensor" if kind == "torch" else "np.ndarray"}), "no array of mine"
            x, w = np.asarray(x), np.asarray(w)
            b = None if b is None else np.asarray(b)
            x, w = turned(x, {order.input!r}, "NHWC"), turned(w, {order.weight!r}, "HWIO")
            return {back}(turned(conv2d(x, w, b, stride, padding, dilation), "NHWC", {order.input!r}).copy())
        """
    )
    target = find(text)
    name = "tensors" if kind == "torch" else "NumPy arrays"
    assert target.note.startswith(f"takes {name}, {layout} (found by a call: the values are right)")
    report = run(ORDINARY, target)
    assert not report.wrong, str(report)
    assert report.equal + report.within_bound > 20
    assert find(text, adapter=kind, layout=layout).note == f"takes {name}, {layout}; gradients are not judged"


def test_a_bug_does_not_hide_the_order_of_axes(written):
    text = written(
        """
        from examples.numpy_conv2d import conv2d
        def conv(x, w, b=None, **options): return conv2d(x, w[::-1], b, **options)
        """
    )
    target = find(text)
    assert "NHWC/HWIO (found by a call: the values are wrong)" in target.note
    assert judge(CASE, target).name == "WRONG_VALUE"


def test_a_probe_that_proves_nothing_says_so(written):
    target = find(written("def conv(x, w): return None"))
    assert "takes tensors, NCHW/OIHW (no call shows it)" in target.note
    assert "as torch NCHW/OIHW, torch NHWC/HWIO" in target.note
    assert "gives a NoneType" in target.note
    assert judge(plainest("conv2d"), target).detail == "None, which is no array"


def test_jax_with_gradients(written):
    jax = pytest.importorskip("jax")
    target = find("examples.jax_conv:conv", op="conv1d")
    assert "takes JAX arrays, NCHW/OIHW (found by a call: the values are right); gradients are judged" in target.note
    for text in ("n2 c4 o6 i9 k3 s2 p1 g2 bias float32", "n1 c4 o6 i9 k3 complex64 random", "n1 c4 o6 i9 k3 bfloat16"):
        assert judge(Case.parse(f"conv1d {text}"), target).passed, text
    wide = judge(Case.parse("conv1d n1 c4 o6 i9 k3 float64"), target)
    assert wide.passed
    if not jax.config.jax_enable_x64:
        assert wide.detail == "JAX holds float64 as float32, unless jax_enable_x64 is set"
    wrong = find(
        written("from examples.jax_conv import conv as c\ndef conv(x, w, b=None): return c(x, w * 2 - w, b) * 2")
    )
    assert judge(Case.parse("conv2d n1 c4 o6 i7x9 k3x2 float32"), wrong).name == "WRONG_VALUE"


@pytest.mark.parametrize("layout", ["NWC/WIO", "NHWC/HWIO", "NDHWC/DHWIO"])
@pytest.mark.parametrize("op", ["conv1d", "conv3d", "conv_transpose2d"])
def test_one_order_serves_every_rank(op, layout):
    order = AxisOrder.parse(layout, op)
    dims = int(op[-2])
    x, w = torch.rand(2, 3, *(5, 6, 7)[:dims]), torch.rand(4, 5, *(1, 2, 3)[:dims])
    expected = (2, *(5, 6, 7)[:dims], 3)
    assert tuple(order.enter(x, "input").shape) == expected
    assert tuple(order.enter(x[0], "input").shape) == expected[1:]
    channels = (4, 5) if "transpose" in op else (5, 4)
    assert tuple(order.enter(w, "weight").shape) == (*(1, 2, 3)[:dims], *channels)
    assert torch.equal(order.leave(order.enter(x, "input")), x)
    assert torch.equal(order.returned(order.enter(w, "weight"), "weight"), w)


# ---- arguments, claims and refusals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signature",
    ["x, w, b, stride, padding", "x, w, b=None, *, stride=1, padding=0", "x, w, stride=1, padding=0, bias=None"],
)
def test_arguments_go_where_the_signature_has_them(written, signature):
    bias = "bias" if "bias" in signature else "b"
    target = find(written(f"import torch\ndef conv({signature}): return torch.conv2d(x, w, {bias}, stride, padding)"))
    for text in (str(CASE), "conv2d n2 c4 o6 i7x9 k3x2 float32", "conv2d n1 c4 o6 i7x9 k3x2 p1x2 float64 random"):
        assert judge(Case.parse(text), target).passed
    refused = judge(replace(CASE, dilation=(1, 2)), target)
    assert (refused.name, refused.detail) == ("UNSUPPORTED", f"{target.name} takes no dilation")


def test_a_signature_without_a_bias(written):
    target = find(
        written("import torch\ndef conv(x, w, stride=1, padding=0): return torch.conv2d(x, w, None, stride, padding)")
    )
    assert judge(replace(CASE, bias=False), target).name == "EQUAL"
    assert judge(CASE, target).detail.endswith("takes no bias")


@pytest.mark.parametrize(
    ("body", "case", "name"),
    [
        ("raise NotImplementedError('not yet') if groups > 1 else None", "g2 float32", "UNSUPPORTED"),
        ("raise Unsupported('not yet') if groups > 1 else None", "g2 float32", "UNSUPPORTED"),
        ("if groups > 1: raise ValueError('a bug')", "g2 float32", "RAISED"),
        ("if x.dtype != torch.float32: raise TypeError('float32 alone')", "float64", "UNSUPPORTED"),
        ("n, c, h, w_ = x.shape", "unbatched", "UNSUPPORTED"),
        ("padding = padding + 0", "psame float32", "UNSUPPORTED"),
        ("assert len(x)", "n0", "UNSUPPORTED"),
        ("raise ValueError('always')", "float64", "RAISED"),
    ],
)
def test_clean_refusals_are_unsupported_and_what_is_claimed_must_be_served(written, body, case, name):
    head = "conv2d" if case == "unbatched" else "conv2d n0" if case == "n0" else "conv2d n2"
    asked = Case.parse(f"{head} c4 o6 i7x9 k3x3 {'' if case in ('unbatched', 'n0') else case}")
    body = body.replace("raise ", "raise ", 1)
    if body.startswith("raise") and " if " in body:
        raised, condition = body.removesuffix(" else None").split(" if ")
        body = f"if {condition}: {raised}"
    text = written(
        f"""
        import torch
        from miniconv.parity import Unsupported
        def conv(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
            {body}
            return torch.conv2d(x, w, bias, stride, padding, dilation, groups)
        """
    )
    assert judge(asked, find(text, adapter="torch", layout="NCHW/OIHW")).name == name
    assert (
        judge(asked, find(text, adapter="torch", layout="NCHW/OIHW", capabilities="no output_padding")).name == "RAISED"
    )


def test_what_is_not_claimed_is_not_asked():
    calls = []

    def conv(*operands, **options):
        calls.append(options)
        return F.conv2d(*operands, **options)

    claims = Capabilities.parse("only stride, bias; no unbatched, gradients\n dtype float32, float64; batch 1, 3")
    assert not claims.gradients
    cases = short_grid(300)
    report = run(cases, Target(conv, capabilities=claims, level="values"))
    assert not report.wrong
    assert report.counts["UNSUPPORTED"] == len(cases) - len(calls) > 200
    assert all(set(options) <= {"stride"} for options in calls)


# ---- levels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "text", "names"),
    [
        (lambda y: y.double(), str(CASE), ("EQUAL", "DTYPE", "DTYPE")),
        (lambda y: y[None], "conv2d c4 o6 i7x9 k3x2 float32", ("EQUAL", "SHAPE", "SHAPE")),
        (lambda y: y + 1, str(CASE), ("WRONG_VALUE",) * 3),
        (lambda y: y.mT.contiguous().mT, "conv2d n2 c4 o6 i7x9 k3x2 float32", ("EQUAL", "EQUAL", "LAYOUT")),
        (lambda y: y, "conv2d n2 c4 o6 i4x5 k5x7 float32", ("UNSUPPORTED", "SAME_ERROR", "SAME_ERROR")),
        (lambda y: y, "conv2d n2 c4 o6 i8x9 k3x2 float32 stride=1.0", ("UNSUPPORTED", "UNSUPPORTED", "SAME_ERROR")),
    ],
)
def test_levels(wrong, text, names):
    def conv(*operands, **options):
        return wrong(F.conv2d(*operands, **options))

    assert tuple(verdict(conv, text, level=level).name for level in ("values", "shapes", "drop-in")) == names


def test_refusals_by_level():
    def refuses(*operands, **options):
        try:
            return F.conv2d(*operands, **options)
        except RuntimeError as error:
            raise AssertionError("no") from error

    def accepts(input, weight, *rest, **options):
        try:
            return F.conv2d(input, weight, *rest, **options)
        except RuntimeError:
            return input

    text = "conv2d n2 c4 o6 i4x5 k5x7 float32"
    assert [verdict(refuses, text, level=level).name for level in ("shapes", "drop-in")] == ["SAME_ERROR", "ERROR_TYPE"]
    assert [verdict(accepts, text, level=level).name for level in ("shapes", "drop-in")] == ["NOT_RAISED"] * 2


def test_torch_need_not_serve_what_has_a_result():
    """torch refuses dilated int8, which has a result: below drop-in it is judged by the oracle alone."""
    text = "conv2d n2 c4 o6 i7x9 k3x2 d2x1 int8"
    import miniconv.functional

    assert verdict(miniconv.functional.conv2d, text, level="shapes").name == "EQUAL"
    assert verdict(lambda *a, **o: miniconv.functional.conv2d(*a, **o) + 1, text, level="shapes").name == "WRONG_VALUE"
    assert verdict(F.conv2d, text, level="shapes").name == "SAME_ERROR"


# ---- what comes back -------------------------------------------------------------------------------------------


GARBAGE = {
    "none": (lambda x, w: None, "DTYPE", "None, which is no array"),
    "a list": (lambda x, w: [x], "DTYPE", "a list, which is no array"),
    "a number": (lambda x, w: 1.5, "DTYPE", "a float, which is no array"),
    "a tensor of one": (lambda x, w: torch.tensor(1.5), "SHAPE", "(), but torch gives (2, 6, 5, 8)"),
    "another rank": (lambda x, w: torch.zeros(2, 6, 40), "SHAPE", "(2, 6, 40), but torch gives (2, 6, 5, 8)"),
    "the input": (lambda x, w: x, "SHAPE", "(2, 4, 7, 9), but torch gives (2, 6, 5, 8)"),
    "a view of the input": (lambda x, w: x[:, :1, :5, :8].expand(2, 6, 5, 8), "WRONG_VALUE", ""),
    "sparse": (
        lambda x, w: F.conv2d(x, w).detach().to_sparse(),
        "DTYPE",
        "a sparse_coo tensor on cpu that cannot be read",
    ),
    "no numbers": (
        lambda x, w: torch.empty(2, 6, 5, 8, device="meta"),
        "DTYPE",
        "a strided tensor on meta that cannot",
    ),
    "complex": (lambda x, w: F.conv2d(x, w) + 0j, "DTYPE", "torch.complex64, but torch gives torch.float32"),
    "truth": (lambda x, w: F.conv2d(x, w) > 0, "WRONG_VALUE", ""),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_a_clear_verdict(name):
    function, expected, detail = GARBAGE[name]
    got = verdict(function, "conv2d n2 c4 o6 i7x9 k3x2 float32", level="values")
    assert (got.name, got.part) == (expected, "output")
    assert got.detail.startswith(detail)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("np.array([None, 1.0], dtype=object)", "an array of object"),
        ("np.array(['a'])", "an array of <U1"),
        ("np.float32(3)", "a float32, which is no array"),
        ("(x, w)", "a tuple, which is no array"),
    ],
)
def test_garbage_from_arrays(written, returned, said):
    target = find(
        written(f"import numpy as np\ndef conv(x, w): return {returned}"), adapter="numpy", layout="NCHW/OIHW"
    )
    got = judge(plainest("conv2d"), target)
    assert (got.name, got.detail) == ("DTYPE", said)


@pytest.mark.parametrize("raised", [SystemExit(2), GeneratorExit(), BaseException("odd"), MemoryError()])
def test_whatever_is_raised_is_a_verdict(raised):
    def conv(input, weight):
        raise raised

    for level in ("values", "shapes", "drop-in"):
        got = verdict(conv, "conv2d n2 c4 o6 i7x9 k3x2 float32", level=level, refusals="probed")
        assert (got.name, got.detail) == ("RAISED", f"{type(raised).__name__}: {raised}")


def test_a_keyboard_interrupt_is_the_persons_own():
    def conv(input, weight):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verdict(conv, "conv2d n2 c4 o6 i7x9 k3x2 float32")


@pytest.mark.parametrize("layout", ["NCHW/OIHW", "NHWC/HWIO"])
@pytest.mark.parametrize("which", ["x", "w"])
def test_an_operand_that_is_written_to_is_noticed(written, which, layout):
    call = (
        "conv2d(np.transpose(x, (0, 2, 3, 1)), np.transpose(w, (2, 3, 1, 0)))" if layout[1] == "C" else "conv2d(x, w)"
    )
    text = written(
        f"""
        import numpy as np
        from examples.numpy_conv2d import conv2d
        def conv(x, w):
            result = {call}
            {which}[(0,) * 4] += 1
            return {"np.transpose(result, (0, 3, 1, 2))" if layout[1] == "C" else "result"}
        """
    )
    got = judge(plainest("conv2d"), find(text, adapter="numpy", layout=layout))
    assert got.name == "INPUT_MODIFIED"


def test_a_result_without_a_record_lacks_its_gradients():
    got = verdict(lambda *a, **o: F.conv2d(*a, **o).detach())
    assert (got.name, got.part) == ("GRADIENT_MISSING", "input_grad")


def test_bfloat16_goes_through_ml_dtypes(written):
    text = written(
        "def conv(x, w):\n    assert x.dtype.name == 'bfloat16'\n    return (w[:, 0].sum() + x[:, :1]).astype(x.dtype)"
    )
    pytest.importorskip("ml_dtypes")
    case = Case.parse("conv2d n1 c1 o1 i5x6 k1x1 bfloat16")
    assert (
        judge(case, find(text, adapter="numpy", layout="NCHW/OIHW", capabilities="dtype bfloat16")).name
        == "WRONG_VALUE"
    )
    half = judge(replace(case, dtype="complex32"), find(text, adapter="numpy", layout="NCHW/OIHW"))
    assert (half.name, half.detail) == ("UNSUPPORTED", "NumPy has no complex32")


def test_a_failure_is_reproduced_by_its_line(written, capsys):
    text = written(
        "from examples.numpy_conv2d import conv2d\ndef conv(x, w, b=None, **o): return conv2d(x, w[::-1], b, **o)"
    )
    failed = judge(CASE, find(text))
    line = str(failed).splitlines()[-1]
    assert f'reproduce("{CASE}", target="{text}", level="values")' in line
    again = reproduce(str(CASE), target=text, level="values")
    assert (again.name, again.index) == (failed.name, failed.index)
    assert reproduce(str(CASE)).name == "EQUAL"
    assert reproduce(str(CASE), target="torch.nn.functional:conv2d").name == "EQUAL"


# ---- what was found --------------------------------------------------------------------------------------------


def test_torchs_weight_gradient_where_both_operands_are_channels_last():
    """float64, groups, no batch: wrong in torch 2.13, whose own layouts meet in no grid, and right in miniconv."""
    case = Case.parse("conv2d c4 o6 i7x9 k3x2 g2 float64 channels_last")
    got = judge(case, find("torch:channels_last"))
    assert (got.name, got.part) == ("WRONG_VALUE", "weight_grad")
    assert judge(replace(case, batch=1), find("torch:channels_last")).name == "EQUAL"
    miniconv = __import__("miniconv.functional").functional

    def conv2d(input, weight, *rest, **options):
        return miniconv.conv2d(input, weight.to(memory_format=torch.channels_last), *rest, **options)

    assert verdict(conv2d, str(case), layout=False).name == "EQUAL"


def test_the_example_is_what_the_readme_says():
    x, w = np.ones((1, 4, 5, 2)), np.ones((3, 3, 2, 1))
    assert numpy_conv2d.conv2d(x, w, padding=(1, 0))[0, 1, :, 0].tolist() == [18.0, 18.0, 18.0]
