"""config: what may be set, how it is undone, and that a plan follows it."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import miniconv
from miniconv.algorithms import ALGORITHMS
from miniconv.codegen.target import RUNS
from miniconv.plan import plan
from miniconv.problem import ConvProblem
from miniconv.settings import ALGORITHM_NAMES, Settings, current


def test_the_names_are_those_of_the_algorithms():
    assert set(ALGORITHM_NAMES) == {"engine", *ALGORITHMS}


def test_settings_nest_and_are_undone():
    before = current()
    with miniconv.config(threads=2):
        with miniconv.config(algorithm="fft", reproducible=True):
            assert current() == Settings(2, "fft", True)
        assert current() == before._replace(threads=2)
    with pytest.raises(KeyError), miniconv.config(threads=3):
        raise KeyError
    assert current() == before


def test_another_thread_has_its_own():
    seen = []
    with miniconv.config(threads=3):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen[0].threads != 3


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"threads": 0}, ValueError, "threads is a positive integer or None, but got 0"),
        ({"threads": True}, ValueError, "threads is a positive integer or None, but got True"),
        ({"threads": 1.5}, ValueError, "threads is a positive integer or None, but got 1.5"),
        ({"algorithm": "magic"}, ValueError, "algorithm is one of engine, im2col, .*, but got 'magic'"),
        ({"reproducible": 1}, ValueError, "reproducible is True or False, but got 1"),
        ({"thread": 1}, TypeError, "the settings are threads, algorithm, reproducible, but got thread"),
    ],
)
def test_what_is_not_legal(changes, error, text):
    with pytest.raises(error, match=text), miniconv.config(**changes):
        pass


def test_a_plan_follows_the_settings():
    chosen = plan(ConvProblem.parse("conv2d n1 c2 o3 i5x6 k3x2"))
    x, w = np.ones((1, 2, 5, 6)), np.ones((3, 2, 3, 2))
    for name in ("im2col", "kn2row", "fft", "per_channel"):
        with miniconv.config(algorithm=name):
            assert chosen.algorithm == name
            np.testing.assert_allclose(chosen(x.astype("f"), w.astype("f")), 12, rtol=1e-5)
    with miniconv.config(algorithm="winograd_f2"):  # refuses this kernel
        assert chosen.algorithm in ("engine", "im2col")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "Settings(threads=None, algorithm=None, reproducible=False)"),
        (
            {"MINICONV_THREADS": "2", "MINICONV_ALGORITHM": "im2col", "MINICONV_REPRODUCIBLE": "1"},
            "Settings(threads=2, algorithm='im2col', reproducible=True)",
        ),
        ({"MINICONV_THREADS": "two"}, "MINICONV_THREADS is a positive integer, but got 'two'"),
        ({"MINICONV_REPRODUCIBLE": "yes"}, "MINICONV_REPRODUCIBLE is 0 or 1, but got 'yes'"),
    ],
)
def test_the_environment(variables, expected):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MINICONV_")}
    code = "from miniconv.settings import current; print(current())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **variables}, capture_output=True, text=True, check=False
    )
    assert expected in done.stdout + done.stderr


def test_a_target_that_this_processor_does_not_run_is_refused():
    pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")
    code = "from miniconv.codegen import jit; print(jit.host().name)"
    said = {}
    for name in ("", "avx512", "avx2", "x86-64", "neon", "abacus"):
        command = [sys.executable, "-c", code]
        environment = {**os.environ, "MINICONV_TARGET": name}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        said[name] = done.stdout.strip() or done.stderr.splitlines()[-1]
    here = said.pop("")
    served = RUNS[here]
    for name, answer in said.items():
        refusal = f"ValueError: MINICONV_TARGET is one of {', '.join(served)} on this processor, but got {name!r}"
        assert answer == (name if name in served else refusal)
