"""SciPy's correlation of any number of dimensions as a convolution without dilation or groups."""

import numpy as np
from scipy import signal


def per_axis(value, dims):
    """One number for each spatial axis."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


def conv(input, weight, bias=None, stride=1, padding=0):
    """Input (N, C_in, ...), weight (C_out, C_in, ...), bias (C_out,)."""
    dims = weight.ndim - 2
    padded = np.pad(input, [(0, 0), (0, 0), *((p, p) for p in per_axis(padding, dims))])
    # correlate conjugates its second operand; the channels are one more axis, of which a single position is valid
    kernels = weight.conj()
    result = np.stack([[signal.correlate(x, w, mode="valid", method="direct")[0] for w in kernels] for x in padded])
    result = result[(..., *(slice(None, None, s) for s in per_axis(stride, dims)))]
    return result if bias is None else result + bias.reshape(-1, *(1,) * dims)
