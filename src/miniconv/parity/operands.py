"""A case's operands as torch tensors: the numbers of ``data`` in the dtype and the layout that the case asks for."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from miniconv.parity.cases import INTEGER_DTYPES, Case
from miniconv.parity.data import Array, Values, draw

__all__ = ["Operands", "changed", "make", "memory", "numbers", "place"]

JUNK = 77
"""What lies between the elements of a sliced operand: reading it changes the result."""


class Operands(NamedTuple):
    """The tensors of one call; ``grad`` is what gradients are taken along."""

    input: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    grad: torch.Tensor

    def values(self) -> Values:
        """The numbers that the tensors really hold, for the oracle."""
        bias = None if self.bias is None else numbers(self.bias)
        return Values(numbers(self.input), numbers(self.weight), bias, numbers(self.grad))


_PLACES = {
    "channels_last": ("channels_last", "contiguous"),
    "channels_last_weight": ("contiguous", "channels_last"),
    "channels_last_both": ("channels_last", "channels_last"),
    "transposed_weight": ("contiguous", "transposed_weight"),
}
"""How input and weight lie where they lie differently, or otherwise than the layout is called."""


def make(case: Case) -> Operands:
    """The operands of ``case``, with every shape and dtype that ``case.given`` replaces."""
    values = draw(case)
    of_input, of_weight = _PLACES.get(case.layout, (case.layout, case.layout))
    replaced = {name: text for name, text in case.given if name.partition(":")[0] in ("input", "weight", "bias")}

    def tensor(name: str, array: Array | None, how: str, batched: bool = True) -> torch.Tensor | None:
        if name in replaced:
            shape = tuple(map(int, replaced[name].split("x"))) if replaced[name] else ()
            array = np.resize(values.weight, shape)
        if array is None:
            return None
        dtype = getattr(torch, replaced.get(f"{name}:", case.dtype))
        return place(torch.from_numpy(array).to(dtype), how, batched)

    batched = case.batch is not None
    input, weight = tensor("input", values.input, of_input, batched), tensor("weight", values.weight, of_weight)
    grad = tensor("grad", values.grad, of_input, batched)
    assert input is not None
    assert weight is not None
    assert grad is not None
    bias = tensor("bias", values.bias, "sliced" if case.layout == "sliced" else "contiguous")
    return Operands(input, weight, bias, grad)


def place(tensor: torch.Tensor, how: str, batched: bool = True) -> torch.Tensor:
    """``tensor``'s numbers laid out in memory as ``how`` says.

    ``channels_last`` puts a pixel's channels side by side, of images and of volumes. ``sliced`` is every second element
    of a larger tensor full of junk. ``expanded`` repeats the first image (of a single image: its first channel) with a
    stride of 0, so the numbers change. ``transposed_weight`` stores the second axis first.
    """
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.ndim + (not batched))
    if how == "channels_last" and last is not None:
        return tensor.to(memory_format=last) if batched else tensor[None].to(memory_format=last)[0]
    if how == "sliced":
        spread = min(2, tensor.ndim)
        kept, doubled = tensor.shape[: tensor.ndim - spread], tensor.shape[tensor.ndim - spread :]
        every_second: Any = (..., *(slice(1, None, 2),) * spread)
        view = torch.full([*kept, *(2 * size + 1 for size in doubled)], JUNK, dtype=tensor.dtype)[every_second]
        return view.copy_(tensor)
    if how == "expanded" and tensor.numel():
        axis = 0 if tensor.shape[0] > 1 else 1
        return tensor.narrow(axis, 0, 1).expand(tensor.shape)
    if how == "transposed_weight":
        return tensor.transpose(0, 1).contiguous().transpose(0, 1)
    return tensor.contiguous()


def numbers(tensor: torch.Tensor) -> Array:
    """The numbers of a tensor as int64, float64 or complex128, nothing rounded."""
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if tensor.dtype == torch.complex32:
        tensor = torch.view_as_real(tensor).double()
        return torch.view_as_complex(tensor).numpy()
    wide = torch.int64 if str(tensor.dtype)[6:] in INTEGER_DTYPES else torch.float64
    array: Array = tensor.to(torch.complex128 if tensor.is_complex() else wide).numpy()
    return array


def memory(operands: Operands) -> list[torch.Tensor]:
    """The bytes behind every operand, those between the elements of a view included."""
    return [_bytes(tensor).clone() for tensor in operands[:3] if tensor is not None]


def changed(operands: Operands, before: list[torch.Tensor]) -> bool:
    """Whether any byte behind an operand differs from what ``memory`` saw."""
    after = [_bytes(tensor) for tensor in operands[:3] if tensor is not None]
    return any(not torch.equal(a, b) for a, b in zip(after, before))


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor over the whole of another's storage, byte by byte."""
    return torch.tensor([], dtype=torch.uint8).set_(tensor.untyped_storage())
