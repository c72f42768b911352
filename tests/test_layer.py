"""What every layer has in common: settings that stay, a place, tensors, and its repr."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from fastdnn import (
    Activation,
    BatchNormalization,
    Dense,
    Dropout,
    LayerNormalization,
    PReLU,
    Residual,
    Sequential,
)
from fastdnn.layer import Layer, assign
from fastdnn.stack import Stack


def test_a_layer_without_parameters_says_so() -> None:
    for layer in (BatchNormalization(), PReLU(), LayerNormalization()):
        assert not layer.is_placed
        with pytest.raises(RuntimeError, match=r"^this layer has no parameters yet"):
            layer.tensors()


def test_settings_stay_once_the_model_is_built() -> None:
    layer = LayerNormalization(epsilon=0.5)
    layer.epsilon = 0.25
    Sequential([layer, Dense(2)], input_size=3)
    with pytest.raises(AttributeError, match=r"^LayerNormalization.epsilon: want 0.25, as the"):
        layer.epsilon = 0.5
    assert layer.epsilon == 0.25


def test_a_copy_has_no_place() -> None:
    layer = Dense(2)
    model = Sequential([layer], input_size=3)
    other = layer.unplaced()
    assert layer.is_placed
    assert not other.is_placed
    other.place(model.engine, 1)
    np.testing.assert_array_equal(other.W, layer.W)
    other.leave()
    assert not other.is_placed


def test_reprs_name_what_is_not_the_default() -> None:
    assert repr(BatchNormalization(momentum=0.5)) == "BatchNormalization(momentum=0.5)"
    assert repr(Activation("relu")) == "Activation('relu')"
    assert repr(Residual([Dense(2), Dropout(0.5)])) == "Residual([Dense(2), Dropout(0.5)])"


def test_assign_takes_a_number_or_the_shape() -> None:
    view = np.zeros(3)
    assign("gamma", view, 2.0)
    np.testing.assert_array_equal(view, [2, 2, 2])
    assign("gamma", view, [1, 2, 3])
    np.testing.assert_array_equal(view, [1, 2, 3])
    with pytest.raises(ValueError, match=r"^gamma: want shape \(3,\), got \(2,\)"):
        assign("gamma", view, [1, 2])
    with pytest.raises(ValueError, match=r"^gamma: want finite"):
        assign("gamma", view, np.nan)
    with pytest.raises(AttributeError, match=r"^gamma: this layer has none"):
        assign("gamma", None, 1.0)


def test_a_kind_of_ones_own_lays_itself_out() -> None:
    @dataclass(eq=False)
    class Twice(Layer):
        def lay(self, stack: Stack) -> None:
            stack.operate("prelu", owner=self, alpha=2.0)

    model = Sequential([Twice(), Dense(1, use_bias=False)], input_size=2, dtype="float64")
    W = model.layers[1].W  # type: ignore[attr-defined]
    X = np.array([[1.0, -1.0]])
    np.testing.assert_allclose(model.predict(X), [[W[0, 0] - 2 * W[0, 1]]])
    with pytest.raises(NotImplementedError):
        Layer().lay(Stack(2))


def test_a_user_sees_the_layers_in_keras_s_shapes() -> None:
    model = Sequential([Dense(4), BatchNormalization(), Dense(2)], input_size=3)
    layer = model.layers[0]
    assert isinstance(layer, Dense)
    assert [w.shape for w in layer.weights()] == [(3, 4), (4,)]
    assert list(layer.tensors()) == ["W", "b"]
