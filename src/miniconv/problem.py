"""``ConvProblem``: one convolution, described completely, without its numbers.

Everything that computes (the definition, the algorithms, the plan) is handed a ``ConvProblem`` and trusts it: this
module is the only place that validates. ``from_conv`` takes what a caller wrote, in every form that
`torch.nn.functional.conv2d` accepts, and applies torch's rules in torch's order with torch's exception types and
messages; the dataclass itself is the strict core, every field in one canonical form.

Axes: N, C_in, C_out (channels), then 1, 2 or 3 spatial axes. For each spatial axis of an ordinary convolution

    effective_kernel = dilation * (kernel - 1) + 1
    output = (input + padding_low + padding_high - effective_kernel) // stride + 1

and a transposed one is the exact adjoint, so its output is the size of an input that could have produced it:

    output = (input - 1) * stride - padding_low - padding_high + effective_kernel + output_padding
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from miniconv.dtypes import DTYPES
from miniconv.lazy import cached_property
from miniconv.padding_forms import padding_by_sides, padding_from_text
from miniconv.problem_text import format_problem, parse_fields
from miniconv.rules import (
    MEMORY_FORMATS,
    Operand,
    batched_shape,
    check_bias_dtype,
    check_dtypes,
    check_rules,
    integers,
    per_axis_lists,
)

__all__ = ["ConvProblem", "Operand", "ReceptiveField", "stated_forms"]


class ReceptiveField(NamedTuple):
    """Which input an output element sees, on one axis (Araujo, Norris, Sim, 2019, "Computing receptive fields").

    Output ``i`` sees the input elements from ``start + i * stride`` to ``start + i * stride + size - 1``; those below
    0 or past the end are padding.

    >>> ReceptiveField().through(kernel=7, stride=2, padding=3).through(kernel=3, stride=2, padding=1)
    ReceptiveField(size=11, stride=4, start=-5)
    """

    size: int = 1
    stride: int = 1
    start: int = 0

    def through(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> ReceptiveField:
        """The field after one more layer with that window (``padding`` is the low side's)."""
        return ReceptiveField(
            size=self.size + dilation * (kernel - 1) * self.stride,
            stride=self.stride * stride,
            start=self.start - padding * self.stride,
        )


@dataclass(frozen=True)
class ConvProblem:
    """One convolution of 1, 2 or 3 spatial dimensions, ordinary or transposed.

    Attributes:
        batch: N, or None for an unbatched input ``(C_in, *input_size)``.
        in_channels: C_in.
        out_channels: C_out.
        input_size: spatial size of the input; its length is the number of spatial dimensions.
        kernel_size: spatial size of the weight.
        stride: step of the window (transposed: of the scatter).
        padding: (low, high) zeros for each axis.
        dilation: distance between two taps.
        groups: number of independent channel groups.
        output_padding: extra output cells on the high side (transposed only).
        transposed: whether this is the adjoint (``conv_transpose``).
        bias: whether one number for each output channel is added.
        dtype: name of the dtype of every operand and of the result, a key of ``miniconv.dtypes.DTYPES``.
        memory_format: ``"contiguous"`` or ``"channels_last"``, of the result.

    Raises:
        RuntimeError: a rule is broken; torch's text where torch has the rule.

    >>> p = ConvProblem.parse("conv2d n1 c3 o64 i304x228 k7x7 s2x2 p3x3")
    >>> p.output_size, p.parameters
    ((152, 114), 9408)
    >>> str(p)
    'conv2d n1 c3 o64 i304x228 k7x7 s2x2 p3x3 float32'
    """

    batch: int | None
    in_channels: int
    out_channels: int
    input_size: tuple[int, ...]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    output_padding: tuple[int, ...] = ()
    transposed: bool = False
    bias: bool = False
    dtype: str = "float32"
    memory_format: str = "contiguous"

    def __post_init__(self) -> None:
        dims = len(self.input_size)
        for name, default in (("stride", 1), ("padding", (0, 0)), ("dilation", 1), ("output_padding", 0)):
            if not getattr(self, name):  # an empty tuple stands for the default on every axis
                object.__setattr__(self, name, (default,) * dims)
        if not 1 <= dims <= 3:
            raise RuntimeError(f"a convolution has 1, 2 or 3 spatial dimensions, but got input_size={self.input_size}")
        if self.dtype not in DTYPES:
            raise NotImplementedError(f"convolution is not implemented for {self.dtype!r}")
        if self.memory_format not in MEMORY_FORMATS:
            raise RuntimeError(f"memory_format is one of {MEMORY_FORMATS}, but got {self.memory_format!r}")
        if any(self.output_padding) and not self.transposed:
            raise RuntimeError(f"output_padding={self.output_padding} needs a transposed convolution")
        if self.groups > 0 and (self.in_channels % self.groups or self.out_channels % self.groups):
            raise RuntimeError(
                f"in_channels and out_channels must be divisible by groups, but got in_channels={self.in_channels}, "
                f"out_channels={self.out_channels}, groups={self.groups}"
            )
        sizes = (self.batch or 0, self.in_channels, self.out_channels, *self.input_size, *self.kernel_size)
        if any(size < 0 for size in sizes):  # not min(): it would tie symbolic sizes to one another
            raise RuntimeError(f"sizes cannot be negative, but got {self}")
        check_rules(
            dims,
            self.batched_input_shape,
            self.weight_shape,
            (self.out_channels,) if self.bias else None,
            self.stride,
            self.padding,
            self.dilation,
            self.output_padding,
            self.groups,
            self.transposed,
        )

    # ---- shapes -----------------------------------------------------------------------------------------------

    @property
    def spatial_dims(self) -> int:
        """1, 2 or 3."""
        return len(self.input_size)

    @property
    def op(self) -> str:
        """torch's name of the function: ``conv2d``, ``conv_transpose1d``, ..."""
        return f"{'conv_transpose' if self.transposed else 'conv'}{self.spatial_dims}d"

    @property
    def batched_input_shape(self) -> tuple[int, ...]:
        """(N, C_in, *input_size), N = 1 where the input is unbatched."""
        return (1 if self.batch is None else self.batch, self.in_channels, *self.input_size)

    @property
    def batched_output_shape(self) -> tuple[int, ...]:
        """(N, C_out, *output_size), N = 1 where the input is unbatched; 0 channels where C_in = 0, as in torch."""
        channels = self.out_channels if self.in_channels else 0
        return (1 if self.batch is None else self.batch, channels, *self.output_size)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the input as the caller gives it."""
        return self.batched_input_shape[1:] if self.batch is None else self.batched_input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the result as the caller gets it."""
        return self.batched_output_shape[1:] if self.batch is None else self.batched_output_shape

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(C_out, C_in / groups, *kernel_size); transposed (C_in, C_out / groups, *kernel_size)."""
        first, second = (self.out_channels, self.in_channels)[:: -1 if self.transposed else 1]
        return (first, second // self.groups if self.groups > 0 else second, *self.kernel_size)

    @cached_property
    def effective_kernel(self) -> tuple[int, ...]:
        """The extent of the dilated kernel: dilation * (kernel - 1) + 1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation))

    @cached_property
    def padded_size(self) -> tuple[int, ...]:
        """The spatial size of the input with its zeros."""
        return tuple(i + low + high for i, (low, high) in zip(self.input_size, self.padding))

    @cached_property
    def output_size(self) -> tuple[int, ...]:
        """The spatial size of the output (see the module's formulas)."""
        if self.transposed:
            return tuple(
                (i - 1) * s - low - high + e + extra
                for i, s, (low, high), e, extra in zip(
                    self.input_size, self.stride, self.padding, self.effective_kernel, self.output_padding
                )
            )
        return tuple((i - e) // s + 1 for i, e, s in zip(self.padded_size, self.effective_kernel, self.stride))

    @property
    def is_depthwise(self) -> bool:
        """Whether every group has a single input channel."""
        return self.groups == self.in_channels > 1

    # ---- derived figures --------------------------------------------------------------------------------------

    @property
    def parameters(self) -> int:
        """Numbers to learn: the weight's elements, and C_out more with a bias."""
        return math.prod(self.weight_shape) + (self.out_channels if self.bias else 0)

    @property
    def multiply_adds(self) -> int:
        """Nominal multiply-adds: every tap of every window, those over padding included."""
        if self.transposed:
            return math.prod(self.batched_input_shape) * math.prod(self.weight_shape[1:])
        return math.prod(self.batched_output_shape) * math.prod(self.weight_shape[1:])

    @property
    def in_bounds_multiply_adds(self) -> int:
        """Multiply-adds that touch real input (transposed: that land inside the output): the useful work."""
        gather = self.adjoint if self.transposed else self
        taps = 1
        for size, out, kernel, stride, (low, _), dilation in zip(
            gather.input_size, gather.output_size, gather.kernel_size, gather.stride, gather.padding, gather.dilation
        ):
            inside = 0
            for k in range(kernel):  # outputs o with 0 <= o * stride - low + k * dilation < size
                first = max(0, -((k * dilation - low) // stride))
                last = min(out - 1, (size - 1 + low - k * dilation) // stride)
                inside += max(0, last - first + 1)
            taps *= inside
        return gather.batched_output_shape[0] * gather.out_channels * gather.weight_shape[1] * taps

    @property
    def receptive_field(self) -> tuple[ReceptiveField, ...]:
        """What one output element sees of the input, for each axis."""
        return self.receptive_field_of_stack([self])

    @staticmethod
    def receptive_field_of_stack(problems: Iterable[ConvProblem]) -> tuple[ReceptiveField, ...]:
        """What one output element of a stack of ordinary convolutions sees of the first one's input, for each axis.

        Raises:
            ValueError: the stack is empty, mixes spatial dimensions, or has a transposed convolution (its outputs
                do not all see equally much).

        Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill, 2019.
        """
        stack = list(problems)
        if not stack or len({p.spatial_dims for p in stack}) > 1 or any(p.transposed for p in stack):
            raise ValueError("a receptive field needs one or more ordinary convolutions of equal spatial dimensions")
        fields = [ReceptiveField()] * stack[0].spatial_dims
        for p in stack:
            fields = [
                field.through(k, s, low, d)
                for field, k, s, (low, _), d in zip(fields, p.kernel_size, p.stride, p.padding, p.dilation)
            ]
        return tuple(fields)

    @cached_property
    def adjoint(self) -> ConvProblem:
        """The convolution whose input gradient this transposed one computes, and the reverse: same weight, no bias.

        A transposed convolution is, number by number, the gradient of an ordinary one with respect to its input. Its
        output may end in cells that no window of the ordinary one can reach (an output_padding that is not below the
        stride): then the ordinary one's input is shorter, and those cells are zero.
        """
        if not self.transposed:
            # input past the last window: output_padding says how much
            missing = tuple(
                (i + low + high - e) % s
                for i, (low, high), e, s in zip(self.input_size, self.padding, self.effective_kernel, self.stride)
            )
            return replace(self, **self._exchanged(self.output_size), output_padding=missing)
        size, padding = [], []
        for out, (low, high), extra, stride in zip(self.output_size, self.padding, self.output_padding, self.stride):
            beyond = extra >= stride  # cells that the padding cut off come back first; the others are zero
            size.append(out - max(0, extra - high) if beyond else out)
            padding.append((low, max(0, high - extra)) if beyond else (low, high))
        return replace(self, **self._exchanged(tuple(size)), padding=tuple(padding), output_padding=())

    def _exchanged(self, input_size: tuple[int, ...]) -> dict[str, Any]:
        """The fields in which the two sides of a convolution change places."""
        return {
            "in_channels": self.out_channels,
            "out_channels": self.in_channels,
            "input_size": input_size,
            "transposed": not self.transposed,
            "bias": False,
        }

    # ---- text -------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return format_problem(self)

    @classmethod
    def parse(cls, text: str) -> ConvProblem:
        """The problem that ``str`` wrote as ``text``.

        The words are separated by spaces: ``n`` batch (left out: unbatched), ``c`` and ``o`` channels, ``i`` input
        size, ``k`` kernel, ``s`` stride, ``p`` padding (``1`` on both sides, ``0:1`` low and high), ``d`` dilation,
        ``op`` output padding, ``g`` groups, ``bias``, a dtype, a memory format. One number serves every axis.

        Raises:
            ValueError: a word is unknown, given twice or missing.
            RuntimeError: the problem breaks a rule.

        >>> ConvProblem.parse("conv2d n2 c4 o6 i9x11 k3x2 s1x2 p1x0:1 g2 bias").output_shape
        (2, 6, 9, 6)
        """
        return cls(**parse_fields(text))

    # ---- from a call ------------------------------------------------------------------------------------------

    @classmethod
    def from_conv(
        cls,
        input: Operand,
        weight: Operand,
        bias: Operand | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
        *,
        dims: int = 2,
    ) -> ConvProblem:
        """The problem that ``conv{dims}d(input, weight, bias, stride, padding, dilation, groups)`` states.

        Args:
            input: (N, C_in, *input_size) or (C_in, *input_size).
            weight: (C_out, C_in / groups, *kernel_size).
            bias: (C_out,) or None.
            stride, dilation: an integer, or one for each spatial axis.
            padding: likewise, or a pair (low, high) for each spatial axis, or ``"valid"``, ``"same"``,
                ``"same_upper"`` or ``"same_lower"``.
            groups: an integer.
            dims: 1, 2 or 3.

        Raises:
            TypeError, ValueError, RuntimeError, NotImplementedError: as torch does, in torch's order.
        """
        op = f"conv{dims}d"
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return cls.from_lists(op, input, weight, bias, *stated_forms(op, options, input, weight, bias, dims))

    @classmethod
    def from_conv_transpose(
        cls,
        input: Operand,
        weight: Operand,
        bias: Operand | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: Any = 1,
        dilation: Any = 1,
        *,
        dims: int = 2,
    ) -> ConvProblem:
        """The problem that ``conv_transpose{dims}d`` states: weight is (C_in, C_out / groups, *kernel_size).

        Raises:
            TypeError, ValueError, RuntimeError, NotImplementedError: as torch does, in torch's order.
        """
        op = f"conv_transpose{dims}d"
        options = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "groups": groups,
            "dilation": dilation,
        }
        return cls.from_lists(op, input, weight, bias, *stated_forms(op, options, input, weight, bias, dims))

    @classmethod
    def from_lists(
        cls,
        op: str,
        input: Operand,
        weight: Operand,
        bias: Operand | None,
        numbers: dict[str, Any],
        pairs: list[tuple[int, int]],
    ) -> ConvProblem:
        """The common end of both constructors: rules on the operands as they came, then one canonical problem.

        Args:
            op: ``conv2d``, ``conv_transpose1d``, ...
            input, weight, bias: the operands as they came.
            numbers: ``groups``, and a list of integers for each other option, of one entry or one for each axis.
            pairs: the padding, low and high, likewise.
        """
        transposed = op.startswith("conv_transpose")
        sizes = batched_shape(input.shape, int(op[-2]), op)
        lists = per_axis_lists(weight.shape, numbers, pairs)
        check_rules(
            len(weight.shape) - 2,
            sizes,
            weight.shape,
            None if bias is None else bias.shape,
            lists["stride"],
            lists["padding"],
            lists["dilation"],
            lists["output_padding"],
            numbers["groups"],
            transposed,
        )
        if math.prod(sizes[:2]):  # torch returns an empty result before it looks at the dtypes
            check_dtypes(op, input, weight, bias)
        groups = numbers["groups"]
        return cls(
            batch=sizes[0] if len(input.shape) == len(sizes) else None,
            in_channels=sizes[1],
            out_channels=weight.shape[1] * groups if transposed else weight.shape[0],
            input_size=sizes[2:],
            kernel_size=weight.shape[2:],
            stride=tuple(lists["stride"]),
            padding=tuple(lists["padding"]),
            dilation=tuple(lists["dilation"]),
            groups=groups,
            output_padding=tuple(lists["output_padding"]),
            transposed=transposed,
            bias=bias is not None,
            dtype=input.dtype,
            memory_format=_result_format(input, weight),
        )


def stated_forms(
    op: str, options: Mapping[str, Any], input: Operand, weight: Operand, bias: Operand | None, dims: int
) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """What ``ConvProblem.from_lists`` takes, from the options in any form that torch takes: numbers and padding."""
    padding = options["padding"]
    sides = padding_by_sides(op, padding, dims)
    if any(min(pair) < 0 for pair in sides or ()):
        raise RuntimeError(f"negative padding is not supported, but got padding={padding}")
    numbers = integers(op, options if sides is None else {**options, "padding": 0}, (input, weight, bias), dims)
    text = padding.decode() if isinstance(padding, bytes) else padding if isinstance(padding, str) else None
    if text is None and not op.startswith("conv_transpose"):
        check_bias_dtype(input, bias)
    sizes = batched_shape(input.shape, dims, op)
    if text is not None:
        numbers["padding"] = padding_from_text(text, sizes, weight.shape, numbers)
    return numbers, sides or [p if isinstance(p, tuple) else (p, p) for p in numbers["padding"]]


def _result_format(input: Operand, weight: Operand) -> str:
    """channels_last if the input or the weight is; an empty result is contiguous."""
    either = "channels_last" in (input.memory_format, weight.memory_format)
    return "channels_last" if either and 0 not in input.shape else "contiguous"
