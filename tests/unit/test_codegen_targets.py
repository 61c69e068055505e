"""The same IR for every target: objects for processors that are not here, run where they can be, and read where not.

The micro-kernel is where the time goes, so its loop is looked at: the multiply-adds of a step must be as many as the
tile has sums, and none of the sums may leave its register for the stack.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and codegen_paths.py is no test
import codegen_paths as paths

from miniconv import reference
from miniconv.codegen import jit
from miniconv.codegen.depthwise_last import pixels_together
from miniconv.codegen.depthwise_last_kernels import emit_pixels
from miniconv.codegen.depthwise_last_tables import MOST_VECTORS
from miniconv.codegen.emit import Code
from miniconv.codegen.kernels import Element, emit_function, emit_micro_kernel, micro_kernel_name, unrolled_steps
from miniconv.codegen.records import MAX_ROWS, MAX_VECTORS, PARTS
from miniconv.codegen.schedule import choose_tile, split
from miniconv.codegen.target import TARGETS, Target

# Objects for these can be made on any machine: how LLVM calls the machine, the processor, and what a file begins with.
X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
ELSEWHERE = {
    "skylake-avx512": (replace(TARGETS["avx512"], cpu="skylake-avx512", triple=X86), b"\x7fELF"),
    "haswell": (replace(TARGETS["avx2"], triple=X86), b"\x7fELF"),
    "x86-64": (replace(TARGETS["x86-64"], triple=X86), b"\x7fELF"),
    "neoverse-n1": (replace(TARGETS["neon"], cpu="neoverse-n1", triple=ARM), b"\x7fELF"),
    "apple-m1": (replace(TARGETS["neon"], cpu="apple-m1", triple="arm64-apple-macosx13.0"), b"\xcf\xfa\xed\xfe"),
    "windows": (replace(TARGETS["avx2"], triple="x86_64-pc-windows-msvc"), b"\x64\x86"),
}
FUSED = {"skylake-avx512": r"\bvfmadd", "haswell": r"\bvfmadd", "neoverse-n1": r"\bfmla", "apple-m1": r"\bfmla"}
# Tiles of a single vector are for tiny images. There LLVM loads some weights of haswell's too early: this many accesses
# to the stack has the loop of the worst, 14 rows.
SPILLS_OF_ONE_VECTOR = {"skylake-avx512": 0, "haswell": 12, "neoverse-n1": 0, "apple-m1": 0}
# Without a table of steps LLVM begins one processor's loads so early that up to three sums leave the registers.
SPILLS_OF_PANELS = {"skylake-avx512": 0, "haswell": 0, "neoverse-n1": 6, "apple-m1": 0}


def tiles(target: Target, itemsize: int) -> set[tuple[int, int]]:
    """The micro-kernels that schedules ask for: every size of tile, and the smaller blocks at its edges."""
    chosen = set()
    sizes = product([*range(1, 70), 128, 256], [1, 9, 30, 49, 100, 196, 784, 3136], [False, True])
    for outputs, positions, near in sizes:
        tile = choose_tile(outputs, positions, target, itemsize, near)
        vectors = split(-(-positions // target.lanes(itemsize)), tile.vectors)
        chosen |= set(product(set(split(outputs, tile.rows)), set(vectors)))
    return chosen


def loops(assembly: str) -> Iterator[list[str]]:
    """The instructions of every innermost loop: from a label to a jump back to it."""
    lines = assembly.splitlines()
    labels = {line.split(":")[0]: number for number, line in enumerate(lines) if re.match(r"[.\w]+:", line)}
    for number, line in enumerate(lines):
        jump = re.match(r"\s+(?:j\w+|b|b\.\w+|cbn?z\s+\w+,|tbn?z\s.*,)\s+([.\w]+)$", line.split("#")[0].rstrip())
        start = labels.get(jump[1], number) if jump else number
        if start < number:
            body = [text.strip() for text in lines[start + 1 : number + 1]]
            if not any(re.match(r"[.\w]+:", text) for text in body):
                yield body


@pytest.mark.parametrize("dtype", paths.DTYPES)
@pytest.mark.parametrize("name", ELSEWHERE)
def test_objects_are_made_for_machines_that_are_not_here(name: str, dtype: str) -> None:
    target, magic = ELSEWHERE[name]
    element = Element.of(dtype, target)
    code = Code()
    for part in PARTS:
        emit_function(code, element, part)
    tile = choose_tile(64, 3136, target, element.bytes)
    for panel in (False, True):
        emit_micro_kernel(code, element, panel, *tile)
    made = jit.object_code(code, target)
    assert made.startswith(magic)
    assert all(micro_kernel_name(panel, *tile).encode() in made for panel in (False, True))


@pytest.mark.parametrize("panel", [False, True])
@pytest.mark.parametrize("dtype", paths.DTYPES)
@pytest.mark.parametrize("name", FUSED)
def test_the_inner_loop_is_fused_and_keeps_its_sums_in_registers(name: str, dtype: str, panel: bool) -> None:
    target = ELSEWHERE[name][0]
    element = Element.of(dtype, target)
    every = sorted(tiles(target, element.bytes))
    assert every[-1][0] <= MAX_ROWS
    assert max(vectors for _, vectors in every) <= MAX_VECTORS
    for rows, vectors in every:
        code = Code()
        emit_micro_kernel(code, element, panel, rows, vectors)
        found = list(loops(jit.assembly(code, target)))
        fused = [sum(bool(re.match(FUSED[name], line)) for line in body) for body in found]
        unrolled = unrolled_steps(element, panel, rows, vectors)
        fused = [count for count in fused if count]  # a third loop, of one turn, adds what there was before
        assert fused == [unrolled * rows * vectors] * (unrolled > 1) + [rows * vectors], (rows, vectors)
        stack = [line for body in found for line in body if re.search(r"\[sp|\(%rsp", line)]
        sums = [line for line in stack if re.search(r"\b[qdsv]\d|[xyz]mm", line)]
        allowed = SPILLS_OF_PANELS[name] if panel else SPILLS_OF_ONE_VECTOR[name] if vectors == 1 else 0
        assert len(sums) <= allowed, (rows, vectors, sums)


@pytest.mark.parametrize("dtype", paths.DTYPES)
@pytest.mark.parametrize("name", FUSED)
def test_the_loop_over_taps_is_fused_and_keeps_its_sums_in_registers(name: str, dtype: str) -> None:
    target = ELSEWHERE[name][0]
    for vectors in range(1, MOST_VECTORS + 1):
        code, together = Code(), pixels_together(target, vectors)
        emit_pixels(code, Element.of(dtype, target), vectors, 1, together)
        found = list(loops(jit.assembly(code, target)))
        fused = [sum(bool(re.match(FUSED[name], line)) for line in body) for body in found]
        assert fused == [together * vectors] + [vectors] * (together > 1), (vectors, together)
        stack = [line for body in found for line in body if re.search(r"\[sp|\(%rsp", line)]
        assert not [line for line in stack if re.search(r"\b[qdsv]\d|[xyz]mm", line)], (vectors, together)


@pytest.mark.parametrize("path", paths.PATHS)
@pytest.mark.parametrize("dtype", paths.DTYPES)
@pytest.mark.parametrize("target", paths.targets())
def test_what_runs_here_equals_the_definition(path: str, dtype: str, target: str) -> None:
    for problem in paths.served(path, dtype, paths.targets()[target], paths.FAMILY):
        if problem.multiply_adds > 500_000:
            continue  # the definition takes a microsecond for each
        x, w, b = paths.operands(problem, np.random.default_rng(11))
        expected = reference.conv(problem, x, w, b)
        for now in (paths.targets()[target], paths.narrow(paths.targets()[target])):
            for threads in (1, 2, 3):
                y = paths.convolved(path, problem, x, w, b, now, threads)
                np.testing.assert_array_equal(y, expected, err_msg=f"{problem} {now} {threads}")
