"""Step 1: the parity suite's short grids of all six convolutions, judged against the torch that is installed."""

from __future__ import annotations

import itertools

from miniconv.demo import Figure
from miniconv.demo.progress import progress
from miniconv.parity import run as run_parity
from miniconv.parity import short_grid
from miniconv.parity.cases import OPS

__all__ = ["run"]


def run(cases: int | None = None) -> list[Figure]:
    """Judge ``miniconv.functional`` on 500 cases of each operator, or on the first ``cases`` of all of them."""
    import torch

    of_each = [short_grid(500, op) for op in OPS]
    todo = [case for one_of_each in itertools.zip_longest(*of_each) for case in one_of_each if case is not None]

    with progress("forward and gradients", "cases") as report_progress:
        report = run_parity(todo[:cases], progress=report_progress)
    for failure in report.failures[:3]:
        print(failure)
    return [
        Figure("installed torch", torch.__version__),
        Figure("cases", f"{report.cases:,}"),
        Figure("equal", f"{report.equal:,}"),
        Figure("within the bound of rounding", f"{report.within_bound:,}"),
        Figure("differences known beforehand", f"{report.known:,}"),
        Figure("wrong", f"{report.wrong:,}", right=report.wrong == 0),
    ]
