"""What a program may set about how convolutions are computed; results change by rounding at most.

Three settings, each with an environment variable that is read when miniconv is imported:

    threads       MINICONV_THREADS       how many threads a call may use; None: torch's number, or the process's cores
    algorithm     MINICONV_ALGORITHM     a name of ``miniconv.plan``; None: the plan's choice
    reproducible  MINICONV_REPRODUCIBLE  no algorithm that rounds otherwise than a plain sum (Winograd)

A fourth variable cannot be changed while a program runs: ``MINICONV_TARGET`` names a processor that the engine is to
write code for, ``avx512``, ``avx2``, ``x86-64`` or ``neon``. The one at hand must be of that kind, or a wider one of
it; without the variable it is what code is written for. Another processor's sums may be rounded otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

__all__ = ["TARGET", "Settings", "config", "current"]


class Settings(NamedTuple):
    """The settings of one moment.

    Attributes:
        threads: how many threads a call may use, or None.
        algorithm: the algorithm to use wherever it can, or None.
        reproducible: whether to keep to plain sums.
    """

    threads: int | None = None
    algorithm: str | None = None
    reproducible: bool = False


ALGORITHM_NAMES = (
    *("engine", "im2col", "kn2row", "fft", "winograd_f2", "winograd_f4"),
    *("per_channel", "dilation_zeros", "dilation_sampled"),
)


def _checked(settings: Settings) -> Settings:
    """``settings``, if every value is legal."""
    threads = settings.threads
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise ValueError(f"threads is a positive integer or None, but got {threads!r}")
    if settings.algorithm is not None and settings.algorithm not in ALGORITHM_NAMES:
        raise ValueError(f"algorithm is one of {', '.join(ALGORITHM_NAMES)}, but got {settings.algorithm!r}")
    if not isinstance(settings.reproducible, bool):
        raise ValueError(f"reproducible is True or False, but got {settings.reproducible!r}")
    return settings


def _from_environment(environment: Any) -> Settings:
    """The settings that the environment variables ask for."""
    threads, algorithm, reproducible = (
        environment.get(f"MINICONV_{name.upper()}", "").strip() for name in Settings._fields
    )
    if threads and not threads.isdigit():
        raise ValueError(f"MINICONV_THREADS is a positive integer, but got {threads!r}")
    if reproducible not in ("", "0", "1"):
        raise ValueError(f"MINICONV_REPRODUCIBLE is 0 or 1, but got {reproducible!r}")
    return _checked(Settings(int(threads) if threads else None, algorithm or None, reproducible == "1"))


TARGET: str | None = os.environ.get("MINICONV_TARGET", "").strip() or None
"""The processor that code is written for; None: the one at hand."""

_AT_START = _from_environment(os.environ)
_current: ContextVar[Settings] = ContextVar("miniconv settings", default=_AT_START)

current = _current.get
"""The settings in force."""


@contextmanager
def config(**changes: Any) -> Iterator[Settings]:
    """Change settings for the body of a ``with``, in this thread (and, as a context variable, this asyncio task).

    Args:
        changes: ``threads``, ``algorithm`` and ``reproducible``; what is not named stays as it was.

    Raises:
        ValueError: a value is not legal.
        TypeError: there is no such setting.

    >>> with config(threads=1, algorithm="im2col") as now:
    ...     now.algorithm
    'im2col'
    """
    unknown = set(changes) - set(Settings._fields)
    if unknown:
        raise TypeError(f"the settings are {', '.join(Settings._fields)}, but got {', '.join(sorted(unknown))}")
    token = _current.set(_checked(_current.get()._replace(**changes)))
    try:
        yield _current.get()
    finally:
        _current.reset(token)
