"""``python -m miniconv run``: the program finds what it would find without it, and the report comes last."""

import subprocess
import sys

import pytest

pytest.importorskip("torch")

from miniconv import cli
from miniconv.run import run

PROGRAM = """
import sys
import torch
import beside
conv = torch.nn.Conv2d(1, 1, 3)
conv(torch.ones(1, 1, 5, 4)).sum().backward()
print(__name__, __file__, sys.argv, sys.path[0], beside.NAME)
if sys.argv[1:2] == ["--fail"]:
    sys.exit(3)
if sys.argv[1:2] == ["--raise"]:
    raise ZeroDivisionError("as the program says")
"""
REPORT = ["  conv2d: 1", "  conv2d backward: 1", "torch computed 0"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "beside.py").write_text("NAME = 'beside'\n")
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "beside.py").write_text("NAME = 'inside'\n")
    (package / "__main__.py").write_text(PROGRAM)
    return tmp_path


def python(folder, *words):
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("program", [["program.py"], ["./program.py"], ["-m", "package"], ["-m", "program"]])
@pytest.mark.parametrize("arguments", [[], ["one", "--two", "-m", "3"], ["--fail", "--help"]])
def test_the_program_finds_what_python_gives_it(folder, program, arguments):
    alone = python(folder, *program, *arguments)
    ours = python(folder, "-m", "miniconv", "run", *program, *arguments)
    assert (ours.stdout, ours.returncode) == (alone.stdout, alone.returncode)
    lines = ours.stderr.splitlines()
    assert lines[0].startswith("miniconv computed 2 convolutions in 0.")
    assert lines[1:] == REPORT


def test_a_folder(folder):
    alone = python(folder, "package", "word")
    ours = python(folder, "-m", "miniconv", "run", "package", "word")
    assert ours.stdout == alone.stdout.replace(str(folder / "package") + " ", "package ")  # runpy leaves it as written
    assert ours.stderr.splitlines()[1:] == REPORT


def test_an_exception_of_the_program(folder):
    ours = python(folder, "-m", "miniconv", "run", "program.py", "--raise")
    assert ours.returncode == 1
    assert ours.stderr.startswith("miniconv computed 2")
    assert ours.stderr.endswith("ZeroDivisionError: as the program says\n")


def test_no_such_script(folder):
    ours = python(folder, "-m", "miniconv", "run", "nothing.py")
    assert ours.returncode == 1
    assert "nothing.py" in ours.stderr


def test_everything_is_put_back(folder, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    argv, path = sys.argv, list(sys.path)
    run(str(folder / "program.py"), ["word"])
    with pytest.raises(SystemExit) as exit_:
        run(str(folder / "program.py"), ["--fail"])
    assert exit_.value.code == 3
    with pytest.raises(ZeroDivisionError):
        cli.main(["run", str(folder / "program.py"), "--raise"])
    assert sys.argv is argv
    assert sys.path == path
    assert capsys.readouterr().err.splitlines()[1:4] == REPORT
    sys.modules.pop("beside")


def test_nothing_to_run(capsys):
    assert cli.main(["run"]) == 2
    assert "name a script" in capsys.readouterr().err
