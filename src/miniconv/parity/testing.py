"""For a test file of one's own: a test for each case, and an assertion on a function.

>>> from miniconv.parity import check
>>> import torch
>>> check(torch.nn.functional.conv1d, "conv1d n2 c4 o6 i9 k3 s2 float32").equal
1
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

if TYPE_CHECKING:
    import miniconv.parity.report
    from miniconv.parity.cases import Case
    from miniconv.parity.targets import Target
    from miniconv.parity.verdict import Verdict

__all__ = ["cases", "check"]

SHOWN = 10
"""How many verdicts stand in the text of an ``AssertionError``."""


def cases(
    suite: str = "smoke",
    *,
    op: str = "conv2d",
    level: str = "values",
    dtypes: Collection[str] = (),
    words: str = "",
    seed: int = 0,
) -> Any:
    """A decorator that runs a pytest test once for each case, under the name ``case``; the case's text is its id.

    ::

        @miniconv.parity.cases("smoke", op="conv1d", words="float32 and not bias")
        def test_mine(case):
            miniconv.parity.check(my_conv1d, case)

    Args:
        suite: one of ``miniconv.parity.options.SUITES``.
        op: the operator.
        level: one of ``miniconv.parity.options.LEVELS``; ``values`` leaves out what has no result.
        dtypes: which dtypes; empty for all.
        words: as ``miniconv parity -k`` takes them.
        seed: of the sample and of its numbers.

    Raises:
        ValueError: ``words`` cannot be read.
    """
    import pytest

    from miniconv.parity.suites import choose

    chosen = choose(suite, [op], level=level, dtypes=dtypes, words=words, seed=seed)
    return pytest.mark.parametrize("case", chosen, ids=str)


def check(
    function: Callable[..., Any] | str,
    cases: Case | str | Iterable[Case],
    *,
    op: str = "conv2d",
    level: str = "values",
    known: str | Path | None = None,
    timeout: float = 60.0,
    **options: Any,
) -> miniconv.parity.report.Report:
    """Judges a function and raises where it is wrong.

    What is named by a text is imported and called in a child process, so that a crash is a failure and not the end of
    the tests. A function that is handed over may live in this process alone, and is called here.

    Args:
        function: what to judge: a function, or what ``miniconv parity`` takes as its target.
        cases: a case, its text, several cases, or a suite by its name.
        op: the operator, where ``cases`` names a suite.
        level: one of ``miniconv.parity.options.LEVELS``.
        known: a file of known divergences, see ``miniconv.parity.known``.
        timeout: seconds that a case may take in the child process.
        **options: the other arguments of ``miniconv.parity.targets.find``.

    Returns:
        The counts.

    Raises:
        AssertionError: a verdict did not pass; its text says which, and how to reproduce it.
        unittest.SkipTest: the function supports none of the cases; pytest counts such a test as skipped.
        ValueError: there is no case, or the function cannot be judged at all.
        OSError: ``known`` cannot be read.
    """
    from miniconv.parity.known import Known
    from miniconv.parity.report import Report

    todo = _listed(cases, op, level)
    if not todo:
        raise ValueError("there is no case to judge")
    knowing = Known(()) if known is None else Known.load(Path(known))
    report, start = Report(), time.perf_counter()
    options["level"] = level
    if isinstance(function, str):
        verdicts = _in_a_child(function, todo, options, timeout)
    else:
        verdicts = _here(function, todo, options)
    for verdict in verdicts:
        report.add(knowing.settle(verdict))
    report.seconds = time.perf_counter() - start
    if report.failures:
        more = f"\n... and {report.wrong - SHOWN} more" if report.wrong > SHOWN else ""
        raise AssertionError("\n".join([report.totals, *map(str, report.failures[:SHOWN])]) + more)
    if report.counts["UNSUPPORTED"] == report.cases:
        raise SkipTest(f"not supported: {'; '.join(report.refused)}")
    return report


def _listed(cases: Case | str | Iterable[Case], op: str, level: str) -> list[Case]:
    """The cases that are meant."""
    from miniconv.parity.cases import Case
    from miniconv.parity.options import SUITES
    from miniconv.parity.suites import choose

    if isinstance(cases, str):
        return choose(cases, [op], level=level) if cases in SUITES else [Case.parse(cases)]
    return [cases] if isinstance(cases, Case) else list(cases)


def _in_a_child(name: str, todo: list[Case], options: dict[str, Any], timeout: float) -> list[Verdict]:
    """The verdicts on a target that a child process imports."""
    from miniconv.parity.child import Question
    from miniconv.parity.pool import Pool, TargetRefusedError

    question = Question(name, tuple(dict.fromkeys(case.op for case in todo)), options)
    try:
        with Pool(question, jobs=1, timeout=timeout) as pool:
            return [verdict for _, verdict in sorted(pool.judge(todo), key=itemgetter(0))]
    except TargetRefusedError as error:
        raise ValueError(str(error)) from error


def _here(function: Callable[..., Any], todo: list[Case], options: dict[str, Any]) -> list[Verdict]:
    """The verdicts on a function of this process."""
    from miniconv.parity.child import answer

    targets = {op: _found(function, op, **options) for op in {case.op for case in todo}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [answer(case, targets) for case in todo]


def _found(function: Callable[..., Any], op: str, **options: Any) -> Target:
    """The target that ``function`` is, looked at in the same way as one that comes by name."""
    from miniconv.parity.targets import TargetError, find

    name = f"{function.__module__}:{function.__qualname__}" if hasattr(function, "__qualname__") else repr(function)
    holder: Any = ModuleType("_given_to_check")  # find() takes names, and this function may be local to a test
    holder.function = function
    sys.modules[holder.__name__] = holder
    try:
        return replace(find(f"{holder.__name__}:function", op=op, **options), name=name)
    except TargetError as error:
        raise TargetError(str(error).replace(f"{holder.__name__}:function", name)) from error
    finally:
        del sys.modules[holder.__name__]
