"""What a child process of ``miniconv.parity.pool`` does: it finds the target, and answers cases until it is ended."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import warnings
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miniconv.parity.cases import Case
    from miniconv.parity.targets import Target
    from miniconv.parity.verdict import Verdict

__all__ = ["serve"]


def serve(connection: Connection, log: str, text: str, options: Mapping[str, Any]) -> None:
    """Says ``ready`` or ``refused``, and then a verdict for each case.

    Args:
        connection: to the parent.
        log: path of the file that takes what the target prints.
        text: the target, as ``find`` takes it.
        options: the other arguments of ``find``.
    """
    me = os.getpid()
    _settle(log)
    from miniconv.parity import targets

    try:
        target = targets.find(text, **options)
    except targets.TargetError as error:
        connection.send(("refused", str(error)))
        return
    _only(me)
    connection.send(("ready", None))
    while True:
        with contextlib.suppress(OSError):
            os.ftruncate(1, 0)  # what was printed during other cases explains nothing
        try:
            case = connection.recv()
        except EOFError:
            os._exit(0)
        verdict = _judge(case, target)
        _only(me)
        connection.send(("verdict", verdict))


def _settle(log: str) -> None:
    """Out of the parent's terminal: output into a file, signals and resources of its own."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    sys.stdout, sys.stderr = (open(descriptor, "w", errors="replace", closefd=False) for descriptor in (1, 2))  # noqa: SIM115 (for good)
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


def _judge(case: Case, target: Target) -> Verdict:
    """The verdict on one case; KeyboardInterrupt is the target's own here, where no terminal reaches."""
    from miniconv.parity.runner import judge
    from miniconv.parity.verdict import Verdict

    try:
        return judge(case, target)
    except KeyboardInterrupt:
        return Verdict("RAISED", case, detail="KeyboardInterrupt: ", target=target.name)
