"""What the command is asked: the element that is shown where none is named, and the numbers of a file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miniconv.dtypes import DTYPES
from miniconv.explain.links import Index
from miniconv.explain.trace import part_shape
from miniconv.problem import ConvProblem

__all__ = ["AXES", "axis_names", "default_element", "element", "operands"]

AXES = {
    "output": ("N", "OC", "O"),
    "input_grad": ("N", "IC", "I"),
    "weight_grad": ("OC", "IC", "K"),
    "bias_grad": ("OC",),
}
"""What the axes of each part are called; the last name stands for all spatial axes."""


def axis_names(problem: ConvProblem, of: str) -> str:
    """The axes of a part as ``--at`` wants them: ``N,OC,OH,OW``.

    >>> axis_names(ConvProblem.parse("conv2d c1 o1 i5x6 k3"), "output")
    'OC,OH,OW'
    """
    first, *rest = AXES[of]
    names = [first, *rest[:-1], *(rest[-1:] and [rest[-1] + axis for axis in "DHW"[-problem.spatial_dims :]])]
    if of == "weight_grad" and problem.transposed:
        names[:2] = ["IC", "OC"]
    return ",".join(names[1:] if names[0] == "N" and problem.batch is None else names)


def element(text: str) -> Index:
    """The index that ``0,2,-1`` means.

    Raises:
        ValueError: it is no list of integers.

    >>> element("0, 2,-1")
    (0, 2, -1)
    """
    try:
        return tuple(int(number) for number in text.strip("[]() ").split(","))
    except ValueError:
        raise ValueError(f"--at takes integers with commas between them, such as 0,2,1,1, but got {text!r}") from None


def default_element(problem: ConvProblem, of: str) -> tuple[Index, str]:
    """The element that shows most: the first output whose window meets the border, or the one in the middle.

    Returns:
        Its index, and the name of the text that says which it is.

    Raises:
        ValueError: the part has no elements.

    >>> default_element(ConvProblem.parse("conv1d c2 o1 i6 k3 p0:1"), "output")
    ((0, 4), 'at the border')
    """
    shape = part_shape(problem, of)
    if 0 in shape:
        raise ValueError(f"{of} of {problem} has shape {shape}, and so no element")
    dims = problem.spatial_dims
    places = [] if problem.transposed or of != "output" else _places_at_the_border(problem)
    if places:
        return (*(0,) * (len(shape) - dims), *min(places)), "at the border"
    return tuple(size // 2 for size in shape), "in the middle"


def _places_at_the_border(problem: ConvProblem) -> list[Index]:
    """For each axis whose windows meet the border, the first place that does so with 0 on the other axes."""
    places = []
    for axis, (size, out, kernel, stride, (low, _), dilation) in enumerate(
        zip(
            problem.input_size, problem.output_size, problem.kernel_size, problem.stride, problem.padding,
            problem.dilation,
        )
    ):  # fmt: skip
        reach = (kernel - 1) * dilation - low  # of the window's last tap, from the place times the stride
        first = 0 if low else max(0, -((reach - size) // stride))
        if first < out:
            places.append(tuple(first if other == axis else 0 for other in range(problem.spatial_dims)))
    return places


def operands(problem: ConvProblem, path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a .npz file by name: ``input``, ``weight``, ``bias`` if the problem has one, ``grad_output``.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no .npz file, holds pickles, lacks an array, has one that nobody knows, or one whose shape
            or dtype does not fit.
    """
    with path.open("rb") as stream:
        try:
            file = np.load(stream, allow_pickle=False)
        except (zipfile.BadZipFile, EOFError, ValueError) as error:  # anything that is neither is taken for a pickle
            raise ValueError(f"{path} is no .npz file: {error}") from None
        if isinstance(file, np.ndarray):
            raise ValueError(f"{path} holds a single array; np.savez('both.npz', input=..., weight=...) writes two")
        try:
            arrays = {name: file[name] for name in file.files}
        except ValueError as error:
            raise ValueError(f"{path} cannot be read; pickled objects are not loaded: {error}") from None
    _check(problem, path, arrays)
    return arrays


def _check(problem: ConvProblem, path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Names, shapes and dtypes against the problem's."""
    bias = {"bias": (problem.out_channels,)} if problem.bias else {}
    needed = {"input": problem.input_shape, "weight": problem.weight_shape, **bias}
    known = {**needed, "grad_output": problem.output_shape}
    if missing := [name for name in needed if name not in arrays]:
        raise ValueError(f"{path} has no array {', '.join(missing)}; it has {', '.join(arrays) or 'none'}")
    if unknown := [name for name in arrays if name not in known]:
        hint = "; a problem with a bias has the word 'bias'" if "bias" in unknown else ""
        raise ValueError(f"{path} has {', '.join(unknown)}, but {problem} takes {', '.join(known)}{hint}")
    for name, array in arrays.items():
        if array.shape != known[name]:
            raise ValueError(f"{name} has shape {array.shape} in {path}, but {problem} takes {known[name]}")
        if not np.can_cast(array.dtype, DTYPES[problem.dtype].compute, "same_kind"):
            raise ValueError(f"{name} is {array.dtype} in {path}, but the problem is of {problem.dtype}")
