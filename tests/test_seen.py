"""What an epoch has trained on so far: its logs, and its state in a file."""

from __future__ import annotations

import numpy as np

from fastdnn.evaluation import Measured
from fastdnn.seen import Seen


def test_the_mean_loss_has_the_same_bits_however_the_steps_came() -> None:
    sums = np.random.default_rng(0).uniform(0.0, 9.0, 1000)
    found = set()
    for cuts in ([], [1], [500], [3, 10, 999]):
        seen = Seen(Measured({}))
        for part in np.split(sums, cuts):
            seen.add(part, 7 * len(part))
        assert (seen.steps, seen.samples) == (1000, 7000)
        found.add(seen.logs()["loss"])
    assert found == {float(sums.sum()) / 7000}


def test_no_steps_are_no_part() -> None:
    seen = Seen(Measured({}))
    seen.add(np.empty(0), 0)
    seen.add(np.array([3.0]), 2)
    assert seen.logs() == {"loss": 1.5}


def test_a_state_goes_on() -> None:
    seen, again = Seen(Measured({})), Seen(Measured({}))
    seen.add(np.array([1.0, 2.0]), 8)
    again.set_state(seen.get_state())
    again.add(np.array([4.0]), 4)
    assert (again.steps, again.samples, again.is_whole) == (3, 12, False)
    assert again.logs() == {"loss": 7.0 / 12}
