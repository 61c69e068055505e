"""What a run changed against an earlier one: what got worse, what got better, what is wrong still."""

from __future__ import annotations

from miniconv.parity.document import Document
from miniconv.parity.verdict import Verdict

__all__ = ["Baseline"]


class Baseline:
    """An earlier report, and the verdicts of this run that differ from it.

    Args:
        document: the earlier report.

    Attributes:
        worse: verdicts that did not pass, on cases that passed then or were not judged.
        better: verdicts that passed, on cases that did not pass then.
        still: how many did not pass, then as now.
    """

    def __init__(self, document: Document) -> None:
        self._passed = {row["case"]: row["passed"] for row in document["cases"]}
        self.worse: list[Verdict] = []
        self.better: list[Verdict] = []
        self.still = 0

    def add(self, verdict: Verdict) -> None:
        """Compares one case."""
        then = self._passed.get(str(verdict.case), True)
        if verdict.passed and not then:
            self.better.append(verdict)
        elif not verdict.passed and then:
            self.worse.append(verdict)
        elif not verdict.passed:
            self.still += 1

    def __str__(self) -> str:
        return f"against the baseline: {len(self.worse)} worse, {len(self.better)} better, {self.still} wrong still"
