"""What an audit says: the table, JSON, the page in a real browser, the command and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html import escape, unescape

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from miniconv import cli  # noqa: E402
from miniconv.audit import AuditReport, audit  # noqa: E402
from miniconv.audit.table import table  # noqa: E402

nn, F = torch.nn, torch.nn.functional


def image():
    return torch.randn(2, 3, 11, 9, generator=torch.Generator().manual_seed(1))


def net():
    torch.manual_seed(5)
    first, grouped = nn.Conv2d(3, 8, (3, 2), stride=(2, 1)), nn.Conv2d(8, 8, (3, 5), padding="same", groups=4)
    return nn.Sequential(first, nn.ReLU(), grouped, grouped, nn.Conv2d(8, 2, 1), nn.ConvTranspose2d(2, 4, (2, 3)))


def sabotaged(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """conv2d that loses the last tap of grouped convolutions."""
    if groups > 1:
        weight = weight.clone()
        weight[..., -1, -1] = 0
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


@pytest.fixture(scope="module")
def report():
    return audit(net(), image(), left=sabotaged, right="torch:float64")


# ---- the report ---------------------------------------------------------------------------------------------------


def test_json_round_trip(report):
    text = report.json()
    assert AuditReport.parse(text) == report
    figures = json.loads(text)
    assert figures["passed"] is False
    assert figures["first_beyond"] == "2"
    assert sorted(row["rank"] for row in figures["layers"]) == list(range(1, 6))
    with pytest.raises(ValueError, match="this is no audit's report"):
        AuditReport.parse('{"model": "Net"}')


def test_the_table_fits_the_terminal(report, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # xdist sets it
    for width in (40, 60, 80, 100, 130, 200):
        rows = table(report, width, colour=False).splitlines()[3:10]
        assert max(map(len, rows)) <= width
        assert any("WRONG_VALUE" in row for row in rows)
    wide = table(report, None, colour=False)
    assert "inherited" in wide
    assert "conv_transpose2d" in wide
    assert "\033" not in wide
    assert "\033[31mWRONG_VALUE\033[0m" in table(report, None, colour=True)


def test_colour_and_width_of_standard_output(report, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "70")
    assert "\033[" in str(report)
    assert max(len(re.sub(r"\033\[\d+m", "", line)) for line in str(report).splitlines()[3:10]) <= 70
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033[" not in str(report)


# ---- the page -----------------------------------------------------------------------------------------------------

EARLY = """<script>
window.found = {errors: []};
addEventListener("error", event => found.errors.push(event.message));
</script>"""
LATE = """<script>
const buttons = [...document.querySelectorAll("th button")];
const column = name => buttons.findIndex(button => button.textContent === name);
const shown = name => [...document.querySelectorAll("tbody tr")].map(row => row.cells[column(name)].textContent);
found.first = shown("#");
for (const name of ["#", "layer", "bits"]) {
  buttons[column(name)].focus();
  found["reached " + name] = document.activeElement === buttons[column(name)];
  buttons[column(name)].click(); found[name + " up"] = shown(name);
  buttons[column(name)].click(); found[name + " down"] = shown(name);
}
found.sorted = [...document.querySelectorAll("[aria-sort]")].map(head => head.textContent + head.ariaSort);
found.overflow = document.documentElement.scrollWidth - innerWidth;
const sizes = [...document.querySelectorAll("td, p, li")].map(x => parseFloat(getComputedStyle(x).fontSize));
found.smallest = Math.min(...sizes);
found.bars = [...document.querySelectorAll(".bar i")].map(bar => bar.getBoundingClientRect().width);
found.loaded = performance.getEntriesByType("resource").length;
window.parent.document.title = JSON.stringify(found);
</script>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser is installed")
@pytest.mark.parametrize("width", [1300, 390])
def test_the_page_in_a_browser(report, width, tmp_path):
    page = report.html().replace("<style>", f"{EARLY}<style>").replace("</body>", f"{LATE}</body>")
    if width < 500:  # a window is wider than a phone, a frame need not be
        page = f'<title></title><iframe width="{width}" height="800" srcdoc="{escape(page)}"></iframe>'
    (tmp_path / "page.html").write_text(page)
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
    flags += ["--window-size=1300,900", f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr"]
    address = (tmp_path / "page.html").as_uri()
    done = subprocess.run(["chromium", *flags, address], capture_output=True, text=True, timeout=120, check=False)
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    found = json.loads(unescape(title[1]))
    assert found["errors"] == []
    assert "CONSOLE" not in done.stderr
    assert found["first"] == [str(layer.number) for layer in report.ranked]
    assert (found["# up"], found["# down"]) == (list("12345"), list("54321"))
    assert found["layer up"] == ["0", "2", "2#2", "4", "5"] == found["layer down"][::-1]
    assert found["bits up"][0] == "-"
    bits = [float(text) for text in found["bits up"][1:]]
    assert bits == sorted(bits)
    assert found["bits down"] == found["bits up"][::-1]
    assert found["sorted"] == ["bitsdescending"]
    assert all(found[f"reached {name}"] for name in ("#", "layer", "bits"))
    assert found["overflow"] <= 0
    assert found["smallest"] >= 14
    assert max(found["bars"]) > 60
    assert found["loaded"] == 0


def test_the_page_escapes_what_it_shows():
    class Evil(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module("<img src=x onerror=alert(1)>", nn.Conv2d(3, 4, 2))

        def forward(self, x):
            return next(self.children())(x)

    page = audit(Evil(), image(), left=lambda *a, **k: None).html()
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "http" not in page


# ---- the command --------------------------------------------------------------------------------------------------

FILE = """
import torch
from beside import CHANNELS

def factory():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, CHANNELS, (3, 2)), torch.nn.Conv2d(CHANNELS, 2, 1, bias=False))

def two():
    class Two(torch.nn.Module):
        def forward(self, x, y):
            return torch.nn.functional.conv2d(x, y)
    return Two()

def conv2d(input, weight, bias=None, **options):
    return torch.nn.functional.conv2d(input, weight, bias, **options) * (1 if bias is None else 1.01)

def fails():
    raise SystemExit("not today")

model, kernel = factory(), 3
nothing = lambda: 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "model_file.py").write_text(FILE)
    (tmp_path / "beside.py").write_text("CHANNELS = 4\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "notes.txt").write_text("no tensor\n")
    (tmp_path / "pickled.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    np.save(tmp_path / "image.npy", image().double().numpy())
    np.savez(tmp_path / "two.npz", image().numpy(), np.ones((2, 3, 2, 2)))
    np.savez(tmp_path / "named.npz", y=np.ones((2, 3, 2, 2)), x=image().numpy())
    torch.save((image(), torch.ones(2, 3, 2, 2)), tmp_path / "two.pt")
    torch.save({"x": 3}, tmp_path / "three.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("model_file", "beside", "broken"):
        sys.modules.pop(name, None)


def run(*words):
    return cli.main(["audit", *map(str, words)])


def test_the_command(folder, capsys):
    assert run("model_file.py:factory", "--shape", "1x3x9x7") == 0
    said = capsys.readouterr()
    assert said.out.startswith("Sequential: 2 convolutions, 3.36 k multiply-adds on 1x3x9x7")
    assert said.err == ""
    wrong = ["model_file:model", "--shape", "1x3x9x7", "--left", "model_file:conv2d", "--right", "torch:float64"]
    assert run(*wrong, "--json", "report.json", "--html", "report.html", "--seed", "3", "--sample", "4") == 1
    assert "model_file:conv2d is wrong in 1 of 2 layers; the first to diverge" in capsys.readouterr().out
    report = AuditReport.parse((folder / "report.json").read_text())
    assert report.first_beyond.name == "0"
    assert report.html() == (folder / "report.html").read_text()
    assert run("model_file:factory", "--input", "image.npy", "--dtype", "bfloat16", "--training") == 0
    assert "on 2x3x11x9 bfloat16, in training mode" in capsys.readouterr().out


@pytest.mark.parametrize("inputs", [["--input", "two.npz"], ["--input", "named.npz"], ["--input", "two.pt"]])
def test_inputs_from_files(folder, inputs, capsys):
    assert run("model_file:two", *inputs) == 0
    assert run("model_file:two", "--shape", "2x3x11x9", "--shape", "2x3x2x2") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model_file:factory"], "give the input either as --shape or as --input"),
        (["model_file:factory", "--shape", "1x3", "--input", "image.npy"], "give the input either as --shape or as"),
        (["model_file:factory", "--shape", "1,3"], "a shape is such as 1x3x224x224, but got '1,3'"),
        (["model_file:factory", "--shape", "1x5x9x9"], "the pass of torch failed in 0, after the input: RuntimeError"),
        (["model_file:factory", "--shape", "1x3x9x9", "--left", "unheard"], "nothing is called 'unheard'"),
        (["model_file:factory", "--shape", "1x3x9x9", "--json", "no/such/folder.json"], "No such file or directory"),
        (["model_file:factory", "--input", "absent.npy"], "absent.npy cannot be read: FileNotFoundError"),
        (["model_file:factory", "--input", "notes.txt"], "an input is a .npy, .npz or .pt file, but got notes.txt"),
        (["model_file:factory", "--input", "pickled.pt"], "pickled.pt cannot be read: "),
        (["model_file:factory", "--input", "three.pt"], "three.pt cannot be read: TypeError: it holds dict"),
        (["model_file", "--shape", "1"], "a model is file.py:factory or package.module:factory, but got 'model_file'"),
        (["absent.py:factory", "--shape", "1"], "there is no file absent.py"),
        (["broken.py:factory", "--shape", "1"], "broken.py does not import: ZeroDivisionError"),
        (["absent:factory", "--shape", "1"], "absent does not import: ModuleNotFoundError"),
        (["model_file:absent", "--shape", "1"], "model_file has no absent"),
        (["model_file:kernel", "--shape", "1"], "model_file:kernel is neither a torch.nn.Module nor a factory"),
        (["model_file:nothing", "--shape", "1"], "model_file:nothing() returned int, and no torch.nn.Module"),
        (["model_file:fails", "--shape", "1"], "model_file:fails() raised SystemExit: not today"),
        (["torch.nn:Identity", "--shape", "1"], "no convolution ran in Identity"),
    ],
)
def test_the_command_says_what_is_wrong(folder, words, said, capsys):
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith("miniconv audit: ")
    assert said in error
