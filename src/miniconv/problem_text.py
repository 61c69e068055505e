"""A problem as one line of text, and back: test id, benchmark row, command-line argument and reproducer in one.

    conv2d n2 c4 o6 i9x11 k3x2 s1x2 p1x0:1 g2 bias float32

The operator, then words: ``n`` batch (left out: unbatched), ``c`` and ``o`` channels, ``i`` input size, ``k`` kernel,
``s`` stride, ``p`` padding (``1`` on both sides, ``0:1`` low and high), ``d`` dilation, ``op`` output padding, ``g``
groups, ``bias``, a dtype, a memory format. ``x`` separates the axes; one number serves every axis.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from miniconv.dtypes import DTYPES
from miniconv.rules import MEMORY_FORMATS

if TYPE_CHECKING:
    from miniconv.problem import ConvProblem

__all__ = ["format_problem", "parse_fields"]

_COUNTS: Mapping[str, str] = {"n": "batch", "c": "in_channels", "o": "out_channels", "g": "groups"}
_PER_AXIS: Mapping[str, str] = {
    "i": "input_size",
    "k": "kernel_size",
    "s": "stride",
    "p": "padding",
    "d": "dilation",
    "op": "output_padding",
}
_EXAMPLES = {"in_channels": "c3", "out_channels": "o4", "input_size": "i8", "kernel_size": "k3"}


def format_problem(problem: ConvProblem) -> str:
    """The text of ``problem``; what stands at its default is left out, except the dtype."""

    def ints(values: Iterable[int]) -> str:
        return "x".join(map(str, values))

    words = [problem.op]
    if problem.batch is not None:
        words.append(f"n{problem.batch}")
    words += [f"c{problem.in_channels}", f"o{problem.out_channels}"]
    words += [f"i{ints(problem.input_size)}", f"k{ints(problem.kernel_size)}"]
    if any(s != 1 for s in problem.stride):
        words.append(f"s{ints(problem.stride)}")
    if any(low or high for low, high in problem.padding):
        words.append("p" + "x".join(f"{low}" if low == high else f"{low}:{high}" for low, high in problem.padding))
    if any(d != 1 for d in problem.dilation):
        words.append(f"d{ints(problem.dilation)}")
    if any(problem.output_padding):
        words.append(f"op{ints(problem.output_padding)}")
    if problem.groups != 1:
        words.append(f"g{problem.groups}")
    if problem.bias:
        words.append("bias")
    words.append(problem.dtype)
    if problem.memory_format != "contiguous":
        words.append(problem.memory_format)
    return " ".join(words)


def parse_fields(text: str) -> dict[str, Any]:
    """The fields of the problem that ``format_problem`` wrote as ``text``, by their names.

    Raises:
        ValueError: a word is unknown, given twice or missing.
    """
    head, *words = text.split() or [""]
    match = re.fullmatch(r"conv(_transpose)?([123])d", head)
    if match is None:
        raise ValueError(f"a problem begins with conv1d ... conv_transpose3d, but got {text!r}")
    fields: dict[str, Any] = {}
    for word in words:
        name, value = _parse_word(word, dims=int(match[2]))
        if name in fields:
            raise ValueError(f"{name} is given twice in {text!r}")
        fields[name] = value
    if missing := _EXAMPLES.keys() - set(fields):
        lacking = (f"{name} (as in {_EXAMPLES[name]})" for name in _EXAMPLES if name in missing)
        raise ValueError(f"{', '.join(lacking)} missing in {text!r}")
    return {"batch": None, "transposed": match[1] is not None} | fields


def _parse_word(word: str, dims: int) -> tuple[str, Any]:
    """One word: the field that it sets, and its value."""
    if word == "bias":
        return "bias", True
    if word in DTYPES:
        return "dtype", word
    if word in MEMORY_FORMATS:
        return "memory_format", word
    match = re.fullmatch(r"([a-z]+)([0-9x:]+)", word)
    key, digits = (match[1], match[2]) if match else ("", "")
    if key in _COUNTS:
        if not digits.isdecimal():
            raise ValueError(f"{_COUNTS[key]} is one number, but got {word!r}")
        return _COUNTS[key], int(digits)
    sides = r"\d+(:\d+)?" if key == "p" else r"\d+"
    if key not in _PER_AXIS or not re.fullmatch(f"{sides}(x{sides})*", digits):
        raise ValueError(f"{word!r} is not a word of a problem, such as n1 c3 o4 i8x9 k3 s2 p1 d1 g1 op1 bias float32")
    values: list[Any] = [tuple(map(int, (v.split(":") * 2)[:2])) if key == "p" else int(v) for v in digits.split("x")]
    if len(values) not in (1, dims):
        raise ValueError(f"{_PER_AXIS[key]} needs one number or {dims}, but got {word!r}")
    return _PER_AXIS[key], tuple(values * dims if len(values) == 1 else values)
