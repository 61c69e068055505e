"""``miniconv explain``: what it prints, chooses and refuses, in both languages."""

from __future__ import annotations

import json
import subprocess
import sys
import types

import numpy as np
import pytest

from miniconv import ConvProblem, cli, explain
from miniconv.explain import PARTS, links
from miniconv.explain.asked import axis_names, default_element, element
from miniconv.explain.columns import cells, wrapped
from miniconv.explain.torch_text import parse_torch
from miniconv.explain.trace import part_shape
from miniconv.language import LANGUAGES

PROBLEM = "conv2d n2 c4 o6 i8x9 k3x2 s2x3 p1x0 d1x2 g2 bias float64"


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("MINICONV_LANG", "en")


def said_by(capsys, *argv: str) -> str:
    """What the command prints."""
    assert cli.main(["explain", *argv]) == 0
    return capsys.readouterr().out


def refused(capsys, *argv: str) -> str:
    """Why the command refuses."""
    assert cli.main(["explain", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("miniconv explain: ")
    return err


# ---- texts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", PARTS)
@pytest.mark.parametrize("op", ["conv2d", "conv_transpose2d"])
def test_the_table_is_aligned_and_the_same_numbers_stand_in_it(op, of):
    problem = ConvProblem.parse(f"{op} n2 c4 o6 i5x6 k3x2 s2x1 p1x0:1 d1x2 g2 bias int64")
    trace = explain(problem, at=tuple(size // 3 for size in part_shape(problem, of)), of=of)
    texts = {language: trace.text(language).splitlines() for language in LANGUAGES}
    for lines in texts.values():
        start = next(at for at, line in enumerate(lines) if line.lstrip().startswith("#"))
        rows = [line for line in lines[start:] if line.startswith("  ") and not line.lstrip().startswith(("...", "…"))]
        assert len({cells(row) for row in rows}) == 1
    digits = [[line.split() for line in lines if line.lstrip()[:1].isdigit()] for lines in texts.values()]
    assert [row[:-1] for row in digits[0][:-1]] == [row[:-1] for row in digits[1][:-1]]
    assert str(trace) == trace.text("en")


def test_the_environment_chooses_the_language(monkeypatch):
    trace = explain(ConvProblem.parse("conv1d c1 o1 i2 k2 int64"), at=(0, 0))
    monkeypatch.setenv("MINICONV_LANG", "zh")
    assert trace.text() == trace.text("zh")
    assert str(trace) == trace.text("en") != trace.text("zh")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [38, 60, 80])
def test_the_text_fits_a_width(language, width):
    problem = ConvProblem.parse("conv2d n1 c4 o6 i5x6 k3x2 s2x1 p1x0 d1x2 g2 bias float32")
    trace = explain(problem, at=(0, 4, 0, 1))
    text = trace.text(language, width=width)

    assert all(cells(line) <= width for line in text.splitlines())
    table = [line for line in trace.text(language).splitlines() if line.startswith("  ")]
    assert ("left out" in text or "省略了" in text) == (max(map(cells, table)) > width)


def test_lines_are_broken_where_they_may_be():
    assert wrapped("abc def", None) == wrapped("abc def", 7) == ["abc def"]
    assert wrapped("  abc def ghi", 9) == ["  abc def", "  ghi"]
    assert wrapped("一二三四五", 4) == ["一二", "  三", "  四", "  五"]
    assert wrapped("abcdefgh ij", 4) == ["abcdefgh", "  ij"]


# ---- what is shown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", PARTS)
@pytest.mark.parametrize("op", ["conv1d", "conv3d", "conv_transpose2d"])
def test_any_element_of_any_part(capsys, op, of):
    text = f"{op} n2 c4 o6 i7 k3 s2 p1 g2 bias int64"
    problem = ConvProblem.parse(text)
    at = tuple(size - 1 for size in part_shape(problem, of))
    assert len(axis_names(problem, of).split(",")) == len(at)
    out = said_by(capsys, text, "--of", of, "--at", ",".join(map(str, at)), "--all")
    for line in explain(problem, at=at, of=of).text("en", rows=None).splitlines():
        assert line in out.splitlines()
    assert said_by(capsys, *text.split(), "--of", of, "--at=" + ",".join(["-1"] * len(at)), "--all") == out


@pytest.mark.parametrize(
    ("text", "at", "why"),
    [
        ("conv2d n1 c1 o1 i8x9 k3 p1x0", (0, 0, 0, 0), "at the border"),
        ("conv2d n1 c1 o1 i8x9 k3 p0x0:1", (0, 0, 0, 7), "at the border"),
        ("conv2d c1 o1 i8x9 k3 s2x3 p0:2x0 d2x1", (0, 2, 0), "at the border"),
        ("conv2d n1 c1 o1 i8x9 k3 s4 p0:1", (0, 0, 1, 1), "in the middle"),
        ("conv2d n1 c3 o4 i8x9 k3", (0, 2, 3, 3), "in the middle"),
        ("conv_transpose1d n1 c3 o4 i8 k3 p1", (0, 2, 4), "in the middle"),
    ],
)
def test_the_element_that_is_shown_by_default(text, at, why):
    assert default_element(ConvProblem.parse(text), "output") == (at, why)


@pytest.mark.parametrize("pads", ["p1x0", "p0x1", "p0:1x0", "p0x0:2", "p0:3x0:1", "p0"])
@pytest.mark.parametrize("rest", ["k3x2 s2x3", "k2x3 s1x2 d3x2", "k1x4"])
def test_the_default_is_the_first_that_meets_the_border(pads, rest):
    problem = ConvProblem.parse(f"conv2d n1 c1 o1 i8x9 {pads} {rest}")
    outputs = np.ndindex(problem.output_shape)
    meets = [at for at in outputs if any(link.place != "inside" for link in links(problem, "output", at))]
    at, why = default_element(problem, "output")
    assert (at, why) == ((meets[0], "at the border") if meets else (at, "in the middle"))


def test_it_says_what_it_chose_and_left_out(capsys):
    out = said_by(capsys, PROBLEM)
    assert "output[0, 0, 0, 0]: 12 terms" in out
    assert "the first element whose window meets the border; --at N,OC,OH,OW" in out
    assert "the numbers are made up" in out
    assert "output size: h floor((8 + 1 + 1 - 3) / 2) + 1 = 4, w floor((9 + 0 + 0 - 3) / 3) + 1 = 3" in out
    assert "--all" not in out
    long = said_by(capsys, PROBLEM, "--of", "weight_grad", "--at", "1,1,1,1")
    assert "in the middle" not in long
    many = said_by(capsys, "conv2d c8 o1 i5x6 k3x3 int64")
    assert "28 of 72 terms are shown; --all shows every one" in many
    assert len(said_by(capsys, "conv2d c8 o1 i5x6 k3x3 int64", "--all").splitlines()) > 72


def test_in_chinese(capsys):
    out = said_by(capsys, PROBLEM, "--lang", "zh")
    for words in ("输出大小:h floor((8 + 1 + 1 - 3) / 2) + 1 = 4", "累加和", "填充区的零", "(偏置)", "--at N,OC,OH,OW"):
        assert words in out


def test_json(capsys):
    got = json.loads(said_by(capsys, PROBLEM, "--at", "1,5,0,2", "--json"))
    assert got == explain(ConvProblem.parse(PROBLEM), at=(1, 5, 0, 2)).document


@pytest.mark.parametrize(("no_colour", "painted"), [("", True), ("1", False)])
def test_colour_is_for_terminals(capsys, monkeypatch, no_colour, painted):
    assert "\033" not in said_by(capsys, PROBLEM)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", no_colour)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    out = said_by(capsys, PROBLEM)
    assert ("\033" in out) == painted
    if not painted:
        assert all(len(line) <= 60 for line in out.splitlines())


# ---- the caller's numbers ---------------------------------------------------------------------------------------


def arrays(problem: ConvProblem, dtype="float64") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    shapes = {
        "input": problem.input_shape,
        "weight": problem.weight_shape,
        "bias": (problem.out_channels,),
        "grad_output": problem.output_shape,
    }
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


@pytest.mark.parametrize("of", PARTS)
def test_numbers_of_a_file(capsys, tmp_path, of):
    problem = ConvProblem.parse(PROBLEM)
    given = arrays(problem)
    np.savez(tmp_path / "mine.npz", **given)
    at = tuple(size // 2 for size in part_shape(problem, of))
    out = said_by(capsys, PROBLEM, "--of", of, "--npz", str(tmp_path / "mine.npz"), "--json")
    expected = explain(
        problem, given["input"], given["weight"], given["bias"], at=at if of != "output" else (0, 0, 0, 0), of=of,
        grad_output=given["grad_output"],
    )  # fmt: skip
    assert json.loads(out) == expected.document
    assert "drawn" not in said_by(capsys, PROBLEM, "--of", of, "--npz", str(tmp_path / "mine.npz"))


def test_a_border_of_another_mode(capsys):
    out = said_by(capsys, PROBLEM, "--padding-mode", "reflect")
    assert "m: in the border, reflect" in out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight": None}, "has no array weight; it has input, bias, grad_output"),
        ({"bias": None}, "has no array bias"),
        ({"wieght": np.ones(3)}, "has wieght, but"),
        ({"input": np.ones((2, 4, 9, 8))}, "input has shape (2, 4, 9, 8)"),
        ({"grad_output": np.ones(3)}, "grad_output has shape (3,)"),
        ({"weight": np.ones((6, 2, 3, 2), complex)}, "weight is complex128"),
        ({"input": np.array([{}])}, "pickled objects are not loaded"),
    ],
)
def test_files_that_do_not_fit(capsys, tmp_path, change, words):
    given = {name: x for name, x in {**arrays(ConvProblem.parse(PROBLEM)), **change}.items() if x is not None}
    np.savez(tmp_path / "mine.npz", **given)
    assert words in refused(capsys, PROBLEM, "--npz", str(tmp_path / "mine.npz"))


def test_a_bias_that_the_problem_does_not_have(capsys, tmp_path):
    np.savez(tmp_path / "mine.npz", input=np.ones((1, 4)), weight=np.ones((1, 1, 2)), bias=np.ones(1))
    assert "has the word 'bias'" in refused(capsys, "conv1d c1 o1 i4 k2", "--npz", str(tmp_path / "mine.npz"))


@pytest.mark.parametrize(
    ("name", "content"), [("text.npz", b"no archive"), ("empty.npz", b""), ("half.npz", b"PK\3\4x" * 9)]
)
def test_files_that_are_none(capsys, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert name in refused(capsys, PROBLEM, "--npz", str(tmp_path / name))


def test_a_single_array_is_no_archive(capsys, tmp_path):
    np.save(tmp_path / "one.npy", np.ones(3))
    assert "np.savez" in refused(capsys, PROBLEM, "--npz", str(tmp_path / "one.npy"))


# ---- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["conv2d n1"], "missing"),
        (["pool2d n1 c1 o1 i4 k2"], "begins with"),
        (["conv2d n1 c1 o1 i4 k5"], "Kernel size can't be greater"),
        ([PROBLEM, "--at", "0,0"], "so an index has length 4, but got (0, 0)"),
        ([PROBLEM, "--at", "0,0,9,0"], "no element (0, 0, 9, 0)"),
        ([PROBLEM, "--at", "0,a"], "--at takes integers"),
        ([PROBLEM, "--npz", "not/there.npz"], "not/there.npz"),
        (["conv1d n0 c1 o1 i4 k3"], "and so no element"),
        (["conv1d c1 o1 i4 k3 p4", "--padding-mode", "reflect"], "reflect fills at most 3"),
        (["conv_transpose1d c1 o1 i4 k3", "--padding-mode", "reflect"], "no border to fill"),
    ],
)
def test_what_cannot_be_shown(capsys, argv, words):
    assert words in refused(capsys, *argv)


@pytest.mark.parametrize("argv", [[], [PROBLEM, "--of", "everything"], [PROBLEM, "--lang", "fr"]])
def test_arguments_that_are_not_understood(argv):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["explain", *argv])
    assert exit_.value.code == 2


def test_elements_are_read_in_many_spellings():
    assert element("0,1,-2") == element("[0, 1, -2]") == element("(0,1,-2)") == (0, 1, -2)


# ---- as torch has it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem", "mode"),
    [
        ("F.conv2d(x[1, 3, 8, 9], w[4, 3, 3, 3], stride=2)", "conv2d n1 c3 o4 i8x9 k3x3 s2x2 float32", "zeros"),
        ("conv1d(x[3,8], w[4,3,3], b[4], 2, padding=1)", "conv1d c3 o4 i8 k3 s2 p1 bias float32", "zeros"),
        ("conv1d(x[3,8], w[4,3,3], None, dilation=(2,))", "conv1d c3 o4 i8 k3 d2 float32", "zeros"),
        (
            "torch.conv_transpose2d(input=x[2,4,5,6], weight=w[4,3,3,2], output_padding=(1,0), stride=(2,3))",
            "conv_transpose2d n2 c4 o3 i5x6 k3x2 s2x3 op1x0 float32", "zeros",
        ),
        (
            "nn.Conv2d(4, 6, (3, 2), padding='same', groups=2, bias=False)(x[1,4,8,9])",
            "conv2d n1 c4 o6 i8x9 k3x2 p1x0:1 g2 float32", "zeros",
        ),
        (
            "nn.Conv1d(4, 6, 3, 1, 2, padding_mode='circular')(x[1,4,8])", "conv1d n1 c4 o6 i8 k3 p2 bias float32",
            "circular",
        ),
        (
            "ConvTranspose1d(4, 6, 3, 2, 1, 1)(x[4,8])", "conv_transpose1d c4 o6 i8 k3 s2 p1 op1 bias float32", "zeros",
        ),
    ],
)  # fmt: skip
def test_a_call_as_torch_has_it(capsys, text, problem, mode):
    got, padding_mode = parse_torch(text)
    assert (str(got), padding_mode) == (problem, mode)
    out = said_by(capsys, text)
    assert out.splitlines()[0] == problem
    assert ("circular" in out) == (mode == "circular")
    assert "circular" not in said_by(capsys, text, "--padding-mode", "zeros")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("conv2d(", "is no Python"),
        ("(1, 2)", "is no call"),
        ("F.relu(x[1])", "one of conv1d ... conv_transpose3d"),
        ("nn.Linear(3, 4)(x[1, 3])", "one of Conv1d ... ConvTranspose3d"),
        ("nn.Conv2d(3, 4, 3)", "nn.Conv2d(3, 4, 3)(x[N, C, H, W])"),
        ("nn.Conv2d(3, 4)(x[3, 8, 8])", "lacks kernel_size"),
        ("nn.Conv2d(3, 4, 3, groups=2)(x[3, 8, 8])", "cannot be split"),
        ("nn.Conv2d(3, 4, 3, strides=2)(x[3, 8, 8])", "has no argument 'strides'"),
        ("F.conv2d(x[3, 8, 8])", "lacks weight"),
        ("F.conv2d(x, w[1, 1, 3, 3])", "a tensor is written with its shape"),
        ("F.conv2d(x[3, 8, n], w[1, 1, 3, 3])", "arguments are numbers"),
        ("F.conv2d(x[3, 8, 8], w[1, 3, 3, 3], stride=__import__('os').getpid())", "arguments are numbers"),
        ("F.conv2d(x[3, 8, 8], w[1, 3, 3, 3], **options)", "has no argument None"),
        ("F.conv2d(x[3, 8, 8], w[1, 3, 3, 3], stride=1.0)", "This makes it legal: stride=1"),
        ("F.conv2d(x[8, 8, 3], w[1, 3, 3, 3])", "input.permute(2, 0, 1)"),
        ("nn.Conv2d(1, 4, 3)(x[1, 3, 8, 8])", "  in_channels=3"),
    ],
)
def test_what_is_no_call_of_torch(capsys, text, words):
    assert words in refused(capsys, text)


# ---- the page ---------------------------------------------------------------------------------------------------


def test_the_page_gets_the_callers_tensors(capsys, monkeypatch, tmp_path):
    seen = {}

    def page(problem, *operands, **options):
        seen.update(problem=problem, operands=operands, **options)
        return "<html>页</html>"

    monkeypatch.setitem(sys.modules, "miniconv.explorer", types.SimpleNamespace(page=page))
    problem = ConvProblem.parse(PROBLEM)
    given = arrays(problem)
    np.savez(tmp_path / "mine.npz", **given)
    options = ["--npz", str(tmp_path / "mine.npz"), "--padding-mode", "circular", "--lang", "zh", "--at=1,2,0,-1"]
    out = said_by(capsys, PROBLEM, *options, "--html", str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "<html>页</html>"
    assert f"已写入 {tmp_path / 'page.html'}(1 kB)" in out
    assert seen["problem"] == problem
    assert [x.tolist() for x in seen["operands"]] == [given[name].tolist() for name in ("input", "weight", "bias")]
    assert (seen["padding_mode"], seen["language"]) == ("circular", "zh")
    assert (tuple(seen["at"]), seen["of"]) == ((1, 2, 0, 2), "output")
    assert "nowhere" in refused(capsys, PROBLEM, "--html", str(tmp_path / "nowhere" / "page.html"))


def test_from_the_shell():
    done = subprocess.run(
        [sys.executable, "-m", "miniconv", "explain", PROBLEM, "--lang", "zh"], capture_output=True, check=True
    )
    assert "累加和" in done.stdout.decode("utf-8")
