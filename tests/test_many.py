"""`fit_many`: each network has the bits of its own `fit`, and a mistake is told before any work."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

import fastdnn
from fastdnn import many
from tests.nets import WAYS, classifier, fingerprint, regressor, samples, wide

Array = np.ndarray[Any, Any]
X, y = samples(90)


def networks() -> list[fastdnn.Sequential]:
    """Networks of several shapes, optimizers, dtypes and ways through the kernels."""
    rate = fastdnn.CosineDecay(0.01, 50)
    return [
        classifier("sgd"),
        wide(fastdnn.Adam(rate), dropout=0.2, seed=1),
        classifier("rmsprop", metrics=(), dtype="float64", seed=2),
        wide("lion", ("accuracy",), seed=3),
        classifier("nadam", metrics=(), dropout=0.3, seed=4),
    ]


def state_of(model: fastdnn.Sequential) -> tuple[Any, ...]:
    return (*fingerprint(model)[1:4], model.history.history, model.history.epoch)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_each_network_has_the_bits_of_its_own_fit(n: int) -> None:
    got, wanted = networks(), networks()
    histories = fastdnn.fit_many(got, X, y, epochs=4, batch_size=16, n_threads=n, verbose=0)
    for model, history, own in zip(got, histories, wanted, strict=True):
        own.fit(X, y, epochs=4, batch_size=16, verbose=0)
        assert state_of(model) == state_of(own)
        assert history is model.history
        assert history.error is None


@pytest.mark.parametrize("way", WAYS)
def test_every_way_through_the_kernels(way: str) -> None:
    make, batch = WAYS[way]
    targets = y[:, None].astype(float) if way == "one unit" else y
    got, wanted = [make(seed=i) for i in range(3)], [make(seed=i) for i in range(3)]
    fastdnn.fit_many(got, X, targets, epochs=2, batch_size=batch, n_threads=2, verbose=0)
    for model, own in zip(got, wanted, strict=True):
        own.fit(X, targets, epochs=2, batch_size=batch, verbose=0)
        assert state_of(model) == state_of(own)


def test_settings_of_each_network() -> None:
    """Rows, repeated and masked ones too; epochs, batches, validation and callbacks of its own."""
    rng = np.random.default_rng(0)
    subsets = [rng.integers(90, size=70), np.arange(50), y > 0, list(range(5)), np.arange(90)[::-1]]
    validation: list[Any] = [(X, y), None, (X[:9], y[:9], np.ones(9)), None, (X, y)]
    epochs, batches = [1, 2, 3, 0, 4], np.array([1, 16, 90, 7, 1000])
    stops = [[fastdnn.EarlyStopping("loss", patience=1)] for _ in range(5)]
    got, wanted = networks(), networks()
    fastdnn.fit_many(
        got, X, y, subsets=subsets, epochs=epochs, batch_size=batches, validation_data=validation,
        callbacks=stops, verbose=0,
    )  # fmt: skip
    for i, own in enumerate(wanted):
        rows = np.arange(90)[np.asarray(subsets[i])]
        own.fit(
            X[rows], y[rows], epochs=epochs[i], batch_size=int(batches[i]), verbose=0,
            validation_data=validation[i], callbacks=[fastdnn.EarlyStopping("loss", patience=1)],
        )  # fmt: skip
        assert state_of(got[i]) == state_of(own)


def test_data_of_each_network() -> None:
    """Of other sizes, and read by networks that do not know theirs."""
    rng = np.random.default_rng(0)
    data = [(rng.normal(size=(m, n)), rng.normal(size=m)) for m, n in [(5, 1), (60, 7), (33, 3)]]

    def make(seed: int) -> fastdnn.Sequential:
        return regressor(input_size=None, seed=seed)

    got, wanted = [make(i) for i in range(3)], [make(i) for i in range(3)]
    fastdnn.fit_many(got, data, epochs=3, verbose=0)
    for (inputs, targets), model, own in zip(data, got, wanted, strict=True):
        own.fit(inputs, targets, epochs=3, verbose=0)
        assert state_of(model) == state_of(own)


@pytest.mark.parametrize(
    "given",
    [X.tolist(), pd.DataFrame(X), pl.DataFrame(X), scipy.sparse.coo_array(X), X.astype(np.int8)],
    ids=["list", "pandas", "polars", "sparse", "int8"],
)
def test_rows_of_any_kind_of_data(given: Any) -> None:
    rows = [np.arange(80, 10, -1), np.repeat(np.arange(20), 2)]
    got, wanted = [classifier(seed=i) for i in range(2)], [classifier(seed=i) for i in range(2)]
    fastdnn.fit_many(got, given, y.tolist(), subsets=rows, epochs=2, verbose=0)
    for model, own, mine in zip(got, wanted, rows, strict=True):
        own.fit(X[mine], y[mine], epochs=2, verbose=0)
        assert state_of(model) == state_of(own)


def test_callbacks_for_all_are_copied_for_each() -> None:
    got, wanted = networks(), networks()
    given = [fastdnn.EarlyStopping("loss", min_delta=10.0, patience=2)]
    histories = fastdnn.fit_many(got, X, y, epochs=30, callbacks=given, verbose=0)
    for model, history, own in zip(got, histories, wanted, strict=True):
        stop = fastdnn.EarlyStopping("loss", min_delta=10.0, patience=2)
        own.fit(X, y, epochs=30, callbacks=[stop], verbose=0)
        assert state_of(model) == state_of(own)
        assert len(history.epoch) == 3
    assert not hasattr(given[0], "model")


def test_one_that_diverges_is_reported_in_its_place_and_stops_nobody() -> None:
    def make() -> list[fastdnn.Sequential]:
        return [regressor(fastdnn.SGD(rate), seed=0) for rate in (0.01, 5.0, 0.01, 1e3)]

    targets = y[:, None].astype(float)
    got, wanted = make(), make()
    with pytest.warns(RuntimeWarning, match=r"2 of 4 networks diverged: 1, 3; training diverged"):
        histories = fastdnn.fit_many(got, X, targets, epochs=400, verbose=0)
    assert [history.error is None for history in histories] == [True, False, True, False]
    for i, own in enumerate(wanted):
        if i % 2:
            with pytest.raises(fastdnn.DivergenceError) as error:
                own.fit(X, targets, epochs=400, verbose=0)
            assert str(histories[i].error) == str(error.value)
        else:
            own.fit(X, targets, epochs=400, verbose=0)
        assert state_of(got[i]) == state_of(own)


def test_the_costly_ones_begin_first(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    class Notes(fastdnn.Callback):
        def __init__(self, number: int) -> None:
            self.number = number

        def on_train_begin(self) -> None:
            begun.append(self.number)

    models = [classifier(), wide(), classifier(), wide()]
    fastdnn.fit_many(
        models, X, y, epochs=[1, 1, 9, 2], callbacks=[[Notes(i)] for i in range(4)], n_threads=1,
        verbose=0,
    )  # fmt: skip
    assert begun == [3, 2, 1, 0]


def test_an_error_of_a_callback_comes_through(tmp_path: Path) -> None:
    class Fails(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            raise OSError("disk full")

    models = networks()
    given: list[list[fastdnn.Callback]] = [[], [], [Fails()], [], []]
    with pytest.raises(OSError, match="disk full"):
        fastdnn.fit_many(models, X, y, epochs=50, callbacks=given, verbose=0)
    models[2].fit(X, y, verbose=0)


def test_threads_are_given_back() -> None:
    before = threading.active_count()
    fastdnn.fit_many(networks(), X, y, verbose=0, n_threads=3)
    assert threading.active_count() == before
    assert fastdnn.fit_many([], X, y) == []


WRONG: dict[str, tuple[type[Exception], str, Any, dict[str, Any]]] = {
    "no model": (TypeError, "models: want Sequential objects, got 'a' at 5", "a", {}),
    "epochs": (ValueError, "epochs: want", None, {"epochs": -1}),
    "epochs of each": (ValueError, "epochs: want numbers for each of the 5", None, {"epochs": [1]}),
    "batch_size": (ValueError, "batch_size: want", None, {"batch_size": [1, 2, 3, 4, 0]}),
    "few subsets": (ValueError, "subsets: want rows for each of the 5", None, {"subsets": [[0]]}),
    "rows": (ValueError, r"subsets: want rows in \[0, 90\), got -1 to 3", None,
             {"subsets": [[0]] * 4 + [[-1, 3]]}),
    "no rows": (ValueError, "subsets: want at least one row", None,
                {"subsets": [[0]] * 4 + [np.empty(0, int)]}),
    "no numbers": (TypeError, "subsets: want vectors of row numbers, got float64", None,
                   {"subsets": [[0.5]] * 5}),
    "a callback": (TypeError, "callbacks: want a list", None, {"callbacks": fastdnn.History()}),
    "callbacks": (TypeError, "callbacks: want Callback objects", None, {"callbacks": [[1]] * 5}),
    "few callbacks": (ValueError, "callbacks: want callbacks for each", None, {"callbacks": [[]]}),
    "monitored": (ValueError, "val_loss", None, {"callbacks": [fastdnn.EarlyStopping()]}),
    "validation": (ValueError, "validation_data", None, {"validation_data": [(X, y)]}),
    "validation's X": (ValueError, "validation_data", None, {"validation_data": (X[:, :2], y)}),
    "verbose": (ValueError, "verbose: want", None, {"verbose": 7}),
    "n_threads": (ValueError, "n_threads: want", None, {"n_threads": 0}),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_told_before_any_work(what: str) -> None:
    kind, message, more, options = WRONG[what]
    models: list[Any] = networks()
    before = [fingerprint(model) for model in models]
    with pytest.raises(kind, match=message):
        fastdnn.fit_many([*models, *([] if more is None else [more])], X, y, **options)
    assert [fingerprint(model)[:5] for model in models] == [one[:5] for one in before]


def test_a_mistake_in_the_data_names_the_network() -> None:
    models = [classifier(), regressor()]
    with pytest.raises(ValueError, match="y: want") as error:
        fastdnn.fit_many(models, [(X, y), (X, y[:5])])
    assert error.value.__notes__ == ["of network 1"]
    with pytest.raises(TypeError, match=r"X: without y, want a list of tuples"):
        fastdnn.fit_many(models, [X, X])
    with pytest.raises(ValueError, match=r"X, without y: want tuples \(X, y\) for each of the 2"):
        fastdnn.fit_many(models, [(X, y)])
    with pytest.raises(ValueError, match="got one several times"):
        fastdnn.fit_many([models[0], models[0]], X, y)
    bare = fastdnn.Sequential([fastdnn.Dense(3)])
    with pytest.raises(RuntimeError, match="call compile first"):
        fastdnn.fit_many([models[0], bare], X, y)
    unseen = [None, (X, y[:5])]
    with pytest.raises(ValueError, match="validation_data") as error:
        fastdnn.fit_many([classifier(), classifier()], X, y, validation_data=unseen)
    assert error.value.__notes__ == ["of network 1"]
    large = np.full_like(X, 1e300)
    with pytest.raises(ValueError, match="X: ") as error:
        fastdnn.fit_many([classifier(dtype="float64"), classifier()], large, y)
    assert error.value.__notes__ == ["of network 1"]
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="X: "):
        fastdnn.fit_many([classifier(), classifier()], bad, y)


def test_the_cost_grows_with_all_that_is_work() -> None:
    def cost(model: fastdnn.Sequential, rows: Any, epochs: int) -> int:
        return many._Training(model, X, y, rows, epochs, 32, None, []).cost

    small, large = classifier(), wide()
    few = np.arange(5)
    assert cost(small, None, 1) < cost(large, None, 1) < cost(large, None, 2)
    assert cost(small, few, 1) < cost(small, None, 1)
