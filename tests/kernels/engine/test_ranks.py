"""The number of ranks follows from the work, and beside busy neighbours from what is faster."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.engine import ranks
from fastdnn.kernels.engine.ranks import LONGEST, SHORTEST, WINDOW, Crowd
from tests.kernels.networks import data, make, rule

CALL = 0.02  # seconds of a call, if one rank made it


class Machine:
    """Clocks that stand still but in calls; CPUs of which others take some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.cpu = 0.0
        self.crowd = Crowd()
        self.used: list[tuple[float, int]] = []
        monkeypatch.setattr(ranks, "perf_counter", lambda: self.now)
        monkeypatch.setattr(ranks, "process_time", lambda: self.cpu)

    def run(
        self, seconds: float, wanted: int, cpus: float, speed: Callable[[int], float]
    ) -> dict[int, float]:
        """Make calls for so long; returns the share of the time by the number of ranks."""
        end, times = self.now + seconds, dict[int, float]()
        while self.now < end:
            n = self.crowd.ranks(wanted)
            took = CALL / speed(n)
            self.now += took
            self.cpu += took * min(n, cpus)
            self.crowd.done(10)
            times[n] = times.get(n, 0.0) + took
        return {n: took / sum(times.values()) for n, took in times.items()}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def alone(n: int) -> float:
    return float(n)


def beside(n: int) -> float:
    """All wait for one that has half a CPU, and for its turns."""
    return 0.6 if n == 2 else 1.0


def test_alone_all_take_part(machine: Machine) -> None:
    assert machine.run(20, 2, 2.0, alone) == {2: 1.0}


def test_beside_a_neighbour_fewer_do_where_that_is_faster(machine: Machine) -> None:
    machine.run(5, 2, 1.5, beside)
    shares = machine.run(60, 2, 1.5, beside)
    assert set(shares) == {1, 2}
    assert shares[2] < 2 * WINDOW / LONGEST


def test_all_stay_where_they_help_each_other(machine: Machine) -> None:
    machine.run(5, 2, 1.5, lambda n: {1: 1.0, 2: 1.4}[n])
    shares = machine.run(60, 2, 1.5, lambda n: {1: 1.0, 2: 1.4}[n])
    assert shares[1] < 2 * WINDOW / LONGEST


def test_when_the_neighbour_has_gone_all_are_back(machine: Machine) -> None:
    machine.run(60, 2, 1.5, beside)
    machine.run(LONGEST + 3 * WINDOW, 2, 2.0, alone)
    assert machine.run(20, 2, 2.0, alone) == {2: 1.0}
    # and when one comes again, it does not take as long as before to find out
    machine.run(SHORTEST, 2, 1.5, beside)
    assert machine.run(SHORTEST, 2, 1.5, beside)[1] > 0.5


@pytest.mark.parametrize(("wanted", "cpus", "fewer"), [(8, 5.2, 5), (64, 63.5, 63), (3, 0.3, 1)])
def test_as_many_are_tried_as_there_were_cpus(
    machine: Machine, wanted: int, cpus: float, fewer: int
) -> None:
    shares = machine.run(30, wanted, cpus, lambda n: 1.0 if n == wanted else 2.0)
    is_crowded = cpus < ranks.CROWDED * wanted
    assert set(shares) == ({wanted, fewer} if is_crowded else {wanted})


def test_other_numbers_begin_anew_and_one_rank_costs_nothing(machine: Machine) -> None:
    machine.run(60, 2, 1.5, beside)
    assert machine.crowd.ranks(3) == 3
    assert machine.crowd.ranks(1) == 1
    machine.now = machine.cpu = float("nan")  # no clock is read
    machine.crowd.done(10)
    assert machine.crowd.ranks(3) == 3


@pytest.mark.parametrize("batch", [64, 67])
@pytest.mark.usefixtures("share_small_work")
def test_bits_do_not_depend_on_it(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training whose ranks change from call to call."""
    bits = []
    for numbers in ([1], [2, 1, 3, 2]):
        net = make([40, 50, 3], ["tanh", "identity"])
        X, _, targets = data(net, 67, "mean_squared_error")
        given: list[Any] = []

        def chosen(self: Crowd, wanted: int, of: Any = numbers, given: Any = given) -> int:
            given.append(wanted)
            return int(of[len(given) % len(of)])

        monkeypatch.setattr(Crowd, "ranks", chosen)
        with fastdnn.num_threads(3):
            for step in range(8):
                net.train(X, targets, rule("adam", 2), batch=batch, step_number=2 * step)
                outputs = net.batch_losses(X, targets, batch=batch)[1]
        assert len(given) == 16
        bits.append((net.parameters.tobytes(), outputs.tobytes()))
    assert bits[0] == bits[1]


def test_a_copy_finds_out_for_itself() -> None:
    net = make([40, 50, 3], ["tanh", "identity"])
    net._crowds[64, 1].ranks(2)
    assert not copy.deepcopy(net)._crowds
    assert np.array_equal(copy.deepcopy(net).parameters, net.parameters)
