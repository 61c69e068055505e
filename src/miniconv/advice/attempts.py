"""``Attempt``: a call that was refused, as data that can be changed and tried again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from miniconv.padding_forms import padding_by_sides, same_by_size
from miniconv.problem import ConvProblem, Operand
from miniconv.problem_text import format_problem
from miniconv.rules import integer, invalid_operand, same_padding

__all__ = ["ARRAYS", "UNKNOWN", "Attempt", "of_call", "of_fields"]

REFUSALS = (TypeError, ValueError, RuntimeError)
"""What a refusal is; NotImplementedError is a RuntimeError."""

ARRAYS = ("numpy.ndarray", "Tensor", "Parameter")
"""The types of operands that are convolved, as messages name them."""

UNKNOWN = "unknown"
"""The dtype of what holds no numbers."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Attempt:
    """A call that was refused.

    Attributes:
        op: ``conv2d``, ``conv_transpose1d``, ...
        values: ``input``, ``weight`` and ``bias`` as operands without numbers (or None), and the other arguments as the
            caller wrote them. A constructor has ``in_channels``, ``out_channels`` and ``kernel_size`` in place of the
            operands.
        check: raises what the call is refused with; anything that it returns is fine.
        layer: whether it is a layer's, so that a weight is named by the layer's arguments.
        write: the whole call as one text, where that is how the caller wrote it.
    """

    op: str
    values: Values
    check: Callable[[Values], object]
    layer: bool = False
    write: Callable[[Values], str] | None = None

    def refusal(self) -> Exception | None:
        """What the call is refused with, or None if it is legal."""
        try:
            self.check(self.values)
        except REFUSALS as error:
            return error
        return None

    def changed(self, values: Values) -> Attempt:
        """The same call with some values replaced."""
        return replace(self, values={**self.values, **values})

    @property
    def dims(self) -> int:
        """1, 2 or 3."""
        return int(self.op[-2])

    @property
    def transposed(self) -> bool:
        """Whether it is a transposed convolution."""
        return self.op.startswith("conv_transpose")

    @property
    def axes(self) -> list[str]:
        """What the spatial axes are called."""
        return ["L"] if self.dims == 1 else ["D", "H", "W"][-self.dims :]

    @property
    def input(self) -> Operand:
        """The input."""
        return self.values["input"]  # type: ignore[no-any-return]  # who makes an attempt puts an operand there

    @property
    def weight(self) -> Operand:
        """The weight."""
        return self.values["weight"]  # type: ignore[no-any-return]  # likewise

    @property
    def size(self) -> tuple[int, ...]:
        """The spatial size of the input."""
        return self.input.shape[len(self.input.shape) - self.dims :]

    @property
    def kernel(self) -> tuple[int, ...]:
        """The spatial size of the weight."""
        if "weight" in self.values:
            return self.weight.shape[2:]
        given = self.values["kernel_size"]
        return tuple(given) if isinstance(given, (tuple, list)) else (given,) * self.dims

    @property
    def channels(self) -> int:
        """C_in as the input has it, or the constructor is told."""
        given = self.values.get("in_channels")
        return self.input.shape[-1 - self.dims] if given is None else int(given)

    def per_axis(self, name: str) -> list[int]:
        """stride, dilation or output_padding, one integer for each axis."""
        value = self.values.get(name, 0)
        single = integer(value)
        numbers = [single] if single is not None else [int(v) for v in value]
        return numbers * self.dims if len(numbers) == 1 else numbers

    @property
    def padding(self) -> list[tuple[int, int]]:
        """The padding as pairs (low, high)."""
        value = self.values["padding"]
        word = value.decode() if isinstance(value, bytes) else value
        if word == "same":
            return same_padding(self.kernel, self.per_axis("dilation"))
        if word in ("same_upper", "same_lower"):
            return same_by_size(word, self.size, self.kernel, self.per_axis("stride"), self.per_axis("dilation"))
        if word == "valid":
            return [(0, 0)] * self.dims
        sides = padding_by_sides(self.op, value, self.dims)
        return sides if sides is not None else [(p, p) for p in self.per_axis("padding")]


def of_call(op: str, operands: Sequence[Operand], options: Mapping[str, Any]) -> Attempt:
    """A call of a function: input, weight and perhaps bias, and every other argument by its name.

    >>> of_call("conv1d", [Operand((1, 2)), Operand((1, 1, 3))], {"padding": 1}).refusal() is None
    True
    """
    named = dict(zip(("input", "weight", "bias"), (*operands, None)))
    return Attempt(op, {**named, **options}, lambda values: _stated(op, values))


def _stated(op: str, values: Values) -> ConvProblem:
    """The problem that a call states."""
    options = {name: value for name, value in values.items() if name not in ("input", "weight", "bias")}
    operands = [values[name] for name in ("input", "weight", "bias") if values[name] is not None]
    kinds = [x.kind for x in operands]
    if len({kind == "numpy.ndarray" for kind in kinds}) > 1 or not set(kinds) <= set(ARRAYS):
        raise invalid_operand(op, kinds, options)
    state = ConvProblem.from_conv_transpose if op.startswith("conv_transpose") else ConvProblem.from_conv
    return state(*operands, **options, dims=int(op[-2]))


def of_fields(fields: Mapping[str, Any]) -> Attempt:
    """The fields of a ``ConvProblem``, such as its text has them."""
    dims = len(fields["input_size"])
    batch = () if fields["batch"] is None else (fields["batch"],)
    operands = {
        "input": Operand((*batch, fields["in_channels"], *fields["input_size"])),
        "weight": Operand((fields["out_channels"], fields["in_channels"], *fields["kernel_size"])),
        "bias": Operand((fields["out_channels"],)) if fields.get("bias") else None,
    }
    defaults = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,), "output_padding": (0,)}
    options = {name: fields.get(name) or value * dims for name, value in defaults.items()}
    rest = {name: fields[name] for name in ("dtype", "memory_format", "transposed", "bias") if name in fields}
    op = f"conv{'_transpose' if fields['transposed'] else ''}{dims}d"

    def described(values: Values) -> dict[str, Any]:
        *lead, channels = values["input"].shape[:-dims]
        per_axis = {name: _tuples(values[name], dims, pairs=name == "padding") for name in options}
        return {
            "batch": lead[0] if lead else None, "in_channels": channels, "out_channels": values["weight"].shape[0],
            "input_size": values["input"].shape[-dims:], "kernel_size": values["weight"].shape[2:],
            "groups": values["groups"], **per_axis, **rest,
        }  # fmt: skip

    def write(values: Values) -> str:
        return format_problem(ConvProblem(**described(values)))

    values = {**operands, **options, "groups": fields.get("groups", 1)}
    return Attempt(op, values, lambda values: ConvProblem(**described(values)), write=write)


def _tuples(value: Any, dims: int, *, pairs: bool) -> tuple[Any, ...]:
    """An option as a ``ConvProblem`` has it: one entry for each axis, of padding a pair."""
    entries = tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims
    return tuple((e, e) if pairs and isinstance(e, int) else e for e in entries)
