"""Two processes over gloo: DistributedDataParallel and FSDP2 give the gradients of one process, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import miniconv.nn as own_nn

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and two_processes.py is no test
import two_processes

if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("this torch was built without gloo", allow_module_level=True)

WORLD_SIZE = 2
PATIENCE = 180  # seconds: they need about 5, most of them to import torch

# convolutions of one process: three layers with one circular padding (no convolution), one transposed, two 2d, one 1d
TAKEN = {"conv1d": 1, "conv2d": 2, "conv_transpose2d": 1}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What every process has seen. None outlives this fixture, whatever happens to it."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"  # gloo else asks for the host's name, which may have no address
    command = [sys.executable, "-W", "error", two_processes.__file__]
    processes, logs = [], [folder / f"{rank}.txt" for rank in range(WORLD_SIZE)]
    try:
        for rank, log in enumerate(logs):
            with log.open("w") as file:
                words = [*command, str(rank), str(WORLD_SIZE), str(folder)]
                processes.append(subprocess.Popen(words, env=environment, stdout=file, stderr=subprocess.STDOUT))
        codes = [process.wait(timeout=PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert codes == [0] * WORLD_SIZE, "\n".join(log.read_text() for log in logs)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD_SIZE)]


@pytest.fixture(scope="module")
def alone():
    """The gradients of one process with torch's layers on the whole batch; the wrappers average over processes."""
    model, seen = two_processes.network(torch.nn), []
    for _ in range(two_processes.STEPS):
        model.zero_grad()
        (two_processes.loss(model(two_processes.pictures(0, 1))) / WORLD_SIZE).backward()
        seen += [parameter.grad.clone() for parameter in model.parameters()]
        two_processes.step(model)
    assert all(gradient.count_nonzero() for gradient in seen)
    return seen


@pytest.mark.parametrize("door", ["miniconv.nn", "patch"])
@pytest.mark.parametrize("scenario", two_processes.SCENARIOS)
def test_gradients_equal_those_of_one_process(results, alone, scenario, door):
    for result in results:
        gradients, counted = result[scenario, door]
        assert len(gradients) == len(alone)
        for got, expected in zip(gradients, alone, strict=True):
            assert torch.equal(got, expected)
        if door == "patch":
            passes = two_processes.STEPS * (len(two_processes.pictures(0, WORLD_SIZE)) if "no_sync" in scenario else 1)
            both = TAKEN | {f"{kind} backward": count for kind, count in TAKEN.items()}
            assert counted == ({kind: passes * count for kind, count in both.items()}, {})


def test_the_shares_differ():
    """The comparison means something: a process that trained on its own share alone would have other gradients."""
    gradients = []
    for rank in range(WORLD_SIZE):
        model = two_processes.network(own_nn)
        two_processes.loss(model(two_processes.pictures(rank, WORLD_SIZE))).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert not any(torch.equal(first, second) for first, second in zip(*gradients, strict=True))
