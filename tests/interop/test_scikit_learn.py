"""Networks of scikit-learn made Sequentials, and the other way round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import neural_network

import fastdnn
from fastdnn import Dense, Dropout, LayerNormalization, Sequential

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
rng = np.random.default_rng(0)
X = rng.normal(size=(90, 4))
NUMBERS = np.arange(90) % 3
LABELS: dict[str, Any] = {
    "names": np.array(["a", "b", "c"])[NUMBERS],
    "two": NUMBERS == 1,
    "one": NUMBERS * 0,
    "dates": np.array(["2024-02-29", "2025-01-01", "2026-01-01"], "datetime64[D]")[NUMBERS],
    "several": np.stack([NUMBERS == 0, NUMBERS > 0, X[:, 0] > 0], axis=1).astype(int),
}


@pytest.mark.parametrize("library", [neural_network, fastdnn])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("name", LABELS)
def test_classifiers_and_back(name: str, activation: str, library: Any) -> None:
    y = LABELS[name]
    mlp = library.MLPClassifier((6, 5), activation, max_iter=3, random_state=0).fit(X, y)
    model, P = fastdnn.from_sklearn(mlp), mlp.predict_proba(X)
    np.testing.assert_allclose(model.predict(X), P[:, -model.predict(X).shape[1] :], atol=1e-12)
    assert np.array_equal(model.to_sklearn().classes_, mlp.classes_)
    back = model.to_sklearn()
    assert type(back) is neural_network.MLPClassifier
    np.testing.assert_allclose(back.predict_proba(X), P, atol=1e-12)
    assert np.array_equal(back.predict(X), mlp.predict(X))
    assert back.score(X, y) == mlp.score(X, y)
    before = model.parameters.copy()
    assert back.partial_fit(X, y).loss_ > 0
    assert np.array_equal(model.parameters, before)


@pytest.mark.parametrize("outputs", [1, 2])
def test_regressors_and_back(outputs: int) -> None:
    y = X[:, :outputs].squeeze()
    mlp = neural_network.MLPRegressor(hidden_layer_sizes=(6,), max_iter=3, random_state=0)
    mlp.fit(X.astype("float32"), y)
    model = fastdnn.from_sklearn(mlp)
    assert model.dtype == "float32"
    np.testing.assert_allclose(model.predict(X).squeeze(), mlp.predict(X), atol=1e-6)
    back = model.to_sklearn()
    np.testing.assert_allclose(back.predict(X), mlp.predict(X), atol=1e-12)
    back.partial_fit(X, y)


def test_two_outputs_become_one_and_logits_probabilities() -> None:
    model = Sequential([Dense(5, "relu"), Dropout(0.1), Dense(2, "softmax")], input_size=4, seed=0)
    np.testing.assert_allclose(model.to_sklearn().predict_proba(X), model.predict(X), atol=1e-6)
    logits = Sequential([Dense(3)], input_size=4, seed=0)
    logits.compile(loss=fastdnn.SparseCategoricalCrossentropy(from_logits=True))
    assert np.array_equal(logits.to_sklearn().predict(X), logits.predict(X).argmax(axis=1))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Dense(3, "relu"), Dense(3, "tanh"), Dense(2)], r"layers\[1\], Dense: .*want relu"),
        ([Dense(3), LayerNormalization(), Dense(2)], r"layers\[1\], LayerNormalization: "),
        ([Dense(3, "gelu"), Dense(2)], r"layers\[0\], Dense: .*one of identity"),
        ([Dense(2, "relu")], r"layers\[0\], Dense: want softmax or sigmoid"),
    ],
)
def test_what_scikit_learn_cannot_have_is_named(layers: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Sequential(layers, input_size=4).to_sklearn()


def test_what_is_no_fitted_network_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^mlp: want a fitted MLPClassifier"):
        fastdnn.from_sklearn(3)
    for library in (neural_network, fastdnn):
        with pytest.raises(ValueError, match="not fitted"):
            fastdnn.from_sklearn(library.MLPClassifier())
