"""What drawings are written to: SVG, PNG and GIF, in two languages, by a command; and what is refused."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from importlib import import_module

import numpy as np
import pytest

from miniconv import cli
from miniconv.draw import draw
from miniconv.draw import svg as svg_backend
from miniconv.draw.planes import fit
from miniconv.draw.scene import DARK, GROUPS, LIGHT, Scene, Text
from miniconv.draw.texts import TEXTS

NS = "{http://www.w3.org/2000/svg}"


def test_an_svg_says_what_it_is():
    drawing = draw("conv2d c1 o1 i3x4 k2x3 int64", at=(0, 1, 0))
    root = ET.fromstring(drawing.svg())
    assert root.get("role") == "img"
    assert root.find(f"{NS}title").text == root.get("aria-label") == "output of conv2d c1 o1 i3x4 k2x3 int64"
    assert root.find(f"{NS}desc").text.startswith("output[0, 1, 0] = ")
    assert "prefers-color-scheme:dark" in root.find(f"{NS}style").text
    assert "<script" not in drawing.svg()
    assert "http" not in drawing.svg().replace("http://www.w3.org/2000/svg", "")


def test_text_is_escaped():
    scene = Scene(50, 20, (Text(5, 5, 'a < b & "c"', name='x"<>', full="<&>"),))
    root = ET.fromstring(svg_backend.written(scene, 'title "<&>"', "<desc> & more"))
    node = root.find(f"{NS}text")
    assert (node.get("data-name"), node.find(f"{NS}title").text) == ('x"<>', "<&>")
    assert node.find(f"{NS}title").tail == 'a < b & "c"'
    assert (root.find(f"{NS}title").text, root.find(f"{NS}desc").text) == ('title "<&>"', "<desc> & more")


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    levels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in levels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_can_be_told_apart(colours):
    def contrast(one, other):
        low, high = sorted(luminance(colours[role]) for role in (one, other))
        return (high + 0.05) / (low + 0.05)

    assert LIGHT.keys() == DARK.keys()
    assert min(contrast("ink", ground) for ground in ("paper", "cell", "pad", "mark", "result")) >= 4.5
    assert min(contrast(role, "paper") for role in ("muted", *(f"group{g}" for g in range(GROUPS)))) >= 4.5
    assert min(contrast("faint", ground) for ground in ("paper", "cell")) >= 3
    assert contrast("strong", "cell") >= 3


def test_numbers_are_shortened_to_fit():
    for value, dtype in [
        (1e-300, "float64"),
        (-123456789, "int64"),
        (0.1, "float32"),
        (1 / 3, "float64"),
        (1.5 - 2.25j, "complex64"),
    ]:
        short, long = fit(value, dtype)
        assert len(short) <= 6
        assert long == "" or len(long) > 6
    assert fit(float("nan"), "float32") == ("nan", "")
    assert fit(-(10**30), "object")[0] == "-1e30"
    drawing = draw(np.array([[1.23456789, 1e9]]), np.array([[[1.0, -1e-5]]]), at=(0, 0))
    titled = [node for node in ET.fromstring(drawing.svg()).iter(f"{NS}text") if node.find(f"{NS}title") is not None]
    assert {node.find(f"{NS}title").text for node in titled} >= {"1.23456789", "1000000000"}


def test_sums_that_wrap_say_so():
    drawing = draw(np.array([[100, 100]], np.int8), np.array([[[2, 2]]], np.int8), at=(0, 0))
    assert drawing.description.splitlines()[0] == "output[0, 0] = -112 (wrapped to int8)"


@pytest.mark.parametrize("name", TEXTS["en"])
def test_every_text_is_there_in_both_languages(name):
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()
    fields = [
        {word for word in ("name", "value", "count", "mode", "dtype", "of", "problem") if f"{{{word}}}" in t[name]}
        for t in TEXTS.values()
    ]
    assert fields[0] == fields[1]
    assert TEXTS["en"][name] != TEXTS["zh"][name]


def test_the_language_is_the_readers(monkeypatch):
    monkeypatch.setenv("MINICONV_LANG", "zh")
    assert "乘积" in draw("conv1d c1 o1 i3 k2 int64").svg()
    assert "products" in draw("conv1d c1 o1 i3 k2 int64", language="en").svg()


@pytest.mark.parametrize("part", ["input", "weight", "bias"])
def test_a_gradient_has_two_names(part):
    problem = "conv1d c1 o1 i4 k3 bias int64"
    assert draw(problem, of=f"grad_{part}").svg() == draw(problem, of=f"{part}_grad").svg()


def test_what_is_refused(tmp_path):
    drawing = draw("conv1d c1 o1 i3 k2 int64")
    with pytest.raises(ValueError, match=r"\.svg, \.png or \.gif"):
        drawing.save(tmp_path / "x.jpg")
    with pytest.raises(IndexError, match="no element"):
        draw("conv1d c1 o1 i3 k2 int64", at=(0, 9))
    with pytest.raises(IndexError, match="no element"):
        draw("conv1d c1 o1 i3 k2 int64", feeds=(0, 3))
    with pytest.raises(ValueError, match="of is one of"):
        draw("conv1d c1 o1 i3 k2 int64", of="nothing")
    with pytest.raises(ValueError, match="and not both"):
        draw("conv1d c1 o1 i3 k2 int64", at=(0, 0), feeds=(0, 0))
    with pytest.raises(ValueError, match="grey levels are for an element of the output"):
        draw("conv1d c1 o1 i3 k2 int64", feeds=(0, 0), picture=True)
    with pytest.raises(TypeError, match="takes input, weight and perhaps bias"):
        draw(np.ones((1, 1, 3)))
    with pytest.raises(ValueError, match="padding_mode is one of"):
        draw("conv1d c1 o1 i3 k2 int64", padding_mode="nothing")


def test_pillow_is_asked_for_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    drawing = draw("conv1d c1 o1 i3 k2 int64")
    drawing.save(tmp_path / "x.svg")
    for name in ("x.png", "x.gif"):
        with pytest.raises(ImportError, match=r"pip install 'miniconv\[draw\]'"):
            drawing.save(tmp_path / name)


def test_the_command(tmp_path, capsys):
    x, w, b = np.arange(12).reshape(1, 3, 4), np.arange(1, 7).reshape(1, 1, 2, 3), np.array([5])
    np.savez(tmp_path / "n.npz", input=x, weight=w, bias=b)
    words = ["draw", "conv2d", "c1", "o1", "i3x4", "k2x3", "s1x2", "p0x1", "bias", "int64"]
    out = tmp_path / "x.svg"
    numbers = ["--npz", str(tmp_path / "n.npz")]
    assert cli.main([*words, *numbers, "--svg", str(out), "--at=0,-1,1", "--lang", "en"]) == 0
    drawing = draw(x, w, b, stride=(1, 2), padding=(0, 1), at=(0, 1, 1), language="en")
    assert out.read_text(encoding="utf-8") == drawing.svg()
    assert capsys.readouterr().out == f"{drawing.description}\n{out}: {-(-out.stat().st_size // 1000)} kB\n"
    feeding = ["--feeds", "0,1,1", "--padding-mode", "circular", "--animated", "--lang", "zh"]
    assert cli.main([*words, *feeding, "--svg", str(out)]) == 0
    expected = draw(" ".join(words[1:]), feeds=(0, 1, 1), padding_mode="circular", language="zh")
    assert out.read_text(encoding="utf-8") == expected.svg(animated=True)


@pytest.mark.parametrize("given", [None, "circular"])
def test_the_command_takes_a_layer_with_its_padding_mode(tmp_path, capsys, given):
    out = tmp_path / "x.svg"
    layer = "nn.Conv2d(1, 1, (2, 3), padding=(0, 1), padding_mode='reflect')(x[1,3,4])"
    said = [] if given is None else ["--padding-mode", given]
    assert cli.main(["draw", layer, *said, "--svg", str(out), "--lang", "en"]) == 0
    text = "conv2d c1 o1 i3x4 k2x3 p0x1 bias float32"
    assert out.read_text(encoding="utf-8") == draw(text, padding_mode=given or "reflect", language="en").svg()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("conv1d c1 o1 i3 k2", "name a file after --svg"),
        ("conv1d c1 o1 i3 k2 --svg x.png", "--svg writes a .svg file"),
        ("conv1d c1 o1 i3 k2 --svg x.svg --at 1;2", "--at takes integers"),
        ("conv1d c1 o1 i3 k2 --svg x.svg --at 0,7", "no element"),
        ("conv1d c1 o1 i1 k2 --svg x.svg", "Kernel size can't be greater than actual input size"),
        (
            "conv1d c1 --svg x.svg",
            "out_channels (as in o4), input_size (as in i8), kernel_size (as in k3) missing in",
        ),
        ("conv1d c1 o1 i3 3x3 --svg x.svg", "'3x3' is not a word of a problem, such as n1 c3 o4"),
        ("conv1d c1 o1 i3 k2 --svg x.svg --npz one.npy", "holds a single array"),
        ("conv1d c1 o1 i3 k2 --svg x.svg --npz wrong.npz", "wrong.npz has no array input, weight"),
        ("conv1d c1 o1 i3 k2 --svg x.svg --npz none.npz", "No such file"),
    ],
)
def test_the_command_says_what_is_wrong(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("one.npy", np.ones(3))
    np.savez("wrong.npz", kernel=np.ones(3))
    assert cli.main(["draw", *words.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("miniconv draw: ")
    assert said in error
    assert not (tmp_path / "x.svg").exists()


class TestRaster:
    """PNG and GIF, where Pillow is installed."""

    @pytest.fixture(autouse=True)
    def _pillow(self):
        pytest.importorskip("PIL.Image")

    def test_a_png_decodes(self, tmp_path):
        image = import_module("PIL.Image")
        for dark in (False, True):
            drawing = draw("conv2d c2 o1 i4x5 k2x3 s2x1 p1x0 g1 int64", at=(0, 1, 1))
            drawing.save(tmp_path / "x.png", dark=dark)
            with image.open(tmp_path / "x.png") as picture:
                assert picture.size == (2 * drawing.scene.width, 2 * drawing.scene.height)
                colours = DARK if dark else LIGHT
                got = {f"#{r:02x}{g:02x}{b:02x}" for _, (r, g, b) in picture.convert("RGB").getcolors(1 << 20)}
                assert {colours[role] for role in ("paper", "ink", "mark", "result", "strong", "grid", "pad")} <= got

    def test_a_gif_has_a_frame_for_every_place(self, tmp_path):
        image = import_module("PIL.Image")
        drawing = draw("conv2d c1 o2 i4x6 k2x3 s1x2 p0x1 int64", at=(1, 0, 0))
        drawing.save(tmp_path / "x.gif", seconds=0.5)
        with image.open(tmp_path / "x.gif") as picture:
            assert picture.n_frames == 9
            assert picture.size == (drawing.scene.width, drawing.scene.height)
            assert picture.info["duration"] == 500
            assert picture.info["loop"] == 0
            for frame in range(9):
                picture.seek(frame)
                got = {f"#{r:02x}{g:02x}{b:02x}" for _, (r, g, b) in picture.convert("RGB").getcolors(1 << 20)}
                assert {LIGHT[role] for role in ("paper", "ink", "mark", "result", "strong", "grid", "pad")} <= got

    def test_the_same_bytes_every_time(self, tmp_path):
        for ending in ("png", "gif"):
            for name in ("a", "b"):
                draw("conv1d c1 o1 i4 k3 p1 int64").save(tmp_path / f"{name}.{ending}")
            assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()

    def test_a_picture_in_both(self, tmp_path):
        x = np.arange(600.0).reshape(1, 20, 30)
        drawing = draw(x, np.ones((1, 1, 2, 3)), picture=True, at=(0, 3, 4))
        drawing.save(tmp_path / "x.png")
        raster = import_module("miniconv.draw.raster")
        canvas = raster.pixels(drawing.scene, 1)
        first = next(shape for shape in drawing.scene.shapes if type(shape).__name__ == "Image")
        unit = first.width / first.columns
        for row, column in ((0, 1), (19, 0), (10, 29)):
            at = int(first.x + (column + 0.5) * unit), int(first.y + (row + 0.5) * unit)
            assert canvas.getpixel(at)[0] == first.pixels[row * 30 + column]
        assert svg_backend.png(first)[:4] == b"\x89PNG"

    def test_chinese_needs_a_font(self, tmp_path):
        with pytest.raises(ValueError, match="no Chinese"):
            draw("conv1d c1 o1 i3 k2 int64", language="zh").save(tmp_path / "x.png")
