"""Both passes of an audit: the model as it was before each, the right's activations kept, the left's judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.parameter import is_lazy
from torch.utils import _pytree

from miniconv.audit import AuditError
from miniconv.audit.calls import Answer, Call, forward, reached
from miniconv.audit.expected import Expected, expected
from miniconv.audit.implementations import Implementation, find
from miniconv.audit.judge import Side, computed, distance, judged, values_of
from miniconv.audit.report import AuditReport, Layer
from miniconv.problem import ConvProblem

__all__ = ["Audit"]


class Audit:
    """One model, one input, two implementations; ``report`` runs it."""

    def __init__(
        self,
        model: torch.nn.Module,
        inputs: Any,
        left: Implementation,
        right: Implementation,
        sample: int | None,
        training: bool,
        seed: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"a model is a torch.nn.Module, but got {type(model).__name__}")
        if sample is not None and sample < 0:
            raise ValueError(f"a sample has 0 elements or more, but got {sample}")
        self.model, self.left, self.right = model, left, right
        self.args, self.kwargs = _arguments(inputs)
        self._sample, self._training, self._seed = sample, training, seed
        self._progress = progress or (lambda done, total: None)
        self._torch = find("torch")
        self._kept: dict[tuple[int, str], tuple[torch.Tensor, torch.Tensor]] = {}
        self._layers: list[Layer] = []
        self._total = 0

    def report(self) -> AuditReport:
        """Runs both passes."""
        start = time.perf_counter()
        with torch.inference_mode(False), torch.no_grad(), _restored(self.model, self._training):
            if any(map(is_lazy, [*self.model.parameters(), *self.model.buffers()])):
                self._pass("initialisation", lambda call: self._plain(call))
            if any(x.is_meta for x in [*self.model.parameters(), *self.model.buffers()]):
                raise AuditError("the model's parameters have no data: they are on the meta device")
            self._pass(f"the pass of {self.right.name}", self._keep)
            self._layers, self._total = [], len(self._kept) + len(self._layers)
            self._pass(f"the pass of {self.left.name}", self._judge)
        if not self._layers:
            raise AuditError(f"no convolution ran in {type(self.model).__name__}")
        tensors = [x for x in _pytree.tree_leaves((self.args, self.kwargs)) if isinstance(x, torch.Tensor)]
        return AuditReport(
            model=type(self.model).__name__,
            left=self.left.name,
            right=self.right.name,
            mode="training" if self._training else "evaluation",
            inputs=tuple(f"{'x'.join(map(str, x.shape))} {str(x.dtype).removeprefix('torch.')}" for x in tensors),
            layers=tuple(self._layers),
            seconds=time.perf_counter() - start,
        )

    def _pass(self, what: str, answer: Answer) -> None:
        """One run of the model on copies of the inputs, from the same random state and buffers as every other."""
        args, kwargs = _pytree.tree_map_only(torch.Tensor, torch.clone, (self.args, self.kwargs))
        buffers = {name: x.clone() for name, x in self.model.named_buffers() if not is_lazy(x) and not x.is_meta}
        last = ["the input"]

        def followed(call: Call) -> torch.Tensor:
            last[0] = f"convolution {call.number} ({call.name})"
            return answer(call)

        try:
            with torch.random.fork_rng():
                torch.manual_seed(self._seed)
                forward(self.model, args, kwargs, followed, self._refuse)
        except Exception as error:  # whatever a model raises
            text = (str(error).splitlines() or [""])[0]
            where = reached(self.model, error)
            raise AuditError(f"{what} failed in {where}, after {last[0]}: {type(error).__name__}: {text}") from error
        finally:
            for name, x in self.model.named_buffers():
                if name in buffers and not torch.equal(x, buffers[name]):
                    x.copy_(buffers[name])

    def _plain(self, call: Call) -> torch.Tensor:
        """torch's result."""
        outcome = computed(self._torch, call, times=1)
        if outcome.result is None:
            raise RuntimeError(outcome.detail)
        return outcome.result

    def _keep(self, call: Call) -> torch.Tensor:
        """The right's pass: its result, or torch's where it has none; what went in and out is kept."""
        result = computed(self.right, call, times=1).result
        result = self._plain(call) if result is None else result
        # copies: a model may write into either afterwards
        self._kept[call.number, call.name] = call.input.clone(), result.clone()
        return result

    def _judge(self, call: Call) -> torch.Tensor:
        """The left's pass: its result, or torch's where it has none; both sides are judged on this input."""
        values = values_of(call)
        exact = expected(call.problem, values, self._sample)
        outcome = computed(self.left, call)
        other = computed(self.right, call)
        left, right = (
            judged(side, call, values, exact, found) for side, found in ((self.left, outcome), (self.right, other))
        )
        result = self._plain(call) if outcome.result is None else outcome.result
        kept = self._kept.pop((call.number, call.name), None)
        strange = int((~torch.isfinite(call.input)).sum())
        layer = Layer(
            number=call.number,
            name=call.name,
            problem=str(call.problem),
            multiply_adds=call.problem.multiply_adds,
            left=left,
            right=right,
            inherited=None if kept is None else distance(call.input, kept[0]),
            total=None if kept is None else distance(result, kept[1]),
            oracle=_oracle(call.problem, exact),
            note=f"{strange:,} of {call.input.numel():,} numbers of its input are not finite" if strange else "",
        )
        self._layers.append(layer)
        self._progress(len(self._layers), self._total)
        return result

    def _refuse(self, number: int, name: str, reason: Exception) -> None:
        """A convolution that is not judged: torch or miniconv computes it, whoever was called."""
        side = Side("UNSUPPORTED", str(reason))
        self._layers.append(Layer(number, name, "", 0, side, side))


def _oracle(problem: ConvProblem, exact: Expected) -> str:
    """How the exact result was summed."""
    if exact.exact == exact.high.size and problem.dtype == "float64":
        return "double-double"
    return f"float64, {exact.exact:,} elements double-double" if exact.exact else "float64"


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments of the model."""
    if isinstance(inputs, dict):
        return (), dict(inputs)
    return (tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)), {}


@contextmanager
def _restored(model: torch.nn.Module, training: bool) -> Iterator[None]:
    """The model in one mode, and afterwards every module in its own again. Not by ``eval``, which may be overridden."""
    modes = {module: module.training for module in model.modules()}
    try:
        for module in modes:
            module.training = training
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
