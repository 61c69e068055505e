"""How many processors a container or a service may keep busy.

Linux bounds a group of processes by time: so many microseconds of processor in each period, for all its threads
together. More threads than that spend it sooner, and then all of them wait for the next period.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

__all__ = ["granted"]


@lru_cache(maxsize=1)
def granted(root: str = "/") -> int | None:
    """The processors' worth of time that control groups grant this process, rounded up; None if they do not. Read once.

    Both versions are read. The bound of a group holds for the groups inside it, so the smallest on the way up counts.

    Args:
        root: the directory where ``proc`` and ``sys`` are.

    Source: the Linux kernel's documentation, admin-guide/cgroup-v2 (``cpu.max``) and scheduler/sched-bwc.
    """
    try:
        shares = [share for group in _groups(Path(root)) if (share := _share(group)) is not None]
    except (OSError, ValueError):  # no Linux, or one that tells it in another way
        return None
    return min(shares, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The directories of the groups that this process is in: each, and those around it as far as they can be seen."""
    member = {}  # by controller, where version 2 has one hierarchy for all and names none
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        member.update({controller: PurePosixPath(path) for controller in controllers.split(",")})
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        place, _, kind = line.partition(" - ")
        shown, mounted = (PurePosixPath(text) for text in place.split()[3:5])  # which group is seen at which directory
        system, _, options = kind.split()[:3]
        controller = "" if system == "cgroup2" else "cpu"
        if not system.startswith("cgroup") or controller not in member:
            continue
        if controller and controller not in options.split(","):
            continue
        group = member[controller]
        inner = group.relative_to(shown) if group.is_relative_to(shown) else PurePosixPath()
        top = root / mounted.relative_to("/")
        yield from (top / inner / "/".join([".."] * up) for up in range(len(inner.parts) + 1))


def _share(group: Path) -> int | None:
    """The bound of one group, by either version's files."""
    if (group / "cpu.max").exists():
        quota, period = (group / "cpu.max").read_text().split()
    elif (group / "cpu.cfs_quota_us").exists():
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    else:
        return None
    return None if quota in ("max", "-1") else max(1, -(-int(quota) // int(period)))
