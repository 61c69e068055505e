"""Batch norm as modules: torch's constructors, parameters, buffers and errors around ``miniconv.functional``.

Each derives from torch's class of its name, which reads old checkpoints and prints the module; constructor,
initialisation and forward pass are ours, once for every number of dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm, _LazyNormBase

from miniconv import functional as F
from miniconv.nn.convolution import NotScriptable

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "Norm"]

Tensor = torch.Tensor


class Norm(NotScriptable, _BatchNorm):
    """What all batch norms share; ``ranks`` are the numbers of axes that an input may have."""

    ranks: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        torch.nn.Module.__init__(self)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, learned in (("weight", affine), ("bias", affine and bias)):
            values = torch.nn.Parameter(torch.empty(num_features, device=device, dtype=dtype)) if learned else None
            self.register_parameter(name, values)
        for name in ("running_mean", "running_var"):
            kept = torch.empty(num_features, device=device, dtype=dtype) if track_running_stats else None
            self.register_buffer(name, kept)
        count = torch.zeros((), device=device, dtype=torch.int64) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget every batch: mean 0, variance 1, none tracked."""
        if self.track_running_stats:
            for buffer, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
                if buffer is not None:
                    buffer.fill_(value)

    def reset_parameters(self) -> None:
        """Forget every batch, and begin again with weight 1 and bias 0."""
        self.reset_running_stats()
        if self.affine:
            torch.nn.init.ones_(self.weight)
            if self.bias is not None:
                torch.nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """``input`` normalised: by its own statistics in training, by the running ones in evaluation."""
        if isinstance(input, torch.fx.Proxy):  # one node, as torch.fx makes of torch's own modules
            tracer: Any = input.tracer
            node: Tensor = tracer.create_proxy("call_module", tracer.path_of_module(self), (input,), {})
            return node
        self._check_input_dim(input)
        momentum = self._counted()
        from_batch = self.training or (self.running_mean is None and self.running_var is None)
        kept = self.track_running_stats or not self.training
        running = (self.running_mean, self.running_var) if kept else (None, None)
        return self._normalised(input, running, from_batch, momentum)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in self.ranks:
            expected = " or ".join(f"{rank}D" for rank in self.ranks)
            raise ValueError(f"expected {expected} input (got {input.dim()}D input)")

    def _counted(self) -> float:
        """Count the batch if it is tracked, and say how far it moves the running statistics."""
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                return 1.0 / float(self.num_batches_tracked)
        return 0.0 if self.momentum is None else self.momentum

    def _normalised(
        self, input: Tensor, running: tuple[Tensor | None, Tensor | None], from_batch: bool, momentum: float
    ) -> Tensor:
        result: Tensor = F.batch_norm(input, *running, self.weight, self.bias, from_batch, momentum, self.eps)
        return result


class BatchNorm1d(Norm, torch.nn.BatchNorm1d):
    """Batch normalisation of vectors or sequences, (N, C) or (N, C, L): ``miniconv.functional.batch_norm`` as a module.

    Everything is said at ``BatchNorm2d``.

    >>> BatchNorm1d(3)(torch.ones(2, 3, 5)).shape
    torch.Size([2, 3, 5])
    """

    ranks = (2, 3)


class BatchNorm2d(Norm, torch.nn.BatchNorm2d):
    """Batch normalisation of images, (N, C, H, W): ``miniconv.functional.batch_norm`` as a module.

    In training the statistics are the batch's, and move the running ones; in evaluation they are the running ones,
    or the batch's where none are kept.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how far a batch moves the running statistics; None keeps the mean of all batches so far.
        affine: whether the module learns a factor and an offset for each channel.
        track_running_stats: whether it keeps running statistics.
        device, dtype: of the parameters and buffers.
        bias: whether there is an offset, if ``affine``.

    Attributes:
        weight, bias: (C,), or None.
        running_mean, running_var, num_batches_tracked: the buffers, or None.

    Raises:
        ValueError: the input has another number of axes, or in training one number a channel.

    >>> norm = BatchNorm2d(3, momentum=None)
    >>> for value in (1.0, 4.0):
    ...     out = norm(torch.full((2, 3, 4, 5), value))
    >>> norm.running_mean.tolist()
    [2.5, 2.5, 2.5]
    """

    ranks = (4,)


class BatchNorm3d(Norm, torch.nn.BatchNorm3d):
    """Batch normalisation of volumes, (N, C, D, H, W): ``miniconv.functional.batch_norm`` as a module.

    Everything is said at ``BatchNorm2d``.

    >>> BatchNorm3d(3)(torch.ones(2, 3, 4, 5, 6)).shape
    torch.Size([2, 3, 4, 5, 6])
    """

    ranks = (5,)


# torch's mixin waits for the first input and makes the parameters; the constructors and the classes are ours
class LazyBatchNorm1d(_LazyNormBase, BatchNorm1d):
    """``BatchNorm1d`` that reads C off its first input: `torch.nn.LazyBatchNorm1d`."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNormBase, BatchNorm2d):
    """``BatchNorm2d`` that reads C off its first input: `torch.nn.LazyBatchNorm2d`."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNormBase, BatchNorm3d):
    """``BatchNorm3d`` that reads C off its first input: `torch.nn.LazyBatchNorm3d`."""

    cls_to_become = BatchNorm3d
