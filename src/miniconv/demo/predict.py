"""Step 5: the trained network reads the test digits again where torch cannot be imported.

The step starts a child process, ``python -m miniconv.demo.predict FOLDER``, which forbids torch to itself before
anything else, and to its worker processes. All that it knows is a file of weights, NumPy and miniconv.functional:
what a Raspberry Pi would have.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from miniconv import functional as F

if TYPE_CHECKING:
    from miniconv.demo import Figure

__all__ = ["classify", "run"]

Array = np.ndarray[Any, Any]

WORKERS = (1, 2)
CHUNK = 45  # images; the 450 of the test make ten
PASSES = 200  # times through the test set, so that the clock has something to measure

_work: dict[str, Array] = {}  # a worker's weights and images, by name


def classify(weights: dict[str, Array], images: Array) -> Array:
    """The digit that each image shows, as ``miniconv.demo.digits.DigitNet`` sees it: (N, 1, 8, 8) to (N,)."""
    x = F.relu(F.conv2d(images, weights["conv1.weight"], weights["conv1.bias"], padding=1))
    x = F.relu(F.conv2d(x, weights["conv2.weight"], weights["conv2.bias"], padding=1))
    x = F.max_pool2d(x, 2).reshape(len(images), -1)
    x = F.relu(F.linear(x, weights["fc1.weight"], weights["fc1.bias"]))
    x = F.log_softmax(F.linear(x, weights["fc2.weight"], weights["fc2.bias"]), dim=1)
    return np.asarray(x.argmax(axis=1))


def run(out: Path, images: Array, expected: Array, passes: int = PASSES) -> list[Figure]:
    """Start the child, and compare its predictions with those of torch."""
    from miniconv.demo import Figure

    np.savez(out / "digits-test.npz", images=images)
    command = [sys.executable, "-m", "miniconv.demo.predict", str(out), str(passes)]
    # a thread for each process: two workers on two cores would otherwise fight over them
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    child = subprocess.run(command, env=os.environ | one_thread, capture_output=True, text=True, check=False)
    if child.returncode:
        raise RuntimeError(f"the child process failed:\n{child.stderr}")
    answer = json.loads(child.stdout)
    said = answer["import torch"]
    print(f"in the child process, import torch: {said[0]}")
    torch_free = sum(text.startswith("ModuleNotFoundError") for text in said)
    same = int((np.array(answer["predictions"]) == expected).sum())
    figures = [
        Figure("processes without torch", f"{torch_free} of {len(said)}", torch_free == len(said)),
        Figure("predictions equal to torch's", f"{same} of {len(expected)}", same == len(expected)),
    ]
    for workers, speed in answer["images per second"].items():
        figures.append(Figure(f"images per second, {workers} worker{'s' * (workers != '1')}", f"{speed:,.0f}"))
    return figures


class _NoTorch(MetaPathFinder):
    """Asked first whenever a module is imported; refuses torch and everything in it."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Refuse torch, and leave the rest to the other finders."""
        if fullname.partition(".")[0] == "torch":
            raise ModuleNotFoundError("torch is forbidden in this process", name=fullname)


def _forbid_torch() -> None:
    """From here on; a torch imported earlier would stay, and ``_try_torch`` would say so."""
    sys.meta_path.insert(0, _NoTorch())


def _try_torch() -> str:
    """What ``import torch`` says here."""
    try:
        import torch
    except ImportError as error:
        return f"{type(error).__name__}: {error}"
    return f"torch {torch.__version__}"


def _start_worker(work: dict[str, Array], said: Any) -> None:
    """What a worker does first: forbid torch, and say what importing it then says."""
    _forbid_torch()
    _work.update(work)
    said.put(_try_torch())


def _classify_chunk(start: int) -> Array:
    return classify(_work, _work["images"][start : start + CHUNK])


def _measure(work: dict[str, Array], workers: int, passes: int) -> tuple[Array, float, list[str]]:
    """The predictions, images a second, and what ``import torch`` says in each worker."""
    count = len(work["images"])
    starts = list(range(0, count, CHUNK))
    # spawn: a worker that starts afresh shares nothing with its parent, on every system
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    with context.Pool(workers, _start_worker, (work, queue)) as pool:
        said = [queue.get() for _ in range(workers)]
        predictions = np.concatenate(pool.map(_classify_chunk, starts))
        start = time.perf_counter()
        pool.map(_classify_chunk, starts * passes, chunksize=len(starts) // workers)
        seconds = time.perf_counter() - start
    return predictions, count * passes / seconds, said


def _child(folder: Path, passes: int) -> None:
    """What the child process does: classify with one worker and with two, and print the findings."""
    _forbid_torch()
    work: dict[str, Array] = {}
    for name in ("digits-weights.npz", "digits-test.npz"):
        with np.load(folder / name) as file:
            work.update(file)
    said, speeds = [_try_torch()], {}
    for workers in WORKERS:
        predictions, speeds[workers], answers = _measure(work, workers, passes)
        said += answers
    print(json.dumps({"import torch": said, "predictions": predictions.tolist(), "images per second": speeds}))


if __name__ == "__main__":
    _child(Path(sys.argv[1]), int(sys.argv[2]))
