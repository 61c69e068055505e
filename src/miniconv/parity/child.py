"""What a child process of ``miniconv.parity.pool`` does: it finds the target, and answers cases until it is ended."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple

from miniconv.parity.case_text import OPS
from miniconv.parity.verdict import Verdict

if TYPE_CHECKING:
    from miniconv.parity.cases import Case
    from miniconv.parity.targets import Target

__all__ = [
    "About", "Explain", "Explained", "Question", "Smallest", "answer", "explained", "found", "serve", "smallest",
]  # fmt: skip


class Question(NamedTuple):
    """Which target is meant.

    Attributes:
        text: what ``miniconv.parity.targets.find`` takes.
        ops: its operators; empty to go by what it is: a name has all six, a function the one that its own name has in
            it, or else conv2d.
        options: the other arguments of ``find``.
    """

    text: str
    ops: Sequence[str]
    options: Mapping[str, Any]


class About(NamedTuple):
    """What is known of the target once it has been found.

    Attributes:
        ops: its operators.
        level: what it is held to, one of ``miniconv.parity.options.LEVELS``.
        note: what was found out about it, for a person to read; or empty.
    """

    ops: tuple[str, ...]
    level: str
    note: str


class Smallest(NamedTuple):
    """A failure made small.

    Attributes:
        verdict: on the smallest case found that fails in the same way.
        fault: what is likely wrong, in words; or empty.
    """

    verdict: Verdict
    fault: str


class Explain(NamedTuple):
    """Asks what ``miniconv parity show`` says of a case."""

    case: Case


class Explained(NamedTuple):
    """What is said of a case at length.

    Attributes:
        text: lines of text.
        passed: whether nothing is wrong.
    """

    text: str
    passed: bool


def found(question: Question) -> tuple[dict[str, Target], About]:
    """The target for each of its operators.

    Raises:
        TargetError: there is no such target.
    """
    from miniconv.parity.targets import find

    name = question.text.rpartition(":")[2]
    guess = next((op for op in reversed(OPS) if op in name), "conv2d")
    targets = {op: find(question.text, op=op, **question.options) for op in question.ops or (guess,)}
    first = next(iter(targets.values()))
    if not question.ops and isinstance(first.function, Mapping):
        targets = dict.fromkeys(first.function, first)
    notes = dict.fromkeys(target.note for target in targets.values() if target.note)
    return targets, About(tuple(targets), first.level, "\n".join(notes))


def answer(case: Case, targets: Mapping[str, Target]) -> Verdict:
    """The verdict on one case, also where what the target returned breaks whoever looks at it."""
    from miniconv.parity.runner import judge

    target = targets[case.op]
    try:
        return judge(case, target)
    except Exception as error:
        detail = f"a result that cannot be looked at: {type(error).__name__}: {error}"
        return Verdict("DTYPE", case, "output", detail, target=target.name, level=target.level)


def smallest(verdict: Verdict, targets: Mapping[str, Target]) -> Smallest:
    """A failure made small, and its likely fault."""
    from miniconv.parity.diagnose import diagnose
    from miniconv.parity.shrink import shrink
    from miniconv.parity.targets import TORCH

    if verdict.name == "CRASHED":
        return Smallest(verdict, "")
    target = TORCH if verdict.name == "TORCH_UNEXPLAINED" else targets[verdict.case.op]
    likely = diagnose(verdict, target)
    return Smallest(shrink(verdict, target), f"{likely.sentence} [{likely.name}]" if likely.name else "")


def explained(case: Case, targets: Mapping[str, Target]) -> Explained:
    """One case explained."""
    from miniconv.parity.show import explanation

    verdict = answer(case, targets)
    try:
        return Explained(*explanation(case, targets[case.op]))
    except Exception:  # what the target returned cannot be looked at: the verdict says so
        return Explained(str(verdict), verdict.passed)


def serve(connection: Connection, log: str, question: Question) -> None:
    """Says ``ready`` or ``refused``, and then a verdict on each case, or whatever else it is asked for.

    Args:
        connection: to the parent.
        log: path of the file that takes what the target prints.
        question: the target.
    """
    me = os.getpid()
    _settle(log)
    try:
        from miniconv.parity.targets import TargetError
    except ImportError as error:  # torch is missing
        connection.send(("refused", str(error)))
        return
    try:
        targets, about = found(question)
    except (TargetError, KeyboardInterrupt) as error:
        connection.send(("refused", str(error) or f"{question.text} raises KeyboardInterrupt where it is tried"))
        return
    _only(me)
    connection.send(("ready", about))
    while True:
        with contextlib.suppress(OSError):
            os.ftruncate(1, 0)  # what was printed during other cases explains nothing
        try:
            asked = connection.recv()
        except EOFError:
            os._exit(0)
        said = _said(asked, targets, question.text)
        _only(me)
        connection.send(("said", said))


def _said(asked: Any, targets: Mapping[str, Target], name: str) -> Verdict | Smallest | Explained:
    """The answer to whatever was asked."""
    try:
        if isinstance(asked, Verdict):
            return smallest(asked, targets)
        return explained(asked.case, targets) if isinstance(asked, Explain) else answer(asked, targets)
    except KeyboardInterrupt:  # the target's own: no terminal reaches this process
        if isinstance(asked, Verdict):
            return Smallest(asked, "")
        case = asked.case if isinstance(asked, Explain) else asked
        verdict = Verdict("RAISED", case, detail="KeyboardInterrupt: ", target=name)
        return Explained(str(verdict), False) if isinstance(asked, Explain) else verdict


def _settle(log: str) -> None:
    """Out of the parent's terminal: output into a file, signals and resources of its own."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", 1, errors="replace", closefd=False) for n in (1, 2))  # line by line
    faulthandler.enable(sys.stderr)
    if sys.platform != "win32":
        import resource

        os.setsid()  # Ctrl-C is the parent's, and so is the end of whatever the target starts
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")


def _only(me: int) -> None:
    """Ends a copy of this process that the target has forked and let come back."""
    if os.getpid() != me:
        os._exit(0)
