"""Where the channels stand: the order of the axes that a target takes, as a text such as ``NHWC/HWIO``.

Letters: N images, C channels, D, H and W space; of a weight I channels of the input, O of the output. A text is the
order of the input and that of the weight, and the order of the output where it is not the input's. One text serves
every number of spatial axes: ``HW`` stands for ``W`` in one dimension and for ``DHW`` in three, and may be so written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

__all__ = ["AXIS_ORDERS", "AxisOrder"]

AXIS_ORDERS = {
    "conv": ("NCHW/OIHW", "NHWC/HWIO", "NHWC/OHWI"),
    "conv_transpose": ("NCHW/IOHW", "NHWC/HWIO", "NHWC/HWOI"),
}
"""The orders that are tried where none is named; the first is torch's."""

_SPACE = {1: "W", 2: "HW", 3: "DHW"}


@dataclass(frozen=True)
class AxisOrder:
    """The orders of one operator's operands.

    Attributes:
        text: as it was written.
        input, weight, output: a letter for each axis.
        own_weight: the letters of torch's weight.
    """

    text: str
    input: str
    weight: str
    output: str
    own_weight: str

    @classmethod
    def parse(cls, text: str, op: str) -> AxisOrder:
        """The order that ``text`` names, for ``op``.

        Args:
            text: such as ``"NHWC/HWIO"``, ``"NWC/WIO"`` or ``"NHWC/HWIO/NCHW"``.
            op: the operator, whose number of spatial axes the text is written out for.

        Raises:
            ValueError: a letter is missing, foreign or given twice.

        >>> AxisOrder.parse("NCHW/OIHW", "conv1d").input
        'NCW'
        >>> AxisOrder.parse("NHWC/HWIO", "conv3d").weight
        'DHWIO'
        """
        space = _SPACE[int(op[-2])]
        own_weight = ("IO" if "transpose" in op else "OI") + space
        parts = text.upper().split("/")
        if len(parts) not in (2, 3):
            raise ValueError(f"a layout is INPUT/WEIGHT or INPUT/WEIGHT/OUTPUT, such as NHWC/HWIO, but got {text!r}")
        orders = [re.sub("D?H?W", space, part) for part in (*parts, parts[0])]
        for order, wanted in zip(orders, ("NC" + space, own_weight, "NC" + space)):
            if sorted(order) != sorted(wanted):
                raise ValueError(f"the layout {text!r} has {order}, which is not an order of {wanted}")
        return cls(text, orders[0], orders[1], orders[2], own_weight)

    def enter(self, tensor: torch.Tensor, which: str) -> torch.Tensor:
        """An operand of torch's order in this one; contiguous if it was.

        Args:
            tensor: the operand; an unbatched input has no N.
            which: ``"input"`` or ``"weight"``.
        """
        own = self.own_weight if which == "weight" else "NC" + self.own_weight[2:]
        moved = _turned(tensor, own, getattr(self, which))
        return moved.contiguous() if tensor.is_contiguous() else moved

    def returned(self, tensor: torch.Tensor, which: str) -> torch.Tensor:
        """What ``enter`` turned, turned back."""
        own = self.own_weight if which == "weight" else "NC" + self.own_weight[2:]
        return _turned(tensor, getattr(self, which), own)

    def leave(self, tensor: torch.Tensor) -> torch.Tensor:
        """A result in torch's order; untouched if it has another number of axes."""
        return _turned(tensor, self.output, "NC" + self.own_weight[2:])


def _turned(tensor: torch.Tensor, own: str, wanted: str) -> torch.Tensor:
    """``tensor``, whose axes are ``own`` (perhaps without N), with its axes in the order ``wanted``."""
    if tensor.ndim == len(own) - 1 and "N" in own:
        own, wanted = own.replace("N", ""), wanted.replace("N", "")
    if own == wanted or tensor.ndim != len(own):
        return tensor
    return tensor.permute([own.index(letter) for letter in wanted])
