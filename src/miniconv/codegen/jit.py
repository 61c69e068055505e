"""From IR to a function that can be called: compiled when first wanted, kept for the life of the process."""

from __future__ import annotations

import atexit
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from miniconv.codegen.emit import Code
from miniconv.codegen.kernels import Element, Function, emit_function, function_name, function_number
from miniconv.codegen.records import KERNELS, PARTS
from miniconv.codegen.target import RUNS, TARGETS, Target
from miniconv.lazy import UNFORKED
from miniconv.settings import TARGET

__all__ = ["Library", "assembly", "compile_code", "host", "library", "module", "object_code"]

# llvmlite has a lock of its own, which it takes for every call, and a child of a fork inherits it as it is. So every
# call of llvmlite's stands in a function that is called under this one, and whose end is the end of its objects.
_LOCK = UNFORKED


@atexit.register
def _end() -> None:
    """The process ends: no thread may be in LLVM any more, and code that one may still run stays where it is."""
    _LOCK.acquire()
    for engine in _ENGINES.values():
        engine.detach()


@lru_cache(maxsize=1)
def host() -> Target:
    """The processor that runs this, as LLVM knows it; or the narrower one that ``MINICONV_TARGET`` names.

    Raises:
        ValueError: this processor does not run the code of that one.
    """
    with _LOCK:
        here = _host()
    name = TARGET or here.name
    if name not in RUNS[here.name]:
        raise ValueError(f"MINICONV_TARGET is one of {', '.join(RUNS[here.name])} on this processor, but got {name!r}")
    return here if name == here.name else TARGETS[name]


def _host() -> Target:
    features = dict(llvm.get_host_cpu_features())
    cpu, text = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    triple = llvm.get_process_triple()
    if features.get("avx512f") and features.get("avx512vl"):
        known = TARGETS["avx512"]
    elif features.get("avx2") and features.get("fma"):
        known = TARGETS["avx2"]
    elif triple.startswith(("aarch64", "arm64")):
        known = TARGETS["neon"]
    else:
        known = TARGETS["x86-64"]
    extra = known.features if known.name == "avx512" else ""
    l2_bytes = _l2_bytes() or known.l2_bytes
    return replace(known, cpu=cpu, features=text + extra, triple=triple, l2_bytes=l2_bytes)


def _l2_bytes() -> int:
    """The size of the first core's second cache as Linux tells it; 0 where it does not."""
    try:
        with open("/sys/devices/system/cpu/cpu0/cache/index2/size") as file:
            text = file.read().strip()
    except OSError:
        return 0
    return int(text[:-1]) << 10 if text[:-1].isdigit() and text.endswith("K") else 0


_NUMBERS = itertools.count()
_ENGINES: dict[Target, Any] = {}  # never dropped: addresses of compiled code are handed out as numbers


def _machine(target: Target, jit: bool = True) -> Any:
    if target.triple not in ("", llvm.get_process_triple()):
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(target.triple or llvm.get_process_triple()).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, jit=jit
    )


def _parsed(code: Code) -> Any:
    parsed = llvm.parse_assembly(code.text())
    parsed.verify()
    return parsed


class Compiled:
    """Functions that have been compiled."""

    count = 0

    def __init__(self, addresses: dict[str, int]) -> None:
        self._addresses = addresses
        Compiled.count += 1

    def get_function_address(self, name: str) -> int:
        """Where the function of that name begins."""
        return self._addresses[name]


def compile_code(code: Code, target: Target, symbols: dict[str, int] | None = None) -> Compiled:
    """Compile a module. What it defines is kept for ever, and its text is not.

    Args:
        code: the module.
        target: a processor whose code this one can run.
        symbols: the addresses of functions that the module declares.

    Cost: about 5 ms for a kernel, and 40 kB of memory; an engine of LLVM's for each module would be 800 kB.
    """
    with _LOCK:
        return _defined(code, target, symbols or {})


def _defined(code: Code, target: Target, symbols: dict[str, int]) -> Compiled:
    for name, address in symbols.items():
        llvm.add_symbol(name, address)
    if target not in _ENGINES:
        _ENGINES[target] = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(target))
    engine, module = _ENGINES[target], _parsed(code)
    defined = [f for f in module.functions if not f.is_declaration and f.linkage != llvm.Linkage.internal]
    names = [function.name for function in defined]
    number = next(_NUMBERS)  # modules of one engine share their names; also with one that an interrupt left there
    for function in defined:
        function.name = f"{function.name}.{number}"
    engine.add_module(module)
    engine.finalize_object()
    compiled = Compiled({name: engine.get_function_address(f.name) for name, f in zip(names, defined)})
    engine.remove_module(module)
    return compiled


def assembly(code: Code, target: Target) -> str:
    """The instructions that LLVM chooses on any target, to be read; this processor need not be of its kind."""
    with _LOCK:
        return str(_machine(target, jit=False).emit_assembly(_parsed(code)))


def object_code(code: Code, target: Target) -> bytes:
    """The same as the bytes of an object file, to be linked."""
    with _LOCK:
        return bytes(_machine(target, jit=False).emit_object(_parsed(code)))


def module(emit: Callable[..., None], dtype: str, target: Target, *arguments: Any) -> Any:
    """What ``emit(code, element, *arguments)`` writes, compiled; the same module for every thread, for ever."""
    with _LOCK:  # else two threads that come first could both make one, of which the cache would drop one
        return _compiled(emit, dtype, replace(target, l2_bytes=0), *arguments)


@cache  # never dropped: compiled code must outlive every plan
def _compiled(emit: Callable[..., None], dtype: str, target: Target, *arguments: Any) -> Any:
    code = Code()
    emit(code, Element.of(dtype, target), *arguments)
    return compile_code(code, target)


class Library:
    """The compiled kernels of one element type on one target: each is compiled when a schedule first names it."""

    def __init__(self, dtype: str, target: Target) -> None:
        self.element = Element.of(dtype, target)
        self.target = target
        self._dtype = dtype
        self._table = np.zeros(math.prod(KERNELS) + len(PARTS), np.int64)
        self._made: set[Function] = set()

    def kernel_table(self, functions: frozenset[Function]) -> int:
        """The address of the table of functions, with these in it; what is missing is compiled as one module."""
        with _LOCK:
            missing = sorted(functions - self._made, key=function_number)
            if missing:
                compiled = module(_emit_functions, self._dtype, self.target, *missing)
                for function in missing:
                    address = compiled.get_function_address(function_name(function))
                    self._table[function_number(function)] = address
                self._made.update(missing)
        return int(self._table.ctypes.data)

    def address(self, part: str) -> int:
        """Where that function begins, which is in the table."""
        return int(self._table[PARTS[part]])


def _emit_functions(code: Code, element: Element, *functions: Function) -> None:
    for function in functions:
        emit_function(code, element, function)


def library(dtype: str, target: Target) -> Library:
    """The kernels of float32 or float64 on ``target``; the same object for every thread, for ever."""
    with _LOCK:
        return _library(dtype, replace(target, l2_bytes=0))


@cache
def _library(dtype: str, target: Target) -> Library:
    return Library(dtype, target)
