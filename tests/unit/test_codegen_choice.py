"""Which path of the engine computes a problem, and the sentences that say why others do not."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and codegen_paths.py is no test

import codegen_paths as paths

from miniconv.codegen.paths import choose
from miniconv.codegen.schedule import Layout
from miniconv.codegen.target import TARGETS
from miniconv.problem import ConvProblem

CHOSEN = {
    "conv2d n1 c32 o32 i56x55 k3x3 p1x1 g32 float32": "depthwise",
    "conv2d n1 c32 o128 i56x55 k3x3 p1x1 g32 float32": "depthwise",
    "conv2d n1 c32 o160 i56x55 k3x3 p1x1 g32 float32": "direct",
    "conv_transpose2d n1 c32 o32 i28x27 k4x4 s2x2 p1x1 g32 float32": "depthwise",
    "conv_transpose2d n1 c32 o32 i28x27 k16x16 s8x8 p4x4 g32 float32": "depthwise",
    "conv_transpose2d n1 c32 o32 i28x27 k9x9 s9x9 g32 float32": "direct",
    "conv2d n1 c32 o32 i56x55 k3x3 p1x1 g32 float32 channels_last": "depthwise_last",
    "conv2d n1 c32 o128 i56x55 k3x3 p1x1 g32 float32 channels_last": "depthwise_last",
    "conv2d n1 c32 o160 i56x55 k3x3 p1x1 g32 float32 channels_last": "direct",
    "conv2d n1 c256 o256 i56x55 k3x3 p1x1 float32": "winograd",
    "conv2d n1 c512 o512 i56x55 k3x3 p1x1 float32": "winograd",
    "conv2d n1 c256 o256 i56x55 k3x3 p1x1 float64": "winograd",
    "conv2d n1 c512 o512 i56x55 k3x3 p1x1 float64": "direct",
    "conv2d n1 c64 o64 i56x56 k3x5 p1x2": "direct",  # a form for each would be a hundred more
    "conv2d n1 c64 o64 i56x57 k3x3 s1x2 p1x1": "direct",
}


def layout(problem: ConvProblem) -> Layout:
    """Where operands in the problem's memory format lie."""
    shapes = problem.batched_input_shape, problem.weight_shape, problem.batched_output_shape
    return paths.layout_of(*(paths.laid_out(np.empty(shape, problem.dtype), problem.memory_format) for shape in shapes))


@pytest.mark.parametrize(("text", "name"), CHOSEN.items())
def test_the_path_is_chosen(text: str, name: str) -> None:
    problem = ConvProblem.parse(text)
    chosen, refused = choose(problem, layout(problem), TARGETS["avx512"], reproducible=False)
    assert chosen == name
    assert list(refused) == list(paths.PATHS)[: list(paths.PATHS).index(name)]
    assert all(refused.values())


@pytest.mark.parametrize("text", CHOSEN)
def test_the_batch_has_no_say(text: str) -> None:
    alone, many = (replace(ConvProblem.parse(text), batch=n) for n in (1, 5))
    names = [choose(problem, layout(problem), TARGETS["avx512"], False)[0] for problem in (alone, many)]
    assert names[0] == names[1]
