"""relu, linear and log_softmax: arrays give torch's numbers, tensors get torch's own functions."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from miniconv import functional as F

torchs = torch.nn.functional


def draw(*shape: int, dtype: str = "float32") -> np.ndarray:
    return (np.random.default_rng(5).standard_normal(shape) * 4).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8"])
def test_relu(dtype: str) -> None:
    x = draw(3, 5, dtype="float64").astype("int64").astype(dtype)
    assert np.array_equal(F.relu(x), torchs.relu(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_linear(dtype: str) -> None:
    x, weight, bias = (draw(*shape).astype(int).astype(dtype) for shape in ((2, 3, 5), (4, 5), (4,)))
    expected = torchs.linear(*map(torch.from_numpy, (x, weight, bias))).numpy()
    assert np.array_equal(F.linear(x, weight, bias), expected)
    assert F.linear(x, weight, bias).dtype == expected.dtype


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_log_softmax(dim: int) -> None:
    x = draw(4, 6)
    assert np.allclose(F.log_softmax(x, dim), torchs.log_softmax(torch.from_numpy(x), dim).numpy(), rtol=1e-6)
    wide = torchs.log_softmax(torch.from_numpy(x), dim, dtype=torch.float64).numpy()
    assert np.allclose(F.log_softmax(x, dim, dtype=np.float64), wide, rtol=1e-14)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_log_softmax_guesses_the_axis_as_torch_does(ndim: int) -> None:
    x = draw(*(2, 3, 4, 5)[:ndim])
    with pytest.warns(UserWarning, match="Implicit dimension choice") as mine:
        got = F.log_softmax(x)
    with pytest.warns(UserWarning, match="Implicit dimension choice") as torchs_own:
        expected = torchs.log_softmax(torch.from_numpy(x))
    assert np.allclose(got, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert str(mine[0].message) == str(torchs_own[0].message)
    assert mine[0].filename == __file__


def test_signatures_are_torchs() -> None:
    for name in ("relu", "log_softmax"):
        mine, other = (inspect.signature(getattr(module, name)).parameters for module in (F, torchs))
        assert [(p.name, p.default) for p in mine.values()] == [(p.name, p.default) for p in other.values()]


def test_tensors_get_torchs_functions() -> None:
    x = torch.from_numpy(draw(2, 3, 6, 8)).requires_grad_()
    assert torch.equal(F.relu(x), torchs.relu(x))
    assert F.relu(x).grad_fn is not None
    weight, bias = torch.randn(5, 8), torch.randn(5)
    assert torch.equal(F.linear(x, weight, bias), torchs.linear(x, weight, bias))
    assert torch.equal(F.log_softmax(x, dim=1), torchs.log_softmax(x, dim=1))
    y = torch.randn(4)
    assert F.relu(y, inplace=True) is y


class Subclass(torch.Tensor):
    """Something that torch dispatches on."""


def test_subclasses_and_tracers_pass_through() -> None:
    assert type(F.relu(torch.randn(3).as_subclass(Subclass))) is Subclass

    class Net(torch.nn.Module):
        def forward(self, x):
            return F.log_softmax(F.max_pool2d(F.relu(x), 2), dim=1)

    traced = torch.fx.symbolic_trace(Net())
    assert [node.name for node in traced.graph.nodes if node.op == "call_function"] == [
        "relu", "max_pool2d", "log_softmax"
    ]  # fmt: skip
    with pytest.raises(TypeError):
        F.relu([1.0])
