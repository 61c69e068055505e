"""The depthwise path: convolutions whose channels have nothing to do with one another."""

from __future__ import annotations

import math
from dataclasses import replace

from miniconv.codegen.depthwise_geometry import MOST_UP, plane_bytes, window
from miniconv.codegen.depthwise_kernels import emit_rows, emit_walk, rows_name
from miniconv.codegen.depthwise_tables import Tables
from miniconv.codegen.engine import Stage, Work
from miniconv.codegen.jit import module
from miniconv.codegen.schedule import Layout
from miniconv.codegen.target import Target
from miniconv.problem import ConvProblem

__all__ = ["depthwise", "depthwise_refusal"]

MOST_TAPS = 256  # more are better summed in parts, as the direct path does
MOST_BYTES = 1 << 20  # of one packed row of outputs
LEAST_VECTOR_BYTES = 16
ITEMSIZE = {"float32": 4, "float64": 8}


def depthwise_refusal(problem: ConvProblem, layout: Layout, target: Target) -> str | None:
    """Why the depthwise path does not compute this problem; None if it does.

    Args:
        problem: any problem of float32 or float64 with no empty operand.
        layout: strides in bytes, of five axes each.
        target: the processor.
    """
    itemsize = ITEMSIZE[problem.dtype]
    if problem.groups != problem.in_channels:
        return "groups differ from in_channels"
    if problem.spatial_dims > 2:
        return "three spatial axes"
    if window(problem, -1).up > MOST_UP:
        return f"transposed, and more than {MOST_UP} outputs in a row from one column of the input to the next"
    if layout.output[4] != itemsize and problem.output_size[-1] > 1:
        return "the output's columns are not consecutive"
    multiplier = problem.out_channels // problem.in_channels
    if problem.transposed and multiplier > 1 and layout.weight[0] != multiplier * layout.weight[1]:
        return "the weight's channels are not evenly spaced"
    if math.prod(problem.kernel_size) > MOST_TAPS:
        return f"more than {MOST_TAPS} taps"
    if plane_bytes(window(problem, -2), window(problem, -1), 1, target, itemsize)[2] > MOST_BYTES:
        return f"rows that need more than {MOST_BYTES} bytes of scratch memory"
    return None


def depthwise(problem: ConvProblem, layout: Layout, target: Target, threads: int) -> Work:
    """The work of a problem that ``depthwise_refusal`` accepts."""
    target = _fitting(problem, target)
    itemsize = ITEMSIZE[problem.dtype]
    tables = Tables.of(problem, layout, target, itemsize, threads)
    shape = tables.shape
    return Work(
        program=tables.program,
        stages=(Stage(module(emit_walk, problem.dtype, target).get_function_address("run"), tables.units),),
        kernels=module(emit_rows, problem.dtype, target, shape).get_function_address(rows_name(shape)),
        scratch_bytes=tables.scratch_bytes,
        shared_bytes=0,
        itemsize=itemsize,
        threads=threads,
        lines=(
            f"tile of {shape.rows} vectors of {target.lanes(itemsize)}, {shape.taps} kernel rows a step"
            + f", for each of {shape.up} phases" * (shape.up > 1),
            f"input {'packed' if tables.packed else 'read in place'}, {tables.block} channels at a time, "
            f"{tables.bands} bands an image",
        ),
    )


def _fitting(problem: ConvProblem, target: Target) -> Target:
    """The target with vectors half as long, or a quarter, where a row of a phase's outputs fits one."""
    row, size = window(problem, -1).count * ITEMSIZE[problem.dtype], target.vector_bytes
    while size >= 2 * max(row, LEAST_VECTOR_BYTES):
        size //= 2
    return replace(target, vector_bytes=size)
