"""``python -m bench.accuracy``: the error of miniconv and of torch against float64, layer by layer.

Standard normal numbers in float32. The error of a layer is the largest of all its outputs, and their root mean
square, each the mean over the seeds; what is stated is miniconv's over torch's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import report
from bench.engines import ENGINES, limited_to
from bench.layers import Layer, load, operands, select
from bench.machine import describe, sentence
from bench.measure import Array, Row, exact_result
from bench.timing import geometric_mean

ENGINES_COMPARED = ("torch", "miniconv")


def errors(exact: Array, result: Array) -> dict[str, float]:
    """The largest and the root mean square error."""
    difference = result - exact
    return {"max": float(np.abs(difference).max()), "rms": float(np.sqrt(np.mean(np.square(difference))))}


def compare(layer: Layer, seeds: int) -> Row:
    """Both engines' errors on one layer, means over the seeds, and the ratios of miniconv's to torch's."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ENGINES_COMPARED}
    for seed in range(seeds):
        numbers = operands(layer.problem, seed)
        exact = exact_result(layer.problem, numbers)
        for name in ENGINES_COMPARED:
            found[name].append(errors(exact, ENGINES[name].prepare(layer.problem, numbers, 0).result()))
    means = {n: {kind: float(np.mean([e[kind] for e in es])) for kind in ("max", "rms")} for n, es in found.items()}
    return {
        "group": layer.group,
        "name": layer.name,
        "problem": str(layer.problem),
        "errors": means,
        "ratio": {kind: ratio(means["miniconv"][kind], means["torch"][kind]) for kind in ("max", "rms")},
    }


def ratio(own: float, reference: float) -> float:
    """own / reference; 1 if both are 0."""
    return 1.0 if own == reference else own / reference if reference else float("inf")


def markdown(result: dict[str, Any]) -> str:
    """The report."""
    rows = result["layers"]
    lines = [
        [
            f"{row['group']} {row['name']}",
            f"`{row['problem']}`",
            *(f"{row['errors'][name]['max']:.2e}" for name in ENGINES_COMPARED),
            *(f"{row['ratio'][kind]:.2f}" for kind in ("max", "rms")),
        ]
        for row in rows
    ]
    largest, rms = (geometric_mean(row["ratio"][kind] for row in rows) for kind in ("max", "rms"))
    header = ["layer", "problem", *(f"{name}, largest" for name in ENGINES_COMPARED), "ratio", "ratio of rms"]
    worst = max(rows, key=lambda row: float(row["ratio"]["max"]))
    return "\n\n".join(
        [
            "# Accuracy",
            sentence(result["machine"]),
            f"Geometric mean of the ratios of the largest errors {largest:.2f}, of the root mean squares {rms:.2f};"
            f" the worst layer {worst['group']} {worst['name']}, {worst['ratio']['max']:.2f}."
            f" Repeat: `{result['command']}`",
            report.table(header, lines) + "\n",
        ]
    )


def measure(layers: Iterable[Layer], seeds: int, threads: int) -> list[Row]:
    """``compare`` of each layer."""
    with limited_to(threads):
        return [compare(layer, seeds) for layer in layers]


def main(argv: Sequence[str] | None = None) -> int:
    """Compare the errors; print and write the report."""
    argv = list(sys.argv[1:] if argv is None else argv)
    p = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--group", action="append", default=[], metavar="NAME")
    p.add_argument("--layer", action="append", default=[], metavar="PATTERN")
    p.add_argument("--seeds", type=int, default=3, help="how many draws of the operands; default 3")
    p.add_argument("--json", type=Path, metavar="PATH", help="write JSON here, and the report (.md) beside it")
    arguments = p.parse_args(argv)
    try:
        layers = select(load(), arguments.group, arguments.layer)
    except ValueError as error:
        p.error(str(error))
    result = {
        "command": " ".join(["python -m bench.accuracy", *argv]),
        "machine": describe(arguments.threads),
        "layers": measure(layers, arguments.seeds, arguments.threads),
    }
    report.publish(markdown(result), result, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
