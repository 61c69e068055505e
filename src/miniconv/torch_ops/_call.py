"""The way in: from a function's call to the plan, or to the operators where somebody records or transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.autograd import forward_ad

from miniconv.arrays import dtype_name
from miniconv.problem import ConvProblem, Operand, stated_forms
from miniconv.rules import per_axis_lists
from miniconv.settings import current as settings
from miniconv.torch_ops._operators import OPERATORS, Frame, Geometry, filled

__all__ = ["call", "convolution", "convolution_input_grad", "convolution_weight_grad", "is_plain", "plain"]

Tensor = torch.Tensor

GEOMETRIES = 4096  # remembered at most: a program has some hundred different convolutions
_geometries: dict[tuple[Any, ...], Geometry] = {}

READY = 1024  # remembered at most
_ready: dict[tuple[Any, ...], Any] = {}

# looked up once: a small convolution takes less time than finding these in their modules
is_dynamo_compiling, is_grad_enabled = torch.compiler.is_dynamo_compiling, torch.is_grad_enabled
is_autocast_enabled, get_num_threads = torch.is_autocast_enabled, torch.get_num_threads
are_transforms_active, dispatch_modes = torch._C._are_functorch_transforms_active, torch._C._len_torch_dispatch_stack
tracing_state = torch._C._get_tracing_state

_PLAIN_TYPES = (torch.Tensor, torch.nn.Parameter)


def is_plain(operands: Sequence[Tensor]) -> bool:
    """Whether nothing records or transforms a call: then it is the plan's, and the dispatcher has no part in it."""
    if is_dynamo_compiling():
        return False
    if is_grad_enabled():
        for x in operands:
            if x.requires_grad:
                return False
    if (
        are_transforms_active()
        or dispatch_modes()
        or forward_ad._current_level >= 0
        or tracing_state() is not None
        or is_autocast_enabled("cpu")
    ):
        return False
    return all(type(x) in _PLAIN_TYPES and x.is_cpu and x.layout is torch.strided for x in operands)


def plain(op: str, operands: Sequence[Tensor], options: Mapping[str, Any], fresh: Callable[[], Any]) -> Tensor | None:
    """The result of a plain call like one before, if the engine computed that one; None sends the call on.

    Args:
        op: ``conv2d``, ``conv_transpose1d``, ...
        operands: input, weight and, where there is one, bias; of a call that ``is_plain``.
        options: the other arguments.
        fresh: gives the plan, when such a call comes for the first time.
    """
    for value in options.values():
        kind = type(value)  # 1 == 1.0 == True: a float must not find what an integer left behind
        if kind is not int and kind is not str and (kind is not tuple or not all(type(i) is int for i in value)):
            return None
    key = [op, settings(), get_num_threads(), *options.values()]
    for x in operands:
        if x.is_neg():
            return None
        key += [x.shape, x.stride(), x.dtype]
    name = tuple(key)
    ready = _ready.get(name)
    if ready is None:
        ready = fresh().ready(*operands)
        if ready is None:
            return None
        if len(_ready) >= READY:
            _ready.clear()
        _ready[name] = ready
    result: Tensor = ready(operands[0], operands[1], operands[2] if len(operands) > 2 else None)
    return result


def call(op: str, operands: Sequence[Tensor], options: Mapping[str, Any]) -> Tensor:
    """The operator's result for what was written in a call; the operator's kernel checks sizes and dtypes.

    Args:
        op: ``conv2d``, ``conv_transpose1d``, ...
        operands: input, weight and, where there is one, bias.
        options: the other arguments, in any form that torch takes.
    """
    bias = operands[2] if len(operands) > 2 else None
    geometry = _remembered(op, operands, options) if _is_memorable(options) else _geometry(op, operands, options)
    result: Tensor = OPERATORS["grad"](operands[0], operands[1], bias, *geometry)
    return result


def _is_memorable(options: Mapping[str, Any]) -> bool:
    """Whether all is plain integers: 1 == 1.0 == True, but a float must not find what an integer left behind."""
    if torch.compiler.is_dynamo_compiling() or torch._C._get_tracing_state() is not None:
        return False
    for value in options.values():
        kind = type(value)
        if kind is not int and kind is not str and not (kind is tuple and all(type(i) is int for i in value)):
            return False
    return True


def _remembered(op: str, operands: Sequence[Tensor], options: Mapping[str, Any]) -> Geometry:
    """``_geometry``, worked out once for all calls that look alike."""
    seen = [(x.shape, x.dtype) for x in operands]
    key = (op, torch.is_autocast_enabled("cpu"), *seen, *options.values())
    try:
        found = _geometries.get(key)
    except TypeError:  # a symbolic size, which has no hash
        return _geometry(op, operands, options)
    if found is None:
        if len(_geometries) >= GEOMETRIES:
            _geometries.clear()
        found = _geometries[key] = _geometry(op, operands, options)
    return found


def _geometry(op: str, operands: Sequence[Tensor], options: Mapping[str, Any]) -> Geometry:
    """What the operators take, from the options in any form that torch takes."""
    dims = int(op[-2])
    input, weight, *bias = _described(operands)
    numbers, pairs = stated_forms(op, options, input, weight, bias[0] if bias else None, dims)
    lists = per_axis_lists(weight.shape, numbers, pairs)
    return Geometry(
        lists["stride"],
        [cells for pair in lists["padding"] for cells in pair],
        lists["dilation"],
        lists["output_padding"],
        op.startswith("conv_transpose"),
        numbers["groups"],
    )


def _described(operands: Sequence[Tensor]) -> list[Operand]:
    """What the forms of arguments depend on; one dtype for all under autocast, which may yet change the true ones."""
    if torch.compiler.is_dynamo_compiling() or torch._C._get_tracing_state() is None:
        cast = torch.is_autocast_enabled("cpu")
        dtypes = ("float32" if cast else dtype_name(x) for x in operands)
        return [Operand(tuple(x.shape), dtype, kind=type(x).__name__) for x, dtype in zip(operands, dtypes)]
    # torch.jit.trace turns sizes into tensors; the few numbers that are worked out of them are the kernel's
    tracing = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]  # missing in torch's stubs
    try:
        return [Operand(tuple(x.shape), kind=type(x).__name__) for x in operands]
    finally:
        torch._C._set_tracing_state(tracing)  # type: ignore[attr-defined]  # likewise


def convolution(problem: ConvProblem, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The output of ``problem``, differentiable to any order in input, weight and bias.

    Args:
        problem: states every size; already valid.
        input, weight, bias: of ``problem``'s shapes and dtype, on one device.
    """
    return filled("grad", {"input": input, "weight": weight}, bias, _frame(problem))


def convolution_input_grad(problem: ConvProblem, grad_output: Tensor, weight: Tensor) -> Tensor:
    """The gradient of ``convolution`` with respect to its input, differentiable in both operands."""
    return filled("input", {"grad": grad_output, "weight": weight}, None, _frame(problem))


def convolution_weight_grad(problem: ConvProblem, grad_output: Tensor, input: Tensor) -> Tensor:
    """The gradient of ``convolution`` with respect to its weight, differentiable in both operands."""
    return filled("weight", {"grad": grad_output, "input": input}, None, _frame(problem))


def _frame(problem: ConvProblem) -> Frame:
    padding = [cells for pair in problem.padding for cells in pair]
    geometry = Geometry(
        problem.stride, padding, problem.dilation, problem.output_padding, problem.transposed, problem.groups
    )
    return Frame(problem.input_size, problem.kernel_size, problem.memory_format == "channels_last", geometry)
