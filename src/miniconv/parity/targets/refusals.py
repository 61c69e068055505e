"""Which cases a target is not asked, and which of its exceptions are refusals and no mistakes.

A target that was found by its name, and about which nothing was claimed, is probed: it refuses cleanly where it raises
``Unsupported`` or ``NotImplementedError``, where a function of keyword arguments knows no such keyword, or where the
plainest call of the same kind (this dtype; no batch; an empty batch; padding as a word) raises too, though it works in
float32 with a batch of one. Whatever it claims (``capabilities``) it may not refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from miniconv.parity.cases import Case
from miniconv.parity.operands import make
from miniconv.parity.targets.target import Inexpressible, Target, Unsupported, call

__all__ = ["not_asked", "plainest", "refusal"]

_UNKNOWN_KEYWORD = re.compile(r"unexpected keyword argument|invalid keyword argument|takes no keyword arguments")
_SIZES = (9, 11, 13)
_KERNELS = (3, 2, 5)


def plainest(op: str, **changes: Any) -> Case:
    """The smallest ordinary call of an operator, no two sizes of which are equal.

    >>> str(plainest("conv2d", batch=2))
    'conv2d n2 c4 o7 i9x11 k3x2 float32'
    """
    dims, transposed = int(op[-2]), "transpose" in op
    case = Case(
        1, 4, 7, _SIZES[:dims], _KERNELS[:dims], (1,) * dims, (0,) * dims, (1,) * dims, transposed=transposed,
        output_padding=(0,) * dims if transposed else (),
    )  # fmt: skip
    return replace(case, **changes)


def not_asked(case: Case, target: Target) -> str | None:
    """Why ``case`` is not put to ``target`` at all, or None."""
    missing = target.capabilities.missing(case) if target.capabilities is not None else None
    if missing is not None:
        return f"not claimed: {missing}"
    if target.level != "drop-in" and case.given:
        return f"level {target.level} does not ask for the forms of arguments that torch takes or refuses"
    if target.level == "values" and case.must_be_refused:
        return "level values does not ask for refusals"
    return None


def refusal(case: Case, error: BaseException, target: Target) -> str | None:
    """What a clean refusal says, or None if ``error`` is a mistake."""
    if isinstance(error, Inexpressible) or (isinstance(error, Unsupported) and target.refusals != "none"):
        return str(error)
    if target.refusals != "probed" or not isinstance(error, Exception):
        return None
    said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if isinstance(error, NotImplementedError) or (isinstance(error, TypeError) and _UNKNOWN_KEYWORD.search(str(error))):
        return said
    function = target.function_for(case)
    if _raised(function, plainest(case.op)):
        return None  # it can do nothing at all, so that nothing is special about this case
    kinds: dict[str, dict[str, Any]] = {
        case.dtype: {"dtype": case.dtype},
        "unbatched": {"batch": None} if case.batch is None else {},
        "an empty batch": {"batch": 0} if case.batch == 0 else {},
        f"padding={case.padding!r}": {"padding": case.padding} if isinstance(case.padding, str) else {},
    }
    for kind, changes in kinds.items():
        plain = plainest(case.op, **changes)
        raised = _raised(function, plain) if changes else ""
        if raised:
            return f"{kind}: the plainest call raises too, {plain}: {raised}"
    return None


@lru_cache(maxsize=256)
def _raised(function: Callable[..., Any], case: Case) -> str:
    """The exception of this call, forward alone; nothing if it gives anything."""
    outcome = call(case, make(case), Target(function, gradients=False))
    return "" if outcome.error is None else outcome.first_line
