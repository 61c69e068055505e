"""The depthwise path for operands whose channels lie one behind another (channels_last)."""

from __future__ import annotations

import math
from dataclasses import replace

from miniconv.codegen.depthwise import ITEMSIZE, LEAST_VECTOR_BYTES, MOST_TAPS
from miniconv.codegen.depthwise_last_kernels import emit_pixels, emit_stages, pixels_name
from miniconv.codegen.depthwise_last_tables import GROUP, MOST_ROWS, MOST_VECTORS, Tables
from miniconv.codegen.engine import Stage, Work
from miniconv.codegen.jit import module
from miniconv.codegen.schedule import Layout
from miniconv.codegen.target import Target
from miniconv.problem import ConvProblem

__all__ = ["depthwise_last", "depthwise_last_refusal", "pixels_together"]

MOST_PIXELS = 4  # together, if the registers hold their sums and a pixel's weights


def depthwise_last_refusal(problem: ConvProblem, layout: Layout, target: Target) -> str | None:
    """Why this path does not compute the problem; None if it does.

    Args:
        problem: any problem of float32 or float64 with no empty operand.
        layout: strides in bytes, of five axes each.
        target: the processor.
    """
    del target
    itemsize = ITEMSIZE[problem.dtype]
    if problem.groups != problem.in_channels:
        return "groups differ from in_channels"
    if problem.out_channels > MOST_VECTORS * problem.in_channels:
        return f"more than {MOST_VECTORS} outputs of a channel"
    if problem.in_channels * itemsize < LEAST_VECTOR_BYTES:
        return f"{problem.in_channels} channels do not fill a vector"
    if layout.input[1] != itemsize or layout.output[1] != itemsize:
        return "the channels are not consecutive"
    if math.prod(problem.kernel_size) > MOST_TAPS:
        return f"more than {MOST_TAPS} taps"
    return None


def depthwise_last(problem: ConvProblem, layout: Layout, target: Target, threads: int) -> Work:
    """The work of a problem that ``depthwise_last_refusal`` accepts.

    Numerics: exact on small integers, else within gamma_(L+2) * S, L the kernel's cells; a tap on padding is left out.
    Cost: one multiply-add for each output and tap that meets the input, two loads each; a copy of the weight.
    """
    target = _fitting(problem, target)
    itemsize = ITEMSIZE[problem.dtype]
    lanes, copies = target.lanes(itemsize), problem.out_channels // problem.in_channels
    tables = Tables.of(problem, layout, lanes, itemsize, threads)
    for word, vectors in tables.groups.items():
        kernels = module(emit_pixels, problem.dtype, target, vectors, copies, pixels_together(target, vectors * copies))
        kernel = kernels.get_function_address(pixels_name(vectors, copies))
        tables.program[word + GROUP["kernel"]] = kernel
    stages = module(emit_stages, problem.dtype, target, tables.columns_outside)
    return Work(
        program=tables.program,
        stages=tuple(
            Stage(stages.get_function_address(name), units) for name, units in zip(("taps", "rows"), tables.units)
        ),
        kernels=0,
        scratch_bytes=tables.scratch_bytes,
        shared_bytes=tables.shared_bytes,
        itemsize=itemsize,
        threads=threads,
        lines=(
            f"groups of {max(tables.groups.values())} vectors of {lanes} channels, at most {MOST_ROWS} rows at a time",
        ),
    )


def pixels_together(target: Target, vectors: int) -> int:
    """How many pixels of so many vectors of outputs the registers hold, beside a weight."""
    return max(1, min(MOST_PIXELS, (target.registers - 2) // vectors - 1))


def _fitting(problem: ConvProblem, target: Target) -> Target:
    """The target with vectors half as long, or a quarter, where the channels do not fill one."""
    row, size = problem.in_channels * ITEMSIZE[problem.dtype], target.vector_bytes
    while size > row:
        size //= 2
    return replace(target, vector_bytes=size)
