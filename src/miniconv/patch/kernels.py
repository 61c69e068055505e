"""The kernels that ``patch`` puts in the place of torch's: three Python functions under the CPU key.

torch's dispatcher strips a call of autograd, vmap, autocast and tracing before it reaches that key, so a kernel sees
plain tensors on the CPU and records nothing. It states the problem, runs its plan on NumPy views, and so never calls
itself. ``aten::convolution`` is what programs call; torch's kernel of it calls ``aten::_convolution``, which is what
a trace notes down and a traced program calls.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, NamedTuple

import torch

from miniconv.arrays import describe
from miniconv.patch.report import Report
from miniconv.plan import ConvPlan, plan
from miniconv.problem import ConvProblem
from miniconv.remembering import Bounded
from miniconv.settings import current as settings
from miniconv.torch_ops._derivatives import bias_grad
from miniconv.torch_ops._plain import ReadyGradients, looker_for

__all__ = ["close_report", "open_report", "torchs_own"]

Tensor = torch.Tensor
Gradients = tuple[Tensor | None, ...]

CPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)


class Decision(NamedTuple):
    """Who computes a problem: a plan, its output by ``forward`` if the engine has it ready, or torch for a reason.

    ``gradient`` gives a gradient if the engine has that ready.
    """

    kind: str
    backward_kind: str
    plan: ConvPlan | None
    reason: str
    forward: Callable[..., Tensor] | None = None
    gradient: Callable[[str, Tensor, Tensor], Tensor | None] = lambda slot, grad_output, other: None

    def refused(self, reason: str) -> Decision:
        """The same problem, left to torch."""
        return self._replace(plan=None, reason=reason)


class _Open:
    """The contexts that are open now. Tuples, replaced as a whole: a kernel reads them without a lock."""

    reports: tuple[Report, ...] = ()
    kinds: frozenset[str] = frozenset()
    lock = threading.Lock()


class _Thread(threading.local):
    """Whether this thread is inside torch's own kernel, which may call another one that is replaced."""

    in_torch = False


_thread = _Thread()
_decisions: Bounded[tuple[Any, ...], Decision] = Bounded(4096)  # a program has some hundred different convolutions
_torch_kernels: dict[str, Any] = {}
_libraries: list[torch.library.Library] = []


def open_report(report: Report) -> None:
    """Have every convolution counted in ``report`` from now on, those of its kinds taken."""
    with _Open.lock:
        if not _libraries:
            _register()
        _set_open((*_Open.reports, report))


def close_report(report: Report) -> None:
    """Undo ``open_report``; the last one restores torch's kernels if no other thread can be using the table."""
    with _Open.lock:
        _set_open(tuple(r for r in _Open.reports if r is not report))
        if not _Open.reports and len(sys._current_frames()) == 1:  # of threads that ``threading`` does not know, too
            _libraries.pop()._destroy()  # type: ignore[no-untyped-call]  # torch ships it untyped


@contextmanager
def torchs_own() -> Iterator[None]:
    """This thread's convolutions by torch's own kernels, whatever is patched; they are not counted."""
    before, _thread.in_torch = _thread.in_torch, True
    try:
        yield
    finally:
        _thread.in_torch = before


def _set_open(reports: tuple[Report, ...]) -> None:
    _Open.kinds = frozenset().union(*(report.kinds for report in reports))
    _Open.reports = reports


def _register() -> None:
    """Keep torch's kernels, and put ours in their place."""
    if not hasattr(torch.library, "get_kernel"):
        raise RuntimeError(f"patch needs a newer torch, with torch.library.get_kernel, but this is {torch.__version__}")
    if not _torch_kernels:
        _torch_kernels.update({name: torch.library.get_kernel(f"aten::{name}", "CPU") for name in _KERNELS})
    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]  # torch ships it untyped
    for name, kernel in _KERNELS.items():
        library.impl(name, kernel, "CPU")  # type: ignore[no-untyped-call]  # torch ships it untyped
    _libraries.append(library)


def _convolution(*arguments: Any) -> Tensor:
    """``aten::convolution``; while torch traces, its kernel has to call ``_convolution``, or the trace has no node."""
    if torch._C._get_tracing_state() is not None:
        return _torch_kernels["convolution"].call_boxed(CPU, *arguments)  # type: ignore[no-any-return]  # untyped
    result: Tensor = _answer("convolution", arguments, _forward)
    return result


def _traced_convolution(*arguments: Any) -> Tensor:
    """``aten::_convolution``: the same with four flags behind, which are about other devices."""
    result: Tensor = _answer("_convolution", arguments, _forward)
    return result


def _convolution_backward(*arguments: Any) -> Gradients:
    """``aten::convolution_backward``."""
    result: Gradients = _answer("convolution_backward", arguments, _backward)
    return result


_KERNELS = {
    "convolution": _convolution,
    "_convolution": _traced_convolution,
    "convolution_backward": _convolution_backward,
}


def _answer(name: str, arguments: tuple[Any, ...], compute: Callable[..., tuple[Decision, Any]]) -> Any:
    """The result of ``compute``, or of torch's kernel where it has none; counted in every open report.

    No function mode sees what is done here, and sizes are integers, which they are not while torch traces.
    """
    reports = _Open.reports
    if not reports or _thread.in_torch:
        return _torch_kernels[name].call_boxed(CPU, *arguments)
    started = perf_counter()
    tracing = torch._C._get_tracing_state()
    if tracing is not None:
        torch._C._set_tracing_state(None)  # type: ignore[attr-defined]  # missing in torch's stubs
    try:
        with torch._C.DisableTorchFunction():
            decision, result = compute(*arguments)
    finally:
        if tracing is not None:
            torch._C._set_tracing_state(tracing)  # type: ignore[attr-defined]  # as above
    kind = decision.kind if compute is _forward else decision.backward_kind
    if decision.plan is not None:
        seconds = perf_counter() - started
        for report in reports:
            report.count(kind, seconds)
        return result
    _thread.in_torch = True
    try:
        return _torch_kernels[name].call_boxed(CPU, *arguments)
    except RuntimeError as error:
        if compute is _forward:
            _teach(error, kind, arguments)
        raise
    finally:
        _thread.in_torch = False
        seconds = perf_counter() - started
        for report in reports:
            report.count(kind, seconds, decision.reason)


def _teach(error: Exception, op: str, arguments: tuple[Any, ...]) -> None:
    """Add a note to torch's own refusal, where miniconv's would have the same words."""
    from miniconv.advice import of_call, teach

    names = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
    options = dict(zip(names, arguments[3:9]))
    if not options.pop("transposed"):
        del options["output_padding"]
    teach(error, lambda: of_call(op, [describe(x) for x in arguments[:3] if x is not None], options))


def _forward(input: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> tuple[Decision, Any]:
    """The output."""
    decision = _decide((input, weight) if bias is None else (input, weight, bias), options[:6])
    return decision, decision.plan and (decision.forward or decision.plan)(input, weight, bias)


def _backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, bias_sizes: list[int] | None, *options: Any
) -> tuple[Decision, Any]:
    """The gradients of input, weight and bias, each None if the mask (the last option) does not ask for it."""
    decision = _decide((input, weight), options[:6])
    chosen = decision.plan
    if chosen is None:
        return decision, None
    problem = chosen.problem
    if tuple(grad_output.shape) != problem.output_shape or grad_output.dtype != input.dtype:
        return decision.refused("grad_output has another shape or dtype than the output"), None
    if grad_output.is_complex():
        return decision.refused("torch has no complex gradients here, but states them in real parts"), None
    wants_input, wants_weight, wants_bias = options[-1]
    return decision, (
        _input_grad(decision, chosen, grad_output, weight) if wants_input else None,
        _weight_grad(decision, chosen, grad_output, input, weight) if wants_weight else None,
        bias_grad(grad_output, problem.spatial_dims) if wants_bias else None,
    )


def _input_grad(decision: Decision, chosen: ConvPlan, grad_output: Tensor, weight: Tensor) -> Tensor:
    """The input's gradient."""
    ready = decision.gradient("input", grad_output, weight)
    result: Tensor = chosen.input_grad(grad_output, weight) if ready is None else ready
    return result


def _weight_grad(decision: Decision, chosen: ConvPlan, grad_output: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    """The weight's gradient; that of an empty batch is zero, and has the weight's strides as torch's has."""
    ready = decision.gradient("weight", grad_output, input)
    if ready is not None:
        return ready
    result: Tensor = chosen.weight_grad(grad_output, input) if grad_output.numel() else torch.zeros_like(weight)
    return result


def _decide(operands: tuple[Tensor, ...], options: tuple[Any, ...]) -> Decision:
    """Who computes the problem that the arguments of ``aten::convolution`` state; remembered."""
    stride, padding, dilation, transposed, output_padding, groups = options
    lists = (tuple(stride), tuple(padding), tuple(dilation), tuple(output_padding))
    now = settings()
    seen = looker_for(now.algorithm)(*operands) or tuple((x.shape, x.stride(), x.dtype) for x in operands)
    key = (seen, lists, transposed, groups, now, torch.get_num_threads())
    decision = _decisions.get(key) or _decisions.remember(key, _look_into(operands, *options))
    if decision.kind not in _Open.kinds and decision.plan is not None:
        return decision.refused("not named by only")
    return decision


def _look_into(
    operands: tuple[Tensor, ...],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Decision:
    dims = operands[1].dim() - 2
    kind = f"conv{'_transpose' * transposed}{dims}d"
    undecided = Decision(kind, f"{kind} backward", None, "")
    try:
        if operands[0].dim() != dims + 2:
            raise RuntimeError("the input has another number of axes than the weight")
        described = map(describe, operands)
        given: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        if transposed:
            given["output_padding"] = output_padding
            problem = ConvProblem.from_conv_transpose(*described, **given, dims=dims)
        else:
            problem = ConvProblem.from_conv(*described, **given, dims=dims)
        chosen = plan(problem)
        return undecided._replace(plan=chosen, forward=chosen.ready(*operands), gradient=ReadyGradients(chosen))
    except (TypeError, ValueError, RuntimeError) as error:  # NotImplementedError is a RuntimeError
        return undecided.refused(str(error).splitlines()[0])
