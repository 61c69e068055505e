"""From a text to a target: a name, or ``package.module:function``, imported, looked at and, where need be, tried."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from miniconv.parity.cases import OPS
from miniconv.parity.operands import make, numbers
from miniconv.parity.oracle import Oracle
from miniconv.parity.targets.adapters import ADAPTERS, Adapter, adapted
from miniconv.parity.targets.axis_orders import AXIS_ORDERS, AxisOrder
from miniconv.parity.targets.capabilities import Capabilities
from miniconv.parity.targets.named import NAMES
from miniconv.parity.targets.refusals import plainest
from miniconv.parity.targets.signatures import conventional
from miniconv.parity.targets.target import Target, TargetError, call

__all__ = ["find"]


def find(
    text: str,
    *,
    adapter: str | None = None,
    layout: str | None = None,
    capabilities: str | None = None,
    level: str | None = None,
    op: str = "conv2d",
) -> Target:
    """The target that ``text`` names, ready for the cases of ``op``.

    Without ``adapter`` or ``layout`` the function is called on a small problem, as tensors, as NumPy arrays and, if it
    has loaded JAX, as JAX arrays, in the usual orders of the axes; what gave the right shape, and best the right
    values, is taken, and ``note`` says what was found. Without ``capabilities`` clean refusals count as UNSUPPORTED.

    Args:
        text: a key of ``NAMES``, or ``package.module:function``; dots may follow the colon, and the current directory
            is searched too.
        adapter: a key of ``ADAPTERS``; None finds out.
        layout: the order of the axes, such as ``NHWC/HWIO``; None finds out.
        capabilities: what it claims, see ``Capabilities``; it then may refuse none of that.
        level: one of ``LEVELS``; None is what its name suggests: of a function ``values``.
        op: the operator that it computes.

    Raises:
        TargetError: it cannot be imported, is not there, is not callable, cannot take (input, weight); or an option is
            not understood.

    >>> target = find("torch.nn.functional:conv2d", level="drop-in")
    >>> target.note
    'takes tensors, NCHW/OIHW (found by a call: the values are right); gradients are judged'
    """
    if op not in OPS:
        raise TargetError(f"op is one of {', '.join(OPS)}, but got {op!r}")
    try:
        claims = None if capabilities is None else Capabilities.parse(capabilities)
        order = None if layout is None else AxisOrder.parse(layout, op)
        if adapter is not None and adapter not in ADAPTERS:
            raise ValueError(f"adapter is one of {', '.join(ADAPTERS)}, but got {adapter!r}")
        target = _named(text, adapter or layout) if text in NAMES else _imported(text, op, adapter, order, claims)
        target = replace(target, level=level or target.level)
    except ValueError as error:
        raise TargetError(str(error)) from error
    if claims is None:
        return target
    return replace(target, capabilities=claims, gradients=target.gradients and claims.gradients)


def _named(text: str, option: str | None) -> Target:
    """One of ``NAMES``."""
    if option is not None:
        raise TargetError(f"{text} is miniconv's name for a target, which takes tensors: {option} has no place there")
    return NAMES[text]()


def _imported(text: str, op: str, adapter: str | None, order: AxisOrder | None, claims: Capabilities | None) -> Target:
    """A function of someone else's."""
    function = conventional(_load(text), text, strict=claims is not None)
    adapters = [ADAPTERS[adapter]] if adapter else [one for one in ADAPTERS.values() if one.module in sys.modules]
    usual = AXIS_ORDERS["conv_transpose" if "transpose" in op else "conv"]
    orders = [order] if order else [AxisOrder.parse(one, op) for one in usual]
    attempts = [Attempt(one, other) for one in adapters for other in orders]
    if len(attempts) > 1:
        attempts = [attempt.made(function, op) for attempt in attempts]
    best = max(attempts, key=lambda attempt: attempt.score)
    target = Target(
        adapted(function, best.adapter, best.order), name=text, layout=best.adapter.name == "torch", level="values",
        refusals="probed" if claims is None else "none", gradients=best.adapter.name != "numpy",
    )  # fmt: skip
    if target.gradients and claims is None:
        target = replace(target, gradients=_is_differentiable(target, op))
    note = f"takes {best}; gradients are {'' if target.gradients else 'not '}judged"
    if best.score < 2 and len(attempts) > 1:
        said: dict[str, list[str]] = {}
        for attempt in attempts:
            said.setdefault(attempt.said, []).append(f"{attempt.adapter.name} {attempt.order.text}")
        note += "".join(f"\n  as {', '.join(ways)}: {words}" for words, ways in said.items())
    return replace(target, note=note)


def _load(text: str) -> Callable[..., Any]:
    """The callable that ``package.module:function`` names."""
    module_name, colon, path = text.partition(":")
    if not colon or not path or not module_name:
        raise TargetError(f"a target is package.module:function, or one of {', '.join(NAMES)}, but got {text!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever its top level does, SystemExit too
        raise TargetError(f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
    walked = module_name
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            raise TargetError(f"{walked} has no {attribute!r}")
        found, walked = getattr(found, attribute), f"{walked}:{attribute}"
    if not callable(found):
        raise TargetError(f"{text} cannot be called: it is of type {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


class Attempt(NamedTuple):
    """A way to call a function, and what it gave.

    Attributes:
        adapter, order: how it is called.
        score: 3 for the right values, 2 for the right shape, 1 for an array of its own kind, 0 for anything else.
        said: the same in words; empty if no call was made.
    """

    adapter: Adapter
    order: AxisOrder
    score: int = 0
    said: str = ""

    def made(self, function: Callable[..., Any], op: str) -> Attempt:
        """The attempt after one call on a small problem."""
        case = plainest(op, batch=2)
        operands = make(case)
        given: list[Any] = []

        def watched(*arguments: Any, **options: Any) -> Any:
            given.append(function(*arguments, **options))
            return given[0]

        target = Target(adapted(watched, self.adapter, self.order), gradients=False)
        outcome = call(case, operands, target)
        if outcome.error is not None:
            return self._replace(said=outcome.first_line)
        result = outcome.parts["output"]
        if not isinstance(result, torch.Tensor) or (self.adapter.name == "torch") != isinstance(given[0], torch.Tensor):
            return self._replace(said=f"gives a {type(given[0]).__name__}")
        if tuple(result.shape) != case.output_shape:
            return self._replace(score=1, said=f"the shape is wrong, {tuple(given[0].shape)}")
        exact = Oracle(case, operands.values()).output().high[0]
        right = not result.is_complex() and np.array_equal(numbers(result), exact)
        return self._replace(score=2 + right, said=f"the values are {'right' if right else 'wrong'}")

    def __str__(self) -> str:
        kind = {"torch": "tensors", "numpy": "NumPy arrays", "jax": "JAX arrays"}[self.adapter.name]
        found = f" (found by a call: {self.said})" if self.score > 1 else " (no call shows it)" if self.said else ""
        return f"{kind}, {self.order.text}{found}"


def _is_differentiable(target: Target, op: str) -> bool:
    """Whether the plainest call's result can be differentiated."""
    case = plainest(op)
    parts = call(case, make(case), target).parts
    return isinstance(parts.get("weight_grad"), torch.Tensor) or isinstance(parts.get("input_grad"), torch.Tensor)
