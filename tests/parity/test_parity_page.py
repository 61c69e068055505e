"""The report as a page: what it holds, that it escapes what targets said, and how it behaves in a real browser."""

from __future__ import annotations

import json
import math
import random
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("torch")

from miniconv import cli
from miniconv.parity import document, suites
from miniconv.parity.cases import Case
from miniconv.parity.page import page, write
from miniconv.parity.verdict import VERDICTS, Verdict

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and browser.py is no test

EVIL = "ValueError: </script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'> <!-- \ud800"
FAULTY = "conv2d n3 c4 o6 i7x9 k3x2 p1x2 complex64"


def told(verdicts, **more):
    counts = {name: sum(v.name == name for v in verdicts) for name in VERDICTS}
    head = {
        "format": document.FORMAT, "target": "mypkg:conv2d", "command": "miniconv parity mypkg:conv2d", "suite": "ci",
        "ops": ["conv2d"], "seed": 3, "level": "values", "shard": "", "versions": {"python": "3.11.7", "numpy": "2.4"},
        "cpu": "a processor", "started": "2026-01-02T03:04:05+00:00", "seconds": 71.25, "chosen": len(verdicts),
        "interrupted": False, "likely": [], "counts": {name: count for name, count in counts.items() if count},
    }  # fmt: skip
    return {**head, "cases": [document.row(verdict) for verdict in verdicts], **more}


def few():
    """A verdict of each kind of contents."""
    case = Case.parse("conv2d n3 c4 o6 i7x9 k3x2")
    how = {"target": "mypkg:conv2d", "level": "values", "shape": (3, 6, 5, 8)}
    grouped = Case.parse("conv2d c4 o6 i7x9 k3x2 g2 bfloat16")
    return [
        Verdict("EQUAL", case, "output", **how, torch_bits=math.inf, seconds=2e-5),
        Verdict("WITHIN_BOUND", grouped, "output", **how, eta=0.5, bits=9.0, torch_bits=8.5, seconds=0.25),
        Verdict(
            "WRONG_VALUE", Case.parse(FAULTY), "output", **how, eta=math.inf, bits=-math.inf, torch_bits=23.5,
            index=(1, 2, 3, 4), got=complex(math.nan, -1.5), want=complex(2, 0.25), wrong=7, seconds=3e-3,
        ),
        Verdict("RAISED", grouped, detail=EVIL, target="mypkg:conv2d", level="values", torch_bits=20.0),
        Verdict("UNSUPPORTED", Case.parse("conv1d c4 o6 i7 k3 int64"), detail="no int64", target="mypkg:conv2d"),
    ]  # fmt: skip


class Reader(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script":
            self.scripts[-1] += data


def embedded(text):
    """The report that a page holds."""
    return json.loads(Reader(text).scripts[0])


# ---- what the page holds -------------------------------------------------------------------------------------------


def test_every_case_is_in_the_page():
    run = told(few())
    report = embedded(page(run))
    assert report["run"] == {name: value for name, value in run.items() if name != "cases"}
    for at, row in enumerate(run["cases"]):
        values = {name: column["of"][column["at"][at]] for name, column in report["columns"].items()}
        axes = {name: column["of"][column["at"][at]] for name, column in report["axes"].items()}
        assert values == {name: value for name, value in row.items() if name not in ("axes", "op", "passed")}
        assert {name: value for name, value in axes.items() if value is not None} == row["axes"]
        assert (row["verdict"] in report["passing"]) == row["passed"]
        line = row["case"].join(report["reproduce"][row["target"]])
        assert line == str(document.verdict(row, run["level"])).splitlines()[-1].strip()


def test_nothing_is_loaded_and_every_verdict_is_explained():
    text = page(told(few()))
    elements = Reader(text).elements
    assert not [tag for tag, attributes in elements if {"src", "srcset", "action", "poster"} & set(attributes)]
    assert [attributes["href"] for _, attributes in elements if "href" in attributes] == ["data:,", "#"]
    assert not re.search(r"https?:|@import|url\(", text)
    assert re.findall("<dt>([A-Z_]+)</dt>", text) == list(VERDICTS)


def test_what_a_target_said_is_no_markup(tmp_path):
    run = told(few(), target=f"mypkg:{EVIL}{{{{report}}}}", cpu="</style><b>", command="<!--<script>")
    write(run, tmp_path / "page.html")
    reader = Reader((tmp_path / "page.html").read_text(encoding="utf-8"))
    tags = [tag for tag, _ in reader.elements]
    assert tags.count("script") == len(reader.scripts) == 2
    assert not {"img", "b"} & set(tags)
    assert "<" not in reader.scripts[0]
    assert json.loads(reader.scripts[0])["columns"]["detail"]["of"][1] == EVIL


def test_the_command_writes_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--suite", "regressions", "--op", "conv1d", "--dtype", "float32", "--jobs", "0"]
    assert cli.main(["parity", *words, "--json", "report.json", "--html", "report.html"]) == 0
    report = embedded((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert report["run"]["counts"] == json.loads((tmp_path / "report.json").read_text())["counts"]
    capsys.readouterr()


# ---- in a browser ---------------------------------------------------------------------------------------------------

MANY = 20_000


def many():
    """A run of MANY cases; those with groups are wrong."""
    cases, chance = suites.choose("full", ["conv2d"])[:MANY], random.Random(5)
    assert len(cases) == MANY
    verdicts = []
    for case in cases:
        bits, common = chance.uniform(7, 24), {"target": "mypkg:conv2d", "level": "values", "seconds": chance.random()}
        how = {"shape": case.output_shape, "bits": bits, "torch_bits": chance.uniform(7, 24), "eta": 1.0, **common}
        if case.groups > 1:
            verdicts.append(Verdict("WRONG_VALUE", case, "output", wrong=3, index=(0, 0, 0, 1), got=2.5, **how))
        elif case.data == "random":
            verdicts.append(Verdict("WITHIN_BOUND", case, "output", **how))
        else:
            verdicts.append(Verdict("EQUAL", case, "output", **{**how, "bits": math.inf, "torch_bits": math.inf}))
    return verdicts


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "large.html"
    verdicts = many()
    write(told(verdicts), path)
    assert path.stat().st_size < 300 * MANY
    return verdicts, path.as_uri()


@pytest.fixture
def small(tab, tmp_path):
    """Opens the page of a run, at its usual size."""

    def show(hash_="", **more):
        run = told(few(), **more)
        write(run, tmp_path / "small.html")
        tab.screen(1200)
        tab.open((tmp_path / "small.html").as_uri() + hash_)
        return tab

    yield show
    assert tab.errors == []
    assert {re.sub(r"/.*", "", address) for address in tab.requested} <= {"file:", "about:blank", "data:,"}


def said(tab, id_):
    return tab.run(f"document.getElementById('{id_}').textContent")


def shown(tab):
    return tab.run("[...document.querySelectorAll('#list summary code')].map(code => code.textContent)")


def test_many_cases(tab, large):
    verdicts, address = large
    wrong = [verdict for verdict in verdicts if not verdict.passed]
    for width in (1200, 390):
        tab.screen(width)
        tab.open(address)
        assert said(tab, "outcome") == f"{len(wrong):,} of {MANY:,} cases are wrong"
        assert said(tab, "chosen") == f"{MANY:,} cases"
        assert shown(tab) == [str(verdict.case) for verdict in wrong[:50]]
        assert tab.run("document.querySelectorAll('*').length") < 4000
        assert tab.run("document.documentElement.scrollWidth - innerWidth") <= 0
    assert tab.run("[...document.querySelectorAll('td, dd, p, code')].every(e => parseFloat(getComputedStyle(e)."
                   "fontSize) >= 14)")  # fmt: skip
    assert tab.run("(() => { const start = performance.now(); show(); return performance.now() - start; })()") < 2000
    tab.run("document.getElementById('after').click()")
    assert shown(tab) == [str(verdict.case) for verdict in wrong[50:100]]
    assert tab.run("location.hash") == "#page=2"
    assert tab.errors == []


def test_from_the_matrix_to_the_cases(tab, large):
    verdicts, address = large
    tab.screen(1200)
    tab.open(address)
    want = [v for v in verdicts if v.name == "WRONG_VALUE" and v.case.axes["kernel"] == "1x5"]
    label = f"{len(want):,} cases WRONG_VALUE with kernel 1x5"
    tab.run(f"document.querySelector('[aria-label=\"{label}\"]').click()")
    assert tab.run("location.hash") == "#verdict=WRONG_VALUE&kernel=1x5"
    assert said(tab, "chosen") == f"{len(want):,} of {MANY:,}".replace(" of", " cases of")
    assert shown(tab) == [str(verdict.case) for verdict in want[:50]]
    assert tab.run("document.activeElement.id") == "cases-title"
    tab.run("document.getElementById('order').value = 'bits';"
            "document.getElementById('order').dispatchEvent(new Event('change'))")  # fmt: skip
    assert shown(tab) == [str(verdict.case) for verdict in sorted(want, key=lambda v: v.bits)[:50]]
    slowest = tab.run("[...document.querySelectorAll('#slow summary code')].map(code => code.textContent)")
    assert slowest == [str(verdict.case) for verdict in sorted(want, key=lambda v: -v.seconds)[:10]]
    bins = tab.run("[...document.querySelectorAll('#bits tbody tr')].map(row => [...row.cells].slice(0, 3)"
                   ".map(cell => cell.textContent))")  # fmt: skip
    assert sum(int(here) for _, here, _ in bins) == len(want) == sum(int(torch) for _, _, torch in bins)
    for label, here, torch in bins:
        low, high = map(int, label.split(" to "))
        assert int(here) == sum(low <= verdict.bits < high for verdict in want)
        assert int(torch) == sum(low <= verdict.torch_bits < high for verdict in want)
    tab.run("new Promise(done => { addEventListener('popstate', () => done(), {once: true}); history.go(-2); })")
    assert said(tab, "chosen") == f"{MANY:,} cases"


def test_every_verdict_fits(tab, tmp_path):
    cases = [Case.parse(f"conv2d c4 o6 i7x9 k3x2 g2 s{n}x1") for n in range(1, len(VERDICTS) + 1)]
    long = "a_word_without_an_end_" * 20
    verdicts = [Verdict(name, case, detail=long, target="mypkg:conv2d") for name, case in zip(VERDICTS, cases)]
    write(told(verdicts, target=long, command=long), tmp_path / "wide.html")
    tab.open((tmp_path / "wide.html").as_uri())
    tab.run("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    for width in (320, 390, 820, 1200):
        tab.screen(width)
        assert tab.run("document.documentElement.scrollWidth - innerWidth") <= 0
        assert said(tab, "list").count(long) == len(VERDICTS)
    labels = tab.run("[...document.querySelectorAll('#verdict option')].map(option => option.value)")
    assert labels == ["", "wrong", *VERDICTS]
    assert tab.errors == []


def test_filters_in_the_address(small):
    tab = small("#words=G2+bfloat&verdict=wrong&unheard=3&kernel=9x9")
    assert shown(tab) == ["conv2d c4 o6 i7x9 k3x2 g2 bfloat16"]
    assert said(tab, "chips") == "words: G2 bfloat \u00d7verdict: wrong \u00d7"
    tab.run("document.querySelector('#chips button').click()")
    assert tab.run("location.hash") == "#verdict=wrong"
    assert len(shown(tab)) == 2
    tab.run("document.querySelector('[data-axis=dtype]').value = 'complex64';"
            "document.querySelector('[data-axis=dtype]').dispatchEvent(new Event('change'))")  # fmt: skip
    assert shown(tab) == [FAULTY]
    tab = small("#op=conv1d")
    assert shown(tab) == ["conv1d c4 o6 i7 k3 int64"]
    assert tab.run("document.getElementById('more').open")
    assert "In none of the cases" in said(tab, "bits-help")


def test_a_case_says_all_and_its_line_is_copied(small):
    tab = small("#verdict=WRONG_VALUE")
    tab.run("document.querySelector('#list summary').click()")
    text = tab.run("new Promise(done => setTimeout(() => done(document.querySelector('#list dl').innerText), 50))")
    assert "7 of 720 elements" in text
    assert "at (1, 2, 3, 4) of shape (3, 6, 5, 8): got nan - 1.5i, want 2 + 0.25i" in text
    assert "none here, 23.5 in torch" in text
    assert "inf units of u \u00b7 S" in text
    line = str(few()[2]).splitlines()[-1].strip()
    assert line in text
    tab.run("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }")
    tab.run("document.querySelector('#list button').click()")
    assert tab.run("copied") == line
    assert tab.run("document.querySelector('#list [role=status]').textContent") == "copied"
    tab.run("navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed'))")
    tab.run("document.querySelector('#list button').click()")
    assert tab.run("getSelection().toString()").split() == line.split()


def test_evil_text_does_nothing(small):
    tab = small("#verdict=RAISED", target=f"mypkg:{EVIL}")
    tab.run("document.querySelector('#list summary').click()")
    text = tab.run("new Promise(done => setTimeout(() => done(document.querySelector('#list dl').innerText), 50))")
    assert EVIL[:-1] in text
    assert EVIL[:40] in said(tab, "run")
    assert tab.run("window.harmed === undefined && document.querySelectorAll('script').length === 2")
    assert tab.run("document.querySelectorAll('img').length") == 0


def test_by_the_keyboard(small):
    tab = small()
    stops = []
    for _ in range(60):
        tab.press("Tab")
        stop = tab.run("(e => e.id || e.dataset.axis || e.dataset.verdict || e.tagName + ' ' + (e.textContent || '')"
                       ".slice(0, 30))(document.activeElement)")  # fmt: skip
        assert tab.run("document.activeElement === document.body || "
                       "parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2"), stop  # fmt: skip
        if stop.startswith("BODY"):
            break
        stops.append(stop)
    assert stops[0] == "skip"
    assert stops[1] == "BUTTON 5cases"
    assert sum(stop in VERDICTS for stop in stops) == 1, "the matrix is one stop"
    assert stops.index("words") < stops.index("verdict") < stops.index("order")
    assert sum(stop.startswith("SUMMARY") for stop in stops) == 2 + 5 + 5
    tab.run("document.querySelector('#matrix button[tabindex=\"0\"]').focus()")
    for key in ("ArrowRight", "ArrowDown", "ArrowUp", "End", "Home", "ArrowDown"):
        tab.press(key)
    label = tab.run("document.activeElement.getAttribute('aria-label')")
    assert re.fullmatch(r"\d cases? \w+ with \w+ \w+", label)
    tab.press("Enter")
    assert tab.run("document.activeElement.id") == "cases-title"
    assert said(tab, "chosen").startswith(label.split(" ")[0])
    tab.press("Tab")
    for letter in "g2":
        tab.press(letter)
    assert "words=g2" in tab.run("location.hash")


def named_nodes(tab):
    """Role and name of everything that a screen reader is told of."""
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]


def test_names_for_screen_readers(small):
    tab = small()
    named = named_nodes(tab)
    wants_name = {"button", "combobox", "searchbox", "link", "table", "search", "navigation", "columnheader"}
    wants_name |= {"rowheader", "list"}
    assert [role for role, name in named if role in wants_name and not name.strip()] == []
    assert {"main", "heading", "table", "row", "rowheader", "cell", "status"} <= {role for role, _ in named}
    assert ("table", "Parameters by verdict") in named
    assert ("combobox", "Verdict") in named
    tab.screen(390)
    assert ("table", "Parameters by verdict") in named_nodes(tab)


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(small, dark):
    tab = small()
    tab.screen(1200, dark=dark)
    colours = tab.run("""["--text", "--soft", "--good", "--bad", "--odd", "--back", "--card"].map(name => {
        const probe = document.body.appendChild(document.createElement("i"));
        probe.style.color = `var(${name})`;
        return getComputedStyle(probe).color.match(/\\d+/g).map(Number);
    })""")

    def luminance(colour):
        parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    for back in colours[5:]:
        for front in colours[:5]:
            low, high = sorted([luminance(back), luminance(front)])
            assert (high + 0.05) / (low + 0.05) >= 4.5


def test_the_likely_fault_stands_first(small):
    tab = small()
    assert tab.run("document.getElementById('likely').hidden")
    one = {
        "fault": "the bias is <b>lost</b>",
        "case": FAULTY,
        "verdict": "WRONG_VALUE",
        "part": "input_grad",
        "show": EVIL,
    }
    tab = small(likely=[one, {**one, "fault": ""}])
    first, second = tab.run("[...document.querySelectorAll('#faults li')].map(li => li.innerText)")
    assert first.startswith("the bias is <b>lost</b>: WRONG_VALUE in input grad, also on the smallest case")
    assert "</script>" in first
    assert second.startswith("No known fault gives these numbers: WRONG_VALUE")
    tab.screen(390)
    assert tab.run("document.documentElement.scrollWidth <= innerWidth")
    assert not tab.errors


def test_runs_that_did_not_end(small, tab, tmp_path):
    tab = small(chosen=90, interrupted=True)
    assert said(tab, "ended") == "Interrupted after 5 of 90 cases."
    tab = small(chosen=90)
    assert said(tab, "ended") == "Stopped after 5 of 90 cases."
    tab = small(cases=[], counts={}, chosen=90, interrupted=True)
    assert said(tab, "outcome") == "No case was judged"
    assert said(tab, "chosen") == "0 cases"
