"""What is judged: a target, how it is found and adapted, how a case calls it, and what came of the call.

Reading the files: ``target`` (the description, the call), ``finding`` (from a text to a target), ``named`` (those that
have a name: torch's backends, miniconv's algorithms), ``signatures`` (which arguments a function takes), ``adapters``
and ``axis_orders`` (tensors, NumPy and JAX arrays; where the channels stand), ``capabilities`` (which cases it claims),
``refusals`` (which exceptions are no mistakes).
"""

from __future__ import annotations

from miniconv.parity.targets.adapters import ADAPTERS, Adapter
from miniconv.parity.targets.axis_orders import AXIS_ORDERS, AxisOrder
from miniconv.parity.targets.capabilities import Capabilities
from miniconv.parity.targets.finding import find
from miniconv.parity.targets.named import NAMES
from miniconv.parity.targets.refusals import not_asked, refusal
from miniconv.parity.targets.target import (
    GRADIENTS,
    LEVELS,
    REFUSALS,
    TORCH,
    Inexpressible,
    Outcome,
    Target,
    TargetError,
    Unsupported,
    call,
    family,
)

__all__ = [
    "ADAPTERS", "AXIS_ORDERS", "GRADIENTS", "LEVELS", "NAMES", "REFUSALS", "TORCH", "Adapter", "AxisOrder",
    "Capabilities", "Inexpressible", "Outcome", "Target", "TargetError", "Unsupported", "call", "family", "find",
    "not_asked", "refusal",
]  # fmt: skip
