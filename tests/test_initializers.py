"""Initializers: variance and limits as their sources state them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastdnn.initializers import INITIALIZERS, Initializer, Normal, VarianceScaling, Zeros, get

N, N_PREV = 300, 500
VARIANCES = {
    "he": 2 / N_PREV,
    "he_normal": 2 / N_PREV,
    "he_uniform": 2 / N_PREV,
    "glorot": 2 / (N + N_PREV),
    "glorot_normal": 2 / (N + N_PREV),
    "glorot_uniform": 2 / (N + N_PREV),
    "lecun": 1 / N_PREV,
    "lecun_normal": 1 / N_PREV,
    "lecun_uniform": 1 / N_PREV,
    "normal": 0.05**2,
    "zeros": 0.0,
}


def start(initializer: str | Initializer, seed: int = 5) -> np.ndarray[Any, np.dtype[np.float64]]:
    return get(initializer)(N, N_PREV, np.random.default_rng(seed))


def test_every_name_is_tested() -> None:
    assert set(INITIALIZERS) == set(VARIANCES)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_mean_and_variance(name: str) -> None:
    W = start(name)
    assert W.shape == (N, N_PREV)
    assert W.dtype == np.float64
    # 150,000 samples: the variance of a normal is known to 0.4 %, the mean to 0.003 deviations.
    assert W.var() == pytest.approx(VARIANCES[name], rel=0.02)
    assert abs(W.mean()) <= 0.01 * np.sqrt(VARIANCES[name])


@pytest.mark.parametrize("name", ["he_uniform", "glorot_uniform", "lecun_uniform", "glorot"])
def test_uniform_fills_its_interval(name: str) -> None:
    limit = np.sqrt(3 * VARIANCES[name])
    W = start(name)
    assert 0.999 * limit < W.max() <= limit
    assert -limit <= W.min() < -0.999 * limit


@pytest.mark.parametrize("name", ["he_normal", "glorot_normal", "lecun_normal", "normal"])
def test_normal_has_tails(name: str) -> None:
    W = start(name)
    share = np.mean(np.abs(W) > 2 * np.sqrt(VARIANCES[name]))
    assert share == pytest.approx(0.0455, rel=0.1)


@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"zeros"}))
def test_the_generator_decides(name: str) -> None:
    np.testing.assert_array_equal(start(name, seed=1), start(name, seed=1))
    assert not np.array_equal(start(name, seed=1), start(name, seed=2))


@pytest.mark.parametrize(
    ("alias", "name"),
    [("he", "he_normal"), ("glorot", "glorot_uniform"), ("lecun", "lecun_normal")],
)
def test_aliases(alias: str, name: str) -> None:
    assert get(alias) == get(name)


def test_the_scale_is_a_parameter() -> None:
    assert start(Normal(0.01)).std() == pytest.approx(0.01, rel=0.01)
    assert start(VarianceScaling(8.0)).var() == pytest.approx(8 / N_PREV, rel=0.02)


def test_callables_pass_through() -> None:
    def identity(n: int, n_prev: int, rng: np.random.Generator) -> Any:
        return np.eye(n, n_prev)

    assert get(identity) is identity


@pytest.mark.parametrize("initializer", [Normal(), Zeros(), VarianceScaling()], ids=repr)
def test_they_are_frozen(initializer: Any) -> None:
    assert type(initializer)(**dataclasses.asdict(initializer)) == initializer
    with pytest.raises(dataclasses.FrozenInstanceError):
        initializer.scale = 1.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: get("he_norml"), ValueError, "kernel_initializer: .*'he_norml'.*'he_normal'"),
        (lambda: get(0.01), TypeError, "kernel_initializer"),  # type: ignore[arg-type]
        (lambda: Normal(0.0), ValueError, "Normal.scale"),
        (lambda: Normal("0.1"), TypeError, "Normal.scale"),  # type: ignore[arg-type]
        (lambda: VarianceScaling(-1.0), ValueError, "VarianceScaling.scale"),
        (lambda: VarianceScaling(fan="fan_out"), ValueError, "VarianceScaling.fan"),
        (lambda: VarianceScaling(distribution="gauss"), ValueError, "VarianceScaling.distribution"),
    ],
)
def test_bad_arguments(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
