"""JAX's convolution of 1, 2 and 3 dimensions, ordinary and transposed, under torch's arguments."""

import jax
from jax import lax


def per_axis(value, dims):
    """One number for each spatial axis."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Input (N, C_in, ...), weight (C_out, C_in / groups, ...), bias (C_out,)."""
    dims = weight.ndim - 2
    result = lax.conv_general_dilated(
        input,
        weight,
        window_strides=per_axis(stride, dims),
        padding=[(p, p) for p in per_axis(padding, dims)],
        rhs_dilation=per_axis(dilation, dims),
        feature_group_count=groups,
        precision=lax.Precision.HIGHEST,
    )
    return result if bias is None else result + bias.reshape(-1, *(1,) * dims)


def conv_transpose(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Input (N, C_in, ...), weight (C_in, C_out / groups, ...): a convolution of the input with zeros in between."""
    dims = weight.ndim - 2
    steps, extra = per_axis(dilation, dims), per_axis(output_padding, dims)
    reach = [d * (k - 1) for d, k in zip(steps, weight.shape[2:])]
    split = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    flipped = jax.numpy.flip(split.reshape(-1, *split.shape[2:]), range(2, dims + 2))
    result = lax.conv_general_dilated(
        input,
        flipped,
        window_strides=(1,) * dims,
        padding=[(r - p, r - p + e) for r, p, e in zip(reach, per_axis(padding, dims), extra)],
        lhs_dilation=per_axis(stride, dims),
        rhs_dilation=steps,
        feature_group_count=groups,
        precision=lax.Precision.HIGHEST,
    )
    return result if bias is None else result + bias.reshape(-1, *(1,) * dims)
