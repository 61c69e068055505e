"""The convolution as torch's autograd sees it: three bilinear operators, closed under differentiation.

    y  = convolution(x, w)
    gx = convolution_input_grad(g, w)
    gw = convolution_weight_grad(g, x)

Each is linear in both of its operands, and the derivative of each is made of the other two. So every order of
differentiation follows from these three, and the rules below are all the rules there are. torch's gradient of a
complex operator is the conjugate one, hence the ``conj()``; on real tensors it does nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from miniconv.arrays import cast
from miniconv.dtypes import DTYPES
from miniconv.plan import plan
from miniconv.problem import ConvProblem

__all__ = ["convolution", "convolution_input_grad", "convolution_weight_grad"]

Tensor = torch.Tensor


def convolution(problem: ConvProblem, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The output of ``problem``, differentiable to any order in input, weight and bias.

    Args:
        problem: states every size; already valid.
        input, weight, bias: of ``problem``'s shapes and dtype, on one device.
    """
    result: Tensor = _Convolution.apply(problem, input, weight, bias)  # type: ignore[no-untyped-call]  # torch ships apply untyped
    return result


def convolution_input_grad(problem: ConvProblem, grad_output: Tensor, weight: Tensor) -> Tensor:
    """The gradient of ``convolution`` with respect to its input, differentiable in both operands."""
    result: Tensor = _InputGrad.apply(problem, grad_output, weight)  # type: ignore[no-untyped-call]  # torch ships apply untyped
    return result


def convolution_weight_grad(problem: ConvProblem, grad_output: Tensor, input: Tensor) -> Tensor:
    """The gradient of ``convolution`` with respect to its weight, differentiable in both operands."""
    result: Tensor = _WeightGrad.apply(problem, grad_output, input)  # type: ignore[no-untyped-call]  # torch ships apply untyped
    return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: ConvProblem, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.problem = problem
        ctx.save_for_backward(input, weight)
        result: Tensor = plan(problem)(input, weight, bias)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        problem = replace(ctx.problem, bias=False)
        _, needs_input, needs_weight, needs_bias = ctx.needs_input_grad
        per_channel = [axis for axis in range(grad.dim()) if axis != grad.dim() - 1 - problem.spatial_dims]
        return (
            None,
            convolution_input_grad(problem, grad, weight.conj()) if needs_input else None,
            _weight_grad(problem, grad, input, weight) if needs_weight else None,
            _summed(grad, per_channel, problem.dtype) if needs_bias else None,
        )


def _weight_grad(problem: ConvProblem, grad: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    """The weight's gradient; that of an empty batch is zero, and has the weight's strides as torch's has."""
    if grad.numel() or grad.is_complex():
        return convolution_weight_grad(problem, grad, input.conj())
    return torch.zeros_like(weight)


def _summed(x: Tensor, axes: list[int], dtype: str) -> Tensor:
    """The sum over ``axes``, accumulated in the compute dtype and rounded once."""
    result: Tensor = cast(cast(x, DTYPES[dtype].compute).sum(axes), dtype)
    return result


class _InputGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: ConvProblem, grad_output: Tensor, weight: Tensor) -> Tensor:
        ctx.problem = problem
        ctx.save_for_backward(grad_output, weight)
        result: Tensor = plan(problem).input_grad(grad_output, weight)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_output, weight = ctx.saved_tensors
        return (
            None,
            convolution(ctx.problem, grad, weight.conj()) if ctx.needs_input_grad[1] else None,
            convolution_weight_grad(ctx.problem, grad_output.conj(), grad) if ctx.needs_input_grad[2] else None,
        )


class _WeightGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, problem: ConvProblem, grad_output: Tensor, input: Tensor) -> Tensor:
        ctx.problem = problem
        ctx.save_for_backward(grad_output, input)
        result: Tensor = plan(problem).weight_grad(grad_output, input)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_output, input = ctx.saved_tensors
        return (
            None,
            convolution(ctx.problem, input.conj(), grad) if ctx.needs_input_grad[1] else None,
            convolution_input_grad(ctx.problem, grad_output.conj(), grad) if ctx.needs_input_grad[2] else None,
        )
