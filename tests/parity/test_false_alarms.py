"""Right convolutions, ours and other people's, pass within what they claim: the table of bench.false_alarms."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP))  # bench/ and examples/ are folders of the source, not installed packages

from bench import false_alarms  # noqa: E402


@pytest.mark.parametrize("row", false_alarms.ROWS, ids=lambda row: row.target)
def test_nothing_is_wrong(row):
    if row.missing:
        pytest.skip(f"needs {', '.join(row.missing)}")
    result = false_alarms.judged(row, 30)
    assert not result.wrong, str(result)
    assert result.equal + result.within_bound >= 0.4 * result.cases > 0
    if row.claims is not None and row.target.startswith("examples."):
        assert not result.counts["UNSUPPORTED"]  # what it claims it serves


def test_the_command_writes_a_table(tmp_path, capsys):
    path = tmp_path / "table.md"
    assert false_alarms.main(["--cases", "3", "--target", "numpy", "--out", str(path)]) == 0
    text = path.read_text()
    assert "| `examples.numpy_conv2d:conv2d` | conv2d |" in text
    assert "python -m bench.false_alarms --cases 3" in text
