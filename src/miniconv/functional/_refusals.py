"""What a convolution that is refused teaches: looked at only when a call has failed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from miniconv.arrays import describe, is_tensor
from miniconv.problem import Operand
from miniconv.rules import type_name

__all__ = ["REFUSALS", "is_handed_on", "teach_call"]

REFUSALS = (TypeError, ValueError, RuntimeError)
"""What a call may be refused with."""


def teach_call(error: Exception, op: str, operands: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Add a note to a refusal; to none of a compiler's, or of a subclass that has the call handed to it again.

    Args:
        error: the refusal.
        op: ``conv2d``, ``conv_transpose1d``, ...
        operands: input, weight and, where there is one, bias; of any kind.
        options: the other arguments by name.
    """
    if not is_handed_on(operands):
        from miniconv.advice import of_call, teach

        teach(error, lambda: of_call(op, [_described(x) for x in operands], options))


def is_handed_on(operands: Sequence[Any]) -> bool:
    """Whether a compiler looks on, or a subclass of a tensor has the call handed to it again."""
    torch = sys.modules.get("torch")
    return torch is not None and (torch.compiler.is_dynamo_compiling() or torch.overrides.has_torch_function(operands))


def _described(x: Any) -> Operand:
    """An operand, or what stands in the place of one."""
    from miniconv.advice.attempts import UNKNOWN

    if isinstance(x, np.ndarray) or is_tensor(x):
        return describe(x)
    within = x if isinstance(x, (list, tuple)) else ()
    has_numbers = isinstance(x, (int, float, list, tuple)) and not any(map(is_tensor, within))
    if not has_numbers:
        return Operand((), UNKNOWN, kind=type_name(x))
    return Operand(np.shape(x), str(np.asarray(x).dtype), kind=type_name(x))
