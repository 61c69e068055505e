"""Faults of memory: right numbers in the wrong place, of another place, or never written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from miniconv.parity.data import Values
from miniconv.parity.faults.forms import (
    Array,
    Fault,
    Fits,
    Setting,
    agrees,
    exact_part,
    other_operands,
    other_result,
)
from miniconv.parity.operands import make, numbers
from miniconv.parity.oracle import Exact

__all__ = ["ROWS", "moved_by"]

Map = Callable[[Array], Array]


def _rolled(setting: Setting, part: str) -> Iterator[Map]:
    """Moved one cell along a spatial axis, round the end or with zeros coming in."""
    dims = len(setting.case.input_size)
    if part not in ("output", "input_grad"):
        return
    for axis, step in itertools.product(range(-dims, 0), (1, -1)):
        yield partial(np.roll, shift=step, axis=axis)

        def moved(array: Array, axis: int = axis, step: int = step) -> Array:
            result = np.roll(array, step, axis)
            np.moveaxis(result, axis, 0)[0 if step > 0 else -1] = 0
            return result

        yield moved


def moved_by(name: str) -> Callable[[Setting, str], Iterator[Map]]:
    """The output moved up by a parameter's cells, zeros coming in, with or without the bias on them."""

    def change(setting: Setting, part: str) -> Iterator[Map]:
        cells, bias = getattr(setting.case, name), setting.values.bias
        if part != "output" or isinstance(cells, str) or not any(cells):
            return

        def moved(array: Array, offset: Any = 0) -> Array:
            room = array.shape[-len(cells) :]
            target: Any = tuple(slice(min(cell, size), None) for cell, size in zip(cells, room))
            source: Any = tuple(slice(0, max(0, size - cell)) for cell, size in zip(cells, room))
            result: Array = np.zeros_like(array)
            result[(..., *target)] = (array - offset)[(..., *source)]
            result += offset
            return result

        yield moved
        if bias is not None and not np.iscomplexobj(bias):
            yield partial(moved, offset=bias.reshape(-1, *(1,) * len(cells)))

    return change


def _read_contiguously(name: str) -> Fits:
    """An operand's memory read in the order in which it lies, its strides ignored."""

    def change(setting: Setting) -> Iterator[Values]:
        tensor = getattr(make(setting.case), name)
        elements = tensor.untyped_storage().nbytes() // tensor.element_size() - tensor.storage_offset()
        if tensor.numel() and not tensor.is_contiguous() and elements >= tensor.numel():
            flat = torch.as_strided(tensor, (tensor.numel(),), (1,))
            yield setting.values._replace(**{name: numbers(flat).reshape(tensor.shape)})

    return other_operands(change)


def _has_a_batch_axis(setting: Setting, part: str, got: Array) -> bool:
    """The right result, but of a batch of one image."""
    one = got.shape[:1] == (1,) and setting.case.batch is None and part == "output"
    return one and agrees(setting, part, got[0], exact_part(setting, part))


def _repeated(setting: Setting, part: str) -> Iterator[Callable[[Array], Array]]:
    """The first image's result for every image."""
    if part in ("output", "input_grad") and setting.case.batch:
        yield lambda array: np.repeat(array[:, :1], array.shape[1], 1)


def _extra_of_zeros(setting: Setting, part: str) -> Iterator[Map]:
    """The cells of the output padding hold zeros."""
    extra = setting.case.output_padding
    if part == "output" and any(extra):

        def emptied(array: Array) -> Array:
            result = array.copy()
            for axis, cells in zip(range(-len(extra), 0), extra):
                np.moveaxis(result, axis, 0)[max(0, array.shape[axis] - cells) :] = 0
            return result

        yield emptied


def _unwritten(setting: Setting, part: str, got: Array) -> bool:
    """Zeros everywhere; or right but for the last element, or the end of an axis, which holds one number throughout."""
    exact = exact_part(setting, part)
    if exact is None or exact.high.shape[1:] != got.shape or not got.size or agrees(setting, part, got, exact):
        return False
    last: list[Any] = [(-1,) * got.ndim, *((*(slice(None),) * axis, -1) for axis in range(got.ndim))]
    for index in [..., *last]:
        held = np.unique(got[index])
        alone = held.size == 1 and (got[index].size < got.size or not held[0])
        if alone and agrees(setting, part, got, _with_held(exact, index, held[0])):
            return True
    return False


def _with_held(exact: Exact, index: Any, number: Any) -> Exact:
    """``exact`` with another number at some places."""
    high = exact.high.copy()
    low = None if exact.low is None else exact.low.copy()
    for at, part in enumerate((number.real, number.imag)[: len(high)]):
        high[at][index] = part
        if low is not None:
            low[at][index] = 0
    return exact._replace(high=high, low=low)


ROWS = (
    Fault("shifted_output", "the output is moved by one cell along an axis", other_result(_rolled)),
    Fault("first_image_for_all", "every image gets the first one's result", other_result(_repeated)),
    Fault("input_strides", "the input is read as if it were contiguous", _read_contiguously("input")),
    Fault("weight_strides", "the weight is read as if it were contiguous", _read_contiguously("weight")),
    Fault("batch_axis", "the result of an unbatched input has a batch axis", _has_a_batch_axis),
    Fault("output_padding_of_zeros", "the output padding is filled with zeros", other_result(_extra_of_zeros)),
    Fault("unwritten_memory", "the end of an axis, the last element or all of it is never written", _unwritten),
)
"""The likelier ones first; what many a fault looks like in a small case comes last."""
