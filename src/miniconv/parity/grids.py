"""Which cases are run: axes as data, full products over the axes that interact, and a spread over the rest.

The geometry of conv2d is one full product, because batch, groups, kernel, stride, padding, dilation and bias meet in
the same index arithmetic and in torch's choice between its own backends:

    batch 4 * groups 4 * kernel 5 * stride 3 * padding 5 * dilation 3 * bias 2 = 7,200

of which the illegal ones stay in: they must raise what torch raises. On top of it:

- ``geometry``: times every dtype (12), exact integers, contiguous: the full product of 86,400. The dtype decides the
  backend, the accumulation and the rounding, so it interacts with everything.
- ``layouts``: times every layout that is not contiguous (5): 36,000; the dtype is spread.
- ``random``: real-valued numbers, judged by the bounds; 14,400, the floating and complex dtypes and the layouts spread.
- ``padding_modes``: mode 3 * kernel 5 * padding 5 * dilation 3 * batch 4, six times: 5,400; what a border holds rests
  on these; groups, stride, bias, dtype, layout and data are spread.
- ``specials``: NaN, Inf, signed zeros, subnormals (5 kinds) * kernel 5 * padding 5 * batch 4 * dtype 7: 3,500; the
  rest is spread.
- ``listed("errors.txt")`` and ``listed("regressions.txt")``: single cases, one line each.

To spread an axis is to draw its value for each case from a seeded generator; the tests check that every pair of values
of any two axes that can meet does. No two axes of a case are equal by accident: H != W, K_h != K_w but for the square
kernels, C_in != C_out wherever groups allow, padding, stride and dilation have a form that differs per axis.
"""

from __future__ import annotations

import itertools
import random as _random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from typing import Any

from miniconv.parity.cases import (
    COMPLEX_DTYPES,
    DTYPES,
    FLOAT_DTYPES,
    LAYOUTS,
    PADDING_MODES,
    Case,
)
from miniconv.parity.data import SPECIALS

__all__ = [
    "AXES", "GRIDS", "counts", "full_grid", "geometries", "geometry", "layouts", "listed", "padding_modes", "random",
    "short_grid", "specials", "spread",
]  # fmt: skip

AXES: Mapping[str, Sequence[Any]] = {
    "batch": (None, 0, 1, 3),
    "groups": ("1", "2", "depthwise", "multiplier"),
    "kernel": ((1, 1), (3, 3), (3, 2), (1, 5), "larger"),
    "stride": ((1, 1), (2, 2), (2, 3)),
    "padding": ((0, 0), (1, 2), "same", "valid", "larger"),
    "dilation": ((1, 1), (2, 2), (1, 3)),
    "bias": (False, True),
}
"""The geometry of conv2d. ``larger``: a kernel larger than the input, a padding larger than the kernel."""

_CHANNELS = {"1": (4, 6, 1), "2": (4, 6, 2), "depthwise": (5, 5, 5), "multiplier": (3, 6, 3)}  # C_in, C_out, groups
_INPUT, _KERNEL_LARGER, _INPUT_SMALLER = (7, 9), (5, 7), (4, 5)


def _case(batch: Any, groups: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, bias: Any) -> Case:
    """One point of the geometry."""
    in_channels, out_channels, count = _CHANNELS[groups]
    size, kernel = (_INPUT_SMALLER, _KERNEL_LARGER) if kernel == "larger" else (_INPUT, kernel)
    if padding == "larger":
        padding = (kernel[0] + 1, kernel[1] + 2)
    return Case(batch, in_channels, out_channels, size, kernel, stride, padding, dilation, count, bias)


def geometries(**chosen: Sequence[Any]) -> list[Case]:
    """The full product of ``AXES``, any of them replaced by the values in ``chosen``.

    >>> len(geometries()), len(geometries(batch=[1], kernel=[(3, 2)]))
    (7200, 360)
    """
    return [_case(*point) for point in itertools.product(*{**AXES, **chosen}.values())]


def spread(cases: Iterable[Case], seed: int, **axes: Sequence[Any]) -> Iterator[Case]:
    """``cases`` with a value drawn for each field in ``axes``, the same on every machine."""
    rng = _random.Random(seed)
    for case in cases:
        yield replace(case, **{name: rng.choice(values) for name, values in axes.items()})


def geometry(dtype: str) -> list[Case]:
    """Every geometry over exact integers in one dtype."""
    return [replace(case, dtype=dtype) for case in geometries()]


def layouts(layout: str) -> list[Case]:
    """Every geometry over exact integers in one layout, the dtypes spread."""
    cases = [replace(case, layout=layout) for case in geometries()]
    return list(spread(cases, LAYOUTS.index(layout), dtype=DTYPES))


def random(dtype: str = "") -> list[Case]:
    """Every geometry over real-valued numbers, in ``dtype`` or with the dtypes spread; the layouts spread."""
    dtypes = (dtype,) if dtype else (*FLOAT_DTYPES, *COMPLEX_DTYPES)
    cases = [replace(case, data="random") for case in geometries()]
    return list(spread(cases, len(dtypes), dtype=dtypes, layout=LAYOUTS))


def padding_modes(mode: str) -> list[Case]:
    """One border mode with every kernel, padding, dilation and batch, six times; the rest spread."""
    points = _sampled(PADDING_MODES.index(mode), 6, "groups", "stride", "bias")
    cases = [replace(case, padding_mode=mode) for case in points]
    return list(spread(cases, PADDING_MODES.index(mode), dtype=DTYPES, layout=LAYOUTS, data=("integers", "random")))


def specials(dtype: str) -> list[Case]:
    """NaN, Inf, signed zeros and subnormals with every kernel, padding and batch; the rest spread."""
    points = _sampled(DTYPES.index(dtype), len(SPECIALS), "groups", "stride", "dilation", "bias")
    cases = [replace(case, data="specials", dtype=dtype, seed=at % len(SPECIALS)) for at, case in enumerate(points)]
    return list(spread(cases, DTYPES.index(dtype), layout=LAYOUTS))


def _sampled(seed: int, copies: int, *names: str) -> list[Case]:
    """``copies`` of the product of the axes of ``AXES`` but for ``names``, whose values are drawn."""
    rng = _random.Random(seed)
    full = [values for name, values in AXES.items() if name not in names]
    kept = [name for name in AXES if name not in names]
    cases = []
    for point in itertools.product(*full):
        for _ in range(copies):
            drawn = {name: rng.choice(AXES[name]) for name in names}
            cases.append(_case(**{**dict(zip(kept, point)), **drawn}))
    return cases


def listed(name: str) -> list[Case]:
    """The cases in a file of this package, one a line; ``#`` starts a comment."""
    text = resources.files("miniconv.parity").joinpath(name).read_text(encoding="utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Case.parse(line) for line in lines if line]


GRIDS: Mapping[str, Callable[[], list[Case]]] = {
    **{f"geometry-{dtype}": partial(geometry, dtype) for dtype in DTYPES},
    **{f"layout-{layout}": partial(layouts, layout) for layout in LAYOUTS[1:]},
    "random-float32": partial(random, "float32"),
    "random-any": random,
    **{f"mode-{mode}": partial(padding_modes, mode) for mode in PADDING_MODES[1:]},
    **{f"specials-{dtype}": partial(specials, dtype) for dtype in (*FLOAT_DTYPES, *COMPLEX_DTYPES)},
    "errors": partial(listed, "errors.txt"),
    "regressions": partial(listed, "regressions.txt"),
}
"""Every grid by name. Their union is what the parity tests run."""


def full_grid() -> list[Case]:
    """The union of ``GRIDS``."""
    return [case for grid in GRIDS.values() for case in grid()]


def short_grid(size: int = 3000) -> list[Case]:
    """A seeded sample, equally many of each grid, for demonstrations; at the default size every pair of values meets.

    Args:
        size: how many cases at most.
    """
    rng = _random.Random(0)
    each = size // len(GRIDS)
    cases = []
    for grid in (make() for make in GRIDS.values()):
        cases += rng.sample(grid, min(each, len(grid)))
    rng.shuffle(cases)  # so that the first few hundred are a sample too
    return cases


def counts(cases: Iterable[Case]) -> dict[str, Counter[str]]:
    """How many cases have each value of each axis.

    >>> counts(geometries())["groups"]["depthwise"]
    1800
    """
    result: dict[str, Counter[str]] = {}
    for case in cases:
        for axis, value in case.axes.items():
            result.setdefault(axis, Counter())[value] += 1
    return result
