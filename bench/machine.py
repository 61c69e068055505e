"""What a figure is worth nothing without: processor, threads, versions, date."""

from __future__ import annotations

import multiprocessing
import os
import platform
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

BUSY = 0.5
"""From this load average on, a run of benchmarks is warned about."""

T = TypeVar("T")


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as the system gives it."""
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def describe(threads: int, packages: Iterable[str] = ()) -> dict[str, Any]:
    """The machine and the software, as data.

    Args:
        threads: of the run.
        packages: whose versions are wanted, besides those of miniconv, NumPy and torch; missing ones are left out.
    """
    versions = {"python": platform.python_version()}
    for package in ("miniconv", "numpy", "torch", *packages):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": threads,
        "versions": versions,
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


def sentence(machine: dict[str, Any]) -> str:
    """The same for a reader, in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads = thread_count(machine)
    return (
        f"{machine['cpu']} ({machine['cores']} cores, {machine['system']}), {threads}; {versions}; {machine['date']}."
    )


def thread_count(machine: dict[str, Any]) -> str:
    """The number of threads, with its noun."""
    return f"{machine['threads']} thread{'' if machine['threads'] == 1 else 's'}"


def warn_if_busy(load: float | None = None) -> None:
    """Say on stderr when other programs are at work: their share of the cores is in every figure.

    Args:
        load: the system's load average of the last minute; None asks the system, where it knows.
    """
    if load is None:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY:
        print(f"the machine is busy (load average {load:.1f}): the figures will be wrong", file=sys.stderr)


def in_a_process_of_its_own(function: Callable[..., T], *arguments: Any) -> T:
    """The function's result, computed in a fresh interpreter; it and its arguments must be picklable."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
