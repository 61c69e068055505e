"""``miniconv parity``: from words to cases, from cases to verdicts, from verdicts to reports and an exit status."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from miniconv.parity import document, junit, markdown, page, suites
from miniconv.parity.baseline import Baseline
from miniconv.parity.cases import Case
from miniconv.parity.child import Question
from miniconv.parity.console import Console
from miniconv.parity.here import Here
from miniconv.parity.known import Known
from miniconv.parity.options import TARGET_OPTIONS, VERBS, cores, parser, verb_parser
from miniconv.parity.pool import Pool, TargetRefusedError
from miniconv.parity.report import Report
from miniconv.parity.verdict import Verdict

__all__ = ["main", "show"]

_Content = TypeVar("_Content")

RIGHT, WRONG, INTERRUPTED = 0, 1, 130
EXPLAINED = 3  # kinds of failure
PLAIN = ("float32", "float64", "int32", "int64")  # dtypes in which faults are easiest to tell apart


class _UsageError(Exception):
    """The words cannot be done; the message says why."""


@dataclass
class _Run:
    """What has been found so far."""

    cases: Sequence[Case]
    keep: bool
    baseline: Baseline | None
    known: Known
    report: Report = field(default_factory=Report)
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    interrupted: bool = False
    likely: list[document.Likely] = field(default_factory=list)

    def add(self, number: int, verdict: Verdict) -> None:
        """Counts one case; all of it is kept only where a report lists every case."""
        verdict = self.known.settle(verdict)
        self.report.add(verdict)
        if self.baseline is not None:
            self.baseline.add(verdict)
        if self.keep:
            self.verdicts[number] = verdict

    @property
    def failures(self) -> list[Verdict]:
        """What the run fails for."""
        return self.report.failures if self.baseline is None else self.baseline.worse


def main(words: Sequence[str]) -> int:
    """Runs ``miniconv parity`` with the words that follow it.

    Args:
        words: a verb of ``miniconv.parity.options.VERBS`` and its own words; or a target and options.

    Returns:
        The exit status: 0 right, 1 wrong, 2 not understood, 130 interrupted.

    Raises:
        SystemExit: the words are not understood, or help was asked for.
    """
    if words and words[0] in VERBS:
        told = verb_parser(words[0]).parse_args(words[1:])
        module, _, name = VERBS[words[0]].main.partition(":")
        status: int = getattr(importlib.import_module(module), name)(told)
        return status
    reader = parser()
    arguments = reader.parse_args(words)
    console = Console(sys.stdout, sys.stderr)
    try:
        return _run(arguments, shlex.join(["miniconv", "parity", *words]), console)
    except (_UsageError, TargetRefusedError) as error:
        console.clear()
        reader.exit(2, f"miniconv parity: {error}\n")
    except KeyboardInterrupt:
        console.say("interrupted before the first case")
        return INTERRUPTED


def show(arguments: argparse.Namespace) -> int:
    """The command ``miniconv parity show``: prints what is found out about one case, in a child process.

    Args:
        arguments: ``case``, a text or its words; ``target``, a text; ``level``, or none; ``timeout`` in seconds.

    Returns:
        0 if the case passes, 1 if it does not, 2 if there is no such case or target, 130 if it is interrupted.
    """
    text = arguments.case if isinstance(arguments.case, str) else " ".join(arguments.case)
    try:
        case = Case.parse(text)
        _need_torch()
        options = {} if arguments.level is None else {"level": arguments.level}
        question = Question(arguments.target or "miniconv", (case.op,), options)
        with _surroundings(1), Pool(question, jobs=1, timeout=arguments.timeout) as pool:
            pool.about()
            explained = pool.explain(case)
    except (ValueError, _UsageError, TargetRefusedError) as error:
        print(f"miniconv parity show: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    print(explained.text)
    return RIGHT if explained.passed else WRONG


def _need_torch() -> None:
    """Says so where torch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise _UsageError(
            "torch is missing, by which everything but the numbers is judged: pip install 'miniconv[parity]'"
        )


def _run(arguments: argparse.Namespace, command: str, console: Console) -> int:
    """A run, from settled arguments to the exit status."""
    baseline, known = _settle(arguments)
    handed_on = {flag[2:]: getattr(arguments, flag[2:]) for flag in TARGET_OPTIONS}
    options = {name: value for name, value in handed_on.items() if value is not None}
    question = Question(arguments.target, arguments.op or (), options)
    with ExitStack() as stack:
        stack.enter_context(_surroundings(arguments.jobs))
        judges: Pool | Here = Here(question)
        if arguments.jobs:
            judges = Pool(question, jobs=arguments.jobs, timeout=arguments.timeout)
        stack.enter_context(judges)
        about = judges.about()
        arguments.op, arguments.level = list(about.ops), about.level
        if about.note:
            console.say(f"{arguments.target}: {about.note}")
        cases = _cases(arguments)
        keep = any([arguments.json, arguments.junit, arguments.html])
        run = _Run(cases, keep, None if baseline is None else Baseline(baseline), known)
        try:
            _collect(run, judges.judge(cases), arguments.stop_after, console)
            _explain(run, judges, arguments, console)
        except KeyboardInterrupt:
            run.interrupted = True
    return _tell(run, arguments, command, console)


def _settle(arguments: argparse.Namespace) -> tuple[document.Document | None, Known]:
    """Finds what cannot be done before anything is run; reads the baseline and what is known."""
    arguments.jobs = cores() if arguments.jobs is None else arguments.jobs
    for option, least in (("jobs", 0), ("seed", 0), ("stop_after", 1), ("timeout", 0.01)):
        value = getattr(arguments, option)
        if value is not None and not value >= least:
            raise _UsageError(f"--{option.replace('_', '-')} is {least} or more, but got {value}")
    _need_torch()
    for option in ("json", "junit", "html", "summary"):
        path: Path | None = getattr(arguments, option)
        if path is not None and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
            raise _UsageError(f"--{option} {path}: there is no such folder to write into")
    return _read("baseline", arguments.baseline, document.load), _read("known", arguments.known, Known.load) or Known(
        ()
    )


def _read(option: str, path: Path | None, load: Callable[[Path], _Content]) -> _Content | None:
    """What the file of an option holds, where one is named."""
    try:
        return None if path is None else load(path)
    except (OSError, ValueError) as error:
        raise _UsageError(f"--{option}: {error}") from error


def _cases(arguments: argparse.Namespace) -> list[Case]:
    """What is to be judged."""
    try:
        cases = suites.choose(
            arguments.suite, arguments.op, level=arguments.level, dtypes=arguments.dtype, words=arguments.words,
            seed=arguments.seed,
        )  # fmt: skip
        if arguments.shard:
            cases = suites.shard(cases, arguments.shard)
    except ValueError as error:
        raise _UsageError(str(error)) from error
    if not cases:
        raise _UsageError("there is no case to judge: no case of the suite is what the options ask for")
    return cases


@contextmanager
def _surroundings(jobs: int) -> Iterator[None]:
    """The current folder importable, as ``python -m`` has it, and the cores shared out among the children."""
    before, path = dict(os.environ), list(sys.path)
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        if jobs:
            os.environ.setdefault(name, str(max(1, cores() // jobs)))
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(os.environ) - set(before):
            del os.environ[name]


def _collect(run: _Run, answers: Iterator[tuple[int, Verdict]], stop_after: int | None, console: Console) -> None:
    """Takes the verdicts as they come."""
    start = time.perf_counter()
    console.begin()
    shown = 0
    try:
        for number, verdict in answers:
            run.add(number, verdict)
            for failure in run.failures[shown:]:
                console.failure(failure)
            shown = len(run.failures)
            console.progress(run.report.cases, len(run.cases), shown)
            if stop_after is not None and shown >= stop_after:
                return
    finally:
        run.report.seconds = time.perf_counter() - start


def _explain(run: _Run, judges: Pool | Here, arguments: argparse.Namespace, console: Console) -> None:
    """The smallest case, and the likely fault, of the plainest failure of each kind."""
    kinds: dict[tuple[str, str, str], Verdict] = {}
    for failure in sorted(run.failures, key=lambda one: (not one.case.is_exact, one.case.dtype not in PLAIN)):
        kinds.setdefault((failure.case.op, failure.name, failure.part), failure)
    for verdict, fault in judges.smallest(list(kinds.values())[:EXPLAINED]):
        case = str(verdict.case)
        words = ["miniconv", "parity", "show", case, "--target", verdict.target or arguments.target]
        show = shlex.join([*words, "--level", arguments.level])
        run.likely.append({"fault": fault, "case": case, "verdict": verdict.name, "part": verdict.part, "show": show})
        console.say(f"smallest: {case}: {verdict.name} in {verdict.part}", right=False)
        if fault:
            console.say(f"  likely fault: {fault}")
        console.say(f"  {show}")


def _tell(run: _Run, arguments: argparse.Namespace, command: str, console: Console) -> int:
    """Writes the reports, prints the totals, and says how it ended."""
    told = _document(run, arguments, command)
    if arguments.json is not None:
        document.dump(told, arguments.json)
    if arguments.junit is not None:
        junit.write(told, arguments.junit)
    if arguments.html is not None:
        page.write(told, arguments.html)
    if arguments.summary is not None:
        markdown.append(arguments.summary, told, run.report, run.baseline)
    wrong = bool(run.failures)
    console.say(f"{told['target']}, {told['suite']} ({', '.join(told['ops'])}), level {told['level']}")
    console.say(f"{run.report.totals}; {told['seconds']:.1f} s", right=not wrong)
    for reason, count in run.report.refused.most_common(5):
        console.say(f"  not supported, {count} cases: {reason}")
    if run.baseline is not None:
        console.say(str(run.baseline))
    if run.report.cases < told["chosen"]:
        how = "interrupted" if run.interrupted else "stopped"
        console.say(f"{how} after {run.report.cases} of {told['chosen']} cases")
    return INTERRUPTED if run.interrupted else WRONG if wrong else RIGHT


def _document(run: _Run, arguments: argparse.Namespace, command: str) -> document.Document:
    """The run as data."""
    return {
        "format": document.FORMAT, "target": arguments.target, "command": command,
        "suite": arguments.suite, "ops": arguments.op, "seed": arguments.seed, "level": arguments.level,
        "shard": arguments.shard, "versions": document.versions(), "cpu": document.cpu(),
        "started": run.started.isoformat(timespec="seconds"),
        "seconds": round(run.report.seconds, 3), "chosen": len(run.cases), "interrupted": run.interrupted,
        "counts": dict(run.report.counts), "likely": run.likely,
        "cases": [document.row(run.verdicts[at]) for at in sorted(run.verdicts)],
    }  # fmt: skip
