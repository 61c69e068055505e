"""``python -m bench.coverage``: what the parity suite reaches.

Three things that a suite can miss. Which of torch's backends answered: torch itself is asked for each case. Which pairs
of values of two axes came together in a case. And which refusals of miniconv's validation, each ``raise`` of it, a case
ran into; what torch says there is what the case is judged by.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import itertools
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import machine
from miniconv import ConvProblem
from miniconv.functional import conv2d
from miniconv.parity.axes import AXES
from miniconv.parity.cases import DATA, DTYPES, INTEGER_DTYPES, OPS, PADDING_MODES, Case
from miniconv.parity.grids import counts, geometries, layouts_of
from miniconv.parity.operands import make
from miniconv.parity.options import SUITES
from miniconv.parity.suites import choose
from miniconv.parity.targets import Target, call, find

__all__ = [
    "Coverage", "backend", "main", "measured", "page", "pairs_of", "possible_pairs", "refusals", "torch_backends",
]  # fmt: skip

RESULTS = Path(__file__).parent / "results"
VALIDATION = ("miniconv.rules", "miniconv.padding_forms")
"""Where what a call passes is refused."""

ELSEWHERE = {
    "NnpackSpatial": "only where oneDNN is switched off: oneDNN takes every batch that is large enough for it",
    "MkldnnEmpty": "only of oneDNN's own opaque tensors",
    "Winograd3x3Depthwise": "only with the vector instructions of ARM and RISC-V",
    "Xnnpack2d": "only in torch's builds for phones",
    "Overrideable": "only of devices that come from outside torch",
}
"""Why torch's build for x86-64 does not come to a backend; the others not reached belong to other devices."""

UNNAMED = {9: "MkldnnTranspose"}
"""Backends that torch's C++ has and its Python has no name for, by their numbers."""

DIRECT: Mapping[str, Callable[[], object]] = {
    "ConvProblem.parse('conv2d n1 c4 o6 i7x9 k3x2 g0')": lambda: ConvProblem.parse("conv2d n1 c4 o6 i7x9 k3x2 g0"),
    "ConvProblem(..., stride=(2,))": lambda: replace(ConvProblem.parse("conv2d n1 c4 o6 i7x9 k3x2"), stride=(2,)),
    "conv2d(..., padding=((1, 2),))": lambda: _padded(padding=((1, 2),)),
    "conv2d(..., padding=((1, 2), (0, 2**63)))": lambda: _padded(padding=((1, 2), (0, 2**63))),
    "conv2d(..., padding='same_upper', stride=0)": lambda: _padded(padding="same_upper", stride=0),
}
"""What torch has no call for: a problem described by hand, and miniconv's own forms of padding."""

Pair = tuple[str, str, str, str]
Place = tuple[str, int]


@dataclass
class Coverage:
    """What was reached.

    Attributes:
        cases: how many cases of each operator were looked at.
        backends: for each of torch's backends, how many cases of each operator it computes.
        pairs: for each operator, the pairs (axis, value, axis, value) that came together.
        refused: for each ``raise``, by module and line, the first case that ran into it and how many did.
    """

    cases: Counter[str] = field(default_factory=Counter)
    backends: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    pairs: dict[str, set[Pair]] = field(default_factory=lambda: defaultdict(set))
    refused: dict[Place, tuple[Case, int]] = field(default_factory=dict)

    def add(self, case: Case, miniconv: Target) -> None:
        """Looks at one case."""
        self.cases[case.op] += 1
        self.pairs[case.op].update(pairs_of(case))
        if case.given or case.must_be_refused:
            place = _raised_at(call(case, make(case), miniconv).error)
            if place is not None:
                first, many = self.refused.get(place, (case, 0))
                self.refused[place] = first, many + 1
        else:
            self.backends[backend(case)][case.op] += 1


def pairs_of(case: Case) -> Iterator[Pair]:
    """Every two axes and the values that they have in a case."""
    return ((a, x, b, y) for (a, x), (b, y) in itertools.combinations(case.axes.items(), 2))


def backend(case: Case) -> str:
    """The name of the backend that torch chooses for a legal case; a border that torch pads beforehand is padded."""
    operands, dims = make(case), len(case.input_size)
    input = operands.input if case.batch is not None else operands.input[None]
    padding = [low for low, _ in case.padding_pairs]
    if case.padding_mode != "zeros" or any(low != high for low, high in case.padding_pairs):
        sides = [side for pair in reversed(case.padding_pairs) for side in pair]
        mode = "constant" if case.padding_mode == "zeros" else case.padding_mode
        try:
            input = torch.nn.functional.pad(input, sides, mode)
        except (NotImplementedError, RuntimeError):
            return "none: torch has no such border for the dtype"
        padding = [0] * dims
    output_padding = case.output_padding or (0,) * dims
    chosen = torch._C._select_conv_backend(
        input, operands.weight, operands.bias, list(case.stride), padding, list(case.dilation), case.transposed,
        list(output_padding), case.groups,
    )  # fmt: skip
    return UNNAMED.get(chosen.value, chosen.name)


def _padded(**options: Any) -> object:
    """A call of miniconv's conv2d."""
    return conv2d(np.ones((1, 4, 7, 9)), np.ones((6, 4, 3, 2)), **options)


def _refused_directly() -> dict[Place, str]:
    """The ``raise`` that each of ``DIRECT`` ends in."""
    found = {}
    for text, ask in DIRECT.items():
        try:
            ask()
        except Exception as error:
            place = _raised_at(error)
            if place is not None:
                found[place] = text
    return found


def _raised_at(error: BaseException | None) -> Place | None:
    """The ``raise`` of miniconv's validation that an exception comes from."""
    trace, place = None if error is None else error.__traceback__, None
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        place = (module, trace.tb_lineno) if module in VALIDATION else None
        trace = trace.tb_next
    return place


def refusals() -> dict[Place, str]:
    """Every ``raise`` of the validation by module and line, and its source in one line.

    >>> any("negative padding" in text for text in refusals().values())
    True
    """
    found = {}
    for module in VALIDATION:
        tree = ast.parse(inspect.getsource(importlib.import_module(module)))
        nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None)
        found.update({(module, node.lineno): ast.unparse(node.exc) for node in nodes if node.exc is not None})
    return found


def possible_pairs(op: str) -> set[Pair]:
    """The pairs of values that can come together.

    Integer dtypes draw from their whole range, whatever the data: they have no random and no special numbers of their
    own; and no special number goes with a border other than zeros.
    """
    of_geometry = counts(geometries(op))
    values: dict[str, Sequence[str]] = {name: list(of_geometry[name]) for name in AXES[op]}
    modes = PADDING_MODES[:1] if "transpose" in op else PADDING_MODES
    values |= {"padding_mode": modes, "dtype": DTYPES, "layout": layouts_of(op), "data": DATA}
    order = list(of_geometry)  # as Case.axes has them
    pairs = {
        (a, x, b, y)
        for a, b in itertools.combinations([name for name in order if name in values], 2)
        for x, y in itertools.product(values[a], values[b])
    }
    never = set(itertools.product(["dtype"], INTEGER_DTYPES, ["data"], ["random", "specials"]))
    return pairs - never - set(itertools.product(["padding_mode"], PADDING_MODES[1:], ["data"], ["specials"]))


def torch_backends() -> list[str]:
    """The names of all of torch's backends."""
    names = [name.rstrip(",") for name in dir(getattr(torch._C, "_ConvBackend"))]  # noqa: B009  torch's stubs lack it
    return [name for name in names if name[0].isupper()]


def measured(cases: Iterable[Case]) -> Coverage:
    """What the cases reach."""
    found, miniconv = Coverage(), find("miniconv", level="drop-in")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in cases:
            found.add(case, miniconv)
    return found


def _rows(table: Sequence[Sequence[object]]) -> list[str]:
    """A table in Markdown; its first row is the head."""
    head, *body = [f"| {' | '.join(map(str, row))} |" for row in table]
    return [head, "|---" * len(table[0]) + "|", *body, ""]


def page(found: Coverage, suite: str, seed: int) -> str:
    """The results in Markdown."""
    ops = list(found.cases)
    lines = ["# What the parity suite reaches", "", f"`python -m bench.coverage --suite {suite} --seed {seed}`: "]
    lines[-1] += f"{sum(found.cases.values()):,} cases. torch {torch.__version__}, {machine.cpu_model()}, "
    lines[-1] += f"torch's threads: {torch.get_num_threads()}."
    lines += [
        "",
        "## torch's backends",
        "",
        "How many legal cases torch computes with each.",
        "",
    ]
    reached = sorted(found.backends)
    lines += _rows([["backend", *ops], *([name, *(found.backends[name][op] for op in ops)] for name in reached)])
    others = [name for name in torch_backends() if name not in reached]
    lines += ["Not reached: " + "; ".join(f"{name} ({ELSEWHERE.get(name, 'another device')})" for name in others), ""]
    lines += ["## Pairs of values", "", "Of every two axes and every two of their values: how many came together.", ""]
    table: list[list[object]] = [["operator", "possible", "covered", "not covered"]]
    for op in ops:
        wanted = possible_pairs(op)
        missing = sorted(wanted - found.pairs[op])
        words = "; ".join(f"{a}={x} with {b}={y}" for a, x, b, y in missing) or "none"
        table.append([op, len(wanted), len(wanted) - len(missing), words])
    lines += _rows(table) + _pairs_by_axes(found.pairs, ops)
    lines += ["## Refusals", "", "Every `raise` of miniconv's validation, and a case that runs into it.", ""]
    return "\n".join([*lines, *_refusal_rows(found)])


def _refusal_rows(found: Coverage) -> list[str]:
    """The validation: every ``raise``, what runs into it, and the totals."""
    every, direct = refusals(), _refused_directly()
    table: list[list[object]] = [["raise", "cases", "such as"]]
    for place, text in every.items():
        first, many = found.refused.get(place, (None, 0))
        such = f"`{first or direct[place]}`" if first or place in direct else "nothing"
        shown = text if len(text) < 90 else text[:87] + "..."
        table.append([f"`{shown}`".replace("|", "\\|"), many, such])
    by_cases, by_hand = set(every) & set(found.refused), set(every) & set(direct)
    return [
        f"{len(by_cases | by_hand)} of {len(every)} are reached: {len(by_cases)} by cases, each held against "
        f"torch's own refusal, {len(by_hand - by_cases)} by what torch has no call for.", "", *_rows(table),
    ]  # fmt: skip


def _pairs_by_axes(pairs: Mapping[str, set[Pair]], ops: Sequence[str]) -> list[str]:
    """For each two axes, covered / possible by operator."""
    wanted = {op: Counter((a, b) for a, _, b, _ in possible_pairs(op)) for op in ops}
    got = {op: Counter((a, b) for a, _, b, _ in possible_pairs(op) & pairs[op]) for op in ops}
    axes = dict.fromkeys(two for op in ops for two in sorted(wanted[op]))
    rows = [
        [" and ".join(two), *(f"{got[op][two]} / {wanted[op][two]}" if wanted[op][two] else "" for op in ops)]
        for two in axes
    ]
    return _rows([["axes", *ops], *rows])


def main(argv: Sequence[str] | None = None) -> int:
    """Prints what a suite reaches, or writes it.

    Args:
        argv: the arguments; None takes those of the process.

    Returns:
        The exit status: 0.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.coverage", description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", choices=SUITES, default="ci")
    parser.add_argument("--op", action="append", choices=OPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write bench/results/coverage.md")
    told = parser.parse_args(argv)
    cases = [case for op in told.op or OPS for case in choose(told.suite, [op], seed=told.seed)]
    text = page(measured(cases), told.suite, told.seed)
    if told.write:
        (RESULTS / "coverage.md").write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
