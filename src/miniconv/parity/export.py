"""``miniconv parity export``: cases and what they must give, as files that need neither torch nor miniconv to be read.

``index.json`` lists the cases, and each case that has a result has one ``.npz`` file: docs/reference/vectors.md
describes both field by field. The numbers are those that ``miniconv parity`` judges by: the operands as the case's
dtype holds them, the oracle's results, and the error that a right result may have.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miniconv.parity import document, suites
from miniconv.parity.bounds import allowed_error
from miniconv.parity.cases import COMPLEX_DTYPES, INTEGER_DTYPES, Case
from miniconv.parity.data import DEFAULTS, Values
from miniconv.parity.operands import Operands, make
from miniconv.parity.oracle import Exact, Oracle
from miniconv.parity.targets import GRADIENTS, TORCH, call
from miniconv.parity.verdict import must_be_equal, nearest

__all__ = ["FORMAT", "STORED", "export", "main"]

Array = npt.NDArray[Any]

FORMAT = 1
STORED = {"bfloat16": "float32", "complex32": "complex64"}
"""In which dtype the numbers of a dtype that NumPy lacks are stored; every other dtype is stored as itself."""


def main(told: argparse.Namespace) -> int:
    """Runs ``miniconv parity export`` and returns its exit status."""
    ops = told.op or ["conv2d"]
    try:
        cases = suites.choose(told.suite, ops, level=told.level, dtypes=told.dtype, words=told.words, seed=told.seed)
        if not cases:
            raise ValueError("no case of the suite is what the options ask for")
        index = export(cases, told.folder, {"suite": told.suite, "ops": ops, "seed": told.seed, "level": told.level})
    except (OSError, ValueError) as error:
        print(f"miniconv parity export: {error}", file=sys.stderr)
        return 2
    results = sum(case["file"] is not None for case in index["cases"])
    print(f"{told.folder}: {results} results, {len(index['cases']) - results} refusals, {index['left_out']} left out")
    return 0


def export(cases: Sequence[Case], folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Writes cases into a folder.

    Args:
        cases: which; those of which nothing says what they must give are left out and counted.
        folder: where; made if need be.
        about: what the index says of the whole.

    Returns:
        The index.

    Raises:
        FileExistsError: the folder is not empty.
        OSError: it cannot be written.

    Cost: about three milliseconds a case.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, case in enumerate(cases):
            row, arrays = _exported(case, f"{number:05}.npz")
            if row is not None:
                rows.append(row)
            if arrays:
                np.savez_compressed(folder / f"{number:05}.npz", allow_pickle=False, **arrays)
    index = {
        "format": FORMAT, **about, "versions": document.versions(), "left_out": len(cases) - len(rows), "cases": rows,
    }  # fmt: skip
    document.dump(index, folder / "index.json")
    return index


def _exported(case: Case, file: str) -> tuple[dict[str, Any] | None, dict[str, Array]]:
    """A case's row of the index and its arrays; no row where nothing says what it must give."""
    operands = make(case)
    legal = not case.given and not case.must_be_refused
    of_torch = call(case, operands, TORCH)
    refused = of_torch.first_line if of_torch.error is not None and of_torch.failed_in == "call" else None
    if not legal and refused is None:
        return None, {}
    arrays = _arrays(case, operands) if legal else {}
    row = {
        "case": str(case), "op": case.op, "dtype": case.dtype, "padding_mode": case.padding_mode,
        "layout": case.layout, "data": case.data,
        "arguments": _arguments(case), "given": dict(case.given), "operands": _described(operands),
        "file": file if legal else None, "refusal": refused,
        "parts": sorted(name for name in arrays if name in ("output", *GRADIENTS)),
    }  # fmt: skip
    return row, arrays


def _arguments(case: Case) -> dict[str, Any]:
    """Every argument but the operands: numbers one an axis."""
    names = [name for name in DEFAULTS if name != "output_padding" or case.transposed]
    values = {name: getattr(case, name) for name in names}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _described(operands: Operands) -> dict[str, Any]:
    """Shape and dtype of every operand that is passed."""
    named = zip(("input", "weight", "bias"), operands)
    return {
        name: {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
        for name, tensor in named
        if tensor is not None
    }


def _arrays(case: Case, operands: Operands) -> dict[str, Array]:
    """The operands' numbers and everything that is known of the results."""
    values = operands.values()
    stored = np.dtype(STORED.get(case.dtype, case.dtype))
    arrays = {name: array.astype(stored) for name, array in values._asdict().items() if array is not None}
    oracle = Oracle(case, values)
    parts = ["output"]
    if case.differentiable:
        parts += GRADIENTS if case.bias else GRADIENTS[:2]
    else:
        del arrays["grad"]
    with np.errstate(all="ignore"):
        for part in parts:
            arrays.update(_results(case, part, getattr(oracle, part)(), values, stored))
    return arrays


def _results(case: Case, part: str, exact: Exact, values: Values, stored: np.dtype[Any]) -> dict[str, Array]:
    """What one array must hold: the nearest numbers; and where others are right too, exact numbers and bounds."""
    results = {part: _joined(case, nearest(case, exact)).astype(stored)}
    if must_be_equal(case, exact):
        return results
    results[f"{part}_exact"] = _joined(case, exact.high)
    if exact.low is not None:
        results[f"{part}_exact_low"] = _joined(case, exact.low)
    allowed = np.broadcast_to(allowed_error("direct", case, values, exact), exact.high.shape)
    results[f"{part}_allowed"] = _joined(case, allowed)
    return results


def _joined(case: Case, parts: Array) -> Array:
    """(parts, *shape) as one array; a complex number's parts are put side by side, for NaN and Inf are not summed."""
    if case.dtype not in COMPLEX_DTYPES:
        return parts[0] if case.dtype in INTEGER_DTYPES else np.asarray(parts[0], np.float64)
    joined = np.empty(parts.shape[1:], np.complex128)
    joined.real, joined.imag = parts
    return joined
