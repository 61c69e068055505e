"""The command line: what it lists, what it hands on, what it returns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from miniconv import cli, demo


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for name, command in cli.COMMANDS.items():
        assert name in text
        assert command.help.split()[0] in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith("miniconv 0.")


@pytest.mark.parametrize("argv", [[], ["nothing"], ["demo", "--unknown"]])
def test_arguments_that_are_not_understood(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(argv)
    assert exit_.value.code == 2
    assert "usage: miniconv" in capsys.readouterr().err


@pytest.mark.parametrize(("argv", "out"), [(["demo"], "demo-out"), (["demo", "--out", "here/there"], "here/there")])
def test_demo_gets_its_folder_and_returns_its_status(monkeypatch, argv: list[str], out: str) -> None:
    seen = []
    monkeypatch.setattr(demo, "main", lambda folder: seen.append(folder) or 1)
    assert cli.main(argv) == 1
    assert seen == [Path(out)]


def test_demo_says_what_is_missing(monkeypatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(demo.NEEDS, "a_module_that_nobody_has", "some-package")
    assert demo.main(tmp_path / "out") == 2
    said = capsys.readouterr().out
    assert "some-package" in said
    assert "pip install 'miniconv[demo]'" in said
    assert not (tmp_path / "out").exists()


def test_python_dash_m() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "miniconv", "demo", "--help"], capture_output=True, text=True, check=True
    )
    assert "--out DIR" in done.stdout
