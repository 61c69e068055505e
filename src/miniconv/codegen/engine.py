"""From a problem and two addresses to numbers: prepares the work of a problem once, and runs it on threads.

Every path of the engine prepares the same thing, a ``Work``: a program of integers, and *stages*, compiled functions
``stage(context, begin, end, scratch)`` that compute the units of work from ``begin`` to ``end``. Units are independent
of one another; a stage begins when the one before has ended. So threads, scratch memory and addresses are dealt with
here, once for all paths.
"""

from __future__ import annotations

import atexit
import ctypes
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from miniconv.codegen import threads
from miniconv.codegen.entry import RECORD, STACK_BYTES, entry
from miniconv.codegen.jit import library
from miniconv.codegen.kernels import CONTEXT
from miniconv.codegen.schedule import Layout
from miniconv.codegen.tables import Schedule
from miniconv.codegen.target import Target
from miniconv.lazy import cached_property
from miniconv.problem import ConvProblem

__all__ = ["Again", "Stage", "Work", "direct", "execute", "runner"]

_NOTHING = np.zeros(8)  # the bias of a problem that has none
_NOTHING_ADDRESS = _NOTHING.ctypes.data
_CONTEXT = ctypes.c_int64 * len(CONTEXT)


@dataclass(frozen=True)
class Stage:
    """A compiled function, and how many units it is to compute.

    Attributes:
        address: where it is.
        units: how many.
    """

    address: int
    units: int


@dataclass(frozen=True)
class Again:
    """How an image is computed once more where the stages ask for it; its work is prepared when that first happens.

    Attributes:
        flags: bytes from the beginning of shared memory to a word for each image, which is not 0 if the stages ask.
        images: how many.
        steps: from an image to the next one, of the input and of the output, in bytes.
        prepare: makes the work of one image.
    """

    flags: int
    images: int
    steps: tuple[int, int]
    prepare: Callable[[], Work]

    @cached_property
    def work(self) -> Work:
        """The work of one image."""
        return self.prepare()


@dataclass(frozen=True)
class Work:
    """All that running a problem needs but the operands' addresses.

    Attributes:
        program: what the stages read.
        stages: run one after another.
        kernels: the address of the table of micro-kernels, or 0.
        scratch_bytes: memory for each thread.
        shared_bytes: memory for all threads together.
        itemsize: bytes of an element.
        threads: how many share the units.
        lines: what ``explain`` says.
        again: which images are then computed once more, if any.
        memory: bytes of scratch memory: those of all threads together, from one thread's to the next one's, and all.
        record: what ``entry`` wants to know, if one thread does all of the work in one stage; else None.
        record_address: where the record lies, or 0.
    """

    program: NDArray[np.int64]
    stages: tuple[Stage, ...]
    kernels: int
    scratch_bytes: int
    shared_bytes: int
    itemsize: int
    threads: int
    lines: tuple[str, ...]
    again: Again | None = None
    memory: tuple[int, int, int] = field(init=False)
    record: NDArray[np.int64] | None = field(init=False)
    record_address: int = field(init=False)

    def __post_init__(self) -> None:
        shared = -(-self.shared_bytes // 64) * 64
        stride = -(-self.scratch_bytes // 4096) * 4096 if self.threads > 1 else self.scratch_bytes
        record = self._record()
        derived = {
            "memory": (shared, stride, shared + stride * self.threads),
            "record": record,
            "record_address": 0 if record is None else record.ctypes.data,
        }
        for name, value in derived.items():  # once, not when first wanted: many threads share a work
            object.__setattr__(self, name, value)

    def _record(self) -> NDArray[np.int64] | None:
        if self.threads > 1 or len(self.stages) > 1 or self.shared_bytes:
            return None
        stage = self.stages[0]
        values = {
            "stage": stage.address,
            "units": stage.units,
            "program": self.program.ctypes.data,
            "kernels": self.kernels,
            "bias": _NOTHING_ADDRESS,
            "bias_step": self.itemsize,
        }
        return np.array([values[name] for name in RECORD], np.int64)


def direct(problem: ConvProblem, layout: Layout, target: Target, threads: int) -> Work:
    """The path that computes every problem: multiply-adds of packed input, as ``schedule`` and ``tables`` say.

    Args:
        problem: any problem of float32 or float64 with no empty operand.
        layout: strides in bytes, of five axes each.
        target: the processor.
        threads: how many will share the work.
    """
    kernels = library(problem.dtype, target)
    itemsize = kernels.element.bytes
    schedule = Schedule.of(problem, layout, target, itemsize, threads)
    tile, box = schedule.tile, schedule.box
    table = kernels.kernel_table(schedule.kernels)
    return Work(
        program=schedule.program,
        stages=(Stage(kernels.address("run"), schedule.units),),
        kernels=table,
        scratch_bytes=schedule.scratch_bytes,
        shared_bytes=0,
        itemsize=itemsize,
        threads=threads,
        lines=(
            f"tile {tile.rows} channels x {tile.vectors} vectors of {schedule.lanes}, "
            f"{schedule.filled:.0%} of the lanes are outputs",
            f"input {'packed' if schedule.packed else 'read in place'}, boxes of {' x '.join(map(str, box.size))} "
            f"positions, {box.sums.channels} channels at a time{', copied to panels' * box.sums.panelled}",
        ),
    )


_HUGE_PAGE = 2 << 20
_buffers: weakref.WeakValueDictionary[int, NDArray[np.uint8]] = weakref.WeakValueDictionary()  # of all threads
_ending = threading.Event()


@atexit.register
def _end() -> None:
    """The process ends: what is a thread's own is taken from it, but daemon threads may still compute there."""
    _ending.set()
    for buffer in list(_buffers.values()):
        _keep(buffer)


def _keep(buffer: NDArray[np.uint8]) -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(buffer))


class _Scratch(threading.local):
    """Memory of this thread's calls, kept for the next one."""

    buffer: NDArray[np.uint8] = np.empty(0, np.uint8)
    begin = size = 0

    def address(self, size: int) -> int:
        """An address that begins a cache line, with ``size`` bytes behind it; in huge pages where it is worth one."""
        if self.size < size:
            align = _HUGE_PAGE if size >= _HUGE_PAGE // 16 else 64
            size = -(-size // align) * align
            self.buffer = np.empty(size + align, np.uint8)  # from 4 MiB on, NumPy asks for huge pages
            self.begin, self.size = -(-self.buffer.ctypes.data // align) * align, size
            _buffers[id(self.buffer)] = self.buffer
            if _ending.is_set():
                _keep(self.buffer)
        return self.begin


_scratch = _Scratch()


def execute(work: Work, input: int, weight: int, bias: int, output: int) -> None:
    """Run ``work`` on the operands at these addresses; ``bias`` is 0 where there is none."""
    shared, stride, size = work.memory
    scratch = _scratch.address(size)
    if work.record_address:
        entry()(work.record_address, input, weight, bias, output, scratch)
        return
    bias_at, bias_step = (bias, work.itemsize) if bias else (_NOTHING_ADDRESS, 0)
    context = _CONTEXT(work.program.ctypes.data, input, weight, bias_at, bias_step, output, work.kernels, scratch)
    address = ctypes.addressof(context)
    for stage in work.stages:
        threads.run(stage.address, address, stage.units, work.threads, scratch + shared, stride)
    if work.again is not None:
        _compute_again(work.again, scratch, input, weight, bias, output)


def runner(work: Work) -> Callable[[int, int, int, int], object]:
    """``execute`` of this work: what does not depend on the operands is looked up beforehand."""
    if not work.record_address:
        return partial(execute, work)
    enter, size, scratch = entry(), work.memory[2], _scratch.address
    if size <= STACK_BYTES:
        on_stack = partial(enter, work.record_address)
        on_stack.__dict__["work"] = work  # lives as long as this
        return on_stack

    def run(input: int, weight: int, bias: int, output: int) -> object:
        return enter(work.record_address, input, weight, bias, output, scratch(size))  # ``work`` lives as long as this

    return run


def _compute_again(again: Again, shared: int, input: int, weight: int, bias: int, output: int) -> None:
    """The images that are asked for in shared memory, which is free for other use from now on."""
    flags = (ctypes.c_int64 * again.images).from_address(shared + again.flags)
    for image in [number for number, flag in enumerate(flags) if flag]:
        at_input, at_output = (image * step for step in again.steps)
        execute(again.work, input + at_input, weight, bias, output + at_output)
