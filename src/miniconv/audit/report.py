"""What an audit found: figures first, then text and JSON from them; ``page`` makes the HTML."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from miniconv.audit.judge import Side
from miniconv.dtypes import DTYPES

__all__ = ["AuditReport", "Layer"]


@dataclass(frozen=True)
class Layer:
    """One convolution of the left pass.

    Attributes:
        number: its place among the convolutions of the pass, from 1.
        name: the path of its module, with ``#2`` and so on for that module's further convolutions.
        problem: what was computed, as text that ``ConvProblem.parse`` reads; empty where it cannot be described.
        multiply_adds: nominal ones.
        left: what the audited implementation made of the layer's actual input.
        right: what the other one made of that same input.
        inherited: ``||x - x'||_2 / ||x'||_2``, x the layer's input in the left pass and x' that in the right pass; None
            where the right pass has no such input.
        total: the same of the two outputs.
        oracle: ``float64``, ``double-double``, or both with the number of elements summed in double-double.
        note: what else a reader must know: how many numbers of the input are not finite.
    """

    number: int
    name: str
    problem: str
    multiply_adds: int
    left: Side
    right: Side
    inherited: float | None = None
    total: float | None = None
    oracle: str = ""
    note: str = ""

    @property
    def operation(self) -> str:
        """The problem without batch and dtype, which are the same in every layer."""
        return " ".join(word for word in self.problem.split() if not re.fullmatch(r"n\d+", word) and word not in DTYPES)


@dataclass(frozen=True)
class AuditReport:
    """An audit; ``print`` it, or read the figures.

    Attributes:
        model: its class's name.
        left, right: the names of both implementations.
        mode: ``"evaluation"`` or ``"training"``.
        inputs: shape and dtype of every input tensor.
        layers: every convolution, in the order in which they ran.
        seconds: how long the audit took.
    """

    model: str
    left: str
    right: str
    mode: str
    inputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    seconds: float

    @property
    def ranked(self) -> tuple[Layer, ...]:
        """The layers by the left's local error, the worst first; those without numbers behind the wrong ones."""

        def badness(layer: Layer) -> tuple[bool, bool, float, float, int]:
            side = layer.left
            beyond = -side.of_bound if side.verdict == "WRONG_VALUE" else 0.0
            return side.passed, side.judged and not side.passed, beyond, side.bits, layer.number

        return tuple(sorted(self.layers, key=badness))

    @property
    def wrong(self) -> tuple[Layer, ...]:
        """The layers in which the left is not right, in the order in which they ran."""
        return tuple(layer for layer in self.layers if not layer.left.passed)

    @property
    def unsupported(self) -> tuple[Layer, ...]:
        """The layers that the left refused or that cannot be judged."""
        return tuple(layer for layer in self.layers if layer.left.verdict == "UNSUPPORTED")

    @property
    def first_beyond(self) -> Layer | None:
        """The first layer, in the order in which they ran, whose own error is beyond its bound."""
        return next(iter(self.wrong), None)

    @property
    def passed(self) -> bool:
        """Whether at least one layer was judged and every judged one is within its bound."""
        return not self.wrong and len(self.unsupported) < len(self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of all layers."""
        return sum(layer.multiply_adds for layer in self.layers)

    def figures(self) -> dict[str, Any]:
        """The report as plain data: what ``json`` writes. A number that is infinite is None."""

        def finite(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: finite(inner) for key, inner in value.items()}
            return None if isinstance(value, float) and not math.isfinite(value) else value

        ranks = {layer.number: rank for rank, layer in enumerate(self.ranked, 1)}
        first = self.first_beyond
        return {
            "model": self.model, "left": self.left, "right": self.right, "mode": self.mode,
            "inputs": list(self.inputs), "passed": self.passed, "seconds": self.seconds,
            "first_beyond": first.name if first else None, "multiply_adds": self.multiply_adds,
            "layers": [finite({"rank": ranks[layer.number], **asdict(layer)}) for layer in self.layers],
        }  # fmt: skip

    def json(self) -> str:
        """The figures as JSON."""
        return json.dumps(self.figures(), indent=1, allow_nan=False) + "\n"

    @staticmethod
    def parse(text: str) -> AuditReport:
        """The report that ``json`` wrote.

        Raises:
            ValueError: the text is no such report.
        """
        try:
            found = json.loads(text)
            layers = []
            for row in found["layers"]:
                sides: dict[str, Any] = {name: Side(**_infinite(row[name])) for name in ("left", "right")}
                fields: dict[str, Any] = {name: row[name] for name in Layer.__dataclass_fields__ if name not in sides}
                layers.append(Layer(**fields, **sides))
            names = ("model", "left", "right", "mode", "seconds")
            return AuditReport(
                **{name: found[name] for name in names}, inputs=tuple(found["inputs"]), layers=tuple(layers)
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no audit's report: {error!r}") from error

    def __str__(self) -> str:
        from miniconv.audit.table import table

        return table(self)

    __repr__ = __str__

    def html(self) -> str:
        """One self-contained page."""
        from miniconv.audit.page import page

        return page(self)


def _infinite(side: dict[str, Any]) -> dict[str, Any]:
    """None is what JSON has in place of infinity."""
    return {name: math.inf if value is None else value for name, value in side.items()}
