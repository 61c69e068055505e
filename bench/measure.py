"""Time layers: every engine on every layer, checked first, then interleaved.

A result is plain data, so that it can travel between processes and into JSON: for each layer its names, problem and
useful FLOPs, and under ``engines``, by name, either

    seconds, ratio (torch's time over this engine's), gflops, cores, rounds, error     or     refused: the reason

``peak_gflops`` is what a loop of nothing but multiply-adds reached in the same rounds, and an engine's
``share_of_peak`` its share of that. A depthwise layer also has ``stream``: the bytes that it must move, and the seconds
of a loop that only does that.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.bandwidth import Stream, Traffic
from bench.engines import ENGINES, REFERENCE, Prepared, limited_to
from bench.layers import Layer, Operands, operands
from bench.machine import in_a_process_of_its_own
from bench.peak import fastest_loop
from bench.timing import SETTLE_SECONDS, interleave, sampler, speed_up
from miniconv import ConvProblem
from miniconv.codegen import unavailable_reason
from miniconv.dtypes import DTYPES

STREAM = "stream"  # of depthwise layers: a loop that only moves as many bytes
PEAK = "peak"  # a loop that only multiplies and adds

Row = dict[str, Any]
Array = npt.NDArray[Any]


class WrongResult(Exception):
    """An engine computed something else."""


def exact_result(problem: ConvProblem, numbers: Operands) -> Array:
    """torch's result in float64."""
    import torch

    input, weight = (torch.from_numpy(x).double() for x in numbers)
    padding = [low for low, _ in problem.padding]
    y = torch.nn.functional.conv2d(input, weight, None, problem.stride, padding, problem.dilation, problem.groups)
    return np.asarray(y.numpy())


def allowed_error(problem: ConvProblem, exact: Array) -> float:
    """16 * u * sqrt(L) * rms(exact), L terms in a sum, u the unit roundoff.

    On standard normal numbers the rounding errors of a sum are themselves a random walk, about u * sqrt(L) / 3 of
    the result's size for the plainest order; the largest of millions is some six times that. A missing tap
    or a swapped stride is wrong by about rms / sqrt(L) or more, which is far above for every L of the workloads.
    """
    terms = problem.in_channels // problem.groups * math.prod(problem.kernel_size)
    rms = math.sqrt(float(np.mean(np.square(exact))))
    return 16 * DTYPES[problem.dtype].unit_roundoff * math.sqrt(terms) * rms


def checked_error(problem: ConvProblem, exact: Array, result: Array) -> float:
    """The largest error.

    Raises:
        WrongResult: the shape differs, or the error is above ``allowed_error``.
    """
    if result.shape != exact.shape:
        raise WrongResult(f"shape {result.shape}, but the problem's is {exact.shape}")
    error, allowed = float(np.max(np.abs(result - exact))), allowed_error(problem, exact)
    if not error <= allowed:  # a NaN is wrong too
        raise WrongResult(f"error {error:.3g}, but at most {allowed:.3g} is allowed")
    return error


def _prepare(name: str, layer: Layer, numbers: Operands, exact: Array, threads: int) -> tuple[Prepared, float]:
    """The engine, ready and found right, with its error.

    Raises:
        WrongResult: it is not.
        LookupError: it cannot serve the problem.
    """
    if layer.problem.dtype not in ENGINES[name].dtypes:
        raise LookupError(f"no {layer.problem.dtype}")
    prepared = ENGINES[name].prepare(layer.problem, numbers, threads)
    return prepared, checked_error(layer.problem, exact, prepared.result())


def time_layer(layer: Layer, names: Sequence[str], threads: int, seconds: float) -> Row:
    """One layer: check every engine, then time those that are right, interleaved.

    Args:
        layer: the layer.
        names: keys of ``ENGINES``; torch is timed in any case.
        threads: as in ``limited_to``.
        seconds: for all engines together, beyond five rounds.
    """
    numbers = operands(layer.problem)
    exact = exact_result(layer.problem, numbers)
    row: Row = {"group": layer.group, "name": layer.name, "problem": str(layer.problem), "flops": layer.flops}
    engines: dict[str, Row] = {}
    samplers = {}
    settle = SETTLE_SECONDS if threads > 1 and any(ENGINES[name].foreign for name in names) else 0.0
    for name in dict.fromkeys((REFERENCE, *names)):
        try:
            prepared, error = _prepare(name, layer, numbers, exact, threads)
        except (WrongResult, LookupError) as reason:
            engines[name] = {"refused": str(reason), "wrong": isinstance(reason, WrongResult)}
        else:
            engines[name] = {"error": error}
            samplers[name] = sampler(prepared.run, settle=settle)
    if unavailable_reason() is None:
        loop = fastest_loop(layer.problem.dtype, threads)
        samplers[PEAK] = sampler(loop, settle=settle)
        if layer.problem.groups == layer.problem.in_channels > 1:
            samplers[STREAM] = sampler(Stream(Traffic.of(layer.problem), threads), settle=settle)
    samples = interleave(samplers, seconds)
    if PEAK in samples:
        row["peak_gflops"] = loop.flops / median(sample.seconds for sample in samples.pop(PEAK)) / 1e9
    if STREAM in samples:
        stream = median(sample.seconds for sample in samples.pop(STREAM))
        row["stream"] = {"bytes": sum(Traffic.of(layer.problem)), "seconds": stream}
    reference = [sample.seconds for sample in samples[REFERENCE]]
    for name, taken in samples.items():
        times = [sample.seconds for sample in taken]
        engines[name] |= {
            "seconds": median(times),
            "ratio": speed_up(reference, times),
            "gflops": layer.flops / median(times) / 1e9,
            "cores": median(sample.cores for sample in taken),
            "rounds": len(times),
        }
        if "peak_gflops" in row:
            engines[name]["share_of_peak"] = engines[name]["gflops"] / row["peak_gflops"]
    return row | {"engines": engines}


def time_layers(
    layers: Iterable[Layer], names: Sequence[str], threads: int, seconds: float, show: bool = False
) -> list[Row]:
    """``time_layer`` of each, in this process; ``show`` prints a line a layer on stderr."""
    rows = []
    with limited_to(threads):
        for layer in layers:
            rows.append(time_layer(layer, names, threads, seconds))
            if show:
                print(progress_line(rows[-1]), file=sys.stderr, flush=True)
    return rows


def progress_line(row: Row) -> str:
    """One layer's ratios in one line."""
    ratios = (f"{name} {e['ratio']:.2f}" if "ratio" in e else f"{name} -" for name, e in row["engines"].items())
    microseconds = row["engines"][REFERENCE]["seconds"] * 1e6
    return f"{row['group']:12} {row['name']:16} {microseconds:9.1f} us  " + "  ".join(ratios)


def run(
    layers: Sequence[Layer],
    names: Sequence[str],
    threads: int,
    seconds: float,
    apart: Callable[..., list[Row]] = in_a_process_of_its_own,
) -> list[Row]:
    """All layers and engines.

    Worker threads that spin while they wait take the cores from the next engine. With more than one thread each foreign
    engine is therefore timed in a process of its own, against the torch of that process.
    """
    alone = [name for name in names if ENGINES[name].foreign and threads > 1]
    together = [name for name in names if name not in alone]
    rows = time_layers(layers, together, threads, seconds, True)
    for name in alone:
        merge(rows, apart(time_layers, layers, [name], threads, seconds, True))
    return rows


def merge(rows: list[Row], others: list[Row]) -> None:
    """Add to ``rows`` the engines that only ``others`` have; each keeps the ratio to the torch beside it."""
    for row, other in zip(rows, others, strict=True):
        if row["problem"] != other["problem"]:
            raise ValueError(f"{other['problem']} is not {row['problem']}")
        row["engines"] |= {name: engine for name, engine in other["engines"].items() if name not in row["engines"]}
