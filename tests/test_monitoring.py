"""Which value is better than the best so far."""

from __future__ import annotations

from math import inf

import pytest

from fastdnn.monitoring import Monitoring


@pytest.mark.parametrize(
    ("monitor", "mode", "min_delta", "values", "better"),
    [
        ("loss", "auto", 0.0, [3, 3, 2, 4, 1], [True, False, True, False, True]),
        ("val_accuracy", "auto", 0.0, [3, 3, 4, 2], [True, False, True, False]),
        ("anything", "max", 0.5, [1, 1.4, 1.6], [True, False, True]),
        ("anything", "min", 0.5, [1, 0.6, 0.4], [True, False, True]),
        ("loss", "auto", 0.0, [float("nan"), 1], [False, True]),
    ],
)
def test_improvements(
    monitor: str, mode: str, min_delta: float, values: list[float], better: list[bool]
) -> None:
    one = Monitoring(monitor, mode, min_delta)
    assert [one._improved(value) for value in values] == better


def test_a_direction_that_is_unknown_wants_a_mode() -> None:
    names = ["loss", "profit", "val_loss", "val_profit"]
    with pytest.raises(ValueError, match=r"^Monitoring.mode: want 'min' or 'max' for 'val_profit'"):
        Monitoring("val_profit", "auto").check_logs(names)
    Monitoring("val_profit", "max").check_logs(names)


def test_the_best_goes_from_one_to_the_next() -> None:
    one, other = Monitoring("loss", "auto"), Monitoring("loss", "auto")
    assert one.get_state() == {"best": inf}
    one._improved(0.5)
    other.set_state(one.get_state())
    assert not other._improved(0.6)
    assert other._improved(0.4)
