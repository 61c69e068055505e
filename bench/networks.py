"""``python -m bench.networks``: whole networks under ``miniconv.patch()``, against torch eager.

Inference, random weights. Hooks before and after each convolution add up its time, so one pass gives both figures: the
summed time of the convolutions, where they stand, and the time of the whole.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import miniconv
from bench import report
from bench.engines import limited_to
from bench.machine import describe, sentence, warn_if_busy
from bench.measure import Row, WrongResult
from bench.models import MODELS
from bench.timing import interleave, speed_up

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Pass(NamedTuple):
    """One pass through a network, in seconds."""

    whole: float
    convolutions: float


class Watch:
    """Adds up the time that passes inside a network's convolutions."""

    def __init__(self, model: nn.Module) -> None:
        self.seconds, self.count, self._start = 0.0, 0, 0.0
        for module in model.modules():
            if isinstance(module, CONVOLUTIONS):
                module.register_forward_pre_hook(self._before)
                module.register_forward_hook(self._after)
                self.count += 1

    def _before(self, *_: Any) -> None:
        self._start = time.perf_counter()

    def _after(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._start


def passes(
    model: nn.Module, watch: Watch, input: Tensor, context: Callable[[], AbstractContextManager[Any]]
) -> Callable[[], Pass]:
    """A function that times one pass; ``context`` is entered outside the time."""

    def sample() -> Pass:
        with context():
            watch.seconds, start = 0.0, time.perf_counter()
            model(input)
            return Pass(time.perf_counter() - start, watch.seconds)

    return sample


def time_network(name: str, batch: int, seconds: float) -> Row:
    """One network at one batch size: medians in seconds, and torch's over miniconv's.

    Raises:
        WrongResult: the outputs differ, or not every convolution was taken.
    """
    make, shape = MODELS[name]
    torch.manual_seed(0)
    model, input = make().eval(), torch.randn(batch, *shape)
    watch = Watch(model)
    with torch.inference_mode():
        expected = model(input)
        with miniconv.patch() as taken:
            got = model(input)
        if sum(taken.taken.values()) != watch.count:
            raise WrongResult(f"{name}: of {watch.count} convolutions {taken.taken} were taken")
        # a network multiplies its layers' roundings: only gross errors are looked for here
        if not torch.allclose(got, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
            raise WrongResult(f"{name}: the outputs differ by {float((got - expected).abs().max()):.3g}")
        contexts: dict[str, Callable[[], AbstractContextManager[Any]]] = {
            "torch": nullcontext,
            "miniconv": miniconv.patch,
        }
        samplers = {engine: passes(model, watch, input, context) for engine, context in contexts.items()}
        samples = interleave(samplers, seconds)
    row: Row = {"network": name, "batch": batch, "input": [batch, *shape], "count": watch.count}
    for part in Pass._fields:
        times = {engine: [getattr(s, part) for s in taken] for engine, taken in samples.items()}
        medians = {engine: median(values) for engine, values in times.items()}
        row[part] = medians | {"ratio": speed_up(times["torch"], times["miniconv"])}
    return row


def markdown(result: dict[str, Any]) -> str:
    """The report."""
    lines = [
        [f"{row['network']}, {' x '.join(map(str, row['input']))}", str(row["count"])]
        + [
            text
            for part in reversed(Pass._fields)
            for text in (
                f"{row[part]['torch'] * 1e3:.1f}",
                f"{row[part]['miniconv'] * 1e3:.1f}",
                f"{row[part]['ratio']:.2f}",
            )
        ]
        for row in result["networks"]
    ]
    header = ["network", "convolutions", "their time, torch, ms", "under patch()", "ratio"]
    return "\n\n".join(
        [
            "# Networks",
            sentence(result["machine"]),
            f"Inference, float32, random weights. Ratios are torch's time over miniconv's: above 1 is faster. Repeat:"
            f" `{result['command']}`",
            report.table([*header, "whole network, torch, ms", "under patch()", "ratio"], lines) + "\n",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Time the networks; print and write the report."""
    argv = list(sys.argv[1:] if argv is None else argv)
    p = argparse.ArgumentParser(prog="python -m bench.networks", description=__doc__)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--network", action="append", choices=list(MODELS), help="only this one; may be repeated")
    p.add_argument("--batch", action="append", type=int, help="default 1 and 8")
    p.add_argument(
        "--seconds", type=float, default=5.0, help="for each network and batch, beyond five passes; default 5"
    )
    p.add_argument("--json", type=Path, metavar="PATH", help="write JSON here, and the report (.md) beside it")
    arguments = p.parse_args(argv)
    warn_if_busy()
    rows = []
    with limited_to(arguments.threads):
        for name in arguments.network or MODELS:
            for batch in arguments.batch or (1, 8):
                rows.append(time_network(name, batch, arguments.seconds))
    command = " ".join(["python -m bench.networks", *argv])
    result = {"command": command, "machine": describe(arguments.threads), "networks": rows}
    report.publish(markdown(result), result, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
