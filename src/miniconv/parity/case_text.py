"""A case as one line of text, and back: the words that ``Case`` is written in.

As in ``ConvProblem.parse``, and ``psame`` and ``pvalid``, a padding mode, a layout, a kind of data, ``seed3``, and
``name=value`` for what is passed instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miniconv.parity.cases import Case

__all__ = [
    "COMPLEX_DTYPES", "DATA", "DTYPES", "FLOAT_DTYPES", "INTEGER_DTYPES", "LAYOUTS", "OPS", "PADDING_MODES", "ints",
    "parse_fields", "write",
]  # fmt: skip

OPS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
"""The operators that a case may call."""

INTEGER_DTYPES = ("uint8", "int8", "int16", "int32", "int64")
FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")
COMPLEX_DTYPES = ("complex32", "complex64", "complex128")
DTYPES = (*INTEGER_DTYPES, *FLOAT_DTYPES, *COMPLEX_DTYPES)
"""Every dtype that `torch.nn.functional.conv2d` accepts on a CPU."""

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
"""What lies past the border; all but ``zeros`` belong to the module, not to the function."""

LAYOUTS = (
    "contiguous", "channels_last", "channels_last_weight", "channels_last_both", "sliced", "expanded",
    "transposed_weight",
)  # fmt: skip
"""How the operands lie in memory: see ``miniconv.parity.operands.place``."""

DATA = ("integers", "random", "specials")
"""What the operands hold: see ``miniconv.parity.data.draw``."""

_NUMBERS: Mapping[str, str] = {
    "n": "batch", "c": "in_channels", "o": "out_channels", "g": "groups", "i": "input_size", "k": "kernel_size",
    "s": "stride", "p": "padding", "d": "dilation", "op": "output_padding", "seed": "seed",
}  # fmt: skip
_SCALARS = ("batch", "in_channels", "out_channels", "groups", "seed")
_PER_AXIS = (("s", "stride", 1), ("p", "padding", 0), ("d", "dilation", 1), ("op", "output_padding", 0))
_DEFAULTS = {"padding_mode": "zeros", "layout": "contiguous", "data": "integers"}
_NAMES: Mapping[str, tuple[str, Any]] = {
    "bias": ("bias", True),
    **{f"p{word}": ("padding", word) for word in ("same", "valid")},
    **{dtype: ("dtype", dtype) for dtype in DTYPES},
    **{mode: ("padding_mode", mode) for mode in PADDING_MODES},
    **{layout: ("layout", layout) for layout in LAYOUTS},
    **{data: ("data", data) for data in DATA},
}


def ints(values: Iterable[int]) -> str:
    """Numbers as the text has them.

    >>> ints((2, 3))
    '2x3'
    """
    return "x".join(map(str, values))


def write(case: Case) -> str:
    """The text of ``case``; what stands at its default is left out, except the dtype."""
    words = [case.op] + ([] if case.batch is None else [f"n{case.batch}"])
    words += [f"c{case.in_channels}", f"o{case.out_channels}"]
    words += [f"i{ints(case.input_size)}", f"k{ints(case.kernel_size)}"]
    for letters, name, default in _PER_AXIS:
        values = getattr(case, name)
        if isinstance(values, str):
            words.append(f"{letters}{values}")
        elif any(number != default for number in values):
            words.append(f"{letters}{ints(values)}")
    words += [f"g{case.groups}"] if case.groups != 1 else []
    words += ["bias"] if case.bias else []
    words.append(case.dtype)
    words += [getattr(case, name) for name, default in _DEFAULTS.items() if getattr(case, name) != default]
    words += [f"seed{case.seed}"] if case.seed else []
    return " ".join([*words, *(f"{name}={value}" for name, value in case.given)])


def parse_fields(text: str) -> dict[str, Any]:
    """The fields of the case that ``write`` wrote as ``text``, by their names.

    Raises:
        ValueError: a word is unknown, given twice or missing.
    """
    head, *words = text.split()
    if head not in OPS:
        raise ValueError(f"a case begins with {', '.join(OPS)}, but got {head!r}")
    dims, transposed = int(head[-2]), "transpose" in head
    got: dict[str, Any] = {}
    given = []
    for word in words:
        if "=" in word:
            name, value = word.split("=", 1)
            given.append((name, value))
            continue
        name, value = _parse_word(word, dims)
        if name in got:
            raise ValueError(f"{name} is given twice in {text!r}")
        got[name] = value
    missing = {"in_channels", "out_channels", "input_size", "kernel_size"} - set(got)
    if missing:
        raise ValueError(f"{', '.join(sorted(missing))} missing in {text!r}")
    defaults: dict[str, Any] = {"batch": None, "stride": (1,) * dims, "padding": (0,) * dims, "dilation": (1,) * dims}
    if transposed:
        defaults["output_padding"] = (0,) * dims
    return {**defaults, **got, "transposed": transposed, "given": tuple(given)}


def _parse_word(word: str, dims: int) -> tuple[str, Any]:
    """One word: the field that it sets, and its value."""
    if word in _NAMES:
        return _NAMES[word]
    match = re.fullmatch(r"(seed|op|[ncogikspd])(-?\d+(?:x-?\d+)*)", word)
    if match is None:
        raise ValueError(f"{word!r} is not a word of a case: see Case.parse")
    name, numbers = _NUMBERS[match[1]], tuple(map(int, match[2].split("x")))
    if name in _SCALARS:
        if len(numbers) != 1:
            raise ValueError(f"{name} is one number, but got {word!r}")
        return name, numbers[0]
    if len(numbers) == 1:
        numbers *= dims
    if len(numbers) != dims:
        raise ValueError(f"{name} needs one number or {dims}, but got {word!r}")
    return name, numbers
