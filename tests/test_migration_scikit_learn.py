"""Each row of docs/migration.md's differences from scikit-learn."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network._base import ACTIVATIONS as THEIR_ACTIVATIONS
from sklearn.utils._param_validation import InvalidParameterError

import fastdnn
from fastdnn.data import rows as rows_of
from fastdnn.estimators._compat import HAS_CALLBACKS
from fastdnn.losses import LOSSES
from fastdnn.optimizers import OPTIMIZERS
from tests.migration import Cells, Table, flushes, names, numbers

row = Table("scikit-learn")
MLPS = {name: getattr(fastdnn, name) for name in ("MLPClassifier", "MLPRegressor")}
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.skipif(not HAS_CALLBACKS, reason="the table is of scikit-learn 1.9"),
]


def samples(m: int = 300) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, 70))
    return X, X[:, 0] + X[:, 1] ** 2


def parameters(kind: type) -> list[str]:
    return list(inspect.signature(kind).parameters)


@row("Last digits")
def test_last_digits(cells: Cells) -> None:
    results = []
    for n_threads in (1, 2, 3):
        mlp = fastdnn.MLPRegressor(random_state=0, max_iter=3, n_threads=n_threads)
        results.append(mlp.fit(*samples()).model_.parameters)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@row("Number of threads")
def test_number_of_threads(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hasattr(fastdnn, names(cells.ours.replace("fastdnn.", ""))[1])
    seen = set()

    class Watch(fastdnn.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            seen.add(fastdnn.get_num_threads())

    for n_threads, want in ((1, 1), (2, 2), (None, 3)):
        with fastdnn.num_threads(3):
            mlp = fastdnn.MLPRegressor(n_threads=n_threads, max_iter=1, callbacks=[Watch()])
            mlp.fit(*samples())
        assert seen == {want}
        seen.clear()
    assert "n_threads" not in parameters(neural_network.MLPRegressor)


@row("Parameters")
def test_parameters(cells: Cells) -> None:
    more = [name for name in names(cells.ours) if name != "loss"]
    for name, ours in MLPS.items():
        theirs = parameters(getattr(neural_network, name))
        if name == "MLPClassifier":
            assert parameters(ours) == [*theirs, "loss", *more]
        else:
            of_both = ["loss", *(theirs if "loss" not in theirs else theirs[1:])]
            assert parameters(ours) == of_both + [one for one in more if one != "class_weight"]
        for one in theirs:
            want = inspect.signature(getattr(neural_network, name)).parameters[one].default
            assert inspect.signature(ours).parameters[one].default == want


@row("Names of activations, solvers, losses")
def test_names(cells: Cells) -> None:
    activations, solvers, losses = numbers(cells.theirs)
    hidden = set(THEIR_ACTIVATIONS) - {"softmax", "exp"}
    assert len(hidden) == activations
    X, y = samples(20)
    for activation in hidden | set(fastdnn.activations.ACTIVATIONS):
        fastdnn.MLPRegressor(activation=activation, max_iter=1).fit(X, y)
    kind = neural_network.MLPRegressor
    assert len(kind._parameter_constraints["solver"][0].options) == solvers
    for solver in {"lbfgs", "sgd", "adam"} | set(OPTIMIZERS):
        fastdnn.MLPRegressor(solver=solver, max_iter=1).fit(X, y)
    assert len(kind._parameter_constraints["loss"][0].options) == losses
    for loss in {"squared_error", "poisson"} | {
        name for name in LOSSES if "crossentropy" not in name
    }:
        fastdnn.MLPRegressor(loss=loss, max_iter=1).fit(X, abs(y))


@row("A wrong parameter")
@pytest.mark.parametrize(("name", "value"), [("alpha", -1.0), ("max_iter", "x"), ("solver", "x")])
def test_a_wrong_parameter(cells: Cells, name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=name):
        neural_network.MLPRegressor(**{name: value}).fit(*samples())
    with pytest.raises((ValueError, TypeError), match=f"^{name}") as caught:
        fastdnn.MLPRegressor(**{name: value}).fit(*samples())
    assert not isinstance(caught.value, InvalidParameterError)


@row("A run that diverges")
def test_a_run_that_diverges(cells: Cells) -> None:
    settings: dict[str, Any] = {"solver": "sgd", "learning_rate_init": 10.0, "random_state": 0}
    X, y = samples()
    theirs = neural_network.MLPRegressor(max_iter=7, **settings)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="non-finite") as caught:
        theirs.fit(X, y)
    assert "step" not in str(caught.value)
    assert theirs.n_iter_ == 7
    with pytest.raises(ValueError, match=r"of step \d of epoch 0"):
        fastdnn.MLPRegressor(batch_size=50, **settings).fit(X, y)
    mlp = fastdnn.MLPRegressor(batch_size=50, restore_best_weights=True, **settings)
    with pytest.warns(ConvergenceWarning, match="best epoch are kept"):
        mlp.fit(X, y)
    assert np.isfinite(mlp.predict(X)).all()


@row("`coefs_`, `intercepts_`")
def test_coefs(cells: Cells) -> None:
    theirs = neural_network.MLPRegressor(max_iter=1).fit(*samples())
    mlp = fastdnn.MLPRegressor(max_iter=1).fit(*samples())
    for name in ("coefs_", "intercepts_"):
        for want, got in zip(getattr(theirs, name), getattr(mlp, name), strict=True):
            assert want.shape == got.shape
            assert want.flags.owndata
            assert np.shares_memory(got, mlp.model_.parameters)


@row("Sparse X")
def test_sparse(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    assert numbers(cells.ours)[0] * 1e6 == rows_of.PART_BYTES
    rows = []
    toarray = csr_matrix.toarray

    def watched(X: Any, *arguments: Any, **settings: Any) -> Any:
        rows.append(X.shape[0])
        return toarray(X, *arguments, **settings)

    monkeypatch.setattr(csr_matrix, "toarray", watched)
    monkeypatch.setattr(rows_of, "PART_BYTES", 70 * 8 * 40)
    X, y = samples()
    for kind in (neural_network.MLPRegressor, fastdnn.MLPRegressor):
        for batch_size, want in ((20, 40), (100, 100)):
            rows.clear()
            kind(batch_size=batch_size, max_iter=1).fit(csr_matrix(X), y)
            assert max(rows, default=0) == (want if kind is fastdnn.MLPRegressor else 0)


@row("`set_callbacks` of scikit-learn 1.9")
def test_callbacks(cells: Cells) -> None:
    for name, ours in MLPS.items():
        assert not hasattr(getattr(neural_network, name), "set_callbacks")
        assert hasattr(ours, "set_callbacks")


@row("Numbers below the smallest normal one")
def test_small_numbers(cells: Cells) -> None:
    small = np.full((3, 1), 1e-160)
    found = []
    for kind in (neural_network.MLPRegressor, fastdnn.MLPRegressor):
        mlp = kind(hidden_layer_sizes=(), max_iter=1).fit(np.ones((3, 1)), np.ones(3))
        mlp.coefs_[0][...] = 1e-160
        mlp.intercepts_[0][...] = 0.0
        found.append(mlp.predict(small))
    assert (found[0] > 0).all()
    assert (found[1] == 0).all() == flushes()


@row("`BernoulliRBM`")
def test_bernoulli_rbm(cells: Cells) -> None:
    assert hasattr(neural_network, "BernoulliRBM")
    assert not hasattr(fastdnn, "BernoulliRBM")


def test_every_row_is_tested() -> None:
    assert row.tested == set(row.rows)
