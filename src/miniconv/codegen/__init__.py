"""The engine: convolution kernels that Python writes as LLVM IR, and LLVM compiles for the processor at hand.

The README beside this file says in which order to read it. ``unavailable_reason`` is the one question to ask before
``jit``, ``threads`` and ``engine`` are imported: those need llvmlite.
"""

from __future__ import annotations

import ctypes
import importlib
import mmap
import sys
from functools import lru_cache

__all__ = ["unavailable_reason"]

PROT_READ, PROT_EXEC = 1, 4  # as every POSIX system has them


@lru_cache(maxsize=1)
def unavailable_reason() -> str | None:
    """Why the engine cannot run in this process, as a sentence; None if it can. Found out once.

    Numerics: none; without the engine the algorithms in NumPy compute everything.

    Cost: once, the import of llvmlite; not counting that, well below a millisecond.
    """
    if sys.maxsize < 2**32:
        return "the engine needs a 64-bit Python"
    try:
        importlib.import_module("llvmlite.binding")
    except (ImportError, OSError, RuntimeError) as error:  # absent, or its library cannot be loaded
        return f"the engine needs llvmlite, which cannot be imported: {error}"
    if not _may_execute():
        return "the engine needs memory that it may write and then execute, and this system gives none"
    return None


def _may_execute() -> bool:
    """Whether written memory may be made executable, tried on a page: LLVM would not notice that it may not."""
    protect = getattr(ctypes.CDLL(None), "mprotect", None) if sys.platform != "win32" else None
    if protect is None:
        return True
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    page = mmap.mmap(-1, mmap.PAGESIZE)
    first = ctypes.c_char.from_buffer(page)
    try:
        return bool(protect(ctypes.addressof(first), mmap.PAGESIZE, PROT_READ | PROT_EXEC) == 0)
    finally:
        del first
        page.close()
