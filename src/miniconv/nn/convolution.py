"""Conv2d as a module: torch's constructor, parameters, text and errors around ``miniconv.functional.conv2d``.

It derives from ``torch.nn.Conv2d`` so that third-party code that asks ``isinstance`` goes on working; everything that
happens (constructor, initialisation, forward pass, text) is written out here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch

from miniconv import functional as F

__all__ = ["Conv2d"]

PADDING_MODES = {"zeros", "reflect", "replicate", "circular"}


class Conv2d(torch.nn.Conv2d):
    """2d convolution layer: `torch.nn.Conv2d`, from scratch.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: one integer or (height, width).
        stride, dilation: likewise.
        padding: likewise, on both sides, or ``"same"`` or ``"valid"``.
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

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool | None = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        torch.nn.Module.__init__(self)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _per_axis(kernel_size, 2)
        self.stride = _per_axis(stride, 2)
        self.padding = padding if isinstance(padding, str) else _per_axis(padding, 2)
        self.dilation = _per_axis(dilation, 2)
        self.groups = groups
        self.padding_mode = padding_mode
        self.transposed = False
        self.output_padding = (0, 0)
        self._check_arguments()
        # torch makes a tuple of integer padding, and annotates a list
        self._reversed_padding_repeated_twice = self._border()  # type: ignore[assignment]
        weight_shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = torch.nn.Parameter(torch.empty(weight_shape, device=device, dtype=dtype))
        if bias:
            self.bias = torch.nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _check_arguments(self) -> None:
        """torch's rules for the constructor, in torch's order; the rest is ConvProblem's, at the first call."""
        if self.groups <= 0:
            raise ValueError("groups must be a positive integer")
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        if self.out_channels % self.groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {self.padding!r}, should be one of { {'same', 'valid'} }")
            if self.padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if self.padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {PADDING_MODES}, but got padding_mode='{self.padding_mode}'")

    def _border(self) -> list[int] | tuple[int, ...]:
        """The padding in the order of F.pad: last axis first, low and high; a list for text, as in torch."""
        if not isinstance(self.padding, str):
            return tuple(p for p in reversed(self.padding) for _ in range(2))
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
            fan_in = self.weight.size(1) * math.prod(self.kernel_size)
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                torch.nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The layer's output for ``input``."""
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The convolution itself, with any weight: torch's point of override."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0, 0)
        output: torch.Tensor = F.conv2d(input, weight, bias, self.stride, padding, self.dilation, self.groups)
        return output

    def extra_repr(self) -> str:
        """What stands between the brackets of ``repr``: options at their defaults are left out, as in torch."""
        words = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.padding != (0,) * len(self.padding):
            words.append(f"padding={self.padding}")
        if self.dilation != (1,) * len(self.dilation):
            words.append(f"dilation={self.dilation}")
        if self.groups != 1:
            words.append(f"groups={self.groups}")
        if self.bias is None:
            words.append("bias=False")
        if self.padding_mode != "zeros":
            words.append(f"padding_mode={self.padding_mode}")
        return ", ".join(words)


def _per_axis(value: Any, dims: int) -> tuple[Any, ...]:
    """``value`` for every axis; an iterable is taken as it is (its length is checked at the first call)."""
    return tuple(value) if isinstance(value, Iterable) else (value,) * dims
