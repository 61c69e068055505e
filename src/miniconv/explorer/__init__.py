"""The explorer: one page of HTML that shows what a convolution does, number by number, and lets the reader change it.

The page loads nothing. It computes in JavaScript, and is the one place where miniconv computes a second time what
``miniconv.explain`` defines; the tests hold it against that, and against torch. Its parts stand beside this file:
``explorer.html`` and ``explorer.css``; ``arithmetic.js``, ``whole.js`` and ``exact.js`` (the convolution), ``rules.js``
(torch's rules), ``torch_call.js`` (the same as code), ``numbers.js`` and ``state.js`` (what is shown, and the address
that says it), ``drawing.js``, ``stage.js``, ``pointing.js``, ``readout.js``, ``sizes.js``, ``controls.js`` and
``main.js`` (the page);
``texts.json`` (every text in English and Chinese); ``photograph.json`` (48 by 48 grey pixels, with their source).
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from miniconv.explain.links import Index, checked_index, checked_mode, checked_part
from miniconv.explain.sums import operands_of
from miniconv.explain.trace import part_shape
from miniconv.language import language as checked_language
from miniconv.problem import ConvProblem

__all__ = ["DTYPES", "LIMIT", "SCRIPTS", "page"]

SCRIPTS = (
    "arithmetic.js", "whole.js", "exact.js", "rules.js", "torch_call.js", "numbers.js", "state.js", "drawing.js",
    "stage.js", "pointing.js", "readout.js", "sizes.js", "controls.js", "main.js",
)  # fmt: skip
"""The page's scripts, in the order in which they are joined."""

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8")
"""The dtypes that the page computes in."""

LIMIT = 2**20
"""How many elements a tensor of a page may have."""

_DEFAULT = "conv2d c1 o1 i6x6 k3x3 p1x1 float32"
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def page(
    problem: ConvProblem | str | None = None,
    input: Any = None,
    weight: Any = None,
    bias: Any = None,
    *,
    at: Index | None = None,
    of: str = "output",
    grad_output: Any = None,
    padding_mode: str = "zeros",
    language: str | None = None,
) -> str:
    """The explorer as one self-contained page.

    Args:
        problem: the convolution that it opens with, of one or two spatial axes, or its text; None shows an example.
        input, weight, bias: arrays or tensors of the problem's shapes. Without them small integers are drawn, those
            of ``explain``.
        at: index of the element that is pinned; negative numbers count from the end. None pins one in the middle.
        of: what is explained at first: ``"output"``, ``"input_grad"``, ``"weight_grad"`` or ``"bias_grad"``.
        grad_output: for a gradient, an array or tensor of the output's shape; default ones.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        language: ``"en"`` or ``"zh"``; None leaves it to the reader's browser. The reader can change it.

    Returns:
        HTML with its style, its script and the numbers inside. Its policy forbids the browser to load anything and to
        run any script but its own.

    Raises:
        ValueError: the page cannot show the problem: three spatial axes, complex numbers or objects, or more than
            ``LIMIT`` elements; or ``of``, ``padding_mode`` or ``language`` is unknown.
        RuntimeError: an operand is missing, or has not the problem's shape.
        IndexError: ``at`` is outside.

    Numerics:
        The page computes as ``explain`` does: in the compute dtype, in the order of the terms, rounded once. Integers
        are exact up to 2^53; past that it says so.

    >>> text = page("conv1d c1 o1 i4 k3 p1 int64", [[1, 2, 3, 4]], [[[5, 6, 7]]], at=(0, 0))
    >>> text.startswith("<!doctype html>"), "{{" in text
    (True, False)
    """
    stated = ConvProblem.parse(problem or _DEFAULT) if problem is None or isinstance(problem, str) else problem
    of, padding_mode = checked_part(of), checked_mode(padding_mode)
    _check(stated, of)
    given = {
        "problem": str(stated).replace(" channels_last", ""),
        "padding_mode": padding_mode,
        "of": of,
        "at": None if at is None else checked_index(at, part_shape(stated, of), of),
        "language": None if language is None else checked_language(language),
        "operands": None if problem is None else _operands(stated, grad_output, input, weight, bias),
        "texts": json.loads(_part("texts.json")),
        "photo": json.loads(_part("photograph.json")),
    }
    script = "".join(map(_part, SCRIPTS))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {"style": _part("explorer.css"), "script": script, "hash": digest, "given": _embedded(given)}
    return _PLACE.sub(lambda place: parts[place[1]], _part("explorer.html"))


def _check(problem: ConvProblem, of: str) -> None:
    """Refuses what the page cannot show."""
    if problem.spatial_dims > 2:
        raise ValueError(f"the explorer shows one or two spatial axes, but got {problem}")
    if problem.dtype not in DTYPES:
        raise ValueError(f"the explorer computes in {', '.join(DTYPES)}, but got {problem.dtype}")
    if of == "bias_grad" and not problem.bias:
        raise ValueError(f"of='bias_grad' needs a problem with a bias, but got {problem}")
    largest = max(map(math.prod, (problem.input_shape, problem.weight_shape, problem.output_shape)))
    if largest > LIMIT or 0 in (*problem.input_shape, *problem.output_shape):
        raise ValueError(f"the explorer shows tensors of 1 to {LIMIT} elements, but got {problem}")


def _operands(problem: ConvProblem, grad_output: Any, *given: Any) -> dict[str, Any]:
    """The operands by name, each with its shape and its elements in row-major order; ones are left out."""
    arrays = operands_of(problem, [] if all(x is None for x in given) else given, grad_output)
    return {
        name: {"shape": array.shape, "data": [_number(value) for value in array.ravel().tolist()]}
        for name, array in arrays.items()
        if name != "grad_output" or grad_output is not None
    }


def _number(value: float) -> float | str:
    """A number as JSON has it; NaN and the infinities as the words that JavaScript reads."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


@cache
def _part(name: str) -> str:
    """One of the files that the page is made of."""
    return resources.files("miniconv.explorer").joinpath(name).read_text(encoding="utf-8")


def _embedded(given: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: ``<`` begins neither an end tag nor a comment in it."""
    text = json.dumps(given, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")
