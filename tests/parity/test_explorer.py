"""The explorer in a real browser: its arithmetic against the trace and torch, and how the page behaves."""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from miniconv import ConvProblem, explain
from miniconv.explain import feeds, part_shape
from miniconv.explain.text import formula
from miniconv.explorer import DTYPES, page

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and browser.py is no test
from browser import PROGRAM, Browser

COUNT = 200
MODES = ("zeros", "reflect", "replicate", "circular")
VIEWS = ("output", "input_grad", "weight_grad", "bias_grad")
EXAMPLES = (
    "plain floor same reflect dilation channels groups depthwise transposed causal photo picture gradient".split()
)

READ = """(hash => {
  state = stateFrom(hash, usual);
  render();
  const {p} = model, trace = traceOf(p, state.of, state.at, model.operands), shapes = shapesOf(p);
  const text = (row, kind) => [...row.querySelectorAll(kind)].map(cell => cell.textContent);
  const every = range(multiply(shapes.input)).map(at => indexAt(shapes.input, at));
  return {
    rule: model.rule, at: state.at, of: state.of, shape: model.result.shape, result: [...model.result.data],
    operands: Object.fromEntries(PARTS.map(part => [part, [...model.operands[part].data]])),
    terms: trace.terms, bias: trace.bias, computed: trace.computed, formula: formulaLines(p, state.of),
    feeds: state.from && feedsOf(p, state.from), unfed: every.filter(index => feedsOf(p, index).length === 0),
    missed: missedCells(p, "input_grad").count, lines: torchLines(p, state.word, state.of), problem: problemText(p),
    partials: state.of === "output" ? partialsOf(p, p.batch === null ? 0 : state.at[0], state.at[state.at.length - 1 - p.dims],
      model.operands).map(({data}) => [...data]) : null,
    hash: hashOf(state), rows: [...document.querySelectorAll("[data-term]")].map(row => ({b: text(row, "b"), small: text(row, "small")})),
    total: document.getElementById("total")?.textContent, picked: document.getElementById("picked").textContent,
    cells: [...document.querySelectorAll(`svg[data-part=${state.of}]`)].map(svg => [svg.dataset.lead, text(svg, ".number")]),
  };
})"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip("no browser is installed")
    tab = Browser(tmp_path_factory.mktemp("profile"))
    yield tab
    tab.close()


@pytest.fixture
def shown(tab, tmp_path):
    """Opens a page; in the end nothing may have been complained of or asked for."""

    def show(*operands, hash_="", query="?lang=en", width=1280, dark=False, **options):
        (tmp_path / "page.html").write_text(page(*operands, **options), encoding="utf-8")
        tab.screen(width, dark=dark)
        tab.open((tmp_path / "page.html").as_uri() + query + hash_)
        return tab

    tab.requested.clear()
    yield show
    assert tab.errors == []
    assert {re.sub(r"[:,].*", "", address) for address in tab.requested} <= {"file", "about", "data"}


# ---- the arithmetic ------------------------------------------------------------------------------------------------


def configurations(count=COUNT, seed=11):
    """(problem, padding mode, view) at random: every spatial number differs from axis to axis now and then."""
    chance, found = random.Random(seed), []
    while len(found) < count:
        dims, groups, transposed = chance.choice((1, 2, 2)), chance.choice((1, 1, 2, 3)), chance.random() < 0.35
        draw = [tuple(chance.choice(values) for _ in range(dims)) for values in ((3, 4, 5, 6, 7), (1, 2, 3), (1, 2, 3))]
        pads = tuple((chance.randrange(3), chance.randrange(3)) for _ in range(dims))
        dilation = tuple(chance.choice((1, 1, 2)) for _ in range(dims))
        extra = tuple(chance.randrange(max(s, d)) for s, d in zip(draw[2], dilation)) if transposed else ()
        channels = groups * chance.choice((1, 2)), groups * chance.choice((1, 2))
        mode = "zeros" if transposed else chance.choice(MODES)
        bias = chance.random() < 0.5
        of = chance.choice(VIEWS if bias else VIEWS[:3])
        dtype = chance.choice(("float64", "float32", "int64" if mode == "zeros" and of == "output" else "float64"))
        try:
            problem = ConvProblem(
                chance.choice((None, None, 1, 2)), *channels, draw[0], draw[1], draw[2], pads, dilation, groups, extra,
                transposed, bias, dtype,
            )  # fmt: skip
        except RuntimeError:
            continue
        if of == "bias_grad" and not bias or mode == "reflect" and any(max(p) >= i for p, i in zip(pads, draw[0])):
            continue
        found.append((problem, mode, of))
    return found


def address(problem, mode, of, chance):
    """The address of a configuration, a random place pinned, and that place."""
    at = [chance.randrange(size) for size in part_shape(problem, of)]
    source = [chance.randrange(size) for size in problem.input_shape]
    words = {
        "p": problem,
        "mode": mode,
        "of": of,
        "at": ".".join(map(str, at)),
        "g": "numbers",
        "seed": chance.randrange(99),
    }
    if of == "output":
        words["from"] = ".".join(map(str, source))
    return (
        "#" + "&".join(f"{name}={str(value).replace(' ', '+')}" for name, value in words.items()),
        tuple(at),
        tuple(source),
    )


def arrays(problem, told):
    """The page's operands."""
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "bias": (problem.out_channels,)}
    shapes["grad_output"] = problem.output_shape
    return {
        name: np.array(told["operands"][name]).reshape(shape).astype(problem.dtype) for name, shape in shapes.items()
    }


def by_torch(problem, of, lines, operands):
    """What the page's lines of PyTorch compute."""
    x, w, b, g = (torch.from_numpy(operands[name]) for name in ("input", "weight", "bias", "grad_output"))
    names = {"torch": torch, "F": F, "x": x, "w": w, "b": b, "g": g}
    for tensor in (x, w, b):
        tensor.requires_grad_(problem.dtype != "int64")
    exec("\n".join(lines), names)
    result = names["y"] if of == "output" else names["grad"]
    return result.detach().numpy()


def test_the_arithmetic_of_200_configurations(shown):
    tab, chance, seen = shown(), random.Random(5), set()
    for problem, mode, of in configurations():
        hash_, at, source = address(problem, mode, of, chance)
        told = tab.run(f"{READ}({json.dumps(hash_)})")
        assert told["rule"] is None
        assert told["problem"] == str(problem)
        assert (told["of"], tuple(told["at"])) == (of, at)
        operands = arrays(problem, told)
        given = [operands["input"], operands["weight"], *([operands["bias"]] if problem.bias else [])]
        trace = explain(problem, *given, at=at, of=of, grad_output=operands["grad_output"], padding_mode=mode)
        assert told["shape"] == list(part_shape(problem, of))
        assert len(told["terms"]) == len(trace.terms)
        for got, want in zip(told["terms"], trace.terms):
            assert got["place"] == want.place
            assert (tuple(got["values"]), got["product"], got["running"]) == (want.values, want.product, want.running)
            assert tuple(got["output"]) == want.output
            assert tuple(got["position"]) == want.position
            assert (got["input"] and tuple(got["input"]), got["weight"] and tuple(got["weight"])) == (
                want.input,
                want.weight,
            )
        assert (told["bias"], told["computed"]) == (trace.bias, trace.computed)
        assert told["formula"] == formula(trace)
        result = np.array(told["result"]).reshape(part_shape(problem, of))
        np.testing.assert_array_equal(
            result, by_torch(problem, of, told["lines"], operands), err_msg=f"{problem} {mode} {of}"
        )
        every = list(np.ndindex(problem.input_shape))
        assert [tuple(index) for index in told["unfed"]] == [
            index for index in every if not feeds(problem, index, mode)
        ]
        images = problem.in_channels * (problem.batch or 1)
        assert told["missed"] * images == len(told["unfed"])
        if of == "output":
            assert [tuple(index) for index in told["feeds"]] == feeds(problem, source, mode)
            lead = at[: -problem.spatial_dims]
            whole = np.sum(told["partials"], axis=0) + (operands["bias"][lead[-1]] if problem.bias else 0)
            np.testing.assert_array_equal(whole, result[lead].ravel())
        else:
            check_what_is_drawn(told, trace, result)
        seen.add((problem.op, mode, of, problem.groups > 1, problem.batch is None))
    assert {(op, of) for op, _, of, *_ in seen} >= {
        (f"conv{t}{d}d", of) for t in ("", "_transpose") for d in (1, 2) for of in VIEWS[:3]
    }
    assert {mode for _, mode, *_ in seen} == set(MODES)


def check_what_is_drawn(told, trace, result):
    """The table, the total and the cells that a reader sees."""
    size, per = len(trace.terms), 1 if trace.of == "bias_grad" else 2
    assert len(told["rows"]) == min(size, 48)
    for row, term in zip(told["rows"][:24], trace.terms):
        values = [*term.values, term.product, term.running]
        assert [float(text) for text in row["b"]] == values
        assert len(row["small"]) == per
        assert row["small"][0].startswith(f"[{', '.join(map(str, term.output))}]")
    assert float(told["total"]) == trace.computed
    name = f"{trace.of}[{', '.join(map(str, trace.at))}]"
    assert told["picked"].startswith(f"{name} = ")
    for lead, cells in told["cells"]:
        plane = result[tuple(map(int, lead.split(".")))] if lead else result
        assert [float(text) for text in cells] == plane.ravel().tolist()


def test_what_is_drawn_of_outputs(shown):
    tab, chance = shown(), random.Random(8)
    for problem, mode, of in configurations(40, seed=3):
        if of != "output":
            continue
        hash_, at, _ = address(problem, mode, of, chance)
        told = tab.run(f"{READ}({json.dumps(re.sub('&from=[^&]*', '', hash_))})")
        operands = arrays(problem, told)
        given = [operands["input"], operands["weight"], *([operands["bias"]] if problem.bias else [])]
        check_what_is_drawn_of_output(told, explain(problem, *given, at=at, padding_mode=mode))


def check_what_is_drawn_of_output(told, trace):
    for row, term in zip(told["rows"][:24], trace.terms):
        assert [float(text) for text in row["b"]] == [*term.values, term.product, term.running]
        assert row["small"][0].startswith(f"[{', '.join(map(str, term.position))}]")
        assert ("border" in row["small"][0]) == (term.place != "inside")
        assert row["small"][1] == f"[{', '.join(map(str, term.weight))}]"
    assert float(told["total"]) == trace.computed


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_is_the_dtypes(shown, dtype):
    """Caller's numbers that do not fit: every product, sum and result is the trace's, bit for bit."""
    problem = ConvProblem.parse(f"conv2d n2 c4 o4 i5x6 k3x2 s2x1 p1x0:1 g2 bias {dtype}")
    rng = np.random.default_rng(4)
    scale = 40 if "int" in dtype else 1
    shapes = (problem.input_shape, problem.weight_shape, (4,))
    given = [
        (rng.standard_normal(shape) * scale).astype("float64" if "float" in dtype else "int64") for shape in shapes
    ]
    tab = shown(problem, *given)
    places = [at for at in np.ndindex(problem.output_shape) if sum(at) % 3 == 0]
    traces = tab.run(f"{json.dumps(places)}.map(at => traceOf(model.p, 'output', at, model.operands))")
    whole = np.array(tab.run("[...model.result.data]")).reshape(problem.output_shape)
    for at, told in zip(places, traces):
        trace = explain(problem, *given, at=at)
        assert [(t["product"], t["running"]) for t in told["terms"]] == [(t.product, t.running) for t in trace.terms]
        assert told["computed"] == trace.computed == whole[at]


# ---- rules ---------------------------------------------------------------------------------------------------------


def torch_says(p, word):
    """The error of torch's call for the page's problem; None where there is none."""
    x = torch.zeros(([] if p["batch"] is None else [p["batch"]]) + [p["in_channels"], *p["input_size"]])
    ends = (p["in_channels"], p["out_channels"] // max(p["groups"], 1))
    ends = ends if p["transposed"] else (p["out_channels"], p["in_channels"] // max(p["groups"], 1))
    w, b = torch.zeros(*ends, *p["kernel_size"]), torch.zeros(p["out_channels"]) if p["bias"] else None
    options = {"stride": p["stride"], "dilation": p["dilation"], "groups": p["groups"]}
    pads = [side for pair in p["padding"][::-1] for side in pair]
    try:
        if p["transposed"]:
            low = [pair[0] for pair in p["padding"]]
            getattr(F, f"conv_transpose{p['dims']}d")(
                x, w, b, padding=low, output_padding=p["output_padding"], **options
            )
            return None
        if any(pads) and p["mode"] != "zeros" and not (word == "same" and set(p["stride"]) != {1}):
            x, padding = F.pad(x, pads, mode=p["mode"]), 0
        else:
            padding = word if word in ("same", "valid") else [pair[0] for pair in p["padding"]]
        getattr(F, f"conv{p['dims']}d")(x, w, b, padding=padding, **options)
    except (RuntimeError, ValueError) as error:
        return str(error).splitlines()[0]
    return None


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
def test_a_broken_rule_is_told_in_torchs_words_and_can_be_mended(shown):
    tab, chance, texts = shown(), random.Random(2), set()
    for _ in range(150):
        dims = chance.choice((1, 2))
        transposed, word = chance.random() < 0.4, chance.choice(("numbers", "numbers", "same", "valid"))
        each = lambda values: "x".join(str(chance.choice(values)) for _ in range(dims))  # noqa: E731
        words = [
            f"conv{'_transpose' if transposed else ''}{dims}d", f"c{chance.choice((1, 2, 3, 4))}", f"o{chance.choice((1, 2, 4, 6))}",
            f"i{each((1, 2, 3, 5))}", f"k{each((1, 2, 3, 4))}", f"s{each((0, 1, 1, 1, 2))}", f"p{each((0, 1, 2, 4))}",
            f"d{each((1, 1, 1, 2, 3))}", f"g{chance.choice((0, 1, 1, 1, 2, 3, 4))}", *(["bias"] if chance.random() < 0.5 else []),
            *([f"op{each((0, 0, 1, 3))}"] if transposed else []),
        ]  # fmt: skip
        mode = "zeros" if transposed else chance.choice(MODES)
        hash_ = f"#p={'+'.join(words)}&pad={word}&mode={mode}"
        told = tab.run(f"""(hash => {{ state = stateFrom(hash, usual); render();
            const rule = model.rule, shown = document.getElementById("broken");
            return {{p: state.p, word: state.word, rule, visible: !shown.hidden, text: shown.querySelector("code")?.textContent,
              inline: [...document.querySelectorAll("#controls .error")].filter(e => !e.hidden).map(e => e.textContent),
              remedies: rule ? remediesFor(model.p, state.word, rule).map(({{p, word}}) => broken(p, word)) : []}};
            }})({json.dumps(hash_)})""")
        want = torch_says(told["p"], told["word"])
        if want is None:
            assert told["rule"] is None or told["rule"]["kind"] == "ValueError", (hash_, told["rule"])
            continue
        assert told["rule"] is not None, (hash_, want)
        assert told["rule"]["text"] == want, hash_
        assert told["text"] == f"RuntimeError: {want}"
        assert told["inline"] == [want]
        assert told["visible"]
        assert set(told["remedies"]) <= {None}
        texts.add((told["rule"]["control"], bool(told["remedies"])))
    assert {control for control, _ in texts} >= {"groups", "stride", "kernel_size", "padding", "output_padding"}


def test_a_remedy_is_one_click(shown):
    tab = shown(hash_="#p=conv2d+c1+o1+i2x3+k5x5")
    assert "Kernel size can't be greater" in tab.run("document.getElementById('broken').textContent")
    assert tab.run("document.getElementById('live').hidden")
    tab.run("document.querySelector('#broken button').click()")
    assert tab.run("document.getElementById('broken').hidden && !document.getElementById('live').hidden")
    assert tab.run("model.rule === null && state.p.kernel_size.some(k => k < 5)")


# ---- the state in the address --------------------------------------------------------------------------------------


def test_the_state_goes_to_the_address_and_back(shown):
    tab, chance = shown(), random.Random(6)
    for problem, mode, of in configurations(60, seed=9):
        hash_, *_ = address(problem, mode, of, chance)
        again = tab.run(f"""(hash => {{ state = stateFrom(hash, usual); state.edits.input["0.0.0"] = -2.5; state.edits.weight["0.0.0"] = Infinity;
            const first = hashOf(state), back = stateFrom(first, usual);
            return [JSON.stringify(state) === JSON.stringify(back), first === hashOf(back)]; }})({json.dumps(hash_)})""")
        assert again == [True, True], hash_
    for name in EXAMPLES:
        tab.run(f"document.getElementById('example-{name}').click()")
        assert tab.run("JSON.stringify(stateFrom(location.hash, usual)) === JSON.stringify(state)"), name
        assert tab.run("model.rule === null"), name


BAD = [
    "#", "#p=", "#p=nonsense", "#p=conv9d+c1", "#p=conv2d+c0+o0+i0x0+k0x0", "#p=conv2d+c9999+o9999+i9999x9999+k64x64",
    "#p=conv2d+c1+o1+i4x4+k3x3&at=9.9.9", "#p=conv2d+c1+o1+i4x4+k3x3&at=x.y&from=1&of=zzz&mode=__proto__&in=constructor",
    "#p=conv2d+c1+o1+i4x4+k3x3&edit-x=__proto__*1_0.0.0*1e999_9.9.9*3_*_0.0.1*abc&seed=NaN&lang=xx&g=1&filter=toString&pad=hasOwnProperty",
    "#p=conv2d&" + "x" * 5000, "#%E0%A4%A", "#<img src=x onerror=alert(1)>", "#p=conv1d+c1+o1+i4+k3&pad=same&at=0.-1",
]  # fmt: skip


@pytest.mark.parametrize("hash_", BAD)
def test_a_bad_address_does_no_harm(shown, hash_):
    tab = shown(hash_=hash_)
    assert tab.run("Boolean(document.querySelector('#stage svg')) || !document.getElementById('broken').hidden")
    tab.run("document.getElementById('example-floor').click()")
    assert tab.run("document.querySelectorAll('#stage svg').length") == 3


# ---- what a reader does --------------------------------------------------------------------------------------------


def move(tab, part, row, column, kind="mouseMoved", cell=None):
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
    assert "⌊(6 + 0 + 0 − 3) / 2⌋ + 1 = ⌊1.5⌋ + 1 = 2" in text(tab, "arithmetic")
    assert "⌊(8 + 0 + 0 − 3) / 2⌋ + 1 = ⌊2.5⌋ + 1 = 3" in text(tab, "arithmetic")
    assert "the floor drops 1 cell" in text(tab, "arithmetic")


def test_a_number_is_edited(shown):
    tab = shown("conv1d c1 o1 i3 k2 float32", [[1, 2, 3]], [[[1, 10]]])
    move(tab, "input", 0, 1, "click")
    tab.run("document.querySelector('[data-tensor=input]').focus()")
    for key in ("7", ".", "5", "Enter"):
        tab.press(key)
    assert tab.run("[...model.operands.input.data]") == [1, 7.5, 3]
    assert tab.run("[...model.result.data]") == [76, 37.5]
    assert "edit-x=0.1*7.5" in tab.run("location.hash")
    tab.run(
        "document.getElementById('value').value = 'much'; document.getElementById('value').dispatchEvent(new Event('change'))"
    )
    assert tab.run("[...model.operands.input.data]") == [1, 7.5, 3]
    tab.run("document.getElementById('clear').click()")
    assert tab.run("[...model.operands.input.data]") == [1, 2, 3]


def test_a_picture_is_painted(shown):
    tab = shown(hash_="#p=conv2d+c1+o1+i12x12+k3x3&in=picture")
    tab.run("document.getElementById('box-paint').click()")
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
    wanted = ["skip", "language", "share", "example-plain", "output", "input", "weight", "play", "step", "dims-1", "range-kernel_size",
              "number-kernel_size", "choice-mode", "box-bias"]  # fmt: skip
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
    assert ("group", "input, 4 × 4 × 5") in named
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
