"""``draw``: a convolution as a picture, with its real numbers.

The window on every channel of the input, the border, the kernel, the products, their sums and the output; or one input
element and everything that it feeds. The numbers are those of ``miniconv.explain`` and ``miniconv.reference``. Reading
the files: ``numbers`` and ``planes`` (tables of numbers), ``figures`` (which of them a drawing has), ``layout`` (where
they stand), ``scene`` (shapes as data), ``svg`` and ``raster`` (shapes written out), ``drawing`` (what is returned).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from miniconv.draw.drawing import Drawing
from miniconv.draw.figures import element, fed
from miniconv.draw.layout import scenes_of
from miniconv.draw.numbers import Numbers
from miniconv.draw.scene import Scene
from miniconv.draw.texts import TEXTS
from miniconv.dtypes import DTYPES
from miniconv.explain import explain
from miniconv.explain.links import checked_index
from miniconv.explain.sums import operands_of
from miniconv.explain.trace import part_shape
from miniconv.language import language as chosen
from miniconv.problem import ConvProblem

__all__ = ["Drawing", "draw"]

Index = tuple[int, ...]

CELLS = 3000
"""How many numbers a drawing shows at most."""

PRODUCTS = 1_000_000
"""How many products the output of a picture takes at most."""

FRAMES = 400
"""How many places a window slides over at most."""


def draw(
    problem: Any,
    *operands: Any,
    at: Index | None = None,
    of: str = "output",
    feeds: Index | None = None,
    padding_mode: str = "zeros",
    picture: bool = False,
    language: str | None = None,
    grad_output: Any = None,
    **options: Any,
) -> Drawing:
    """Draw one element of a convolution or of a gradient, and everything that it is the sum of.

    The window is marked on each channel, with the kernel, the products and their sum below it; the element is marked in
    the output. The border is dashed. Channels of different groups have different colours; those that the element does
    not see are pale. A dot marks where a window stands, if the stride skips places; what no window reaches is crossed
    out. Three spatial axes are drawn as slices side by side.

    Args:
        problem, operands: a ``ConvProblem`` or its text, perhaps followed by ``input, weight, bias``; or these alone,
            with the ``options`` of ``miniconv.explain``. Without numbers small integers are drawn, the same every time.
        at: index of the element; None takes the first. In a saved animation the window slides over every place of this
            element's channel.
        of: ``"output"``, ``"input_grad"``, ``"weight_grad"`` or ``"bias_grad"``.
        feeds: index of an input element: draw instead what it feeds, its products with the kernels laid into the
            outputs. None for both ``at`` and ``feeds`` does so for a transposed convolution, whose definition it is.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        picture: draw the channels of input and output as grey levels, without numbers: for photographs and filters.
        language: ``"en"`` or ``"zh"``; None asks the environment.
        grad_output: for a gradient: see ``miniconv.explain``.

    Returns:
        A ``Drawing``, which a notebook shows.

    Raises:
        ValueError: more than 3000 numbers would be drawn, or a picture would take more than a million products, or is
            one of complex numbers; or as ``miniconv.explain``.
        TypeError, RuntimeError, IndexError: as ``miniconv.explain``.

    Numerics:
        The numbers are the trace's, shortened to six letters where they are longer; an SVG has them in full as titles.

    Cost:
        Some microseconds for each term of each output that is shown.

    >>> drawing = draw("conv1d c1 o1 i4 k3 p1 int64", [[1, 2, 3, 4]], [[[5, 6, 7]]], at=(0, 0))
    >>> drawing.description.splitlines()[0]
    'output[0, 0] = 20'
    >>> len(drawing.frames)
    4
    """
    problem, arrays = _stated(problem, operands, of, padding_mode, grad_output, options)
    _check_size(problem, picture)
    speech = chosen(language)
    numbers = Numbers(problem, "output" if feeds is not None else of, arrays, padding_mode, picture)
    scatter = feeds is not None or (problem.transposed and at is None and of == "output")
    shape = problem.input_shape if scatter else part_shape(problem, of)
    index = checked_index(feeds or at or (0,) * len(shape), shape, "input" if scatter else of)
    figure = fed if scatter else element
    one_axis = problem.spatial_dims == 1

    def slide() -> list[Scene]:
        spatial = problem.spatial_dims if of != "bias_grad" else 1
        lead, places = index[:-spatial], list(np.ndindex(shape[-spatial:]))
        if len(places) > FRAMES:
            raise ValueError(f"an animation has at most {FRAMES} frames, but this one would have {len(places)}")
        return scenes_of([figure(numbers, (*lead, *place), speech) for place in places], one_axis=one_axis)

    drawn = figure(numbers, index, speech)
    title = TEXTS[speech]["title"].format(of="input" if scatter else of, problem=problem)
    return Drawing(scenes_of([drawn], one_axis=one_axis)[0], title, "\n".join(drawn.lines), slide)


def _stated(
    problem: Any, operands: tuple[Any, ...], of: str, padding_mode: str, grad_output: Any, options: dict[str, Any]
) -> tuple[ConvProblem, dict[str, Any]]:
    """The problem and its operands; ``explain`` refuses what is none."""
    if isinstance(problem, str):
        problem = ConvProblem.parse(problem)
    given = operands if isinstance(problem, ConvProblem) else (problem, *operands)
    if isinstance(problem, ConvProblem):
        axes = len(part_shape(problem, of))
    else:
        axes = {"weight_grad": np.ndim(operands[0]) if operands else 0, "bias_grad": 1}.get(of, np.ndim(problem))
    first = explain(
        problem, *operands, at=(0,) * axes, of=of, grad_output=grad_output, padding_mode=padding_mode, **options
    )
    return first.problem, operands_of(first.problem, given, grad_output)


def _check_size(problem: ConvProblem, picture: bool) -> None:
    """Refuses what nobody could read, or wait for."""
    if picture:
        if DTYPES[problem.dtype].kind == "complex":
            raise ValueError(f"grey levels are real numbers, but {problem} is complex")
        if problem.multiply_adds > PRODUCTS:
            raise ValueError(f"a picture takes at most {PRODUCTS} products, but {problem} has {problem.multiply_adds}")
        return
    size = problem.input_size if problem.transposed else problem.padded_size
    cells = problem.in_channels * math.prod(size) + problem.out_channels * math.prod(problem.output_size)
    if cells > CELLS:
        raise ValueError(
            f"a drawing shows at most {CELLS} numbers of input and output, but {problem} has {cells}: "
            "draw fewer channels or a smaller input, or grey levels by picture=True"
        )
