"""What a pooling is asked for, checked by torch's rules, in torch's order, with torch's texts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from miniconv.arrays import Array, dtype_name
from miniconv.functional._operands import integers, truth, untraced

__all__ = ["Window", "is_real", "kernel_name", "stated"]

_COUNT = {"2": "two", "3": "three"}


@dataclass(frozen=True)
class Window:
    """One pooling, described: every tuple has one entry for each axis.

    Attributes:
        size: of the input.
        kernel, stride, padding, dilation: of the window.
        output: the number of windows.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output: tuple[int, ...]

    @property
    def dims(self) -> int:
        """The number of axes."""
        return len(self.size)

    def border(self) -> list[tuple[int, int]]:
        """The (low, high) cells that the windows need around the input; the low ones are the padding."""
        extents = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel))
        return [
            (p, max(0, (o - 1) * s + e - i - p))
            for i, s, p, o, e in zip(self.size, self.stride, self.padding, self.output, extents)
        ]

    def held(self) -> list[list[bool]]:
        """For each axis, whether each window holds a cell of the input."""
        axes = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, self.output)
        return [[any(0 <= o * s - p + t * d < i for t in range(k)) for o in range(n)] for i, k, s, p, d, n in axes]

    def has_empty_windows(self) -> bool:
        """Whether a window holds nothing but padding."""
        return not all(map(all, self.held()))


def stated(
    op: str, input: Array, options: Any, indexed: bool = False, divisor: int | None = None
) -> tuple[Array, Window]:
    """The input with a batch axis (and, in one dimension, a row axis), and its window; or torch's error."""
    shape = untraced(lambda x: tuple(x.shape), input)
    dims = int(op[-2])
    maximum = op.startswith("max")
    names = ("kernel_size", "stride", "padding", "dilation")
    given = dict(zip(names, options))
    spelled = f"{op}_with_indices" if indexed else op
    read = {name: _read(spelled, name, given[name], 2 + at) for at, name in enumerate(names)}
    ceil_mode = truth(spelled, "ceil_mode", options[4], 6 if maximum else 5)
    if dims == 1:
        _check_one_axis(op, shape, read, ceil_mode, indexed)
        read = {name: ((0 if name == "padding" else 1), *(v or read["kernel_size"])) for name, v in read.items()}
        input, shape = input[..., None, :], (*shape[:-1], 1, shape[-1])
    per_axis = _per_axis(op, read, max(dims, 2))
    if divisor == 0:
        raise RuntimeError("divisor must be not zero")
    return _checked(op, input, shape, per_axis, ceil_mode)


def _read(op: str, name: str, value: Any, position: int) -> tuple[int, ...]:
    if name == "stride" and value is None:
        return ()
    return integers(op, name, value, position)


def _per_axis(op: str, read: dict[str, tuple[int, ...]], dims: int) -> dict[str, tuple[int, ...]]:
    """One entry for each axis; an empty stride is the kernel's size."""
    per_axis: dict[str, tuple[int, ...]] = {}
    for name, values in read.items():
        if name == "stride" and not values:
            per_axis[name] = per_axis["kernel_size"]
            continue
        if len(values) not in (1, dims):
            raise RuntimeError(f"{op}: {name} {_demand(op, name)} a single int, or a tuple of {_COUNT[op[-2]]} ints")
        per_axis[name] = values if len(values) == dims else values * dims
    return per_axis


def _demand(op: str, name: str) -> str:
    """How torch begins the rule on the number of entries; it has four spellings."""
    if name == "dilation":
        return "must be either"
    either = "" if op == "avg_pool3d" else "either "
    return f"must {either}be omitted," if name == "stride" else f"must {either}be"


def _checked(
    op: str, input: Array, shape: tuple[int, ...], per_axis: dict[str, tuple[int, ...]], ceil_mode: bool
) -> tuple[Array, Window]:
    """The rules that two and three dimensions share."""
    kernel, stride, padding, dilation = (per_axis[n] for n in ("kernel_size", "stride", "padding", "dilation"))
    dims = len(kernel)
    maximum = op.startswith("max")
    expected = "non-empty 3D or 4D (batch mode) tensor expected for input"
    if dims == 3 or maximum:
        expected = expected if dims == 2 else "non-empty 4D or 5D (batch mode) tensor expected for input"
        if len(shape) not in (dims + 1, dims + 2):
            raise RuntimeError(expected)
    elif len(shape) < 3:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-len(shape)}, {len(shape) - 1}], but got -3)"
        )
    size = shape[-dims:]
    output = tuple(
        _axis_output(i, k, s, p, d, ceil_mode) for i, k, s, p, d in zip(size, kernel, stride, padding, dilation)
    )
    letters = "THW"[-dims:]
    named = (("kernel size", "k", kernel), ("stride", "d", stride), ("dilation", "dilation", dilation))
    for name, short, values in named:
        if min(values) < 1:
            text = " ".join(f"{short}{letter}: {value}" for letter, value in zip(letters, values))
            raise RuntimeError(f"{name} should be greater than zero, but got {text}")
    _check_shape(op, shape, dims)
    if op == "avg_pool3d" and any(i < k for i, k in zip(size, kernel)):
        t, h, w = (f"{letter}: {i}" for letter, i in zip(letters, size))
        kernels = " ".join(f"k{letter}: {k}" for letter, k in zip(letters, kernel))
        raise RuntimeError(f"input image ({t} {h} {w}) smaller than kernel size ({kernels})")
    _check_padding(kernel, padding)
    if min(output) < 1:
        before, after = ("x".join(map(str, (shape[-dims - 1], *sizes))) for sizes in (size, output))
        raise RuntimeError(f"Given input size: ({before}). Calculated output size: ({after}). Output size is too small")
    x = input if len(shape) == dims + 2 else input[None]
    return x, Window(size, kernel, stride, padding, dilation, output)


def _check_shape(op: str, shape: tuple[int, ...], dims: int) -> None:
    """No axis but the batch may be empty."""
    if dims == 3:
        if 0 in shape[-4:]:
            name = "max_pool3d_with_indices_out_cpu_template" if op.startswith("max") else op
            raise RuntimeError(
                f"{name}(): Expected input's non-batch dimensions to have positive length, but input has a shape of "
                f"{list(shape)} and non-batch dimension 0 has length zero!"
            )
    elif len(shape) > 4 or 0 in shape[-3:]:
        raise RuntimeError(
            f"Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but got:{list(shape)}"
        )


def _check_padding(kernel: tuple[int, ...], padding: tuple[int, ...]) -> None:
    """torch's second rule, which looks at the kernel without its dilation."""
    if all(p <= k // 2 for p, k in zip(padding, kernel)):
        return
    if len(kernel) == 2:
        found = f"padW = {padding[1]}, padH = {padding[0]}, kW = {kernel[1]}, kH = {kernel[0]}"
    else:
        parts = (
            (name, f"{name}{letter}", at) for name in ("k", "pad") for letter, at in (("T", 0), ("W", 2), ("H", 1))
        )
        found = " ".join(f"{text}: {(kernel if name == 'k' else padding)[at]}" for name, text, at in parts)
    raise RuntimeError(f"pad should be smaller than or equal to half of kernel size, but got {found}")


def _axis_output(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """The number of windows along an axis, and torch's first rules on it."""
    if stride == 0:
        raise RuntimeError("stride should not be zero")
    if padding < 0:
        raise RuntimeError(f"pad must be non-negative, but got pad: {padding}")
    extent = (kernel - 1) * dilation + 1
    if padding > math.trunc(extent / 2):
        raise RuntimeError(
            f"pad should be at most half of effective kernel size, but got pad={padding}, kernel_size={kernel} and "
            f"dilation={dilation}"
        )
    return _count(size, kernel, stride, padding, dilation, ceil_mode)


def _count(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    free = size + 2 * padding - dilation * (kernel - 1) - 1
    out = (free + (stride - 1 if ceil_mode else 0)) // stride + 1
    # a window that begins past the input and its low padding does not count
    return out - 1 if ceil_mode and (out - 1) * stride >= size + padding else out


def _check_one_axis(
    op: str, shape: tuple[int, ...], read: dict[str, tuple[int, ...]], ceil_mode: bool, indexed: bool
) -> None:
    """The rules that torch states for one dimension alone: in its maximum's own words, or few."""
    maximum = op == "max_pool1d"
    if maximum and not indexed:
        if len(shape) not in (2, 3) or 0 in shape[-2:]:
            raise RuntimeError(
                f"{op}: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but "
                f"got:{list(shape)}"
            )
        for name, values in read.items():
            if len(values) != 1 and not (name == "stride" and not values):
                which = "an int, list of ints or" if name in ("kernel_size", "dilation") else "an int, list of ints, or"
                none = "None, " if name == "stride" else ""
                raise RuntimeError(
                    f"{op}() {name} must be {none}{which} tuple of ints of size 1 but got size {len(values)}"
                )
        _check_one_window(op, shape[-1], read, ceil_mode)
        return
    for name, values in read.items():
        if len(values) != 1 and not (name == "stride" and not values):
            raise RuntimeError(f"{op}() argument '{name}' should contain one int (got {len(values)})")
    if len(shape) not in (2, 3):
        raise RuntimeError(
            f"Expected 2 to 3 dimensions, but got {len(shape)}-dimensional tensor for argument #1 'self' (while "
            f"checking arguments for {op})"
        )


def _check_one_window(op: str, size: int, read: dict[str, tuple[int, ...]], ceil_mode: bool) -> None:
    """The sizes of a one-dimensional maximum."""
    (kernel,), (padding,), (dilation,) = read["kernel_size"], read["padding"], read["dilation"]
    stride = (read["stride"] or read["kernel_size"])[0]
    for name, value in (("kernel_size", kernel), ("stride", stride)):
        if value < 1:
            raise RuntimeError(f"{op}() {name} must be greater than zero, but got {value}")
    if padding < 0:
        raise RuntimeError(f"{op}() padding must be non-negative, but got {padding}")
    if padding > kernel // 2:
        raise RuntimeError(
            f"{op}() padding should be at most half of kernel size, but got padding={padding} and kernel_size={kernel}"
        )
    if dilation < 1:
        raise RuntimeError(f"{op}() dilation must be greater than zero, but got {dilation}")
    output = _count(size, kernel, stride, padding, dilation, ceil_mode)
    if output < 1:
        raise RuntimeError(f"{op}() Invalid computed output size: {output}")


def is_real(x: Array) -> bool:
    """Whether the dtype is one that numbers can be compared and averaged in."""
    name = dtype_name(x)
    return name.startswith(("int", "uint", "float16", "float32", "float64", "bfloat16"))


def kernel_name(op: str, indexed: bool) -> str:
    """What torch calls the kernel that refuses a dtype."""
    names = {"max_pool1d": "max_pool2d" if indexed else "max_pool1d_impl", "avg_pool1d": "avg_pool2d"}
    return names.get(op, op if op != "avg_pool3d" else "avg_pool3d_out_frame")
