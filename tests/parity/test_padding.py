"""pad against torch's.

Facts of torch 2.13 that these cases hold: negative padding crops, ``circular`` wraps what the crop leaves; it also
forgets channels_last; ``replicate`` has no limit; the result is never a view.
"""

# ruff: noqa: B023 - the functions made in loops are called at once
from __future__ import annotations

import itertools
import sys
from pathlib import Path

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


def test_gradients_and_independence() -> None:
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    for mode in MODES:
        call = lambda x: F.pad(x, (1, 2, -1, 3), mode)  # noqa: E731
        assert torch.autograd.gradcheck(call, x)
        assert torch.autograd.gradgradcheck(call, x)
        assert F.pad(x, (0, 0, 0, 0), mode).data_ptr() != x.data_ptr()
        assert np.array_equal(F.pad(x.detach().numpy(), (1, 2, -1, 3), mode), call(x).detach().numpy())
