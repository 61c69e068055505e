"""SyncBatchNorm: batch norm over the joined batch of several processes, on any device and backend."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from miniconv.arrays import widened
from miniconv.functional._normalisation import normalised, statistics, track
from miniconv.functional._normalisation_rules import check_operands
from miniconv.nn.normalisation import Norm

__all__ = ["SyncBatchNorm"]

Tensor = torch.Tensor


class SyncBatchNorm(Norm):
    r"""Batch normalisation over the joined batch of all processes: `torch.nn.SyncBatchNorm`, on the CPU too.

    Each process hands in its share, (N, C, *size) with any N, 0 too, and gets that share of what one process would
    compute of all of them. With count, mean and variance :math:`n_r, \mu_r, \sigma^2_r` of process r,

    .. math:: n = \sum_r n_r, \quad \mu = \frac1n \sum_r n_r \mu_r, \quad
        \sigma^2 = \frac1n \sum_r n_r \left(\sigma^2_r + (\mu_r - \mu)^2\right)

    The input's gradient takes the losses of all processes into account; those of weight and bias are of this process's
    share alone, for DistributedDataParallel to combine. Every process of the group must call forward and backward
    equally often, or the others wait for it.

    An instance of torch's common class of batch norms, but not of `torch.nn.SyncBatchNorm`: DistributedDataParallel
    refuses that one on the CPU.

    Args:
        num_features: C.
        eps, momentum, affine, track_running_stats, device, dtype, bias: as for ``BatchNorm2d``.
        process_group: the processes; None stands for all.

    Raises:
        ValueError: the input has fewer than two axes or no channels, or the joined batch one number a channel.
        RuntimeError: a size or dtype rule of ``miniconv.functional.batch_norm`` is broken.

    Numerics:
        As ``miniconv.functional.batch_norm``; the statistics of the shares are combined in their own dtype.

    Cost:
        One all_gather of 2 C + 1 numbers a process forward, one all_reduce of as many for each process backward.
        In evaluation, without a process group, or with one process: an ordinary batch norm, and no communication.
        Gradients can be differentiated again, by all processes of the group at once.

    Source:
        Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The American Statistician 37, 1983:
        the combination.

    >>> SyncBatchNorm(3)(torch.ones(2, 3, 5)).shape
    torch.Size([2, 3, 5])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        Norm.__init__(self, num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")
        if input.shape[1] == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    def _normalised(
        self, input: Tensor, running: tuple[Tensor | None, Tensor | None], from_batch: bool, momentum: float
    ) -> Tensor:
        """The joined batch where there is one; in evaluation, or alone, an ordinary batch norm."""
        group = self.process_group or dist.group.WORLD if dist.is_available() and dist.is_initialized() else None
        if group is None or not self.training or dist.get_world_size(group) < 2:
            return super()._normalised(input, running, from_batch, momentum)
        names = ("weight", "bias", "running_mean", "running_var")
        check_operands(input, dict(zip(names, (self.weight, self.bias, *running))), training=True)
        x = widened(input)
        count, mean, var = _joined(x, group)
        if not count:
            return super()._normalised(input, running, from_batch, momentum)
        if count == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
        for kept, seen in zip(running, (mean, var * count / (count - 1))):
            if kept is not None:
                track(kept, seen, momentum)
        result: Tensor = normalised(input, x, mean, var, self.weight, self.bias, self.eps)
        return result

    @classmethod
    def convert_sync_batchnorm(cls, module: torch.nn.Module, process_group: Any = None) -> Any:
        """``module`` with each batch norm in it, torch's or ours, replaced by a SyncBatchNorm of ours.

        Parameters and buffers are shared with the layers replaced. A lone batch norm comes back as a new module.

        Args:
            module: changed in place.
            process_group: of the new layers.

        >>> net = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.ReLU())
        >>> SyncBatchNorm.convert_sync_batchnorm(net)[0]
        SyncBatchNorm(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
        """
        converted = module
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            converted = _converted(module, process_group)
        for name, child in module.named_children():
            converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted


def _converted(norm: Any, process_group: Any) -> SyncBatchNorm:
    """A SyncBatchNorm with the options, parameters and buffers of another batch norm."""
    options = (norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, process_group)
    sync = SyncBatchNorm(*options, bias=norm.bias is not None)
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "training"):
        setattr(sync, name, getattr(norm, name))
    if hasattr(norm, "qconfig"):
        sync.qconfig = norm.qconfig
    return sync


def _joined(x: Tensor, group: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and biased variance of each channel over all processes; differentiable."""
    channels = x.shape[1]
    own = x.numel() // channels
    if own:
        mean, var = statistics(x)
    else:  # sums over nothing: zeros that gradients pass through, so that this process answers in backward as well
        mean = var = x.sum((0, *range(2, x.ndim)))
    row = torch.cat([mean, var, mean.new_full((1,), own)])
    every: Tensor = _Gathered.apply(row, group)  # type: ignore[no-untyped-call]  # torch ships it untyped
    mean, var, counts = every[:, :channels], every[:, channels:-1], every[:, -1:].detach()
    count = counts.sum()
    share = counts / count
    middle = (share * mean).sum(0)
    return count, middle, (share * (var + (mean - middle).square())).sum(0)


class _Gathered(torch.autograd.Function):
    """The rows of all processes as one matrix; a row's gradient is the sum of what all processes have for it."""

    @staticmethod
    def forward(ctx: Any, row: Tensor, group: Any) -> Tensor:
        ctx.group = group
        rows = [torch.empty_like(row) for _ in range(dist.get_world_size(group))]
        dist.all_gather(rows, row, group)
        return torch.stack(rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        total: Tensor = _Summed.apply(grad, ctx.group)  # type: ignore[no-untyped-call]  # torch ships it untyped
        return total[dist.get_rank(ctx.group)], None


class _Summed(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Summed.apply(grad, ctx.group), None  # type: ignore[no-untyped-call]  # torch ships it untyped
