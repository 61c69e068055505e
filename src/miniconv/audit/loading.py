"""A model and its input as a command line names them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from miniconv.audit.implementations import imported

__all__ = ["drawn", "load_inputs", "load_model"]


def load_model(text: str) -> torch.nn.Module:
    """The model that ``file.py:name`` or ``package.module:name`` stands for.

    Args:
        text: the name is that of a module, or of a function or class which is called without arguments and returns one.

    Raises:
        ValueError: it does not import, does not exist, raises, or is no ``torch.nn.Module``; the text says which.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"a model is file.py:factory or package.module:factory, but got {text!r}")
    found = _from_file(Path(place)) if place.endswith(".py") else imported(place)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{place} has no {name}")
        found = getattr(found, part)
    if isinstance(found, torch.nn.Module):
        return found
    if not callable(found):
        raise ValueError(f"{text} is neither a torch.nn.Module nor a factory of one, but {type(found).__name__}")
    try:
        model = found()
    except (Exception, SystemExit) as error:  # whatever a factory does
        raise ValueError(f"{text}() raised {type(error).__name__}: {error}") from error
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"{text}() returned {type(model).__name__}, and no torch.nn.Module")
    return model


def _from_file(path: Path) -> Any:
    """The file as a module, which finds what lies beside it."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a file does when it is imported
        if before is None:
            del sys.modules[path.stem]
        else:
            sys.modules[path.stem] = before
        raise ValueError(f"{path} does not import: {type(error).__name__}: {error}") from error
    return module


def load_inputs(path: Path) -> Any:
    """The inputs in a file: a tensor, a tuple of tensors, or tensors by the names of the model's arguments.

    Args:
        path: ``.npy``, ``.npz`` or ``.pt``; nothing in it is executed (no pickled objects).

    Raises:
        ValueError: it cannot be read, or holds something else; the text says why.
    """
    try:
        if path.suffix == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False))
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                named = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
            unnamed = all(re.fullmatch(r"arr_\d+", name) for name in named)
            return tuple(named.values()) if unnamed else named
        if path.suffix in (".pt", ".pth"):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
            tensors = list(loaded.values()) if isinstance(loaded, dict) else loaded
            tensors = [tensors] if isinstance(tensors, torch.Tensor) else tensors
            if isinstance(tensors, (list, tuple)) and all(isinstance(x, torch.Tensor) for x in tensors):
                return loaded
            raise TypeError(f"it holds {type(loaded).__name__}, and no tensors")
    except Exception as error:  # what NumPy and torch raise on files that are not theirs is anything
        text = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {text}") from error
    raise ValueError(f"an input is a .npy, .npz or .pt file, but got {path}")


def drawn(shapes: Sequence[str], seed: int) -> tuple[torch.Tensor, ...]:
    """Standard normal numbers of each shape.

    Args:
        shapes: such as ``1x3x224x224``.
        seed: which numbers.

    Raises:
        ValueError: a shape is none.
    """
    generator = torch.Generator().manual_seed(seed)
    wrong = [shape for shape in shapes if not re.fullmatch(r"\d+(x\d+)*", shape)]
    if wrong:
        raise ValueError(f"a shape is such as 1x3x224x224, but got {wrong[0]!r}")
    return tuple(torch.randn(tuple(map(int, shape.split("x"))), generator=generator) for shape in shapes)
