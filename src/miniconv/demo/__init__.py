"""The demonstration: five steps on real pictures, a short table, a folder of pictures.

``python -m miniconv demo`` runs it. One module a step, in the order in which they run: ``parity``, ``examples`` and
``filters``, ``decomposition``, ``digits``, ``predict``. This module is the frame: it times the steps and prints the
table. The steps are imported when they run, because the last one also runs where torch cannot be imported.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["Figure", "Table", "main"]

NEEDS = {
    "torch": "torch",
    "sklearn": "scikit-learn",
    "threadpoolctl": "threadpoolctl",
    "PIL": "pillow",
    "matplotlib": "matplotlib",
}
"""What the demonstration imports, and the names that pip knows it by."""


class Figure(NamedTuple):
    """One line of the table: what was found, its value, and whether it is as it must be."""

    what: str
    value: str
    right: bool = True


class Table:
    """The steps so far, with their times and figures."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float, list[Figure]]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[list[Figure]]:
        """Time a step and keep the figures that it appends."""
        print(f"\n== {len(self.steps) + 1}. {name}", flush=True)
        figures: list[Figure] = []
        start = time.perf_counter()
        yield figures
        self.steps.append((name, time.perf_counter() - start, figures))

    @property
    def right(self) -> bool:
        """Whether every figure is as it must be."""
        return all(figure.right for _, _, figures in self.steps for figure in figures)

    def __str__(self) -> str:
        rows = [("Step", "Time", "What", "Figure")]
        for number, (name, seconds, figures) in enumerate(self.steps, 1):
            for i, figure in enumerate(figures):
                head = (f"{number}. {name}", f"{seconds:.1f} s") if i == 0 else ("", "")
                rows.append((*head, figure.what, figure.value + ("" if figure.right else "   <- not as it must be")))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [f"{a:{widths[0]}}  {b:>{widths[1]}}  {c:{widths[2]}}  {d}" for a, b, c, d in rows]
        lines.insert(1, "-" * max(map(len, lines)))
        return "\n".join([*lines, f"Total time: {sum(seconds for _, seconds, _ in self.steps):.1f} s"])


def main(out: Path = Path("demo-out")) -> int:
    """Run the five steps, fill the folder ``out``, print the table.

    Args:
        out: the folder; it is made if need be.

    Returns:
        0 if every figure is as it must be, else 1; 2 if a package is missing.
    """
    missing = [name for module, name in NEEDS.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(f"The demonstration needs {', '.join(missing)}: pip install 'miniconv[demo]'")
        return 2
    from threadpoolctl import threadpool_limits

    from miniconv.demo import decomposition, digits, examples, filters, parity, predict

    out.mkdir(parents=True, exist_ok=True)
    table = Table()
    # everything here is small: NumPy's threads and torch's would wait for each other more than they work
    with threadpool_limits(1):
        with table.step("Parity with torch") as figures:
            figures += parity.run()
        with table.step("Pictures") as figures:
            shown = examples.run(out)
            figures += shown.figures
            figures += filters.run(out, shown.panels)
        with table.step("One layer, channel by channel") as figures:
            figures += decomposition.run()
        with table.step("Training on real digits") as figures:
            trained = digits.run(out)
            figures += trained.figures
        with table.step("The same digits without torch") as figures:
            figures += predict.run(out, trained.test_images, trained.predictions)
    print(f"\n{table}\nPictures and weights: {out}")
    return 0 if table.right else 1
