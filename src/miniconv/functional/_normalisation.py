"""Batch norm: each channel moved and scaled to mean 0 and variance 1, for any number of axes, on arrays and tensors."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from miniconv.arrays import Array, cast, describe, dtype_name, is_tensor, laid_out, namespace, widened
from miniconv.functional._normalisation_rules import check_arguments, check_operands
from miniconv.functional._operands import is_array, is_traced, torch_function, untraced

__all__ = ["batch_norm", "normalised", "statistics", "track"]


def batch_norm(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Array:
    r"""Batch normalisation; `torch.nn.functional.batch_norm`, from scratch.

    .. math:: \text{out}[n, c, \dots] = \frac{\text{input}[n, c, \dots] - \mu_c}{\sqrt{\sigma^2_c + \epsilon}}
        \cdot \text{weight}[c] + \text{bias}[c]

    Mean and variance are those of the channel in this batch (``training``), or the running ones. The variance is the
    biased one, a mean of squares; ``running_var`` follows the unbiased one, a sum of squares over one less.

    Args:
        input: (N, C, *size) with any number of axes from 2; NumPy array or tensor, a floating dtype.
        running_mean, running_var: (C,); needed unless ``training``, and then updated in place:
            :math:`(1 - \text{momentum}) \cdot \text{running} + \text{momentum} \cdot \text{batch}`.
        weight, bias: C elements each, or None for 1 and 0. All four are of the input's kind and dtype, or float32
            beside a float16 or bfloat16 input.
        training: whether to use the statistics of this batch.
        momentum: how far the running statistics move.
        eps: added to the variance.

    Returns:
        Shape, dtype and kind of ``input``, channels_last if it is, else contiguous.

    Raises:
        TypeError: an argument has the wrong type, or arrays and tensors are mixed.
        ValueError: one number a channel in training, one running statistic without the other, or a bad ``eps``.
        RuntimeError: a size or dtype rule is broken; torch's text.
        NotImplementedError: the dtype is not a floating one.

    Numerics:
        float16 and bfloat16 are computed in float32, with one final rounding. The statistics of arrays are accumulated
        in float64; those of tensors in two passes, of which the second takes the rounding of the first one's mean back.
        The mean is subtracted before the scaling, so nothing cancels where it is large beside the deviation.

    Cost:
        A few passes over the input. Tensors: plain differentiable operations, so that every
        order, direction and transform of torch works; for that, training on (8, 64, 56, 56) takes 1.5 times as long as
        torch's own kernel forward, and 4 times with the backward pass.

    Source:
        Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate
        shift", ICML 2015. Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The American
        Statistician 37, 1983: the two passes.

    >>> batch_norm(np.array([[1.0], [3.0]]), None, None, training=True, eps=3.0).tolist()
    [[-0.5], [0.5]]
    """
    if not is_array(input):
        arguments = (input, running_mean, running_var, weight, bias, training, momentum, eps)
        return torch_function("batch_norm", input)(*arguments)
    parameters = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    momentum, eps, count = untraced(check_arguments, input, parameters, training, momentum, eps)
    if not count:
        return _empty(input, weight, bias)
    untraced(check_operands, input, parameters, training)
    x = widened(input)
    if not training:
        return normalised(input, x, widened(running_mean), widened(running_var), weight, bias, eps)
    mean, var = statistics(x)
    if running_mean is not None:
        track(running_mean, mean, momentum)
        track(running_var, var * count / (count - 1), momentum)
    return normalised(input, x, mean, var, weight, bias, eps)


def statistics(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel, (C,) each, in ``x``'s dtype."""
    axes = (0, *range(2, x.ndim))
    if is_tensor(x):
        return _corrected(x, axes)
    with _quiet(x):
        mean, var = x.mean(axes, dtype=np.float64), x.var(axes, dtype=np.float64)
        return mean.astype(x.dtype), var.astype(x.dtype)


def _corrected(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Mean and variance in two passes, the rounding of the first one seen by the second and taken back."""
    first = x.mean(axes)
    moved = x - _along(first, x)
    rest = moved.mean(axes).detach()  # 0 but for rounding, and so are its derivatives; NaN beside an infinity
    return first + rest.nan_to_num(0.0, 0.0, 0.0), moved.square().mean(axes) - rest.square()


def track(running: Array, batch: Array, momentum: float) -> None:
    """Move a running statistic towards that of a batch, in place; never recorded."""
    if is_tensor(running):
        from miniconv.torch_ops import average_

        average_(running, batch, momentum)
    else:
        running[...] = (1 - momentum) * widened(running) + momentum * batch


def normalised(
    input: Array, x: Array, mean: Array, var: Array, weight: Array | None, bias: Array | None, eps: float
) -> Array:
    """``x``, which is ``input`` widened, with that mean and variance taken away; as ``input`` in dtype and layout."""
    with _quiet(x):
        scale = 1 / namespace(x).sqrt(var + eps)
        if weight is not None:
            scale = scale * widened(weight).reshape(-1)
        out = (x - _along(mean, x)) * _along(scale, x)
        if bias is not None:
            out = out + _along(widened(bias), x)
        out = cast(out, dtype_name(input))
    return out if is_traced() else laid_out(out, _memory_format(input))


def _quiet(x: Array) -> Any:
    """A context in which Inf and NaN are data, as in torch, and NumPy does not warn of them."""
    return nullcontext() if is_tensor(x) else np.errstate(all="ignore")


def _along(channels: Array, x: Array) -> Array:
    """One number a channel, to be combined with ``x``."""
    return channels.reshape(-1, *(1,) * (x.ndim - 2))


def _memory_format(x: Array) -> str:
    """channels_last if ``x`` is, and is not contiguous as well."""
    contiguous = x.is_contiguous() if is_tensor(x) else x.flags.c_contiguous
    return "contiguous" if contiguous else describe(x).memory_format


def _empty(input: Array, weight: Array | None, bias: Array | None) -> Array:
    """The result where there is nothing to normalise: torch's, through which gradients reach weight and bias."""
    if not is_tensor(input):
        return input.copy()  # nothing is left that weight and bias could change
    out = input.clone()
    if weight is not None:
        out = out * weight.select(0, 0)
    return out if bias is None else out + bias.select(0, 0)
