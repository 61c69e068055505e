"""How a target takes its operands and gives its result: as tensors, as NumPy arrays, as JAX arrays.

An adapter turns the suite's tensors into the target's arrays and back. NumPy arrays share the tensors' memory and
strides; JAX arrays are copies. The suite itself goes on with tensors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from miniconv.parity.targets.axis_orders import AxisOrder
from miniconv.parity.targets.target import Inexpressible

__all__ = ["ADAPTERS", "Adapter", "adapted"]


class Adapter(NamedTuple):
    """One kind of array.

    Attributes:
        name: the key under which ``ADAPTERS`` has it.
        module: the module that must be loaded for a target to be of this kind.
        enter: from a tensor to such an array; raises ``Inexpressible`` for a dtype that it does not have.
        leave: from such an array to a tensor; anything else is handed through as it is.
        differentiate: from a function on such arrays, and arrays, to its result and the function from the result's
            gradient to theirs; None where tensors record gradients themselves, or nothing does.
    """

    name: str
    module: str
    enter: Callable[[torch.Tensor], Any]
    leave: Callable[[Any], Any]
    differentiate: Callable[..., Any] | None = None


def _numpy_from(tensor: torch.Tensor) -> Any:
    """An array over the same memory."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(_bfloat16())
    try:
        return tensor.numpy()
    except (TypeError, RuntimeError) as error:
        raise Inexpressible(f"NumPy has no {str(tensor.dtype).removeprefix('torch.')}") from error


def _bfloat16() -> Any:
    """NumPy's dtype of that name, from a package of its own."""
    try:
        import ml_dtypes
    except ImportError as error:
        raise Inexpressible("NumPy has no bfloat16: install ml_dtypes") from error
    return ml_dtypes.bfloat16


def _tensor_from(value: Any) -> Any:
    """A tensor of its own memory, if ``value`` is an array of a dtype that torch has; else ``value``."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.name == "bfloat16":
        return torch.from_numpy(value.view(np.int16).copy()).view(torch.bfloat16)
    try:
        return torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C", subok=False))
    except TypeError:  # objects, strings, a dtype of 16 bytes
        return value


def _jax_from(tensor: torch.Tensor) -> Any:
    """A JAX array of the same numbers."""
    import jax.numpy

    array = _numpy_from(tensor)
    held = jax.dtypes.canonicalize_dtype(array.dtype)
    if held != array.dtype:
        raise Inexpressible(f"JAX holds {array.dtype} as {held}, unless jax_enable_x64 is set")
    return jax.numpy.array(array)


def _tensor_from_jax(value: Any) -> Any:
    """A tensor, if ``value`` is a JAX array; else ``value``."""
    return _tensor_from(np.asarray(value)) if isinstance(value, sys.modules["jax"].Array) else value


def _vjp(function: Callable[..., Any], *arrays: Any) -> Any:
    """The result, and the function from its gradient to those of ``arrays``."""
    return sys.modules["jax"].vjp(function, *arrays)


ADAPTERS: Mapping[str, Adapter] = {
    adapter.name: adapter
    for adapter in (
        Adapter("torch", "torch", lambda tensor: tensor, lambda value: value),
        Adapter("numpy", "numpy", _numpy_from, _tensor_from),
        Adapter("jax", "jax", _jax_from, _tensor_from_jax, _vjp),
    )
}
"""Every adapter by its name, in the order in which they are tried."""


def adapted(function: Callable[..., Any], adapter: Adapter, order: AxisOrder) -> Callable[..., Any]:
    """``function(input, weight, bias, **options)`` on tensors in torch's order of axes.

    What the function writes into a copy of an operand is written into the operand too, so that it shows.

    Args:
        function: takes and gives arrays of the adapter's kind, axes in the given order; its bias may be None.
        adapter: the kind of array.
        order: the order of the axes.
    """

    def on_tensors(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, **options: Any) -> Any:
        operands = [order.enter(input, "input"), order.enter(weight, "weight")] + ([] if bias is None else [bias])
        if adapter.differentiate is not None and any(x.requires_grad for x in operands):
            result = _Recorded.apply(function, adapter, options, *operands)  # type: ignore[no-untyped-call]  # torch's
        else:
            arrays = [adapter.enter(x) for x in operands]
            result = adapter.leave(function(*arrays, *[None] * (3 - len(arrays)), **options))
            _write_back(operands, (input, weight), order)
        return order.leave(result) if isinstance(result, torch.Tensor) else result

    return on_tensors


def _write_back(operands: list[torch.Tensor], originals: tuple[torch.Tensor, ...], order: AxisOrder) -> None:
    """Puts the copies that were handed out, as they are now, where they came from."""
    for copy, original, which in zip(operands, originals, ("input", "weight")):
        if copy.data_ptr() != original.data_ptr():
            original.data.copy_(order.returned(copy.detach(), which))


class _Recorded(torch.autograd.Function):
    """A function on foreign arrays in torch's record of operations, its gradients by the arrays' own library."""

    @staticmethod
    def forward(ctx: Any, function: Any, adapter: Adapter, options: Any, *operands: torch.Tensor) -> Any:
        """The result; what gives the gradients is kept."""
        arrays = [adapter.enter(x) for x in operands]
        missing = [None] * (3 - len(arrays))
        assert adapter.differentiate is not None
        value, ctx.backwards = adapter.differentiate(lambda *a: function(*a, *missing, **options), *arrays)
        ctx.adapter = adapter
        return adapter.leave(value)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        """The gradients of the operands; of complex ones torch's, which are the conjugates."""
        arrays = ctx.backwards(ctx.adapter.enter(grads[0].conj().resolve_conj().contiguous()))
        return (None, None, None, *(ctx.adapter.leave(array).conj().resolve_conj() for array in arrays))
