"""What a batch norm is asked for, checked by torch's rules, in torch's order, with torch's texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from miniconv.arrays import Array, dtype_name, is_tensor, namespace
from miniconv.dtypes import DTYPES
from miniconv.functional._operands import not_implemented, truth

__all__ = ["check_arguments", "check_operands"]

Parameters = Mapping[str, Array | None]
"""weight, bias, running_mean, running_var: by name, in this order."""


def check_arguments(
    input: Array, parameters: Parameters, training: bool, momentum: Any, eps: Any
) -> tuple[float, float, int]:
    """The rules that hold for an empty input too; momentum and eps as numbers, and how many a channel has."""
    if training and input.shape[0] * math.prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    if training and eps <= 0.0:
        raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    if eps < 0.0:
        raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
    for position, (name, x) in enumerate(parameters.items(), 2):
        if x is not None and (is_tensor(x) if is_tensor(input) else isinstance(x, np.ndarray)) is False:
            kind = "Tensor" if is_tensor(input) else "numpy.ndarray"
            raise TypeError(
                f"batch_norm(): argument '{name}' (position {position}) must be {kind}, not {type(x).__name__}"
            )
    truth("batch_norm", "training", training, 6)
    if not hasattr(momentum, "__float__"):
        kind = type(momentum).__name__
        raise TypeError(f"batch_norm(): argument 'momentum' (position 7) must be float, not {kind}")
    return float(momentum), float(eps), math.prod(input.shape) // (math.prod(input.shape[1:2]) or 1)


def check_operands(input: Array, parameters: Parameters, training: bool) -> None:
    """The rules on sizes and dtypes."""
    running = {name: x for name, x in parameters.items() if name.startswith("running")}
    channels = input.shape[1] if input.ndim > 1 else 0
    for name, x in (*running.items(), *parameters.items()):
        if x is None and name in running and not training:
            raise RuntimeError(f"{name} must be defined in evaluation mode")
        if x is not None and math.prod(x.shape) != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {math.prod(x.shape)}")
    missing = [x is None for x in running.values()]
    if any(missing) and not all(missing):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    if input.ndim < 2:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-input.ndim}, {input.ndim - 1}], but got 1)"
        )
    for name, x in running.items():
        if x is not None and is_tensor(x) and x.requires_grad and namespace(x).is_grad_enabled():
            raise RuntimeError(
                f"The function 'native_batch_norm' is not differentiable with respect to argument '{name}'. This input "
                "cannot have requires_grad True."
            )
    for x in parameters.values():
        if x is not None and is_tensor(x) and x.device != input.device:
            raise RuntimeError(f"Tensor on device {x.device} is not on the expected device {input.device}!")
    _check_dtypes(input, parameters)
    for x in running.values():
        if x is not None and x.ndim != 1:
            raise RuntimeError(f"TensorAccessor expected 1 dims but tensor has {x.ndim}")


def _check_dtypes(input: Array, parameters: Parameters) -> None:
    """One floating dtype for all, or float32 beside a smaller input."""
    expected = dtype_name(input)
    if expected not in DTYPES or DTYPES[expected].kind != "float":
        raise not_implemented("batch_norm", input)
    found = [dtype_name(x) for x in parameters.values() if x is not None]
    if found and found[0] != expected:
        if any(name != "float32" for name in found):
            raise RuntimeError("mixed dtype (CPU): expect parameter to have scalar type of Float")
        if DTYPES[expected].compute == expected:
            raise RuntimeError("mixed dtype (CPU): all inputs must share same datatype.")
    for name in found:
        if name not in (expected, found[0]):
            wrong = DTYPES[name].scalar_name if name in DTYPES else name.capitalize()
            raise RuntimeError(f"expected scalar type {DTYPES[expected].scalar_name} but found {wrong}")
