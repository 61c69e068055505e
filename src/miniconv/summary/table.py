"""The table that ``summary`` returns: figures first, text from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from miniconv.summary.layers import Fields

__all__ = ["Row", "Summary"]


@dataclass(frozen=True)
class Row:
    """One run of one layer.

    Attributes:
        layer: its class and the row's number: ``Conv2d-1``.
        path: its name in the model: ``features.0``.
        output_shapes: the shape of each tensor that it returned; an axis of the batch's size in front is -1.
        parameters: numbers that it learns or holds frozen; those of an earlier row are not counted again.
        reused: whether some of its parameters belong to an earlier row.
        multiply_adds: for one sample, those over padding included; None for anything but a convolution or a linear
            layer.
        receptive_field: how much of the model's input an output element sees, for each spatial axis; None if unknown.
        output_bytes: memory of what it returned for one sample.
    """

    layer: str
    path: str
    output_shapes: tuple[tuple[int, ...], ...]
    parameters: int
    reused: bool
    multiply_adds: int | None
    receptive_field: Fields | None
    output_bytes: int

    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as printed: layer, output shape, parameters, multiply-adds, receptive field."""
        parameters = f"{self.parameters:,}"
        if self.reused:
            parameters = f"{parameters} + reused" if self.parameters else "reused"
        return (
            self.layer,
            ", ".join(map(str, map(list, self.output_shapes))) or "-",
            parameters,
            "-" if self.multiply_adds is None else f"{self.multiply_adds:,}",
            "-" if not self.receptive_field else "x".join(str(field.size) for field in self.receptive_field),
        )


@dataclass(frozen=True, repr=False)
class Summary:
    """A network as a table; ``print`` it, or read the figures.

    Attributes:
        rows: the layers in the order in which they ran.
        total_parameters: of the whole model, each counted once, layers that did not run included.
        trainable_parameters: those that require a gradient.
        input_bytes: memory of the input, one sample.
        forward_backward_bytes: memory of every layer's output twice: once for itself, once for its gradient.
        parameter_bytes: memory of the parameters.
    """

    rows: tuple[Row, ...]
    total_parameters: int
    trainable_parameters: int
    input_bytes: int
    forward_backward_bytes: int
    parameter_bytes: int

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the convolutions and linear layers, one sample."""
        return sum(row.multiply_adds or 0 for row in self.rows)

    @property
    def total_bytes(self) -> int:
        """Input, forward and backward pass, and parameters."""
        return self.input_bytes + self.forward_backward_bytes + self.parameter_bytes

    def __str__(self) -> str:
        head = ("Layer", "Output shape", "Parameters", "Multiply-adds", "Field")
        cells = [row.cells() for row in self.rows]
        widths = [max(map(len, column)) for column in zip(head, *cells)]

        def line(row: Sequence[str]) -> str:
            left = [cell.ljust(width) for cell, width in zip(row[:2], widths)]
            right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:])]
            return "  ".join(left + right)

        counted = sum(row.parameters for row in self.rows)
        figures = [
            ("Total parameters", f"{self.total_parameters:,}"),
            ("Trainable parameters", f"{self.trainable_parameters:,}"),
            ("Non-trainable parameters", f"{self.total_parameters - self.trainable_parameters:,}"),
            ("Parameters in no row", f"{self.total_parameters - counted:,}"),
            ("Multiply-adds", f"{self.multiply_adds:,}"),
            ("Input (MB)", f"{self.input_bytes / 2**20:.2f}"),
            ("Forward/backward (MB)", f"{self.forward_backward_bytes / 2**20:.2f}"),
            ("Parameters (MB)", f"{self.parameter_bytes / 2**20:.2f}"),
            ("Total (MB)", f"{self.total_bytes / 2**20:.2f}"),
        ]
        if counted == self.total_parameters:
            del figures[3]
        rule = "-" * len(line(head))
        lines = [line(head), rule, *map(line, cells), rule]
        return "\n".join(lines + [f"{name}: {figure}" for name, figure in figures])

    __repr__ = __str__
