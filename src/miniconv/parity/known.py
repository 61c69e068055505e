"""Known divergences of a target: a TOML file with reasons, so that what is known does not hide what is new.

One table an entry, four keys each, no others::

    [[known]]
    case = "conv2d n2 c4 o6 i7x9 k3x2 float32"    # or cases = "k3x2 and not bias": an expression, as -k takes it
    verdict = "WRONG_VALUE"                       # what is said of those cases
    reason = "the tail of a row is dropped"
    link = "https://example.org/tracker/12"

A case that an entry names must fail with that verdict: then it counts as explained. Any other failure is one still,
and a case that passes is UNEXPECTED_PASS, a failure too: the entry is out of date. A case that the target does not
support stays that.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from miniconv.parity.cases import Case
from miniconv.parity.filters import Filter
from miniconv.parity.verdict import PASSING, VERDICTS, Verdict

__all__ = ["Entry", "Known"]


class Entry(NamedTuple):
    """One entry of the file.

    Attributes:
        speaks_for: whether it is about a case.
        verdict: what is known to be said of that case.
        reason: why, for a person to read.
        link: where more is said.
    """

    speaks_for: Callable[[Case], bool]
    verdict: str
    reason: str
    link: str


@dataclass(frozen=True)
class Known:
    """What a file knows of a target.

    Attributes:
        entries: in the file's order; the first that speaks for a case counts.
    """

    entries: tuple[Entry, ...]

    @classmethod
    def load(cls, path: Path) -> Known:
        """Reads a file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no such file; the message names the entry.
        """
        try:
            content = _loads(path.read_text(encoding="utf-8"))
        except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are both
            raise ValueError(f"{path}: {error}") from error
        rows = content.get("known")
        if set(content) != {"known"} or not isinstance(rows, list):
            raise ValueError(f"{path}: it holds [[known]] tables and nothing else, but got {', '.join(content)}")
        try:
            return cls(tuple(_entry(row, number) for number, row in enumerate(rows, 1)))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def entry(self, case: Case) -> Entry | None:
        """The entry that speaks for ``case``."""
        return next((entry for entry in self.entries if entry.speaks_for(case)), None)

    def settle(self, verdict: Verdict) -> Verdict:
        """``verdict`` in the light of what is known: EXPLAINED, UNEXPECTED_PASS, or as it was."""
        entry = self.entry(verdict.case)
        if entry is None or verdict.name == "UNSUPPORTED":
            return verdict
        known = f"{entry.reason} ({entry.link})"
        if verdict.name == entry.verdict:
            return replace(verdict, name="EXPLAINED", divergence=known)
        if verdict.passed:
            return replace(
                verdict, name="UNEXPECTED_PASS", detail=f"known as {entry.verdict}, but it is right: {known}"
            )
        return verdict


def _loads(text: str) -> dict[str, Any]:
    """TOML as data; Python 3.10 reads it with a package of its own."""
    try:
        module = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ModuleNotFoundError as error:
        raise ValueError("Python 3.10 needs tomli to read TOML: pip install 'miniconv[parity]'") from error
    content: dict[str, Any] = module.loads(text)
    return content


def _entry(row: Any, number: int) -> Entry:
    """One table of the file."""
    keys = {"verdict", "reason", "link"}
    if not isinstance(row, Mapping) or set(row) - {"case", "cases"} != keys or len(row) != 4:
        raise ValueError(f"entry {number} needs case or cases, verdict, reason and link")
    if not all(isinstance(value, str) and value for value in row.values()):
        raise ValueError(f"entry {number}: every value is a text that is not empty")
    if row["verdict"] not in VERDICTS or row["verdict"] in PASSING:
        failing = [name for name in VERDICTS if name not in PASSING]
        raise ValueError(f"entry {number}: verdict is one of {', '.join(failing)}, but got {row['verdict']!r}")
    try:
        speaks_for = Filter(row["cases"]) if "cases" in row else Case.parse(row["case"]).__eq__
    except ValueError as error:
        raise ValueError(f"entry {number}: {error}") from error
    return Entry(speaks_for, row["verdict"], row["reason"], row["link"])
