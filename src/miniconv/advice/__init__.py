"""Errors that teach: below torch's words, a refusal's arithmetic and the smallest change that makes the call legal.

The text and the type of an error stay torch's; what is taught is a note (PEP 678), which a traceback prints below
them. Nothing here runs unless a call has been refused. Reading the files: ``attempts`` (the call as data that can be
tried again), ``lessons`` (the table of refusals), ``change`` and ``changes_of_...`` (what is tried), ``words`` (what is
said).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from miniconv.advice.attempts import Attempt, of_call, of_fields
from miniconv.advice.change import Change
from miniconv.advice.lessons import lesson_of
from miniconv.advice.words import said, written
from miniconv.language import language as spoken
from miniconv.problem import ConvProblem
from miniconv.problem_text import parse_fields

__all__ = ["Attempt", "advice", "of_call", "of_fields", "parse", "repairs", "teach"]

TOGETHER = 5
"""How many changes are tried together where none alone is enough."""

PROPOSALS = 64
"""How many changes of one kind are tried."""


def teach(error: Exception, made: Callable[[], Attempt], language: str | None = None) -> None:
    """Add a note to a refusal; nothing where this is another error than what the attempt is refused with.

    Args:
        error: what is about to leave; its type and text stay as they are.
        made: gives the call.
        language: of the note, as of ``advice``.

    Numerics:
        None: no number is touched. It never raises.

    Cost:
        Some milliseconds, and only where a call is refused.

    Source: PEP 678.

    >>> from miniconv.problem import Operand
    >>> options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    >>> attempt = of_call("conv1d", [Operand((1, 2)), Operand((1, 1, 3))], options)
    >>> error = attempt.refusal()
    >>> teach(error, lambda: attempt, "en")
    >>> print(error.__notes__[0].splitlines()[0])
    Axis L: input 2 + padding 0 + 0 = 2, but the kernel spans (3 - 1) * 1 + 1 = 3, and 3 > 2.
    """
    try:
        attempt = made()
        refusal = attempt.refusal()
        if refusal is None or type(refusal) is not type(error) or str(refusal) != str(error):
            return
        note = advice(attempt, language)
        if note:
            _add(error, note)
    except Exception:  # whatever goes wrong here, the caller's own error is what must arrive
        return


def _add(error: Exception, note: str) -> None:
    """The note in place of one that was added further below; ``add_note`` came with Python 3.11."""
    others = [text for text in getattr(error, "__notes__", ()) if not isinstance(text, _Note)]
    error.__notes__ = [*others, _Note(note)]


class _Note(str):
    """A note of ours, to be told from others."""

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def advice(attempt: Attempt, language: str | None = None) -> str:
    """What is taught of a call that is refused: its arithmetic, and what makes it legal.

    Args:
        attempt: the call.
        language: ``"en"`` or ``"zh"``; None asks the environment, as ``miniconv.language`` does.

    Returns:
        Lines of text; empty where the call is legal or nothing is known of its refusal.
    """
    refusal = attempt.refusal()
    lesson = None if refusal is None else lesson_of(refusal)
    if lesson is None:
        return ""
    tongue = spoken(language)
    lines = [written(name, values, tongue) for name, values in lesson.facts(attempt)]
    found = [[_words(attempt, change, tongue) for change in changes] for changes in repairs(attempt)]
    alone = [changes[0] for changes in found if len(changes) == 1]
    if len(alone) > 1:
        lines += [said("several", tongue), *(f"  {change}" for change in alone)]
    elif found:
        together = said("and", tongue).join(found[0])
        lines.append(said("one" if alone else "together", tongue, change=together))
    return "\n".join(lines)


def repairs(attempt: Attempt) -> list[list[Change]]:
    """The changes that make a call legal: the smallest of each kind; where none alone does, some together.

    >>> from miniconv.problem import Operand
    >>> options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    >>> attempt = of_call("conv1d", [Operand((1, 2)), Operand((1, 1, 3))], options)
    >>> [[change.words for change in changes] for changes in repairs(attempt)]
    [['padding=1'], [''], ['']]
    """
    refusal = attempt.refusal()
    lesson = None if refusal is None else lesson_of(refusal)
    if lesson is None:
        return []
    alone = []
    for kind in lesson.kinds:
        legal = (change for change in _proposed(attempt, kind) if attempt.changed(change.values).refusal() is None)
        first = next(legal, None)
        if first is not None:
            alone.append([first])
    if alone:
        return alone
    together = _together(attempt, TOGETHER)
    return [together] if together else []


def _proposed(attempt: Attempt, kind: Any) -> Iterator[Change]:
    """The first changes of a kind that change anything."""
    changes = (change for change in kind(attempt) if change.values)
    yield from (change for _, change in zip(range(PROPOSALS), changes))


def _together(attempt: Attempt, depth: int) -> list[Change]:
    """Changes of which each mends one refusal, until none is left; empty where there are none."""
    refusal = attempt.refusal()
    lesson = None if refusal is None else lesson_of(refusal)
    if lesson is None or not depth:
        return []
    for kind in lesson.kinds:
        for change in _proposed(attempt, kind):
            after = attempt.changed(change.values)
            following = after.refusal()
            if following is None:
                return [change]
            if _complaint(following) != _complaint(refusal):
                rest = _together(after, depth - 1)
                if rest:
                    return [change, *rest]
                break  # the others of this kind mend the same
    return []


def _complaint(refusal: Exception | None) -> str:
    """The text of a refusal without its numbers: two with the same one are the same fault."""
    return re.sub(r"[\d\[\], ]+", " ", str(refusal))


def _words(attempt: Attempt, change: Change, language: str) -> str:
    """A change as the caller would write it: the whole text, a layer's arguments, code, or an operand's shape."""
    if attempt.write is not None:
        return attempt.write({**attempt.values, **change.values})
    if change.words:
        return change.words
    shapes = {name: operand.shape for name, operand in change.values.items()}
    if attempt.layer and "weight" in shapes:
        return _layer_words(attempt, shapes["weight"])
    told = (said("shape", language, operand=name, shape=shape) for name, shape in shapes.items())
    return said("and", language).join(told)


def _layer_words(attempt: Attempt, shape: Sequence[int]) -> str:
    """A weight of another shape as the arguments of its layer."""
    old = attempt.weight.shape
    groups = attempt.values["groups"]
    names = ("in_channels", "out_channels") if attempt.transposed else ("out_channels", "in_channels")
    counts = (shape[0], shape[1] * groups)
    words = [f"{name}={count}" for name, count, a, b in zip(names, counts, shape, old) if a != b]
    if tuple(shape[2:]) != tuple(old[2:]):
        kernel = tuple(shape[2:])
        words.append(f"kernel_size={kernel[0] if len(set(kernel)) == 1 else kernel}")
    return ", ".join(words)


def parse(text: str, language: str | None = None) -> ConvProblem:
    """``ConvProblem.parse``, whose refusals teach: the note has the whole text put right.

    Args:
        text: the problem's text.
        language: of the note, as of ``advice``.

    Raises:
        ValueError, RuntimeError: as ``ConvProblem.parse`` does.

    >>> try:
    ...     parse("conv1d c1 o1 i2 k3", "en")
    ... except RuntimeError as error:
    ...     print(error.__notes__[0].splitlines()[2])
      conv1d c1 o1 i2 k3 p1 float32
    """
    fields: Mapping[str, Any] = parse_fields(text)
    try:
        return ConvProblem(**fields)
    except (TypeError, ValueError, RuntimeError) as error:
        teach(error, lambda: of_fields(fields), language)
        raise
