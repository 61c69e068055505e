"""A report as JUnit XML, which CI services show: one test suite for each operator, one test for each case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from miniconv.parity.document import Document, Row, verdict

__all__ = ["write"]


def write(document: Document, path: Path) -> None:
    """Writes the file: CRASHED is an error, UNSUPPORTED is skipped, whatever else did not pass is a failure."""
    path.write_text("\n".join(_lines(document)) + "\n", encoding="utf-8")


def _lines(document: Document) -> Iterator[str]:
    """The file's lines."""
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f"<testsuites name={_attribute('miniconv parity ' + document['target'])}>"
    for op in dict.fromkeys(row["op"] for row in document["cases"]):
        rows = [row for row in document["cases"] if row["op"] == op]
        kinds = [_kind(row) for row in rows]
        yield (
            f'<testsuite name="{op}" tests="{len(rows)}" failures="{kinds.count("failure")}" '
            f'errors="{kinds.count("error")}" skipped="{kinds.count("skipped")}" '
            f'time="{sum(row["seconds"] for row in rows):.6f}" timestamp={_attribute(document["started"])}>'
        )
        for row, kind in zip(rows, kinds):
            yield from _test(document, row, kind)
        yield "</testsuite>"
    yield "</testsuites>"


def _kind(row: Row) -> str:
    """The element that says how the test ended, or nothing where it passed."""
    if row["passed"]:
        return "skipped" if row["verdict"] == "UNSUPPORTED" else ""
    return "error" if row["verdict"] == "CRASHED" else "failure"


def _test(document: Document, row: Row, kind: str) -> Iterator[str]:
    """One case."""
    name = f"classname={_attribute(document['target'] + '.' + row['op'])} name={_attribute(row['case'])}"
    head = f'<testcase {name} time="{row["seconds"]:.6f}"'
    if not kind:
        yield f"{head}/>"
    elif kind == "skipped":
        yield f"{head}><skipped message={_attribute(row['detail'])}/></testcase>"
    else:
        said = f"type={_attribute(row['verdict'])} message={_attribute(row['verdict'] + ' in ' + row['part'])}"
        yield f"{head}><{kind} {said}>{_text(str(verdict(row, document['level'])))}</{kind}></testcase>"


def _text(text: str) -> str:
    """Text without the characters that XML has no way to write."""
    return escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\N{REPLACEMENT CHARACTER}", text))


def _attribute(text: str) -> str:
    """An attribute's value, in quotes."""
    return quoteattr(re.sub(r"[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", " ", text))
