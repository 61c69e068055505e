"""The report as text: a table as wide as the terminal, and what a reader must know first."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Callable
from typing import NamedTuple

from miniconv.audit.judge import Side
from miniconv.audit.report import AuditReport, Layer

__all__ = ["COLUMNS", "Column", "figure", "findings", "heading", "table"]


def figure(value: float | None, digits: int = 2) -> str:
    """A relative error in few characters."""
    if value is None:
        return "-"
    return "0" if value == 0 else "inf" if math.isinf(value) else f"{value:.{digits - 1}e}"


def _bits(side: Side) -> str:
    """The bits that are right."""
    return "-" if not side.judged else "all" if math.isinf(side.bits) else f"{max(side.bits, 0):.1f}"


def _of_bound(side: Side) -> str:
    """In percent, or as a multiple where it is more."""
    if not side.judged:
        return "-"
    percent = 100 * side.of_bound
    return f"{percent:.2g}%" if percent < 99.5 else figure(side.of_bound, 3) + "x"


def _milliseconds(side: Side) -> str:
    return f"{1e3 * side.seconds:.2f}" if side.seconds else "-"


def _count(number: int) -> str:
    """Multiply-adds in thousands, millions or billions."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {letter}"
    return str(number)


class Column(NamedTuple):
    """One column, in the table and on the page.

    Attributes:
        text: what a layer shows.
        meaning: of the figure, in words.
        order: what it sorts by; None for a column of words.
        omitted: how early it is left out where the terminal is narrow; 0 never.
    """

    text: Callable[[Layer], str]
    meaning: str
    order: Callable[[Layer], float] | None = None
    omitted: int = 0


COLUMNS = {
    "#": Column(lambda layer: str(layer.number), "the convolution's place in the pass", lambda layer: layer.number),
    "layer": Column(lambda layer: layer.name, "the path of its module"),
    "convolution": Column(lambda layer: layer.operation or "-", "what is computed", omitted=5),
    "mult-adds": Column(
        lambda layer: _count(layer.multiply_adds), "nominal multiply-adds", lambda layer: layer.multiply_adds, omitted=4
    ),
    "bits": Column(
        lambda layer: _bits(layer.left),
        "bits that are right in the left's worst element, relative to the sum of absolute products",
        lambda layer: max(layer.left.bits, 0) if layer.left.judged else -1,
    ),
    "eta": Column(
        lambda layer: f"{layer.left.eta:.3g}" if layer.left.judged else "-",
        "the same error in units of roundoff of the dtype that sums are accumulated in",
        lambda layer: layer.left.eta if layer.left.judged else -1,
        omitted=4,
    ),
    "of bound": Column(
        lambda layer: _of_bound(layer.left),
        "the left's largest error as a part of what its bound allows",
        lambda layer: layer.left.of_bound,
        omitted=1,
    ),
    "local": Column(
        lambda layer: figure(layer.left.local) if layer.left.judged else "-",
        "the left's own error on its actual input, relative to the output",
        lambda layer: layer.left.local,
        omitted=2,
    ),
    "inherited": Column(
        lambda layer: figure(layer.inherited),
        "how far the left's input is from the right's, relative to it",
        lambda layer: -1 if layer.inherited is None else layer.inherited,
        omitted=2,
    ),
    "left ms": Column(lambda layer: _milliseconds(layer.left), "time", lambda layer: layer.left.seconds, omitted=3),
    "right ms": Column(lambda layer: _milliseconds(layer.right), "time", lambda layer: layer.right.seconds, omitted=3),
    "right bits": Column(
        lambda layer: _bits(layer.right),
        "bits of the right on that same input",
        lambda layer: max(layer.right.bits, 0) if layer.right.judged else -1,
        omitted=3,
    ),
    "verdict": Column(lambda layer: layer.left.verdict, "on the left"),
}
"""Every column by its heading."""


def table(report: AuditReport, width: int | None = None, colour: bool | None = None) -> str:
    """The report as lines for a person.

    Args:
        report: what is shown, the worst layer first.
        width: of the terminal; columns that do not fit are left out. None: standard output's, unlimited where it is
            no terminal and ``COLUMNS`` is not set.
        colour: whether verdicts are coloured; None: on a terminal, unless ``NO_COLOR`` is set.
    """
    terminal = sys.stdout is not None and sys.stdout.isatty()
    if width is None and (terminal or os.environ.get("COLUMNS", "").isdigit()):
        width = shutil.get_terminal_size().columns
    if colour is None:
        colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    rows = [{name: column.text(layer) for name, column in COLUMNS.items()} for layer in report.ranked]
    names = _fitting(rows, width)
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    if width is not None:  # the names of layers give way last
        spare = width - sum(widths.values()) - 2 * (len(names) - 1)
        widths["layer"] = max(min(6, widths["layer"]), widths["layer"] + min(0, spare))

    def line(row: dict[str, str]) -> str:
        cells = [_shortened(row[name], widths[name]) for name in names]
        aligned = [c.rjust(widths[n]) if COLUMNS[n].order else c.ljust(widths[n]) for n, c in zip(names, cells)]
        return "  ".join(aligned).rstrip()

    lines = [line({name: name for name in names}), "-" * (sum(widths.values()) + 2 * (len(names) - 1))]
    for layer, row in zip(report.ranked, rows):
        lines.append(_painted(line(row), layer, colour))
    return "\n".join([*heading(report), "", *lines, "", *findings(report)])


def _fitting(rows: list[dict[str, str]], width: int | None) -> list[str]:
    """The columns that fit, those of the least weight left out first."""
    names = list(COLUMNS)
    for level in range(5, 0, -1):
        taken = sum(max(len(name), *(len(row[name]) for row in rows)) + 2 for name in names) - 2
        if width is None or taken <= width:
            break
        names = [name for name in names if COLUMNS[name].omitted != level]
    return names


def _shortened(text: str, width: int) -> str:
    """The text, its beginning left out where it is too long: the end of a path says more."""
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]


def _painted(line: str, layer: Layer, colour: bool) -> str:
    """The line with its verdict in green, yellow or red."""
    if not colour:
        return line
    side = layer.left
    code = 33 if side.verdict == "UNSUPPORTED" else 32 if side.passed else 31
    start = line.rindex(side.verdict)
    return f"{line[:start]}\033[{code}m{side.verdict}\033[0m"


def heading(report: AuditReport) -> tuple[str, str]:
    """What was audited, in two lines."""
    count = len(report.layers)
    inputs = f" on {', '.join(report.inputs)}" if report.inputs else ""
    counted = f"{count} convolution{'s' * (count != 1)}, {_count(report.multiply_adds)} multiply-adds"
    return (
        f"{report.model}: {counted}{inputs}, in {report.mode} mode",
        f"left {report.left} (audited), right {report.right}; worst first",
    )


def findings(report: AuditReport) -> list[str]:
    """The verdict in words, then every layer that has more to say."""
    wrong, first = report.wrong, report.first_beyond
    lines = []
    if first is None and report.passed:
        lines.append(f"{report.left} is within its bound in every layer that was judged")
    elif first is None:
        lines.append(f"{report.left} was judged in no layer")
    else:
        lines.append(
            f"{report.left} is wrong in {len(wrong)} of {len(report.layers)} layers; the first to diverge beyond its "
            f"bound is {first.name} (convolution {first.number})"
        )
    for layer in report.layers:
        for side, name in ((layer.left, report.left), (layer.right, report.right)):
            if side.detail and not (name == report.right and side == layer.left):
                lines.append(f"  {layer.name}: {name}: {side.verdict}: {side.detail}")
        if layer.note:
            lines.append(f"  {layer.name}: {layer.note}")
    ways = sorted({layer.oracle for layer in report.layers if layer.oracle})
    lines.append(f"exact results: {'; '.join(ways)}. {report.seconds:.1f} s")
    return lines
