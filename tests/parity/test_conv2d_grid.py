"""conv2d and Conv2d over every grid: values by the oracle, everything else by torch."""

from __future__ import annotations

import itertools
from functools import lru_cache

import pytest

pytest.importorskip("torch")

import miniconv.functional as F
import miniconv.nn as nn
from miniconv.parity.axes import AXES
from miniconv.parity.cases import Case
from miniconv.parity.grids import GRIDS
from miniconv.parity.runner import run
from miniconv.parity.targets import Target

MINICONV = Target(F.conv2d, nn.Conv2d)
WHOLE = tuple(name for name in GRIDS if name.startswith(("mode-", "specials-", "errors", "regressions")))
KERNELS = ("1x1", "3x3", "3x2", "1x5", "larger")
BLOCKS = list(itertools.product([name for name in GRIDS if name not in WHOLE], AXES["conv2d"]["groups"], KERNELS))

grid = lru_cache(maxsize=4)(lambda name: GRIDS[name]())


def check(cases: list[Case]) -> None:
    assert cases
    report = run(cases, MINICONV)
    assert not report.wrong, str(report)


@pytest.mark.parametrize(("name", "groups", "kernel"), BLOCKS)
def test_a_block(name, groups, kernel):
    check([case for case in grid(name) if case.axes["groups"] == groups and case.axes["kernel"] == kernel])


@pytest.mark.parametrize("name", WHOLE)
def test_a_grid(name):
    check(grid(name))


def test_the_blocks_are_the_grids():
    blocks = sum(
        case.axes["groups"] == groups and case.axes["kernel"] == kernel
        for case in grid("random-any")
        for groups, kernel in itertools.product(AXES["conv2d"]["groups"], KERNELS)
    )
    assert blocks == len(grid("random-any"))
