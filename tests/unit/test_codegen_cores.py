"""How many processors the engine takes itself to have: affinity, control groups, OMP_NUM_THREADS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from miniconv.codegen.cores import granted

V1 = "34 31 0:29 {shown} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpuacct,cpu\n"
V2 = "31 23 0:28 {shown} /sys/fs/cgroup rw,nosuid,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
OTHER = (
    "22 1 259:1 / / rw,relatime - ext4 /dev/root rw\n35 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
)


def quota(value: str, period: str = "100000") -> dict[str, str]:
    return {"cpu.cfs_quota_us": f"{value}\n", "cpu.cfs_period_us": f"{period}\n"}


def maximum(value: str) -> dict[str, str]:
    return {"cpu.max": f"{value}\n"}


# /proc/self/cgroup, /proc/self/mountinfo, the groups' files, and the processors that are granted
SYSTEMS = {
    "v2, whole": ("0::/\n", V2.format(shown="/"), {"": maximum("200000 100000")}, 2),
    "v2, rounded up": ("0::/\n", V2.format(shown="/"), {"": maximum("250000 100000")}, 3),
    "v2, less than one": ("0::/\n", V2.format(shown="/"), {"": maximum("1000 100000")}, 1),
    "v2, no bound": ("0::/\n", V2.format(shown="/"), {"": maximum("max 100000")}, None),
    "v2, a root without the file": ("0::/\n", V2.format(shown="/"), {}, None),
    "v2, inner": ("0::/user/job\n", V2.format(shown="/"), {"user/job": maximum("300000 100000")}, 3),
    "v2, outer is smaller": (
        "0::/user/job\n",
        V2.format(shown="/"),
        {"user/job": maximum("800000 100000"), "user": maximum("400000 100000")},
        4,
    ),
    "v2, a neighbour does not count": (
        "0::/user/job\n",
        V2.format(shown="/"),
        {"user/job": maximum("max 100000"), "user/other": maximum("100000 100000")},
        None,
    ),
    "v2, a container's own group": (
        "0::/docker/abc\n",
        V2.format(shown="/docker/abc"),
        {"": maximum("500000 100000")},
        5,
    ),
    "v2, not below what is shown": ("0::/../x\n", V2.format(shown="/docker/abc"), {"": maximum("600000 100000")}, 6),
    "v1": ("4:cpuacct,cpu:/\n3:cpuset:/a\n", V1.format(shown="/"), {"cpu,cpuacct": quota("150000", "50000")}, 3),
    "v1, no bound": ("4:cpuacct,cpu:/\n", V1.format(shown="/"), {"cpu,cpuacct": quota("-1")}, None),
    "v1, a container's own group": (
        "4:cpu,cpuacct:/docker/abc\n",
        V1.format(shown="/docker/abc"),
        {"cpu,cpuacct": quota("700000")},
        7,
    ),
    "v1 beside v2": (
        "4:cpu,cpuacct:/job\n0::/job\n",
        V1.format(shown="/") + V2.format(shown="/").replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified"),
        {"cpu,cpuacct/job": quota("200000")},
        2,
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_share_of_control_groups(name: str, tmp_path: Path) -> None:
    member, mounts, groups, expected = SYSTEMS[name]
    process = tmp_path / "proc/self"
    process.mkdir(parents=True)
    (process / "cgroup").write_text(member)
    (process / "mountinfo").write_text(OTHER + mounts)
    for group, files in groups.items():
        place = tmp_path / "sys/fs/cgroup" / group
        place.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (place / file).write_text(text)
    assert granted(str(tmp_path)) == expected


@pytest.mark.parametrize("text", [None, "", "nonsense\n", "0::/\nnonsense\n"])
def test_where_nothing_is_told_there_is_no_bound(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(text)
    assert granted(str(tmp_path)) is None


ASK = """
from unittest import mock
import os
from miniconv.codegen import threads
share = {share}
with mock.patch.object(threads, "granted", lambda: share):
    with mock.patch.object(os, "sched_getaffinity", lambda pid: set(range({affinity})), create=True):
        print(threads.available())
"""


@pytest.mark.parametrize(
    ("share", "affinity", "omp", "expected"),
    [
        (None, 6, None, 6),
        (4, 6, None, 4),
        (8, 6, None, 6),
        (4, 6, "3", 3),
        (4, 6, "5", 4),
        (None, 6, "2,4", 2),
        (None, 6, "0", 1),
        (None, 6, "many", 6),
    ],
)
def test_the_smallest_bound_counts(share: int | None, affinity: int, omp: str | None, expected: int) -> None:
    pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {} if omp is None else {"OMP_NUM_THREADS": omp}
    command = [sys.executable, "-c", ASK.format(share=share, affinity=affinity)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"{expected}\n", done.stderr


def test_torchs_number_is_bounded_too() -> None:
    pytest.importorskip("llvmlite", reason="the engine is compiled by llvmlite")
    torch = "import sys, types; sys.modules['torch'] = types.SimpleNamespace(get_num_threads=lambda: 5)\n"
    for share, expected in ((None, 5), (8, 5), (3, 3)):
        command = [sys.executable, "-c", torch + ASK.format(share=share, affinity=2)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout == f"{expected}\n", done.stderr
