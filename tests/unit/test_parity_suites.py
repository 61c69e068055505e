"""Suites: which cases, each once, the same on every machine; and the words, shards and seeds that narrow them."""

from __future__ import annotations

import math

import pytest

from miniconv.parity.case_text import DTYPES
from miniconv.parity.cases import OPS, Case
from miniconv.parity.data import SPECIALS
from miniconv.parity.filters import Filter
from miniconv.parity.grids import counts, grids, listed
from miniconv.parity.options import LEVELS, SUITES
from miniconv.parity.suites import CI, SMOKE, WINDOWS, choose, models, shard


@pytest.mark.parametrize("op", ["conv1d", "conv_transpose2d"])
def test_smoke_is_a_sample_of_everything(op):
    cases = choose("smoke", [op])
    assert SMOKE - 20 < len(cases) == len(set(cases)) <= SMOKE  # two grids may hold the same case
    assert {case.op for case in cases} == {op}
    of = counts(cases)
    assert set(of["dtype"]) == set(DTYPES)
    assert set(of["data"]) == {"integers", "random", "specials"}
    assert 0 < sum(case.must_be_refused and not case.given for case in cases) < SMOKE // 4
    assert any(case.given for case in cases)


def test_smoke_of_all_operators_is_no_longer():
    cases = choose("smoke", OPS)
    assert SMOKE - 20 < len(cases) <= SMOKE
    assert {case.op for case in cases} == set(OPS)
    assert {case.op for case in cases[:60]} == set(OPS)  # the beginning is a sample too


def test_ci_has_what_it_promises():
    cases = choose("ci", ["conv2d"])
    assert CI - 50 < len(cases) <= CI
    assert set(listed("errors.txt")) | set(listed("regressions.txt")) <= set(cases)


def test_full_is_every_grid():
    assert set(choose("full", ["conv3d"])) == {case for make in grids("conv3d").values() for case in make()}


def test_regressions_keep_their_order():
    assert choose("regressions", ["conv1d"]) == listed("regressions.txt", "conv1d")


def test_models_are_layers_of_networks():
    cases = choose("models", OPS)
    assert len(cases) > 90
    assert len(cases) == len(set(models()))
    assert Case.parse("conv2d n1 c3 o64 i112x112 k7x7 s2x2 p3x3 float32 random") in cases  # halved
    assert Case.parse("conv2d n1 c64 o64 i224x224 k3x3 p1x1 float32 random") in cases
    assert all(
        math.prod(c.weight_shape[2:]) * math.prod(c.input_shape[2:]) * c.batch * c.out_channels <= WINDOWS
        for c in cases
    )
    assert choose("models", ["conv1d"]) == []


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_asks_for_what_it_judges(level):
    cases = choose("smoke", ["conv2d"], level=level)
    assert any(case.given for case in cases) is (level == "drop-in")
    assert any(case.must_be_refused and not case.given for case in cases) is (level != "values")


def test_narrowed_by_dtype_and_words():
    cases = choose("smoke", ["conv2d"], dtypes=["float32"], words="k3x2 and not random")
    assert SMOKE // 2 < len(cases) <= SMOKE
    assert {case.dtype for case in cases} == {"float32"}
    assert {case.kernel_size for case in cases} == {(3, 2)}
    assert "random" not in {case.data for case in cases}


def test_the_seed_draws_other_cases_and_other_numbers():
    first, again, other = (choose("smoke", ["conv1d"], seed=seed) for seed in (0, 0, 3))
    assert first == again
    assert len(set(first) & set(other)) == 0
    assert {case.seed // len(SPECIALS) for case in other} == {3}
    kinds = [{case.seed % len(SPECIALS) for case in cases if case.data == "specials"} for cases in (first, other)]
    assert kinds[0] == kinds[1] == set(range(len(SPECIALS)))
    assert Case.parse(str(other[0])) == other[0]


def test_shards_are_a_partition():
    cases = choose("smoke", ["conv1d"])
    parts = [shard(cases, f"{part}/7") for part in range(1, 8)]
    assert sorted(str(case) for part in parts for case in part) == sorted(map(str, cases))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "a/b", "1/", "-1/3", "1/2/3"])
def test_no_such_shard(text):
    with pytest.raises(ValueError, match="i/n"):
        shard([], text)


@pytest.mark.parametrize(
    ("words", "matches"),
    [
        ("bias", True), ("not bias", False), ("k3x2", True), ("k3", False), ("k3*", True), ("float??", True),
        ("groups=depthwise", True), ("groups=2 or bias", True), ("bias and float32", False),
        ("not float32 and bias", True), ("not (float32 or bias)", False), ("((bias))", True), ("not not bias", True),
        ("float32 or bias and g5", True), ("(float32 or bias) and g2", False),
    ],
)  # fmt: skip
def test_words(words, matches):
    assert Filter(words)(Case.parse("conv2d n1 c5 o5 i7x9 k3x2 g5 bias float16")) is matches


@pytest.mark.parametrize("words", ["and", "bias or", "not", "(bias", "bias)", "bias g2", "()", ""])
def test_words_that_cannot_be_read(words):
    with pytest.raises(ValueError, match="-k"):
        Filter(words)


def test_every_suite_is_known():
    for suite in SUITES:
        assert choose(suite, ["conv2d", "conv3d"][suite == "full" :][:1], words="n1 and not bias")
