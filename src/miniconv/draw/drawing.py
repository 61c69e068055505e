"""``Drawing``: scenes and their names, written as a notebook or a file wants them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from miniconv.draw import svg
from miniconv.draw.scene import Scene
from miniconv.lazy import cached_property

__all__ = ["Drawing"]

SECONDS = 0.8
"""How long a place of the window is seen."""


class Sliding:
    """A drawing whose window slides where a notebook shows it."""

    def __init__(self, drawing: Drawing, seconds: float) -> None:
        self._drawing, self._seconds = drawing, seconds

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        return self._drawing.svg(animated=True, seconds=self._seconds)


class Drawing:
    """A picture that a notebook shows by itself, and that saves itself.

    Attributes:
        scene: what is seen, as shapes.
        title: its name.
        description: what it shows, in words, for who cannot see it.
    """

    def __init__(
        self, scene: Scene, title: str, description: str, slide: Callable[[], Sequence[Scene]] | None = None
    ) -> None:
        self.scene, self.title, self.description = scene, title, description
        self._slide = slide

    @cached_property
    def frames(self) -> tuple[Scene, ...]:
        """One scene for each place that the window takes, in row-major order; the only one, where nothing slides."""
        return (self.scene,) if self._slide is None else tuple(self._slide())

    def svg(self, *, animated: bool = False, seconds: float = SECONDS) -> str:
        """The drawing as SVG, the same text every time.

        Args:
            animated: show every frame in turn; a reader who asked the system for reduced motion sees the first one.
            seconds: how long each frame is seen.

        Returns:
            One ``svg`` element, whose colours follow the reader's light or dark scheme.
        """
        if animated:
            return svg.animated(self.frames, self.title, self.description, seconds)
        return svg.written(self.scene, self.title, self.description)

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        return self.svg()

    def sliding(self, seconds: float = SECONDS) -> Sliding:
        """The animation, for a notebook to show: every frame for so many seconds."""
        return Sliding(self, seconds)

    def save(
        self,
        path: str | Path,
        *,
        animated: bool = False,
        seconds: float = SECONDS,
        dark: bool = False,
        font: str | Path | None = None,
    ) -> None:
        """Write the drawing to a file; its ending says how.

        Args:
            path: ``.svg``; ``.png``; ``.gif``, which is always animated.
            animated: whether an SVG is.
            seconds: how long a frame is seen.
            dark: the colours of a PNG or GIF; an SVG follows its reader.
            font: of a PNG or GIF, a TrueType file; needed for Chinese, which Pillow's own font has not.

        Raises:
            ValueError: another ending; letters that the font lacks.
            ImportError: a PNG or GIF needs Pillow.
        """
        path = Path(path)
        if path.suffix == ".svg":
            path.write_text(self.svg(animated=animated, seconds=seconds), encoding="utf-8")
        elif path.suffix in (".png", ".gif"):
            from miniconv.draw.raster import save

            scenes = self.frames if path.suffix == ".gif" else (self.scene,)
            save(path, scenes, seconds=seconds, dark=dark, font=font)
        else:
            raise ValueError(f"a drawing is saved as .svg, .png or .gif, but got {str(path)!r}")
