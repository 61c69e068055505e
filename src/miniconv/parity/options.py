"""The words of ``miniconv parity``: verbs, options and what they mean. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from miniconv.parity.case_text import DTYPES, OPS

__all__ = [
    "LEVELS",
    "OPTIONS",
    "SUITES",
    "TARGET_OPTIONS",
    "TIMEOUT",
    "VERBS",
    "WHICH",
    "Verb",
    "cores",
    "parser",
    "verb_parser",
]


class Verb(NamedTuple):
    """A first word that is no target.

    Attributes:
        help: one line.
        main: ``module:function``; given the parsed arguments, it returns the exit status.
        arguments: name or flag of each argument, and what ``argparse`` is told of it.
    """

    help: str
    main: str
    arguments: Mapping[str, Mapping[str, Any]]


SUITES = ("smoke", "ci", "full", "models", "regressions")
LEVELS = ("values", "shapes", "drop-in")
"""How much of torch a target must match.

``values``: the numbers. Axes of size 1 may be missing or added, and the dtype may be another; a call that has no
result, and one whose arguments are written in a form of torch's own, is not made. ``shapes``: the shape and the dtype
too, and a geometry that has no result must be refused, by any exception. ``drop-in``: also every refusal, by its type
and the first line of its message, every form of an argument, and the strides.
"""

WHICH: Mapping[str, dict[str, Any]] = {
    "--suite": {"choices": SUITES, "default": "smoke", "help": "which cases (default: smoke, a few hundred)"},
    "-k": {
        "dest": "words",
        "default": "",
        "metavar": "EXPRESSION",
        "help": "only cases with these words: 'k3x2 and not (bias or float*)', 'groups=depthwise'",
    },
    "--dtype": {
        "action": "append",
        "default": [],
        "choices": DTYPES,
        "metavar": "DTYPE",
        "help": "only this dtype; may be repeated",
    },
    "--seed": {"type": int, "default": 0, "help": "of the sample and of the numbers (default: 0)"},
}
"""Which of an operator's cases are meant."""

TIMEOUT: Mapping[str, Any] = {
    "type": float,
    "default": 60.0,
    "metavar": "S",
    "help": "seconds for a case (default: 60)",
}
"""How long a target may take before it counts as hanging."""

VERBS: Mapping[str, Verb] = {
    "show": Verb(
        "explain one case: the problem, the results, the worst element, the likely fault",
        "miniconv.parity.command:show",
        {
            "case": {"nargs": "+", "metavar": "CASE", "help": "the case's text"},
            "--target": {"default": "", "metavar": "TARGET", "help": "what is judged (default: miniconv)"},
            "--level": {"choices": LEVELS, "help": "what it is held to, as in a run"},
            "--timeout": TIMEOUT,
        },
    ),
    "export": Verb(
        "write cases with their exact results as .npz and JSON, for whoever has neither torch nor miniconv",
        "miniconv.parity.export:main",
        {
            "folder": {"type": Path, "metavar": "DIR", "help": "a folder that does not exist yet, or is empty"},
            "--op": {"action": "append", "choices": OPS, "metavar": "OP", "help": "may be repeated (default: conv2d)"},
            **WHICH,
            "--level": {
                "choices": LEVELS,
                "default": "shapes",
                "help": "results; refusals of geometries too (default: shapes); refusals of odd arguments too",
            },
        },
    ),
    "divergences": Verb(
        "print where torch disagrees with itself or with arithmetic: the catalogue that the suite judges by",
        "miniconv.parity.printed_catalogue:main",
        {"id": {"nargs": "*", "metavar": "ID", "help": "only these entries"}},
    ),
}
"""What else ``miniconv parity`` does, by its first word."""


TARGET_OPTIONS: Mapping[str, dict[str, Any]] = {
    "--level": {
        "choices": LEVELS,
        "help": "hold the target to its values; to shapes, dtypes and refusals too; or to all that torch does, strides "
        "and messages too (default: values for a function)",
    },
    "--adapter": {"choices": ("torch", "numpy", "jax"), "help": "the arrays that it takes (default: found by a call)"},
    "--layout": {"help": "the order of its axes, such as NHWC/HWIO (default: found by a call)"},
    "--capabilities": {"help": "what it claims, and then may not refuse (default: clean refusals are counted)"},
}
"""Options that are handed on to ``miniconv.parity.targets.find`` under their own names, where they are given."""

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "--op": {
        "action": "append",
        "choices": OPS,
        "metavar": "OP",
        "help": "conv1d to conv_transpose3d; may be repeated (default: all that TARGET has)",
    },
    **WHICH,
    "--jobs": {"type": int, "metavar": "N", "help": "child processes (default: the cores; 0: judge in this process)"},
    "--shard": {"default": "", "metavar": "I/N", "help": "only part I of N"},
    "--stop-after": {"type": int, "metavar": "N", "help": "stop after N failures"},
    "--timeout": TIMEOUT,
    "--json": {"type": Path, "metavar": "FILE", "help": "write the report as JSON"},
    "--junit": {"type": Path, "metavar": "FILE", "help": "write the report as JUnit XML"},
    "--html": {"type": Path, "metavar": "FILE", "help": "write the report as one HTML page"},
    "--summary": {"type": Path, "metavar": "FILE", "help": "append a short report in Markdown: $GITHUB_STEP_SUMMARY"},
    "--baseline": {"type": Path, "metavar": "FILE", "help": "an earlier --json: fail only for what has become worse"},
    "--known": {"type": Path, "metavar": "FILE", "help": "known divergences in TOML: fail only for what is not known"},
}


def parser() -> argparse.ArgumentParser:
    """The command line of a run."""
    result = argparse.ArgumentParser(
        prog="miniconv parity",
        description="Judge a convolution: its numbers by exact results, everything else by torch.",
        epilog=f"Instead of TARGET: {', '.join(VERBS)}; 'miniconv parity VERB --help' says more. "
        "Exit status: 0 right, 1 wrong, 2 not understood, 130 interrupted.",
    )
    result.add_argument(
        "target", nargs="?", default="miniconv", metavar="TARGET",
        help="package.module:function with the signature of one of torch's convolutions, or a name: miniconv "
        "(default), torch",
    )  # fmt: skip
    for group, options in {"the target": TARGET_OPTIONS, "the run": OPTIONS}.items():
        arguments = result.add_argument_group(group)
        for flag, settings in options.items():
            arguments.add_argument(flag, **settings)
    return result


def verb_parser(name: str) -> argparse.ArgumentParser:
    """The command line of a verb."""
    verb = VERBS[name]
    result = argparse.ArgumentParser(prog=f"miniconv parity {name}", description=verb.help)
    for argument, settings in verb.arguments.items():
        result.add_argument(argument, **settings)
    return result


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
