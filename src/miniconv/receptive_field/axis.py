"""Receptive fields on one axis, as sets of input positions.

A layer whose output o looks at the inputs ``o * stride - padding + k * dilation`` looks at the same pattern for every
o, moved by its stride. A transposed convolution or an interpolation has a few patterns in turn: output o looks as
output o - period does, moved by ``jump``. So does everything composed of such layers, and so does the union of two
branches that move equally far. A field is therefore a period, a jump, and one set of positions for each place in the
period.

For a chain of convolutions the recursion of Araujo, Norris and Sim follows. With size r, stride j and start s of the
field so far, the output o of a layer of kernel k, stride t, padding p and dilation d looks at the fields of
``o * t - p, o * t - p + d, ..., o * t - p + (k - 1) * d``, the first of which starts at ``s + (o * t - p) * j``, and
the last of which ends ``(k - 1) * d * j`` further right:

    size = r + (k - 1) * d * j        stride = t * j        start = s - p * j
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["AxisField", "Steps", "Unfollowed", "scatter", "window"]


class Unfollowed(Exception):
    """An operation whose field is not known; the text says why."""


@dataclass(frozen=True)
class Steps:
    """What the outputs of one operation look at: ``o`` at ``taps[o % period]``, moved by ``jump`` for each period.

    >>> window(kernel=3, stride=2, padding=1, dilation=2)
    Steps(jump=2, taps=((-1, 1, 3),))
    >>> scatter(kernel=3, stride=2, padding=1, dilation=1)
    Steps(jump=1, taps=((0,), (1, 0)))
    """

    jump: int
    taps: tuple[tuple[int, ...], ...]


def window(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Steps:
    """Of a convolution or pooling layer."""
    return Steps(stride, (tuple(k * dilation - padding for k in range(kernel)),))


def scatter(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Steps:
    """Of a transposed convolution: the inputs i with ``o = i * stride - padding + k * dilation``."""
    met = [[o + padding - k * dilation for k in range(kernel)] for o in range(stride)]
    return Steps(1, tuple(tuple(place // stride for place in places if place % stride == 0) for places in met))


@dataclass(frozen=True)
class AxisField:
    """What the elements of a layer's output see of the input, on one axis.

    Positions below 0 or past the end are padding: of the input, or of a layer in between, as if the layers before it
    went on there.

    Attributes:
        length: of the input on this axis.
        jump: how far the sets move in one period.
        sets: for each place in the period, the lowest position and a bit for each one from there on; no bits where an
            output sees nothing.
        whole: whether every output sees the same, as after a global pooling.

    >>> field = AxisField.one_position(32).through(window(7, 2, 3)).through(window(3, 2, 1))
    >>> field.size, str(field.stride), field.start, field.centre, field.span(0), field.clipped(0)
    (11, '4', -5, 0.0, (-5, 5), (0, 5))
    """

    length: int
    jump: int
    sets: tuple[tuple[int, int], ...]
    whole: bool = False

    @classmethod
    def one_position(cls, length: int) -> AxisField:
        """The field of the input itself."""
        return cls(length, 1, ((0, 1),))

    @property
    def period(self) -> int:
        """After how many outputs the pattern comes again."""
        return len(self.sets)

    @property
    def stride(self) -> Fraction:
        """How far the field moves from an output to the next, on average; 0 if ``whole``."""
        return Fraction(self.jump, self.period)

    @property
    def size(self) -> int:
        """From the first to the last position that an output sees; of several patterns the widest."""
        return max(mask.bit_length() for _, mask in self.sets)

    @property
    def start(self) -> int:
        """The first position that output 0 sees (if it sees nothing, the first that does); below 0 in the padding."""
        return next((low for low, mask in self.sets if mask), 0)

    @property
    def centre(self) -> float:
        """The middle of what output 0 sees; the padding of all layers moves it."""
        low, mask = next(((low, mask) for low, mask in self.sets if mask), (0, 1))
        return low + (mask.bit_length() - 1) / 2

    @property
    def has_holes(self) -> bool:
        """Whether an output does not see every position in between."""
        return any(mask & (mask + 1) for _, mask in self.sets)

    def span(self, output: int) -> tuple[int, int] | None:
        """The first and the last position that an output sees, padding included; None if it sees nothing."""
        low, mask = self._set(output)
        return (low, low + mask.bit_length() - 1) if mask else None

    def positions(self, output: int) -> list[int]:
        """Every position of the input that an output sees, padding left out."""
        low, mask = _cut(*self._set(output), self.length)
        return [low + bit for bit in range(mask.bit_length()) if mask >> bit & 1]

    def clipped(self, output: int) -> tuple[int, int] | None:
        """The first and the last of ``positions``; None if there are none."""
        seen = self.positions(output)
        return (seen[0], seen[-1]) if seen else None

    def through(self, steps: Steps) -> AxisField:
        """The field of the output of one more operation."""
        if self.whole:
            return self
        turns = self.period // math.gcd(self.period, steps.jump)  # of the operation's period, until both begin anew
        period = turns * len(steps.taps)
        sets = []
        for output in range(period):
            turn, phase = divmod(output, len(steps.taps))
            sets.append(_union(self._set(tap + turn * steps.jump) for tap in steps.taps[phase]))
        return _reduced(AxisField(self.length, turns * steps.jump * self.jump // self.period, tuple(sets)))

    def united(self, other: AxisField, count: int) -> AxisField:
        """The field of a sum of two branches, or of their channels side by side.

        Args:
            other: the other branch's.
            count: how many outputs there are.

        Raises:
            Unfollowed: the branches move differently, and neither sees everything that the other does.
        """
        if self.stride == other.stride and self.whole == other.whole:
            period = math.lcm(self.period, other.period)
            sets = tuple(_union([self._set(o), other._set(o)]) for o in range(period))
            return _reduced(AxisField(self.length, int(self.stride * period), sets, self.whole))
        for one, another in ((self, other), (other, self)):
            if one.whole:
                low, mask = _cut(*one.sets[0], one.length)
                seen = another.everything(count)
                if _union([(low, mask), seen.sets[0]]) == (low, mask):
                    return AxisField(self.length, 0, ((low, mask),), True)
        raise Unfollowed(
            f"branches of mismatched strides meet: one moves by {self.stride} from an output to the next, "
            f"the other by {other.stride}"
        )

    def everything(self, count: int) -> AxisField:
        """What all outputs together see, for each of them: a global pooling, a linear layer."""
        seen = _union(_cut(*self._set(output), self.length) for output in range(count))
        return AxisField(self.length, 0, (seen,), True)

    def only(self, output: int) -> AxisField:
        """What one output sees, for all that follows: the others are thrown away."""
        return AxisField(self.length, 0, (_cut(*self._set(output), self.length),), True)

    def _set(self, output: int) -> tuple[int, int]:
        """Lowest position and bits of one output, which may lie outside."""
        turn, phase = divmod(output, self.period)
        low, mask = self.sets[phase]
        return low + turn * self.jump, mask


def _union(sets: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """All positions of some sets."""
    present = [(low, mask) for low, mask in sets if mask]
    if not present:
        return 0, 0
    lowest = min(low for low, _ in present)
    united = 0
    for low, mask in present:
        united |= mask << (low - lowest)
    return lowest, united


def _cut(low: int, mask: int, length: int) -> tuple[int, int]:
    """The positions from 0 to ``length - 1`` of a set, its lowest bit set."""
    if low < 0:
        low, mask = 0, mask >> -low
    mask &= (1 << max(0, length - low)) - 1
    empty = (mask & -mask).bit_length() - 1 if mask else 0
    return (low + empty, mask >> empty) if mask else (0, 0)


def _reduced(field: AxisField) -> AxisField:
    """The same field with its shortest period."""
    for period in range(1, field.period):
        if field.period % period == 0 and field.jump % (field.period // period) == 0:
            shorter = AxisField(field.length, field.jump * period // field.period, field.sets[:period], field.whole)
            if all(shorter._set(o) == s or not (shorter._set(o)[1] or s[1]) for o, s in enumerate(field.sets)):
                return shorter
    return field
