"""``average_``: one step of a running average, in place, as an operator of its own.

torch's batch norm updates its running statistics inside its kernel, where neither autograd nor a transform of
``torch.func`` sees it. A plain ``copy_`` would be seen: ``torch.func.grad`` refuses to change a captured tensor.
"""

from __future__ import annotations

from typing import Any

import torch

from miniconv.arrays import widened
from miniconv.torch_ops._operators import LIBRARY

__all__ = ["average_"]

Tensor = torch.Tensor


def average_(running: Tensor, batch: Tensor, momentum: float) -> None:
    """Set ``running`` to (1 - momentum) * running + momentum * batch; never recorded.

    Args:
        running: overwritten; any floating dtype.
        batch: what was just observed, of its shape.
        momentum: the weight of ``batch``.
    """
    torch.ops.miniconv.average_.default(running, batch, momentum)


def _real(running: Tensor, batch: Tensor, momentum: float) -> None:
    with torch._C._AutoDispatchBelowAutograd():
        running.copy_((1 - momentum) * widened(running) + momentum * batch)


def _batched(info: Any, in_dims: tuple[Any, ...], running: Tensor, batch: Tensor, momentum: float) -> tuple[None, None]:
    """The rule under vmap: there must be a running average for each member of the batch."""
    if in_dims[0] is None:
        raise RuntimeError(
            "Batch norm got a batched tensor as input while the running_mean or running_var, which will be updated in "
            "place, were not batched."
        )
    average_(running.movedim(in_dims[0], 0), batch if in_dims[1] is None else batch.movedim(in_dims[1], 0), momentum)
    return None, None


LIBRARY.define("average_(Tensor(a!) running, Tensor batch, float momentum) -> ()", tags=(torch.Tag.pt2_compliant_tag,))
LIBRARY.impl("average_", _real, "CompositeExplicitAutograd")
LIBRARY.impl("average_", torch.library.fallthrough_kernel, "Autograd")
torch.library.register_fake("miniconv::average_", lambda running, batch, momentum: None, lib=LIBRARY)
torch.library.register_vmap("miniconv::average_", _batched, lib=LIBRARY)
