"""Step 3: what a layer of several channels really computes, printed number by number.

``nn.Conv2d(2, 3, 3)`` holds 3 groups of 2 kernels (outputs by inputs). Each input channel is convolved with its own
kernel of the group, and the results are added.
"""

from __future__ import annotations

import numpy as np
import torch

from miniconv import functional as F
from miniconv import nn
from miniconv.demo import Figure

__all__ = ["run"]


def run() -> list[Figure]:
    """Print a layer with 2 inputs and 3 outputs channel by channel; the sum must equal the layer's output."""
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3, 1, bias=False)
    input = torch.arange(32.0).reshape(1, 2, 4, 4) % 7 - 3
    with torch.no_grad():
        # whole sixteenths, so that every sum is exact and "equal" can be asked
        layer.weight.mul_(16).round_().div_(16)
        output = layer(input)
        terms = [F.conv2d(input[:, ic : ic + 1], layer.weight[:, ic : ic + 1]) for ic in range(2)]
    print(f"{layer}: weight {tuple(layer.weight.shape)}, input {tuple(input.shape)}, output {tuple(output.shape)}")
    for ic in range(2):
        print(f"input channel {ic}\n{_text(input[0, ic])}")
    for oc in range(3):
        print(f"output channel {oc} = channel 0 by kernel [{oc}, 0]  +  channel 1 by kernel [{oc}, 1]")
        for lines in zip(*(_text(x[0, oc]).splitlines() for x in (*terms, output))):
            print("   {}   +  {}   =  {}".format(*lines))
    equal = torch.equal(terms[0] + terms[1], output)
    return [Figure("sum of single-channel convolutions equals the layer", "yes" if equal else "no", equal)]


def _text(matrix: torch.Tensor) -> str:
    return np.array2string(matrix.numpy(), formatter={"float_kind": lambda x: f"{x:8.4f}"})
