"""Which cases are run: full products over the axes that interact, and a spread over the rest.

The geometry of an operator (``miniconv.parity.axes``) is one full product, because batch, groups, kernel, stride,
padding, dilation, output padding and bias meet in the same index arithmetic and in torch's choice between its own
backends: 7,200 points for conv1d and conv2d, 3,840 for conv3d, 10,368 for conv_transpose1d and conv_transpose2d, 5,184
for conv_transpose3d. The illegal ones stay in: they must raise what torch raises. On top of conv2d's:

- ``geometry``: times every dtype (12), exact integers, contiguous: the full product of 86,400. The dtype decides the
  backend, the accumulation and the rounding, so it interacts with everything.
- ``layouts``: times every layout that is not contiguous (5): 36,000; the dtype is spread.
- ``random``: real-valued numbers, judged by the bounds; 14,400, the floating and complex dtypes and the layouts spread.
- ``padding_modes``: mode 3 * kernel 5 * padding 5 * dilation 3 * batch 4, six times: 5,400; what a border holds rests
  on these; groups, stride, bias, dtype, layout and data are spread.
- ``specials``: NaN, Inf, signed zeros, subnormals (5 kinds) * kernel 5 * padding 5 * batch 4 * dtype 7: 3,500; the
  rest is spread.
- ``listed("errors.txt")`` and ``listed("regressions.txt")``: single cases, one line each.

The other operators have the same grids (``grids``), with every geometry once over exact integers, the dtypes and the
layouts spread, in place of the first two, and those two, times every dtype and layout, in ``full_products``.

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

from miniconv.parity.axes import AXES, case_at
from miniconv.parity.cases import COMPLEX_DTYPES, DTYPES, FLOAT_DTYPES, LAYOUTS, PADDING_MODES, Case
from miniconv.parity.data import SPECIALS

__all__ = [
    "GRIDS", "counts", "drawn", "exact", "full_grid", "full_products", "geometries", "geometry", "grids", "layouts",
    "layouts_of", "listed", "padding_modes", "random", "short_grid", "specials", "spread",
]  # fmt: skip

_INEXACT = (*FLOAT_DTYPES, *COMPLEX_DTYPES)


def layouts_of(op: str) -> tuple[str, ...]:
    """The layouts that the operator's operands can have: a signal has no channels_last."""
    return tuple(layout for layout in LAYOUTS if op[-2] != "1" or not layout.startswith("channels_last"))


def geometries(op: str = "conv2d", **chosen: Sequence[Any]) -> list[Case]:
    """The full product of the operator's ``AXES``, any of them replaced by the values in ``chosen``.

    >>> len(geometries()), len(geometries(batch=[1], kernel=[(3, 2)])), len(geometries("conv_transpose3d"))
    (7200, 360, 5184)
    """
    axes = {**AXES[op], **chosen}
    return [case_at(op, dict(zip(axes, point))) for point in itertools.product(*axes.values())]


def spread(cases: Iterable[Case], seed: int, /, **axes: Sequence[Any]) -> Iterator[Case]:
    """``cases`` with a value drawn for each field in ``axes``, the same on every machine."""
    rng = _random.Random(seed)
    for case in cases:
        yield replace(case, **{name: rng.choice(values) for name, values in axes.items()})


def geometry(dtype: str, op: str = "conv2d") -> list[Case]:
    """Every geometry over exact integers in one dtype."""
    return [replace(case, dtype=dtype) for case in geometries(op)]


def layouts(layout: str, op: str = "conv2d") -> list[Case]:
    """Every geometry over exact integers in one layout, the dtypes spread."""
    cases = [replace(case, layout=layout) for case in geometries(op)]
    return list(spread(cases, LAYOUTS.index(layout), dtype=DTYPES))


def exact(op: str) -> list[Case]:
    """Every geometry over exact integers, the dtypes and the layouts spread."""
    return list(spread(geometries(op), 0, dtype=DTYPES, layout=layouts_of(op)))


def random(dtype: str = "", op: str = "conv2d") -> list[Case]:
    """Every geometry over real-valued numbers, in ``dtype`` or with the dtypes spread; the layouts spread."""
    dtypes = (dtype,) if dtype else _INEXACT
    cases = [replace(case, data="random") for case in geometries(op)]
    return list(spread(cases, len(dtypes), dtype=dtypes, layout=layouts_of(op)))


def padding_modes(mode: str, op: str = "conv2d") -> list[Case]:
    """One border mode with every kernel, padding, dilation and batch, six times; the rest spread."""
    points = _sampled(op, PADDING_MODES.index(mode), 6, "groups", "stride", "bias")
    cases = [replace(case, padding_mode=mode) for case in points]
    options = {"dtype": DTYPES, "layout": layouts_of(op), "data": ("integers", "random")}
    return list(spread(cases, PADDING_MODES.index(mode), **options))


def specials(dtype: str = "", op: str = "conv2d") -> list[Case]:
    """NaN, Inf, signed zeros and subnormals with every kernel, padding and batch; the rest spread."""
    dtypes, copies = ((dtype,), 1) if dtype else (_INEXACT, 3)
    seed = DTYPES.index(dtype) if dtype else len(DTYPES)
    points = _sampled(op, seed, copies * len(SPECIALS), "groups", "stride", "dilation", "output_padding", "bias")
    cases = [replace(case, data="specials", seed=at % len(SPECIALS)) for at, case in enumerate(points)]
    return list(spread(cases, seed, dtype=dtypes, layout=layouts_of(op)))


def _sampled(op: str, seed: int, copies: int, *names: str) -> list[Case]:
    """``copies`` of the product of the operator's axes but for ``names``, whose values are drawn."""
    rng = _random.Random(seed)
    kept = {name: values for name, values in AXES[op].items() if name not in names}
    drawn = {name: values for name, values in AXES[op].items() if name in names}
    cases = []
    for point in itertools.product(*kept.values()):
        for _ in range(copies):
            rest = {name: rng.choice(values) for name, values in drawn.items()}
            cases.append(case_at(op, {**dict(zip(kept, point)), **rest}))
    return cases


def listed(name: str, op: str = "conv2d") -> list[Case]:
    """The operator's cases in a file of this package, one a line; ``#`` starts a comment."""
    text = resources.files("miniconv.parity").joinpath(name).read_text(encoding="utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Case.parse(line) for line in lines if line.startswith(f"{op} ")]


Makers = Mapping[str, Callable[[], list[Case]]]


def full_products(op: str) -> Makers:
    """Every geometry of the operator times every dtype, and times every layout, by name: ``make test-full``."""
    return {
        **{f"geometry-{dtype}": partial(geometry, dtype, op) for dtype in DTYPES},
        **{f"layout-{layout}": partial(layouts, layout, op) for layout in layouts_of(op)[1:]},
    }


def _light_grids(op: str) -> Makers:
    """Every grid of the operator with each geometry once, the dtypes and the layouts spread."""
    modes = () if "transpose" in op else PADDING_MODES[1:]
    alone = {"random-float32": partial(random, "float32", op)} if op.endswith("2d") else {}
    return {
        "exact": partial(exact, op),
        **alone,
        "random-any": partial(random, "", op),
        **{f"mode-{mode}": partial(padding_modes, mode, op) for mode in modes},
        "specials": partial(specials, "", op),
        **{name: partial(listed, f"{name}.txt", op) for name in ("errors", "regressions")},
    }


def grids(op: str) -> Makers:
    """Every grid of the operator by name. Their union is what the parity tests run."""
    light = dict(_light_grids(op))
    if op != "conv2d":
        return light
    del light["exact"], light["specials"]
    lists = {name: light.pop(name) for name in ("errors", "regressions")}
    of_specials = {f"specials-{dtype}": partial(specials, dtype) for dtype in _INEXACT}
    return {**full_products(op), **light, **of_specials, **lists}


def drawn(op: str, size: int, seed: int) -> Makers:
    """Grids of ``size`` cases each, every axis drawn instead of every product taken; and the lists."""
    modes = () if "transpose" in op else PADDING_MODES[1:]

    def grid(number: int, **axes: Sequence[Any]) -> Callable[[], list[Case]]:
        of_all = {"dtype": DTYPES, "layout": layouts_of(op), **axes}
        salt = seed * 100 + number
        return lambda: list(spread(_sampled(op, salt, size, *AXES[op]), salt, **of_all))

    return {
        "exact": grid(0),
        "random": grid(1, data=("random",), dtype=_INEXACT),
        "specials": grid(2, data=("specials",), dtype=_INEXACT, seed=range(len(SPECIALS))),
        **{f"mode-{m}": grid(3 + n, padding_mode=(m,), data=("integers", "random")) for n, m in enumerate(modes)},
        **{name: partial(listed, f"{name}.txt", op) for name in ("errors", "regressions")},
    }


GRIDS: Makers = grids("conv2d")
"""The grids of conv2d."""


def full_grid(op: str = "conv2d") -> list[Case]:
    """The union of the operator's ``grids``."""
    return [case for grid in grids(op).values() for case in grid()]


def short_grid(size: int = 3000, op: str = "conv2d") -> list[Case]:
    """A seeded sample, equally many of each grid, for demonstrations; at the default size every pair of values meets.

    Args:
        size: how many cases at most.
        op: the operator.
    """
    rng = _random.Random(0)
    each = size // len(grids(op))
    cases = []
    for grid in (make() for make in grids(op).values()):
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
