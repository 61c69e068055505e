"""Which cases a target claims to serve, as a short text; the others are UNSUPPORTED, and counted.

Clauses, separated by semicolons; what no clause speaks of is claimed:

- ``only stride, padding, bias``: of the arguments (``ARGUMENTS``), these and no others;
- ``no groups, unbatched``: not these: an argument, or another word of ``NEEDS``, or ``gradients``;
- ``dtype float32, float64``: an axis of the cases (``miniconv.parity.Case.axes``), and the values that it may have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from miniconv.parity.case_text import DATA, DTYPES, LAYOUTS, OPS, PADDING_MODES
from miniconv.parity.cases import Case

__all__ = ["ARGUMENTS", "NEEDS", "Capabilities"]

ARGUMENTS = ("stride", "padding", "dilation", "groups", "bias", "output_padding")
"""The arguments of a convolution beside its input and its weight."""


def _differs(*names: str) -> Callable[[Case], bool]:
    """Whether one of these tuples holds different numbers."""

    def needed(case: Case) -> bool:
        values: list[Any] = [getattr(case, name) for name in names]
        return any(isinstance(value, tuple) and len(set(value)) > 1 for value in values)

    return needed


NEEDS: Mapping[str, tuple[str, Callable[[Case], bool]]] = {
    "stride": ("a stride", lambda case: any(s != 1 for s in case.stride)),
    "padding": ("padding", lambda case: any(map(any, case.padding_pairs)) or isinstance(case.padding, str)),
    "dilation": ("dilation", lambda case: any(d != 1 for d in case.dilation)),
    "groups": ("groups", lambda case: case.groups != 1),
    "bias": ("a bias", lambda case: case.bias),
    "output_padding": ("output padding", lambda case: any(case.output_padding)),
    "wide_output_padding": (
        "output padding of a stride or more",
        lambda case: any(extra >= s for extra, s in zip(case.output_padding, case.stride)),
    ),
    "padding_words": ("padding as a word", lambda case: isinstance(case.padding, str)),
    "padding_modes": ("a border other than zeros", lambda case: case.padding_mode != "zeros"),
    "per_axis": ("numbers that differ per axis", _differs("stride", "padding", "dilation", "output_padding")),
    "unbatched": ("an input without a batch", lambda case: case.batch is None),
    "empty": ("a batch of no images", lambda case: case.batch == 0),
}
"""What a target may lack, by its word: in a person's words, and whether a case needs it."""

_VALUES: Mapping[str, tuple[str, ...] | None] = {
    "op": OPS, "dtype": DTYPES, "layout": LAYOUTS, "data": DATA, "padding_mode": PADDING_MODES,
    "batch": None, "groups": None, "kernel": None, "stride": None, "padding": None, "dilation": None,
    "output_padding": None, "bias": ("yes", "no"),
}  # fmt: skip


@dataclass(frozen=True)
class Capabilities:
    """What a target claims.

    Attributes:
        lacks: words of ``NEEDS`` that it does not claim.
        values: for an axis of the cases, the values that it claims.
        gradients: whether it claims to be differentiable.
    """

    lacks: tuple[str, ...] = ()
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    gradients: bool = True

    @classmethod
    def parse(cls, text: str) -> Capabilities:
        """The claims that ``text`` makes.

        Raises:
            ValueError: a clause is not understood; what it may say is in the text.

        >>> claims = Capabilities.parse("only stride, padding; no unbatched; dtype float32, float64")
        >>> claims.missing(Case.parse("conv2d n1 c2 o3 i5x6 k3x2 g2"))
        'groups'
        """
        lacks: list[str] = []
        values: dict[str, tuple[str, ...]] = {}
        for clause in filter(None, map(str.strip, text.replace("\n", ";").split(";"))):
            head, _, rest = clause.partition(" ")
            words = tuple(filter(None, (word.strip() for word in rest.split(","))))
            if head == "only":
                _check(clause, words, ARGUMENTS, "an argument")
                lacks += [name for name in ARGUMENTS if name not in words]
            elif head == "no":
                _check(clause, words, (*NEEDS, "gradients"), "something to lack")
                lacks += words
            elif head in _VALUES:
                _check(clause, words, _VALUES[head], f"a value of {head}")
                values[head] = words
            else:
                raise ValueError(
                    f"a clause of the capabilities begins with only, no, or one of {', '.join(_VALUES)}, "
                    f"but got {clause!r}"
                )
        return cls(
            tuple(word for word in lacks if word != "gradients"), tuple(values.items()), "gradients" not in lacks
        )

    def missing(self, case: Case) -> str | None:
        """What ``case`` needs that is not claimed, in words; None if all is."""
        for word in self.lacks:
            words, needed = NEEDS[word]
            if needed(case):
                return words
        axes = case.axes if self.values else {}
        for axis, allowed in self.values:
            if axes[axis] not in allowed:
                return f"{axis} {axes[axis]}"
        return None


def _check(clause: str, words: tuple[str, ...], known: tuple[str, ...] | None, what: str) -> None:
    """Complains of a clause without words, or with an unknown one."""
    if not words:
        raise ValueError(f"the capabilities' clause {clause!r} names nothing")
    for word in words:
        if known is not None and word not in known:
            raise ValueError(f"{word!r} in the capabilities is not {what}: one of {', '.join(known)}")
