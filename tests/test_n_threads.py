"""`n_threads` of a single call: of what it does, and of what is called within it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

import fastdnn
from fastdnn.kernels.parallel.entry import Entry
from tests.nets import fingerprint

pytestmark = pytest.mark.usefixtures("awake_threads")

MOST = int(numba.config.NUMBA_NUM_THREADS)
rng = np.random.default_rng(0)
X, y = rng.standard_normal((256, 40), np.float32), rng.integers(0, 3, 256)

CALLS: dict[str, Callable[..., Any]] = {
    "fit": lambda model, **n: model.fit(X, y, batch_size=128, verbose=0, **n).history["loss"],
    "fit of batches": lambda model, **n: model.fit([(X, y)], verbose=0, **n).history["loss"],
    "train_on_batch": lambda model, **n: model.train_on_batch(X, y, **n)["loss"],
    "evaluate": lambda model, **n: model.evaluate(X, y, **n)["loss"],
    "evaluate of batches": lambda model, **n: model.evaluate([(X, y)], **n)["loss"],
    "predict": lambda model, **n: model.predict(X, **n),
    "predict of batches": lambda model, **n: model.predict(iter([X]), **n),
    "loss_and_gradients": lambda model, **n: model.loss_and_gradients(X, y, **n)[1][0][0],
}


def network() -> fastdnn.Sequential:
    """A compiled network that two ranks are worth it for."""
    layers = [fastdnn.Dense(256, "relu"), fastdnn.Dense(3, "softmax")]
    model = fastdnn.Sequential(layers, input_size=40, seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many ranks each call of the compiled step is given."""
    given: list[int] = []
    call = Entry.__call__

    def spy(self: Entry, dtype: Any, n: int, *rest: Any) -> None:
        given.append(n)
        call(self, dtype, n, *rest)

    monkeypatch.setattr(Entry, "__call__", spy)
    return given


@pytest.mark.parametrize("name", CALLS)
def test_a_call_has_its_own_number(name: str, ranks: list[int]) -> None:
    call, most = CALLS[name], min(2, MOST)
    fastdnn.set_num_threads(2)
    wanted = call(network())
    assert max(ranks) == most
    ranks.clear()
    np.testing.assert_array_equal(call(network(), n_threads=1), wanted)
    assert set(ranks) == {1}
    fastdnn.set_num_threads(1)
    ranks.clear()
    np.testing.assert_array_equal(call(network(), n_threads=2), wanted)
    assert max(ranks) == most
    assert fastdnn.get_num_threads() == 1
    ranks.clear()
    np.testing.assert_array_equal(call(network(), n_threads=None), wanted)
    assert set(ranks) == {1}


def test_what_a_fit_calls_has_the_same_number(ranks: list[int]) -> None:
    class Predict(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            self.model.predict(X)  # type: ignore[attr-defined]
            seen.append(fastdnn.get_num_threads())

    seen: list[int] = []
    fastdnn.set_num_threads(2)
    options: dict[str, Any] = {"verbose": 0, "callbacks": [Predict()]}
    network().fit(X, y, 128, validation_data=(X, y), n_threads=1, **options)
    network().fit([(X, y)], validation_data=[(X, y)], n_threads=1, **options)
    assert set(ranks) == {1}
    assert seen == [1, 1]
    assert fastdnn.get_num_threads() == min(2, MOST)


@pytest.mark.parametrize("name", [*CALLS, "apply_gradients"])
def test_a_wrong_number_is_refused_before_any_work(name: str) -> None:
    def source(*of: object) -> Any:
        raise AssertionError("read")

    model = network()
    calls = CALLS | {
        "fit of batches": lambda model, **n: model.fit(source, verbose=0, **n),
        "evaluate of batches": lambda model, **n: model.evaluate(source, **n),
        "predict of batches": lambda model, **n: model.predict(source, **n),
        "apply_gradients": lambda model, **n: model.apply_gradients(map(source, [0]), **n),
    }
    before = fingerprint(model)
    bad: list[tuple[Any, type[Exception], str]] = [
        (0, ValueError, "n_threads: want at least 1 thread, got 0"),
        (-1, ValueError, "n_threads: want at least 1 thread, got -1"),
        (1.0, TypeError, "n_threads: want an integer number of threads, got 1.0"),
        (True, TypeError, "n_threads: want an integer number of threads, got True"),
        ("2", TypeError, "n_threads: want an integer number of threads, got '2'"),
    ]
    for value, error, message in bad:
        with pytest.raises(error, match=f"^{message}$"):
            calls[name](model, n_threads=value)
    assert fingerprint(model) == before


def test_an_estimators_number(ranks: list[int]) -> None:
    fastdnn.set_num_threads(2)
    one = fastdnn.MLPClassifier((256,), max_iter=1, n_threads=1, batch_size=128, verbose=False)
    with pytest.warns(match="converged"):
        one.fit(X, y).predict(X)
    assert set(ranks) == {1}
    one.set_params(n_threads=0)
    with pytest.raises(ValueError, match=r"^n_threads: want at least 1 thread, got 0$"):
        one.predict(X)
