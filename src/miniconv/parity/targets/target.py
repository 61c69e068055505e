"""A target, how a case calls it, and what came of the call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from miniconv.parity.bounds import BOUNDS
from miniconv.parity.cases import OPS, Case
from miniconv.parity.data import DEFAULTS, arguments
from miniconv.parity.operands import Operands
from miniconv.parity.options import LEVELS
from miniconv.parity.results import same_but_for_ones

if TYPE_CHECKING:
    from miniconv.parity.targets.capabilities import Capabilities

__all__ = [
    "GRADIENTS", "LEVELS", "REFUSALS", "TORCH", "Inexpressible", "Outcome", "Target", "TargetError", "Unsupported",
    "call", "family",
]  # fmt: skip

GRADIENTS = ("input_grad", "weight_grad", "bias_grad")

REFUSALS = ("named", "probed", "none")
"""Which exceptions of a target are refusals: ``Unsupported`` alone; all that ``miniconv.parity.targets.refusals`` takes
for one; none, because it must serve whatever it claims."""


class TargetError(ValueError):
    """A target that cannot be judged at all: a mistake in how it is named, not in what it computes."""


class Unsupported(Exception):
    """Raised by a target that refuses a case cleanly; the case counts as UNSUPPORTED, not as wrong."""


class Inexpressible(Unsupported):
    """Raised for a case that cannot be written down for the target: its arrays have no such dtype, say."""


@dataclass(frozen=True)
class Target:
    """An implementation to judge.

    Attributes:
        function: a callable with the signature of torch's of the same operator, ``torch.nn.functional.conv2d`` for a
            case of conv2d; or such callables by the operator's name.
        module: a class with the signature of ``torch.nn.Conv2d``, for the padding modes, or such classes by the
            operator's name; without one, torch's module pads and the function does the rest.
        name: how ``reproduce`` finds it again, ``package.module:function``; empty for miniconv.
        bound: which of ``miniconv.parity.bounds.BOUNDS`` its outputs keep.
        fft_constant: c of the FFT's bound.
        gradients: whether its results can be differentiated.
        layout: whether its strides must be torch's, at level ``drop-in``.
        level: one of ``LEVELS``.
        capabilities: which cases it claims to serve; the others are UNSUPPORTED. None: every case.
        refusals: which exceptions count as UNSUPPORTED, one of ``REFUSALS``.
        is_torch: whether it is torch, whose own faults the catalogue of divergences explains.
        note: what was found out about it, for a person to read.
    """

    function: Callable[..., Any] | Mapping[str, Callable[..., Any]]
    module: Callable[..., Any] | Mapping[str, Callable[..., Any]] | None = None
    name: str = ""
    bound: str = "direct"
    fft_constant: float = 0.0
    gradients: bool = True
    layout: bool = True
    level: str = "drop-in"
    capabilities: Capabilities | None = None
    refusals: str = "named"
    is_torch: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        for name, allowed in (("bound", BOUNDS), ("level", LEVELS), ("refusals", REFUSALS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} is one of {', '.join(allowed)}, but got {value!r}")

    def function_for(self, case: Case) -> Callable[..., Any]:
        """What ``case`` calls."""
        return self.function[case.op] if isinstance(self.function, Mapping) else self.function

    def module_for(self, case: Case) -> Callable[..., Any]:
        """The class that ``case`` builds for its padding mode."""
        module = self.module[case.op] if isinstance(self.module, Mapping) else self.module
        return module or _module_around(case.op, self.function_for(case))


def family(functions: Any, modules: Any, **options: Any) -> Target:
    """The target of every operator from two namespaces such as ``torch.nn.functional`` and ``torch.nn``.

    Args:
        functions: has ``conv1d`` to ``conv_transpose3d``.
        modules: has ``Conv1d`` to ``Conv3d``.
        options: the other fields of a ``Target``.
    """
    classes = {op: getattr(modules, op.capitalize()) for op in OPS if "transpose" not in op}
    return Target({op: getattr(functions, op) for op in OPS}, classes, **options)


TORCH = family(torch.nn.functional, torch.nn, name="torch", is_torch=True)
"""torch itself, as it was when this module was imported."""


@dataclass
class Outcome:
    """What a call gave: tensors by the name of the part, or an exception and the part that it came in."""

    parts: dict[str, torch.Tensor | None]
    error: BaseException | None = None
    failed_in: str = "call"
    modified: bool = False
    seconds: float = 0.0

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
    outcome, start = Outcome({}), time.perf_counter()
    try:
        outcome.parts["output"] = output = _forward(case, leaves, target)
        if target.level == "values" and isinstance(output, torch.Tensor):
            shape = operands.grad.shape
            if output.shape != shape and same_but_for_ones(output.shape, shape):
                output = output.reshape(shape)
        if differentiable and _can_be_differentiated(output, operands.grad):
            outcome.failed_in = "gradients"
            present = [(name, leaf) for name, leaf in zip(GRADIENTS, leaves) if leaf is not None]
            along = operands.grad.to(output.dtype)
            grads = torch.autograd.grad(output, [leaf for _, leaf in present], along, allow_unused=True)
            outcome.parts.update(zip((name for name, _ in present), grads))
    except KeyboardInterrupt:  # the person at the keyboard, who wants all of it to stop
        raise
    except BaseException as error:  # any other exception of a target, SystemExit too, is a verdict on it
        outcome.error = error
    outcome.seconds = time.perf_counter() - start
    return outcome


def _can_be_differentiated(output: Any, grad: torch.Tensor) -> bool:
    """Whether it is a tensor of ``grad``'s shape and kind that recorded where it comes from."""
    return (
        isinstance(output, torch.Tensor)
        and output.shape == grad.shape
        and output.is_complex() == grad.is_complex()
        and output.requires_grad
    )


def _forward(case: Case, leaves: list[torch.Tensor | None], target: Target) -> Any:
    """The call itself: the function, or the module where a padding mode asks for it."""
    input, weight, bias = leaves
    present = (input, weight) if bias is None else (input, weight, bias)
    passed = arguments(case)
    if case.padding_mode == "zeros":
        return target.function_for(case)(*present, **passed)
    module = target.module_for(case)(
        case.in_channels, case.out_channels, case.kernel_size, **passed, bias=case.bias, padding_mode=case.padding_mode
    )
    for name, leaf in (("weight", weight), ("bias", bias)):
        if leaf is not None:  # a leaf in place of the parameter, so that its gradient can be asked for
            delattr(module, name)
            setattr(module, name, leaf)
    return module(input)


def _module_around(op: str, function: Callable[..., Any]) -> type[torch.nn.Module]:
    """torch's module with its border, around another function."""

    def forward(self: Any, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> Any:
        padded = torch.nn.functional.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
        given = {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}
        options = {name: value for name, value in given.items() if np.any(np.not_equal(value, DEFAULTS[name]))}
        return function(padded, weight, *([] if bias is None else [bias]), **options)

    return type("Around", (getattr(torch.nn, op.capitalize()),), {"_conv_forward": forward})
