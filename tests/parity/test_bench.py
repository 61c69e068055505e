"""The benchmarks on tiny layers: every engine computes the problem, every command runs and says what it should."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("threadpoolctl")
sys.path.insert(0, str(Path(__file__).parents[2]))  # bench/ is a folder of the source, not an installed package

from bench import __main__ as command  # noqa: E402
from bench import accuracy, calls, engines, growth, layers, machine, measure, models, networks  # noqa: E402
from miniconv import ConvProblem  # noqa: E402

LAYER = layers.Layer("g", "l", ConvProblem.parse("conv2d n2 c4 o6 i9x12 k3x2 s2x1 p1x0 d1x2 g2 float32"))
HERE = ["miniconv", "torch", "torch_channels_last"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", engines.ENGINES)
def test_every_installed_engine_is_right(name, dtype):
    engine = engines.ENGINES[name]
    if engine.version is None or dtype not in engine.dtypes:
        pytest.skip("not installed, or not its dtype")
    problem = layers.with_dtype(LAYER, dtype).problem
    numbers = layers.operands(problem)
    prepared = engine.prepare(problem, numbers, 1)
    prepared.run()
    result = prepared.result()
    assert result.dtype == dtype
    measure.checked_error(problem, measure.exact_result(problem, numbers), result)


@pytest.fixture
def wrong_engine(monkeypatch):
    """An engine that forgets a tap."""

    def prepare(problem, operands, threads):
        weight = operands.weight.copy()
        weight[..., 0, 0] = 0
        return engines.ENGINES["miniconv_numpy"].prepare(problem, layers.Operands(operands.input, weight), threads)

    monkeypatch.setitem(engines.ENGINES, "miniconv", engines.Engine(prepare, ("miniconv",)))


def test_time_layer():
    row = measure.time_layer(LAYER, ["miniconv", "miniconv_numpy"], threads=1, seconds=0.0)
    assert row["problem"] == str(LAYER.problem)
    assert row["flops"] == LAYER.flops == 2 * 2 * 6 * 5 * 10 * 2 * 6
    assert list(row["engines"]) == ["torch", "miniconv", "miniconv_numpy"]
    assert row["engines"]["torch"]["ratio"] == 1.0
    for engine in row["engines"].values():
        assert engine["rounds"] == 5
        assert engine["gflops"] == pytest.approx(row["flops"] / engine["seconds"] / 1e9)


def test_a_wrong_engine_is_not_timed(wrong_engine):
    row = measure.time_layer(LAYER, ["miniconv"], threads=1, seconds=0.0)
    assert row["engines"]["miniconv"]["wrong"]
    assert "is allowed" in row["engines"]["miniconv"]["refused"]
    assert "seconds" in row["engines"]["torch"]


def test_an_engine_without_the_dtype_is_left_out(monkeypatch):
    monkeypatch.setitem(engines.ENGINES, "single", engines.Engine(None, ("torch",), dtypes=("float32",)))
    row = measure.time_layer(layers.with_dtype(LAYER, "float64"), ["single"], threads=1, seconds=0.0)
    assert row["engines"]["single"] == {"refused": "no float64", "wrong": False}


def test_engines_that_spin_are_timed_apart(monkeypatch):
    spinning = engines.ENGINES["miniconv_numpy"]._replace(foreign=True)
    monkeypatch.setitem(engines.ENGINES, "spinning", spinning)
    names, processes = ["miniconv", "spinning"], []

    def apart(function, *arguments):
        processes.append(arguments[1])
        return function(*arguments)

    (row,) = measure.run([LAYER], names, threads=2, seconds=0.0, apart=apart)
    assert processes == [["spinning"]]
    assert set(row["engines"]) == {"torch", *names}
    measure.run([LAYER], names, threads=1, seconds=0.0, apart=apart)
    assert len(processes) == 1


def test_the_limit_is_put_back():
    before = torch.get_num_threads()
    with engines.limited_to(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_a_quick_run(tmp_path, capsys):
    pytest.importorskip("llvmlite")
    pytest.importorskip("matplotlib")
    path = tmp_path / "quick.json"
    arguments = ["--quick", "--layer", "1x1x5x5-1", "--engines", ",".join(HERE), "--json", str(path)]
    assert command.main(arguments) == 0
    result = json.loads(path.read_text())
    (row,) = result["layers"]
    assert row["group"] == "tiny"
    assert list(row["engines"]) == ["torch", "miniconv", "torch_channels_last"]
    assert row["peak_gflops"] > 0.1
    assert row["engines"]["torch"]["share_of_peak"] == row["engines"]["torch"]["gflops"] / row["peak_gflops"]
    assert result["machine"]["threads"] == 1
    assert path.with_suffix(".md").read_text() in capsys.readouterr().out
    assert "tiny/1x1x5x5-1" in path.with_suffix(".svg").read_text()


def test_a_wrong_miniconv_fails_the_run(wrong_engine, capsys):
    assert command.main(["--quick", "--layer", "1x1x5x5-1", "--engines", "miniconv"]) == 1
    assert "Not timed:\n\n- miniconv: error" in capsys.readouterr().out


def test_mistakes_on_the_command_line(capsys):
    for arguments, text in (
        (["--engines", "torch,tf"], "but got tf"),
        (["--group", "nix"], "no group matches 'nix'"),
    ):
        with pytest.raises(SystemExit):
            command.main(arguments)
        assert text in capsys.readouterr().err


def test_an_engine_that_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setitem(engines.ENGINES, "other", engines.Engine(None, ("no such package",)))
    assert command.chosen_engines("torch, other") == ["torch"]
    assert "left out: other" in capsys.readouterr().err


def test_calls():
    rows = calls.measure(seconds=0.0, sample_seconds=1e-5)
    assert len(rows) == 7
    assert all(row["torch"] > 0 and row["miniconv"] > 0 for row in rows)
    text = calls.markdown(
        {"calls": rows, "machine": machine.describe(1), "plan_seconds": calls.plan_seconds(5), "command": "c"}
    )
    assert text.count("\n| ") == 2 + 7


def test_accuracy():
    (row,) = accuracy.measure([LAYER], seeds=2, threads=1)
    assert 0 < row["errors"]["torch"]["rms"] < row["errors"]["torch"]["max"] < 1e-5
    assert row["ratio"]["max"] == row["errors"]["miniconv"]["max"] / row["errors"]["torch"]["max"]
    text = accuracy.markdown({"layers": [row], "machine": machine.describe(1), "command": "c"})
    assert f"the worst layer g l, {row['ratio']['max']:.2f}." in text


def convolutions(model):
    return [module for module in model.modules() if isinstance(module, networks.CONVOLUTIONS)]


@pytest.mark.parametrize(
    ("name", "count", "parameters"), [("resnet50", 53, 25_557_032), ("mobilenetv2", 52, 3_504_872)]
)
def test_models_are_the_published_ones(name, count, parameters):
    make, _ = models.MODELS[name]
    with torch.device("meta"):
        model = make().eval()
        assert model(torch.empty(2, 3, 224, 224)).shape == (2, 1000)
    assert len(convolutions(model)) == count
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_unet():
    model = models.UNet(width=2, classes=5).eval()
    assert model(torch.zeros(2, 3, 32, 48)).shape == (2, 5, 32, 48)
    assert len(convolutions(model)) == 23


def test_time_network(monkeypatch):
    monkeypatch.setitem(networks.MODELS, "small", (lambda: models.UNet(width=2), (3, 16, 32)))
    row = networks.time_network("small", batch=2, seconds=0.0)
    assert (row["input"], row["count"]) == ([2, 3, 16, 32], 23)
    for engine in ("torch", "miniconv"):
        assert 0 < row["convolutions"][engine] < row["whole"][engine]
    text = networks.markdown({"networks": [row], "machine": machine.describe(1), "command": "c"})
    assert "| small, 2 x 3 x 16 x 32 | 23 |" in text


def test_growth(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(growth, "SIZES", {"N": (1, 2), "C": (4,), "H": (7,), "W": (9, 5)})
    rows = growth.time_growth([1, 2], seconds=0.0)
    assert [(row["axis"], row["size"], row["threads"]) for row in rows[:3]] == [("N", 1, 1), ("N", 2, 1), ("C", 4, 1)]
    assert len(rows) == 12
    result = {"growth": rows, "machine": machine.describe(2), "command": "c", "large_image": "conv2d ..."}
    first = {"problem": "conv2d ...", "operands": "arrays", "first": 0.1, "second": 0.001, "third": 0.001}
    result |= {"first_calls": [first], "workspaces": {1: (2**19, 2**20)}, "workspace_problems": 3}
    result |= {"peak_beyond_output_bytes": {1: 2**20}, "resident_bytes": [2**20, 2**21, 2**22]}
    text = growth.markdown(result)
    assert "| `conv2d ...` | arrays | 100.0 | 1.0 | 1.0 |" in text
    assert "| largest workspace of 3 layers, threads 1: of a thread | 0.5 MiB |" in text
    assert "| after all | 4.0 MiB |" in text
    growth.plot(result, tmp_path / "growth.svg")
    assert "C_in = C_out" in (tmp_path / "growth.svg").read_text()


def test_first_calls():
    for tensors in (False, True):
        first, second, third = machine.in_a_process_of_its_own(growth.first_calls, growth.FIRST[0], tensors)
        assert first > max(second, third) > 0


def test_workspaces():
    each, shared = growth.workspace_bytes(growth.FIRST, 2)
    assert 0 < each < 2**21
    assert 16 * 64 * 64 * 4 <= shared < 2**20  # Winograd's weights of the first one


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the marks are Linux's")
def test_memory():
    image = ConvProblem.parse("conv2d n1 c3 o8 i512x512 k3x3 p1x1 float32")
    assert 0 <= machine.in_a_process_of_its_own(growth.peak_beyond_output, image, 1) < 2**30
    marks = machine.in_a_process_of_its_own(growth.resident_over_shapes, 20)
    assert len(marks) == 11
    assert min(marks) > 2**20
    held = np.ones(2**24)
    assert growth.memory_bytes("VmHWM") >= growth.memory_bytes("VmRSS") > held.nbytes
