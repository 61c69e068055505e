"""What the windowed functions share: reading arguments as torch reads them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from miniconv.arrays import Array, dtype_name, is_tensor, namespace
from miniconv.dtypes import DTYPES

__all__ = [
    "integers",
    "is_array",
    "is_traced",
    "not_implemented",
    "overridable",
    "pair",
    "torch_function",
    "truth",
    "under_autocast",
    "untraced",
]

Result = TypeVar("Result")


_WIDENED_BY_AUTOCAST = {
    "avg_pool3d",
    "max_pool3d",
    "reflect1d",
    "reflect2d",
    "replicate1d",
    "replicate2d",
    "replicate3d",
}
"""Its list is uneven: neither a reflection in three dimensions nor a maximum with its places is in it."""

Function = TypeVar("Function", bound=Callable[..., Any])


def overridable(function: Function) -> Function:
    """``function``, handed as a whole to a subclass of tensor, a mode or torch.fx, as torch.overrides says."""

    @wraps(function)
    def handed(input: Array, *args: Any, **kwargs: Any) -> Any:
        torch = sys.modules.get("torch")
        if torch is not None and torch.overrides.has_torch_function([input]):
            return torch.overrides.handle_torch_function(handed, [input], input, *args, **kwargs)
        return function(input, *args, **kwargs)

    return handed  # type: ignore[return-value]  # it has the signature of what it wraps


def under_autocast(op: str, input: Array) -> Array:
    """``input``, in float32 where torch's autocast on the CPU runs ``op`` so."""
    if not is_tensor(input) or op not in _WIDENED_BY_AUTOCAST or dtype_name(input) not in ("float16", "bfloat16"):
        return input
    return input.float() if input.is_cpu and namespace(input).is_autocast_enabled("cpu") else input


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
    return not isinstance(value, bool) and (isinstance(value, int) or hasattr(value, "__index__"))


def not_implemented(op: str, x: Array) -> NotImplementedError:
    """torch's error for a dtype that ``op`` does not take."""
    name = dtype_name(x)
    spelled = DTYPES[name].scalar_name if name in DTYPES else name.capitalize()
    return NotImplementedError(f"\"{op}\" not implemented for '{spelled}'")


def is_traced() -> bool:
    """Whether torch.jit.trace is at work: it makes tensors of sizes, and warns where one is read as a number."""
    torch = sys.modules.get("torch")
    if torch is None or torch.compiler.is_dynamo_compiling():
        return False
    return torch._C._get_tracing_state() is not None


def untraced(function: Callable[..., Result], *args: Any) -> Result:
    """``function(*args)`` with sizes that are numbers; nothing that it does is traced."""
    if not is_traced():
        return function(*args)
    torch = sys.modules["torch"]
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)
    try:
        return function(*args)
    finally:
        torch._C._set_tracing_state(state)
