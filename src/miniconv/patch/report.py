"""What ``patch`` counts: convolutions taken, those handed back to torch with the reason, and the time."""

from __future__ import annotations

from threading import Lock

__all__ = ["Report"]


class Report:
    """The convolutions of one ``patch`` context; ``str`` of it is text for a person.

    Attributes:
        kinds: the kinds that the context names.
        taken: how many miniconv has computed, by kind; gradients count apart, as ``"conv2d backward"`` (one for the
            gradients of input, weight and bias together).
        handed_back: how many went to torch, by kind and reason.
        seconds: time spent in those taken, summed over all threads.

    >>> report = Report(frozenset({"conv2d"}))
    >>> report.count("conv2d", 0.25)
    >>> report.count("conv1d", 0.5, "not named by only")
    >>> print(report)
    miniconv computed 1 convolution in 0.250 s
      conv2d: 1
    torch computed 1
      conv1d: 1 (not named by only)
    """

    def __init__(self, kinds: frozenset[str]) -> None:
        self.kinds = kinds
        self.taken: dict[str, int] = {}
        self.handed_back: dict[tuple[str, str], int] = {}
        self.seconds = 0.0
        self._lock = Lock()

    def count(self, kind: str, seconds: float, reason: str | None = None) -> None:
        """Note one convolution; safe from any thread.

        Args:
            kind: such as ``"conv2d"`` or ``"conv2d backward"``.
            seconds: how long it took.
            reason: why it went to torch; None if it did not.
        """
        with self._lock:
            if reason is None:
                self.taken[kind] = self.taken.get(kind, 0) + 1
                self.seconds += seconds
            else:
                self.handed_back[kind, reason] = self.handed_back.get((kind, reason), 0) + 1

    def __str__(self) -> str:
        with self._lock:
            taken, handed_back = sorted(self.taken.items()), sorted(self.handed_back.items())
            total = sum(self.taken.values())
            lines = [f"miniconv computed {total} convolution{'s' * (total != 1)} in {self.seconds:.3f} s"]
        lines += [f"  {kind}: {count}" for kind, count in taken]
        lines += [f"torch computed {sum(count for _, count in handed_back)}"]
        lines += [f"  {kind}: {count} ({reason})" for (kind, reason), count in handed_back]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Report: {sum(self.taken.values())} taken, {sum(self.handed_back.values())} handed back>"
