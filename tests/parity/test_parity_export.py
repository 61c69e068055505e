"""Golden vectors: a folder says all that a stranger needs, to a reader who has neither torch nor miniconv."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from miniconv import cli  # noqa: E402
from miniconv.parity import Case  # noqa: E402
from miniconv.parity.cases import DTYPES, INTEGER_DTYPES  # noqa: E402
from miniconv.parity.export import STORED, export  # noqa: E402
from miniconv.parity.operands import make, numbers  # noqa: E402
from miniconv.parity.runner import observe  # noqa: E402
from miniconv.parity.targets import TORCH, call  # noqa: E402

DOCS = Path(__file__).parents[2] / "docs" / "reference"
ALONE = """
import runpy, sys
class Alone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "miniconv"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Alone())
sys.argv = ["read_vectors.py", sys.argv[2]]
runpy.run_path(PATH, run_name="__main__")
"""


@pytest.fixture(scope="module")
def reader():
    spec = importlib.util.spec_from_file_location("read_vectors", DOCS / "read_vectors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``smoke`` of conv2d."""
    path = tmp_path_factory.mktemp("exported") / "vectors"
    assert cli.main(["parity", "export", str(path), "--op", "conv2d"]) == 0
    return path


def test_read_by_numpy_alone(folder):
    code = ALONE.replace("PATH", repr(str(DOCS / "read_vectors.py")))
    done = subprocess.run(
        [sys.executable, "-c", code, "-", str(folder)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counts = ast.literal_eval(done.stdout.splitlines()[-1])
    assert counts["wrong"] == 0, done.stdout
    assert counts["right"] > 80
    assert sum(counts.values()) > 580


@pytest.mark.parametrize(
    "sabotage",
    [
        lambda right, input, weight, bias, **options: right(input, weight, None, **options),
        lambda right, input, weight, bias, **options: right(input, weight[..., ::-1], bias, **options),
        lambda right, input, weight, bias, **options: right(input, weight, bias, **options) * (1 + 1e-4),
        lambda right, input, weight, bias, **options: right(input, weight, bias, **options)[:1],
    ],
)
def test_the_reader_finds_faults(folder, reader, sabotage):
    def wrong(*operands, **options):
        return sabotage(reader.conv2d, *operands, **options)

    with np.errstate(all="ignore"):
        assert reader.judge(folder, wrong)["wrong"] > 5


def test_the_files_judge_as_miniconv_does(folder, reader):
    """torch, right and wrong, on every dtype, layout and padding mode, with the gradients."""
    index = json.loads((folder / "index.json").read_text())
    seen, bounded = Counter(), set()
    for row in index["cases"]:
        case = Case.parse(row["case"])
        if row["file"] is None or row["refusal"]:
            continue
        with np.load(folder / row["file"]) as file:
            arrays = dict(file)
        assert all(str(arrays[part].dtype) == STORED.get(case.dtype, case.dtype) for part in row["parts"])
        bounded |= {case.dtype for part in row["parts"] if f"{part}_allowed" in arrays}
        got = call(case, make(case), TORCH).parts
        with np.errstate(all="ignore"):
            right = all(got[part] is not None and reader.is_right(numbers(got[part]), part, arrays) for part in got)
        assert observe(case).passed is right, case
        seen[case.dtype, right] += 1
    assert {dtype for dtype, right in seen if right} == set(DTYPES)
    assert any(not right for _, right in seen)  # and its faults are seen
    assert bounded == set(DTYPES) - set(INTEGER_DTYPES)


def test_everything_in_the_files_is_described(folder):
    page = (DOCS / "vectors.md").read_text()
    index = json.loads((folder / "index.json").read_text())
    assert index["left_out"] == 0
    names = set(index)
    for row in index["cases"]:
        names |= set(row) | set(row["arguments"])
        if row["file"] is not None:
            with np.load(folder / row["file"]) as file:
                names |= {name.removeprefix(part) or part for part in row["parts"] for name in file if part in name}
                names |= {name for name in file if not any(part in name for part in row["parts"])}
    assert {"_exact", "_exact_low", "_allowed", "grad", "bias"} <= names
    assert not {name for name in names if f"`{name}`" not in page}
    assert {row["file"] for row in index["cases"]} - {None} == {path.name for path in folder.glob("*.npz")}
    assert {row["case"] for row in index["cases"] if row["file"] is None} == {
        row["case"] for row in index["cases"] if Case.parse(row["case"]).must_be_refused
    }


def test_wide_numbers_and_refusals(tmp_path):
    cases = [
        Case.parse("conv1d n2 c4 o6 i9 k3 bias bfloat16 random"),
        Case.parse("conv2d n2 c4 o6 i8x9 k3x2 float32 stride=1.0"),
        Case.parse("conv2d n2 c4 o6 i8x9 k3x2 float32 stride=[2,1]"),
        Case.parse("conv_transpose1d n2 c4 o6 i9 k3 s2 op1 uint8"),
    ]
    index = export(cases, tmp_path, {})
    assert index["left_out"] == 1  # torch accepts a list
    wide, odd, transposed = index["cases"]
    with np.load(tmp_path / wide["file"]) as file:
        held = torch.from_numpy(file["input"])
        assert held.dtype == torch.float32
        assert torch.equal(held, held.bfloat16().float())
        assert file["output_allowed"].shape == file["output"].shape == (2, 6, 7)
    assert odd["given"] == {"stride": "1.0"}
    assert odd["refusal"].startswith("TypeError: conv2d() received an invalid combination of arguments")
    assert transposed["arguments"]["output_padding"] == [1]


@pytest.mark.parametrize(
    ("words", "says"), [([], "is not empty"), (["-k", "k99x99"], "no case"), (["-k", "or"], "word is missing")]
)
def test_what_cannot_be_exported(tmp_path, capsys, words, says):
    (tmp_path / "mine.txt").write_text("keep")
    assert cli.main(["parity", "export", str(tmp_path), "--suite", "regressions", *words]) == 2
    assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
