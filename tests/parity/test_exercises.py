"""The judge of exercises: right functions pass, wrong ones are told what is wrong, within what was taught."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from miniconv import functional  # noqa: E402
from miniconv.parity import TargetError, exercise  # noqa: E402
from miniconv.parity.exercises import _WORDS  # noqa: E402


def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)


def plain(input, weight):
    return conv(input, weight)


def with_stride(input, weight, stride):
    return conv(input, weight, stride=stride)


def with_bias(input, weight, bias):
    return conv(input, weight, bias)


def with_everything(input, weight, bias, stride, padding, dilation, groups):
    assert all(isinstance(word, tuple) and len(word) == 2 for word in (stride, padding, dilation))
    return conv(input, weight, bias, stride, padding, dilation, groups)


@pytest.mark.parametrize("function", [plain, with_stride, with_bias, with_everything])
def test_right_functions_are_right(function):
    judged = exercise(function)
    assert judged.right
    assert judged.report.cases == judged.report.equal + judged.report.within_bound == 24
    assert str(judged) == repr(judged) == "All 24 calls are right."


WRONG = {
    "the kernel is flipped": lambda input, weight: conv(input, weight[:, :, ::-1, ::-1]),
    "the stride of one axis is taken": lambda input, weight, stride: conv(input, weight, stride=stride[::-1]),
    "the bias is added twice": lambda input, weight, bias: conv(input, weight, None if bias is None else 2 * bias),
    "the dilation is ignored": lambda input, weight, dilation: conv(input, weight),
    "every group reads the first group's channels": lambda input, weight, groups: np.concatenate(
        [conv(input[:, : weight.shape[1]], part) for part in np.split(weight, groups)], axis=1
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_function_is_told_the_fault(fault):
    judged = exercise(WRONG[fault])
    assert not judged.right
    assert judged.fault.startswith(fault)
    first, *_, last = str(judged).splitlines()
    assert first == f"{24 - judged.report.wrong} of 24 calls are right, {judged.report.wrong} wrong."
    assert last == f"Likely fault: {judged.fault}"


def test_the_smallest_failure_can_be_worked_out_by_hand():
    judged = exercise(lambda input, weight: conv(input[:, :1], weight[:, :1]), kernel=[(1, 1)])
    lines = str(judged).splitlines()
    assert lines[1] == "The smallest wrong one: conv2d n1 c2 o1 i1x1 k1x1 float32"
    operands = {name: np.array(eval(text)) for name, _, text in (line.strip().partition(" = ") for line in lines[2:4])}
    right, wrong = conv(**operands).item(), (operands["input"][0, 0] * operands["weight"][0, 0]).item()
    assert lines[4] == f"  output[0, 0, 0, 0] is {wrong}, but must be {right}"


def test_only_what_was_taught_is_asked_and_shown():
    asked = []

    def wrong(input, weight):
        asked.append((input.ndim, weight.shape[2:]))
        return 2 * conv(input, weight)

    judged = exercise(wrong, kernel=[(3, 2)], batch=[None], calls=6)
    assert set(asked) - {(3, (3, 2))} <= {(n, k) for n, k in asked if n == 4}  # diagnose asks about other kernels
    assert (judged.smallest.case.kernel_size, judged.smallest.case.batch) == ((3, 2), None)


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (lambda input, weight: None, "  output is None, which is no array"),
        (lambda input, weight: conv(input, weight)[..., :-1], "  the shape of output is (1, 1, 1, 0), but must be"),
        (lambda input, weight: 1 // 0, "  your function stops: ZeroDivisionError: integer division or modulo by zero"),
        (lambda input, weight: np.negative(input, out=input).sum(), "  INPUT_MODIFIED in call"),
    ],
)
def test_what_gives_no_numbers_is_told_in_words(function, line):
    assert any(told.startswith(line) for told in str(exercise(function)).splitlines())


def test_gradients_of_tensors_are_judged():
    def cut_off(input, weight):
        return torch.conv2d(input, weight.detach())

    assert exercise(lambda input, weight: torch.conv2d(input, weight), adapter="torch").right
    assert (
        "the gradient is cut off" in str(exercise(cut_off, adapter="torch"))
        or not exercise(cut_off, adapter="torch").right
    )


@pytest.mark.parametrize("op", ["conv1d", "conv3d", "conv_transpose2d"])
def test_other_operators(op):
    function = getattr(functional, op)
    assert exercise(lambda input, weight, bias: function(input, weight, bias), op=op).right


def test_padding_as_a_word_where_it_is_asked_for():
    judged = exercise(lambda input, weight, padding: conv(input, weight, padding=padding), padding=["same"])
    assert judged.right


def test_chinese():
    assert str(exercise(plain, language="zh")) == "24 次调用全部正确。"
    assert str(exercise(lambda input, weight: None, language="zh")).startswith("24 次调用中 0 次正确")
    assert _WORDS["en"].keys() == _WORDS["zh"].keys()


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(TargetError, match="an exercise takes input, weight"):
        exercise(lambda input: input)
    with pytest.raises(TargetError, match="an exercise takes input, weight"):
        exercise(lambda input, weight, colour: input)
    with pytest.raises(ValueError, match="no call of conv2d is left"):
        exercise(plain, batch=[1], kernel=[(9, 12)])
