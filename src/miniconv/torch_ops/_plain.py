"""The plain call: the engine is handed the addresses of tensors that look like those of an earlier call.

It serves calls that nobody transforms; autograd alone may record them. All else is the operators'. What an earlier
call decided is found by all that the decision depended on: the arguments, the settings, and each tensor's shape,
strides and dtype. Its derivatives are found likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch.autograd import forward_ad

from miniconv.arrays import dtype_name
from miniconv.codegen import unavailable_reason
from miniconv.plan import ENGINE, ConvPlan
from miniconv.remembering import Bounded, are_memorable
from miniconv.settings import current as settings
from miniconv.torch_ops._call import frame
from miniconv.torch_ops._derivatives import Call, record

__all__ = ["ReadyGradients", "is_plain", "looker_for", "plain"]

Tensor = torch.Tensor

# looked up once: a small convolution takes less time than finding these in their modules
is_dynamo_compiling, is_grad_enabled = torch.compiler.is_dynamo_compiling, torch.is_grad_enabled
is_autocast_enabled, get_num_threads = torch._C._is_any_autocast_enabled, torch.get_num_threads
are_transforms_active, dispatch_modes = torch._C._are_functorch_transforms_active, torch._C._len_torch_dispatch_stack
is_function_mode_enabled = torch._C._is_torch_function_mode_enabled
tracing_state = torch._C._get_tracing_state

_PLAIN_TYPES = (torch.Tensor, torch.nn.Parameter)
LAYOUTS = 16  # of gradients, remembered for one call at most


def is_plain(operands: Sequence[Tensor]) -> bool:
    """Whether nothing records or transforms a call: then it is the plan's, and the dispatcher has no part in it."""
    if _is_transformed() or (is_grad_enabled() and any(x.requires_grad for x in operands)):
        return False
    return all(type(x) in _PLAIN_TYPES and x.is_cpu and x.layout is torch.strided for x in operands)


def _is_transformed() -> bool:
    """Whether anybody but autograd has a say in this thread's calls."""
    return (
        is_dynamo_compiling()
        or is_function_mode_enabled()
        or are_transforms_active()
        or dispatch_modes() > 0
        or forward_ad._current_level >= 0
        or tracing_state() is not None
        or is_autocast_enabled()
    )


@lru_cache(maxsize=16)
def looker_for(algorithm: str | None = None) -> Callable[..., bytes]:
    """What tells shape, strides and dtype of tensors as bytes; none without memory here, or not the engine's."""
    capsule = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    if algorithm not in (None, ENGINE) or capsule is None or unavailable_reason() is not None:
        return lambda *tensors: b""
    from miniconv.codegen.entry import looker

    return looker(capsule)


class ReadyGradients:
    """The gradients of one plan by the engine: its work for operands that look alike is prepared once."""

    __slots__ = ("_known", "plan")

    def __init__(self, plan: ConvPlan) -> None:
        self.plan = plan
        self._known: Bounded[tuple[Any, ...], Callable[..., Tensor]] = Bounded(LAYOUTS)

    def __call__(self, slot: str, grad_output: Tensor, other: Tensor) -> Tensor | None:
        """The gradient in ``slot``, not recorded; None if that is not the engine's, or its operands do not fit.

        Args:
            slot: ``"input"`` or ``"weight"``.
            grad_output, other: plain tensors, of which none is to be negated as it is read.
        """
        now = settings()
        seen = looker_for(now.algorithm)(grad_output, other)
        if not seen:
            return None
        key = (slot, seen, now, get_num_threads())
        run = self._known.get(key)
        if run is None:
            found = self._found(slot, grad_output, other)
            if found is None:
                return None
            run = self._known.remember(key, found)
        return run(grad_output, other)

    def _found(self, slot: str, grad_output: Tensor, other: Tensor) -> Callable[..., Tensor] | None:
        problem = self.plan.problem
        wanted = problem.weight_shape if slot == "input" else problem.input_shape
        shapes, dtypes = (grad_output.shape, other.shape), {dtype_name(grad_output), dtype_name(other)}
        if shapes != (problem.output_shape, wanted) or dtypes != {problem.dtype}:
            return None
        find = self.plan.ready_input_grad if slot == "input" else self.plan.ready_weight_grad
        return find(grad_output, other)


class _Known(Call):
    """What a plain call decided: the engine's work, and that of its derivatives as they are wanted."""

    __slots__ = ("_gradients",)

    def __init__(self, plan: ConvPlan, compute: Callable[..., Tensor]) -> None:
        super().__init__("grad", frame(plan.problem).geometry, compute, transformed=False)
        self._gradients = ReadyGradients(plan)

    def gradient(self, slot: str, tangent: Tensor, other: Tensor) -> Tensor | None:
        """The gradient in ``slot``, not recorded; None if that is not the engine's."""
        if _is_transformed() or any(type(x) not in _PLAIN_TYPES or x.is_neg() for x in (tangent, other)):
            return None
        return self._gradients(slot, tangent, other)


_known: Bounded[tuple[Any, ...], _Known] = Bounded(1024)


def plain(
    op: str, operands: Sequence[Tensor], options: tuple[Any, ...], fresh: Callable[..., ConvPlan]
) -> Tensor | None:
    """The result of a plain call, recorded where a gradient is wanted; None if it is not the engine's or not plain.

    Args:
        op: ``conv2d``, ``conv_transpose1d``, ...
        operands: input, weight and, where there is one, bias; of any kind.
        options: the other arguments.
        fresh: gives the plan for the same arguments, when such a call comes for the first time.
    """
    if _is_transformed():
        return None
    wanted = False
    for x in operands:
        if type(x) not in _PLAIN_TYPES or x.is_neg():
            return None
        if x.requires_grad:
            wanted = True
    for option in options:
        if type(option) is not int and not are_memorable((option,)):
            return None
    now = settings()
    seen = looker_for(now.algorithm)(*operands)
    if not seen:
        return None
    key = (op, options, seen, now, get_num_threads())
    known = _known.get(key)
    if known is None:
        chosen = fresh(op, operands, options)
        ready = chosen.ready(*operands)
        if ready is None:
            return None
        known = _known.remember(key, _Known(chosen, ready))
    if wanted and is_grad_enabled():
        return record(known, *operands)  # type: ignore[no-any-return]  # torch ships it untyped
    return known.compute(*operands)
