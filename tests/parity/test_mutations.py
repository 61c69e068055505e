"""The published table of sabotages: it lists all of them, and each is caught by the very case that it names."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2]))  # bench/ is a folder of the source, not an installed package

from bench import mutations  # noqa: E402
from bench.mutations import SABOTAGES, SLIP  # noqa: E402

TEXT = mutations.RESULT.read_text(encoding="utf-8")
ROWS = {row.name: row for row in mutations.published(TEXT)}


@pytest.fixture(autouse=True)
def _torch_may_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_the_table_has_every_sabotage():
    assert list(ROWS) == list(SABOTAGES)
    assert len(ROWS) >= 100
    assert f"{len(SABOTAGES)} of {len(SABOTAGES)} sabotaged convolutions are caught" in TEXT


def test_at_least_half_were_reported():
    reported = [name for name in SABOTAGES if SABOTAGES[name].source != SLIP]
    assert all(mutations.THREAD.fullmatch(SABOTAGES[name].source) for name in reported)
    assert 2 * len(reported) >= len(SABOTAGES)
    assert f"The bug of {len(reported)} was found" in TEXT


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_sabotage_is_caught_by_the_case_that_the_table_names(name):
    row = ROWS[name]
    assert (row.op, row.source) == (SABOTAGES[name].op, mutations.source(name))
    assert str(mutations.suite(row.op)[row.place - 1]) == row.case
    verdict = mutations.catch(name, row.place)
    assert verdict is not None
    assert row.verdict == (verdict.name if verdict.part == "call" else f"{verdict.name} in {verdict.part}")


@pytest.mark.parametrize("name", ["swapped_strides", "bias_of_a_transposed_signal_left_out"])
def test_no_earlier_case_catches_it(name):
    assert not any(mutations.catch(name, place) for place in range(1, ROWS[name].place))


def test_what_passes_for_the_wrong_reason_is_no_catch():
    """The right convolution fails where torch's three real products do: such a case catches nothing."""
    place = next(at for at in range(1, 100) if not mutations.right("conv2d", at))
    assert mutations.catch("flipped_kernel", place) is None


def test_the_command(tmp_path, capsys):
    path = tmp_path / "table.md"
    assert mutations.main(["--cases", "3", "--sabotage", "swapped_strides", "--out", str(path)]) == 0
    (row,) = mutations.published(path.read_text())
    assert row._replace(caught=0) == ROWS["swapped_strides"]._replace(caught=0)
    assert "1 of 1 sabotaged convolutions are caught" in path.read_text()
    assert "swapped_strides" in capsys.readouterr().out


def test_one_that_passes_is_told(tmp_path, monkeypatch, capsys):
    wanted = SABOTAGES["swapped_strides"]
    monkeypatch.setitem(SABOTAGES, "swapped_strides", wanted._replace(target=mutations.base("conv2d")))
    few = mutations.suite("conv2d")[:5]
    monkeypatch.setattr(mutations, "suite", lambda op: few)
    assert mutations.main(["--cases", "5", "--sabotage", "swapped_strides", "--out", str(tmp_path / "table.md")]) == 1
    assert "swapped_strides: not caught" in capsys.readouterr().out
    assert "0 of 1" in (tmp_path / "table.md").read_text()
