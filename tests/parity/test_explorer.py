"""The explorer in a real browser: its arithmetic against the trace and torch, and how the page behaves."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
import torch.nn.functional as F

from miniconv import ConvProblem, explain
from miniconv.explain import feeds, part_shape
from miniconv.explain.text import formula
from miniconv.explorer import DTYPES

COUNT = 200
MODES = ("zeros", "reflect", "replicate", "circular")
VIEWS = ("output", "input_grad", "weight_grad", "bias_grad")
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
    partials: state.of !== "output" ? null : partialsOf(p, p.batch === null ? 0 : state.at[0],
      state.at[state.at.length - 1 - p.dims], model.operands).map(({data}) => [...data]),
    rows: [...document.querySelectorAll("[data-term]")].map(row => ({b: text(row, "b"), small: text(row, "small")})),
    total: document.getElementById("total")?.textContent, picked: document.getElementById("picked").textContent,
    cells: [...document.querySelectorAll(`svg[data-part=${state.of}]`)].map(plane =>
      [plane.dataset.lead, text(plane, ".number")]),
  };
})"""


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
        if mode == "reflect" and any(max(p) >= i for p, i in zip(pads, draw[0])):
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
    traces = tab.run(f"""{json.dumps(places)}.map(at => {{
        const trace = traceOf(model.p, "output", at, model.operands), exact = exactSum(trace);
        return {{...trace, exact: exact.value, equal: exact.equals(trace.computed)}};
    }})""")
    whole = np.array(tab.run("[...model.result.data]")).reshape(problem.output_shape)
    for at, told in zip(places, traces):
        trace = explain(problem, *given, at=at)
        assert [(t["product"], t["running"]) for t in told["terms"]] == [(t.product, t.running) for t in trace.terms]
        assert told["computed"] == trace.computed == whole[at]
        assert (told["exact"], told["equal"]) == (float(trace.exact[0]), trace.exact[0] == trace.computed)


def test_of_a_large_problem_the_planes_that_are_shown_are_computed(shown):
    problem = ConvProblem.parse("conv2d c3 o64 i56x60 k7x7 s2x2 p3x3 bias int64")
    tab = shown(problem, at=(40, 3, 5))
    shapes = (problem.input_shape, problem.weight_shape, (64,))
    told = tab.run("PARTS.slice(0, 3).map(part => [...model.operands[part].data])")
    x, w, b = (torch.tensor(data, dtype=torch.int64).reshape(shape) for data, shape in zip(told, shapes))
    want = F.conv2d(x, w, b, stride=2, padding=3)
    filled = [int(lead) for lead in tab.run("[...model.result.filled]")]
    assert 40 in filled
    assert len(filled) == 8
    result = torch.tensor(tab.run("[...model.result.data]"), dtype=torch.int64).reshape(problem.output_shape)
    assert torch.equal(result[filled], want[filled])
    assert tab.run("document.getElementById('total').textContent") == str(want[40, 3, 5].item())
    tab.run("change({at: [3, 0, 0]})")
    assert tab.run("document.getElementById('total').textContent") == str(want[3, 0, 0].item())


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


def any_words(chance):
    """A problem's text that may break any rule, and its word of padding and mode."""
    dims, transposed = chance.choice((1, 2)), chance.random() < 0.4

    def each(*values):
        return "x".join(str(chance.choice(values)) for _ in range(dims))

    words = [
        f"conv{'_transpose' if transposed else ''}{dims}d", f"c{chance.choice((1, 2, 3, 4))}",
        f"o{chance.choice((1, 2, 4, 6))}", f"i{each(1, 2, 3, 5)}", f"k{each(1, 2, 3, 4)}", f"s{each(0, 1, 1, 1, 2)}",
        f"p{each(0, 1, 2, 4)}", f"d{each(1, 1, 1, 2, 3)}", f"g{chance.choice((0, 1, 1, 1, 2, 3, 4))}",
        *(["bias"] if chance.random() < 0.5 else []), *([f"op{each(0, 0, 1, 3)}"] if transposed else []),
    ]  # fmt: skip
    word, mode = chance.choice(("numbers", "numbers", "same", "valid")), chance.choice(MODES)
    return f"#p={'+'.join(words)}&pad={word}&mode={'zeros' if transposed else mode}"


RULE = """(hash => {
  state = stateFrom(hash, usual);
  render();
  const rule = model.rule, shown = document.getElementById("broken");
  const errors = [...document.querySelectorAll("#controls .error")].filter(error => !error.hidden);
  return {
    p: state.p, word: state.word, rule, visible: !shown.hidden, text: shown.querySelector("code")?.textContent,
    inline: errors.map(error => error.textContent),
    remedies: rule ? remediesFor(model.p, state.word, rule).map(({p, word}) => broken(p, word)) : [],
  };
})"""


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
def test_a_broken_rule_is_told_in_torchs_words_and_can_be_mended(shown):
    tab, chance, controls = shown(), random.Random(2), set()
    for _ in range(150):
        hash_ = any_words(chance)
        told = tab.run(f"{RULE}({json.dumps(hash_)})")
        p, rule, want = told["p"], told["rule"], torch_says(told["p"], told["word"])
        if rule is not None and rule["kind"] == "ValueError":  # the module refuses what the function lets pass
            assert p["transposed"]
            assert p["out_channels"] % p["groups"], hash_
            assert rule["text"] == "out_channels must be divisible by groups"
            continue
        if want is None:
            assert rule is None, (hash_, rule)
            continue
        assert rule is not None, (hash_, want)
        assert (rule["text"], told["text"], told["inline"]) == (want, f"RuntimeError: {want}", [want]), hash_
        assert told["visible"]
        left = {remedy and remedy["control"] for remedy in told["remedies"]}  # legal, or at least past this rule
        assert left == {None} or (None not in left and rule["control"] not in left), hash_
        controls.add(rule["control"])
    assert controls == {"groups", "stride", "kernel_size", "padding", "output_padding"}


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
        again = tab.run(f"""(hash => {{
            state = stateFrom(hash, usual);
            state.edits.input["0.0.0"] = -2.5;
            state.edits.weight["0.0.0"] = Infinity;
            const first = hashOf(state), back = stateFrom(first, usual);
            return [JSON.stringify(state) === JSON.stringify(back), first === hashOf(back)];
            }})({json.dumps(hash_)})""")
        assert again == [True, True], hash_
