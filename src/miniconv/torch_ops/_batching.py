"""The operators under vmap: B convolutions at once are one larger convolution.

Each slot is a product of two of the three axes N, C_in, C_out; a batch is folded into the axis that its slots share:

    not batched   the batch joins
    weight        N
    input         C_out, inside each group
    grad          C_in, inside each group
    none of them  the groups: B times as many

So no operand is ever copied B times where one is not batched.
"""

from __future__ import annotations

from typing import Any

import torch

from miniconv.torch_ops._operators import LIBRARY, NAMES, OPERANDS, Geometry, filled, unpacked

Tensor = torch.Tensor

_SHARED = {"weight": "N", "input": "C_out", "grad": "C_in"}


def _place(slot: str, joined: str, geometry: Geometry) -> tuple[int, int]:
    """The axis of ``slot`` that the batch joins, and in how many parts (groups) that axis comes."""
    grouped = 0 if slot == "weight" else 1  # the axis that the groups divide
    if joined == "groups":
        return grouped, 1
    outer = ("C_in", "C_out") if geometry.transposed else ("C_out", "C_in")
    axis = {"input": ("N", "C_in"), "weight": outer, "grad": ("N", "C_out")}[slot].index(joined)
    return axis, geometry.groups if axis == grouped else 1


def _fold(x: Tensor, axis: int, parts: int) -> Tensor:
    """(B, ..., parts * rest, ...) -> (..., parts * B * rest, ...)."""
    split = x.reshape(*x.shape[: axis + 1], parts, x.shape[axis + 1] // parts, *x.shape[axis + 2 :])
    return split.movedim(0, axis + 1).flatten(axis, axis + 2)


def _unfold(x: Tensor, axis: int, parts: int, batch: int) -> Tensor:
    """The reverse of ``_fold``."""
    split = x.reshape(*x.shape[:axis], parts, batch, x.shape[axis] // (parts * batch), *x.shape[axis + 1 :])
    return split.movedim(axis + 1, 0).flatten(axis + 1, axis + 2)


def _batched(slot: str, batch: int, in_dims: tuple[Any, ...], *args: Any) -> tuple[Tensor, int]:
    """The rule: batch axes to the front, fold, call, unfold."""
    count = 3 if slot == "grad" else 2
    tensors = [x if dim is None else x.movedim(dim, 0) for x, dim in zip(args[:count], in_dims)]
    values, bias, frame = unpacked(slot, (*tensors, *args[count:]))
    is_batched = dict(zip((*OPERANDS[slot], "bias"), (dim is not None for dim in in_dims[:count])))
    geometry = frame.geometry
    # an image without N gets one, for as long as the rule lasts
    single = any(
        x.dim() - is_batched[name] == 1 + len(geometry.stride) for name, x in values.items() if name != "weight"
    )
    for name in values:
        if single and name != "weight":
            values[name] = values[name].unsqueeze(int(is_batched[name]))
    still = [name for name in values if not is_batched[name]]
    joined = _SHARED[still[0]] if len(still) == 1 and not is_batched.get("bias") else "groups"
    for name, x in values.items():
        if joined == "groups" and not is_batched[name]:
            x = x.expand(batch, *x.shape)
        elif not is_batched[name]:
            continue
        values[name] = _fold(x, *_place(name, joined, geometry))
    if bias is not None and joined != "N":
        every = bias if is_batched["bias"] else bias.expand(batch, *bias.shape)
        bias = _fold(every, 0, 1 if joined == "groups" else geometry.groups)
    if joined == "groups":
        frame = frame._replace(geometry=geometry._replace(groups=geometry.groups * batch))
    result = _unfold(filled(slot, values, bias, frame), *_place(slot, joined, geometry), batch)
    return (result.squeeze(1) if single and slot != "weight" else result), 0


def _rule(slot: str) -> Any:
    return lambda info, in_dims, *args: _batched(slot, info.batch_size, in_dims, *args)


for _slot, _name in NAMES.items():
    torch.library.register_vmap(f"miniconv::{_name}", _rule(_slot), lib=LIBRARY)
