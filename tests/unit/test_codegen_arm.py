"""The engine's code for ARM, run by an emulator: for ``make test-arm``.

It needs Debian's qemu-user and binutils-aarch64-linux-gnu.

Work is prepared as ever, but instead of an address the compiler hands out a number that stands for a function. A
program in assembler, written for one problem, holds the operands and the table, with the functions' addresses where
those numbers were; it calls the stages and writes the output. Small whole numbers, so every sum is exact.
"""

from __future__ import annotations

import ctypes
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and codegen_paths.py is no test
import codegen_paths as paths

from miniconv import reference
from miniconv.codegen import depthwise_last_model, depthwise_model, jit, model
from miniconv.codegen.depthwise_last_tables import Tables as LastTables
from miniconv.codegen.depthwise_tables import Tables
from miniconv.codegen.emit import Code
from miniconv.codegen.engine import Work
from miniconv.codegen.kernels import CONTEXT
from miniconv.codegen.records import KERNELS, PARTS
from miniconv.codegen.tables import Schedule
from miniconv.codegen.target import TARGETS, Target
from miniconv.problem import ConvProblem

pytestmark = pytest.mark.arm

ARM = replace(TARGETS["neon"], cpu="neoverse-n1", triple="aarch64-unknown-linux-gnu")
TOOLS = {name: shutil.which(name) for name in ("qemu-aarch64", "aarch64-linux-gnu-as", "aarch64-linux-gnu-ld")}
FIRST = 0x7A00_0000_0000_0000  # no address, size or distance
MOST = 3_000_000  # multiply-adds: the definition takes a microsecond for each, and so does the emulator


class Objects:
    """Stands in for the compiler: objects in a folder, and a number for every function in them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.files, self.symbols = folder, [], {}

    def __call__(self, code: Code, target: Target, symbols: dict[str, int]) -> jit.Compiled:
        index = len(self.files)
        text = re.sub(r"(define \S+ @)([.\w]+)", rf"\1m{index}.\2", code.text())
        names = re.findall(rf"define \S+ @m{index}\.([.\w]+)", text)
        assert names
        assert not symbols
        renamed = Code()
        renamed.text = lambda: text  # type: ignore[method-assign]
        file = self.folder / f"{index}.o"
        file.write_bytes(jit.object_code(renamed, target))
        self.files.append(file)
        addresses = {}
        for name in names:
            addresses[name] = FIRST + len(self.symbols)
            self.symbols[addresses[name]] = f"m{index}.{name}"
        return jit.Compiled(addresses)

    def word(self, value: int) -> str:
        """A number as the assembler takes it: a function where it stands for one."""
        return self.symbols.get(value, str(value))


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    missing = [name for name, place in TOOLS.items() if place is None]
    assert not missing, f"apt-get install qemu-user binutils-aarch64-linux-gnu: there is no {', '.join(missing)}"
    made = Objects(tmp_path_factory.mktemp("arm"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit, "_defined", made)
        yield made


def assembler(work: Work, objects: Objects, bias: bool, output_bytes: int) -> str:
    """The program; the operands are in files beside it."""
    shared = -(-work.shared_bytes // 64) * 64
    calls = []
    for stage in work.stages:
        calls += ["ldr x0, =context", "mov x1, #0", f"ldr x2, ={stage.units}", f"ldr x3, =scratch + {shared}"]
        calls += [f"bl {objects.word(stage.address)}"]
    written = [("output", output_bytes)]
    if work.again is not None:
        written.append((f"scratch + {work.again.flags}", 8 * work.again.images))
    write_and_leave = []
    for place, size in written:
        write_and_leave += ["mov x0, #1", f"ldr x1, ={place}", f"ldr x2, ={size}", "mov x8, #64", "svc #0"]
    write_and_leave += ["mov x0, #0", "mov x8, #93", "svc #0"]
    kernels = work.kernels
    if kernels and kernels not in objects.symbols:  # a table of functions, in this process
        size = math.prod(KERNELS) + len(PARTS)
        words = [objects.word(value) for value in (ctypes.c_int64 * size).from_address(kernels)]
        kernels_at, table = "kernels", f".xword {', '.join(words)}"
    else:
        kernels_at, table = objects.word(kernels), ""
    context = {name: name for name in CONTEXT}
    context |= {"kernels": kernels_at, "shared": "scratch", "bias_step": str(work.itemsize if bias else 0)}
    program = "\n".join(f".xword {objects.word(value)}" for value in work.program.tolist())
    operands = "\n".join(f'.balign 64\n{name}: .incbin "{name}.bin"' for name in ("input", "weight", "bias"))
    text = "\n".join(["_start:", *calls, *write_and_leave, ".ltorg"])
    return f""".global _start
.text
{text}
.data
.balign 64
context: .xword {", ".join(context[name] for name in CONTEXT)}
program: {program}
kernels: {table}
{operands}
.balign 64
output: .fill {output_bytes}, 1, 0xff
.bss
.balign 4096
scratch: .skip {shared + work.scratch_bytes + 64}
"""


def emulated(path: str, problem: ConvProblem, objects: Objects, target: Target, operands: tuple) -> np.ndarray:
    """The output as an ARM processor computes it."""
    x, w, b = operands
    x = paths.laid_out(x, problem.memory_format)
    y = paths.laid_out(np.empty(problem.batched_output_shape, x.dtype), problem.memory_format)
    work = paths.prepared(path, problem, x, w, y, target, 1)
    folder = objects.folder
    for name, values in (("input", x), ("weight", w), ("bias", np.zeros(8) if b is None else b)):
        (folder / f"{name}.bin").write_bytes(ctypes.string_at(values.ctypes.data, values.nbytes))  # as they lie
    (folder / "main.s").write_text(assembler(work, objects, b is not None, y.nbytes))
    run = {"check": True, "cwd": folder}
    subprocess.run([TOOLS["aarch64-linux-gnu-as"], "main.s", "-o", "main.o"], **run)
    subprocess.run([TOOLS["aarch64-linux-gnu-ld"], "main.o", *objects.files, "-o", "main"], **run)
    with (folder / "output.bin").open("wb") as file:
        subprocess.run([TOOLS["qemu-aarch64"], "./main"], stdout=file, **run, timeout=120)
    written = (folder / "output.bin").read_bytes()
    in_memory = np.ndarray(y.shape, y.dtype, bytearray(written[: y.nbytes]), 0, y.strides)
    for n in np.flatnonzero(np.frombuffer(written[y.nbytes :], np.int64)):  # as ``engine.execute`` does
        alone = emulated("direct", replace(problem, batch=1), objects, target, (x[n : n + 1], w, b))
        in_memory[n] = alone[0]
    return in_memory


def modelled(path: str, problem: ConvProblem, target: Target, operands: tuple) -> np.ndarray | None:
    """What the tables say, executed in NumPy."""
    x, w, b = operands
    x = paths.laid_out(x, problem.memory_format)
    y = paths.laid_out(np.full(problem.batched_output_shape, np.nan, x.dtype), problem.memory_format)
    layout = paths.layout_of(x, w, y)
    if path == "direct":
        model.run(Schedule.of(problem, layout, target, x.itemsize), x, w, b, y)
    elif path == "depthwise":
        tables = Tables.of(problem, layout, target, x.itemsize)
        depthwise_model.run(tables, target.lanes(x.itemsize), x, w, b, y)
    elif path == "depthwise_last":
        lanes = target.lanes(x.itemsize)
        last = LastTables.of(problem, layout, lanes, x.itemsize)
        depthwise_last_model.run(last, lanes, *map(paths.five, (x, w)), b, paths.five(y))
    else:
        return None
    return y


@pytest.mark.parametrize(("path", "dtype", "narrow"), list(product(paths.PATHS, paths.DTYPES, (False, True))))
def test_an_emulated_arm_computes_what_the_definition_says(
    path: str, dtype: str, narrow: bool, objects: Objects
) -> None:
    target = paths.narrow(ARM) if narrow else ARM
    done = 0
    texts = [*paths.FAMILY, paths.PATHS[path].typical]
    texts += [f"{text} channels_last" for text in paths.FAMILY if path == "depthwise_last" and "2d" in text]
    for problem in paths.served(path, dtype, target, texts):
        if problem.multiply_adds > MOST:
            continue
        operands = paths.operands(problem, np.random.default_rng(13))
        got = emulated(path, problem, objects, target, operands)
        np.testing.assert_array_equal(got, reference.conv(problem, *operands), err_msg=str(problem))
        expected = modelled(path, problem, target, operands)
        if expected is not None:
            np.testing.assert_array_equal(got, expected, err_msg=str(problem))
        done += 1
    assert done >= {"winograd": 2, "depthwise_last": 3}.get(path, 5)


def test_an_infinity_is_computed_again_there_too(objects: Objects) -> None:
    problem = ConvProblem.parse(paths.PATHS["winograd"].typical)
    x, w, b = paths.operands(problem, np.random.default_rng(14))
    x[1, 3, 5, 7] = np.inf
    with np.errstate(invalid="ignore"):
        expected = reference.conv(problem, x, w, b)
    np.testing.assert_array_equal(emulated("winograd", problem, objects, ARM, (x, w, b)), expected)
