"""Which planes a drawing has: one element and all that it is the sum of, or one input element and all it feeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from miniconv.draw.numbers import Numbers
from miniconv.draw.planes import Plane, fit, named
from miniconv.draw.texts import TEXTS, TIMES
from miniconv.dtypes import DTYPES
from miniconv.explain import Term, Trace, feeds
from miniconv.explain.text import formula, shown
from miniconv.problem import ConvProblem

__all__ = ["Column", "Figure", "element", "fed"]

Index = tuple[int, ...]

SUMMANDS = 8
"""How many numbers the sum under a drawing has at most."""

TOTAL = 10
"""How long each of them may be."""


class Column(NamedTuple):
    """Planes that belong together, from the first factor to the products.

    Attributes:
        planes: one below the other (of one spatial axis: side by side).
        signs: what is written before each: nothing, a number and a sign.
        total: the sum of the products; empty where nothing is summed.
        heading: what is written before the total.
    """

    planes: tuple[Plane, ...]
    signs: tuple[str, ...]
    total: str = ""
    heading: str = ""


class Figure(NamedTuple):
    """A drawing before it has places.

    Attributes:
        sources: planes before the columns.
        columns: what is multiplied.
        results: planes after them.
        lines: what is written below, the first line large.
    """

    sources: tuple[Plane, ...]
    columns: tuple[Column, ...]
    results: tuple[Plane, ...]
    lines: tuple[str, ...] = ()

    @property
    def planes(self) -> list[Plane]:
        """Every plane."""
        return [*self.sources, *(plane for column in self.columns for plane in column.planes), *self.results]


def element(numbers: Numbers, at: Index, language: str) -> Figure:
    """One element of the output or of a gradient: the factors of its terms, channel by channel."""
    trace, problem, of = numbers.trace(at), numbers.problem, numbers.of
    dims = problem.spatial_dims
    names = sorted(trace.factors, key=["input", "weight", "grad_output"].index)
    names = ["grad_output", "weight"] if of == "input_grad" else names
    columns: list[Column] = []
    sums: list[str] = []
    for leads in _leads(problem, of, at):
        terms = [term for term in trace.terms if _index(term, names[0])[:-dims] == leads[0]]
        column = _column(numbers, names[: len(leads)], leads, terms, language, whole=len(leads) == len(names))
        columns.append(column)
        sums += [column.total] if column.total else []
    results = tuple(numbers.result(lead, at) for lead in _result_leads(problem, of, at))
    figure = Figure((), tuple(columns), results)
    return figure._replace(lines=(_equation(trace, sums, language), *_explained(figure, numbers, trace, language)))


def fed(numbers: Numbers, source: Index, language: str, *, so_far: bool = False) -> Figure:
    """One input element times the kernels, laid into the outputs that it reaches.

    ``so_far`` shows the outputs as they are when all inputs up to this one have been added, not as they become.
    """
    problem, texts = numbers.problem, TEXTS[language]
    *image, channel = source[: -problem.spatial_dims]
    reached = feeds(problem, source, numbers.padding_mode)
    value = numbers.value("input", source)
    group = channel // (problem.in_channels // problem.groups)
    out_group = problem.out_channels // problem.groups
    sources = tuple(
        numbers.operand("input", (*image, c), [source] if c == channel else [], dim=c != channel)
        for c in range(problem.in_channels)
    )
    columns = []
    for oc in range(group * out_group, (group + 1) * out_group):
        lead = (*image, oc)
        traces = [numbers.trace(output, "output") for output in reached if output[: len(lead)] == lead]
        terms = [term for trace in traces for term in trace.terms if term.input == source]
        kernel = numbers.operand("weight", _kernel(problem, channel, oc), [_index(term, "weight") for term in terms])
        laid = numbers.laid(lead, terms, texts["products"])
        result = numbers.result(
            lead, marked=[term.output for term in terms], of="output", cut=True, until=source if so_far else None
        )
        columns.append(Column((kernel, laid, result), (f"{value} {TIMES}", "=", texts["added to"])))
    first = texts["feeds"].format(name=named("input", source), value=value, count=len(reached))
    trace = numbers.trace((*image, 0, *(0,) * problem.spatial_dims), "output")
    figure = Figure(sources, tuple(columns), ())
    return figure._replace(lines=(first, *_explained(figure, numbers, trace, language)))


def _leads(problem: ConvProblem, of: str, at: Index) -> list[tuple[Index, ...]]:
    """For each column the channel of every factor; only the first factor's where the element does not see it."""
    in_group, out_group = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    *image, channel = at[: -problem.spatial_dims] if of != "bias_grad" else at
    if of == "output":
        seen, kernels = channel // out_group, range(problem.in_channels)
        return [((*image, ic), *([_kernel(problem, ic, channel)] if ic // in_group == seen else [])) for ic in kernels]
    if of == "input_grad":
        seen, kernels = channel // in_group, range(problem.out_channels)
        return [((*image, oc), *([_kernel(problem, channel, oc)] if oc // out_group == seen else [])) for oc in kernels]
    images: list[tuple[int, ...]] = [()] if problem.batch is None else [(n,) for n in range(problem.batch)]
    if of == "bias_grad":
        return [((*n, channel),) for n in images]
    major = image[0]
    ic = major if problem.transposed else major // out_group * in_group + channel
    oc = major // in_group * out_group + channel if problem.transposed else major
    return [((*n, ic), (*n, oc)) for n in images]


def _kernel(problem: ConvProblem, ic: int, oc: int) -> Index:
    """The first two indices of the weights between two channels."""
    if problem.transposed:
        return ic, oc % (problem.out_channels // problem.groups)
    return oc, ic % (problem.in_channels // problem.groups)


def _result_leads(problem: ConvProblem, of: str, at: Index) -> list[Index]:
    """The channels of the part that are shown: those of the element's image, of its kernel."""
    channels = {
        "output": problem.out_channels,
        "input_grad": problem.in_channels,
        "weight_grad": problem.weight_shape[1],
    }
    return [(*at[: -problem.spatial_dims - 1], c) for c in range(channels[of])] if of in channels else [()]


def _column(
    numbers: Numbers, names: Sequence[str], leads: Sequence[Index], terms: list[Term], language: str, *, whole: bool
) -> Column:
    """One channel of each factor, and their products; a channel that is not seen is alone, and pale."""
    planes = [
        numbers.operand(name, lead, [_index(term, name) for term in terms], dim=not whole)
        for name, lead in zip(names, leads)
    ]
    if not whole:
        return Column(tuple(planes), ("",))
    if len(planes) > 1:
        planes.append(numbers.products(terms, TEXTS[language]["products"], planes[0].group))
    total = fit(numbers.partial(terms), numbers.problem.dtype, TOTAL)[0]
    return Column(tuple(planes), ("", TIMES, "=")[: len(planes)], total, TEXTS[language]["sum"])


def _equation(trace: Trace, sums: list[str], language: str) -> str:
    """The element as the sum of its columns' sums and the bias."""
    dtype = trace.problem.dtype
    if len(sums) > SUMMANDS:
        sums = [*sums[: SUMMANDS // 2], "...", *sums[-SUMMANDS // 2 :]]
    bias = [] if trace.bias is None else [fit(trace.bias, dtype, TOTAL)[0]]
    total = shown(trace.computed, dtype)
    parts = [*sums, *bias] if len(sums) + len(bias) > 1 else [total]
    parts = [f"({text})" if place and text.startswith("-") else text for place, text in enumerate(parts)]
    parts[-1:] = [f"{parts[-1]} ({TEXTS[language]['bias']})"] if bias else parts[-1:]
    text = f"{named(trace.of, trace.at)} = {' + '.join(parts)}"
    text += "" if parts == [total] else f" = {total}"
    wraps = DTYPES[dtype].kind == "int" and trace.exact != (trace.computed,)
    return f"{text} ({TEXTS[language]['wraps'].format(dtype=dtype)})" if wraps else text


def _explained(figure: Figure, numbers: Numbers, trace: Trace, language: str) -> list[str]:
    """The problem, how the indices meet, and what the marks of this drawing mean."""
    texts, transposed = TEXTS[language], numbers.problem.transposed
    relation = [line.removeprefix("where ") for line in formula(trace)[1:]]
    cells = [cell for plane in figure.planes for cell in plane.cells.values()]
    marks = {
        "cut" if transposed else "border": any(cell.border for cell in cells),
        "lands" if transposed else "stands": any(cell.stands for cell in cells),
        "unreached": any(cell.unreached for cell in cells),
        "greys": numbers.picture,
    }
    lines = [texts[name].format(mode=texts[numbers.padding_mode]) for name, there in marks.items() if there]
    return [str(numbers.problem), *relation, *lines]


def _index(term: Term, factor: str) -> Index:
    """The index of a factor; of an input, where the tap falls."""
    return term.position if factor == "input" else term.index_of(factor) or ()
