"""Pooling: the largest number, or the average, of each window. Faces; ``_pooling_core`` has the arithmetic."""

from __future__ import annotations

from typing import Any

from miniconv.arrays import Array
from miniconv.functional._operands import overridable
from miniconv.functional._pooling_core import average, maximum

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d"]


@overridable
def max_pool1d(
    input: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest number of each window of a sequence; `torch.nn.functional.max_pool1d`, from scratch.

    Everything is said at ``max_pool2d``.

    >>> import numpy as np
    >>> max_pool1d(np.array([[3, 1, 4, 1, 5, 9]]), 2).tolist()
    [[3, 4, 9]]
    """
    options = (kernel_size, stride, padding, dilation, ceil_mode)
    return maximum("max_pool1d", input, options, return_indices)


@overridable
def max_pool2d(
    input: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    r"""The largest number of each window of an image; `torch.nn.functional.max_pool2d`, from scratch.

    .. math:: \text{out}[n, c, oh, ow] = \max_{kh, kw}\;
        \text{input}[n, c,\; oh \cdot s_h - p_h + kh \cdot d_h,\; ow \cdot s_w - p_w + kw \cdot d_w]

    Args:
        input: (N, C, H_in, W_in) or (C, H_in, W_in); NumPy array or tensor, any real dtype.
        kernel_size: the window, one integer or (height, width).
        stride: its step; None stands for the window's size.
        padding: cells on both sides that never win; at most half the window.
        dilation: distance between two taps.
        ceil_mode: whether a last window that is not full counts.
        return_indices: also say where each number was found, as h * W_in + w.

    Returns:
        (N, C, H_out, W_out), unbatched as the input is, of its dtype and kind, channels_last if it is; with
        ``return_indices`` a pair of it and the places, int64.
        :math:`H_{out} = \lfloor (H_{in} + 2 p_h - d_h (K_h - 1) - 1) / s_h \rfloor + 1`, or rounded up.

    Raises:
        TypeError: an argument has the wrong type.
        RuntimeError: a shape or size rule is broken; torch's text.
        NotImplementedError: the dtype is bool or complex.

    Numerics:
        Exact. NaN wins, the last one of a window; of equal numbers the first wins.

    Cost:
        K_h * K_w comparisons an output element; at most one padded copy of the input.

    >>> import numpy as np
    >>> max_pool2d(np.arange(24).reshape(1, 4, 6), (2, 3)).tolist()
    [[[8, 11], [20, 23]]]
    """
    options = (kernel_size, stride, padding, dilation, ceil_mode)
    return maximum("max_pool2d", input, options, return_indices)


@overridable
def max_pool3d(
    input: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest number of each window of a volume; `torch.nn.functional.max_pool3d`, from scratch.

    Everything is said at ``max_pool2d``.

    >>> import numpy as np
    >>> max_pool3d(np.arange(24).reshape(1, 2, 3, 4), (2, 3, 2)).tolist()
    [[[[21, 23]]]]
    """
    options = (kernel_size, stride, padding, dilation, ceil_mode)
    return maximum("max_pool3d", input, options, return_indices)


@overridable
def avg_pool1d(
    input: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The average of each window of a sequence; `torch.nn.functional.avg_pool1d`, from scratch.

    Everything is said at ``avg_pool2d``.

    >>> import numpy as np
    >>> avg_pool1d(np.array([[1.0, 2.0, 3.0, 6.0]]), 2).tolist()
    [[1.5, 4.5]]
    """
    return average("avg_pool1d", input, (kernel_size, stride, padding, 1, ceil_mode), count_include_pad, None)


@overridable
def avg_pool2d(
    input: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    r"""The average of each window of an image; `torch.nn.functional.avg_pool2d`, from scratch.

    .. math:: \text{out}[n, c, oh, ow] = \frac1D \sum_{kh, kw}
        \text{input}[n, c,\; oh \cdot s_h - p_h + kh,\; ow \cdot s_w - p_w + kw]

    Args:
        input: (N, C, H_in, W_in) or (C, H_in, W_in); NumPy array or tensor, any real dtype but bool.
        kernel_size: the window, one integer or (height, width).
        stride: its step; None stands for the window's size.
        padding: zeros on both sides; at most half the window.
        ceil_mode: whether a last window that is not full counts.
        count_include_pad: whether D counts the cells of the padding; never those past it.
        divisor_override: D, where given.

    Returns:
        (N, C, H_out, W_out), unbatched as the input is, of its dtype and kind, channels_last if it is.

    Raises:
        TypeError: an argument has the wrong type.
        RuntimeError: a shape or size rule is broken; torch's text.
        NotImplementedError: the dtype is bool or complex.

    Numerics:
        Summed in the dtype, float16 and bfloat16 in float32 with one final rounding: within gamma_(K + 1) of the sum
        of magnitudes over D, K numbers a window. Integers are summed in int64 and divided towards zero.

    Cost:
        K_h * K_w additions an output element; at most one padded copy of the input.

    >>> import numpy as np
    >>> avg_pool2d(np.array([[[1.0, 3.0], [5.0, 7.0]]]), (1, 2), count_include_pad=False).tolist()
    [[[2.0], [6.0]]]
    """
    options = (kernel_size, stride, padding, 1, ceil_mode)
    return average("avg_pool2d", input, options, count_include_pad, divisor_override)


@overridable
def avg_pool3d(
    input: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """The average of each window of a volume; `torch.nn.functional.avg_pool3d`, from scratch.

    Everything is said at ``avg_pool2d``.

    >>> import numpy as np
    >>> avg_pool3d(np.ones((1, 2, 3, 4)), (2, 3, 2), divisor_override=4).tolist()
    [[[[3.0, 3.0]]]]
    """
    options = (kernel_size, stride, padding, 1, ceil_mode)
    return average("avg_pool3d", input, options, count_include_pad, divisor_override)
