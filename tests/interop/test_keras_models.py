"""Models of Keras made Sequentials, and the other way round, compared with Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import BatchNormalization, Dense, Residual, Sequential
from fastdnn.kernels import ACTIVATIONS
from fastdnn.layer import Layer
from tests.interop import cases
from tests.interop.cases import DTYPES, LAYERS, activated, assert_close, assert_same, net
from tests.migration import imported

keras = imported("Keras")
# with PyTorch, Keras's layers of float64 are no more exact than those of float32: NumPy's products
# of their weights are 3e-7 away from them, and 1e-15 from fastdnn's
TOLERANCE = 1e-6
OTHERS = ("Residual", "Embedding", "together")  # that a keras.Sequential has not
SEQUENTIAL = [name for name in LAYERS if not any(one in name for one in OTHERS)]
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def outputs(model: Any, X: Any) -> Any:
    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(model(X, training=False)))


def test_every_entry_of_the_tables_has_its_counterpart() -> None:
    from fastdnn.interop import keras_models

    missing = set(ACTIVATIONS) ^ set(keras_models.ACTIVATIONS)
    assert not missing, cases.hint("ACTIVATIONS of keras_models.py", missing)
    has_none = {name for name in cases.kinds() if any(one in name for one in OTHERS)}
    missing = (cases.kinds() - has_none) ^ {kind.__name__ for kind in keras_models.WRITERS}
    assert not missing, cases.hint("WRITERS and READERS of keras_models.py", missing)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SEQUENTIAL)
def test_layers_to_keras_and_its_files_and_back(name: str, dtype: str, tmp_path: Path) -> None:
    model, X = net(name, dtype)
    X = X.astype("float32").astype(dtype)  # as Keras rounds it
    theirs = model.to_keras()
    assert_close(outputs(theirs, X), model.predict(X), TOLERANCE)
    assert_same(fastdnn.from_keras(theirs), model)
    theirs.save(tmp_path / "net.keras")
    assert_same(fastdnn.from_keras(tmp_path / "net.keras"), model)
    theirs.save_weights(tmp_path / "net.weights.h5")
    other = cases.with_numbers(LAYERS[name], dtype, seed=9)
    other.load_weights(tmp_path / "net.weights.h5")
    assert_same(other, model)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_to_keras_and_back(name: str, dtype: str) -> None:
    model, X = activated(name, dtype, alone=False)
    X = X.astype("float32").astype(dtype)  # as Keras rounds it
    theirs = model.to_keras()
    assert_close(outputs(theirs, X), model.predict(X), TOLERANCE)
    assert_same(fastdnn.from_keras(theirs), model)


def test_a_model_of_kerass_own() -> None:
    K = keras.layers
    inner = keras.Sequential([K.Dense(8, activation=K.ReLU())])
    model = keras.Sequential(
        [keras.Input((5, 4)), K.Flatten(), K.Dense(6, "leaky_relu"), inner, K.Dense(3, "softmax")]
    )
    ours = fastdnn.from_keras(model)
    X = np.random.default_rng(0).normal(size=(7, 5, 4)).astype("float32")
    assert_close(ours.predict(X.reshape(7, -1)), outputs(model, X), 1e-6)
    kinds = [type(layer).__name__ for layer in ours.layers]
    assert kinds == ["Dense", "PReLU", "Dense", "Dense"]


def test_weights_of_other_layers_are_refused(tmp_path: Path) -> None:
    K, path = keras.layers, tmp_path / "net.weights.h5"
    theirs = [K.Dense(5), K.BatchNormalization(), K.Dropout(0.5), K.Dense(3)]
    keras.Sequential([keras.Input((4,)), *theirs]).save_weights(path)
    own: list[list[Layer]] = [
        [Dense(5)],
        [Dense(5), Dense(3)],
        [Dense(5), BatchNormalization(), Dense(3), Dense(3)],
        [Dense(6), BatchNormalization(), Dense(3)],
    ]
    for layers in own:
        model = Sequential(layers, input_size=4)
        before = model.parameters.copy()
        with pytest.raises(ValueError, match=r"got 8: |could not be loaded"):
            model.load_weights(path)
        assert np.array_equal(model.parameters, before)
    right = Sequential([Dense(5), BatchNormalization(), Dense(3)], input_size=4)
    right.load_weights(path)  # a dropout has no weights
    path.write_text("none")
    with pytest.raises(ValueError, match=r"^path: want a file of Keras's save_weights"):
        right.load_weights(path)


def test_what_has_no_counterpart_is_named(tmp_path: Path) -> None:
    K, X = keras.layers, keras.Input((4,))
    with pytest.raises(TypeError, match=r"^layers\[1\], GaussianNoise: "):
        fastdnn.from_keras(keras.Sequential([X, K.Dense(3), K.GaussianNoise(0.1)]))
    with pytest.raises(ValueError, match=r"^layers\[0\], Dense: .*'mish'; want linear"):
        fastdnn.from_keras(keras.Sequential([X, K.Dense(3, "mish")]))
    with pytest.raises(TypeError, match=r"^model: want a keras.Sequential, got int"):
        fastdnn.from_keras(3)
    with pytest.raises(FileNotFoundError):
        fastdnn.from_keras(tmp_path / "none.keras")
    with pytest.warns(UserWarning, match=r"layers\[0\]: bias_regularizer left out"):
        fastdnn.from_keras(keras.Sequential([X, K.Dense(3, bias_regularizer="l2")]))
    model = Sequential([Residual([Dense(4)]), Dense(3)], input_size=4)
    with pytest.raises(ValueError, match=r"^layers\[0\], Residual: a keras.Sequential has none"):
        model.to_keras()
    with pytest.raises(ValueError, match=r"^path: want a file \*\.weights\.h5"):
        model.load_weights(tmp_path / "w.h5")
