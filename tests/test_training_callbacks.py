"""When callbacks are called, what they see, and what they do to a real model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import evaluation, loop, training
from fastdnn.kernels.engine.engine import Engine
from tests.nets import Spy, classifier, samples

X, y = samples()
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}  # 4 steps an epoch


def test_callbacks_follow_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)  # a native call for every step
    spy, model = Spy(), classifier(dtype="float64")
    history = model.fit(X, y, shuffle=False, callbacks=[spy], **FIT).history
    assert spy.model is model
    names = [call[0] for call in spy.calls]
    steps = ["batches_end"] * 4
    assert names == ["train_begin", "epoch_begin", *steps, "epoch_end", "train_end"]
    batches = [call[1:] for call in spy.calls if call[0] == "batches_end"]
    assert [batch[:2] for batch in batches] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    steps_by_hand, losses = classifier(dtype="float64"), []
    for start in range(0, 50, 16):
        part = slice(start, start + 16)
        logs = steps_by_hand.train_on_batch(X[part], y[part])
        losses += [logs["loss"]] * len(X[part])
        # the loss of the epoch so far, and the metrics of what came since the last call
        expected = {"loss": pytest.approx(np.mean(losses)), "accuracy": logs["accuracy"]}
        assert batches[start // 16][2] == expected
    assert history["loss"] == pytest.approx([np.mean(losses)])


@pytest.mark.parametrize("shuffle", [False, True])
def test_running_metrics_are_of_the_samples_just_trained_on(
    monkeypatch: pytest.MonkeyPatch, shuffle: bool
) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)

    def samples_seen(y_true: Any, y_pred: Any) -> float:
        return float(len(y_true))

    spy, model = Spy(), classifier(dtype="float64")
    model.compile(model.optimizer, model.loss, ["accuracy", samples_seen])
    history = model.fit(X, y, shuffle=shuffle, callbacks=[spy], **FIT).history
    logs = [call[3] for call in spy.calls if call[0] == "batches_end"]
    # a function of the user's own may need all samples, so it waits for the epoch's end
    assert all(set(one) == {"loss", "accuracy"} for one in logs)
    assert history["samples_seen"] == [len(X)]
    sizes = [16, 16, 16, 2]
    mean = np.average([one["accuracy"] for one in logs], weights=sizes)
    assert history["accuracy"] == pytest.approx([mean])


@pytest.mark.parametrize("watches", [False, True])
def test_running_metrics_are_computed_only_where_a_callback_sees_them(
    monkeypatch: pytest.MonkeyPatch, watches: bool
) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)
    measured, seen = [], []
    measure = evaluation.measure
    for module in (evaluation, loop):
        monkeypatch.setattr(
            module, "measure", lambda *given: measured.append(given) or measure(*given)
        )
    callback = fastdnn.Callback()  # it has what the class has, or a function of its own
    if watches:
        monkeypatch.setattr(callback, "on_batches_end", lambda *given: seen.append(given))
    classifier().fit(X, y, callbacks=[callback], **FIT)
    assert len(seen) == 4 * watches
    assert len(measured) == 4 * watches + 1


def test_callbacks_see_the_metrics_and_the_validation() -> None:
    seen: list[dict[str, float]] = []

    class Logs(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            seen.append(logs)

    model = classifier()
    model.fit(X, y, validation_data=(X, y), callbacks=[Logs()], **FIT)
    result = model.evaluate(X, y)
    assert seen[0]["val_loss"] == result["loss"]
    assert seen[0]["val_accuracy"] == result["accuracy"]
    assert set(seen[0]) == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}


def test_stop_training_ends_after_the_epoch_and_is_forgotten() -> None:
    def stop(model: Any) -> None:
        model.stop_training = True

    model = classifier()
    spy = Spy(batches_end=stop)
    assert model.fit(X, y, epochs=9, callbacks=[spy], **FIT).epoch == [0]
    assert model.stop_training
    assert model.fit(X, y, epochs=2, **FIT).epoch == [0, 1]


@pytest.mark.parametrize("where", ["train_begin", "epoch_begin", "epoch_end"])
def test_an_error_in_a_callback_comes_through_and_ends_the_training(where: str) -> None:
    def fail(model: Any) -> None:
        raise ZeroDivisionError

    model, spy, other = classifier(), Spy(**{where: fail}), Spy()
    with pytest.raises(ZeroDivisionError):
        model.fit(X, y, epochs=2, callbacks=[spy, other], **FIT)
    assert spy.calls[-1] == other.calls[-1] == ("train_end",)
    model.fit(X, y, **FIT)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_every_callback_ends(error: type[BaseException]) -> None:
    def fail(kind: type[BaseException]) -> Any:
        def raise_it(model: Any) -> None:
            raise kind

        return raise_it

    model, kept = classifier(fastdnn.SGD(100.0)), []
    stop = fastdnn.EarlyStopping("loss", patience=9, restore_best_weights=True)
    keep = Spy(epoch_end=lambda model: kept.append(model.parameters.copy()))
    first, last = Spy(train_end=fail(error)), Spy(train_end=fail(OSError))
    with pytest.raises(error):
        model.fit(X, y, epochs=5, callbacks=[first, keep, stop, last], **FIT)
    assert last.calls[-1] == ("train_end",)
    assert stop.best_epoch is not None
    assert stop.best_epoch < 4  # or the best is only the last
    assert np.array_equal(model.parameters, kept[stop.best_epoch])


def test_model_checkpoint_keeps_the_best_epoch(tmp_path: Path) -> None:
    model, path = classifier(fastdnn.Adam(0.3)), tmp_path / "best.safetensors"
    best = fastdnn.ModelCheckpoint(path, save_best_only=True)
    every = fastdnn.ModelCheckpoint(tmp_path / "all" / "{epoch}-{val_accuracy:.2f}")
    other = samples(40, seed=9)
    history = model.fit(
        X, y, epochs=8, validation_data=other, callbacks=[best, every], **FIT
    ).history
    losses = history["val_loss"]
    assert losses.index(min(losses)) < 7  # or the best is only the last
    assert fastdnn.load(path).evaluate(*other)["loss"] == min(losses)
    assert len(list((tmp_path / "all").iterdir())) == 8
    last = fastdnn.load(tmp_path / "all" / f"8-{history['val_accuracy'][-1]:.2f}")
    assert np.array_equal(last.parameters, model.parameters)


def test_early_stopping_restores_after_ctrl_c() -> None:
    def interrupt(model: Any) -> None:
        if model.history.epoch == [0, 1, 2]:
            raise KeyboardInterrupt

    model = classifier(fastdnn.SGD(100.0))
    stop = fastdnn.EarlyStopping("loss", patience=9, restore_best_weights=True)
    kept = []
    spy = Spy(epoch_end=lambda model: kept.append(model.parameters.copy()), epoch_begin=interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, epochs=9, callbacks=[stop, spy], **FIT)
    assert stop.best_epoch is not None
    assert np.array_equal(model.parameters, kept[stop.best_epoch])


def test_a_slow_callback_does_not_shorten_the_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a step would come to take as long as the callback does."""
    now = [0.0]
    monkeypatch.setattr(training, "perf_counter", lambda: now[0])
    monkeypatch.setattr(loop, "SLICE_SECONDS", 10.0)
    train = Engine.train

    def timed(*arguments: Any, **options: Any) -> Any:
        outcome = train(*arguments, **options)
        now[0] += outcome.done
        return outcome

    def sleep(model: Any) -> None:
        now[0] += 1000.0

    monkeypatch.setattr(Engine, "train", timed)
    model, spy = classifier(), Spy(batches_end=sleep)
    model._state.seconds_per_step[1] = 10.0
    model.fit(X, y, batch_size=1, callbacks=[spy], verbose=0)
    ends = [call[1] for call in spy.calls if call[0] == "batches_end"]
    assert np.diff([0, *ends])[:4].tolist() == [1, 10, 10, 10]
