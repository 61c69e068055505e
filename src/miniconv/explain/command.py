"""``miniconv explain``: from a problem's text to one element of it, term by term, in the terminal or as a page."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from miniconv.explain import PADDING_MODES, PARTS, Trace, explain, part_named
from miniconv.explain.columns import wrapped
from miniconv.explain.words import said
from miniconv.language import LANGUAGES, language
from miniconv.problem import ConvProblem

__all__ = ["ARGUMENTS", "ELEMENT", "main", "unusable"]

ELEMENT: dict[str, dict[str, Any]] = {
    "--of": {"type": part_named, "choices": tuple(PARTS), "default": "output", "help": "of which tensor (%(default)s)"},
    "--npz": {"type": Path, "metavar": "FILE", "help": "your numbers: input, weight, bias, grad_output by these names"},
    "--padding-mode": {"choices": PADDING_MODES, "help": "what fills the border (default: zeros, or the layer's)"},
    "--lang": {"choices": LANGUAGES, "help": "the language (default: MINICONV_LANG, or the locale's)"},
}
"""The arguments of every command that shows an element."""

ARGUMENTS: dict[str, dict[str, Any]] = {
    "problem": {
        "nargs": "+", "metavar": "PROBLEM",
        "help": "'conv2d n1 c3 o4 i8x9 k3 s2 p1': batch, channels in and out, input, kernel, stride, padding; also "
        "d dilation, g groups, op output padding, bias, a dtype; or as torch has it: 'F.conv2d(x[1,3,8,9], w[4,3,3,3], "
        "stride=2)', 'nn.Conv2d(3, 4, 3, padding=1)(x[1,3,8,9])'",
    },
    "--at": {"metavar": "N,OC,OH,OW", "help": "which element; --at=-1,... counts from the end (default: at a border)"},
    "--all": {"action": "store_true", "help": "every term, however many there are"},
    "--json": {"action": "store_true", "help": "print the element as JSON"},
    "--html": {"type": Path, "metavar": "FILE", "help": "write a page to explore the convolution with these numbers"},
    **ELEMENT,
}  # fmt: skip
"""What ``argparse`` is told of each argument."""

_LETTERS = ("d", "h", "w")


def main(arguments: argparse.Namespace, page: Callable[..., str]) -> int:
    """Print one element.

    Args:
        arguments: as ``ARGUMENTS`` has them.
        page: ``miniconv.explorer.page``, which writes what ``--html`` asks for.

    Returns:
        0; 2 if there is nothing to show, with the reason on standard error.
    """
    from miniconv.explain.asked import axis_names, default_element, element, operands
    from miniconv.explain.torch_text import parse_either

    spoken = language(arguments.lang)
    try:
        problem, mode = parse_either(" ".join(arguments.problem), spoken)
        mode = arguments.padding_mode or mode
        chosen, why = default_element(problem, arguments.of)
        at = chosen if arguments.at is None else element(arguments.at)
        given = {} if arguments.npz is None else operands(problem, arguments.npz)
        tensors = [given[name] for name in ("input", "weight", "bias") if name in given]
        trace = explain(
            problem,
            *tensors,
            at=at,
            of=arguments.of,
            grad_output=given.get("grad_output"),
            padding_mode=mode,
        )
        if arguments.html is not None:
            shown = {"at": trace.at, "of": arguments.of, "grad_output": given.get("grad_output"), "padding_mode": mode}
            html = page(problem, *tensors, **shown, language=spoken)
            arguments.html.write_text(html, encoding="utf-8")
    except (OSError, TypeError, ValueError, RuntimeError, IndexError) as error:
        return unusable("explain", error)
    if arguments.json:
        print(trace.to_json())
        return 0
    notes = [] if arguments.npz is not None else [said("drawn", spoken)]
    if arguments.at is None:
        notes.append(said(why, spoken, axes=axis_names(problem, arguments.of)))
    if arguments.html is not None:
        size = -(-arguments.html.stat().st_size // 1000)
        notes.append(said("wrote", spoken, path=arguments.html, size=size))
    _print(trace, spoken, notes, everything=arguments.all)
    return 0


def unusable(command: str, error: Exception) -> int:
    """Says why a command has nothing to show, and what would help where that is known; the exit status, 2."""
    text = "\n".join([str(error), *getattr(error, "__notes__", ())])
    print(f"miniconv {command}: {text}", file=sys.stderr)
    return 2


def _print(trace: Trace, spoken: str, notes: Iterable[str], *, everything: bool) -> None:
    """The sizes, the trace, and what is to be known beside it."""
    from miniconv.explain.text import ROWS

    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else None
    colour = on_terminal and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    first, *rest = trace.text(spoken, rows=None if everything else ROWS, width=width).splitlines()
    notes = list(notes)
    if len(trace.terms) > ROWS and not everything:
        notes.insert(0, said("shortened", spoken, shown=ROWS, count=len(trace.terms)))
    blank = rest.index("")
    body = [*_sizes(trace.problem, spoken), "", *rest[:blank], *rest[blank:], "", *notes]
    rows = [line for text in body for line in ([text] if text in rest else wrapped(text, width))]
    print("\n".join(map(_painted, (first, *rows)) if colour else (first, *rows)))


def _painted(line: str) -> str:
    """A line for a terminal: the table's head in bold, the terms in the border faint."""
    if line.lstrip().startswith("#"):
        return f"\033[1m{line}\033[0m"
    in_border = line.startswith("  ") and any(f"]{mark} " in line for mark in "zmec")
    return f"\033[2m{line}\033[0m" if in_border else line


def _sizes(problem: ConvProblem, spoken: str) -> list[str]:
    """The shapes, and how the output's size comes about on each axis."""
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    axes = zip(
        _LETTERS[-problem.spatial_dims :], problem.input_size, problem.padding, problem.effective_kernel,
        problem.stride, problem.output_padding, problem.output_size,
    )  # fmt: skip
    written = _transposed_size if problem.transposed else _size
    sizes = ", ".join(f"{letter} {written(*axis)}" for letter, *axis in axes)
    return [said("shapes", spoken, **shapes), said("size", spoken, sizes=sizes)]


def _size(size: int, pair: tuple[int, int], extent: int, stride: int, extra: int, output: int) -> str:
    """``floor((8 + 1 + 1 - 3) / 2) + 1 = 4``."""
    return f"floor(({size} + {pair[0]} + {pair[1]} - {extent}) / {stride}) + 1 = {output}"


def _transposed_size(size: int, pair: tuple[int, int], extent: int, stride: int, extra: int, output: int) -> str:
    """``(8 - 1) * 2 - 1 - 1 + 3 + 1 = 16``."""
    return f"({size} - 1) * {stride} - {pair[0]} - {pair[1]} + {extent} + {extra} = {output}"
