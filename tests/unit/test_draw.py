"""Drawings: their numbers are the trace's and the definition's, what is marked takes part, and files are readable."""

from __future__ import annotations

import itertools
import random
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from miniconv import ConvProblem, explain, reference
from miniconv.draw import draw
from miniconv.draw.layout import SIDE
from miniconv.draw.planes import fit
from miniconv.draw.scene import Line, Rect, Scene, Text, text_width
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
