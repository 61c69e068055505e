"""The Winograd path: 4 multiplications for an output, a channel and another channel, where the definition has 9."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from miniconv.codegen.emit import Code
from miniconv.codegen.engine import Stage, Work, direct
from miniconv.codegen.jit import compile_code, library
from miniconv.codegen.kernels import Element
from miniconv.codegen.schedule import Layout
from miniconv.codegen.target import Target
from miniconv.codegen.winograd_kernels import emit_stages
from miniconv.codegen.winograd_schedule import F2, HEAD, SHARED_BYTES, WinogradSchedule, refusal
from miniconv.problem import ConvProblem

__all__ = ["winograd", "winograd_refusal"]


def winograd_refusal(problem: ConvProblem) -> str | None:
    """Why this path does not serve ``problem``; None if it does."""
    return refusal(problem)


def winograd(problem: ConvProblem, layout: Layout, target: Target, threads: int) -> Work:
    """The path of F(2x2, 3x3)."""
    kernels = library(problem.dtype, target)
    itemsize = kernels.element.bytes
    schedule = WinogradSchedule.of(problem, layout, target, itemsize, threads)
    stages = _stages(problem.dtype, replace(target, l2_bytes=0))
    again = direct(problem, layout, target, threads)
    program = np.concatenate([schedule.program, again.program])
    program[HEAD["direct"]] = len(schedule.program)
    program[HEAD["run"]] = kernels.run_address
    program[HEAD["units_per_image"]] = again.stages[0].units // problem.batched_input_shape[0]
    names = ("weights", "tiles", "again")
    units = (*schedule.units, again.stages[0].units)
    return Work(
        program=program,
        stages=tuple(Stage(stages.get_function_address(name), count) for name, count in zip(names, units)),
        kernels=kernels.kernel_table(schedule.kernels),
        scratch_bytes=max(schedule.scratch_bytes, again.scratch_bytes),
        shared_bytes=schedule.shared_bytes,
        itemsize=itemsize,
        threads=threads,
        lines=(
            f"Winograd F(2x2, 3x3): blocks of {schedule.vectors} vectors of tiles, {schedule.chunk} channels and "
            f"{schedule.panel} outputs at a time",
            f"tile {schedule.tile.rows} channels x {schedule.tile.vectors} vectors of {kernels.element.lanes}",
            f"transformed weights {schedule.shared_bytes} bytes for all threads, scratch {schedule.scratch_bytes} bytes each",
        ),
    )


@lru_cache(maxsize=None)  # never dropped: compiled code must outlive every plan
def _stages(dtype: str, target: Target) -> Any:
    code = Code()
    emit_stages(code, Element.of(dtype, target), F2)
    return compile_code(code, target)
