"""The numbers of a case, drawn with NumPy alone: exact integers, random numbers, and specials.

Exactness before tolerance. Small integers whose sums of products stay below 2^24 are summed exactly by float32
arithmetic in any order, so two right implementations give equal results and no tolerance is needed.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from miniconv.parity.cases import COMPLEX_DTYPES, INTEGER_DTYPES, Case

__all__ = ["FORMS", "SPECIALS", "Values", "arguments", "draw", "literal"]

Array = npt.NDArray[Any]

WEIGHT_LIMIT = 3
_SIGNIFICANT_BITS: Mapping[str, int] = {
    "float16": 11, "bfloat16": 8, "float32": 24, "float64": 53, "complex32": 11, "complex64": 24, "complex128": 53,
}  # fmt: skip
_LARGEST_SUM: Mapping[str, float] = {"float16": 60000.0, "complex32": 60000.0}
EXACT_SUM = 2.0**24

DEFAULTS: Mapping[str, int] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "output_padding": 0}
FORMS: Mapping[str, Callable[[], Any]] = {
    "int8(2)": lambda: np.int8(2),
    "int64(1)": lambda: np.int64(1),
    "array(2)": lambda: np.array(2),
    "array([2,1])": lambda: np.array([2, 1]),
    "bool_(True)": lambda: np.bool_(True),
    "float64(1)": lambda: np.float64(1),
    "range(1,3)": lambda: range(1, 3),
}
"""Arguments that no Python literal can write, by the text that a case gives them."""

SPECIALS = ("nan", "infinite_input", "infinite_weight", "signed_zeros", "subnormals")
"""What ``specials`` puts among random numbers; the case's seed chooses, in this order, again and again."""


class Values(NamedTuple):
    """The numbers of one call; ``grad`` is what the gradients are taken along. Shapes are the case's."""

    input: Array
    weight: Array
    bias: Array | None
    grad: Array


def draw(case: Case) -> Values:
    """The numbers of ``case``, the same on every machine.

    ``integers`` are never zero and as large as exactness allows, so that a lost low bit of an operand shows; integer
    dtypes draw from their whole range, so that sums wrap. ``random`` is normal. ``specials`` is ``random`` with NaN,
    Inf, signed zeros or subnormal numbers put in.

    Args:
        case: a case; an illegal one gets a ``grad`` of no elements.

    Returns:
        Arrays of int64, float64 or complex128 (uint8 for uint8), not yet rounded to the case's dtype.
    """
    rng = np.random.default_rng(case.seed)
    shapes = [case.input_shape, case.weight_shape, (case.out_channels,), _grad_shape(case)]
    if case.dtype in INTEGER_DTYPES:
        info = np.iinfo(case.dtype)
        drawn = [rng.integers(info.min, info.max, shape, np.int64, endpoint=True) for shape in shapes]
    elif case.data == "integers":
        drawn = _exact(case, shapes, rng)
    else:
        drawn = [_normal(case, shape, rng) for shape in shapes]
        if case.data == "specials":
            _put_specials(case, drawn, rng)
    return Values(drawn[0], drawn[1], drawn[2] if case.bias else None, drawn[3])


def _grad_shape(case: Case) -> tuple[int, ...]:
    """The output's shape, or nothing where the case is illegal."""
    return case.output_shape if min(case.output_size) > 0 else (0,)


def _exact(case: Case, shapes: list[tuple[int, ...]], rng: np.random.Generator) -> list[Array]:
    """Integers whose sums, in the result and in every gradient, are below the exact limit of the dtype."""
    taps = math.prod(case.kernel_size)
    positions = max(1, math.prod(shapes[3]) // max(1, case.out_channels))
    longest = max(case.in_channels // case.groups * taps, case.out_channels // case.groups * taps, positions) + 1
    longest *= 2 if case.dtype in COMPLEX_DTYPES else 1
    limit = _LARGEST_SUM.get(case.dtype, EXACT_SUM)
    largest = min(limit / (WEIGHT_LIMIT * longest), 2.0 ** _SIGNIFICANT_BITS[case.dtype] - 1)
    limits = [max(1, int(largest)), WEIGHT_LIMIT, WEIGHT_LIMIT, WEIGHT_LIMIT]
    drawn = [_nonzero(shape, bound, rng) for shape, bound in zip(shapes, limits)]
    if case.dtype in COMPLEX_DTYPES:
        drawn = [part + 1j * _nonzero(part.shape, bound, rng) for part, bound in zip(drawn, limits)]
    return drawn


def _nonzero(shape: tuple[int, ...], bound: int, rng: np.random.Generator) -> Array:
    """Integers from -bound to bound without 0, as float64."""
    drawn = rng.integers(-bound, bound, shape)
    return (drawn + (drawn >= 0)).astype(np.float64)


def _normal(case: Case, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Standard normal numbers, complex where the dtype is."""
    drawn: Array = rng.standard_normal(shape)
    return drawn + 1j * rng.standard_normal(shape) if case.dtype in COMPLEX_DTYPES else drawn


def _put_specials(case: Case, drawn: list[Array], rng: np.random.Generator) -> None:
    """Special numbers in a few places of the input or the weight, in place."""
    kind = SPECIALS[case.seed % len(SPECIALS)]
    target = drawn[1] if kind == "infinite_weight" else drawn[0]
    if kind == "signed_zeros":
        for array in drawn[:2]:
            array[rng.random(array.shape) < 0.3] = -0.0
    elif kind == "subnormals":
        for array, scale in zip(drawn[:2], (2.0**-10, 1.0)):
            array *= scale * _smallest_normal(case.dtype)
        drawn[1] /= _smallest_normal(case.dtype)
    elif target.size:
        values = {"nan": (np.nan,), "infinite_input": (np.inf, -np.inf), "infinite_weight": (np.inf,)}[kind]
        places = rng.choice(target.size, size=min(len(values), target.size), replace=False)
        target.reshape(-1)[places] = values[: len(places)]


def _smallest_normal(dtype: str) -> float:
    """The smallest positive number of full precision."""
    half, single, double = 2.0**-14, 2.0**-126, 2.0**-1022
    return {"float16": half, "complex32": half, "float64": double, "complex128": double}.get(dtype, single)


def arguments(case: Case) -> dict[str, Any]:
    """``stride``, ``padding``, ``dilation`` and so on as the call passes them, without those at their default.

    >>> arguments(Case.parse("conv2d c4 o6 i7x9 k3x2 s2x3 p1x1 g2"))
    {'stride': (2, 3), 'padding': 1, 'groups': 2}
    """
    passed: dict[str, Any] = {}
    for name, default in DEFAULTS.items():
        value = getattr(case, name)
        value = value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
        if value not in (default, ()):
            passed[name] = value
    passed.update((name, literal(text)) for name, text in case.given if name in DEFAULTS)
    return passed


def literal(text: str) -> Any:
    """The argument that a case's ``name=text`` passes.

    Raises:
        ValueError: ``text`` is neither a name in ``FORMS`` nor a Python literal.
    """
    if text in FORMS:
        return FORMS[text]()
    try:
        return ast.literal_eval(text)
    except SyntaxError as error:
        raise ValueError(f"{text!r} is neither a Python literal nor one of {', '.join(FORMS)}") from error
