"""``python -m bench.plans``: what a new shape costs, before its first number is computed.

A problem is stated from its text, planned, and its table of integers is made for contiguous operands; kernels are
compiled beforehand. What a call of a known shape costs, ``bench.calls`` says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import report
from bench.machine import describe, sentence, warn_if_busy
from bench.measure import Row
from miniconv import ConvProblem, config
from miniconv.plan import plan

TYPICAL = (
    "conv2d n1 c1 o1 i5x5 k3x3",
    "conv2d n1 c3 o64 i224x224 k7x7 s2x2 p3x3",
    "conv2d n1 c256 o64 i56x56 k1x1",
    "conv2d n1 c64 o64 i56x56 k3x3 p1x1",
    "conv2d n32 c64 o64 i32x32 k3x3 p1x1",
    "conv2d n1 c128 o128 i56x56 k3x3 s2x2 p1x1",
    "conv2d n1 c512 o512 i7x7 k3x3 p1x1",
    "conv2d n1 c256 o256 i28x28 k3x3 p2x2 d2x2",
    "conv2d n1 c144 o144 i56x56 k3x3 p1x1 g144",
    "conv2d n1 c128 o128 i56x56 k3x3 p1x1 g32",
    "conv1d n8 c64 o64 i1000 k5 p2",
    "conv3d n1 c16 o32 i16x28x28 k3x3x3 p1x1x1",
    "conv_transpose2d n1 c256 o128 i28x28 k2x2 s2x2",
    "conv_transpose2d n1 c128 o64 i28x28 k4x4 s2x2 p1x1",
)
ROUNDS = 50
PROMISED_SECONDS = 0.5e-3


def cost(text: str, rounds: int = ROUNDS) -> Row:
    """The median times of stating, planning and preparing a float32 problem that is new each time.

    Args:
        text: the problem without its dtype.
        rounds: how often.
    """
    problem = ConvProblem.parse(f"{text} float32")
    operands = np.empty(problem.batched_input_shape, "float32"), np.empty(problem.weight_shape, "float32")
    times = []
    for _ in range(1 + rounds):  # the first one compiles
        plan.cache_clear()
        start = time.perf_counter()
        stated = ConvProblem.parse(f"{text} float32")
        at_plan = time.perf_counter()
        chosen = plan(stated)
        at_tables = time.perf_counter()
        chosen.ready(*operands)
        times.append((at_plan - start, at_tables - at_plan, time.perf_counter() - at_tables))
    parts = [median(part) for part in zip(*times[1:])]
    return {"problem": text, **dict(zip(("stated", "planned", "prepared"), parts)), "seconds": sum(parts)}


def markdown(result: dict[str, Any]) -> str:
    """The report."""
    names = ("stated", "planned", "prepared", "seconds")
    lines = [[f"`{row['problem']}`", *(f"{row[name] * 1e6:.0f}" for name in names)] for row in result["plans"]]
    slow = sum(row["seconds"] > PROMISED_SECONDS for row in result["plans"])
    return "\n\n".join(
        [
            "# Plans",
            sentence(result["machine"]),
            f"Microseconds, medians of {ROUNDS}; {slow} of {len(lines)} take more than {PROMISED_SECONDS * 1e6:.0f}."
            f" Repeat: `{result['command']}`",
            report.table(["problem", "stated", "planned", "prepared", "together"], lines) + "\n",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Time the plans; print and write the report."""
    argv = list(sys.argv[1:] if argv is None else argv)
    p = argparse.ArgumentParser(prog="python -m bench.plans", description=__doc__)
    p.add_argument("--json", type=Path, metavar="PATH", help="write JSON here, and the report (.md) beside it")
    arguments = p.parse_args(argv)
    warn_if_busy()
    result: dict[str, Any] = {
        "command": " ".join(["python -m bench.plans", *argv]),
        "machine": describe(1),
    }
    with config(threads=1):
        result["plans"] = [cost(text) for text in TYPICAL]
    report.publish(markdown(result), result, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
