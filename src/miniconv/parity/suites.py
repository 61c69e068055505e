"""Which cases a run judges: a suite by its name, narrowed by operator, dtype, words and shard.

``smoke`` is a sample of 600 cases, for the first look; ``ci`` one of 20,000 for each operator; ``full`` every grid;
``models`` the layers of published networks (``workloads.json``) in float32, at most two images, halved where the oracle
would take gigabytes; ``regressions`` the cases that some convolution once got wrong. Everything is drawn from the seed,
so one line names one set of cases on every machine.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources

from miniconv.parity.cases import Case
from miniconv.parity.data import SPECIALS
from miniconv.parity.filters import Filter
from miniconv.parity.grids import Makers, drawn, grids, listed

__all__ = ["choose", "models", "shard"]

SMOKE, CI = 600, 20_000
HUGE = 1000
"""A stride from which on torch's gradients take seconds; ``smoke`` leaves it out."""

MUCH = 10**6
"""Multiply-adds from which on a convolution written as plain loops takes seconds; ``smoke`` leaves it out."""

WINDOWS = 2**26
"""Numbers in the windows of one layer, beyond which its image is halved: the oracle holds a few times so many."""

PLENTY = 10
"""``smoke`` draws so many times the cases that it needs where words or dtypes leave some out."""


def choose(
    suite: str,
    ops: Sequence[str],
    *,
    level: str = "drop-in",
    dtypes: Collection[str] = (),
    words: str = "",
    seed: int = 0,
) -> list[Case]:
    """The cases of a suite, each once, in an order in which every beginning is a sample too.

    Args:
        suite: one of ``miniconv.parity.options.SUITES``.
        ops: which operators.
        level: one of ``miniconv.parity.options.LEVELS``: odd forms of arguments are asked for by ``drop-in`` alone, and
            geometries that have no result by all but ``values``.
        dtypes: which dtypes; empty for all.
        words: what a case must match, as ``miniconv.parity.filters.Filter`` reads it; empty for all.
        seed: of the sample and of the numbers in it.

    Raises:
        ValueError: ``words`` cannot be read.
    """
    wanted = Filter(words) if words else None

    def right(case: Case) -> bool:
        return (
            not (case.given and level != "drop-in")
            and not (case.must_be_refused and level == "values")
            and (not dtypes or case.dtype in dtypes)
            and (wanted is None or wanted(case))
        )

    rng = random.Random(seed)
    cases = dict.fromkeys(case for op in ops for case in _of_op(suite, op, len(ops), right, bool(dtypes or words), rng))
    chosen = [replace(case, seed=case.seed + seed * len(SPECIALS)) for case in cases] if seed else list(cases)
    if suite not in ("models", "regressions"):
        rng.shuffle(chosen)
    return chosen


def _of_op(
    suite: str, op: str, ops: int, right: Callable[[Case], bool], narrowed: bool, rng: random.Random
) -> Iterable[Case]:
    """The suite's cases of one operator, of how many; whether few of them are wanted."""
    if suite == "models":
        return filter(right, models()) if op == "conv2d" else ()
    if suite == "regressions":
        return filter(right, listed("regressions.txt", op))
    if suite == "full":
        return (case for make in grids(op).values() for case in make() if right(case))
    if suite == "ci":
        return _deal(grids(op), CI, right, rng)
    size = SMOKE // ops
    return _deal(
        drawn(op, size * (PLENTY if narrowed else 1), rng.getrandbits(16)),
        size,
        lambda case: max(case.stride) < HUGE and _work(case) < MUCH and right(case),
        rng,
    )


def _work(case: Case) -> int:
    """Its multiply-adds."""
    places = case.input_size if case.transposed else case.output_size
    return (case.batch or 1) * math.prod(case.weight_shape) * math.prod(places)


def _deal(makers: Makers, size: int, right: Callable[[Case], bool], rng: random.Random) -> Iterator[Case]:
    """``size`` of the cases, equally many of each grid as far as the small ones have them.

    Of a grid's illegal geometries there are as many as legal ones, and one refusal is soon as good as another: those of
    all grids count as one grid more.
    """
    grids: list[list[Case]] = []
    refused: list[Case] = []
    for name, make in makers.items():
        cases = [case for case in make() if right(case)]
        aside = [] if name in ("errors", "regressions") else [case for case in cases if case.must_be_refused]
        refused += aside
        grids.append([case for case in cases if not case.must_be_refused] if aside else cases)
    every = sorted([*grids, refused], key=len)
    for number, cases in enumerate(every):
        share = min(len(cases), size // (len(every) - number))
        size -= share
        yield from rng.sample(cases, share)


def models() -> list[Case]:
    """The layers of published networks with random numbers in float32."""
    text = resources.files("miniconv.parity").joinpath("workloads.json").read_text(encoding="utf-8")
    return [_layer(row) for row in json.loads(text)["layers"]]


def _layer(row: Mapping[str, list[int] | int]) -> Case:
    """One line of the file: ``input`` is N, C, H, W, padding one number for both sides of each axis."""

    def numbers(name: str) -> tuple[int, ...]:
        value = row[name]
        return (value,) if isinstance(value, int) else tuple(value)

    (batch, channels, *size), (outputs,), (groups,) = map(numbers, ("input", "out_channels", "groups"))
    batch = min(batch, 2)
    while batch * max(channels, outputs) * math.prod(size) * math.prod(numbers("kernel")) > WINDOWS:
        size = [side // 2 for side in size]
    return Case(
        batch, channels, outputs, tuple(size), numbers("kernel"), numbers("stride"), numbers("padding"),
        numbers("dilation"), groups, data="random",
    )  # fmt: skip


def shard(cases: Sequence[Case], text: str) -> list[Case]:
    """Part i of n, from ``i/n``: every n-th case, so that the parts of one run take equally long.

    >>> shard("abcdefg", "2/3")
    ['b', 'e']

    Raises:
        ValueError: ``text`` is no such thing.
    """
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise ValueError(f"a shard is i/n, such as 2/4, but got {text!r}")
    return list(cases[int(index) - 1 :: int(count)])
