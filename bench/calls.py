"""``python -m bench.calls``: what one call costs beyond its arithmetic.

The smallest convolution, 1x1x5x5 with one 3x3 kernel, has 81 multiply-adds: all of its time is the way in and out. Each
line puts two ways to call it side by side: torch's and miniconv's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from bench import report
from bench.engines import limited_to
from bench.machine import describe, sentence, warn_if_busy
from bench.measure import Row
from bench.timing import Sample, interleave, sampler, speed_up
from miniconv import ConvProblem

Sampler = Callable[[], Sample]
NEW_PROBLEMS = 300


def ways(seconds: float) -> dict[str, tuple[Sampler, Sampler]]:
    """For each way of calling, the samplers of torch and of miniconv.

    Args:
        seconds: length of one sample.
    """
    import torch

    import miniconv
    import miniconv.functional
    import miniconv.nn

    input, weight = torch.randn(1, 1, 5, 5), torch.randn(1, 1, 3, 3)
    recorded = weight.clone().requires_grad_()
    theirs, ours = torch.nn.functional.conv2d, miniconv.functional.conv2d
    layers = torch.nn.Conv2d(1, 1, 3), miniconv.nn.Conv2d(1, 1, 3)

    def timed(run: Callable[[], Any], context: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Sampler:
        return sampler(run, seconds, context)

    def pair(call: Callable[[Any], Callable[[], Any]], sides: tuple[Any, Any]) -> tuple[Sampler, Sampler]:
        return timed(call(sides[0])), timed(call(sides[1]))

    def backward(conv2d: Any) -> Callable[[], Any]:
        return lambda: conv2d(input, recorded).sum().backward()

    functions = (theirs, ours)
    return {
        "function": pair(lambda conv2d: lambda: conv2d(input, weight), functions),
        "function, gradient recorded": pair(lambda conv2d: lambda: conv2d(input, recorded), functions),
        "function, sum and backward": pair(backward, functions),
        "module, no_grad": (
            timed(_fixed(layers[0], input), torch.no_grad),
            timed(_fixed(layers[1], input), torch.no_grad),
        ),
        "module, gradient recorded": pair(lambda layer: lambda: layer(input), layers),
        "torch's function under patch()": (
            timed(_fixed(theirs, input, weight)),
            timed(_fixed(theirs, input, weight), miniconv.patch),
        ),
        "torch's function under patch(), gradient recorded": (
            timed(_fixed(theirs, input, recorded)),
            timed(_fixed(theirs, input, recorded), miniconv.patch),
        ),
    }


def _fixed(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments)


def measure(seconds: float, sample_seconds: float = 2e-3) -> list[Row]:
    """Each way: the median time of a call, torch's and miniconv's, and torch's over miniconv's."""
    rows = []
    for name, (theirs, ours) in ways(sample_seconds).items():
        samples = interleave({"torch": theirs, "miniconv": ours}, seconds)
        times = {engine: [s.seconds for s in taken] for engine, taken in samples.items()}
        row: Row = {"call": name, **{engine: median(values) for engine, values in times.items()}}
        rows.append(row | {"ratio": speed_up(times["torch"], times["miniconv"])})
    return rows


def plan_seconds(count: int = NEW_PROBLEMS) -> float:
    """The median time of ``plan(problem)`` for problems that it has not seen, the statement of the problem included."""
    from miniconv.plan import plan

    times = []
    plan.cache_clear()
    for size in range(10, 10 + count):
        start = time.perf_counter()
        plan(ConvProblem(1, 8, 16, (size, size + 1), (3, 5), padding=((1, 1), (2, 2))))
        times.append(time.perf_counter() - start)
    return median(times)


def markdown(result: dict[str, Any]) -> str:
    """The report."""
    lines = [
        [row["call"], f"{row['torch'] * 1e6:.2f}", f"{row['miniconv'] * 1e6:.2f}", f"{row['ratio']:.2f}"]
        for row in result["calls"]
    ]
    return "\n\n".join(
        [
            "# Calls",
            sentence(result["machine"]),
            f"A new problem is stated and planned in {result['plan_seconds'] * 1e6:.0f} us (median of {NEW_PROBLEMS})."
            f" Repeat: `{result['command']}`",
            report.table(["1x1x5x5, one 3x3 kernel", "torch, us", "miniconv, us", "ratio"], lines) + "\n",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Time the calls; print and write the report."""
    argv = list(sys.argv[1:] if argv is None else argv)
    p = argparse.ArgumentParser(prog="python -m bench.calls", description=__doc__)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seconds", type=float, default=1.0, help="for each line; default 1")
    p.add_argument("--json", type=Path, metavar="PATH", help="write JSON here, and the report (.md) beside it")
    arguments = p.parse_args(argv)
    warn_if_busy()
    with limited_to(arguments.threads):
        result = {
            "command": " ".join(["python -m bench.calls", *argv]),
            "machine": describe(arguments.threads),
            "calls": measure(arguments.seconds),
            "plan_seconds": plan_seconds(),
        }
    report.publish(markdown(result), result, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
