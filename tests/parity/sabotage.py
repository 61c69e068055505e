"""Convolutions that are wrong on purpose, each by one plausible bug: the suite must catch every one by name.

Each is a right implementation (torch's, in float32 where torch's float16 depends on the CPU) with one thing done
wrong. ``SABOTAGES`` maps its name to the target and to the verdicts of which one has to catch it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from miniconv.parity.targets import Target

HALF = (torch.float16, torch.bfloat16)


def right(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, *args: Any, **options: Any
) -> Any:
    """conv2d as it should be: torch's, in float32 and rounded once where the dtype is narrower."""
    operands = (input, weight) if bias is None else (input, weight, bias)
    if {x.dtype for x in operands} == {input.dtype} and input.dtype in HALF:
        wide = [x.float() for x in operands]
        present = wide if bias is not None or not args else [*wide, None]
        return torch.nn.functional.conv2d(*present, *args, **options).to(input.dtype)
    present = operands if bias is not None or not args else (*operands, None)
    return torch.nn.functional.conv2d(*present, *args, **options)


class RightModule(torch.nn.Conv2d):
    """Conv2d as it should be, with one place to get the border wrong."""

    def border(self, input: torch.Tensor, pairs: Any) -> torch.Tensor:
        return torch.nn.functional.pad(input, pairs, mode=self.padding_mode)

    def _conv_forward(self, input, weight, bias):
        padded = self.border(input, self._reversed_padding_repeated_twice)
        return right(padded, weight, bias, self.stride, 0, self.dilation, self.groups)


class Sabotage(NamedTuple):
    """A wrong target, and the verdicts of which one must be the first that catches it."""

    target: Target
    caught_by: tuple[str, ...]


SABOTAGES: dict[str, Sabotage] = {}


def sabotage(*caught_by: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a wrong conv2d under its own name."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        SABOTAGES[function.__name__] = Sabotage(Target(function, name=function.__name__), caught_by)
        return function

    return register


def swapped(value: Any) -> Any:
    """(height, width) as (width, height)."""
    return tuple(reversed(value)) if isinstance(value, tuple) else value


def rounded_to_bits(x: torch.Tensor, bits: int) -> torch.Tensor:
    """A float32 tensor with only ``bits`` of its 24 significant bits kept."""
    if x.dtype != torch.float32:
        return x
    drop = 24 - bits
    kept = (x.detach().contiguous().view(torch.int32) + (1 << (drop - 1))) >> drop << drop
    return x + (kept.view(torch.float32) - x).detach()


# ---- swapped and shifted axes ---------------------------------------------------------------------------------


@sabotage("SHAPE", "WRONG_VALUE")
def swapped_strides(input, weight, bias=None, stride=1, **options):
    return right(input, weight, bias, swapped(stride), **options)


@sabotage("SHAPE", "RAISED")
def swapped_padding(input, weight, bias=None, padding=0, **options):
    return right(input, weight, bias, padding=swapped(padding), **options)


@sabotage("SHAPE", "RAISED", "NOT_RAISED")
def swapped_dilation(input, weight, bias=None, dilation=1, **options):
    return right(input, weight, bias, dilation=swapped(dilation), **options)


@sabotage("SHAPE", "NOT_RAISED", "WRONG_VALUE")
def ignored_dilation(input, weight, bias=None, dilation=1, **options):
    return right(input, weight, bias, **options)


@sabotage("SHAPE")
def padding_off_by_one(input, weight, bias=None, padding=0, **options):
    if isinstance(padding, tuple):
        padding = tuple(p + 1 for p in padding)
    return right(input, weight, bias, padding=padding, **options)


@sabotage("WRONG_VALUE")
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


@sabotage("WRONG_VALUE")
def bias_left_out(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    return result if bias is None else result - bias.reshape(-1, 1, 1) + 0 * result


@sabotage("WRONG_VALUE")
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


@sabotage("WRONG_VALUE", "RAISED")
def strides_of_the_input_ignored(input, weight, bias=None, **options):
    contiguous, step = [], 1
    for size in reversed(input.shape):
        contiguous.insert(0, step)
        step *= size
    return right(input.as_strided(input.shape, contiguous), weight, bias, **options)


@sabotage("WRONG_VALUE", "RAISED")
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


@sabotage("LAYOUT")
def channels_last_lost(input, weight, bias=None, **options):
    return right(input, weight, bias, **options).contiguous()


@sabotage("WRONG_VALUE")
def first_image_repeated(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    return result[:1].expand(result.shape).clone() if input.ndim == 4 else result


@sabotage("SHAPE")
def batch_axis_kept(input, weight, bias=None, **options):
    return right(input[None] if input.ndim == 3 else input, weight, bias, **options)


# ---- precision and dtypes -------------------------------------------------------------------------------------


@sabotage("WRONG_VALUE")
def tf32_operands(input, weight, bias=None, **options):
    return right(rounded_to_bits(input, 11), rounded_to_bits(weight, 11), bias, **options)


@sabotage("WRONG_VALUE")
def bfloat16_operands(input, weight, bias=None, **options):
    return right(rounded_to_bits(input, 8), rounded_to_bits(weight, 8), bias, **options)


@sabotage("WRONG_VALUE")
def float16_accumulation(input, weight, bias=None, **options):
    if input.dtype != torch.float16 or weight.ndim != 4 or weight[0, 0].numel() < 2:
        return right(input, weight, bias, **options)
    first = torch.zeros_like(weight)
    first[..., 0, 0] = 1
    return right(input, weight * first, bias, **options) + right(input, weight * (1 - first), None, **options)


@sabotage("WRONG_VALUE")
def float64_computed_in_float32(input, weight, bias=None, **options):
    if input.dtype != torch.float64 or weight.dtype != torch.float64:
        return right(input, weight, bias, **options)
    narrow = [None if x is None else x.float() for x in (input, weight, bias)]
    return right(*narrow, **options).double()


@sabotage("WRONG_VALUE")
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


@sabotage("WRONG_VALUE")
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
    rest = right(input[1:], weight.detach(), None if bias is None else bias, **options)
    return torch.cat([result[:1], rest])


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
    Target(right, CircularOnTheWrongAxis, name="circular_on_the_wrong_axis"), ("SHAPE", "RAISED", "NOT_RAISED")
)
SABOTAGES["reflect_includes_the_edge"] = Sabotage(
    Target(right, ReflectIncludesTheEdge, name="reflect_includes_the_edge"), ("WRONG_VALUE",)
)
