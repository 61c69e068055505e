"""NumPy arrays through the same conv2d: the grids again, without tensors on the way."""

from __future__ import annotations

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import miniconv.functional as F  # noqa: E402
from miniconv.parity.grids import GRIDS, listed  # noqa: E402
from miniconv.parity.runner import run  # noqa: E402
from miniconv.parity.targets import Target  # noqa: E402

WITHOUT = ("bfloat16", "complex32")  # dtypes that NumPy does not have


def conv2d(*operands, **options):
    result = F.conv2d(*(operand.numpy() for operand in operands if operand is not None), **options)
    assert isinstance(result, np.ndarray)
    return torch.from_numpy(result)


ARRAYS = Target(conv2d, gradients=False, layout=False)  # NumPy's strides of axes of size 1 say nothing


NAMES = [name for name in GRIDS if name.startswith(("geometry", "layout", "random", "special"))]


@pytest.mark.parametrize("name", NAMES)
def test_arrays(name):
    cases = [case for case in GRIDS[name]() if case.dtype not in WITHOUT]
    report = run(random.Random(0).sample(cases, min(len(cases), 400)), ARRAYS)
    assert not report.wrong, str(report)


def test_errors_on_arrays():
    shapes = [case for case in listed("errors.txt") if not any(":" in name for name, _ in case.given)]
    report = run(shapes, ARRAYS)
    texts = [verdict for verdict in report.failures if not verdict.detail.startswith("TypeError: conv2d()")]
    assert not texts, "\n".join(map(str, texts))  # torch's own TypeErrors name the operands' types
