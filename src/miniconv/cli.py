"""The command line: ``python -m miniconv COMMAND``. Each command is a few lines over the API.

A command is a function that is given the parsed arguments and returns the exit status. ``COMMANDS`` lists them with
their arguments; nothing that a command needs is imported before it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from miniconv.audit.command import ARGUMENTS as AUDIT_ARGUMENTS
from miniconv.draw.command import ARGUMENTS as DRAW_ARGUMENTS
from miniconv.explain.command import ARGUMENTS as EXPLAIN_ARGUMENTS
from miniconv.receptive_field.command import ARGUMENTS as RECEPTIVE_FIELD_ARGUMENTS

__all__ = ["COMMANDS", "Command", "main"]


class Command(NamedTuple):
    """One command.

    Attributes:
        help: one line.
        run: what it does.
        arguments: name or flag of each argument, and what ``argparse`` is told of it; None for a command that reads its
            words by itself and is given them as ``words``.
    """

    help: str
    run: Callable[[argparse.Namespace], int]
    arguments: dict[str, dict[str, Any]] | None


def _demo(arguments: argparse.Namespace) -> int:
    from miniconv import demo

    return demo.main(arguments.out)


def _run(arguments: argparse.Namespace) -> int:
    from miniconv.run import run

    words = [*(arguments.module or ()), *arguments.program]
    if not words:
        print("miniconv run: name a script, or a module after -m", file=sys.stderr)
        return 2
    run(words[0], words[1:], module=arguments.module is not None)
    return 0


def _audit(arguments: argparse.Namespace) -> int:
    from miniconv.audit import command

    return command.main(arguments)


def _draw(arguments: argparse.Namespace) -> int:
    from miniconv.draw import command

    return command.main(arguments)


def _receptive_field(arguments: argparse.Namespace) -> int:
    from miniconv.receptive_field import command

    return command.main(arguments)


def _explain(arguments: argparse.Namespace) -> int:
    from miniconv.explain import command

    return command.main(arguments, _explorer_page)


def _explorer_page(*operands: Any, **options: Any) -> str:
    from miniconv.explorer import page

    return page(*operands, **options)


def _parity(arguments: argparse.Namespace) -> int:
    from miniconv.parity.command import main

    return main(arguments.words)


COMMANDS = {
    "audit": Command("judge every convolution of a model, layer by layer", _audit, AUDIT_ARGUMENTS),
    "demo": Command(
        "five steps on real pictures, a table and a folder of pictures",
        _demo,
        {"--out": {"type": Path, "default": Path("demo-out"), "metavar": "DIR", "help": "the folder (%(default)s)"}},
    ),
    "draw": Command("a convolution as a picture, with its real numbers", _draw, DRAW_ARGUMENTS),
    "explain": Command("one element of a convolution, term by term", _explain, EXPLAIN_ARGUMENTS),
    "parity": Command("judge a convolution, miniconv's or anyone's: 'miniconv parity --help'", _parity, None),
    "receptive-field": Command(
        "which part of the input each layer of a model sees", _receptive_field, RECEPTIVE_FIELD_ARGUMENTS
    ),
    "run": Command(
        "run a program, its torch convolutions computed by miniconv",
        _run,
        {
            "-m": {"dest": "module", "nargs": argparse.REMAINDER, "metavar": "MODULE", "help": "module and arguments"},
            "program": {"nargs": argparse.REMAINDER, "metavar": "SCRIPT", "help": "script and arguments"},
        },
    ),
}
"""Every command by its name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; None takes those of the process.

    Returns:
        The exit status: 0 if all is well.

    Raises:
        SystemExit: the arguments are not understood (status 2), or help or version was asked for.
    """
    parser = argparse.ArgumentParser(prog="miniconv", description="PyTorch's convolution, rebuilt from scratch.")
    parser.add_argument("--version", action="version", version=f"miniconv {version('miniconv')}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=command.help, description=command.help)
        for argument, options in (command.arguments or {}).items():
            subparser.add_argument(argument, **options)
        subparser.set_defaults(run=command.run)
    words = sys.argv[1:] if argv is None else list(argv)
    if words and words[0] in COMMANDS and COMMANDS[words[0]].arguments is None:
        return COMMANDS[words[0]].run(argparse.Namespace(words=words[1:]))
    arguments = parser.parse_args(words)
    status: int = arguments.run(arguments)
    return status
