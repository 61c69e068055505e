"""relu, linear and log_softmax for NumPy arrays: what a small network needs beside its convolutions.

With ``conv2d`` they classify digits on a machine that has no torch. Whatever is no NumPy array (a tensor, a tracer's
stand-in for one) goes to `torch.nn.functional`'s own function.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from miniconv.arrays import Array
from miniconv.functional._operands import torch_function

__all__ = ["linear", "log_softmax", "relu"]


def relu(input: Array, inplace: bool = False) -> Array:
    r"""Rectified linear unit, element by element.

    .. math:: \text{out} = \max(\text{input}, 0)

    Args:
        input: any shape, any real dtype; NumPy array or tensor.
        inplace: whether the result overwrites ``input``.

    Returns:
        Shape and dtype of ``input``; ``input`` itself if ``inplace``.

    Raises:
        TypeError: ``input`` is neither an array nor, with torch installed, what torch accepts.

    Numerics:
        Exact; NaN stays NaN.

    Cost:
        One comparison an element.

    Source:
        Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.

    >>> relu(np.array([-1.5, 0.0, 2.5])).tolist()
    [0.0, 0.0, 2.5]
    """
    if not isinstance(input, np.ndarray):
        return torch_function("relu", input)(input, inplace)
    return np.maximum(input, input.dtype.type(0), out=input if inplace else np.empty_like(input))


def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    r"""A fully connected layer.

    .. math:: \text{out}[\dots, o] = \text{bias}[o] + \sum_i \text{weight}[o, i] \cdot \text{input}[\dots, i]

    Args:
        input: (..., in_features); NumPy array or tensor.
        weight: (out_features, in_features), of the input's dtype and kind.
        bias: (out_features,) or None.

    Returns:
        (..., out_features), dtype of ``input``.

    Raises:
        TypeError: as for ``relu``.
        RuntimeError: the operands do not have one dtype.
        ValueError: the shapes do not fit.

    Numerics:
        Accumulated in the dtype, float16 in float32 with one final rounding; integers wrap.

    Cost:
        in_features * out_features multiply-adds for each row of the input.

    >>> linear(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]), np.array([0.5, -1.0])).tolist()
    [[11.5, 16.0]]
    """
    if not isinstance(input, np.ndarray):
        return torch_function("linear", input)(input, weight, bias)
    dtypes = {x.dtype for x in (input, weight, bias) if x is not None}
    if len(dtypes) > 1:
        raise RuntimeError(f"linear needs operands of one dtype, but got {', '.join(sorted(map(str, dtypes)))}")
    # NumPy's own float16 product rounds after every addition, and is slow
    compute = np.dtype(np.float32) if input.dtype == np.float16 else input.dtype
    out = np.matmul(input.astype(compute, copy=False), weight.T.astype(compute, copy=False))
    if bias is not None:
        out = out + bias.astype(compute, copy=False)
    return np.asarray(out, dtype=input.dtype)


def log_softmax(input: Array, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Array:
    r"""Logarithm of the softmax along one axis.

    .. math:: \text{out}_i = x_i - \max x - \log \sum_j e^{x_j - \max x}

    Args:
        input: any shape, a floating dtype; NumPy array or tensor.
        dim: the axis that the probabilities sum to 1 along; None warns and guesses as torch does.
        _stacklevel: of that warning.
        dtype: that the input is cast to beforehand.

    Returns:
        Shape of ``input``.

    Raises:
        TypeError: as for ``relu``.
        NotImplementedError: an integer dtype.

    Numerics:
        Relative to the largest element, so that no exponential overflows; float16 is computed in float32.

    Cost:
        One exponential an element.

    >>> np.exp(log_softmax(np.log(np.array([[1.0, 1.0, 2.0]])), dim=1)).round(6).tolist()
    [[0.25, 0.25, 0.5]]
    """
    if not isinstance(input, np.ndarray):
        return torch_function("log_softmax", input)(input, dim, _stacklevel, dtype)
    x = input if dtype is None else input.astype(dtype)
    if x.dtype.kind != "f":
        raise NotImplementedError(f"log_softmax is not implemented for {x.dtype}")
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
        text = "Implicit dimension choice for log_softmax has been deprecated. "
        warnings.warn(text + "Change the call to include dim=X as an argument.", stacklevel=_stacklevel - 1)
    wide = np.atleast_1d(x).astype(np.float32) if x.dtype == np.float16 else np.atleast_1d(x)
    shifted = wide - wide.max(axis=dim, keepdims=True)
    out = shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))
    return out.astype(x.dtype, copy=False).reshape(x.shape)
