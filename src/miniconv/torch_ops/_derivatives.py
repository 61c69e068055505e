"""The derivatives of the three operators: one rule, both directions, every order.

With T(x, w, g) the sum of g * (x conv w), the operator that fills a slot is T's derivative by that slot. Hence

    backward:  tangent t arrives in the filled slot; the gradient of an operand is what fills *its* slot, from t and
               the conjugate of the other operand
    forward:   a tangent of an operand takes the operand's place; the terms are added

torch's gradient of a complex function is the conjugate one; on real tensors ``conj()`` does nothing. The bias, which
the output alone has, enters as a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad

from miniconv.arrays import cast, dtype_name
from miniconv.dtypes import DTYPES
from miniconv.torch_ops._operators import LIBRARY, NAMES, OPERANDS, OPERATORS, Frame, filled, real, unpacked

Tensor = torch.Tensor

_CPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)


class Call:
    """One call of an operator, to be recorded.

    Attributes:
        slot: the operator's.
        rest: everything in its schema after the tensors.
        compute: gives the result for its tensors.
        transformed: whether somebody else than autograd may ask for a derivative.
    """

    __slots__ = ("compute", "rest", "slot", "transformed")

    def __init__(self, slot: str, rest: Sequence[Any], compute: Callable[..., Tensor], transformed: bool) -> None:
        self.slot, self.rest, self.compute, self.transformed = slot, rest, compute, transformed

    def gradient(self, slot: str, tangent: Tensor, other: Tensor) -> Tensor | None:
        """What fills ``slot``, if it need not be recorded and no dispatcher is needed; else None."""
        return None


class _Product(torch.autograd.Function):
    """One of the three operators, recorded."""

    @staticmethod
    def forward(ctx: Any, call: Call, first: Tensor, second: Tensor, *bias: Tensor | None) -> Tensor:
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(first, second)
        if call.transformed:
            ctx.save_for_forward(first, second)
        return call.compute(first, second, *bias)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor | None) -> tuple[Tensor | None, ...]:
        needs = ctx.needs_input_grad[1:]
        if tangent is None:
            return (None,) * (1 + len(needs))
        saved = ctx.saved_tensors  # once: hooks may have packed them
        grads = [_gradient(ctx.call, saved, tangent, place) if needs[place] else None for place in (0, 1)]
        grads += [bias_grad(tangent, saved[1].dim() - 2) if needed else None for needed in needs[2:]]
        return (None, *grads)

    @staticmethod
    def jvp(ctx: Any, _call: None, *tangents: Tensor | None) -> Tensor:
        values, frame = _recalled(ctx.call, ctx.saved_tensors)
        terms = [
            filled(ctx.call.slot, values | {name: tangent}, None, frame)
            for name, tangent in zip(OPERANDS[ctx.call.slot], tangents)
            if tangent is not None
        ]
        bias = tangents[2] if len(tangents) > 2 else None
        if bias is not None:
            per_channel = bias.reshape(-1, *(1,) * len(frame.kernel_size))
            terms.append(per_channel if terms else per_channel + _zeros(ctx.call.slot, values, frame))
        return sum(terms[1:], start=terms[0])


record: Any = super(torch.autograd.Function, _Product).apply
"""``_Product`` applied to a ``Call`` and its tensors, without the checks of torch.func's nesting."""


def _recalled(call: Call, saved: Sequence[Tensor]) -> tuple[dict[str, Tensor], Frame]:
    values, _, frame = unpacked(call.slot, (*saved, *(None,) * (call.slot == "grad"), *call.rest))
    return values, frame


def _gradient(call: Call, saved: Sequence[Tensor], tangent: Tensor, place: int) -> Tensor:
    """The gradient of the operand in that place: what fills its slot, from the tangent and the other operand.

    Nothing can be read off empty tensors, whose gradient is zero with the operand's strides.
    """
    slot, name = OPERANDS[call.slot][place], OPERANDS[call.slot][1 - place]
    like, other = saved[place], saved[1 - place]
    found = None if torch.is_grad_enabled() else call.gradient(slot, tangent, other)
    if found is not None:
        return found
    if tangent.numel() == 0 or other.numel() == 0:
        keep = slot == "weight" and not like.is_complex()
        return torch.zeros_like(like, memory_format=torch.preserve_format if keep else torch.contiguous_format)
    _, frame = _recalled(call, saved)
    return filled(slot, {call.slot: tangent, name: other.conj()}, None, frame)


def bias_grad(grad: Tensor, dims: int) -> Tensor:
    """The sum over all but the channels, accumulated in the compute dtype and rounded once."""
    dtype = dtype_name(grad)
    axes = [axis for axis in range(grad.dim()) if axis != grad.dim() - 1 - dims]
    result: Tensor = cast(cast(grad, DTYPES[dtype].compute).sum(axes), dtype)
    return result


def _zeros(slot: str, values: dict[str, Tensor], frame: Frame) -> Tensor:
    """Zeros of the result's shape."""
    return torch.zeros_like(filled(slot, {name: x.detach() for name, x in values.items()}, None, frame))


def _below(slot: str, keys: Any, args: Sequence[Any]) -> Tensor:
    """The operator as the dispatcher continues below autograd."""
    below = keys & torch._C._after_autograd_keyset
    if torch._C._are_functorch_transforms_active():
        # a Function switches recording off, but an outer torch.func transform still has to record what is below
        with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True), torch._C._AutoDispatchBelowAutograd():
            return OPERATORS[slot].redispatch(below, *args)  # type: ignore[no-any-return]  # as its schema says
    with torch._C._AutoDispatchBelowAutograd():
        if below == _CPU:  # nothing in between: what the dispatcher would call, 5 us sooner
            return real(slot, *args)
        return OPERATORS[slot].redispatch(below, *args)  # type: ignore[no-any-return]  # likewise


def _recording(slot: str) -> Callable[..., Tensor]:
    """The operator's kernel at torch's autograd keys."""
    count = 3 if slot == "grad" else 2

    def kernel(keys: Any, *args: Any) -> Tensor:
        tensors, rest = args[:count], args[count:]
        transformed = torch._C._are_functorch_transforms_active()
        recorded = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)
        if not (recorded or transformed or forward_ad._current_level >= 0):
            return _below(slot, keys, args)
        call = Call(slot, rest, lambda *tensors: _below(slot, keys, (*tensors, *rest)), transformed=True)
        if not transformed:
            return record(call, *tensors)  # type: ignore[no-any-return]  # torch ships apply untyped
        # torch.func's own level is what this kernel was called for, so its check for nesting does not apply
        with enable_single_level_autograd_function():
            return record(call, *tensors)  # type: ignore[no-any-return]  # likewise

    return kernel


for _slot, _name in NAMES.items():
    LIBRARY.impl(_name, _recording(_slot), "Autograd", with_keyset=True)
