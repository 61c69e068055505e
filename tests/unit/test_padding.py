"""pad of NumPy arrays: against NumPy's own."""

from __future__ import annotations

import numpy as np
import pytest

from miniconv.functional import pad

NUMPYS = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", NUMPYS)
def test_pad_is_numpys(mode: str) -> None:
    x = np.arange(120).reshape(2, 3, 4, 5)
    expected = np.pad(x, ((0, 0), (0, 0), (3, 1), (2, 4)), mode=NUMPYS[mode])
    assert np.array_equal(pad(x, (2, 4, 3, 1), mode), expected)
    assert np.array_equal(pad(x, (0, 0, -1, -2), mode), x[:, :, 1:2])


def test_constant_takes_any_axis_and_value() -> None:
    assert pad(np.array([1, 2]), (1, 2), value=7).tolist() == [7, 1, 2, 7, 7]
    assert pad(np.ones((1, 2)), (0, 0, 1, 0)).tolist() == [[0, 0], [1, 1]]


def test_what_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Padding size should be less"):
        pad(np.ones((1, 3)), (3, 0), "reflect")
    with pytest.raises(RuntimeError, match="wrapping around more than once"):
        pad(np.ones((1, 3)), (4, 0), "circular")
    with pytest.raises(NotImplementedError, match="Unrecognised padding mode wrap"):
        pad(np.ones((1, 3)), (1, 0), "wrap")
