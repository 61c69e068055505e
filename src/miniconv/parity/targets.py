"""What is judged: a target, how a case calls it, and what came of the call."""

from __future__ import annotations

import importlib
import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from miniconv.parity.bounds import BOUNDS
from miniconv.parity.cases import OPS, Case
from miniconv.parity.data import arguments
from miniconv.parity.operands import Operands

__all__ = ["GRADIENTS", "TORCH", "Outcome", "Target", "TargetError", "Unsupported", "call", "family", "find"]

GRADIENTS = ("input_grad", "weight_grad", "bias_grad")


class TargetError(ValueError):
    """A target that cannot be judged at all: a mistake in how it is named, not in what it computes."""


class Unsupported(Exception):
    """Raised by a target that refuses a case cleanly; the case counts as UNSUPPORTED, not as wrong."""


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
        layout: whether its strides must be torch's.
        level: one of ``miniconv.parity.options.LEVELS``.
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
    note: str = ""

    def __post_init__(self) -> None:
        if self.bound not in BOUNDS:
            raise ValueError(f"bound is one of {', '.join(BOUNDS)}, but got {self.bound!r}")

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


TORCH = family(torch.nn.functional, torch.nn, name="torch")
"""torch itself, as it was when this module was imported."""


def find(text: str, *, op: str = "conv2d", level: str | None = None) -> Target:
    """The target that ``text`` names.

    Args:
        text: ``package.module:function``, ``miniconv`` or ``torch``.
        op: the operator that it computes.
        level: one of ``miniconv.parity.options.LEVELS``; None is what its name suggests: of a function ``values``.

    Raises:
        TargetError: there is no such thing, or it cannot be called as a convolution.
    """
    if text == "miniconv":
        own = family(importlib.import_module("miniconv.functional"), importlib.import_module("miniconv.nn"))
        return replace(own, level=level or own.level)
    if text == TORCH.name:
        return replace(TORCH, level=level or TORCH.level)
    function = _load(text)
    try:
        inspect.signature(function).bind("input", "weight")
    except ValueError:
        pass  # a compiled function that tells nothing of itself
    except TypeError as error:
        raise TargetError(f"{text} cannot be called with (input, weight): {error}") from error
    return Target(function, name=text, level=level or "values", layout=level == "drop-in")


def _load(text: str) -> Callable[..., Any]:
    """The callable that ``package.module:function`` names."""
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise TargetError(f"a target is package.module:function, or miniconv or torch, but got {text!r}")
    try:
        found: Any = importlib.import_module(module)
    except BaseException as error:  # whatever its top level does, SystemExit too
        raise TargetError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise TargetError(f"{module} has no {name!r}")
        found = getattr(found, part)
    if not callable(found):
        raise TargetError(f"{text} cannot be called: it is of type {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


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
        output = _forward(case, leaves, target)
        outcome.parts["output"] = output
        if differentiable and isinstance(output, torch.Tensor) and output.shape == operands.grad.shape:
            outcome.failed_in = "gradients"
            present = [(name, leaf) for name, leaf in zip(GRADIENTS, leaves) if leaf is not None]
            grads = torch.autograd.grad(output, [leaf for _, leaf in present], operands.grad, allow_unused=True)
            outcome.parts.update(zip((name for name, _ in present), grads))
    except KeyboardInterrupt:  # the person at the keyboard, who wants all of it to stop
        raise
    except BaseException as error:  # any other exception of a target, SystemExit too, is a verdict on it
        outcome.error = error
    outcome.seconds = time.perf_counter() - start
    return outcome


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
        options = {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}
        return function(padded, weight, bias, **options)

    return type("Around", (getattr(torch.nn, op.capitalize()),), {"_conv_forward": forward})
