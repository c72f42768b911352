"""What `compile` and `fit` refuse, and that nothing has changed then."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from tests.nets import WITH_TARGETS, classifier, fingerprint, samples

Array = np.ndarray[Any, Any]
X, y = samples()


# ---------------------------------------------------------------------------------------- compile
def loss(y_true: Array, y_pred: Array) -> float:
    return 0.0


BAD_COMPILE: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"optimizer": "sdg"}, ValueError, "optimizer: unknown name 'sdg'; did you mean 'sgd'"),
    ({"loss": "msee"}, ValueError, "loss: unknown name 'msee'; did you mean 'mse'"),
    ({"metrics": ["acuracy"]}, ValueError, "metrics: unknown name 'acuracy'; did you mean 'accura"),
    ({"metrics": ["accuracy", "mse"]}, ValueError, "metrics: 'mse' compares y with the 3 outputs"),
    ({"metrics": 3}, TypeError, "metrics: want a list of names and functions, got 3"),
    ({"metrics": [3]}, TypeError, "metrics: want one of .* as a string, got 3"),
    ({"metrics": ["acc", "acc"]}, ValueError, "metrics: the logs have 'acc' already"),
    ({"metrics": [lambda a, b: 0.0] * 2}, ValueError, "metrics: the logs have '<lambda>' already"),
    (
        {"metrics": [partial(loss), partial(loss)]},
        ValueError,
        "metrics: the logs have 'partial' already; a function's __name__ is its name there",
    ),
    ({"metrics": [loss]}, ValueError, "metrics: the logs have 'loss' already"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), BAD_COMPILE)
@pytest.mark.parametrize("compiled", [True, False])
def test_a_refused_compile_changes_nothing(
    compiled: bool, wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    model = classifier()
    if compiled:
        model.fit(X, y, verbose=0)
    else:
        model = fastdnn.Sequential([fastdnn.Dense(3, "softmax")], input_size=4)
    before = fingerprint(model)
    given = {"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", **wrong}
    with pytest.raises(error, match=f"^{message}"):
        model.compile(**given)
    assert fingerprint(model) == before


def test_compile_refuses_classes_for_one_output() -> None:
    model = fastdnn.Sequential([fastdnn.Dense(1, "sigmoid")])
    with pytest.raises(ValueError, match=r"^loss: 'sparse_categorical_crossentropy' needs an outp"):
        model.compile("sgd", "sparse_categorical_crossentropy")


@pytest.mark.parametrize(("name", "value"), [("optimizer", "sgd"), ("loss", "mse"), ("loss", None)])
def test_names_are_for_compile(name: str, value: Any) -> None:
    model = classifier()
    before = fingerprint(model)
    with pytest.raises(
        TypeError, match=f"^{name}: want an object of .*, got {value!r}; compile takes"
    ):
        setattr(model, name, value)
    assert fingerprint(model) == before
    model.optimizer = fastdnn.SGD()
    model.fit(X, y, verbose=0)


@pytest.mark.parametrize("method", WITH_TARGETS)
@pytest.mark.parametrize("input_size", [4, None])
def test_compile_comes_first(method: str, input_size: int | None) -> None:
    model = fastdnn.Sequential([fastdnn.Dense(1)], input_size=input_size)
    before = fingerprint(model)
    with pytest.raises(RuntimeError, match=r"^the model does not know its loss yet: call compile"):
        WITH_TARGETS[method](model, X, y)
    assert fingerprint(model) == before


# ----------------------------------------------------------------------------- arguments of fit
BAD_FIT: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "epochs -1": ({"epochs": -1}, ValueError, "epochs: want an integer in [0, inf), got -1"),
    "epochs 1.5": ({"epochs": 1.5}, TypeError, "epochs: want an integer in [0, inf), got 1.5"),
    "epochs True": ({"epochs": True}, TypeError, "epochs: want an integer in"),
    "batch_size 0": ({"batch_size": 0}, ValueError, "batch_size: want an integer in [1, inf), got"),
    "batch_size 1.5": ({"batch_size": 1.5}, TypeError, "batch_size: want an integer in [1, inf)"),
    "initial_epoch": ({"initial_epoch": -1}, ValueError, "initial_epoch: want an integer in [0,"),
    "shuffle": ({"shuffle": "x"}, TypeError, "shuffle: want True or False, got 'x'"),
    "split 1": ({"validation_split": 1}, ValueError, "validation_split: want a number in [0, 1)"),
    "split -0.1": ({"validation_split": -0.1}, ValueError, "validation_split: want a number in"),
    "split text": ({"validation_split": "0.1"}, TypeError, "validation_split: want a number in"),
    "split of nothing": (
        {"validation_split": 1.0},
        ValueError,
        "validation_split: want a number in [0, 1), got 1.0",
    ),
    "X as validation": (
        {"validation_data": X},
        ValueError,
        "validation_data: want a tuple (X, y) or (X, y, sample_weight), or batches of such, "
        "got ndarray",
    ),
    "one of two": ({"validation_data": (X,)}, ValueError, "validation_data: want a tuple (X, y)"),
    "validation X": (
        {"validation_data": (X[:, :2], y)},
        ValueError,
        "validation_data: X: want 4 features",
    ),
    "validation y": (
        {"validation_data": (X, y + 1)},
        ValueError,
        "validation_data: y: want classes 0 to 2",
    ),
    "validation text": (
        {"validation_data": (X, y.astype(str))},
        TypeError,
        "validation_data: y: want real numbers",
    ),
    "validation weights": (
        {"validation_data": (X, y, [1.0])},
        ValueError,
        "validation_data: sample_weight: want shape (50,), got (1,)",
    ),
    "no validation samples": (
        {"validation_data": (X[:0], y[:0])},
        ValueError,
        "validation_data: X: got no samples",
    ),
    "verbose": ({"verbose": 3}, ValueError, "verbose: want 0, 1, 2 or 'auto', got 3"),
    "one callback": (
        {"callbacks": fastdnn.EarlyStopping()},
        TypeError,
        "callbacks: want a list of callbacks, got <",
    ),
    "a number": ({"callbacks": 3}, TypeError, "callbacks: want a list of callbacks, got 3"),
    "a class": (
        {"callbacks": [fastdnn.EarlyStopping]},
        TypeError,
        "callbacks: want Callback objects, got <class 'fastdnn.callbacks.EarlyStopping'>",
    ),
    "a function": ({"callbacks": [print]}, TypeError, "callbacks: want Callback objects, got <bui"),
}
# Callbacks that would fail after the first epoch only.
BAD_CALLBACKS: dict[str, tuple[fastdnn.Callback, str]] = {
    "no validation data": (
        fastdnn.EarlyStopping(),
        "EarlyStopping.monitor: want a name in the logs, got 'val_loss' without validation data;",
    ),
    "no validation data to reduce": (
        fastdnn.ReduceLROnPlateau("val_accuracy"),
        "ReduceLROnPlateau.monitor: want a name in the logs, got 'val_accuracy' without valid",
    ),
    "no metric": (
        fastdnn.ReduceLROnPlateau(monitor="los"),
        "ReduceLROnPlateau.monitor: unknown name 'los'; did you mean 'loss'? Known: accuracy, lear",
    ),
    "no validation data to choose by": (
        fastdnn.ModelCheckpoint("x", save_best_only=True),
        "ModelCheckpoint.monitor: want a name in the logs, got 'val_loss' without validation data;",
    ),
    "no validation data to name": (
        fastdnn.ModelCheckpoint("x{val_loss}.st"),
        "ModelCheckpoint.path: want a name in the logs, got 'val_loss' without validation data;",
    ),
    "no name": (fastdnn.ModelCheckpoint("x{}.st"), "ModelCheckpoint.path: unknown name ''; Known:"),
    "no format": (
        fastdnn.ModelCheckpoint("x{epoch:.q}.st"),
        "ModelCheckpoint.path: want a format as of str.format, got 'x{epoch:.q}.st' (",
    ),
    "a whole number of a loss": (
        fastdnn.ModelCheckpoint("x{loss:d}.st"),
        "ModelCheckpoint.path: want a format as of str.format, got 'x{loss:d}.st' (",
    ),
    "a folder": (
        fastdnn.ModelCheckpoint("/tmp"),
        "ModelCheckpoint.path: /tmp is a folder; name a file",
    ),
    "a folder that cannot be made": (
        fastdnn.ModelCheckpoint("/proc/a/x{epoch}.st"),
        "ModelCheckpoint.path: the folder /proc cannot be written; choose another",
    ),
    "a file as a folder": (
        fastdnn.ModelCheckpoint(Path(__file__) / "x.st"),
        f"ModelCheckpoint.path: the folder {__file__} cannot be written; choose another",
    ),
}
BAD_FIT |= {
    what: ({"callbacks": [callback]}, ValueError, message)
    for what, (callback, message) in BAD_CALLBACKS.items()
}


@pytest.mark.parametrize("input_size", [4, None])
@pytest.mark.parametrize("what", BAD_FIT)
def test_a_refused_fit_changes_nothing(what: str, input_size: int | None) -> None:
    wrong, error, message = BAD_FIT[what]
    model = classifier(input_size=input_size)
    before = fingerprint(model)
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        model.fit(X, y, **{"verbose": 0, **wrong})
    assert fingerprint(model) == before
