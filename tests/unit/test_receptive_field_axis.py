"""Fields on one axis against sets of positions that are followed one by one."""

from __future__ import annotations

import random

import pytest

from miniconv import ConvProblem
from miniconv.receptive_field.axis import AxisField, Steps, Unfollowed, scatter, window


def stated(kind, kernel, stride, padding, dilation):
    """An operation, and the positions that an output of it looks at, from the relation itself."""
    if kind == "window":
        return window(kernel, stride, padding, dilation), lambda o: [
            o * stride - padding + k * dilation for k in range(kernel)
        ]
    return scatter(kernel, stride, padding, dilation), lambda o: [
        i for i in range(-200, 200) for k in range(kernel) if o == i * stride - padding + k * dilation
    ]


@pytest.mark.parametrize("seed", range(40))
def test_a_chain_sees_what_its_operations_look_at(seed):
    rng = random.Random(seed)
    field, looks = AxisField.one_position(31), []
    for _ in range(rng.randrange(1, 5)):
        numbers = [rng.choice(choice) for choice in ((1, 2, 3, 4), (1, 2, 3), (0, 1, 2), (1, 1, 2, 3))]
        steps, look = stated(rng.choice(("window", "scatter")), *numbers)
        field = field.through(steps)
        looks.append(look)
    widest = 0
    for output in range(-3, 12):
        seen = {output}
        for look in reversed(looks):
            seen = {place for one in seen for place in look(one)}
        assert field.span(output) == ((min(seen), max(seen)) if seen else None)
        assert field.positions(output) == sorted(place for place in seen if 0 <= place < 31)
        inside = field.positions(output)
        assert field.clipped(output) == ((inside[0], inside[-1]) if inside else None)
        widest = max(widest, max(seen) - min(seen) + 1 if seen else 0)
    assert field.size >= widest
    assert field.size == widest or field.period > 12


def test_a_stack_of_convolutions_is_as_the_problem_says():
    stack = [ConvProblem.parse(f"conv1d c1 o1 {text}") for text in ("i99 k7 s2 p3", "i50 k3 p1:0 d2", "i47 k4 s3 p2")]
    field = AxisField.one_position(99)
    for p in stack:
        field = field.through(window(p.kernel_size[0], p.stride[0], p.padding[0][0], p.dilation[0]))
    (expected,) = ConvProblem.receptive_field_of_stack(stack)
    assert (field.size, field.stride, field.start) == (expected.size, expected.stride, expected.start)
    assert field.centre == expected.start + (expected.size - 1) / 2


@pytest.mark.parametrize("seed", range(20))
def test_branches_are_united(seed):
    rng = random.Random(seed)
    stride = rng.choice((1, 2, 3))
    branches = [AxisField.one_position(25).through(window(rng.randrange(1, 6), stride, rng.randrange(4))) for _ in "ab"]
    both = branches[0].united(branches[1], 8)
    for output in range(8):
        assert both.positions(output) == sorted({*branches[0].positions(output), *branches[1].positions(output)})


def test_branches_of_other_periods_are_united():
    down = AxisField.one_position(24).through(window(3, 2, 1)).through(scatter(2, 2))
    up_twice = AxisField.one_position(24).through(window(2, 3)).through(scatter(3, 3))
    both = down.united(up_twice, 24)
    assert (both.period, both.stride) == (6, 1)
    for output in range(24):
        assert both.positions(output) == sorted({*down.positions(output), *up_twice.positions(output)})


def test_mismatched_strides_are_refused():
    one = AxisField.one_position(9)
    with pytest.raises(Unfollowed, match="one moves by 1 from an output to the next, the other by 2"):
        one.united(one.through(window(1, 2)), 4)
    with pytest.raises(Unfollowed, match="mismatched"):
        one.united(one.only(3), 9)
    with pytest.raises(Unfollowed, match="mismatched"):
        one.through(window(1, 2)).everything(5).united(one, 9)  # the odd positions are not seen
    whole = one.everything(9)
    assert one.united(whole, 9) == whole == whole.united(one, 9)


def test_all_outputs_together():
    field = AxisField.one_position(10).through(window(2, 4))
    whole = field.everything(2)
    assert whole.positions(0) == whole.positions(5) == [0, 1, 4, 5]
    assert whole.through(window(3)) == whole
    assert (whole.whole, whole.stride, whole.has_holes) == (True, 0, True)
    assert field.only(1).positions(0) == [4, 5]
    assert field.only(9).positions(0) == []


def test_the_shortest_period_is_kept():
    again = AxisField.one_position(20).through(scatter(2, 2)).through(window(1, 2))
    assert again == AxisField.one_position(20)
    assert AxisField.one_position(20).through(Steps(2, ((0,), (1,)))) == AxisField.one_position(20)
