"""``miniconv parity``: whatever a target is or does, there is a verdict or one clear message, and the run goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytest.importorskip("torch")

from miniconv import cli
from miniconv.parity import document
from miniconv.parity.divergences import catalogue
from miniconv.parity.options import VERBS

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and forks are POSIX's")

GOOD = """
import torch
calls = 0

def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    global calls
    calls += 1
    AT
    return torch.nn.functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
"""
CASES = 19


def few(**more: object) -> list[str]:
    """Options for a run of CASES quick cases, in a dtype in which torch has no faults."""
    return [
        "--suite", "regressions", "--op", "conv2d", "--dtype", "float32", "--jobs", "1", "--timeout", "20",
        "-k", "not s10007x10009",
        *(word for name, value in more.items() for word in (f"--{name.replace('_', '-')}", str(value))),
    ]  # fmt: skip


@pytest.fixture
def target(tmp_path, monkeypatch, request):
    """Writes a module in the current folder whose conv2d is right, but for a statement in it; returns its text."""
    monkeypatch.chdir(tmp_path)
    name = f"target_{abs(hash(request.node.name))}"
    monkeypatch.delitem(sys.modules, name, raising=False)

    def write(at: str = "pass", source: str = GOOD) -> str:
        Path(f"{name}.py").write_text(source.replace("    AT", "\n".join(f"    {line}" for line in at.splitlines())))
        return f"{name}:conv2d"

    return write


def run(capfd, *words: object) -> tuple[int, dict[str, int], str]:
    """The status of a run, its counts, and what it printed."""
    try:
        status = cli.main(["parity", *map(str, words), "--json", "report.json"])
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    said = capfd.readouterr()
    counts = json.loads(Path("report.json").read_text())["counts"] if Path("report.json").exists() else {}
    return status, counts, said.out + said.err


def rows() -> list[document.Row]:
    """What the last run said of each case."""
    return document.load(Path("report.json"))["cases"]


def test_a_right_target(target, capfd):
    status, counts, said = run(capfd, target(), *few())
    assert status == 0
    assert set(counts) == {"EQUAL", "WITHIN_BOUND", "EXPLAINED"} or set(counts) == {"EQUAL", "WITHIN_BOUND"}
    assert " 0 wrong" in said
    assert all(row["seconds"] > 0 for row in rows())
    assert any(row["torch_bits"] not in (None, "inf") for row in rows())


def test_miniconv_itself_in_two_children_and_in_none(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    seen = []
    for jobs in (2, 0):
        words = ["--suite", "regressions", "-k", "not (s10007x10009 or bfloat16)"]
        status, counts, _ = run(capfd, "--jobs", jobs, *words)
        assert (status, sum(counts.values()) > 30) == (0, True)
        seen.append([(row["case"], row["verdict"], row["bits"]) for row in rows()])
    assert seen[0] == seen[1]  # the order of the suite, whoever was faster
    assert {row["op"] for row in rows()} == {f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)}


@posix
@pytest.mark.parametrize(
    ("at", "detail"),
    [
        ("import ctypes; ctypes.string_at(0)", "killed by SIGSEGV, in string_at at __init__.py:"),
        ("os.abort()", "killed by SIGABRT, in conv2d at "),
        ("os._exit(0)", "the process ended with status 0"),
        ("os._exit(7)", "the process ended with status 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
        ("time.sleep(60)", "no answer within 2 s, in conv2d at "),
        ("os.kill(os.getpid(), signal.SIGSTOP)", "no answer within 2 s"),
        ("os.closerange(3, 100)", "the process ended with status 1"),
    ],
)
def test_a_target_that_ends_its_process(target, capfd, at, detail):
    text = target(f"import os, signal, time\nif len(weight) == 16:\n    {at}")
    status, counts, said = run(capfd, text, *few(timeout=2))
    assert status == 1
    assert counts["CRASHED"] == 2
    crashed = [row for row in rows() if row["verdict"] == "CRASHED"]
    assert all(row["detail"].startswith(detail) for row in crashed), crashed
    assert detail in said
    assert counts["EQUAL"] + counts["WITHIN_BOUND"] == CASES - 2  # the run went on


@posix
@pytest.mark.parametrize(
    ("at", "verdict", "detail"),
    [
        ("raise SystemExit(3)", "RAISED", "SystemExit: 3"),
        ("if groups == 2: raise KeyboardInterrupt", "RAISED", "KeyboardInterrupt: "),
        ("raise BaseException('of its own')", "RAISED", "BaseException: of its own"),
        ("return None", "DTYPE", "None"),
        ("return [1.0, 2.0]", "DTYPE", "list"),
        ("return input", "SHAPE", "torch gives"),
        ("if 0 not in input.stride(): input.data.add_(1)", "INPUT_MODIFIED", "memory"),
        ("if input.shape[-1] == 9: weight = weight + 1", "WRONG_VALUE", ""),
    ],
)
def test_a_target_that_does_wrong(target, capfd, at, verdict, detail):
    status, counts, _ = run(capfd, target(at), *few(stop_after=3))
    assert status == 1
    assert counts[verdict] == 3, counts
    assert all(detail in row["detail"] for row in rows() if row["verdict"] == verdict)


@posix
@pytest.mark.parametrize(
    "at",
    [
        "print('spoilt' * 1000); print('spoilt', file=sys.stderr); os.write(1, b'spoilt')",
        "sys.stdout.close()",
        "os.fork()",
        "os.fork() or sys.exit()",
        "os.fork() or time.sleep(1000)",
        "warnings.warn('spoilt')",
        "sys.setrecursionlimit(150)",
    ],
)
def test_a_target_with_manners_of_its_own(target, capfd, at):
    text = target(f"import os, sys, time, warnings\nif calls % 9 == 0:\n    {at}")
    status, counts, said = run(capfd, text, *few())
    assert (status, sum(counts.values())) == (0, CASES), said
    assert "spoilt" not in said


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ImportError('no GPU here')", "cannot be imported: ImportError: no GPU here"),
        ("raise SystemExit(4)", "cannot be imported: SystemExit: 4"),
        ("def conv2d(:", "cannot be imported: SyntaxError"),
        ("import os; os._exit(9)", "while it was imported and tried: the process ended with status 9"),
        ("import ctypes; ctypes.string_at(0)", "while it was imported and tried: killed by SIGSEGV"),
        ("import time; time.sleep(100)", "while it was imported and tried: no answer within 10 s"),
        ("def other(): pass", "has no 'conv2d'"),
        ("conv2d = 3", "cannot be called: it is of type int"),
        ("def conv2d(input): pass", "weight"),
        ("def conv2d(): pass", "weight"),
    ],
)
def test_what_cannot_be_a_target(target, capfd, source, message):
    status, counts, said = run(capfd, target(source=source), *few(timeout=1))
    assert (status, counts) == (2, {})
    assert message in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing_of_the_kind:conv2d"], "cannot be imported: ModuleNotFoundError"),
        (["nothing_of_the_kind"], "nothing_of_the_kind"),
        (["--suite", "huge"], "invalid choice: 'huge'"),
        (["--op", "conv4d"], "invalid choice: 'conv4d'"),
        (["--dtype", "float31"], "invalid choice: 'float31'"),
        (["--shard", "3/2"], "a shard is i/n"),
        (["-k", "bias and"], "a word is missing"),
        (["-k", "nothing"], "no case to judge"),
        (["--suite", "models", "--op", "conv1d"], "no case to judge"),
        (["--jobs", "-1"], "--jobs is 0 or more"),
        (["--timeout", "0"], "--timeout is 0.01 or more"),
        (["--timeout", "nan"], "--timeout is 0.01 or more"),
        (["--seed", "-1"], "--seed is 0 or more"),
        (["--stop-after", "0"], "--stop-after is 1 or more"),
        (["--junit", "nowhere/report.xml"], "--junit nowhere/report.xml: there is no such folder"),
        (["--summary", "."], "--summary .: there is no such folder"),
        (["--baseline", "nowhere.json"], "--baseline: "),
        (["--unknown"], "unrecognized arguments: --unknown"),
        (["divergences", "of-none"], "no entry of-none"),
    ],
)
def test_words_that_are_not_understood(tmp_path, monkeypatch, capfd, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        sys.exit(
            cli.main(["parity", *words, *([] if words[0] in VERBS else ["--jobs", "1"] * ("--jobs" not in words))])
        )
    assert exit_.value.code == 2
    assert message in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_report_at_once(target, capfd):
    words = ["--junit", "report.xml", "--summary", "summary.md", "--shard", "1/2"]
    status, counts, said = run(capfd, target("weight = weight * (1 + (groups > 1))"), *few(), *words)
    assert status == 1
    assert sum(counts.values()) == (CASES + 1) // 2
    told = document.load(Path("report.json"))
    assert (told["suite"], told["ops"]) == ("regressions", ["conv2d"])
    assert told["chosen"] == (CASES + 1) // 2
    assert not told["interrupted"]
    assert "--shard 1/2" in told["command"]
    assert told["versions"]["torch"]
    wrong = [row for row in told["cases"] if not row["passed"]]
    assert {row["axes"]["groups"] for row in wrong} == {"2"}
    suites = ET.parse("report.xml").getroot()
    assert [suite.get("failures") for suite in suites] == [str(len(wrong))]
    assert f"is wrong\n\nregressions (conv2d), part 1/2, level {told['level']}" in Path("summary.md").read_text()
    assert f"{len(wrong)} wrong" in said


def test_a_failure_is_made_small_and_its_fault_named(target, capfd):
    status, _, said = run(capfd, target("weight = weight.flip(-1, -2)"), *few())
    assert status == 1
    assert "smallest: conv2d c1 o1" in said or "smallest: conv2d n1 c1 o1" in said
    assert "likely fault: the kernel is flipped" in said
    assert re.search(r"miniconv parity show 'conv2d .*' --target \S+ --level values", said)


def test_a_target_that_dies_while_a_failure_is_made_small(target, capfd):
    dies = "if input.shape[1] == 1: os._exit(3)\nweight = weight.flip(-1, -2)"
    status, _, said = run(capfd, target(dies), *few())
    assert status == 1
    assert "smallest: " in said


def test_the_baseline(target, capfd):
    assert run(capfd, target("weight = weight * (1 + (groups > 1))"), *few())[0] == 1
    Path("report.json").rename("before.json")
    status, _, said = run(capfd, target("weight = weight * (1 + (groups > 1))"), *few(baseline="before.json"))
    assert status == 0
    assert "0 worse, 0 better, 5 wrong still" in said
    status, _, said = run(capfd, target("weight = weight * (1 + (len(input) == 4))"), *few(baseline="before.json"))
    assert status == 1
    assert "1 worse, 5 better, 0 wrong still" in said
    assert said.count("WRONG_VALUE in output") == 2  # the case, and the smallest like it


@posix
def test_ctrl_c_writes_the_report_of_what_ran(target):
    text = target("if input.shape[-1] == 9:\n    import time; open('at', 'a').write('.'); time.sleep(0.2)")
    program = """
import signal, sys
from miniconv.cli import main
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background inherits that it is ignored
    sys.exit(main(["parity", *sys.argv[1:]]))
"""
    Path("program.py").write_text(program)
    words = [sys.executable, "program.py", text, *few(json="report.json", junit="report.xml", summary="summary.md")]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(600):
        if Path("at").exists() and len(Path("at").read_text()) > 7:
            break
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 130, said
    told = document.load(Path("report.json"))
    assert told["interrupted"]
    assert 5 <= len(told["cases"]) == sum(told["counts"].values()) < told["chosen"] == CASES
    assert f"interrupted after {len(told['cases'])} of {CASES} cases" in said
    assert "Traceback" not in said
    assert ET.parse("report.xml").getroot()
    assert "**Interrupted after" in Path("summary.md").read_text()


def test_as_a_program(target):
    """The console script and ``python -m`` find what lies in the current folder; help comes without torch."""
    text = target()
    words = [text, "--jobs", "1", "--suite", "regressions", "--dtype", "float32", "-k", "n1"]
    script = "import sys; from miniconv.cli import main; sys.path.remove(''); sys.exit(main())"
    for program in (["-m", "miniconv"], ["-c", script]):
        done = subprocess.run([sys.executable, *program, "parity", *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert f"{text}, regressions (conv2d)" in done.stdout
        assert "\033" not in done.stdout
    code = """
import sys
from miniconv.cli import main
try:
    main(["parity", "--help"])
finally:
    assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "divergences" in done.stdout


def test_the_catalogue_is_printed(capfd):
    assert cli.main(["parity", "divergences"]) == 0
    said = capfd.readouterr().out
    for entry in catalogue():
        assert f"{entry.id} (torch {', '.join(entry.versions)})" in said
        assert all(case in said for case, _ in entry.examples)
    assert cli.main(["parity", "divergences", "integer-dilation"]) == 0
    said = capfd.readouterr().out
    assert said.startswith("integer-dilation (torch 2.13")
    assert "complex" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_stays_flat(target, capfd):
    text = target("open('size', 'a').write(open('/proc/self/statm').read().split()[1] + '\\n')")
    status, _, said = run(capfd, text, *few(), "--suite", "smoke", "-k", "n1 and integers or bias")
    assert status == 0, said
    pages = list(map(int, Path("size").read_text().split()))
    assert len(pages) > 300
    grown = (max(pages[len(pages) // 2 :]) - max(pages[: len(pages) // 2])) * os.sysconf("SC_PAGESIZE")
    assert grown < 16 * 2**20  # torch keeps the kernels of its last thousand shapes
