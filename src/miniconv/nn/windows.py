"""The windowed functions as modules: torch's constructors, attributes and text around ``miniconv.functional``.

Each derives from torch's class of its name, which holds the arguments, prints them and computes nothing; the forward
pass is ours.
"""

from __future__ import annotations

from typing import Any, NoReturn

import torch

from miniconv import functional as F
from miniconv.functional._script import refuse_script

__all__ = ["AvgPool1d", "AvgPool2d", "AvgPool3d", "Fold", "MaxPool1d", "MaxPool2d", "MaxPool3d", "Unfold"]


class _Windowed(torch.nn.Module):
    """What all of them share."""

    def __prepare_scriptable__(self) -> NoReturn:
        """What torch.jit.script asks of a module first: one clear answer."""
        refuse_script(type(self).__name__)


class _MaxPool(_Windowed):
    """The forward pass of the three maxima."""

    op: str

    def forward(self, input: torch.Tensor) -> Any:
        """The largest number of each window of ``input``, with the places where they are asked for."""
        options = {name: getattr(self, name) for name in ("stride", "padding", "dilation")}
        flags = {name: getattr(self, name) for name in ("ceil_mode", "return_indices")}
        return getattr(F, self.op)(input, self.kernel_size, **options, **flags)


class _AvgPool(_Windowed):
    """The forward pass of the three averages."""

    op: str

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The average of each window of ``input``."""
        names = [name for name in ("ceil_mode", "count_include_pad", "divisor_override") if hasattr(self, name)]
        flags = {name: getattr(self, name) for name in names}
        out: torch.Tensor = getattr(F, self.op)(input, self.kernel_size, self.stride, self.padding, **flags)
        return out


class Unfold(_Windowed, torch.nn.Unfold):
    """``miniconv.functional.unfold`` as a module.

    >>> Unfold((2, 3))(torch.ones(1, 3, 4, 5)).shape
    torch.Size([1, 18, 9])
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The windows of ``input`` as columns."""
        out: torch.Tensor = F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)
        return out


class Fold(_Windowed, torch.nn.Fold):
    """``miniconv.functional.fold`` as a module.

    >>> Fold((4, 5), (2, 3))(torch.ones(1, 18, 9)).shape
    torch.Size([1, 3, 4, 5])
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The columns of ``input`` added back into an image."""
        out: torch.Tensor = F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)
        return out


class MaxPool1d(_MaxPool, torch.nn.MaxPool1d):
    """``miniconv.functional.max_pool1d`` as a module.

    >>> MaxPool1d(2)(torch.ones(1, 3, 8)).shape
    torch.Size([1, 3, 4])
    """

    op = "max_pool1d"


class MaxPool2d(_MaxPool, torch.nn.MaxPool2d):
    """``miniconv.functional.max_pool2d`` as a module.

    >>> MaxPool2d(2)(torch.ones(1, 3, 8, 6)).shape
    torch.Size([1, 3, 4, 3])
    """

    op = "max_pool2d"


class MaxPool3d(_MaxPool, torch.nn.MaxPool3d):
    """``miniconv.functional.max_pool3d`` as a module.

    >>> MaxPool3d(2)(torch.ones(1, 3, 8, 6, 4)).shape
    torch.Size([1, 3, 4, 3, 2])
    """

    op = "max_pool3d"


class AvgPool1d(_AvgPool, torch.nn.AvgPool1d):
    """``miniconv.functional.avg_pool1d`` as a module.

    >>> AvgPool1d(2)(torch.ones(1, 3, 8)).shape
    torch.Size([1, 3, 4])
    """

    op = "avg_pool1d"


class AvgPool2d(_AvgPool, torch.nn.AvgPool2d):
    """``miniconv.functional.avg_pool2d`` as a module.

    >>> AvgPool2d(2)(torch.ones(1, 3, 8, 6)).shape
    torch.Size([1, 3, 4, 3])
    """

    op = "avg_pool2d"


class AvgPool3d(_AvgPool, torch.nn.AvgPool3d):
    """``miniconv.functional.avg_pool3d`` as a module.

    >>> AvgPool3d(2)(torch.ones(1, 3, 8, 6, 4)).shape
    torch.Size([1, 3, 4, 3, 2])
    """

    op = "avg_pool3d"
