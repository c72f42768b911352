"""The CPUs that control groups allow, from files made up in the place of the system's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fastdnn.kernels import cgroup, threads

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
