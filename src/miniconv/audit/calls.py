"""One pass of a model with its convolutions intercepted: each is named, described, and answered by a function.

torch hands every convolution, of a layer or of a bare call, to one operator, below autograd and autocast. A dispatch
mode stands in front of it; hooks around the modules say whose convolution it is.
"""

from __future__ import annotations

import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from miniconv.arrays import describe
from miniconv.parity.cases import OPS
from miniconv.problem import ConvProblem

__all__ = ["Call", "Refused", "forward", "reached"]

FLOATS = ("float16", "bfloat16", "float32", "float64")


class Refused(Exception):
    """A convolution that is not judged; the text says why."""


@dataclass(frozen=True)
class Call:
    """One convolution that a model asked for.

    Attributes:
        number: its place among the convolutions of the pass, from 1.
        name: the path of the module that it ran in, with ``#2`` and so on for that module's further convolutions.
        problem: what is computed.
        input: (N, C_in, *input_size), as the model handed it over.
        weight: as ``problem.weight_shape``.
        bias: (C_out,) or None.
    """

    number: int
    name: str
    problem: ConvProblem
    input: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None

    @property
    def options(self) -> dict[str, Any]:
        """The other arguments of ``torch.nn.functional``'s function of that operator."""
        problem = self.problem
        options: dict[str, Any] = {
            "stride": problem.stride,
            "padding": tuple(low for low, _ in problem.padding),
            "dilation": problem.dilation,
            "groups": problem.groups,
        }
        return options | ({"output_padding": problem.output_padding} if problem.transposed else {})


Answer = Callable[[Call], torch.Tensor]


class _Interception(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch ships it untyped
    """Sees every operator that torch runs, and answers the convolutions among them."""

    def __init__(self, where: list[str], answer: Answer, refuse: Callable[[int, str, Exception], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self._where, self._answer, self._refuse = where, answer, refuse
        self._calls: Counter[str] = Counter()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """torch's question to a mode; yes would import its compiler for some seconds, to keep it away from here."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        if func._schema.name in _COMPOSED:
            with self:
                return func.decompose(*args, **kwargs)
        reading = _READINGS.get(func._schema.name)
        if reading is None:
            return func(*args, **kwargs)
        bound = dict(zip((argument.name for argument in func._schema.arguments), args)) | kwargs
        path = self._where[-1]
        self._calls[path] += 1
        name = path if self._calls[path] == 1 else f"{path}#{self._calls[path]}"
        number = self._calls.total()
        with torch.no_grad():
            try:
                call = _read(number, name, bound, reading)
            except Refused as refusal:
                self._refuse(number, name, refusal)
                return func(*args, **kwargs)
            result = self._answer(call)
        return result if bound["input"].dim() == result.dim() else result[0]


def _pairs_of_aten(padding: Sequence[int]) -> list[tuple[int, int]]:
    return [(p, p) for p in padding]


def _pairs_of_miniconv(padding: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(padding[::2], padding[1::2]))


_READINGS = {
    "aten::convolution": _pairs_of_aten,
    "aten::_convolution": _pairs_of_aten,
    "aten::convolution_overrideable": _pairs_of_aten,
    "miniconv::convolution": _pairs_of_miniconv,
}
"""Every operator that is a convolution, and how it writes its padding."""

_COMPOSED = {"aten::_convolution_mode", *(f"aten::{op}" for op in OPS)}
"""What is made of those; inference mode, which has no autograd, hands it over whole."""


def _read(number: int, name: str, bound: Mapping[str, Any], reading: Callable[..., list[tuple[int, int]]]) -> Call:
    """The call that an operator's arguments state; a border whose two sides differ is put around the input."""
    input, weight = bound["input"].detach(), bound["weight"].detach()
    bias = None if bound["bias"] is None else bound["bias"].detach()
    if str(input.dtype).removeprefix("torch.") not in FLOATS:
        raise Refused(f"the audit judges {', '.join(FLOATS)}, and this layer is {input.dtype}")
    dims = weight.dim() - 2
    input = input if input.dim() == weight.dim() else input[None]
    pairs = reading(bound["padding"])
    if any(low != high for low, high in pairs):
        input = torch.nn.functional.pad(input, [cells for pair in reversed(pairs) for cells in pair])
        pairs = [(0, 0)] * dims
    described = (describe(input), describe(weight), None if bias is None else describe(bias))
    lists: dict[str, Any] = {key: list(bound[key]) for key in ("stride", "dilation")} | {
        "padding": [p for p, _ in pairs]
    }
    try:
        if bound["transposed"]:
            lists["output_padding"] = list(bound["output_padding"])
            problem = ConvProblem.from_conv_transpose(*described, **lists, groups=bound["groups"], dims=dims)
        else:
            problem = ConvProblem.from_conv(*described, **lists, groups=bound["groups"], dims=dims)
    except (TypeError, ValueError, RuntimeError) as error:  # NotImplementedError is a RuntimeError
        raise Refused(str(error).splitlines()[0]) from error
    return Call(number, name, problem, input, weight, bias)


def _paths(model: torch.nn.Module) -> dict[int, str]:
    """The path of every module by its id; the model's own is its class's name."""
    return {id(module): path or type(model).__name__ for path, module in model.named_modules()}


@contextmanager
def _hooks(model: torch.nn.Module) -> Iterator[list[str]]:
    """The paths of the modules that are running, outermost first."""
    paths, where = _paths(model), [type(model).__name__]

    def enter(module: torch.nn.Module, args: Any) -> None:
        where.append(paths[id(module)])

    def leave(module: torch.nn.Module, args: Any, output: Any) -> None:
        where.pop()

    handles: list[Any] = []
    try:
        for module in model.modules():
            if isinstance(module, torch.jit.ScriptModule):  # takes no hooks: its convolutions are named after its owner
                continue
            handles.append(module.register_forward_pre_hook(enter, prepend=True))
            handles.append(module.register_forward_hook(leave, always_call=True))
        yield where
    finally:
        for handle in handles:
            handle.remove()


def forward(
    model: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    answer: Answer,
    refuse: Callable[[int, str, Exception], None],
) -> Any:
    """What the model returns when ``answer`` computes its convolutions.

    Args:
        model: run as it stands, in its mode, but for ``torch.compile``, which is switched off.
        args, kwargs: the model's inputs.
        answer: is handed each convolution and returns its result, batched.
        refuse: is told number, name and reason of each convolution that cannot be described; torch computes it.
    """
    with _hooks(model) as where, _uncompiled(), _Interception(where, answer, refuse):
        return model(*args, **kwargs)


def _uncompiled() -> AbstractContextManager[Any]:
    """Compiled models run as they were written; where nothing is compiled, the compiler is not imported either."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def reached(model: torch.nn.Module, error: BaseException) -> str:
    """The path of the innermost module that was running when ``error`` was raised."""
    paths, found = _paths(model), type(model).__name__
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = paths.get(id(frame.f_locals.get("self")), found)
    return found
