"""Faults of parameters: a stride, padding, dilation or output padding that is not the one asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from miniconv.parity.cases import PADDING_MODES, Case
from miniconv.parity.faults.forms import Fault, Fits, any_of, other_case, other_result, with_sides
from miniconv.parity.faults.places import moved_by

__all__ = ["ROWS"]

_LEAST = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}


def _per_axis(case: Case, name: str) -> tuple[Any, ...]:
    """A parameter's number for each axis; padding as pairs, whatever it was called."""
    return case.padding_pairs if name == "padding" else getattr(case, name)


def _with(case: Case, name: str, numbers: Iterable[Any]) -> Case:
    """``case`` with other numbers for one parameter."""
    if name == "padding":
        return with_sides(case, numbers)
    changed: dict[str, Any] = {name: tuple(numbers)}
    return replace(case, **changed)


def _swapped(name: str) -> Fits:
    """The axes' numbers in another order."""
    return other_case(
        lambda case: (
            _with(case, name, order)
            for order in itertools.permutations(_per_axis(case, name))
            if order != _per_axis(case, name)
        )
    )


def _of_one_axis(name: str) -> Fits:
    """The number of one axis for all of them."""
    return other_case(
        lambda case: (_with(case, name, [number] * len(case.input_size)) for number in set(_per_axis(case, name)))
    )


def _ignored(name: str) -> Fits:
    """The default in place of what was asked for."""
    least: Any = (0, 0) if name == "padding" else _LEAST[name]
    return other_case(lambda case: [_with(case, name, [least] * len(_per_axis(case, name)))])


def _exchanged(case: Case) -> list[Case]:
    """Stride and dilation in one another's place."""
    return [replace(case, stride=case.dilation, dilation=case.stride)]


def _off_by(*moves: tuple[int, int]) -> Fits:
    """(low, high) more cells on every axis, or on one axis alone."""

    def change(case: Case) -> Iterator[Case]:
        pairs = case.padding_pairs
        axes = range(len(pairs))
        for low, high in moves:
            for chosen in [axes, *([axis] for axis in axes)]:
                yield with_sides(
                    case, [(a + low, b + high) if i in chosen else (a, b) for i, (a, b) in enumerate(pairs)]
                )

    return other_case(change)


def _sides_exchanged(case: Case) -> list[Case]:
    """Low and high padding in one another's place."""
    return [with_sides(case, [(high, low) for low, high in case.padding_pairs])]


def _on_one_side(case: Case) -> list[Case]:
    """All the padding of an axis on its low side, or on its high side."""
    return [
        with_sides(case, [(low + high, 0) for low, high in case.padding_pairs]),
        with_sides(case, [(0, low + high) for low, high in case.padding_pairs]),
    ]


def _rounded_up(case: Case) -> list[Case]:
    """Windows that begin inside but end outside are counted: the size is rounded up."""
    return [with_sides(case, [(low, high + s - 1) for (low, high), s in zip(case.padding_pairs, case.stride)])]


def _long_kernel(case: Case) -> list[Case]:
    """A dilated kernel is taken for dilation * kernel cells, so that the last windows are missing."""
    sides = [(low, high - d + 1) for (low, high), d in zip(case.padding_pairs, case.dilation)]
    return [] if case.transposed else [with_sides(case, sides)]


def _input_padded(case: Case) -> list[Case]:
    """A transposed convolution's padding is added to its input: each cell makes ``stride`` cells more."""
    sides = [(-low * s, -high * s) for (low, high), s in zip(case.padding_pairs, case.stride)]
    return [with_sides(case, sides)] if case.transposed else []


def _input_extended(case: Case) -> list[Case]:
    """The output padding is added to the input's end, where each cell makes ``stride`` cells more."""
    triples = zip(case.padding_pairs, case.output_padding, case.stride)
    extended = with_sides(case, [(low, high - extra * s) for (low, high), extra, s in triples])
    return [replace(extended, output_padding=(0,) * len(case.stride))] if case.transposed else []


def _extra_low(case: Case) -> list[Case]:
    """The extra cells of a transposed output before the first one, not after the last."""
    pairs = [(low - extra, high + extra) for (low, high), extra in zip(case.padding_pairs, case.output_padding)]
    return [with_sides(case, pairs)] if case.transposed else []


def _other_borders(case: Case) -> list[Case]:
    """The border filled in another way."""
    return [] if case.transposed else [replace(case, padding_mode=mode) for mode in PADDING_MODES]


_ASKED = {name: name.replace("_", " ") for name in _LEAST}

ROWS = (
    *(
        Fault(f"swapped_{name}", f"the {word} of one axis is taken for another's", _swapped(name))
        for name, word in _ASKED.items()
    ),
    Fault("stride_for_dilation", "stride and dilation are taken for one another", other_case(_exchanged)),
    *(Fault(f"ignored_{name}", f"the {word} is ignored", _ignored(name)) for name, word in _ASKED.items()),
    *(
        Fault(f"{name}_of_one_axis", f"one axis's {word} is used for every axis", _of_one_axis(name))
        for name, word in _ASKED.items()
    ),
    Fault(
        "dilated_kernel_too_long", "the dilated kernel is taken for dilation * kernel cells", other_case(_long_kernel)
    ),
    Fault(
        "padding_of_the_input", "the padding is added to the input, not cut off the output", other_case(_input_padded)
    ),
    Fault("output_padding_of_the_input", "the output padding is added to the input", other_case(_input_extended)),
    Fault("size_rounded_up", "the output size is rounded up, not down", other_case(_rounded_up)),
    Fault("odd_padding_first", "the odd cell of padding='same' is on the low side", other_case(_sides_exchanged)),
    Fault(
        "output_padding_first",
        "the output padding is on the low side",
        any_of(other_case(_extra_low), other_result(moved_by("output_padding"))),
    ),
    Fault(
        "padding_on_one_side",
        "the padding of both sides is on one",
        any_of(other_case(_on_one_side), other_result(moved_by("padding"))),
    ),
    Fault(
        "padding_off_by_one",
        "the padding is off by one",
        _off_by((1, 1), (-1, -1), (1, 0), (0, 1), (-1, 0), (0, -1), (1, -1), (-1, 1)),
    ),
    Fault("other_border", "the border is filled in another way than asked for", other_case(_other_borders)),
)
"""The likelier ones first."""
