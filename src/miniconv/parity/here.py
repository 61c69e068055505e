"""Cases judged in this process, for a debugger: what ends the process ends the run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

from miniconv.parity.cases import Case
from miniconv.parity.child import About, Question, Smallest, answer, found, smallest
from miniconv.parity.pool import TargetRefusedError
from miniconv.parity.verdict import Verdict

__all__ = ["Here"]


class Here:
    """Judges as a ``Pool`` does, but in this process.

    Args:
        question: the target.
    """

    def __init__(self, question: Question) -> None:
        self._question = question

    def __enter__(self) -> Here:
        from miniconv.parity.targets import TargetError

        try:
            self._targets, self._about = found(self._question)
        except TargetError as error:
            raise TargetRefusedError(str(error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def about(self) -> About:
        """What was found out about the target."""
        return self._about

    def judge(self, cases: Sequence[Case]) -> Iterator[tuple[int, Verdict]]:
        """The verdicts, one after another."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number, case in enumerate(cases):
                yield number, answer(case, self._targets)

    def smallest(self, failures: Sequence[Verdict]) -> list[Smallest]:
        """Each failure made small."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [smallest(failure, self._targets) for failure in failures]
