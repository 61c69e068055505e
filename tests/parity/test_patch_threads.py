"""patch() and threads: they come and go while contexts open and close, and torch's table ends as it was."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import torch

import miniconv
from miniconv.patch import kernels

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and ways.py is no test
from ways import ordinary

OPERATORS = ("aten::convolution", "aten::_convolution", "aten::convolution_backward")


def test_threads_that_come_and_go():
    """Contexts opened and closed while others convolve: every result right, and nothing is open at the end."""
    expected = ordinary(2)
    wrong, stop = [], threading.Event()

    def convolve():
        while not stop.is_set():
            if not all(map(torch.equal, ordinary(2), expected)):
                wrong.append("wrong")

    def toggle():
        for _ in range(50):
            with miniconv.patch():
                time.sleep(0.001)

    with miniconv.patch() as report:
        convolving = [threading.Thread(target=convolve) for _ in range(2)]
        toggling = [threading.Thread(target=toggle) for _ in range(2)]
        for thread in convolving + toggling:
            thread.start()
        for thread in toggling:
            thread.join()
    toggle()
    stop.set()
    for thread in convolving:
        thread.join()
    assert not wrong
    assert report.handed_back == {}
    assert sum(report.taken.values()) > 2
    assert kernels._Open.reports == ()


QUIET = f"""
import threading, torch, miniconv
def replaced():
    return [torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU") for name in {OPERATORS}]
def convolve():
    return torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2)).sum().item()
before = replaced()
with miniconv.patch() as report:
    assert all(replaced())
    with miniconv.patch():
        convolve()
    assert all(replaced())
assert replaced() == before == [False, False, False], replaced()
done = threading.Event()
thread = threading.Thread(target=done.wait)
with miniconv.patch():
    thread.start()
assert all(replaced()), "a thread is alive: only switched off"
assert convolve() == 16
done.set()
thread.join()
with miniconv.patch() as last:
    convolve()
assert not any(replaced())
assert convolve() == 16
print(report.taken, last.taken)
"""


def test_torchs_kernels_are_back_in_the_table():
    """In a process of its own: here pytest may have threads, and then they are only switched on again."""
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "{'conv2d': 1} {'conv2d': 1}\n"), done.stderr


STRESS = f"""
import threading, torch, miniconv
torch.set_num_threads(1)
x, w = torch.ones(2, 3, 9, 8), torch.ones(4, 3, 3, 2, requires_grad=True)
stop, calls, wrong = threading.Event(), [0, 0], []
def convolve(which):
    while not stop.is_set():
        y = torch.nn.functional.conv2d(x, w)
        (gradient,) = torch.autograd.grad(y.sum(), w)
        if y.detach().ne(18).any() or gradient.ne(98).any():
            wrong.append(which)
        calls[which] += 1
threads = [threading.Thread(target=convolve, args=(which,)) for which in range(2)]
for thread in threads:
    thread.start()
taken = 0
for _ in range(200):
    with miniconv.patch() as report:
        seen = list(calls)
        while any(now < before + 2 for now, before in zip(calls, seen)) and not wrong:
            stop.wait(0.0001)
    taken += sum(report.taken.values())
    assert not report.handed_back, report
stop.set()
for thread in threads:
    thread.join()
assert not wrong and taken > 800, taken
with miniconv.patch():
    pass
assert not any(torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU") for name in {OPERATORS})
print("right")
"""


def test_contexts_that_open_and_close_while_threads_convolve():
    """The first one opens while they do; in a process of its own, as a crash would end it."""
    done = subprocess.run([sys.executable, "-c", STRESS], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr


UNSEEN = f"""
import _thread, threading, torch, miniconv
started, done = threading.Lock(), threading.Lock()
started.acquire(), done.acquire()
def wait():
    started.release()
    done.acquire()
def replaced():
    return [torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU") for name in {OPERATORS}]
with miniconv.patch():
    _thread.start_new_thread(wait, ())
    started.acquire()
assert threading.active_count() == 1 and all(replaced())
done.release()
"""


def test_a_thread_that_threading_does_not_know_is_waited_for():
    done = subprocess.run([sys.executable, "-c", UNSEEN], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
