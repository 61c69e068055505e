"""``python -m bench``: the layers of published networks, side by side."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import report
from bench.engines import ENGINES
from bench.layers import load, select
from bench.machine import describe, warn_if_busy
from bench.measure import run

RESULTS = Path(__file__).parent / "results"
DEFAULT_ENGINES = "miniconv,torch,torch_channels_last,onnxruntime,openvino,jax"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    p.add_argument("--threads", type=int, default=1, help="of every engine; default 1")
    p.add_argument("--group", action="append", default=[], metavar="NAME", help="only this network; may be repeated")
    p.add_argument("--layer", action="append", default=[], metavar="PATTERN", help="only layers named so; * and ? work")
    p.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    p.add_argument(
        "--engines", default=DEFAULT_ENGINES, help=f"some of {', '.join(ENGINES)}; default {DEFAULT_ENGINES}"
    )
    p.add_argument("--batch", type=int, help="in place of every layer's own batch size")
    p.add_argument("--seconds", type=float, default=1.0, help="for one layer, all engines together; default 1")
    p.add_argument(
        "--quick", action="store_true", help="0.05 seconds a layer, and without --group the tiny layers only"
    )
    p.add_argument(
        "--json",
        type=Path,
        metavar="PATH",
        help="write JSON here, and a table (.md) and a plot (.svg) beside it; a run"
        " over all layers writes to bench/results/ by itself",
    )
    return p


def chosen_engines(text: str) -> list[str]:
    """The engines of ``--engines`` that are installed; the others are named on stderr.

    Raises:
        ValueError: a name is unknown.
    """
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in ENGINES]:
        raise ValueError(f"--engines takes {', '.join(ENGINES)}, but got {', '.join(unknown)}")
    missing = [name for name in names if ENGINES[name].version is None]
    if missing:
        print(f"not installed, left out: {', '.join(missing)} (pip install '.[bench]')", file=sys.stderr)
    return [name for name in names if name not in missing]


def main(argv: Sequence[str] | None = None) -> int:
    """Time the layers, print the tables, write the files; 1 if miniconv computed something wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)
    p = parser()
    arguments = p.parse_args(argv)
    try:
        engines = chosen_engines(arguments.engines)
        names = arguments.group or (["tiny"] if arguments.quick else [])
        layers = select(load(dtype=arguments.dtype, batch=arguments.batch), names, arguments.layer)
    except ValueError as error:
        p.error(str(error))
    warn_if_busy()
    rows = run(layers, engines, arguments.threads, 0.05 if arguments.quick else arguments.seconds)
    packages = [package for name in engines for package in ENGINES[name].packages[:1]]
    result = {
        "command": " ".join(["python -m bench", *argv]),
        "machine": describe(arguments.threads, dict.fromkeys(packages)),
        "dtype": arguments.dtype,
        "summary": report.summary(rows),
        "layers": rows,
    }
    print(report.markdown(result))
    whole = not (names or arguments.layer or arguments.batch)
    default = RESULTS / f"layers-{arguments.dtype}-threads{arguments.threads}.json"
    if path := arguments.json or (default if whole else None):
        report.save(result, path)
    return int(any(e.get("wrong") for row in rows for name, e in row["engines"].items() if name.startswith("miniconv")))


if __name__ == "__main__":
    sys.exit(main())
