"""What a target returned, before its numbers are judged: is it a tensor, can it be read, of which shape and dtype?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from miniconv.parity.data import Array
from miniconv.parity.operands import numbers

__all__ = ["described", "fitted", "misfit", "same_but_for_ones"]


def misfit(value: Any, shape: tuple[int, ...], dtype: torch.dtype, level: str) -> tuple[str, str] | None:
    """What is wrong with a result apart from its numbers, as the name of a verdict and a detail; None if nothing is.

    Args:
        value: whatever a target returned.
        shape: the shape that it must have.
        dtype: the dtype that it must have.
        level: one of ``miniconv.parity.targets.LEVELS``; ``values`` forgives axes of size 1, and another dtype unless
            one of the two is complex.

    >>> misfit([1.0], (1,), torch.float32, "values")
    ('DTYPE', 'a list, which is no array')
    """
    if not isinstance(value, torch.Tensor):
        return "DTYPE", described(value)
    try:
        numbers(value)
    except Exception as error:
        return "DTYPE", f"{described(value)} that cannot be read: {type(error).__name__}: {error}"
    lenient = level == "values"
    if tuple(value.shape) != shape and not (lenient and same_but_for_ones(value.shape, shape)):
        return "SHAPE", f"{tuple(value.shape)}, but torch gives {shape}"
    if value.dtype != dtype and not (lenient and value.is_complex() == dtype.is_complex):
        return "DTYPE", f"{value.dtype}, but torch gives {dtype}"
    return None


def described(value: Any) -> str:
    """What a value is, for a person.

    >>> described(np.array([None]))
    'an array of object'
    """
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    if isinstance(value, torch.Tensor):
        return f"a {str(value.layout).removeprefix('torch.')} tensor on {value.device.type}"
    return "None, which is no array" if value is None else f"a {type(value).__name__}, which is no array"


def fitted(tensor: torch.Tensor, shape: tuple[int, ...]) -> Array:
    """The numbers of a result without a misfit, in the shape that was asked for."""
    return numbers(tensor).reshape(shape)


def same_but_for_ones(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two shapes differ by axes of size 1 at most.

    >>> same_but_for_ones((1, 6, 5), (6, 5, 1)), same_but_for_ones((6, 5), (5, 6))
    (True, False)
    """
    one, two = ([size for size in sizes if size != 1] for sizes in (shape, other))
    return one == two
