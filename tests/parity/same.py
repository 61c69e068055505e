"""Holding a function against torch's of the same name: same values, or the same refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives: a tuple of tensors, or the type and first line of its error."""
    try:
        result = call()
    except Exception as error:
        return type(error), str(error).splitlines()[0]
    return result if isinstance(result, tuple) else (result,)


def refused(result: Any) -> bool:
    """Whether ``outcome`` is an error."""
    return isinstance(result[0], type)


def assert_same(mine: Callable[[], Any], other: Callable[[], Any], where: Any, strides: bool = True) -> None:
    """The same numbers bit for bit (NaN equal to NaN), shape, dtype and strides; or the same error."""
    got, expected = outcome(mine), outcome(other)
    if refused(expected) or refused(got):
        assert got == expected, where
        return
    assert len(got) == len(expected), where
    for a, b in zip(got, expected):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        assert not strides or a.stride() == b.stride(), (where, a.stride(), b.stride())
        assert torch.equal(a, b) or torch.allclose(a, b, rtol=0, atol=0, equal_nan=True), where
