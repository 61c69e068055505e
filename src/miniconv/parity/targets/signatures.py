"""Which arguments a function takes, read off its signature, so that each case is passed as the function wants it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from miniconv.parity.data import DEFAULTS
from miniconv.parity.targets.target import TargetError, Unsupported

__all__ = ["conventional"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def conventional(function: Callable[..., Any], name: str, *, strict: bool) -> Callable[..., Any]:
    """``function`` as ``f(input, weight, bias, **options)``, whichever of torch's arguments it takes.

    The bias goes where the signature has it: to a parameter ``bias``, or to the third one if that is none of torch's.
    An argument without a default is always passed.

    Args:
        function: takes input and weight first.
        name: what it is called in messages.
        strict: whether an argument that the signature lacks is a mistake (``TypeError``), and not ``Unsupported``.

    Raises:
        TargetError: the signature cannot take (input, weight), or wants an argument that no convolution has.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C, without one
        return _as_torchs(function)
    kinds = [parameter.kind for parameter in parameters.values()]
    places = [parameter for parameter in parameters.values() if parameter.kind in _POSITIONAL]
    any_place, any_name = inspect.Parameter.VAR_POSITIONAL in kinds, inspect.Parameter.VAR_KEYWORD in kinds
    shown = f"{name}{inspect.signature(function)}"
    if len(places) < 2 and not any_place:
        raise TargetError(f"a convolution takes input and weight as its first two arguments, but got {shown}")
    third = places[2] if len(places) > 2 and places[2].name not in DEFAULTS else None
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = {p.name for p in parameters.values() if p.default is p.empty and p.kind not in variadic}
    required -= {place.name for place in places[:2]}
    foreign = required - {*DEFAULTS, "bias"} - ({third.name} if third is not None else set())
    if foreign:
        raise TargetError(f"a convolution has no argument {', '.join(sorted(foreign))} to pass, but got {shown}")
    bias_by_name = ("bias" in parameters or any_name) and (third is None or third.name == "bias")
    has_bias = bias_by_name or third is not None or any_place

    def as_torchs(input: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
        lacking = [name for name in options if name not in parameters and not any_name]
        lacking += ["bias"] if bias is not None and not has_bias else []
        if lacking:
            raise (TypeError if strict else Unsupported)(f"{name} takes no {' and no '.join(lacking)}")
        passed = {**{name: DEFAULTS[name] for name in required if name in DEFAULTS}, **options}
        wanted = bias is not None or "bias" in required or (third is not None and third.name in required)
        if wanted and bias_by_name and (third is None or third.kind is not third.POSITIONAL_ONLY):
            return function(input, weight, bias=bias, **passed)
        return function(input, weight, *([bias] if wanted else []), **passed)

    return as_torchs


def _as_torchs(function: Callable[..., Any]) -> Callable[..., Any]:
    """A call as torch's own functions take it: without a bias where there is none."""

    def as_torchs(input: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
        return function(input, weight, *([] if bias is None else [bias]), **options)

    return as_torchs
