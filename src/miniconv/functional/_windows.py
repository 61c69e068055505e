"""unfold and fold: windows written out as columns, and columns added back into an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

from miniconv.arrays import Array, cast, dtype_name, laid_out, permute, tap, widened, windows, zeros
from miniconv.arrays import pad as constant_pad
from miniconv.functional._operands import is_array, overridable, pair, torch_function

__all__ = ["fold", "unfold"]


@overridable
def unfold(input: Array, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Array:
    r"""Every window of an image as one column; `torch.nn.functional.unfold`, from scratch.

    .. math:: \text{out}[n, (c, kh, kw), (oh, ow)] =
        \text{input}[n, c, oh \cdot s_h - p_h + kh \cdot d_h, ow \cdot s_w - p_w + kw \cdot d_w]

    Args:
        input: (N, C, H, W), or (C, H, W) without a batch; NumPy array or tensor, any dtype.
        kernel_size: the window, one integer or (height, width).
        dilation: distance between two taps, likewise.
        padding: zeros on both sides, likewise.
        stride: step of the window, likewise.

    Returns:
        (N, C * K_h * K_w, L) with L windows, unbatched as the input is, of the input's dtype and kind.

    Raises:
        TypeError: an argument has the wrong type.
        RuntimeError: a shape or size rule is broken; torch's text.
        IndexError: the input has fewer than three axes.

    Numerics:
        Exact: numbers are copied. Integers, which torch refuses here, are taken too.

    Cost:
        One copy of K_h * K_w numbers a window, and at most one padded copy of the input.

    >>> import numpy as np
    >>> unfold(np.arange(9).reshape(1, 3, 3), 2).tolist()
    [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]
    """
    if not is_array(input):
        return torch_function("unfold", input)(input, kernel_size, dilation, padding, stride)
    kernel, dilate = pair("im2col", "kernel_size", kernel_size, 2), pair("im2col", "dilation", dilation, 3)
    pad, step = pair("im2col", "padding", padding, 4), pair("im2col", "stride", stride, 5)
    _check_window(kernel, dilate, pad, step)
    shape = tuple(input.shape)
    if len(shape) < 3:
        missing = min(len(shape), 2)
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-len(shape)}, {len(shape) - 1}], but got {missing})"
        )
    if len(shape) > 4 or 0 in shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for "
            f"input, but got: {list(shape)}"
        )
    output = _blocks(shape[-2:], kernel, dilate, pad, step)
    if min(output) < 1:
        raise RuntimeError(
            f"Given input with spatial size {shape[-2:]}, kernel_size={kernel}, dilation={dilate}, padding={pad}, "
            f"calculated shape of the array of sliding blocks as {output}, but its components must be at least one."
        )
    x = input if len(shape) == 4 else input[None]
    view = windows(constant_pad(x, [(p, p) for p in pad], 0), kernel, step, dilate)
    columns = permute(view, (0, 1, 4, 5, 2, 3)).reshape(x.shape[0], x.shape[1] * math.prod(kernel), math.prod(output))
    columns = laid_out(columns)
    return columns if len(shape) == 4 else columns[0]


@overridable
def fold(
    input: Array, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Array:
    r"""Columns added back into an image: the adjoint of ``unfold``; `torch.nn.functional.fold`, from scratch.

    .. math:: \text{out}[n, c, h, w] = \sum \text{input}[n, (c, kh, kw), (oh, ow)]

    over all kh, kw, oh, ow with :math:`h = oh \cdot s_h - p_h + kh \cdot d_h` and
    :math:`w = ow \cdot s_w - p_w + kw \cdot d_w`.

    Args:
        input: (N, C * K_h * K_w, L), or without N; NumPy array or tensor, any dtype.
        output_size: (height, width) of the image.
        kernel_size: the window, one integer or (height, width).
        dilation: distance between two taps, likewise.
        padding: cells cut off on both sides, likewise.
        stride: step of the window, likewise.

    Returns:
        (N, C, height, width), unbatched as the input is, of the input's dtype and kind.

    Raises:
        TypeError: an argument has the wrong type.
        RuntimeError: a shape or size rule is broken; torch's text.

    Numerics:
        At most K_h * K_w numbers meet in a cell; float16 and bfloat16 are added in float32 and rounded once.

    Cost:
        One addition a number.

    >>> import numpy as np
    >>> fold(np.ones((4, 4)), (3, 3), 2).tolist()
    [[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]]
    """
    if not is_array(input):
        return torch_function("fold", input)(input, output_size, kernel_size, dilation, padding, stride)
    size, kernel = pair("col2im", "output_size", output_size, 2), pair("col2im", "kernel_size", kernel_size, 3)
    dilate, pad = pair("col2im", "dilation", dilation, 4), pair("col2im", "padding", padding, 5)
    step = pair("col2im", "stride", stride, 6)
    _check_window(kernel, dilate, pad, step)
    output = _check_columns(tuple(input.shape), size, kernel, dilate, pad, step)
    columns = widened(input if input.ndim == 3 else input[None])
    n, channels = columns.shape[0], columns.shape[1] // math.prod(kernel)
    columns = columns.reshape(n, channels, *kernel, *output)
    total = zeros((n, channels, *(i + 2 * p for i, p in zip(size, pad))), columns)
    for at in product(*map(range, kernel)):
        place = tap(total, at, output, step, dilate)
        place += columns[(slice(None), slice(None), *at)]
    inner = total[(..., *(slice(p, p + i) for p, i in zip(pad, size)))]
    out = laid_out(cast(inner, dtype_name(input)))
    return out if input.ndim == 3 else out[0]


def _check_window(
    kernel: Sequence[int], dilation: Sequence[int], padding: Sequence[int], stride: Sequence[int]
) -> None:
    """torch's rules for the four pairs, in torch's order."""
    rules = [
        ("kernel size", "greater than zero", "kernel", kernel, 1),
        ("dilation", "greater than zero", "dilation", dilation, 1),
        ("padding", "non-negative", "pad", padding, 0),
        ("stride", "greater than zero", "stride", stride, 1),
    ]
    for name, rule, short, values, least in rules:
        if min(values) < least:
            raise RuntimeError(
                f"{name} should be {rule}, but got {short}_height: {values[0]} {short}_width: {values[1]}"
            )


def _check_columns(
    shape: tuple[int, ...],
    size: tuple[int, int],
    kernel: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int],
    stride: tuple[int, int],
) -> tuple[int, int]:
    """torch's rules for what ``fold`` is given; the number of windows on each axis."""
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
            f"input, but got: {list(shape)}"
        )
    if shape[-2] % math.prod(kernel):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={shape[-2]} and kernel_size={kernel}."
        )
    output = _blocks(size, kernel, dilation, padding, stride)
    given = f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, stride={stride}"
    if shape[-1] != math.prod(output):
        raise RuntimeError(
            f"{given}, expected size of input's dimension 2 to match the calculated number of sliding blocks "
            f"{output[0]} * {output[1]} = {math.prod(output)}, but got input.size(2)={shape[-1]}."
        )
    if min(output) < 1:
        raise RuntimeError(
            f"{given}, calculated shape of the array of sliding blocks as {output}, which is too small (non-positive)"
        )
    return output


def _blocks(
    size: Sequence[int], kernel: Sequence[int], dilation: Sequence[int], padding: Sequence[int], stride: Sequence[int]
) -> tuple[int, int]:
    """The number of windows on each of the two axes."""
    height, width = (
        (i + 2 * p - d * (k - 1) - 1) // s + 1 for i, k, d, p, s in zip(size, kernel, dilation, padding, stride)
    )
    return height, width
