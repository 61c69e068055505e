"""The demonstration's frame: the table, the progress lines. Its steps are in tests/parity/test_demo.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from miniconv import demo
from miniconv.demo.progress import progress


def test_the_table_shows_each_step_once_and_marks_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    table = demo.Table()
    with table.step("first") as figures:
        figures.append(demo.Figure("apples", "3"))
        figures.append(demo.Figure("pears", "4"))
    assert table.right
    with table.step("second") as figures:
        figures.append(demo.Figure("stones", "1", right=False))
    assert not table.right
    lines = str(table).splitlines()
    assert [line.split() for line in lines[2:4]] == [["1.", "first", "0.0", "s", "apples", "3"], ["pears", "4"]]
    assert lines[4].endswith("stones  1   <- not as it must be")
    assert lines[-1].startswith("Total time: ")
    assert capsys.readouterr().out.splitlines() == ["", "== 1. first", "", "== 2. second"]


def test_progress_is_four_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("walking", "steps") as report:
        for done in range(1, 2001):
            report(done, 2000)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"walking: {done:,} of 2,000 steps" for done in (500, 1000, 1500, 2000)]


def test_progress_with_fewer_than_four_steps(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("walking", "steps") as report:
        report(1, 1)
    assert capsys.readouterr().out == "walking: 1 of 1 steps\n"


def test_progress_is_a_bar_where_somebody_watches(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress("walking", "steps") as report:
        report(1, 4)
        report(4, 4)
    said = capsys.readouterr()
    assert said.out == ""
    assert "walking: 100%" in said.err
    assert "4/4" in said.err


def test_importing_the_frame_imports_no_step() -> None:
    code = "import sys, miniconv.demo.predict; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.home())
    assert done.stdout.split() == ["False", "False"]
