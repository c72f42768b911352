"""The network of the command line's arguments."""

from argparse import Namespace
from typing import Any

import numpy as np
import pytest

from fastdnn.cli import networks
from fastdnn.data import datasets


def given(**settings: Any) -> Namespace:
    """Return arguments as the parser makes them."""
    defaults = {
        "layers": (5, 4), "activation": "tanh", "normalization": None, "dropout": 0.0, "l2": 0.01,
        "optimizer": "sgd", "learning_rate": None, "dtype": "float64", "seed": 3,
    }  # fmt: skip
    return Namespace(**{**defaults, **settings})


def test_the_network_ends_as_the_task_wants() -> None:
    digits = datasets.load()
    arguments = given()
    hidden, rule = networks.hidden_layers_of(arguments), networks.optimizer_of(arguments)
    model = networks.build(hidden, rule, digits, arguments, ["accuracy"])
    assert [(layer.units, layer.activation) for layer in model.layers] == [
        (5, "tanh"),
        (4, "tanh"),
        (10, "softmax"),
    ]
    assert (model.dtype, model.seed, model.input_size) == ("float64", 3, 64)
    assert model.loss.name == "sparse_categorical_crossentropy"
    assert list(model.metrics) == ["accuracy"]
    assert [layer.kernel_regularizer.l2 for layer in model.layers] == [0.01] * 3


def test_a_learning_rate_is_the_optimizers_own_or_the_given_one() -> None:
    assert networks.optimizer_of(given()).learning_rate == 0.01
    assert networks.optimizer_of(given(learning_rate=0.5)).learning_rate == 0.5


def test_a_name_is_checked_without_hidden_layers() -> None:
    with pytest.raises(ValueError, match="did you mean 'tanh'"):
        networks.hidden_layers_of(given(layers=(), activation="tahn"))


def test_targets_are_scaled_for_a_regression_alone(tmp_path: Any) -> None:
    digits = datasets.load()
    assert networks.target_scaled(digits, digits.y_train) is digits.y_train
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "n.npz", X=rng.random((50, 2)), y=7 + 3 * rng.random(50))
    numbers = datasets.load(tmp_path / "n.npz", task="regression")
    y = networks.target_scaled(numbers, numbers.y_train)
    assert y.dtype == np.float32
    assert (abs(y.mean()) < 1e-6, abs(y.std() - 1) < 1e-6) == (True, True)
