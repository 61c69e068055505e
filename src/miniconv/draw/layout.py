"""Where everything stands: from a figure to a scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from miniconv.draw.figures import Column, Figure
from miniconv.draw.planes import Cell, Plane
from miniconv.draw.scene import GROUPS, Image, Line, Rect, Scene, Shape, Text, text_width
from miniconv.draw.texts import TIMES

__all__ = ["scenes_of"]

SIDE = 26
"""Height of a cell, and its least width."""

NUMBER = 12
"""Size of the numbers."""

MARGIN = 14
GAP = 26
TITLE = 20
LINE = 18
SLICES = 8
"""Between the slices of one plane."""

WIDEST = 1000
"""How wide columns side by side may be, but for a single one."""

SIGN = text_width(f"-00000 {TIMES}", 13)
"""Room for a number before a plane, the longest that a cell can hold."""

Box = tuple[float, float]


def scenes_of(figures: Sequence[Figure], *, one_axis: bool) -> list[Scene]:
    """The shapes of figures that are seen one after another: of equal size, and the same things at the same places.

    Args:
        figures: what is shown.
        one_axis: whether the planes are rows; then each column is laid out as a line.
    """
    cell = max(map(_cell_width, figures))
    scenes = [_scene(figure, cell, _lines if one_axis else _columns) for figure in figures]
    width, height = max(scene.width for scene in scenes), max(scene.height for scene in scenes)
    return [Scene(width, height, scene.shapes) for scene in scenes]


def _scene(figure: Figure, cell: float, place: Callable[[Figure, float], tuple[list[Shape], Box]]) -> Scene:
    """One figure with its lines of text below."""
    shapes, (right, bottom) = place(figure, cell)
    y = bottom + LINE + 6
    for at, line in enumerate(figure.lines):
        size, colour = (15.0, "ink") if at == 0 else (12.0, "muted")
        shapes.append(Text(MARGIN, y, line, size, colour, "start", bold=at == 0))
        right = max(right, MARGIN + text_width(line, size * (1.06 if at == 0 else 1)))
        y += LINE + (4 if at == 0 else 0)
    return Scene(round(right + MARGIN), round(y), tuple(shapes))


def _cell_width(figure: Figure) -> float:
    """One width for all cells, so that a window has the same shape everywhere."""
    longest = max((len(cell.text) for plane in figure.planes for cell in plane.cells.values()), default=0)
    return max(SIDE, round(longest * NUMBER * 0.62) + 6)


def _columns(figure: Figure, cell: float) -> tuple[list[Shape], Box]:
    """Columns side by side, in bands one below the other where they are many; the results to their right."""
    shapes: list[Shape] = []
    sign = SIGN if figure.sources else text_width(TIMES, 13)
    bands = _bands(figure.columns, cell, sign)
    heights = [_heights(band, cell) for band in bands]
    extents = [sum(rows) + (len(rows) - 1) * GAP + _below(band) for band, rows in zip(bands, heights)]
    bottom = MARGIN + sum(extents) + (len(bands) - 1) * GAP
    left = _stack(shapes, figure.sources, MARGIN, bottom, cell) + GAP if figure.sources else MARGIN
    right, top = float(left), float(MARGIN)
    for band, rows, extent in zip(bands, heights, extents):
        right = max(right, _draw_band(shapes, band, rows, (left, top), cell, sign))
        top += extent + GAP
    if figure.results:
        middle = MARGIN + (TITLE + heights[0][0]) / 2
        shapes.append(Line(right + 8, middle, right + GAP + 14, middle, "ink", 1.5, True))
        right = _stack(shapes, figure.results, right + 2 * GAP, bottom, cell)
    return shapes, (right, max(bottom, _lowest(shapes)))


def _column_width(column: Column, cell: float, sign: float) -> float:
    """Of the widest plane, and of the signs before them."""
    return (sign + 8 if any(column.signs) else 0) + max(_size(plane, cell)[0] for plane in column.planes)


def _bands(columns: Sequence[Column], cell: float, sign: float) -> list[list[Column]]:
    """The columns, cut where a band would become too wide."""
    bands: list[list[Column]] = [[]]
    width = 0.0
    for column in columns:
        more = _column_width(column, cell, sign) + GAP
        if bands[-1] and width + more > WIDEST:
            bands.append([])
            width = 0.0
        bands[-1].append(column)
        width += more
    return bands


def _heights(band: Sequence[Column], cell: float) -> list[float]:
    """Of each row of planes: those of the same kind begin at the same height."""
    rows = max(len(column.planes) for column in band)
    return [max(_size(c.planes[row], cell)[1] for c in band if len(c.planes) > row) for row in range(rows)]


def _below(band: Sequence[Column]) -> float:
    """Room for the sums below the planes."""
    return LINE + 8 if any(column.total for column in band) else 0


def _draw_band(
    shapes: list[Shape], band: Sequence[Column], heights: Sequence[float], corner: Box, cell: float, sign: float
) -> float:
    """Columns side by side; returns their right end."""
    x, top = corner
    tops = [top + sum(heights[:row]) + row * GAP for row in range(len(heights))]
    for column in band:
        indent = sign + 8 if any(column.signs) else 0
        for plane, mark, y in zip(column.planes, column.signs, tops):
            height = _size(plane, cell)[1]
            if mark:
                shapes.append(Text(x + indent - 6, y + TITLE + (height - TITLE) / 2, mark, 13, "ink", "end"))
            _draw(shapes, plane, x + indent, y, cell)
        if column.total:
            below = tops[-1] + heights[-1] + LINE
            shapes.append(Text(x + indent, below, f"{column.heading} = {column.total}", 13, "ink", "start"))
        x += _column_width(column, cell, sign) + GAP
    return x - GAP


def _lines(figure: Figure, cell: float) -> tuple[list[Shape], Box]:
    """The same turned: each column is a line from left to right, the results below."""
    shapes: list[Shape] = []
    y: float = MARGIN
    for plane in figure.sources:
        y = _draw(shapes, plane, MARGIN, y, cell)[1] + GAP / 2
    count = max((len(column.planes) for column in figure.columns), default=0)
    widths = [
        max(_size(column.planes[at], cell)[0] for column in figure.columns if len(column.planes) > at)
        for at in range(count)
    ]
    sign = SIGN + 14 if figure.sources else text_width(TIMES, 13) + 14
    right: float = 0
    for column in figure.columns:
        x, bottom = float(MARGIN), y
        for plane, mark, width in zip(column.planes, column.signs, widths):
            if mark:
                shapes.append(Text(x + sign / 2, y + TITLE + SIDE / 2, mark, 13))
            x += sign if mark else 0
            bottom = max(bottom, _draw(shapes, plane, x, y, cell)[1])
            x += width
        if column.total:
            shapes.append(Text(x + 10, y + TITLE + SIDE / 2, f"{column.heading} = {column.total}", 13, "ink", "start"))
            x += 20 + text_width(f"{column.heading} = {column.total}", 13)
        right, y = max(right, x), bottom + GAP / 2
    if figure.results:
        shapes.append(Line(MARGIN + 10, y - 6, MARGIN + 10, y + 14, "ink", 1.5, True))
        y += GAP / 2 + 6
    for plane in figure.results:
        end, bottom = _draw(shapes, plane, MARGIN, y, cell)
        right, y = max(right, end), bottom + GAP / 2
    return shapes, (right, y)


def _stack(shapes: list[Shape], planes: Sequence[Plane], x: float, bottom: float, cell: float) -> float:
    """Planes from top to bottom, and in a further column where the height is used up; returns the right end."""
    y, right = float(MARGIN), x
    for plane in planes:
        width, height = _size(plane, cell)
        if y > MARGIN and y + height > bottom:
            x, y = right + GAP, float(MARGIN)
        _draw(shapes, plane, x, y, cell)
        right, y = max(right, x + width), y + height + GAP / 2
    return right


def _lowest(shapes: Sequence[Shape]) -> float:
    """The lower end of all rectangles."""
    return max((shape.y + shape.height for shape in shapes if isinstance(shape, Rect)), default=0)


def _unit(plane: Plane, cell: float) -> Box:
    """Width and height of one cell."""
    return (plane.pixel, plane.pixel) if plane.pixel else (cell, SIDE)


def _size(plane: Plane, cell: float) -> Box:
    """Width and height of a plane with its title."""
    slices, rows, columns = plane.size
    across, down = _unit(plane, cell)
    table = slices * columns * across + (slices - 1) * SLICES
    return max(table, text_width(plane.title, 12)), rows * down + TITLE


def _draw(shapes: list[Shape], plane: Plane, x: float, y: float, cell: float) -> Box:
    """One plane with its title; returns its right and lower end."""
    colour = "ink" if plane.group is None else f"group{plane.group % GROUPS}"
    faint = "faint" if plane.dim and plane.group is None else colour
    shapes.append(Text(x, y + 9, plane.title, 12, faint, "start"))
    slices, rows, columns = plane.size
    across, down = _unit(plane, cell)
    for slice_ in range(slices):
        left, top = x + slice_ * (columns * across + SLICES), y + TITLE
        box = left, top, columns * across, rows * down
        origin = left - plane.first[2] * across, top - plane.first[1] * down
        if plane.pixel:
            _draw_greys(shapes, plane, slice_, box)
        else:
            _draw_cells(shapes, plane, slice_, origin, cell)
        if plane.group is not None:
            thick = 1 if plane.dim else 2
            shapes.append(Rect(left - 1, top - 1, box[2] + 2, box[3] + 2, "", colour, thick, layer=1))
        if plane.window and plane.window[0][0] <= slice_ + plane.first[0] <= plane.window[1][0]:
            _outline(shapes, plane.window[0][1:], plane.window[1][1:], origin, (across, down))
    width, height = _size(plane, cell)
    return x + width, y + height


def _outline(
    shapes: list[Shape], first: Sequence[int], last: Sequence[int], origin: Box, unit: Box, thick: float = 2.5
) -> None:
    """A frame around the cells from row and column ``first`` to ``last``."""
    left, top = origin[0] + first[1] * unit[0], origin[1] + first[0] * unit[1]
    width, height = (last[1] - first[1] + 1) * unit[0], (last[0] - first[0] + 1) * unit[1]
    shapes.append(Rect(left, top, width, height, "", "strong", thick, layer=2))


def _draw_greys(shapes: list[Shape], plane: Plane, slice_: int, box: tuple[float, float, float, float]) -> None:
    """One slice as grey levels; a dashed frame parts the border from the inside."""
    _, rows, columns = plane.size
    mine = {spot[1:]: cell for spot, cell in plane.cells.items() if spot[0] == slice_ + plane.first[0]}
    shapes.append(Image(*box, rows, columns, 1, bytes(mine[spot].grey for spot in sorted(mine))))
    unit, origin = plane.pixel, (box[0] - plane.first[2] * plane.pixel, box[1] - plane.first[1] * plane.pixel)
    inside = [spot for spot, cell in mine.items() if not cell.border]
    if 0 < len(inside) < len(mine):
        (top, left), (bottom, right) = min(inside), max(inside)
        size = (right - left + 1) * unit, (bottom - top + 1) * unit
        shapes.append(
            Rect(origin[0] + left * unit, origin[1] + top * unit, *size, "", "strong", 1, dashed=True, layer=1)
        )
    for spot, cell in mine.items():
        if cell.result:
            _outline(shapes, spot, spot, origin, (unit, unit), 2)


def _draw_cells(shapes: list[Shape], plane: Plane, slice_: int, origin: Box, cell: float) -> None:
    """One slice as numbers."""
    for (at, row, column), content in plane.cells.items():
        if at == slice_ + plane.first[0]:
            _draw_cell(shapes, content, origin[0] + column * cell, origin[1] + row * SIDE, cell, plane.dim)


def _draw_cell(shapes: list[Shape], cell: Cell, x: float, y: float, width: float, dim: bool) -> None:
    """One cell: its ground, its mark, its number."""
    inset = 1.5 if cell.border else 0
    shapes.append(
        Rect(
            x + inset, y + inset, width - 2 * inset, SIDE - 2 * inset, "pad" if cell.border else "cell", "grid",
            dashed=cell.border,
        )
    )  # fmt: skip
    if cell.marked or cell.result:
        shapes.append(Rect(x + 1, y + 1, width - 2, SIDE - 2, "result" if cell.result else "mark", layer=1))
    if cell.result:
        shapes.append(Rect(x, y, width, SIDE, "", "strong", 2.5, layer=2))
    if cell.unreached:
        shapes.append(Line(x + 3, y + SIDE - 3, x + width - 3, y + 3, "faint", layer=1))
    if cell.stands:
        shapes.append(Rect(x + 3, y + 3, 4, 4, "strong", layer=2))
    if cell.text:
        colour = "faint" if dim or cell.unreached else "muted" if cell.border and not cell.marked else "ink"
        middle = x + width / 2, y + SIDE / 2
        shapes.append(
            Text(*middle, cell.text, NUMBER, colour, mono=True, bold=cell.result, name=cell.name, full=cell.full)
        )
