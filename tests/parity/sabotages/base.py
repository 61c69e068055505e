"""What the sabotages are made of: the right convolutions, and the table that the wrong ones enter themselves in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from miniconv.parity.targets import Target

HALF = (torch.float16, torch.bfloat16)


def right(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, *args: Any, **options: Any
) -> Any:
    """conv2d as it should be: torch's, in float32 and rounded once where the dtype is narrower."""
    operands = (input, weight) if bias is None else (input, weight, bias)
    if {x.dtype for x in operands} == {input.dtype} and input.dtype in HALF:
        wide = [x.float() for x in operands]
        present = wide if bias is not None or not args else [*wide, None]
        return torch.nn.functional.conv2d(*present, *args, **options).to(input.dtype)
    present = operands if bias is not None or not args else (*operands, None)
    return torch.nn.functional.conv2d(*present, *args, **options)


class RightModule(torch.nn.Conv2d):
    """Conv2d as it should be, with one place to get the border wrong."""

    def border(self, input: torch.Tensor, pairs: Any) -> torch.Tensor:
        return torch.nn.functional.pad(input, pairs, mode=self.padding_mode)

    def _conv_forward(self, input, weight, bias):
        padded = self.border(input, self._reversed_padding_repeated_twice)
        return right(padded, weight, bias, self.stride, 0, self.dilation, self.groups)


class Sabotage(NamedTuple):
    """A wrong target of one operator, and the verdicts of which one must be the first that catches it."""

    target: Target
    caught_by: tuple[str, ...]
    op: str = "conv2d"


SABOTAGES: dict[str, Sabotage] = {}


def sabotage(*caught_by: str, op: str = "conv2d") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a wrong convolution under its own name."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        SABOTAGES[function.__name__] = Sabotage(Target(function, name=function.__name__), caught_by, op)
        return function

    return register
