"""The engine's sizes: more than 2^31 elements, far steps, memory that does not grow with every shape, a first call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and codegen_paths.py is no test
import codegen_paths as paths

from miniconv import functional
from miniconv.codegen import jit
from miniconv.codegen.records import MAX_ROWS, MAX_VECTORS
from miniconv.problem import ConvProblem

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and counts on memory that exists when touched")


@LINUX
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("axes", [1, 2])
def test_more_than_two_to_the_31_elements(axes: int, threads: int) -> None:
    """A window every 2^20 cells of an input whose memory is all virtual but for the pages that are touched."""
    size, stride = 2**31 + 3 * 2**20 + 5, 2**20
    text = f"conv1d n1 c1 o2 i{size} k3 s{stride} p1:2 float32"
    if axes == 2:
        text = f"conv2d n1 c1 o2 i{size}x1 k3x1 s{stride}x1 p1:2x0 float32"
    problem = ConvProblem.parse(text)
    x = np.zeros(problem.batched_input_shape, "float32")
    assert x.size > 2**31
    w = np.array([[2, 3, 5], [7, 11, 13]], "float32").reshape(problem.weight_shape)
    outputs = problem.output_size[0]
    row = x.reshape(-1)
    expected = np.zeros((2, outputs), "float32")
    for o in {0, 1, 511, 512, 1023, 1024, 2047, 2048, outputs - 1}:  # about 2^29, 2^30, 2^31: bytes, cells
        for k in range(3):
            cell = o * stride - 1 + k
            if cell >= 0:
                row[cell] = o % 97 + k
                expected[:, o] += w.reshape(2, 3)[:, k] * row[cell]
    y = paths.convolved("direct", problem, x, w, None, jit.host(), threads)
    assert np.array_equal(y.reshape(2, outputs), expected)


@LINUX
def test_strides_beyond_two_to_the_31() -> None:
    """Every channel, row and kernel of all three operands lies gibibytes from the next."""
    problem = ConvProblem.parse("conv2d n2 c3 o2 i4x6 k2x3 float64")
    memory = np.zeros(2**34, "uint8")  # 16 GiB of addresses, and a few pages of memory

    def far(shape: tuple[int, ...], begin: int, *strides: int) -> np.ndarray:
        return as_strided(memory[begin : begin + 8].view("float64"), shape, strides)

    gibibyte = 2**30
    x = far(problem.batched_input_shape, 64, 5 * gibibyte, gibibyte + 64, 2**20, 8)
    w = far(problem.weight_shape, 2**16, 9 * gibibyte, 2 * gibibyte, 2**21, 8)
    y = far(problem.batched_output_shape, 2**17, 4 * gibibyte, 3 * gibibyte, 2**22, 8)
    dense = paths.operands(problem, np.random.default_rng(0))
    x[...], w[...] = dense[:2]
    paths.execute(paths.prepared("direct", problem, x, w, y, jit.host(), 2), x, w, None, y)
    expected = paths.convolved("direct", problem, *dense, jit.host())
    assert np.array_equal(y, expected)
    assert np.array_equal(x, dense[0])
    assert np.array_equal(w, dense[1])


def resident() -> int:
    """Bytes of memory that this process occupies."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def run_random_shapes(path: str, dtype: str, count: int) -> list[int]:
    """The resident memory after each tenth of ``count`` random problems."""
    rng = np.random.default_rng(12)
    sizes = []
    host = jit.host()
    for rows in range(1, MAX_ROWS + 1):  # every micro-kernel that there can be
        for vectors in range(1, min(MAX_VECTORS, (host.registers - 1) // (rows + 1)) + 1):
            jit.library(dtype, host).kernel_table(frozenset({(False, rows, vectors), (True, rows, vectors)}))
    source = (p for p in paths.problems(rng, dtype, 50_000) if paths.serves(path, p, host))
    if path == "winograd":  # compiles a module for each kernel and stride: these are four, and all of them come early
        source = (p for p in source if p.kernel_size == (3, 3))
    for index, problem in zip(range(count), source):
        paths.convolved(path, problem, *paths.operands(problem, rng), host)
        if index % (count // 10) == count // 10 - 1:
            sizes.append(resident())
    return sizes


@LINUX
@pytest.mark.parametrize("path", paths.PATHS)
def test_memory_is_flat_over_random_shapes(path: str) -> None:
    """1,000 here; ``python tests/unit/test_codegen_size.py direct 5000`` says it of as many as one likes."""
    done = subprocess.run([sys.executable, __file__, path, "1000"], capture_output=True, text=True, check=True)
    sizes = [int(word) for word in done.stdout.split()]
    assert len(sizes) == 10
    assert sizes[-1] - sizes[4] < 2 * 2**20, sizes  # the second half; the first fills what NumPy and Python keep


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 4])
def test_steps_that_nobody_takes_may_be_of_any_size(dtype: str, channels: int) -> None:
    """One window has no next one, and one tap no neighbour: no address is made of their distance."""
    far = 2**63 - 1
    chance = np.random.default_rng(0)
    signal = chance.integers(-9, 10, (2, channels, 5)).astype(dtype)
    weight = chance.integers(-9, 10, (channels, channels, 3)).astype(dtype)
    for op, x, w, many, enough in (
        ("conv1d", signal, weight, {"stride": far, "padding": 1}, {"stride": 5, "padding": 1}),
        ("conv1d", signal, weight[..., :1], {"dilation": far}, {}),
        (
            "conv_transpose1d",
            signal[..., :1],
            weight,
            {"stride": far, "output_padding": 2},
            {"stride": 3, "output_padding": 2},
        ),
        (
            "conv_transpose1d",
            signal,
            weight[..., :1],
            {"dilation": far, "output_padding": 2},
            {"dilation": 3, "output_padding": 2},
        ),
    ):
        expected = getattr(functional, op)(x, w, **enough)
        assert expected.any()
        np.testing.assert_array_equal(getattr(functional, op)(x, w, **many), expected, strict=True)


def test_a_new_shape_compiles_nothing() -> None:
    host = jit.host()
    first, second = (ConvProblem.parse(f"conv2d n1 c16 o16 i{size} k3x3 p1") for size in ("40x42", "30x42"))
    paths.convolved("direct", first, *paths.operands(first, np.random.default_rng(0)), host)
    before = jit.Compiled.count
    paths.convolved("direct", second, *paths.operands(second, np.random.default_rng(0)), host)
    assert jit.Compiled.count == before


START = """
import numpy as np
from miniconv import functional
from miniconv.codegen import jit
from miniconv.functional import conv2d
conv2d(np.ones((1, 64, 56, 56), "float32"), np.ones((64, 64, 3, 3), "float32"), np.ones(64, "float32"), padding=1)
print(jit.Compiled.count)
"""


def test_the_first_call_of_a_process_compiles_what_it_needs() -> None:
    """The stages of Winograd, its micro-kernels, and the way in; ``python -m bench.growth`` times it."""
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True)
    assert 1 <= int(done.stdout) <= 3


PARTS_OF = """
import sys
import numpy as np
from miniconv import functional
from miniconv.codegen import jit
from miniconv.codegen.records import PARTS
def call(size, order):
    x = np.ones([size[axis] for axis in order], "float32").transpose(np.argsort(order))
    functional.conv2d(x, np.ones((8, 6, 3, 5), "float32"), padding=1)
    library = jit.library("float32", jit.host())
    print(*[part for part in PARTS if library.address(part)])
call((1, 6, 20, 30), (0, 1, 2, 3))
call((1, 6, 20, 30), (0, 2, 3, 1))
before = jit.Compiled.count
for rows in range(12, 40):
    call((1, 6, rows, 30), (0, 2, 3, 1))
print(jit.Compiled.count - before)
"""


def test_a_function_is_compiled_when_a_schedule_first_names_it() -> None:
    done = subprocess.run([sys.executable, "-c", PARTS_OF], capture_output=True, text=True, check=True)
    first, second, *more, compiled = done.stdout.splitlines()
    assert first.split()[:2] == ["run", "pack"]
    assert "across" not in first
    assert set(second.split()) >= {"pack_across", "runs_across"}
    assert set(more) == {second}  # no more than these, whatever the shape
    assert int(compiled) <= 6  # other tiles


if __name__ == "__main__":
    print(*run_random_shapes(sys.argv[1], "float32", int(sys.argv[2])))
