"""Wrong parameters are refused before any work, by name."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.activations import ACTIVATIONS
from fastdnn.estimators import _base, _fitting
from fastdnn.estimators._parameters import hidden_activations, hidden_units
from tests.estimators.common import KINDS, small

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SGD = fastdnn.SGD(0.1)
SCHEDULE = fastdnn.CosineDecay(0.1, 10)
# What each parameter must not be, and what the message says beside the parameter's name.
WRONG: dict[str, list[Any]] = {
    "alpha": [-1.0, np.nan, np.inf, "1", None, True],
    "power_t": [-0.1, None],
    "tol": [-1e-9, "x"],
    "momentum": [-0.1, 1.1, None],
    "validation_fraction": [-0.1, 1.0, "x"],
    "beta_1": [-0.1, 1.0, None],
    "beta_2": [-0.1, 1.0, None],
    "epsilon": [0.0, None],
    "learning_rate_init": [0.0, -1.0, np.inf, None],
    "dropout": [-0.1, 1.0, None],
    "normalization": ["btach", "", 3, True, fastdnn.BatchNormalization],
    "max_iter": [0, 1.5, None],
    "max_fun": [0, 1.5, None],
    "shuffle": [1, None, "yes"],
    "warm_start": [0, None],
    "nesterovs_momentum": [1, None],
    "early_stopping": [1, None],
    "batch_size": [0, 1.5, "all", None],
    "n_iter_no_change": [0, 2.5, None],
    "clipnorm": [0.0, -1.0, "x"],
    "global_clipnorm": [0.0, -1.0, "x"],
    "n_threads": [0, 1.5, "two"],
    "restore_best_weights": [1, "yes"],
    "solver": ["adm", 3, None, fastdnn.SGD],
    "learning_rate": ["const", 0.1, None],
    "hidden_layer_sizes": [0, (5, -1), (2.5,), "ab", None],
    "activation": ["logitic", 3, ["relu", "tanh"], [3], None],
    "verbose": ["foo", -1, None],
    "dtype": ["float16", "foo", int, 3],
    "random_state": ["x", -1, 1.5],
    "scoring": ["accuracyy", 3, "accuracy"],
    "callbacks": [[3], 3, fastdnn.EarlyStopping("loss")],
    "loss": ["log_los", 3, None],
}
# Settings that would be ignored together.
TOGETHER: list[tuple[dict[str, Any], str]] = [
    ({"solver": "lbfgs", "dropout": 0.5}, "dropout"),
    ({"solver": "lbfgs", "normalization": "batch"}, "normalization"),
    ({"solver": "lbfgs", "clipnorm": 1.0}, "clipnorm"),
    ({"solver": "lbfgs", "global_clipnorm": 1.0}, "global_clipnorm"),
    ({"solver": "lbfgs", "callbacks": [fastdnn.EarlyStopping("loss")]}, "callbacks"),
    ({"solver": "lbfgs", "scoring": "r2"}, "scoring"),
    ({"solver": "lbfgs", "restore_best_weights": True}, "restore_best_weights"),
    ({"solver": "lbfgs", "verbose": "bar"}, "verbose"),
    ({"solver": "lbfgs", "learning_rate": SCHEDULE}, "learning_rate"),
    ({"solver": SGD, "learning_rate": SCHEDULE}, "learning_rate"),
    ({"solver": SGD, "learning_rate": "adaptive"}, "learning_rate"),
    ({"solver": "adamw", "learning_rate": "invscaling"}, "learning_rate"),
    ({"solver": "rmsprop", "learning_rate": "adaptive"}, "learning_rate"),
    ({"solver": SGD, "clipnorm": 1.0}, "clipnorm"),
    ({"solver": SGD, "global_clipnorm": 1.0}, "global_clipnorm"),
    ({"clipnorm": 1.0, "global_clipnorm": 1.0}, "clipnorm"),
    ({"early_stopping": True, "validation_fraction": 0.0}, "validation_fraction"),
    ({"callbacks": [fastdnn.EarlyStopping("val_loss")]}, "monitor"),
]


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be trained."""

    def fail(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(_base.BaseMLP, "_build", fail)
    monkeypatch.setattr(_fitting.EpochTrainer, "run", fail)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_wrong_parameter_is_named(kind: str) -> None:
    X, y = small()
    make = KINDS[kind][0]
    mine = make().get_params()
    assert set(WRONG) | {"class_weight"} >= set(mine)
    for name, values in WRONG.items():
        for value in values:
            with pytest.raises((TypeError, ValueError), match=name) as error:
                make(**{name: value}).fit(X, y)
            said = str(error.value)
            assert re.search(rf"\b{name}\b", said), said
    for settings, name in TOGETHER:
        with pytest.raises(ValueError, match=name):
            make(**settings).fit(X, y)


@pytest.mark.usefixtures("no_work")
def test_wrong_class_weights() -> None:
    X, y = small()
    for value in ("balance", {0: -1.0, 1: 1.0}, {0: "x", 1: 1.0}, {7: 2.0}, 3):
        with pytest.raises((TypeError, ValueError), match="class_weight"):
            fastdnn.MLPClassifier(class_weight=value).fit(X, y)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_a_call_would_ignore(kind: str) -> None:
    X, y = small()
    make = KINDS[kind][0]
    with pytest.raises(ValueError, match="validation_data: solver='lbfgs' takes none"):
        make(solver="lbfgs").fit(X, y, validation_data=(X, y))
    for settings in ({"early_stopping": True}, {"restore_best_weights": True}):
        (name,) = settings
        with pytest.raises(ValueError, match=f"partial_fit does not support {name}=True"):
            make(**settings).partial_fit(X, y, *([None, [0, 1]] if "Class" in kind else []))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_must_not_change_within_a_training(kind: str) -> None:
    X, y = small()
    one = KINDS[kind][0](hidden_layer_sizes=(5,), max_iter=2, warm_start=True).fit(X, y)
    for settings, message in (
        ({"hidden_layer_sizes": 6}, r"hidden_layer_sizes: want \[5\] .* got \[6\]"),
        ({"hidden_layer_sizes": (5, 2)}, "hidden_layer_sizes: want"),
        ({"dtype": "float32"}, "dtype: want 'float64' as in the fit before, got 'float32'"),
    ):
        before = one.get_params()
        for method in (one.fit, one.partial_fit):
            with pytest.raises(ValueError, match=message):
                one.set_params(**settings) and method(X, y)
        one.set_params(**before)
    one.fit(X, y)


def test_what_is_right_is_taken() -> None:
    X, y = small()
    for settings in (
        {"n_iter_no_change": np.inf}, {"tol": 0}, {"hidden_layer_sizes": np.array([3, 2])},
        {"hidden_layer_sizes": ()}, {"batch_size": np.int64(7)}, {"dtype": np.float32},
        {"random_state": np.random.RandomState(0)}, {"callbacks": ()}, {"verbose": np.False_},
        {"solver": "lbfgs", "early_stopping": True},  # scikit-learn has no use of it either
        {"solver": "adam", "learning_rate": "adaptive"},
    ):  # fmt: skip
        one = fastdnn.MLPClassifier(**{"hidden_layer_sizes": (3,), "max_iter": 2, **settings})
        assert one.fit(X, y).predict(X).shape == y.shape


def test_every_activation_by_layer() -> None:
    X, y = small()
    for name in ACTIVATIONS:
        one = fastdnn.MLPClassifier(
            (4, 3), activation=["logistic", name], max_iter=2, random_state=0
        ).fit(X, y)
        layers = one.model_.layers
        assert [layer.activation for layer in layers] == [*hidden_activations(one), "sigmoid"]
        assert layers[0].activation == "sigmoid"
        np.testing.assert_array_equal(one.predict_proba(X)[:, 1], one.model_.predict(X)[:, 0])
    assert hidden_units(fastdnn.MLPClassifier(7)) == [7]
    assert hidden_activations(fastdnn.MLPClassifier((2, 3), "logistic")) == ["sigmoid"] * 2
