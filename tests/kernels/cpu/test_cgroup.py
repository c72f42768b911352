"""The CPUs that control groups allow: from files made up in the place of the system's, and real."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastdnn.kernels.cpu import cgroup, threads
from tests.kernels.common import run_python

OF_2, OF_1 = "0::/user/service\n", "3:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n0::/\n"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroup, "_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cgroup, "_OWN", tmp_path / "own")
    return tmp_path


def limits(quota: str, period: str = "100000") -> dict[str, str]:
    return {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": f"{period}\n"}


def below(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"cgroup/{folder}/{name}": text for name, text in files.items()}


CASES: dict[str, tuple[str, dict[str, str], float]] = {
    "no groups": ("", {}, math.inf),
    "2, a container's own": ("0::/\n", {"cgroup/cpu.max": "100000 100000\n"}, 1),
    "2, one and a half": ("0::/\n", {"cgroup/cpu.max": "150000 100000\n"}, 2),
    "2, no quota": ("0::/\n", {"cgroup/cpu.max": "max 100000\n"}, math.inf),
    "2, of a service": (OF_2, {"cgroup/user/service/cpu.max": "100000 100000"}, 1),
    "2, of the group above": (
        OF_2,
        {"cgroup/user/service/cpu.max": "max 100000", "cgroup/user/cpu.max": "50000 100000"},
        1,
    ),
    "2, the least counts": (
        OF_2,
        {"cgroup/user/service/cpu.max": "400000 100000", "cgroup/user/cpu.max": "200000 100000"},
        2,
    ),
    "2, the path is not seen": (OF_2, {"cgroup/cpu.max": "100000 100000"}, 1),
    "2, another service's": (OF_2, {"cgroup/user/other/cpu.max": "100000 100000"}, math.inf),
    "2, nonsense": ("0::/\n", {"cgroup/cpu.max": "much of it"}, math.inf),
    "2, empty": ("0::/\n", {"cgroup/cpu.max": ""}, math.inf),
    "2, more than there can be": ("0::/\n", {"cgroup/cpu.max": f"{10**400} 1"}, math.inf),
    "2, more digits than are read": ("0::/\n", {"cgroup/cpu.max": f"{'9' * 5000} 1"}, math.inf),
    "2, less than nothing": ("0::/\n", {"cgroup/cpu.max": "-100000 100000"}, math.inf),
    "2, a limit alone": ("0::/\n", {"cgroup/cpu.max": "100000"}, math.inf),
    "2, more columns": ("0::/\n", {"cgroup/cpu.max": "100000 100000 7\n8"}, 1),
    "2, a group that is gone": ("0::/a (deleted)\n", {"cgroup/cpu.max": "100000 100000"}, 1),
    "2, above the root": ("0::/../../a\n", {"cgroup/cpu.max": "100000 100000"}, 1),
    "2, a path with a zero byte": ("0::/a\0b\n", {"cgroup/cpu.max": "100000 100000"}, 1),
    "2, a path without end": (f"0::/{'a' * 5000}\n", {"cgroup/cpu.max": "100000 100000"}, 1),
    "2, a period of nothing": ("0::/\n", {"cgroup/cpu.max": "100000 0"}, math.inf),
    "1, of a container": (OF_1, below("cpu,cpuacct/docker/a", limits("100000")), 1),
    "1, the path is not seen": (OF_1, below("cpu,cpuacct", limits("100000")), 1),
    "1, by its short name": (OF_1, below("cpu/docker/a", limits("250000")), 3),
    "1, of the group above": (
        OF_1,
        below("cpu/docker/a", limits("-1")) | below("cpu/docker", limits("200000")),
        2,
    ),
    "1, no quota": (OF_1, below("cpu", limits("-1")), math.inf),
    "1, other periods": (OF_1, below("cpu", limits("20000", "10000")), 2),
    "1, no period": (OF_1, {"cgroup/cpu/cpu.cfs_quota_us": "100000"}, math.inf),
    "1 and 2": (OF_1, {**below("cpu", limits("300000")), "cgroup/cpu.max": "200000 100000"}, 2),
    "lines of no form": ("nonsense\n::\n\n", {"cgroup/cpu.max": "100000 100000"}, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_the_quota(case: str, system: Path) -> None:
    own, files, wanted = CASES[case]
    write(system, {"own": own, **files} if own else files)
    assert cgroup.quota() == wanted


@pytest.mark.parametrize("case", ["2, of the group above", "1, of a container"])
def test_one_cpu_is_one_thread(case: str, system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, files, _ = CASES[case]
    write(system, {"own": own, **files})
    monkeypatch.setattr(threads, "_threads", None)
    threads._quota.cache_clear()
    try:
        assert threads.available_cpus() == threads.get_num_threads() == 1
    finally:
        threads._quota.cache_clear()


def test_a_file_that_cannot_be_read(system: Path) -> None:
    write(system, {"own": "0::/\n", "cgroup/cpu.max/below": ""})  # a folder in its place
    (system / "cgroup" / "cpu").mkdir()
    (system / "cgroup" / "cpu" / "cpu.cfs_quota_us").write_bytes(b"\xff\xfe")
    assert cgroup.quota() == math.inf


def test_a_file_that_vanishes(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service may end, and its group go, between two looks."""
    write(system, {"own": OF_2, "cgroup/user/service/cpu.max": "50000 100000"})
    (system / "cgroup" / "cpu.max").write_text("200000 100000")
    read = Path.read_text

    def vanishing(path: Path) -> str:
        if path.parent.name == "service":
            path.unlink()
        return read(path)

    monkeypatch.setattr(Path, "read_text", vanishing)
    assert cgroup.quota() == 2


# ------------------------------------------------------------------------------ groups of our own
ROOT = Path("/sys/fs/cgroup")
PRINT = (
    "import fastdnn; from fastdnn.kernels.cpu import cgroup; "
    "print(cgroup.quota(), fastdnn.get_num_threads())"
)


def make(folder: Path) -> None:
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")


class Version1:
    """Groups of version 1: the controller of the CPU's time has files of its own."""

    def __init__(self) -> None:
        mounts = [ROOT / name for name in ("cpu", "cpu,cpuacct", "cpuacct,cpu")]
        found = [one for one in mounts if (one / "cpu.cfs_quota_us").exists()]
        if not found:
            pytest.skip("no control groups of version 1 here")
        self.root = found[0]

    def limit(self, group: Path, quota: int) -> None:
        (group / "cpu.cfs_quota_us").write_text(str(quota))


class Version2:
    """Groups of version 2: one hierarchy, in which the controller has to be passed on."""

    def __init__(self) -> None:
        self.root = ROOT
        known = ROOT / "cgroup.subtree_control"
        if not known.exists() or "cpu" not in known.read_text().split():
            pytest.skip("no control groups of version 2 with the CPU's controller here")

    def limit(self, group: Path, quota: int) -> None:
        try:
            (group.parent / "cgroup.subtree_control").write_text("+cpu")
            (group / "cpu.max").write_text(f"{quota if quota > 0 else 'max'} 100000")
        except OSError as error:
            pytest.skip(f"the CPU's controller cannot be passed on here: {error}")


@pytest.fixture(params=[Version1, Version2], ids=["1", "2"])
def groups(request: pytest.FixtureRequest) -> Iterator[Callable[[int, int], Path]]:
    """A function that makes two groups with these quotas, one in the other; returns the inner."""
    version, made = request.param(), list[Path]()

    def nested(outer: int, inner: int) -> Path:
        for quota in (outer, inner):
            above = made[-1] if made else version.root
            group = above / f"fastdnn-test-{os.getpid()}"
            make(group)
            made.append(group)
            version.limit(group, quota)
        return group

    try:
        yield nested
    finally:
        for group in reversed(made):
            group.rmdir()


@pytest.mark.parametrize(
    ("outer", "inner", "wanted"),
    [(-1, 100_000, 1), (100_000, -1, 1), (200_000, 50_000, 1), (150_000, -1, 2)],
)
def test_a_process_in_a_group_of_its_own(
    outer: int, inner: int, wanted: int, groups: Callable[[int, int], Path]
) -> None:
    group, cpus = groups(outer, inner), threads.available_cpus()
    enter = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')\n"  # 0: who writes it
    said = run_python(enter + PRINT, {"NUMBA_NUM_THREADS": None}).split()
    assert said == [str(wanted), str(min(wanted, cpus))]
