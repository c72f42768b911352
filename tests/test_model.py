"""`Sequential` as its user meets it: compile, fit, evaluate, and what each keeps and returns."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

import fastdnn
from tests.nets import classifier, samples

Array = np.ndarray[Any, Any]
X, y = samples()
FIT: dict[str, Any] = {"epochs": 3, "batch_size": 16, "verbose": 0}


# -------------------------------------------------------------------------------------------- fit
def test_validation_data_go_before_the_split() -> None:
    both, data = classifier(), classifier()
    other = samples(20, seed=1)
    history = both.fit(X, y, validation_data=other, validation_split=0.5, **FIT)
    assert history.history == data.fit(X, y, validation_data=list(other), **FIT).history
    assert np.array_equal(both.parameters, data.parameters)


def test_validation_data_may_have_weights() -> None:
    model, weights = classifier(), np.arange(50.0)
    history = model.fit(X, y, validation_data=(X, y, weights), **FIT).history
    expected = model.evaluate(X, y, sample_weight=weights)
    assert history["val_loss"][-1] == expected["loss"] != model.evaluate(X, y)["loss"]
    plain = classifier().fit(X, y, validation_data=(X, y, None), **FIT).history
    assert plain == classifier().fit(X, y, validation_data=(X, y), **FIT).history


def test_sample_weights_are_split_and_class_weights_are_for_training() -> None:
    weights, of_class = 1.0 + np.arange(50) % 2, {0: 3.0, 1: 0.5}
    split, given = classifier(), classifier()
    options = {**FIT, "class_weight": of_class}
    found = split.fit(X, y, sample_weight=weights, validation_split=0.4, **options)
    expected = given.fit(
        X[:30], y[:30], sample_weight=weights[:30],
        validation_data=(X[30:], y[30:], weights[30:]), **options,
    )  # fmt: skip
    assert found.history == expected.history
    assert np.array_equal(split.parameters, given.parameters)


def test_no_epochs_train_nothing() -> None:
    model = classifier()
    before = model.parameters.copy()
    for options in ({"epochs": 0}, {"epochs": 3, "initial_epoch": 3}):
        history = model.fit(X, y, validation_data=(X, y), verbose=0, **options)
        assert (history.epoch, history.history) == ([], {})
    assert np.array_equal(model.parameters, before)
    assert (model._state.steps, model._state.epochs) == (0, 0)


def test_a_batch_may_be_larger_than_the_data() -> None:
    one, more = classifier(), classifier()
    assert one.fit(X, y, batch_size=50, verbose=0).history == (
        more.fit(X, y, batch_size=10**9, verbose=0).history
    )
    assert more.history.params == {"epochs": 1, "steps": 1}


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", fastdnn.SGD(momentum=0.9)], ids=str)
def test_fit_again_goes_on(optimizer: Any) -> None:
    parts, whole = (classifier(optimizer, dropout=0.2) for _ in range(2))
    histories = [
        parts.fit(X, y, epochs=2, batch_size=16, verbose=0).history,
        parts.fit(X, y, epochs=5, initial_epoch=2, batch_size=16, verbose=0).history,
    ]
    history = whole.fit(X, y, epochs=5, batch_size=16, verbose=0)
    assert np.array_equal(parts.parameters, whole.parameters)
    assert history.history == {
        name: histories[0][name] + histories[1][name] for name in histories[0]
    }
    assert parts.history.epoch == [2, 3, 4]


def test_history() -> None:
    model = classifier(metrics=["accuracy", metrics.log_loss])
    history = model.fit(X, y, validation_split=0.2, **FIT)
    assert history is model.history
    assert history.params == {"epochs": 3, "steps": 3}  # 40 samples by 16
    assert history.epoch == [0, 1, 2]
    own = ["loss", "accuracy", "log_loss"]
    assert list(history.history) == [*own, *(f"val_{name}" for name in own), "learning_rate"]
    for values in history.history.values():
        assert len(values) == 3
        assert all(type(value) is float for value in values)
    assert history.history["learning_rate"] == [0.001] * 3
    assert model.fit(X, y, verbose=0) is model.history is not history


def test_the_metrics_of_an_epoch_are_those_of_its_steps() -> None:
    """Each sample counts with the output that its step computed."""
    model, steps = classifier("sgd"), classifier("sgd")
    history = model.fit(X, y, batch_size=20, shuffle=False, verbose=0).history
    right = 0.0
    for start in (0, 20, 40):
        part = slice(start, start + 20)
        right += np.sum(steps.predict(X[part]).argmax(axis=1) == y[part])
        steps.train_on_batch(X[part], y[part])
    assert history["accuracy"] == [right / 50]


# --------------------------------------------------------------------------------------- progress
@pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (False, 0), (2, 3), ("auto", 3)])
def test_progress_goes_to_stderr(
    verbose: Any, lines: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where stderr is no terminal, "auto" is 2."""
    model = classifier()
    model.fit(X, y, validation_split=0.2, **{**FIT, "verbose": verbose})
    out, err = capfd.readouterr()
    assert out == ""
    number = r"-?\d\.\d+(e-\d+)?"
    pattern = (
        rf"epoch (\d)/3  loss {number}  accuracy {number}  val_loss {number}  "
        rf"val_accuracy {number}  learning_rate {number}  \d+ samples/s"
    )
    found = [re.fullmatch(pattern, line) for line in err.splitlines()]
    assert [match[1] for match in found if match] == [str(n + 1) for n in range(lines)]
    assert len(found) == lines


def test_a_bar_shows_the_same_lines(capfd: pytest.CaptureFixture[str]) -> None:
    classifier().fit(X, y, **{**FIT, "verbose": 1})
    err = capfd.readouterr().err
    assert [f"epoch {n}/3  loss " in err for n in (1, 2, 3)] == [True] * 3
