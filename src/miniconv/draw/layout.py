"""Where everything stands: from a figure to a scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from miniconv.draw.figures import Column, Figure
from miniconv.draw.planes import Cell, Plane
from miniconv.draw.scene import GROUPS, Line, Rect, Scene, Shape, Text, text_width
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
    planes = [*figure.sources, *figure.results, *(plane for column in figure.columns for plane in column.planes)]
    longest = max((len(cell.text) for plane in planes for cell in plane.cells.values()), default=0)
    return max(SIDE, round(longest * NUMBER * 0.62) + 6)


def _columns(figure: Figure, cell: float) -> tuple[list[Shape], Box]:
    """Columns side by side, each from top to bottom; rows of the same kind begin at the same height."""
    shapes: list[Shape] = []
    rows = max((len(column.planes) for column in figure.columns), default=0)
    heights = [
        max(_size(column.planes[row], cell)[1] for column in figure.columns if len(column.planes) > row)
        for row in range(rows)
    ]
    tops = [MARGIN + sum(heights[:row]) + row * GAP for row in range(rows)]
    bottom = MARGIN + sum(heights) + max(0, rows - 1) * GAP
    x: float = MARGIN
    if figure.sources:
        x = _stack(shapes, figure.sources, x, bottom, cell) + GAP
    sign = SIGN if figure.sources else text_width(TIMES, 13)
    for column in figure.columns:
        indent = sign + 8 if any(column.signs) else 0
        for plane, mark, top in zip(column.planes, column.signs, tops):
            height = _size(plane, cell)[1]
            if mark:
                shapes.append(Text(x + indent - 6, top + TITLE + (height - TITLE) / 2, mark, 13, "ink", "end"))
            _draw(shapes, plane, x + indent, top, cell)
        if column.total:
            shapes.append(_total(column, x + indent, bottom + LINE))
        x += indent + max(_size(plane, cell)[0] for plane in column.planes) + GAP
    bottom += LINE + 8 if any(column.total for column in figure.columns) else 0
    if figure.results:
        middle = MARGIN + (TITLE + heights[0]) / 2
        shapes.append(Line(x - GAP + 8, middle, x + 14, middle, "ink", 1.5, True))
        x = _stack(shapes, figure.results, x + GAP, bottom, cell)
    return shapes, (x - (0 if figure.results else GAP), max(bottom, _lowest(shapes)))


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


def _total(column: Column, x: float, y: float) -> Text:
    """A column's sum, below it."""
    return Text(x, y, f"{column.heading} = {column.total}", 13, "ink", "start")


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


def _size(plane: Plane, cell: float) -> Box:
    """Width and height of a plane with its title."""
    slices, rows, columns = plane.size
    table = slices * columns * cell + (slices - 1) * SLICES
    return max(table, text_width(plane.title, 12)), rows * SIDE + TITLE


def _draw(shapes: list[Shape], plane: Plane, x: float, y: float, cell: float) -> Box:
    """One plane with its title; returns its right and lower end."""
    width, height = _size(plane, cell)
    colour = "ink" if plane.group is None else f"group{plane.group % GROUPS}"
    shapes.append(Text(x, y + 9, plane.title, 12, "faint" if plane.dim else colour, "start"))
    slices, rows, columns = plane.size

    def corner(slice_: int, row: int, column: int) -> Box:
        step = columns * cell + SLICES
        at = slice_ - plane.first[0], row - plane.first[1], column - plane.first[2]
        return x + at[0] * step + at[2] * cell, y + TITLE + at[1] * SIDE

    for position, content in plane.cells.items():
        _draw_cell(shapes, content, *corner(*position), cell, plane.dim)
    for slice_ in range(slices):
        left, top = corner(slice_ + plane.first[0], plane.first[1], plane.first[2])
        if plane.group is not None:
            stroke = "grid" if plane.dim else colour
            shapes.append(Rect(left - 1, top - 1, columns * cell + 2, rows * SIDE + 2, "", stroke, 2, layer=1))
        if plane.window and plane.window[0][0] <= slice_ + plane.first[0] <= plane.window[1][0]:
            (_, top_row, left_column), (_, low_row, right_column) = plane.window
            left, top = corner(slice_ + plane.first[0], top_row, left_column)
            size = (right_column - left_column + 1) * cell, (low_row - top_row + 1) * SIDE
            shapes.append(Rect(left, top, *size, "", "strong", 2.5, layer=2))
    return x + width, y + height


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
