"""The pytest plugin: ``pytest --parity-target package.module:function`` collects the suite's cases as tests.

pytest loads this module at every start, so it imports nothing but words; without ``--parity-target`` it does nothing.
Without paths on the command line the cases are all that is collected. They are judged in a child process, so that a
target that crashes or hangs fails its test and not pytest.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from miniconv.parity.case_text import OPS
from miniconv.parity.options import SUITES, TARGET_OPTIONS, TIMEOUT

if TYPE_CHECKING:
    from miniconv.parity.cases import Case
    from miniconv.parity.here import Here
    from miniconv.parity.known import Known
    from miniconv.parity.pool import Pool

__all__: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of ``miniconv parity``, each with ``--parity-`` before its name."""
    group = parser.getgroup("parity", "convolutions judged by miniconv")
    group.addoption("--parity-target", metavar="TARGET", help="package.module:function, or torch or miniconv")
    group.addoption("--parity-suite", choices=SUITES, default="smoke", help="which cases (default: smoke)")
    group.addoption("--parity-op", action="append", choices=OPS, help="which operator; may be repeated")
    for flag, settings in TARGET_OPTIONS.items():
        group.addoption(f"--parity-{flag[2:]}", **settings)
    group.addoption("--parity-timeout", **TIMEOUT)
    group.addoption("--parity-here", action="store_true", help="judge in pytest's own process, for a debugger")
    group.addoption("--parity-known", metavar="FILE", help="known divergences, see miniconv.parity.known")


def pytest_configure(config: pytest.Config) -> None:
    """Where no path is asked for, only the cases are."""
    if config.option.parity_target and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Adds the cases, before anything selects among the items."""
    if config.option.parity_target:
        items.extend(_Suite.from_parent(session, name=config.option.parity_target).collect())


class _Suite(pytest.Collector):
    """The cases of one target."""

    def __init__(self, name: str, parent: pytest.Session) -> None:
        super().__init__(name, parent, nodeid=name)
        self._until_the_end = ExitStack()
        parent.config.add_cleanup(self._until_the_end.close)

    def collect(self) -> list[pytest.Item]:
        """One item a case; the target is found here."""
        asked = self.config.option
        here = str(self.config.invocation_params.dir)
        if not {"", here} & set(sys.path):
            sys.path.insert(0, here)
        options = {flag[2:]: getattr(asked, f"parity_{flag[2:]}") for flag in TARGET_OPTIONS}
        options = {name: value for name, value in options.items() if value is not None}
        try:
            from miniconv.parity.child import Question
            from miniconv.parity.here import Here
            from miniconv.parity.known import Known
            from miniconv.parity.pool import Pool, TargetRefusedError
            from miniconv.parity.suites import choose
        except ImportError as error:  # torch is missing
            raise pytest.UsageError(f"--parity: {error}") from error
        question = Question(self.name, asked.parity_op or (), options)
        judges: Pool | Here = Here(question)
        if not asked.parity_here:
            judges = Pool(question, jobs=1, timeout=asked.parity_timeout)
        try:
            known = Known.load(Path(here, asked.parity_known)) if asked.parity_known else Known(())
            self._until_the_end.enter_context(judges)
            about = judges.about()
        except (OSError, ValueError, TargetRefusedError) as error:  # no such file; no such target
            raise pytest.UsageError(f"--parity: {error}") from error
        cases = choose(asked.parity_suite, about.ops, level=about.level)
        return [_Item.from_parent(self, name=str(case), case=case, judges=judges, known=known) for case in cases]


class _WrongError(Exception):
    """The verdict on a case, which did not pass."""


class _Item(pytest.Item):
    """One case."""

    def __init__(self, *, case: Case, judges: Pool | Here, known: Known, **rest: Any) -> None:
        super().__init__(**rest)
        self._case, self._judges, self._known = case, judges, known

    def runtest(self) -> None:
        """Judges the case."""
        ((_, verdict),) = self._judges.judge([self._case])
        verdict = self._known.settle(verdict)
        if verdict.name == "EXPLAINED" and self._known.entry(self._case) is not None:
            pytest.xfail(verdict.divergence)
        if verdict.name == "UNSUPPORTED":
            pytest.skip(verdict.detail)
        if not verdict.passed:
            raise _WrongError(str(verdict))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The verdict's text and no traceback, which would be this module's."""
        return str(excinfo.value) if isinstance(excinfo.value, _WrongError) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """No file stands behind a case."""
        return self.path, None, self.name
