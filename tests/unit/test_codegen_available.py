"""What keeps the engine from running is found out before it is used, and said in a sentence."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASK = "from miniconv import codegen; print(codegen.unavailable_reason())"

NO_LLVMLITE = """
import sys
class NoLlvmlite:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "llvmlite":
            raise {error}
sys.meta_path.insert(0, NoLlvmlite())
"""

# Linux can be asked to give this process no more executable memory: PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
NO_EXECUTABLE_MEMORY = """
import ctypes, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:
    print("cannot ask")
    sys.exit()
"""


def says(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_with_llvmlite_there_is_no_reason() -> None:
    pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")
    assert says(ASK) == "None"


@pytest.mark.parametrize("error", ["ModuleNotFoundError('not here')", "OSError('not here')"])
def test_without_llvmlite_the_reason_names_it(error: str) -> None:
    assert (
        says(NO_LLVMLITE.format(error=error) + ASK) == "the engine needs llvmlite, which cannot be imported: not here"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for it")
def test_without_executable_memory_the_reason_says_so() -> None:
    pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")
    said = says(NO_EXECUTABLE_MEMORY + ASK)
    if said == "cannot ask":
        pytest.skip("this Linux is older than 6.3")
    assert said == "the engine needs memory that it may write and then execute, and this system gives none"


def test_asking_is_free_until_it_is_asked() -> None:
    assert says("import sys; import miniconv.codegen; print('llvmlite' in sys.modules)") == "False"
