"""Drawings: their numbers are the trace's and the definition's, what is marked takes part, and files are readable."""

from __future__ import annotations

import itertools
import random
import sys
import xml.etree.ElementTree as ET
from importlib import import_module

import numpy as np
import pytest

from miniconv import ConvProblem, cli, explain, reference
from miniconv.draw import draw
from miniconv.draw import svg as svg_backend
from miniconv.draw.layout import SIDE
from miniconv.draw.planes import fit
from miniconv.draw.scene import DARK, GROUPS, LIGHT, Line, Rect, Scene, Text, text_width
from miniconv.draw.texts import TEXTS
from miniconv.explain import PARTS, feeds
from miniconv.explain.sums import operands_of
from miniconv.explain.trace import part_shape

NS = "{http://www.w3.org/2000/svg}"
MODES = ("zeros", "reflect", "replicate", "circular")


def problems(count: int, *, transposed: bool, seed: int) -> list[ConvProblem]:
    """Small problems of every rank, with everything that a problem can have."""
    rng = random.Random(seed)
    found: list[ConvProblem] = []
    while len(found) < count:
        dims, groups = rng.choice((1, 1, 2, 2, 2, 3)), rng.choice((1, 1, 2, 3))
        draw = [
            tuple(rng.choice(values) for _ in range(dims))
            for values in ((2, 3, 4, 5) if dims < 3 else (2, 3), (1, 2, 3), (1, 2, 3))
        ]
        pads = tuple((rng.randrange(3), rng.randrange(3)) for _ in range(dims))
        dilation = tuple(rng.choice((1, 1, 2)) for _ in range(dims))
        extra = tuple(rng.randrange(max(s, d)) for s, d in zip(draw[2], dilation)) if transposed else ()
        channels = groups * rng.choice((1, 2)), groups * rng.choice((1, 2))
        try:
            found.append(
                ConvProblem(
                    rng.choice((None, 1, 2)), *channels, draw[0], draw[1], draw[2], pads, dilation, groups, extra,
                    transposed, rng.random() < 0.5, rng.choice(("int64", "float32")),
                )
            )  # fmt: skip
        except RuntimeError:
            continue
    return found


PROBLEMS = [*problems(18, transposed=False, seed=2), *problems(18, transposed=True, seed=3)]


def element_of(problem, part, rng):
    """A random index of a part."""
    return tuple(rng.randrange(size) for size in part_shape(problem, part))


def numbers_in(text: str) -> dict[str, str]:
    """Every named number of an SVG, in full."""
    found: dict[str, str] = {}
    for node in ET.fromstring(text).iter(f"{NS}text"):
        name = node.get("data-name")
        if name and not name.startswith("product"):
            title = node.find(f"{NS}title")
            found[name] = node.text if title is None else title.text
            assert node.text is not None or title is not None
    return found


def products_in(text: str) -> list[str]:
    """The products of an SVG, in full, in the order in which they are drawn."""
    found = []
    for node in ET.fromstring(text).iter(f"{NS}text"):
        if node.get("data-name", "").startswith("product"):
            title = node.find(f"{NS}title")
            found.append(node.text if title is None else title.text)
    return found


def full(value, dtype):
    """A number as it is written where there is room."""
    short, long = fit(value, dtype)
    return long or short


@pytest.mark.parametrize("part", PARTS)
def test_every_number_is_the_traces_or_an_operands(part):
    rng = random.Random(part)
    for problem in PROBLEMS:
        at = element_of(problem, part, rng)
        written, operands = numbers_in(draw(problem, at=at, of=part).svg()), operands_of(problem, (), None)
        trace = explain(problem, at=at, of=part)
        dtype = problem.dtype
        for term in trace.terms:
            for factor, value in zip(trace.factors, term.values):
                index = term.position if factor == "input" else term.index_of(factor)
                assert written[f"{factor}{list(index)}"] == full(value, dtype)
        lead = at[: len(at) - (problem.spatial_dims if part != "bias_grad" else 1)]
        for place in np.ndindex(part_shape(problem, part)[len(lead) :]):
            expected = explain(problem, at=(*lead, *place), of=part).computed
            assert written[f"{part}{[*lead, *place]}"] == full(expected, dtype)
        for name, value in written.items():
            tensor, _, index = name.rstrip("]").partition("[")
            index = tuple(map(int, index.split(", ")))
            if (
                tensor in operands
                and tensor != "bias"
                and all(0 <= i < size for i, size in zip(index, operands[tensor].shape))
            ):
                assert value == full(operands[tensor][index].item(), dtype)


@pytest.mark.parametrize("part", [part for part in PARTS if part != "bias_grad"])
def test_the_products_are_the_terms(part):
    rng = random.Random(part)
    for problem in PROBLEMS:
        at = element_of(problem, part, rng)
        trace = explain(problem, at=at, of=part)
        drawn = products_in(draw(problem, at=at, of=part).svg())
        assert sorted(drawn) == sorted(full(term.product, problem.dtype) for term in trace.terms)


def test_the_whole_output_is_the_definitions():
    for problem in PROBLEMS:
        operands = operands_of(problem, (), None)
        expected = reference.conv(problem, operands["input"], operands["weight"], operands.get("bias"))
        at = (0,) * expected.ndim
        written = numbers_in(draw(problem, at=at).svg())
        lead = at[: -problem.spatial_dims - 1]
        for place in np.ndindex(expected.shape[len(lead) :]):
            index = (*lead, *place)
            assert written[f"output{list(index)}"] == full(expected[index].item(), problem.dtype)


@pytest.mark.parametrize("mode", MODES)
def test_the_border_holds_what_its_mode_says(mode):
    x = np.arange(1, 13).reshape(1, 3, 4)
    written = numbers_in(
        draw(x, np.ones((1, 1, 2, 3), int), padding=((2, 1), (1, 2)), padding_mode=mode, at=(0, 0, 0)).svg()
    )
    numpy_mode = dict(zip(MODES, ("constant", "reflect", "edge", "wrap")))[mode]
    padded = np.pad(x[0], ((2, 1), (1, 2)), mode=numpy_mode)
    for (row, column), value in np.ndenumerate(padded):
        assert written[f"input[0, {row - 2}, {column - 1}]"] == str(value)


@pytest.mark.parametrize("mode", MODES)
def test_outputs_and_gradients_with_a_filled_border(mode):
    problem = ConvProblem.parse("conv2d n1 c2 o2 i4x5 k2x3 s1x2 p1x2:1 g2 bias int64")
    for part in PARTS:
        at = tuple(size // 2 for size in part_shape(problem, part))
        written = numbers_in(draw(problem, at=at, of=part, padding_mode=mode).svg())
        lead = at[:-2] if part != "bias_grad" else ()
        for place in np.ndindex(part_shape(problem, part)[len(lead) :]):
            expected = explain(problem, at=(*lead, *place), of=part, padding_mode=mode).computed
            assert written[f"{part}{[*lead, *place]}"] == str(expected)


def cells_under(scene: Scene, fill: str) -> set[str]:
    """The names of the numbers that lie on rectangles of a colour."""
    marks = [shape for shape in scene.shapes if isinstance(shape, Rect) and shape.fill == fill and shape.layer == 1]
    return {
        text.name
        for text in scene.shapes
        if isinstance(text, Text) and text.name
        for mark in marks
        if mark.x < text.x < mark.x + mark.width and mark.y < text.y < mark.y + mark.height
    }


@pytest.mark.parametrize("part", PARTS)
def test_what_is_marked_is_what_takes_part(part):
    rng = random.Random(part)
    for problem in PROBLEMS:
        at = element_of(problem, part, rng)
        trace, scene = explain(problem, at=at, of=part), draw(problem, at=at, of=part).scene
        met = set()
        for term in trace.terms:
            for factor in trace.factors:
                index = term.position if factor == "input" else term.index_of(factor)
                met.add(f"{factor}{list(index)}")
        assert {name for name in cells_under(scene, "mark") if not name.startswith("product")} == met
        assert cells_under(scene, "result") == {f"{part}{list(at)}"}


def test_what_an_input_feeds():
    rng = random.Random(0)
    for problem, mode in itertools.product(PROBLEMS, ("zeros", "replicate")):
        if mode != "zeros" and problem.transposed:
            continue
        source = element_of(problem, "input_grad", rng)
        drawing = draw(problem, feeds=source, padding_mode=mode)
        outputs = feeds(problem, source, mode)
        marked = cells_under(drawing.scene, "mark")
        assert {name for name in marked if name.startswith("output")} == {f"output{list(o)}" for o in outputs}
        assert {name for name in marked if name.startswith("input")} == {f"input{list(source)}"}
        products = {}
        for output in outputs:
            trace = explain(problem, at=output, padding_mode=mode)
            mine = [term.product for term in trace.terms if term.input == source]
            products[f"product{list(output)}"] = sum(mine[1:], start=mine[0])
        written = {
            shape.name: shape.full or shape.text
            for shape in drawing.scene.shapes
            if isinstance(shape, Text) and shape.name.startswith("product")
        }
        assert written == {name: full(value, problem.dtype) for name, value in products.items()}


def test_pixels_that_no_window_reaches_are_crossed_out():
    for problem in PROBLEMS:
        if problem.transposed or problem.batch is not None:
            continue
        scene = draw(problem, at=(0,) * len(problem.output_shape)).scene
        crossed = set()
        names = {(round(t.x), round(t.y)): t.name for t in scene.shapes if isinstance(t, Text) and t.name}
        for line in (shape for shape in scene.shapes if isinstance(shape, Line) and not shape.arrow):
            crossed.add(names[round((line.x1 + line.x2) / 2), round((line.y1 + line.y2) / 2)])
        unfed = {f"input{list(index)}" for index in np.ndindex(problem.input_shape) if not feeds(problem, index)}
        inside = [name for name in crossed if all(0 <= i < n for i, n in zip(_index(name)[1:], problem.input_size))]
        assert set(inside) == unfed


def _index(name: str) -> tuple[int, ...]:
    """The index in a name."""
    return tuple(map(int, name.partition("[")[2].rstrip("]").split(", ")))


def test_dots_where_windows_stand():
    scene = draw("conv2d c1 o1 i7x8 k2x3 s3x2 p1x0 int64", at=(0, 0, 0)).scene
    dots = [shape for shape in scene.shapes if isinstance(shape, Rect) and shape.fill == "strong"]
    cells = {}
    for text in (shape for shape in scene.shapes if isinstance(shape, Text) and shape.name.startswith("input")):
        cells[text.name] = (text.x, text.y)
    standing = {
        name
        for name, (x, y) in cells.items()
        if any(abs(d.x - x) < SIDE and 0 < y - d.y < SIDE and x > d.x for d in dots)
    }
    assert standing == {f"input[0, {row}, {column}]" for row in (-1, 2, 5) for column in (0, 2, 4)}
    plain = draw("conv2d c1 o1 i7x8 k2x3 int64", at=(0, 0, 0)).scene
    assert not any(isinstance(shape, Rect) and shape.fill == "strong" for shape in plain.shapes)


def test_dilation_leaves_holes():
    scene = draw("conv2d c1 o1 i7x9 k2x3 d3x2 int64", at=(0, 1, 2)).scene
    marked = {name for name in cells_under(scene, "mark") if name.startswith("input")}
    assert marked == {f"input[0, {row}, {column}]" for row in (1, 4) for column in (2, 4, 6)}
    frames = [s for s in scene.shapes if isinstance(s, Rect) and s.stroke == "strong" and not s.fill]
    tap = next(s for s in scene.shapes if isinstance(s, Text) and s.name == "input[0, 2, 3]")  # a hole
    assert any(f.x < tap.x < f.x + f.width and f.y < tap.y < f.y + f.height for f in frames)


def test_groups_have_colours():
    scene = draw("conv2d c4 o6 i3x4 k2x3 g2 int64", at=(4, 0, 0)).scene
    colours = {s.text: s.colour for s in scene.shapes if isinstance(s, Text) and not s.name}
    assert [colours[f"input[{c}]"] for c in range(4)] == ["group0"] * 2 + ["group1"] * 2
    assert [colours[f"output[{c}]"] for c in range(6)] == ["group0"] * 3 + ["group1"] * 3
    assert colours["weight[4, 0]"] == colours["weight[4, 1]"] == "group1"
    assert "weight[0, 0]" not in colours


@pytest.mark.parametrize("part", PARTS)
def test_nothing_lies_outside_or_on_another(part):
    rng = random.Random(part)
    for problem in PROBLEMS:
        drawing = draw(problem, at=element_of(problem, part, rng), of=part)
        scene, cells = drawing.scene, []
        for shape in scene.shapes:
            if isinstance(shape, Rect):
                assert 0 <= shape.x <= shape.x + shape.width <= scene.width
                assert 0 <= shape.y <= shape.y + shape.height <= scene.height
                cells += [shape] if shape.layer == 0 else []
            elif isinstance(shape, Text):
                width = text_width(shape.text, shape.size, shape.mono)
                left = shape.x - {"start": 0, "middle": width / 2, "end": width}[shape.anchor]
                assert left >= 0, shape
                assert left + width <= scene.width + 1, shape
                assert shape.size / 2 <= shape.y <= scene.height - shape.size / 4
        boxes = sorted((round(c.x), round(c.y)) for c in cells)
        assert len(boxes) == len(set(boxes))
        for number in (s for s in scene.shapes if isinstance(s, Text) and s.name):
            home = [c for c in cells if c.x < number.x < c.x + c.width and c.y < number.y < c.y + c.height]
            assert len(home) == 1
            assert text_width(number.text, number.size, True) <= home[0].width + 3


def test_the_same_bytes_every_time():
    problem = PROBLEMS[0]
    first, second = (draw(problem, at=(0,) * len(problem.output_shape)) for _ in range(2))
    assert first.svg() == second.svg()
    assert first.svg(animated=True) == second.svg(animated=True)
    assert first._repr_svg_() == first.svg()
    assert first.sliding()._repr_svg_() == first.svg(animated=True)


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


def test_an_animation_has_every_place():
    drawing = draw("conv2d c1 o2 i4x6 k2x3 s1x2 p0x1 int64", at=(1, 0, 0))
    assert len(drawing.frames) == 3 * 3
    assert len({(scene.width, scene.height) for scene in drawing.frames}) == 1
    places = [cells_under(scene, "result") for scene in drawing.frames]
    assert places == [{f"output[1, {row}, {column}]"} for row in range(3) for column in range(3)]
    root = ET.fromstring(drawing.svg(animated=True))
    moving = {node.get("class").split()[-1] for node in root.iter(f"{NS}g")}
    assert len(moving) == 9
    style = root.find(f"{NS}style").text
    assert "prefers-reduced-motion" in style
    assert draw("conv1d c1 o3 i3 k2 bias int64", of="bias_grad").frames[2].shapes
    with pytest.raises(ValueError, match="at most 400 frames, but this one would have 441"):
        draw("conv2d c1 o1 i21x21 k1 int64").frames  # noqa: B018


def test_a_transposed_convolution_is_drawn_as_its_scatter():
    problem = ConvProblem.parse("conv_transpose2d c2 o2 i3x2 k3x2 s2x3 p1x0 int64")
    assert draw(problem).svg() == draw(problem, feeds=(0, 0, 0)).svg()
    assert draw(problem, at=(0, 0, 0)).svg() != draw(problem).svg()


@pytest.mark.parametrize(
    "text", ["conv_transpose2d c1 o1 i2x3 k2x3 s1x2 bias int64", "conv2d c1 o1 i3x3 k2x2 p1x0 int64"]
)
def test_in_an_animation_the_inputs_are_added_one_after_another(text):
    problem = ConvProblem.parse(text)
    operands = operands_of(problem, (), None)
    frames = draw(problem, feeds=(0, 0, 0)).frames
    assert len(frames) == operands["input"].size
    for frame, source in zip(frames, np.ndindex(problem.input_shape)):
        added = operands["input"].copy()
        added.reshape(-1)[np.ravel_multi_index(source, added.shape) + 1 :] = 0  # the definition on the inputs so far
        expected = reference.conv(problem, added, operands["weight"], operands.get("bias"))
        written = {s.name: s.text for s in frame.shapes if isinstance(s, Text) and s.name.startswith("output")}
        assert written == {f"output{list(at)}": str(value) for at, value in np.ndenumerate(expected)}


def test_many_channels_stand_in_bands():
    scene = draw("conv2d c12 o1 i5x5 k3x3 int64").scene
    assert scene.width < 1300
    titles = {s.text: (s.x, s.y) for s in scene.shapes if isinstance(s, Text) and s.text.startswith("input[")}
    assert len({y for _, y in titles.values()}) > 1


def test_three_axes_are_slices():
    scene = draw("conv3d c1 o1 i3x4x5 k2x3x2 int64", at=(0, 1, 0, 0)).scene
    marked = {name for name in cells_under(scene, "mark") if name.startswith("input")}
    assert marked == {f"input[0, {d}, {r}, {c}]" for d in (1, 2) for r in range(3) for c in range(2)}


def test_pictures_have_grey_levels():
    x = np.arange(2 * 30 * 40).reshape(2, 30, 40).astype(np.float32)
    w = np.ones((1, 2, 3, 3), np.float32)
    drawing = draw(x, w, padding=1, picture=True, at=(0, 3, 4))
    images = [shape for shape in drawing.scene.shapes if type(shape).__name__ == "Image"]
    assert [(image.rows, image.columns) for image in images] == [(32, 42), (32, 42), (30, 40)]
    level = np.frombuffer(images[1].pixels, np.uint8).reshape(32, 42)
    assert (level[0, 0], level[-2, -2], level[1, 1]) == (0, 255, round(1200 / 2399 * 255))
    written = numbers_in(drawing.svg())
    assert {name.partition("[")[0] for name in written} == {"weight"}
    assert drawing.description.startswith("output[0, 3, 4] = ")
    ET.fromstring(drawing.svg())
    with pytest.raises(ValueError, match="complex"):
        draw("conv1d c1 o1 i3 k2 complex64", picture=True)


def test_what_is_too_large_is_refused():
    with pytest.raises(ValueError, match=r"at most 3000 numbers of input and output, but .* has 3364"):
        draw("conv2d c2 o2 i29x29 k1 int64")
    with pytest.raises(ValueError, match="nothing to draw"):
        draw("conv2d n0 c1 o1 i3x3 k2 int64", at=(0, 0, 0, 0), of="weight_grad")
    with pytest.raises(ValueError, match="at most 1000000 products"):
        draw("conv2d c3 o64 i224x224 k3x3 p1x1", picture=True)


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
    assert capsys.readouterr().out == f"{drawing.description}\n"
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
