"""The way in: from a function's call to the plan, or to the operators where somebody records or transforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from miniconv.arrays import dtype_name
from miniconv.problem import ConvProblem, Operand, stated_forms
from miniconv.remembering import Bounded, are_memorable
from miniconv.rules import per_axis_lists
from miniconv.torch_ops._operators import OPERATORS, Frame, Geometry, filled

__all__ = ["call", "convolution", "convolution_input_grad", "convolution_weight_grad", "frame"]

Tensor = torch.Tensor

_geometries: Bounded[tuple[Any, ...], Geometry] = Bounded(4096)  # a program has some hundred different convolutions


def call(op: str, operands: Sequence[Tensor], options: Mapping[str, Any]) -> Tensor:
    """The operator's result for what was written in a call; the operator's kernel checks sizes and dtypes.

    Args:
        op: ``conv2d``, ``conv_transpose1d``, ...
        operands: input, weight and, where there is one, bias.
        options: the other arguments, in any form that torch takes.
    """
    bias = operands[2] if len(operands) > 2 else None
    result: Tensor = OPERATORS["grad"](operands[0], operands[1], bias, *_remembered(op, operands, options))
    return result


def _remembered(op: str, operands: Sequence[Tensor], options: Mapping[str, Any]) -> Geometry:
    """``_geometry``, worked out once for all calls that look alike."""
    values = options.values()
    if torch.compiler.is_dynamo_compiling() or torch._C._get_tracing_state() is not None or not are_memorable(values):
        return _geometry(op, operands, options)
    seen = [(x.shape, x.dtype) for x in operands]
    key = (op, torch.is_autocast_enabled("cpu"), *seen, *values)
    try:
        found = _geometries.get(key)
    except TypeError:  # a symbolic size, which has no hash
        return _geometry(op, operands, options)
    return found or _geometries.remember(key, _geometry(op, operands, options))


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
    return filled("grad", {"input": input, "weight": weight}, bias, frame(problem))


def convolution_input_grad(problem: ConvProblem, grad_output: Tensor, weight: Tensor) -> Tensor:
    """The gradient of ``convolution`` with respect to its input, differentiable in both operands."""
    return filled("input", {"grad": grad_output, "weight": weight}, None, frame(problem))


def convolution_weight_grad(problem: ConvProblem, grad_output: Tensor, input: Tensor) -> Tensor:
    """The gradient of ``convolution`` with respect to its weight, differentiable in both operands."""
    return filled("weight", {"grad": grad_output, "input": input}, None, frame(problem))


def frame(problem: ConvProblem) -> Frame:
    """What the three operators of ``problem`` have in common, beside the tensors."""
    padding = [cells for pair in problem.padding for cells in pair]
    geometry = Geometry(
        problem.stride, padding, problem.dilation, problem.output_padding, problem.transposed, problem.groups
    )
    return Frame(problem.input_size, problem.kernel_size, problem.memory_format == "channels_last", geometry)
