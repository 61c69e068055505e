"""``python -m bench.false_alarms``: right convolutions under the parity suite, which must find nothing wrong in them.

torch by several backends, miniconv by each algorithm, and JAX, SciPy, onnxruntime and a few lines of NumPy as they
stand in ``examples/``, each within what it claims. The cases are those of the suite's short grid that are claimed.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bench import report
from bench.machine import describe, sentence
from miniconv.parity import Report, Target, find, run, short_grid
from miniconv.parity.cases import OPS, Case
from miniconv.parity.targets import not_asked

RESULT = Path(__file__).parent / "results" / "false-alarms.md"
POOL = 12000
ORDINARY = tuple(op for op in OPS if "transpose" not in op)
TRANSPOSED = tuple(op for op in OPS if "transpose" in op)


class Row(NamedTuple):
    """One target.

    Attributes:
        target: its text.
        ops: its operators.
        claims: what it claims; None for everything.
        needs: the packages that it needs.
        share: it is judged on one of so many cases.
    """

    target: str
    ops: tuple[str, ...]
    claims: str | None = None
    needs: tuple[str, ...] = ()
    share: int = 1

    @property
    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def find(self, op: str) -> Target:
        """The target for one operator."""
        return find(self.target, op=op, capabilities=self.claims)


FLOATS = "dtype float16, bfloat16, float32, float64"
WINOGRAD = f"kernel 3x3; stride 1x1; dilation 1x1; data integers, random; {FLOATS}"
NUMPY = "no groups, padding_words, unbatched; dtype int64, float32, float64, complex64, complex128"
SCIPY = (
    "only stride, padding, bias; no padding_words, unbatched, empty; dtype float32, float64, complex64, complex128; "
    "data integers, random"
)
JAX = "no padding_words, unbatched; dtype int32, float32; data integers, random"  # complex: three real products
ONNX = "no padding_words, unbatched, wide_output_padding; dtype float32"

ROWS = (
    Row("torch", OPS),
    Row("torch:native", OPS),
    Row("torch:channels_last", OPS, "no unbatched"),  # there torch is wrong: see tests/parity/test_targets.py
    Row("miniconv", OPS),
    Row("engine", OPS, FLOATS),
    Row("im2col", OPS),
    *(Row(name, ORDINARY) for name in ("kn2row", "per_channel", "dilation_sampled")),
    *(Row(name, ORDINARY, "data integers, random") for name in ("fft", "dilation_zeros")),
    *(Row(name, ("conv2d",), WINOGRAD) for name in ("winograd_f2", "winograd_f4")),
    Row("examples.numpy_conv2d:conv2d", ("conv2d",), NUMPY),
    Row("examples.scipy_conv:conv", ORDINARY, SCIPY, ("scipy",)),
    Row("examples.jax_conv:conv", ORDINARY, JAX, ("jax",), 10),  # XLA compiles every shape
    Row("examples.jax_conv:conv_transpose", TRANSPOSED, JAX, ("jax",), 10),
    Row("examples.onnxruntime_conv:conv", ORDINARY, ONNX, ("onnxruntime", "onnx")),
    Row("examples.onnxruntime_conv:conv_transpose", TRANSPOSED, ONNX, ("onnxruntime", "onnx")),
)
"""The targets of the table."""


@cache
def pool(op: str) -> list[Case]:
    """The operator's short grid."""
    return short_grid(POOL, op)


def cases(target: Target, op: str, size: int) -> list[Case]:
    """The first ``size`` cases of the operator's short grid that ``target`` is asked."""
    return [case for case in pool(op) if not_asked(case, target) is None][:size]


def judged(row: Row, size: int) -> Report:
    """All of a row's operators, ``size`` cases each."""
    total = Report()
    for op in row.ops:
        target = row.find(op)
        one = run(cases(target, op, max(1, size // row.share)), target)
        total.counts += one.counts
        total.failures += one.failures
    return total


def markdown(results: dict[Row, Report], command: str) -> str:
    """The table."""
    names = ("EQUAL", "WITHIN_BOUND", "SAME_ERROR", "EXPLAINED", "UNSUPPORTED")
    header = ["target", "operators", "claims", *(name.lower().replace("_", " ") for name in names), "wrong"]
    lines = [
        [
            f"`{row.target}`",
            "all six" if row.ops == OPS else ", ".join(row.ops),
            row.claims or "everything",
            *(f"{result.counts[name]:,}" for name in names),
            str(result.wrong),
        ]
        for row, result in results.items()
    ]
    machine = sentence(describe(1, ("jax", "onnxruntime", "scipy")))
    failures = [f"```text\n{failure}\n```" for result in results.values() for failure in result.failures]
    told = f"{machine} Repeat: `{command}`"
    return "\n\n".join(["# Right convolutions under the suite", told, report.table(header, lines), *failures])


def main(argv: Sequence[str] | None = None) -> int:
    """Judge every target; print the table and write it."""
    argv = list(sys.argv[1:] if argv is None else argv)
    p = argparse.ArgumentParser(prog="python -m bench.false_alarms", description=__doc__)
    p.add_argument("--cases", type=int, default=200, help="cases of each operator; default 200")
    p.add_argument("--target", default="", metavar="TEXT", help="only targets whose text holds this")
    p.add_argument("--out", type=Path, default=RESULT, metavar="PATH")
    arguments = p.parse_args(argv)
    results = {}
    for row in ROWS:
        if arguments.target in row.target:
            if row.missing:
                print(f"{row.target}: left out, {', '.join(row.missing)} is not installed")
                continue
            results[row] = judged(row, arguments.cases)
            print(f"{row.target}: {dict(results[row].counts)}", flush=True)
    text = markdown(results, " ".join(["python -m bench.false_alarms", *argv]))
    arguments.out.write_text(text + "\n", encoding="utf-8")
    return 1 if any(result.wrong for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
