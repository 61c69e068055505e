"""Errors that teach, on tensors and layers: torch's words stay, and what the note proposes runs, in torch too."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch

import miniconv
import miniconv.functional as F
import miniconv.nn as nn
from miniconv.advice import of_call, repairs
from miniconv.arrays import describe
from miniconv.parity.cases import OPS
from miniconv.parity.data import DEFAULTS, arguments
from miniconv.parity.grids import listed
from miniconv.parity.operands import make
from miniconv.problem import Operand

ERRORS = (TypeError, ValueError, RuntimeError)


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("MINICONV_LANG", "en")


def refused(call, *args, **options):
    """The error of a call that is refused."""
    with pytest.raises(ERRORS) as caught:
        call(*args, **options)
    return caught.value


def note_of(error) -> str:
    """Its only note."""
    (note,) = error.__notes__
    return note


# ---- every call that torch refuses ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # torch's, of calls that are legal and odd
@pytest.mark.parametrize("op", OPS)
def test_every_listed_refusal_has_a_note_and_what_it_proposes_runs(op):
    taught = 0
    for case in listed("errors.txt", op):
        if case.padding_mode != "zeros":
            continue
        tensors = [x for x in make(case)[:3] if x is not None]
        options = {name: value for name, value in {**DEFAULTS, **arguments(case)}.items() if name in NAMES[op]}
        tried = of_call(op, [*map(describe, tensors)], options)
        if tried.refusal() is not None:
            taught += 1
            assert note_of(refused(getattr(F, op), *tensors, **options)), case
            check_changes(tried, tensors, case)
    assert taught > 40


NAMES = {
    op: ("stride", "padding", "dilation", "groups", *(("output_padding",) if "transpose" in op else ())) for op in OPS
}


def check_changes(tried, tensors, case):
    """Every proposal runs, here and, where the form of padding is torch's own, in torch."""
    op, options = tried.op, {name: value for name, value in tried.values.items() if name in NAMES[tried.op]}
    for changes in repairs(tried):
        named = dict(zip(("input", "weight", "bias"), tensors))
        given, after = dict(options), tried
        for change in changes:
            after = after.changed(change.values)
            if "=" in change.words:
                given |= eval(f"dict({change.words})")
            elif change.words:
                named |= dict(zip(change.values, eval(f"({change.words},)", {"torch": torch}, named)))
            else:
                for name, operand in change.values.items():
                    named[name] = torch.ones(operand.shape, dtype=getattr(torch, operand.dtype))
        problem = after.check(after.values)
        if problem.multiply_adds > 10**7 or max(map(max, (*problem.padding, problem.stride, problem.dilation))) > 2**60:
            continue  # legal, and nothing to be computed
        ours = getattr(F, op)(*named.values(), **given)
        if given["padding"] == "same_upper" or isinstance(_entries(given["padding"])[0], tuple):
            continue
        if ours.dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
            continue  # torch has not all of them
        assert getattr(torch.nn.functional, op)(*named.values(), **given).shape == ours.shape, (case, changes)


def _entries(value):
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


# ---- layers -----------------------------------------------------------------------------------------------------

PICTURE = (2, 3, 8, 9)

CALLS = {
    "channels": ("Conv2d", (1, 6, 3), {}, PICTURE, ["in_channels=3", "input of shape (2, 1, 8, 9)"]),
    "channels, groups": (
        "Conv2d", (6, 6, 3), {"groups": 2}, PICTURE, ["input of shape (2, 6, 8, 9)"],
    ),
    "channels last": (
        "Conv2d", (3, 6, 3), {}, (2, 8, 9, 3),
        ["input.permute(0, 3, 1, 2)", "in_channels=8", "input of shape (2, 3, 9, 3)"],
    ),
    "grey": ("Conv2d", (1, 6, 3), {}, (5, 8, 9), ["input.unsqueeze(1)", "in_channels=5", "input of shape (1, 8, 9)"]),
    "flat": ("Conv2d", (1, 6, 3), {}, (5, 64), ["input.unsqueeze(0)", "input.reshape(-1, 1, 8, 8)"]),
    "small": (
        "Conv2d", (3, 6, 11), {"padding": 1}, PICTURE,
        ["padding=(2, 1)", "kernel_size=(10, 11)", "input of shape (2, 3, 9, 9)"],
    ),
    "small, reflect": (
        "Conv2d", (3, 6, 11), {"padding": 1, "padding_mode": "reflect"}, PICTURE,
        ["padding=(2, 1)", "kernel_size=(10, 11)", "input of shape (2, 3, 9, 9)"],
    ),
    "channels, circular": (
        "Conv2d", (1, 6, 3), {"padding": (1, 2), "padding_mode": "circular"}, PICTURE,
        ["in_channels=3", "input of shape (2, 1, 8, 9)"],
    ),
    "reflect": (
        "Conv2d", (3, 6, 3), {"padding": 8, "padding_mode": "reflect"}, PICTURE,
        ["padding=(7, 8)", "padding_mode='replicate'"],
    ),
    "circular": (
        "Conv1d", (3, 6, 3), {"padding": 12, "padding_mode": "circular"}, (2, 3, 9),
        ["padding=9", "padding_mode='replicate'"],
    ),
    "axes, replicate": (
        "Conv2d", (1, 6, 3), {"padding": 1, "padding_mode": "replicate"}, (9, 8), ["input.unsqueeze(0)"],
    ),
    "float64": ("Conv3d", (3, 6, 1), {"dtype": torch.float64}, (3, 4, 5, 6), ["input.double()"]),
    "strides": ("Conv2d", (3, 6, 3), {"stride": (2, 1, 1)}, PICTURE, ["stride=(2, 1)"]),
    "output_padding": (
        "ConvTranspose2d", (3, 6, 3), {"stride": (2, 3), "output_padding": 2}, PICTURE,
        ["output_padding=(1, 2)", "stride=3"],
    ),
    "transposed channels": (
        "ConvTranspose1d", (4, 6, 3), {}, (2, 3, 9), ["in_channels=3", "input of shape (2, 4, 9)"],
    ),
}  # fmt: skip
"""A layer, what it is called with, and what makes the call legal."""


@pytest.mark.parametrize("name", CALLS)
def test_a_layer_says_it_in_its_own_arguments(name):
    kind, args, options, shape, expected = CALLS[name]
    layer, input = getattr(nn, kind)(*args, **options), torch.ones(shape)
    error = refused(layer, input)
    theirs = refused(getattr(torch.nn, kind)(*args, **options), input)
    if options.get("dtype") is None:  # where torch has two texts
        assert str(error).splitlines()[0] == str(theirs).splitlines()[0]
    lines = note_of(error).splitlines()
    found = [line.strip() for line in lines if line.startswith("  ")] or [lines[-1].partition(": ")[2]]
    assert found == expected
    names = ("in_channels", "out_channels", "kernel_size")
    for change in found:
        if change.startswith("input of shape"):
            layer(torch.ones(eval(change.removeprefix("input of shape "))))
        elif change.startswith("input"):
            layer(eval(change))
        else:
            changed = {**dict(zip(names, args)), **options, **eval(f"dict({change})")}
            getattr(nn, kind)(**changed)(input)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((20, 18), "output_size=(18, 19)"), ((2, 6, 17, 30), "output_size=(17, 20)"), ((18,), "output_size=(18, 19)")],
)
def test_the_size_that_a_transposed_layer_is_asked_for(size, expected):
    layer = nn.ConvTranspose2d(3, 6, 3, stride=2)
    error = refused(layer, torch.ones(PICTURE), output_size=size)
    assert isinstance(error, ValueError)
    assert note_of(error).endswith(expected)
    assert layer(torch.ones(PICTURE), **eval(f"dict({expected})")).shape[2:] == eval(expected.partition("=")[2])


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("Conv2d", {"groups": 0}, ["groups=1"]),
        ("Conv2d", {"groups": 4}, ["groups=3", "in_channels=8"]),
        ("Conv1d", {"groups": 3, "out_channels": 7}, ["groups=1", "out_channels=9"]),
        ("Conv2d", {"padding": "Same"}, ["padding='same'"]),
        ("Conv3d", {"padding": "same", "stride": (1, 2, 1)}, ["padding=1", "stride=1", "padding='same_upper'"]),
        ("Conv2d", {"padding_mode": "constant"}, ["padding_mode='zeros'"]),
        ("Conv2d", {"padding_mode": "reflection"}, ["padding_mode='reflect'"]),
        ("ConvTranspose2d", {"padding_mode": "reflect"}, ["padding_mode='zeros'"]),
        ("LazyConv2d", {"groups": 0}, ["groups=1"]),
    ],
)
def test_constructors(kind, options, expected):
    arguments = {"in_channels": 6, "out_channels": 12, "kernel_size": 3, **options}
    if kind.startswith("Lazy"):
        del arguments["in_channels"]
    error = refused(getattr(nn, kind), **arguments)
    theirs = refused(getattr(torch.nn, kind), **arguments)
    assert type(error) is type(theirs) is ValueError
    assert sorted(str(error)) == sorted(str(theirs))  # a set in it is printed in any order
    lines = note_of(error).splitlines()
    assert ([line.strip() for line in lines if line.startswith("  ")] or [lines[-1].partition(": ")[2]]) == expected
    for change in expected:
        getattr(nn, kind)(**{**arguments, **eval(f"dict({change})")})


def test_in_chinese(monkeypatch):
    monkeypatch.setenv("MINICONV_LANG", "zh")
    note = note_of(refused(nn.Conv2d(3, 6, 3), torch.ones(2, 8, 9, 3)))
    assert "个输入通道" in note
    assert "input.permute(0, 3, 1, 2)" in note
    assert "无法均分" in note_of(refused(nn.Conv2d, 6, 12, 3, groups=4))


# ---- as an error carries it -------------------------------------------------------------------------------------


def test_errors_of_layers_are_pickled_and_copied_with_their_notes():
    error = refused(nn.Conv2d(1, 6, 3), torch.ones(PICTURE))
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(twin), str(twin), list(twin.__notes__)) == (type(error), str(error), [note_of(error)])


def test_recorded_calls_are_taught():
    weight = torch.ones(6, 4, 3, 3, requires_grad=True)
    assert "in_channels" not in note_of(refused(F.conv2d, torch.ones(PICTURE), weight))


def test_a_compilers_errors_are_its_own():
    weight = torch.ones(6, 4, 3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in (lambda x: F.conv2d(x, weight), nn.Conv2d(4, 6, 3)):
            compiled = torch.compile(call, backend="eager", fullgraph=True)
            with pytest.raises(Exception, match="to have 4 channels, but got 3 channels"):
                compiled(torch.ones(PICTURE))
            assert compiled(torch.ones(2, 4, 8, 9)).shape == (2, 6, 6, 7)


def test_other_errors_of_a_layer_have_no_note():
    class Broken(nn.Conv2d):
        def _conv_forward(self, input, weight, bias):
            raise RuntimeError("something else")

    for shape in (PICTURE, (2, 4, 8, 9)):
        assert not hasattr(refused(Broken(3, 6, 3), torch.ones(shape)), "__notes__")


def test_torchs_own_refusals_are_taught_under_patch():
    weight = torch.ones(6, 4, 3, 3)
    for shape, options in (((2, 3, 8, 9), {}), ((4, 2, 9), {}), ((2, 4, 8, 9), {"stride": 0})):
        plain = refused(torch.nn.functional.conv2d, torch.ones(shape), weight, **options)
        assert not hasattr(plain, "__notes__")
        with miniconv.patch():
            error = refused(torch.nn.functional.conv2d, torch.ones(shape), weight, **options)
        assert (type(error), str(error)) == (type(plain), str(plain))
        assert "makes it legal" in note_of(error)
    with miniconv.patch():
        error = refused(torch.nn.functional.conv_transpose2d, torch.ones(2, 3, 8, 9), weight)
    assert "weight.swapaxes" not in note_of(error)
    assert note_of(error).startswith("A transposed convolution's weight begins with its input channels")


def test_a_subclass_is_asked_once():
    class Loud(torch.Tensor):
        asked: list = []  # noqa: RUF012  of the test alone

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.asked.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs)

    input = torch.ones(PICTURE).as_subclass(Loud)
    Loud.asked.clear()
    refused(F.conv2d, input, torch.ones(6, 4, 3, 3))
    assert Loud.asked == ["conv2d"]


def test_operands_of_two_kinds():
    note = note_of(refused(F.conv2d, torch.ones(PICTURE), torch.ones(6, 3, 3, 3).numpy()))
    assert note.endswith("torch.from_numpy(weight)")
    assert of_call("conv1d", [Operand((1, 3)), Operand((1, 1, 2))], {"stride": 1}).refusal() is None
