"""The engine's paths, and which of them computes a problem.

The first that serves a problem is taken: each path refuses what it cannot do, or what a later one does faster, with a
sentence that ``ConvPlan.explain`` prints. The choice depends on the problem and on where its operands lie alone: on
neither batch nor threads, so that an image's bits do not either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from miniconv.codegen import engine
from miniconv.codegen.depthwise import depthwise, depthwise_refusal
from miniconv.codegen.depthwise_last import depthwise_last, depthwise_last_refusal
from miniconv.codegen.engine import Work
from miniconv.codegen.schedule import Layout
from miniconv.codegen.target import Target
from miniconv.codegen.winograd import winograd, winograd_refusal
from miniconv.codegen.winograd_cost import MANY, winograd_gain, worth_it
from miniconv.problem import ConvProblem

__all__ = ["PATHS", "Path", "choose"]

MOST_OUTPUTS = 4  # of a depthwise channel: more share its input better in the direct path's registers
FLOAT64_TAP_BYTES = 1 << 19  # beyond, transformed weights come from memory for each of the few tiles that a block holds
Refusal = Callable[[ConvProblem, Layout, Target], "str | None"]


class Path(NamedTuple):
    """One way of computing: how its work is prepared, why it is not taken, and whether it adds plain products only."""

    prepare: Callable[[ConvProblem, Layout, Target, int], Work]
    refusal: Refusal
    plain: bool


def _of_few_outputs(refusal: Refusal) -> Refusal:
    def reason(problem: ConvProblem, layout: Layout, target: Target) -> str | None:
        outputs, refused = problem.out_channels // problem.groups, refusal(problem, layout, target)
        if refused is None and outputs > MOST_OUTPUTS:
            return f"{outputs} outputs of one channel, which share their input better in registers"
        return refused

    return reason


def _has_usual_form(problem: ConvProblem) -> bool:
    """Whether its kernel and stride are of those that networks have: a few dozen forms of Winograd in all."""
    (rows, columns), (down, along) = problem.kernel_size, problem.stride
    return down == along and (rows == columns or 1 in (rows, columns))


def _no_winograd(problem: ConvProblem, layout: Layout, target: Target) -> str | None:
    del layout, target
    reason = winograd_refusal(problem)
    if reason is None and not _has_usual_form(problem):
        kernel, stride = ("x".join(map(str, pair)) for pair in (problem.kernel_size, problem.stride))
        return (
            "a form is compiled for each square kernel, and for each of a single row or column, at a stride that both "
            f"axes share, and these are {kernel} and {stride}"
        )
    size = problem.in_channels // problem.groups * problem.out_channels * 8
    if reason is None and problem.dtype == "float64" and size > FLOAT64_TAP_BYTES:
        return (
            f"in float64 {size} bytes of weight a tap are more than the {FLOAT64_TAP_BYTES} that are read fast enough"
        )
    if reason is None and not worth_it(problem):
        alone, many = winograd_gain(problem), winograd_gain(problem, MANY)
        return f"by count it is {alone:.2f} times as fast as the direct path for one image, {many:.2f} for one of many"
    return reason


PATHS = {
    "depthwise": Path(depthwise, _of_few_outputs(depthwise_refusal), plain=True),
    "depthwise_last": Path(depthwise_last, _of_few_outputs(depthwise_last_refusal), plain=True),
    "winograd": Path(winograd, _no_winograd, plain=False),
    "direct": Path(engine.direct, lambda problem, layout, target: None, plain=True),
}


def choose(problem: ConvProblem, layout: Layout, target: Target, reproducible: bool) -> tuple[str, dict[str, str]]:
    """The name of the path that computes ``problem``, and why those before it do not."""
    refused: dict[str, str] = {}
    for name, path in PATHS.items():
        plain_only = reproducible and not path.plain
        reason = "it rounds otherwise than a plain sum" if plain_only else path.refusal(problem, layout, target)
        if reason is None:
            return name, refused
        refused[name] = reason
    raise AssertionError("the direct path refuses nothing")
