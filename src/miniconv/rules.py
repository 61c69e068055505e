"""torch's rules for a convolution's arguments: in torch's order, with torch's exception types and words.

``ConvProblem`` alone calls these. First the forms that an argument may take (``integers``), then the rules on dtypes
and sizes (``check_rules``). Sources: torch 2.13's answers, each held against torch by the parity suite.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from miniconv.dtypes import DTYPES

__all__ = [
    "Operand",
    "batched_shape",
    "check_bias_dtype",
    "check_dtypes",
    "check_rules",
    "integer",
    "integers",
    "invalid_operand",
    "per_axis_lists",
    "same_padding",
    "type_name",
]

INT64_MAX = 2**63 - 1
MEMORY_FORMATS = ("contiguous", "channels_last")
_BACKENDS: Mapping[str, str] = {
    "conv1d": "slow_conv2d_cpu",
    "conv2d": "slow_conv2d_cpu",
    "conv3d": "compute_columns3d",
    "conv_transpose1d": "slow_conv_transpose2d_out_cpu",
    "conv_transpose2d": "slow_conv_transpose2d_out_cpu",
    "conv_transpose3d": "slow_conv_transpose3d_out_cpu",
}
"""The names under which torch refuses a dtype."""
_DEFAULTS: Mapping[str, Any] = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}


class Operand(NamedTuple):
    """An input, weight or bias without its numbers: all that validation needs of it, ``kind`` for messages."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    memory_format: str = "contiguous"
    kind: str = "Tensor"


# ---- argument forms ------------------------------------------------------------------------------------------


def integers(op: str, options: Mapping[str, Any], operands: Sequence[Operand | None], dims: int) -> dict[str, Any]:
    """Every option in one form: ``groups`` an int, the others lists of ints (a list of one is left to broadcast)."""
    got: dict[str, Any] = {}
    for name, value in options.items():
        if name == "padding" and isinstance(value, (str, bytes)) and not op.startswith("conv_transpose"):
            continue
        if name != "groups" and isinstance(value, (list, tuple)):
            got[name] = _integer_list(op, name, value, options, operands)
            continue
        number = integer(value)
        if number is None:
            raise _wrong_option(op, name, options, operands)
        if not -INT64_MAX - 1 <= number <= INT64_MAX:
            raise ValueError("Overflow when unpacking long long")
        got[name] = number if name == "groups" else [number] * dims
    return got


def _integer_list(
    op: str, name: str, values: Sequence[Any], options: Mapping[str, Any], operands: Sequence[Operand | None]
) -> list[int]:
    """A list as torch reads one: the first element decides whether it is a list of integers at all."""
    got = []
    for position, value in enumerate(values, 1):
        number = int(value) if position > 1 and isinstance(value, bool) else integer(value)
        if number is None and position == 1:
            raise _wrong_option(op, name, options, operands)
        if number is None:
            why = f"type must be tuple of ints,but got {type_name(value)}"
            raise TypeError(
                f"{op}(): argument '{name}' failed to unpack the object at pos {position} with error \"{why}\""
            )
        if not -INT64_MAX - 1 <= number <= INT64_MAX:
            why = "Overflow when unpacking long long\n"
            raise TypeError(
                f"{op}(): argument '{name}' failed to unpack the object at pos {position} with error \"{why}\""
            )
        got.append(number)
    return got


def integer(value: Any) -> int | None:
    """``value`` as an int if it is an int, a NumPy integer or a 0-d integer tensor; a bool is none."""
    if type(value) is int:
        return value
    dtype = str(getattr(value, "dtype", ""))
    if isinstance(value, bool) or "bool" in dtype or getattr(value, "ndim", 0) != 0:
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _wrong_option(op: str, name: str, options: Mapping[str, Any], operands: Sequence[Operand | None]) -> TypeError:
    """torch's TypeError for an option of the wrong type."""
    if not op.startswith("conv_transpose"):
        return _invalid_arguments(op, [o.kind for o in operands if o is not None], options)
    wanted = "int" if name == "groups" else "tuple of ints"
    return TypeError(f"{op}(): argument '{name}' must be {wanted}, not {type_name(options[name])}")


def invalid_operand(op: str, operand_types: Sequence[str], options: Mapping[str, Any]) -> TypeError:
    """torch's TypeError for operands of which one is not what the others are, a tensor or an array."""
    if not op.startswith("conv_transpose"):
        return _invalid_arguments(op, operand_types, options)
    wanted = "numpy.ndarray" if operand_types[0] == "numpy.ndarray" else "Tensor"
    position = next(i for i, got in enumerate(operand_types) if got not in (wanted, "Parameter"))
    name, got = ("input", "weight", "bias")[position], operand_types[position]
    return TypeError(f"{op}(): argument '{name}' (position {position + 1}) must be {wanted}, not {got}")


def _invalid_arguments(op: str, operand_types: Sequence[str], options: Mapping[str, Any]) -> TypeError:
    """torch's TypeError where an operator has two signatures: what was given, then what is accepted.

    A Python function cannot see whether an argument was given by position or by name; options are shown by name.
    """
    given = {
        name: value for name, value in options.items() if not (type(value) is int and value == _DEFAULTS.get(name))
    }
    got = ", ".join([*operand_types, *(f"{name}={type_name(given[name])}" for name in sorted(given))])
    parts = [f"{'int' if name == 'groups' else 'tuple of ints'} {name} = {_DEFAULTS[name]}" for name in options]
    return TypeError(
        f"{op}() received an invalid combination of arguments - got ({got}), but expected one of:\n"
        f" * (Tensor input, Tensor weight, Tensor bias = None, {', '.join(parts)})\n"
    )


def type_name(value: Any) -> str:
    """The name of ``value``'s type as torch's messages print it."""
    kind = type(value)
    return f"numpy.{kind.__name__}" if kind.__module__.split(".")[0] == "numpy" else kind.__name__


# ---- rules ---------------------------------------------------------------------------------------------------


def check_rules(
    dims: int,
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    bias_shape: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    transposed: bool,
) -> None:
    """Every rule on sizes that torch checks, in its order; ``input_shape`` has its batch axis."""
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    for name, values in (("stride", stride), ("padding", padding), ("dilation", dilation)):
        if len(values) != dims:
            raise RuntimeError(f"{name} needs {dims} values, but got {name}={values}")
    if any(low < 0 or high < 0 for low, high in padding):
        raise RuntimeError("negative padding is not supported")
    if any(p < 0 for p in output_padding):
        raise RuntimeError("negative output_padding is not supported")
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    if any(d < 0 for d in dilation):
        raise RuntimeError("dilation should be greater than zero")
    weight_text = f"weight of size {list(weight_shape)}"
    if len(weight_shape) != len(input_shape):
        raise RuntimeError(
            f"Expected {len(weight_shape)}-dimensional input for {len(weight_shape)}-dimensional weight "
            f"{list(weight_shape)}, but got {len(input_shape)}-dimensional input of size {list(input_shape)} instead"
        )
    if weight_shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got {weight_text} "
            "instead"
        )
    if weight_shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
            f"size [{list(weight_shape)}] instead"
        )
    channels = weight_shape[0] if transposed else weight_shape[1] * groups
    if input_shape[1] != channels:
        # torch pads the longer side of a lopsided 'same' beforehand, and prints the size after that
        shown = list(input_shape)
        if not transposed and list(padding) == same_padding(weight_shape[2:], dilation):
            shown[2:] = [i + high - low for i, (low, high) in zip(input_shape[2:], padding)]
        given = "transposed=1" if transposed else f"groups={groups}"
        raise RuntimeError(
            f"Given {given}, {weight_text}, expected input{shown} to have {channels} channels, but got "
            f"{shown[1]} channels instead"
        )
    out_channels = weight_shape[1] * groups if transposed else weight_shape[0]
    if bias_shape is not None and list(bias_shape) != [out_channels]:
        raise RuntimeError(
            f"Given {'transposed=1, ' if transposed else ''}{weight_text}, expected bias to be 1-dimensional with "
            f"{out_channels} elements, but got bias of size {list(bias_shape)} instead"
        )
    limit = INT64_MAX // 2
    for axis, pair in enumerate(padding):
        if max(pair) > limit:
            raise RuntimeError(
                f"Given padding={max(pair)} at dimension {axis} , expected padding to be at most {limit}"
            )
    if not transposed:
        _check_window_fits(input_shape[2:], weight_shape[2:], padding, dilation)
    if 0 in input_shape[2:] and 0 not in input_shape[:2]:
        shown = [*input_shape[:2], *_rows(input_shape[2:], 1)]
        raise RuntimeError(f"Only zero batch or zero channel inputs are supported, but got input shape: {shown}")
    if 0 in weight_shape[2:]:
        raise RuntimeError(f"kernel size should be greater than zero, but got{_kernel_text(weight_shape[2:])}")
    if 0 in dilation:
        rows = _rows(dilation, 1)
        words = ", ".join(f"dilation_{axis}: {d}" for axis, d in zip(_axis_names(len(rows)), rows))
        raise RuntimeError(f"dilation should be greater than zero, but got {words if transposed else rows}")
    if transposed:
        _check_transposed_extent(input_shape, out_channels, weight_shape[2:], stride, padding, dilation, output_padding)


def _check_window_fits(
    input_size: Sequence[int], kernel: Sequence[int], padding: Sequence[tuple[int, int]], dilation: Sequence[int]
) -> None:
    """An ordinary convolution: at least one window inside the padded input."""
    padded = [i + low + high for i, (low, high) in zip(input_size, padding)]
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    if any(e > p for e, p in zip(extent, padded)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel size: "
            f"({' x '.join(map(str, extent))}). Kernel size can't be greater than actual input size"
        )


def _check_transposed_extent(
    input_shape: Sequence[int],
    out_channels: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    output_padding: Sequence[int],
) -> None:
    """A transposed convolution: output_padding below stride or dilation, and a positive output size."""
    output = [
        (i - 1) * s - low - high + d * (k - 1) + extra + 1
        for i, s, (low, high), d, k, extra in zip(input_shape[2:], stride, padding, dilation, kernel, output_padding)
    ]
    if 0 in input_shape[:2]:  # nothing is computed, so torch asks for no more than a shape
        if any(o < 0 for o in output):
            axis = next(i for i, o in enumerate(output) if o < 0)
            shape = [input_shape[0], out_channels, *output]
            raise RuntimeError(f"invalid shape dimension {output[axis]} at index {axis + 2} of shape {shape}")
        return
    if any(p >= s and p >= d for p, s, d in zip(output_padding, stride, dilation)):
        shown = {"output_padding": _rows(output_padding, 0), "stride": _rows(stride, 1), "dilation": _rows(dilation, 1)}
        words = " ".join(
            f"{name}_{axis}: {value}"
            for name, values in shown.items()
            for axis, value in zip(_axis_names(len(values)), values)
        )
        raise RuntimeError(f"output padding must be smaller than either stride or dilation, but got {words}")
    if any(o < 1 for o in output):
        small, out = (" x ".join(map(str, _rows(size, 1))) for size in (input_shape[2:], output))
        raise RuntimeError(
            f"Given input size per channel: ({small}). Calculated output size per channel: ({out}). Output size is too "
            "small"
        )


def check_bias_dtype(input: Operand, bias: Operand | None) -> None:
    """torch's very first rule; it is not asked for a padding given as text."""
    if bias is not None and bias.dtype != input.dtype:
        names = [DTYPES[o.dtype].cpp_name if o.dtype in DTYPES else o.dtype for o in (input, bias)]
        raise RuntimeError(f"Input type ({names[0]}) and bias type ({names[1]}) should be the same")


def check_dtypes(op: str, input: Operand, weight: Operand, bias: Operand | None) -> None:
    """One dtype for all operands (no promotion), and one that convolution exists for."""
    if weight.dtype != input.dtype:
        names = [_scalar_name(o.dtype) for o in (input, weight)]
        raise RuntimeError(f"expected scalar type {names[0]} but found {names[1]}")
    check_bias_dtype(input, bias)
    if input.dtype not in DTYPES:
        raise NotImplementedError(f'"{_BACKENDS[op]}" not implemented for {_scalar_name(input.dtype)!r}')


def _scalar_name(dtype: str) -> str:
    """What torch calls a dtype in such a message: Double, UInt16, Bool."""
    return DTYPES[dtype].scalar_name if dtype in DTYPES else re.sub("^Uint", "UInt", dtype[0].upper() + dtype[1:])


def batched_shape(shape: tuple[int, ...], dims: int, op: str) -> tuple[int, ...]:
    """``shape`` with a batch axis of 1 in front where the input is unbatched."""
    if len(shape) not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {op}, but got input of size: "
            f"{list(shape)}"
        )
    return shape if len(shape) == dims + 2 else (1, *shape)


def per_axis_lists(
    weight_shape: Sequence[int], numbers: Mapping[str, Any], pairs: Sequence[tuple[int, int]]
) -> dict[str, Sequence[Any]]:
    """stride, padding, dilation and output_padding with one value for each axis that the weight has."""
    if len(weight_shape) < 3:
        raise RuntimeError("weight should have at least three dimensions")
    if numbers["groups"] <= 0:
        raise RuntimeError("non-positive groups is not supported")
    dims = len(weight_shape) - 2
    lists: dict[str, Sequence[Any]] = {
        "stride": numbers["stride"],
        "padding": pairs,
        "dilation": numbers["dilation"],
        "output_padding": numbers.get("output_padding", (0,) * dims),
    }
    for name, values in lists.items():
        if len(values) == 1:
            lists[name] = [*values] * dims
        elif len(values) != dims:
            shown = [v[0] if isinstance(v, tuple) else v for v in values]
            raise RuntimeError(
                f"expected {name} to be a single integer value or a list of {dims} values to match the convolution "
                f"dimensions, but got {name}={shown}"
            )
    return lists


def same_padding(kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    """``'same'``: dilation * (kernel - 1) in all, the odd cell on the high side."""
    totals = [d * (k - 1) for d, k in zip(dilation, kernel)]
    return [(total // 2, total - total // 2) for total in totals]


def _rows(values: Sequence[int], first: int) -> list[int]:
    """``values`` as torch reports them: its backends take one spatial axis for one row of two."""
    return [first, *values] if len(values) == 1 else list(values)


def _axis_names(dims: int) -> list[str]:
    return ["depth", "height", "width"][3 - dims :]


def _kernel_text(kernel: Sequence[int]) -> str:
    """The kernel's size as torch's message spells it."""
    if len(kernel) == 3:
        return f": {' x '.join(map(str, kernel))} (TxHxW)"
    return " " + " ".join(f"kernel_{axis}: {k}" for axis, k in zip(("height", "width"), _rows(kernel, 1)))
