"""The three operators: their schemas, and what they are on real, fake and meta tensors and under autocast.

Each has a *slot* that it fills, ``"grad"`` (the output or its gradient), ``"input"`` or ``"weight"``, from the tensors
in the other two slots. Everything else that a call says is its ``Frame``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from miniconv.arrays import describe, memory_format
from miniconv.dtypes import DTYPES
from miniconv.plan import ConvPlan, plan
from miniconv.problem import ConvProblem, Operand
from miniconv.remembering import Bounded

__all__ = ["LIBRARY", "NAMES", "OPERANDS", "OPERATORS", "Frame", "Geometry", "filled", "packed", "real", "unpacked"]

Tensor = torch.Tensor

LIBRARY: Any = torch.library.Library("miniconv", "DEF")  # type: ignore[no-untyped-call]  # torch ships it untyped
NAMES = {"grad": "convolution", "input": "convolution_input_grad", "weight": "convolution_weight_grad"}
"""The operator that fills each slot."""
OPERANDS = {"grad": ("input", "weight"), "input": ("grad", "weight"), "weight": ("grad", "input")}
"""The slots of its two tensors, in the order of its schema."""
_LEADING = {
    "grad": "Tensor input, Tensor weight, Tensor? bias",
    "input": "Tensor grad_output, Tensor weight, SymInt[] input_size, bool channels_last",
    "weight": "Tensor grad_output, Tensor input, SymInt[] kernel_size, bool channels_last",
}
_plans: Bounded[tuple[Any, ...], ConvPlan] = Bounded(4096)  # a program has some hundred different convolutions
_GEOMETRY = (
    "SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt[] output_padding, bool transposed, SymInt groups"
)


class Geometry(NamedTuple):
    """The last arguments of all three schemas; ``padding`` is flat: low and high of each axis in turn."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    output_padding: Sequence[int]
    transposed: bool
    groups: int


class Frame(NamedTuple):
    """What is common to the three operators of one convolution, beside the tensors."""

    input_size: Sequence[int]
    kernel_size: Sequence[int]
    channels_last: bool  # the layout of both gradients
    geometry: Geometry


def packed(slot: str, values: Mapping[str, Tensor], bias: Tensor | None, frame: Frame) -> tuple[Any, ...]:
    """The arguments of the operator that fills ``slot``, in the order of its schema."""
    first, second = (values[name] for name in OPERANDS[slot])
    if slot == "grad":
        return (first, second, bias, *frame.geometry)
    size = frame.input_size if slot == "input" else frame.kernel_size
    return (first, second, size, frame.channels_last, *frame.geometry)


def unpacked(slot: str, args: Sequence[Any]) -> tuple[dict[str, Tensor], Tensor | None, Frame]:
    """The reverse of ``packed``."""
    values = dict(zip(OPERANDS[slot], args[:2]))
    geometry = Geometry(*args[-6:])
    input_size = args[2] if slot == "input" else values["input"].shape[values["input"].dim() - len(geometry.stride) :]
    kernel_size = args[2] if slot == "weight" else values["weight"].shape[2:]
    channels_last = args[3] if slot != "grad" else "channels_last" in (memory_format(args[0]), memory_format(args[1]))
    return values, args[2] if slot == "grad" else None, Frame(input_size, kernel_size, channels_last, geometry)


def filled(slot: str, values: Mapping[str, Tensor], bias: Tensor | None, frame: Frame) -> Tensor:
    """What goes into ``slot``: the operator called through torch's dispatcher, so recorded, batched or traced."""
    result: Tensor = OPERATORS[slot](*packed(slot, values, bias, frame))
    return result


# ---- from arguments to a problem ---------------------------------------------------------------------------------


def _stated(slot: str, first: Operand, second: Operand, third: Any, rest: tuple[Any, ...]) -> ConvProblem:
    """The problem of a call, and so its validation; ``third`` is the bias, or the size of what is to be filled."""
    geometry = Geometry(*rest[-6:])
    groups, transposed = geometry.groups, geometry.transposed
    values = dict(zip(OPERANDS[slot], (first, second)))
    layout = "channels_last" if slot != "grad" and rest[0] else "contiguous"
    if slot == "input":
        weight, grad = values["weight"]._replace(memory_format=layout), values["grad"]
        channels = weight.shape[0] if transposed else weight.shape[1] * groups
        leading = grad.shape[: len(grad.shape) - len(third) - 1]
        values["input"] = Operand((*leading, channels, *third), grad.dtype, layout, grad.kind)
        values["weight"] = weight
    if slot == "weight":
        input, grad = values["input"]._replace(memory_format=layout), values["grad"]
        axis = -1 - len(third)
        sides = (input.shape[axis], grad.shape[axis])[:: 1 if transposed else -1]
        values["weight"] = Operand((sides[0], sides[1] // groups, *third), grad.dtype, layout, grad.kind)
        values["input"] = input
    pairs = list(zip(geometry.padding[::2], geometry.padding[1::2]))
    lists = {"stride": geometry.stride, "dilation": geometry.dilation, "output_padding": geometry.output_padding}
    numbers = {name: list(value) for name, value in lists.items() if value} | {"groups": groups}
    bias = third if slot == "grad" else None
    dims = len(values["weight"].shape) - 2
    op = f"conv{'_transpose' if transposed else ''}{dims}d"
    problem = ConvProblem.from_lists(op, values["input"], values["weight"], bias, numbers, pairs)
    if slot != "grad" and (values["grad"].shape != problem.output_shape or values["grad"].dtype != problem.dtype):
        raise RuntimeError(
            f"Expected grad_output of size {list(problem.output_shape)} and dtype {problem.dtype}, but got "
            f"{list(values['grad'].shape)} and {values['grad'].dtype}"
        )
    return problem


def _statement(slot: str, args: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments of ``_stated``."""
    for name, x in zip((*OPERANDS[slot], "bias"), args[: 3 if slot == "grad" else 2]):
        if x is not None and x.layout is not torch.strided:
            raise RuntimeError(f"miniconv convolves dense tensors, but got {name} with layout {x.layout}")
    third = (None if args[2] is None else describe(args[2])) if slot == "grad" else tuple(args[2])
    rest = tuple(tuple(a) if isinstance(a, (list, tuple)) else a for a in args[3:])
    return slot, describe(args[0]), describe(args[1]), third, rest


# ---- on tensors --------------------------------------------------------------------------------------------------


def _planned(slot: str, args: Sequence[Any]) -> ConvPlan:
    """The plan of a call; made once for all calls whose tensors and numbers look alike."""
    tensors, rest = (args[:3], args[3:]) if slot == "grad" else (args[:2], args[2:])
    # the strides of a layout that has none must not be asked for
    seen = [None if x is None else x.layout is torch.strided and (x.shape, x.stride(), x.dtype) for x in tensors]
    key = (slot, *seen, *[tuple(a) if type(a) is list else a for a in rest])
    found = _plans.get(key)
    return found or _plans.remember(key, plan(_stated(*_statement(slot, args))))


def real(slot: str, *args: Any) -> Tensor:
    """The numbers, by the plan."""
    chosen = _planned(slot, args)
    result: Tensor
    if slot == "grad":
        result = chosen(*args[:3])
    else:
        result = (chosen.input_grad if slot == "input" else chosen.weight_grad)(*args[:2])
    return result


def _fake(slot: str, *args: Any) -> Tensor:
    """Shape, dtype and strides without numbers; sizes may be symbolic."""
    problem = _stated(*_statement(slot, args))
    shape = {
        "grad": problem.batched_output_shape,
        "input": problem.batched_input_shape,
        "weight": problem.weight_shape,
    }[slot]
    contiguous = problem.memory_format == "contiguous" or 0 in shape
    if contiguous or (slot != "grad" and DTYPES[problem.dtype].kind == "complex"):
        result: Tensor = args[0].new_empty(shape)
    else:
        order = (0, *range(2, len(shape)), 1)
        result = args[0].new_empty([shape[axis] for axis in order]).permute(np.argsort(order).tolist())
    return result[0] if problem.batch is None and slot != "weight" else result


def _autocast(device: str, *args: Any) -> Tensor:
    """The output under autocast: operands in the low dtype, but for float64, as torch does it."""
    dtype = torch.get_autocast_dtype(device)
    key = getattr(torch._C.DispatchKey, f"Autocast{device.upper()}")

    def lowered(x: Any) -> Any:
        eligible = isinstance(x, Tensor) and x.is_floating_point() and x.device.type == device
        return x.to(dtype) if eligible and x.dtype is not torch.float64 else x

    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
        result: Tensor = torch.ops.miniconv.convolution.default(*map(lowered, args))
    return result


def _bound(function: Callable[..., Tensor], first: str) -> Callable[..., Tensor]:
    """``partial``, with the names that torch.library reads from a function."""
    bound = partial(function, first)
    bound.__name__ = bound.__qualname__ = f"{function.__name__}_{first}"  # type: ignore[attr-defined]  # a partial takes attributes
    bound.__module__ = __name__
    return bound


for _slot, _name in NAMES.items():
    LIBRARY.define(f"{_name}({_LEADING[_slot]}, {_GEOMETRY}) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
    LIBRARY.impl(_name, _bound(real, _slot), "CompositeExplicitAutograd")
    torch.library.register_fake(f"miniconv::{_name}", _bound(_fake, _slot), lib=LIBRARY)
OPERATORS = {slot: getattr(torch.ops.miniconv, name).default for slot, name in NAMES.items()}
"""The operators, to be called through torch's dispatcher."""
for _device in ("cpu", "cuda", "mps"):
    LIBRARY.impl(NAMES["grad"], _bound(_autocast, _device), f"Autocast{_device.upper()}")
