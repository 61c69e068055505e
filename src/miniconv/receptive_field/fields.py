"""``ReceptiveFields``: the field of every layer, as figures, as a table, as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miniconv.receptive_field.axis import AxisField

if TYPE_CHECKING:
    from miniconv.draw import Drawing
    from miniconv.receptive_field.state import State

__all__ = ["LayerField", "ReceptiveFields"]


@dataclass(frozen=True)
class LayerField:
    """One run of one layer.

    Attributes:
        layer: its class and the number of the run: ``Conv2d-1``.
        path: its name in the model: ``features.0``.
        shape: of what it returned.
        size: how many positions its output has along each axis of the input; 1 where all elements see the same.
        fields: for each axis of the input; None where they are not known.
        reason: why they are not; empty where they are.
    """

    layer: str
    path: str
    shape: tuple[int, ...]
    size: tuple[int, ...]
    fields: tuple[AxisField, ...] | None
    reason: str = ""

    @classmethod
    def of(cls, layer: str, path: str, shape: tuple[int, ...], known: State | str) -> LayerField:
        """What is known of a layer's output."""
        if isinstance(known, str):
            return cls(layer, path, shape, (), None, known)
        sizes = known.sizes()
        return cls(layer, path, shape, tuple(sizes.get(along, 1) for along in range(len(known.fields))), known.fields)

    def at(self, *output: int) -> tuple[tuple[int, int] | None, ...]:
        """The first and the last input position that an output position sees, for each axis, padding left out."""
        assert self.fields is not None, self.reason
        return tuple(field.clipped(o) for field, o in zip(self.fields, output))

    @property
    def middle(self) -> tuple[int, ...]:
        """The output position in the middle."""
        return tuple(size // 2 for size in self.size)

    @property
    def document(self) -> dict[str, Any]:
        """Everything as JSON has it; a stride that is no integer is a string such as ``"1/2"``."""
        fields = None if self.fields is None else [_document(field) for field in self.fields]
        named = {"layer": self.layer, "path": self.path, "shape": list(self.shape), "size": list(self.size)}
        return {**named, "fields": fields, "reason": self.reason}

    def cells(self) -> list[str]:
        """As printed: layer, output, field, stride, start, centre."""
        if self.fields is None:
            return [self.layer, "-", "-", "-", "-", "-"]
        whole = [field.whole for field in self.fields]
        size = ["1" if still else str(size) for size, still in zip(self.size, whole)]
        centre = [f"{field.centre:g}" for field in self.fields]
        columns = [size, [str(field.size) for field in self.fields], [str(field.stride) for field in self.fields]]
        starts = [str(field.start) for field in self.fields]
        return [self.layer, *map("x".join, columns), ",".join(starts), ",".join(centre)]


@dataclass(frozen=True, repr=False)
class ReceptiveFields:
    """The receptive fields of a model; ``print`` it, or read the figures.

    Attributes:
        input_size: of the input's spatial axes.
        rows: the layers in the order in which they ran.
        output: what the first tensor of the model's output sees.
    """

    input_size: tuple[int, ...]
    rows: tuple[LayerField, ...]
    output: LayerField

    def __getitem__(self, name: str) -> LayerField:
        """The last run of a layer, by its path or by ``Conv2d-1``."""
        found = [row for row in (*self.rows, self.output) if name in (row.path, row.layer)]
        if not found:
            raise KeyError(f"{name!r}; there are {', '.join(row.path or row.layer for row in self.rows)}")
        return found[-1]

    @property
    def document(self) -> dict[str, Any]:
        """Everything as JSON has it."""
        rows = [row.document for row in self.rows]
        return {"input_size": list(self.input_size), "rows": rows, "output": self.output.document}

    def to_json(self) -> str:
        """``document`` as JSON text."""
        return json.dumps(self.document)

    def draw(
        self,
        picture: Any = None,
        *,
        layers: Sequence[str] = (),
        at: Sequence[int] | None = None,
        language: str | None = None,
    ) -> Drawing:
        """Fields as frames over a picture of the input.

        Args:
            picture: (C, H, W) or (H, W), C = 1 or 3; (C, W) or (W,) for one axis; None draws an empty one.
            layers: names of layers, by path or by ``Conv2d-1``; default the last one whose field is known.
            at: the output position whose field is drawn; None takes each layer's middle.
            language: ``"en"`` or ``"zh"``; None asks the environment.

        Raises:
            KeyError: there is no such layer.
            ValueError: the layer's field is not known, with the reason; the picture has not the input's size; the input
                has three axes.
        """
        from miniconv.receptive_field.picture import drawn

        known = [row for row in (*self.rows, self.output) if row.fields is not None]
        return drawn(self.input_size, [self[name] for name in layers] or known[-1:], picture, at, language)

    def __str__(self) -> str:
        head = ["Layer", "Output", "Field", "Stride", "Start", "Centre"]
        shown = [*self.rows, *([] if self.rows and self.rows[-1].fields == self.output.fields else [self.output])]
        rows = [row.cells() for row in shown]
        widths = [max(map(len, column)) for column in zip(head, *rows)]

        def line(cells: Sequence[str]) -> str:
            rest = "  ".join(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))
            return f"{cells[0].ljust(widths[0])}  {rest}".rstrip()

        lines = [f"receptive fields on the input {'x'.join(map(str, self.input_size))}", line(head)]
        lines += ["-" * len(line(head)), *map(line, rows)]
        reasons: dict[str, str] = {}
        for row in shown:
            if row.reason:
                reasons.setdefault(row.reason, row.layer)
        holes = [row.layer for row in shown if row.fields and any(field.has_holes for field in row.fields)]
        lines += [f"-: not known from {layer} on: {reason}" for reason, layer in reasons.items()]
        lines += [f"not every position inside the field is seen: {', '.join(holes)}"] if holes else []
        return "\n".join(lines)

    __repr__ = __str__


def _document(field: AxisField) -> dict[str, Any]:
    """One axis of one layer."""
    stride = field.stride
    return {
        "size": field.size,
        "stride": stride.numerator if stride.denominator == 1 else str(stride),
        "start": field.start,
        "centre": field.centre,
        "whole": field.whole,
        "has_holes": field.has_holes,
        "period": field.period,
    }
