"""A report as one HTML page that loads nothing: totals, a matrix that leads to the cases, effective bits, times.

The page's skeleton, style and script stand beside this file: ``page.html``, ``page.css``, ``page.js`` and
``page_cases.js``. The report is embedded
as JSON, column by column, each text once; whatever a target said reaches the page as text only, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from miniconv.parity.document import Document
from miniconv.parity.verdict import PASSING, VERDICTS, reproduction

__all__ = ["page", "write"]

_PLACE = re.compile(r"\{\{(\w+)\}\}")
_CASE = "\0"
_LEFT_OUT = ("axes", "op", "passed")


def write(document: Document, path: Path) -> None:
    """Writes the page.

    Args:
        document: the run.
        path: the file.

    Raises:
        OSError: it cannot be written.
    """
    path.write_text(page(document), encoding="utf-8")


def page(document: Document) -> str:
    """The whole page.

    Args:
        document: the run, all of its cases included.

    Returns:
        HTML with its style, its script and the report inside. Its policy forbids the browser to load anything and to
        run any script but its own.
    """
    script, style = _part("page.js") + _part("page_cases.js"), _part("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {
        "title": escape(document["target"].encode(errors="backslashreplace").decode()),
        "style": style, "script": script, "hash": digest, "report": _embedded(_report(document)),
    }  # fmt: skip
    return _PLACE.sub(lambda place: parts[place[1]], _part("page.html"))


def _part(name: str) -> str:
    """One of the files that the page is made of."""
    return resources.files("miniconv.parity").joinpath(name).read_text(encoding="utf-8")


def _report(document: Document) -> dict[str, Any]:
    """What the script is given."""
    cases = document["cases"]
    axes = dict.fromkeys(axis for case in cases for axis in case["axes"])
    names = [name for name in (cases[0] if cases else ()) if name not in _LEFT_OUT]
    by_name: Sequence[Mapping[str, Any]] = cases
    targets = {case["target"] for case in cases}
    return {
        "run": {name: value for name, value in document.items() if name != "cases"},
        "verdicts": VERDICTS, "passing": PASSING,
        "reproduce": {target: reproduction(_CASE, target, document["level"]).split(_CASE) for target in targets},
        "axes": {axis: _column([case["axes"].get(axis) for case in cases]) for axis in axes},
        "columns": {name: _column([case[name] for case in by_name]) for name in names},
    }  # fmt: skip


def _column(values: Sequence[Any]) -> dict[str, Any]:
    """A column as its different values and, for each case, which of them it has.

    >>> _column(["same", "valid", "same"])
    {'of': ['same', 'valid'], 'at': [0, 1, 0]}
    """
    different: dict[str, int] = {}
    at = [different.setdefault(json.dumps(value), len(different)) for value in values]
    return {"of": [json.loads(text) for text in different], "at": at}


def _embedded(report: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: ``<`` begins neither an end tag nor a comment in it."""
    text = json.dumps(report, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")
