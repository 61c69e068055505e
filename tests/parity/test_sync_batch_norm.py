"""SyncBatchNorm in two and three processes over gloo: what one process computes of the joined batch.

The processes are started once for each count, and run all scenarios. Most data needs no rounding: equality.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import miniconv.nn as nn

Tensor = torch.Tensor
WORKER = Path(__file__).parent / "sync_worker.py"
SIZE = (2, 4)


def exact_shares(counts: list[int], dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], list[Tensor], float]:
    """Shares of another mean each, whole gradients for them, and the eps that makes the joint deviation a power of two.

    In each share each channel is one more or less than its mean, equally often; the counts sum to a power of two.
    """
    generator = torch.Generator().manual_seed(sum(counts))
    shares, grads = [], []
    for place, count in enumerate(counts):
        signs = torch.tensor([1, -1] * (count * 4))
        rows = [signs[torch.randperm(len(signs), generator=generator)] + 10 * c for c in range(3)]
        share = torch.stack(rows).reshape(3, count, *SIZE).transpose(0, 1) + (8 if place == 0 else 0)
        shares.append(share.contiguous().to(dtype))
        grads.append(torch.randint(-2, 3, share.shape, generator=generator).to(dtype))
    var = torch.cat(shares)[:, 0].double().var(correction=0).item() if any(counts) else 1.0
    return shares, grads, 4.0 ** next(j for j in range(9) if 4**j > var) - var


def scenario(counts: list[int], dtype: torch.dtype = torch.float64, **more: Any) -> dict[str, Any]:
    shares, grads, eps = exact_shares(counts, dtype)
    options = {"eps": eps, "momentum": 0.5, "dtype": dtype, **more.pop("options", {})}
    return {"kind": "norm", "shares": shares, "grads": grads, "options": options, **more}


def random_scenario(counts: list[int]) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(5)
    shares, grads = ([torch.randn(n, 3, *SIZE, generator=generator) + 3 for n in counts] for _ in range(2))
    return {"kind": "norm", "shares": shares, "grads": grads, "options": {}}


def net_scenario(counts: list[int]) -> dict[str, Any]:
    torch.manual_seed(8)
    layers = (torch.nn.Conv2d(3, 4, (1, 2)), torch.nn.BatchNorm2d(4), nn.BatchNorm2d(4), torch.nn.Flatten())
    model = torch.nn.Sequential(*layers, torch.nn.Linear(4 * 2 * 3, 2)).double()
    return {"kind": "net", "shares": [torch.randn(n, 3, *SIZE).double() for n in counts], "model": model}


UNEQUAL, EMPTY = {2: [1, 3], 3: [1, 2, 5]}, {2: [4, 0], 3: [3, 0, 5]}
LAST = torch.channels_last


def scenarios(world: int) -> dict[str, dict[str, Any]]:
    found = {
        "unequal": scenario(UNEQUAL[world]),
        "empty share": scenario(EMPTY[world]),
        "nothing at all": scenario([0] * world),
        "float32": scenario(UNEQUAL[world], torch.float32),
        "bfloat16": scenario(UNEQUAL[world], torch.bfloat16, options={"dtype": torch.float32}),
        "float16 with an empty share": scenario(EMPTY[world], torch.float16, options={"dtype": torch.float32}),
        "mean of all": scenario(UNEQUAL[world], steps=3, options={"momentum": None}),
        "not affine": scenario(UNEQUAL[world], options={"affine": False}),
        "no bias": scenario(UNEQUAL[world], options={"bias": False}),
        "untracked": scenario(UNEQUAL[world], options={"track_running_stats": False}),
        "evaluation": scenario(UNEQUAL[world], training=False),
        "channels_last": scenario(UNEQUAL[world]),
        "group": scenario([1, 3], group=[0, world - 1]),
        "alone": scenario([1] + [2] * (world - 1), group=[0], options={"eps": 3.0}),
        "random": random_scenario([3, 2, 7][:world]),
        "twice": scenario(UNEQUAL[world], twice=True),
        "twice with an empty share": scenario(EMPTY[world], twice=True),
        "wrong size": {**scenario(UNEQUAL[world]), "shares": [torch.ones(2, 4, *SIZE).double()] * world},
        "one number": {**scenario([1] * world), "shares": [torch.ones(n, 3) for n in [1, 0, 0][:world]]},
        "net": net_scenario([2, 2, 2][:world]),
    }
    found["channels_last"]["shares"] = [x.contiguous(memory_format=LAST) for x in found["channels_last"]["shares"]]
    if world == 3:  # somebody between the two members of the group
        for name in ("shares", "grads"):
            found["group"][name].insert(1, found["empty share"][name][0])
    found["one number"]["options"]["dtype"] = torch.float32
    return found


@pytest.fixture(scope="module", params=[2, 3])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The scenarios by name, and for each what every process found."""
    world, folder = request.param, tmp_path_factory.mktemp("sync")
    given = scenarios(world)
    torch.save([copy.deepcopy(value) for value in given.values()], folder / "given.pt")
    arguments = [
        [str(rank), str(world), folder / "meet", folder / "given.pt", folder / f"{rank}.pt"] for rank in range(world)
    ]
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning:torch", str(WORKER)]
    started = [subprocess.Popen([*command, *a], stderr=subprocess.PIPE, text=True) for a in arguments]
    try:
        errors = [process.communicate(timeout=240)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * world, "\n".join(errors)
    results = [torch.load(folder / f"{rank}.pt") for rank in range(world)]
    return given, {name: [result[at] for result in results] for at, name in enumerate(given)}


def joined(given: dict[str, Any], members: list[int]) -> tuple[Any, Tensor, tuple[Tensor, ...]]:
    """torch's BatchNorm2d on the shares of these processes at once: the module, its output and gradients."""
    layer = torch.nn.BatchNorm2d(3, **given["options"]).train(given.get("training", True))
    leaf = torch.cat([given["shares"][rank] for rank in members]).requires_grad_()
    for _ in range(given.get("steps", 1)):
        out = layer(leaf)
    grads = torch.cat([given["grads"][rank] for rank in members])
    return layer, out.detach(), torch.autograd.grad(out, [leaf, *layer.parameters()], grads)


def assert_joined(given: dict[str, Any], found: list[dict[str, Any]], members: list[int]) -> None:
    layer, out, (input_grad, *parameter_grads) = joined(given, members)
    parts = [found[rank] for rank in members]
    assert torch.equal(torch.cat([part["out"] for part in parts]), out)
    assert torch.equal(torch.cat([part["gradients"][0] for part in parts]), input_grad)
    for at, expected in enumerate(parameter_grads, 1):
        assert torch.equal(sum(part["gradients"][at] for part in parts), expected)
    for part in parts:
        assert list(part["state"]) == list(layer.state_dict())
        for name, value in layer.state_dict().items():
            # the unbiased variance is a quotient, and may be rounded once more or less for each step
            rtol = 0 if name != "running_var" else 6 * torch.finfo(value.dtype).eps
            torch.testing.assert_close(part["state"][name], value, rtol=rtol, atol=0)


EXACT = ["unequal", "empty share", "float32", "bfloat16", "float16 with an empty share", "mean of all", "not affine"]


@pytest.mark.parametrize("name", [*EXACT, "no bias", "untracked", "channels_last"])
def test_it_is_one_batch_norm_of_the_joined_batch(done: Any, name: str) -> None:
    given, found = done[0][name], done[1][name]
    assert "error" not in found[0], found
    assert_joined(given, found, list(range(len(found))))
    for share, part in zip(given["shares"], found):
        assert part["strides"] == share.stride() or share.shape[0] < 2
        assert part["out"].dtype == share.dtype


def test_real_numbers_are_within_a_bound_of_the_joined_batch(done: Any) -> None:
    """Both against float64, by gamma of the longest chain of roundings on the magnitudes that it rounds."""
    given, found = done[0]["random"], done[1]["random"]
    x, g = (torch.cat(given[name]).double() for name in ("shares", "grads"))
    wide = {**given, "options": {"dtype": torch.float64}}
    wide |= {name: [part.double() for part in given[name]] for name in ("shares", "grads")}
    layer, out, (input_grad, *_) = joined(wide, list(range(len(found))))
    n = x.numel() // 3
    gamma = (n + 40) * 2.0**-24 / (1 - (n + 40) * 2.0**-24)
    across = (0, 2, 3)
    inverse = (x.var(across, correction=0, keepdim=True) + 1e-5).rsqrt()
    reach = inverse * (x.abs() + x.abs().mean(across, keepdim=True))
    bounds = (
        gamma * reach,
        gamma * inverse * (g.abs() + g.abs().mean(across, keepdim=True) + reach * (g.abs() * reach).mean(across, True)),
    )
    parts = (torch.cat([p["out"] for p in found]), torch.cat([p["gradients"][0] for p in found]))
    for got, expected, bound in zip(parts, (out, input_grad), bounds):
        assert ((got - expected).abs() <= bound).all()
    for part in found:
        for name, value in layer.state_dict().items():
            size = (x**2).mean(across) + 1
            assert ((part["state"][name] - value).abs() <= gamma * size).all()
        assert torch.equal(part["state"]["running_var"], found[0]["state"]["running_var"])


@pytest.mark.parametrize("name", ["twice", "twice with an empty share"])
def test_second_derivatives_are_those_of_the_joined_batch(done: Any, name: str) -> None:
    given, found = done[0][name], done[1][name]
    assert_joined(given, found, list(range(len(found))))
    leaf = torch.cat(given["shares"]).requires_grad_()
    out = torch.nn.BatchNorm2d(3, **given["options"])(leaf)
    (first,) = torch.autograd.grad(out, leaf, torch.cat(given["grads"]), create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), leaf)
    assert second.abs().max() > 2.0**-10
    # float64: 2**-44 leaves room for the roundings of sums of 64 numbers, and for no wrong term
    torch.testing.assert_close(torch.cat([part["second"] for part in found]), second, rtol=2.0**-44, atol=2.0**-44)


def test_evaluation_talks_to_nobody(done: Any) -> None:
    assert_joined(done[0]["evaluation"], done[1]["evaluation"], list(range(len(done[1]["evaluation"]))))


def test_a_batch_that_is_empty_everywhere_changes_nothing(done: Any) -> None:
    for part in done[1]["nothing at all"]:
        assert part["out"].shape == (0, 3, *SIZE)
        assert (part["state"]["running_mean"].tolist(), part["state"]["running_var"].tolist()) == ([0] * 3, [1] * 3)
        assert all((gradient == 0).all() for gradient in part["gradients"])


def test_a_group_is_joined_and_nobody_else(done: Any) -> None:
    given, found = done[0]["group"], done[1]["group"]
    world = len(found)
    assert_joined(given, found, [0, world - 1])
    if world == 3:
        _, out, _ = joined(given, [1])
        # float64, and 24 numbers a channel: 2**-44 leaves room for their sums' roundings, and for no other share
        torch.testing.assert_close(found[1]["out"], out, rtol=2.0**-44, atol=2.0**-44)
    for rank in range(world):
        assert_joined(done[0]["alone"], done[1]["alone"], [rank])


def test_what_is_refused(done: Any) -> None:
    for part in done[1]["wrong size"]:
        assert part == {"error": "RuntimeError: running_mean should contain 4 elements not 3"}
    for part in done[1]["one number"]:
        assert part["error"].startswith("ValueError: Expected more than 1 value per channel when training")


def test_a_converted_network_under_data_parallel(done: Any) -> None:
    """The processes' mean of the gradients is the joined batch's gradient over their number."""
    given, found = done[0]["net"], done[1]["net"]
    model = copy.deepcopy(given["model"])
    model(torch.cat(given["shares"])).square().sum().backward()
    for part in found:
        assert "error" not in part, part
        assert list(part["state"]) == list(model.state_dict())
        for name, parameter in model.named_parameters():
            # float64: 2**-36 leaves room for the roundings of this small network, and for no wrong term
            close = {"rtol": 2.0**-36, "atol": 2.0**-36}
            torch.testing.assert_close(part["gradients"][name] * len(found), parameter.grad, **close)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(part["state"][name], value, rtol=2.0**-36, atol=2.0**-36)


def test_conversion_is_torchs() -> None:
    layers = (nn.BatchNorm1d(3), torch.nn.BatchNorm2d(4, affine=False), nn.BatchNorm3d(5, bias=False, momentum=None))
    for layer in (*layers, nn.SyncBatchNorm(2), torch.nn.SyncBatchNorm(2)):
        nested = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Sequential(layer)).eval()
        ours = nn.SyncBatchNorm.convert_sync_batchnorm(copy.copy(layer), "group")
        theirs = torch.nn.SyncBatchNorm.convert_sync_batchnorm(copy.copy(layer), "group")
        assert type(ours) is nn.SyncBatchNorm
        assert repr(ours) == repr(theirs)
        assert {k: v for k, v in ours.__dict__.items() if k != "_modules"}.keys() == theirs.__dict__.keys() - {
            "_modules"
        }
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            assert getattr(ours, name) is getattr(layer, name)
        assert (ours.process_group, ours.training) == ("group", layer.training)
        assert nn.SyncBatchNorm.convert_sync_batchnorm(nested) is nested
        assert type(nested[1][0]) is nn.SyncBatchNorm
        assert not nested[1][0].training


def test_without_a_process_group_it_is_a_batch_norm() -> None:
    x = torch.randn(4, 3, 2, 5)
    ours, theirs = nn.SyncBatchNorm(3), nn.BatchNorm2d(3)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_var, theirs.running_var)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    assert isinstance(ours, torch.nn.modules.batchnorm._BatchNorm)
    ours.load_state_dict(torch.nn.SyncBatchNorm(3).state_dict())
    torch.nn.SyncBatchNorm(3).load_state_dict(ours.state_dict())
