"""The explorer as a page in a real browser: pointer, keys, languages, widths, addresses; nothing does it harm."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from miniconv import ConvProblem, explain

EXAMPLES = [
    "plain", "floor", "same", "reflect", "dilation", "channels", "groups", "depthwise", "transposed", "causal", "photo",
    "picture", "gradient",
]  # fmt: skip


# ---- the state in the address --------------------------------------------------------------------------------------


def test_every_example_goes_to_the_address_and_back(shown):
    tab = shown()
    for name in EXAMPLES:
        tab.run(f"document.getElementById('example-{name}').click()")
        assert tab.run("JSON.stringify(stateFrom(location.hash, usual)) === JSON.stringify(state)"), name
        assert tab.run("model.rule === null"), name


SMALL = "#p=conv2d+c1+o1+i4x4+k3x3"
BAD = [
    "#", "#p=", "#p=nonsense", "#p=conv9d+c1", "#p=conv2d+c0+o0+i0x0+k0x0", "#p=conv2d+c9999+o9999+i9999x9999+k64x64",
    f"{SMALL}&at=9.9.9", f"{SMALL}&at=x.y&from=1&of=zzz&mode=__proto__&in=constructor", "#%E0%A4%A",
    f"{SMALL}&edit-x=__proto__*1_0.0.0*1e999_9.9.9*3_*_0.0.1*abc&seed=NaN&lang=xx&g=1&filter=toString&pad=hasOwnProperty",
    "#p=conv2d&" + "x" * 5000, "#<img src=x onerror=alert(1)>", "#p=conv1d+c1+o1+i4+k3&pad=same&at=0.-1",
]  # fmt: skip


@pytest.mark.parametrize("hash_", BAD)
def test_a_bad_address_does_no_harm(shown, hash_):
    tab = shown(hash_=hash_)
    assert tab.run("Boolean(document.querySelector('#stage svg')) || !document.getElementById('broken').hidden")
    tab.run("document.getElementById('example-floor').click()")
    assert tab.run("document.querySelectorAll('#stage svg').length") == 3


# ---- what a reader does --------------------------------------------------------------------------------------------


def move(tab, part, row, column, kind="mouseMoved"):
    """The pointer over a cell of the first plane of a tensor."""
    x, y = (
        tab.run(f"""(([svg, plane]) => {{ const rows = svg.querySelectorAll(".cells rect"), wide = planeColumns(plane);
        const rect = rows[({row} + plane.low[0]) * wide + {column} + plane.low[1]].getBoundingClientRect();
        return [rect.x + rect.width / 2, rect.y + rect.height / 2]; }})
        (drawnPlanes.filter(d => d.plane.part === "{part}").map(d => [d.root, d.plane])[0])""")
    )
    for kind_ in ("mouseMoved", "mousePressed", "mouseReleased")[: 3 if kind == "click" else 1]:
        more = {} if kind_ == "mouseMoved" else {"button": "left", "clickCount": 1, "buttons": 1}
        tab.call("Input.dispatchMouseEvent", type=kind_, x=x, y=y, **more)


def text(tab, id_):
    return tab.run(f"document.getElementById('{id_}').textContent")


def test_pointing_shows_and_clicking_pins(shown):
    tab = shown("conv2d c1 o1 i4x5 k2x3 float32")
    move(tab, "output", 1, 2)
    assert text(tab, "picked").startswith("output[0, 1, 2] = ")
    assert tab.run("document.querySelectorAll('[data-term]').length") == 6
    pinned = tab.run("state.at.join()")
    assert pinned != "0,1,2"
    move(tab, "output", 2, 0, "click")
    assert tab.run("state.at.join()") == "0,2,0"
    assert "at=0.2.0" in tab.run("location.hash")
    move(tab, "weight", 1, 1)
    assert tab.run("document.querySelector('tr.one').dataset.term") == "4"
    assert tab.run("document.querySelectorAll('path.one').length") == 2  # the weight, and the input that it meets
    move(tab, "input", 0, 0)
    assert text(tab, "picked").startswith("input[0, 0, 0] = ")
    assert "feeds 1 output" in text(tab, "picked")
    move(tab, "input", 1, 2, "click")
    assert tab.run("state.from.join()") == "0,1,2"
    assert tab.run("document.querySelectorAll('[data-term]').length") == 6
    assert text(tab, "why-title").startswith("What this input feeds: 6")


def test_pixels_that_no_window_reaches(shown):
    tab = shown(hash_="#p=conv2d+c1+o1+i6x8+k3x3+s2x2")
    assert "13 of 48 input pixels" in text(tab, "missed")
    assert "height 5; width 7" in text(tab, "missed")
    assert tab.run("document.querySelectorAll('path.missed').length") == 1
    assert "⌊(6 + 0 + 0 \N{MINUS SIGN} 3) / 2⌋ + 1 = ⌊1.5⌋ + 1 = 2" in text(tab, "arithmetic")
    assert "⌊(8 + 0 + 0 \N{MINUS SIGN} 3) / 2⌋ + 1 = ⌊2.5⌋ + 1 = 3" in text(tab, "arithmetic")
    assert "the floor drops 1 cell" in text(tab, "arithmetic")


def test_a_number_is_edited(shown):
    tab = shown("conv1d c1 o1 i3 k2 float32", [[1, 2, 3]], [[[1, 10]]])
    move(tab, "input", 0, 1, "click")
    assert tab.run("document.activeElement.dataset.tensor") == "input"
    for key in ("7", ".", "5", "Enter"):
        tab.press(key)
    assert tab.run("[...model.operands.input.data]") == [1, 7.5, 3]
    assert tab.run("[...model.result.data]") == [76, 37.5]
    assert "edit-x=0.1*7.5" in tab.run("location.hash")
    tab.run("document.getElementById('value').value = 'much'")
    tab.run("document.getElementById('value').dispatchEvent(new Event('change'))")
    assert tab.run("[...model.operands.input.data]") == [1, 7.5, 3]
    tab.run("document.getElementById('clear').click()")
    assert tab.run("[...model.operands.input.data]") == [1, 2, 3]


def test_a_bias_is_edited_and_another_image_is_looked_at(shown):
    tab = shown(
        "conv1d n2 c1 o2 i3 k2 bias float32", [[[1, 2, 3]], [[4, 5, 6]]], [[[1, 1]], [[1, 2]]], [10, 20], at=(0, 1, 0)
    )
    assert text(tab, "picked").startswith("output[0, 1, 0] = 25")
    tab.run("document.getElementById('bias-value').value = '7'")
    tab.run("document.getElementById('bias-value').dispatchEvent(new Event('change'))")
    assert text(tab, "picked").startswith("output[0, 1, 0] = 12")
    tab.run("document.getElementById('number-image').value = 1")
    tab.run("document.getElementById('number-image').dispatchEvent(new Event('input'))")
    assert text(tab, "picked").startswith("output[1, 1, 0] = 21")


def test_a_picture_is_painted(shown):
    tab = shown(hash_="#p=conv2d+c1+o1+i12x12+k3x3&in=picture")
    assert tab.run("document.getElementById('box-paint').checked")
    before = tab.run("model.operands.input.data.reduce((a, b) => a + b)")
    box = tab.run("(b => [b.x, b.y, b.width])(document.querySelector('svg[data-part=input]').getBoundingClientRect())")
    cell = box[2] / 12
    for kind, column in (("mousePressed", 0.5), ("mouseMoved", 1.5), ("mouseMoved", 2.5), ("mouseReleased", 2.5)):
        tab.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=box[0] + cell * column,
            y=box[1] + cell * 0.5,
            button="left",
            buttons=1,
            clickCount=1,
        )
    assert tab.run("model.operands.input.data.reduce((a, b) => a + b)") == before + 3
    assert tab.run("[0, 1, 2].map(c => model.operands.input.data[c])") == [1, 1, 1]
    for kind, column in (("touchStart", 4.5), ("touchMove", 5.5), ("touchMove", 6.5), ("touchEnd", None)):
        points = [] if column is None else [{"x": box[0] + cell * column, "y": box[1] + cell * 0.5}]
        tab.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    assert tab.run("[4, 5, 6].map(c => model.operands.input.data[c])") == [1, 1, 1]
    tab.run("document.getElementById('box-paint').click()")
    tab.call("Input.dispatchMouseEvent", type="mousePressed", x=box[0] + 5, y=box[1] + 5, button="left", clickCount=1)
    assert tab.run("state.from.join()") == "0,0,0"  # without the brush a click pins


def test_stepping_and_playing(shown):
    tab = shown("conv2d c1 o1 i4x4 k3x3 float32", at=(0, 0, 0))
    assert text(tab, "count") == "1 / 4"
    tab.run("document.getElementById('after').click()")
    assert tab.run("state.at.join()") == "0,0,1"
    tab.run(
        "document.getElementById('step').value = 3; document.getElementById('step').dispatchEvent(new Event('input'))"
    )
    assert tab.run("state.at.join()") == "0,1,1"
    tab.run("document.getElementById('first').click(); document.getElementById('play').click()")
    assert tab.run("new Promise(done => setTimeout(() => done(state.at.join()), 900))") == "0,0,1"
    tab.run("document.getElementById('play').click()")
    assert tab.run("timer === null")


def test_by_the_keyboard(shown):
    tab = shown("conv2d c2 o2 i4x5 k2x2 bias float32", at=(0, 0, 0))
    stops = []
    for _ in range(120):
        tab.press("Tab")
        stop = tab.run(
            "(e => e.id || e.dataset.tensor || e.dataset.view || e.className || e.tagName)(document.activeElement)"
        )
        if stop == "BODY" or (stops and stop == stops[0]):
            break
        visible = tab.run("parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2")
        assert visible, stop
        stops.append(stop)
    wanted = [
        "skip", "language", "share", "example-plain", "output", "input", "weight", "play", "step", "dims-1",
        "range-kernel_size", "number-kernel_size", "choice-mode", "box-bias",
    ]  # fmt: skip
    assert [stop for stop in wanted if stop not in stops] == []
    tab.run("document.querySelector('[data-tensor=output]').focus()")
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "PageDown"):
        tab.press(key)
    assert tab.run("state.at.join()") == "1,2,1"
    assert tab.run("document.activeElement.dataset.tensor") == "output"
    assert text(tab, "said").startswith("output[1, 2, 1] = ")


def test_names_for_screen_readers(shown):
    tab = shown("conv2d c4 o4 i4x5 k2x2 g2 bias float32")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    wants = {
        "button",
        "combobox",
        "slider",
        "spinbutton",
        "checkbox",
        "textbox",
        "link",
        "region",
        "navigation",
        "form",
        "columnheader",
    }
    assert [role for role, name in named if role in wants and not name.strip()] == []
    assert {"main", "heading", "table", "status", "slider", "spinbutton"} <= {role for role, _ in named}
    assert ("group", "input, 4 \N{MULTIPLICATION SIGN} 4 \N{MULTIPLICATION SIGN} 5") in named
    assert tab.run(
        "[...document.querySelectorAll('[role=group], [role=region]')].every(e => e.getAttribute('aria-label'))"
    )


@pytest.mark.parametrize(("width", "language"), [(320, "en"), (360, "zh"), (768, "zh"), (1280, "en")])
def test_every_example_fits_every_width(shown, width, language):
    tab = shown(width=width, query=f"?lang={language}", language="en")
    for name in EXAMPLES:
        tab.run(f"document.getElementById('example-{name}').click()")
        tab.run("document.querySelectorAll('details').forEach(details => { details.open = true; })")
        assert tab.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, name
        assert not re.search(r"undefined|NaN|\[object|\{\w+\}", tab.run("document.body.innerText")), name
        assert tab.run("document.documentElement.lang") == {"en": "en", "zh": "zh-Hans"}[language]


def test_the_language(shown):
    tab = shown(query="", language="zh")
    assert text(tab, "language") == "English"
    tab.run("document.getElementById('language').click()")
    assert text(tab, "language") == "中文"
    assert "lang=en" in tab.run("location.hash")
    english = tab.run("document.body.innerText")
    tab.run("document.getElementById('language').click()")
    chinese = tab.run("document.body.innerText")
    assert re.search("[\u4e00-\u9fff]", english.replace("中文", "")) is None
    assert "输出" in chinese
    tab = shown(query="", language=None)
    assert tab.run("spoken") == ("zh" if tab.run("navigator.language").startswith("zh") else "en")


def test_evil_numbers_do_nothing(shown):
    x = np.array([[[1e308, -1e308, np.nan], [np.inf, 5e-324, 0.1]]])
    tab = shown("conv2d c1 o1 i2x3 k2x2 float64", x, np.array([[[[1e308, 2], [0, -np.inf]]]]))
    assert tab.run("[...model.operands.input.data].map(String)") == [
        "1e+308",
        "-1e+308",
        "NaN",
        "Infinity",
        "5e-324",
        "0.1",
    ]
    assert tab.run("document.querySelectorAll('script').length") == 2
    trace = explain(
        ConvProblem.parse("conv2d c1 o1 i2x3 k2x2 float64"), x, np.array([[[[1e308, 2], [0, -np.inf]]]]), at=(0, 0, 0)
    )
    assert str(trace.computed) == "nan"
    assert tab.run("[...model.result.data].map(String)") == ["NaN", "NaN"]


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(shown, dark):
    tab = shown(dark=dark)
    names = ["--text", "--soft", "--good", "--bad", "--odd", "--input", "--weight", "--output", "--back", "--card"]
    colours = tab.run(f"""{json.dumps(names)}.map(name => {{
        const probe = document.body.appendChild(document.createElement("i"));
        probe.style.color = `var(${{name}})`;
        return getComputedStyle(probe).color.match(/\\d+/g).map(Number);
    }})""")

    def luminance(colour):
        parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    for back in colours[8:]:
        for front in colours[:8]:
            low, high = sorted([luminance(back), luminance(front)])
            assert (high + 0.05) / (low + 0.05) >= 4.5


def test_the_photograph_is_scikit_learns(shown):
    datasets = pytest.importorskip("sklearn.datasets")
    temple = datasets.load_sample_image("china.jpg")[60:396, 130:466] @ np.array([0.299, 0.587, 0.114])
    want = temple.reshape(48, 7, 48, 7).mean((1, 3)).round()
    tab = shown()
    assert tab.run("[...photo.bytes]") == want.ravel().tolist()
