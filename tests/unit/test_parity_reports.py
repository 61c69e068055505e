"""The reports of a run: JSON that comes back as it went, JUnit, Markdown, the baseline, the terminal."""

from __future__ import annotations

import io
import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any, get_type_hints

import pytest

from miniconv.parity import console, document, junit, markdown
from miniconv.parity.baseline import Baseline
from miniconv.parity.cases import Case
from miniconv.parity.report import Report
from miniconv.parity.verdict import VERDICTS, Verdict

CASE = Case.parse("conv2d n2 c4 o6 i7x9 k3x2 s2x3 bias float32 random")
WRONG = Verdict(
    "WRONG_VALUE", CASE, "output", "right with | `x` <&>\x00\x1b", (2, 6, 3, 3), eta=math.inf, bits=-math.inf,
    index=(1, 2, 0, 1), got=math.nan, want=2.5, wrong=3, target="pkg:fn", torch_bits=math.inf, seconds=0.25,
)  # fmt: skip
VERDICTS_SEEN = [
    WRONG,
    Verdict("EQUAL", replace(CASE, data="integers"), "output", shape=(2, 6, 3, 3), torch_bits=23.5),
    Verdict("UNSUPPORTED", replace(CASE, groups=2), detail="no groups | here"),
    Verdict("CRASHED", replace(CASE, dtype="float64"), detail="killed by SIGSEGV"),
    Verdict("WRONG_VALUE", replace(CASE, dtype="int64"), "output", got=2**63 - 1, want=-(2**53) - 1, wrong=1),
    Verdict("WRONG_VALUE", replace(CASE, dtype="complex64"), "output", got=complex(math.nan, -0.0), want=1 - 2j),
]


LIKELY: document.Likely = {
    "fault": "the bias is not added [missing_bias]", "case": str(CASE), "verdict": "WRONG_VALUE", "part": "output",
    "show": f"miniconv parity show '{CASE}'",
}  # fmt: skip


@pytest.fixture
def report() -> Report:
    result = Report()
    for verdict in VERDICTS_SEEN:
        result.add(verdict)
    return result


@pytest.fixture
def told(report) -> document.Document:
    return {
        "format": 1, "target": "pkg:fn", "command": "miniconv parity pkg:fn", "suite": "smoke", "ops": ["conv2d"],
        "seed": 0, "level": "drop-in", "shard": "1/2", "versions": document.versions(), "cpu": document.cpu(),
        "started": "2026-01-02T03:04:05+00:00", "seconds": 1.5, "chosen": 9, "interrupted": True,
        "counts": dict(report.counts), "cases": [document.row(verdict) for verdict in VERDICTS_SEEN],
        "likely": [LIKELY],
    }  # fmt: skip


def strict(text: str) -> Any:
    """JSON without the three words that are no JSON."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_the_document_comes_back(told, tmp_path):
    path = tmp_path / "report.json"
    document.dump(told, path)
    assert strict(path.read_text()) == told == document.load(path)
    back = [document.verdict(row) for row in document.load(path)["cases"]]
    assert list(map(repr, back)) == list(map(repr, VERDICTS_SEEN))  # NaN is unequal to itself
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert sum(line.startswith('  {"case"') for line in path.read_text().splitlines()) == len(VERDICTS_SEEN)


def test_a_document_without_cases(told, tmp_path):
    document.dump({**told, "cases": []}, tmp_path / "report.json")
    assert strict((tmp_path / "report.json").read_text())["cases"] == []


def test_the_fields_are_those_that_are_documented(told):
    assert set(told) == set(get_type_hints(document.Document))
    assert {name for row in told["cases"] for name in row} == set(get_type_hints(document.Row))
    for fields in (document.Document, document.Row):
        described = [line.strip().partition(":")[0] for line in (fields.__doc__ or "").splitlines()]
        assert set(get_type_hints(fields)) <= set(described)


@pytest.mark.parametrize(
    "value", [0.1, -0.0, math.inf, -math.inf, 5e-324, 2**53, 2**64, -(2**70), 3 + 4j, -math.inf + 0j]
)
def test_numbers_survive(value):
    assert repr(document.number(strict(json.dumps(document.written(value), allow_nan=False)))) == repr(value)


@pytest.mark.parametrize(
    ("text", "why"), [("", "no report"), ("[1]", "no report"), ("{}", "no report"), ('{"format": 9}', "has format 9")]
)
def test_what_is_no_report(text, why, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=why):
        document.load(path)


def test_junit(told, tmp_path):
    junit.write(told, tmp_path / "report.xml")
    (suite,) = ET.parse(tmp_path / "report.xml").getroot()
    assert suite.attrib | {"time": "", "timestamp": ""} == {
        "name": "conv2d", "tests": "6", "failures": "3", "errors": "1", "skipped": "1", "time": "", "timestamp": "",
    }  # fmt: skip
    assert [test.get("name") for test in suite] == [str(verdict.case) for verdict in VERDICTS_SEEN]
    ends = [next((child.tag for child in test), "") for test in suite]
    assert ends == ["failure", "", "skipped", "error", "failure", "failure"]
    assert "right with | `x` <&>" in (suite[0][0].text or "")
    assert "reproduce" in (suite[0][0].text or "")


def test_markdown_is_appended(told, report, tmp_path):
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    markdown.append(path, told, report, None)
    text = path.read_text()
    assert text.startswith("before\n## miniconv parity: `pkg:fn` is wrong\n")
    assert "**Interrupted after 6 of 9 cases.**" in text
    assert "| CRASHED | 1 |" in text
    assert f"| the bias is not added [missing_bias] | `{CASE}` WRONG_VALUE in output |" in text
    assert "| `no groups \\| here` | 1 |" in text
    rows = [line for line in text.splitlines() if line.startswith("| WRONG_VALUE `right with")]
    assert len(rows) == 1
    assert rows[0].startswith("| WRONG_VALUE `right with \\| 'x' <&>")
    assert all(line.replace("\\|", "").count("|") in (0, 3, 4) for line in text.splitlines())


def test_the_baseline(told):
    baseline = Baseline(told)
    right, other = replace(WRONG, name="EQUAL"), replace(CASE, seed=7)
    for verdict in [right, replace(VERDICTS_SEEN[1], name="SHAPE"), VERDICTS_SEEN[3], Verdict("DTYPE", other)]:
        baseline.add(verdict)
    assert [verdict.name for verdict in baseline.worse] == ["SHAPE", "DTYPE"]
    assert baseline.better == [right]
    assert baseline.still == 1
    assert str(baseline) == "against the baseline: 2 worse, 1 better, 1 wrong still"


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def say_everything(out: io.StringIO, err: io.StringIO) -> tuple[str, str]:
    """What a console says of a failure, of how far the run is, and at the end."""
    one = console.Console(out, err)
    one._every = 0.0
    one.begin()
    one.progress(1, 4, 0)
    one.failure(WRONG)
    one.say("1 wrong", right=False)
    return out.getvalue(), err.getvalue()


def test_a_terminal_gets_a_bar_and_colours(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out, err = say_everything(Terminal(), Terminal())
    assert out.startswith("\033[31m(2, 6, 3, 3) float32: WRONG_VALUE in output\033[0m\n  right with")
    assert out.endswith("\033[31m1 wrong\033[0m\n")
    assert "\r[#######......................." in err
    assert err.endswith("\r\033[K")


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_switched_off(monkeypatch, variable, value):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    out, err = say_everything(Terminal(), Terminal())
    assert "\033" not in out.replace(WRONG.detail, "")
    assert ("\033" in err) is (variable == "NO_COLOR")  # a bar without colours is a bar


def test_elsewhere_there_are_plain_lines():
    out, err = say_everything(io.StringIO(), io.StringIO())
    assert "\033" not in out.replace(WRONG.detail, "")
    assert err == "1 of 4 cases, 0 wrong, 0 s\n"


def test_many_failures_are_counted_and_not_printed():
    out = io.StringIO()
    one = console.Console(out, io.StringIO())
    for _ in range(console.SHOWN + 5):
        one.failure(WRONG)
    assert out.getvalue().count("WRONG_VALUE") == console.SHOWN
    assert out.getvalue().count("more failures") == 1


def test_a_crash_is_no_success():
    assert "CRASHED" in VERDICTS
    assert not VERDICTS_SEEN[3].passed
