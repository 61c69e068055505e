"""The algorithms, one idea a module, and the table of them.

Each algorithm is a function ``conv(problem, input, weight)`` and a function ``unsupported_reason(problem)``. The
operands are batched, NumPy arrays or torch tensors of any strides and device, already in the dtype that sums are
accumulated in (``DTYPES[problem.dtype].compute``); so is the result, (N, C_out, *output_size), without bias. They serve
ordinary problems; a transposed one is ``im2col.input_grad`` on ``problem.adjoint``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from miniconv.algorithms import dilation, fft, im2col, kn2row, per_channel, winograd
from miniconv.arrays import Array
from miniconv.problem import ConvProblem

__all__ = ["ALGORITHMS", "Algorithm"]


class Algorithm(NamedTuple):
    """One row of ``ALGORITHMS``.

    Attributes:
        name: the key under which ``ALGORITHMS`` has it.
        conv: ``conv(problem, input, weight) -> output``, without bias, in the compute dtype.
        unsupported_reason: ``unsupported_reason(problem)``: why it refuses the problem, or None.
        bound: which error bound it keeps: ``"direct"``, ``"winograd_f2"``, ``"winograd_f4"`` or ``"fft"``.
    """

    name: str
    conv: Callable[[ConvProblem, Array, Array], Array]
    unsupported_reason: Callable[[ConvProblem], str | None]
    bound: str


_ROWS = (
    Algorithm("im2col", im2col.conv, im2col.unsupported_reason, "direct"),
    Algorithm("kn2row", kn2row.conv, kn2row.unsupported_reason, "direct"),
    Algorithm("fft", fft.conv, fft.unsupported_reason, "fft"),
    Algorithm("winograd_f2", winograd.conv_f2, winograd.unsupported_reason, "winograd_f2"),
    Algorithm("winograd_f4", winograd.conv_f4, winograd.unsupported_reason, "winograd_f4"),
    Algorithm("per_channel", per_channel.conv, per_channel.unsupported_reason, "direct"),
    Algorithm("dilation_zeros", dilation.conv_zeros, dilation.unsupported_reason, "direct"),
    Algorithm("dilation_sampled", dilation.conv_sampled, dilation.unsupported_reason, "direct"),
)

ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType({row.name: row for row in _ROWS})
"""Every algorithm by its name; the first is the default."""
