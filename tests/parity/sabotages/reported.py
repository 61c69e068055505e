"""conv2d with bugs that were reported of one library or another; ``source`` says where."""

from __future__ import annotations

from typing import Any

import torch

from miniconv.parity.targets import Target
from sabotages.base import SABOTAGES, RightModule, Sabotage, github, per_axis, right, sabotage

torchs = torch.nn.functional


def same_pairs(totals: Any) -> list[int]:
    """What ``pad`` is told for so many cells on each axis, the odd one high."""
    return [side for total in reversed(list(totals)) for side in (total // 2, total - total // 2)]


def with_same_as(totals: Any, input, weight, bias, options) -> Any:
    """padding='same' with so many cells on each axis."""
    return right(torchs.pad(input, same_pairs(totals)), weight, bias, **options)


# ---- padding='same' -------------------------------------------------------------------------------------------


@sabotage("SHAPE", "RAISED", source=github("autogluon/autogluon/pull/438"))
def same_padding_swapped(input, weight, bias=None, padding=0, dilation=1, **options):
    result = right(input, weight, bias, padding=padding, dilation=dilation, **options)
    if padding != "same":
        return result
    totals = [d * (k - 1) for k, d in zip(weight.shape[2:], per_axis(dilation, 2))]
    return with_same_as(reversed(totals), input, weight, bias, {"dilation": dilation, **options})


@sabotage("SHAPE", "RAISED", source=github("Oldpan/Faceswap-Deepfake-Pytorch/issues/1"))
def same_padding_of_the_width_for_both(input, weight, bias=None, padding=0, dilation=1, **options):
    result = right(input, weight, bias, padding=padding, dilation=dilation, **options)
    if padding != "same":
        return result
    width = per_axis(dilation, 2)[1] * (weight.shape[3] - 1)
    return with_same_as([width, width], input, weight, bias, {"dilation": dilation, **options})


@sabotage("SHAPE", "RAISED", source=github("tinygrad/tinygrad/pull/17805"))
def same_padding_by_the_other_axis_dilation(input, weight, bias=None, padding=0, dilation=1, **options):
    result = right(input, weight, bias, padding=padding, dilation=dilation, **options)
    if padding != "same":
        return result
    totals = [d * (k - 1) for k, d in zip(weight.shape[2:], reversed(per_axis(dilation, 2)))]
    return with_same_as(totals, input, weight, bias, {"dilation": dilation, **options})


@sabotage("SHAPE", "RAISED", source=github("root-project/root/pull/21685"))
def same_padding_without_dilation(input, weight, bias=None, padding=0, dilation=1, **options):
    result = right(input, weight, bias, padding=padding, dilation=dilation, **options)
    if padding != "same":
        return result
    return with_same_as([k - 1 for k in weight.shape[2:]], input, weight, bias, {"dilation": dilation, **options})


@sabotage("SHAPE", source=github("root-project/root/issues/21737"))
def same_padding_of_half_the_kernel_on_both_sides(input, weight, bias=None, padding=0, dilation=1, **options):
    result = right(input, weight, bias, padding=padding, dilation=dilation, **options)
    if padding != "same":
        return result
    totals = [k // 2 * 2 * d for k, d in zip(weight.shape[2:], per_axis(dilation, 2))]
    return with_same_as(totals, input, weight, bias, {"dilation": dilation, **options})


# ---- stride, padding, dilation --------------------------------------------------------------------------------


@sabotage("SHAPE", "RAISED", "NOT_RAISED", source=github("apache/tvm/pull/4260"))
def stride_and_padding_of_one_for_3x3(input, weight, bias=None, stride=1, padding=0, **options):
    result = right(input, weight, bias, stride, padding, **options)
    return right(input, weight, bias, 1, 1, **options) if weight.shape[2:] == (3, 3) else result


@sabotage("SHAPE", "RAISED", "NOT_RAISED", source=github("dotnet/TorchSharp/issues/496"))
def padding_that_differs_by_axis_ignored(input, weight, bias=None, padding=0, **options):
    return right(input, weight, bias, padding=0 if isinstance(padding, tuple) else padding, **options)


@sabotage("SHAPE", "RAISED", "NOT_RAISED", source=github("tenstorrent/tt-metal/pull/19542"))
def dilation_of_the_height_for_both(input, weight, bias=None, dilation=1, **options):
    return right(input, weight, bias, dilation=dilation[0] if isinstance(dilation, tuple) else dilation, **options)


@sabotage("SHAPE", source=github("NVIDIA/cutlass/issues/3502"))
def dilated_kernel_counted_too_long(input, weight, bias=None, stride=1, padding=0, dilation=1, **options):
    result = right(input, weight, bias, stride, padding, dilation, **options)
    if isinstance(padding, str):
        return result
    parameters = (per_axis(value, 2) for value in (stride, padding, dilation))
    sizes = zip(input.shape[-2:], weight.shape[2:], *parameters)
    height, width = (max(0, (i + 2 * p - d * k) // s + 1) for i, k, s, p, d in sizes)
    return result[..., :height, :width]


@sabotage("WRONG_VALUE", source=github("tensorflow/tfjs/issues/5907"))
def zeros_where_the_stride_exceeds_the_input(input, weight, bias=None, stride=1, **options):
    result = right(input, weight, bias, stride, **options)
    return 0 * result if any(s > i for s, i in zip(per_axis(stride, 2), input.shape[-2:])) else result


@sabotage("WRONG_VALUE", source=github("Tencent/ncnn/issues/315"))
def dilated_depthwise_left_unwritten(input, weight, bias=None, dilation=1, groups=1, **options):
    result = right(input, weight, bias, dilation=dilation, groups=groups, **options)
    depthwise = groups == input.shape[-3] == weight.shape[0]
    return 0 * result if depthwise and max(per_axis(dilation, 2)) > 1 else result


@sabotage("WRONG_VALUE", source=github("soumith/cudnn.torch/issues/386"))
def moved_down_where_padded_and_grouped(input, weight, bias=None, padding=0, groups=1, **options):
    result = right(input, weight, bias, padding=padding, groups=groups, **options)
    padded = not isinstance(padding, str) and any(per_axis(padding, 2))
    return result.roll(1, -2) if padded and groups != 1 and result.numel() else result


@sabotage("NOT_RAISED", source=github("tensorflow/tensorflow/issues/48589"))
def nothing_where_the_kernel_does_not_fit(input, weight, bias=None, **options):
    try:
        return right(input, weight, bias, **options)
    except RuntimeError as error:
        if "Kernel size can't be greater" not in str(error):
            raise
        return input.new_zeros((*input.shape[:-3], len(weight), 0, 0))


# ---- bias, groups, memory -------------------------------------------------------------------------------------


@sabotage("WRONG_VALUE", source=github("kraiskil/onnx2c/issues/7"))
def bias_by_the_number_of_the_image(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    if bias is None or input.ndim == 3 or len(input) > len(bias):
        return result
    return right(input, weight, None, **options) + bias[: len(input)].reshape(-1, 1, 1, 1)


@sabotage("WRONG_VALUE", source=github("onnx/onnx-mlir/pull/154"))
def bias_multiplied(input, weight, bias=None, **options):
    right(input, weight, bias, **options)
    result = right(input, weight, None, **options)
    return result if bias is None else result * bias.reshape(-1, 1, 1)


@sabotage("WRONG_VALUE", source=github("pytorch/pytorch/issues/19912"))
def first_group_read_by_all(input, weight, bias=None, groups=1, **options):
    right(input, weight, bias, groups=groups, **options)
    channels = [at % weight.shape[1] for at in range(input.shape[-3])]
    return right(input.index_select(-3, torch.tensor(channels)), weight, bias, groups=groups, **options)


@sabotage("WRONG_VALUE", source=github("ggml-org/ggml/pull/737"))
def images_and_channels_mixed(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    if result.ndim == 3 or len(result) < 2:
        return result
    result = right(input, weight, None, **options)
    result = result.transpose(0, 1).reshape(result.shape)
    return result if bias is None else result + bias.reshape(-1, 1, 1)


@sabotage("WRONG_VALUE", source=github("Tencent/ncnn/issues/1014"))
def last_columns_past_a_multiple_of_four_unwritten(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    mask = torch.ones_like(result)
    mask[..., result.shape[-1] // 4 * 4 :] = 0
    return result * mask


@sabotage("WRONG_VALUE", source=github("openxla/stablehlo/pull/2953"))
def integers_summed_in_eight_bits(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    return result.to(torch.int8).to(result.dtype) if result.dtype == torch.int32 else result


@sabotage("WRONG_VALUE", source=github("pytorch/pytorch/issues/163347"))
def one_tap_where_the_output_is_one_element(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    if input.dtype != torch.bfloat16 or result.shape[-2:] != (1, 1):
        return result
    mask = torch.zeros_like(weight)
    mask[..., 0, 0] = 1
    return right(input, weight * mask, bias, **options)


@sabotage("WRONG_VALUE", source=github("uxlfoundation/oneDNN/issues/5080"))
def border_columns_read_from_the_row_beside(input, weight, bias=None, padding=0, **options):
    result = right(input, weight, bias, padding=padding, **options)
    if isinstance(padding, str) or not input.numel() or max(per_axis(padding, 2)) > min(input.shape[-2:]):
        return result
    (rows, columns), around = per_axis(padding, 2), torch.nn.functional.pad(input, [0, 0, 1, 1])
    beside = [around[..., :-2, around.shape[-1] - columns :], input, around[..., 2:, :columns]]
    return right(torchs.pad(torch.cat(beside, -1), [0, 0, rows, rows]), weight, bias, **options)


# ---- gradients ------------------------------------------------------------------------------------------------


def with_gradient(x: torch.Tensor, change: Any) -> torch.Tensor:
    """``x``, whose gradient is changed on its way back."""
    if not x.requires_grad:
        return x
    seen = x.view_as(x)
    seen.register_hook(change)
    return seen


@sabotage("LAYOUT", source=github("pytorch/pytorch/pull/174241"))
def input_gradient_always_contiguous(input, weight, bias=None, **options):
    return right(with_gradient(input, lambda grad: grad.contiguous()), weight, bias, **options)


@sabotage("WRONG_VALUE", source=github("sebgao/cTensor/issues/3"))
def weight_gradient_averaged_over_the_output(input, weight, bias=None, **options):
    result = right(input, weight, bias, **options)
    places = result.numel() // max(1, len(weight))
    changed = with_gradient(weight, lambda grad: grad / max(1, places))
    return right(input, changed, bias, **options)


@sabotage("WRONG_VALUE", source=github("flagos-ai/FlagGems/pull/1576"))
def input_gradient_shifted_by_what_the_stride_leaves(input, weight, bias=None, stride=1, padding=0, **options):
    def change(grad):
        pads = (0, 0) if isinstance(padding, str) else per_axis(padding, 2)
        steps = per_axis(options.get("dilation", 1), 2)
        sizes = zip(input.shape[-2:], weight.shape[2:], per_axis(stride, 2), pads, steps)
        return grad.roll([(i + 2 * p - d * (k - 1) - 1) % s for i, k, s, p, d in sizes], (-2, -1))

    return right(with_gradient(input, change), weight, bias, stride, padding, **options)


class _Exchanged(torch.autograd.Function):
    """conv2d in one group whose weight gradient takes the dilation for the stride, and the reverse."""

    @staticmethod
    def forward(ctx, input, weight, stride, padding, dilation):
        ctx.save_for_backward(input, weight)
        ctx.parameters = stride, padding, dilation
        return torchs.conv2d(input, weight, None, stride, padding, dilation)

    @staticmethod
    def backward(ctx, grad):
        input, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.parameters
        images = torchs.pad(input, [p for p in reversed(padding) for _ in range(2)]).transpose(0, 1)
        of_weight = torchs.conv2d(images, grad.transpose(0, 1), None, stride, 0, dilation).transpose(0, 1)
        return None, of_weight[..., : weight.shape[2], : weight.shape[3]].contiguous(), None, None, None


@sabotage("WRONG_VALUE", "RAISED", source=github("iree-org/iree-turbine/pull/1223"))
def weight_gradient_with_stride_and_dilation_exchanged(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    result = right(input, weight, bias, stride, padding, dilation, groups)
    if not (weight.requires_grad and input.numel() and groups == 1 and input.ndim == 4) or isinstance(padding, str):
        return result
    result = right(input, weight.detach(), bias, stride, padding, dilation)
    parameters = (per_axis(value, 2) for value in (stride, padding, dilation))
    through = _Exchanged.apply(input.detach(), weight, *parameters)
    return result + (through - through.detach())


# ---- the module -----------------------------------------------------------------------------------------------


class AlwaysReflect(RightModule):
    """Whatever its padding mode, it reflects."""

    def border(self, input, pairs):
        super().border(input, pairs)
        return torchs.pad(input, pairs, mode="reflect")


class CircularLeftOut(RightModule):
    """With circular padding it pads nothing."""

    def border(self, input, pairs):
        padded = super().border(input, pairs)
        return input if self.padding_mode == "circular" else padded


for _module, _caught, _source in (
    (AlwaysReflect, ("WRONG_VALUE", "RAISED"), "speechbrain/speechbrain/issues/125"),
    (CircularLeftOut, ("SHAPE", "RAISED"), "pytorch/pytorch/issues/29712"),
):
    _name = "".join("_" * (at > 0 and a.isupper()) + a.lower() for at, a in enumerate(_module.__name__))
    SABOTAGES[_name] = Sabotage(Target(right, _module, name=_name), _caught, source=github(_source))
