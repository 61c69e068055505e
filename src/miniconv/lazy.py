"""What is made when it is first wanted, in processes of many threads that may fork.

A child of a fork has one thread. A lock that another one held is held for ever there, so whatever is made under a lock,
an import for instance, is made while nobody may fork.
"""

from __future__ import annotations

import functools
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, overload

__all__ = ["UNFORKED", "cached_property", "loading"]

T = TypeVar("T", covariant=True)

UNFORKED = threading.RLock()
"""Held by whoever makes something that a child could not do without, and by whoever forks."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=UNFORKED.acquire, after_in_parent=UNFORKED.release, after_in_child=UNFORKED.release)


@contextmanager
def loading() -> Iterator[None]:
    """Around imports: meanwhile nobody forks, and Python does not look for garbage in cycles.

    What is loaded is there to stay. But so many new objects can set off a search through all that there are, and those
    of torch take a tenth of a second.

    >>> with loading():
    ...     gc.isenabled()
    False
    """
    with UNFORKED:
        collects = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collects:
                gc.enable()


class cached_property(functools.cached_property[T]):
    """``functools.cached_property`` as it is since Python 3.12.

    Before, it holds one lock for all instances while a value is worked out. Threads that come first together may each
    work the value out; the values are equal.

    >>> class Square:
    ...     @cached_property
    ...     def area(self):
    ...         print("once")
    ...         return 9
    >>> square = Square()
    >>> square.area, square.area
    once
    (9, 9)
    """

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> cached_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type[Any] | None = None) -> Any:
        """The value; the attribute itself of a class."""
        if instance is None:
            return self
        value = instance.__dict__[self.func.__name__] = self.func(instance)
        return value
