"""batch_norm against torch's: values, strides, running statistics, gradients, errors, transforms, compilers.

Most data is such that nothing needs rounding (sums, means, variances, roots), so that comparisons are equality.
"""

# ruff: noqa: B023 - the functions made in loops are called at once
from __future__ import annotations

import itertools
import sys
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import miniconv.functional as F

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and same.py is no test
from same import assert_same

# torch's own: its forward mode scripts, and its tracer is deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")

torchs = torch.nn.functional
# Mean 0 and variance 1, and any power of two of them: with eps = 3 the deviation is 2.
BLOCK = [-2, 0, 0, 2, 0, 0, 0, 0, -1, 1, 1, -1, -1, 1, -1, 1]
SHAPES = [(16, 3), (8, 3, 4), (2, 3, 4, 8), (1, 3, 4, 16), (2, 3, 2, 4, 8), (1, 3, 2, 1, 2, 4, 2), (32, 3, 1, 1)]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def exact_data(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Channel c has mean c + 1, variance 1."""
    generator = torch.Generator().manual_seed(len(shape))
    count = int(np.prod(shape)) // 3
    numbers = torch.tensor(BLOCK * (count // 16))
    rows = torch.stack([numbers[torch.randperm(count, generator=generator)] + c for c in (1, 2, 3)])
    return rows.reshape(3, shape[0], *shape[2:]).transpose(0, 1).contiguous().to(dtype)


def layouts(x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same numbers, otherwise in memory."""
    found = {"contiguous": x, "sliced": torch.stack([x, x], -1)[..., 0], "batch_last": x.movedim(0, -1).contiguous()}
    found["batch_last"] = found["batch_last"].movedim(-1, 0)
    if x.dim() > 2:
        found["channels_last"] = x.movedim(1, -1).contiguous().movedim(-1, 1)
        found["channels_last_sliced"] = torch.cat([x, x], -1).movedim(1, -1).contiguous().movedim(-1, 1)
        found["channels_last_sliced"] = found["channels_last_sliced"][..., : x.shape[-1]]
        found["transposed"] = x.transpose(-1, -2).contiguous().transpose(-1, -2) if x.dim() > 3 else x
    return found


def parameters(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    numbers = {"weight": [2, -1, 4], "bias": [1, 0, -3], "running_mean": [4, 0, -2], "running_var": [1, 13, 61]}
    return {name: torch.tensor(values, dtype=dtype) for name, values in numbers.items()}


def run(function: Any, x: torch.Tensor, given: dict[str, torch.Tensor], **options: Any) -> tuple[torch.Tensor, ...]:
    """Output, and the running statistics as the call leaves them."""
    own = {"running_mean": None, "running_var": None, **{name: value.clone() for name, value in given.items()}}
    out = function(x, **own, **options)
    return (out, *(own[name] for name in ("running_mean", "running_var") if own[name] is not None))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_strides_and_running_statistics(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = exact_data(shape, dtype)
    ours = torch.float32 if dtype.itemsize == 2 else dtype
    for layout, image in layouts(x).items():
        for beside, affine, training in itertools.product({dtype, ours}, ["", "weight", "bias", "both"], [True, False]):
            given = parameters(beside)
            for name in ("weight", "bias"):
                if affine not in (name, "both"):
                    del given[name]
            options = {"training": training, "momentum": 1.0, "eps": 3.0}
            if dtype.itemsize == 2 and training and beside is dtype:
                del given["running_var"], given["running_mean"]  # torch rounds the unbiased variance twice
            assert_same(
                lambda: run(F.batch_norm, image, given, **options),
                lambda: run(torchs.batch_norm, image, given, **options),
                (layout, beside, affine, training),
            )
    assert_same(
        lambda: F.batch_norm(x, None, None, training=True, eps=3.0),
        lambda: torchs.batch_norm(x, None, None, training=True, eps=3.0),
        "bare",
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_that_need_no_rounding(dtype: torch.dtype, training: bool) -> None:
    for shape in SHAPES:
        for layout, image in layouts(exact_data(shape, dtype)).items():
            found = []
            for function in (F.batch_norm, torchs.batch_norm):
                given = parameters(dtype)
                leaves = [image.detach().requires_grad_(), given["weight"], given["bias"]]
                leaves = [leaf.requires_grad_() for leaf in leaves]
                running = (given["running_mean"], given["running_var"])
                out = function(leaves[0], *running, *leaves[1:], training=training, eps=3.0)
                generator = torch.Generator().manual_seed(1)
                grad = torch.randint(-2, 3, shape, generator=generator).to(dtype)
                found.append(torch.autograd.grad(out, leaves, grad))
                assert not any(x.requires_grad for x in running)
            for a, b in zip(*found):
                assert (a.dtype, a.shape) == (b.dtype, b.shape)
                assert torch.equal(a, b), (shape, layout)


def decimals(x: torch.Tensor) -> Any:
    return np.array([Decimal(float(v)) for v in x.detach().double().flatten()], dtype=object)


def magnitude(x: Any) -> Any:
    return np.array([abs(float(v)) for v in x])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_real_numbers_are_within_bounds_of_the_exact_result(dtype: torch.dtype, offset: float) -> None:
    """Forward: each step's rounding, counted. Gradients: gamma of the longest chain of roundings, on magnitudes."""
    torch.manual_seed(3)
    x = (torch.randn(4, 3, 5, 6) + offset).to(dtype).requires_grad_()
    weight, bias = torch.randn(3).to(dtype).requires_grad_(), torch.randn(3).to(dtype).requires_grad_()
    grad = torch.randn(4, 3, 5, 6).to(dtype)
    out = F.batch_norm(x, None, None, weight, bias, training=True)
    found = (out, *torch.autograd.grad(out, (x, weight, bias), grad))
    u_out = torch.finfo(dtype).eps / 2
    u = 2.0**-53 if dtype is torch.float64 else 2.0**-24
    tiny = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    n = x.numel() // 3
    gamma = (n + 24) * u / (1 - (n + 24) * u)
    with localcontext() as context:
        context.prec = 60
        for c in range(3):
            numbers, g, w, b = (decimals(t) for t in (x[:, c], grad[:, c], weight[c], bias[c]))
            mean = numbers.mean()
            centred = numbers - mean
            inverse = 1 / ((centred**2).mean() + Decimal("1e-5")).sqrt()
            hat, w, b = centred * inverse, w[0], b[0]
            exact = {
                "out": hat * w + b,
                "input": w * inverse * (g - g.mean() - hat * (g * hat).mean()),
                "weight": np.array([(g * hat).sum()]),
                "bias": np.array([g.sum()]),
            }
            size, scale = magnitude(g), abs(float(w * inverse))
            reach = float(inverse) * (magnitude(centred) + abs(float(mean)))  # of hat, its mean's rounding included
            sums = 2.0**-53 * (n + 4)
            of_mean = scale * (u * abs(float(mean)) + sums * magnitude(numbers).mean())
            of_var = sums * float((numbers**2).mean() * inverse**2)
            bounds = {
                "out": of_mean + (8.01 * u + of_var) * (magnitude(hat) * abs(float(w)) + abs(float(b))),
                "input": gamma * scale * (size + size.mean() + reach * (size * reach).mean()),
                "weight": gamma * (size * reach).sum(),
                "bias": gamma * size.sum(),
            }
            for (name, bound), result in zip(bounds.items(), found):
                part = result[:, c] if result.dim() > 1 else result[c]
                error = magnitude(decimals(part) - exact[name])
                limit = bound + (0 if u_out == u else u_out * (magnitude(exact[name]) + bound) + tiny)
                assert (error <= limit).all(), (name, (error / limit).max())


def test_running_statistics_are_within_three_roundings() -> None:
    torch.manual_seed(5)
    for dtype, momentum in itertools.product([torch.float32, torch.float64], [0.1, 0.7, 1.0, 0.0, 2, -0.5]):
        x, given = torch.randn(4, 3, 5, 6, dtype=dtype), parameters(dtype)
        _, *found = run(F.batch_norm, x, given, training=True, momentum=momentum)
        wide = x.double().transpose(0, 1).flatten(1)
        for got, new, old in zip(found, (wide.mean(1), wide.var(1)), (given["running_mean"], given["running_var"])):
            exact = (1 - momentum) * old.double() + momentum * new
            size = abs((1 - momentum) * old.double()) + abs(momentum) * wide.abs().mean(1).clamp(min=1) * 2
            # float64: the sums of 120 numbers behind both sides
            unit = 2.0**-24 * 6 if dtype is torch.float32 else 2.0**-53 * 260
            assert (abs(got.double() - exact) <= unit * size).all()


def test_a_large_mean_loses_nothing() -> None:
    """Sums of these numbers need rounding, deviations do not: the second pass must take the first one's error back."""
    x = exact_data((2, 3, 4, 8), torch.float32)
    plain = F.batch_norm(x, None, None, training=True, eps=3.0)
    for offset in (1, 2, 3, 7):
        moved = x + (2.0**22 + offset)
        mean, var = torch.zeros(3), torch.ones(3)
        assert torch.equal(F.batch_norm(moved, mean, var, training=True, momentum=1.0, eps=3.0), plain)
        assert torch.equal(mean, torch.tensor([1.0, 2.0, 3.0]) + (2.0**22 + offset))
        assert torch.equal(var, torch.full((3,), 64 / 63))


def test_specials() -> None:
    x = torch.tensor([[1.0, torch.inf, -torch.inf, torch.nan, 2.0], [3.0, 1.0, 1.0, 1.0, 2.0]])
    zero, one = torch.zeros(5), torch.ones(5)
    stats = [(zero, one), (zero, zero), (one * torch.inf, one), (zero, one * torch.nan), (zero, one * torch.inf)]
    for (mean, var), training in itertools.product(stats, [False, True]):
        given = {"running_mean": mean, "running_var": var}
        assert_same(
            lambda: run(F.batch_norm, x, given, training=training, momentum=0.5, eps=1.0),
            lambda: run(torchs.batch_norm, x, given, training=training, momentum=0.5, eps=1.0),
            (mean, var, training),
        )


X, C, V = torch.arange(48.0).reshape(2, 3, 4, 2), torch.zeros(3), torch.ones(3)
CALLS = [
    *[{"input": X[..., :size] if at == 3 else X[:size] if at == 0 else X[:, :size]} for at, size in [(0, 0), (3, 0)]],
    *[{"input": X[:0], "weight": w, "bias": b} for w in (None, V + 1, torch.ones(5)) for b in (None, V)],
    {"input": X[:0].to(memory_format=torch.channels_last)},
    {"input": X[:0].int(), "weight": V},
    {"input": X[:0].bfloat16(), "weight": V, "bias": V},
    {"input": X[:, :0], "running_mean": C[:0], "running_var": V[:0]},
    {"input": X[:, :0], "running_mean": C[:0], "running_var": V[:0], "weight": V[:0]},
    *[{"input": x} for x in (torch.ones(3), torch.ones(()), torch.ones(0), torch.ones(1, 3), torch.ones(1, 3, 1, 1))],
    *[{"input": x, "running_mean": None, "running_var": None} for x in (X, torch.ones(3), torch.ones(()), X[:0])],
    {"running_mean": None},
    {"running_var": None},
    {"running_mean": torch.ones(4), "running_var": None},
    {"running_mean": torch.ones(4)},
    {"running_var": torch.ones(4), "weight": torch.ones(5)},
    {"weight": torch.ones(4)},
    {"bias": torch.ones(5)},
    {"running_var": None, "weight": torch.ones(4)},
    {"running_var": None, "input": X.int()},
    {"running_mean": C[None], "running_var": V[:, None]},
    {"weight": V.view(1, 3, 1, 1), "bias": C.view(3, 1)},
    *[{"eps": eps} for eps in (0.0, -1.0, "a", None, True, torch.tensor(0.5), 1)],
    *[{"momentum": m} for m in (None, "a", 1j, True, 2, np.float32(0.5), torch.tensor(0.25))],
    *[{"training": training} for training in (1, None, "a")],
    *[{name: 3.0} for name in ("weight", "bias", "running_mean", "running_var")],
    {"bias": [1.0], "running_var": [1.0]},
    {"running_mean": C.clone().requires_grad_()},
    {"running_var": V.clone().requires_grad_()},
    {"running_mean": C.to("meta")},
    {"weight": V.to("meta")},
    *[
        {"input": torch.ones(2, 3, 4, 2).to(own), "running_mean": C.to(a), "running_var": V.to(a), **affine}
        for own in (torch.uint8, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn, *DTYPES)
        for a in (own, *DTYPES)
        for affine in ({}, {"weight": V}, {"bias": V.double()}, {"weight": V.half(), "bias": V.half()})
    ],
]


@pytest.mark.parametrize("training", [True, False])
def test_refusals_and_corners_are_torchs(training: bool) -> None:
    for call in CALLS:
        arguments = {"input": X, "running_mean": C, "running_var": V, "training": training, **call}
        if arguments["input"].dtype.itemsize == 2 and arguments["training"] is True:
            arguments |= {"input": exact_data((2, 3, 4, 8), arguments["input"].dtype), "eps": 3.0}
        elif arguments["training"] is True and isinstance(arguments.get("eps", 1.0), float):
            arguments |= {"momentum": 0.0, **call}

        def outputs(function: Any) -> Any:
            own = {
                k: v.clone() if isinstance(v, torch.Tensor) and not v.requires_grad else v for k, v in arguments.items()
            }
            return function(own.pop("input"), own.pop("running_mean"), own.pop("running_var"), **own)

        def close(function: Any) -> Any:
            # the numbers have their own tests: here they are only kept from differing in the last bits
            out = outputs(function)
            return (out * 64).round() / 64 if out.is_floating_point() else out

        assert_same(lambda: close(F.batch_norm), lambda: close(torchs.batch_norm), call)


def test_running_statistics_may_require_gradients_where_none_are_recorded() -> None:
    with torch.no_grad():
        out = F.batch_norm(X, C.clone().requires_grad_(), V, training=False)
    assert torch.equal(out, F.batch_norm(X, C, V))


@pytest.mark.parametrize("training", [True, False])
def test_every_order_and_direction(training: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    weight, bias = (torch.randn(2, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def call(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        running = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
        return F.batch_norm(x, *running, weight, bias, training=training)

    everything = {"check_forward_ad": True, "check_batched_grad": True, "check_batched_forward_grad": True}
    assert torch.autograd.gradcheck(call, (x, weight, bias), **everything)
    assert torch.autograd.gradgradcheck(call, (x, weight, bias), check_fwd_over_rev=True)
    hessians = [
        torch.func.hessian(lambda x: function(x, None, None, training=True).square().mul(x).sum())(x.detach())
        for function in (F.batch_norm, torchs.batch_norm)
    ]
    torch.testing.assert_close(*hessians, rtol=1e-10, atol=1e-10)


def test_transforms_leave_the_running_statistics_as_torchs_do() -> None:
    x = exact_data((2, 3, 4, 8), torch.float32)
    tangent = torch.ones_like(x)
    found = []
    for function in (F.batch_norm, torchs.batch_norm):
        mean, var = torch.zeros(3), torch.ones(3)

        def call(x: torch.Tensor) -> torch.Tensor:
            return function(x, mean, var, training=True, momentum=0.5, eps=3.0)

        results = [torch.func.grad(lambda x: call(x).square().sum())(x), *torch.func.jvp(call, (x,), (tangent,))]
        found.append((*results, mean.clone()))
        assert not mean.requires_grad
        assert torch.autograd.forward_ad._current_level < 0
        with pytest.raises(RuntimeError, match=r"^Batch norm got a batched tensor as input while the running_mean or"):
            torch.vmap(call)(x[None])
    for a, b in zip(*found):
        assert torch.equal(a, b)


def test_vmap_over_anything() -> None:
    x = torch.stack([exact_data((2, 3, 4, 8), torch.float32) + i for i in range(4)], 2)
    weight, bias = torch.arange(12.0).reshape(3, 4), torch.arange(12.0).reshape(4, 3)
    found = []
    for function in (F.batch_norm, torchs.batch_norm):
        mean, var = torch.zeros(4, 3), torch.ones(4, 3)

        def call(x: torch.Tensor, mean: Any, var: Any, weight: Any, bias: Any) -> torch.Tensor:
            return function(x, mean, var, weight, bias, training=True, momentum=1.0, eps=3.0)

        out = torch.vmap(call, (2, 0, 0, 1, 0), out_dims=1)(x, mean, var, weight, bias)
        bare = torch.vmap(lambda x: function(x, None, None, training=True, eps=3.0), 2)(x)
        still = torch.vmap(lambda mean: function(x[:, :, 0], mean, torch.ones(3), eps=3.0))(mean)
        found.append((out, bare, still, mean, var))
    for a, b in zip(*found):
        assert torch.equal(a, b)
    turned = torch.ones(3, 4)  # torch 2.13 leaves running statistics alone that are batched along another axis
    torch.vmap(lambda x, var: F.batch_norm(x, C.clone(), var, eps=3.0), (2, 1))(x, turned)
    torch.vmap(lambda x, mean, var: F.batch_norm(x, mean, var, training=True, momentum=1.0, eps=3.0), (2, 0, 1))(
        x, mean, turned
    )
    assert torch.equal(turned.T, var)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled(backend: str, training: bool) -> None:
    mean, var = torch.zeros(3), torch.ones(3)

    def call(x: torch.Tensor, mean: torch.Tensor, var: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, mean, var, weight, training=training, momentum=0.5, eps=3.0)

    torch.compiler.reset()
    compiled = torch.compile(call, fullgraph=True, dynamic=True, backend=backend)
    for shape in [(2, 3, 4, 8), (4, 3, 8, 2)]:
        for x in (
            exact_data(shape, torch.float32),
            exact_data(shape, torch.float32).to(memory_format=torch.channels_last),
        ):
            found = []
            for function in (call, compiled):
                leaf, weight = x.clone().requires_grad_(), torch.tensor([1.0, 2.0, 4.0]).requires_grad_()
                own = mean.clone(), var.clone()
                out = function(leaf, *own, weight)
                found.append((out.detach(), *own, *torch.autograd.grad(out.square().sum(), (leaf, weight))))
            for a, b in zip(*found):
                assert torch.equal(a, b)
                assert a.stride() == b.stride()


def test_exported_meta_fake_and_autocast() -> None:
    x = exact_data((2, 3, 4, 8), torch.float32).to(memory_format=torch.channels_last)

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.batch_norm(x, None, None, training=True, eps=3.0)

    assert torch.equal(torch.export.export(Net(), (x,)).module()(x), Net()(x))
    assert torch.equal(torch.jit.trace(Net(), x)(x), Net()(x))
    for training in (True, False):
        on_meta = [t.to("meta") for t in (x, C, V)]
        ours, theirs = (f(*on_meta, training=training) for f in (F.batch_norm, torchs.batch_norm))
        assert (ours.shape, ours.stride(), ours.dtype) == (theirs.shape, theirs.stride(), theirs.dtype)
        with torch.autocast("cpu", torch.bfloat16):
            for dtype in DTYPES:
                given = parameters(torch.float32 if dtype.itemsize == 2 else dtype)
                assert_same(
                    lambda: run(F.batch_norm, x.to(dtype), given, training=training, momentum=1.0, eps=3.0),
                    lambda: run(torchs.batch_norm, x.to(dtype), given, training=training, momentum=1.0, eps=3.0),
                    dtype,
                )


def test_the_operator_behind_the_running_statistics() -> None:
    for batch in (torch.ones(3), torch.ones(3, requires_grad=True)):
        torch.library.opcheck(torch.ops.miniconv.average_.default, (torch.zeros(3), batch, 0.5))
    with torch.autograd.forward_ad.dual_level():
        x = torch.autograd.forward_ad.make_dual(X, X)
        mean = torch.zeros(3)
        F.batch_norm(x, mean, torch.ones(3), training=True)
        assert torch.autograd.forward_ad.unpack_dual(mean).tangent is None


def test_arrays_and_tensors_agree() -> None:
    for dtype, training in itertools.product(DTYPES[:3], [True, False]):
        x, given = exact_data((2, 3, 4, 8), dtype), parameters(dtype)
        arrays = {name: value.numpy().copy() for name, value in given.items()}
        out = F.batch_norm(x.numpy(), **arrays, training=training, momentum=1.0, eps=3.0)
        assert np.array_equal(out, F.batch_norm(x, **given, training=training, momentum=1.0, eps=3.0).numpy())
        assert all(np.array_equal(arrays[name], given[name].numpy()) for name in arrays)
    with pytest.raises(TypeError, match=r"'weight' .* must be Tensor, not ndarray"):
        F.batch_norm(X, C, V, V.numpy())
    with pytest.raises(TypeError, match=r"'running_mean' .* must be numpy.ndarray, not Tensor"):
        F.batch_norm(X.numpy(), C, V.numpy())


def test_a_later_batch_does_not_spoil_an_earlier_gradient() -> None:
    mean, var, x = C.clone(), V.clone(), X.clone().requires_grad_()
    out = F.batch_norm(x, mean, var)
    F.batch_norm(X, mean, var, training=True)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(grad, torch.autograd.grad(F.batch_norm(x, C, V).sum(), x)[0])
