"""``Case``: one call of a convolution, described completely by one line of text.

A ``ConvProblem`` says which convolution is meant. A case also says how the caller wrote it, because that is where
implementations go wrong: padding as a word, the layout of the operands in memory, the kind of numbers in them, the
border's mode, and arguments that must be refused. So a case may be illegal, and a problem may not.
"""

from __future__ import annotations

from dataclasses import dataclass

from miniconv.parity.case_text import (
    COMPLEX_DTYPES,
    DATA,
    DTYPES,
    FLOAT_DTYPES,
    INTEGER_DTYPES,
    LAYOUTS,
    OPS,
    PADDING_MODES,
    ints,
    parse_fields,
    write,
)

__all__ = [
    "COMPLEX_DTYPES", "DATA", "DTYPES", "FLOAT_DTYPES", "INTEGER_DTYPES", "LAYOUTS", "OPS", "PADDING_MODES", "Case",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One call of a convolution, ordinary or transposed, legal or not.

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
        transposed: whether the operator is ``conv_transpose1d``, ``conv_transpose2d`` or ``conv_transpose3d``.
        output_padding: of a transposed case, likewise; else empty.
        dtype: one of ``DTYPES``.
        padding_mode: one of ``PADDING_MODES``; any but ``"zeros"`` goes through the module.
        layout: one of ``LAYOUTS``.
        data: one of ``DATA``.
        seed: which numbers are drawn.
        given: pairs (name, text) that replace what would be passed, to write wrong calls: ``stride``, ``padding``,
            ``dilation``, ``output_padding``, ``groups`` take a Python literal or a name in
            ``miniconv.parity.data.FORMS``; ``input``, ``weight``, ``bias`` take a shape such as ``6x4x3``; ``input:``,
            ``weight:``, ``bias:`` take a dtype.

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
    transposed: bool = False
    output_padding: tuple[int, ...] = ()
    dtype: str = "float32"
    padding_mode: str = "zeros"
    layout: str = "contiguous"
    data: str = "integers"
    seed: int = 0
    given: tuple[tuple[str, str], ...] = ()

    @property
    def op(self) -> str:
        """One of ``OPS``."""
        return f"conv{'_transpose' if self.transposed else ''}{len(self.input_size)}d"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(N, C_in, *input_size), or without N where the input is unbatched."""
        batch = () if self.batch is None else (self.batch,)
        return (*batch, self.in_channels, *self.input_size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(C_out, C_in / groups, *kernel_size); transposed (C_in, C_out / groups, *kernel_size)."""
        if self.transposed:
            return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
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
        """The spatial size of the result; not positive where the kernel or the padding does not fit."""
        if self.transposed:
            return tuple(
                (i - 1) * s - low - high + d * (k - 1) + extra + 1
                for i, (low, high), d, k, s, extra in zip(
                    self.input_size, self.padding_pairs, self.dilation, self.kernel_size, self.stride,
                    self.output_padding,
                )
            )  # fmt: skip
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
        if any(extra >= max(s, d) for extra, s, d in zip(self.output_padding, self.stride, self.dilation)):
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
            "op": self.op,
            "batch": "unbatched" if self.batch is None else str(self.batch),
            "groups": self._groups_word(),
            "kernel": self._larger_than_input() or ints(self.kernel_size),
            "stride": ints(self.stride),
            "padding": bare if isinstance(bare, str) else self._padding_word(bare),
            "dilation": ints(self.dilation),
            "output_padding": ints(self.output_padding) or "none",
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
        return "larger" if all(p > k for p, k in zip(padding, self.kernel_size)) else ints(padding)

    def __str__(self) -> str:
        return write(self)

    @classmethod
    def parse(cls, text: str) -> Case:
        """The case that ``str`` wrote as ``text``: see ``miniconv.parity.case_text``.

        Raises:
            ValueError: a word is unknown, given twice or missing.

        >>> Case.parse("conv1d c4 o6 i7 k3 psame float16 stride=2.0").given
        (('stride', '2.0'),)
        >>> Case.parse("conv_transpose2d n1 c4 o6 i7x9 k3x2 s2x3 op1x0").output_shape
        (1, 6, 16, 26)
        """
        return cls(**parse_fields(text))
