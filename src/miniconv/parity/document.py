"""The report of a run as a JSON document: format 1, field by field, both ways.

Strict JSON has no infinite numbers and no NaN, and readers in other languages round integers above 2^53. Such numbers
stand as strings (``"inf"``, ``"-inf"``, ``"nan"``, ``"9007199254740993"``), a complex number as a list of two.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

from miniconv.parity.cases import Case
from miniconv.parity.verdict import Verdict

__all__ = [
    "FORMAT",
    "Document",
    "Likely",
    "Row",
    "cpu",
    "dump",
    "load",
    "number",
    "row",
    "verdict",
    "versions",
    "written",
]

FORMAT = 1
_SAFE = 2**53

Number = float | str | list[Any]
"""A number as the document has it."""


class Row(TypedDict):
    """One case.

    Attributes:
        case: its text, which reproduces it.
        op: its operator.
        verdict: one of ``miniconv.parity.verdict.VERDICTS``.
        passed: whether that is right.
        part: ``output``, a gradient, or ``call``.
        detail: what differs, in words.
        bits: the bits that are right in the worst element, ``"inf"`` where all are, or where there are no numbers.
        eta: the largest error in units of u * S, ``"inf"`` for NaN and infinite results that should be finite.
        torch_bits: the bits that torch has right on the same case; null where it gives no numbers.
        seconds: how long the target took, with its gradients.
        axes: the value of every axis of the grids that the case stands for, by name.
        divergence: id of the entry in torch's catalogue of divergences that explains it, or empty.
        shape: of the part that was judged.
        index: where the worst element is.
        got: what is there.
        want: what must be there.
        wrong: how many elements are wrong.
        target: what was judged.
    """

    case: str
    op: str
    verdict: str
    passed: bool
    part: str
    detail: str
    bits: Number
    eta: Number
    torch_bits: Number | None
    seconds: float
    axes: dict[str, str]
    divergence: str
    shape: list[int]
    index: list[int]
    got: Number
    want: Number
    wrong: int
    target: str


class Likely(TypedDict):
    """What is likely wrong, of one kind of failure.

    Attributes:
        fault: in words; empty where no known fault gives such numbers.
        case: the smallest case found that fails so.
        verdict: on it.
        part: of the result, or ``call``.
        show: the command that explains the case.
    """

    fault: str
    case: str
    verdict: str
    part: str
    show: str


class Document(TypedDict):
    """A run.

    Attributes:
        format: ``FORMAT``; it grows when a field changes its meaning.
        target: what was judged, ``miniconv`` for miniconv itself.
        command: the command line.
        suite: one of ``miniconv.parity.options.SUITES``.
        ops: the operators.
        seed: of the sample and of its numbers.
        level: what the target was held to, one of ``miniconv.parity.options.LEVELS``.
        shard: ``i/n``, or empty.
        versions: of Python and of the packages that took part.
        cpu: the processor's name.
        started: date and time, UTC, ISO 8601.
        seconds: how long the run took.
        chosen: how many cases there were to judge; more than in ``cases`` where the run did not come to its end.
        interrupted: whether it was Ctrl-C that ended it.
        counts: how many cases have each verdict.
        likely: what is likely wrong, of the plainest failure of each of the first kinds.
        cases: one row for each case that was judged, in the order of the suite.
    """

    format: int
    target: str
    command: str
    suite: str
    ops: list[str]
    seed: int
    level: str
    shard: str
    versions: dict[str, str]
    cpu: str
    started: str
    seconds: float
    chosen: int
    interrupted: bool
    counts: dict[str, int]
    likely: list[Likely]
    cases: list[Row]


def written(value: complex) -> Number:
    """A number as the document has it.

    >>> written(2.5), written(-math.inf), written(2**53 + 1), written(1 - 2j)
    (2.5, '-inf', '9007199254740993', [1.0, -2.0])
    """
    if isinstance(value, complex):
        return [written(value.real), written(value.imag)]
    if isinstance(value, int):
        return value if abs(value) <= _SAFE else str(value)
    return value if math.isfinite(value) else str(value)


def number(value: Number) -> Any:
    """What ``written`` wrote.

    >>> number("9007199254740993"), number([1.0, "inf"])
    (9007199254740993, (1+infj))
    """
    if isinstance(value, list):
        return complex(*map(number, value))
    if isinstance(value, str):
        return int(value) if value.lstrip("-").isdecimal() else float(value)
    return value


def row(verdict: Verdict) -> Row:
    """One verdict as the document has it."""
    case = verdict.case
    return {
        "case": str(case), "op": case.op, "verdict": verdict.name, "passed": verdict.passed, "part": verdict.part,
        "detail": verdict.detail, "bits": written(verdict.bits), "eta": written(verdict.eta),
        "torch_bits": None if verdict.torch_bits is None else written(verdict.torch_bits),
        "seconds": round(verdict.seconds, 7), "axes": case.axes, "divergence": verdict.divergence,
        "shape": [*verdict.shape], "index": [*verdict.index], "got": written(verdict.got),
        "want": written(verdict.want), "wrong": verdict.wrong, "target": verdict.target,
    }  # fmt: skip


def verdict(row: Row, level: str = "drop-in") -> Verdict:
    """The verdict that a row was made of; ``level`` stands in the document.

    >>> seen = Verdict("WRONG_VALUE", Case.parse("conv1d c4 o6 i7 k3"), "output", eta=math.inf, bits=-math.inf)
    >>> verdict(row(seen)) == seen
    True
    """
    return Verdict(
        name=row["verdict"], case=Case.parse(row["case"]), part=row["part"], detail=row["detail"],
        shape=tuple(row["shape"]), eta=number(row["eta"]), bits=number(row["bits"]), index=tuple(row["index"]),
        got=number(row["got"]), want=number(row["want"]), wrong=row["wrong"], divergence=row["divergence"],
        target=row["target"], level=level, seconds=row["seconds"],
        torch_bits=None if row["torch_bits"] is None else number(row["torch_bits"]),
    )  # fmt: skip


def versions(packages: Iterable[str] = ("miniconv", "numpy", "torch", "llvmlite", "jax")) -> dict[str, str]:
    """Of Python and of ``packages``; those that are not installed are left out."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as the system gives it."""
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def dump(document: Mapping[str, Any], path: Path) -> None:
    """Writes a document, a case a line; the file is complete or as it was before."""
    head = {name: value for name, value in document.items() if name != "cases"}
    text = json.dumps(head, allow_nan=False, ensure_ascii=False, indent=1)
    unfinished = path.with_name(f"{path.name}.part")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text.removesuffix("\n}") + ',\n "cases": [')
        for at, case in enumerate(document["cases"]):
            file.write(("," if at else "") + "\n  " + json.dumps(case, allow_nan=False, ensure_ascii=False))
        file.write("\n ]\n}\n")
    os.replace(unfinished, path)


def load(path: Path) -> Document:
    """Reads a document.

    Raises:
        OSError: there is no such file.
        ValueError: it is no report, or one of another format.
    """
    try:
        document: Document = json.loads(path.read_text(encoding="utf-8"))
        form = document["format"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no report of miniconv parity") from error
    if form != FORMAT:
        raise ValueError(f"{path} has format {form}, but this miniconv reads format {FORMAT}")
    return document
