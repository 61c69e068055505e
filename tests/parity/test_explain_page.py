"""From the command to the pinned pixel: the page that ``miniconv explain --html`` writes, in a browser."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from miniconv import cli

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and browser.py is no test

CALLS = [
    (["nn.Conv2d(3, 4, 3, stride=2, padding=1)(x[1,3,8,9])", "--at", "0,2,1,3"], "output[0, 2, 1, 3]"),
    (["conv2d n2 c4 o6 i8x9 k3x2 s2x1 p1x0:1 g2 int64", "--at=-1,5,0,-1"], "output[1, 5, 0, 8]"),
    (["conv1d c2 o4 i9 k3 d2 p2 float64", "--of", "weight_grad"], "weight_grad[2, 1, 1]"),
    (["conv_transpose1d n1 c2 o3 i5 k3 s2 op1 bias", "--of", "input_grad", "--lang", "zh"], "input_grad[0, 1, 2]"),
]


def pinned(tab, path) -> tuple[str, float]:
    """What the page says of the element that is pinned: its name and its value."""
    tab.open(path.as_uri())
    name, _, value = tab.run("document.getElementById('picked').textContent").partition(" = ")
    total = tab.run("document.getElementById('total').textContent")
    assert tab.errors == []
    number = re.match(r"-?[\d.e+-]+", value)
    assert number is not None
    assert float(number[0]) == float(total)
    return name, float(total)


@pytest.mark.parametrize(("words", "name"), CALLS)
def test_the_element_of_the_terminal_is_pinned_in_the_page(tab, tmp_path, capsys, monkeypatch, words, name):
    monkeypatch.setenv("MINICONV_LANG", "en")
    out = tmp_path / "mine.html"
    assert cli.main(["explain", *words, "--json", "--html", str(out)]) == 0
    trace = json.loads(capsys.readouterr().out)
    assert pinned(tab, out) == (name, trace["computed"])
    assert cli.main(["explain", *words]) == 0
    assert f"\n{name}" in capsys.readouterr().out


def test_the_page_has_the_callers_numbers(tab, tmp_path):
    rng = np.random.default_rng(3)
    arrays = {"input": rng.standard_normal((1, 2, 6, 5)), "weight": rng.standard_normal((3, 2, 3, 2))}
    np.savez(tmp_path / "mine.npz", **arrays)
    out = tmp_path / "mine.html"
    words = ["conv2d n1 c2 o3 i6x5 k3x2 float64", "--npz", str(tmp_path / "mine.npz"), "--at", "0,1,2,3"]
    assert cli.main(["explain", *words, "--html", str(out)]) == 0
    window = arrays["input"][0, :, 2:5, 3:5]
    name, value = pinned(tab, out)
    assert name == "output[0, 1, 2, 3]"
    assert abs(value - (window * arrays["weight"][1]).sum()) < 1e-13
