"""What can be audited: implementations of the convolution by name, and what each computes in.

A name is a base and variants behind it, separated by colons: ``torch``, ``torch:native`` (without oneDNN),
``torch:channels_last``, ``miniconv:float16``, ``im2col``, ``package.module:conv2d``,
``package.module:conv2d:bfloat16``.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from miniconv import functional
from miniconv.algorithms import ALGORITHMS, fft
from miniconv.audit.calls import FLOATS, Call
from miniconv.parity.cases import OPS
from miniconv.parity.targets import Unsupported
from miniconv.parity.targets import find as find_target
from miniconv.parity.targets.named import without_onednn
from miniconv.patch.kernels import torchs_own
from miniconv.plan import ENGINE, plan
from miniconv.problem import ConvProblem

__all__ = ["Implementation", "find", "imported"]

VARIANTS = ("channels_last", *FLOATS)
"""The layout that the operands are given, and the dtypes that they are cast to beforehand."""


@dataclass(frozen=True)
class Implementation:
    """One side of an audit.

    Attributes:
        name: as it was asked for.
        function: is handed a ``Call`` and returns its output.
        bound: which of ``miniconv.parity.bounds.BOUNDS`` the outputs of a problem keep, and c of the FFT's.
        dtype: the operands are cast to it and the result back; None leaves the layer's own.
        channels_last: whether the operands of images and volumes are laid out channels last.
    """

    name: str
    function: Callable[[Call], Any]
    bound: Callable[[ConvProblem], tuple[str, float]] = lambda problem: ("direct", 0.0)
    dtype: str | None = None
    channels_last: bool = False

    def prepared(self, call: Call) -> Call:
        """The call with the operands that this implementation is handed: its own dtype and layout."""
        dtype = self.dtype or call.problem.dtype
        operands = {name: getattr(call, name) for name in ("input", "weight", "bias")}
        for name, x in operands.items():
            if x is not None and self.dtype is not None:
                operands[name] = x.to(getattr(torch, dtype))
        layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(call.input.dim())
        memory_format = call.problem.memory_format
        if self.channels_last and layout is not None:
            memory_format = "channels_last"
            for name in ("input", "weight"):
                operands[name] = operands[name].contiguous(memory_format=layout)
        return replace(call, problem=replace(call.problem, dtype=dtype, memory_format=memory_format), **operands)

    def finished(self, call: Call, result: torch.Tensor) -> torch.Tensor:
        """The result as the model goes on with it: what a variant changed is changed back."""
        if self.dtype is not None:
            result = result.to(getattr(torch, call.problem.dtype))
        if self.channels_last and call.problem.memory_format == "contiguous":
            result = result.contiguous()
        return result


def find(target: str | Callable[..., Any] | Implementation) -> Implementation:
    """The implementation of that name.

    Args:
        target: a name, or a function with the signature of one of torch's six convolutions, which serves the operator
            that it is named after, ``conv2d`` if it is named otherwise; or an ``Implementation``.

    Raises:
        ValueError: nothing is called that; the text says what is.

    >>> find("torch:bfloat16").dtype, find("winograd_f2").bound(ConvProblem.parse("conv2d c1 o1 i4 k3"))[0]
    ('bfloat16', 'winograd_f2')
    """
    if isinstance(target, Implementation):
        return target
    if callable(target):
        name = f"{target.__module__}:{getattr(target, '__qualname__', type(target).__name__)}"
        return Implementation(name, _of_function(target, name, _operator(getattr(target, "__name__", ""))))
    base, options = target, dict[str, Any]()
    while (words := base.rpartition(":"))[2] in VARIANTS and words[0]:
        base = words[0]
        options |= {"channels_last": True} if words[2] == "channels_last" else {"dtype": words[2]}
    if base in ("torch", "torch:native"):
        return Implementation(target, partial(_by_torch, base == "torch"), **options)
    if base == "miniconv":
        return Implementation(target, partial(_by_name, functional), _bound_of_plan, **options)
    if base in (ENGINE, *ALGORITHMS):
        return Implementation(target, partial(_by_algorithm, base), partial(_bound_of_algorithm, base), **options)
    return Implementation(target, _imported_target(base), **options)


def _imported_target(name: str) -> Callable[[Call], Any]:
    """``package.module:function``, or ``package.module`` with a function for each operator."""
    if ":" in name:
        serves = _operator(name.rpartition(":")[2].rpartition(".")[2])
        function: Any = find_target(name, op=serves).function  # on tensors, whatever arrays it takes
        return _of_function(function, name, serves)
    try:
        found = imported(name)
    except ValueError:
        if "." in name:
            raise
        known = ", ".join(("torch", "torch:native", "miniconv", ENGINE, *ALGORITHMS))
        raise ValueError(
            f"nothing is called {name!r}: name one of {known}, or package.module:function; behind it, separated by "
            f"colons, any of {', '.join(VARIANTS)}"
        ) from None
    if not any(hasattr(found, op) for op in OPS):
        raise ValueError(f"{name} is neither a function nor has one of {', '.join(OPS)}")
    return partial(_by_name, found)


def imported(module: str) -> Any:
    """The module of that name; the current folder is looked into, as by ``python -m``.

    Raises:
        ValueError: it does not import; the text says why.
    """
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise ValueError(f"{module} does not import: {type(error).__name__}: {error}") from error


def _operator(name: str) -> str:
    """The operator that a function of this name serves: the one that it is named after, else conv2d."""
    return name if name in OPS else "conv2d"


def _of_function(function: Callable[..., Any], name: str, serves: str) -> Callable[[Call], Any]:
    """One function as an implementation of one operator."""

    def run(call: Call) -> Any:
        if call.problem.op != serves:
            raise Unsupported(f"{name} is called for {serves} only")
        return function(call.input, call.weight, call.bias, **call.options)

    return run


def _by_name(namespace: Any, call: Call) -> Any:
    """The function of a namespace that is named as torch's."""
    function = getattr(namespace, call.problem.op, None)
    if function is None:
        raise Unsupported(f"{namespace.__name__} has no {call.problem.op}")
    return function(call.input, call.weight, call.bias, **call.options)


def _by_torch(onednn: bool, call: Call) -> Any:
    """torch's function, whatever is patched, with oneDNN where it would take it or without."""
    with torchs_own(), nullcontext() if onednn else without_onednn():
        return _by_name(torch.nn.functional, call)


def _by_algorithm(name: str, call: Call) -> Any:
    """One algorithm of miniconv's."""
    try:
        chosen = plan(call.problem, name)
    except ValueError as error:
        raise Unsupported(str(error).partition(": ")[2]) from error
    return chosen(call.input, call.weight, call.bias)


def _bound_of_algorithm(name: str, problem: ConvProblem) -> tuple[str, float]:
    if name == ENGINE:
        return _bound_of_plan(problem)
    return ALGORITHMS[name].bound, fft.BOUND_CONSTANT


def _bound_of_plan(problem: ConvProblem) -> tuple[str, float]:
    """What miniconv chooses by itself: the engine says in ``explain`` when it takes its Winograd path."""
    chosen = plan(problem)
    if chosen.algorithm == ENGINE:
        return ("winograd" if "path winograd" in chosen.explain() else "direct"), 0.0
    return ALGORITHMS[chosen.algorithm].bound, fft.BOUND_CONSTANT
