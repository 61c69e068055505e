"""One element term by term: the terms' sums are the definition's results, and what they say of themselves is true."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from miniconv import ConvProblem, explain, reference
from miniconv.explain import PARTS, checked_index, feeds

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def problems(count: int, *, transposed: bool, seed: int) -> list[ConvProblem]:
    """Small problems of every rank, with everything that a problem can have."""
    rng = random.Random(seed)
    found: list[ConvProblem] = []
    while len(found) < count:
        dims, groups = rng.choice((1, 1, 2, 2, 2, 3)), rng.choice((1, 1, 2, 3))
        draw = [tuple(rng.choice(values) for _ in range(dims)) for values in ((2, 3, 4, 5), (1, 2, 3), (1, 2, 3))]
        pads = tuple((rng.randrange(3), rng.randrange(3)) for _ in range(dims))
        dilation = tuple(rng.choice((1, 1, 2)) for _ in range(dims))
        extra = tuple(rng.randrange(max(s, d)) for s, d in zip(draw[2], dilation)) if transposed else ()
        channels = groups * rng.choice((1, 2)), groups * rng.choice((1, 2, 3))
        try:
            found.append(
                ConvProblem(
                    rng.choice((None, 1, 2)), *channels, draw[0], draw[1], draw[2], pads, dilation, groups, extra,
                    transposed, rng.random() < 0.5, "int64",
                )
            )  # fmt: skip
        except RuntimeError:
            continue
    return found


PROBLEMS = [*problems(60, transposed=False, seed=0), *problems(60, transposed=True, seed=1)]
STRATA = {problem.op for problem in PROBLEMS}


def integers(problem: ConvProblem, dtype="int64"):
    """Operands by the names that ``explain`` and the definition know; zeros are among them."""
    rng = np.random.default_rng(7)
    shapes = [problem.input_shape, problem.weight_shape, (problem.out_channels,), problem.output_shape]
    return [rng.integers(-9, 10, shape).astype(dtype) for shape in shapes]


def results(problem, x, w, b, gy):
    """Every part by the definition."""
    return {
        "output": reference.conv(problem, x, w, b if problem.bias else None),
        "input_grad": reference.conv_input_grad(problem, gy, w),
        "weight_grad": reference.conv_weight_grad(problem, gy, x),
        "bias_grad": reference.conv_bias_grad(problem, gy),
    }


def test_the_sample_has_everything():
    assert len(STRATA) == 6
    assert {problem.batch for problem in PROBLEMS} == {None, 1, 2}
    assert {problem.groups for problem in PROBLEMS} == {1, 2, 3}
    assert any(low != high for problem in PROBLEMS for low, high in problem.padding)
    assert any(any(problem.output_padding) for problem in PROBLEMS)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("op", sorted(STRATA))
def test_every_element_is_the_sum_of_its_terms(op, part):
    rng = random.Random(op + part)
    for problem in (problem for problem in PROBLEMS if problem.op == op):
        x, w, b, gy = integers(problem)
        expected = results(problem, x, w, b, gy)[part]
        everywhere = list(np.ndindex(expected.shape))
        for at in everywhere if len(everywhere) < 80 else rng.sample(everywhere, 80):
            trace = explain(problem, x, w, *([b] if problem.bias else []), at=at, of=part, grad_output=gy)
            assert trace.computed == expected[at], str(trace)
            assert trace.exact == (Fraction(int(expected[at])),)
            assert trace.bias == (b[at[-1 - problem.spatial_dims]] if part == "output" and problem.bias else None)


@pytest.mark.parametrize("op", sorted(STRATA))
def test_terms_are_what_they_say(op):
    for problem in (problem for problem in PROBLEMS if problem.op == op):
        x, w, b, gy = integers(problem)
        arrays = {"input": x, "weight": w, "grad_output": gy}
        for part, shape in (("output", gy.shape), ("input_grad", x.shape), ("weight_grad", w.shape)):
            at = tuple(size // 2 for size in shape)
            trace = explain(problem, x, w, *([b] if problem.bias else []), at=at, of=part, grad_output=gy)
            running = 0
            for term in trace.terms:
                for factor, value in zip(trace.factors, term.values):
                    index = term.index_of(factor)
                    assert value == (0 if index is None else arrays[factor][index])
                fixed = {"output": term.output, "input_grad": term.input, "weight_grad": term.weight}[part]
                assert fixed == at
                assert (term.input is None) == (term.place == "zeros")
                assert term.product == np.prod(term.values, dtype=object)
                running += term.product
                assert term.running == running


def one_hot_support(problem: ConvProblem, index, mode="zeros"):
    """Where a weight of ones carries one input element, by the definition."""
    x = np.zeros(problem.input_shape, np.int64)
    x[index] = 1
    padded, wide = with_border(problem, x, mode)
    output = reference.conv(padded, wide, np.ones(problem.weight_shape, np.int64))
    return [tuple(map(int, at)) for at in np.argwhere(output)]


def with_border(problem: ConvProblem, x, mode):
    """The problem and its input with the border filled in; as they are where the border is zeros."""
    if mode == "zeros":
        return replace(problem, bias=False), x
    lead = [(0, 0)] * (x.ndim - problem.spatial_dims)
    wide = np.pad(x, [*lead, *problem.padding], mode=MODES[mode])
    return replace(problem, input_size=wide.shape[len(lead) :], padding=(), bias=False), wide


@pytest.mark.parametrize("op", sorted(STRATA))
def test_feeds_is_the_support_of_the_gradient(op):
    rng = random.Random(op)
    for problem in (problem for problem in PROBLEMS if problem.op == op):
        for index in rng.choices(list(np.ndindex(problem.input_shape)), k=3):
            assert feeds(problem, index) == one_hot_support(problem, index), problem


def fits(problem: ConvProblem, mode: str) -> bool:
    """Whether the mode can fill the border."""
    room = {"reflect": -1, "circular": 0}.get(mode, 9)
    return all(max(pair) <= size + room for size, pair in zip(problem.input_size, problem.padding))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_every_border(mode):
    tried = 0
    for problem in PROBLEMS:
        if problem.transposed or not fits(problem, mode) or not any(map(any, problem.padding)):
            continue
        tried += 1
        x, w, b, gy = integers(problem)
        padded, wide = with_border(problem, x, mode)
        expected = results(padded, wide, w, b, gy)
        if problem.bias:
            expected["output"] = expected["output"] + b.reshape(-1, *(1,) * problem.spatial_dims)
        folded = np.zeros(x.size, np.int64)
        np.add.at(folded, with_border(problem, np.arange(x.size).reshape(x.shape), mode)[1], expected["input_grad"])
        expected["input_grad"] = folded.reshape(x.shape)
        for part, array in expected.items():
            for at in itertools.islice(np.ndindex(array.shape), 12):
                options = {"at": at, "of": part, "grad_output": gy, "padding_mode": mode}
                trace = explain(problem, x, w, *([b] if problem.bias else []), **options)
                assert trace.computed == array[at], str(trace)
                assert all(term.place in ("inside", mode) for term in trace.terms)
        index = tuple(size - 1 for size in x.shape)
        assert explain(problem, at=(0,) * gy.ndim, padding_mode=mode).feeds(index) == one_hot_support(
            problem, index, mode
        )
    assert tried > 10


# ---- numbers --------------------------------------------------------------------------------------------------


COMPUTE = {"float16": "float32", "bfloat16": "float32"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"])
def test_an_ordinary_output_is_the_definitions_bit_for_bit(dtype):
    problem = ConvProblem.parse(f"conv2d n2 c4 o6 i5x6 k3x2 s2x1 p1:2x0:1 g2 bias {dtype}")
    rng = np.random.default_rng(3)
    storage = "float32" if dtype == "bfloat16" else dtype
    arrays = [rng.standard_normal(s) for s in (problem.input_shape, problem.weight_shape, (6,))]
    if "complex" in dtype:
        arrays = [array + 1j * rng.standard_normal(array.shape) for array in arrays]
    arrays = [reference.rounded(array.astype(COMPUTE.get(dtype, dtype)), dtype) for array in arrays]
    expected = reference.conv(problem, *arrays)
    assert expected.dtype == storage
    for at in itertools.islice(np.ndindex(expected.shape), 0, None, 5):
        trace = explain(problem, *arrays, at=at)
        assert trace.computed == expected[at].item()
        exact = [float(part) for part in trace.exact]
        assert abs(complex(*exact) - trace.computed) < {"float16": 1e-2, "bfloat16": 1e-1}.get(dtype, 1e-4)


def test_integers_wrap_once():
    problem = ConvProblem.parse("conv1d c1 o1 i3 k3 bias int8")
    trace = explain(problem, [[100, 100, -100]], [[[100, 100, 100]]], [7], at=(0, 0))
    assert [term.running for term in trace.terms] == [10000, 20000, 10000]
    assert trace.exact == (10007,)
    assert trace.computed == 10007 % 256
    assert "10007" in str(trace)


def test_fractions_stay_fractions():
    third = Fraction(1, 3)
    x, w = np.array([[third, third]], object), np.array([[[third, 2]]], object)
    trace = explain(x, w, at=(0, 0))
    assert trace.problem.dtype == "object"
    assert trace.exact == (Fraction(7, 9),)
    assert trace.computed == Fraction(7, 9)
    assert trace.document["computed"] == "7/9"


def test_complex_gradients_are_conjugated_as_torchs_are():
    problem = ConvProblem.parse("conv1d c1 o1 i2 k2 complex128")
    x, w, gy = np.array([[1 + 2j, 3]]), np.array([[[1j, 2]]]), np.array([[1 + 1j]])
    trace = explain(problem, x, w, at=(0, 0), of="input_grad", grad_output=gy)
    assert trace.computed == (1 + 1j) * -1j
    assert trace.exact == (1, -1)
    assert explain(problem, x, w, at=(0, 0, 0), of="weight_grad", grad_output=gy).computed == (1 + 1j) * (1 - 2j)
    assert explain(problem, x, w, at=(0, 0)).document["computed"] == [4.0, 1.0]


def test_what_is_infinite_has_no_exact_sum():
    problem = ConvProblem.parse("conv1d c1 o1 i2 k3 p1 float32")
    trace = explain(problem, [[1.0, np.nan]], [[[np.inf, 1.0, 1.0]]], at=(0, 0))
    assert trace.exact == ()
    assert trace.computed != trace.computed
    document = json.loads(trace.to_json())
    assert document["terms"][0]["values"] == {"input": 0.0, "weight": "Infinity"}
    assert document["computed"] == "NaN"
    assert "nan" in str(trace)


def test_a_gradient_without_weights_is_that_of_the_sum():
    problem = ConvProblem.parse("conv1d n2 c1 o2 i4 k2 bias float32")
    trace = explain(problem, at=(1,), of="bias_grad")
    assert trace.computed == 6
    assert [term.output for term in trace.terms] == [(n, 1, o) for n in range(2) for o in range(3)]
    assert trace.window == ((0, 1, 2),)


# ---- calls ----------------------------------------------------------------------------------------------------


def test_arrays_and_options_state_the_problem():
    x, w = np.arange(24.0).reshape(1, 2, 3, 4), np.ones((2, 1, 2, 2))
    trace = explain(x, w, [5.0, 7.0], at=(0, -1, 0, 1), stride=(1, 2), padding=((0, 0), (1, 0)), groups=2)
    assert str(trace.problem) == "conv2d n1 c2 o2 i3x4 k2x2 s1x2 p0x1:0 g2 bias float64"
    assert trace.at == (0, 1, 0, 1)
    assert trace.window == ((0, 1), (1, 2))
    assert trace.computed == 13 + 14 + 17 + 18 + 7
    transposed = explain(x, w, at=(0, 0, 0, 0), transposed=True, stride=2, output_padding=1, groups=2)
    assert transposed.problem.op == "conv_transpose2d"
    assert [term.input for term in transposed.terms] == [(0, 0, 0, 0)]


def test_a_problem_alone_draws_the_same_numbers_every_time():
    problem = ConvProblem.parse("conv2d c2 o3 i4x5 k3x2 bias uint8")
    one, two = explain(problem, at=(2, 1, 3)), explain(problem, at=(2, 1, 3))
    assert one == two
    assert all(all(term.values) for term in one.terms)
    assert one != explain(problem, at=(2, 1, 2))


def test_a_text_is_its_problem():
    layer = "nn.Conv2d(1, 1, (2, 3), padding=(0, 1), padding_mode='reflect', bias=False)(x[1, 3, 4])"
    problem = ConvProblem.parse("conv2d c1 o1 i3x4 k2x3 p0x1 float32")
    for given in (None, "circular"):
        expected = explain(problem, at=(0, 1, 0), padding_mode=given or "reflect")
        assert str(explain(layer, at=(0, 1, 0), padding_mode=given)) == str(expected)
    x, w = np.arange(12.0).reshape(1, 3, 4), np.arange(6.0).reshape(1, 1, 2, 3)
    assert str(explain(str(problem), x, w, at=(0, 1, 0))) == str(explain(problem, x, w, at=(0, 1, 0)))


def test_a_weight_without_spatial_axes_gets_no_note():
    with pytest.raises(RuntimeError, match="at least three dimensions") as refused:
        explain(np.ones((5, 5)), np.ones((3, 3)), at=(0, 0))
    assert not getattr(refused.value, "__notes__", None)


def test_json_is_the_document():
    problem = ConvProblem.parse("conv2d n1 c2 o3 i4x5 k3x2 s2x1 p1x0 float32")
    trace = explain(problem, at=(0, 1, 0, 2))
    document = json.loads(trace.to_json())
    assert document == trace.document
    assert document["at"] == [0, 1, 0, 2]
    assert document["shape"] == [1, 3, 2, 4]
    assert document["window"] == [[-1, 0, 1], [2, 3]]
    assert len(document["terms"]) == 12
    assert document["terms"][0]["input"] is None
    assert document["terms"][0]["place"] == "zeros"
    assert document["terms"][2]["input"] == [0, 0, 0, 2]
    assert [Fraction(part) for part in document["exact"]] == list(trace.exact)


@pytest.mark.parametrize(
    ("operands", "options", "error", "text"),
    [
        ([], {"at": (0,)}, TypeError, "0 operands"),
        ([np.ones((1, 3))], {"at": (0, 0)}, TypeError, "1 operands"),
        ([np.ones((1, 3)), np.ones((1, 2, 2))], {"at": (0, 0)}, RuntimeError, "to have 2 channels"),
        ([np.ones((1, 3)), np.ones((1, 1, 2))], {"at": (0, 2)}, IndexError, r"shape \(1, 2\)"),
        ([np.ones((1, 3)), np.ones((1, 1, 2))], {"at": (0,)}, IndexError, "an index has length 2"),
        ([np.ones((1, 3)), np.ones((1, 1, 2))], {"at": (0, 0), "of": "grad_bias"}, IndexError, "an index has length 1"),
        ([np.ones((1, 3)), np.ones((1, 1, 2))], {"at": (0, 0), "of": "grad"}, ValueError, "weight_grad"),
        ([np.ones((1, 3)), np.ones((1, 1, 2))], {"at": (0, 0), "padding_mode": "edge"}, ValueError, "replicate"),
        (
            [np.ones((1, 3)), np.ones((1, 1, 2))],
            {"at": (0, 0), "padding_mode": "reflect", "padding": 3},
            ValueError,
            "at most 2",
        ),
        (
            [np.ones((1, 3)), np.ones((1, 1, 2))],
            {"at": (0, 0), "padding_mode": "circular", "transposed": True},
            ValueError,
            "no border",
        ),
        ([ConvProblem.parse("conv1d c1 o1 i3 k2")], {"at": (0, 0), "stride": 2}, TypeError, "stride"),
        (
            [ConvProblem.parse("conv1d c1 o1 i3 k2"), np.ones((1, 4)), np.ones((1, 1, 2))],
            {"at": (0, 0)},
            RuntimeError,
            "but got",
        ),
    ],
)
def test_what_is_refused(operands, options, error, text):
    with pytest.raises(error, match=text):
        explain(*operands, **options)


def test_index_from_the_end():
    assert checked_index((-1, 0), (2, 3), "input") == (1, 0)
    with pytest.raises(IndexError, match="input has shape"):
        checked_index((-3, 0), (2, 3), "input")
