"""A trace as text: the formula, the table, the sum."""

from __future__ import annotations

from miniconv import ConvProblem, explain
from miniconv.explain import links


def test_the_text_says_everything():
    problem = ConvProblem.parse("conv2d n1 c4 o6 i5x6 k3x2 s2x1 p1x0 d1x2 g2 bias float32")
    text = str(explain(problem, at=(0, 4, 0, 1)))
    head, formula, relation, *_ = text.splitlines()
    assert head == str(problem)
    assert formula == (
        "output[n, oc, oh, ow] = bias[oc] + sum over ic in oc's group, kh, kw of input[n, ic, ih, iw] * "
        "weight[oc, ic % 2, kh, kw]"
    )
    assert relation == "where ih = oh * 2 - 1 + kh, iw = ow + kw * 2"
    assert "[0, 2, -1, 1]z" in text
    assert "[4, 1, 2, 1]" in text
    assert "z: a zero of the border" in text
    assert "(bias)" in text
    assert len({len(row) for row in text.splitlines()[5:18]}) == 1  # aligned


def test_a_long_list_is_cut_in_the_middle():
    problem = ConvProblem.parse("conv2d c8 o1 i5x6 k3x3 int64")
    text = str(explain(problem, at=(0, 0, 0)))
    assert "... 48 more ..." in text
    assert "72 terms" in text
    assert "(66 more)" in text
    assert len(text.splitlines()) < 36


def test_a_rounded_sum_is_shown_beside_the_exact_one():
    problem = ConvProblem.parse("conv1d c1 o1 i2 k2 float16")
    text = str(explain(problem, [[2048.0, 1.0]], [[[1.0, 1.0]]], at=(0, 0)))
    assert text.endswith("2048*1 + 1*1 = 2048 in float16; exactly 2049")


def test_an_output_that_nothing_reaches():
    trace = explain(ConvProblem.parse("conv_transpose1d c1 o1 i2 k1 s3 bias int64"), [[5, 6]], [[[7]]], [9], at=(0, 1))
    assert trace.terms == ()
    assert trace.computed == 9
    assert str(trace).endswith("0 terms\n9 (bias) = 9")
    assert list(links(trace.problem, "output", (0, 1))) == []
