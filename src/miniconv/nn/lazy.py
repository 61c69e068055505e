"""The lazy modules: C_in is read off the first input, and the module becomes the plain class.

torch's mixin waits for that input and makes the parameters; the constructors and the classes are ours.
"""

from __future__ import annotations

from typing import Any

from torch.nn.modules.conv import _LazyConvXdMixin
from torch.nn.parameter import UninitializedParameter

from miniconv.nn.convolution import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Padding,
    PaddingMode,
)

__all__ = [
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
]


def _make_lazy(layer: Any, out_channels: int, bias: bool | None, device: Any, dtype: Any) -> None:
    """Parameters that get their shapes at the first call."""
    factory: Any = {"device": device, "dtype": dtype}
    layer.out_channels = out_channels
    layer.weight = UninitializedParameter(**factory)
    if bias:
        layer.bias = UninitializedParameter(**factory)


class _LazyOrdinary(_LazyConvXdMixin):
    """The lazy form of a layer: C_in is read off the first input, and the layer becomes the plain class."""

    def __init__(
        self,
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
        # no channels and no bias yet: their parameters are made at the first call
        super().__init__(  # type: ignore[misc]  # the mixin's protocol asks for what the layer beside it has
            0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype
        )
        _make_lazy(self, out_channels, bias, device, dtype)


class _LazyTransposed(_LazyConvXdMixin):
    """The lazy form of a layer: C_in is read off the first input, and the layer becomes the plain class."""

    def __init__(
        self,
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
        # no channels and no bias yet: their parameters are made at the first call
        super().__init__(  # type: ignore[misc]  # the mixin's protocol asks for what the layer beside it has
            0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode, device, dtype
        )
        _make_lazy(self, out_channels, bias, device, dtype)


class LazyConv1d(_LazyOrdinary, Conv1d):  # type: ignore[misc]  # the parameters are others, as in torch
    """``Conv1d`` that reads C_in off its first input: `torch.nn.LazyConv1d`."""

    cls_to_become = Conv1d

    def _get_num_spatial_dims(self) -> int:
        return 1


class LazyConv2d(_LazyOrdinary, Conv2d):  # type: ignore[misc]  # the parameters are others, as in torch
    """``Conv2d`` that reads C_in off its first input: `torch.nn.LazyConv2d`."""

    cls_to_become = Conv2d

    def _get_num_spatial_dims(self) -> int:
        return 2


class LazyConv3d(_LazyOrdinary, Conv3d):  # type: ignore[misc]  # the parameters are others, as in torch
    """``Conv3d`` that reads C_in off its first input: `torch.nn.LazyConv3d`."""

    cls_to_become = Conv3d

    def _get_num_spatial_dims(self) -> int:
        return 3


class LazyConvTranspose1d(_LazyTransposed, ConvTranspose1d):  # type: ignore[misc]  # the parameters are others, as in torch
    """``ConvTranspose1d`` that reads C_in off its first input: `torch.nn.LazyConvTranspose1d`."""

    cls_to_become = ConvTranspose1d

    def _get_num_spatial_dims(self) -> int:
        return 1


class LazyConvTranspose2d(_LazyTransposed, ConvTranspose2d):  # type: ignore[misc]  # the parameters are others, as in torch
    """``ConvTranspose2d`` that reads C_in off its first input: `torch.nn.LazyConvTranspose2d`."""

    cls_to_become = ConvTranspose2d

    def _get_num_spatial_dims(self) -> int:
        return 2


class LazyConvTranspose3d(_LazyTransposed, ConvTranspose3d):  # type: ignore[misc]  # the parameters are others, as in torch
    """``ConvTranspose3d`` that reads C_in off its first input: `torch.nn.LazyConvTranspose3d`."""

    cls_to_become = ConvTranspose3d

    def _get_num_spatial_dims(self) -> int:
        return 3
