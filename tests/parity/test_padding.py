"""pad against torch's.

Facts of torch 2.13 that these cases hold: negative padding crops, ``circular`` wraps what the crop leaves; it also
forgets channels_last; ``replicate`` has no limit; the result is never a view.
"""

# ruff: noqa: B023 - the functions made in loops are called at once
from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from miniconv import functional as F

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and same.py is no test
from same import assert_same
from window_checks import MODES, pads_every_pair_of_sides, pads_values

torchs = torch.nn.functional


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_pair_of_sides_and_layout(mode: str, dims: int) -> None:
    pads_every_pair_of_sides(F.pad, mode, dims)


def test_dtypes_and_values() -> None:
    kinds = ["uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float64", "complex64"]
    for dtype, mode in itertools.product(kinds, MODES):
        x = torch.arange(120).reshape(2, 3, 4, 5).to(getattr(torch, dtype))
        assert_same(lambda: F.pad(x, (1, 2, 3, -1), mode), lambda: torchs.pad(x, (1, 2, 3, -1), mode), (dtype, mode))
    pads_values(F.pad)


def test_what_torch_refuses() -> None:
    x = torch.arange(360.0).reshape(2, 3, 10, 6)[:, :, :8]
    sides = [
        (1,),
        (1, 2),
        (),
        (1,) * 6,
        (1,) * 8,
        (1,) * 10,
        (9, 9, 1, 1),
        (6, 0, 8, 0),
        (7, 0, 0, 0),
        (1.0, 2),
        2,
        "ab",
        None,
        (True, False),
    ]
    for mode, side in itertools.product([*MODES, "foo"], sides):
        if mode == "foo" and side in ((1,), (1,) * 10):
            continue  # two rules are broken at once
        assert_same(lambda: F.pad(x, side, mode), lambda: torchs.pad(x, side, mode), (mode, side))
    volume = torch.ones(2, 3, 2, 3, 4)
    for sides in [(1, 1, 1, 1, 2, 0), (1, 1, 3, 0, 2, 0), (4, 0, 3, 0, 0, 2)]:
        assert_same(lambda: F.pad(volume, sides, "reflect"), lambda: torchs.pad(volume, sides, "reflect"), sides)
    for mode, image in itertools.product(MODES, [x[:, :0], x[:, :, :0], x[0, 0, 0]]):
        sides = (1, 2, 3, 1)[: 2 * min(image.ndim, 2)]
        assert_same(lambda: F.pad(image, sides, mode), lambda: torchs.pad(image, sides, mode), (mode, image.shape))


VALUES = [0, -1, True, 300, -129, 1.5, 65519.0, 65520.0, 1e39, 2**63, 2**64, 10**400, -0.0, 1j, "a", None, [1]]
VALUES += [float("inf"), float("nan"), torch.tensor(2.0), torch.tensor([1.0]), np.float32(2.5), np.array(2)]


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "bool"]
)
def test_a_value_that_the_dtype_has_no_room_for(dtype: str) -> None:
    x = torch.ones(2, 3).to(getattr(torch, dtype))
    for value, side in itertools.product(VALUES, [(1, 1), (-1, 0)]):
        where = (dtype, value, side)
        assert_same(lambda: F.pad(x, side, value=value), lambda: torchs.pad(x, side, value=value), where)
        if dtype != "bfloat16" and side == (1, 1) and not isinstance(value, torch.Tensor) and value != 2**63:
            array = lambda: torch.from_numpy(F.pad(x.numpy(), side, value=value))  # noqa: E731
            assert_same(array, lambda: torchs.pad(x, side, value=value), where)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_gradients_lie_in_memory_as_torchs_do(dims: int, mode: str) -> None:
    channels_last = {2: torch.channels_last, 3: torch.channels_last_3d}.get(dims, torch.contiguous_format)
    paddings = [(1, 2, 1, 0, 0, 1), (0,) * 6, (0, 0, 1, 1, 0, 0), (-1, 2, 0, 1, 1, -2), (-1, -1, -1, 0, 0, -1)]
    count = 0
    for dtype, shape, sides in itertools.product(
        ["float32", "float16", "bfloat16", "complex64"], [(2, 3), (1, 3), (2, 1), (0, 3), (3,)], paddings
    ):
        x = torch.arange(210.0 * 6).reshape(6, 5, 6, 7)[: np.prod(shape, dtype=int)]
        x = x.reshape(*shape, 5, 6, 7)
        for _ in range(3 - dims):
            x = x[..., 0]
        images = [x, x.transpose(-1, -2) if dims > 1 else x.flip(-1)]
        if len(shape) == 2:
            images.append(x.contiguous(memory_format=channels_last))
        for image, grad_format in itertools.product(images, [torch.contiguous_format, channels_last]):
            leaf = image.to(getattr(torch, dtype)).requires_grad_()

            def gradient(module: Any) -> Any:
                out = module.pad(leaf, sides[: 2 * dims], mode)
                grad = (torch.arange(out.numel()) % 7).reshape(out.shape).to(out.dtype)
                fits = out.ndim == dims + 2
                return torch.autograd.grad(out, leaf, grad.contiguous(memory_format=grad_format) if fits else grad)

            where = (dtype, shape, sides, image.stride(), grad_format)
            assert_same(lambda: gradient(F), lambda: gradient(torchs), where)
            count += 1
    assert count == 560


def test_gradients_and_independence() -> None:
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    for mode in MODES:
        call = lambda x: F.pad(x, (1, 2, -1, 3), mode)  # noqa: E731
        assert torch.autograd.gradcheck(call, x)
        assert torch.autograd.gradgradcheck(call, x)
        assert F.pad(x, (0, 0, 0, 0), mode).data_ptr() != x.data_ptr()
        assert np.array_equal(F.pad(x.detach().numpy(), (1, 2, -1, 3), mode), call(x).detach().numpy())
