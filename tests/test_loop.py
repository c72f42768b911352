"""The training loop: learning rates, interruption and divergence, on real models."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import DivergenceError, loop
from fastdnn.kernels.engine.engine import Engine
from fastdnn.loop import State
from fastdnn.optimizers import OPTIMIZERS
from tests.nets import Spy, classifier, regressor, samples

Array = np.ndarray[Any, Any]
X, y = samples()
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}  # 4 steps an epoch


@pytest.fixture
def a_call_for_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)


# ------------------------------------------------------------------------------------- schedules
@dataclass(frozen=True)
class Harmonic(fastdnn.Schedule):
    """A schedule of a user's own."""

    initial: float

    def __call__(self, steps: Any) -> Any:
        return self.initial / (1 + steps)


SCHEDULES = [
    fastdnn.StepDecay(0.1, 0.5, 3),
    fastdnn.ExponentialDecay(0.1, 5, 0.5),
    fastdnn.CosineDecay(0.1, 6, alpha=0.1, warmup_steps=3),
    Harmonic(0.2),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: type(schedule).__name__)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_step_has_its_learning_rate(name: str, schedule: Any) -> None:
    scheduled = classifier(OPTIMIZERS[name](learning_rate=schedule), dtype="float64")
    by_hand = classifier(OPTIMIZERS[name](), dtype="float64")
    history = scheduled.fit(X, y, epochs=2, shuffle=False, **FIT).history
    rates = np.asarray(schedule(np.arange(8)))
    for step, rate in enumerate(rates):
        by_hand.optimizer.learning_rate = float(rate)
        start = step % 4 * 16
        by_hand.train_on_batch(X[start : start + 16], y[start : start + 16])
    np.testing.assert_allclose(scheduled.parameters, by_hand.parameters, rtol=1e-12)
    assert history["learning_rate"] == pytest.approx(rates[[0, 4]])  # of the epochs' first steps


def test_a_schedule_goes_on_from_fit_to_fit() -> None:
    once, twice = (classifier(fastdnn.SGD(Harmonic(0.5))) for _ in range(2))
    once.fit(X, y, epochs=4, **FIT)
    for _ in range(2):
        twice.fit(X, y, epochs=2, **FIT)
    assert np.array_equal(once.parameters, twice.parameters)


def test_the_learning_rate_can_be_set_between_and_within_fits() -> None:
    def lower(model: Any) -> None:
        model.optimizer.learning_rate /= 2

    model = classifier(fastdnn.SGD(0.5))
    spy = Spy(epoch_end=lower)
    history = model.fit(X, y, epochs=3, callbacks=[spy], **FIT).history
    assert history["learning_rate"] == [0.5, 0.25, 0.125]
    before = model.parameters.copy()
    model.optimizer.learning_rate = 0
    model.fit(X, y, **FIT)
    assert np.array_equal(model.parameters, before)


def test_a_broken_schedule_is_refused_before_the_first_step() -> None:
    model = classifier(fastdnn.SGD(Harmonic(-1.0)))
    before = model.parameters.copy()
    spy = Spy()
    with pytest.raises(ValueError, match=r"^SGD.learning_rate: want a finite number >= 0"):
        model.fit(X, y, callbacks=[spy], **FIT)
    assert np.array_equal(model.parameters, before)
    assert [call[0] for call in spy.calls] == ["train_begin", "epoch_begin", "train_end"]


# -------------------------------------------------------------------------------- interruption
@pytest.mark.usefixtures("a_call_for_every_step")
@pytest.mark.parametrize("where", ["epoch_begin", "batches_end", "epoch_end"])
def test_ctrl_c_leaves_a_usable_model(where: str) -> None:
    def interrupt(model: Any) -> None:
        if model._state.steps >= 6:
            raise KeyboardInterrupt

    model, other = classifier(), Spy()
    spy = Spy(**{where: interrupt})
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, epochs=9, callbacks=[spy, other], **FIT)
    assert spy.calls[-1] == other.calls[-1] == ("train_end",)
    done = {"epoch_begin": 8, "batches_end": 6, "epoch_end": 8}[where]
    assert model._state.steps == done
    assert (
        model.history.epoch == {"epoch_begin": [0, 1], "batches_end": [0], "epoch_end": [0]}[where]
    )
    assert np.isfinite(model.parameters).all()
    before = model.evaluate(X, y)["loss"]
    model.fit(X, y, epochs=9, **FIT)
    assert model.evaluate(X, y)["loss"] < before


def test_ctrl_c_within_a_native_call_loses_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python raises KeyboardInterrupt when the call returns: its steps are done and count."""
    whole, broken = classifier(), classifier()
    whole.fit(X, y, epochs=2, shuffle=False, **FIT)
    train = Engine.train

    def interrupted(*arguments: Any, **options: Any) -> Any:
        train(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "train", interrupted)
        patch.setattr(loop, "SLICE_SECONDS", 1e9)
        with pytest.raises(KeyboardInterrupt):
            broken.fit(X, y, shuffle=False, **FIT)
    assert broken._state.steps == 4
    broken.fit(X, y, shuffle=False, **FIT)
    assert np.array_equal(broken.parameters, whole.parameters)


# ----------------------------------------------------------------------------------- divergence
@pytest.mark.usefixtures("a_call_for_every_step")
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_is_named_and_the_last_finite_parameters_stay(name: str, dtype: str) -> None:
    huge = 1e25 if dtype == "float32" else 1e200
    model = regressor(OPTIMIZERS[name](learning_rate=huge), dtype=dtype)
    kept = [model.parameters.copy()]
    spy = Spy(batches_end=lambda model: kept.append(model.parameters.copy()))
    with pytest.raises(DivergenceError) as caught:
        model.fit(X, y, epochs=3, callbacks=[spy], **FIT)
    done = len(kept) - 1
    assert 1 <= done < 8
    assert str(caught.value).startswith(
        f"training diverged: the loss of step {done % 4} of epoch {done // 4} is not finite "
        f"(step {done} in all, counted from 0). The parameters are those before it."
    )
    assert isinstance(caught.value, ArithmeticError)
    assert spy.calls[-1] == ("train_end",)
    assert np.array_equal(model.parameters, kept[-1])
    assert np.isfinite(model.parameters).all()
    assert model._state.steps == done


def test_training_goes_on_with_a_lower_rate() -> None:
    model = regressor(fastdnn.SGD(10.0))
    start = model.get_weights()
    with pytest.raises(DivergenceError):
        model.fit(X, y, epochs=1000, **FIT)
    model.set_weights(start)
    model.optimizer.learning_rate = 0.01
    history = model.fit(X, y, epochs=3, **FIT).history
    assert history["loss"][-1] < history["loss"][0]


def test_a_gradient_that_is_not_finite_is_named() -> None:
    """The loss's own slope is finite, but its product with X is not."""
    model = regressor(fastdnn.SGD(0.0), dtype="float32")
    model.parameters[...] = 0
    large = np.where(np.arange(50) < 32, 1.0, 1e38)  # from the third step on
    options: dict[str, Any] = {**FIT, "shuffle": False, "epochs": 6, "initial_epoch": 5}
    with pytest.raises(DivergenceError, match=r"the gradient of step 2 of epoch 5 is not finite"):
        model.fit(X * large[:, None], np.full(50, 1e3), **options)
    assert not model.parameters.any()


def test_train_on_batch_diverges_too() -> None:
    model = regressor()
    model.parameters[...] = 1e200
    before = model.parameters.copy()
    with pytest.raises(DivergenceError, match=r"the loss of step 0 of epoch 0 .*\(step 0 in all"):
        model.train_on_batch(X, y)
    assert np.array_equal(model.parameters, before)


# ---------------------------------------------------------------------------------------- state
def test_the_order_of_an_epoch() -> None:
    dtype = np.dtype(np.float32)
    state = State(entropy=7)
    first = state.orders(100, 0, 1, dtype)
    assert sorted(first) == list(range(100))
    assert np.array_equal(state.orders(100, 0, 1, dtype), first)
    assert not np.array_equal(state.orders(100, 1, 1, dtype), first)
    assert not np.array_equal(State(entropy=8).orders(100, 0, 1, dtype), first)
    assert 0 <= State(entropy=2**128 - 1).dropout_seed < 2**63


def test_every_step_and_seed_has_masks_of_its_own() -> None:
    def losses(seed: int) -> list[float]:
        model = classifier(fastdnn.SGD(0.0), dropout=0.5, seed=seed)
        model.set_weights(weights)
        return [model.train_on_batch(X, y)["loss"] for _ in range(3)]

    weights = classifier().get_weights()
    assert losses(1) == losses(1)
    assert len({*losses(1), *losses(2)}) == 6


def test_the_length_of_a_slice_is_learned() -> None:
    state = State(entropy=0)
    assert state.steps_of_a_slice(32, 10**9) == 1
    assert state.steps_of_a_slice(32, 10) > 1000
    state.seconds_per_step[32] = loop.SLICE_SECONDS / 50.5
    assert state.steps_of_a_slice(32, 10**9) == 50
    assert state.steps_of_a_slice(64, 10**9) == 1


# ------------------------------------------------------------------------------------ the lock
def test_two_trainings_of_one_model_lose_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """One waits for the other's steps, and goes on from there."""
    model = classifier()
    train, entered = Engine.train, Event()
    numbers: list[int] = []

    def slow(*arguments: Any, **options: Any) -> Any:
        numbers.append(options["step_number"])
        if not entered.is_set():
            entered.set()
            other.start()
            other.join(0.2)  # until it waits for the lock, or has taken it
        return train(*arguments, **options)

    monkeypatch.setattr(Engine, "train", slow)
    other = Thread(target=model.fit, args=([(X, y)] * 2,), kwargs={"verbose": 0})
    model.fit([(X, y)] * 3, verbose=0)
    other.join()
    assert sorted(numbers) == [0, 1, 2, 3, 4]
    assert model._state.steps == 5


def test_ctrl_c_while_waiting_for_the_lock_counts_no_step() -> None:
    class Lock:
        training = nullcontext()

        def __enter__(self) -> None:
            raise KeyboardInterrupt

        def __exit__(self, *error: object) -> None:
            """Do nothing."""

    model = classifier()
    model.lock = Lock()
    for source in ((X, y), ([(X, y)],)):
        with pytest.raises(KeyboardInterrupt):
            model.fit(*source, verbose=0)
        assert model._state.steps == 0
