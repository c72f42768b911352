"""Classes that follow from entries of the kernels' tables."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest

import fastdnn
from fastdnn import losses, optimizers
from fastdnn._derived import class_name, derived
from fastdnn.kernels import LOSSES, UPDATES


@dataclass(frozen=True)
class Base:
    name = ""


def test_names() -> None:
    assert class_name("mean_squared_error") == "MeanSquaredError"
    assert class_name("poisson") == "Poisson"


def test_a_derived_class() -> None:
    settings = [("power", float, 1.5), ("at", int, 3)]
    kind: Any = derived("of_power", Base, "What it is.", settings, frozen=True, name="of_power")
    assert (kind.__name__, kind.__doc__, kind.__module__) == ("OfPower", "What it is.", __name__)
    one = kind(power=2.0)
    assert (one.power, one.at, one.name) == (2.0, 3, "of_power")
    assert repr(one).endswith("OfPower(power=2.0, at=3)")
    assert one == kind(2.0, 3) != kind()
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(FrozenInstanceError):
        one.at = 4


WITHOUT_SETTINGS = [name for name, entry in LOSSES.items() if entry.equation]
BY_THEMSELVES = [name for name, entry in UPDATES.items() if entry.settings]


@pytest.mark.parametrize("name", WITHOUT_SETTINGS)
def test_a_loss_without_settings_is_its_entry(name: str) -> None:
    kind = losses.LOSSES[name]
    assert kind.__doc__ == LOSSES[name].equation
    assert kind().entry is LOSSES[name]
    assert getattr(fastdnn, kind.__name__) is kind
    assert pickle.loads(pickle.dumps(kind())) == kind()


@pytest.mark.parametrize("name", BY_THEMSELVES)
def test_an_optimizer_of_settings_is_its_rule(name: str) -> None:
    kind, entry = optimizers.OPTIMIZERS[name], UPDATES[name]
    assert kind.__doc__ == entry.equation
    assert set(entry.coefficients) == set(entry.settings)
    one = kind()
    assert one.learning_rate == entry.settings["lr"].default
    for setting, (default, _) in entry.settings.items():
        if setting != "lr":
            assert getattr(one, setting) == default
            with pytest.raises(ValueError, match=rf"^{kind.__name__}\.{setting}: "):
                kind(**{setting: -1.0})  # type: ignore[arg-type]
    assert getattr(fastdnn, kind.__name__) is kind
    assert pickle.loads(pickle.dumps(one)) == one


def test_what_is_no_class_is_not_exported() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Tweedie0'"):
        _ = fastdnn.Tweedie0
