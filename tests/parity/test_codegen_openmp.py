"""The engine on torch's own OpenMP threads, and after a fork, which those threads do not survive."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")

UNIT = Path(__file__).parent.parent / "unit"

PRELUDE = f"""
import sys; sys.path.insert(0, {str(UNIT)!r})
import os, torch, numpy as np, codegen_paths as paths
from miniconv.codegen import jit, threads
from miniconv.problem import ConvProblem
torch.set_num_threads(2)
problem = ConvProblem.parse("conv2d n2 c34 o36 i53x47 k3x3 p1x1 bias")
x, w, b = paths.operands(problem, np.random.default_rng(8), whole=False)
def convolved(threads):
    return paths.convolved("direct", problem, x, w, b, jit.host(), threads)
alone = convolved(1)
a = torch.rand(300, 300)
def torch_too():
    return torch.nn.functional.conv2d(torch.rand(2, 8, 60, 60), torch.rand(8, 8, 3, 3)).sum().item() > 0
"""


def says(code: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings GNU's OpenMP on Linux")
def test_the_threads_are_torchs() -> None:
    code = """
    def count():
        return len(os.listdir("/proc/self/task"))
    torch_too()
    before = count()
    same = all(np.array_equal(convolved(2), alone) for _ in range(20))
    print(same, threads._State.pool is None, count() - before, threads.available())
    torch.set_num_threads(1)
    print(threads.available())
    """
    assert says(code) == "True True 0 2\n1"


def test_calls_from_many_python_threads_beside_torch() -> None:
    code = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as pool:
        same = list(pool.map(lambda i: torch_too() and np.array_equal(convolved(1 + i % 3), alone), range(60)))
    print(all(same))
    """
    assert says(code) == "True"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_child_of_fork_uses_a_pool_of_its_own() -> None:
    code = """
    assert torch_too() and np.array_equal(convolved(2), alone)  # OpenMP's threads are there now
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(convolved(2), alone) and threads._State.pool is not None else 1)
    print(os.waitpid(child, 0)[1], np.array_equal(convolved(2), alone), threads._State.pool is None)
    """
    assert says(code) == "0 True True"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_workers_of_multiprocessing_and_of_a_data_loader() -> None:
    code = """
    import multiprocessing
    class Convolutions(torch.utils.data.Dataset):
        def __len__(self):
            return 6
        def __getitem__(self, index):
            return int(np.array_equal(convolved(1 + index % 3), alone))
    assert torch_too() and np.array_equal(convolved(2), alone)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(Convolutions().__getitem__, range(6)))
    loader = torch.utils.data.DataLoader(Convolutions(), batch_size=3, num_workers=2, multiprocessing_context="fork")
    print([batch.tolist() for batch in loader])
    print(np.array_equal(convolved(2), alone))
    """
    assert says(code) == "[1, 1, 1, 1, 1, 1]\n[[1, 1, 1], [1, 1, 1]]\nTrue"
