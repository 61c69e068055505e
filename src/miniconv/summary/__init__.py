"""``summary``: a network as a table, one row for each layer in the order in which the layers run.

The model runs once on zeros. Hooks around its layers (the modules without modules of their own) note what goes in and
what comes out. Nothing else is looked at, so an operation that is no module has no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miniconv.summary.recorder import Recorder, bytes_of
from miniconv.summary.table import Row, Summary

if TYPE_CHECKING:
    import torch

__all__ = ["Row", "Summary", "summary"]


def summary(
    model: torch.nn.Module,
    input_size: Sequence[int] | Sequence[Sequence[int]],
    *,
    dtype: torch.dtype | Sequence[torch.dtype] | None = None,
    device: torch.device | str | None = None,
) -> Summary:
    """A table of the model's layers, after torchsummary: printed, it is readable; its figures are attributes.

    The model runs once, on one sample of zeros, in evaluation mode and without gradients; training mode and hooks are
    as before afterwards, whatever happens. Memory is counted as torchsummary does, 1 MB = 2^20 bytes.

    Args:
        model: any module, of ``torch.nn`` or ``miniconv.nn``.
        input_size: the size of one sample, without the batch axis; for several inputs, a list of sizes.
        dtype: of the input, or one for each; None takes that of the model's first floating parameter, else float32.
        device: of the input; None takes that of the model's first parameter, else the CPU.

    Returns:
        A ``Summary``.

    Raises:
        TypeError: ``input_size`` is neither a size nor a list of sizes.
        Exception: whatever the model raises on such an input.

    Numerics:
        Counts are exact. A layer that is not known to be exact says ``-``.

    Cost:
        One forward pass.

    Source:
        Receptive fields: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks",
        Distill, 2019.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.Conv2d(10, 20, (5, 3)), nn.Flatten())
    >>> print(summary(net, (1, 28, 28)))
    Layer        Output shape      Parameters  Multiply-adds  Field
    ---------------------------------------------------------------
    Conv2d-1     [-1, 10, 24, 24]         260        144,000    5x5
    MaxPool2d-2  [-1, 10, 12, 12]           0              -    6x6
    Conv2d-3     [-1, 20, 8, 10]        3,020        240,000  14x10
    Flatten-4    [-1, 1600]                 0              -      -
    ---------------------------------------------------------------
    Total parameters: 3,280
    Trainable parameters: 3,280
    Non-trainable parameters: 0
    Multiply-adds: 384,000
    Input (MB): 0.00
    Forward/backward (MB): 0.08
    Parameters (MB): 0.01
    Total (MB): 0.09
    """
    import torch

    sizes = _sizes(input_size)
    with torch.inference_mode(False), torch.no_grad():  # tensors of inference mode do not say when they are written to
        inputs = _inputs(model, sizes, dtype, device)
        recorder = Recorder(inputs)
        recorder.run(model)
    parameters = list(model.parameters())
    return Summary(
        rows=tuple(recorder.rows),
        total_parameters=sum(p.numel() for p in parameters),
        trainable_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        input_bytes=sum(bytes_of(x) for x in inputs),
        forward_backward_bytes=2 * sum(row.output_bytes for row in recorder.rows),
        parameter_bytes=sum(bytes_of(p) for p in parameters),
    )


def _sizes(input_size: Any) -> list[tuple[int, ...]]:
    """One size for each input."""
    values = list(input_size)
    if values and all(isinstance(v, int) for v in values):
        return [tuple(values)]
    if values and all(isinstance(v, Sequence) and all(isinstance(i, int) for i in v) for v in values):
        return [tuple(v) for v in values]
    raise TypeError(f"input_size is a size such as (1, 28, 28), or a list of sizes, but got {input_size!r}")


def _inputs(model: torch.nn.Module, sizes: Sequence[tuple[int, ...]], dtype: Any, device: Any) -> list[torch.Tensor]:
    """One sample of zeros for each size."""
    import torch

    parameters = list(model.parameters())
    if device is None:
        device = parameters[0].device if parameters else "cpu"
    if dtype is None:
        dtype = next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)
    dtypes = list(dtype) if isinstance(dtype, Sequence) else [dtype] * len(sizes)
    if len(dtypes) != len(sizes):
        raise TypeError(f"one dtype for each input is needed, but got {len(dtypes)} for {len(sizes)}")
    return [torch.zeros((1, *size), dtype=d, device=device) for size, d in zip(sizes, dtypes)]
