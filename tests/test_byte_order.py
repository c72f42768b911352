"""Input in another byte order, read-only or off its place: native's bits, in all entry points."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import fastdnn
from fastdnn import kernels, textbook

Array = np.ndarray[Any, Any]
M = 3000


def big_endian(x: Array) -> Array:
    return x.astype(x.dtype.newbyteorder(">"))


def read_only(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


def misaligned(x: Array) -> Array:
    raw = np.zeros(x.nbytes + 1, np.uint8)
    moved = np.frombuffer(raw.data, x.dtype, x.size, offset=1).reshape(x.shape)
    moved[...] = x
    return moved


def backwards(x: Array) -> Array:
    return np.ascontiguousarray(x[::-1])[::-1]


WAYS = {f.__name__: f for f in (big_endian, read_only, misaligned, backwards)}
each_way = pytest.mark.parametrize("way", WAYS)
each_type = pytest.mark.parametrize("of", ["f4", "f8"])


def same(got: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        assert got.keys() == wanted.keys()
        got, wanted = list(got.values()), list(wanted.values())
    if isinstance(wanted, tuple | list):
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            same(one, other)
        return
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)


def data(of: str) -> tuple[Array, Array, Array, Array]:
    """X, class numbers, dense targets and weights."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(M, 5)).astype(of), rng.normal(size=(M, 3)).astype(of)
    return X, rng.integers(0, 3, M), Y, rng.uniform(0.5, 1, M).astype(of)


def sequential(loss: str, dtype: str, of: str, f: Callable[[Array], Array]) -> list[Any]:
    X, classes, Y, w = map(f, data(of))
    y = classes if loss.startswith("sparse") else Y
    layers = [fastdnn.Dense(8, "tanh"), fastdnn.Dense(3, "softmax" if y is classes else None)]
    model = fastdnn.Sequential(layers, seed=0, dtype=dtype)
    model.compile("adam", loss, ["accuracy" if y is classes else "mae"])
    few = X[:60], y[:60], w[:60]
    logs = model.fit(X, y, sample_weight=w, validation_data=few, batch_size=500, verbose=0).history
    found = [logs, model.predict(X), model.predict(X[:3]), model.evaluate(X, y, sample_weight=w)]
    loss_and_more = model.loss_and_gradients(*few, inputs=True)
    found += [model.train_on_batch(*few), *loss_and_more]
    model.apply_gradients([(f(dW), f(db)) for dW, db in loss_and_more[1] if db is not None])
    found.append(model.parameters.copy())
    model.set_weights([f(one) for one in model.get_weights()])
    first = model.layers[0]
    assert isinstance(first, fastdnn.Dense)
    first.W = f(np.array(first.W))
    A, cache = first.forward(f(X[:9].T))
    return [*found, A, *first.backward(f(A), cache), model.parameters.copy()]


@each_way
@each_type
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "mse"])
def test_sequential(loss: str, dtype: str, of: str, way: str) -> None:
    same(sequential(loss, dtype, of, WAYS[way]), sequential(loss, dtype, of, np.array))


def kernel_results(of: str, f: Callable[[Array], Array]) -> list[Any]:
    rng = np.random.default_rng(1)
    A, W, b, d = (rng.normal(size=s).astype(of) for s in ((30, 40), (20, 30), (20, 1), (20, 40)))
    return [
        kernels.linear_forward(f(A), f(W), f(b), "tanh"),
        kernels.linear_backward(f(d), f(A), f(W), "gelu", Z=f(d)),
        kernels.bias_gradient(f(d)),
        kernels.activation_forward(f(d), "sigmoid"),
        kernels.activation_backward(f(d), "tanh", A=f(d)),
    ]


def textbook_results(of: str, f: Callable[[Array], Array]) -> list[Any]:
    rng = np.random.default_rng(2)
    X, Y = rng.normal(size=(30, 40)).astype(of), (rng.random((1, 40)) > 0.5).astype(of)
    start = textbook.initialize_parameters_deep([30, 5, 1])
    p = {name: f(value.astype(of)) for name, value in start.items()}
    AL, caches = textbook.L_model_forward(f(X), p)
    grads = textbook.L_model_backward(f(AL), f(Y), caches)
    with contextlib.redirect_stdout(io.StringIO()):
        predicted = textbook.predict(f(X), f(Y), p)
    given = {name: f(value) for name, value in grads.items()}
    return [
        AL,
        textbook.compute_cost(f(AL), f(Y)),
        grads,
        textbook.update_parameters(p, given, 0.1),
        textbook.L_layer_model(f(X), f(Y), [30, 4, 1], num_iterations=150),
        predicted,
    ]


@each_way
@each_type
@pytest.mark.parametrize("results", [kernel_results, textbook_results])
def test_functions(results: Any, of: str, way: str) -> None:
    same(results(of, WAYS[way]), results(of, np.array))


def estimator(kind: str, solver: str, of: str, f: Callable[[Array], Array]) -> list[Any]:
    X, classes, Y, w = (f(one[:300]) for one in data(of))
    y = {"classes": classes, "numbers": Y, "text": np.array(list("abc"))[np.asarray(classes)]}[kind]
    make: Any = fastdnn.MLPRegressor if kind == "numbers" else fastdnn.MLPClassifier
    settings = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0, "solver": solver}
    model = make(**settings).fit(X, y, sample_weight=w)
    return [model.coefs_, model.loss_, model.predict(X), model.score(X, y)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@each_way
@each_type
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", ["classes", "numbers", "text"])
def test_estimators(kind: str, solver: str, of: str, way: str) -> None:
    same(estimator(kind, solver, of, WAYS[way]), estimator(kind, solver, of, np.array))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@each_type
def test_sparse_samples(of: str) -> None:
    X, y, _, _ = (one[:300] for one in data(of))
    X = np.where(X > 0, X, 0)
    found = []
    for f in (np.array, big_endian):
        rows = scipy.sparse.csr_array(X)
        rows.data = f(rows.data)
        model = fastdnn.MLPClassifier((8,), max_iter=3, random_state=0).fit(rows, y)
        found.append([model.coefs_, model.predict_proba(rows)])
    same(found[1], found[0])
