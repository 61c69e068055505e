"""What is judged: a target, how a case calls it, and what came of the call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from miniconv.parity.bounds import BOUNDS
from miniconv.parity.cases import Case
from miniconv.parity.data import arguments
from miniconv.parity.operands import Operands

__all__ = ["GRADIENTS", "TORCH", "Outcome", "Target", "Unsupported", "call"]

GRADIENTS = ("input_grad", "weight_grad", "bias_grad")


class Unsupported(Exception):
    """Raised by a target that refuses a case cleanly; the case counts as UNSUPPORTED, not as wrong."""


@dataclass(frozen=True)
class Target:
    """An implementation to judge.

    Attributes:
        conv2d: a callable with the signature of ``torch.nn.functional.conv2d``.
        module: a class with the signature of ``torch.nn.Conv2d``, for the padding modes; without one, torch's
            module pads and ``conv2d`` does the rest.
        name: how ``reproduce`` finds it again, ``package.module:function``; empty for miniconv.
        bound: which of ``miniconv.parity.bounds.BOUNDS`` its outputs keep.
        fft_constant: c of the FFT's bound.
        gradients: whether its results can be differentiated.
        layout: whether its strides must be torch's.
    """

    conv2d: Callable[..., Any]
    module: Callable[..., Any] | None = None
    name: str = ""
    bound: str = "direct"
    fft_constant: float = 0.0
    gradients: bool = True
    layout: bool = True

    def __post_init__(self) -> None:
        if self.bound not in BOUNDS:
            raise ValueError(f"bound is one of {', '.join(BOUNDS)}, but got {self.bound!r}")


TORCH = Target(torch.nn.functional.conv2d, torch.nn.Conv2d, "torch.nn.functional:conv2d")
"""torch itself, as it was when this module was imported."""


@dataclass
class Outcome:
    """What a call gave: tensors by the name of the part, or an exception and the part that it came in."""

    parts: dict[str, torch.Tensor | None]
    error: Exception | None = None
    failed_in: str = "call"
    modified: bool = False

    @property
    def first_line(self) -> str:
        """``RuntimeError: the first line of its message``."""
        return f"{type(self.error).__name__}: {(str(self.error).splitlines() or [''])[0]}"


def call(case: Case, operands: Operands, target: Target) -> Outcome:
    """Calls the target and takes its gradients along ``operands.grad``."""
    differentiable = target.gradients and case.differentiable
    leaves = [None if t is None else t.detach() for t in operands[:3]]
    for leaf in leaves:
        if leaf is not None and (leaf.is_floating_point() or leaf.is_complex()):
            leaf.requires_grad_(differentiable)
    outcome = Outcome({})
    try:
        output = _forward(case, leaves, target)
        outcome.parts["output"] = output
        if differentiable and isinstance(output, torch.Tensor) and output.shape == operands.grad.shape:
            outcome.failed_in = "gradients"
            present = [(name, leaf) for name, leaf in zip(GRADIENTS, leaves) if leaf is not None]
            grads = torch.autograd.grad(output, [leaf for _, leaf in present], operands.grad, allow_unused=True)
            outcome.parts.update(zip((name for name, _ in present), grads))
    except Exception as error:  # any exception of a target is a verdict on it
        outcome.error = error
    return outcome


def _forward(case: Case, leaves: list[torch.Tensor | None], target: Target) -> Any:
    """The call itself: the function, or the module where a padding mode asks for it."""
    input, weight, bias = leaves
    present = (input, weight) if bias is None else (input, weight, bias)
    passed = arguments(case)
    if case.padding_mode == "zeros":
        return target.conv2d(*present, **passed)
    make_module: Callable[..., Any] = target.module or _module_around(target.conv2d)
    module = make_module(
        case.in_channels, case.out_channels, case.kernel_size, **passed, bias=case.bias, padding_mode=case.padding_mode
    )
    for name, leaf in (("weight", weight), ("bias", bias)):
        if leaf is not None:  # a leaf in place of the parameter, so that its gradient can be asked for
            delattr(module, name)
            setattr(module, name, leaf)
    return module(input)


def _module_around(conv2d: Callable[..., Any]) -> type[torch.nn.Conv2d]:
    """torch's module with its border, around another function."""

    class Around(torch.nn.Conv2d):
        def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> Any:
            pairs = self._reversed_padding_repeated_twice
            padded = torch.nn.functional.pad(input, pairs, mode=self.padding_mode)
            options = {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}
            return conv2d(padded, weight, bias, **options)

    return Around
