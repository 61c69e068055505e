"""One run of a model, every operator of it followed.

Below autograd, torch hands every operator to a dispatch mode: those of layers and of bare calls, inside any control
flow. So branches, sums and concatenations need no graph: what a tensor's elements see travels with the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from miniconv.receptive_field.axis import Unfollowed, window
from miniconv.receptive_field.call import Call
from miniconv.receptive_field.rules import ELEMENTWISE, RULES
from miniconv.receptive_field.state import State, merged
from miniconv.summary.layers import layers_of, tensors_in

__all__ = ["Ran", "follow"]

Ran = tuple[str, str, "torch.Tensor", "State | str"]
"""One run of a layer: its class, its path, what it returned, and what that sees or why that is not known."""


class _Following(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch ships it untyped
    """Every operator's tensors, and what they see: a ``State``, or the reason why it is not known."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self._known: dict[int, State | str] = {}
        self._alive: list[torch.Tensor] = []  # an id, and an address, are a tensor's only as long as it lives
        self._spoilt: dict[int, str] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """torch's question to a mode; yes would import its compiler for some seconds, to keep it away from here."""
        return False

    def of(self, x: Any) -> State | str | None:
        """What is known of a tensor; None where it sees nothing of the picture."""
        if not isinstance(x, torch.Tensor):
            return None
        return self._known.get(id(x)) or (self._spoilt.get(_memory(x)) if self._spoilt else None)

    def note(self, x: torch.Tensor, known: State | str) -> None:
        """Remember what a tensor sees."""
        if isinstance(known, State) and known.shape != tuple(x.shape):
            known = f"a shape {tuple(x.shape)} that was expected to be {known.shape}"
        self._known[id(x)] = known
        self._alive.append(x)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        arguments = func._schema.arguments
        given = {a.name: a.default_value for a in arguments if a.has_default_value()}
        given |= dict(zip((argument.name for argument in arguments), args)) | (kwargs or {})
        given = {a.name: given[a.name] for a in arguments if a.name in given}
        operands = [known for x in tensors_in(list(given.values())) if (known := self.of(x)) is not None]
        result = func(*args, **(kwargs or {}))
        if operands:
            self._follow(func, given, operands, result)
        return result

    def _follow(self, func: Any, given: dict[str, Any], operands: list[State | str], result: Any) -> None:
        """Note what an operator's results see."""
        reasons = [known for known in operands if isinstance(known, str)]
        states = [known for known in operands if isinstance(known, State)]
        harmless = torch.Tag.pointwise in func.tags or func._schema.name in ELEMENTWISE
        in_place = func._schema.is_mutable and not harmless
        for x in list(tensors_in(result)):
            try:
                if reasons:
                    raise Unfollowed(reasons[0])
                known: State | str = self._ruled(func, given, states, tuple(x.shape))
                if in_place:
                    raise Unfollowed(f"{func._schema.name} writes into a tensor")
            except Unfollowed as reason:
                known = str(reason)
            self.note(x, known)
        if func._schema.is_mutable:
            self._spoil(func, given)

    def _ruled(self, func: Any, given: dict[str, Any], states: list[State], shape: tuple[int, ...]) -> State:
        """What a result sees, by the rule of its operator."""
        name = func._schema.name
        if name in RULES:
            return RULES[name](Call(name, given, shape, self._state))
        if torch.Tag.pointwise in func.tags or name in ELEMENTWISE:
            return merged(states, shape)
        raise Unfollowed(f"{name} is not followed")

    def _state(self, x: Any) -> State | None:
        """The state of an operand, or what all of a list's see (a list is one argument of an operator)."""
        found = [known for part in tensors_in(x) if isinstance(known := self.of(part), State)]
        return found[0] if found else None

    def _spoil(self, func: Any, given: dict[str, Any]) -> None:
        """Other tensors in the memory that an operator wrote into see what nobody has followed."""
        reason = f"{func._schema.name} writes into memory that another tensor shares"
        for argument in func._schema.arguments:
            target = given.get(argument.name)
            if argument.alias_info is None or not argument.alias_info.is_write or not isinstance(target, torch.Tensor):
                continue
            self._alive.append(target)
            self._spoilt[_memory(target)] = reason
            for other in self._alive:
                if other is not target and _memory(other) == _memory(target):
                    self._known[id(other)] = reason


def _memory(x: torch.Tensor) -> int:
    """Where a tensor's memory begins."""
    return x.untyped_storage().data_ptr()


def follow(model: torch.nn.Module, x: torch.Tensor) -> tuple[list[Ran], State | str]:
    """Run a model once, in evaluation mode and without gradients, and follow every tensor.

    Args:
        model: as it stands; modes and hooks are as before afterwards.
        x: (1, C, *spatial).

    Returns:
        Its layers in the order in which they ran, and what the first tensor of its output sees; of both, why that is
        not known where it is not.
    """
    ran: list[Ran] = []
    following = _Following()
    following.note(x, State.of_input(tuple(x.shape)))
    training = {module: module.training for module in model.modules()}
    handles: list[Any] = []
    try:
        for path, layer in layers_of(model):
            handles.append(layer.register_forward_hook(_hook(path, following, ran), prepend=True, with_kwargs=True))
        for module in training:  # not model.eval(), which a model may override
            module.training = False
        with torch.inference_mode(False), torch.no_grad(), following:
            output = next(tensors_in(model(x)), None)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in training.items():
            module.training = mode
    return ran, following.of(output) or "the output does not depend on the input"


def _hook(path: str, following: _Following, ran: list[Ran]) -> Callable[..., None]:
    """What notes one layer's run."""

    def hook(layer: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        tensor = next(tensors_in(output), None)
        if tensor is None:
            return
        known = following.of(tensor)
        if isinstance(known, str) and (steps := _own_pooling(layer)) is not None:
            source = following.of(next(tensors_in([args, kwargs]), None))
            if isinstance(source, State):
                first = len(source.axes) - len(steps)
                for at, one in enumerate(steps, first):
                    source = source.moved(at, one, tensor.shape[at])
                following.note(tensor, source)
                known = source
        ran.append((type(layer).__name__, path, tensor, known or "it sees nothing of the input"))

    return hook


def _own_pooling(layer: torch.nn.Module) -> Sequence[Any] | None:
    """The windows of miniconv's own pooling, whose operators copy into borders and pick elements by computed places."""
    if type(layer).__module__ != "miniconv.nn.windows" or "Pool" not in type(layer).__name__:
        return None
    options = [getattr(layer, name, 1) for name in ("kernel_size", "stride", "padding", "dilation")]
    dims = int(type(layer).__name__[-2])
    per_axis = [list(x) if isinstance(x, (list, tuple)) else [x] * dims for x in options]
    return [window(*axis) for axis in zip(*per_axis)]
