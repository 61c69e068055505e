"""The machine's peak: a loop of nothing but fused multiply-adds, written as LLVM IR and compiled for the host.

A processor that starts p vector FMAs a cycle, each finished L cycles later, is busy only if p * L of them are under
way at once. They must not wait for one another, so the loop carries several independent accumulators; how many a
processor needs, or has registers for, is found by trying.
"""

from __future__ import annotations

import ctypes
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

ACCUMULATORS = (8, 10, 12, 16, 24)
"""Numbers of independent accumulators that are tried."""

_IR_TYPES = {"float32": ("float", 4), "float64": ("double", 8)}


def vector_bytes(features: dict[str, bool]) -> int:
    """The width of the widest vector register, from LLVM's names of the host's features.

    >>> vector_bytes({"avx": True, "avx512f": False}), vector_bytes({"neon": True})
    (32, 16)
    """
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx") else 16


def loop_ir(lanes: int, ir_type: str, accumulators: int) -> str:
    """LLVM IR of ``void fma_loop(i64 rounds, T* memory)``: each round is one FMA on every accumulator.

    ``memory`` holds two vectors, the factor and the summand; the accumulators' sum is stored over the first, so that
    nothing can be left out.
    """
    vector = f"<{lanes} x {ir_type}>"
    fma = f"@llvm.fmuladd.v{lanes}f{8 * _IR_TYPES['float32' if ir_type == 'float' else 'float64'][1]}"
    each = range(accumulators)
    phis = [f"  %acc{i} = phi {vector} [ %b, %entry ], [ %next{i}, %loop ]" for i in each]
    steps = [f"  %next{i} = call {vector} {fma}({vector} %acc{i}, {vector} %a, {vector} %b)" for i in each]
    sums = [f"  %sum{i} = fadd {vector} {f'%sum{i - 1}' if i else '%b'}, %next{i}" for i in each]
    lines = [
        f"declare {vector} {fma}({vector}, {vector}, {vector})",
        "define void @fma_loop(i64 %rounds, ptr %memory) {",
        "entry:",
        f"  %second = getelementptr {vector}, ptr %memory, i64 1",
        f"  %a = load {vector}, ptr %memory, align 4",
        f"  %b = load {vector}, ptr %second, align 4",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [ 0, %entry ], [ %i.next, %loop ]",
        *phis,
        *steps,
        "  %i.next = add i64 %i, 1",
        "  %more = icmp ult i64 %i.next, %rounds",
        "  br i1 %more, label %loop, label %done",
        "done:",
        *sums,
        f"  store {vector} %sum{accumulators - 1}, ptr %memory, align 4",
        "  ret void",
        "}",
    ]
    return "\n".join(lines)


class FmaLoop:
    """The compiled loop for this machine; a call runs it.

    Args:
        dtype: float32 or float64.
        accumulators: how many FMAs a round.
    """

    def __init__(self, dtype: str, accumulators: int) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        ir_type, element_bytes = _IR_TYPES[dtype]
        self.lanes = vector_bytes(features) // element_bytes
        self.flops_a_round = 2 * self.lanes * accumulators
        self._element = ctypes.c_float if dtype == "float32" else ctypes.c_double
        target = llvm.Target.from_triple(llvm.get_process_triple())
        machine = target.create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten() + ",-prefer-256-bit", opt=2, jit=True
        )
        module = llvm.parse_assembly(loop_ir(self.lanes, ir_type, accumulators))
        module.verify()
        self._engine = llvm.create_mcjit_compiler(module, machine)  # owns the code: must live as long as the function
        self._engine.finalize_object()
        address = self._engine.get_function_address("fma_loop")
        self._function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(address)

    def __call__(self, rounds: int) -> float:
        """Run so many rounds; the stored sum's first element. acc = acc / 2 + 1 tends to 2, never to a subnormal."""
        memory: Any = (self._element * (2 * self.lanes))(*([0.5] * self.lanes + [1.0] * self.lanes))
        self._function(rounds, ctypes.addressof(memory))
        return float(memory[0])


def _gflops(loop: FmaLoop, threads: int, seconds: float) -> float:
    """GFLOP/s of all threads together, each with a loop of about that length."""
    rounds = 100_000
    start = time.perf_counter()
    loop(rounds)
    rounds = max(rounds, int(rounds * seconds / max(time.perf_counter() - start, 1e-9)))
    barrier = Barrier(threads)

    def work(_: int) -> tuple[float, float]:
        barrier.wait()
        start = time.perf_counter()
        loop(rounds)  # ctypes lets go of the interpreter meanwhile
        return start, time.perf_counter()

    with ThreadPoolExecutor(threads) as pool:
        spans = list(pool.map(work, range(threads)))
    elapsed = max(end for _, end in spans) - min(start for start, _ in spans)
    return threads * rounds * loop.flops_a_round / elapsed / 1e9


def peak_gflops(dtype: str = "float32", threads: int = 1, seconds: float = 0.05, repeats: int = 3) -> float:
    """The most GFLOP/s that any of the loops reached in any repeat.

    Args:
        dtype: float32 or float64.
        threads: loops that run at once.
        seconds: length of one run.
        repeats: runs of each loop.
    """
    loops = [FmaLoop(dtype, n) for n in ACCUMULATORS]
    return max(_gflops(loop, threads, seconds) for _ in range(repeats) for loop in loops)
