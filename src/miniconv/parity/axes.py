"""The geometry of every operator as data: for each axis of its grids, the values that it takes.

``larger`` is a kernel larger than the input, or a padding larger than the kernel. The values differ from one spatial
axis to the next wherever an operator has more than one, and so do the sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from miniconv.parity.cases import Case

__all__ = ["AXES", "Axes", "case_at"]

Axes = Mapping[str, Sequence[Any]]

_BATCHES = (None, 0, 1, 3)
_GROUPS = ("1", "2", "depthwise", "multiplier")
_CHANNELS = {"1": (4, 6, 1), "2": (4, 6, 2), "depthwise": (5, 5, 5), "multiplier": (3, 6, 3)}  # C_in, C_out, groups
_BIASES = (False, True)


class _Sizes(NamedTuple):
    """The input, the kernel that ``larger`` stands for with its input, and what a larger padding adds to the kernel."""

    input: tuple[int, ...]
    margin: tuple[int, ...]
    kernel_larger: tuple[int, ...] = ()
    input_smaller: tuple[int, ...] = ()


_SIZES: Mapping[str, _Sizes] = {
    "conv1d": _Sizes((9,), (1,), (6,), (4,)),
    "conv2d": _Sizes((7, 9), (1, 2), (5, 7), (4, 5)),
    "conv3d": _Sizes((5, 6, 3), (1, 2, 2), (4, 5, 3), (3, 4, 2)),
    "conv_transpose1d": _Sizes((6,), (1,)),
    "conv_transpose2d": _Sizes((4, 5), (1, 2)),
    "conv_transpose3d": _Sizes((3, 2, 4), (1, 2, 1)),
}


def _axes(**of_op: Sequence[Any]) -> Axes:
    """The axes of one operator: those that all share, around its own."""
    return {"batch": _BATCHES, "groups": _GROUPS, **of_op, "bias": _BIASES}


AXES: Mapping[str, Axes] = {
    "conv1d": _axes(
        kernel=((1,), (2,), (3,), (4,), "larger"),
        stride=((1,), (2,), (3,)),
        padding=((0,), (1,), "same", "valid", "larger"),
        dilation=((1,), (2,), (3,)),
    ),
    "conv2d": _axes(
        kernel=((1, 1), (3, 3), (3, 2), (1, 5), "larger"),
        stride=((1, 1), (2, 2), (2, 3)),
        padding=((0, 0), (1, 2), "same", "valid", "larger"),
        dilation=((1, 1), (2, 2), (1, 3)),
    ),
    "conv3d": _axes(
        kernel=((1, 1, 1), (3, 3, 3), (2, 3, 1), "larger"),
        stride=((1, 1, 1), (2, 2, 2), (2, 1, 3)),
        padding=((0, 0, 0), (1, 0, 2), "same", "valid", "larger"),
        dilation=((1, 1, 1), (1, 2, 3)),
    ),
    "conv_transpose1d": _axes(
        kernel=((1,), (2,), (3,), (5,)),
        stride=((1,), (2,), (3,)),
        padding=((0,), (1,), "larger"),
        dilation=((1,), (2,), (3,)),
        output_padding=((0,), (1,), (2,)),
    ),
    "conv_transpose2d": _axes(
        kernel=((1, 1), (3, 3), (3, 2), (1, 5)),
        stride=((1, 1), (2, 2), (2, 3)),
        padding=((0, 0), (1, 2), "larger"),
        dilation=((1, 1), (2, 2), (1, 3)),
        output_padding=((0, 0), (0, 1), (1, 2)),
    ),
    "conv_transpose3d": _axes(
        kernel=((1, 1, 1), (3, 3, 3), (2, 3, 1)),
        stride=((1, 1, 1), (2, 2, 2), (2, 1, 3)),
        padding=((0, 0, 0), (1, 0, 2), "larger"),
        dilation=((1, 1, 1), (1, 2, 3)),
        output_padding=((0, 0, 0), (1, 0, 0), (1, 0, 2)),
    ),
}
"""For each operator, its geometry. The full product of its values is what the grids begin with."""


def case_at(op: str, point: Mapping[str, Any]) -> Case:
    """The case at one point of an operator's geometry.

    >>> str(case_at("conv1d", {name: values[-1] for name, values in AXES["conv1d"].items()}))
    'conv1d n3 c3 o6 i4 k6 s3 p7 d3 g3 bias float32'
    """
    sizes, kernel, padding = _SIZES[op], point["kernel"], point["padding"]
    in_channels, out_channels, groups = _CHANNELS[point["groups"]]
    size = sizes.input
    if kernel == "larger":
        size, kernel = sizes.input_smaller, sizes.kernel_larger
    if padding == "larger":
        padding = tuple(k + more for k, more in zip(kernel, sizes.margin))
    return Case(
        point["batch"], in_channels, out_channels, size, kernel, point["stride"], padding, point["dilation"], groups,
        point["bias"], transposed="transpose" in op, output_padding=point.get("output_padding", ()),
    )  # fmt: skip
