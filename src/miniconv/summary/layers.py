"""What is known of torch's layers from their attributes: the convolution that one is, its window, its work.

Known means sure: a class that wrote its own ``forward`` may do anything, so nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from miniconv.problem import ConvProblem, Operand, ReceptiveField

if TYPE_CHECKING:
    import torch

__all__ = ["Fields", "first_tensor", "layers_of", "multiply_adds", "problem_of", "tensors_in", "through"]

Fields = tuple[ReceptiveField, ...]
"""One receptive field for each spatial axis."""

POOLING = {f"{kind}Pool{dims}d": dims for kind in ("Max", "Avg") for dims in (1, 2, 3)}
"""Layers whose window is in their attributes, by name (torch may be absent), with their spatial axes."""

ELEMENTWISE = (
    *("AlphaDropout", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "CELU", "Dropout", "Dropout1d", "Dropout2d"),
    *("Dropout3d", "ELU", "FeatureAlphaDropout", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh"),
    *("Identity", "LeakyReLU", "LogSigmoid", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid"),
    *("Softmax2d", "Softplus", "Softshrink", "Softsign", "SyncBatchNorm", "Tanh", "Tanhshrink", "Threshold"),
)
"""Layers that look at one place of the picture at a time; batch norm does in evaluation mode."""


def layers_of(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules without modules of their own, by name, each once; a parametrised layer is one of them."""
    inside: set[torch.nn.Module] = set()
    for path, module in model.named_modules():
        if module in inside:
            continue
        children = dict(module.named_children())
        parametrizations = children.pop("parametrizations", None)
        if parametrizations is not None:
            inside.update(parametrizations.modules())
        if not children:
            yield path, module


def first_tensor(args: Any, kwargs: Any) -> torch.Tensor | None:
    """The tensor that a layer was called on."""
    return next(tensors_in([args, kwargs.get("input")]), None)


def tensors_in(output: Any) -> Iterator[torch.Tensor]:
    """Every tensor in a module's output: a tensor, or tuples, lists and dicts of them, nested."""
    import torch

    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, (tuple, list)):
        for value in output:
            yield from tensors_in(value)
    elif isinstance(output, dict):
        yield from tensors_in(list(output.values()))


def _is_torchs_own(layer: torch.nn.Module) -> bool:
    """Whether the layer runs torch's or miniconv's forward: a class that wrote its own may do anything."""
    methods = [getattr(type(layer), name, None) for name in ("forward", "_conv_forward")]
    overridden = {"forward", "_conv_forward"} & vars(layer).keys()
    own = ("torch.nn.modules.", "miniconv.nn.")
    return not overridden and all(m is None or m.__module__.startswith(own) for m in methods)


def problem_of(layer: torch.nn.Module, x: torch.Tensor | None) -> ConvProblem | None:
    """The convolution that the layer is, on that input; None if it is none or not surely one."""
    from torch.nn.modules import conv

    if not isinstance(layer, conv._ConvNd) or not _is_torchs_own(layer) or x is None:
        return None
    operands = Operand(tuple(x.shape)), Operand(tuple(layer.weight.shape))
    dims = layer.weight.ndim - 2
    stride, dilation, groups = layer.stride, layer.dilation, layer.groups
    try:
        if layer.transposed:
            return ConvProblem.from_conv_transpose(
                *operands, None, stride, layer.padding, layer.output_padding, groups, dilation, dims=dims
            )
        return ConvProblem.from_conv(*operands, None, stride, layer.padding, dilation, groups, dims=dims)
    except RuntimeError:  # it ran all the same: a negative padding crops, which is no convolution's business
        return None


def through(layer: torch.nn.Module, problem: ConvProblem | None, fields: Fields | None) -> Fields | None:
    """The field of the layer's output, if the field of its input is known and the layer is."""
    from torch import nn

    if fields is None or not _is_torchs_own(layer):
        return None
    if isinstance(layer, tuple(getattr(nn, name) for name in ELEMENTWISE)):
        # without running statistics a batch norm looks at the whole picture in evaluation mode too
        return None if getattr(layer, "running_mean", layer) is None else fields
    windows = _windows(layer, problem)
    if len(windows) != len(fields):  # an unknown layer, or one that takes the input for unbatched
        return None
    return tuple(field.through(*window) for field, window in zip(fields, windows))


def _windows(layer: torch.nn.Module, problem: ConvProblem | None) -> list[tuple[int, int, int, int]]:
    """Kernel, stride, low padding and dilation for each axis of a convolution or pooling layer; empty for others."""
    from torch import nn

    if problem is not None and not problem.transposed:
        low = [low for low, _ in problem.padding]
        return list(zip(problem.kernel_size, problem.stride, low, problem.dilation))
    for name, dims in POOLING.items():
        if isinstance(layer, getattr(nn, name)):
            options = [getattr(layer, option, 1) for option in ("kernel_size", "stride", "padding", "dilation")]
            return list(zip(*(x if isinstance(x, tuple) else (x,) * dims for x in options)))
    return []


def multiply_adds(layer: torch.nn.Module, problem: ConvProblem | None, outputs: Sequence[torch.Tensor]) -> int | None:
    """Of a convolution or a linear layer."""
    from torch import nn

    if problem is not None:
        return problem.multiply_adds
    if isinstance(layer, nn.Linear) and _is_torchs_own(layer):
        return outputs[0].numel() * layer.in_features
    return None
