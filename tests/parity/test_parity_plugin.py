"""The pytest plugin, ``cases`` and ``check``: what a project that tests its own convolution sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import miniconv.parity  # noqa: E402
from miniconv import cli  # noqa: E402
from miniconv.parity import Case, Unsupported, check  # noqa: E402
from miniconv.parity.known import Known  # noqa: E402
from miniconv.parity.suites import choose  # noqa: E402

PLAIN = ["--parity-target", "mine:conv2d", "--parity-suite", "regressions", "-k", "float32 and not s10007x10009"]
NO_BIAS = """
from torch.nn.functional import conv2d as right

def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return right(input, weight, None, stride, padding, dilation, groups)
"""
WRONG_CASE = "conv2d n2 c8 o8 i7x9 k3x3 p1x1 g2 bias float32 channels_last random"
RIGHT_CASE = "conv2d n2 c4 o6 i7x9 k3x2 float32 transposed_weight random"


@pytest.fixture
def folder(tmp_path):
    """A project with a convolution that forgets the bias, and a test that must not be collected without being named."""
    (tmp_path / "mine.py").write_text(NO_BIAS)
    (tmp_path / "test_other.py").write_text("def test_other():\n    assert False, 'the other test ran'\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\nxfail_strict = true\n")
    return tmp_path


def run_pytest(folder, *words):
    """A pytest of its own: the status and what it printed. The plugins are named, so nothing depends on an install."""
    plugins = ["-p", "miniconv.parity.plugin", "-p", "xdist"]
    source = str(Path(miniconv.__file__).parents[1])
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "-q", "-rA", *words],
        cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_target_without_a_test_file(folder):
    status, text = run_pytest(folder, *PLAIN)
    assert status == 1, text
    assert f"PASSED mine:conv2d::{RIGHT_CASE}" in text
    assert f"FAILED mine:conv2d::{WRONG_CASE}" in text
    assert "(2, 8, 7, 9) float32: WRONG_VALUE in output" in text
    assert f'reproduce("{WRONG_CASE}", target="mine:conv2d", level="values")' in text
    assert "1 failed, 18 passed" in text
    assert "the other test ran" not in text
    assert "Traceback" not in text
    status, text = run_pytest(folder, *PLAIN, "--lf", "-n", "1")  # by two processes, which must see the same items
    assert (status, "1 failed in" in text) == (1, True), text
    status, text = run_pytest(folder, *PLAIN[:4], "test_other.py", "-k", "test_other or c64")
    assert "the other test ran" in text
    assert "mine:conv2d::conv2d n1 c64" in text


def test_known_divergences_in_pytest(folder):
    (folder / "known.toml").write_text(
        f'[[known]]\ncase = "{WRONG_CASE}"\nverdict = "WRONG_VALUE"\nreason = "no bias"\nlink = "https://a.example/1"\n'
        f'[[known]]\ncase = "{RIGHT_CASE}"\nverdict = "WRONG_VALUE"\nreason = "was once"\nlink = "https://a.example/2"\n'
    )
    status, text = run_pytest(folder, *PLAIN, "--parity-known", "known.toml")
    assert status == 1, text
    assert "1 failed, 17 passed" in text
    assert f"XFAIL mine:conv2d::{WRONG_CASE} - no bias (https://a.example/1)" in text
    assert f"FAILED mine:conv2d::{RIGHT_CASE}" in text
    assert "UNEXPECTED_PASS" in text
    assert "known as WRONG_VALUE, but it is right: was once" in text


ENDS = """
import os, time
from torch.nn.functional import conv2d as right

def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    if input.shape[1] == 16:
        os._exit(3)
    if bias is not None:
        time.sleep(600)
    return right(input, weight, bias, stride, padding, dilation, groups)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_target_that_ends_its_process_fails_its_test(folder):
    (folder / "mine.py").write_text(ENDS)
    case = "conv2d n2 c16 o4 i7x9 k3x3 p1x1 g2 float32 random"
    status, text = run_pytest(folder, *PLAIN, "--parity-timeout", "5")
    assert status == 1, text
    assert f"FAILED mine:conv2d::{case}" in text
    assert "CRASHED in call\n  the process ended with status 3" in text
    assert f"FAILED mine:conv2d::{WRONG_CASE}" in text
    assert "CRASHED in call\n  no answer within 5 s, in conv2d at mine.py:9" in text
    assert "2 failed, 17 passed" in text
    status, text = run_pytest(folder, *PLAIN, "--parity-here")
    assert "passed" not in text  # nothing is left that could say so


def test_refusals_are_skipped(folder):
    (folder / "mine.py").write_text(
        "from miniconv.parity import Unsupported\n"
        "def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):\n"
        "    raise Unsupported('nothing is done yet')\n"
    )
    status, text = run_pytest(folder, *PLAIN)
    assert status == 0, text
    assert "19 skipped" in text
    assert "nothing is done yet" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--parity-target", "mine:nothing"], "mine has no 'nothing'"),
        (["--parity-target", "nowhere:conv2d"], "nowhere cannot be imported"),
        ([*PLAIN, "--parity-known", "nowhere.toml"], "No such file"),
    ],
)  # fmt: skip
def test_what_cannot_be_done(folder, words, says):
    status, text = run_pytest(folder, *words)
    assert status == 4, text
    assert says in text
    assert "Traceback" not in text


def test_torch_is_missing(folder):
    (folder / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")")
    status, text = run_pytest(folder, *PLAIN)
    assert status == 4, text
    assert "ERROR: --parity: No module named 'torch'" in text


def test_in_a_test_file(folder):
    (folder / "test_mine.py").write_text(
        "import miniconv.parity, mine\n"
        "@miniconv.parity.cases('regressions', words='float32 and (c8 or c6)')\n"
        "def test_mine(case):\n"
        "    miniconv.parity.check(mine.conv2d, case)\n"
    )
    status, text = run_pytest(folder, "test_mine.py")
    assert status == 1, text
    assert f"FAILED test_mine.py::test_mine[{WRONG_CASE}]" in text
    assert "WRONG_VALUE in output" in text
    assert "1 failed, 2 passed" in text


def test_pytest_starts_without_anything_heavy(folder):
    (folder / "conftest.py").write_text(
        "import sys\n"
        "heavy = {'torch', 'numpy', 'llvmlite', 'tomllib', 'multiprocessing'} & set(sys.modules)\n"
        "assert 'miniconv.parity.plugin' in sys.modules and not heavy, heavy\n"
    )
    status, text = run_pytest(folder, "test_other.py", "-p", "no:xdist")
    assert status == 1, text
    assert "1 failed" in text


def test_the_plugin_is_declared():
    project = Path(__file__).parents[2] / "pyproject.toml"
    assert '[project.entry-points.pytest11]\nminiconv = "miniconv.parity.plugin"\n' in project.read_text()


def test_check_takes_what_is_meant_by_cases():
    right = torch.nn.functional.conv1d
    text = "conv1d n2 c4 o6 i9 k3 s2 float32"
    for cases in (text, Case.parse(text), [Case.parse(text)]):
        assert check(right, cases).equal == 1
    assert check("torch", "regressions", op="conv1d").wrong == 0
    with pytest.raises(ValueError, match="no case"):
        check(right, [])
    with pytest.raises(ValueError, match=r"cannot be called|two arguments"):
        check(lambda: 0, text)
    assert not any("_given_to_check" in name for name in sys.modules)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_check_of_a_name_outlives_the_target(folder, monkeypatch):
    (folder / "mine_ends.py").write_text(ENDS)
    monkeypatch.chdir(folder)
    cases = [RIGHT_CASE, "conv2d n2 c16 o4 i7x9 k3x3 p1x1 g2 float32", WRONG_CASE, RIGHT_CASE.replace("n2", "n3")]
    with pytest.raises(AssertionError, match=r"2 wrong(.|\n)*ended with status 3(.|\n)*no answer within 5 s"):
        check("mine_ends:conv2d", [Case.parse(text) for text in cases], timeout=5.0)
    with pytest.raises(ValueError, match="cannot be imported"):
        check("no_such_module:conv2d", RIGHT_CASE)


def test_check_says_what_is_wrong():
    def conv2d(input, weight, bias=None, **options):
        return 2 * torch.nn.functional.conv2d(input, weight, bias, **options)

    with pytest.raises(AssertionError, match=r"WRONG_VALUE in output(.|\n)*and \d+ more$") as caught:
        check(conv2d, choose("regressions", ["conv2d"])[:15])
    assert "test_check_says_what_is_wrong.<locals>.conv2d" in str(caught.value)


def test_check_skips_what_nothing_is_known_of():
    def conv2d(input, weight, bias=None, **options):
        raise Unsupported("not yet")

    with pytest.raises(unittest.SkipTest, match="not supported: not yet"):
        check(conv2d, RIGHT_CASE)


def test_check_knows(tmp_path):
    def conv2d(input, weight, bias=None, **options):
        return 2 * torch.nn.functional.conv2d(input, weight, bias, **options)

    entry = {"cases": "k3x2 and not s2x3", "verdict": "WRONG_VALUE", "reason": "doubled", "link": "none yet"}
    known = tmp_path / "known.toml"
    known.write_text("[[known]]\n" + "\n".join(f"{name} = {json.dumps(value)}" for name, value in entry.items()))
    assert check(conv2d, RIGHT_CASE, known=known).explained == {"doubled (none yet)": 1}
    with pytest.raises(AssertionError, match="WRONG_VALUE in output"):
        check(conv2d, "conv2d n2 c4 o6 i7x9 k3x2 s2x3 float32", known=known)
    with pytest.raises(AssertionError, match="UNEXPECTED_PASS"):
        check(torch.nn.functional.conv2d, RIGHT_CASE, known=known)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("known = 3", r"\[\[known\]\]"),
        ("[other]", r"\[\[known\]\]"),
        ("[[known]]\ncase = 'conv2d'", "entry 1 needs"),
        ("[[known]]\ncase='a'\ncases='b'\nverdict='c'\nreason='d'\nlink='e'", "entry 1 needs"),
        ("[[known]]\ncases='k3x2'\nverdict='EQUAL'\nreason='d'\nlink='e'", "verdict is one of"),
        ("[[known]]\ncases='k3x2'\nverdict='SHAPE'\nreason=''\nlink='e'", "not empty"),
        ("[[known]]\ncases='k3x2 or'\nverdict='SHAPE'\nreason='d'\nlink='e'", "word is missing"),
        ("[[known]]\ncase='conv2d x'\nverdict='SHAPE'\nreason='d'\nlink='e'", "not a word of a case"),
        ("[[known", "known.toml"),
    ],
)  # fmt: skip
def test_no_such_known_file(tmp_path, text, says):
    file = tmp_path / "known.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=says):
        Known.load(file)


def test_known_divergences_in_the_command(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = ["parity", "mine:conv2d", "--suite", "regressions", "-k", "float32 and c8", "--jobs", "1"]
    assert cli.main(words) == 1
    assert "1 wrong" in capsys.readouterr().out
    Path("known.toml").write_text("[[known]]\ncases='c8 and bias'\nverdict='WRONG_VALUE'\nreason='no bias'\nlink='a'\n")
    assert cli.main([*words, "--known", "known.toml"]) == 0
    assert "1 explained or refused, 0 wrong" in capsys.readouterr().out
    Path("known.toml").write_text("[[known]]\ncases='c8'\nverdict='WRONG_VALUE'\nreason='no bias'\nlink='a'\n")
    assert cli.main([*words, "--known", "known.toml"]) == 1
    assert "UNEXPECTED_PASS" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        cli.main([*words, "--known", "nowhere.toml"])
    assert "--known: [Errno 2]" in capsys.readouterr().err
