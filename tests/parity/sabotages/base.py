"""What the sabotages are made of: the right convolutions, and the table that the wrong ones enter themselves in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from miniconv.parity.targets import Target, family

HALF = (torch.float16, torch.bfloat16)
SLIP = "a plausible slip"


def github(path: str) -> str:
    """The address of a thread on GitHub."""
    return f"https://github.com/{path}"


def per_axis(value: Any, dims: int) -> tuple[int, ...]:
    """One number for each spatial axis."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


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
    """A wrong target of one operator.

    Attributes:
        target: the wrong convolution.
        caught_by: the verdicts of which one must be the first that catches it.
        op: the operator.
        source: address of a report of this bug, in whatever library; or ``SLIP``.
    """

    target: Target
    caught_by: tuple[str, ...]
    op: str = "conv2d"
    source: str = SLIP


SABOTAGES: dict[str, Sabotage] = {}


def sabotage(
    *caught_by: str, op: str = "conv2d", source: str = SLIP
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a wrong convolution under its own name."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        SABOTAGES[function.__name__] = Sabotage(Target(function, name=function.__name__), caught_by, op, source)
        return function

    return register


def base(op: str) -> Target:
    """The right convolution that the sabotages of an operator are made of."""
    if op == "conv2d":
        return Target(right, RightModule)
    return family(torch.nn.functional, torch.nn)  # a target like any other: nothing is excused
