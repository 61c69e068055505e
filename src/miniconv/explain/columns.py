"""Text that fits a terminal: how wide it is, padded to a width, broken into lines.

A Chinese character takes two columns of a terminal, so ``len`` is not the width of a line.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["cells", "right", "wrapped"]


def cells(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> cells("ow = 3"), cells("乘积")
    (6, 4)
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def right(text: str, width: int) -> str:
    """``text`` moved to the right end of so many columns.

    >>> right("乘积", 6)
    '  乘积'
    """
    return " " * (width - cells(text)) + text


def wrapped(text: str, width: int | None, indent: str = "  ") -> list[str]:
    """A line as lines of at most so many columns, all but the first indented; None is as wide as it takes.

    Lines are broken at spaces and beside Chinese characters; a longer word stands alone.

    >>> wrapped("1*2 + 3*4 + 5*6", 11)
    ['1*2 + 3*4 +', '  5*6']
    """
    if width is None or cells(text) <= width:
        return [text]
    lines = [""]
    start = re.match(" *", text)
    line = start[0] if start else ""
    for piece in re.findall(r"[⺀-鿿＀-￯]|[^\s⺀-鿿＀-￯]+|\s+", text[len(line) :]):
        if cells((line + piece).rstrip()) > width and line.strip():
            lines.append(line.rstrip())
            line = indent + piece.lstrip()
        else:
            line += piece
    return [*lines[1:], line.rstrip()]
