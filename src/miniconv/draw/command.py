"""``python -m miniconv draw``: from a problem's text to a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from miniconv.explain.command import ELEMENT, unusable

__all__ = ["ARGUMENTS", "main"]

ARGUMENTS: dict[str, dict[str, Any]] = {
    "problem": {
        "nargs": "+", "metavar": "PROBLEM",
        "help": "such as 'conv2d c2 o1 i5x6 k3 s2 p1 int64', or as torch has it: 'nn.Conv2d(2, 1, 3)(x[2,5,6])'",
    },
    "--svg": {"type": Path, "metavar": "OUT", "help": "write an SVG"},
    "--png": {"type": Path, "metavar": "OUT", "help": "write a PNG"},
    "--gif": {"type": Path, "metavar": "OUT", "help": "write a GIF: the window slides over every place"},
    "--animated": {"action": "store_true", "help": "let the window of the SVG slide too"},
    "--at": {"metavar": "N,OC,OH,OW", "help": "which element; --at=-1,... counts from the end (default: the first)"},
    "--feeds": {"metavar": "N,IC,IH,IW", "help": "draw an input element and what it feeds"},
    "--picture": {"action": "store_true", "help": "grey levels in place of numbers"},
    "--dark": {"action": "store_true", "help": "dark colours for a PNG or GIF; an SVG follows its reader"},
    "--font": {"type": Path, "metavar": "FILE", "help": "TrueType font of a PNG or GIF; Chinese needs one"},
    **ELEMENT,
}  # fmt: skip
"""What ``argparse`` is told of each argument."""


def main(arguments: argparse.Namespace) -> int:
    """Draw a convolution and write the files that were asked for.

    Returns:
        0; 2 if nothing could be drawn, with the reason on standard error.
    """
    from miniconv.draw import draw
    from miniconv.explain.asked import element, operands
    from miniconv.explain.torch_text import parse_either

    outs = {ending: out for ending in ("svg", "png", "gif") if (out := getattr(arguments, ending)) is not None}
    try:
        if not outs:
            raise ValueError("name a file after --svg, --png or --gif")
        for ending, out in outs.items():
            if out.suffix != f".{ending}":
                raise ValueError(f"--{ending} writes a .{ending} file, but got {out}")
        problem, mode = parse_either(" ".join(arguments.problem), arguments.lang)
        given = {} if arguments.npz is None else operands(problem, arguments.npz)
        drawing = draw(
            problem,
            *(given[name] for name in ("input", "weight", "bias") if name in given),
            at=None if arguments.at is None else element(arguments.at),
            feeds=None if arguments.feeds is None else element(arguments.feeds),
            of=arguments.of,
            padding_mode=arguments.padding_mode or mode,
            picture=arguments.picture,
            language=arguments.lang,
            grad_output=given.get("grad_output"),
        )
        for out in outs.values():
            drawing.save(out, animated=arguments.animated, dark=arguments.dark, font=arguments.font)
    except (ImportError, IndexError, OSError, RuntimeError, TypeError, ValueError) as error:
        return unusable("draw", error)
    print(drawing.description)
    for out in outs.values():
        print(f"{out}: {-(-out.stat().st_size // 1000)} kB")
    return 0
