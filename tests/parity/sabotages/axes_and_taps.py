"""conv2d with its axes, taps, groups, bias or memory confused."""

from __future__ import annotations

from typing import Any

import torch

from sabotages.base import github, right, sabotage


def swapped(value: Any) -> Any:
    """(height, width) as (width, height)."""
    return tuple(reversed(value)) if isinstance(value, tuple) else value


# ---- swapped and shifted axes ---------------------------------------------------------------------------------


@sabotage("SHAPE", "WRONG_VALUE", source=github("pytorch/pytorch/issues/83180"))
def swapped_strides(input, weight, bias=None, stride=1, **options):
    return right(input, weight, bias, swapped(stride), **options)


@sabotage("SHAPE", "RAISED")
def swapped_padding(input, weight, bias=None, padding=0, **options):
    return right(input, weight, bias, padding=swapped(padding), **options)


@sabotage("SHAPE", "RAISED", "NOT_RAISED")
def swapped_dilation(input, weight, bias=None, dilation=1, **options):
    return right(input, weight, bias, dilation=swapped(dilation), **options)


@sabotage("SHAPE", "NOT_RAISED", "WRONG_VALUE", source=github("PaddlePaddle/Paddle/issues/5242"))
def ignored_dilation(input, weight, bias=None, dilation=1, **options):
    return right(input, weight, bias, **options)


@sabotage("SHAPE")
def padding_off_by_one(input, weight, bias=None, padding=0, **options):
    if isinstance(padding, tuple):
        padding = tuple(p + 1 for p in padding)
    return right(input, weight, bias, padding=padding, **options)


@sabotage("WRONG_VALUE", source=github("webmachinelearning/webnn-polyfill/issues/57"))
def same_padding_low_side_first(input, weight, bias=None, padding=0, dilation=1, **options):
    expected = right(input, weight, bias, padding=padding, dilation=dilation, **options)
    if padding != "same":
        return expected
    steps = dilation if isinstance(dilation, tuple) else (dilation, dilation)
    pairs = []
    for k, d in reversed(list(zip(weight.shape[2:], steps))):
        pairs += [d * (k - 1) - d * (k - 1) // 2, d * (k - 1) // 2]
    shifted = right(torch.nn.functional.pad(input, pairs), weight, bias, dilation=dilation, **options)
    return expected + (shifted - expected)


@sabotage("SHAPE", "NOT_RAISED")
def output_size_rounded_up(input, weight, bias=None, stride=1, padding=0, **options):
    right(input, weight, bias, stride, padding, **options)
    if isinstance(padding, str) or stride == 1:
        return right(input, weight, bias, stride, padding, **options)
    high = stride if isinstance(stride, tuple) else (stride, stride)
    padded = torch.nn.functional.pad(input, [0, high[1] - 1, 0, high[0] - 1])
    return right(padded, weight, bias, stride, padding, **options)


@sabotage("WRONG_VALUE")
def zeros_replaced_by_the_other_side(input, weight, bias=None, padding=0, **options):
    expected = right(input, weight, bias, padding=padding, **options)
    if not isinstance(padding, tuple) or any(p > s for p, s in zip(padding, input.shape[-2:])) or not input.numel():
        return expected
    if input.is_complex() or not input.is_floating_point():
        return expected
    pairs = [padding[1], padding[1], padding[0], padding[0]]
    around = torch.nn.functional.pad(input, pairs, mode="circular")
    return right(around, weight, bias, **options)


# ---- wrong weights, taps and groups ---------------------------------------------------------------------------


@sabotage("WRONG_VALUE")
def flipped_kernel(input, weight, bias=None, **options):
    return right(input, weight.flip(-1, -2), bias, **options)


@sabotage("WRONG_VALUE")
def dropped_tap(input, weight, bias=None, **options):
    mask = torch.ones_like(weight)
    if weight.ndim == 4 and weight.shape[-1] * weight.shape[-2] > 1:
        mask[..., -1, -1] = 0
    return right(input, weight * mask, bias, **options)


@sabotage("WRONG_VALUE")
def square_kernel_transposed(input, weight, bias=None, **options):
    square = weight.ndim == 4 and weight.shape[2] == weight.shape[3]
    return right(input, weight.transpose(2, 3) if square else weight, bias, **options)


@sabotage("WRONG_VALUE")
def groups_interleaved(input, weight, bias=None, groups=1, **options):
    result = right(input, weight, bias, groups=groups, **options)
    if groups == 1:
        return result
    channel = -3
    order = torch.arange(result.shape[channel]).reshape(groups, -1).T.flatten()
    return result.index_select(channel, order)


@sabotage("WRONG_VALUE")
def channels_reversed_within_a_group(input, weight, bias=None, **options):
    return right(input, weight.flip(1) if weight.ndim == 4 else weight, bias, **options)


# ---- bias -----------------------------------------------------------------------------------------------------


@sabotage("WRONG_VALUE", source=github("pytorch/pytorch/pull/36173"))
def bias_left_out(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    return result if bias is None else result - bias.reshape(-1, 1, 1) + 0 * result


@sabotage("WRONG_VALUE", source=github("LeelaChessZero/lc0/pull/130"))
def bias_added_twice(input, weight, bias=None, **options):
    return right(input, weight, None if bias is None else bias + bias, **options)


# ---- memory ---------------------------------------------------------------------------------------------------


@sabotage("WRONG_VALUE")
def last_element_unwritten(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    mask = torch.ones_like(result)
    if mask.numel():
        mask[(-1,) * mask.ndim] = 0
    return result * mask


@sabotage("WRONG_VALUE", "RAISED", source=github("pytorch/executorch/issues/22951"))
def strides_of_the_input_ignored(input, weight, bias=None, **options):
    contiguous, step = [], 1
    for size in reversed(input.shape):
        contiguous.insert(0, step)
        step *= size
    return right(input.as_strided(input.shape, contiguous), weight, bias, **options)


@sabotage("WRONG_VALUE", "RAISED", source=github("pytorch/pytorch/issues/55781"))
def strides_of_the_weight_ignored(input, weight, bias=None, **options):
    contiguous, step = [], 1
    for size in reversed(weight.shape):
        contiguous.insert(0, step)
        step *= size
    return right(input, weight.as_strided(weight.shape, contiguous), bias, **options)


@sabotage("INPUT_MODIFIED")
def input_modified(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    if input.numel():
        input.data[(0,) * input.ndim] += 1
    return result


@sabotage("LAYOUT", source=github("pytorch/pytorch/issues/37725"))
def channels_last_lost(input, weight, bias=None, **options):
    return right(input, weight, bias, **options).contiguous()


@sabotage("WRONG_VALUE")
def first_image_repeated(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    return result[:1].expand(result.shape).clone() if input.ndim == 4 else result


@sabotage("SHAPE")
def batch_axis_kept(input, weight, bias=None, **options):
    return right(input[None] if input.ndim == 3 else input, weight, bias, **options)
