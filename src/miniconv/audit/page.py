"""The report as one page of HTML that loads nothing: a table that sorts, a bar of effective bits for each layer."""

from __future__ import annotations

import math
from html import escape

from miniconv.audit.judge import Side
from miniconv.audit.report import AuditReport, Layer
from miniconv.audit.table import COLUMNS, findings, heading

__all__ = ["page"]

STYLE = """
:root { color-scheme: light dark; --line: #d0d4da; --text: #16181d; --soft: #59616e; --back: #fff; --card: #f5f6f8;
  --left: #1f6feb; --right: #8b949e; --good: #116329; --bad: #b3261e; --odd: #7a5200; }
@media (prefers-color-scheme: dark) { :root { --line: #3a414b; --text: #e8eaed; --soft: #a4acb8; --back: #14171c;
  --card: #1d2127; --left: #6ea8fe; --right: #8b949e; --good: #6fd48a; --bad: #ff8f87; --odd: #f0c060; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 90rem; padding: 1rem; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; } p { margin: .25rem 0; overflow-wrap: anywhere; }
.soft { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); } .odd { color: var(--odd); }
ul { margin: .5rem 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .35rem .5rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0; padding: .2rem;
  cursor: pointer; text-align: left; white-space: nowrap; }
th[data-kind=number] { text-align: right; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
button:focus-visible { outline: 3px solid var(--left); outline-offset: 2px; }
td.words { overflow-wrap: anywhere; } td.number { text-align: right; white-space: nowrap; }
.bars { min-width: 8rem; } .bar { height: .55rem; margin: .25rem 0; background: var(--card); }
.bar i { display: block; height: 100%; } .bar .l { background: var(--left); } .bar .r { background: var(--right); }
.key i { display: inline-block; width: .8rem; height: .8rem; }
@media (max-width: 78rem) {
  table, tbody { display: block; } thead tr { display: flex; flex-wrap: wrap; gap: .25rem; }
  thead { display: block; } th { border: 1px solid var(--line); padding: 0 .25rem; }
  th:last-child { display: none; }
  tr { display: block; } tbody tr { background: var(--card); padding: .5rem; margin: .75rem 0; }
  td, td.number { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .15rem 0;
    text-align: right; white-space: normal; }
  td::before { content: attr(data-name); color: var(--soft); text-align: left; flex: none; }
  td.bars { display: block; } .bar { background: var(--back); }
}
"""

SCRIPT = """
const table = document.querySelector("table"), body = table.tBodies[0];
table.querySelectorAll("th button").forEach((button, column) => button.addEventListener("click", () => {
  const head = button.parentElement, down = head.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("th").forEach(th => th.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = row => row.cells[column].dataset.value, number = row => parseFloat(value(row));
  const numeric = head.dataset.kind === "number";
  const rows = [...body.rows].sort((a, b) => numeric ? number(a) - number(b) : value(a).localeCompare(value(b)));
  body.append(...(down ? rows.reverse() : rows));
}));
"""


def _bits(side: Side) -> float:
    """The bits that are right; -1 where there are no numbers, so that those come first."""
    return max(side.bits, 0.0) if side.judged else -1.0


def page(report: AuditReport) -> str:
    """The whole page.

    Args:
        report: what is shown, the worst layer first.

    Returns:
        HTML with its style and script inside; every text of the report is escaped.
    """
    first, second = map(escape, heading(report))
    verdict, *notes = findings(report)
    tone = "good" if report.passed else "bad" if report.wrong else "odd"
    heads = "".join(
        f'<th scope="col" data-kind="{"number" if column.order else "text"}">'
        f'<button type="button" title="{escape(column.meaning)}">{escape(name)}</button></th>'
        for name, column in COLUMNS.items()
    )
    found = [side.bits for layer in report.layers for side in (layer.left, layer.right) if math.isfinite(side.bits)]
    most = max([24, *map(math.ceil, found)])
    rows = "\n".join(_row(layer, most) for layer in report.ranked)
    key = f'<i style="background:var(--left)"></i> {escape(report.left)} <i style="background:var(--right)"></i> '
    key += f"{escape(report.right)}: correct bits of the worst element, out of {most}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Audit of {escape(report.model)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Audit of {escape(report.model)}</h1>
<p>{first}</p>
<p class="soft">{second}</p>
<p class="{tone}"><strong>{escape(verdict)}</strong></p>
<p class="key soft">{key}</p>
<table>
<thead><tr>{heads}<th scope="col">left and right</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
<ul class="soft">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _row(layer: Layer, most: int) -> str:
    """One layer."""
    cells = []
    for name, column in COLUMNS.items():
        shown, tone = column.text(layer), "words"
        if name == "verdict":
            tone = "odd" if shown == "UNSUPPORTED" else "good" if layer.left.passed else "bad"
        value = shown if column.order is None else _number(column.order(layer))
        named = f'data-name="{escape(name)}" data-value="{escape(value)}"'
        if column.order is None:  # a long path may go on in the next line behind any dot
            cells.append(f'<td class="{tone}" {named}>{escape(shown).replace(".", ".<wbr>")}</td>')
        else:
            cells.append(f'<td class="number" {named}>{escape(shown)}</td>')
    return f'<tr>{"".join(cells)}<td class="bars" aria-hidden="true">{_bars(layer, most)}</td></tr>'


def _number(value: float) -> str:
    """A value as JavaScript's ``parseFloat`` reads it."""
    return "Infinity" if math.isinf(value) else repr(value)


def _bars(layer: Layer, most: int) -> str:
    """Two bars, the left's and the right's."""
    bars = []
    for side, name in ((layer.left, "l"), (layer.right, "r")):
        percent = 100 * min(max(_bits(side), 0.0), most) / most
        bars.append(f'<div class="bar"><i class="{name}" style="width:{percent:.1f}%"></i></div>')
    return "".join(bars)
