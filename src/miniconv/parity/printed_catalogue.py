"""``miniconv parity divergences``: where torch disagrees with itself or with arithmetic, to be read."""

from __future__ import annotations

import argparse
import sys
import textwrap

from miniconv.parity.divergences import Behaviour, Divergence, catalogue

__all__ = ["main"]


def main(arguments: argparse.Namespace) -> int:
    """Prints the catalogue, or the entries that are named.

    Args:
        arguments: ``id``, names of entries; none for all.

    Returns:
        The exit status: 0, or 2 where there is no such entry.
    """
    entries = {entry.id: entry for entry in catalogue()}
    unknown = [name for name in arguments.id if name not in entries]
    if unknown:
        print(f"no entry {', '.join(unknown)}: there are {', '.join(entries)}", file=sys.stderr)
        return 2
    print("\n\n".join(_told(entries[name]) for name in arguments.id or entries))
    return 0


def _told(entry: Divergence) -> str:
    """One entry, its name and the torch releases that it was seen in first."""
    where = "; ".join(f"{name} {' or '.join(values)}" for name, values in entry.when.items())
    told = {
        "where": where,
        "torch": "; ".join(map(_behaviour, entry.torch)),
        "accepted": "; ".join(map(_behaviour, entry.accepted)),
        "miniconv": entry.ours,
        "why": entry.reason,
        "source": entry.source,
    }
    lines = [f"{entry.id} (torch {', '.join(entry.versions)})"]
    lines += [_wrapped(f"{name:9}{text}") for name, text in told.items() if text]
    return "\n".join(lines + [f"  example  {case}\n           {does}" for case, does in entry.examples])


def _behaviour(behaviour: Behaviour) -> str:
    """One thing that an implementation does, in words."""
    return " ".join(filter(None, [behaviour.verdict, ", ".join(behaviour.parts), behaviour.text]))


def _wrapped(text: str) -> str:
    """Text in the width of a page, indented."""
    return textwrap.fill(text, 120, initial_indent="  ", subsequent_indent=" " * 11, break_on_hyphens=False)
