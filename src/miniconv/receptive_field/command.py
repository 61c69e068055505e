"""``python -m miniconv receptive-field``: from a model to a table, to JSON, to a picture."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from miniconv.language import LANGUAGES

__all__ = ["ARGUMENTS", "main"]

ARGUMENTS: dict[str, dict[str, Any]] = {
    "model": {"metavar": "MODEL", "help": "file.py:factory or package.module:factory, or a model for a factory"},
    "--input": {"default": "3x224x224", "metavar": "3x224x224", "help": "channels and size of the input (%(default)s)"},
    "--json": {"action": "store_true", "help": "print every figure as JSON"},
    "--svg": {"type": Path, "metavar": "OUT", "help": "draw fields over a picture: an SVG"},
    "--png": {"type": Path, "metavar": "OUT", "help": "the same as a PNG"},
    "--picture": {"type": Path, "metavar": "FILE", "help": "the picture: .npy, or what Pillow reads, resized"},
    "--layer": {"action": "append", "metavar": "NAME", "help": "a layer to draw; again for another (the last)"},
    "--at": {"metavar": "OH,OW", "help": "the output position to draw (default: the middle)"},
    "--lang": {"choices": LANGUAGES, "help": "of the drawing (default: MINICONV_LANG, or the locale's)"},
}  # fmt: skip
"""What ``argparse`` is told of each argument."""


def main(arguments: argparse.Namespace) -> int:
    """Print the receptive fields of a model, and draw some of them.

    Returns:
        0 if the field of the model's output is known; 1 if it is not; 2 if nothing could be said, with the reason on
        standard error.
    """
    try:
        import torch
    except ImportError:
        return _unusable("it needs torch: pip install 'miniconv[torch]'")
    from miniconv.audit.loading import load_model
    from miniconv.receptive_field import receptive_field

    try:
        if not re.fullmatch(r"\d+(x\d+)+", arguments.input):
            raise ValueError(f"an input is such as 3x224x224, but got {arguments.input!r}")
        size = tuple(map(int, arguments.input.split("x")))
        torch.manual_seed(0)
        fields = receptive_field(load_model(arguments.model), size)
        outs = [out for out in (arguments.svg, arguments.png) if out is not None]
        if outs:
            at = None if arguments.at is None else tuple(map(int, arguments.at.split(",")))
            picture = None if arguments.picture is None else _picture(arguments.picture, size)
            drawing = fields.draw(picture, layers=arguments.layer or (), at=at, language=arguments.lang)
            for out in outs:
                drawing.save(out)
    except (ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        return _unusable(str(error))
    print(fields.to_json() if arguments.json else fields)
    return 0 if fields.output.fields is not None else 1


def _unusable(reason: str) -> int:
    print(f"miniconv receptive-field: {reason}", file=sys.stderr)
    return 2


def _picture(path: Path, size: tuple[int, ...]) -> Any:
    """The numbers of a picture; a file of Pillow's is resized to the input's size."""
    import numpy as np

    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"{path} needs Pillow: pip install 'miniconv[draw]'; a .npy file does not") from error
    if len(size) != 3:
        raise ValueError(f"{path} is a picture of two axes, but the input is {'x'.join(map(str, size))}")
    with Image.open(path) as image:
        colours = np.asarray(image.convert("RGB").resize((size[2], size[1])))
    return colours.transpose(2, 0, 1)
