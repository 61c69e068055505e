"""``receptive_field``: which part of the input each layer of a network sees.

The model runs once; every operator that torch runs is followed, in branches and sums too. Reading the files: ``axis``
(fields on one axis, exactly), ``state`` (what is known of a tensor), ``rules`` (what each operator does to it),
``follow`` (the run), ``fields`` (what is returned), ``picture`` (fields drawn over a picture).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from miniconv.receptive_field.axis import AxisField
from miniconv.receptive_field.fields import LayerField, ReceptiveFields

if TYPE_CHECKING:
    import torch

__all__ = ["AxisField", "LayerField", "ReceptiveFields", "receptive_field"]


def receptive_field(
    model: torch.nn.Module, input_size: Sequence[int], *, dtype: torch.dtype | None = None
) -> ReceptiveFields:
    """Which part of the input each layer of a model sees: size, stride, start and centre on each axis.

    The model runs once, on one sample of zeros, in evaluation mode and without gradients; modes and hooks are as before
    afterwards. Followed are convolutions, ordinary and transposed, of torch and of miniconv; pooling; interpolation;
    padding; sums, products and concatenations of branches; views; reductions, matrix products with weights, norms,
    attention; and all that is done element by element. What is not followed has no field, and its reason is said.

    Args:
        model: any module, of ``torch.nn`` or ``miniconv.nn``.
        input_size: of one sample, without the batch axis: (C, *spatial).
        dtype: of the input; None takes that of the model's first floating parameter, else float32.

    Returns:
        A ``ReceptiveFields``, which prints itself as a table.

    Raises:
        TypeError: ``input_size`` is no size with a channel and at least one spatial axis.
        Exception: whatever the model raises on such an input.

    Numerics:
        Exact: sets of positions, no real numbers. A field says what *can* matter: a weight of zero hides it. On each
        axis by itself: where branches see a cross, the fields are the box around it. At the border, cells of padding
        count as if the layers before them went on there.

    Cost:
        One forward pass, whose tensors are all kept until its end.

    Source:
        Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill, 2019: the
        recursion for chains of windows, and branches, whose fields are united; ``axis`` derives it.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.Conv2d(10, 20, (5, 3), padding=1))
    >>> print(receptive_field(net, (1, 28, 30)))
    receptive fields on the input 28x30
    Layer        Output  Field  Stride  Start   Centre
    --------------------------------------------------
    Conv2d-1      24x26    5x5     1x1    0,0      2,2
    MaxPool2d-2   12x13    6x6     2x2    0,0  2.5,2.5
    Conv2d-3      10x13  14x10     2x2  -2,-2  4.5,2.5
    """
    import torch

    from miniconv.receptive_field.follow import follow

    if len(input_size) < 2 or not all(isinstance(size, int) for size in input_size):
        raise TypeError(f"input_size is a size such as (3, 224, 224), but got {input_size!r}")
    first = next(iter(model.parameters()), torch.empty(0))
    floating = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    x = torch.zeros((1, *input_size), dtype=dtype or floating, device=first.device)
    ran, end = follow(model, x)
    rows = [
        LayerField.of(f"{name}-{number}", path, tuple(tensor.shape), known)
        for number, (name, path, tensor, known) in enumerate(ran, 1)
    ]
    output = LayerField.of("output", "", end.shape if not isinstance(end, str) else (), end)
    return ReceptiveFields(tuple(input_size[1:]), tuple(rows), output)
