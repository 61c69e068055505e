"""The sum of many verdicts: counts by name and by axis, and every failure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from miniconv.parity.verdict import Verdict

__all__ = ["Report"]


@dataclass
class Report:
    """What ``run`` returns.

    Attributes:
        counts: number of cases by the name of their verdict.
        by_axis: for each axis and each of its values, number of cases by the name of their verdict.
        explained: number of cases by the id of the divergence that explains them.
        refused: number of cases that the target does not support, by its reason.
        eta: for each dtype, the largest eta of a case that passed.
        failures: every verdict that did not pass.
        seconds: how long the run took.
    """

    counts: Counter[str] = field(default_factory=Counter)
    by_axis: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Counter))
    )
    explained: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    eta: dict[str, float] = field(default_factory=dict)
    failures: list[Verdict] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """How many cases were judged."""
        return sum(self.counts.values())

    @property
    def equal(self) -> int:
        """How many gave the exact result, or the same error as torch."""
        return self.counts["EQUAL"] + self.counts["SAME_ERROR"]

    @property
    def within_bound(self) -> int:
        """How many were not exact, and within the bound."""
        return self.counts["WITHIN_BOUND"]

    @property
    def known(self) -> int:
        """How many differ in a way that the catalogue of divergences explains, or were refused cleanly."""
        return self.counts["EXPLAINED"] + self.counts["UNSUPPORTED"]

    @property
    def wrong(self) -> int:
        """How many failed; ``cases`` is the sum of this and the three above."""
        return len(self.failures)

    def add(self, verdict: Verdict) -> None:
        """Counts one case."""
        self.counts[verdict.name] += 1
        for axis, value in verdict.case.axes.items():
            self.by_axis[axis][value][verdict.name] += 1
        if verdict.divergence:
            self.explained[verdict.divergence] += 1
        if verdict.name == "UNSUPPORTED":
            self.refused[verdict.detail] += 1
        if verdict.passed:
            self.eta[verdict.case.dtype] = max(self.eta.get(verdict.case.dtype, 0.0), verdict.eta)
        else:
            self.failures.append(verdict)

    @property
    def totals(self) -> str:
        """One line."""
        return (
            f"{self.cases} cases: {self.equal} equal (of which {self.counts['SAME_ERROR']} the same error), "
            f"{self.within_bound} within bound, {self.known} explained or refused, {self.wrong} wrong"
        )

    def __str__(self) -> str:
        """The totals, then at most ten failures."""
        lines = [self.totals]
        lines += [str(verdict) for verdict in self.failures[:10]]
        if self.wrong > 10:
            lines.append(f"... and {self.wrong - 10} more")
        return "\n".join(lines)
