"""``draw``: a convolution as a picture, with its real numbers.

The window on every channel of the input, the border, the kernel, the products, their sums and the output; or one input
element and everything that it feeds. The numbers are those of ``miniconv.explain`` and ``miniconv.reference``. Reading
the files: ``numbers`` and ``planes`` (tables of numbers), ``figures`` (which of them a drawing has), ``layout`` (where
they stand), ``scene`` (shapes as data), ``svg`` and ``raster`` (shapes written out), ``drawing`` (what is returned).
"""

from __future__ import annotations

from typing import Any

from miniconv.draw.drawing import Drawing

__all__ = ["Drawing", "draw"]

Index = tuple[int, ...]


def draw(
    problem: Any,
    *operands: Any,
    at: Index | None = None,
    of: str = "output",
    feeds: Index | None = None,
    padding_mode: str | None = None,
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
        problem, operands: a ``ConvProblem``, its text, or a call's text such as ``"nn.Conv2d(3, 4, 3)(x[3, 8, 9])"``,
            perhaps followed by ``input, weight, bias``; or these alone, with the ``options`` of
            ``miniconv.explain``. Without numbers small integers are made up, the same every time.
        at: index of the element; None takes the first. In a saved animation the window slides over every place of this
            element's channel.
        of: ``"output"``, ``"input_grad"``, ``"weight_grad"`` or ``"bias_grad"``.
        feeds: index of an input element: draw instead what it feeds, its products with the kernels laid into the
            outputs. In a saved animation the inputs of its channel are added one after another. None for both ``at``
            and ``feeds`` does so for a transposed convolution, whose definition it is.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``. None takes zeros, or the mode
            of a layer that is given as text.
        picture: draw the channels of input and output as grey levels, without numbers: for photographs and filters.
            The whole output is the definition's, so that it takes some microseconds for each product.
        language: ``"en"`` or ``"zh"``; None asks the environment.
        grad_output: for a gradient: see ``miniconv.explain``.

    Returns:
        A ``Drawing``, which a notebook shows.

    Raises:
        ValueError: more than 3000 numbers would be drawn, or a picture would take more than a million products, or is
            one of complex numbers or of a gradient; ``at`` and ``feeds`` are both given; or as ``miniconv.explain``.
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
    from miniconv.draw.building import built
    from miniconv.explain.links import checked_part

    return built(problem, operands, at, checked_part(of), feeds, padding_mode, picture, language, grad_output, options)
