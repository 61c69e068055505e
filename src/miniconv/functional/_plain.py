"""relu, linear, max_pool2d and log_softmax for NumPy arrays: what a small network needs beside its convolutions.

With ``conv2d`` they classify digits on a machine that has no torch. Whatever is no NumPy array (a tensor, a tracer's
stand-in for one) goes to `torch.nn.functional`'s own function.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from miniconv.arrays import Array, tap

__all__ = ["linear", "log_softmax", "max_pool2d", "relu"]


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
        return _torch_function("relu", input)(input, inplace)
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
        return _torch_function("linear", input)(input, weight, bias)
    dtypes = {x.dtype for x in (input, weight, bias) if x is not None}
    if len(dtypes) > 1:
        raise RuntimeError(f"linear needs operands of one dtype, but got {', '.join(sorted(map(str, dtypes)))}")
    # NumPy's own float16 product rounds after every addition, and is slow
    compute = np.dtype(np.float32) if input.dtype == np.float16 else input.dtype
    out = np.matmul(input.astype(compute, copy=False), weight.T.astype(compute, copy=False))
    if bias is not None:
        out = out + bias.astype(compute, copy=False)
    return np.asarray(out, dtype=input.dtype)


def max_pool2d(
    input: Array,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Array:
    r"""The largest element of each window.

    .. math:: \text{out}[n, c, oh, ow] = \max_{kh, kw}\;
        \text{input}[n, c,\; oh \cdot s_h - p_h + kh \cdot d_h,\; ow \cdot s_w - p_w + kw \cdot d_w]

    Args:
        input: (N, C, H_in, W_in) or (C, H_in, W_in); NumPy array or tensor.
        kernel_size: the window, one integer or (height, width).
        stride: its step; None stands for the window's size.
        padding: cells on both sides that never win; at most half the window.
        dilation: distance between two taps.
        ceil_mode: whether a last window that is not full counts.
        return_indices: also say where each element was found; for tensors only.

    Returns:
        (N, C, H_out, W_out), unbatched as the input is, of its dtype.
        :math:`H_{out} = \lfloor (H_{in} + 2 p_h - d_h (K_h - 1) - 1) / s_h \rfloor + 1`, or rounded up.

    Raises:
        TypeError: as for ``relu``.
        NotImplementedError: ``return_indices`` with an array.
        RuntimeError: a size rule is broken; torch's text where torch has the rule.

    Numerics:
        Exact; a window with a NaN gives NaN.

    Cost:
        K_h * K_w comparisons an output element; at most one padded copy of the input.

    >>> max_pool2d(np.arange(24).reshape(1, 4, 6), (2, 3)).tolist()
    [[[8, 11], [20, 23]]]
    """
    if not isinstance(input, np.ndarray):
        pool = _torch_function("max_pool2d", input)
        return pool(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    if return_indices:
        raise NotImplementedError("max_pool2d of a NumPy array does not return indices")
    if input.ndim not in (3, 4):
        raise RuntimeError(f"max_pool2d takes (N, C, H, W) or (C, H, W), but got {list(input.shape)}")
    kernel, pad, dilate = _pair("kernel_size", kernel_size), _pair("padding", padding), _pair("dilation", dilation)
    step = kernel if stride is None else _pair("stride", stride)
    _check_pool(kernel, step, pad, dilate)
    size, high = zip(*map(_pool_axis, input.shape[-2:], kernel, step, pad, dilate, (ceil_mode, ceil_mode)))
    if min(size) < 1:
        raise RuntimeError(f"max_pool2d with kernel_size {kernel} leaves no output of an input {list(input.shape)}")
    x = input if input.ndim == 4 else input[None]
    if any(pad) or any(high):
        lowest = -np.inf if input.dtype.kind == "f" else np.iinfo(input.dtype).min
        x = np.pad(x, ((0, 0), (0, 0), *zip(pad, high)), constant_values=lowest)
    out: np.ndarray = tap(x, (0, 0), size, step, dilate).copy()
    for at in product(range(kernel[0]), range(kernel[1])):
        np.maximum(out, tap(x, at, size, step, dilate), out=out)
    return out if input.ndim == 4 else out[0]


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
        return _torch_function("log_softmax", input)(input, dim, _stacklevel, dtype)
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


def _torch_function(name: str, input: Any) -> Any:
    """The function of torch of that name, for an ``input`` that is no NumPy array."""
    try:
        import torch.nn.functional as torch_functional
    except ImportError:
        kind = type(input).__name__
        raise TypeError(f"{name} takes a NumPy array (or, with torch installed, a tensor), but got {kind}") from None
    return getattr(torch_functional, name)


def _pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    """``value`` for the height and the width."""
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    if len(values) not in (1, 2):
        raise RuntimeError(f"max_pool2d: {name} must either be a single int, or a tuple of two ints")
    return (values[0], values[-1])


def _check_pool(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]
) -> None:
    """The rules of torch for the window."""
    if 0 in stride:
        raise RuntimeError("stride should not be zero")
    if min(kernel) < 1:
        raise RuntimeError(f"kernel size should be greater than zero, but got kH: {kernel[0]} kW: {kernel[1]}")
    if min(stride) < 1:
        raise RuntimeError(f"stride should be greater than zero, but got dH: {stride[0]} dW: {stride[1]}")
    if min(dilation) < 1:
        raise RuntimeError(
            f"dilation should be greater than zero, but got dilationH: {dilation[0]} dilationW: {dilation[1]}"
        )
    for k, p, d in zip(kernel, padding, dilation):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                f"dilation={d}"
            )


def _pool_axis(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> tuple[int, int]:
    """The number of windows along an axis, and the padding that they need on the high side."""
    extent = dilation * (kernel - 1) + 1
    free = size + 2 * padding - extent
    out = (-(-free // stride) if ceil_mode else free // stride) + 1
    if ceil_mode and (out - 1) * stride >= size + padding:
        out -= 1  # a window that begins past the input and its low padding does not count
    return out, max(padding, (out - 1) * stride + extent - size - padding)
