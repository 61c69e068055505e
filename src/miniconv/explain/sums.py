"""The numbers of a trace: the factors of each term, their products, and the sums, computed and exact."""

from __future__ import annotations

import cmath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from miniconv.arrays import is_tensor
from miniconv.dtypes import DTYPES
from miniconv.explain.links import PARTS, Index, Link, links
from miniconv.explain.trace import Term, Trace
from miniconv.problem import ConvProblem
from miniconv.reference import rounded

__all__ = ["numbers", "operands_of", "traced"]

Array = npt.NDArray[Any]


def operands_of(problem: ConvProblem, given: Sequence[Any], grad_output: Any) -> dict[str, Array]:
    """The operands by name as NumPy arrays that hold numbers of the problem's dtype.

    Raises:
        RuntimeError: an operand is missing, or has not the problem's shape.
    """
    shapes = {
        "input": problem.input_shape,
        "weight": problem.weight_shape,
        **({"bias": (problem.out_channels,)} if problem.bias else {}),
        "grad_output": problem.output_shape,
    }
    named = dict(zip(("input", "weight", "bias"), given)) or _drawn(problem, shapes)
    arrays = {name: _held(x, problem.dtype) for name, x in named.items() if x is not None}
    arrays["grad_output"] = _held(
        np.ones(shapes["grad_output"], int) if grad_output is None else grad_output, problem.dtype
    )
    if shapes != (got := {name: array.shape for name, array in arrays.items()}):
        raise RuntimeError(f"{problem} has operands of shape {shapes}, but got {got}")
    return arrays


def _drawn(problem: ConvProblem, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Small integers, none of them zero, for a problem that comes without numbers: the same every time."""
    rng = np.random.default_rng(0)
    drawn = {name: rng.integers(-9, 9, shape) for name, shape in shapes.items() if name != "grad_output"}
    return {name: array + (array >= 0) for name, array in drawn.items()}


def _held(x: Any, dtype: str) -> Array:
    """``x`` as an array that holds numbers of ``dtype``: bfloat16 as float32, complex32 as complex64."""
    array, row = numbers(x), DTYPES[dtype]
    return array.astype(object) if row.kind == "object" else rounded(array.astype(row.compute), dtype)


def numbers(x: Any) -> Array:
    """An array or tensor as a NumPy array that holds the same numbers; bfloat16 as float32, complex32 as complex64."""
    if is_tensor(x):
        x = x.detach().cpu().resolve_conj().resolve_neg()
        x = {"torch.bfloat16": x.float, "torch.complex32": x.cfloat}.get(str(x.dtype), lambda: x)().numpy()
    return np.asarray(x)


@np.errstate(all="ignore")
def traced(problem: ConvProblem, of: str, at: Index, operands: Mapping[str, Array], padding_mode: str) -> Trace:
    """The trace of one element; ``operands`` are NumPy arrays by name, ``at`` lies inside the part."""
    row = DTYPES[problem.dtype]
    exactly = row.kind in ("int", "object")  # Python's own numbers, which neither overflow nor round
    compute: Any = (lambda x: x) if exactly else np.dtype(row.compute).type
    met = _bias_links(problem, at) if of == "bias_grad" else links(problem, of, at, padding_mode)
    terms, running = [], compute(0)
    for link in met:
        values = tuple(_value(link, factor, of, operands) for factor in PARTS[of])
        product = compute(values[0])
        for value in values[1:]:
            product = product * compute(value)
        running = running + product
        terms.append(_term(link, of, values, _python(product), _python(running)))
    bias = _python(operands["bias"][at[-1 - problem.spatial_dims]]) if of == "output" and problem.bias else None
    total = running if bias is None else running + compute(bias)
    computed = _rounded(problem.dtype, total)
    return Trace(problem, of, at, tuple(terms), bias, computed, _exact(terms, bias, row.kind), padding_mode)


def _term(link: Link, of: str, values: tuple[Any, ...], product: Any, running: Any) -> Term:
    """One term; that of a bias gradient has neither input nor weight."""
    if of == "bias_grad":
        return Term(None, None, link.output, (), "inside", values, product, running)
    return Term(link.input, link.weight, link.output, link.position, link.place, values, product, running)


def _bias_links(problem: ConvProblem, at: Index) -> Iterator[Link]:
    """The outputs that hold one bias: every position of its channel, image by image."""
    for n in range(problem.batched_input_shape[0]):
        for o in np.ndindex(problem.output_size):
            yield Link(None, (), (*(() if problem.batch is None else (n,)), *at, *o), (), "inside")


def _value(link: Link, factor: str, of: str, operands: Mapping[str, Array]) -> Any:
    """One factor of a term as a Python number; in a complex gradient the second factor is conjugated, as in torch."""
    index = {"input": link.input, "weight": link.weight, "grad_output": link.output}[factor]
    array = operands[factor]
    value = _python(array.dtype.type(0) if index is None else array[index])
    conjugated = of in ("input_grad", "weight_grad") and factor != "grad_output" and isinstance(value, complex)
    return value.conjugate() if conjugated else value


def _rounded(dtype: str, total: Any) -> Any:
    """The finished sum in the problem's dtype, as a Python number."""
    row = DTYPES[dtype]
    if row.kind == "object":
        return total
    if row.kind == "int":  # modulo 2^64 first: the rest of the wrap is a cast
        return rounded(np.array([total % 2**64], np.uint64), dtype)[0].item()
    return rounded(np.array([total], row.compute), dtype)[0].item()


def _python(number: Any) -> Any:
    """A NumPy scalar as a Python number."""
    return number.item() if isinstance(number, np.generic) else number


def _exact(terms: Iterable[Term], bias: Any, kind: str) -> tuple[Fraction, ...]:
    """The sum in rational numbers, or nothing where there is none."""
    real, imaginary = Fraction(0), Fraction(0)
    for values in [*(term.values for term in terms), *(() if bias is None else ((bias,),))]:
        if not all(_is_rational(value) for value in values):
            return ()
        part: tuple[Fraction, Fraction] = (Fraction(1), Fraction(0))
        for value in values:
            re, im = (
                (Fraction(value.real), Fraction(value.imag)) if kind == "complex" else (Fraction(value), Fraction(0))
            )
            part = part[0] * re - part[1] * im, part[0] * im + part[1] * re
        real, imaginary = real + part[0], imaginary + part[1]
    return (real, imaginary) if kind == "complex" else (real,)


def _is_rational(value: Any) -> bool:
    """Whether a factor is a finite number that a ``Fraction`` can hold."""
    return isinstance(value, (int, Fraction)) or (isinstance(value, (float, complex)) and cmath.isfinite(value))
