"""One process of several: trains a sharded network and writes what it has seen. Not a test; test_distributed starts it.

python two_processes.py RANK WORLD_SIZE FOLDER: the processes meet in a file in FOLDER, and each writes
FOLDER/RANK.pt: for every scenario the gradients of each step and, from patch(), what was taken.

Weights and pictures are small integers and every factor is a power of two, so no result depends on an order of
summation: the gradients of the sharded batch must equal those of one process bit for bit.
"""

from __future__ import annotations

import contextlib
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import miniconv
import miniconv.nn as own_nn

STEPS = 2
PATIENCE = timedelta(seconds=60)  # a collective that waits longer raises: a lost process must not hang the others


def network(nn: Any) -> torch.nn.Module:
    """Every kind of layer that divides differently: grouped, strided, transposed, one-dimensional at the end."""
    model = torch.nn.Sequential(
        nn.Conv2d(3, 6, (3, 2), stride=(1, 2), padding=(1, 0), padding_mode="circular"),
        nn.ReLU(),
        nn.Conv2d(6, 4, (2, 3), groups=2, bias=False),
        nn.ConvTranspose2d(4, 5, (3, 2), stride=(2, 1), padding=(1, 0)),
        nn.ReLU(),
        nn.Flatten(2),
        nn.Conv1d(5, 2, 3, dilation=2),
    ).double()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_((torch.arange(parameter.numel()).reshape(parameter.shape) * 7 + number) % 5 - 2)
    return model


def pictures(rank: int, world_size: int) -> torch.Tensor:
    """The share of one process out of a batch of six pictures of integers."""
    whole = (torch.arange(6 * 3 * 5 * 8).reshape(6, 3, 5, 8) * 11 % 13 - 6).double()
    return whole.chunk(world_size)[rank]


def loss(output: torch.Tensor) -> torch.Tensor:
    """A sum with a different factor at every place but the batch's, and a square: exact on integers."""
    factors = torch.arange(output[0].numel(), dtype=output.dtype).reshape(output.shape[1:]) % 4 - 1
    return (output * factors).sum() + output.square().sum() / 1024


def train(model: torch.nn.Module, x: torch.Tensor, accumulate: bool = False) -> list[torch.Tensor]:
    """The gradients of every step; ``accumulate`` feeds the pictures one by one and only then exchanges."""
    seen = []
    for _ in range(STEPS):
        model.zero_grad()
        parts = x.split(1) if accumulate else (x,)
        for number, part in enumerate(parts):
            wait = accumulate and number + 1 < len(parts)
            with model.no_sync() if wait else contextlib.nullcontext():  # type: ignore[operator]  # DDP's method
                loss(model(part)).backward()
        seen += [whole(p.grad) for p in model.parameters()]
        step(model)
    return seen


def step(model: torch.nn.Module) -> None:
    """One step of sign descent, which leaves the weights small integers: then the next gradients are exact too."""
    for parameter in model.parameters():
        parameter.grad.sign_()  # type: ignore[union-attr]  # every parameter has one
    torch.optim.SGD(model.parameters(), lr=1.0).step()


def whole(gradient: Any) -> torch.Tensor:
    """A copy of a gradient, put together if it is sharded."""
    return (gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient).clone()


def replicated(nn: Any, x: torch.Tensor, **options: Any) -> list[torch.Tensor]:
    """DistributedDataParallel; its buckets are so small that there are several."""
    return train(DistributedDataParallel(network(nn), bucket_cap_mb=1e-4), x, **options)


def sharded(nn: Any, x: torch.Tensor, **options: Any) -> list[torch.Tensor]:
    """FSDP2: each layer's parameters are cut along their first axis, and gathered for its forward and backward."""
    model = network(nn)
    for layer in model:
        if list(layer.parameters()):
            fully_shard(layer, **options)
    return train(fully_shard(model, **options), x)


def accumulated(nn: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """DistributedDataParallel that exchanges gradients after several backward passes."""
    return replicated(nn, x, accumulate=True)


SCENARIOS = {"ddp": replicated, "ddp no_sync": accumulated, "fsdp2": sharded}


def main(rank: int, world_size: int, folder: Path) -> None:
    """Run every scenario with miniconv.nn and with torch.nn under patch()."""
    store = dist.FileStore(str(folder / "store"), world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size, timeout=PATIENCE)
    try:
        x, results = pictures(rank, world_size), {}
        for name, scenario in SCENARIOS.items():
            results[name, "miniconv.nn"] = (scenario(own_nn, x), None)
            with miniconv.patch() as report:
                gradients = scenario(torch.nn, x)
            results[name, "patch"] = (gradients, (report.taken, report.handed_back))
        torch.save(results, folder / f"{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
