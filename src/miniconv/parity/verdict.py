"""What is said about one case: a name, the numbers behind it, and a line that reproduces it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from miniconv.dtypes import DTYPES
from miniconv.parity.bounds import allowed_error
from miniconv.parity.cases import INTEGER_DTYPES, Case
from miniconv.parity.data import Values
from miniconv.parity.oracle import Exact

__all__ = [
    "PASSING", "VERDICTS", "Verdict", "judge_values", "must_be_equal", "nearest", "reproduction", "round_to",
]  # fmt: skip

Array = npt.NDArray[Any]

PASSING = ("EQUAL", "WITHIN_BOUND", "SAME_ERROR", "EXPLAINED", "UNSUPPORTED")
VERDICTS = (
    *PASSING,
    "WRONG_VALUE", "SHAPE", "DTYPE", "LAYOUT", "RAISED", "NOT_RAISED", "ERROR_TYPE", "ERROR_TEXT", "INPUT_MODIFIED",
    "GRADIENT_MISSING", "MISTRUSTED", "TORCH_UNEXPLAINED", "CRASHED", "UNEXPECTED_PASS",
)  # fmt: skip
"""Every name that a verdict can have; those in ``PASSING`` are right."""


@dataclass(frozen=True)
class Verdict:
    """One case judged.

    Attributes:
        name: one of ``VERDICTS``.
        case: what was judged.
        part: ``output``, ``input_grad``, ``weight_grad``, ``bias_grad``, or ``call`` for what is not about numbers.
        detail: what differs, in words; for an exception its type and first line.
        shape: the shape of the part that was judged.
        eta: the largest |result - exact| / (u * S), u of the accumulation dtype, 0 where all are equal.
        bits: the bits that are right in the worst element, relative to S: -log2(|result - exact| / S).
        index: where the worst element is.
        got: what is there.
        want: what must be there.
        wrong: how many elements are wrong.
        divergence: id of the entry in ``divergences.json`` that explains it.
        target: what was judged, as ``reproduce`` takes it.
        level: how strictly, likewise.
        torch_bits: the bits that torch has right on the same case, in its worst part; None where it gave no numbers.
        seconds: how long the target took, with its gradients.
    """

    name: str
    case: Case
    part: str = "call"
    detail: str = ""
    shape: tuple[int, ...] = ()
    eta: float = 0.0
    bits: float = math.inf
    index: tuple[int, ...] = ()
    got: complex = 0.0
    want: complex = 0.0
    wrong: int = 0
    divergence: str = ""
    target: str = ""
    level: str = "drop-in"
    torch_bits: float | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.name in PASSING

    def __str__(self) -> str:
        """Shape and dtype first, the line that reproduces it last."""
        lines = [f"{self.shape or self.case.output_shape} {self.case.dtype}: {self.name} in {self.part}"]
        if self.detail:
            lines.append(f"  {self.detail}")
        if self.wrong:
            lines.append(
                f"  {self.wrong} of {math.prod(self.shape)} wrong, worst at {self.index}: got {self.got}, want "
                f"{self.want} (eta {self.eta:.3g}, {self.bits:.1f} bits right)"
            )
        if self.divergence:
            lines.append(f"  known: {self.divergence}")
        lines.append(f"  {reproduction(str(self.case), self.target, self.level)}")
        return "\n".join(lines)


def reproduction(case: str, target: str = "", level: str = "drop-in") -> str:
    """The line for a shell that judges a case again.

    >>> print(reproduction("conv1d c4 o6 i7 k3", "mypkg:conv"))
    python -c 'from miniconv.parity import reproduce; reproduce("conv1d c4 o6 i7 k3", target="mypkg:conv")'
    """
    where = f', target="{target}"' if target else ""
    where += f', level="{level}"' if level != "drop-in" else ""
    return f"python -c 'from miniconv.parity import reproduce; reproduce(\"{case}\"{where})'"


def judge_values(
    case: Case, part: str, got: Array, exact: Exact, values: Values, *, kind: str = "direct", fft_constant: float = 0.0
) -> Verdict:
    """Holds one array against its exact result.

    Exact data must give the exact result, rounded once; anything else must stay within its bound. An element whose
    exact result is NaN or infinite must be that.

    Args:
        case: a legal case.
        part: which array this is.
        got: its numbers, as ``operands.numbers`` reads them, of the right shape.
        exact: what it must hold.
        values: the operands' numbers.
        kind: which of ``bounds.BOUNDS`` the target states.
        fft_constant: c of the FFT's bound.
    """
    shape = got.shape
    got = np.stack([got.real, got.imag]) if len(exact.high) == 2 else got[None]
    with np.errstate(all="ignore"):
        best = nearest(case, exact)
        equal = (got == best) | ((got != got) & (best != best))
        if equal.all():
            return _mistrust(Verdict("EQUAL", case, part, shape=shape), best)
        if case.dtype in INTEGER_DTYPES:
            error, allowed, scale = abs(got.astype(float) - best.astype(float)), np.zeros(1), np.ones(1)
        else:
            error = abs((got - exact.high) - (0 if exact.low is None else exact.low))
            scale = exact.magnitude()
            bounded = kind != "direct" or not must_be_equal(case, exact)
            allowed = allowed_error(kind, case, values, exact, fft_constant) if bounded else np.zeros(1)
        right = equal | (np.isfinite(best) & (error <= allowed))
        ratio = np.where(equal | (error == 0), 0.0, error / scale)
        ratio = np.where(np.isnan(ratio), np.inf, ratio)
    worst = _worst(ratio, right)
    largest = float(ratio[worst])
    unit = DTYPES[DTYPES[case.dtype].compute].unit_roundoff or 1.0
    verdict = Verdict(
        "WITHIN_BOUND", case, part, shape=shape, eta=largest / unit, bits=-math.log2(largest) if largest else math.inf
    )
    if right.all():
        return _mistrust(verdict, best)
    index = worst[1:]
    value, want = (complex(a[0][index], a[1][index]) if len(a) == 2 else a[worst].item() for a in (got, best))
    wrong = int((~right).any(0).sum())
    return replace(verdict, name="WRONG_VALUE", index=index, got=value, want=want, wrong=wrong)


def nearest(case: Case, exact: Exact) -> Array:
    """The exact result rounded once to the case's dtype, as float64; of an integer dtype the result itself."""
    return exact.high if case.dtype in INTEGER_DTYPES else round_to(case.dtype, exact.high)


def must_be_equal(case: Case, exact: Exact) -> bool:
    """Whether nothing but ``nearest`` is right: exact data, and no rounding to a narrow dtype on the way."""
    rounds_between = exact.folded > 1 and DTYPES[case.dtype].compute != case.dtype
    return case.dtype in INTEGER_DTYPES or (case.is_exact and not rounds_between)


def _worst(ratio: Array, right: Array) -> tuple[int, ...]:
    """Where the relative error is largest, among the wrong elements if there are any."""
    among = np.where(right, -1.0, ratio) if not right.all() else ratio
    return tuple(int(i) for i in np.unravel_index(int(among.argmax()), among.shape))


def _mistrust(verdict: Verdict, best: Array) -> Verdict:
    """An output that must be all zeros proves nothing: such a case is not a test."""
    if verdict.part != "output" or verdict.case.data == "specials" or not best.size or best.any():
        return verdict
    return replace(verdict, name="MISTRUSTED", detail="every exact result is zero")


def round_to(dtype: str, values: Array) -> Array:
    """``values`` rounded once to the nearest number of ``dtype`` (ties to even), as float64.

    >>> round_to("bfloat16", np.array([1.00390625, 1.01171875])).tolist()
    [1.0, 1.015625]
    """
    part = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
    if part == "bfloat16":
        bits = values.astype(np.float32).view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
        wide = np.where(np.isfinite(values), rounded.view(np.float32), values)
        return wide.astype(np.float64)
    result: Array = values.astype(part).astype(np.float64)
    return result
