"""What the windowed functions share: reading arguments as torch reads them, and laying results out as torch does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from miniconv.arrays import Array, is_tensor, namespace
from miniconv.dtypes import DTYPES

__all__ = [
    "constant_pad",
    "dtype_name",
    "integers",
    "is_array",
    "laid_out",
    "not_implemented",
    "pair",
    "torch_function",
    "truth",
    "widened",
]


def is_array(x: Any) -> bool:
    """Whether ``x`` is something to calculate with: everything else is torch's own function's to accept or refuse."""
    return isinstance(x, np.ndarray) or is_tensor(x)


def torch_function(name: str, input: Any) -> Any:
    """The function of torch of that name, for an ``input`` that is no array and no tensor: a tracer's stand-in."""
    try:
        import torch.nn.functional as torch_functional
    except ImportError:
        kind = type(input).__name__
        raise TypeError(f"{name} takes a NumPy array (or, with torch installed, a tensor), but got {kind}") from None
    return getattr(torch_functional, name)


def integers(op: str, name: str, value: Any, position: int) -> tuple[int, ...]:
    """``value`` as a tuple of integers, of any length; torch's text where it is none."""
    if _is_integer(value):
        return (value,)
    start = f"{op}(): argument '{name}' (position {position}) must be tuple of ints"
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{start}, not {type(value).__name__}")
    for place, element in enumerate(value):
        if not _is_integer(element) and place:  # torch looks at the first element, then unpacks the rest
            raise TypeError(
                f"{op}(): argument '{name}' failed to unpack the object at pos {place + 1} with error "
                f'"type must be tuple of ints,but got {type(element).__name__}"'
            )
        if not _is_integer(element):
            raise TypeError(f"{start}, but found element of type {type(element).__name__} at pos {place}")
    return tuple(value)


def pair(op: str, name: str, value: Any, position: int) -> tuple[int, int]:
    """``value`` for the two axes of unfold and fold: one number for both, or exactly two."""
    values = integers(op, name, tuple(value) if isinstance(value, Iterable) else (value, value), position)
    if len(values) != 2:
        raise RuntimeError(f"It is expected {name} equals to 2, but got size {len(values)}")
    return (values[0], values[1])


def truth(op: str, name: str, value: Any, position: int) -> bool:
    """``value``, which must be a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{op}(): argument '{name}' (position {position}) must be bool, not {type(value).__name__}")
    return value


def _is_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def dtype_name(x: Array) -> str:
    """The name of the dtype: NumPy's and torch's are the same."""
    return str(x.dtype).removeprefix("torch.")


def not_implemented(op: str, x: Array) -> NotImplementedError:
    """torch's error for a dtype that ``op`` does not take."""
    name = dtype_name(x)
    spelled = DTYPES[name].scalar_name if name in DTYPES else name.capitalize()
    return NotImplementedError(f"\"{op}\" not implemented for '{spelled}'")


def widened(x: Array) -> Array:
    """``x`` in the dtype that its sums are accumulated in, for a floating dtype."""
    name = dtype_name(x)
    compute = DTYPES[name].compute if name in DTYPES else name
    if is_tensor(x):
        return x.to(getattr(namespace(x), compute))
    return x.astype(compute, copy=False)


def constant_pad(x: Array, padding: Sequence[tuple[int, int]], value: Any) -> Array:
    """``x`` with (low, high) cells of ``value`` around its last axes, for counts that are not negative."""
    if not any(low or high for low, high in padding):
        return x
    lead = x.ndim - len(padding)
    size = [*x.shape[:lead], *(i + low + high for i, (low, high) in zip(x.shape[lead:], padding))]
    padded: Array = x.new_full(size, value) if is_tensor(x) else np.full(size, value, x.dtype)
    padded[(..., *(slice(low, low + i) for i, (low, _) in zip(x.shape[lead:], padding)))] = x
    return padded


def laid_out(x: Array, memory_format: str = "contiguous") -> Array:
    """``x`` with exactly the strides that torch gives a fresh result of that memory format."""
    order = [0, *range(2, x.ndim), 1] if memory_format == "channels_last" else list(range(x.ndim))
    if not is_tensor(x):
        copy = np.ascontiguousarray(x.transpose(order)) if x.ndim else x
        return copy.transpose(np.argsort(order))
    if tuple(x.stride()) == _strides(x.shape, order):
        return x
    torch = namespace(x)
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.clone(memory_format=formats[x.ndim] if order[-1] == 1 and x.ndim > 2 else torch.contiguous_format)


def _strides(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a fresh tensor whose memory runs through the axes in that order."""
    return tuple(
        math.prod(max(shape[later], 1) for later in order[order.index(axis) + 1 :]) for axis in range(len(shape))
    )
