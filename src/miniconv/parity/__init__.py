"""The parity suite: cases, exact results, and verdicts on any implementation of a convolution.

>>> from miniconv.parity import Case
>>> Case.parse("conv2d n3 c4 o6 i7x9 k3x2 s2x3 bias").output_shape
(3, 6, 3, 3)

``run(short_grid(), target=...)`` judges a function with the signature of ``torch.nn.functional.conv2d``, and
``run(short_grid(op="conv_transpose1d"), target=...)`` one of another convolution; the report counts cases that are
equal, within the bound of rounding, known to differ, and wrong. Reading the files: ``cases`` and ``case_text`` (one
call as one line of text), ``axes`` (each operator's geometry), ``data`` (its numbers), ``operands`` (their place in
memory), ``grids`` (which cases), ``oracle`` and ``tables`` (the exact result), ``bounds`` (how far a right result may
be from it), ``verdict``, ``divergences`` (what torch itself gets wrong), ``targets`` (what is judged; ``find`` makes
one of ``package.module:function``), ``results``, ``runner``;
around them ``plugin`` and ``testing`` (pytest), ``known`` (what a target is known to get wrong), and ``exercises``
(the lessons' judge).
Of what is wrong: ``shrink`` (the smallest case), ``faults`` (hypotheses as data), ``diagnose``, ``show``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from miniconv.parity.cases import Case  # before the decorator takes the module's name here
from miniconv.parity.testing import cases, check

if TYPE_CHECKING:
    from miniconv.parity.divergences import catalogue
    from miniconv.parity.exercises import exercise
    from miniconv.parity.grids import counts, full_grid, short_grid
    from miniconv.parity.report import Report
    from miniconv.parity.runner import reproduce, run
    from miniconv.parity.targets import TORCH, Target, TargetError, Unsupported, find
    from miniconv.parity.verdict import Verdict

__all__ = [
    "TORCH", "Case", "Report", "Target", "TargetError", "Unsupported", "Verdict", "cases", "catalogue", "check",
    "counts", "exercise", "find", "full_grid", "reproduce", "run", "short_grid",
]  # fmt: skip

_HOMES = {
    "catalogue": "divergences", "counts": "grids", "full_grid": "grids", "short_grid": "grids",
    "Report": "report", "TORCH": "targets", "Target": "targets", "TargetError": "targets", "Unsupported": "targets",
    "find": "targets", "reproduce": "runner", "run": "runner", "Verdict": "verdict", "exercise": "exercises",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for: only ``runner`` needs torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
