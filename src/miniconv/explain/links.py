"""Which elements meet: the triples (input, weight, output) that a convolution multiplies, without their numbers.

A convolution, its gradients and its transposed form are one list of triples. With ``output`` weighed by a gradient g,

    L = sum over the triples of g[output] * input[input] * weight[weight],

so one element of the output is the sum over the triples that contain it, and so is one of a gradient. On every spatial
axis a triple is a solution of

    wide = narrow * stride - padding_low + tap * dilation

where the narrow side is the output and the wide one the input, or the reverse if the convolution is transposed. Fixing
one of the three leaves a short list for each axis; the product of the axes is the list for the element.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from miniconv.problem import ConvProblem

__all__ = [
    "PADDING_MODES",
    "PARTS",
    "Index",
    "Link",
    "checked_index",
    "checked_mode",
    "checked_part",
    "feeds",
    "links",
    "part_named",
]

Index = tuple[int, ...]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
"""What lies past the border of an ordinary convolution's input."""

PARTS = {
    "output": ("input", "weight"),
    "input_grad": ("grad_output", "weight"),
    "weight_grad": ("grad_output", "input"),
    "bias_grad": ("grad_output",),
}
"""What can be explained, and the tensors whose elements are the factors of its terms."""


def part_named(name: str) -> str:
    """The key of ``PARTS`` that is meant; torch's kernels have the words of a gradient the other way round.

    >>> part_named("grad_input")
    'input_grad'
    """
    before, _, after = name.partition("_")
    return f"{after}_{before}" if before == "grad" else name


def checked_part(name: str) -> str:
    """As ``part_named``.

    Raises:
        ValueError: there is no such part.
    """
    part = part_named(name)
    if part not in PARTS:
        raise ValueError(f"of is one of {', '.join(PARTS)}, but got {name!r}")
    return part


def checked_mode(padding_mode: str) -> str:
    """The padding mode itself.

    Raises:
        ValueError: there is none of that name.
    """
    if padding_mode not in PADDING_MODES:
        raise ValueError(f"padding_mode is one of {', '.join(PADDING_MODES)}, but got {padding_mode!r}")
    return padding_mode


class Link(NamedTuple):
    """One triple.

    Attributes:
        input: index of the input element, or None where the tap falls on a zero of the border.
        weight: index of the weight element.
        output: index of the output element.
        position: where the tap falls, as an index into the input; outside it where ``place`` is not ``"inside"``.
        place: ``"inside"``, or the padding mode that says what lies at ``position``.
    """

    input: Index | None
    weight: Index
    output: Index
    position: Index
    place: str


class _Axis(NamedTuple):
    """One spatial axis of a problem."""

    wide: int
    narrow: int
    stride: int
    low: int
    high: int
    kernel: int
    dilation: int

    def of_narrow(self, q: int) -> list[tuple[int, int, int]]:
        """Every (tap, narrow, wide) of one narrow position."""
        return [(k, q, q * self.stride - self.low + k * self.dilation) for k in range(self.kernel)]

    def of_wide(self, w: int) -> list[tuple[int, int, int]]:
        """Every (tap, narrow, wide) of one wide position."""
        steps = [(k, w + self.low - k * self.dilation) for k in range(self.kernel)]
        return [
            (k, s // self.stride, w) for k, s in steps if s % self.stride == 0 and 0 <= s < self.narrow * self.stride
        ]

    def of_tap(self, k: int) -> list[tuple[int, int, int]]:
        """Every (tap, narrow, wide) of one tap."""
        return [(k, q, q * self.stride - self.low + k * self.dilation) for q in range(self.narrow)]

    def cell(self, w: int, mode: str) -> int | None:
        """The input cell that a padded position holds; None for a zero."""
        if 0 <= w < self.wide:
            return w
        if mode == "reflect":
            return -w if w < 0 else 2 * (self.wide - 1) - w
        if mode == "replicate":
            return 0 if w < 0 else self.wide - 1
        return w % self.wide if mode == "circular" else None

    def copies(self, i: int, mode: str) -> list[int]:
        """The padded positions that hold input cell i: its own, and its copies in the border."""
        border = [*range(-self.low, 0), *range(self.wide, self.wide + self.high)] if mode != "zeros" else []
        return [i, *(w for w in border if self.cell(w, mode) == i)]


def links(problem: ConvProblem, of: str, at: Index, padding_mode: str = "zeros") -> Iterator[Link]:
    """Every triple that one element is in, in the order in which it is summed.

    An output sums over its group's input channels, then over the taps; an input gradient over its group's output
    channels, then over the taps; a weight gradient over the images, then over the positions of the narrow side. Zeros
    of the border are listed; a tap that meets nothing (a transposed output between the input's cells, an input that no
    window stops at) is not.

    Args:
        problem: the convolution.
        of: ``"output"``, ``"input_grad"`` or ``"weight_grad"``.
        at: the element's index, as ``checked_index`` returns it.
        padding_mode: one of ``PADDING_MODES``.

    >>> problem = ConvProblem.parse("conv1d c1 o1 i4 k3 s2 p1 int64")
    >>> [(link.position, link.place, link.weight) for link in links(problem, "output", (0, 0))]
    [((0, -1), 'zeros', (0, 0, 0)), ((0, 0), 'inside', (0, 0, 1)), ((0, 1), 'inside', (0, 0, 2))]
    """
    batched = problem.batch is not None or of == "weight_grad"
    index = at if batched else (0, *at)
    first_axis = len(index) - problem.spatial_dims
    found = [
        _solutions(problem, axis, of, place, padding_mode) for axis, place in zip(_axes(problem), index[first_axis:])
    ]
    for n, ic, oc in _channels(problem, of, index[:first_axis]):
        image = () if problem.batch is None else (n,)
        second = oc % (problem.out_channels // problem.groups) if problem.transposed else 0
        kernel = (ic, second) if problem.transposed else (oc, ic % (problem.in_channels // problem.groups))
        for choice in product(*found):
            taps, outputs, positions, cells = zip(*choice)
            inside = cells == positions
            yield Link(
                None if None in cells else (*image, ic, *cells),
                (*kernel, *taps),
                (*image, oc, *outputs),
                (*image, ic, *positions),
                "inside" if inside else padding_mode,
            )


def feeds(problem: ConvProblem, input_index: Index, padding_mode: str = "zeros") -> list[Index]:
    """The outputs that one input element reaches, each once, in row-major order.

    Args:
        problem: the convolution.
        input_index: an index into an array of ``problem.input_shape``.
        padding_mode: one of ``PADDING_MODES``.

    Raises:
        IndexError: there is no such element.

    >>> feeds(ConvProblem.parse("conv1d c1 o2 i5 k3 s2 int64"), (0, 2))
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    at = checked_index(input_index, problem.input_shape, "input")
    return sorted({link.output for link in links(problem, "input_grad", at, padding_mode)})


def checked_index(index: Index, shape: tuple[int, ...], name: str) -> Index:
    """``index`` with negative numbers counted from the end.

    Raises:
        IndexError: it has another number of axes than ``shape``, or lies outside it.

    >>> checked_index((1, -1), (2, 3), "input")
    (1, 2)
    """
    if len(index) != len(shape):
        raise IndexError(f"{name} has shape {shape}, so an index has length {len(shape)}, but got {tuple(index)}")
    at = tuple(int(i) + size if i < 0 else int(i) for i, size in zip(index, shape))
    if not all(0 <= i < size for i, size in zip(at, shape)):
        raise IndexError(f"{name} has shape {shape}, and no element {tuple(index)}")
    return at


def _axes(problem: ConvProblem) -> list[_Axis]:
    """The spatial axes, the wide side first."""
    sides = (
        (problem.output_size, problem.input_size) if problem.transposed else (problem.input_size, problem.output_size)
    )
    return [
        _Axis(wide, narrow, stride, low, high, kernel, dilation)
        for wide, narrow, stride, (low, high), kernel, dilation in zip(
            *sides, problem.stride, problem.padding, problem.kernel_size, problem.dilation
        )
    ]


def _solutions(
    problem: ConvProblem, axis: _Axis, of: str, place: int, mode: str
) -> list[tuple[int, int, int, int | None]]:
    """On one axis, every (tap, output, position in the input, input cell) of the element at ``place``."""
    if of == "weight_grad":
        solved = axis.of_tap(place)
    elif (of == "output") != problem.transposed:
        solved = axis.of_narrow(place)
    else:
        copies = [place] if problem.transposed else axis.copies(place, mode)
        solved = sorted(found for copy in copies for found in axis.of_wide(copy))
    if problem.transposed:
        return [(k, wide, narrow, narrow) for k, narrow, wide in solved if 0 <= wide < axis.wide]
    return [(k, narrow, wide, axis.cell(wide, mode)) for k, narrow, wide in solved]


def _channels(problem: ConvProblem, of: str, lead: Index) -> Iterator[tuple[int, int, int]]:
    """Every (n, input channel, output channel) of the element whose channel indices are ``lead``."""
    in_group, out_group = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    if of == "output":
        n, oc = lead
        first = oc // out_group * in_group
        yield from ((n, ic, oc) for ic in range(first, first + in_group))
    elif of == "input_grad":
        n, ic = lead
        first = ic // in_group * out_group
        yield from ((n, ic, oc) for oc in range(first, first + out_group))
    else:
        major, minor = lead
        if problem.transposed:
            ic, oc = major, major // in_group * out_group + minor
        else:
            ic, oc = major // out_group * in_group + minor, major
        yield from ((n, ic, oc) for n in range(problem.batched_input_shape[0]))
