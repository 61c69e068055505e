"""The benchmarks' own arithmetic: rows, ratios, tables, the FMA loop's text. What needs torch is in tests/parity."""

import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # bench/ is a folder of the source, not an installed package

from bench import accuracy, bandwidth, growth, layers, machine, measure, peak, plans, report, timing
from miniconv import ConvProblem, reference
from miniconv.codegen.element import Element
from miniconv.codegen.emit import Code


def row(group, name, **ratios):
    """A measured layer: torch at one millisecond, two million FLOPs, the engines at these ratios, a peak of 40."""
    engines = {
        n: {"seconds": 1e-3 / r, "ratio": r, "gflops": 2.0 * r, "share_of_peak": r / 20}
        for n, r in {"torch": 1.0, **ratios}.items()
    }
    return {"group": group, "name": name, "problem": str(LAYER), "peak_gflops": 40.0, "engines": engines}


LAYER = ConvProblem.parse("conv2d n1 c1 o1 i3x3 k3x3 float32")


ROWS = [row("a", "one", miniconv=2.0, jax=0.5), row("a", "two", miniconv=8.0), row("b", "one", miniconv=0.5, jax=2.0)]


class TestLayers:
    def test_workloads_are_distinct_and_valid(self):
        loaded = layers.load()
        assert len(loaded) == 120
        assert len({(layer.group, layer.name) for layer in loaded}) == 120
        assert all(ConvProblem.parse(str(layer.problem)) == layer.problem for layer in loaded)

    def test_a_row_of_the_file(self, tmp_path):
        spec = {
            "group": "g", "name": "l", "input": [2, 6, 9, 11], "out_channels": 4, "kernel": [3, 2], "stride": [2, 1],
            "padding": [1, 0], "dilation": [1, 3], "groups": 2,
        }  # fmt: skip
        path = tmp_path / "w.json"
        path.write_text(json.dumps({"layers": [spec]}))
        (layer,) = layers.load(path)
        assert str(layer.problem) == "conv2d n2 c6 o4 i9x11 k3x2 s2x1 p1x0 d1x3 g2 float32"
        assert layer.flops == 2 * (2 * 4 * 5 * 8) * (3 * 3 * 2)
        (layer,) = layers.load(path, dtype="float64", batch=7)
        assert (layer.problem.batch, layer.problem.dtype) == (7, "float64")

    def test_select(self):
        loaded = layers.load()
        chosen = layers.select(loaded, ["resnet50"], ["l?.3x3"])
        assert [layer.name for layer in chosen] == ["l1.3x3", "l2.3x3", "l3.3x3", "l4.3x3"]
        assert layers.select(loaded) == loaded
        with pytest.raises(ValueError, match=r"no group matches 'resnet51'; there are deeplab, "):
            layers.select(loaded, ["resnet51"])
        with pytest.raises(ValueError, match=r"no layer matches 'nix\*'"):
            layers.select(loaded, [], ["nix*"])

    def test_operands_are_the_same_numbers_in_both_dtypes(self):
        problem = ConvProblem.parse("conv2d n1 c2 o3 i5x7 k3x2 float32")
        single, double = layers.operands(problem), layers.operands(replace(problem, dtype="float64"))
        assert single.input.dtype == np.float32
        assert double.weight.dtype == np.float64
        assert single.input.shape == problem.input_shape
        np.testing.assert_array_equal(single.input, double.input)
        assert not np.array_equal(single.input, layers.operands(problem, seed=1).input)


class TestTiming:
    def test_every_round_takes_each_once(self):
        calls = []
        samplers = {name: lambda name=name: calls.append(name) or len(calls) for name in "abc"}
        samples = timing.interleave(samplers, seconds=0.0, least=4)
        assert {name: len(taken) for name, taken in samples.items()} == {"a": 4, "b": 4, "c": 4}
        rounds = [calls[i : i + 3] for i in range(0, 12, 3)]
        assert all(sorted(r) == ["a", "b", "c"] for r in rounds)
        assert len({tuple(r) for r in rounds}) > 1

    def test_it_stops_at_the_time_or_the_most(self):
        assert len(timing.interleave({"a": lambda: 0}, seconds=60, most=7)["a"]) == 7

    def test_a_sample_is_the_time_of_one_call(self, monkeypatch):
        clock = [0.0]
        monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
        monkeypatch.setattr(timing.time, "process_time", lambda: 2 * clock[0])
        calls, entered = [], []

        def run():
            calls.append(clock[0])
            clock[0] += 0.25

        class Context:
            def __enter__(self):
                entered.append(len(calls))
                clock[0] += 100

            def __exit__(self, *_):
                clock[0] += 100

        sample = timing.sampler(run, seconds=1.0, context=Context)
        assert sample() == (0.25, 2.0)
        assert len(calls) == 3 + 4
        assert entered == [0, 3]

    def test_a_settled_sample_is_woken_outside_the_time(self, monkeypatch):
        slept, calls = [], []
        monkeypatch.setattr(timing.time, "sleep", slept.append)
        sample = timing.sampler(lambda: calls.append(len(slept)), seconds=0.0, settle=0.05)
        sample()
        assert slept == [0.05]
        assert calls == [0, 0, 0, 1, 1]

    def test_ratios(self):
        assert timing.speed_up([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == 2.0
        assert timing.geometric_mean([2.0, 8.0]) == pytest.approx(4.0, rel=1e-15)
        assert math.isnan(timing.geometric_mean([]))
        with pytest.raises(ValueError, match="zip"):
            timing.speed_up([1.0], [1.0, 2.0])


class TestMeasure:
    problem = ConvProblem.parse("conv2d n1 c5 o4 i9x12 k3x2 float32")

    def exact(self):
        numbers = layers.operands(self.problem)
        double = replace(self.problem, dtype="float64")
        return numbers, reference.conv(double, *(x.astype(np.float64) for x in numbers))

    def test_rounding_passes(self):
        numbers, exact = self.exact()
        assert 0 < measure.checked_error(self.problem, exact, exact.astype(np.float32)) < 1e-6
        assert measure.checked_error(self.problem, exact, reference.conv(self.problem, *numbers)) < 1e-5

    def test_a_missing_tap_does_not(self):
        numbers, exact = self.exact()
        numbers.weight[0, 0, 0, 0] = 0
        with pytest.raises(measure.WrongResult, match="is allowed"):
            measure.checked_error(self.problem, exact, reference.conv(self.problem, *numbers))

    def test_one_wrong_element_and_nan_and_shape_do_not(self):
        _, exact = self.exact()
        for value in (exact[0, 1, 2, 3] + 1e-3, np.nan):
            wrong = exact.copy()
            wrong[0, 1, 2, 3] = value
            with pytest.raises(measure.WrongResult, match="error"):
                measure.checked_error(self.problem, exact, wrong)
        with pytest.raises(measure.WrongResult, match=r"shape \(1, 4, 7\), but"):
            measure.checked_error(self.problem, exact, exact[..., 0])

    def test_merge_keeps_the_ratio_beside_its_own_torch(self):
        rows, others = [row("a", "one", miniconv=2.0)], [row("a", "one", jax=0.5)]
        others[0]["engines"]["torch"]["seconds"] = 7.0
        measure.merge(rows, others)
        assert list(rows[0]["engines"]) == ["torch", "miniconv", "jax"]
        assert rows[0]["engines"]["torch"]["seconds"] == 1e-3
        assert rows[0]["engines"]["jax"]["ratio"] == 0.5
        with pytest.raises(ValueError, match="is not"):
            measure.merge(rows, [row("a", "one") | {"problem": "conv2d other"}])


class TestReport:
    def test_summary(self):
        found = report.summary(ROWS)
        assert list(found) == ["a", "b", "all layers"]
        assert found["a"]["geometric_mean"] == pytest.approx({"torch": 1.0, "miniconv": 4.0, "jax": 0.5})
        assert found["all layers"]["geometric_mean"]["miniconv"] == pytest.approx(2.0)
        assert found["all layers"]["worst"] == {"b/one": 0.5, "a/one": 2.0, "a/two": 8.0}

    def test_summary_table(self):
        lines = report.summary_table(ROWS).splitlines()
        assert lines[0] == "| group | layers | miniconv | jax | miniconv's worst |"
        assert lines[2] == "| a | 2 | 4.00 | 0.50 | one 2.00, two 8.00 |"
        assert lines[4] == "| all layers | 3 | 2.00 | 1.00 | one 0.50, one 2.00, two 8.00 |"

    def test_layer_table(self):
        lines = report.layer_table(ROWS).splitlines()
        assert lines[0] == "| layer | problem | torch, us | miniconv | jax | miniconv, GFLOP/s | of peak |"
        assert lines[3] == f"| a two | `{LAYER}` | 1000.0 | 8.00 |  | 16.0 | 40% |"

    def test_kinds(self):
        lines = report.kind_table(
            [*ROWS, row("c", "one", jax=1.0) | {"problem": "conv2d n1 c4 o4 i3x3 k3x3 g4 float32"}]
        )
        assert lines.splitlines()[2:] == [
            "| dense 3x3 | 3 | 2.00 | 1.00 | 2% / 10% / 40% |",
            "| depthwise | 1 |  | 1.00 |  |",
        ]

    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("c8 o8 i9x9 k1x1", "1x1"),
            ("c8 o8 i9x9 k1x1 s2x2", "1x1, stride 2"),
            ("c8 o8 i9x9 k3x3 d2x2", "dense 3x3, dilated"),
            ("c8 o8 i9x9 k1x7", "dense others"),
            ("c8 o8 i9x9 k3x3 g2", "grouped"),
        ],
    )
    def test_kind(self, text, kind):
        assert report.kind_of(ConvProblem.parse(f"conv2d n1 {text} float32")) == kind

    def test_the_whole_report(self, tmp_path):
        result = {
            "command": "python -m bench", "machine": machine.describe(2), "dtype": "float32",
            "layers": [*ROWS, row("c", "one")],
        }  # fmt: skip
        result["layers"][-1]["engines"]["jax"] = {"refused": "no float64"}
        path = tmp_path / "results" / "layers.json"
        report.save_json(result, path)
        assert json.loads(path.read_text()) == result
        text = report.markdown(result)
        assert "2 threads" in text
        assert "40 to 40 GFLOP/s, in the median 40." in text
        assert "- jax: no float64 (c one)" in text
        assert f"| c one | `{LAYER}` | 1000.0 |  |  |  |  |" in text

    def test_the_plot(self, tmp_path):
        pytest.importorskip("matplotlib")
        result = {"machine": machine.describe(1), "dtype": "float32", "layers": ROWS}
        report.plot(result, tmp_path / "layers.svg")
        assert (tmp_path / "layers.svg").read_text().count("<svg ") == 1


class TestPeak:
    def test_each_round_is_one_fma_on_every_accumulator(self):
        code = Code()
        peak.emit_fma_loop(code, Element("double", 8, 8), accumulators=5, rounds=7)
        assert code.text().count("call <8 x double> @llvm.fmuladd.v8f64") == 5
        assert code.text().count("phi <8 x double>") == 5

    @pytest.mark.parametrize("threads", [1, 2])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_the_loop_computes(self, dtype, threads):
        pytest.importorskip("llvmlite")
        # acc = acc / 2 + 1 from 1: after r rounds 2 - 2**-r, three of them
        for rounds in (1, 4):
            loop = peak.FmaLoop(dtype, accumulators=3, threads=threads, rounds=rounds)
            loop()
            assert (loop.sums == 3 * (2 - 2**-rounds)).all()
            assert loop.flops == 2 * loop.sums.size * 3 * rounds

    def test_the_fastest_is_found(self):
        pytest.importorskip("llvmlite")
        assert peak.fastest_loop("float64", 1, seconds=0.0).flops > 0


class TestBandwidth:
    @pytest.mark.parametrize("threads", [1, 2])
    @pytest.mark.parametrize("traffic", [(2**16 + 3, 2**14), (2**14, 2**16 + 3), (2**15, 2**15), (5, 7)])
    def test_the_loop_moves_as_many_bytes(self, traffic, threads):
        pytest.importorskip("llvmlite")
        stream = bandwidth.Stream(bandwidth.Traffic(*traffic), threads)
        assert all(0 <= want - got < 2**9 * threads for want, got in zip(traffic, stream.moved))
        both = min(stream.moved) // threads
        rng = np.random.default_rng(0)
        stream.source[:] = rng.integers(0, 256, len(stream.source))
        stream.target[:] = 255
        stream()
        for source, target in zip(
            *(
                a[:size].reshape(threads, size // threads)
                for a, size in ((stream.source, stream.moved.read), (stream.target, stream.moved.written))
            )
        ):
            # the first vector holds what was read beyond the copied part
            assert np.array_equal(source[64:both], target[64:both])
            assert not target[max(both, 64) :].any()

    def test_the_table(self):
        rows = [row("a", "one", miniconv=2.0) | {"stream": {"bytes": 2**20, "seconds": 2e-4}}, row("a", "two")]
        lines = report.bandwidth_table(rows).splitlines()
        assert lines[2:] == ["| a one | 1024 | 2.1 | 5.2 | 40% |"]
        assert report.bandwidth_table(rows[1:]) == ""


class TestPlans:
    def test_every_part_takes_time(self):
        pytest.importorskip("llvmlite")
        rows = [plans.cost(text, rounds=3) for text in plans.TYPICAL[:1]]
        assert rows[0]["seconds"] == sum(rows[0][name] for name in ("stated", "planned", "prepared"))
        assert min(rows[0][name] for name in ("stated", "planned", "prepared")) > 0
        row = {"problem": "conv2d ...", "stated": 1e-5, "planned": 2e-5, "prepared": 6e-4, "seconds": 6.3e-4}
        text = plans.markdown({"machine": machine.describe(1), "command": "c", "plans": [row]})
        assert "| `conv2d ...` | 10 | 20 | 600 | 630 |" in text
        assert "1 of 1 take more than 500" in text


class TestMachine:
    def test_cpu_model(self, tmp_path):
        path = tmp_path / "cpuinfo"
        path.write_text("processor\t: 0\nmodel name\t: Some: CPU @ 3 GHz\n\nmodel name\t: other\n")
        assert machine.cpu_model(path) == "Some: CPU @ 3 GHz"
        path.write_text("Features : neon\n")
        assert machine.cpu_model(path)

    def test_a_busy_machine_is_warned_about(self, capsys):
        machine.warn_if_busy(0.2)
        assert capsys.readouterr().err == ""
        machine.warn_if_busy(2.04)
        assert capsys.readouterr().err == "the machine is busy (load average 2.0): the figures will be wrong\n"

    def test_a_process_of_its_own(self):
        assert machine.in_a_process_of_its_own(os.getpid) != os.getpid()

    def test_packages_that_are_missing_are_left_out(self):
        described = machine.describe(1, ["numpy", "no such package"])
        assert described["versions"]["numpy"] == np.__version__
        assert "no such package" not in described["versions"]


def test_grown_changes_one_axis():
    assert growth.grown("C", 8) == ConvProblem.parse("conv2d n1 c8 o8 i28x28 k3x3 p1x1 float32")
    assert growth.grown("N", 3).batch == 3
    assert growth.grown("H", 7).input_size == (7, 28)
    assert growth.grown("W", 7).input_size == (28, 7)


def test_errors_and_their_ratio():
    assert accuracy.errors(np.array([1.0, 2.0, 2.0]), np.array([1.0, 5.0, -2.0])) == {
        "max": 4.0,
        "rms": pytest.approx(math.sqrt(25 / 3)),
    }
    assert accuracy.ratio(3.0, 2.0) == 1.5
    assert accuracy.ratio(0.0, 0.0) == 1.0
    assert accuracy.ratio(1.0, 0.0) == math.inf
