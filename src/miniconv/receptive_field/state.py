"""What is known of a tensor: which of its axes run along the input's axes, and what its elements see there.

A tensor's axis is a product of factors, because a view may merge axes and part them again: ``(1, C, H, W)`` flattened
to ``(1, C * H * W)`` has an axis of the factors C, H, W. A factor that runs along axis 0, 1, ... of the picture carries
its number; one that does not (images, channels) carries ``NOWHERE``. What a tensor's elements see does not depend on
their place along such a factor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from miniconv.receptive_field.axis import AxisField, Steps, Unfollowed

__all__ = ["NOWHERE", "State", "merged"]

NOWHERE = -1
"""The axis of a factor along which nothing that is seen changes."""

Factor = tuple[int, int]
"""Size, and the axis of the picture."""

Axis = tuple[Factor, ...]


@dataclass(frozen=True)
class State:
    """One tensor.

    Attributes:
        axes: of the tensor, each as its factors.
        fields: for each axis of the picture. Where no factor runs along it, all elements see what output 0 does.
    """

    axes: tuple[Axis, ...]
    fields: tuple[AxisField, ...]

    @classmethod
    def of_input(cls, shape: Sequence[int]) -> State:
        """The model's input, (1, C, *spatial)."""
        axes = tuple(((size, at - 2 if at > 1 else NOWHERE),) for at, size in enumerate(shape))
        return cls(axes, tuple(AxisField.one_position(size) for size in shape[2:]))

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's."""
        return tuple(math.prod(size for size, _ in axis) for axis in self.axes)

    def sizes(self) -> dict[int, int]:
        """How many positions there are along each axis of the picture; none where all see the same."""
        return {along: size for axis in self.axes for size, along in axis if along != NOWHERE}

    def index(self, at: int) -> int:
        """An axis of the tensor, counted from the front."""
        return at % len(self.axes)

    def moved(self, at: int, steps: Steps, size: int) -> State:
        """After an operation with windows along one axis of the tensor.

        Raises:
            Unfollowed: the axis is merged of several.
        """
        axis = _plain(self.axes[at])
        along = axis[0][1]
        fields = list(self.fields)
        if along != NOWHERE:
            if len(axis) > 1:
                raise Unfollowed("windows over merged axes")
            fields[along] = fields[along].through(steps)
        return State((*self.axes[:at], ((size, along),), *self.axes[at + 1 :]), tuple(fields))

    def reduced(self, dims: Sequence[int], kept: str) -> State:
        """After a sum, mean, maximum or normalisation over some axes of the tensor.

        Args:
            dims: which.
            kept: what becomes of the axes: ``"gone"``, ``"one"`` (size 1) or ``"same"``.
        """
        over = {self.index(at) for at in dims}
        fields = list(self.fields)
        for at in over:
            for size, along in self.axes[at]:
                if along != NOWHERE:
                    fields[along] = fields[along].everything(size)
        axes = [axis if at not in over or kept == "same" else ((1, NOWHERE),) for at, axis in enumerate(self.axes)]
        if kept == "gone":
            axes = [axis for at, axis in enumerate(axes) if at not in over]
        return State(tuple(axes), tuple(fields))

    def selected(self, at: int, place: int) -> State:
        """One place along an axis of the tensor, which is no more.

        Raises:
            Unfollowed: the axis is merged of several.
        """
        axis, fields = _plain(self.axes[at]), list(self.fields)
        (size, along), *rest = axis
        if along != NOWHERE:
            if rest:
                raise Unfollowed("one place of merged axes")
            fields[along] = fields[along].only(place % size)
        return State(self.axes[:at] + self.axes[at + 1 :], tuple(fields))

    def permuted(self, order: Sequence[int]) -> State:
        """The tensor's axes in another order."""
        return replace(self, axes=tuple(self.axes[self.index(at)] for at in order))

    def viewed(self, shape: Sequence[int]) -> State:
        """The same elements in another shape.

        Raises:
            Unfollowed: an axis along the picture is cut in two.
        """
        factors = [factor for axis in self.axes for factor in axis]
        fields, axes = list(self.fields), []
        for size in shape:
            axis: list[Factor] = []
            needed = size
            while needed > 1:
                while factors and factors[0][0] == 1 and factors[0][1] == NOWHERE:
                    factors.pop(0)
                if not factors:
                    raise Unfollowed("a view of another number of elements")
                have, along = factors[0]
                if needed % have == 0:
                    axis.append(factors.pop(0))
                    needed //= have
                elif along == NOWHERE and have % needed == 0:
                    factors[0] = (have // needed, NOWHERE)
                    axis.append((needed, NOWHERE))
                    needed = 1
                else:
                    raise Unfollowed(
                        f"a view that cuts {'an axis of the picture' if along != NOWHERE else 'axes'} in two"
                    )
            if size == 1 and factors and factors[0][0] == 1:
                axis.append(factors.pop(0))
            axes.append(tuple(axis) or ((size, NOWHERE),))
        gone = set(self.sizes()) - {along for axis in axes for _, along in axis}
        for along in gone:  # of size 1: what is left of it is the one place
            fields[along] = fields[along].only(0)
        return State(tuple(axes), tuple(fields))

    def widened(self, shape: Sequence[int]) -> State:
        """Repeated along axes of size 1, and along new ones in front, to a shape."""
        axes = [((1, NOWHERE),)] * (len(shape) - len(self.axes)) + [_plain(axis) for axis in self.axes]
        fields = list(self.fields)
        for at, (axis, size) in enumerate(zip(axes, shape)):
            if math.prod(factor for factor, _ in axis) != size:
                for _, along in axis:
                    if along != NOWHERE:
                        fields[along] = fields[along].only(0)
                axes[at] = ((size, NOWHERE),)
        return State(tuple(axes), tuple(fields))


def merged(states: Sequence[State], shape: Sequence[int]) -> State:
    """What the sum of some tensors sees, or anything else that is done element by element.

    Raises:
        Unfollowed: they run along the picture in different ways.
    """
    result, *others = (state.widened(shape) for state in states)
    for other in others:
        sizes = result.sizes() | other.sizes()
        axes = tuple(map(_one_of, result.axes, other.axes))
        fields = [
            one
            if one == another
            else _still(one, along, result).united(_still(another, along, other), sizes.get(along, 1))
            for along, (one, another) in enumerate(zip(result.fields, other.fields))
        ]
        result = State(axes, tuple(fields))
    return result


def _still(field: AxisField, along: int, state: State) -> AxisField:
    """The field; where no axis of the tensor runs along, that of output 0 for all."""
    return field if field.whole or along in state.sizes() else field.only(0)


def _one_of(one: Axis, other: Axis) -> Axis:
    """The factors of an axis that two tensors share: those of the one that runs along the picture."""
    running = [axis for axis in (one, other) if any(along != NOWHERE for _, along in axis)]
    if len(running) == 2 and _plain(one) != _plain(other):
        raise Unfollowed("tensors whose axes run along the picture in different ways meet")
    return running[0] if running else one


def _plain(axis: Axis) -> Axis:
    """An axis without factors of size 1 that run nowhere, and one factor where nothing else is left."""
    kept = tuple(factor for factor in axis if factor != (1, NOWHERE))
    if all(along == NOWHERE for _, along in kept):
        return ((math.prod(size for size, _ in kept), NOWHERE),)
    return kept
