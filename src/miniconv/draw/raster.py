"""Scenes as pixels: PNG of one, GIF of several. Needs Pillow, which nothing else in this package does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from miniconv.draw.scene import DARK, LIGHT, Image, Line, Rect, Scene, Text
from miniconv.draw.texts import TIMES

__all__ = ["pixels", "save"]

Point = tuple[float, float]

PNG_SCALE = 2
"""Pixels of a PNG for each of the scene: a GIF has one, for it has many frames."""


def save(
    path: Path, scenes: Sequence[Scene], *, seconds: float, dark: bool = False, font: str | Path | None = None
) -> None:
    """Write scenes as a GIF that runs for ever, or the first one as a PNG.

    Args:
        path: ``.gif`` or ``.png``.
        scenes: what is seen, of equal sizes.
        seconds: how long each is seen.
        dark: whether the colours are for a dark page.
        font: a TrueType file; None takes Pillow's own.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: Pillow's own font lacks a letter.
    """
    if path.suffix == ".png":
        pixels(scenes[0], PNG_SCALE, dark, font).save(path, "PNG", optimize=True)
        return
    palette = _palette(DARK if dark else LIGHT)
    first, *rest = (_indexed(pixels(scene, 1, dark, font), palette) for scene in scenes)
    first.save(path, "GIF", save_all=True, append_images=rest, duration=round(seconds * 1000), loop=0, optimize=False)


def _indexed(picture: Any, palette: npt.NDArray[np.int64]) -> Any:
    """A picture in the palette's colours, each pixel in the nearest one."""
    levels = np.asarray(picture, np.int64)
    mixed: npt.NDArray[np.int64] = levels[..., 0] << 16 | levels[..., 1] << 8 | levels[..., 2]
    codes, places = np.unique(mixed, return_inverse=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    nearest = ((colours[:, None] - palette[None]) ** 2).sum(axis=2).argmin(axis=1)
    indexed = _pillow().fromarray(nearest[places].reshape(levels.shape[:2]).astype(np.uint8))
    indexed.putpalette(palette.astype(np.uint8).tobytes())
    return indexed


def pixels(scene: Scene, scale: int, dark: bool = False, font: str | Path | None = None) -> Any:
    """One scene as an RGB picture; arguments as of ``save``, ``scale`` pixels for each of the scene's."""
    pillow = _pillow()
    from PIL import ImageDraw

    colours = DARK if dark else LIGHT
    canvas = pillow.new("RGB", (round(scene.width * scale), round(scene.height * scale)), colours["paper"])
    draw = ImageDraw.Draw(canvas)
    for shape in sorted(scene.shapes, key=lambda shape: shape.layer):
        if isinstance(shape, Text):
            _draw_text(draw, shape, scale, colours, font)
        elif isinstance(shape, Rect):
            _draw_rect(draw, shape, scale, colours)
        elif isinstance(shape, Line):
            ends = [(shape.x1, shape.y1), (shape.x2, shape.y2)]
            for start in [ends[0], *(shape.barbs if shape.arrow else ())]:
                _draw_line(draw, start, ends[1], scale, colours[shape.colour], shape.thick)
        else:
            _paste(canvas, shape, scale)
    return canvas


def _palette(colours: dict[str, str]) -> npt.NDArray[np.int64]:
    """Every role's colour, the shades at the edges of letters, and greys: (256, 3) at most."""
    exact = {role: np.array(list(bytes.fromhex(colour[1:]))) for role, colour in colours.items()}
    grounds = ("paper", "pad", "mark", "result")
    shades = [
        (part * exact[role] + (4 - part) * exact[ground]) // 4
        for part in (1, 2, 3)
        for role in exact
        for ground in grounds
        if role not in grounds
    ]
    greys = [np.full(3, level) for level in range(0, 256, 4)]
    return np.array([*exact.values(), *shades, *greys], np.int64)[:256]


def _pillow() -> Any:
    """Pillow's module of pictures."""
    try:
        from PIL import Image as module
    except ImportError as error:
        raise ImportError("a PNG or GIF needs Pillow: pip install 'miniconv[draw]'; an SVG does not") from error
    return module


def _draw_text(draw: Any, text: Text, scale: int, colours: dict[str, str], path: str | Path | None) -> None:
    """A line of text; its letters need not be those that a browser takes."""
    from PIL import ImageFont

    if path is None and any(ord(letter) > 0x2E7F for letter in text.text):
        raise ValueError(
            "Pillow's own font has no Chinese: save as .svg, or name a font that has, such as font='NotoSansSC.ttf'"
        )
    size = round(text.size * scale)
    font = ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)
    anchor = {"start": "lm", "middle": "mm", "end": "rm"}[text.anchor]
    at = round(text.x * scale), round(text.y * scale)
    written = text.text.replace(TIMES, "x") if path is None else text.text  # Pillow's own font has no such sign
    draw.text(at, written, colours[text.colour], font, anchor)


def _draw_rect(draw: Any, rect: Rect, scale: int, colours: dict[str, str]) -> None:
    """A rectangle whose stroke lies on its edges."""
    left, top = rect.x * scale, rect.y * scale
    right, bottom = left + rect.width * scale, top + rect.height * scale
    if rect.fill:
        draw.rectangle((round(left), round(top), round(right), round(bottom)), colours[rect.fill])
    if not rect.stroke:
        return
    corners = [(rect.x, rect.y), (rect.x + rect.width, rect.y)]
    corners += [(x, y + rect.height) for x, y in reversed(corners)]
    for start, end in zip(corners, [*corners[1:], corners[0]]):
        for first, last in _dashes(start, end) if rect.dashed else [(start, end)]:
            _draw_line(draw, first, last, scale, colours[rect.stroke], rect.thick)


def _dashes(start: Point, end: Point) -> Iterator[tuple[Point, Point]]:
    """Three pixels drawn, two left out, along one edge."""
    length = abs(end[0] - start[0]) + abs(end[1] - start[1])

    def along(part: float) -> Point:
        return start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])

    for at in range(0, int(length), 5):
        yield along(at / length), along(min(1, (at + 3) / length))


def _draw_line(draw: Any, start: Point, end: Point, scale: int, colour: str, thick: float) -> None:
    """A straight line with square ends."""
    (x1, y1), (x2, y2) = ((round(x * scale), round(y * scale)) for x, y in (start, end))
    width = max(1, round(thick * scale))
    if x1 == x2 or y1 == y2:
        low, high = (width - 1) // 2, width // 2
        draw.rectangle((min(x1, x2) - low, min(y1, y2) - low, max(x1, x2) + high, max(y1, y2) + high), colour)
    else:
        draw.line((x1, y1, x2, y2), colour, width)


def _paste(canvas: Any, image: Image, scale: int) -> None:
    """A picture, its pixels as large as they come."""
    pillow = _pillow()
    mode = "L" if image.channels == 1 else "RGB"
    small = pillow.frombytes(mode, (image.columns, image.rows), image.pixels)
    size = round(image.width * scale), round(image.height * scale)
    large = small.resize(size, pillow.Resampling.NEAREST).convert("RGB")
    canvas.paste(large, (round(image.x * scale), round(image.y * scale)))
