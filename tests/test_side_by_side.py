"""All that several threads, callbacks, sources and processes do with one model at the same time."""

from __future__ import annotations

import copy
import os
import pickle
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import loop, turns
from fastdnn.kernels.cpu.threads import num_threads
from tests import stress
from tests.nets import classifier, fingerprint, samples

X, y = samples(160)
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}
STEPS = 10
Model = fastdnn.Sequential
USES: dict[str, tuple[Callable[[Model], Any], int]] = {  # what it does, and how many steps
    "predict": (lambda model: model.predict(X), 0),
    "predict with a bar": (lambda model: model.predict(X, verbose=1), 0),
    "evaluate": (lambda model: model.evaluate(X, y), 0),
    "evaluate batches": (lambda model: model.evaluate([(X, y)]), 0),
    "what a file holds": (lambda model: model.get_state(), 0),
    "pickle": (lambda model: pickle.loads(pickle.dumps(model)), 0),
    "set_weights": (lambda model: model.set_weights(model.get_weights()), 0),
    "train_on_batch": (lambda model: model.train_on_batch(X, y), 1),
    "gradients": (lambda model: model.apply_gradients(model.loss_and_gradients(X, y)[1]), 1),
}
in_thread_or_not = pytest.mark.parametrize("in_thread", [False, True])
WOULD_HANG = "another thread trains this model, and waits for a thread itself"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell within half a second that two threads wait for each other."""
    monkeypatch.setattr(turns, "LOOK", 0.0125)


def elsewhere(use: Callable[[Any], Any], model: Any) -> Any:
    """What `use` returns in a thread that the calling one waits for."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(use, model).result(timeout=60)


def pickled(model: Model) -> Model:
    """A copy by way of a pickle."""
    copied: Model = pickle.loads(pickle.dumps(model))
    return copied


class At(fastdnn.Callback):
    """Does something at an epoch's end."""

    def __init__(self, use: Callable[[Any], Any]) -> None:
        self.use = use

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.use(self.model)


def source(model: Model, use: Callable[[Model], Any], in_thread: bool) -> Callable[[], Any]:
    """Two batches, for each of which the source, or a thread of its own, uses the model."""

    def here() -> Iterator[Any]:
        for _ in range(2):
            use(model)
            yield X, y

    def there() -> Iterator[Any]:
        made: queue.Queue[Any] = queue.Queue(1)

        def make() -> None:
            try:
                for batch in here():
                    made.put(batch)
                made.put(None)
            except BaseException as error:
                made.put(error)

        threading.Thread(target=make, daemon=True).start()
        while (batch := made.get(timeout=60)) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch

    return there if in_thread else here


# ---------------------------------------------------------------------- callbacks, sources, losses
@in_thread_or_not
@pytest.mark.parametrize("name", USES)
def test_a_callback_may_use_its_model(name: str, in_thread: bool) -> None:
    use, steps = USES[name]
    model = classifier()
    model.fit(X, y, callbacks=[At(lambda m: elsewhere(use, m) if in_thread else use(m))], **FIT)
    assert model._state.steps == STEPS + steps


ASKS: dict[str, tuple[Callable[[Model, Any], Any], int]] = {
    "fit": (lambda model, batches: model.fit(batches, verbose=0), 2),
    "evaluate": (lambda model, batches: model.evaluate(batches), 0),
    "predict": (lambda model, batches: model.predict(batches), 0),
    "validation": (lambda model, batches: model.fit(X, y, validation_data=batches, **FIT), STEPS),
}


@in_thread_or_not
@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("name", USES)
def test_a_source_may_use_the_model_that_asks_it(name: str, ask: str, in_thread: bool) -> None:
    (use, steps), (call, own) = USES[name], ASKS[ask]
    model = classifier()
    call(model, source(model, use, in_thread))
    assert model._state.steps == own + 2 * steps


def test_a_callback_may_fit_its_model_itself() -> None:
    model = classifier()
    model.fit(X, y, callbacks=[At(lambda m: m.fit(X, y, **FIT))], **FIT)
    assert model._state.steps == 2 * STEPS


@pytest.mark.parametrize("of", ["callback", "source"])
def test_a_fit_that_would_wait_for_itself_is_refused(of: str) -> None:
    model = classifier()

    def fit(m: Model) -> None:
        elsewhere(lambda one: one.fit(X, y, **FIT), m)

    given: Any = [X, y]
    if of == "source":
        given = [source(model, fit, False), None]
    with pytest.raises(RuntimeError, match=f"^{WOULD_HANG}"):
        model.fit(*given, callbacks=[At(fit)], verbose=0)
    before = model._state.steps
    elsewhere(lambda one: one.fit(X, y, **FIT), model)
    assert model._state.steps == before + STEPS


def test_a_loss_that_waits_for_who_waits_for_the_step_is_refused() -> None:
    used: list[Any] = []

    def loss(y_true: Any, y_pred: Any) -> Any:
        if used:
            elsewhere(lambda model: model.predict(X), used[0])
        return ((y_pred - y_true) ** 2).mean(axis=1), 2 * (y_pred - y_true)

    model = fastdnn.Sequential([fastdnn.Dense(1)], input_size=4, seed=0)
    model.compile("sgd", fastdnn.ArrayLoss(loss))
    used.append(model)
    model.evaluate(X, y[:, None])  # nobody changes the model meanwhile
    with pytest.raises(RuntimeError, match=f"^{WOULD_HANG}"):
        model.train_on_batch(X, y[:, None])


def test_a_model_is_not_compiled_within_its_own_fit() -> None:
    model = classifier()
    with pytest.raises(RuntimeError, match=r"^compile: the model is being trained"):
        model.fit(X, y, callbacks=[At(lambda m: m.compile("sgd", "mse"))], **FIT)
    model.compile("sgd", "mse")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")
def test_a_child_forked_in_a_callback_goes_on_with_the_fit() -> None:
    model, parent, children = classifier(), os.getpid(), []
    twin = classifier()
    twin.fit(X, y, epochs=2, **FIT)

    class Fork(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if epoch == 0:
                children.append(os.fork())

    right = False
    try:
        model.fit(X, y, epochs=2, callbacks=[Fork()], **FIT)
        right = np.array_equal(model.parameters, twin.parameters)
        right = right and len(elsewhere(lambda m: m.fit(X, y, **FIT), model).epoch) == 1
    finally:
        if os.getpid() != parent:
            os._exit(0 if right else 1)
    assert right
    assert os.waitpid(children[0], 0)[1] == 0


def test_workers_of_a_loader_are_forked_while_another_thread_trains() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch has the loader: pip install torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    loaded = torch.utils.data.DataLoader(data, batch_size=16, num_workers=1)
    model, stop = classifier(), threading.Event()

    def train() -> None:
        while not stop.wait(0.002):
            model.train_on_batch(X, y)

    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(train)
        model.fit(loaded, verbose=0)
        model.evaluate(loaded)
        stop.set()
        training.result(timeout=60)
    assert model._state.steps > STEPS


# --------------------------------------------------------------------------------- several threads
@pytest.mark.usefixtures("awake_threads")
@pytest.mark.parametrize("work", ["all of one", "other faces"])
def test_eight_threads_have_the_bits_of_one(work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)
    with num_threads(1):
        wanted = stress.in_threads(work, range(8), 1)
    assert stress.in_threads(work, range(8)) == wanted


def test_a_fit_that_is_refused_undoes_no_step_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Much data are looked through only when a step meets NaN; then the model is as it was."""
    much, labels = (np.tile(one, (40, 1)) for one in (X, y[:, None]))
    bad = much.copy()
    bad[-1, 0] = np.nan
    model, twin = classifier(), classifier()
    twin.fit(much, labels[:, 0], **FIT)
    begun, pool = threading.Event(), ThreadPoolExecutor(1)
    refused: list[Any] = []

    def begin(of: Any) -> None:
        refused.append(pool.submit(model.fit, bad, labels[:, 0], **FIT))
        begun.wait(0.2)

    first = fastdnn.LambdaCallback(on_train_begin=begin)
    model.fit(much, labels[:, 0], callbacks=[first], **FIT)
    with pool, pytest.raises(ValueError, match=r"^X: want finite"):
        refused[0].result(timeout=60)
    assert fingerprint(model)[:4] == fingerprint(twin)[:4]


def test_the_first_data_of_several_threads_make_one_network() -> None:
    for widths in ([4] * 8, [4, 3] * 4):
        model = classifier(input_size=None)
        both = threading.Barrier(8)

        def train(n_0: int, model: Model = model, both: Any = both) -> str:
            both.wait(timeout=30)
            try:
                model.train_on_batch(X[:, :n_0], y)
            except ValueError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(8) as pool:
            said = list(pool.map(train, widths))
        n_0 = model.input_size
        for width, text in zip(widths, said, strict=True):
            wrong = f"X: want {n_0} features, as the model's input_size, got {width}"
            assert text == ("" if width == n_0 else wrong)
        assert model._state.steps == model._state.epochs == widths.count(n_0 or 0)


def test_gradients_of_several_threads_are_all_applied() -> None:
    model = classifier()
    _, gradients = model.loss_and_gradients(X, y)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: model.apply_gradients(gradients), range(100)))
    assert model._state.steps == 100


# ---------------------------------------------------------------------------------- copies, files
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_beside_a_training_is_the_model_after_some_step(
    again: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)
    states: dict[int, Any] = {}
    model, twin = classifier(), classifier()

    def keep(*of: object) -> None:
        states[twin._state.steps] = fingerprint(twin)[1:3]

    keep()
    twin.fit(X, y, epochs=5, callbacks=[fastdnn.LambdaCallback(on_train_batch_end=keep)], **FIT)
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(model.fit, X, y, epochs=5, **FIT)
        while not training.done():
            other = again(model)
            # the memory of the optimizer is made by the first step
            assert fingerprint(other)[1] == states[other._state.steps][0]
            if other._state.steps:
                assert fingerprint(other)[2] == states[other._state.steps][1]
            lengths = {len(one) for one in other.history.history.values()}
            assert lengths <= {len(other.history.epoch)}
            assert np.shares_memory(other.layers[0].W, other.parameters)  # type: ignore[union-attr]
        training.result()


def test_an_estimator_loses_no_epoch_and_is_copied_between_two() -> None:
    one = fastdnn.MLPClassifier((8,), batch_size=16, random_state=0)
    one.partial_fit(X, y, classes=range(3))
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(one.partial_fit, X, y) for _ in range(12)]
        while not all(work.done() for work in waiting):
            other = pickle.loads(pickle.dumps(one))
            assert len(other.loss_curve_) * STEPS == other._state.steps
            one.predict(X)
    assert one._state.steps == 13 * STEPS
    assert len(one.loss_curve_) == 13


def test_estimators_predict_side_by_side() -> None:
    one = fastdnn.MLPClassifier((8,), random_state=0, max_iter=1)
    with pytest.warns(match="converged"):
        wanted = one.fit(X, y).predict_proba(X)
    model = one.model_
    with model.lock.using(), ThreadPoolExecutor(1) as pool:  # as a validation has the engine
        found = pool.submit(one.predict_proba, X).result(timeout=30)
    np.testing.assert_array_equal(found, wanted)
