"""Residual blocks and PReLU of a model."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import (
    Activation,
    Dense,
    Dropout,
    LayerNormalization,
    PReLU,
    Residual,
    Sequential,
)

rng = np.random.default_rng(0)
X, y = rng.normal(size=(60, 6)), rng.integers(0, 3, 60)


def made(**settings: Any) -> Sequential:
    block = Residual([LayerNormalization(), Dense(12), Activation("relu"), Dropout(0.2), Dense(6)])
    layers = [block, PReLU(0.1), Residual([Residual([Dense(6, "tanh")])]), Dense(3, "softmax")]
    model = Sequential(layers, input_size=6, seed=3, **settings)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_a_block_adds_its_input() -> None:
    model = Sequential([Residual([Dense(6, "tanh")]), Dense(2)], input_size=6, dtype="float64")
    inner, last = model.layers[0].layers[0], model.layers[1]  # type: ignore[attr-defined]
    wanted = (X + np.tanh(X @ inner.W.T + inner.b)) @ last.W.T + last.b  # type: ignore[attr-defined]
    np.testing.assert_allclose(model.predict(X), wanted, rtol=1e-12, atol=1e-12)


def test_an_activation_after_a_block_is_of_the_sum() -> None:
    layers = [Residual([Activation("relu"), Dense(6)]), Activation("relu"), Dense(2)]
    model = Sequential(layers, input_size=6, dtype="float64")
    inner, last = layers[0].layers[1], layers[2]  # type: ignore[attr-defined]
    A = np.maximum(X + np.maximum(X, 0) @ inner.W.T + inner.b, 0)  # type: ignore[attr-defined]
    wanted = A @ last.W.T + last.b  # type: ignore[attr-defined]
    np.testing.assert_allclose(model.predict(X), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", ["pickle", "deepcopy", "file"])
def test_a_copy_is_a_model_of_its_own(way: str, tmp_path: Path) -> None:
    model = made()
    model.fit(X, y, epochs=2, verbose=0)
    if way == "file":
        model.save(tmp_path / "model.safetensors")
        other = fastdnn.load(tmp_path / "model.safetensors")
    else:
        other = pickle.loads(pickle.dumps(model)) if way == "pickle" else copy.deepcopy(model)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    assert repr(other) == repr(model)
    before = model.get_weights()
    other.fit(X, y, verbose=0)
    for one, same in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)
    inner = other.layers[0].layers[1]  # type: ignore[attr-defined]
    inner.W = 0.0
    assert (other.get_weights()[2] == 0).all()
    assert not (model.get_weights()[2] == 0).all()


def test_a_block_that_does_not_fit_is_refused() -> None:
    message = r"^Residual.layers: want as many outputs as inputs, got 6 inputs and 5 outputs"
    with pytest.raises(ValueError, match=message):
        Sequential([Residual([Dense(5)]), Dense(2)], input_size=6)
    with pytest.raises(ValueError, match=r"^Residual.layers: want at least one layer"):
        Residual([])
    for wrong in (3, Dense(2)):
        with pytest.raises(TypeError, match=r"^Residual.layers: want a list of layers"):
            Residual(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^Residual.layers: want layers, got 3"):
        Residual([3])  # type: ignore[list-item]


def test_a_layer_is_in_one_place_alone() -> None:
    shared = Dense(6)
    with pytest.raises(ValueError, match=r"^layers: one layer is there twice"):
        Sequential([shared, Residual([shared])])
    made_before = made()
    with pytest.raises(ValueError, match=r"^layers: a \w+ layer belongs to another model"):
        Sequential([made_before.layers[0], Dense(2)])
    with pytest.raises(AttributeError, match=r"^Dense.units: want 12"):
        made_before.layers[0].layers[1].units = 3  # type: ignore[attr-defined]


def test_prelu_is_trained() -> None:
    model = made()
    layer = model.layers[1]
    assert isinstance(layer, PReLU)
    assert layer.alpha.shape == (6,)
    np.testing.assert_allclose(layer.alpha, 0.1, rtol=1e-6)
    model.fit(X, y, epochs=3, verbose=0)
    assert (layer.alpha != np.float32(0.1)).all()
    layer.alpha = 1.0
    assert (layer.alpha == 1).all()
    assert repr(PReLU()) == "PReLU()"
    with pytest.raises(TypeError, match=r"^PReLU.alpha_initializer: want"):
        PReLU("zeros")  # type: ignore[arg-type]


def test_dropout_in_a_block_thins_the_inner_path_alone() -> None:
    model = Sequential(
        [Residual([Dropout(0.5), Dense(6)]), Dense(6)], input_size=6, dtype="float64"
    )
    inner, last = model.layers[0].layers[1], model.layers[1]  # type: ignore[attr-defined]
    inner.W, last.W = 0.0, np.eye(6)  # type: ignore[attr-defined]
    model.compile("sgd", "mse")
    # whatever is thinned, A is X: so is the loss of a step 0
    assert model.train_on_batch(X, X)["loss"] < 1e-30
