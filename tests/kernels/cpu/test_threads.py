"""How many threads there are, and who says so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numba
import numpy as np
import pytest

from fastdnn.kernels import linear_forward
from fastdnn.kernels.cpu import threads
from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.passes import step
from tests.kernels.common import draw
from tests.kernels.networks import make, rule

MOST = int(numba.config.NUMBA_NUM_THREADS)


@pytest.fixture
def quota(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A file in place of the container's cpu.max, and eight CPUs."""
    file = tmp_path / "cpu.max"
    read = Path.read_text

    def read_text(path: Path) -> str:
        return read(file if str(path) == "/sys/fs/cgroup/cpu.max" else path)

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    threads._quota.cache_clear()
    yield file
    threads._quota.cache_clear()


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),  # one and a half: the second thread helps
        ("10000 100000", 1),
        ("1600000 100000", 8),
        ("", 8),
        ("nonsense", 8),
    ],
)
def test_a_containers_quota(quota: Path, text: str, cpus: int) -> None:
    quota.write_text(text)
    assert threads.available_cpus() == cpus


def test_a_quota_is_read_now_and_then(quota: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes as long as a step, and an operator may change it."""
    now = 1000.0
    monkeypatch.setattr(threads, "monotonic", lambda: now)
    quota.write_text("200000 100000")
    assert threads.available_cpus() == 2
    quota.write_text("300000 100000")
    assert threads.available_cpus() == 2
    now += threads.QUOTA_SECONDS
    assert threads.available_cpus() == 3


def test_without_a_quota_the_affinity_counts(quota: Path) -> None:
    assert not quota.exists()
    assert threads.available_cpus() == 8


@pytest.mark.usefixtures("quota")
def test_without_an_affinity_all_cpus_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    for known, cpus in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda known=known: known)
        assert threads.available_cpus() == cpus


def test_the_default_is_what_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_threads", None)
    monkeypatch.setattr(threads, "available_cpus", lambda: 2)
    assert threads.get_num_threads() == 2
    monkeypatch.setattr(threads, "available_cpus", lambda: MOST + 3)
    assert threads.get_num_threads() == MOST


def test_set_and_get() -> None:
    for n in (1, MOST, np.int64(2)):
        threads.set_num_threads(n)  # type: ignore[arg-type]
        assert threads.get_num_threads() == n
        assert type(threads.get_num_threads()) is int


@pytest.mark.parametrize("n", [0, -1])
def test_there_is_at_least_one(n: int) -> None:
    with pytest.raises(ValueError, match=f"n: want at least 1 thread, got {n}"):
        threads.set_num_threads(n)


@pytest.mark.parametrize("n", [1.0, "2", None, True, False, np.True_])
def test_a_number_of_threads_is_whole(n: object) -> None:
    with pytest.raises(TypeError, match="n: want an integer number of threads, got"):
        threads.set_num_threads(n)  # type: ignore[arg-type]


def test_more_than_numba_has_are_as_many_as_it_has() -> None:
    arrays = draw(1, 67, 131), draw(2, 45, 67), None
    threads.set_num_threads(1)
    wanted = linear_forward(*arrays)
    threads.set_num_threads(MOST + 7)
    assert threads.get_num_threads() == MOST
    with threads.num_threads(MOST + 1):
        assert threads.get_num_threads() == MOST
    np.testing.assert_array_equal(linear_forward(*arrays), wanted)


def test_inside_a_block() -> None:
    threads.set_num_threads(2)
    with threads.num_threads(3):
        assert threads.get_num_threads() == 3
        with threads.num_threads(1):
            assert threads.get_num_threads() == 1
        assert threads.get_num_threads() == 3
    assert threads.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), threads.num_threads(3):
        raise ZeroDivisionError
    assert threads.get_num_threads() == 2
    with pytest.raises(ValueError, match="at least 1"), threads.num_threads(0):
        pass
    assert threads.get_num_threads() == 2


def test_short_calls_have_one_rank() -> None:
    threads.set_num_threads(2)
    most, awake = min(2, MOST), threads.AWAKE_FLOPS
    for flops, ranks in ((0, 1), (awake - 1, 1), (awake, most)):
        assert threads.workers(flops) == ranks
        assert threads.workers(threads.SHARED_FLOPS, flops) == ranks
        assert threads.workers(threads.SHARED_FLOPS - 1, flops) == 1


@pytest.mark.parametrize(
    ("width", "batch", "name", "ranks"),
    [
        (40, 1, "adam", 1),  # resident nets with few samples
        (40, 8, "adam", 1),
        (300, 1, "descent", 1),  # the ranks would wait longer for each other than they work
        (300, 1, "adam", 2),
        (400, 1, "descent", 2),
        (400, 2, "descent", 2),
        (40, 32, "descent", 1),  # one segment
        (40, 128, "descent", 2),
    ],
)
def test_a_step_has_as_many_ranks_as_repay_it(
    width: int, batch: int, name: str, ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    run = step.run
    monkeypatch.setattr(
        step, "run", lambda dtype, n, *rest: given.append(n) or run(dtype, n, *rest)
    )
    net = make([width, width, 3], ["tanh", "identity"])
    n = 3000  # steps enough that a second thread has time to wake
    X, y = draw(1, batch, width), draw(2, batch, 3)
    threads.set_num_threads(2)
    net.train(X, Targets(y), rule(name, n), batch=batch)
    assert given == [min(ranks, MOST)]


def in_another_thread(call: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def test_a_block_is_one_python_threads() -> None:
    threads.set_num_threads(2)
    with threads.num_threads(3):
        assert in_another_thread(threads.get_num_threads) == 2
        threads.set_num_threads(1)  # of the process: a block's own number comes first
        assert threads.get_num_threads() == 3
        assert in_another_thread(threads.get_num_threads) == 1
    assert threads.get_num_threads() == 1


def test_those_who_train_share_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "available_cpus", lambda: 4)
    threads.set_num_threads(4)
    most = min(4, MOST)
    with threads.run():
        assert threads.workers(10**9) == most
        with threads.run():  # a training within a training is not a second one
            assert threads._runs == 1
            assert threads.workers(10**9) == most
        assert threads._runs == 1
        assert in_another_thread(_workers_of_a_run) == min(2, most)
        with threads.num_threads(1):
            assert in_another_thread(_workers_of_a_run) == min(2, most)
        with pytest.raises(ZeroDivisionError), threads.run():
            raise ZeroDivisionError
        assert threads._runs == 1
    assert threads._runs == 0
    with pytest.raises(KeyboardInterrupt), threads.run():
        raise KeyboardInterrupt
    assert threads._runs == 0


def _workers_of_a_run() -> int:
    with threads.run():
        assert threads._runs == 2
        return threads.workers(10**9)


def test_more_trainings_than_cpus_have_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    threads.set_num_threads(4)
    monkeypatch.setattr(threads, "available_cpus", lambda: 4)
    monkeypatch.setattr(threads, "_runs", 5)
    assert threads.workers(10**9) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")
def test_a_forked_child_counts_no_training_but_its_own() -> None:
    def runs_of_a_child() -> int:
        child = os.fork()
        if child == 0:
            os._exit(threads._runs)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    with threads.run():
        assert runs_of_a_child() == 1
        assert in_another_thread(runs_of_a_child) == 0
        assert threads._runs == 1


def test_a_calls_own_number() -> None:
    threads.set_num_threads(2)
    with threads.of_call(1):
        assert threads.get_num_threads() == 1
        with threads.of_call(None):
            assert threads.get_num_threads() == 1
    with threads.of_call(None):
        assert threads.get_num_threads() == min(2, MOST)
    for wrong, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match=r"^n_threads: want"):
            threads.of_call(wrong)  # type: ignore[arg-type]


def test_blas_can_be_limited_too() -> None:
    from threadpoolctl import threadpool_info

    def counts() -> list[int]:
        return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

    np.dot(np.ones((2, 2)), np.ones((2, 2)))
    before = counts()
    assert before  # NumPy's
    with threads.num_threads(1, blas=True):
        assert threads.get_num_threads() == 1
        assert set(counts()) == {1}
    assert counts() == before
    # two threads' blocks, of which the first to begin is the first to end
    first, second = (threads.num_threads(n, blas=True) for n in (1, 2))
    first.__enter__()
    in_another_thread(second.__enter__)
    assert set(counts()) == {1}
    first.__exit__(None, None, None)
    assert max(counts()) <= 2
    in_another_thread(lambda: second.__exit__(None, None, None))
    assert counts() == before
    with pytest.raises(ValueError, match="want at least 1"), threads.num_threads(0, blas=True):
        pass
    assert counts() == before


# ---------------------------------------------------------------------------- threads of one call
def test_members_of_a_pool_share_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 16)
    pool, much = threads.Pool(8), threads.AWAKE_FLOPS
    here, leave = Barrier(3, timeout=30), Barrier(3, timeout=30)

    def member() -> int:
        with pool.member():
            here.wait()
            count = threads.get_num_threads()
            leave.wait()
            return count

    before = threads.get_num_threads()
    with ThreadPoolExecutor(2) as others, pool.member(), threads.run():
        assert (threads.get_num_threads(), threads.workers(much)) == (8, 8)
        found = [others.submit(member) for _ in range(2)]
        here.wait()
        # 8 for 3: as many as are there for each, whoever trains beside
        assert (threads.get_num_threads(), threads.workers(much)) == (2, 2)
        with threads.num_threads(5):
            assert threads.get_num_threads() == 5
        leave.wait()
        assert [one.result() for one in found] == [2, 2]
        assert threads.get_num_threads() == 8
    assert threads.get_num_threads() == before


def test_a_pool_of_fewer_threads_than_members_has_one_for_each() -> None:
    pool = threads.Pool(1)
    with pool.member(), pool.member():
        assert threads.get_num_threads() == 1
