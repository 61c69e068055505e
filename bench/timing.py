"""Times that can be compared: interleaved rounds, and medians.

A machine's clock and its neighbours change from second to second, so two engines are never timed one after the other.
In each round every engine gets one sample, in an order drawn anew; what is compared is the median over the rounds of
the ratio within a round.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import Any, NamedTuple, TypeVar

SAMPLE_SECONDS = 2e-3
"""A sample repeats a call until it is about so long: the clock's own cost then disappears."""

SETTLE_SECONDS = 0.05
"""After so long worker threads that wait for their engine's next call have stopped spinning and sleep."""

T = TypeVar("T")


class Sample(NamedTuple):
    """One sample: the time of one call, and how many cores were busy during it."""

    seconds: float
    cores: float


def sampler(
    run: Callable[[], Any],
    seconds: float = SAMPLE_SECONDS,
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    settle: float = 0.0,
) -> Callable[[], Sample]:
    """A function that times ``run``; each sample is long enough, and ``context`` is entered outside the time.

    Args:
        run: called three times here: a first call may compile, and a second one decide what later ones find.
        seconds: the least length of a sample.
        context: what must be open while ``run`` runs.
        settle: sleep so long before each sample, so that other engines' threads leave the cores, and then call ``run``
            once outside the time, which wakes its own.
    """
    with context():
        run()
        run()
        start = time.perf_counter()
        run()
        once = time.perf_counter() - start
    repeats = max(1, math.ceil(seconds / max(once, 1e-7)))

    def sample() -> Sample:
        with context():
            if settle:
                time.sleep(settle)
                run()
            busy, start = time.process_time(), time.perf_counter()
            for _ in range(repeats):
                run()
            elapsed = time.perf_counter() - start
            busy = time.process_time() - busy
        return Sample(elapsed / repeats, busy / elapsed)

    return sample


def interleave(
    samplers: Mapping[str, Callable[[], T]], seconds: float, least: int = 5, most: int = 500
) -> dict[str, list[T]]:
    """Rounds in which each sampler runs once, until the time is spent.

    Args:
        samplers: by name.
        seconds: stop after the first round that ends later; a round is never cut short.
        least: rounds that run in any case.
        most: rounds after which it stops in any case.

    Returns:
        For each name its samples, one a round.
    """
    rng = random.Random(0)
    samples: dict[str, list[T]] = {name: [] for name in samplers}
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        for turn in range(most):
            if turn >= least and time.perf_counter() - start > seconds:
                break
            for name in rng.sample(list(samplers), len(samplers)):
                samples[name].append(samplers[name]())
    finally:
        if collecting:
            gc.enable()
    return samples


def speed_up(reference: Sequence[float], times: Sequence[float]) -> float:
    """How many times faster ``times`` are than ``reference``: the median of the ratios within each round."""
    return median(r / t for r, t in zip(reference, times, strict=True))


def geometric_mean(values: Iterable[float]) -> float:
    """The n-th root of the product; of nothing: NaN."""
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs)) if logs else math.nan
