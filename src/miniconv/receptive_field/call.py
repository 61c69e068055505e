"""One operator's call, as its rule wants it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from miniconv.receptive_field.axis import Steps, Unfollowed
from miniconv.receptive_field.state import State

__all__ = ["Call", "along_last", "per_axis"]


class Call:
    """One operator's call.

    Attributes:
        name: the operator's, such as ``aten::convolution``.
        given: every argument by its name, a tensor in its place.
        shape: of the (first) result.
    """

    def __init__(
        self, name: str, given: Mapping[str, Any], shape: tuple[int, ...], known: Callable[[Any], State | None]
    ) -> None:
        self.name, self.given, self.shape = name, given, shape
        self._known = known

    def state(self, name: str = "") -> State:
        """Of the operand of that name, which must be the only one that sees the picture; default the first one.

        Raises:
            Unfollowed: another one does too, or this one does not.
        """
        following = {key for key, value in self.given.items() if self._known(value) is not None}
        name = name or next(iter(self.given))
        state = self._known(self.given[name])
        if state is None or following != {name}:
            raise Unfollowed(f"{self.name} of {' and '.join(sorted(following))}")
        return state

    def states(self, values: Sequence[Any] | None = None) -> list[State]:
        """Of every operand that sees the picture, or of those among ``values``."""
        values = list(self.given.values()) if values is None else values
        return [state for state in map(self._known, values) if state is not None]


def per_axis(value: Any, count: int) -> list[int]:
    """One number for each axis."""
    numbers = list(value) if isinstance(value, (list, tuple)) else [value]
    return numbers * count if len(numbers) == 1 else numbers


def along_last(call: Call, state: State, all_steps: Sequence[Steps]) -> State:
    """Windows along the last axes of a tensor."""
    first = len(state.axes) - len(all_steps)
    for at, steps in enumerate(all_steps, first):
        state = state.moved(at, steps, call.shape[at])
    return state
