"""The convolutions: from a call to a plan. One route for all six; the functions are its faces.

The whole route of a call: look at the operands, state the problem (which validates), then run its plan. A call that
torch records or transforms (autograd, torch.func, torch.compile, ...) goes through the operators of
``miniconv.torch_ops`` instead; one like an earlier call, recorded or not, is found there with all that was decided.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from miniconv.arrays import Array, describe, is_tensor
from miniconv.functional._refusals import REFUSALS, teach_call
from miniconv.plan import ConvPlan, plan
from miniconv.problem import ConvProblem, Operand
from miniconv.remembering import are_memorable
from miniconv.rules import invalid_operand, type_name

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


def conv1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """1d convolution of a sequence with kernels; `torch.nn.functional.conv1d`, from scratch.

    The formula, errors, numerics and cost are those of ``conv2d``, with one spatial axis.

    Args:
        input: (N, C_in, L_in), or (C_in, L_in) without a batch; NumPy array or tensor.
        weight: (C_out, C_in / groups, K), of the input's dtype and kind.
        bias: (C_out,) or None.
        stride: one integer or a list of one.
        padding: likewise, or in the other forms of ``conv2d``.
        dilation: likewise.
        groups: C_in and C_out are split into so many independent convolutions.

    Returns:
        (N, C_out, L_out), unbatched as the input is, of the input's dtype and kind.

    >>> conv1d(np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[[1.0, 0.0, -1.0]]]), padding="same").tolist()
    [[-2.0, -2.0, -2.0, 3.0]]
    """
    return _run("conv1d", input, weight, bias, (stride, padding, dilation, groups))


def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    r"""2d convolution (cross-correlation) of an image with kernels; `torch.nn.functional.conv2d`, from scratch.

    .. math::
        \text{out}[n, oc, oh, ow] = \text{bias}[oc] + \sum_{ic, kh, kw} \text{weight}[oc, ic, kh, kw] \cdot
        \text{input}[n, g \cdot C_{in}/\text{groups} + ic,\; oh \cdot s_h - p_h + kh \cdot d_h,\;
        ow \cdot s_w - p_w + kw \cdot d_w]

    where :math:`g` is the group of :math:`oc`, and input outside the picture is 0.

    Args:
        input: (N, C_in, H_in, W_in), or (C_in, H_in, W_in) without a batch; NumPy array or tensor.
        weight: (C_out, C_in / groups, K_h, K_w), of the input's dtype and kind.
        bias: (C_out,) or None.
        stride: step of the window, one integer or (height, width).
        padding: zeros on both sides, one integer or (height, width); ``"valid"`` is none, ``"same"`` keeps the size
            (the odd cell goes to the bottom and right; stride 1 only). Not in torch: ((top, bottom), (left, right));
            ``"same_upper"`` and ``"same_lower"``, by which the output has ceil(input / stride) cells along each axis,
            the odd cell at its end or at its beginning.
        dilation: distance between two taps, one integer or (height, width).
        groups: C_in and C_out are split into so many independent convolutions.

    Returns:
        (N, C_out, H_out, W_out), unbatched as the input is, of the input's dtype and kind; channels_last if the input
        or the weight is. :math:`H_{out} = \lfloor (H_{in} + 2 p_h - d_h (K_h - 1) - 1) / s_h \rfloor + 1`.

    Raises:
        TypeError: an argument has the wrong type, or arrays and tensors are mixed.
        ValueError: an integer exceeds 64 bits.
        RuntimeError: a shape, size or dtype rule is broken; torch's text.
        NotImplementedError: the dtype is one that torch does not convolve either.

    Numerics:
        Sums are accumulated in the dtype itself, float16 and bfloat16 in float32 with one final rounding; integers
        wrap modulo 2^n. Exact while every partial sum is exact (small integers); else within gamma_(L+2) of the sum
        of absolute products, L = C_in / groups * K_h * K_w.

    Cost:
        N * C_out * H_out * W_out * L multiply-adds, at most 64 MiB of workspace beside copies to another dtype.

    >>> image = np.arange(16.0).reshape(1, 4, 4)
    >>> conv2d(image, np.ones((1, 1, 3, 3)), stride=(1, 2), padding=1).tolist()
    [[[10.0, 24.0], [27.0, 54.0], [51.0, 90.0], [42.0, 72.0]]]
    """
    return _run("conv2d", input, weight, bias, (stride, padding, dilation, groups))


def conv3d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """3d convolution of a volume or a film with kernels; `torch.nn.functional.conv3d`, from scratch.

    The formula, errors, numerics and cost are those of ``conv2d``, with three spatial axes.

    Args:
        input: (N, C_in, D_in, H_in, W_in), or without N; NumPy array or tensor.
        weight: (C_out, C_in / groups, K_d, K_h, K_w), of the input's dtype and kind.
        bias: (C_out,) or None.
        stride: one integer or three.
        padding: likewise, or in the other forms of ``conv2d``.
        dilation: likewise.
        groups: C_in and C_out are split into so many independent convolutions.

    Returns:
        (N, C_out, D_out, H_out, W_out), unbatched as the input is, of the input's dtype and kind.

    >>> conv3d(np.ones((1, 3, 4, 5)), np.ones((2, 1, 2, 3, 3))).shape
    (2, 2, 2, 3)
    """
    return _run("conv3d", input, weight, bias, (stride, padding, dilation, groups))


def conv_transpose1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Array:
    """Transposed 1d convolution; `torch.nn.functional.conv_transpose1d`, from scratch.

    Everything is said at ``conv_transpose2d``.

    Args:
        input: (N, C_in, L_in), or (C_in, L_in) without a batch; NumPy array or tensor.
        weight: (C_in, C_out / groups, K), of the input's dtype and kind.
        bias: (C_out,) or None.
        stride: distance between the windows of two neighbouring inputs, one integer or one for each axis.
        padding: cells cut off on both sides of the output, likewise; or, not in torch, ((top, bottom), (left, right)).
        output_padding: cells added on its high side, likewise; below the stride or the dilation.
        groups: C_in and C_out are split into so many independent convolutions.
        dilation: distance between two taps, as stride.

    Returns:
        (N, C_out, L_out), unbatched as the input is, of the input's dtype and kind.

    >>> conv_transpose1d(np.array([[1.0, 10.0]]), np.array([[[1.0, 2.0, 3.0]]]), stride=2).tolist()
    [[1.0, 2.0, 13.0, 20.0, 30.0]]
    """
    return _run("conv_transpose1d", input, weight, bias, (stride, padding, output_padding, groups, dilation))


def conv_transpose2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Array:
    r"""Transposed 2d convolution: the adjoint of ``conv2d``; `torch.nn.functional.conv_transpose2d`, from scratch.

    .. math::
        \text{out}[n, oc, oh, ow] = \text{bias}[oc] +
        \sum \text{weight}[ic, oc, kh, kw] \cdot \text{input}[n, ic, ih, iw]

    over all ic of the group of oc and all kh, kw, ih, iw with :math:`oh = ih \cdot s_h - p_h + kh \cdot d_h` and
    :math:`ow = iw \cdot s_w - p_w + kw \cdot d_w`: each input element adds its kernel to the output. That is, number
    by number, the gradient of ``conv2d`` with respect to its input.

    Errors as for ``conv2d``. Numerics likewise, with L = C_in / groups * K_h * K_w. Cost: N * C_in * H_in * W_in *
    C_out / groups * K_h * K_w multiply-adds. :math:`H_{out} = (H_{in} - 1) s_h - 2 p_h + d_h (K_h - 1) +
    \text{output\_padding}_h + 1`.

    Args:
        input: (N, C_in, H_in, W_in), or (C_in, H_in, W_in) without a batch; NumPy array or tensor.
        weight: (C_in, C_out / groups, K_h, K_w), of the input's dtype and kind.
        bias: (C_out,) or None.
        stride: distance between the windows of two neighbouring inputs, one integer or one for each axis.
        padding: cells cut off on both sides of the output, likewise; or, not in torch, ((top, bottom), (left, right)).
        output_padding: cells added on its high side, likewise; below the stride or the dilation.
        groups: C_in and C_out are split into so many independent convolutions.
        dilation: distance between two taps, as stride.

    Returns:
        (N, C_out, H_out, W_out), unbatched as the input is, of the input's dtype and kind.

    >>> conv_transpose2d(np.array([[[1.0, 10.0]]]), np.ones((1, 1, 2, 2)), stride=(1, 2)).tolist()
    [[[1.0, 1.0, 10.0, 10.0], [1.0, 1.0, 10.0, 10.0]]]
    """
    return _run("conv_transpose2d", input, weight, bias, (stride, padding, output_padding, groups, dilation))


def conv_transpose3d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Array:
    """Transposed 3d convolution; `torch.nn.functional.conv_transpose3d`, from scratch.

    Everything is said at ``conv_transpose2d``.

    Args:
        input: (N, C_in, D_in, H_in, W_in), or without N; NumPy array or tensor.
        weight: (C_in, C_out / groups, K_d, K_h, K_w), of the input's dtype and kind.
        bias: (C_out,) or None.
        stride: distance between the windows of two neighbouring inputs, one integer or one for each axis.
        padding: cells cut off on both sides of the output, likewise; or, not in torch, ((top, bottom), (left, right)).
        output_padding: cells added on its high side, likewise; below the stride or the dilation.
        groups: C_in and C_out are split into so many independent convolutions.
        dilation: distance between two taps, as stride.

    Returns:
        (N, C_out, D_out, H_out, W_out), unbatched as the input is, of the input's dtype and kind.

    >>> conv_transpose3d(np.ones((1, 3, 4, 5)), np.ones((1, 2, 2, 3, 3)), stride=(2, 1, 1)).shape
    (2, 6, 6, 7)
    """
    return _run("conv_transpose3d", input, weight, bias, (stride, padding, output_padding, groups, dilation))


class _Loaded:
    """What needs torch, from the first call with tensors on."""

    plain: Callable[..., Array | None] | None = None


def _run(op: str, input: Array, weight: Array, bias: Array | None, options: tuple[Any, ...]) -> Array:
    """The shorter way of a call like an earlier one on tensors, or the long one."""
    operands = (input, weight) if bias is None else (input, weight, bias)
    try:
        if _Loaded.plain is not None:
            result = _Loaded.plain(op, operands, options, _fresh)
            if result is not None:
                return result
        return _considered(op, operands, options)
    except REFUSALS as error:
        teach_call(error, op, operands, dict(zip(_OPTIONS[op.startswith("conv_transpose")], options)))
        raise


def _considered(op: str, operands: tuple[Array, ...], options: tuple[Any, ...]) -> Array:
    """State the problem and run its plan; where torch records or transforms the call, hand it to the operators."""
    torch, named = sys.modules.get("torch"), dict(zip(_OPTIONS[op.startswith("conv_transpose")], options))
    if torch is not None and torch.overrides.has_torch_function(operands):  # a subclass, a mode, torch.fx
        input, weight, bias = (*operands, None)[:3]
        return torch.overrides.handle_torch_function(globals()[op], operands, input, weight, bias, **named)
    tensors = all(map(is_tensor, operands))
    if not tensors and not all(isinstance(x, np.ndarray) for x in operands):
        raise invalid_operand(op, [type_name(x) for x in operands], named)
    if torch is not None and tensors:
        from miniconv import torch_ops

        if not torch.compiler.is_dynamo_compiling():  # which wants no traces left behind
            _Loaded.plain = torch_ops.plain
        if operands[1].ndim != int(op[-2]) + 2:  # the operators would take it for another number of axes
            _fresh(op, operands, options)
        if not torch_ops.is_plain(operands):
            return torch_ops.call(op, operands, named)
    return _fresh(op, operands, options)(*operands)


_OPTIONS = (
    ("stride", "padding", "dilation", "groups"),
    ("stride", "padding", "output_padding", "groups", "dilation"),
)
"""The names of the options of an ordinary and of a transposed convolution, in torch's order."""


def _fresh(op: str, operands: tuple[Array, ...], options: tuple[Any, ...]) -> ConvPlan:
    """The plan of a call, and so its validation; stated in plain integers, it is remembered."""
    described = tuple(map(describe, operands))
    return plan((_remembered if are_memorable(options) else _stated)(op, described, options))


def _stated(op: str, operands: tuple[Operand, ...], options: tuple[Any, ...]) -> ConvProblem:
    """The problem."""
    transposed = op.startswith("conv_transpose")
    state = ConvProblem.from_conv_transpose if transposed else ConvProblem.from_conv
    return state(*operands, **dict(zip(_OPTIONS[transposed], options)), dims=int(op[-2]))


_remembered = lru_cache(maxsize=4096)(_stated)
