"""Sharing the units of a stage among threads: torch's own OpenMP threads where torch is, else a pool of Python's.

Two pools that spin for work on the same cores slow one another down many times over, so where torch has loaded
GNU's OpenMP runtime, its threads are used: a function of ours is handed to ``GOMP_parallel``. The runtime does not
survive a fork, so a child process uses a pool of Python's own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

from miniconv.codegen.cores import granted
from miniconv.codegen.emit import Code
from miniconv.codegen.jit import compile_code, host

__all__ = ["available", "run"]

STAGE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
# What a thread of OpenMP's is handed.
SHARE = ("stage", "context", "units", "scratch", "stride")


class _State:
    """What a fork changes."""

    forked = False
    pool: ThreadPoolExecutor | None = None


def _after_fork() -> None:
    _State.forked, _State.pool = True, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def available() -> int:
    """How many threads a call may use.

    torch's number where torch is imported, else ``OMP_NUM_THREADS`` and the processors that this process may run on;
    and never more than the control groups of Linux grant it.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        wanted = int(torch.get_num_threads())
    else:
        given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list has a number for each level
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        wanted = max(1, min(int(given), cores)) if given.isdigit() else cores
    share = granted()
    return wanted if share is None else min(wanted, share)


def run(stage: int, context: int, units: int, threads: int, scratch: int, stride: int) -> None:
    """Call a stage for all units, by so many threads; each has ``stride`` bytes of scratch."""
    threads = min(threads, units)
    if threads <= 1:
        function = _functions.get(stage) or _function(stage)
        function(context, 0, units, scratch)
        return
    parallel = None if _State.forked else _openmp()
    if parallel is not None:
        share = (ctypes.c_int64 * len(SHARE))(stage, context, units, scratch, stride)
        parallel(ctypes.addressof(share), threads)
        return
    bounds = [units * i // threads for i in range(threads + 1)]
    shares = [(context, begin, end, scratch + stride * i) for i, (begin, end) in enumerate(pairwise(bounds))]
    _run_in_pool(_function(stage), shares)


def _run_in_pool(function: Callable[..., None], shares: list[tuple[int, int, int, int]]) -> None:
    """Call ``function`` with each of the shares, by this thread and as many of the pool's as come in time.

    When it ends, be it by Ctrl-C, no thread is at work any more: whatever the shares name may then be freed.
    """
    started: list[None] = []
    finished: list[None] = []
    bell: SimpleQueue[None] = SimpleQueue()

    def take() -> None:
        with suppress(IndexError):  # no share left
            while True:
                function(*shares.pop())

    def help_out() -> None:
        started.append(None)  # before a share is taken: see below
        try:
            take()
        finally:
            finished.append(None)
            bell.put(None)

    if _State.pool is None:
        _State.pool = ThreadPoolExecutor(max_workers=64, thread_name_prefix="miniconv")
    interrupt = None
    try:
        with suppress(RuntimeError):  # no thread to be had, or the interpreter is about to end: this one does it all
            for _ in shares[1:]:
                _State.pool.submit(help_out)
        take()
    finally:
        shares.clear()  # who comes from now on finds nothing to do; who has come has said so
        while len(finished) < len(started):
            try:
                bell.get()
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt


_functions: dict[int, Any] = {}


def _function(stage: int) -> Any:
    """The stage at an address, to be called from Python; there are a few of each library of kernels."""
    function = _functions[stage] = STAGE(stage)
    return function


@lru_cache(maxsize=1)
def _openmp() -> Any:
    """A function that runs a share of the units on each thread of OpenMP's; None without GNU's runtime."""
    runtime = _loaded_runtime()
    if runtime is None:
        return None
    names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
    symbols = {name: ctypes.cast(getattr(runtime, name), ctypes.c_void_p).value or 0 for name in names}
    code = Code()
    code.declare("GOMP_parallel", "void @GOMP_parallel(ptr, ptr, i32, i32)")
    for name in names[1:]:
        code.declare(name, f"i32 @{name}()")
    with code.function("share", "ptr") as (share,):
        s = code.words(share, {name: index for index, name in enumerate(SHARE)})
        number = code.op(f"zext i32 {code.op('call i32 @omp_get_thread_num()')} to i64")
        count = code.op(f"zext i32 {code.op('call i32 @omp_get_num_threads()')} to i64")
        begin = code.divided(code.mul(s["units"], number), count)
        end = code.divided(code.mul(s["units"], code.add(number, 1)), count)
        scratch = code.add(s["scratch"], code.mul(s["stride"], number))
        stage, context, memory = (code.op(f"inttoptr i64 {v} to ptr") for v in (s["stage"], s["context"], scratch))
        code.call(stage, f"ptr {context}", f"i64 {begin}", f"i64 {end}", f"ptr {memory}")
    with code.function("parallel", "ptr", "i32") as (share, threads):
        code.call("@GOMP_parallel", "ptr @share", f"ptr {share}", f"i32 {threads}", "i32 0")
    engine = compile_code(code, host(), symbols)
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32)(engine.get_function_address("parallel"))


def _loaded_runtime() -> ctypes.CDLL | None:
    """GNU's OpenMP runtime, if this process has loaded one."""
    try:
        with open("/proc/self/maps") as maps:
            paths = {line.split()[-1] for line in maps if "libgomp" in line}
    except OSError:
        return None
    return ctypes.CDLL(min(paths)) if paths else None
