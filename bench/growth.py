"""``python -m bench.growth``: how time grows with the sizes, and what miniconv costs besides time.

Time per output element against N, C, H and W, each alone, from one middle layer; and the most scratch memory that any
layer asks for. Then three figures that each need a process of their own: memory beyond the output on a large image, the
first call after the imports, and resident memory over thousands of different shapes.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from bench import report
from bench.layers import Layer, load, operands
from bench.machine import describe, in_a_process_of_its_own, sentence, warn_if_busy
from bench.measure import Row, time_layers
from miniconv import ConvProblem

MIDDLE = ConvProblem.parse("conv2d n1 c64 o64 i28x28 k3x3 p1x1 float32")
SIZES = {
    "N": (1, 2, 4, 8, 16, 32),
    "C": (4, 8, 16, 32, 64, 128, 256, 512),
    "H": (7, 14, 28, 56, 112, 224, 448),
    "W": (7, 14, 28, 56, 112, 224, 448),
}
"""The values of each axis; C is C_in and C_out alike."""

WORKSPACE = re.compile(r"workspace ([\d,]+) bytes for each of \d+ threads, ([\d,]+) for all")
LARGE_IMAGE = ConvProblem.parse("conv2d n1 c3 o8 i4096x4096 k3x3 p1x1 float32")
SHAPES = 5000
FIRST = tuple(
    ConvProblem.parse(text)
    for text in (
        "conv2d n1 c64 o64 i56x56 k3x3 p1x1 float32",
        "conv2d n1 c64 o64 i56x56 k1x1 float32",
        "conv2d n1 c64 o64 i56x56 k3x3 p1x1 g64 float32",
        "conv2d n1 c3 o64 i224x224 k7x7 s2x2 p3x3 float32",
    )
)
"""What a program may begin with."""


def grown(axis: str, size: int) -> ConvProblem:
    """The middle layer with one axis of another size."""
    height, width = MIDDLE.input_size
    changes: dict[str, dict[str, Any]] = {
        "N": {"batch": size},
        "C": {"in_channels": size, "out_channels": size},
        "H": {"input_size": (size, width)},
        "W": {"input_size": (height, size)},
    }
    return replace(MIDDLE, **changes[axis])


def time_growth(threads: Sequence[int], seconds: float) -> list[Row]:
    """For each axis, size and number of threads: seconds per output element, torch's and miniconv's."""
    layers = [Layer(axis, str(size), grown(axis, size)) for axis, sizes in SIZES.items() for size in sizes]
    rows = []
    for count in threads:
        for layer, timed in zip(layers, time_layers(layers, ["miniconv"], count, seconds)):
            outputs = math.prod(layer.problem.output_shape)
            per_output = {name: engine["seconds"] / outputs for name, engine in timed["engines"].items()}
            rows.append({"axis": layer.group, "size": int(layer.name), "threads": count} | per_output)
    return rows


def memory_bytes(key: str) -> int:
    """VmRSS (resident now) or VmHWM (its highest mark) of this process.

    Raises:
        OSError: the system is not Linux.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")


def _convolve(problem: ConvProblem) -> Any:
    """miniconv's output for a problem on uniform numbers."""
    import torch

    import miniconv.functional as F

    input, weight = torch.rand(problem.input_shape), torch.rand(problem.weight_shape)
    padding = [low for low, _ in problem.padding]
    return F.conv2d(input, weight, None, problem.stride, padding, problem.dilation, problem.groups)


def peak_beyond_output(problem: ConvProblem, threads: int) -> int:
    """The most bytes that one call holds besides its operands and its output; for a process of its own."""
    import torch

    import miniconv.functional as F

    torch.set_num_threads(threads)
    _convolve(replace(problem, input_size=(16, 20)))  # imports, compiles, starts threads
    input, weight = torch.rand(problem.input_shape), torch.rand(problem.weight_shape)
    before = memory_bytes("VmRSS")
    if memory_bytes("VmHWM") - before > 2**24:
        raise RuntimeError("this process has already been larger than it is now: the mark would tell nothing")
    output = F.conv2d(input, weight, None, problem.stride, [low for low, _ in problem.padding])
    return memory_bytes("VmHWM") - before - int(output.numel() * output.element_size())


def first_calls(problem: ConvProblem, tensors: bool) -> tuple[float, float, float]:
    """Seconds of the first call and of the same call twice again, after the imports; for a process of its own.

    What the imports left to Python's collector of garbage is collected before: it takes a tenth of a second, and would
    else come in any of the calls, or after them.

    Args:
        problem: what is computed.
        tensors: whether the operands are tensors; else torch is not imported.
    """
    import miniconv.functional as F

    input: Any
    weight: Any
    input, weight = operands(problem)[:2]
    if tensors:
        import torch

        input, weight = torch.from_numpy(input), torch.from_numpy(weight)
    padding = [low for low, _ in problem.padding]
    times = []
    gc.collect()
    for _ in range(3):
        start = time.perf_counter()
        F.conv2d(input, weight, None, problem.stride, padding, problem.dilation, problem.groups)
        times.append(time.perf_counter() - start)
    return times[0], times[1], times[2]


def time_first_calls(processes: int = 5) -> list[Row]:
    """The median of some processes for each problem, with arrays and with tensors."""
    rows = []
    for problem in FIRST:
        for tensors in (False, True):
            calls = [in_a_process_of_its_own(first_calls, problem, tensors) for _ in range(processes)]
            first, second, third = (median(times) for times in zip(*calls))
            row = {"problem": str(problem), "operands": "tensors" if tensors else "arrays"}
            rows.append({**row, "first": first, "second": second, "third": third})
    return rows


def workspace_bytes(problems: Sequence[ConvProblem], threads: int) -> tuple[int, int]:
    """The most scratch memory that one of the problems asks for: for each thread, and for all threads together."""
    from miniconv import config
    from miniconv.plan import plan

    most = (0, 0)
    with config(threads=threads):
        for problem in problems:
            found = WORKSPACE.search(plan(problem).explain())
            if found is None:
                raise ValueError(f"{problem} is not computed by the engine")
            each, shared = (int(number.replace(",", "")) for number in found.groups())
            most = max(most[0], each), max(most[1], shared)
    return most


def resident_over_shapes(count: int) -> list[int]:
    """Resident bytes at eleven moments over calls of so many random problems; for a process of its own."""
    _convolve(MIDDLE)
    rng = random.Random(0)
    marks = []
    for call in range(count + 1):
        if call % max(1, count // 10) == 0:
            marks.append(memory_bytes("VmRSS"))
        channels = rng.randint(1, 12)
        _convolve(
            ConvProblem(
                batch=rng.randint(1, 3),
                in_channels=channels,
                out_channels=rng.choice([channels, 2 * channels]),
                input_size=(rng.randint(8, 40), rng.randint(8, 40)),
                kernel_size=(rng.randint(1, 5), rng.randint(1, 5)),
                stride=(rng.randint(1, 3), rng.randint(1, 3)),
                padding=((1, 1), (2, 2)),
                groups=rng.choice([1, channels]),
            )
        )
    return marks


def measure(threads: Sequence[int], seconds: float, shapes: int = SHAPES) -> dict[str, Any]:
    """Everything; what is None is not to be had on this system."""
    result: dict[str, Any] = {"growth": time_growth(threads, seconds)}
    problems = [layer.problem for layer in load()]
    problems += [grown(axis, size) for axis, sizes in SIZES.items() for size in sizes]
    result["workspaces"] = {count: workspace_bytes(problems, count) for count in threads}
    result["workspace_problems"] = len(problems)
    result["first_calls"] = time_first_calls()
    linux = Path("/proc/self/status").exists()
    result["large_image"] = str(LARGE_IMAGE)
    result["peak_beyond_output_bytes"] = (
        {count: in_a_process_of_its_own(peak_beyond_output, LARGE_IMAGE, count) for count in threads} if linux else None
    )
    result["resident_bytes"] = in_a_process_of_its_own(resident_over_shapes, shapes) if linux else None
    return result


def markdown(result: dict[str, Any]) -> str:
    """The report."""
    figures = []
    for threads, (each, shared) in result["workspaces"].items():
        text = f"largest workspace of {result['workspace_problems']} layers, threads {threads}"
        figures += [[f"{text}: of a thread", mebibytes(each)], [f"{text}: for all, Winograd's", mebibytes(shared)]]
    for threads, peak in (result["peak_beyond_output_bytes"] or {}).items():
        figures.append([f"memory beyond the output, `{result['large_image']}`, threads {threads}", mebibytes(peak)])
    if marks := result["resident_bytes"]:
        figures.append(["resident memory before the random shapes", mebibytes(marks[0])])
        figures.append(["after a tenth of them", mebibytes(marks[1])])
        figures.append(["after all", mebibytes(marks[-1])])
    firsts = [
        [f"`{row['problem']}`", row["operands"], *(f"{row[call] * 1e3:.1f}" for call in ("first", "second", "third"))]
        for row in result["first_calls"]
    ]
    lines = [
        [row["axis"], str(row["size"]), str(row["threads"])]
        + [f"{row[name] * 1e9:.3f}" for name in ("torch", "miniconv")]
        + [f"{row['torch'] / row['miniconv']:.2f}"]
        for row in result["growth"]
    ]
    return "\n\n".join(
        [
            "# Growth",
            sentence(result["machine"]),
            f"From `{MIDDLE}`, one axis at a time. Repeat: `{result['command']}`",
            report.table(["", "miniconv"], figures),
            report.table(["calls of a fresh process, ms", "", "first", "second", "third"], firsts),
            report.table(["axis", "size", "threads", "torch, ns an output", "miniconv", "ratio"], lines) + "\n",
        ]
    )


def mebibytes(count: int) -> str:
    """Bytes for a reader."""
    return f"{count / 2**20:.1f} MiB"


def plot(result: dict[str, Any], path: Path) -> None:
    """Nanoseconds per output element against each axis."""
    rows = result["growth"]
    figure, panels = report.new_figure(11, 3.5, columns=len(SIZES))
    for axes, axis in zip(panels, SIZES):
        for name, marker in (("torch", "o"), ("miniconv", "D")):
            for threads in sorted({row["threads"] for row in rows}):
                points = [row for row in rows if row["axis"] == axis and row["threads"] == threads]
                x, y = [row["size"] for row in points], [row[name] * 1e9 for row in points]
                axes.plot(x, y, marker=marker, markersize=3, label=f"{name}, {threads}", linewidth=1)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel({"C": "C_in = C_out"}.get(axis, axis))
        axes.grid(linewidth=0.3)
    panels[0].set_ylabel("ns per output element")
    panels[0].legend(fontsize=7, title="engine, threads", title_fontsize=7)
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; print and write the report."""
    argv = list(sys.argv[1:] if argv is None else argv)
    p = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    p.add_argument("--seconds", type=float, default=0.5, help="for each point; default 0.5")
    p.add_argument("--json", type=Path, metavar="PATH", help="write JSON here; a report (.md), a plot (.svg) beside it")
    arguments = p.parse_args(argv)
    warn_if_busy()
    command = " ".join(["python -m bench.growth", *argv])
    result = {"command": command, "machine": describe(max(arguments.threads))}
    result |= measure(arguments.threads, arguments.seconds)
    report.publish(markdown(result), result, arguments.json)
    if arguments.json:
        plot(result, arguments.json.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
