"""``Case``: one call of a convolution, described completely by one line of text.

A ``ConvProblem`` says which convolution is meant. A case also says how the caller wrote it, because that is where
implementations go wrong: padding as a word, the layout of the operands in memory, the kind of numbers in them, the
border's mode, and arguments that must be refused. So a case may be illegal, and a problem may not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["DATA", "DTYPES", "LAYOUTS", "PADDING_MODES", "Case"]

INTEGER_DTYPES = ("uint8", "int8", "int16", "int32", "int64")
FLOAT_DTYPES = ("float16", "bfloat16", "float32", "float64")
COMPLEX_DTYPES = ("complex32", "complex64", "complex128")
DTYPES = (*INTEGER_DTYPES, *FLOAT_DTYPES, *COMPLEX_DTYPES)
"""Every dtype that `torch.nn.functional.conv2d` accepts on a CPU."""

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
"""What lies past the border; all but ``zeros`` belong to the module, not to the function."""

LAYOUTS = ("contiguous", "channels_last", "channels_last_weight", "sliced", "expanded", "transposed_weight")
"""How the operands lie in memory: see ``miniconv.parity.operands.place``."""

DATA = ("integers", "random", "specials")
"""What the operands hold: see ``miniconv.parity.data.draw``."""

PADDING_WORDS = ("same", "valid")


@dataclass(frozen=True)
class Case:
    """One call of ``conv1d``, ``conv2d`` or ``conv3d``, legal or not.

    Attributes:
        batch: N, or None for an unbatched input.
        in_channels: C_in.
        out_channels: C_out.
        input_size: spatial size of the input; its length says which operator is called.
        kernel_size: spatial size of the weight.
        stride: one number an axis; equal numbers are passed as one integer, others as a tuple. So are the next two.
        padding: likewise, or ``"same"`` or ``"valid"``.
        dilation: likewise.
        groups: number of groups.
        bias: whether a bias is passed.
        dtype: one of ``DTYPES``.
        padding_mode: one of ``PADDING_MODES``; any but ``"zeros"`` goes through the module.
        layout: one of ``LAYOUTS``.
        data: one of ``DATA``.
        seed: which numbers are drawn.
        given: pairs (name, text) that replace what would be passed, to write wrong calls: ``stride``, ``padding``,
            ``dilation``, ``groups`` take a Python literal or a name in ``miniconv.parity.data.FORMS``; ``input``,
            ``weight``, ``bias`` take a shape such as ``6x4x3``; ``input:``, ``weight:``, ``bias:`` take a dtype.

    >>> case = Case.parse("conv2d n3 c4 o6 i7x9 k3x2 s2x3 pvalid bias float32 sliced random")
    >>> case.stride, case.padding, case.layout
    ((2, 3), 'valid', 'sliced')
    >>> str(case)
    'conv2d n3 c4 o6 i7x9 k3x2 s2x3 pvalid bias float32 sliced random'
    """

    batch: int | None
    in_channels: int
    out_channels: int
    input_size: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int = 1
    bias: bool = False
    dtype: str = "float32"
    padding_mode: str = "zeros"
    layout: str = "contiguous"
    data: str = "integers"
    seed: int = 0
    given: tuple[tuple[str, str], ...] = ()

    @property
    def op(self) -> str:
        """``conv1d``, ``conv2d`` or ``conv3d``."""
        return f"conv{len(self.input_size)}d"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(N, C_in, *input_size), or without N where the input is unbatched."""
        batch = () if self.batch is None else (self.batch,)
        return (*batch, self.in_channels, *self.input_size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(C_out, C_in / groups, *kernel_size)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def padding_pairs(self) -> tuple[tuple[int, int], ...]:
        """(low, high) for each axis: ``'same'`` puts the odd cell on the high side."""
        if self.padding == "same":
            totals = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation)]
            return tuple((total // 2, total - total // 2) for total in totals)
        if isinstance(self.padding, str):
            return ((0, 0),) * len(self.input_size)
        return tuple((p, p) for p in self.padding)

    @property
    def output_size(self) -> tuple[int, ...]:
        """The spatial size of the result; not positive where the kernel does not fit."""
        return tuple(
            (i + low + high - d * (k - 1) - 1) // s + 1
            for i, (low, high), d, k, s in zip(
                self.input_size, self.padding_pairs, self.dilation, self.kernel_size, self.stride
            )
        )

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(N, C_out, *output_size), or without N where the input is unbatched."""
        batch = () if self.batch is None else (self.batch,)
        return (*batch, self.out_channels, *self.output_size)

    @property
    def must_be_refused(self) -> bool:
        """Whether the geometry is illegal, so that an error is the right answer."""
        if self.padding == "same" and any(s != 1 for s in self.stride):
            return True
        reach = {"reflect": -1, "circular": 0}.get(self.padding_mode)  # how far past the size a border may go
        past = reach is not None and any(
            max(pair) > size + reach for pair, size in zip(self.padding_pairs, self.input_size)
        )
        return past or min(self.output_size) < 1

    @property
    def is_exact(self) -> bool:
        """Whether every order of summation gives the same, exact sum."""
        return self.data == "integers" or self.dtype in INTEGER_DTYPES

    @property
    def differentiable(self) -> bool:
        """Whether the dtype has gradients."""
        return self.dtype not in INTEGER_DTYPES

    @property
    def axes(self) -> dict[str, str]:
        """The value of every axis of the grids that this case stands for, by name: what reports count by."""
        bare = (*self.padding,) if isinstance(self.padding, tuple) else self.padding
        return {
            "batch": "unbatched" if self.batch is None else str(self.batch),
            "groups": self._groups_word(),
            "kernel": self._larger_than_input() or _ints(self.kernel_size),
            "stride": _ints(self.stride),
            "padding": bare if isinstance(bare, str) else self._padding_word(bare),
            "dilation": _ints(self.dilation),
            "bias": "yes" if self.bias else "no",
            "padding_mode": self.padding_mode,
            "dtype": self.dtype,
            "layout": self.layout,
            "data": self.data,
        }

    def _groups_word(self) -> str:
        """1, 2, ..., or one of the two depthwise forms."""
        if self.groups > 1 and self.groups == self.in_channels:
            return "depthwise" if self.out_channels == self.in_channels else "multiplier"
        return str(self.groups)

    def _larger_than_input(self) -> str:
        """``larger`` where the kernel is larger than the input on every axis."""
        return "larger" if all(k > i for k, i in zip(self.kernel_size, self.input_size)) else ""

    def _padding_word(self, padding: tuple[int, ...]) -> str:
        """The numbers, or ``larger`` where they all exceed the kernel."""
        return "larger" if all(p > k for p, k in zip(padding, self.kernel_size)) else _ints(padding)

    # ---- text -------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        words = [self.op] + ([] if self.batch is None else [f"n{self.batch}"])
        words += [f"c{self.in_channels}", f"o{self.out_channels}"]
        words += [f"i{_ints(self.input_size)}", f"k{_ints(self.kernel_size)}"]
        for letter, values, default in (("s", self.stride, 1), ("p", self.padding, 0), ("d", self.dilation, 1)):
            if isinstance(values, str):
                words.append(f"{letter}{values}")
            elif any(number != default for number in values):
                words.append(f"{letter}{_ints(values)}")
        words += [f"g{self.groups}"] if self.groups != 1 else []
        words += ["bias"] if self.bias else []
        words.append(self.dtype)
        defaults = {"padding_mode": "zeros", "layout": "contiguous", "data": "integers"}
        words += [getattr(self, name) for name, default in defaults.items() if getattr(self, name) != default]
        words += [f"seed{self.seed}"] if self.seed else []
        return " ".join([*words, *(f"{name}={value}" for name, value in self.given)])

    @classmethod
    def parse(cls, text: str) -> Case:
        """The case that ``str`` wrote as ``text``.

        Words as in ``ConvProblem.parse``, and ``psame`` and ``pvalid``, a padding mode, a layout, a kind of data,
        ``seed3``, and ``name=value`` for what is passed instead (see ``given``).

        Raises:
            ValueError: a word is unknown, given twice or missing.

        >>> Case.parse("conv1d c4 o6 i7 k3 psame float16 stride=2.0").given
        (('stride', '2.0'),)
        """
        head, *words = text.split()
        match = re.fullmatch(r"conv([123])d", head)
        if match is None:
            raise ValueError(f"a case begins with conv1d, conv2d or conv3d, but got {head!r}")
        dims = int(match[1])
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
        defaults = {"batch": None, "stride": (1,) * dims, "padding": (0,) * dims, "dilation": (1,) * dims}
        return cls(**{**defaults, **got, "given": tuple(given)})


def _ints(values: Iterable[int]) -> str:
    """``2x3``."""
    return "x".join(map(str, values))


_NUMBERS: Mapping[str, str] = {
    "n": "batch", "c": "in_channels", "o": "out_channels", "g": "groups", "i": "input_size", "k": "kernel_size",
    "s": "stride", "p": "padding", "d": "dilation", "seed": "seed",
}  # fmt: skip
_SCALARS = ("batch", "in_channels", "out_channels", "groups", "seed")
_NAMES: Mapping[str, tuple[str, Any]] = {
    "bias": ("bias", True),
    **{f"p{word}": ("padding", word) for word in PADDING_WORDS},
    **{dtype: ("dtype", dtype) for dtype in DTYPES},
    **{mode: ("padding_mode", mode) for mode in PADDING_MODES},
    **{layout: ("layout", layout) for layout in LAYOUTS},
    **{data: ("data", data) for data in DATA},
}


def _parse_word(word: str, dims: int) -> tuple[str, Any]:
    """One word of ``Case.parse``: the field that it sets, and its value."""
    if word in _NAMES:
        return _NAMES[word]
    match = re.fullmatch(r"(seed|[ncogikspd])(-?\d+(?:x-?\d+)*)", word)
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
