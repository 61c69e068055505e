"""The engine among threads, forks and interrupts: many callers at once, calls from a child process, Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and codegen_paths.py is no test
import codegen_paths as paths

from miniconv.codegen import jit, threads
from miniconv.codegen.target import TARGETS
from miniconv.problem import ConvProblem

# What a child process begins with: `check(path, threads)` runs a problem and compares it with the parent's bits.
PRELUDE = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np, codegen_paths as paths
from miniconv.codegen import engine, jit, threads
from miniconv.problem import ConvProblem
def convolved(path, threads):
    problem = ConvProblem.parse(paths.PATHS[path].typical)
    x, w, b = paths.operands(problem, np.random.default_rng(8), whole=False)
    return paths.convolved(path, problem, x, w, b, jit.host(), threads)
"""


def says(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.mark.parametrize(("path", "dtype"), list(product(paths.PATHS, paths.DTYPES)))
def test_many_callers_at_once(path: str, dtype: str) -> None:
    host = jit.host()
    work = []
    for problem in paths.served(path, dtype, host, paths.FAMILY):
        operands = paths.operands(problem, np.random.default_rng(9), whole=False)
        work.append((problem, operands, paths.convolved(path, problem, *operands, host)))

    def call(index: int) -> bool:
        problem, operands, expected = work[index % len(work)]
        got = paths.convolved(path, problem, *operands, host, threads=1 + index % 3)
        return np.array_equal(got, expected)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(40 * len(work))))


@pytest.mark.parametrize("path", paths.PATHS)
def test_one_work_serves_many_callers_at_once(path: str) -> None:
    """The work of a problem is shared by all who call it; nothing in it may be written to."""
    problem = ConvProblem.parse(paths.PATHS[path].typical)
    rng = np.random.default_rng(10)
    calls = [paths.operands(problem, rng, whole=False) for _ in range(16)]
    y = paths.laid_out(np.empty(problem.batched_output_shape, "float32"), problem.memory_format)
    work = paths.prepared(path, problem, calls[0][0], calls[0][1], y, jit.host(), 2)
    before = work.program.copy()

    def call(operands: tuple) -> bool:
        got = paths.laid_out(np.empty(problem.batched_output_shape, "float32"), problem.memory_format)
        for _ in range(20):
            paths.execute(work, *operands, got)
        return np.array_equal(got, paths.convolved(path, problem, *operands, jit.host()))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, calls))
    assert np.array_equal(work.program, before)


def test_threads_that_come_first_together_share_one_library() -> None:
    code = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool:
        print(len({id(library) for library in pool.map(lambda _: jit.library("float32", jit.host()), range(8))}))
    """
    assert says(code) == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("path", paths.PATHS)
def test_a_child_of_fork_computes_the_same(path: str) -> None:
    code = """
    import os
    path = sys.argv[1]
    expected = [convolved(path, n) for n in (1, 2, 3)]
    child = os.fork()
    if child == 0:
        same = all(np.array_equal(convolved(path, n), y) for n, y in zip((1, 2, 3), expected))
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if np.array_equal(convolved(path, 2), expected[1]) else 1)
        os._exit(0 if same and os.waitpid(grandchild, 0)[1] == 0 else 1)
    print(os.waitpid(child, 0)[1], np.array_equal(convolved(path, 2), expected[1]))
    """
    assert says(code, path) == "0 True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("of_what", ["kernels", "plans"])
def test_a_fork_while_other_threads_make_things(of_what: str) -> None:
    """Children inherit the locks of threads that they do not have: llvmlite's, an import's, a cached property's."""
    code = """
    import faulthandler, itertools, os, threading
    from miniconv.codegen.element import Element
    from miniconv.codegen.emit import Code
    from miniconv.codegen.kernels import emit_micro_kernel, micro_kernel_name
    from miniconv.plan import plan
    host, count, over = jit.host(), itertools.count(), threading.Event()
    kernel = Code()
    emit_micro_kernel(kernel, Element.of("float32", host), False, 2, 1)
    def kernels():
        return jit.compile_code(kernel, host).get_function_address(micro_kernel_name(False, 2, 1)) > 0
    def plans():
        channels, rows, stride = 1 + next(count) % 40, 7 + os.getpid() % 7 + next(count) // 40 % 40, 1 + next(count) % 3
        groups = channels if next(count) % 2 else 1
        text = f"conv2d n1 c{channels} o{channels} i{rows}x11 k{1 + next(count) % 4}x3 s{stride}x1 g{groups} float32"
        chosen = plan(ConvProblem.parse(text))
        y = chosen(np.ones(chosen.problem.input_shape, "float32"), np.ones(chosen.problem.weight_shape, "float32"))
        return (y == np.prod(chosen.problem.weight_shape[1:])).all()
    make = {"kernels": kernels, "plans": plans}[sys.argv[1]]
    def repeat():
        while not over.is_set():
            make()
    others = [threading.Thread(target=repeat, daemon=True) for _ in range(2)]
    for thread in others:
        thread.start()
    codes = []
    for _ in range(40):
        child = os.fork()
        if child == 0:
            faulthandler.dump_traceback_later(20, exit=True)
            os._exit(0 if all(make() for _ in range(4)) else 2)
        codes.append(os.waitpid(child, 0)[1])
        if codes[-1]:
            break
    over.set()
    print(set(codes))
    """
    assert says(code, of_what) == "{0}"


@pytest.mark.parametrize("milliseconds", range(0, 160, 20))
def test_the_process_may_end_while_daemon_threads_compute(milliseconds: int) -> None:
    """What is a thread's own is then taken from it, and what modules hold is dropped, wherever the thread is."""
    code = """
    import itertools, threading, time
    from miniconv.functional import conv2d
    count, begun = itertools.count(), threading.Event()
    def repeat():
        while True:
            channels, outputs, rows = 1 + next(count) % 37, 8 + next(count) % 9, 40 + next(count) % 50
            x, w = (np.ones(shape, "float32") for shape in ((1, channels, rows, 60), (outputs, channels, 3, 3)))
            conv2d(x, w, padding=1)
            begun.set()
    for _ in range(4):
        threading.Thread(target=repeat, daemon=True).start()
    begun.wait()
    time.sleep(int(sys.argv[1]) / 1000)
    print("ended")
    """
    assert says(code, str(milliseconds)) == "ended"


@pytest.mark.parametrize("shares", [2, 3, 7])
def test_the_pool_runs_every_unit_once(shares: int) -> None:
    seen: list[tuple[int, ...]] = []
    stage = threads.STAGE(lambda context, begin, end, scratch: seen.append((begin, end, scratch)))
    forked, threads._State.forked = threads._State.forked, True  # as in a child: without OpenMP
    try:
        address = paths.ctypes.cast(stage, paths.ctypes.c_void_p).value
        threads.run(address, 0, 100, shares, 4096, 64)
    finally:
        threads._State.forked = forked
    units = [unit for begin, end, _ in seen for unit in range(begin, end)]
    assert sorted(units) == list(range(100))
    assert sorted(scratch for _, _, scratch in seen) == [4096 + 64 * i for i in range(shares)]


def test_more_threads_than_units() -> None:
    problem = ConvProblem.parse("conv2d n1 c1 o1 i3x4 k3x4")
    x, w, b = paths.operands(problem, np.random.default_rng(0))
    assert paths.convolved("direct", problem, x, w, b, jit.host(), 64) == np.sum(x * w)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to a process here as POSIX does")
@pytest.mark.parametrize("threads_of_a_call", [1, 2])
def test_ctrl_c_leaves_nothing_half_used(threads_of_a_call: int) -> None:
    """Interrupted again and again in the middle of calls, the engine still gives the same bits."""
    code = """
    import os, signal, threading, time
    from miniconv.codegen import threads as sharing
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background inherits that it is ignored
    count = int(sys.argv[1])
    expected = convolved("direct", count)
    def interrupt():
        for _ in range(60):
            time.sleep(0.004)
            os.kill(os.getpid(), signal.SIGINT)
        over.set()
    over = threading.Event()
    interrupts, calls = 0, 0
    sender = threading.Thread(target=interrupt)
    sender.start()
    while True:
        try:
            while not over.is_set():
                y = convolved("direct", count)
                calls += 1
                assert np.array_equal(y, expected)
                del y
            sender.join()
            break
        except KeyboardInterrupt:
            interrupts += 1
    assert np.array_equal(convolved("direct", count), expected)
    print(interrupts > 20, calls > 20)
    """
    assert says(code, str(threads_of_a_call)) == "True True"


@pytest.mark.parametrize("step", ["add_module", "finalize_object", "get_function_address", "remove_module"])
def test_an_interrupt_while_a_kernel_is_compiled(step: str) -> None:
    """What it leaves behind is in nobody's way: the same kernel is compiled again, beside what is left of the first."""
    code = """
    from miniconv.codegen.emit import Code
    import ctypes
    def constant(value):
        code = Code()
        with code.function("put", "ptr") as (place,):
            code.store("i64", value, place)
        return jit.compile_code(code, jit.host()).get_function_address("put")
    first, engine = constant(1), next(iter(jit._ENGINES.values()))
    kept = getattr(engine, sys.argv[1])
    def interrupted(*arguments):
        kept(*arguments)
        raise KeyboardInterrupt
    setattr(engine, sys.argv[1], interrupted)
    try:
        constant(2)
    except KeyboardInterrupt:
        delattr(engine, sys.argv[1])
    for address in (first, constant(3), constant(4)):
        place = ctypes.c_int64()
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(place))
        print(place.value, end=" ")
    """
    assert says(code, step) == "1 3 4"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to a process here as POSIX does")
def test_ctrl_c_waits_for_the_pool() -> None:
    """Whoever is at work when the interrupt comes finishes first: it may be writing to the caller's memory."""
    code = """
    import ctypes, os, signal, time
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background inherits that it is ignored
    main, busy, ended = __import__("threading").get_ident(), [], []
    def stage(context, begin, end, scratch):
        if __import__("threading").get_ident() != main:
            busy.append(begin)
            time.sleep(0.3)
            ended.append(begin)
        else:
            while not busy:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGINT)
    function = threads.STAGE(stage)
    try:
        threads._run_in_pool(lambda *share: stage(*share), [(0, 0, 1, 0), (0, 1, 2, 0)])
    except KeyboardInterrupt:
        print(len(busy), len(ended))
    """
    assert says(code) == "1 1"


def test_a_narrower_target_is_another_library() -> None:
    host = jit.host()
    others = [target for target in paths.targets().values() if target != host]
    assert all(jit.library("float32", other) is not jit.library("float32", host) for other in others)
    assert jit.library("float32", host) is jit.library("float32", paths.narrow(host))
    assert set(TARGETS) >= {target.name for target in others}
