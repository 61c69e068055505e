"""What DataLoader's workers need to import by name: a data set that convolves, and a way to put pictures together.

Not a test; test_processes uses it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import miniconv.functional as F
import miniconv.nn as nn
from miniconv.problem import ConvProblem

KERNEL = (np.arange(2 * 3 * 3 * 2).reshape(2, 3, 3, 2) % 5 - 2).astype(np.float64)


def picture(index: int) -> np.ndarray[Any, Any]:
    """A picture of small integers, another for every index."""
    return ((np.arange(3 * 6 * 7).reshape(3, 6, 7) * (index + 3)) % 11 - 5).astype(np.float64)


def layer() -> torch.nn.Module:
    """A layer with small integers as weights."""
    conv = nn.Conv2d(3, 4, (2, 3), stride=(2, 1), padding=(1, 0)).double()
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) % 7 - 3)
    return conv


class Pictures(torch.utils.data.Dataset[Any]):
    """Each picture once convolved as an array, once as a tensor, and once by a layer that the data set carries."""

    def __init__(self, conv: torch.nn.Module) -> None:
        self.conv = conv

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[Any, torch.Tensor, torch.Tensor]:
        array = picture(index)
        tensor = torch.from_numpy(array)
        with torch.no_grad():
            return F.conv2d(array, KERNEL), F.conv2d(tensor, torch.from_numpy(KERNEL)), self.conv(tensor)


def collate(samples: list[tuple[Any, torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, ...]:
    """A batch of each kind, the last one convolved once more, with gradients, in the worker."""
    arrays, tensors, outputs = zip(*samples)
    batch = torch.stack(outputs).requires_grad_()
    F.conv2d(batch, torch.ones(1, 4, 2, 3, dtype=batch.dtype)).square().sum().backward()
    assert batch.grad is not None
    return torch.from_numpy(np.stack(arrays)), torch.stack(tensors), batch.detach(), batch.grad


def answer(connection: Any) -> None:
    """In a process of its own: take (function, arguments) from the pipe, send what it gives, until None comes."""
    while (request := connection.recv()) is not None:
        function, arguments = request
        connection.send(function(*arguments))


def trained(module: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The output and the gradients of a module that came through a pipe."""
    y = module(x)
    y.square().sum().backward()
    return [y.detach(), *(p.grad for p in module.parameters() if p.grad is not None)]


def materialised(module: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The parameters that a lazy module draws at its first call."""
    torch.manual_seed(4)
    module(x)
    return [p.detach() for p in module.parameters()]


def run_plan(chosen: Any, *operands: Any) -> tuple[Any, str]:
    """What a plan that came through a pipe computes, and what it says of itself."""
    assert {chosen.problem} == {ConvProblem.parse(str(chosen.problem))}  # equal, and of one hash in this process
    return chosen(*operands), chosen.explain()
