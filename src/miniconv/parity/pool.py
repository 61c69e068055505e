"""Cases judged in child processes, so that whatever a target does to its process is a verdict and not the end.

A child answers one case after another. If it dies, or gives no answer in time, the case that it was at is CRASHED, and
a fresh child takes its place. What the target prints goes into a file of the child's, of which the end is read where it
died; the target's own children die with it.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from types import ModuleType
from typing import Any

from miniconv.parity.cases import Case
from miniconv.parity.child import About, Explain, Explained, Question, Smallest, serve
from miniconv.parity.verdict import Verdict

__all__ = ["Pool", "TargetRefusedError"]

AHEAD = 2
"""Cases that a child has at a time: one that it is at, one for the moment when it has answered."""

PRELOADED = (
    "miniconv.parity.runner", "miniconv.functional", "miniconv.nn",
    "torch.fx.experimental.symbolic_shapes",  # torch imports it, and sympy, with the first gradient of a process
)  # fmt: skip
"""Imported once, for every child; the target is not among it."""

IMPORT_TIMES = 10
"""An import may take so many times as long as a case."""

PRINTED = 5
"""Lines of what a dead child had printed that are told."""

Asked = Case | Verdict | Explain
Answers = Iterator[tuple[int, Any]]
"""What is said of a case (a ``Verdict``, or ``Explained``) or of a failure (``Smallest``), and its number."""


class TargetRefusedError(Exception):
    """The target cannot be judged at all; the message says why."""


class _Child:
    """One process, what it is at, and until when it may be."""

    def __init__(self, context: Any, question: Question, log: Path, timeout: float) -> None:
        self.connection, theirs = context.Pipe()
        self._log, self._timeout = log, timeout
        log.touch()
        self.process = context.Process(target=serve, args=(theirs, str(log), question))
        with _nobodys_main():
            self.process.start()
        theirs.close()
        self.about: About | None = None
        self.at: deque[tuple[int, Asked]] = deque()
        self.deadline = time.monotonic() + IMPORT_TIMES * timeout

    def feed(self, todo: deque[tuple[int, Asked]]) -> None:
        """Hands it cases, as many as it should have."""
        while self.about is not None and todo and len(self.at) < AHEAD:
            if not self.at:
                self.deadline = time.monotonic() + self._timeout
            self.at.append(todo.popleft())
            with contextlib.suppress(OSError):  # it has died: its sentinel tells
                self.connection.send(self.at[-1][1])

    def answers(self) -> Answers:
        """The verdicts that have come in."""
        with contextlib.suppress(OSError, EOFError):
            while self.connection.poll():
                kind, content = self.connection.recv()
                if kind == "refused":
                    raise TargetRefusedError(content)
                self.deadline = time.monotonic() + self._timeout
                if kind == "ready":
                    self.about = content
                else:
                    yield self.at.popleft()[0], content

    @property
    def waits(self) -> bool:
        """Whether it owes an answer."""
        return bool(self.at) or self.about is None

    def ended(self) -> str:
        """How it died or that it has to, in words; nothing while all is well."""
        if not self.process.is_alive():
            return f"{_status(self.process.exitcode)}{self._place()}"
        if not self.waits or time.monotonic() < self.deadline:
            return ""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGABRT)  # makes it write down where it is
        self.process.join(1)
        limit = self._timeout * (IMPORT_TIMES if self.about is None else 1)
        return f"no answer within {limit:g} s{self._place()}"

    def printed(self) -> list[str]:
        """The last lines that the target has printed, without what Python writes of a crash."""
        text = re.split(r"^(?:Fatal Python error|Thread 0x|Current thread 0x)", self._read(), maxsplit=1, flags=re.M)[0]
        return [line for line in text.splitlines() if line.strip()][-PRINTED:]

    def _read(self) -> str:
        """The end of what it and Python have written during this case."""
        return self._log.read_text(encoding="utf-8", errors="replace").replace("\0", "")[-20000:]

    def _place(self) -> str:
        """Where in the target's source it was, as far as it could still tell."""
        text = self._read()
        found = re.search(r'most recent call first\):\n  File "(.+)", line (\d+) in (\S+)', text)
        return f", in {found[3]} at {Path(found[1]).name}:{found[2]}" if found else ""

    def kill(self) -> None:
        """Ends it and whatever it has started."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.process.close()
        self.connection.close()
        self._log.unlink(missing_ok=True)


@contextlib.contextmanager
def _nobodys_main() -> Iterator[None]:
    """A child imports the target and nothing else: not the program that asks, which may have no guard against that."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _status(code: int | None) -> str:
    """An exit status in words."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"killed by {name}"
    return f"the process ended with status {code}"


class Pool:
    """Child processes that judge cases on one target.

    Args:
        question: the target; it is imported in the children alone.
        jobs: how many children work at a time.
        timeout: seconds that a case may take.

    >>> with Pool(Question("torch", (), {}), jobs=1, timeout=60) as pool:
    ...     for number, verdict in pool.judge([Case.parse("conv1d c4 o6 i7 k3")]):
    ...         print(number, verdict.name)
    0 EQUAL
    """

    def __init__(self, question: Question, *, jobs: int, timeout: float) -> None:
        self._question, self._jobs, self._timeout = question, jobs, timeout
        self._context: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        if sys.platform == "linux":
            self._context.set_forkserver_preload(list(PRELOADED))
        self._children: list[_Child] = []
        self._printed: list[str] = []
        self._number = itertools.count()

    def __enter__(self) -> Pool:
        self._folder = tempfile.TemporaryDirectory(prefix="miniconv-parity-")
        for _ in range(self._jobs):
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.kill()
        self._children.clear()
        self._folder.cleanup()

    def _start(self) -> None:
        """One more child."""
        log = Path(self._folder.name, f"{next(self._number)}.log")
        self._children.append(_Child(self._context, self._question, log, self._timeout))

    def about(self) -> About:
        """What the first child to find the target says of it.

        Raises:
            TargetRefusedError: the target cannot be imported or called.
        """
        while True:
            for child in self._children:
                if child.about is not None:
                    return child.about
            for _ in self._turn(deque()):
                pass

    def judge(self, cases: Sequence[Case]) -> Iterator[tuple[int, Verdict]]:
        """The verdicts, in the order in which they come: the case's place in ``cases``, and what is said of it.

        Raises:
            TargetRefusedError: the target cannot be imported or called.
        """
        return self._ask(deque(enumerate(cases)))

    def smallest(self, failures: Sequence[Verdict]) -> list[Smallest]:
        """Each failure made small; one that ends the process on the way as it was."""
        return [said for _, said in self._ask(deque(enumerate(failures))) if isinstance(said, Smallest)]

    def explain(self, case: Case) -> Explained:
        """What ``miniconv parity show`` says of a case; of one that ends its process, how, and what it printed."""
        ((_, verdict),) = self.judge([case])
        if verdict.name != "CRASHED":
            ((_, said),) = self._ask(deque([(0, Explain(case))]))
            if isinstance(said, Explained):
                return said
            how = f"  no more can be said: asked about other cases, the target ends its process ({said.detail})"
            return Explained(f"{verdict}\n{how}", verdict.passed)
        lines = [str(case), f"  target {self._question.text}: CRASHED", f"  {verdict.detail}"]
        lines += ["  it printed:", *(f"    {line}" for line in self._printed)] if self._printed else []
        return Explained("\n".join(lines), False)

    def _ask(self, todo: deque[tuple[int, Asked]]) -> Answers:
        while todo or any(child.at for child in self._children):
            if not self._children:
                self._start()
            for child in self._children:
                child.feed(todo)
            yield from self._turn(todo)

    def _turn(self, todo: deque[tuple[int, Asked]]) -> Answers:
        """Waits until a child has something to say or is late, and hears all of them."""
        waiting = [child for child in self._children if child.waits]
        wakes = [thing for child in waiting for thing in (child.connection, child.process.sentinel)]
        wait(wakes, max(0.0, min(child.deadline for child in waiting) - time.monotonic()))
        for child in waiting:
            yield from child.answers()
            how = child.ended()
            if how:
                yield from child.answers()  # what it said before it died
                yield from self._bury(child, how, todo)

    def _bury(self, child: _Child, how: str, todo: deque[tuple[int, Asked]]) -> Answers:
        """The verdict on a dead child's case; another child in its place."""
        about, at = child.about, child.at
        self._printed = child.printed()
        self._children.remove(child)
        child.kill()
        if about is None:
            raise TargetRefusedError(f"{self._question.text}, while it was imported and tried: {how}")
        first = at.popleft() if at else None
        todo.extendleft(reversed(at))
        if todo:
            self._start()
        if first is None:
            return
        number, asked = first
        if isinstance(asked, Verdict):
            yield number, Smallest(asked, "")
        else:
            case = asked.case if isinstance(asked, Explain) else asked
            yield number, Verdict("CRASHED", case, detail=how, target=self._question.text, level=about.level)
