"""The explorer's page as text: well-formed, complete in both languages, light, and unharmed by what it is given."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest

from miniconv import ConvProblem, explorer

EVIL = "</script><script>window.harmed = 1</script><!-- <img src=x onerror=alert(1)>"
VOID = {"meta", "link", "input", "br", "line"}
SOURCES = {name: resources.files("miniconv.explorer").joinpath(name).read_text("utf-8") for name in explorer.SCRIPTS}
TEXTS = json.loads(resources.files("miniconv.explorer").joinpath("texts.json").read_text("utf-8"))


class Reader(HTMLParser):
    """The elements of a page, the text of its scripts, and what is left open."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data


def given(text):
    return json.loads(Reader(text).scripts[0])


def test_the_page_is_well_formed_light_and_loads_nothing():
    text = explorer.page()
    reader = Reader(text)
    assert reader.open == []
    assert len(text.encode()) < 300_000
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert not [
        tag for tag, attributes in reader.elements if {"src", "srcset", "action", "poster", "style"} & set(attributes)
    ]
    assert not [name for _, attributes in reader.elements for name in attributes if name.startswith("on")]
    assert [attributes["href"] for _, attributes in reader.elements if "href" in attributes] == ["data:,", "#"]
    assert set(re.findall(r"https?://[^\"'\s]*", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(
        r"@import|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|fetch\(|XMLHttp", text
    )


def test_both_languages_say_everything():
    assert list(TEXTS["en"]) == list(TEXTS["zh"])
    for key in TEXTS["en"]:
        english, chinese = TEXTS["en"][key], TEXTS["zh"][key]
        assert english.strip()
        assert chinese.strip()
        assert sorted(set(re.findall(r"\{\w+\}", english))) == sorted(set(re.findall(r"\{\w+\}", chinese))), key


def test_every_text_of_the_page_exists():
    reader = Reader(explorer.page())
    wanted = {
        attributes[name]
        for _, attributes in reader.elements
        for name in ("data-text", "data-label")
        if name in attributes
    }
    script = "".join(SOURCES.values())
    wanted |= set(re.findall(r'say\("([\w-]+)"', script))
    assert wanted <= set(TEXTS["en"])

    def known(word):
        return f'"{word}"' in script or f"{word}:" in script or f"`{word}-${{" in script

    for key in set(TEXTS["en"]) - wanted:  # by name, or as one of a family such as `mode-${mode}` or `stride_height`
        stem = key.removesuffix("_height").removesuffix("_width")
        assert all(known(word) for word in key.split("-")) or (stem != key and known(stem)), key


def test_what_the_page_is_given():
    problem = ConvProblem.parse("conv2d c2 o2 i3x4 k2x3 bias int64")
    told = given(explorer.page(problem, at=(-1, 0, 1), of="output", padding_mode="reflect", language="zh"))
    assert (told["problem"], told["at"], told["of"]) == (str(problem), [1, 0, 1], "output")
    assert (told["padding_mode"], told["language"]) == ("reflect", "zh")
    x, w, b = np.arange(24.0).reshape(2, 3, 4), np.full((2, 2, 2, 3), np.inf), np.array([np.nan, -np.inf])
    told = given(explorer.page("conv2d c2 o2 i3x4 k2x3 bias float64", x, w, b))
    assert told["operands"]["input"] == {"shape": [2, 3, 4], "data": list(range(24))}
    assert told["operands"]["bias"]["data"] == ["NaN", "-Infinity"]
    assert set(told["operands"]) == {"input", "weight", "bias"}
    told = given(explorer.page("conv1d c1 o1 i3 k2 float64", of="input_grad", grad_output=[[4, 5]]))
    assert told["operands"]["grad_output"] == {"shape": [1, 2], "data": [4, 5]}


def test_numbers_are_drawn_as_explain_draws_them():
    from miniconv import explain

    problem = ConvProblem.parse("conv1d c2 o1 i5 k3 int64")
    told = given(explorer.page(problem))["operands"]
    for term in explain(problem, at=(0, 1)).terms:
        x, w = told["input"], told["weight"]
        at_input, at_weight = (
            np.ravel_multi_index(term.input, x["shape"]),
            np.ravel_multi_index(term.weight, w["shape"]),
        )
        assert (x["data"][at_input], w["data"][at_weight]) == term.values


@pytest.mark.parametrize("part", ["input", "weight", "bias"])
def test_a_gradient_has_two_names(part):
    problem = "conv1d c1 o1 i4 k3 bias"
    assert explorer.page(problem, of=f"grad_{part}") == explorer.page(problem, of=f"{part}_grad")


@pytest.mark.parametrize(
    ("problem", "options", "kind", "words"),
    [
        ("conv3d c1 o1 i3x4x5 k2x2x2", {}, ValueError, "one or two spatial axes"),
        ("conv1d c1 o1 i4 k3 complex64", {}, ValueError, "computes in"),
        ("conv2d c1 o1 i2000x3000 k3x3", {}, ValueError, "elements"),
        ("conv1d n0 c1 o1 i4 k3", {}, ValueError, "elements"),
        ("conv1d c1 o1 i4 k3", {"of": "bias_grad"}, ValueError, "bias"),
        ("conv1d c1 o1 i4 k3", {"of": EVIL}, ValueError, "of is one of"),
        ("conv1d c1 o1 i4 k3", {"padding_mode": EVIL}, ValueError, "padding_mode"),
        ("conv1d c1 o1 i4 k3", {"language": EVIL}, ValueError, "language"),
        ("conv1d c1 o1 i4 k3", {"at": (0, 9)}, IndexError, "no element"),
        ("conv1d c1 o1 i4 k3", {"input": [[1, 2]], "weight": [[[1, 2, 3]]]}, RuntimeError, "shape"),
        (EVIL, {}, ValueError, "begins with"),
    ],
)
def test_what_cannot_be_shown(problem, options, kind, words):
    with pytest.raises(kind, match=words):
        explorer.page(problem, **options)


def test_nothing_that_is_given_becomes_markup():
    text = explorer.page("conv1d c1 o1 i3 k2 float64", [[1e308, -1e-308, np.nan]], [[[np.inf, 2.5]]])
    reader = Reader(text)
    assert [tag for tag, _ in reader.elements].count("script") == len(reader.scripts) == 2
    assert "<" not in reader.scripts[0]
    assert explorer._embedded({"a": EVIL}).count("<") == 0
    assert json.loads(explorer._embedded({"a": EVIL})) == {"a": EVIL}


def test_the_scripts_are_short_enough_to_be_read():
    for name, text in SOURCES.items():
        assert text.count("\n") <= 300, name
        assert text.startswith('"use strict";\n//'), name
