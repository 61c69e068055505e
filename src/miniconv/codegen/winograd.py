"""The Winograd path: fewer products than the definition has, 4 for 9 of a 3x3 kernel, 25 for 36 at a stride of 2."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from miniconv.codegen.engine import Again, Stage, Work, direct
from miniconv.codegen.jit import library, module
from miniconv.codegen.schedule import Layout
from miniconv.codegen.target import Target
from miniconv.codegen.winograd_axis import form_of
from miniconv.codegen.winograd_form import HEAD, SHARED_BYTES, refusal
from miniconv.codegen.winograd_kernels import emit_stages
from miniconv.codegen.winograd_schedule import WinogradSchedule
from miniconv.problem import ConvProblem

__all__ = ["winograd", "winograd_refusal"]


def winograd_refusal(problem: ConvProblem) -> str | None:
    """Why this path does not serve ``problem``; None if it does. Whether it is the faster one, ``worth_it`` says.

    >>> winograd_refusal(ConvProblem.parse("conv2d n1 c64 o64 i56x56 k1x1"))
    'Winograd saves no product of a kernel of 1x1 at a stride of 1x1'
    """
    reason = refusal(problem)
    if reason is not None:
        return reason
    places = form_of(problem.kernel_size, problem.stride).places
    size = places * problem.in_channels // problem.groups * problem.out_channels
    size *= {"float32": 4}.get(problem.dtype, 8)
    if size > SHARED_BYTES:
        return f"Winograd's weights would take {size} bytes, and at most {SHARED_BYTES} are given to them"
    return None


def winograd(problem: ConvProblem, layout: Layout, target: Target, threads: int) -> Work:
    """The path of F(2x2, 3x3) and its relatives, composed by ``winograd_axis`` for a kernel and a stride.

    Args:
        problem: a problem that ``winograd_refusal`` does not refuse.
        layout: strides in bytes, of five axes each.
        target: the processor.
        threads: how many will share the work. The cut changes with it, the sums do not.

    Numerics: exact on integers if 4 * S_W < 2^24 in float32; else within gamma_(j * C_in / groups + r) * S_W; j is
        the form's ``longest`` and r its ``roundings``: 1 and 12 for a 3x3 kernel, 4 and 8 at a stride of 2. S_W is the
        sum with every coefficient and number made positive: in the mean 7.1 times the definition's S for a 3x3 kernel,
        2.8 at a stride of 2, at most 7.1. An image in which a number comes out that is not finite is computed again by
        the direct path.
    Cost: a multiply-add for each place of a tile, input channel and output channel, and those of the lanes left over;
        scratch within 2 MiB for each thread, or the direct path's where an image is computed again; for all threads the
        transformed weights, a number for each place and each two channels, each channel count rounded up to whole
        vectors and at most ``SHARED_BYTES``.
    Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section 4.
    """
    kernels = library(problem.dtype, target)
    itemsize = kernels.element.bytes
    schedule = WinogradSchedule.of(problem, layout, target, itemsize, threads)
    turns = any(schedule.program[HEAD[name]] > 1 for name in ("turned_in", "turned_out"))
    stages = module(emit_stages, problem.dtype, target, schedule.form, turns)
    return Work(
        program=schedule.program,
        stages=tuple(
            Stage(stages.get_function_address(name), count) for name, count in zip(("weights", "tiles"), schedule.units)
        ),
        kernels=kernels.kernel_table(schedule.kernels),
        scratch_bytes=schedule.scratch_bytes,
        shared_bytes=schedule.shared_bytes,
        itemsize=itemsize,
        threads=threads,
        lines=(
            f"Winograd {schedule.form.name}: blocks of {schedule.vectors} vectors of tiles, {schedule.chunk} channels "
            f"and {schedule.panel} outputs at a time",
            f"tile {schedule.tile.rows} channels x {schedule.tile.vectors} vectors of {kernels.element.lanes}",
            f"transformed weights {schedule.shared_bytes} bytes for all threads",
            f"scratch {schedule.scratch_bytes} bytes each; images that are not finite once more by the direct path",
        ),
        again=Again(
            flags=int(schedule.program[HEAD["flags"]]),
            images=problem.batched_input_shape[0],
            steps=(layout.input[0], layout.output[0]),
            prepare=partial(direct, replace(problem, batch=1), layout, target, threads),
        ),
    )
