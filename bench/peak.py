"""The machine's peak: a loop of nothing but fused multiply-adds, by as many threads as an engine has.

A processor that starts p vector FMAs a cycle, each finished L cycles later, is busy only if p * L of them are under
way at once. They must not wait for one another, so the loop carries several independent accumulators; how many a
processor needs, or has registers for, is found by trying.

A processor's clock is not fixed: it falls while wide vectors are at work, and with what the neighbours do. So the loop
is timed as an engine is, a sample in every round, and a layer's share is of the peak of the same seconds.
"""

from __future__ import annotations

from functools import cache
from statistics import median

import numpy as np

from bench.timing import interleave, sampler
from miniconv.codegen.element import Element
from miniconv.codegen.emit import Code

ACCUMULATORS = (8, 10, 12, 16, 24)
"""Numbers of independent accumulators that are tried."""

ROUNDS = 10_000
"""Of a unit: some tens of microseconds."""


def emit_fma_loop(code: Code, element: Element, accumulators: int, rounds: int) -> None:
    """``fma_loop(memory, begin, end, _)``: for each unit so many rounds, in each one FMA on every accumulator.

    ``memory`` holds two vectors, the factor and the summand, and behind them one for each unit, to which the
    accumulators' sum is written, so that nothing can be left out.
    """
    vector, size = element.vector, element.bytes * element.lanes
    with code.function("fma_loop", "ptr", "i64", "i64", "ptr") as (memory, begin, end, _):
        factor, summand = (code.load(vector, memory, i * size, element.bytes) for i in (0, 1))
        with code.loop(begin, end) as unit:
            with code.loop(0, rounds, carried=[(vector, summand)] * accumulators) as loop:
                for i, value in enumerate(loop.values):
                    loop.next[i] = element.multiply_add(code, value, factor, summand)
            total = loop.values[0]
            for value in loop.values[1:]:
                total = code.op(f"fadd {vector} {total}, {value}")
            code.store(vector, total, memory, code.mul(code.add(unit.index, 2), size), element.bytes)


class FmaLoop:
    """The compiled loop for this machine; a call runs a unit on each thread.

    Args:
        dtype: float32 or float64.
        accumulators: how many FMAs a round.
        threads: how many run at once.
        rounds: of a unit.

    Attributes:
        flops: of a call.
        sums: what the last call computed, a row for each thread. acc = acc / 2 + 1 tends to 2, never to a subnormal.
    """

    def __init__(self, dtype: str, accumulators: int, threads: int = 1, rounds: int = ROUNDS) -> None:
        from miniconv.codegen import threads as sharing
        from miniconv.codegen.jit import compile_code, host

        code, element = Code(), Element.of(dtype, host())
        emit_fma_loop(code, element, accumulators, rounds)
        self._stage = compile_code(code, host()).get_function_address("fma_loop")
        self._share, self._threads = sharing.run, threads
        self._memory = np.ones((2 + threads, element.lanes), dtype)
        self._memory[0] = 0.5
        self.sums = self._memory[2:]
        self.flops = 2 * element.lanes * accumulators * rounds * threads

    def __call__(self) -> None:
        """Run it once."""
        self._share(self._stage, self._memory.ctypes.data, self._threads, self._threads, 0, 0)


@cache
def fastest_loop(dtype: str = "float32", threads: int = 1, seconds: float = 0.1) -> FmaLoop:
    """The loop of the most FLOP/s.

    Args:
        dtype: float32 or float64.
        threads: how many run at once.
        seconds: for all loops together, beyond five rounds.
    """
    loops = {str(n): FmaLoop(dtype, n, threads) for n in ACCUMULATORS}
    samples = interleave({name: sampler(loop) for name, loop in loops.items()}, seconds)
    speeds = {name: loops[name].flops / median(one.seconds for one in taken) for name, taken in samples.items()}
    return loops[max(speeds, key=speeds.__getitem__)]
