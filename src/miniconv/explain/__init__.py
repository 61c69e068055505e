"""One element of a convolution or of a gradient, term by term.

``explain`` returns a ``Trace``: pure data, which prints itself as a table and writes itself as JSON. Reading the
files: ``links`` (which elements meet), ``sums`` (their numbers), ``trace`` (the data), ``text`` (how it is printed).
"""

from __future__ import annotations

from typing import Any

from miniconv.explain.links import (
    PADDING_MODES,
    PARTS,
    Index,
    Link,
    checked_index,
    checked_mode,
    checked_part,
    feeds,
    links,
    part_named,
)
from miniconv.explain.trace import Term, Trace, part_shape
from miniconv.problem import ConvProblem

__all__ = ["PADDING_MODES", "PARTS", "Link", "Term", "Trace", "explain", "feeds", "links", "part_named"]


def explain(
    *operands: Any,
    at: Index,
    of: str = "output",
    grad_output: Any = None,
    padding_mode: str | None = None,
    transposed: bool = False,
    **options: Any,
) -> Trace:
    """How one element comes about: every product that it is the sum of.

    Args:
        operands: ``input, weight``, perhaps ``bias``: arrays or tensors as ``conv1d`` to ``conv_transpose3d`` take
            them. Or a ``ConvProblem``, its text, or a call's text such as ``"nn.Conv2d(3, 4, 3)(x[3, 8, 9])"``, perhaps
            followed by these; without them small integers are made up, the same every time.
        at: index of the element; negative numbers count from the end.
        of: ``"output"``, ``"input_grad"``, ``"weight_grad"`` or ``"bias_grad"``; ``"grad_input"`` and so on mean the
            same.
        grad_output: for a gradient, an array or tensor of the output's shape; default ones, the gradient of
            ``output.sum()``.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``. None takes zeros, or the mode
            of a layer that is given as text.
        transposed: whether arrays without a ``ConvProblem`` mean a transposed convolution.
        options: for arrays without a ``ConvProblem``: ``stride``, ``padding``, ``dilation``, ``groups``, and
            ``output_padding`` of a transposed convolution.

    Returns:
        A ``Trace``.

    Raises:
        TypeError, ValueError, RuntimeError, NotImplementedError: the operands or options are none that the convolution
            takes, or do not fit the problem.
        ValueError: ``of`` or ``padding_mode`` is unknown, or the border is wider than the mode can fill.
        IndexError: ``at`` is outside.

    Numerics:
        ``computed`` sums in the order of the terms, in the dtype that the problem's accumulates in, and rounds once:
        the last bits of another order may differ. ``exact`` is rational. Integers are summed without overflow and
        wrap once. Gradients of complex convolutions are torch's: the second factor is conjugated. A zero of the border
        is a factor like any other, so that it makes NaN of an infinite weight.

    Cost:
        Some microseconds a term.

    >>> problem = ConvProblem.parse("conv1d c1 o1 i4 k3 p1 bias int64")
    >>> trace = explain(problem, [[1, 2, 3, 4]], [[[5, 6, 7]]], [8], at=(0, 0))
    >>> [term.product for term in trace.terms], trace.computed
    ([0, 6, 14], 28)
    >>> trace.feeds((0, 1))
    [(0, 0), (0, 1), (0, 2)]
    """
    from miniconv.explain.sums import operands_of, traced

    of = checked_part(of)
    if operands and isinstance(operands[0], str):
        from miniconv.explain.torch_text import parse_either

        problem, mode = parse_either(operands[0])
        operands, padding_mode = (problem, *operands[1:]), padding_mode or mode
    padding_mode = padding_mode or "zeros"
    of_problem = bool(operands) and isinstance(operands[0], ConvProblem)
    given = operands[1:] if of_problem else operands
    if len(given) > 3 or len(given) == 1 or not operands:
        raise TypeError(f"explain() takes input, weight and perhaps bias, but got {len(given)} operands")
    if of_problem and (options or transposed):
        raise TypeError(f"the problem says it already: {', '.join(options) or 'transposed'}")
    problem = operands[0] if of_problem else _stated(*given, transposed=transposed, **options)
    _check_border(problem, padding_mode)
    arrays = operands_of(problem, given, grad_output)
    return traced(problem, of, checked_index(at, part_shape(problem, of), of), arrays, padding_mode)


def _stated(input: Any, weight: Any, bias: Any = None, *, transposed: bool, **options: Any) -> ConvProblem:
    """The problem that the arrays and options of a call mean."""
    import numpy as np

    from miniconv.arrays import describe, is_tensor

    present = [x if x is None or is_tensor(x) else np.asarray(x) for x in (input, weight, bias)]
    dims = len(present[1].shape) - 2
    state = ConvProblem.from_conv_transpose if transposed else ConvProblem.from_conv
    operands = [None if x is None else describe(x) for x in present]
    try:
        return state(*operands, **options, dims=dims)  # type: ignore[arg-type]  # input and weight are no None
    except (TypeError, ValueError, RuntimeError) as error:
        from miniconv.advice import of_call, teach

        if dims not in (1, 2, 3):
            raise
        given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **({"output_padding": 0} if transposed else {})}
        op = f"conv{'_transpose' if transposed else ''}{dims}d"
        teach(error, lambda: of_call(op, [x for x in operands if x is not None], {**given, **options}))
        raise


def _check_border(problem: ConvProblem, padding_mode: str) -> None:
    """Refuses a mode that is unknown, or a border that the mode cannot fill."""
    checked_mode(padding_mode)
    if padding_mode != "zeros" and problem.transposed:
        raise ValueError(f"a transposed convolution has no border to fill, but got padding_mode={padding_mode!r}")
    beyond = {"reflect": -1, "circular": 0}.get(padding_mode)
    for size, pair in zip(problem.input_size, problem.padding):
        if beyond is not None and max(pair) > size + beyond:
            raise ValueError(f"{padding_mode} fills at most {size + beyond} cells on an axis of {size}, but got {pair}")
