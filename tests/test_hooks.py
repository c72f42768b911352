"""Which hooks are called, when, and with which arguments; what is refused."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastdnn import Callback, loop, training
from fastdnn.hooks import HOOKS, Hooks, check_callbacks, positional
from tests.nets import classifier, samples

X, y = samples()
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}  # 4 steps an epoch


def recorder(seen: list[tuple[Any, ...]], *names: str) -> Callback:
    """A callback that notes every call of these hooks, with all arguments that there are."""

    def note(name: str) -> Callable[..., None]:
        return lambda self, *arguments: seen.append((name, *arguments))

    return type("Recorder", (Callback,), {name: note(name) for name in names})()


def test_every_hook_is_called_in_its_turn() -> None:
    seen: list[tuple[Any, ...]] = []
    callback = recorder(seen, *(name for name in HOOKS if name != "on_batches_end"))
    model = classifier()
    model.fit(X, y, epochs=2, validation_data=(X, y), callbacks=[callback], **FIT)
    step = ["on_train_batch_begin", "on_train_batch_end"]
    steps = [*[*step, "on_safe_point"] * 3, *step]  # after the last, the epoch's end is one
    test = ["on_test_begin", "on_test_end"]
    epoch = ["on_epoch_begin", *steps, *test, "on_epoch_end", "on_safe_point"]
    assert [call[0] for call in seen] == ["on_train_begin", *epoch * 2, "on_train_end"]
    calls = {name: [call[1:] for call in seen if call[0] == name] for name in HOOKS}
    assert calls["on_train_begin"] == [({},)]
    assert calls["on_epoch_begin"] == [(0, {}), (1, {})]
    assert [number for number, _ in calls["on_train_batch_begin"]] == [0, 1, 2, 3] * 2
    assert [number for number, _ in calls["on_train_batch_end"]] == [0, 1, 2, 3] * 2
    assert [call[:2] for call in calls["on_safe_point"]] == [
        *((0, step) for step in (1, 2, 3)),
        *((1, step) for step in (4, 5, 6, 7)),
        (2, 8),
    ]
    assert calls["on_test_begin"] == [({},), ({},)]
    assert [number for number, _ in calls["on_epoch_end"]] == [0, 1]
    ends = [logs for _, logs in calls["on_epoch_end"]]
    assert [logs["loss"] for logs in ends] == model.history.history["loss"]
    assert calls["on_train_end"] == [(ends[-1],)]
    for (logs,), whole in zip(calls["on_test_end"], ends, strict=True):
        assert logs == {name: whole[f"val_{name}"] for name in ("loss", "accuracy")}
    assert callback.params == {"epochs": 2, "steps": 4}
    assert callback.model is model


@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_train_batch_end"])
def test_a_hook_of_each_step_changes_no_bit(hook: str) -> None:
    seen: list[tuple[Any, ...]] = []
    plain, watched = classifier(dropout=0.2), classifier(dropout=0.2)
    plain.fit(X, y, epochs=2, **FIT)
    watched.fit(X, y, epochs=2, callbacks=[recorder(seen, hook)], **FIT)
    assert len(seen) == 8
    assert np.array_equal(plain.parameters, watched.parameters)
    assert plain.history.history["accuracy"] == watched.history.history["accuracy"]


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_parameters_and_metrics_are_those_after_each_step(
    shuffle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, by_hand = [], classifier(dtype="float64")
    order = np.random.default_rng(4).permutation(50) if shuffle else np.arange(50)
    monkeypatch.setattr(loop.State, "orders", lambda *_: order)
    # outputs that no step has written are not what an earlier training left there
    bad = {**vars(np), "empty": lambda shape, dtype: np.full(shape, np.nan, dtype)}
    monkeypatch.setattr(training, "np", SimpleNamespace(**bad))

    class Keep(Callback):
        def on_train_batch_end(self, batch: int, logs: Any) -> None:
            found.append((self.model.parameters.copy(), dict(logs)))  # type: ignore[attr-defined]

    classifier(dtype="float64").fit(X, y, shuffle=shuffle, callbacks=[Keep()], **FIT)
    losses: list[float] = []
    for (parameters, logs), start in zip(found, range(0, 50, 16), strict=True):
        part = order[start : start + 16]
        one = by_hand.train_on_batch(X[part], y[part])
        losses += [one["loss"]] * len(X[part])
        np.testing.assert_allclose(parameters, by_hand.parameters, rtol=1e-13)
        assert logs == {"loss": pytest.approx(np.mean(losses)), "accuracy": one["accuracy"]}


def test_callbacks_written_for_keras_run() -> None:
    calls = []

    class OfKeras(Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            calls.append(("train", self.params["epochs"], logs))

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            calls.append(("begin", epoch, logs))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            calls.append(("end", epoch, sorted(logs)))

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            calls.append(("batch", batch, logs))

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            calls.append(("batch end", batch, sorted(logs)))

        def on_train_end(self, logs: Any = None) -> None:
            calls.append(("train end", sorted(logs)))

        def on_predict_begin(self, logs: Any = None) -> None:
            raise AssertionError

    classifier().fit(X, y, 50, callbacks=[OfKeras()], verbose=0)
    of_epoch, of_step = ["accuracy", "learning_rate", "loss"], ["accuracy", "loss"]
    assert calls == [
        ("train", 1, {}),
        ("begin", 0, {}),
        ("batch", 0, {}),
        ("batch end", 0, of_step),
        ("end", 0, of_epoch),
        ("train end", of_epoch),
    ]


def test_a_hook_may_take_fewer_arguments() -> None:
    calls: list[Any] = []

    class Few(Callback):
        def on_train_begin(self) -> None:
            calls.append("begin")

        def on_epoch_end(self, epoch: int) -> None:  # type: ignore[override]
            calls.append(epoch)

        def on_train_end(self, *anything: Any) -> None:
            calls.append(len(anything))

    classifier().fit(X, y, epochs=2, callbacks=[Few()], **FIT)
    assert calls == ["begin", 0, 1, 1]


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda: 0, 0),
        (lambda a, /, b, c=3, *, d=4: 0, 3),
        (lambda a, *b: 0, None),
        (lambda **b: 0, 0),
        (Callback().on_epoch_end, 2),
        (dict.fromkeys, 2),
        (max, None),  # a built-in function without a signature
    ],
)
def test_positional(function: Callable[..., Any], count: int | None) -> None:
    assert positional(function) == count


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("on_epoch_ends", "on_epoch_end"),
        ("on_batch_end", "on_train_batch_end"),
        ("on_batch_begin", "on_train_batch_begin"),
        ("on_test_batch_end", "on_test_end|on_train_batch_end"),
        ("on_trainbegin", "on_train_begin"),
    ],
)
def test_a_misspelt_hook_is_told(wrong: str, near: str) -> None:
    callback = type("Mine", (Callback,), {wrong: lambda self: None})()
    wanted = (
        rf"^callbacks: Mine.{wrong} is no hook that fit calls; did you mean '({near})'\? Known:"
    )
    model = classifier()
    before = model.parameters.copy()
    with pytest.raises(TypeError, match=wanted):
        model.fit(X, y, callbacks=[callback], verbose=0)
    assert np.array_equal(model.parameters, before)


def test_other_attributes_are_no_hooks() -> None:
    class Mine(Callback):
        on_disk = True

        def onwards(self) -> None:
            raise AssertionError

    assert len(check_callbacks([Mine()], [])) == 1


def test_hooks_are_kerass_and_three_of_fastdnn() -> None:
    keras = {
        *(f"on_{what}_{end}" for what in ("train", "epoch", "test") for end in ("begin", "end")),
        "on_train_batch_begin",
        "on_train_batch_end",
    }
    assert set(HOOKS) - keras == {
        "on_batches_end",
        "on_divergence",
        "on_interrupt",
        "on_safe_point",
    }
    assert keras <= set(HOOKS)
    for name in HOOKS:
        assert inspect.getdoc(getattr(Callback, name))


def test_hooks_call_only_who_acts() -> None:
    seen: list[tuple[Any, ...]] = []
    hooks = Hooks([Callback(), recorder(seen, "on_epoch_begin")])
    assert [name for name in HOOKS if hooks.acts(name)] == ["on_epoch_begin"]
    hooks("on_epoch_begin", 3, {})
    hooks("on_epoch_end", 3, {})
    assert seen == [("on_epoch_begin", 3, {})]


def test_a_callback_does_nothing_by_itself() -> None:
    callback = Callback()
    callback.set_model(model := object())  # type: ignore[arg-type]
    callback.set_params({"epochs": 2})
    assert (callback.model, callback.params) == (model, {"epochs": 2})
    callback.check_logs(["loss"])
    for name in HOOKS:
        hook = getattr(callback, name)
        hook(*range(positional(hook) or 0))


def test_the_last_logs_are_told_after_an_error_too() -> None:
    ended: list[Any] = []

    class Fail(Callback):
        def on_epoch_begin(self, epoch: int) -> None:
            if epoch == 1:
                raise ZeroDivisionError

        def on_train_end(self, logs: Any) -> None:  # type: ignore[override]
            ended.append(logs)

    model = classifier()
    with pytest.raises(ZeroDivisionError):
        model.fit(X, y, epochs=3, callbacks=[Fail()], **FIT)
    assert ended[0]["loss"] == model.history.history["loss"][0]
