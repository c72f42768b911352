"""Optimizers as a user sets them; their steps, test_gradients and test_torch compare."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    NAdam,
    Optimizer,
    RMSprop,
    optimizers,
)
from fastdnn.kernels import UPDATES
from fastdnn.optimizers import OPTIMIZERS

DEFAULTS: dict[str, dict[str, Any]] = {
    "sgd": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
    "rmsprop": {"learning_rate": 0.001, "rho": 0.9, "epsilon": 1e-8},
    "adam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8},
    "adamw": {
        "learning_rate": 0.001,
        "weight_decay": 0.004,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
    },
    "nadam": {
        "learning_rate": 0.001,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
        "momentum_decay": 0.004,
    },
    "lion": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.99, "weight_decay": 0.0},
    "adagrad": {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-8},
}

for _name, _entry in UPDATES.items():  # an optimizer that follows from its rule
    if _entry.settings:
        _settings = {one: default for one, (default, _) in _entry.settings.items()}
        DEFAULTS.setdefault(_name, {"learning_rate": _settings.pop("lr"), **_settings})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_name_stands_for_the_defaults(name: str) -> None:
    optimizer = optimizers.get(name)
    assert type(optimizer) is OPTIMIZERS[name]
    assert optimizer == OPTIMIZERS[name]()
    assert vars(optimizer) == {**DEFAULTS[name], "clipnorm": None, "global_clipnorm": None}
    assert optimizers.get(optimizer) is optimizer
    assert optimizers.get(name) is not optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_order_of_the_arguments_is_kerass(name: str) -> None:
    values: list[Any] = [0.5, 0.25, False, 0.0625, 0.03125][: len(DEFAULTS[name])]
    if name != "sgd":
        values[2:3] = [0.125] * (len(values) > 2)
    optimizer = OPTIMIZERS[name](*values)
    assert [getattr(optimizer, field) for field in DEFAULTS[name]] == values


def test_the_repr_makes_it_again() -> None:
    scope = {**vars(fastdnn)}
    for optimizer in (SGD(0.1, 0.5, nesterov=True), AdamW(fastdnn.StepDecay(0.1, 0.5, 9))):
        assert eval(repr(optimizer), scope) == optimizer
    assert Adam(clipnorm=1.0) != Adam()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (
            "adma",
            ValueError,
            "unknown name 'adma'; did you mean 'adam'.*adagrad, adam, adamw, lion, ",
        ),
        ("Adam", ValueError, "unknown name 'Adam'"),
        (None, TypeError, "want one of .* as a string, got None"),
        (Adam, TypeError, "want one of .* as a string, got <class 'fastdnn.optimizers.Adam'>"),
    ],
)
def test_wrong_optimizers(wrong: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^optimizer: {message}"):
        optimizers.get(wrong)


POSITIVE, SHARE, WITH_1, NOT_NEGATIVE = "(0, inf)", "[0, 1)", "[0, 1]", "[0, inf)"
INTERVALS = {
    "learning_rate": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "clipnorm": POSITIVE,
    "global_clipnorm": POSITIVE,
    "momentum": WITH_1,
    "rho": SHARE,
    "beta_1": SHARE,
    "beta_2": SHARE,
    "epsilon": POSITIVE,
}
OUTSIDE: dict[str, list[Any]] = {
    POSITIVE: [0, -1e-9, np.inf, np.nan],
    SHARE: [1, 1.0, -1e-9, np.nan],
    WITH_1: [1 + 1e-9, 2, -1e-9, np.nan],
    NOT_NEGATIVE: [-1e-9, np.inf, np.nan],
}
HYPER_PARAMETERS = [
    (name, field)
    for name, own in DEFAULTS.items()
    for field in (*own, "clipnorm", "global_clipnorm")
    if field in INTERVALS
]


@pytest.mark.parametrize(("name", "field"), HYPER_PARAMETERS)
def test_hyper_parameters_are_checked_when_made_and_when_set(name: str, field: str) -> None:
    make, interval = OPTIMIZERS[name], INTERVALS[field]
    optimizer = make()
    wanted = re.escape(f"{make.__name__}.{field}: want a number in {interval}, got ")
    cases = [(value, ValueError) for value in OUTSIDE[interval]]
    for value, error in [*cases, ("0.5", TypeError), (True, TypeError), ([0.5], TypeError)]:
        with pytest.raises(error, match=f"^{wanted}{re.escape(repr(value))}$"):
            make(**{field: value})
        with pytest.raises(error, match=f"^{wanted}"):
            setattr(optimizer, field, value)
        assert optimizer == make()
    for value in (0.5, np.float32(0.25)):
        assert getattr(make(**{field: value}), field) == value
        setattr(optimizer, field, value)
        assert getattr(optimizer, field) == value


@pytest.mark.parametrize("field", ["learning_rate", "rho", "beta_1", "epsilon"])
def test_only_what_may_be_none_is_none(field: str) -> None:
    make = RMSprop if field == "rho" else Adam
    with pytest.raises(TypeError, match=f"{field}: want a number in .*, got None"):
        make(**{field: None})  # type: ignore[arg-type]
    assert make(clipnorm=None).clipnorm is None


@pytest.mark.parametrize("wrong", ["yes", 1, None])
def test_nesterov_is_a_bool(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^SGD.nesterov: want True or False, got "):
        SGD(nesterov=wrong)


def test_a_misspelt_hyper_parameter_is_no_new_attribute() -> None:
    with pytest.raises(AttributeError, match=r"^Adam.lr: no such setting; want 'learning_rate'"):
        Adam().lr = 0.1  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="lr"):
        Adam(lr=0.1)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_one_norm_can_be_bounded(name: str) -> None:
    make = OPTIMIZERS[name]
    with pytest.raises(ValueError, match=r"global_clipnorm: got 2.0 with clipnorm set; want one"):
        make(clipnorm=1.0, global_clipnorm=2.0)
    optimizer = make(global_clipnorm=2.0)
    with pytest.raises(ValueError, match=r"clipnorm: got 1.0 with global_clipnorm set; want one"):
        optimizer.clipnorm = 1.0
    assert optimizer == make(global_clipnorm=2.0)
    optimizer.global_clipnorm = None
    optimizer.clipnorm = 1.0
    assert optimizer == make(clipnorm=1.0)


def test_the_base_class_is_no_optimizer() -> None:
    with pytest.raises(TypeError, match="abstract class Optimizer"):
        Optimizer()  # type: ignore[abstract]


# ------------------------------------------------------------------------------------------ rules
STEPS = np.arange(10, 15)


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (SGD(), "descent"),
        (SGD(nesterov=True), "descent"),
        (SGD(momentum=0.5), "momentum"),
        (SGD(momentum=0.5, nesterov=True), "nesterov"),
        (RMSprop(), "rmsprop"),
        (Adam(), "adam"),
        (AdamW(), "adam"),
        (NAdam(), "nadam"),
        (NAdam(beta_1=0.0), "nadam"),
        (Lion(), "lion"),
        (Adagrad(), "adagrad"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("clipping", "clip", "limit"),
    [({}, None, np.inf), ({"clipnorm": 2.0}, "tensor", 2.0), ({"global_clipnorm": 3}, "global", 3)],
)
def test_rule(
    optimizer: Optimizer, name: str, clipping: dict[str, float], clip: str | None, limit: float
) -> None:
    rule = replace(optimizer, **clipping).rule(STEPS)
    assert (rule.name, rule.clip, rule.limit) == (name, clip, limit)
    assert name in UPDATES
    assert rule.coefficients.shape[0] == len(STEPS)
    assert np.isfinite(rule.coefficients).all()


def test_adams_corrections_count_the_steps_from_one() -> None:
    first = Adam(0.1, beta_1=0.5, beta_2=0.75).rule(np.arange(2)).coefficients
    assert first[0, [0, 5]] == pytest.approx([0.1 / 0.5, 1 / np.sqrt(0.25)], rel=1e-15)
    assert first[1, [0, 5]] == pytest.approx([0.1 / 0.75, 1 / np.sqrt(0.4375)], rel=1e-15)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rule_has_the_schedules_rate_of_each_step(name: str) -> None:
    schedule = fastdnn.ExponentialDecay(0.5, 3, 0.5)
    make, steps = OPTIMIZERS[name], np.arange(4, 9)
    found = make(learning_rate=schedule).rule(steps).coefficients
    for step, row in zip(steps, found, strict=True):
        rate = 0.5 * 0.5 ** (step / 3)
        expected = make(learning_rate=rate).rule(np.array([step])).coefficients[0]
        assert row == pytest.approx(expected, rel=1e-14)


@dataclass(frozen=True)
class Own(fastdnn.Schedule):
    """A schedule that gives what it is told to."""

    rates: Any

    def __call__(self, steps: Any) -> Any:
        return self.rates


@pytest.mark.parametrize(
    "rates", [0.1, [0.1] * 4, [[0.1] * 5], [0.1, 0.1, np.nan, 0.1, 0.1], [-0.1] * 5, [np.inf] * 5]
)
def test_a_schedule_must_give_a_rate_for_each_step(rates: Any) -> None:
    wanted = r"^SGD.learning_rate: want a finite number >= 0 for each of 5 steps, got .* from Own\("
    with pytest.raises(ValueError, match=wanted):
        SGD(Own(rates)).rule(STEPS)


def test_a_schedules_rate_beyond_float64_is_named() -> None:
    with pytest.raises(ValueError, match=r"^SGD.learning_rate: want finite .*int at .*\[2\]$"):
        SGD(Own([0.1, 0.1, 10**400, 0.1, 0.1])).rule(STEPS)


@pytest.mark.parametrize("rates", [[1, 2, 0, 4, 5], np.full(5, 0.1, np.float32)])
def test_a_schedule_of_ones_own(rates: Sequence[float]) -> None:
    assert SGD(Own(rates)).learning_rates(STEPS) == pytest.approx(list(rates))


@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_weights_decay_where_the_gradient_is_0(name: str) -> None:
    model = fastdnn.Sequential([fastdnn.Dense(2, use_bias=False)], input_size=3, dtype="float64")
    model.compile(OPTIMIZERS[name](learning_rate=0.1, weight_decay=0.5), "mse")
    model.layers[0].W = W = np.arange(1.0, 7.0).reshape(2, 3)
    for step in (1, 2):
        model.train_on_batch(np.zeros((4, 3)), np.ones((4, 2)))
        np.testing.assert_allclose(model.layers[0].W, W * 0.95**step, rtol=1e-15)
