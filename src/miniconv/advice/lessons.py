"""The table of refusals: how each is recognised, what its arithmetic is, and which kinds of change may mend it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from miniconv.advice import changes_of_axes as axes
from miniconv.advice import changes_of_forms as forms
from miniconv.advice import changes_of_sizes as sizes
from miniconv.advice.attempts import ARRAYS, Attempt
from miniconv.advice.change import Kind
from miniconv.rules import integer, type_name

__all__ = ["LESSONS", "Fact", "Lesson", "lesson_of"]

Fact = tuple[str, dict[str, Any]]
"""The name of a text, and what stands in its placeholders."""


class Lesson(NamedTuple):
    """What is taught of one kind of refusal.

    Attributes:
        pattern: a regular expression that the refusal's text begins with.
        facts: the arithmetic, one text or several.
        kinds: the kinds of change that are tried, the likeliest first.
    """

    pattern: str
    facts: Callable[[Attempt], Iterable[Fact]]
    kinds: tuple[Kind, ...]


# ---- sizes -------------------------------------------------------------------------------------------------------


def _window(a: Attempt) -> Iterable[Fact]:
    for axis, size, (low, high), kernel, dilation in zip(a.axes, a.size, a.padding, a.kernel, a.per_axis("dilation")):
        padded, extent = size + low + high, (kernel - 1) * dilation + 1
        if extent > padded:
            numbers = {"size": size, "low": low, "high": high, "kernel": kernel, "dilation": dilation}
            yield "window", {"axis": axis, **numbers, "padded": padded, "extent": extent}


def _output_too_small(a: Attempt) -> Iterable[Fact]:
    least = 0 if 0 in a.input.shape[: -a.dims] else 1
    options = (a.per_axis(name) for name in ("stride", "dilation", "output_padding"))
    for axis, size, (low, high), kernel, stride, dilation, extra in zip(a.axes, a.size, a.padding, a.kernel, *options):
        output = (size - 1) * stride - low - high + (kernel - 1) * dilation + extra + 1
        if output < least:
            numbers = {"size": size, "low": low, "high": high, "kernel": kernel, "dilation": dilation}
            rest = {"stride": stride, "extra": extra, "output": output, "least": least}
            yield "output too small", {"axis": axis, **numbers, **rest}


def _output_padding(a: Attempt) -> Iterable[Fact]:
    options = (a.per_axis(name) for name in ("output_padding", "stride", "dilation"))
    for axis, extra, stride, dilation in zip(a.axes, *options):
        if extra >= max(stride, dilation):
            yield "output_padding", {"axis": axis, "extra": extra, "stride": stride, "dilation": dilation}


def _empty_input(a: Attempt) -> Iterable[Fact]:
    for axis, size in zip(a.axes, a.size):
        if size == 0:
            yield "empty input", {"axis": axis, "input": a.input.shape}


def _empty_kernel(a: Attempt) -> Iterable[Fact]:
    for axis, size in zip(a.axes, a.kernel):
        if size == 0:
            yield "empty kernel", {"axis": axis, "weight": a.weight.shape}


def _least(a: Attempt) -> Iterable[Fact]:
    for name, least in (("padding", 0), ("output_padding", 0), ("stride", 1), ("dilation", 1)):
        if name == "padding" and isinstance(a.values[name], (str, bytes)):
            yield from _empty_kernel(a)  # 'same' of no kernel is negative, too
            continue
        numbers = [min(pair) for pair in a.padding] if name == "padding" else a.per_axis(name)
        for axis, value in zip(a.axes, numbers):
            if value < least and name in a.values:
                yield "least", {"axis": axis, "name": name, "value": value, "least": least}


def _too_large(a: Attempt) -> Iterable[Fact]:
    for name in ("stride", "padding", "dilation", "output_padding", "groups"):
        value = a.values.get(name)
        most = 2**62 - 1 if name == "padding" else 2**63 - 1
        numbers = [*value] if isinstance(value, (list, tuple)) else [value]
        for number in (side for n in numbers for side in (n if isinstance(n, (list, tuple)) else (n,))):
            if isinstance(number, int) and number > most:
                yield "too large", {"name": name, "value": number, "most": most}


# ---- channels and groups -----------------------------------------------------------------------------------------


def _read_as(a: Attempt) -> str:
    """``(N, C, H, W)``, or without N: how the input's axes are read."""
    batched = len(a.input.shape) == a.dims + 2
    return f"({', '.join([*(['N'] if batched else []), 'C', *a.axes])})"


def _channels(a: Attempt) -> Iterable[Fact]:
    got = {"input": a.input.shape, "got": a.channels, "meant": _read_as(a)}
    weight, groups = a.weight.shape, a.values["groups"]
    if a.transposed:
        yield "channels transposed", {"weight": weight, "expected": weight[0], **got}
    else:
        expected = weight[1] * groups
        yield "channels", {"weight": weight, "second": weight[1], "groups": groups, "expected": expected, **got}


def _groups(a: Attempt) -> Iterable[Fact]:
    yield "groups", {"groups": a.values["groups"]}


def _groups_too_many(a: Attempt) -> Iterable[Fact]:
    yield "groups too many", {"groups": a.values["groups"], "weight": a.weight.shape, "got": a.weight.shape[0]}


def _divided(name: str, count: int, groups: int) -> Iterable[Fact]:
    if count % groups:
        numbers = {"groups": groups, "quotient": count // groups, "rest": count % groups}
        yield "not divisible", {"name": name, "count": count, **numbers}


def _weight_divided(a: Attempt) -> Iterable[Fact]:
    name = "weight.shape[0] (in_channels)" if a.transposed else "weight.shape[0] (out_channels)"
    return _divided(name, a.weight.shape[0], a.values["groups"])


def _channels_divided(a: Attempt) -> Iterable[Fact]:
    out = a.values["out_channels"] if "out_channels" in a.values else a.weight.shape[0]
    for name, count in (("in_channels", a.channels), ("out_channels", out)):
        yield from _divided(name, count, a.values["groups"])


def _bias(a: Attempt) -> Iterable[Fact]:
    channels = a.weight.shape[1] * a.values["groups"] if a.transposed else a.weight.shape[0]
    yield "bias", {"channels": channels, "shape": a.values["bias"].shape}


# ---- axes --------------------------------------------------------------------------------------------------------


def _input_axes(a: Attempt) -> Iterable[Fact]:
    unbatched = f"(C, {', '.join(a.axes)})"
    shape = a.input.shape
    read = {"batched": f"(N, {unbatched[1:]}", "unbatched": unbatched}
    yield "input axes", {"op": a.op, **read, "input": shape, "got": len(shape)}


def _weight_axes(a: Attempt) -> Iterable[Fact]:
    first = "(in_channels, out_channels / groups" if a.transposed else "(out_channels, in_channels / groups"
    meant = f"{first}, {', '.join(f'K_{axis.lower()}' for axis in a.axes)})"
    weight = a.weight.shape
    yield "weight axes", {"op": a.op, "needed": a.dims + 2, "meant": meant, "weight": weight, "got": len(weight)}


def _values(a: Attempt) -> Iterable[Fact]:
    """Too many values or too few; where the weight is what has another number of axes, that."""
    if "weight" in a.values and len(a.weight.shape) != a.dims + 2:
        yield from _weight_axes(a)
        return
    for name in ("stride", "padding", "dilation", "output_padding"):
        value = a.values.get(name)
        right = (a.dims,) if a.write else (1, a.dims)  # a problem's own fields are not broadcast
        if isinstance(value, (list, tuple)) and len(value) not in right:
            yield "values", {"name": name, "count": len(value), "op": a.op, "dims": a.dims}


def _sides(a: Attempt) -> Iterable[Fact]:
    yield "sides", {"dims": a.dims}


# ---- types -------------------------------------------------------------------------------------------------------


def _types(a: Attempt) -> Iterable[Fact]:
    """Operands that are neither tensors nor arrays, or mixed; else options that are no integers."""
    present = {name: a.values[name] for name in ("input", "weight", "bias") if a.values[name] is not None}
    kinds = {x.kind == "numpy.ndarray" for x in present.values()}
    if len(kinds) > 1 or any(x.kind not in ARRAYS for x in present.values()):
        strange = {name: x for name, x in present.items() if x.kind not in ARRAYS} or present
        yield from (("kinds", {"name": name, "kind": x.kind}) for name, x in strange.items())
        return
    for name in ("stride", "padding", "dilation", "output_padding", "groups"):
        value = a.values.get(name)
        if name not in a.values or (name == "padding" and isinstance(value, (str, bytes)) and not a.transposed):
            continue
        entries = [*value] if isinstance(value, (list, tuple)) and name != "groups" else [value]
        wrong = [entry for entry in entries if integer(entry) is None]
        if wrong and isinstance(wrong[0], float):
            yield "float", {"name": name, "value": wrong[0]}
        elif wrong:
            listed = "" if name == "groups" else "or a list"
            yield "type", {"name": name, "value": repr(wrong[0]), "kind": type_name(wrong[0]), "list": listed}


def _dtypes(a: Attempt) -> Iterable[Fact]:
    present = {name: a.values[name].dtype for name in ("input", "weight", "bias") if a.values[name] is not None}
    yield "dtypes", {"given": present}


def _dtype(a: Attempt) -> Iterable[Fact]:
    yield "dtype", {"dtype": a.input.dtype}


# ---- padding as a word, and its modes ----------------------------------------------------------------------------


def _word(a: Attempt) -> Iterable[Fact]:
    yield "word", {"word": repr(a.values["padding"])}


def _same(a: Attempt) -> Iterable[Fact]:
    stride = a.per_axis("stride")
    yield "same", {"stride": stride[0] if len(set(stride)) == 1 else tuple(stride)}


def _mode(a: Attempt) -> Iterable[Fact]:
    modes = ("zeros",) if a.transposed else ("zeros", "reflect", "replicate", "circular")
    yield "padding_mode", {"modes": ", ".join(map(repr, modes)), "mode": repr(a.values["padding_mode"])}


def _border(a: Attempt) -> Iterable[Fact]:
    mode = a.values["padding_mode"]
    for axis, size, pair in zip(a.axes, a.size, a.padding):
        most = size - (mode == "reflect")
        if max(pair) > most:
            yield "border", {"axis": axis, "mode": mode, "most": most, "size": size, "pad": max(pair)}


def _output_size(a: Attempt) -> Iterable[Fact]:
    smallest, largest = a.values["sizes"]
    wanted = a.values["output_size"][-a.dims :]
    for axis, low, high, size, stride in zip(a.axes, smallest, largest, wanted, a.per_axis("stride")):
        if not low <= size <= high:
            yield "output_size", {"axis": axis, "smallest": low, "largest": high, "wanted": size, "stride": stride}


_FITTING = (sizes.padding_up, sizes.dilation_down, sizes.kernel_down, sizes.input_up)
_BIGGER = (sizes.padding_down, sizes.extra_up, sizes.kernel_up, sizes.input_up)
_CHANNELS = (
    axes.channels_last, axes.more_axes, axes.transposed_weight, axes.groups_near, axes.weight_channels,
    axes.input_channels,
)  # fmt: skip

LESSONS = (
    Lesson(r"Calculated padded input size", _window, _FITTING),
    Lesson(r"Given input size per channel|invalid shape dimension", _output_too_small, _BIGGER),
    Lesson(r"output padding must be smaller", _output_padding, (sizes.extra_down, sizes.stride_up)),
    Lesson(r"Only zero batch or zero channel|Expected \d+D or \d+D \(batch mode\)", _empty_input, (sizes.input_up,)),
    Lesson(r"kernel size should be greater", _empty_kernel, (sizes.kernel_up,)),
    Lesson(
        r"negative (output_)?padding|non-positive stride|dilation should be",
        _least,
        (sizes.least_values, sizes.kernel_up),
    ),
    Lesson(r"Given padding=|Overflow when unpacking|.*Overflow when unpacking", _too_large, (forms.within_64_bits,)),
    Lesson(r"Given .*expected input\[", _channels, _CHANNELS),
    Lesson(r"non-positive groups|groups must be a positive", _groups, (axes.groups_near,)),
    Lesson(r"Given groups=.*to be at least", _groups_too_many, (axes.groups_near, axes.weight_channels)),
    Lesson(r"Given groups=.*to be divisible", _weight_divided, (axes.groups_near, axes.weight_channels)),
    Lesson(r"(in|out)_channels.*must be divisible", _channels_divided, (axes.groups_near, axes.channels_near)),
    Lesson(r"Given .*expected bias to be", _bias, (axes.bias_shape,)),
    Lesson(
        r"Expected \d+D \(unbatched\)|Padding size \d+ is not supported", _input_axes, (axes.more_axes, axes.flattened)
    ),
    Lesson(r"weight should have|Expected \d+-dimensional input", _weight_axes, (axes.weight_axes,)),
    Lesson(
        r"expected \w+ to be a single|\w+ cannot broadcast|\w+ needs \d+ values",
        _values,
        (forms.fewer_values, axes.weight_axes),
    ),
    Lesson(r".*padding by sides is one pair", _sides, (forms.by_sides,)),
    Lesson(r".*(invalid combination|argument '\w+')", _types, (forms.no_bias, forms.kinds_alike, forms.integers_of)),
    Lesson(r"Input type|expected scalar type", _dtypes, (forms.dtypes,)),
    Lesson(r'".*" not implemented for', _dtype, (forms.dtypes,)),
    Lesson(r"Invalid padding string", _word, (forms.word_named,)),
    Lesson(r"padding='same' is not supported", _same, (sizes.same_by_numbers, sizes.stride_one, sizes.same_upper)),
    Lesson(r'padding_mode must be|Only "zeros" padding', _mode, (forms.mode_named,)),
    Lesson(r"Argument #|Padding value causes wrapping", _border, (sizes.padding_within, forms.mode_named)),
    Lesson(r".*output_size must have|requested an output size", _output_size, (sizes.output_size_near,)),
)
"""Every refusal, once."""


def lesson_of(error: Exception) -> Lesson | None:
    """What is taught of a refusal.

    >>> lesson_of(RuntimeError("non-positive stride is not supported")).kinds[0].__name__
    'least_values'
    """
    text = str(error)
    return next((lesson for lesson in LESSONS if re.match(lesson.pattern, text, re.DOTALL)), None)
