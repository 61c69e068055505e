"""One process of the SyncBatchNorm tests: runs every scenario on its share and saves what it finds.

python sync_worker.py RANK WORLD RENDEZVOUS SCENARIOS RESULT
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.distributed as dist

import miniconv.nn as nn

Tensor = torch.Tensor


def main() -> None:
    rank, world, rendezvous, scenarios, result = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{rendezvous}", rank=int(rank), world_size=int(world))
    kinds = {"norm": norm, "net": net}
    found = []
    for scenario in torch.load(scenarios, weights_only=False):
        try:
            found.append(kinds[scenario.pop("kind")](int(rank), **scenario))
        except Exception as error:  # compared by the test
            found.append({"error": f"{type(error).__name__}: {error}"})
    torch.save(found, result)
    dist.barrier()
    dist.destroy_process_group()


def norm(
    rank: int,
    shares: list[Tensor],
    grads: list[Tensor],
    options: dict[str, Any],
    steps: int = 1,
    group: list[int] | None = None,
    training: bool = True,
    twice: bool = False,
) -> dict[str, Any]:
    """Output, gradients and state of a SyncBatchNorm that trains on this process's share."""
    process_group = None if group is None else dist.new_group(group)
    layer = nn.SyncBatchNorm(3, process_group=process_group, **options).train(training)
    leaf = shares[rank].clone().requires_grad_()
    for _ in range(steps):
        out = layer(leaf)
    gradients = torch.autograd.grad(out, [leaf, *layer.parameters()], grads[rank], create_graph=twice)
    found = {"out": out.detach(), "gradients": gradients, "state": dict(layer.state_dict()), "strides": out.stride()}
    if twice:
        (found["second"],) = torch.autograd.grad(gradients[0].square().sum(), leaf)
        found["gradients"] = [gradient.detach() for gradient in gradients]
    return found


def net(rank: int, shares: list[Tensor], model: torch.nn.Module) -> dict[str, Any]:
    """The parameters' gradients and the state of a converted network under DistributedDataParallel."""
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    parallel = torch.nn.parallel.DistributedDataParallel(converted)
    parallel(shares[rank]).square().sum().backward()
    grads = {name: parameter.grad for name, parameter in converted.named_parameters()}
    return {"gradients": grads, "state": dict(converted.state_dict())}


if __name__ == "__main__":
    main()
