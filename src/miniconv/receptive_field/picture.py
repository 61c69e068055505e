"""Receptive fields as frames over a picture of the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from miniconv.draw.drawing import Drawing
from miniconv.draw.numbers import greys
from miniconv.draw.scene import GROUPS, Image, Line, Rect, Scene, Shape, Text, text_width
from miniconv.explain.sums import numbers
from miniconv.language import language as chosen
from miniconv.receptive_field.texts import TEXTS

if TYPE_CHECKING:
    from miniconv.receptive_field.fields import LayerField

__all__ = ["drawn"]

Array = npt.NDArray[Any]

LONGEST = 420
"""Pixels of the longer side of the picture."""

MARGIN = 16
ROW = 20


def drawn(
    input_size: Sequence[int], rows: Sequence[LayerField], picture: Any, at: Sequence[int] | None, language: str | None
) -> Drawing:
    """The drawing; arguments as of ``ReceptiveFields.draw``."""
    texts = TEXTS[chosen(language)]
    if len(input_size) > 2:
        raise ValueError(f"a picture has one or two axes, but the input has {len(input_size)}")
    height, width = (1, *input_size)[-2:]
    scale = LONGEST / max(height, width)
    tall = height * scale if len(input_size) == 2 else 40.0
    boxes = [_box(row, at, scale, tall) for row in rows]
    left = MARGIN + max(0.0, *(-box[0] for box in boxes))
    top = MARGIN + max(0.0, *(-box[1] for box in boxes))
    right = left + max(width * scale, *(box[2] for box in boxes)) + MARGIN
    y = top + max(tall, *(box[3] for box in boxes)) + MARGIN + ROW / 2
    ground = Rect(left, top, width * scale, tall, "pad", "grid")
    shapes: list[Shape] = [ground if picture is None else _image(picture, input_size, ground)]
    size = "x".join(map(str, input_size))
    lines = [texts["title"].format(size=size)]
    shapes.append(Text(MARGIN, y, lines[0], 14, "ink", "start", bold=True))
    for number, (row, box) in enumerate(zip(rows, boxes)):
        colour, y = f"group{number % GROUPS}", y + ROW
        shapes += _frame(box, left, top, colour)
        lines.append(_described(row, at, texts["layer"]))
        shapes.append(Rect(MARGIN, y - 6, 12, 12, colour, layer=2))
        shapes.append(Text(MARGIN + 18, y, lines[-1], 12, "ink", "start"))
    if any(x1 < 0 or y1 < 0 or x2 > width * scale + 0.1 or y2 > tall + 0.1 for x1, y1, x2, y2 in boxes):
        lines.append(texts["outside"])
        y += ROW
        shapes.append(Text(MARGIN, y, lines[-1], 12, "muted", "start"))
    right = max(right, *(MARGIN * 3 + text_width(line, 13) for line in lines))
    return Drawing(Scene(round(right), round(y + ROW), tuple(shapes)), lines[0], "\n".join(lines))


def _place(row: LayerField, at: Sequence[int] | None) -> Sequence[int]:
    """The output position whose field is drawn."""
    if row.fields is None:
        raise ValueError(f"the field of {row.path or row.layer} is not known: {row.reason}")
    place = row.middle if at is None else at
    if len(place) != len(row.size) or not all(0 <= o < size for o, size in zip(place, row.size)):
        raise ValueError(f"{row.path or row.layer} has {row.size} positions, and none at {tuple(place)}")
    return place


def _box(row: LayerField, at: Sequence[int] | None, scale: float, tall: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a field, in pixels of the picture."""
    place, fields = _place(row, at), row.fields or ()
    spans = [field.span(o) or (0, -1) for field, o in zip(fields, place)]
    (x1, x2), *rest = reversed(spans)
    y1, y2 = (rest[0][0] * scale, (rest[0][1] + 1) * scale) if rest else (0.0, tall)
    return x1 * scale, y1, (x2 + 1) * scale, y2


def _frame(box: tuple[float, float, float, float], left: float, top: float, colour: str) -> list[Shape]:
    """The frame of a field, and a cross in its middle."""
    x1, y1, x2, y2 = box
    x, y = left + (x1 + x2) / 2, top + (y1 + y2) / 2
    return [
        Rect(left + x1 - 1, top + y1 - 1, x2 - x1 + 2, y2 - y1 + 2, "", "paper", 4, layer=1),
        Rect(left + x1, top + y1, x2 - x1, y2 - y1, "", colour, 2, layer=2),
        Line(x - 4, y, x + 4, y, colour, 2),
        Line(x, y - 4, x, y + 4, colour, 2),
    ]


def _described(row: LayerField, at: Sequence[int] | None, text: str) -> str:
    """One layer in words."""
    place, fields = _place(row, at), row.fields or ()
    centres = [sum(span) / 2 if (span := field.span(o)) else 0 for field, o in zip(fields, place)]
    return text.format(
        name=f"{row.layer} ({row.path})" if row.path else row.layer,
        at=",".join(map(str, place)),
        field="x".join(str(field.size) for field in fields),
        stride="x".join(str(field.stride) for field in fields),
        centre=",".join(f"{centre:g}" for centre in centres),
    )


def _image(picture: Any, input_size: Sequence[int], place: Rect) -> Image:
    """The picture in the place where it is drawn: grey, or red, green and blue; other channels are averaged."""
    array = numbers(picture)
    array = array[None] if array.ndim == len(input_size) else array
    if array.shape[1:] != tuple(input_size):
        raise ValueError(
            f"the picture has shape {array.shape}, but the input is (C, {', '.join(map(str, input_size))})"
        )
    if len(array) not in (1, 3):
        array = array.mean(axis=0, keepdims=True)
    levels = greys(array).reshape(len(array), *(1, *input_size)[-2:])
    pixels: Array = np.ascontiguousarray(levels.transpose(1, 2, 0))
    rows, columns, channels = pixels.shape
    return Image(*place[:4], rows, columns, channels, pixels.tobytes())
