"""Errors that teach: every refusal has its arithmetic and a smallest change, and the change is tried here again."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest

import miniconv.functional as F
from miniconv import ConvProblem, advice, explain
from miniconv.advice import Attempt, of_call, of_fields, repairs
from miniconv.advice.lessons import LESSONS, lesson_of
from miniconv.language import LANGUAGES
from miniconv.problem import Operand
from miniconv.problem_text import parse_fields

VALIDATION = ("miniconv.rules", "miniconv.padding_forms")
OPTIONS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
KIND = "numpy.ndarray"


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("MINICONV_LANG", "en")


def attempt(op="conv2d", input=(2, 4, 8, 9), weight=(6, 4, 3, 2), bias=None, dtypes=("float32",) * 3, **options):
    """A call on arrays that are never made."""
    shapes = [shape for shape in (input, weight, bias) if shape is not None]
    operands = [Operand(shape, dtype, kind=KIND) for shape, dtype in zip(shapes, dtypes)]
    extra = {"output_padding": 0} if "transpose" in op else {}
    return of_call(op, operands, {**OPTIONS, **extra, **options})


T = {"op": "conv_transpose2d", "weight": (4, 6, 3, 2)}
F16, F32, F64 = "float16", "float32", "float64"
HUGE = 2**63

REFUSED = {
    # forms of arguments
    "stride 1.0": ({"stride": 1.0}, ["stride=1"]),
    "stride None": ({"stride": None}, ["stride=1"]),
    "stride True": ({"stride": True}, ["stride=1"]),
    "stride '2'": ({"stride": "2"}, ["stride=2"]),
    "stride array": ({"stride": np.array([2, 1])}, ["stride=(2, 1)"]),
    "stride (2.0, 1)": ({"stride": (2.0, 1)}, ["stride=(2, 1)"]),
    "stride (1, 2.0)": ({"stride": (1, 2.0)}, ["stride=(1, 2)"]),
    "groups tuple": ({"groups": (1,)}, ["groups=1"]),
    "two floats": ({"stride": 1.0, "dilation": 1.0}, ["stride=1 & dilation=1"]),
    "transposed float": ({**T, "output_padding": 0.0}, ["output_padding=0"]),
    "stride 2**63": ({"stride": HUGE}, [f"stride={HUGE - 1}"]),
    "stride (2**63, 1)": ({"stride": (HUGE, 1)}, [f"stride=({HUGE - 1}, 1)"]),
    "groups 2**63": ({"groups": HUGE}, ["groups=1"]),
    "sides 2**63": ({"padding": ((1, 2), (0, HUGE))}, [f"padding=((1, 2), (0, {2**62 - 1}))"]),
    "padding 2**62": ({"padding": (0, 2**62)}, [f"padding=(0, {2**62 - 1})"]),
    "three strides": ({"stride": (2, 1, 3)}, ["stride=(2, 1)"]),
    "no dilation": ({"dilation": ()}, ["dilation=1"]),
    "three of all": (
        {"stride": (1, 1, 1), "padding": (1, 1, 1), "dilation": (1, 1, 1)}, ["stride=1 & padding=1 & dilation=1"],
    ),
    "one pair of sides": ({"padding": ((1, 2),)}, ["padding=((1, 2), (1, 2))"]),
    # signs
    "padding -1": ({"padding": (1, -1)}, ["padding=(1, 0)"]),
    "sides -1": ({"padding": ((1, -1), (0, 2))}, ["padding=((1, 0), (0, 2))"]),
    "stride 0": ({"stride": (2, 0)}, ["stride=(2, 1)"]),
    "dilation -1": ({"dilation": -1}, ["dilation=1"]),
    "dilation 0": ({"dilation": (0, 3)}, ["dilation=(1, 3)"]),
    "both negative": ({"padding": -1, "stride": -1}, ["padding=0 & stride=1"]),
    "output_padding -1": ({**T, "output_padding": (-1, 0)}, ["output_padding=0"]),
    "same_upper, stride 0": ({"padding": "same_upper", "stride": 0}, ["stride=1"]),
    "same, dilation -1": ({"padding": "same", "dilation": -1}, ["dilation=1"]),
    # groups and channels
    "groups 0": ({"groups": 0}, ["groups=1"]),
    "groups -1, same": ({"groups": -1, "padding": "same"}, ["groups=1"]),
    "groups 8": ({"groups": 8}, ["groups=1"]),
    "groups 8 of 16": ({"groups": 8, "input": (2, 16, 8, 9)}, ["weight (8, 2, 3, 2)"]),
    "groups 4": ({"groups": 4}, ["groups=1", "weight (8, 1, 3, 2)"]),
    "groups 2": ({"groups": 2}, ["groups=1", "weight (6, 2, 3, 2)", "input (2, 8, 8, 9)"]),
    "3 channels": ({"input": (2, 3, 8, 9)}, ["weight (6, 3, 3, 2)", "input (2, 4, 8, 9)"]),
    "12 channels": (
        {"input": (2, 12, 8, 9)}, ["groups=3", "weight (6, 12, 3, 2)", "input (2, 4, 8, 9)"],
    ),
    "channels last": (
        {"input": (2, 8, 9, 4)},
        ["input.transpose(0, 3, 1, 2)", "groups=2", "weight (6, 8, 3, 2)", "input (2, 4, 9, 4)"],
    ),
    "a picture's channels last": (
        {"input": (8, 9, 4)}, ["input.transpose(2, 0, 1)", "groups=2", "weight (6, 8, 3, 2)", "input (4, 9, 4)"],
    ),
    "grey pictures": (
        {"input": (5, 8, 9), "weight": (6, 1, 3, 2)},
        ["input[:, None]", "weight (6, 5, 3, 2)", "input (1, 8, 9)"],
    ),
    "weight the other way": (
        {**T, "weight": (6, 4, 3, 2)}, ["weight.swapaxes(0, 1)", "weight (4, 4, 3, 2)", "input (2, 6, 8, 9)"],
    ),
    "empty weight": ({"weight": (0, 4, 3, 2)}, ["weight (1, 4, 3, 2)"]),
    # axes
    "2 axes": ({"input": (9, 8), "weight": (6, 1, 3, 2)}, ["input[None]"]),
    "flat": ({"input": (5, 784), "weight": (6, 1, 3, 2)}, ["input[None]", "input.reshape(-1, 1, 28, 28)"]),
    "flat, 3 channels": ({"input": (5, 12), "weight": (6, 3, 2, 2)}, ["input.reshape(-1, 3, 2, 2)"]),
    "2 axes, 4 channels": ({"input": (8, 9)}, ["input[None] & weight (6, 1, 3, 2)"]),
    "5 axes": ({"input": (2, 3, 4, 8, 9)}, ["input.reshape(6, 4, 8, 9)"]),
    "no channels in the kernel": ({"weight": (3, 2), "input": (2, 1, 8, 9)}, ["weight[None, None]"]),
    "weight of conv1d": ({"weight": (6, 4, 3)}, ["weight[..., None]"]),
    "weight of conv3d": ({"weight": (1, 6, 4, 3, 2)}, ["weight[0]"]),
    "weight of 2 axes, same": ({"weight": (3, 2), "padding": "same"}, ["weight (1, 4, 3, 2)"]),
    "weight of 3 axes, same": ({"weight": (4, 3, 2), "padding": "same"}, ["weight[None]"]),
    "weight of 5 axes, lists of 1": (
        {"weight": (1, 6, 4, 3, 2), "stride": (1,), "padding": (0,), "dilation": (1,)}, ["weight[0]"],
    ),
    "bias 5": ({"bias": (5,)}, ["bias (6,)"]),
    "bias of 3 axes": ({"bias": (6, 1, 1)}, ["bias.reshape(-1)"]),
    "transposed bias": ({**T, "bias": (4,)}, ["bias (6,)"]),
    # sizes
    "window": ({"input": (2, 4, 2, 9)}, ["padding=(1, 0)", "weight (6, 4, 2, 2)", "input (2, 4, 3, 9)"]),
    "dilated window": (
        {"input": (4, 3, 4), "dilation": (3, 4)},
        ["padding=(2, 1)", "dilation=(1, 3)", "weight (6, 4, 1, 1)", "input (4, 7, 5)"],
    ),
    "window by sides": (
        {"input": (2, 4, 2, 9), "weight": (6, 4, 7, 2), "padding": ((1, 0), (0, 0))},
        ["padding=((3, 2), (0, 0))", "weight (6, 4, 3, 2)", "input (2, 4, 6, 9)"],
    ),
    "valid": (
        {"input": (2, 4, 2, 1), "padding": "valid"},
        ["padding=1", "weight (6, 4, 2, 1)", "input (2, 4, 3, 2)"],
    ),
    "nothing left": ({"input": (2, 4, 0, 9), "padding": 2}, ["input (2, 4, 1, 9)"]),
    "empty kernel": ({"weight": (6, 4, 0, 2)}, ["weight (6, 4, 1, 2)"]),
    "empty kernel, same": ({"weight": (6, 4, 0, 2), "padding": "same"}, ["weight (6, 4, 1, 2)"]),
    "output_padding 2": (
        {**T, "stride": (2, 3), "output_padding": 2}, ["output_padding=(1, 2)", "stride=3"],
    ),
    "too small": (
        {**T, "input": (2, 4, 1, 1), "weight": (4, 6, 2, 1), "padding": (1, 0)},
        ["padding=0", "weight (4, 6, 3, 1)", "input (2, 4, 2, 1)"],
    ),
    "too small, sides": (
        {**T, "input": (2, 4, 1, 1), "padding": ((2, 2), (0, 1)), "stride": (3, 1)},
        ["padding=((1, 1), (0, 1))", "output_padding=(2, 0)", "weight (4, 6, 5, 2)", "input (2, 4, 2, 1)"],
    ),
    "too small, empty": (
        {**T, "input": (0, 4, 1, 1), "padding": (2, 0)},
        ["padding=(1, 0)", "output_padding=(1, 0)", "weight (4, 6, 4, 2)", "input (0, 4, 2, 1)"],
    ),
    # dtypes
    "float64 input": ({"dtypes": (F64, F32)}, ["input.astype('float32')"]),
    "integer input": ({"dtypes": ("uint8", F32)}, ["input.astype('float32')"]),
    "integer weight": ({"dtypes": (F32, "int64")}, ["weight.astype('float32')"]),
    "complex input": ({"dtypes": ("complex64", F32)}, ["weight.astype('complex64')"]),
    "float64 bias": ({"bias": (6,), "dtypes": (F32, F32, F64)}, ["bias.astype('float32')"]),
    "float64 input, bias": ({"bias": (6,), "dtypes": (F64, F32, F32)}, ["input.astype('float32')"]),
    "bool": ({"dtypes": ("bool", "bool")}, ["input.astype('float32') & weight.astype('float32')"]),
    # words
    "SAME": ({"padding": "SAME"}, ["padding='same'"]),
    "full": ({"padding": "full"}, ["padding=(2, 1)"]),
    "padding '1'": ({"padding": "1"}, ["padding=1"]),
    "same, stride": ({"padding": "same", "stride": (2, 3)}, ["padding=(1, 0)", "stride=1", "padding='same_upper'"]),
    "same, strides": ({"padding": "same", "stride": (1, 1, 1)}, ["stride=1"]),
}  # fmt: skip
"""Refused calls, and what makes each legal; what must be done together is joined by ``&``."""


def worded(change) -> str:
    """A change in one line, whatever the language."""
    shapes = (f"{name} {operand.shape}" for name, operand in change.values.items() if isinstance(operand, Operand))
    return change.words.replace(", weight.", " & weight.") or " & ".join(shapes)


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_a_call_legal(name):
    arguments, expected = REFUSED[name]
    tried = attempt(**arguments)
    assert tried.refusal() is not None
    found = repairs(tried)
    assert [" & ".join(map(worded, changes)) for changes in found] == expected
    for changes in found:
        for change in changes:
            tried = tried.changed(change.values)
        assert tried.refusal() is None
        tried = attempt(**arguments)
    for language in LANGUAGES:
        assert len(advice.advice(tried, language).splitlines()) > len(found)


def test_every_refusal_of_the_validation_is_taught():
    reached = {place_of(attempt(**arguments).refusal()) for arguments, _ in REFUSED.values()}
    every = set()
    for module in VALIDATION:
        tree = ast.parse(inspect.getsource(importlib.import_module(module)))
        every |= {(module, node.lineno) for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc}
    left = every - reached
    # what no call runs into, a problem described by hand does
    by_hand = {place_of(of_fields(fields).refusal()) for fields in BY_HAND}
    assert not left - by_hand
    assert len(every) >= 40
    for fields in BY_HAND:
        assert repairs(of_fields(fields))


BY_HAND = [
    parse_fields("conv2d n1 c4 o6 i7x9 k3x2 g0"),
    {**parse_fields("conv2d n1 c4 o6 i7x9 k3x2"), "stride": (2,)},
]


def place_of(error) -> tuple[str, int] | None:
    """The ``raise`` that an error comes from."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_globals["__name__"], trace.tb_lineno


# ---- the smallest -----------------------------------------------------------------------------------------------


def random_attempts(count: int, seed: int) -> list[Attempt]:
    """Refused calls of every operator, everything in them drawn; in most the channels and signs are right."""
    rng = random.Random(seed)
    found: list[Attempt] = []
    while len(found) < count:
        dims, transposed = rng.choice((1, 2, 3)), rng.random() < 0.4
        draw = [tuple(rng.choice(values) for _ in range(dims)) for values in ((1, 2, 3, 5), (1, 2, 3, 4), (1, 2, 3))]
        size, kernel, dilation = draw
        channels = rng.choice((1, 2, 3, 4, 6)), rng.choice((1, 2, 3, 4, 6))
        wild = rng.random() < 0.3
        stride = tuple(rng.choice((0, 1, 1, 2, 3) if wild else (1, 1, 2, 3)) for _ in range(dims))
        padding = rng.choice(("same", "valid", "SAME")) if rng.random() < 0.15 and not transposed else None
        if padding is None:
            padding = tuple(rng.choice((-1, 0, 0, 1, 2) if wild else (0, 0, 1, 2)) for _ in range(dims))
        batch = rng.choice(((), (0,), (2,)))
        groups = rng.choice((1, 1, 1, 2, 3) if wild else (1, 1, 2))
        second = rng.choice((1, 2, 3, channels[0])) if wild else max(1, channels[transposed] // groups)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        if transposed:
            options["output_padding"] = tuple(rng.choice((0, 0, 1, 2)) for _ in range(dims))
        candidate = attempt(
            f"conv{'_transpose' if transposed else ''}{dims}d", (*batch, channels[0], *size),
            (channels[0] if transposed else channels[1], second, *kernel), **options,
        )  # fmt: skip
        if candidate.refusal() is not None:
            found.append(candidate)
    return found


RANDOM = random_attempts(900, seed=0)


def between(old, new):
    """Every integer, or every tuple of integers, from one to another, without the other."""
    if isinstance(old, int) and isinstance(new, int):
        return [n for n in range(min(old, new), max(old, new) + 1) if n != new]
    ranges = (range(min(a, b), max(a, b) + 1) for a, b in zip(old, new))
    return [point for point in itertools.product(*ranges) if point != tuple(new)]


def smaller(tried: Attempt, change):
    """Every smaller change of the same kind."""
    for name, new in change.values.items():
        old = tried.values[name]
        if name == "groups":
            near = [g for g in range(1, tried.channels + 1) if abs(g - old) < abs(new - old)]
            yield from ({name: groups} for groups in near)
        elif name in ("stride", "padding", "dilation", "output_padding") and not isinstance(new, str):
            if name == "padding" and (isinstance(old, str) or isinstance(tried.values["stride"], str)):
                continue  # a word has no size
            steps = between(spread(old, tried.dims), spread(new, tried.dims))
            yield from ({name: step} for step in steps)
        elif isinstance(new, Operand) and not change.words and len(old.shape) == len(new.shape):
            yield from ({name: old._replace(shape=shape)} for shape in between(old.shape, new.shape))


def spread(value, dims):
    return (value,) * dims if isinstance(value, int) else tuple(value)


@pytest.mark.parametrize("part", range(6))
def test_no_smaller_change_makes_it_legal(part):
    checked = 0
    for tried in RANDOM[part::6]:
        for changes in repairs(tried):
            if len(changes) > 1:
                continue
            assert tried.changed(changes[0].values).refusal() is None
            for values in smaller(tried, changes[0]):
                assert tried.changed(values).refusal() is not None, (tried.values, changes, values)
                checked += 1
    assert checked > 200


def test_random_refusals_are_taught_in_both_languages():
    repaired = 0
    for tried in RANDOM:
        for language in LANGUAGES:
            assert advice.advice(tried, language)
        repaired += bool(repairs(tried))
    assert repaired == len(RANDOM)


def test_together_makes_it_legal():
    several = 0
    for tried in RANDOM:
        for changes in repairs(tried):
            after = tried
            for change in changes:
                assert after.refusal() is not None
                after = after.changed(change.values)
            assert after.refusal() is None
            several += len(changes) > 1
    assert several > 20


# ---- the changes as code ----------------------------------------------------------------------------------------

DONE = [name for name in REFUSED if "2**" not in name and "same_upper" not in name]


@pytest.mark.parametrize("name", DONE)
def test_the_code_of_a_change_runs(name):
    arguments, _ = REFUSED[name]
    tried = attempt(**arguments)
    for changes in repairs(tried):
        named = {n: arrayed(tried.values[n]) for n in ("input", "weight", "bias")}
        options = {n: value for n, value in tried.values.items() if n not in named}
        for change in changes:
            if not change.words:
                named |= {n: arrayed(operand) for n, operand in change.values.items()}
                continue
            if "=" in change.words:
                options |= eval(f"dict({change.words})")
                continue
            values = eval(f"({change.words},)", {}, named)
            named |= dict(zip(change.values, values))
        operands = [x for x in named.values() if x is not None]
        result = getattr(F, tried.op)(*operands, **options)
        after = tried
        for change in changes:
            after = after.changed(change.values)
        assert result.shape == stated(after).output_shape


def arrayed(operand):
    return None if operand is None else np.ones(operand.shape, operand.dtype)


def stated(tried: Attempt) -> ConvProblem:
    return tried.check(tried.values)


# ---- as an error carries it -------------------------------------------------------------------------------------


def refusal(call, *args, **options):
    with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
        call(*args, **options)
    return caught.value


X, W = np.ones((2, 4, 2, 9), np.float32), np.ones((6, 4, 3, 2), np.float32)
NOTE = """\
Axis H: input 2 + padding 0 + 0 = 2, but the kernel spans (3 - 1) * 1 + 1 = 3, and 3 > 2.
Each of these alone makes it legal:
  padding=(1, 0)
  weight of shape (6, 4, 2, 2)
  input of shape (2, 4, 3, 9)"""


def test_the_note_stands_below_torchs_words():
    error = refusal(F.conv2d, X, W)
    assert type(error) is RuntimeError
    assert str(error) == (
        "Calculated padded input size per channel: (2 x 9). Kernel size: (3 x 2). Kernel size can't be greater than "
        "actual input size"
    )
    assert error.__notes__ == [NOTE]


@pytest.mark.parametrize(
    ("names", "language"), [({"LANG": "zh_CN.UTF-8"}, "zh"), ({"LANG": "zh_CN.UTF-8", "MINICONV_LANG": "en"}, "en")]
)
def test_the_environment_chooses_the_language(monkeypatch, names, language):
    for name in ("MINICONV_LANG", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    (note,) = refusal(F.conv2d, X, W).__notes__
    assert note == advice.advice(attempt(input=X.shape), language)
    assert ("卷积核的跨度" in note) == (language == "zh")


def test_errors_keep_their_notes_when_pickled():
    error = refusal(F.conv2d, X, W)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        twin = pickle.loads(pickle.dumps(error, protocol))
        assert (type(twin), str(twin), twin.__notes__) == (type(error), str(error), [NOTE])
        assert type(twin.__notes__[0]) is str


def test_a_note_is_added_once_and_others_stay():
    error = refusal(F.conv2d, X, W)
    error.__notes__.insert(0, "a note of the caller's")
    advice.teach(error, lambda: attempt(input=X.shape))
    assert error.__notes__ == ["a note of the caller's", NOTE]


def test_nothing_is_said_of_another_error():
    for other in (RuntimeError("out of memory"), ValueError("Calculated padded input size per channel: (2 x 9).")):
        advice.teach(other, lambda: attempt(input=X.shape))
        assert not hasattr(other, "__notes__")
    legal = RuntimeError("Calculated padded input size per channel")
    advice.teach(legal, attempt)
    assert not hasattr(legal, "__notes__")


def test_teaching_never_raises():
    def broken():
        raise KeyError("weight")

    error = RuntimeError("Calculated padded input size per channel")
    advice.teach(error, broken)
    advice.teach(error, lambda: None)
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize(
    ("operands", "note"),
    [
        (
            ([[1.0, 2.0]], np.ones((1, 1, 1))),
            "input is of type list; operands are all tensors, or all NumPy arrays.\n"
            "This makes it legal: np.asarray(input)",
        ),
        ((np.ones((1, 2)), None), "weight is of type NoneType; operands are all tensors, or all NumPy arrays."),
        ((np.ones((1, 2)), "a kernel"), "weight is of type str; operands are all tensors, or all NumPy arrays."),
        (
            (np.ones((1, 2)), np.ones((1, 1, 1)), 2),
            "bias is of type int; operands are all tensors, or all NumPy arrays.\nThis makes it legal: bias=None",
        ),
        ((np.ones((1, 2)), [[1, 2], [3]]), ""),
    ],
)
def test_operands_that_are_no_arrays(operands, note):
    error = refusal(F.conv1d, *operands)
    assert isinstance(error, TypeError)
    assert "".join(getattr(error, "__notes__", ())) == note


def test_explain_teaches_too():
    error = refusal(explain, X, W, at=(0, 0, 0, 0))
    assert error.__notes__ == [NOTE]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("conv2d n1 c3 o4 i2x8 k3", ["i2x8 k3x3 p1x0", "i2x8 k2x3", "i3x8 k3x3"]),
        ("conv2d n1 c3 o4 i8 k3 g2", ["c3 o4 i8x8 k3x3", "c4 o4 i8x8 k3x3 g2"]),
        ("conv_transpose1d c3 o4 i8 k3 s2 op2", ["k3 s2 op1", "k3 s3 op2"]),
        ("conv1d n1 c3 o4 i8 k3 s0 bias int64", ["i8 k3 bias int64"]),
        ("conv1d n1 c3 o4 i8 k3 g0", ["i8 k3"]),
        ("conv1d c3 o4 i8 k0 channels_last", ["k1"]),
    ],
)
def test_a_problems_text_is_put_right_as_a_whole(text, expected):
    error = refusal(advice.parse, text)
    lines = "".join(error.__notes__).splitlines()
    found = [line[line.index("conv") :] for line in lines if "conv" in line]
    assert len(found) == len(expected)
    for line, words in zip(found, expected):
        assert words in line
        assert str(ConvProblem.parse(line)) == line
    with pytest.raises(type(error)) as plain:
        ConvProblem.parse(text)
    assert str(plain.value) == str(error)


def test_a_text_that_is_none_is_refused_as_ever():
    with pytest.raises(ValueError, match="begins with"):
        advice.parse("pool2d n1")
    assert advice.parse("conv1d c1 o1 i3 k2") == ConvProblem.parse("conv1d c1 o1 i3 k2")


def test_a_call_that_succeeds_loads_none_of_it():
    code = (
        "import sys, numpy as np, miniconv.functional as F; F.conv1d(np.ones((1, 3)), np.ones((1, 1, 2)));"
        "print('miniconv.advice' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---- the table --------------------------------------------------------------------------------------------------


def test_every_lesson_has_a_text_and_a_kind():
    for lesson in LESSONS:
        assert lesson.kinds
    assert lesson_of(RuntimeError("something else")) is None
