"""conv1d, conv3d and the transposed convolutions, each with one thing done wrong.

A refusal of theirs states the sizes, so that geometry gone wrong may show in its text first.
"""

from __future__ import annotations

from typing import Any

import torch

from sabotages.base import github, per_axis, sabotage

torchs = torch.nn.functional


def transposed(dims: int) -> Any:
    """torch's transposed convolution of so many axes."""
    return getattr(torchs, f"conv_transpose{dims}d")


def shifted(result: torch.Tensor, cells: tuple[int, ...], dims: int) -> torch.Tensor:
    """``result`` moved so many cells towards the high side of each axis; zeros come in at the low side."""
    if not result.numel():
        return result
    pairs = [side for cell in reversed(cells) for side in (cell, -cell)]
    return torchs.pad(result, pairs) if any(cells) and dims else result


def on_channels(bias: torch.Tensor, dims: int) -> torch.Tensor:
    """A bias in a shape that broadcasts over the output."""
    return bias.reshape(-1, *(1,) * dims)


# ---- transposed: output padding, padding, stride, dilation ----------------------------------------------------


@sabotage("WRONG_VALUE", op="conv_transpose2d")
def output_padding_on_the_low_side(input, weight, bias=None, output_padding=0, **options):
    result = torchs.conv_transpose2d(input, weight, None, output_padding=output_padding, **options)
    result = shifted(result, per_axis(output_padding, 2), 2)
    return result if bias is None else result + on_channels(bias, 2)


@sabotage("SHAPE", "NOT_RAISED", op="conv_transpose2d", source=github("larq/larq/pull/707"))
def output_padding_ignored(input, weight, bias=None, output_padding=0, **options):
    return torchs.conv_transpose2d(input, weight, bias, **options)


@sabotage("NOT_RAISED", op="conv_transpose1d")
def output_padding_not_limited(input, weight, bias=None, output_padding=0, stride=1, dilation=1, **options):
    extra = per_axis(output_padding, 1)[-1:]
    if extra and isinstance(extra[0], int) and isinstance(stride, int) and isinstance(dilation, int):
        output_padding = min(extra[0], max(stride, dilation) - 1)
    return torchs.conv_transpose1d(
        input, weight, bias, output_padding=output_padding, stride=stride, dilation=dilation, **options
    )


@sabotage("SHAPE", "RAISED", "ERROR_TEXT", op="conv_transpose3d")
def output_padding_swapped(input, weight, bias=None, output_padding=0, **options):
    swapped = tuple(reversed(output_padding)) if isinstance(output_padding, tuple) else output_padding
    return torchs.conv_transpose3d(input, weight, bias, output_padding=swapped, **options)


@sabotage("SHAPE", "NOT_RAISED", op="conv_transpose2d")
def padding_not_cropped(input, weight, bias=None, padding=0, **options):
    return torchs.conv_transpose2d(input, weight, bias, **options)


@sabotage("WRONG_VALUE", op="conv_transpose1d")
def padding_cropped_from_one_side(input, weight, bias=None, padding=0, **options):
    result = torchs.conv_transpose1d(input, weight, bias, padding=padding, **options)
    cells = per_axis(padding, 1)
    return shifted(result, cells, 1) if result.shape[-1] > cells[0] else result


@sabotage("SHAPE", "RAISED", "NOT_RAISED", "ERROR_TEXT", op="conv_transpose2d")
def stride_applied_to_the_kernel(input, weight, bias=None, stride=1, dilation=1, **options):
    return torchs.conv_transpose2d(input, weight, bias, stride=dilation, dilation=stride, **options)


@sabotage("SHAPE", "RAISED", "NOT_RAISED", "ERROR_TEXT", op="conv_transpose3d")
def strides_of_depth_and_width_swapped(input, weight, bias=None, stride=1, **options):
    swapped = tuple(reversed(stride)) if isinstance(stride, tuple) else stride
    return torchs.conv_transpose3d(input, weight, bias, stride=swapped, **options)


@sabotage(
    "SHAPE", "RAISED", "NOT_RAISED", "ERROR_TEXT", op="conv_transpose3d", source=github("pytorch/pytorch/issues/1565")
)
def transposed_dilation_ignored(input, weight, bias=None, dilation=1, **options):
    return torchs.conv_transpose3d(input, weight, bias, **options)


# ---- transposed: weight, bias, overlaps -----------------------------------------------------------------------


@sabotage("WRONG_VALUE", op="conv_transpose2d", source=github("jax-ml/jax/issues/11252"))
def transposed_kernel_flipped(input, weight, bias=None, **options):
    return torchs.conv_transpose2d(input, weight.flip(-1, -2), bias, **options)


@sabotage("WRONG_VALUE", op="conv_transpose2d", source=github("onnx/onnx-mlir/issues/3326"))
def groups_second_in_the_transposed_weight(input, weight, bias=None, groups=1, **options):
    if isinstance(groups, int) and 1 < groups < weight.shape[0] and not weight.shape[0] % groups:
        order = torch.arange(weight.shape[0]).reshape(-1, groups).T.flatten()
        weight = weight[order]
    return torchs.conv_transpose2d(input, weight, bias, groups=groups, **options)


@sabotage("WRONG_VALUE", op="conv_transpose1d")
def bias_in_the_order_of_the_input_channels(input, weight, bias=None, groups=1, **options):
    if bias is not None and bias.shape[0] % groups == 0 and 1 < groups < bias.shape[0]:
        bias = bias.reshape(groups, -1).T.flatten()
    return torchs.conv_transpose1d(input, weight, bias, groups=groups, **options)


@sabotage("WRONG_VALUE", op="conv_transpose2d")
def cells_that_no_tap_reaches_lack_the_bias(input, weight, bias=None, **options):
    result = torchs.conv_transpose2d(input, weight, bias, **options)
    if bias is None:
        return result
    reached = torchs.conv_transpose2d(torch.ones_like(input), torch.ones_like(weight), None, **options) != 0
    return torch.where(reached, result, result - on_channels(bias, 2))


@sabotage("WRONG_VALUE", op="conv_transpose3d")
def overlaps_averaged(input, weight, bias=None, **options):
    if not input.is_floating_point():
        return torchs.conv_transpose3d(input, weight, bias, **options)
    total = torchs.conv_transpose3d(input, weight, None, **options)
    channels = max(1, weight.shape[0] // options.get("groups", 1))
    ones = torch.ones_like(input.detach()), torch.ones_like(weight.detach())
    total = total * channels / torchs.conv_transpose3d(*ones, None, **options).clamp(min=channels)
    return total if bias is None else total + on_channels(bias, 3)


@sabotage("WRONG_VALUE", op="conv_transpose2d")
def transposed_float64_computed_in_float32(input, weight, bias=None, **options):
    if input.dtype != torch.float64 or weight.dtype != torch.float64:
        return torchs.conv_transpose2d(input, weight, bias, **options)
    narrow = [None if x is None else x.float() for x in (input, weight, bias)]
    return torchs.conv_transpose2d(*narrow, **options).double()


@sabotage("WRONG_VALUE", op="conv_transpose1d")
def transposed_weight_gradient_flipped(input, weight, bias=None, **options):
    moved = weight.flip(-1)
    return torchs.conv_transpose1d(input, weight.detach() + (moved - moved.detach()), bias, **options)


@sabotage("GRADIENT_MISSING", "RAISED", op="conv_transpose3d")
def transposed_input_detached(input, weight, bias=None, **options):
    return torchs.conv_transpose3d(input.detach(), weight, bias, **options)


# ---- one axis -------------------------------------------------------------------------------------------------


@sabotage("WRONG_VALUE", op="conv1d")
def kernel_of_a_signal_flipped(input, weight, bias=None, **options):
    return torchs.conv1d(input, weight.flip(-1), bias, **options)


@sabotage("SHAPE", "RAISED", "NOT_RAISED", op="conv1d")
def stride_and_dilation_exchanged(input, weight, bias=None, stride=1, dilation=1, **options):
    return torchs.conv1d(input, weight, bias, stride=dilation, dilation=stride, **options)


@sabotage("WRONG_VALUE", op="conv1d")
def causal_where_centred(input, weight, bias=None, padding=0, **options):
    result = torchs.conv1d(input, weight, bias, padding=padding, **options)
    if padding == "same" and result.numel() and weight.shape[-1] > 1:
        return result.roll(1, -1)
    return result


@sabotage("SHAPE", op="conv1d")
def a_signal_gets_a_batch(input, weight, bias=None, **options):
    return torchs.conv1d(input[None] if input.ndim == 2 else input, weight, bias, **options)


# ---- three axes -----------------------------------------------------------------------------------------------


@sabotage("WRONG_VALUE", op="conv3d")
def depth_and_width_of_a_cube_swapped(input, weight, bias=None, **options):
    cube = weight.ndim == 5 and weight.shape[2] == weight.shape[4]
    return torchs.conv3d(input, weight.transpose(2, 4) if cube else weight, bias, **options)


@sabotage("SHAPE", "RAISED", "NOT_RAISED", op="conv3d")
def padding_of_depth_for_every_axis(input, weight, bias=None, padding=0, **options):
    return torchs.conv3d(input, weight, bias, padding=padding[:1] if isinstance(padding, tuple) else padding, **options)


@sabotage("WRONG_VALUE", op="conv3d")
def last_slice_of_the_kernel_left_out(input, weight, bias=None, **options):
    mask = torch.ones_like(weight)
    if weight.ndim == 5 and weight.shape[2] > 1:
        mask[:, :, -1] = 0
    return torchs.conv3d(input, weight * mask, bias, **options)


@sabotage("LAYOUT", op="conv3d")
def channels_last_of_volumes_lost(input, weight, bias=None, **options):
    return torchs.conv3d(input, weight, bias, **options).contiguous()
