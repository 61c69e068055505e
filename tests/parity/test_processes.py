"""Other processes: DataLoader's workers that convolve, and modules, problems and plans that travel in pickles."""

import copy
import multiprocessing
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import miniconv
import miniconv.nn as nn
from miniconv.plan import plan
from miniconv.problem import ConvProblem

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and loading.py is no test
import loading
from steps import compare

PATIENCE = 120  # seconds: a worker needs about 5, most of them to import torch
START_METHODS = [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()]
PROBLEMS = (
    "conv1d n2 c4 o6 i9 k3 s2 p1 g2 bias float64",
    "conv2d n2 c4 o6 i9x10 k3x2 s2x1 p1x0 d1x2 float64",
    "conv_transpose3d n2 c4 o6 i3x4x5 k3x2x1 s1x2x3 g2 bias float32",
)


# Python 3.12 warns wherever a process with threads forks, as torch's and pytest-xdist's do
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def from_torch(batch):
    """What ``loading.collate`` must give for pictures of these numbers, by torch's own layers."""
    x = torch.stack([torch.from_numpy(loading.picture(index)) for index in batch])
    theirs = torch.nn.Conv2d(3, 4, (2, 3), stride=(2, 1), padding=(1, 0)).double()
    theirs.load_state_dict(loading.layer().state_dict())
    convolved = torch.nn.functional.conv2d(x, torch.from_numpy(loading.KERNEL))
    output = theirs(x).detach().requires_grad_()
    torch.nn.functional.conv2d(output, torch.ones(1, 4, 2, 3, dtype=output.dtype)).square().sum().backward()
    return convolved, convolved, output.detach(), output.grad


@pytest.mark.parametrize("start", START_METHODS)
def test_workers_convolve(start):
    loader = torch.utils.data.DataLoader(
        loading.Pictures(loading.layer()),
        batch_size=2,
        num_workers=2,
        collate_fn=loading.collate,
        multiprocessing_context=start,
        timeout=PATIENCE,
    )
    batches = list(loader)
    assert len(batches) == 3
    for number, batch in enumerate(batches):
        for got, expected in zip(batch, from_torch([2 * number, 2 * number + 1]), strict=True):
            assert torch.equal(got, expected)


@pytest.mark.skipif("fork" not in START_METHODS, reason="no fork here")
def test_forked_workers_are_patched():
    """A forked worker inherits torch's table of kernels, with miniconv in it; its counts stay its own."""

    def convolved(samples):
        with miniconv.patch() as report:
            conv = torch.nn.Conv2d(3, 4, (2, 3)).double()
            y = conv(torch.stack([torch.from_numpy(loading.picture(index)) for index in samples]))
            return y.detach(), dict(report.taken), conv.state_dict()

    with miniconv.patch() as report:
        loader = torch.utils.data.DataLoader(
            range(4),
            batch_size=2,
            num_workers=1,
            collate_fn=convolved,
            multiprocessing_context="fork",
            timeout=PATIENCE,
        )
        batches = list(loader)
    assert report.taken == {}
    for number, (y, taken, state) in enumerate(batches):
        conv = torch.nn.Conv2d(3, 4, (2, 3)).double()
        conv.load_state_dict(state)
        x = torch.stack([torch.from_numpy(loading.picture(index)) for index in (2 * number, 2 * number + 1)])
        torch.testing.assert_close(y, conv(x), rtol=0, atol=1e-13)
        assert taken == {"conv2d": 1}


@pytest.fixture(scope="module")
def elsewhere():
    """Ask a spawned process: ``elsewhere(function, *arguments)``."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=loading.answer, args=(there,), daemon=True)
    process.start()
    there.close()

    def ask(function, *arguments):
        here.send((function, arguments))
        assert here.poll(PATIENCE), "no answer from the other process"
        return here.recv()

    try:
        yield ask
    finally:
        here.close()
        process.kill()
        process.join(PATIENCE)


MODULES = {
    "conv1d": (lambda m: m.Conv1d(4, 6, 3, stride=2, groups=2), (2, 4, 9)),
    "conv2d": (lambda m: m.Conv2d(4, 6, (3, 2), padding="same", padding_mode="circular"), (2, 4, 7, 8)),
    "conv3d": (lambda m: m.Conv3d(4, 6, (3, 2, 1), dilation=(1, 2, 1), bias=False), (2, 4, 5, 6, 3)),
    "conv_transpose2d": (lambda m: m.ConvTranspose2d(4, 6, 3, (2, 3), (1, 0), (0, 2)), (2, 4, 5, 6)),
    "network": (
        lambda m: m.Sequential(m.Conv2d(4, 6, 3), m.BatchNorm2d(6), m.ReLU(), m.MaxPool2d((2, 1)), m.Flatten()),
        (2, 4, 7, 8),
    ),
}


def integers(shape):
    return (torch.arange(torch.Size(shape).numel()).reshape(shape) % 11 - 5).double()


def made(module, name):
    torch.manual_seed(2)
    return MODULES[name][0](module).double()


@pytest.mark.parametrize("name", MODULES)
def test_modules_travel(elsewhere, name):
    x, module = integers(MODULES[name][1]), made(nn, name)
    expected = loading.trained(made(torch.nn, name), x)
    twin = copy.deepcopy(module)
    assert type(twin) is type(module)
    answers = [elsewhere(loading.trained, module, x), loading.trained(twin, x)]
    for results in answers:
        compare(results, expected)


def test_a_lazy_module_travels(elsewhere):
    """In float32: torch too forgets the dtype of parameters that are not made yet."""
    x = integers((2, 4, 7, 8)).float()
    got = elsewhere(loading.materialised, nn.LazyConv2d(6, (3, 2)), x)
    expected = loading.materialised(torch.nn.LazyConv2d(6, (3, 2)), x)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(got, expected, strict=True))


@pytest.mark.parametrize("text", PROBLEMS)
def test_problems_and_plans_travel(elsewhere, text):
    problem = ConvProblem.parse(text)
    chosen = plan(problem)
    for twin in (pickle.loads(pickle.dumps(chosen)), copy.deepcopy(chosen)):
        assert (twin, twin.problem, twin.explain()) == (chosen, problem, chosen.explain())
    generator = np.random.default_rng(5)
    shapes = (problem.input_shape, problem.weight_shape, *[(problem.out_channels,)] * problem.bias)
    operands = [generator.integers(-5, 6, shape).astype(problem.dtype) for shape in shapes]
    output, explained = elsewhere(loading.run_plan, chosen, *operands)
    assert np.array_equal(output, chosen(*operands))
    assert explained == chosen.explain()
