"""Every algorithm keeps the bound that it states, over a sample of the grids; what it refuses is counted."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch")

from miniconv.algorithms import ALGORITHMS, fft  # noqa: E402
from miniconv.functional._convolution import describe  # noqa: E402
from miniconv.parity.grids import GRIDS  # noqa: E402
from miniconv.parity.runner import run  # noqa: E402
from miniconv.parity.targets import Target, Unsupported  # noqa: E402
from miniconv.plan import plan  # noqa: E402
from miniconv.problem import ConvProblem  # noqa: E402

NAMES = (
    *(f"geometry-{dtype}" for dtype in ("int16", "int64", "float16", "bfloat16", "float32", "float64", "complex64")),
    "random-float32", "random-any", "layout-sliced", "layout-channels_last",
)  # fmt: skip


def target(name: str) -> Target:
    """conv2d by one algorithm; no gradients and no promise about strides."""

    def conv2d(*operands, **options):
        problem = ConvProblem.from_conv(*(describe(x) for x in operands), **options)
        reason = ALGORITHMS[name].unsupported_reason(problem)
        if reason is not None:
            raise Unsupported(reason)
        return plan(problem, name)(*operands)

    return Target(conv2d, bound=ALGORITHMS[name].bound, fft_constant=fft.BOUND_CONSTANT, gradients=False, layout=False)


def cases(legal_for: str):
    """A sample; for Winograd of 3x3 kernels with stride 1 and no dilation alone."""
    rng = random.Random(0)
    for name in NAMES:
        grid = GRIDS[name]()
        if legal_for.startswith("winograd"):
            grid = [c for c in grid if c.kernel_size == (3, 3) and {*c.stride, *c.dilation} == {1}]
        yield from rng.sample(grid, 150 if len(grid) > 150 else len(grid))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_keeps_its_bound(name):
    report = run(cases(name), target(name))
    assert not report.wrong, str(report)
    assert report.equal + report.within_bound > 300, str(report.counts)


def test_the_direct_bound_is_too_tight_for_winograd():
    name = "winograd_f4"
    held_to_direct = Target(target(name).function, gradients=False, layout=False)
    report = run([case for case in cases(name) if case.dtype == "float32" and case.data == "random"], held_to_direct)
    assert report.counts["WRONG_VALUE"]
