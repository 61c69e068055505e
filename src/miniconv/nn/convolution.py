"""The convolutions as modules: torch's constructors, parameters, text and errors around ``miniconv.functional``.

Each derives from torch's class of its name, so that third-party code that asks ``isinstance`` goes on working;
everything that happens (constructor, initialisation, forward pass, text) is written out here, once for every number
of spatial dimensions. The classes at the end say how many they have, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NoReturn

import torch
from torch.nn.modules.conv import _ConvNd

from miniconv import functional as F
from miniconv.functional._refusals import REFUSALS
from miniconv.nn.refusals import teach_call, teach_construction
from miniconv.padding_forms import SAME_WORDS, padding_by_sides, same_by_size

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "NotScriptable",
]

PADDING_MODES = {"zeros", "reflect", "replicate", "circular"}
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Padding = str | int | tuple[int, ...] | tuple[tuple[int, int], ...]


class NotScriptable:
    """What `torch.jit.script`, which torch has deprecated, gets of a layer."""

    def __prepare_scriptable__(self) -> NoReturn:
        """What torch.jit.script asks of a module first: one clear answer."""
        raise RuntimeError(
            f"torch.jit.script cannot compile miniconv's {type(self).__name__}; use torch.compile, torch.export or "
            "torch.jit.trace"
        )


class _Layer(NotScriptable, _ConvNd):
    """What ordinary and transposed layers share: parameters, their initialisation, and the text.

    ``op`` is the name of the layer's function in ``miniconv.functional``.
    """

    op: str

    def _build(self, options: dict[str, Any], bias: bool | None, device: Any, dtype: Any) -> None:
        """Set every attribute that torch's layer has; ``options`` are the constructor's, by name."""
        torch.nn.Module.__init__(self)
        dims = int(self.op[-2])
        for name in ("in_channels", "out_channels", "groups", "padding_mode"):
            setattr(self, name, options[name])
        for name in ("kernel_size", "stride", "padding", "dilation", "output_padding"):
            value = options.get(name, 0)
            if name == "padding":
                value = padding_by_sides(type(self).__name__, value, dims) or value
            setattr(self, name, value if name == "padding" and isinstance(value, str) else _per_axis(value, dims))
        self.transposed = self.op.startswith("conv_transpose")
        try:
            self._check_arguments()
        except ValueError as error:
            teach_construction(error, type(self).__name__, self.op, options, _Layer._check_arguments)
            raise
        # torch makes a tuple of integer padding, and annotates a list
        self._reversed_padding_repeated_twice = self._border()  # type: ignore[assignment]
        channels = (self.out_channels, self.in_channels)[:: -1 if self.transposed else 1]
        weight_shape = (channels[0], channels[1] // self.groups, *self.kernel_size)
        self.weight = torch.nn.Parameter(torch.empty(weight_shape, device=device, dtype=dtype))
        if bias:
            self.bias = torch.nn.Parameter(torch.empty(self.out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _check_arguments(self) -> None:
        """torch's rules for the constructor, in torch's order; the rest is ConvProblem's, at the first call."""
        if self.transposed and self.padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        if self.groups <= 0:
            raise ValueError("groups must be a positive integer")
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        if self.out_channels % self.groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid", *(() if self.transposed else SAME_WORDS)):
                raise ValueError(f"Invalid padding string {self.padding!r}, should be one of { {'same', 'valid'} }")
            if self.padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if self.padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {PADDING_MODES}, but got padding_mode='{self.padding_mode}'")

    def _border(self) -> list[int] | tuple[int, ...] | None:
        """The padding in the order of F.pad: last axis first, low and high; a list for text, as in torch.

        None where it takes the size of an input to say.
        """
        if self.padding in SAME_WORDS:
            return None
        if not isinstance(self.padding, str):
            return tuple(side for p in reversed(self.padding) for side in (p if isinstance(p, tuple) else (p, p)))
        totals = [d * (k - 1) if self.padding == "same" else 0 for d, k in zip(self.dilation, self.kernel_size)]
        return [side for total in reversed(totals) for side in (total // 2, total - total // 2)]

    def reset_parameters(self) -> None:
        """Draw weight and bias anew: He et al. 2015 with a = sqrt(5), which is U(-b, b) with b = 1 / sqrt(fan_in)."""
        # drawn in contiguous order, so that the memory format of the weight does not change its numbers
        drawn = torch.nn.init.kaiming_uniform_(
            torch.empty_like(self.weight, memory_format=torch.contiguous_format), a=math.sqrt(5)
        )
        with torch.no_grad():
            self.weight.copy_(drawn)
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                torch.nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """What stands between the brackets of ``repr``: options at their defaults are left out, as in torch."""
        words = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.padding != (0,) * len(self.padding):
            words.append(f"padding={self.padding}")
        if self.dilation != (1,) * len(self.dilation):
            words.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * len(self.output_padding):
            words.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            words.append(f"groups={self.groups}")
        if self.bias is None:
            words.append("bias=False")
        if self.padding_mode != "zeros":
            words.append(f"padding_mode={self.padding_mode}")
        return ", ".join(words)


class _Ordinary(_Layer):
    """Conv1d, Conv2d, Conv3d."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: Padding = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool | None = True,
        padding_mode: PaddingMode = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        options = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "padding_mode": padding_mode,
        }
        self._build(options, bias, device, dtype)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The layer's output for ``input``."""
        try:
            return self._conv_forward(input, self.weight, self.bias)
        except REFUSALS as error:
            teach_call(error, self, input)
            raise

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The convolution itself, with any weight: torch's point of override."""
        padding = self.padding
        if self.padding_mode != "zeros":
            border = self._reversed_padding_repeated_twice
            if border is None:
                size = input.shape[-len(self.stride) :]
                pairs = same_by_size(padding, size, self.kernel_size, self.stride, self.dilation)
                border = [side for pair in reversed(pairs) for side in pair]
            input = F.pad(input, border, mode=self.padding_mode)
            padding = (0,) * len(self.stride)
        function = getattr(F, self.op)
        output: torch.Tensor = function(input, weight, bias, self.stride, padding, self.dilation, self.groups)
        return output


class _Transposed(_Layer):
    """ConvTranspose1d, ConvTranspose2d, ConvTranspose3d."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | tuple[tuple[int, int], ...] = 0,
        output_padding: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool | None = True,
        dilation: int | tuple[int, ...] = 1,
        padding_mode: PaddingMode = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        options = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "groups": groups,
            "dilation": dilation,
            "padding_mode": padding_mode,
        }
        self._build(options, bias, device, dtype)

    def forward(self, input: torch.Tensor, output_size: Sequence[int] | None = None) -> torch.Tensor:
        """The layer's output for ``input``.

        Args:
            input: (N, C_in, *input_size), or without N.
            output_size: the spatial size of the output, or its whole shape, where the stride leaves a choice; None
                takes what ``output_padding`` says.

        Raises:
            ValueError: ``output_size`` has the wrong length, or is out of reach; torch's text.
        """
        try:
            extra = self.output_padding if output_size is None else self._extra(input, list(output_size))
            function = getattr(F, self.op)
            output: torch.Tensor = function(
                input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
            )
        except REFUSALS as error:
            teach_call(error, self, input, output_size)
            raise
        return output

    def _extra(self, input: torch.Tensor, output_size: list[int]) -> tuple[int, ...]:
        """The output padding that gives ``output_size``."""
        dims = len(self.kernel_size)
        front = 2 if input.dim() == dims + 2 else 1
        wanted = output_size[front:] if len(output_size) == front + dims else output_size
        if len(wanted) != dims:
            raise ValueError(
                f"ConvTranspose{dims}D: for {input.dim()}D input, output_size must have {dims} or {front + dims} "
                f"elements (got {len(wanted)})"
            )
        smallest, largest = self._output_sizes(input)
        if not all(low <= size <= high for low, size, high in zip(smallest, wanted, largest)):
            raise ValueError(
                f"requested an output size of {wanted}, but valid sizes range from {smallest} to {largest} (for an "
                f"input of {input.size()[2:]})"
            )
        return tuple(size - low for size, low in zip(wanted, smallest))

    def _output_sizes(self, input: torch.Tensor) -> tuple[list[int], list[int]]:
        """The smallest and the largest size that ``output_padding`` can give."""
        front = input.dim() - len(self.kernel_size)
        padding: Any = self.padding  # never text here, which torch's annotation allows
        cut = [p if isinstance(p, tuple) else (p, p) for p in padding]
        smallest = [
            (i - 1) * s - low - high + d * (k - 1) + 1
            for i, s, (low, high), d, k in zip(input.shape[front:], self.stride, cut, self.dilation, self.kernel_size)
        ]
        return smallest, [size + s - 1 for size, s in zip(smallest, self.stride)]


class Conv1d(_Ordinary, torch.nn.Conv1d):
    """1d convolution layer: `torch.nn.Conv1d`, from scratch; all is said at ``Conv2d``.

    Shape:
        (N, C_in, L_in) to (N, C_out, L_out), or both without N.

    >>> Conv1d(4, 6, 3, padding="same")(torch.zeros(2, 4, 9)).shape
    torch.Size([2, 6, 9])
    """

    op = "conv1d"


class Conv2d(_Ordinary, torch.nn.Conv2d):
    """2d convolution layer: `torch.nn.Conv2d`, from scratch.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: one integer or (height, width).
        stride, dilation: likewise.
        padding: likewise, on both sides, or ``"same"`` or ``"valid"``; or, not in torch, ((top, bottom), (left,
            right)), ``"same_upper"`` or ``"same_lower"``, with every padding mode.
        groups: both channel counts must divide by it.
        bias: whether each output channel has a number of its own; None counts as False.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        device, dtype: of the parameters.

    Attributes:
        weight: (C_out, C_in / groups, K_h, K_w), drawn from U(-b, b) with b = 1 / sqrt(C_in / groups * K_h * K_w).
        bias: (C_out,), drawn likewise, or None.

    Shape:
        (N, C_in, H_in, W_in) to (N, C_out, H_out, W_out), or both without N. See ``miniconv.functional.conv2d``,
        which also states errors, numerics and cost.

    Raises:
        ValueError: groups, channels, padding or padding_mode break a rule; torch's text.

    >>> layer = Conv2d(12, 6, 3, groups=3)
    >>> layer
    Conv2d(12, 6, kernel_size=(3, 3), stride=(1, 1), groups=3)
    >>> sum(p.numel() for p in layer.parameters())
    222
    """

    op = "conv2d"


class Conv3d(_Ordinary, torch.nn.Conv3d):
    """3d convolution layer: `torch.nn.Conv3d`, from scratch; all is said at ``Conv2d``.

    Shape:
        (N, C_in, D_in, H_in, W_in) to (N, C_out, D_out, H_out, W_out), or both without N.

    >>> Conv3d(4, 6, 3)(torch.zeros(2, 4, 9, 8, 7)).shape
    torch.Size([2, 6, 7, 6, 5])
    """

    op = "conv3d"


class ConvTranspose1d(_Transposed, torch.nn.ConvTranspose1d):
    """Transposed 1d convolution layer: `torch.nn.ConvTranspose1d`, from scratch; all is said at ``ConvTranspose2d``.

    Shape:
        (N, C_in, L_in) to (N, C_out, L_out), or both without N.

    >>> ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1)(torch.zeros(2, 4, 9)).shape
    torch.Size([2, 6, 18])
    """

    op = "conv_transpose1d"


class ConvTranspose2d(_Transposed, torch.nn.ConvTranspose2d):
    """Transposed 2d convolution layer: `torch.nn.ConvTranspose2d`, from scratch.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: one integer or (height, width).
        stride, padding, output_padding, dilation: likewise; see ``miniconv.functional.conv_transpose2d``, which also
            cuts by sides.
        groups: both channel counts must divide by it.
        bias: whether each output channel has a number of its own; None counts as False.
        padding_mode: ``"zeros"``; torch has no other here.
        device, dtype: of the parameters.

    Attributes:
        weight: (C_in, C_out / groups, K_h, K_w), drawn from U(-b, b) with b = 1 / sqrt(C_out / groups * K_h * K_w).
        bias: (C_out,), drawn likewise, or None.

    Shape:
        (N, C_in, H_in, W_in) to (N, C_out, H_out, W_out), or both without N.

    Raises:
        ValueError: groups, channels or padding_mode break a rule; torch's text.

    >>> ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1)(torch.zeros(2, 4, 9, 8)).shape
    torch.Size([2, 6, 18, 16])
    """

    op = "conv_transpose2d"


class ConvTranspose3d(_Transposed, torch.nn.ConvTranspose3d):
    """Transposed 3d convolution layer: `torch.nn.ConvTranspose3d`, from scratch; all is said at ``ConvTranspose2d``.

    Shape:
        (N, C_in, D_in, H_in, W_in) to (N, C_out, D_out, H_out, W_out), or both without N.

    >>> ConvTranspose3d(4, 6, 3, stride=2, padding=1, output_padding=1)(torch.zeros(2, 4, 9, 8, 7)).shape
    torch.Size([2, 6, 18, 16, 14])
    """

    op = "conv_transpose3d"


def _per_axis(value: Any, dims: int) -> tuple[Any, ...]:
    """``value`` for every axis; an iterable is taken as it is (its length is checked at the first call)."""
    return tuple(value) if isinstance(value, Iterable) else (value,) * dims
