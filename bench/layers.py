"""The layers: the parity suite's ``workloads.json`` as problems, and random numbers for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from miniconv import ConvProblem

WORKLOADS = Path(str(resources.files("miniconv.parity"))) / "workloads.json"


@dataclass(frozen=True)
class Layer:
    """One layer of a published network.

    Attributes:
        group: the network.
        name: the layer, unique in its group.
        problem: what it computes; ``str(problem)`` is its text.
    """

    group: str
    name: str
    problem: ConvProblem

    @property
    def flops(self) -> int:
        """Two for each multiply-add of the definition, padding included: the same number for every algorithm."""
        return 2 * self.problem.multiply_adds


class Operands(NamedTuple):
    """The numbers of one problem."""

    input: npt.NDArray[Any]
    weight: npt.NDArray[Any]


def load(path: Path = WORKLOADS, dtype: str = "float32", batch: int | None = None) -> list[Layer]:
    """The layers of a workload file, in its order.

    Args:
        path: a JSON file; ``input`` is N, C, H, W, padding one number for both sides of each axis.
        dtype: of all operands.
        batch: takes the place of every layer's own N.
    """
    return [_layer(row, dtype, batch) for row in json.loads(path.read_text())["layers"]]


def _layer(row: dict[str, Any], dtype: str, batch: int | None) -> Layer:
    n, c, *size = row["input"]
    problem = ConvProblem(
        batch=batch or n,
        in_channels=c,
        out_channels=row["out_channels"],
        input_size=tuple(size),
        kernel_size=tuple(row["kernel"]),
        stride=tuple(row["stride"]),
        padding=tuple((side, side) for side in row["padding"]),
        dilation=tuple(row["dilation"]),
        groups=row["groups"],
        dtype=dtype,
    )
    return Layer(row["group"], row["name"], problem)


def select(layers: Sequence[Layer], groups: Sequence[str] = (), names: Sequence[str] = ()) -> list[Layer]:
    """The layers of some groups whose names match one of some patterns (``*`` and ``?``); no pattern takes all.

    Raises:
        ValueError: a group or a pattern matches nothing.
    """
    for what, wanted, present in (
        ("group", groups, {layer.group for layer in layers}),
        ("layer", names, {layer.name for layer in layers}),
    ):
        for pattern in wanted:
            if not any(fnmatchcase(name, pattern) for name in present):
                raise ValueError(f"no {what} matches {pattern!r}; there are {', '.join(sorted(present))}")
    return [
        layer
        for layer in layers
        if (not groups or any(fnmatchcase(layer.group, g) for g in groups))
        and (not names or any(fnmatchcase(layer.name, n) for n in names))
    ]


def operands(problem: ConvProblem, seed: int = 0) -> Operands:
    """Standard normal numbers, drawn in float32, so that float64 gets the same ones."""
    rng = np.random.default_rng(seed)
    input = rng.standard_normal(problem.input_shape, dtype=np.float32)
    weight = rng.standard_normal(problem.weight_shape, dtype=np.float32)
    return Operands(input.astype(problem.dtype, copy=False), weight.astype(problem.dtype, copy=False))


def with_dtype(layer: Layer, dtype: str) -> Layer:
    """The same layer in another dtype."""
    return replace(layer, problem=replace(layer.problem, dtype=dtype))
