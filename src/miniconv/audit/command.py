"""``python -m miniconv audit``: from the arguments to a table, a JSON file, a page and an exit status."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

__all__ = ["ARGUMENTS", "main"]

ARGUMENTS: dict[str, dict[str, Any]] = {
    "model": {"metavar": "MODEL", "help": "file.py:factory or package.module:factory, or a model for a factory"},
    "--shape": {
        "action": "append", "metavar": "1x3x224x224",
        "help": "draw an input of this shape; again for a second input",
    },
    "--input": {"type": Path, "metavar": "FILE", "help": "read the inputs: .npy, .npz or .pt (tensors only)"},
    "--left": {
        "default": "miniconv", "metavar": "NAME",
        "help": "what is audited: torch, miniconv, an algorithm, package.module:function; behind it :channels_last, "
        ":bfloat16, :float16, :float32, :float64 (%(default)s)",
    },
    "--right": {"default": "torch", "metavar": "NAME", "help": "what it is compared with, likewise (%(default)s)"},
    "--dtype": {
        "choices": ("float16", "bfloat16", "float32", "float64"), "help": "convert the whole model to it first",
    },
    "--sample": {"type": int, "metavar": "K", "help": "sum so many elements of each layer in double-double"},
    "--training": {"action": "store_true", "help": "run the model in training mode (default: evaluation mode)"},
    "--seed": {"type": int, "default": 0, "metavar": "N", "help": "of drawn inputs and of the model (%(default)s)"},
    "--json": {"type": Path, "metavar": "FILE", "help": "write every figure"},
    "--html": {"type": Path, "metavar": "FILE", "help": "write one page that needs no network"},
}  # fmt: skip
"""What ``argparse`` is told of each argument."""


def main(arguments: argparse.Namespace) -> int:
    """Run an audit and print its table.

    Returns:
        0 if every layer of the left implementation that was judged is within its bound, and one was judged; 1 if not;
        2 if nothing could be audited, with the reason on standard error.
    """
    try:
        import torch
    except ImportError:
        return _unusable("it needs torch: pip install 'miniconv[torch]'")
    from miniconv.audit import AuditError, audit
    from miniconv.audit.implementations import find
    from miniconv.audit.loading import drawn, load_inputs, load_model

    if (arguments.input is None) == (arguments.shape is None):
        return _unusable("give the input either as --shape or as --input")
    try:
        torch.manual_seed(arguments.seed)
        left, right = find(arguments.left), find(arguments.right)
        inputs = drawn(arguments.shape, arguments.seed) if arguments.input is None else load_inputs(arguments.input)
        model = load_model(arguments.model)
        if arguments.dtype is not None:
            model = model.to(getattr(torch, arguments.dtype))
        report = audit(
            model,
            _as_the_model(model, inputs, arguments.dtype),
            left=left,
            right=right,
            sample=arguments.sample,
            training=arguments.training,
            seed=arguments.seed,
            progress=_progress if sys.stderr.isatty() else None,
        )
        for path, text in ((arguments.json, report.json), (arguments.html, report.html)):
            if path is not None:
                path.write_text(text(), encoding="utf-8")
    except (AuditError, OSError, ValueError) as error:
        return _unusable(str(error))
    print(report)
    return 0 if report.passed else 1


def _unusable(reason: str) -> int:
    print(f"miniconv audit: {reason}", file=sys.stderr)
    return 2


def _as_the_model(model: Any, inputs: Any, dtype: str | None) -> Any:
    """The inputs on the model's device, floating ones in its dtype: by default float32, where NumPy's is float64."""
    import torch
    from torch.utils import _pytree

    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    floating = like.dtype if dtype is None else getattr(torch, dtype)

    def placed(x: Any) -> Any:
        return x.to(like.device, floating) if x.is_floating_point() else x.to(like.device)

    return _pytree.tree_map_only(torch.Tensor, placed, inputs)


def _progress(done: int, total: int) -> None:
    """One line that is written over, and gone at the end."""
    text = f"convolution {done} of {total}" if done < total else ""
    print(f"\r{text:<40}", end="" if text else "\r", file=sys.stderr, flush=True)
