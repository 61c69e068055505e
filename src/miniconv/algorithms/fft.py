"""fft: a convolution is a product of spectra.

Sliding a kernel over a padded input is a cross-correlation, and the discrete Fourier transform turns that into

    spectrum(output)[n, oc, f] = sum over ic of spectrum(input)[n, ic, f] * conj(spectrum(weight)[oc, ic, f])

(for complex numbers, with the weight conjugated before its transform as well). The transform is as large as the padded
input at least, so the outputs that convolution keeps never wrap round. A dilation inserts zeros into the kernel; a
stride keeps every stride-th output of all those computed. The cost does not depend on the kernel's size, so it pays
for large kernels.

Errors are normwise: every output is touched by every input of its image, so small outputs next to large ones lose
digits, and an infinity or a NaN would reach every output; they are refused.

Source: Mathieu, Henaff and LeCun, "Fast Training of Convolutional Networks through FFTs", 2014.
"""

from __future__ import annotations

import math

import numpy as np

from miniconv.arrays import Array, blocks, cast, empty, matmul, namespace, pad, permute, zeros
from miniconv.dtypes import DTYPES
from miniconv.problem import ConvProblem

__all__ = ["BOUND_CONSTANT", "bound_factor", "conv", "transform_size", "unsupported_reason"]

BOUND_CONSTANT = 4.0
"""c of ``bound_factor``, measured. Beyond the channels' share, the largest error was 0.96 * u * log2(points) times the
norms: 18 problems of 1 to 65536 points and 1 to 1024 channels (15 of them in float64), in float32, float64 and
complex64, with NumPy's transform and with torch's, each on 56 kinds of data (random, constant, spikes, waves, heavy
tails, ...). c is four times that.
"""


def unsupported_reason(problem: ConvProblem) -> str | None:
    """Why this algorithm refuses the problem; None if it serves it (infinities and NaNs are refused in ``conv``)."""
    if problem.transposed:
        return "a transposed convolution runs as the input gradient of its adjoint"
    if DTYPES[problem.dtype].kind not in ("float", "complex"):
        return f"the transform works on floating-point numbers, and {problem.dtype} would lose its exactness"
    return None


def transform_size(problem: ConvProblem) -> tuple[int, ...]:
    """The size of the transform: on each axis the padded input's, rounded up to a product of 2s, 3s and 5s.

    >>> transform_size(ConvProblem.parse("conv2d c1 o1 i13x16 k3 p1x0"))
    (15, 16)
    """
    return tuple(map(_next_smooth, problem.padded_size))


def bound_factor(problem: ConvProblem) -> float:
    """b, such that ``|output - exact| <= b * sum over ic of ||input[n, ic]||_2 * ||weight[oc, ic]||_2``.

    ``b = u * (c * log2(points) + C_in / groups)`` with u the compute dtype's unit roundoff, c = ``BOUND_CONSTANT`` and
    points the transform's size, at least 2. The three transforms each add a few u for each of their log2(points)
    steps, relative to the norms; the sum over the channels adds one u a channel.
    """
    points = max(2, math.prod(transform_size(problem)))
    unit_roundoff = DTYPES[DTYPES[problem.dtype].compute].unit_roundoff
    return unit_roundoff * (BOUND_CONSTANT * math.log2(points) + problem.weight_shape[1])


@np.errstate(over="ignore", invalid="ignore")
def conv(problem: ConvProblem, input: Array, weight: Array) -> Array:
    """The convolution of an ordinary problem, without its bias.

    Args:
        problem: what to compute.
        input: (N, C_in, *input_size), in the compute dtype, real or complex, finite.
        weight: (C_out, C_in / groups, *kernel_size), likewise.

    Returns:
        (N, C_out, *output_size), in the compute dtype.

    Raises:
        ValueError: the input or the weight holds an infinity or a NaN, which would reach every output.

    Numerics: not exact on integers; within ``bound_factor(problem)`` times the norms, where nothing overflows.
    Cost: with F points a transform, F log F for each image and channel and each kernel, and C_out * C_in / groups * F
    multiply-adds for each image; workspace: the spectra of the input, and of as many kernels as a block has.

    >>> problem = ConvProblem.parse("conv1d n1 c1 o1 i4 k3 p1 float64")
    >>> conv(problem, np.array([[[1.0, 2, 3, 4]]]), np.array([[[10.0, 0, -1]]])).round(12)
    array([[[-2.,  7., 16., 30.]]])
    """
    for name, array in (("input", input), ("weight", weight)):
        if not namespace(array).isfinite(array).all():
            raise ValueError(f"fft needs finite numbers, but the {name} holds an infinity or a NaN: use im2col instead")
    output = empty(problem.batched_output_shape, input)
    if 0 in problem.batched_output_shape:
        return output
    full = zeros((*problem.weight_shape[:2], *problem.effective_kernel), weight)
    full[(..., *(slice(None, None, d) for d in problem.dilation))] = weight.conj()
    groups, points = problem.groups, math.prod(transform_size(problem))
    kernels = full.reshape(groups, problem.out_channels // groups, *full.shape[1:])
    spectra = _spectra(problem, pad(input, problem.padding))
    spectra = spectra.reshape(spectra.shape[0], groups, spectra.shape[1] // groups, *spectra.shape[2:])
    target = output.reshape(output.shape[0], groups, -1, *problem.output_size)
    kept = tuple(slice(0, (o - 1) * s + 1, s) for o, s in zip(problem.output_size, problem.stride))
    for g, oc in blocks(kernels.shape[:2], points * full.shape[1] * 2 * input.itemsize):
        products = _sum_over_channels(spectra[:, g], _spectra(problem, kernels[g, oc]).conj())
        target[:, g, oc] = _inverse(problem, products)[(..., *kept)]
    return output


def _sum_over_channels(x: Array, w: Array) -> Array:
    """(n, g, ic, *F) and (g, oc, ic, *F) to (n, g, oc, *F): a small matrix product at each frequency."""
    n, groups, channels, *frequencies = x.shape
    points = math.prod(frequencies)
    at_each = permute(x.reshape(n, groups, channels, points), (1, 3, 0, 2))  # (g, F, n, ic)
    w_at_each = permute(w.reshape(groups, w.shape[1], channels, points), (0, 3, 2, 1))  # (g, F, ic, oc)
    return permute(matmul(at_each, w_at_each), (2, 0, 3, 1)).reshape(n, groups, w.shape[1], *frequencies)


def _spectra(problem: ConvProblem, x: Array) -> Array:
    """The transform of the last axes of ``x``, with zeros on the high side up to the transform's size."""
    size, fft = transform_size(problem), namespace(x).fft
    axes = tuple(range(-len(size), 0))
    if DTYPES[problem.dtype].kind == "complex":
        return cast(fft.fftn(x, size, axes), DTYPES[problem.dtype].compute)
    return fft.rfftn(x, size, axes)


def _inverse(problem: ConvProblem, spectra: Array) -> Array:
    """The numbers whose transform is ``spectra``, in the compute dtype."""
    size, fft = transform_size(problem), namespace(spectra).fft
    axes = tuple(range(-len(size), 0))
    inverse = fft.ifftn if DTYPES[problem.dtype].kind == "complex" else fft.irfftn
    return cast(inverse(spectra, size, axes), DTYPES[problem.dtype].compute)


def _next_smooth(n: int) -> int:
    """The least number from n on that has no prime factor but 2, 3 and 5, for which transforms are fast."""
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1
