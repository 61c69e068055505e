"""A sample of every operator's grids, forward and gradients, for ``make test-targets``.

That runs it with the engine switched off, and with code for narrower processors; ``make test-full`` runs all the grids
so.
"""

from __future__ import annotations

import os
from itertools import product

import pytest

pytest.importorskip("torch")
pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")

import miniconv.functional as F
import miniconv.nn as nn
from miniconv.codegen import jit
from miniconv.parity import short_grid
from miniconv.parity.cases import OPS
from miniconv.parity.runner import run
from miniconv.parity.targets import family
from miniconv.plan import plan
from miniconv.problem import ConvProblem

pytestmark = pytest.mark.sample

PARTS = 4
PROBLEM = ConvProblem.parse("conv2d n1 c3 o4 i5x6 k3x2 float32")


@pytest.mark.parametrize(("op", "part"), list(product(OPS, range(PARTS))))
def test_a_part_of_the_sample(op, part):
    report = run(short_grid(op=op)[part::PARTS], family(F, nn))
    assert not report.wrong, str(report)
    assert report.equal + report.within_bound > 300, str(report.counts)


def test_the_environment_is_obeyed():
    algorithm, target = (os.environ.get(f"MINICONV_{name}") for name in ("ALGORITHM", "TARGET"))
    assert algorithm or target, "make test-targets sets one of them"
    assert plan(PROBLEM).algorithm == (algorithm or "engine")
    run(short_grid(50), family(F, nn))
    assert {compiled.name for compiled in jit._ENGINES} == ({target} if algorithm is None else set())
