"""Padding as a caller may write it beyond integers: by a word, or by sides.

torch has the words ``'valid'`` and ``'same'``. ``'same_upper'`` and ``'same_lower'``, and a pair for each axis, are
forms that torch refuses, so that no program which works with torch changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from miniconv.rules import INT64_MAX, integer, same_padding

__all__ = ["SAME_WORDS", "padding_by_sides", "padding_from_text", "same_by_size"]

SAME_WORDS = ("same_upper", "same_lower")
"""The words of ONNX's ``auto_pad``: the side that an odd cell goes to."""


def padding_by_sides(op: str, padding: Any, dims: int) -> list[tuple[int, int]] | None:
    """``((top, bottom), (left, right))`` as pairs (low, high), one for each axis; None for every other form.

    A list or tuple that begins with a list or tuple is meant so: torch refuses every one of them.

    Raises:
        TypeError: it is not one pair of integers for each axis.
        ValueError: an integer exceeds 64 bits.
    """
    if not (isinstance(padding, (list, tuple)) and padding and isinstance(padding[0], (list, tuple))):
        return None
    pairs = [tuple(map(integer, pair)) if isinstance(pair, (list, tuple)) else () for pair in padding]
    if len(pairs) != dims or any(len(pair) != 2 or None in pair for pair in pairs):
        raise TypeError(
            f"{op}(): padding by sides is one pair (low, high) of integers for each spatial axis, {dims} in all, but "
            f"got padding={padding}"
        )
    if any(not -INT64_MAX - 1 <= side <= INT64_MAX for pair in pairs for side in pair if side is not None):
        raise ValueError("Overflow when unpacking long long")
    return [(low, high) for low, high in pairs]  # type: ignore[misc]  # None was refused above


def padding_from_text(
    text: str, input_shape: tuple[int, ...], weight_shape: tuple[int, ...], integers: Mapping[str, Any]
) -> list[tuple[int, int]]:
    """The pairs that a word stands for; ``'valid'`` is none."""
    if text not in ("same", "valid", *SAME_WORDS):
        raise RuntimeError(f"Invalid padding string: '{text}'")
    if text == "valid":
        return [(0, 0)]
    rank, dims = len(weight_shape), len(weight_shape) - 2
    if dims < 1:
        raise RuntimeError("weight should have at least three dimensions")
    if integers["groups"] <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if rank != len(input_shape):
        raise RuntimeError(
            f"Expected {rank}-dimensional input for {rank}-dimensional weight{list(weight_shape)}, but got "
            f"{len(input_shape)}-dimensional input of size {list(input_shape)} instead"
        )
    for name in ("stride", "dilation"):
        if len(integers[name]) not in (1, dims):
            raise RuntimeError(f"{name} cannot broadcast to {dims} dimensions")
    stride, dilation = (list(integers[name]) * (dims // len(integers[name])) for name in ("stride", "dilation"))
    if text in SAME_WORDS:
        if any(s <= 0 for s in stride):
            raise RuntimeError("non-positive stride is not supported")
        return same_by_size(text, input_shape[2:], weight_shape[2:], stride, dilation)
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    return same_padding(weight_shape[2:], dilation)


def same_by_size(
    word: str, input_size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """``'same_upper'`` and ``'same_lower'``: as few zeros as make the output ceil(input / stride) cells long.

    They are max((output - 1) * stride + dilation * (kernel - 1) + 1 - input, 0) in all. An odd one goes to the high
    side (upper) or to the low side (lower).

    Source: ONNX, operator Conv, attribute auto_pad.

    >>> same_by_size("same_upper", [7, 8], [4, 3], [1, 2], [1, 1])
    [(1, 2), (0, 1)]
    """
    pairs = []
    for i, k, s, d in zip(input_size, kernel, stride, dilation):
        total = max((-(-i // s) - 1) * s + d * (k - 1) + 1 - i, 0)
        less, more = total // 2, total - total // 2
        pairs.append((less, more) if word == "same_upper" else (more, less))
    return pairs
