"""Embeddings of a model: what they take, and that they learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

import fastdnn
from fastdnn import (
    ColumnEmbedding,
    Dense,
    Dropout,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    Sequential,
)
from fastdnn.embedding import check_categories, embedding_size

rng = np.random.default_rng(0)
X = np.column_stack([rng.integers(0, 4, 80), rng.normal(size=80), rng.integers(0, 300, 80)])
y = (X[:, 0] % 2 + X[:, 1])[:, None]


def made(**settings: Any) -> Sequential:
    layers = [ColumnEmbedding([2, 0], [300, 4], [5, 2]), Dense(8, "relu"), Dense(1)]
    model = Sequential(layers, input_size=3, seed=1, **settings)
    model.compile("adam", "mse")
    return model


def test_a_category_becomes_its_vector() -> None:
    model = made(dtype="float64")
    layer, first = model.layers[:2]
    assert isinstance(layer, ColumnEmbedding)
    assert isinstance(first, Dense)
    assert [E.shape for E in layer.E] == [(300, 5), (4, 2)]
    assert all(0 < np.abs(E).max() <= 0.05 for E in layer.E)
    vectors = [E[X[:, c].astype(int)] for E, c in zip(layer.E, (2, 0), strict=True)]
    inside = np.hstack([*vectors, X[:, 1:2]])
    last = model.layers[2]
    assert isinstance(last, Dense)
    A = np.maximum(inside @ first.W.T + first.b, 0) @ last.W.T + last.b
    np.testing.assert_allclose(model.predict(X), A, rtol=1e-12)
    names = list(model._named_parameters())
    assert names == ["E11", "E21", "W2", "b2", "W3", "b3"]


@pytest.mark.parametrize("wrong", [-1, 4, 1.5, np.nan])
def test_another_number_than_a_category_is_refused(wrong: float) -> None:
    model = made()
    spoiled = X.copy()
    spoiled[7, 0] = wrong
    message = r"X: want (whole numbers from 0 to 3 in column 0, .* at X\[7, 0\]|finite)"
    for call in (
        lambda: model.predict(spoiled),
        lambda: model.fit(spoiled, y, verbose=0),
        lambda: model.evaluate(spoiled, y),
        lambda: model.train_on_batch(spoiled, y),
        lambda: model.jacobian(spoiled),
        lambda: model.loss_and_gradients(spoiled, y),
        lambda: model.predict(iter([spoiled])),
        lambda: model.fit(iter([(spoiled, y)]), verbose=0),
        lambda: model.fit(X, y, validation_data=(spoiled, y), verbose=0),
        lambda: model.predict(csr_array(spoiled)),
    ):
        before = model.get_weights()
        with pytest.raises(ValueError, match=message):
            call()
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_sparse_rows_and_integers_are_taken() -> None:
    model = made()
    np.testing.assert_array_equal(model.predict(csr_array(X)), model.predict(X))
    whole = X.astype(int)
    np.testing.assert_array_equal(model.predict(whole), model.predict(whole.astype(float)))
    check_categories(whole, {0: 4})


def test_only_the_categories_of_a_batch_move() -> None:
    model = made()
    layer = model.layers[0]
    assert isinstance(layer, ColumnEmbedding)
    before = [E.copy() for E in layer.E]
    rows = X[:5]
    model.compile("sgd", "mse")
    model.train_on_batch(rows, y[:5])
    for E, old, column in zip(layer.E, before, (2, 0), strict=True):
        moved = np.flatnonzero((old != E).any(axis=1))
        assert set(moved) == set(rows[:, column].astype(int))


def test_a_file_keeps_embeddings(tmp_path: Path) -> None:
    layers = [
        ColumnEmbedding([0], [4], [2]),
        PiecewiseLinearEmbedding.of(rng.normal(size=(50, 4)), 3, columns=[2]),
        PeriodicEmbedding(3, columns=[1]),
        Dense(1),
    ]
    model = Sequential(layers, input_size=3, seed=1)
    model.compile("adam", "mse")
    model.fit(X, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.safetensors")
    again = fastdnn.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert repr(again) == repr(model)


def test_they_learn_what_a_line_cannot() -> None:
    x = np.linspace(-1, 1, 400)[:, None]
    steep = np.sin(25 * x)
    losses = {}
    for name, first in (
        ("none", []),
        ("periodic", [PeriodicEmbedding(16, scale=3.0)]),
        ("piecewise", [PiecewiseLinearEmbedding.of(x, 40)]),
    ):
        model = Sequential([*first, Dense(32, "relu"), Dense(1)], input_size=1, seed=0)
        model.compile("adam", "mse")
        model.fit(x, steep, epochs=60, verbose=0)
        losses[name] = model.evaluate(x, steep)["loss"]
    assert losses["periodic"] < 0.1 * losses["none"]
    assert losses["piecewise"] < 0.5 * losses["none"]


def test_boundaries_come_from_quantiles() -> None:
    values = np.arange(101.0)[:, None]
    assert PiecewiseLinearEmbedding.of(values, 4).boundaries == ((0, 25, 50, 75, 100),)
    coarse = np.repeat([[0.0], [1.0]], 50, axis=0)  # equal quantiles
    assert PiecewiseLinearEmbedding.of(coarse, 2).boundaries == ((0, 0.5, 1),)
    with pytest.raises(ValueError, match=r"^X: want different numbers in column 1, got 3"):
        PiecewiseLinearEmbedding.of(np.column_stack([np.arange(5), np.full(5, 3)]))
    for wrong in (np.empty((0, 2)), np.full((3, 1), np.nan), np.arange(3.0)):
        with pytest.raises(ValueError, match=r"^X: want finite samples in rows"):
            PiecewiseLinearEmbedding.of(wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ColumnEmbedding([], [], []), r"^ColumnEmbedding.columns: want different columns"),
        (lambda: ColumnEmbedding([1, 1], [2, 2], [3, 3]), r"^ColumnEmbedding.columns: want diff"),
        (lambda: ColumnEmbedding([1], [2, 2], [3]), r"^ColumnEmbedding.cardinalities: want 1 num"),
        (lambda: ColumnEmbedding([1], [2], [3, 3]), r"^ColumnEmbedding.dims: want 1 numbers"),
        (lambda: ColumnEmbedding([1], [0], [3]), r"^ColumnEmbedding.cardinalities\[0\]: want"),
        (lambda: PeriodicEmbedding(0), r"^PeriodicEmbedding.frequencies: want"),
        (lambda: PeriodicEmbedding(scale=0), r"^PeriodicEmbedding.scale: want"),
        (lambda: PiecewiseLinearEmbedding([[0, 0]]), r"boundaries: want finite boundaries that in"),
        (lambda: PiecewiseLinearEmbedding([[0]]), r"boundaries: want shape \(columns, T \+ 1\)"),
        (lambda: PiecewiseLinearEmbedding([[0, 1]], [0, 1]), r"columns: want 1 columns"),
        (lambda: Sequential([Dropout(0.1), ColumnEmbedding([0], [2], [1]), Dense(1)]), "first"),
        (
            lambda: Sequential([ColumnEmbedding([3], [2], [1]), Dense(1)], input_size=3),
            r"^ColumnEmbedding.columns: want columns from 0 to 2, got 3",
        ),
        (
            lambda: Sequential([PeriodicEmbedding(columns=[3]), Dense(1)], input_size=3),
            r"^PeriodicEmbedding.columns: want columns from 0 to 2, got 3",
        ),
        (
            lambda: Sequential([PiecewiseLinearEmbedding([[0, 1]]), Dense(1)], input_size=3),
            r"^PiecewiseLinearEmbedding.boundaries: want a row for each of 3 columns, got 1",
        ),
    ],
)
def test_a_wrong_setting_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("wrong", [5, "01", None])
def test_a_setting_of_another_kind_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^ColumnEmbedding.columns: want a list of whole numbers"):
        ColumnEmbedding(wrong, [2], [1])


def test_the_rule_of_the_size() -> None:
    # by hand: 1.6 * 10^0.56 = 5.81, 1.6 * 1000^0.56 = 76.6
    assert [embedding_size(n) for n in (1, 10, 1000, 10**6)] == [2, 6, 77, 600]
