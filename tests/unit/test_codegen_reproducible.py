"""The engine gives the same bits however work is shared, laid out, batched or repeated: random numbers, no tolerance.

A sum of rounded products depends on the order in which it is taken. So equality here says that the order depends on the
problem alone.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and codegen_paths.py is no test
import codegen_paths as paths

from miniconv.codegen import jit
from miniconv.parity.bounds import allowed_error, gamma
from miniconv.parity.cases import Case
from miniconv.parity.data import Values
from miniconv.parity.oracle import Oracle
from miniconv.plan import plan
from miniconv.problem import ConvProblem

# more channels than are packed at a time, more steps than are summed in registers, several boxes
LARGE = [
    "conv2d n3 c96 o40 i33x29 k3x3 p1x1 bias",
    "conv2d n2 c300 o33 i14x13 k1x1 bias",
    "conv2d n1 c2000 o9 i20x100 k1x1",
    "conv2d n2 c40 o24 i40x37 k3x5 s2x1 p1x2",
    "conv2d n2 c40 o40 i131x150 k5x3 s2x1 p2x1 g40 bias",
]
EVERY = [(path, target, dtype) for path, target, dtype in product(paths.PATHS, paths.targets(), paths.DTYPES)]


def served(path: str, dtype: str, target: str) -> list[ConvProblem]:
    return paths.served(path, dtype, paths.targets()[target], paths.FAMILY + LARGE)


@pytest.mark.parametrize(("path", "target", "dtype"), EVERY)
def test_same_bits_for_any_number_of_threads_and_on_every_run(path: str, target: str, dtype: str) -> None:
    for problem in served(path, dtype, target):
        x, w, b = paths.operands(problem, np.random.default_rng(3), whole=False)
        first = paths.convolved(path, problem, x, w, b, paths.targets()[target])
        for threads in (1, 2, 3, 1):
            again = paths.convolved(path, problem, x, w, b, paths.targets()[target], threads)
            assert np.array_equal(first, again), (str(problem), threads)


@pytest.mark.parametrize(("path", "target", "dtype"), EVERY)
def test_same_bits_for_an_image_alone_and_in_a_batch(path: str, target: str, dtype: str) -> None:
    for problem in served(path, dtype, target):
        problem = replace(problem, batch=3)
        x, w, b = paths.operands(problem, np.random.default_rng(4), whole=False)
        for threads in (1, 2):
            together = paths.convolved(path, problem, x, w, b, paths.targets()[target], threads)
            for n in range(3):
                alone = replace(problem, batch=1)
                y = paths.convolved(path, alone, x[n : n + 1], w, b, paths.targets()[target], threads)
                assert np.array_equal(y, together[n : n + 1]), (str(problem), n, threads)


@pytest.mark.parametrize(("path", "target", "dtype"), EVERY)
def test_same_bits_for_contiguous_and_channels_last(path: str, target: str, dtype: str) -> None:
    for problem in served(path, dtype, target):
        x, w, b = paths.operands(problem, np.random.default_rng(5), whole=False)
        expected = paths.convolved(path, problem, x, w, b, paths.targets()[target])
        for formats in product(("contiguous", "channels_last"), repeat=3):
            x_now, w_now = paths.laid_out(x, formats[0]), paths.laid_out(w, formats[1])
            now = replace(problem, memory_format=formats[2])
            y = paths.laid_out(np.empty(problem.batched_output_shape, dtype), formats[2])
            if not paths.serves(path, now, paths.targets()[target], x_now, w_now, y):
                continue
            y = paths.convolved(path, now, x_now, w_now, b, paths.targets()[target], threads=2)
            assert np.array_equal(y, expected), (str(problem), formats)


@pytest.mark.parametrize(("path", "target", "dtype"), EVERY)
def test_same_bits_for_an_input_with_gaps(path: str, target: str, dtype: str) -> None:
    for problem in served(path, dtype, target):
        x, w, b = paths.operands(problem, np.random.default_rng(7), whole=False)
        expected = paths.convolved(path, problem, x, w, b, paths.targets()[target])
        for axis in range(2, x.ndim):
            around = np.full([n + (i == axis) for i, n in enumerate(x.shape)], np.nan, dtype)
            wide = around[tuple(slice(n) for n in x.shape)]
            wide[...] = x
            y = paths.convolved(path, problem, wide, w, b, paths.targets()[target])
            assert np.array_equal(y, expected), (str(problem), axis)


@pytest.mark.parametrize(("path", "dtype"), list(product(paths.PATHS, paths.DTYPES)))
def test_targets_with_fused_multiply_add_agree_within_the_bound(path: str, dtype: str) -> None:
    """Another processor rounds otherwise; the sums of all of them lie around the same exact ones."""
    unit = np.finfo(dtype).eps / 2
    for problem in served(path, dtype, jit.host().name):
        x, w, b = paths.operands(problem, np.random.default_rng(6), whole=False)
        wide = replace(problem, dtype="float64")
        exact = plan(wide, "im2col")(*(None if a is None else a.astype("float64") for a in (x, w, b)))
        size = plan(wide, "im2col")(*(None if a is None else np.abs(a.astype("float64")) for a in (x, w, b)))
        terms = int(np.prod(problem.weight_shape[1:])) if not problem.transposed else int(np.prod(problem.weight_shape))
        allowed = 2 * gamma(terms + 2, unit) * size
        if path == "winograd":  # which adds up other numbers
            padded = np.pad(x.astype("float64"), [(0, 0), (0, 0), *problem.padding])
            inside = replace(problem, input_size=padded.shape[2:], padding=((0, 0), (0, 0)))
            case = Case.parse(f"{inside} random")  # it knows no padding of one side
            bias = None if b is None else b.astype("float64")
            values = Values(padded, w.astype("float64"), bias, np.zeros(problem.output_shape))
            allowed = 2 * allowed_error("winograd", case, values, Oracle(case, values).output())[0]
        for target in paths.targets().values():
            y = paths.convolved(path, problem, x, w, b, target)
            assert (np.abs(y - exact) <= allowed).all(), (str(problem), target.name)
