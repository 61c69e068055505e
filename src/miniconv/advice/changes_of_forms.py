"""Changes of an argument's form or an operand's type, the smallest of each kind first.

A change is only proposed here. Whether it makes the call legal is tried by asking the validation itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from miniconv.advice.attempts import ARRAYS, UNKNOWN, Attempt
from miniconv.advice.change import Change, option
from miniconv.rules import INT64_MAX, Operand, integer

__all__ = [
    "by_sides", "dtypes", "fewer_values", "integers_of", "kinds_alike", "mode_named", "no_bias", "within_64_bits",
    "word_named",
]  # fmt: skip

NUMBERS = ("list", "tuple", "int", "float")
"""What a tensor or an array can be made of."""


def fewer_values(a: Attempt) -> Iterator[Change]:
    """An option with as many values as there are axes."""
    for name in ("stride", "padding", "dilation", "output_padding"):
        value = a.values.get(name)
        if isinstance(value, (list, tuple)) and len(value) != a.dims:
            numbers = [*value][: a.dims] or [0 if "padding" in name else 1]
            yield option(name, (numbers * a.dims)[: a.dims])


def by_sides(a: Attempt) -> Iterator[Change]:
    """One pair for each axis."""
    pairs = [p for p in a.values["padding"] if isinstance(p, (list, tuple)) and len(p) == 2]
    if pairs and all(integer(side) is not None for pair in pairs for side in pair):
        yield option("padding", [tuple(pair) for pair in (pairs * a.dims)[: a.dims]])


def within_64_bits(a: Attempt) -> Iterator[Change]:
    """The options that are too large, at their largest; groups at 1."""
    for name in ("stride", "padding", "dilation", "output_padding", "groups"):
        value: Any = a.values.get(name)
        numbers = [*value] if isinstance(value, (list, tuple)) else [value]
        sides = [side for n in numbers for side in (n if isinstance(n, (list, tuple)) else (n,))]
        most = INT64_MAX // 2 if name == "padding" else INT64_MAX
        if not any(isinstance(side, int) and abs(side) > most for side in sides):
            continue
        if name == "groups":
            yield Change({name: 1}, "groups=1")
            continue
        kept = [tuple(min(s, most) for s in n) if isinstance(n, (list, tuple)) else min(n, most) for n in numbers]
        yield option(name, kept)


def integers_of(a: Attempt) -> Iterator[Change]:
    """The options that are no integers, as the integers that they look like."""
    for name, default in (("stride", 1), ("padding", 0), ("dilation", 1), ("output_padding", 0), ("groups", 1)):
        value: Any = a.values.get(name)
        if value is None and name not in a.values:
            continue
        listed = hasattr(value, "__iter__") and not isinstance(value, str) and getattr(value, "ndim", 1) > 0
        got = [_integer(v, default) for v in value] if listed else [_integer(value, default)]
        accepted = not listed or (isinstance(value, (list, tuple)) and name != "groups")
        if accepted and [*map(integer, value if listed else [value])] == got:
            continue
        if name == "padding" and isinstance(value, (str, bytes)) and not a.transposed:
            continue
        if listed and name != "groups" and len(got) == a.dims:
            yield option(name, got)
        else:
            yield Change({name: got[0]}, f"{name}={got[0]}")


def _integer(value: Any, default: int) -> int:
    """The integer that a value looks like: 2 for 2.0, "2" and [2]; the default for None and True."""
    if value is None or isinstance(value, bool) or "bool" in type(value).__name__:
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        return default


def word_named(a: Attempt) -> Iterator[Change]:
    """A word for padding that there is: the same in small letters, a number, or what it may stand for."""
    given = a.values["padding"]
    word = given.decode(errors="replace") if isinstance(given, bytes) else str(given)
    if word.strip().isdecimal():
        yield Change({"padding": int(word)}, f"padding={int(word)}")
    if word.lower() == "full":
        yield option("padding", [d * (k - 1) for d, k in zip(a.per_axis("dilation"), a.kernel)])
    for known in sorted(("same", "valid"), key=lambda known: known not in word.lower()):
        yield Change({"padding": known}, f"padding={known!r}")


def mode_named(a: Attempt) -> Iterator[Change]:
    """A mode that there is: one that begins alike, else zeros; for a border too wide, one without a limit."""
    given = str(a.values.get("padding_mode"))
    known = ("zeros",) if a.transposed else ("zeros", "reflect", "replicate", "circular")
    if given in known:
        known = ("replicate",)
    for mode in sorted(known, key=lambda mode: (mode[:3] != given.lower()[:3], known.index(mode))):
        yield Change({"padding_mode": mode}, f"padding_mode={mode!r}")


def dtypes(a: Attempt) -> Iterator[Change]:
    """One dtype for all: as few operands converted as possible, and never one that would lose a fraction."""
    present = {name: a.values[name] for name in ("input", "weight", "bias") if a.values[name] is not None}
    seen = list(dict.fromkeys(x.dtype for x in present.values()))
    ranked = sorted(
        [*seen, *(() if "float32" in seen else ("float32",))],
        key=lambda dtype: (
            max(_rank(other) for other in seen) > _rank(dtype),
            sum(x.dtype != dtype for x in present.values()),
            dtype != present["weight"].dtype,  # the input is the caller's to convert; the weight may be a layer's
        ),
    )
    for dtype in ranked:
        changed = {name: x._replace(dtype=dtype) for name, x in present.items() if x.dtype != dtype}
        casts = {"layer" if a.layer and name != "input" else name: _cast(x) for name, x in changed.items()}
        words = ", ".join(f"{name}{cast}" for name, cast in casts.items())
        yield Change(changed, words)


def _rank(dtype: str) -> int:
    """How much a kind of dtype can hold: whole numbers, fractions, complex numbers."""
    return 2 if dtype.startswith("complex") else 1 if "float" in dtype else 0


def _cast(x: Operand) -> str:
    """The conversion as code."""
    if x.kind == "numpy.ndarray":
        return f".astype({x.dtype!r})"
    short = {"float32": "float", "float64": "double", "float16": "half", "bfloat16": "bfloat16"}.get(x.dtype)
    return f".{short}()" if short else f".to(torch.{x.dtype})"


def no_bias(a: Attempt) -> Iterator[Change]:
    """No bias, where something else stands in its place, such as a stride."""
    if a.values["bias"] is not None and a.values["bias"].kind not in ARRAYS:
        yield Change({"bias": None}, "bias=None")


def kinds_alike(a: Attempt) -> Iterator[Change]:
    """Operands that are all tensors, or all arrays: as few converted as possible; of other types only numbers are."""
    present = {name: a.values[name] for name in ("input", "weight", "bias") if a.values[name] is not None}
    kinds = {x.kind for x in present.values()}
    if kinds <= {ARRAYS[0]} or kinds <= set(ARRAYS[1:]):
        return
    if any(x.kind not in (*ARRAYS, *NUMBERS) or x.dtype == UNKNOWN for x in present.values()):
        return

    def converted(to_array: bool) -> Change:
        wrong = {n: x for n, x in present.items() if x.kind not in (ARRAYS[:1] if to_array else ARRAYS[1:])}
        words = []
        for name, x in wrong.items():
            from_array = "torch.from_numpy" if x.kind == "numpy.ndarray" else "torch.tensor"
            words.append(f"np.asarray({name})" if to_array else f"{from_array}({name})")
        return Change({n: x._replace(kind=ARRAYS[not to_array]) for n, x in wrong.items()}, ", ".join(words))

    yield from sorted(map(converted, (False, True)), key=lambda change: len(change.values))
