"""A progress bar: tqdm's where it is installed and somebody is watching, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress"]


@contextmanager
def progress(label: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield the function that says how far it is: ``report(done, total)``.

    Args:
        label: what is going on.
        unit: what is counted.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if tqdm is None or not sys.stderr.isatty():
        yield _plain_lines(label, unit)
        return
    with tqdm(desc=label, unit=f" {unit}") as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report


def _plain_lines(label: str, unit: str) -> Callable[[int, int], None]:
    """One line for each quarter of the way."""
    quarter = 0

    def report(done: int, total: int) -> None:
        nonlocal quarter
        if 4 * done // total > quarter:
            quarter = 4 * done // total
            print(f"{label}: {done:,} of {total:,} {unit}", flush=True)

    return report
