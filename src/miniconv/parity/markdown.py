"""A short report in Markdown, appended to a file: what a CI job shows as its summary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from miniconv.parity.baseline import Baseline
from miniconv.parity.document import Document
from miniconv.parity.report import Report

__all__ = ["append"]

LISTED = 20
"""Failures that are listed one by one."""


def append(path: Path, document: Document, report: Report, baseline: Baseline | None) -> None:
    """Appends the report to ``path``.

    Args:
        path: the file; it need not exist.
        document: the run; its cases are not looked at.
        report: the counts and the failures.
        baseline: what changed, where an earlier report was given.
    """
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(_lines(document, report, baseline)) + "\n\n")


def _lines(document: Document, report: Report, baseline: Baseline | None) -> Iterator[str]:
    """The report's lines."""
    yield f"## miniconv parity: {_code(document['target'])} is {'wrong' if report.wrong else 'right'}"
    yield ""
    part = f", part {document['shard']}" if document["shard"] else ""
    yield (
        f"{document['suite']} ({', '.join(document['ops'])}){part}, level {document['level']}, "
        f"seed {document['seed']}: {report.totals}, in {document['seconds']:.1f} s."
    )
    if document["interrupted"]:
        yield f"**Interrupted after {report.cases} of {document['chosen']} cases.**"
    yield from ("", "| verdict | cases |", "|---|---:|")
    yield from (f"| {name} | {count} |" for name, count in report.counts.most_common())
    if report.refused:
        yield from ("", "| not supported, because | cases |", "|---|---:|")
        yield from (f"| {_code(reason)} | {count} |" for reason, count in report.refused.most_common(LISTED))
    if baseline is not None:
        yield from ("", f"{str(baseline).capitalize()}.")
    failures = report.failures if baseline is None else baseline.worse
    if document["likely"]:
        yield from ("", "| likely fault | the smallest case that fails so |", "|---|---|")
        for one in document["likely"]:
            said = f"{one['verdict']} in {one['part']}"
            yield f"| {one['fault'] or 'none that is known'} | {_code(one['case'])} {said} |"
    if failures:
        yield from ("", "| what is wrong | where | case |", "|---|---|---|")
        for verdict in failures[:LISTED]:
            yield f"| {verdict.name} {_code(verdict.detail)} | {verdict.part} | {_code(str(verdict.case))} |"
    if len(failures) > LISTED:
        yield from ("", f"and {len(failures) - LISTED} more")
    yield ""
    yield f"{document['cpu']}; {', '.join(f'{name} {version}' for name, version in document['versions'].items())}"


def _code(text: str) -> str:
    """Text as code in a table's cell."""
    line = " ".join(text.replace("`", "'").replace("|", "\\|").split())[:300]
    return f"`{line}`" if line else ""
