"""torch.nn.functional's names: what miniconv builds itself, and torch's own for the rest.

``import miniconv.functional as F`` alone is enough: a name that is not in ``OWN`` is torch's object, handed through.
NumPy arrays go in and come out without torch; tensors go in and come out with autograd.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from miniconv.functional._convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from miniconv.functional._normalisation import batch_norm
from miniconv.functional._padding import pad
from miniconv.functional._plain import linear, log_softmax, relu
from miniconv.functional._pooling import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d
from miniconv.functional._script import refuse_script
from miniconv.functional._windows import fold, unfold

__all__ = [
    "OWN",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "fold",
    "linear",
    "log_softmax",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "pad",
    "relu",
    "unfold",
]

OWN = tuple(name for name in __all__ if name != "OWN")
"""The names that miniconv builds itself; ``linear``, ``log_softmax`` and ``relu`` for arrays only."""

for _name in OWN:
    globals()[_name].__prepare_scriptable__ = partial(refuse_script, _name)

# Read by type checkers only. `import *` asks the module's __getattr__ below, which adds torch's names, not before.
del __all__


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return ["OWN", *OWN, *(name for name in _torchs_names() if name not in OWN)]
    if not name.startswith("__"):
        try:
            import torch.nn.functional
        except ImportError:
            own = ", ".join(OWN)
            raise AttributeError(
                f"miniconv.functional builds {own}; {name!r} would be torch's own, and torch is not installed "
                "(pip install 'miniconv[torch]')"
            ) from None
        if hasattr(torch.nn.functional, name):
            return getattr(torch.nn.functional, name)
    raise AttributeError(f"module 'miniconv.functional' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({"OWN", *OWN, *_torchs_names(private=True)})


def _torchs_names(private: bool = False) -> list[str]:
    """What ``from torch.nn.functional import *`` gives, or all but what Python itself adds; nothing without torch."""
    try:
        import torch.nn.functional as torch_functional
    except ImportError:
        return []
    hidden = "__" if private else "_"
    return [name for name in vars(torch_functional) if not name.startswith(hidden)]
