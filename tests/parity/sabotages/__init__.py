"""Convolutions that are wrong on purpose, each by one plausible bug: the suite must catch every one by name.

Each is a right implementation (torch's, in float32 where torch's float16 depends on the CPU) with one thing done
wrong. ``SABOTAGES`` maps its name to the target and to the verdicts of which one has to catch it; ``WINDOWS`` does so
for pooling, unfold, fold and pad, which are held against torch by the checks of ``window_checks``.
"""

from __future__ import annotations

from sabotages import arithmetic, axes_and_taps, family, reported, reported_family
from sabotages.base import SABOTAGES, SLIP, RightModule, base, right
from sabotages.windows import WINDOWS

__all__ = [
    "SABOTAGES", "SLIP", "WINDOWS", "RightModule", "arithmetic", "axes_and_taps", "base", "family", "reported",
    "reported_family", "right",
]  # fmt: skip
