"""``python -m bench.mutations``: convolutions wrong on purpose, and the cases of ``--suite ci`` that catch them.

Each sabotage of ``tests/parity/sabotages`` is a right convolution with one thing done wrong, half of them as some
library was reported to do it. A case of ``miniconv parity --suite ci --op OP --level drop-in`` catches it if the right
convolution passes the case, and the sabotage gets a verdict there that its bug ought to have.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bench import report
from bench.machine import describe, sentence
from miniconv.parity import Target
from miniconv.parity.cases import Case
from miniconv.parity.runner import judge
from miniconv.parity.suites import choose
from miniconv.parity.verdict import Verdict

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
from sabotages import SABOTAGES, SLIP, base  # type: ignore[import-not-found]  # a folder of the tests

RESULT = Path(__file__).parent / "results" / "mutations.md"
HEADER = ["sabotage", "operator", "source", "verdict", "place", "first case that catches it", "cases that do"]
THREAD = re.compile(r"https://github\.com/(.+)/(?:issues|pull)/(\d+)")


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        name: of the sabotage.
        op: its operator.
        source: a report of the bug, or ``SLIP``; in Markdown.
        verdict: what the first case that catches it says, and of which part.
        place: of that case in the suite, from 1.
        case: its text.
        caught: how many of the suite's first cases catch it.
    """

    name: str
    op: str
    source: str
    verdict: str
    place: int
    case: str
    caught: int


@cache
def suite(op: str) -> list[Case]:
    """The cases of ``--suite ci`` for one operator."""
    return choose("ci", [op])


@cache
def right(op: str, place: int) -> bool:
    """Whether the convolution that an operator's sabotages are made of passes the case at a place."""
    target: Target = base(op)
    return judge(suite(op)[place - 1], target).passed


def catch(name: str, place: int) -> Verdict | None:
    """What the case at a place says of a sabotage that it catches; None if it does not."""
    wanted = SABOTAGES[name]
    verdict = judge(suite(wanted.op)[place - 1], wanted.target)
    return verdict if verdict.name in wanted.caught_by and right(wanted.op, place) else None


def source(name: str) -> str:
    """Where a bug was reported, as a link; or that it is a plausible slip."""
    told: str = SABOTAGES[name].source
    found = THREAD.fullmatch(told)
    return told if found is None else f"[{found[1]}#{found[2]}]({told})"


def mutation(name: str, size: int) -> Row | None:
    """The row of one sabotage; None where the whole suite lets it pass.

    Args:
        name: of the sabotage.
        size: how many of the suite's cases are counted; the first that catches it is looked for among all.
    """
    op = SABOTAGES[name].op
    first: tuple[int, Verdict] | None = None
    caught = 0
    for place in range(1, len(suite(op)) + 1):
        if place > size and first is not None:
            break
        verdict = catch(name, place)
        if verdict is not None:
            first = first or (place, verdict)
            caught += place <= size
    if first is None:
        return None
    said = first[1].name if first[1].part == "call" else f"{first[1].name} in {first[1].part}"
    return Row(name, op, source(name), said, first[0], str(first[1].case), caught)


def page(rows: Sequence[Row | None], size: int, command: str) -> str:
    """The table, and what it amounts to."""
    caught = [row for row in rows if row is not None]
    reported = sum(row.source != SLIP for row in caught)
    told = (
        f"{len(caught)} of {len(rows)} sabotaged convolutions are caught by `miniconv parity --suite ci --op OP "
        f"--level drop-in`. The bug of {reported} was found in some library: `source` links the report or the fix. "
        "A case counts only where the right convolution passes it, and the verdict is one that the bug ought to have. "
        f"The last column counts such cases among the first {size} of the operator's suite."
    )
    lines = [[f"`{r.name}`", r.op, r.source, r.verdict, str(r.place), f"`{r.case}`", str(r.caught)] for r in caught]
    machine = f"{sentence(describe(1))} Repeat: `{command}`"
    return "\n\n".join(["# Sabotaged convolutions under the suite", told, machine, report.table(HEADER, lines)])


def published(text: str) -> Iterator[Row]:
    """The rows of a page."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == len(HEADER):
            name, op, where, verdict, place, case, caught = cells
            yield Row(name.strip("`"), op, where, verdict, int(place), case.strip("`"), int(caught))


def main(argv: Sequence[str] | None = None) -> int:
    """Judge every sabotage; print how each is caught, and write the table."""
    argv = list(sys.argv[1:] if argv is None else argv)
    p = argparse.ArgumentParser(prog="python -m bench.mutations", description=__doc__)
    p.add_argument("--cases", type=int, default=100, help="of each operator's suite that are counted; default 100")
    p.add_argument("--sabotage", default="", metavar="TEXT", help="only sabotages whose name holds this")
    p.add_argument("--out", type=Path, default=RESULT, metavar="PATH")
    arguments = p.parse_args(argv)
    warnings.simplefilter("ignore")
    rows = []
    for name in SABOTAGES:
        if arguments.sabotage in name:
            rows.append(mutation(name, arguments.cases))
            print(rows[-1] or f"{name}: not caught", flush=True)
    text = page(rows, arguments.cases, " ".join(["python -m bench.mutations", *argv]))
    arguments.out.write_text(text + "\n", encoding="utf-8")
    return 1 if None in rows else 0


if __name__ == "__main__":
    sys.exit(main())
