"""Schedules against the equations, one step at a time in plain Python."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdnn.schedules import (
    CosineDecay,
    ExponentialDecay,
    Schedule,
    StepDecay,
)

STEPS = np.arange(40)


def cosine(t: int, initial: float, length: int, alpha: float, s: int, start: float) -> float:
    if t < s:
        return start + (initial - start) * t / s
    p = min((t - s) / length, 1)
    return initial * (alpha + (1 - alpha) * 0.5 * (1 + math.cos(math.pi * p)))


CASES: list[tuple[Schedule, Callable[[int], float]]] = [
    (StepDecay(0.1, 0.5, 7), lambda t: 0.1 * 0.5 ** (t // 7)),
    (StepDecay(1, 2, 10), lambda t: float(2 ** (t // 10))),
    (ExponentialDecay(0.1, 10, 0.9), lambda t: 0.1 * 0.9 ** (t / 10)),
    (ExponentialDecay(0.1, 10, 0.9, staircase=True), lambda t: 0.1 * 0.9 ** (t // 10)),
    (ExponentialDecay(1e-5, 3, 2.0), lambda t: 1e-5 * 2 ** (t / 3)),
    (CosineDecay(0.1, 20), lambda t: cosine(t, 0.1, 20, 0, 0, 0)),
    (CosineDecay(0.1, 20, 0.25, 8, 0.02), lambda t: cosine(t, 0.1, 20, 0.25, 8, 0.02)),
    (CosineDecay(1, 1, 1, 1), lambda t: cosine(t, 1, 1, 1, 1, 0)),
]


@pytest.mark.parametrize(("schedule", "equation"), CASES, ids=[repr(case[0]) for case in CASES])
def test_equation(schedule: Schedule, equation: Callable[[int], float]) -> None:
    rates = schedule(STEPS)
    assert rates.dtype == np.float64
    assert rates.shape == STEPS.shape
    np.testing.assert_allclose(rates, [equation(int(t)) for t in STEPS], rtol=1e-13, atol=1e-17)


@pytest.mark.parametrize("schedule", [case[0] for case in CASES], ids=repr)
def test_a_slice_of_steps_gives_the_same_rates(schedule: Schedule) -> None:
    np.testing.assert_array_equal(schedule(STEPS[11:23]), schedule(STEPS)[11:23])


def test_cosine_starts_peaks_and_ends_where_it_says() -> None:
    schedule = CosineDecay(0.1, decay_steps=20, alpha=0.25, warmup_steps=8, warmup_start=0.02)
    rates = schedule(np.array([0, 8, 28, 1_000_000]))
    np.testing.assert_allclose(rates, [0.02, 0.1, 0.025, 0.025])


@pytest.mark.parametrize("schedule", [case[0] for case in CASES], ids=repr)
def test_fields_rebuild_the_schedule(schedule: Schedule) -> None:
    fields = dataclasses.asdict(schedule)  # type: ignore[call-overload]
    assert type(schedule)(**fields) == schedule
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.initial = 1.0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: StepDecay(0.0, 0.5, 1), ValueError, "StepDecay.initial: .*got 0.0"),
        (lambda: StepDecay(0.1, -1.0, 1), ValueError, "StepDecay.factor"),
        (lambda: StepDecay(0.1, 0.5, 0), ValueError, "StepDecay.every_steps"),
        (lambda: StepDecay(0.1, 0.5, 1.5), TypeError, "an integer"),  # type: ignore[arg-type]
        (lambda: ExponentialDecay(math.nan, 1, 0.5), ValueError, "ExponentialDecay.initial"),
        (lambda: ExponentialDecay(0.1, 0, 0.5), ValueError, "ExponentialDecay.decay_steps"),
        (lambda: ExponentialDecay(0.1, 1, 0.0), ValueError, "ExponentialDecay.decay_rate"),
        (
            lambda: ExponentialDecay(0.1, 1, 0.5, staircase="no"),  # type: ignore[arg-type]
            TypeError,
            "^ExponentialDecay.staircase: want True or False, got 'no'",
        ),
        (lambda: CosineDecay(math.inf, 1), ValueError, "CosineDecay.initial"),
        (lambda: CosineDecay(0.1, -5), ValueError, "CosineDecay.decay_steps"),
        (lambda: CosineDecay(0.1, 5, alpha=1.1), ValueError, r"CosineDecay.alpha: .*\[0, 1\]"),
        (lambda: CosineDecay(0.1, 5, warmup_steps=-1), ValueError, "CosineDecay.warmup_steps"),
        (lambda: CosineDecay(0.1, 5, warmup_start=-0.1), ValueError, "CosineDecay.warmup_start"),
    ],
)
def test_bad_fields(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
