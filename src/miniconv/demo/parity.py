"""Step 1: the parity suite's short grid, judged against the torch that is installed."""

from __future__ import annotations

from miniconv import functional as F
from miniconv.demo import Figure
from miniconv.demo.progress import progress
from miniconv.parity import run as run_parity
from miniconv.parity import short_grid

__all__ = ["run"]


def run(cases: int | None = None) -> list[Figure]:
    """Judge ``miniconv.functional.conv2d`` on the short grid, or on its first ``cases`` cases."""
    import torch

    with progress("forward and gradients", "cases") as report_progress:
        report = run_parity(short_grid()[:cases], target=F.conv2d, progress=report_progress)
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
