"""torch.nn's names: the modules that miniconv builds itself, and torch's own for the rest.

``import miniconv.nn as nn`` alone is enough: a name that is not in ``OWN`` is torch's object, handed through, but
``nn.functional`` is ``miniconv.functional``.
"""

from __future__ import annotations

import sys
from typing import Any

try:
    import torch
except ImportError as error:
    raise ImportError(
        "miniconv.nn needs torch (pip install 'miniconv[torch]'); miniconv.functional does not"
    ) from error

from miniconv import functional
from miniconv.nn.blocks import BasicBlock, Bottleneck, ConvBNReLU, DilConv, Identity, SepConv
from miniconv.nn.convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from miniconv.nn.lazy import (
    LazyConv1d,
    LazyConv2d,
    LazyConv3d,
    LazyConvTranspose1d,
    LazyConvTranspose2d,
    LazyConvTranspose3d,
)
from miniconv.nn.normalisation import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    LazyBatchNorm1d,
    LazyBatchNorm2d,
    LazyBatchNorm3d,
)
from miniconv.nn.synchronised import SyncBatchNorm
from miniconv.nn.windows import AvgPool1d, AvgPool2d, AvgPool3d, Fold, MaxPool1d, MaxPool2d, MaxPool3d, Unfold

__all__ = [
    "OWN",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BasicBlock",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Bottleneck",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvBNReLU",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "DilConv",
    "Fold",
    "Identity",
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "SepConv",
    "SyncBatchNorm",
    "Unfold",
    "functional",
]

OWN = tuple(name for name in __all__ if name not in ("OWN", "functional"))
"""The names that miniconv builds itself."""

# so that `import miniconv.nn.functional as F` finds it, in place of `import torch.nn.functional as F`
sys.modules[f"{__name__}.functional"] = functional

# what `from torch.nn import *` gives
__all__ += [name for name in vars(torch.nn) if not name.startswith("_") and name not in __all__]


def __getattr__(name: str) -> Any:
    if not name.startswith("__") and hasattr(torch.nn, name):
        return getattr(torch.nn, name)
    raise AttributeError(f"module 'miniconv.nn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in dir(torch.nn) if not name.startswith("__"))})
