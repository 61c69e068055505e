"""``python -m miniconv run``: an unmodified program, its convolutions computed by miniconv."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

from miniconv.patch import patch

__all__ = ["run"]


def run(program: str, arguments: Sequence[str] = (), *, module: bool = False) -> None:
    """Run a program as ``python program arguments`` would, under ``patch()``; at its end, a report on stderr.

    ``sys.argv`` and ``sys.path`` are what the program would find in a process of its own, and are put back afterwards.

    Args:
        program: path of a script (or of a folder or zip file with a ``__main__.py``), or name of a module.
        arguments: the program's.
        module: whether ``program`` names a module, as after ``python -m``.

    Raises:
        SystemExit: the program's own, with its exit status.
        BaseException: whatever the program does not catch.
    """
    argv, path = sys.argv, list(sys.path)
    sys.argv = [program, *arguments]
    if not getattr(sys.flags, "safe_path", False):  # else Python has not put anything in front, since 3.11
        sys.path[0] = os.getcwd() if module else os.path.dirname(os.path.realpath(program))
    try:
        with patch() as report:
            try:
                if module:
                    runpy.run_module(program, run_name="__main__", alter_sys=True)
                else:
                    runpy.run_path(program, run_name="__main__")
            finally:
                print(report, file=sys.stderr)
    finally:
        sys.argv, sys.path[:] = argv, path
