"""conv2d with its arithmetic, dtypes, errors, gradients or borders confused."""

from __future__ import annotations

import torch

from miniconv.parity.targets import Target
from sabotages.base import SABOTAGES, RightModule, Sabotage, github, right, sabotage


def rounded_to_bits(x: torch.Tensor, bits: int) -> torch.Tensor:
    """A float32 tensor with only ``bits`` of its 24 significant bits kept."""
    if x.dtype != torch.float32:
        return x
    drop = 24 - bits
    kept = (x.detach().contiguous().view(torch.int32) + (1 << (drop - 1))) >> drop << drop
    return x + (kept.view(torch.float32) - x).detach()


# ---- precision and dtypes -------------------------------------------------------------------------------------


@sabotage("WRONG_VALUE", source=github("pytorch/pytorch/issues/107514"))
def tf32_operands(input, weight, bias=None, **options):
    return right(rounded_to_bits(input, 11), rounded_to_bits(weight, 11), bias, **options)


@sabotage("WRONG_VALUE")
def bfloat16_operands(input, weight, bias=None, **options):
    return right(rounded_to_bits(input, 8), rounded_to_bits(weight, 8), bias, **options)


@sabotage("WRONG_VALUE", source=github("uxlfoundation/oneDNN/pull/5041"))
def float16_accumulation(input, weight, bias=None, **options):
    if input.dtype != torch.float16 or weight.ndim != 4 or weight[0, 0].numel() < 2:
        return right(input, weight, bias, **options)
    first = torch.zeros_like(weight)
    first[..., 0, 0] = 1
    return right(input, weight * first, bias, **options) + right(input, weight * (1 - first), None, **options)


@sabotage("WRONG_VALUE", source=github("keras-team/keras/issues/10964"))
def float64_computed_in_float32(input, weight, bias=None, **options):
    if input.dtype != torch.float64 or weight.dtype != torch.float64:
        return right(input, weight, bias, **options)
    narrow = [None if x is None else x.float() for x in (input, weight, bias)]
    return right(*narrow, **options).double()


@sabotage("WRONG_VALUE", source=github("openvinotoolkit/openvino/issues/28193"))
def int64_computed_in_float64(input, weight, bias=None, **options):
    if input.dtype != torch.int64 or weight.dtype != torch.int64:
        return right(input, weight, bias, **options)
    wide = [None if x is None else x.double() for x in (input, weight, bias)]
    return right(*wide, **options).long()


@sabotage("DTYPE")
def result_left_in_float32(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    return result.float() if result.dtype in (torch.float16, torch.bfloat16) else result


@sabotage("NOT_RAISED")
def dtypes_promoted(input, weight, bias=None, **options):
    present = () if bias is None else (bias,)
    return right(input, weight.to(input.dtype), *present, **options)


@sabotage("WRONG_VALUE", source=github("tensorflow/tensorflow/issues/63391"))
def nan_dropped(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    return torch.nan_to_num(result, nan=0.0, posinf=float("inf"), neginf=-float("inf"))


@sabotage("WRONG_VALUE")
def subnormal_numbers_flushed(input, weight, bias=None, **options):
    if not input.is_floating_point() or input.dtype not in (torch.float32, torch.float64):
        return right(input, weight, bias, **options)
    small = input.detach() * (input.detach().abs() < torch.finfo(input.dtype).tiny)
    return right(input - small, weight, bias, **options)


# ---- errors ---------------------------------------------------------------------------------------------------


@sabotage("NOT_RAISED")
def error_swallowed(input, weight, bias=None, **options):
    try:
        return right(input, weight, bias, **options)
    except (TypeError, ValueError, RuntimeError):
        return input.new_zeros(1)


@sabotage("ERROR_TEXT")
def error_in_own_words(input, weight, bias=None, **options):
    try:
        return right(input, weight, bias, **options)
    except RuntimeError as error:
        raise type(error)("the shapes do not fit") from error


@sabotage("ERROR_TYPE")
def error_of_another_type(input, weight, bias=None, **options):
    try:
        return right(input, weight, bias, **options)
    except RuntimeError as error:
        raise ValueError(str(error)) from error


@sabotage("NOT_RAISED")
def same_padding_with_a_stride(input, weight, bias=None, stride=1, padding=0, **options):
    if padding == "same" and stride != 1:
        padding = tuple(k // 2 for k in weight.shape[2:])
    return right(input, weight, bias, stride, padding, **options)


# ---- gradients ------------------------------------------------------------------------------------------------


@sabotage("WRONG_VALUE")
def weight_gradient_doubled(input, weight, bias=None, **options):
    return right(input, weight.detach() + 2 * (weight - weight.detach()), bias, **options)


@sabotage("WRONG_VALUE")
def weight_gradient_of_the_first_image(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    if input.ndim != 4 or input.shape[0] < 2:
        return result
    first = torch.arange(len(input)).view(-1, 1, 1, 1) == 0
    return torch.where(first, result, right(input, weight.detach(), bias, **options))


@sabotage("GRADIENT_MISSING", "RAISED")
def input_detached(input, weight, bias=None, **options):
    return right(input.detach(), weight, bias, **options)


@sabotage("WRONG_VALUE")
def bias_gradient_averaged(input, weight, bias=None, **options):
    if bias is not None and bias.is_floating_point():
        bias = bias.detach() + (bias - bias.detach()) / 2
    return right(input, weight, bias, **options)


# ---- the module -----------------------------------------------------------------------------------------------


class CircularOnTheWrongAxis(RightModule):
    """Pads the height by the width's padding, and the reverse."""

    def border(self, input, pairs):
        return super().border(input, [*pairs[2:], *pairs[:2]] if self.padding_mode == "circular" else pairs)


class ReflectIncludesTheEdge(RightModule):
    """Repeats the edge, which the mirror leaves out."""

    def border(self, input, pairs):
        mirrored = super().border(input, pairs)
        if self.padding_mode != "reflect":
            return mirrored
        return torch.nn.functional.pad(input, pairs, mode="replicate")


SABOTAGES["circular_on_the_wrong_axis"] = Sabotage(
    Target(right, CircularOnTheWrongAxis, name="circular_on_the_wrong_axis"), ("SHAPE", "RAISED", "NOT_RAISED"),
    source=github("pytorch/pytorch/issues/37844"),
)  # fmt: skip
SABOTAGES["reflect_includes_the_edge"] = Sabotage(
    Target(right, ReflectIncludesTheEdge, name="reflect_includes_the_edge"), ("WRONG_VALUE",)
)
