"""pad: cells around an input, constant, mirrored, repeated or wrapped. Negative padding crops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from miniconv.arrays import Array, describe, is_tensor, laid_out, namespace, permute
from miniconv.arrays import pad as constant_pad
from miniconv.functional._operands import integers, is_array, overridable, torch_function, under_autocast
from miniconv.rules import type_name

__all__ = ["pad"]

_C_NAMES: Mapping[str, str] = {
    "uint8": "uint8_t",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int",
    "int64": "int64_t",
    "float16": "c10::Half",
    "float32": "float",
    "complex64": "c10::complex<float>",
}
"""What torch calls a dtype that has no room for a number; float64 and complex128 have room for every one."""


@overridable
def pad(input: Array, pad: Any, mode: str = "constant", value: float | None = None) -> Array:
    r"""Cells around an input; `torch.nn.functional.pad`, from scratch.

    For ``reflect``, ``replicate`` and ``circular``, along each axis,

    .. math:: \text{out}[i] = \text{input}[f(i - \text{low})]

    where f mirrors a position at the first and last cell, moves it to the nearest cell, or takes it modulo the size.

    Args:
        input: any shape for ``constant``; (N, C, *spatial) or (C, *spatial) with one to three spatial axes for the
            others; NumPy array or tensor.
        pad: low and high side of the last axis, then of the last but one, and so on; negative counts crop.
        mode: ``constant``, ``reflect``, ``replicate`` or ``circular``.
        value: of the constant cells, a float64 whatever the dtype; None stands for 0.

    Returns:
        The padded input, a copy, of its dtype and kind; channels_last if it is, but contiguous for ``circular``.

    Raises:
        TypeError: an argument has the wrong type.
        RuntimeError: a size rule is broken, or the dtype has no room for ``value``; torch's text where it has one.
        NotImplementedError: the mode is unknown, or does not fit the number of axes.

    Numerics:
        Exact: numbers are copied.

    Cost:
        One copy of the output for each padded axis.

    >>> pad(np.array([[1, 2, 3]]), (2, 1), mode="reflect").tolist()
    [[3, 2, 1, 2, 3, 2]]
    """
    if not is_array(input):
        return torch_function("pad", input)(input, pad, mode, value)
    sides = _sides(pad)
    if len(sides) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(sides) > 2 * input.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(sides)} and input of dimension {input.ndim}"
        )
    pairs = [(sides[at], sides[at + 1]) for at in range(len(sides) - 2, -1, -2)]
    if mode == "constant":
        return _constant(input, pairs, 0 if value is None else value)
    if value:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    check_mode(input, pairs, mode)
    input = under_autocast(f"{mode}{len(pairs)}d", input)
    memory_format = "contiguous" if mode == "circular" else _memory_format(input)
    # along the axes as memory runs, so that a gradient comes back in the layout of the input, as torch's does
    order = [0, *range(2, input.ndim), 1] if memory_format == "channels_last" else list(range(input.ndim))
    out = permute(input, order)
    for axis, (low, high) in enumerate(pairs, input.ndim - len(pairs)):
        at = _sources(input, axis, low, high, mode)
        out = out.index_select(order.index(axis), at) if is_tensor(out) else out.take(at, order.index(axis))
    return laid_out(permute(out, [order.index(axis) for axis in range(input.ndim)]), memory_format)


def _sides(pad: Any) -> tuple[int, ...]:
    if hasattr(pad, "__index__"):
        raise TypeError(f"pad(): argument 'pad' (position 2) must be tuple of ints, not {type(pad).__name__}")
    return integers("pad", "pad", pad, 2)


def _constant(x: Array, pairs: Sequence[tuple[int, int]], value: Any) -> Array:
    """Crop what is negative, then surround."""
    value = _as_float(x, value)
    lead = x.ndim - len(pairs)
    size = x.shape[lead:]
    if any(i + min(low, 0) + min(high, 0) < 0 for i, (low, high) in zip(size, pairs)):
        raise RuntimeError("narrow(): length must be non-negative.")
    crop = (slice(max(-low, 0), i + min(high, 0)) for i, (low, high) in zip(size, pairs))
    kept = x[(..., *crop)]
    if not any(low > 0 or high > 0 for low, high in pairs):
        return kept.clone() if is_tensor(x) else kept.copy()  # never a view of the input
    return laid_out(constant_pad(kept, [(max(low, 0), max(high, 0)) for low, high in pairs], value), _memory_format(x))


def _as_float(x: Array, value: Any) -> float:
    """``value`` as torch reads it, a float64 for every dtype; for an array, torch's error where the dtype has no room.

    A tensor's own functions know that rule.
    """
    scalar = isinstance(value, np.generic) or (is_tensor(value) and value.ndim == 0 and not value.requires_grad)
    if not (scalar or isinstance(value, (int, float))) or isinstance(value, np.complexfloating):
        raise TypeError(f"pad(): argument 'value' (position 4) must be float, not {type_name(value)}")
    number = float(value)
    name = str(x.dtype)
    if not is_tensor(x) and name in _C_NAMES:
        whole = x.dtype.kind in "iu"
        limits = np.iinfo(x.dtype) if whole else np.finfo(x.dtype)
        if not float(limits.min) <= number <= float(limits.max) and (whole or math.isfinite(number)):
            raise RuntimeError(f"value cannot be converted to type {_C_NAMES[name]} without overflow")
    return number


def _memory_format(x: Array) -> str:
    return describe(x).memory_format


def check_mode(x: Array, pairs: Sequence[tuple[int, int]], mode: str) -> None:
    """torch's rules for the modes that read the input."""
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    dims = len(pairs)
    if dims not in (1, 2, 3) or x.ndim not in (dims + 1, dims + 2):
        raise NotImplementedError(f"Padding size {2 * dims} is not supported for {x.ndim}D input tensor.")
    size = x.shape[-dims:]
    if mode != "circular" and 0 in x.shape[-dims - 1 :]:
        raise RuntimeError(
            f"Expected {dims + 1}D or {dims + 2}D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(x.shape)}"
        )
    for axis in range(dims - 1, -1, -1):
        (low, high), i = pairs[axis], size[axis]
        if mode == "reflect" and max(low, high) >= i:
            raise RuntimeError(
                f"Argument #{2 * (dims - axis) + 2}: Padding size should be less than the "
                f"corresponding input dimension, but got: padding ({low}, {high}) "
                f"at dimension {x.ndim - dims + axis} of input {list(x.shape)}"
            )
    for (low, high), i in zip(pairs, size):
        kept = i + min(low, 0) + min(high, 0)
        if mode == "circular" and max(low, high) > i:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        if i + low + high < 0 or (mode == "circular" and (kept < 0 or (kept == 0 and max(low, high) > 0))):
            raise RuntimeError("Negative padding value is resulting in an empty dimension")


def _sources(x: Array, axis: int, low: int, high: int, mode: str) -> Array:
    """For each cell of the output along an axis, the cell of the input that it copies."""
    size = x.shape[axis]
    device = {"device": x.device} if is_tensor(x) else {}
    at = namespace(x).arange(-low, size + high, **device)
    if mode == "replicate":
        return at.clip(0, max(size - 1, 0))
    if mode == "reflect":
        return (size - 1) - abs((size - 1) - abs(at))
    first, kept = max(-low, 0), size + min(low, 0) + min(high, 0)  # wraps what is left after the crop
    return first + (at - first) % max(kept, 1)
