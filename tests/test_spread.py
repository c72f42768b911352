"""Networks trained by the processes of joblib's backends: the bits of their own fits."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import fastdnn
from fastdnn import many, model_selection, progress, spread
from tests.nets import classifier, regressor, samples, wide
from tests.test_many import networks, state_of
from tests.test_model_selection import GRID, pipeline

X, y = samples(90)
pytestmark = [
    pytest.mark.filterwarnings("ignore:the training reached max_iter"),
    # of the clusters' own sockets and files, when they end
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
]


@contextmanager
def dask() -> Iterator[None]:
    """A local cluster of two processes."""
    from dask.distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0"):
        yield


@contextmanager
def ray() -> Iterator[None]:
    """A local cluster of two CPUs."""
    import ray
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    register_ray()
    try:
        yield
    finally:
        ray.shutdown()


CLUSTERS = {"dask": dask, "ray": ray}


@pytest.fixture(params=CLUSTERS, scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a backend whose cluster is up."""
    name = request.param
    if importlib.util.find_spec({"dask": "distributed"}.get(name, name)) is None:
        pytest.skip(f"{name} is not installed: pip install 'fastdnn[{name}]'")
    with CLUSTERS[name]():
        yield name


# ----------------------------------------------------------------------------------------- clusters
def test_networks_have_the_bits_of_their_own_fits(cluster: str) -> None:
    got, wanted = networks(), networks()
    rows = [np.arange(i, 90, 2) for i in (0, 1, 0, 1, 0)]
    with joblib.parallel_config(cluster):
        histories = fastdnn.fit_many(
            got, X, y, subsets=rows, epochs=4, batch_size=16, validation_data=(X, y), verbose=0
        )
    for model, history, own, of in zip(got, histories, wanted, rows, strict=True):
        own.fit(X[of], y[of], 16, 4, validation_data=(X, y), verbose=0)
        assert state_of(model) == state_of(own)
        assert history is model.history
        assert history.model is model
        model.fit(X, y, 16, 1, verbose=0)  # goes on as its own does
        own.fit(X, y, 16, 1, verbose=0)
        assert state_of(model) == state_of(own)


def test_a_search_has_scikit_learns_results(cluster: str) -> None:
    own = model_selection.GridSearchCV(pipeline(), GRID, cv=3).fit(X, y)
    with joblib.parallel_config(cluster):
        found = model_selection.GridSearchCV(pipeline(), GRID, cv=3).fit(X, y)
    for key, values in own.cv_results_.items():
        if not key.endswith("_time"):
            np.testing.assert_array_equal(found.cv_results_[key], values)
    np.testing.assert_array_equal(found.predict_proba(X), own.predict_proba(X))


# ------------------------------------------------------------------------ processes of this machine
@contextmanager
def processes() -> Iterator[None]:
    """Two of loky's."""
    with joblib.parallel_config("loky", n_jobs=2):
        yield


def test_what_callbacks_know_comes_back() -> None:
    got, wanted = networks()[::3], networks()[::3]
    pairs = [
        (
            fastdnn.EarlyStopping("loss", min_delta=10, patience=1),
            fastdnn.ReduceLROnPlateau("loss", min_delta=10, patience=1),
        )
        for _ in range(2)
    ]
    with processes():
        histories = fastdnn.fit_many(
            got, X, y, epochs=6, batch_size=16, verbose=0, callbacks=[[one] for one in pairs[0]]
        )
    for own, callback in zip(wanted, pairs[1], strict=True):
        own.fit(X, y, 16, 6, callbacks=[callback], verbose=0)
    assert [state_of(one) for one in got] == [state_of(one) for one in wanted]
    assert len(histories[0].epoch) == 2
    (stop, slower), (own_stop, own_slower) = pairs
    assert stop.get_state() == own_stop.get_state()
    assert stop.best_epoch == own_stop.best_epoch
    assert slower.get_state() == own_slower.get_state()
    rate = got[1].optimizer.learning_rate
    assert rate == wanted[1].optimizer.learning_rate < networks()[3].optimizer.learning_rate


def test_a_divergence_comes_back() -> None:
    targets = y[:, None].astype(float)
    good, bad = regressor(fastdnn.SGD(0.01), seed=0), regressor(fastdnn.SGD(1e3), seed=0)
    with processes(), pytest.warns(RuntimeWarning, match="1 of 2 networks diverged: 1"):
        first, second = fastdnn.fit_many([good, bad], X, targets, epochs=400, verbose=0)
    assert first.error is None
    assert isinstance(second.error, fastdnn.DivergenceError)
    with pytest.raises(fastdnn.DivergenceError) as error:
        regressor(fastdnn.SGD(1e3), seed=0).fit(X, targets, epochs=400, verbose=0)
    assert str(second.error) == str(error.value)
    assert second.error.epoch == error.value.epoch
    assert np.isfinite(bad.parameters).all()


class Fails(fastdnn.Callback):
    def on_epoch_begin(self, epoch: int) -> None:
        raise OSError("the disk is full")


def test_an_error_of_a_callback_comes_through() -> None:
    models = networks()
    with processes(), pytest.raises(OSError, match="the disk is full"):
        fastdnn.fit_many(models, X, y, callbacks=[[], [Fails()], [], [], []], verbose=0)


def test_a_mistake_is_told_before_any_process_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "run", None)
    with processes(), pytest.raises(ValueError, match="X: want finite numbers"):
        fastdnn.fit_many([classifier()], np.full_like(X, np.nan), y)


def test_the_progress_counts_networks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SOON", 0.0)  # processes that are there already are quick
    models = [wide(seed=i) for i in range(4)]
    with processes():
        fastdnn.fit_many(models, np.tile(X, (200, 1)), np.tile(y, 200), epochs=3, verbose=2)
    err = capsys.readouterr().err
    assert "fit_many: 4/4 networks" in err


# --------------------------------------------------------------------------------------- the shares
def test_only_processes_that_the_user_has_chosen_are_used() -> None:
    assert spread.chosen_backend() is None
    for name, n_jobs in (("threading", 2), ("sequential", 1), ("loky", 1)):
        with joblib.parallel_config(name, n_jobs=n_jobs):
            assert spread.chosen_backend() is None
    with joblib.parallel_config("loky", n_jobs=2):
        assert type(spread.chosen_backend()).__name__ == "LokyBackend"
    with joblib.parallel_config(n_jobs=2):
        assert type(spread.chosen_backend()).__name__ == "LokyBackend"
    with joblib.parallel_config("multiprocessing", n_jobs=2):
        assert type(spread.chosen_backend()).__name__ == "MultiprocessingBackend"


def test_without_joblib_nobody_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "joblib")
    assert spread.chosen_backend() is None


@pytest.mark.parametrize("count", [1, 3, 4, 50])
def test_shares_cost_about_the_same(count: int) -> None:
    costs = np.random.default_rng(0).integers(1, 100, count).tolist()
    with processes():
        shares = spread.split(costs)
    assert sorted(i for share in shares for i in share) == list(range(count))
    assert len(shares) == min(2 * spread.SHARES, count)
    sums = [sum(costs[i] for i in share) for share in shares]
    assert max(sums) - min(sums) <= max(costs)


def test_a_share_is_trained_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    original = many._train

    def train(*arguments: Any) -> None:
        counts.append(fastdnn.get_num_threads())
        original(*arguments)

    monkeypatch.setattr(many, "_train", train)
    model = classifier()
    training = many._Training(model, X, y, None, 1, 16, None, [])
    model._ready(model._checked(X, y, None, None))
    result = many._train_share({5: training})
    assert counts == [1]
    assert list(result) == [5]
    np.testing.assert_array_equal(result[5].values, model.engine.values)


def test_the_example_is_of_each_engine() -> None:
    text = (Path(__file__).parents[1] / "examples" / "on_a_cluster.py").read_text()
    assert all(f'"{name}"' in text for name in CLUSTERS)
