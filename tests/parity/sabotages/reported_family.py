"""The transposed convolutions, conv1d and conv3d with bugs that were reported; ``source`` says where."""

from __future__ import annotations

import torch

from sabotages.base import github, per_axis, sabotage

torchs = torch.nn.functional


# ---- transposed -----------------------------------------------------------------------------------------------


@sabotage("SHAPE", "NOT_RAISED", "ERROR_TEXT", op="conv_transpose2d", source=github("Samsung/TICO/issues/420"))
def transposed_padding_added_to_the_input(input, weight, bias=None, padding=0, **options):
    torchs.conv_transpose2d(input, weight, bias, padding=padding, **options)
    pairs = [p for p in reversed(per_axis(padding, 2)) for _ in range(2)]
    return torchs.conv_transpose2d(torchs.pad(input, pairs), weight, bias, **options)


@sabotage("SHAPE", op="conv_transpose1d", source=github("apple/coreai-torch/issues/57"))
def output_padding_times_the_stride(input, weight, bias=None, stride=1, output_padding=0, **options):
    torchs.conv_transpose1d(input, weight, bias, stride=stride, output_padding=output_padding, **options)
    longer = torchs.pad(input, [0, per_axis(output_padding, 1)[0]])
    return torchs.conv_transpose1d(longer, weight, bias, stride=stride, **options)


@sabotage("WRONG_VALUE", op="conv_transpose2d", source=github("llvm/torch-mlir/pull/2026"))
def output_padding_filled_with_zeros(input, weight, bias=None, output_padding=0, **options):
    result = torchs.conv_transpose2d(input, weight, bias, output_padding=output_padding, **options)
    mask = torch.ones_like(result)
    for axis, extra in zip((-2, -1), per_axis(output_padding, 2)):
        mask.narrow(axis, max(0, mask.shape[axis] - extra), min(extra, mask.shape[axis])).zero_()
    return result * mask


@sabotage("SHAPE", op="conv_transpose3d", source=github("apache/tvm/issues/18601"))
def output_padding_of_volumes_forgotten(input, weight, bias=None, output_padding=0, **options):
    torchs.conv_transpose3d(input, weight, bias, output_padding=output_padding, **options)
    return torchs.conv_transpose3d(input, weight, bias, **options)


@sabotage("WRONG_VALUE", op="conv_transpose2d", source=github("uxlfoundation/oneDNN/issues/352"))
def transposed_groups_interleaved(input, weight, bias=None, groups=1, **options):
    result = torchs.conv_transpose2d(input, weight, None, groups=groups, **options)
    if groups != 1:
        result = result.index_select(-3, torch.arange(result.shape[-3]).reshape(groups, -1).T.flatten())
    return result if bias is None else result + bias.reshape(-1, 1, 1)


@sabotage("WRONG_VALUE", "RAISED", op="conv_transpose2d", source=github("pytorch/pytorch/issues/99519"))
def channels_last_of_a_transposed_weight_misread(input, weight, bias=None, **options):
    torchs.conv_transpose2d(input, weight, bias, **options)
    if weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous():
        rows = weight.shape[1] * weight.shape[2] * weight.shape[3], weight.shape[2] * weight.shape[3]
        weight = weight.as_strided(weight.shape, (*rows, weight.shape[3], 1))
    return torchs.conv_transpose2d(input, weight, bias, **options)


@sabotage("WRONG_VALUE", op="conv_transpose1d", source=github("huggingface/candle/pull/1732"))
def bias_of_a_transposed_signal_left_out(input, weight, bias=None, **options):
    result = torchs.conv_transpose1d(input, weight, bias, **options)
    return result if bias is None else torchs.conv_transpose1d(input, weight, 0 * bias, **options)


class _Exchanged(torch.autograd.Function):
    """conv_transpose2d whose input gradient takes the dilation for the stride, and the reverse."""

    @staticmethod
    def forward(ctx, input, weight, options):
        ctx.save_for_backward(input, weight)
        ctx.options = options
        return torchs.conv_transpose2d(input, weight, **options)

    @staticmethod
    def backward(ctx, grad):
        _, weight = ctx.saved_tensors
        told = {name: ctx.options[name] for name in ("padding", "groups") if name in ctx.options}
        stride, dilation = (ctx.options.get(name, 1) for name in ("stride", "dilation"))
        return torchs.conv2d(grad, weight, stride=dilation, dilation=stride, **told), None, None


@sabotage("WRONG_VALUE", "RAISED", op="conv_transpose2d", source=github("huggingface/candle/pull/2337"))
def transposed_gradient_with_stride_and_dilation_exchanged(input, weight, bias=None, **options):
    result = torchs.conv_transpose2d(input.detach(), weight, bias, **options)
    if not input.requires_grad or not input.numel():
        return torchs.conv_transpose2d(input, weight, bias, **options)
    through = _Exchanged.apply(input, weight.detach(), options)
    return result + (through - through.detach())


# ---- one axis -------------------------------------------------------------------------------------------------


@sabotage("SHAPE", source=github("tflearn/tflearn/pull/65"), op="conv1d")
def stride_overwritten_by_one(input, weight, bias=None, stride=1, **options):
    torchs.conv1d(input, weight, bias, stride, **options)
    return torchs.conv1d(input, weight, bias, **options)


@sabotage("SHAPE", op="conv1d", source=github("ml-explore/mlx-swift/pull/467"))
def same_padding_short_for_even_kernels(input, weight, bias=None, padding=0, **options):
    result = torchs.conv1d(input, weight, bias, padding=padding, **options)
    return result[..., :-1] if padding == "same" and weight.shape[-1] % 2 == 0 and weight.shape[-1] > 2 else result


@sabotage("WRONG_VALUE", op="conv1d", source=github("pytorch/pytorch/issues/129207"))
def last_channel_unwritten(input, weight, bias=None, **options):
    result = torchs.conv1d(input, weight, bias, **options)
    mask = torch.ones_like(result)
    mask[..., -1:, :] = 0
    return result * mask


@sabotage("WRONG_VALUE", op="conv1d", source=github("pytorch/pytorch/issues/157237"))
def nan_reaches_one_cell_further(input, weight, bias=None, **options):
    result = torchs.conv1d(input, weight, bias, **options)
    if not result.is_floating_point():
        return result
    return torch.where(result.isnan().roll(-1, -1), torch.nan, result)


# ---- three axes -----------------------------------------------------------------------------------------------


@sabotage("WRONG_VALUE", op="conv3d", source=github("pytorch/pytorch/issues/197114"))
def volumes_read_as_channels_last(input, weight, bias=None, **options):
    torchs.conv3d(input, weight, bias, **options)
    if input.ndim == 5 and input.is_contiguous():
        batch, channels, *sizes = input.shape
        input = input.reshape(batch, *sizes, channels).permute(0, 4, 1, 2, 3).contiguous()
    return torchs.conv3d(input, weight, bias, **options)
