"""What the tests of whole programs share: the tolerance, the comparison, and a count of torch's convolutions.

They compute in float64, so that rounding stays far below what is compared. A convolution of either side lies within
gamma_(L+2) * S of the exact one; L is at most 44,000 in these programs (the weight gradient of the first layer of the
film net), so gamma is below 5e-12. TOLERANCE leaves a factor of 100 for what S exceeds the results by, and for what
normalisation and the steps of an optimizer add.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

TOLERANCE = 5e-10


def compare(got: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> None:
    """The same tensors: number, shape, dtype, and values within the tolerance."""
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        if theirs.numel():
            worst = float((ours - theirs).detach().abs().max())
            assert worst <= TOLERANCE * max(1.0, float(theirs.detach().abs().max()))


PACKETS = {
    *(torch.ops.aten.convolution, torch.ops.aten.convolution_backward),
    *(getattr(torch.ops.aten, f"{name}{n}d") for name in ("conv", "conv_transpose") for n in (1, 2, 3)),
}


class Convolutions(TorchDispatchMode):
    """Counts torch's convolutions, and their gradients, above the place that patch() replaces.

    It sees ``convolution`` where autograd has taken ``conv2d`` apart, and ``conv2d`` in inference mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function.overloadpacket in PACKETS
        return function(*args, **(kwargs or {}))
