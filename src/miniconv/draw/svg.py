"""A scene as SVG: text that names its parts, in the reader's light or dark colours."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from miniconv.draw.scene import DARK, LIGHT, Image, Line, Rect, Scene, Shape, Text

__all__ = ["animated", "png", "written"]


def written(scene: Scene, title: str, description: str) -> str:
    """The scene as one SVG element.

    Args:
        scene: what is seen.
        title: its name, which a screen reader says.
        description: what it shows, in words.
    """
    return _element(scene, title, description, "", _shapes(scene.shapes))


def animated(scenes: Sequence[Scene], title: str, description: str, seconds: float) -> str:
    """Scenes one after another, again and again; the first one alone for a reader who wants no motion.

    Args:
        scenes: what is seen, of equal sizes.
        title, description: as of ``written``.
        seconds: how long each is seen.
    """
    if len(scenes) == 1:
        return written(scenes[0], title, description)
    count, common = len(scenes), set(scenes[0].shapes).intersection(*(scene.shapes for scene in scenes[1:]))
    name = f"mcd-show-{count}"
    style = (
        f"@keyframes {name}{{0%{{visibility:visible}}{_plain(100 / count)}%,100%{{visibility:hidden}}}}"
        f".{name}{{visibility:hidden;animation:{name} {_plain(seconds * count)}s step-end infinite}}"
        f"@media (prefers-reduced-motion:reduce){{.{name}{{animation:none}}.{name}-0{{visibility:visible}}}}"
    )
    lines = []
    for layer in range(3):  # what moves lies over what stays, but under the next layer
        lines += _shapes([shape for shape in scenes[0].shapes if shape in common and shape.layer == layer])
        for at, scene in enumerate(scenes):
            moving = _shapes([shape for shape in scene.shapes if shape not in common and shape.layer == layer])
            if moving:
                delay = f"animation-delay:{_plain(seconds * at)}s"
                lines += [f'<g class="{name} {name}-{at}" style="{delay}">', *moving, "</g>"]
    return _element(scenes[0], title, description, style, lines)


def png(image: Image) -> bytes:
    """The pixels of a picture as a PNG file."""
    width = image.columns * image.channels
    lines = b"".join(b"\0" + image.pixels[row * width : (row + 1) * width] for row in range(image.rows))
    head = struct.pack(">IIBBBBB", image.columns, image.rows, 8, 0 if image.channels == 1 else 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _element(scene: Scene, title: str, description: str, style: str, lines: Sequence[str]) -> str:
    """The element around the shapes."""
    width, height = _plain(scene.width), _plain(scene.height)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="mcd" role="img" aria-label={quoteattr(title)} '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" style="max-width:100%;height:auto">'
    )
    named = [f"<title>{escape(title)}</title>", f"<desc>{escape(description)}</desc>"]
    paper = f'<rect width="{width}" height="{height}" class="mcd-f-paper"/>'
    return "\n".join([head, *named, f"<style>{_STYLE}{style}</style>", paper, *lines, "</svg>"]) + "\n"


def _rules(colours: dict[str, str]) -> str:
    """A class for the fill and one for the stroke of each role."""
    return "".join(
        f".mcd-f-{role}{{fill:{colour}}}.mcd-s-{role}{{stroke:{colour}}}" for role, colour in colours.items()
    )


# The classes have a prefix of their own, because a style inside a page's SVG is the whole page's.
_STYLE = (
    ".mcd text{font-family:system-ui,'Noto Sans','Noto Sans CJK SC','PingFang SC','Microsoft YaHei',sans-serif;"
    "dominant-baseline:central}.mcd text.mcd-mono{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}"
    f"{_rules(LIGHT)}@media (prefers-color-scheme:dark){{{_rules(DARK)}}}"
)


def _shapes(shapes: Sequence[Shape]) -> list[str]:
    """Every shape as an element, the lowest layer first."""
    return [_shape(shape) for shape in sorted(shapes, key=lambda shape: shape.layer)]


def _shape(shape: Shape) -> str:
    """One shape as an element."""
    if isinstance(shape, Rect):
        return _rect(shape)
    if isinstance(shape, Text):
        return _text(shape)
    if isinstance(shape, Image):
        place = " ".join(f'{name}="{_plain(value)}"' for name, value in zip(("x", "y", "width", "height"), shape[:4]))
        data = base64.b64encode(png(shape)).decode()
        return (
            f'<image {place} preserveAspectRatio="none" style="image-rendering:pixelated" '
            f'href="data:image/png;base64,{data}"/>'
        )
    return _line(shape)


def _rect(rect: Rect) -> str:
    """A rectangle."""
    words = [f'x="{_plain(rect.x)}" y="{_plain(rect.y)}" width="{_plain(rect.width)}" height="{_plain(rect.height)}"']
    classes = [f"mcd-f-{rect.fill}"] if rect.fill else []
    classes += [f"mcd-s-{rect.stroke}"] if rect.stroke else []
    words += [f'class="{" ".join(classes)}"'] + ([] if rect.fill else ['fill="none"'])
    words += [f'stroke-width="{_plain(rect.thick)}"'] if rect.stroke and rect.thick != 1 else []
    words += ['stroke-dasharray="3 2"'] if rect.dashed else []
    return f"<rect {' '.join(words)}/>"


def _text(text: Text) -> str:
    """A line of text; the whole number of a shortened one is its title."""
    classes = f"mcd-f-{text.colour}" + (" mcd-mono" if text.mono else "")
    words = [f'x="{_plain(text.x)}" y="{_plain(text.y)}" class="{classes}" font-size="{_plain(text.size)}"']
    words += [] if text.anchor == "start" else [f'text-anchor="{text.anchor}"']
    words += ['font-weight="700"'] if text.bold else []
    words += [f"data-name={quoteattr(text.name)}"] if text.name else []
    title = f"<title>{escape(text.full)}</title>" if text.full else ""
    return f"<text {' '.join(words)}>{title}{escape(text.text)}</text>"


def _line(line: Line) -> str:
    """A line, and the head of an arrow."""
    ends = [(line.x1, line.y1), (line.x2, line.y2)]
    path = "M" + " L".join(f"{_plain(x)} {_plain(y)}" for x, y in ends)
    if line.arrow:
        path += "".join(f" M{_plain(line.x2)} {_plain(line.y2)} L{_plain(x)} {_plain(y)}" for x, y in line.barbs)
    thick = f' stroke-width="{_plain(line.thick)}"' if line.thick != 1 else ""
    return f'<path d="{path}" fill="none" class="mcd-s-{line.colour}"{thick}/>'


def _plain(number: float) -> str:
    """A coordinate in as few digits as a drawing needs."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
