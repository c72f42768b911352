"""The CPUs that a container's or a service's control groups allow, of version 1 and 2 (Linux)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
# Where version 1 has the controller of the CPU's time, by distribution.
_OF_VERSION_1 = ("cpu,cpuacct", "cpu", "cpuacct,cpu")


def quota() -> float:
    """Return the CPUs that this process may use at once, rounded up; infinity without a quota.

    The least of its group and all groups above it counts. In a container's own file system, the
    groups are seen from the container's own on, or the whole path is not there: then what lies at
    the top is the container's.
    """
    return min(_quotas(), default=math.inf)


def _quotas() -> Iterator[float]:
    version_1, version_2 = PurePosixPath(), PurePosixPath()
    for line in _read(_OWN).splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0":
            version_2 = PurePosixPath(path.lstrip("/"))
        elif "cpu" in controllers.split(","):
            version_1 = PurePosixPath(path.lstrip("/"))
    for group in (version_2, *version_2.parents):
        yield _cpus(*(_read(_ROOT / group / "cpu.max").split() or ["max"]))
    for mount in _OF_VERSION_1:
        for group in (version_1, *version_1.parents):
            folder = _ROOT / mount / group
            limit, period = (_read(folder / f"cpu.cfs_{of}_us") for of in ("quota", "period"))
            yield _cpus(limit.strip(), period.strip())


def _cpus(limit: str, period: str = "", *more: str) -> float:
    """A time in each period, as CPUs: "max" and -1 are no limit, nor is what is no number."""
    try:
        share = int(limit) / int(period)
    except (ValueError, ArithmeticError):  # more than a float holds, too
        return math.inf
    return math.ceil(share) if share > 0 else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
