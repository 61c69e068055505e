"""The memory's roof over a layer: a loop that reads and writes as many bytes as it must, and computes nothing.

A depthwise layer does a dozen operations for each number that it reads, so memory may well be what it waits for. How
fast memory is depends on how much is moved: what a core's own caches hold comes many times faster than the rest. So
the loop moves just as many bytes as the layer: input and weight are read once, the output is written once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from miniconv import ConvProblem
from miniconv.codegen.emit import Code

UNROLLED = 4
LINE_BYTES = 64
CONTEXT = {name: index for index, name in enumerate(("source", "target", "both", "reads", "writes"))}


class Traffic(NamedTuple):
    """The bytes that a problem must read and write, each once."""

    read: int
    written: int

    @classmethod
    def of(cls, problem: ConvProblem) -> Traffic:
        """Input and weight are read, the output is written.

        >>> Traffic.of(ConvProblem.parse("conv2d n2 c3 o3 i5x6 k3x2 p1x0 g3 float32"))
        Traffic(read=792, written=600)
        """
        itemsize = np.dtype(problem.dtype).itemsize
        cells = (problem.batched_input_shape, problem.weight_shape, problem.batched_output_shape)
        read, weight, written = (itemsize * math.prod(shape) for shape in cells)
        return cls(read + weight, written)


class Stream:
    """The loop, compiled for this machine; a call moves the bytes once.

    Each thread copies a piece of memory, then reads or writes what there is more of. Pieces are whole turns of the
    loop: up to a turn's bytes for each thread are left out.

    Args:
        traffic: how many bytes.
        threads: how many share them.
    """

    def __init__(self, traffic: Traffic, threads: int) -> None:
        from miniconv.codegen import threads as sharing
        from miniconv.codegen.jit import compile_code, host

        code = Code()
        turn = emit_stream(code, host().vector_bytes)
        self._stage = compile_code(code, host()).get_function_address("stream")
        both, most = (choose(traffic) // threads // turn * turn for choose in (min, max))
        reads, writes = (most - both, 0) if traffic.read > traffic.written else (0, most - both)
        self._share, self._threads = sharing.run, threads
        self.source, self.target = aligned(threads * (both + reads) + turn), aligned(threads * (both + writes) + turn)
        addresses = self.source.ctypes.data, self.target.ctypes.data
        self._context = np.array([*addresses, both, reads, writes], np.int64)
        self.moved = Traffic(threads * (both + reads), threads * (both + writes))

    def __call__(self) -> None:
        """Move the bytes once."""
        self._share(self._stage, self._context.ctypes.data, self._threads, self._threads, 0, 0)


def aligned(size: int) -> npt.NDArray[np.uint8]:
    """So many bytes of ones, from the beginning of a cache line."""
    memory = np.ones(size + LINE_BYTES - 1, np.uint8)
    begin = -memory.ctypes.data % LINE_BYTES
    return memory[begin : begin + size]


def emit_stream(code: Code, vector_bytes: int) -> int:
    """The function ``stream``, a stage whose units are the threads' pieces; the bytes of a turn of its loops."""
    vector, turn = f"<{vector_bytes // 4} x i32>", UNROLLED * vector_bytes
    each = range(0, turn, vector_bytes)
    with code.function("stream", "ptr", "i64", "i64", "ptr") as (context, begin, end, _):
        c = code.words(context, CONTEXT)
        read, written = code.add(c["both"], c["reads"]), code.add(c["both"], c["writes"])
        with code.loop(begin, end) as piece:
            source = code.at(code.pointer(c["source"]), code.mul(piece.index, read))
            target = code.at(code.pointer(c["target"]), code.mul(piece.index, written))
            with code.loop(0, c["both"], turn) as loop:
                here, there = code.at(source, loop.index), code.at(target, loop.index)
                for value, distance in [(code.load(vector, here, distance, 4), distance) for distance in each]:
                    code.store(vector, value, there, distance, 4)
            with code.loop(c["both"], written, turn) as loop:
                for distance in each:
                    code.store(vector, "zeroinitializer", code.at(target, loop.index), distance, 4)
            nothing = [(vector, "zeroinitializer")] * UNROLLED
            with code.loop(c["both"], read, turn, nothing) as loop:
                here = code.at(source, loop.index)
                for i, distance in enumerate(each):
                    loop.next[i] = code.op(f"xor {vector} {loop.values[i]}, {code.load(vector, here, distance, 4)}")
            total = loop.values[0]
            for value in loop.values[1:]:
                total = code.op(f"xor {vector} {total}, {value}")
            code.store(vector, total, target, 0, 4)  # loads of what nobody wants would be left out
    return turn
