"""The engine reads and writes its operands and its scratch, and nothing beside them: not one byte.

Every operand, the table and the scratch lie between two pages that the processor refuses to touch, once flush against
the page behind and once against the one in front. A read or write outside ends the process, so a child process runs
the problems; it names each before it begins, and the last name is the one at fault. What is not an operand holds NaN,
so a read from between the elements of an operand shows in the result, and a write there is looked for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and codegen_paths.py is no test
import codegen_paths as paths

from miniconv.codegen import engine
from miniconv.plan import plan
from miniconv.problem import ConvProblem

PROBLEMS = int(os.environ.get("MINICONV_GUARDED_PROBLEMS", "400"))  # of each path, target and dtype

MEBIBYTE = 2**20


class _GuardedScratch:
    """Stands in for the engine's scratch memory."""

    def __init__(self) -> None:
        self.guarded, self.at_end = paths.Guarded(16 * MEBIBYTE), True

    def address(self, size: int) -> int:
        # all of it is wiped: what an earlier call left there must not serve this one
        block = self.guarded.bytes(size, self.at_end, align=64)
        block[:] = 0xFF
        return block.ctypes.data


class _Run:
    """Runs problems of one path, target and dtype between guards."""

    def __init__(self, path: str, target: str, scratch: _GuardedScratch) -> None:
        self.path, self.target, self.scratch = path, paths.targets()[target], scratch
        self.guards = {name: paths.Guarded(16 * MEBIBYTE) for name in ("x", "w", "b", "y", "program")}

    def __call__(self, problem: ConvProblem, rng: np.random.Generator) -> str:
        """What is wrong with the result; empty if nothing is."""
        x, w, b = paths.operands(problem, rng)
        x, w = _strided(x, problem, rng), paths.laid_out(w, problem.memory_format)
        y = paths.laid_out(np.zeros(problem.batched_output_shape, x.dtype), problem.memory_format)
        if not paths.serves(self.path, problem, self.target, x, w, y):  # where channels lie apart, say
            x = paths.laid_out(np.ascontiguousarray(x), problem.memory_format)
        shape = problem.batched_output_shape
        expected = plan(problem, "im2col")(np.ascontiguousarray(x), np.ascontiguousarray(w), b).reshape(shape)
        target = paths.narrow(self.target) if rng.random() < 0.3 else self.target
        work = paths.prepared(self.path, problem, x, w, y, target, threads=int(rng.integers(1, 4)))
        work = replace(work, threads=1)  # the same units one after another: each uses the whole scratch of a thread
        for at_end in (True, False):
            self.scratch.at_end = at_end
            put = {name: self.guards[name].like(value, at_end) for name, value in (("x", x), ("w", w), ("y", y))}
            put["y"][...] = np.nan
            bias = None if b is None else self.guards["b"].like(b, at_end)
            program = self.guards["program"].like(work.program, at_end)
            paths.execute(replace(work, program=program), put["x"], put["w"], bias, put["y"])
            wrong = [name for name, guard in self.guards.items() if not guard.untouched()]
            if wrong or not self.scratch.guarded.untouched():
                return f"writes beside {', '.join(wrong) or 'scratch'}"
            if not np.array_equal(put["y"], expected):
                return f"wrong at {np.argwhere(put['y'] != expected)[0].tolist()}"
        return ""


def _strided(x: np.ndarray, problem: ConvProblem, rng: np.random.Generator) -> np.ndarray:
    """``x`` in its memory format; now and then with gaps between its elements, or one image for the whole batch."""
    kind = rng.random()
    if kind < 0.6:
        return paths.laid_out(x, problem.memory_format)
    if kind < 0.7:
        return np.broadcast_to(x[:1], x.shape)
    steps = rng.choice([1, 1, 1, 2, 3], x.ndim)
    around = np.full([n * step for n, step in zip(x.shape, steps)], np.nan, x.dtype)
    view = around[tuple(slice(None, None, int(step)) for step in steps)]
    view[...] = x
    return view


def _child(path: str, target: str, dtype: str, count: int) -> None:
    engine._scratch = scratch = _GuardedScratch()  # type: ignore[assignment]
    rng = np.random.default_rng(len(dtype) + count)
    run, done = _Run(path, target, scratch), 0
    fixed = (ConvProblem.parse(f"{text} {dtype}") for text in paths.FAMILY)
    every = (problem for source in (fixed, paths.problems(rng, dtype)) for problem in source)
    for problem in every:
        if paths.serves(path, problem, run.target):
            print(problem, flush=True)
            if wrong := run(problem, rng):
                sys.exit(wrong)
            done += 1
        if done == count:
            break


@pytest.mark.parametrize(("path", "target", "dtype"), list(product(paths.PATHS, paths.targets(), paths.DTYPES)))
def test_nothing_is_touched_beside_the_operands(path: str, target: str, dtype: str) -> None:
    command = [sys.executable, __file__, path, target, dtype, str(PROBLEMS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]}: ended with {done.returncode}; {done.stderr[-2000:]}"
    assert len(lines) == PROBLEMS


@pytest.mark.parametrize(("at_end", "beside"), [(True, 56), (False, -1)])
def test_a_touch_beside_an_operand_ends_the_process(at_end: bool, beside: int) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import ctypes, numpy as np, codegen_paths as paths
guarded = paths.Guarded(100)
x = guarded.like(np.arange(7.0), {at_end})
print(x.sum(), flush=True)
ctypes.string_at(x.ctypes.data + {beside}, 1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "21.0\n", done.stderr
    assert done.returncode == -signal.SIGSEGV


if __name__ == "__main__":
    _child(*sys.argv[1:4], int(sys.argv[4]))


def test_scratch_memory_begins_a_cache_line_and_where_it_is_large_a_huge_page() -> None:
    for size, whole in ((1, 64), (100, 64), (131_071, 64), (131_072, 2 * MEBIBYTE), (3 * MEBIBYTE + 1, 2 * MEBIBYTE)):
        scratch = engine._Scratch()
        begin = scratch.address(size)
        assert begin % whole == scratch.size % whole == 0
        assert scratch.address(1) == scratch.address(size) == begin  # kept
        first, memory = scratch.buffer.ctypes.data, scratch.buffer.nbytes
        assert first <= begin < begin + size <= first + memory
