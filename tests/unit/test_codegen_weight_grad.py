"""The weight's gradient by the engine: against the definition, in every layout, and within the operands' memory."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and codegen_paths.py is no test
import codegen_paths as paths

from miniconv import config, reference
from miniconv.codegen.weight_grad import MOST_CELLS, CompiledWeightGrad, weight_grad_refusal
from miniconv.plan import plan
from miniconv.problem import ConvProblem

FAMILY = [
    "conv1d n2 c6 o4 i40 k5 s2 p3:1 d2 g2",
    "conv1d n1 c1 o1 i5 k3",
    "conv2d n2 c3 o5 i7x9 k3x2 p1x0",
    "conv2d n3 c5 o4 i6x5 k1x1",
    "conv2d n2 c6 o9 i11x8 k2x4 s3x2 p0:1x2:0 d2x1 g3",
    "conv2d n2 c8 o8 i9x8 k3x3 p1x1 g8",
    "conv2d n1 c20 o33 i13x17 k3x5 s1x2 p2x1 d1x3",
    "conv2d n2 c3 o4 i8x9 k3x2 p2x1 channels_last",
]
problems = pytest.mark.parametrize("problem", [ConvProblem.parse(f"{t} {d}") for t, d in product(FAMILY, paths.DTYPES)])


def operands(problem: ConvProblem) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    shapes = (problem.batched_output_shape, problem.batched_input_shape)
    grad, x = (paths.laid_out(rng.integers(-3, 4, s).astype(problem.dtype), problem.memory_format) for s in shapes)
    return grad, x


@problems
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_definition(problem: ConvProblem, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miniconv.codegen.operands.SMALL", 0)  # threads share even these
    grad, x = operands(problem)
    got = CompiledWeightGrad(problem)(grad, x, None, threads, False)
    assert got.dtype == problem.dtype
    assert np.array_equal(got, reference.conv_weight_grad(problem, grad, x))
    assert got.strides == paths.laid_out(got, problem.memory_format).strides


@problems
def test_any_strides(problem: ConvProblem) -> None:
    grad, x = operands(problem)
    expected = reference.conv_weight_grad(problem, grad, x)
    around = [np.full([2 * n for n in v.shape], np.nan, v.dtype)[(slice(None, None, 2),) * v.ndim] for v in (grad, x)]
    for view, values in zip(around, (grad, x)):
        view[...] = values
    compiled = CompiledWeightGrad(problem)
    assert np.array_equal(compiled(*around, None, 1, False), expected)
    flipped = [v[..., ::-1].copy()[..., ::-1] for v in (grad, x)]  # strides below zero
    assert np.array_equal(compiled(*flipped, None, 1, False), expected)
    one = np.broadcast_to(grad[:1], grad.shape)
    assert np.array_equal(compiled(one, x, None, 1, False), reference.conv_weight_grad(problem, one, x))


def test_the_plan_takes_it() -> None:
    for text, taken in {
        "conv2d n2 c3 o5 i7x9 k3x2 p1x0": True,
        "conv_transpose2d n2 c4 o6 i5x4 k3x2 s2x3 p1x0 op1x0 g2": True,
        "conv_transpose2d n2 c4 o6 i5x4 k3x2 s2x2 op3x3 d4x4": True,  # cells that no input reaches
        "conv2d c3 o5 i7x9 k3x2 p1x0 float16": True,
        "conv3d n2 c3 o5 i7x9x4 k3x2x2": False,
        "conv2d n8 c32 o32 i56x57 k3x5 g32": False,
    }.items():
        problem = ConvProblem.parse(text)
        rng = np.random.default_rng(6)
        grad, x = (rng.integers(-1, 2, s).astype(problem.dtype) for s in (problem.output_shape, problem.input_shape))
        chosen = plan(problem)
        assert (chosen._compiled_weight_grad is not None) == taken, text
        with config(algorithm="im2col"):
            expected = chosen.weight_grad(grad, x)
        assert np.array_equal(chosen.weight_grad(grad, x), expected), text


def test_what_is_refused() -> None:
    assert weight_grad_refusal(ConvProblem.parse("conv3d n1 c2 o3 i4x5x6 k2x3x2")) == "three spatial axes"
    wide = ConvProblem.parse(f"conv1d n2 c1 o1 i{MOST_CELLS} k1")
    expected = f"{2 * MOST_CELLS} kernel cells, and at most {MOST_CELLS} are put in a table"
    assert weight_grad_refusal(wide) == expected
    assert weight_grad_refusal(ConvProblem.parse("conv2d n1 c1 o1 i5x6 k3x2")) is None  # small enough not to matter


def _child() -> None:
    """Every operand lies against a page that nobody may touch, once before it and once behind it."""
    for problem, at_end in product([ConvProblem.parse(f"{t} {d}") for t, d in product(FAMILY, paths.DTYPES)], (0, 1)):
        grad, x = operands(problem)
        guards = [paths.Guarded(v.nbytes) for v in (grad, x)]
        put = [guard.like(v, bool(at_end)) for guard, v in zip(guards, (grad, x))]
        got = CompiledWeightGrad(problem)(*put, None, 1, False)
        if not np.array_equal(got, reference.conv_weight_grad(problem, grad, x)):
            sys.exit(f"wrong: {problem}")
        print(problem, flush=True)


def test_nothing_is_read_beside_the_operands() -> None:
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"after {lines[-1:]}: ended with {done.returncode}; {done.stderr[-2000:]}"
    assert len(lines) == 2 * len(FAMILY) * len(paths.DTYPES)


if __name__ == "__main__":
    _child()
