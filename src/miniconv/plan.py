"""From a problem to numbers: choose an algorithm once, then run it as often as wanted.

``plan(problem)`` is cached. A ``ConvPlan`` is the three bilinear operators of one problem (output, input gradient,
weight gradient), on NumPy arrays and on tensors. It trusts its operands: their owner has validated the problem.

The way of the numbers is written once, in ``_run``: operands are cast to the compute dtype; tensors on the CPU become
NumPy views of the same memory, tensors elsewhere stay where they are and the same algorithm runs there on torch's
operations; the bias is added; the sum is rounded once, and laid out in the problem's memory format; a tensor gets
memory of torch's own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from miniconv import arrays
from miniconv.algorithms import ALGORITHMS, im2col
from miniconv.arrays import Array
from miniconv.codegen import unavailable_reason
from miniconv.dtypes import DTYPES
from miniconv.lazy import cached_property, loading
from miniconv.problem import ConvProblem
from miniconv.settings import current

if TYPE_CHECKING:
    from miniconv.codegen.operands import Compiled, Ready
    from miniconv.codegen.weight_grad import CompiledWeightGrad

    Operation = Compiled | CompiledWeightGrad

__all__ = ["ConvPlan", "plan"]

ENGINE = "engine"
PHASES = 64

Operator = Callable[[ConvProblem, Array, Array], Array]


@dataclass(frozen=True)
class ConvPlan:
    """How one problem is computed; made by ``plan``.

    Attributes:
        problem: the problem.
        requested: the algorithm that was asked for, or None: then ``miniconv.config`` and the problem decide.
        refused: the algorithms that cannot serve the problem, each with its reason.
    """

    problem: ConvProblem
    requested: str | None
    refused: dict[str, str] = field(compare=False)

    @property
    def algorithm(self) -> str:
        """The algorithm of the forward pass: ``"engine"`` or a key of ``miniconv.algorithms.ALGORITHMS``."""
        wanted = self.requested or current().algorithm
        if wanted is None or wanted in self.refused:
            wanted = "im2col" if ENGINE in self.refused else ENGINE
        return "im2col" if wanted == ENGINE and _missing() else wanted

    def __call__(self, input: Array, weight: Array, bias: Array | None = None) -> Array:
        """The output, of ``problem.output_shape``.

        Args:
            input: of ``problem.input_shape`` and dtype; a NumPy array or a tensor, any strides. No gradient is
                recorded.
            weight: of ``problem.weight_shape``, likewise.
            bias: (C_out,) or None, likewise.
        """
        shape, batched = self.problem.batched_output_shape, self._batched(input)
        algorithm = self.algorithm
        if algorithm == ENGINE and _is_near(input):
            result = self._run_compiled(self._compiled, shape, batched, weight, bias)
        else:
            by_name = ALGORITHMS["im2col" if algorithm == ENGINE else algorithm].conv
            result = self._run(im2col.input_grad if self.problem.transposed else by_name, shape, batched, weight, bias)
        return result[0] if self.problem.batch is None else result

    def ready(self, input: Array, weight: Array, bias: Array | None = None) -> Ready | None:
        """A shorter way for calls with operands just like these, under the settings of now; None if there is none.

        What is returned takes input, weight and bias and gives the output, and looks at nothing but their addresses.
        """
        if not self._is_direct(input, weight) or (bias is not None and bias.stride() != (1,)):
            return None
        now = current()
        return self._compiled.ready(input, weight, now.threads, now.reproducible)

    def ready_input_grad(self, grad_output: Array, weight: Array) -> Ready | None:
        """Likewise for ``input_grad``."""
        if not self._is_direct(grad_output, weight) or not self._has_compiled_adjoint or self._is_cut:
            return None
        now = current()
        return self._compiled_adjoint.ready(grad_output, weight, now.threads, now.reproducible)

    def ready_weight_grad(self, grad_output: Array, input: Array) -> Ready | None:
        """Likewise for ``weight_grad``."""
        if not self._is_direct(grad_output, input) or self._compiled_weight_grad is None or self._is_cut:
            return None
        now = current()
        if not self.problem.transposed:
            return self._compiled_weight_grad.ready(grad_output, input, now.threads, now.reproducible)
        run = self._compiled_weight_grad.ready(input, grad_output, now.threads, now.reproducible)
        return lambda grad_output, input: run(input, grad_output)

    def _is_direct(self, *operands: Array) -> bool:
        """Whether the engine computes with these as they are: batched, in the compute dtype, none of them empty."""
        problem = self.problem
        if self.algorithm != ENGINE or problem.batch is None or DTYPES[problem.dtype].compute != problem.dtype:
            return False
        return 0 not in problem.output_shape and all(0 not in x.shape for x in operands)

    def input_grad(self, grad_output: Array, weight: Array) -> Array:
        """The gradient with respect to the input, of ``problem.input_shape``; operands as in ``__call__``."""
        shape, batched = self.problem.batched_input_shape, self._reached(grad_output)
        if self.algorithm == ENGINE and self._has_compiled_adjoint and _is_near(grad_output):
            result = self._run_compiled(self._compiled_adjoint, shape, batched, weight)
        else:
            backward = im2col.conv if self.problem.transposed else im2col.input_grad
            result = self._run(backward, shape, batched, weight, gradient=True)
        return result[0] if self.problem.batch is None else result

    def weight_grad(self, grad_output: Array, input: Array) -> Array:
        """The gradient with respect to the weight, of ``problem.weight_shape``; operands as in ``__call__``."""
        pair = (self._reached(grad_output), self._batched(input))
        # the adjoint's input is this problem's grad_output, and its grad_output this problem's input
        first, second = pair[::-1] if self.problem.transposed else pair
        compiled = self._compiled_weight_grad if self.algorithm == ENGINE and _is_near(input) else None
        if compiled is not None:
            return self._run_compiled(compiled, self.problem.weight_shape, first, second)
        return self._run(im2col.weight_grad, self.problem.weight_shape, first, second, gradient=True)

    def _run_compiled(
        self, compiled: Operation, shape: tuple[int, ...], first: Array, second: Array, bias: Any = None
    ) -> Array:
        """The engine on two batched operands: like ``_run``, but it adds the bias and lays the result out itself."""
        if 0 in (*first.shape, *second.shape, *shape):
            return arrays.zeros(shape, first)
        compute = DTYPES[self.problem.dtype].compute
        now = current()
        if compute == self.problem.dtype:
            return compiled(first, second, bias, now.threads, now.reproducible)
        with np.errstate(all="ignore"):  # overflow is Inf, without a warning
            first, second = arrays.cast(first, compute), arrays.cast(second, compute)
            bias = None if bias is None else arrays.cast(bias, compute)
            result = compiled(first, second, bias, now.threads, now.reproducible)
            return arrays.cast(result, self.problem.dtype)

    @cached_property
    def _compiled(self) -> Compiled:
        """The output by the engine."""
        return _compile(self.problem)

    @cached_property
    def _compiled_adjoint(self) -> Compiled:
        """The input gradient by the engine: the adjoint's output."""
        return _compile(replace(self.problem.adjoint, memory_format=self.problem.memory_format))

    @cached_property
    def _compiled_weight_grad(self) -> CompiledWeightGrad | None:
        """The weight's gradient by the engine; None if it refuses. A transposed problem's is its adjoint's."""
        from miniconv.codegen.weight_grad import CompiledWeightGrad, weight_grad_refusal

        problem = _batched(self.problem)
        problem = problem.adjoint if problem.transposed else problem
        return CompiledWeightGrad(problem) if weight_grad_refusal(problem) is None else None

    @property
    def _has_compiled_adjoint(self) -> bool:
        return self.problem.transposed or math.prod(self.problem.stride) <= PHASES

    @property
    def _is_cut(self) -> bool:
        """Whether the output has cells at its end that no input reaches."""
        return self.problem.transposed and self.problem.adjoint.input_size != self.problem.output_size

    def explain(self) -> str:
        """What is computed, by which algorithm, at which cost, and why others refuse; text for a person."""
        problem, algorithm = self.problem, self.algorithm
        adjoint = problem.transposed and algorithm != ENGINE
        lines = [
            str(problem),
            f"  output         {' x '.join(map(str, problem.output_shape))}",
            f"  algorithm      {algorithm}" + ", as the adjoint of an ordinary convolution" * adjoint,
            f"  accumulates in {DTYPES[problem.dtype].compute}",
            f"  multiply-adds  {problem.multiply_adds:,}, {problem.in_bounds_multiply_adds:,} of them on real input",
        ]
        if algorithm == ENGINE and 0 not in (*problem.input_shape, *problem.weight_shape, *problem.output_shape):
            now = current()
            explained = self._compiled.explain(now.threads, now.reproducible)
            lines += [f"  engine         {line}" for line in explained]
        if algorithm == "im2col":
            lines.append(f"  workspace      columns in blocks of at most {arrays.COLUMNS_BYTES // 2**20} MiB")
        lines += [f"  not {name}: {reason}" for name, reason in self.refused.items()]
        return "\n".join(lines)

    def _batched(self, x: Array) -> Array:
        return x[None] if self.problem.batch is None else x

    def _reached(self, grad_output: Array) -> Array:
        """``grad_output``, batched, without the cells at the end of a transposed output that no input reaches."""
        batched = self._batched(grad_output)
        size = self.problem.adjoint.input_size if self.problem.transposed else self.problem.output_size
        return batched[(..., *map(slice, size))]

    def _run(
        self,
        operator: Operator,
        shape: tuple[int, ...],
        first: Array,
        second: Array,
        bias: Array | None = None,
        gradient: bool = False,
    ) -> Array:
        """``operator`` on two batched operands, with everything around it: see the module's text."""
        problem = self.problem
        if 0 in (*first.shape, *second.shape, *shape):
            return arrays.zeros(shape, first)
        compute = DTYPES[problem.dtype].compute
        first_in, second_in = _enter(first, compute), _enter(second, compute)
        with np.errstate(all="ignore"):  # Inf and NaN are data here, and integers wrap: as in torch, without a warning
            result = operator(problem.adjoint if problem.transposed else problem, first_in, second_in)
            unreached = [(0, want - got) for want, got in zip(shape[2:], result.shape[2:])]
            result = arrays.pad(result, unreached)
            if bias is not None:
                result += _enter(bias, compute).reshape(-1, *(1,) * problem.spatial_dims)
            # torch puts complex gradients together from real parts, and leaves them contiguous
            contiguous = gradient and DTYPES[problem.dtype].kind == "complex"
            return _leave(result, first, problem.dtype, "contiguous" if contiguous else problem.memory_format)


def _enter(x: Array, dtype: str) -> Array:
    """``x`` in ``dtype`` and, if it is a tensor on the CPU, as a NumPy view of its memory."""
    if not arrays.is_tensor(x):
        return arrays.cast(x, dtype)
    x = arrays.cast(x.detach().resolve_conj().resolve_neg(), dtype)
    # not x.numpy(): after it torch can no more resize the tensor's storage, as FSDP and resize_ do
    return np.from_dlpack(x) if x.device.type == "cpu" else x


def _leave(result: Array, like: Array, dtype: str, memory_format: str) -> Array:
    """``result`` rounded to ``dtype`` and laid out, as a tensor if ``like`` is one."""
    if not arrays.is_tensor(like):
        return arrays.laid_out(arrays.cast(result, dtype), memory_format)
    torch = arrays.namespace(like)
    result = result if arrays.is_tensor(result) else torch.from_numpy(result)
    name = "contiguous_format" if memory_format == "contiguous" else "channels_last" + "_3d" * (result.ndim == 5)
    # always a copy: NumPy's memory cannot be resized, and a view of it is a view to autograd and FSDP as well
    return result.to(getattr(torch, dtype), copy=True, memory_format=getattr(torch, name))


def _is_near(x: Array) -> bool:
    """Whether ``x`` is in this process's own memory."""
    return not arrays.is_tensor(x) or x.device.type == "cpu"


def _engine_reason(problem: ConvProblem) -> str | None:
    """Why the engine cannot compute ``problem``, or None."""
    compute = DTYPES[problem.dtype].compute
    if compute not in ("float32", "float64"):
        return f"the engine computes in float32 and float64, but {problem.dtype} is computed in {compute}"
    if problem.transposed and math.prod(problem.stride) > PHASES:
        return (
            f"the engine cuts a transposed convolution into at most {PHASES} phases, but the stride is {problem.stride}"
        )
    return None


@lru_cache(maxsize=1)
def _missing() -> str | None:
    """Why there is no engine in this process, or None; a program is told once."""
    with loading():
        reason = unavailable_reason()
    if reason is not None:
        warnings.warn(f"{reason}. Convolutions are right, but slower", RuntimeWarning, stacklevel=2)
    return reason


def _compile(problem: ConvProblem) -> Compiled:
    """``problem``, in the dtype that it is computed in, for the engine."""
    with loading():
        from miniconv.codegen.operands import Compiled

    return Compiled(_batched(problem))


def _batched(problem: ConvProblem) -> ConvProblem:
    """``problem`` as the engine is told of it: with a batch, in the dtype that it is computed in."""
    compute = DTYPES[problem.dtype].compute
    if problem.batch is not None and problem.dtype == compute:
        return problem
    return replace(problem, dtype=compute, batch=1 if problem.batch is None else problem.batch)


@lru_cache(maxsize=4096)
def plan(problem: ConvProblem, algorithm: str | None = None) -> ConvPlan:
    """How ``problem`` is to be computed.

    Args:
        problem: any problem.
        algorithm: a key of ``miniconv.algorithms.ALGORITHMS``; None leaves the choice to the plan.

    Raises:
        ValueError: the algorithm is unknown, or refuses the problem; its reason is in the text.

    >>> problem = ConvProblem.parse("conv2d n1 c8 o8 i12x16 k3x3 p1 bias")
    >>> plan(problem).algorithm, plan(problem, "winograd_f2").algorithm
    ('engine', 'winograd_f2')
    """
    reasons = {name: entry.unsupported_reason(problem) for name, entry in ALGORITHMS.items()}
    if problem.transposed:
        reasons["im2col"] = None  # serves it as the adjoint of an ordinary problem
    reasons[ENGINE] = _engine_reason(problem)
    refused = {name: reason for name, reason in reasons.items() if reason is not None}
    if algorithm is not None and algorithm not in reasons:
        raise ValueError(f"algorithm is one of {', '.join(reasons)}, but got {algorithm!r}")
    if algorithm in refused:
        raise ValueError(f"{algorithm} cannot compute {problem}: {refused[algorithm]}")
    return ConvPlan(problem, algorithm, refused)
