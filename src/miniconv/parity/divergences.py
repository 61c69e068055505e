"""Where torch disagrees with itself or with arithmetic: a catalogue with reasons, executed by the suite.

``divergences.json`` holds the entries. An entry says for which cases it speaks (``when``), what torch then does
(``torch``) and what a target may do there that torch or the oracle does not (``accepted``). Nothing in it loosens a
tolerance. The suite fails if torch does something wrong that no entry explains.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from miniconv.parity.cases import COMPLEX_DTYPES, INTEGER_DTYPES, Case
from miniconv.parity.data import SPECIALS
from miniconv.parity.verdict import Verdict

__all__ = ["Behaviour", "Divergence", "catalogue", "explain", "facts"]


@dataclass(frozen=True)
class Behaviour:
    """One thing that an implementation does: a verdict against torch and the oracle, in words where it raises.

    Attributes:
        verdict: a name from ``miniconv.parity.verdict.VERDICTS``.
        parts: which parts it is seen in; empty for any.
        text: regular expression that the whole of the verdict's detail matches; empty for any.
    """

    verdict: str
    parts: tuple[str, ...] = ()
    text: str = ""

    def matches(self, verdict: Verdict) -> bool:
        """Whether ``verdict`` is this behaviour."""
        return (
            verdict.name == self.verdict
            and (not self.parts or verdict.part in self.parts)
            and (not self.text or re.fullmatch(self.text, verdict.detail) is not None)
        )


@dataclass(frozen=True)
class Divergence:
    """One entry of the catalogue.

    Attributes:
        id: its name.
        versions: the torch releases that it was seen in.
        when: facts of a case and the values that they have there; an entry speaks where all agree.
        torch: what torch does there that is wrong, or differs between backends.
        accepted: what a target may do there although torch does otherwise.
        ours: what miniconv does, in words.
        reason: why torch does it.
        source: where it was seen or reported.
        examples: the text of a case, and a regular expression for what torch does there, its verdict and detail.
    """

    id: str
    versions: tuple[str, ...]
    when: Mapping[str, tuple[str, ...]]
    torch: tuple[Behaviour, ...]
    accepted: tuple[Behaviour, ...]
    ours: str
    reason: str
    source: str
    examples: tuple[tuple[str, str], ...]

    def speaks_for(self, case: Case) -> bool:
        """Whether every condition holds for ``case``."""
        known = facts(case)
        return all(known[name] in values for name, values in self.when.items())


@cache
def catalogue() -> tuple[Divergence, ...]:
    """Every entry of the catalogue.

    >>> len(catalogue()) == len({entry.id for entry in catalogue()})
    True
    """
    text = resources.files("miniconv.parity").joinpath("divergences.json").read_text(encoding="utf-8")
    return tuple(_entry(entry) for entry in json.loads(text))


def explain(verdict: Verdict, *, of_torch: bool) -> Divergence | None:
    """The entry that explains a verdict on torch (``of_torch``) or on another target, or None."""
    for entry in catalogue():
        behaviours = (*entry.torch, *entry.accepted) if of_torch else entry.accepted
        if any(behaviour.matches(verdict) for behaviour in behaviours) and entry.speaks_for(verdict.case):
            return entry
    return None


def facts(case: Case) -> dict[str, str]:
    """What conditions may ask about: the case's axes, and what follows from them.

    >>> known = facts(Case.parse("conv2d n2 c4 o6 i7x9 k3x2 p1x2 d2x2 int8"))
    >>> known["dilated"], known["padded"], known["kind"]
    ('yes', 'yes', 'int')
    """

    def word(truth: bool) -> str:
        return "yes" if truth else "no"

    kind = "int" if case.dtype in INTEGER_DTYPES else "complex" if case.dtype in COMPLEX_DTYPES else "float"
    smallest = min(case.output_size)
    channels = case.weight_shape[1]
    row = channels * case.kernel_size[-1]
    return {
        **case.axes,
        "kind": kind,
        "transposed": word(case.transposed),
        "output_size": "positive" if smallest > 0 else "zero" if smallest == 0 else "negative",
        "dilated": word(any(d > 1 for d in case.dilation)),
        "strided": word(any(s > 1 for s in case.stride)),
        "padded": word(any(low or high for low, high in case.padding_pairs)),
        "flat_kernel": word(case.kernel_size[0] == 1 and case.kernel_size[-1] > 1),
        "rows_of_32s": word(1 < channels < 16 and row > 32 and row % 32 == 0),
        "one_column": word(case.output_size[-1] == 1),
        "grouped": word(case.groups > 1),
        "lopsided": word(any(low != high for low, high in case.padding_pairs)),
        "special": SPECIALS[case.seed % len(SPECIALS)] if case.data == "specials" else "none",
        "given": " ".join(name for name, _ in case.given) or "none",
    }


def _entry(fields: Mapping[str, Any]) -> Divergence:
    """One entry as JSON has it."""
    behaviours = {
        name: tuple(
            Behaviour(one["verdict"], tuple(one.get("parts", ())), one.get("text", "")) for one in fields.get(name, ())
        )
        for name in ("torch", "accepted")
    }
    return Divergence(
        id=fields["id"],
        versions=tuple(fields["versions"]),
        when={name: tuple(values) for name, values in fields["when"].items()},
        ours=fields["ours"],
        reason=fields["reason"],
        source=fields["source"],
        examples=tuple((one["case"], one["torch"]) for one in fields["examples"]),
        **behaviours,
    )
