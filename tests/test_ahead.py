"""Several epochs in one native call: nothing changes but the time that they take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.engine.engine import Engine
from tests.nets import WAYS, classifier, fingerprint, regressor, samples

X, y = samples()
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}
WEIGHTS = np.random.default_rng(1).uniform(0.5, 2.0, 50)


class Looks(fastdnn.Callback):
    """Has each epoch come back to Python."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Look at nothing."""


def calls_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many steps each native call of a training has."""
    found: list[int] = []
    train = Engine.train

    def noted(engine: Engine, *given: Any, **options: Any) -> Any:
        outcome = train(engine, *given, **options)
        found.append(outcome.done)
        return outcome

    monkeypatch.setattr(Engine, "train", noted)
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("m", [64, 50])
def test_epochs_ahead_change_nothing(
    way: str, shuffle: bool, m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, batch = WAYS[way]
    rate = fastdnn.CosineDecay(0.01, 100)
    inputs, classes = samples(m)
    options: dict[str, Any] = {"epochs": 7, "batch_size": batch, "shuffle": shuffle, "verbose": 0}
    found = []
    for callbacks in ([], [Looks()]):
        model = make(fastdnn.Adam(rate), **({} if way == "one unit" else {"metrics": ()}))
        targets = classes[:, None].astype(float) if way == "one unit" else classes
        steps = calls_of(monkeypatch)
        for _ in range(2):  # the second one goes on with the orders
            history = model.fit(inputs, targets, callbacks=callbacks, **options)
        found.append((fingerprint(model)[1:4], history.history, history.epoch))
        assert (max(steps) > -(-m // batch)) is not bool(callbacks)
        monkeypatch.undo()
    assert found[0] == found[1]


@pytest.mark.parametrize("normalization", [[], [fastdnn.BatchNormalization]])
def test_epochs_ahead_of_one_batch_each(normalization: list[Any]) -> None:
    """Blocked: the batch of the epoch before is no longer where it was."""
    found = []
    for callbacks in ([], [Looks()]):
        layers = [fastdnn.Dense(300, "relu"), *(one() for one in normalization), fastdnn.Dense(3)]
        model = fastdnn.Sequential(layers, input_size=4, seed=0)
        model.compile("adam", fastdnn.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(X, y, batch_size=50, epochs=6, callbacks=callbacks, verbose=0)
        found.append(fingerprint(model)[1:4])
    assert found[0] == found[1]


def test_epochs_ahead_train_on_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for callbacks in ([], [Looks()]):
        model = classifier(metrics=())
        model.fit(X, y, epochs=4, sample_weight=WEIGHTS, callbacks=callbacks, **FIT)
        found.append(fingerprint(model)[1:4])
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize(
    "loss", ["mse", fastdnn.ArrayLoss(lambda y, A: (((A - y) ** 2)[:, 0], 2 * (A - y)))]
)
def test_a_divergence_among_epochs_ahead_is_told_as_ever(loss: Any) -> None:
    found = []
    for callbacks in ([], [Looks()]):
        model = regressor(fastdnn.SGD(0.6), loss)
        with pytest.raises(fastdnn.DivergenceError) as error:
            model.fit(X, y[:, None], epochs=10_000, callbacks=callbacks, **FIT)
        assert error.value.epoch > 0
        found.append((str(error.value), error.value.last_loss, model.history.history))
        found[-1] += fingerprint(model)[1:4]
    assert found[0] == found[1]


def test_epochs_are_not_ahead_of_what_looks_at_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = [
        {"callbacks": [fastdnn.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))]},
        {"validation_data": (X, y)},
        {"callbacks": [fastdnn.EarlyStopping("loss", patience=2)]},
        {"steps_per_epoch": 2},
    ]
    for options in given:
        steps = calls_of(monkeypatch)
        classifier(metrics=()).fit(X, y, epochs=5, **options, **FIT)
        assert len(steps) >= 5, options
        monkeypatch.undo()


def test_a_callback_says_how_far_epochs_may_be_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    class Three(Looks):
        def epochs_ahead(self) -> int:
            return 3

    steps = calls_of(monkeypatch)
    classifier(metrics=()).fit(X, y, epochs=8, callbacks=[Three()], **FIT)
    assert steps == [12, 12, 8]
