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
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from miniconv.dtypes import DTYPES

__all__ = ["ConvProblem", "Operand", "ReceptiveField", "invalid_arguments"]

INT64_MAX = 2**63 - 1
MEMORY_FORMATS = ("contiguous", "channels_last")
_DEFAULTS: Mapping[str, Any] = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}


class Operand(NamedTuple):
    """The shape, dtype name and memory format of an input, weight or bias: all that validation needs of it."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    memory_format: str = "contiguous"


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
        if min((self.batch or 0, self.in_channels, self.out_channels, *self.input_size, *self.kernel_size)) < 0:
            raise RuntimeError(f"sizes cannot be negative, but got {self._fields()}")
        _check_rules(
            dims, self.batched_input_shape, self.weight_shape, (self.out_channels,) if self.bias else None,
            self.stride, self.padding, self.dilation, self.output_padding, self.groups, self.transposed,
        )  # fmt: skip

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

        A transposed convolution is, number by number, the gradient of an ordinary one with respect to its input.
        """
        adjoint = replace(
            self,
            in_channels=self.out_channels,
            out_channels=self.in_channels,
            input_size=self.output_size,
            output_padding=(),
            transposed=not self.transposed,
            bias=False,
        )
        if adjoint.transposed:  # inputs past the last window make the size ambiguous: output_padding says which
            missing = tuple(i - o for i, o in zip(self.input_size, adjoint.output_size))
            adjoint = replace(adjoint, output_padding=missing)
        return adjoint

    # ---- text -------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return " ".join([self.op, *self._fields()])

    def _fields(self) -> list[str]:
        """The words of the text after the operator's name; defaults are left out, except the dtype."""
        def ints(values: Iterable[int]) -> str:
            return "x".join(map(str, values))

        words = [] if self.batch is None else [f"n{self.batch}"]
        words += [f"c{self.in_channels}", f"o{self.out_channels}"]
        words += [f"i{ints(self.input_size)}", f"k{ints(self.kernel_size)}"]
        if any(s != 1 for s in self.stride):
            words.append(f"s{ints(self.stride)}")
        if any(low or high for low, high in self.padding):
            words.append("p" + "x".join(f"{a}" if a == b else f"{a}:{b}" for a, b in self.padding))
        if any(d != 1 for d in self.dilation):
            words.append(f"d{ints(self.dilation)}")
        if any(self.output_padding):
            words.append(f"op{ints(self.output_padding)}")
        if self.groups != 1:
            words.append(f"g{self.groups}")
        if self.bias:
            words.append("bias")
        words.append(self.dtype)
        if self.memory_format != "contiguous":
            words.append(self.memory_format)
        return words

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
        head, *words = text.split()
        match = re.fullmatch(r"conv(_transpose)?([123])d", head)
        if match is None:
            raise ValueError(f"a problem begins with conv1d ... conv_transpose3d, but got {head!r}")
        dims = int(match[2])
        got: dict[str, Any] = {"batch": None, "transposed": bool(match[1])}
        seen: set[str] = set()
        for word in words:
            name, value = _parse_word(word, dims)
            if name in seen:
                raise ValueError(f"{name} is given twice in {text!r}")
            seen.add(name)
            got[name] = value
        missing = {"in_channels", "out_channels", "input_size", "kernel_size"} - seen
        if missing:
            raise ValueError(f"{', '.join(sorted(missing))} missing in {text!r}")
        return cls(**got)

    # ---- from a call ------------------------------------------------------------------------------------------

    @classmethod
    def from_conv(
        cls, input: Operand, weight: Operand, bias: Operand | None = None, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: Any = 1, *, dims: int = 2,
    ) -> ConvProblem:  # fmt: skip
        """The problem that ``conv{dims}d(input, weight, bias, stride, padding, dilation, groups)`` states.

        Args:
            input: (N, C_in, *input_size) or (C_in, *input_size).
            weight: (C_out, C_in / groups, *kernel_size).
            bias: (C_out,) or None.
            stride, dilation: an integer, or one for each spatial axis.
            padding: likewise, or ``"same"`` or ``"valid"``.
            groups: an integer.
            dims: 1, 2 or 3.

        Raises:
            TypeError, ValueError, RuntimeError, NotImplementedError: as torch does, in torch's order.
        """
        op = f"conv{dims}d"
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        integers = _integers(op, options, (input, weight, bias), dims)
        text = padding if isinstance(padding, str) else None
        if text is None:
            _check_bias_dtype(input, bias)
        sizes = _batched(input.shape, dims, op)
        if text is not None:
            integers["padding"] = _padding_from_text(text, sizes, weight.shape, integers)
        pairs = [p if isinstance(p, tuple) else (p, p) for p in integers["padding"]]
        return cls._from_lists(op, input, sizes, weight, bias, integers, pairs)

    @classmethod
    def from_conv_transpose(
        cls, input: Operand, weight: Operand, bias: Operand | None = None, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: Any = 1, dilation: Any = 1, *, dims: int = 2,
    ) -> ConvProblem:  # fmt: skip
        """The problem that ``conv_transpose{dims}d`` states: weight is (C_in, C_out / groups, *kernel_size).

        Raises:
            TypeError, ValueError, RuntimeError, NotImplementedError: as torch does, in torch's order.
        """
        op = f"conv_transpose{dims}d"
        options = {
            "stride": stride, "padding": padding, "output_padding": output_padding, "groups": groups,
            "dilation": dilation,
        }  # fmt: skip
        integers = _integers(op, options, (input, weight, bias), dims)
        _check_bias_dtype(input, bias)
        sizes = _batched(input.shape, dims, op)
        pairs = [(p, p) for p in integers["padding"]]
        return cls._from_lists(op, input, sizes, weight, bias, integers, pairs)

    @classmethod
    def _from_lists(
        cls, op: str, input: Operand, sizes: tuple[int, ...], weight: Operand, bias: Operand | None,
        integers: dict[str, Any], pairs: list[tuple[int, int]],
    ) -> ConvProblem:  # fmt: skip
        """The common end of both constructors: rules on the operands as they came, then one canonical problem."""
        transposed = op.startswith("conv_transpose")
        if len(weight.shape) < 3:
            raise RuntimeError("weight should have at least three dimensions")
        if integers["groups"] <= 0:
            raise RuntimeError("non-positive groups is not supported")
        dims = len(weight.shape) - 2
        lists = {
            "stride": integers["stride"], "padding": pairs, "dilation": integers["dilation"],
            "output_padding": integers.get("output_padding", (0,) * dims),
        }  # fmt: skip
        for name, values in lists.items():
            if len(values) == 1:
                lists[name] = values * dims
            elif len(values) != dims:
                shown = [v[0] if isinstance(v, tuple) else v for v in values]
                raise RuntimeError(
                    f"expected {name} to be a single integer value or a list of {dims} values to match the "
                    f"convolution dimensions, but got {name}={shown}"
                )
        _check_rules(
            dims, sizes, weight.shape, None if bias is None else bias.shape, lists["stride"], lists["padding"],
            lists["dilation"], lists["output_padding"], integers["groups"], transposed,
        )  # fmt: skip
        if math.prod(sizes[:2]):  # torch returns an empty result before it looks at the dtypes
            _check_dtypes(input, weight, bias)
        groups = integers["groups"]
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


# ---- rules, in torch's order ----------------------------------------------------------------------------------


def _check_rules(
    dims: int, input_shape: Sequence[int], weight_shape: Sequence[int], bias_shape: Sequence[int] | None,
    stride: Sequence[int], padding: Sequence[tuple[int, int]], dilation: Sequence[int],
    output_padding: Sequence[int], groups: int, transposed: bool,
) -> None:  # fmt: skip
    """Every rule on sizes that torch checks, in its order; ``input_shape`` has its batch axis."""
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    for name, values in (("stride", stride), ("padding", padding), ("dilation", dilation)):
        if len(values) != dims:
            raise RuntimeError(f"{name} needs {dims} values, but got {name}={values}")
    if any(low < 0 or high < 0 for low, high in padding):
        raise RuntimeError("negative padding is not supported")
    if any(p < 0 for p in output_padding):
        raise RuntimeError("negative output_padding is not supported")
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    if any(d < 0 for d in dilation):
        raise RuntimeError("dilation should be greater than zero")
    weight_text = f"weight of size {list(weight_shape)}"
    if len(weight_shape) != len(input_shape):
        raise RuntimeError(
            f"Expected {len(weight_shape)}-dimensional input for {len(weight_shape)}-dimensional weight "
            f"{list(weight_shape)}, but got {len(input_shape)}-dimensional input of size {list(input_shape)} instead"
        )
    if weight_shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got {weight_text} "
            "instead"
        )
    if weight_shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
            f"size [{list(weight_shape)}] instead"
        )
    channels = weight_shape[0] if transposed else weight_shape[1] * groups
    if input_shape[1] != channels:
        # torch pads the longer side of a lopsided 'same' beforehand, and prints the size after that
        shown = [*input_shape[:2], *(i + high - low for i, (low, high) in zip(input_shape[2:], padding))]
        given = "transposed=1" if transposed else f"groups={groups}"
        raise RuntimeError(
            f"Given {given}, {weight_text}, expected input{shown} to have {channels} channels, but got "
            f"{shown[1]} channels instead"
        )
    out_channels = weight_shape[1] * groups if transposed else weight_shape[0]
    if bias_shape is not None and list(bias_shape) != [out_channels]:
        raise RuntimeError(
            f"Given {'transposed=1, ' if transposed else ''}{weight_text}, expected bias to be 1-dimensional with "
            f"{out_channels} elements, but got bias of size {list(bias_shape)} instead"
        )
    check_extent = _check_transposed_extent if transposed else _check_window_fits
    check_extent(input_shape[2:], weight_shape[2:], stride, padding, dilation, output_padding)
    if 0 in input_shape[2:] and 0 not in input_shape[:2]:
        raise RuntimeError(
            f"Only zero batch or zero channel inputs are supported, but got input shape: {list(input_shape)}"
        )
    if 0 in weight_shape[2:]:
        raise RuntimeError(f"kernel size should be greater than zero, but got {_kernel_text(weight_shape[2:])}")
    if 0 in dilation:
        raise RuntimeError(f"dilation should be greater than zero, but got {list(dilation)}")


def _check_window_fits(
    input_size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]],
    dilation: Sequence[int], output_padding: Sequence[int],
) -> None:  # fmt: skip
    """An ordinary convolution: at least one window inside the padded input, and sizes that 64 bits hold."""
    limit = INT64_MAX // 2
    for axis, (low, high) in enumerate(padding):
        if max(low, high) > limit:
            raise RuntimeError(
                f"Given padding={max(low, high)} at dimension {axis} , expected padding to be at most {limit}"
            )
    padded = [i + low + high for i, (low, high) in zip(input_size, padding)]
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    if any(e > p for e, p in zip(extent, padded)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel size: "
            f"({' x '.join(map(str, extent))}). Kernel size can't be greater than actual input size"
        )


def _check_transposed_extent(
    input_size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]],
    dilation: Sequence[int], output_padding: Sequence[int],
) -> None:  # fmt: skip
    """A transposed convolution: output_padding below stride or dilation, and a positive output size."""
    if any(p >= s and p >= d for p, s, d in zip(output_padding, stride, dilation)):
        axes = _axis_names(len(kernel))

        def words(name: str, values: Sequence[int]) -> str:
            return " ".join(f"{name}_{axis}: {value}" for axis, value in zip(axes, values))

        raise RuntimeError(
            "output padding must be smaller than either stride or dilation, but got "
            f"{words('output_padding', output_padding)} {words('stride', stride)} {words('dilation', dilation)}"
        )
    output = [
        (i - 1) * s - low - high + d * (k - 1) + extra + 1
        for i, s, (low, high), d, k, extra in zip(input_size, stride, padding, dilation, kernel, output_padding)
    ]
    if any(o < 1 for o in output):
        raise RuntimeError(
            f"Given input size per channel: ({' x '.join(map(str, input_size))}). Calculated output size per "
            f"channel: ({' x '.join(map(str, output))}). Output size is too small"
        )


def _check_bias_dtype(input: Operand, bias: Operand | None) -> None:
    """torch's very first rule; it is not asked for a padding given as text."""
    if bias is not None and bias.dtype != input.dtype:
        names = [DTYPES[o.dtype].cpp_name if o.dtype in DTYPES else o.dtype for o in (input, bias)]
        raise RuntimeError(f"Input type ({names[0]}) and bias type ({names[1]}) should be the same")


def _check_dtypes(input: Operand, weight: Operand, bias: Operand | None) -> None:
    """One dtype for all operands (no promotion), and one that convolution exists for."""
    if weight.dtype != input.dtype:
        names = [DTYPES[o.dtype].scalar_name if o.dtype in DTYPES else o.dtype for o in (input, weight)]
        raise RuntimeError(f"expected scalar type {names[0]} but found {names[1]}")
    _check_bias_dtype(input, bias)
    if input.dtype not in DTYPES:
        name = input.dtype[0].upper() + input.dtype[1:]
        name = re.sub(r"^Uint", "UInt", name)
        raise NotImplementedError(f'"slow_conv2d_cpu" not implemented for {name!r}')


def _batched(shape: tuple[int, ...], dims: int, op: str) -> tuple[int, ...]:
    """``shape`` with a batch axis of 1 in front where the input is unbatched."""
    if len(shape) not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {op}, but got input of size: "
            f"{list(shape)}"
        )
    return shape if len(shape) == dims + 2 else (1, *shape)


def _padding_from_text(
    text: str, input_shape: tuple[int, ...], weight_shape: tuple[int, ...], integers: dict[str, Any]
) -> list[tuple[int, int]]:
    """'valid' is none; 'same' is dilation * (kernel - 1) in all, the odd cell on the high side."""
    if text not in ("same", "valid"):
        raise RuntimeError(f"Invalid padding string: '{text}'")
    if text == "valid":
        return [(0, 0)]
    rank, dims = len(weight_shape), len(weight_shape) - 2
    if dims < 1:
        raise RuntimeError("weight should have at least three dimensions")
    if integers["groups"] <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if rank != len(input_shape):
        raise RuntimeError(
            f"Expected {rank}-dimensional input for {rank}-dimensional weight{list(weight_shape)}, but got "
            f"{len(input_shape)}-dimensional input of size {list(input_shape)} instead"
        )
    for name in ("stride", "dilation"):
        if len(integers[name]) not in (1, dims):
            raise RuntimeError(f"{name} cannot broadcast to {dims} dimensions")
    if any(s != 1 for s in integers["stride"]):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    dilation = list(integers["dilation"]) * (dims if len(integers["dilation"]) == 1 else 1)
    totals = [d * (k - 1) for d, k in zip(dilation, weight_shape[2:])]
    return [(total // 2, total - total // 2) for total in totals]


def _result_format(input: Operand, weight: Operand) -> str:
    """channels_last if the input or the weight is; an empty result is contiguous."""
    either = "channels_last" in (input.memory_format, weight.memory_format)
    return "channels_last" if either and math.prod(input.shape) else "contiguous"


def _axis_names(dims: int) -> list[str]:
    return ["depth", "height", "width"][3 - dims :]


def _kernel_text(kernel: Sequence[int]) -> str:
    """The kernel's size as torch's message spells it; a 1d kernel is reported as one row."""
    if len(kernel) == 3:
        return f": {kernel[0]} x {kernel[1]} x {kernel[2]} (TxHxW)".lstrip(": ")
    height, width = (1, *kernel)[-2:]
    return f"kernel_height: {height} kernel_width: {width}"


# ---- argument forms -------------------------------------------------------------------------------------------


def _integers(op: str, options: Mapping[str, Any], operands: Sequence[Operand | None], dims: int) -> dict[str, Any]:
    """Every option in one form: ``groups`` an int, the others lists of ints (a list of one is left to broadcast)."""
    got: dict[str, Any] = {}
    for name, value in options.items():
        if name == "padding" and isinstance(value, str):
            continue
        if name != "groups" and isinstance(value, (list, tuple)):
            got[name] = _integer_list(op, name, value, options, operands)
            continue
        number = _integer(value)
        if number is None:
            raise invalid_arguments(op, ["Tensor" for o in operands if o is not None], options)
        if not -INT64_MAX - 1 <= number <= INT64_MAX:
            raise ValueError("Overflow when unpacking long long")
        got[name] = number if name == "groups" else [number] * dims
    return got


def _integer_list(
    op: str, name: str, values: Sequence[Any], options: Mapping[str, Any], operands: Sequence[Operand | None]
) -> list[int]:
    """A list as torch reads one: the first element decides whether it is a list of integers at all."""
    got = []
    for position, value in enumerate(values, 1):
        number = int(value) if position > 1 and isinstance(value, bool) else _integer(value)
        if number is None and position == 1:
            raise invalid_arguments(op, ["Tensor" for o in operands if o is not None], options)
        if number is None:
            why = f"type must be tuple of ints,but got {_type_name(value)}"
            raise TypeError(f"{op}(): argument '{name}' failed to unpack the object at pos {position} with error \"{why}\"")
        if not -INT64_MAX - 1 <= number <= INT64_MAX:
            why = "Overflow when unpacking long long"
            raise TypeError(f"{op}(): argument '{name}' failed to unpack the object at pos {position} with error \"{why}\"")
        got.append(number)
    return got


def _integer(value: Any) -> int | None:
    """``value`` as an int if it is an int, a NumPy integer or a 0-d integer tensor; a bool is none."""
    if type(value) is int:
        return value
    dtype = str(getattr(value, "dtype", ""))
    if isinstance(value, bool) or "bool" in dtype or getattr(value, "ndim", 0) != 0:
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def invalid_arguments(op: str, operand_types: Sequence[str], options: Mapping[str, Any]) -> TypeError:
    """torch's TypeError for arguments of the wrong type: what was given, then what is accepted.

    A Python function cannot see whether an argument was given by position or by name; options are shown by name.
    """
    given = {name: value for name, value in options.items() if not (type(value) is int and value == _DEFAULTS.get(name))}
    got = ", ".join([*operand_types, *(f"{name}={_type_name(given[name])}" for name in sorted(given))])
    parts = [f"{'int' if name == 'groups' else 'tuple of ints'} {name} = {_DEFAULTS[name]}" for name in options]
    return TypeError(
        f"{op}() received an invalid combination of arguments - got ({got}), but expected one of:\n"
        f" * (Tensor input, Tensor weight, Tensor bias = None, {', '.join(parts)})\n"
    )


def _type_name(value: Any) -> str:
    """The name of ``value``'s type as torch's messages print it."""
    kind = type(value)
    return f"numpy.{kind.__name__}" if kind.__module__.split(".")[0] == "numpy" else kind.__name__


# ---- words of the text form -----------------------------------------------------------------------------------

_WORDS: Mapping[str, str] = {
    "n": "batch", "c": "in_channels", "o": "out_channels", "g": "groups", "i": "input_size", "k": "kernel_size",
    "s": "stride", "p": "padding", "d": "dilation", "op": "output_padding",
}  # fmt: skip


def _parse_word(word: str, dims: int) -> tuple[str, Any]:
    """One word of ``ConvProblem.parse``: the field that it sets, and its value."""
    if word == "bias":
        return "bias", True
    if word in DTYPES:
        return "dtype", word
    if word in MEMORY_FORMATS:
        return "memory_format", word
    match = re.fullmatch(r"(op|[ncoikspdg])(\d+(?::\d+)?(?:x\d+(?::\d+)?)*)", word)
    if match is None:
        raise ValueError(f"{word!r} is not a word of a problem: see ConvProblem.parse")
    name = _WORDS[match[1]]
    numbers = match[2].split("x")
    if name in ("batch", "in_channels", "out_channels", "groups"):
        if len(numbers) > 1 or ":" in match[2]:
            raise ValueError(f"{name} is one number, but got {word!r}")
        return name, int(match[2])
    if len(numbers) == 1:
        numbers *= dims
    if len(numbers) != dims:
        raise ValueError(f"{name} needs one number or {dims}, but got {word!r}")
    if name == "padding":
        pairs = [tuple(map(int, n.split(":"))) for n in numbers]
        return name, tuple(p if len(p) == 2 else p * 2 for p in pairs)
    if ":" in match[2]:
        raise ValueError(f"only padding has a low and a high side, but got {word!r}")
    return name, tuple(map(int, numbers))
