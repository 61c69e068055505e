"""What a run says while it runs: a bar on a terminal, a line now and then elsewhere, and each failure as it comes."""

from __future__ import annotations

import os
import time
from typing import TextIO

from miniconv.parity.verdict import Verdict

__all__ = ["Console"]

SHOWN = 10
"""Failures that are printed; the reports have them all."""

_WIDTH = 30
_RED, _GREEN = "31", "32"


class Console:
    """Where a run is told of.

    Args:
        out: takes what is found.
        err: takes how far the run is.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out, self._err = out, err
        self._bar = err.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = out.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
        self._every = 0.1 if self._bar else 10.0  # seconds
        self._start = self._last = time.monotonic()
        self._failures = 0

    def begin(self) -> None:
        """The first case is on its way."""
        self._start = self._last = time.monotonic()

    def say(self, text: str, *, right: bool | None = None) -> None:
        """A line of what is found, in colour where it is said to be right or wrong."""
        self.clear()
        if self._colour and right is not None:
            text = f"\033[{_GREEN if right else _RED}m{text}\033[0m"
        print(text, file=self._out, flush=True)

    def failure(self, verdict: Verdict) -> None:
        """One failure, if it is among the first."""
        self._failures += 1
        if self._failures <= SHOWN:
            first, _, rest = str(verdict).partition("\n")
            self.say(first, right=False)
            self.say(rest)
        elif self._failures == SHOWN + 1:
            self.say("... more failures are counted, and listed in the reports alone")

    def progress(self, done: int, of: int, wrong: int) -> None:
        """How far the run is."""
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last, elapsed = now, now - self._start
        if self._bar:
            filled = _WIDTH * done // of
            left = elapsed / done * (of - done)
            bar = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {done}/{of}, {wrong} wrong, {left:.0f} s left"
            self._err.write(f"\r{bar}\033[K")
        else:
            self._err.write(f"{done} of {of} cases, {wrong} wrong, {elapsed:.0f} s\n")
        self._err.flush()

    def clear(self) -> None:
        """Takes the bar away."""
        if self._bar:
            self._err.write("\r\033[K")
            self._err.flush()
