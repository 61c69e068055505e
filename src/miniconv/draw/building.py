"""From what ``draw`` is given to a drawing: which problem, which numbers, which element; and what is too large."""

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
from miniconv.explain.links import Index, checked_index
from miniconv.explain.sums import operands_of
from miniconv.explain.torch_text import parse_either
from miniconv.explain.trace import part_shape
from miniconv.language import language as chosen
from miniconv.problem import ConvProblem

__all__ = ["built"]

CELLS = 3000
"""How many numbers a drawing shows at most."""

PRODUCTS = 1_000_000
"""How many products the output of a picture takes at most."""

FRAMES = 400
"""How many places a window slides over at most."""


def built(
    problem: Any,
    operands: tuple[Any, ...],
    at: Index | None,
    of: str,
    feeds: Index | None,
    padding_mode: str | None,
    picture: bool,
    language: str | None,
    grad_output: Any,
    options: dict[str, Any],
) -> Drawing:
    """The drawing; arguments as of ``draw``."""
    if isinstance(problem, str):
        problem, mode = parse_either(problem)
        padding_mode = padding_mode or mode
    padding_mode = padding_mode or "zeros"
    problem, arrays = _stated(problem, operands, of, padding_mode, grad_output, options)
    if feeds is not None and (at is not None or of != "output"):
        raise ValueError("a drawing shows one element (at, of), or what an input element feeds, and not both")
    if picture and (feeds is not None or of != "output"):
        raise ValueError("grey levels are for an element of the output")
    _check_size(problem, picture)
    speech = chosen(language)
    numbers = Numbers(problem, of, arrays, padding_mode, picture)
    scatter = feeds is not None or (problem.transposed and at is None and of == "output" and not picture)
    shape = problem.input_shape if scatter else part_shape(problem, of)
    index = checked_index(feeds or at or (0,) * len(shape), shape, "input" if scatter else of)
    one_axis = problem.spatial_dims == 1

    def slide() -> list[Scene]:
        spatial = problem.spatial_dims if of != "bias_grad" else 1
        lead, places = index[:-spatial], list(np.ndindex(shape[-spatial:]))
        if len(places) > FRAMES:
            raise ValueError(f"an animation has at most {FRAMES} frames, but this one would have {len(places)}")
        indices = [(*lead, *place) for place in places]
        if scatter:
            figures = [fed(numbers, source, speech, so_far=True) for source in indices]
        else:
            figures = [element(numbers, one, speech) for one in indices]
        return scenes_of(figures, one_axis=one_axis)

    drawn = (fed if scatter else element)(numbers, index, speech)
    title = TEXTS[speech]["title"].format(of="input" if scatter else of, problem=problem)
    return Drawing(scenes_of([drawn], one_axis=one_axis)[0], title, "\n".join(drawn.lines), slide)


def _stated(
    problem: Any, operands: tuple[Any, ...], of: str, padding_mode: str, grad_output: Any, options: dict[str, Any]
) -> tuple[ConvProblem, dict[str, Any]]:
    """The problem and its operands; ``explain`` refuses what is none."""
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
    if 0 in (*problem.input_shape, *problem.output_shape):
        raise ValueError(f"there is nothing to draw: {problem} has an input of {problem.input_shape}")
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
