"""What a drawing is made of: a few shapes as plain data, and the colours that they name.

A drawing is built once, as shapes, and written twice: by ``svg`` as text, by ``raster`` as pixels. A shape names a
colour by its role, so that one drawing has a light and a dark form.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["DARK", "GROUPS", "LIGHT", "Image", "Line", "Rect", "Scene", "Shape", "Text", "text_width"]

LIGHT = {
    "paper": "#ffffff", "ink": "#1b1f24", "muted": "#6a737d", "faint": "#8b949e", "cell": "#ffffff", "pad": "#eef0f3",
    "grid": "#c3c9d0", "mark": "#ffd98a", "strong": "#b35900", "result": "#f5a623",
    "group0": "#0b62c4", "group1": "#1a7f37", "group2": "#9a1fae", "group3": "#b3261e", "group4": "#00707d",
    "group5": "#7a5200",
}  # fmt: skip
"""The colours of each role, for a reader in a light room."""

DARK = {
    "paper": "#16191d", "ink": "#eceff2", "muted": "#9aa4af", "faint": "#76808b", "cell": "#1f242a", "pad": "#2b313a",
    "grid": "#4a525c", "mark": "#6b4d12", "strong": "#ffb74d", "result": "#8f5606",
    "group0": "#6cb2ff", "group1": "#5fd07a", "group2": "#dd93ea", "group3": "#ff8f86", "group4": "#4fd0de",
    "group5": "#e0b060",
}  # fmt: skip
"""The same for a dark one."""

GROUPS = sum(role.startswith("group") for role in LIGHT)
"""How many groups have a colour of their own; the next one begins again."""


class Rect(NamedTuple):
    """A rectangle.

    Attributes:
        x, y, width, height: in pixels, y downwards.
        fill: a role, or nothing.
        stroke: a role, or nothing.
        thick: of the stroke.
        dashed: whether the stroke is.
        layer: what is drawn first: 0 cells, 1 marks, 2 outlines and text.
    """

    x: float
    y: float
    width: float
    height: float
    fill: str = ""
    stroke: str = ""
    thick: float = 1
    dashed: bool = False
    layer: int = 0


class Text(NamedTuple):
    """One line of text.

    Attributes:
        x, y: of the anchor; y is the middle of the line.
        text: what is written.
        size: of the letters, in pixels.
        colour: a role.
        anchor: ``"start"``, ``"middle"`` or ``"end"``.
        mono: whether all letters are equally wide.
        bold: whether the letters are thick.
        name: which element the number is of, such as ``input[0, 1, 2]``.
        full: the number before it was shortened, where it was.
        layer: see ``Rect``.
    """

    x: float
    y: float
    text: str
    size: float = 12
    colour: str = "ink"
    anchor: str = "middle"
    mono: bool = False
    bold: bool = False
    name: str = ""
    full: str = ""
    layer: int = 2


class Line(NamedTuple):
    """A straight line, perhaps with an arrow's head at its end."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str = "ink"
    thick: float = 1
    arrow: bool = False
    layer: int = 2

    @property
    def barbs(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The outer ends of the arrow's head."""
        x, y = self.x2 - self.x1, self.y2 - self.y1
        length = math.hypot(x, y) or 1.0
        x, y = 6 * x / length, 6 * y / length
        return (self.x2 - x - y / 2, self.y2 - y + x / 2), (self.x2 - x + y / 2, self.y2 - y - x / 2)


class Image(NamedTuple):
    """A picture of pixels, each a square or rectangle of even colour.

    Attributes:
        x, y, width, height: where it is drawn.
        rows, columns: pixels.
        channels: 1 (grey) or 3 (red, green, blue).
        pixels: bytes, row by row.
        layer: see ``Rect``.
    """

    x: float
    y: float
    width: float
    height: float
    rows: int
    columns: int
    channels: int
    pixels: bytes
    layer: int = 0


Shape = Rect | Text | Line | Image


class Scene(NamedTuple):
    """Everything that is seen at one moment.

    Attributes:
        width, height: in pixels.
        shapes: in the order in which they are drawn.
    """

    width: float
    height: float
    shapes: tuple[Shape, ...]


def text_width(text: str, size: float, mono: bool = False) -> float:
    """How wide a text is at most, in pixels.

    >>> text_width("1234", 10, mono=True)
    24.8
    """
    narrow = 0.62 if mono else 0.56
    return round(sum(size if ord(letter) > 0x2E7F else size * narrow for letter in text), 3)
