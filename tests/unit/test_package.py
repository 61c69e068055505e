"""The package as a whole: its public names, what importing it loads, and that it works without torch."""

import importlib
import os
import pkgutil
import subprocess
import sys
from importlib import metadata, resources

import pytest

import miniconv

# What `import miniconv` must never load: slow, or not installed everywhere.
HEAVY = ("torch", "llvmlite", "scipy", "sklearn", "matplotlib", "PIL", "pytest")

# A finder in front of all others that lets nobody import torch, whether it is installed or not.
BLOCK_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, NoTorch())
"""


def run_python(code):
    """What a fresh interpreter prints, without coverage hooks or warnings of ours."""
    env = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def module_names():
    """Every module of the package by its dotted name, but for the one that runs the command."""
    walked = pkgutil.walk_packages(miniconv.__path__, "miniconv.", onerror=lambda name: None)
    return sorted(info.name for info in walked if not info.name.endswith("__main__"))


@pytest.mark.parametrize("name", ["miniconv", *module_names()])
def test_all_names_what_exists_and_nothing_twice(name):
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if (error.name or "torch").partition(".")[0] in ("torch", *HEAVY, "tqdm"):
            pytest.skip(f"{name} needs a package that is not installed: {error}")
        raise
    names = list(module.__all__) if hasattr(module, "__all__") else []
    assert len(names) == len(set(names))
    for public in names:
        try:
            getattr(module, public)
        except ImportError as error:
            if (error.name or "torch").partition(".")[0] != "torch":
                raise


def test_public_names():
    expected = ["ConvProblem", "ReceptiveField", "audit", "config", "explain", "patch", "receptive_field", "summary"]
    assert sorted(miniconv.__all__) == expected
    assert set(miniconv.__all__) <= set(dir(miniconv))


def test_functional_builds_what_it_says():
    functional = importlib.import_module("miniconv.functional")
    assert {"OWN", *functional.OWN} <= set(functional.__all__) <= set(dir(functional))
    for name in functional.OWN:
        assert getattr(functional, name).__module__.startswith("miniconv.")


@pytest.mark.parametrize("statement", ["import miniconv", "import miniconv.functional", "import miniconv.reference"])
def test_import_loads_nothing_heavy(statement):
    code = f"{statement}; import sys; print([name for name in {HEAVY} if name in sys.modules])"
    assert run_python(code) == "[]"


def test_arrays_need_no_torch():
    code = """
import numpy as np
import miniconv.functional as F
x = np.arange(24.0).reshape(1, 2, 3, 4)
print(F.conv2d(x, np.ones((1, 2, 2, 3)), stride=(1, 2), padding=(0, 1)).tolist())
try:
    F.gelu
except AttributeError as error:
    print(error)
try:
    import miniconv.nn
except ImportError as error:
    print(error)
from miniconv.functional import *
print(set(F.__all__) == {"OWN", *F.OWN} == set(dir(F)) and conv2d is F.conv2d)
"""
    convolved, functional_says, nn_says, star = run_python(BLOCK_TORCH + code).splitlines()
    assert convolved == "[[[[68.0, 120.0], [100.0, 168.0]]]]"
    assert "'gelu'" in functional_says
    assert "miniconv[torch]" in functional_says
    assert "miniconv[torch]" in nn_says
    assert star == "True"


def test_is_typed():
    assert resources.files("miniconv").joinpath("py.typed").is_file()


def test_version_has_one_home():
    assert metadata.version("miniconv").count(".") == 2
    assert not hasattr(miniconv, "__version__")
