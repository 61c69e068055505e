"""``python -m miniconv run``: an unmodified program, its convolutions computed by miniconv."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from types import ModuleType
from zipfile import is_zipfile

from miniconv.patch import patch

__all__ = ["run"]


def run(program: str, arguments: Sequence[str] = (), *, module: bool = False) -> None:
    """Run a program as ``python program arguments`` would, under ``patch()``; at its end, a report on stderr.

    ``sys.argv`` and ``sys.path`` are what the program would find in a process of its own, and are put back afterwards
    (a folder stands in ``sys.path`` as it was written, where Python makes it absolute).

    Args:
        program: path of a script (or of a folder or zip file with a ``__main__.py``), or name of a module.
        arguments: the program's.
        module: whether ``program`` names a module, as after ``python -m``.

    Raises:
        SystemExit: the program's own, with its exit status.
        BaseException: whatever the program does not catch.
    """
    argv, path = sys.argv, list(sys.path)
    whole = not module and (os.path.isdir(program) or is_zipfile(program))
    sys.argv = [program, *arguments]
    if not getattr(sys.flags, "safe_path", False):  # else Python has not put anything in front, since 3.11
        sys.path[0] = os.getcwd() if module else program if whole else os.path.dirname(os.path.realpath(program))
    try:
        with patch() as report:
            try:
                if module:
                    runpy.run_module(program, run_name="__main__", alter_sys=True)
                elif whole:
                    runpy.run_path(program, run_name="__main__")
                else:
                    _run_script(program)
            finally:
                print(report, file=sys.stderr)
    finally:
        sys.argv, sys.path[:] = argv, path


def _run_script(program: str) -> None:
    """Execute a file as ``__main__``. Not by ``runpy``, which sets ``sys.argv[0]`` to what ``__file__`` is."""
    file = os.path.join(os.getcwd(), program)
    loader = SourceFileLoader("__main__", file)
    code = loader.source_to_code(loader.get_data(file), file)
    module = ModuleType("__main__")
    module.__file__, module.__loader__ = file, loader
    before, sys.modules["__main__"] = sys.modules["__main__"], module
    try:
        exec(code, module.__dict__)
    finally:
        sys.modules["__main__"] = before
