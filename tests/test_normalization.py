"""Normalisation layers of a model: their settings, their tensors, and what training does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import (
    Activation,
    BatchNormalization,
    Dense,
    LayerNormalization,
    RMSNormalization,
    Sequential,
)
from fastdnn._config import CLASSES
from fastdnn.normalization import (
    NORMALIZATIONS,
    Normalization,
    check_normalization,
    hidden_layers,
)

rng = np.random.default_rng(0)
X, y = rng.normal(size=(90, 5)) * 4 + 2, rng.integers(0, 3, 90)
KINDS = [
    kind for kind in CLASSES.values() if isinstance(kind, type) and issubclass(kind, Normalization)
]
each_kind = pytest.mark.parametrize("kind", KINDS)


def made(layer: Normalization, **settings: Any) -> Sequential:
    model = Sequential(
        [Dense(8), layer, Activation("relu"), Dense(3, "softmax")], input_size=5, seed=3, **settings
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@each_kind
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_are_normalised(kind: Any, dtype: str) -> None:
    layer = kind(epsilon=1e-12)
    model = Sequential([layer, Dense(5, use_bias=False)], input_size=5, dtype=dtype)
    model.layers[1].W = np.eye(5)  # type: ignore[attr-defined]
    model.compile("sgd", "mse")
    outputs = np.empty((90, 5))
    if kind is BatchNormalization:
        layer.moving_mean[...], layer.moving_variance[...] = X.mean(0), X.var(0)
    outputs = model.predict(X).astype(np.float64)
    axis = 0 if kind is BatchNormalization else 1
    near = {"rtol": 0, "atol": 1e-5 if dtype == "float32" else 1e-10}
    np.testing.assert_allclose((outputs**2).mean(axis), 1, **near)
    if kind is not RMSNormalization:
        np.testing.assert_allclose(outputs.mean(axis), 0, **near)
    layer.gamma = 3.0
    np.testing.assert_allclose(model.predict(X), 3 * outputs, rtol=1e-5)
    if kind is not RMSNormalization:
        layer.beta[...] = np.arange(5)
        np.testing.assert_allclose(model.predict(X), 3 * outputs + np.arange(5), rtol=1e-4)


@each_kind
def test_the_defaults_are_keras_s(kind: Any) -> None:
    assert kind().epsilon == (1e-6 if kind is RMSNormalization else 1e-3)
    assert repr(kind()) == f"{kind.__name__}()"
    assert repr(kind(epsilon=0.5)) == f"{kind.__name__}(epsilon=0.5)"
    assert BatchNormalization().momentum == 0.99


@each_kind
@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("epsilon", 0, ValueError),
        ("epsilon", "1", TypeError),
        ("epsilon", np.nan, ValueError),
        ("center", 1, TypeError),
        ("scale", "no", TypeError),
        ("momentum", 1.5, ValueError),
        ("momentum", -0.1, ValueError),
    ],
)
def test_a_wrong_setting_is_refused(kind: Any, setting: str, value: Any, error: Any) -> None:
    if setting not in kind.__dataclass_fields__:
        with pytest.raises(TypeError, match=setting):
            kind(**{setting: value})
        return
    with pytest.raises(error, match=rf"^{kind.__name__}\.{setting}: want "):
        kind(**{setting: value})


@each_kind
def test_a_file_keeps_everything(kind: Any, tmp_path: Path) -> None:
    model = made(kind(epsilon=0.01))
    model.fit(X, y, epochs=3, verbose=0)
    model.save(tmp_path / "model.safetensors")
    again = fastdnn.load(tmp_path / "model.safetensors")
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    for one in (model, again):
        one.fit(X, y, epochs=2, verbose=0, shuffle=False)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_are_in_keras_s_order() -> None:
    model = made(BatchNormalization())
    assert [w.shape for w in model.get_weights()] == [(5, 8), *[(8,)] * 5, (8, 3), (3,)]
    layer = model.layers[1]
    assert isinstance(layer, BatchNormalization)
    moved = [np.full_like(w, i) for i, w in enumerate(model.get_weights(), 1)]
    model.set_weights(moved)
    assert (layer.gamma == 3).all()
    assert (layer.beta == 4).all()
    assert (layer.moving_mean == 5).all()
    assert (layer.moving_variance == 6).all()
    assert model.count_params() == 5 * 8 + 8 + 8 + 8 + 8 * 3 + 3
    names = list(model._named_parameters())
    assert names == [
        "W1", "b1", "gamma2", "beta2", "moving_mean2", "moving_variance2", "W3", "b3",
    ]  # fmt: skip


def test_without_scale_and_center_nothing_is_trained() -> None:
    model = made(LayerNormalization(center=False, scale=False))
    layer = model.layers[1]
    assert isinstance(layer, LayerNormalization)
    assert layer.gamma is None
    assert layer.beta is None
    with pytest.raises(AttributeError, match=r"^gamma: this layer has none"):
        layer.gamma = 1.0
    assert len(model.loss_and_gradients(X, y)[1]) == 2


@pytest.mark.parametrize("batch", [7, 30, 90])
def test_moving_averages_follow_each_batch(batch: int) -> None:
    layer = BatchNormalization(momentum=0.5)
    model = Sequential([layer, Dense(2)], input_size=5, dtype="float64")
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((90, 2)), batch_size=batch, epochs=2, shuffle=False, verbose=0)
    mean, variance = np.zeros(5), np.ones(5)
    for _ in range(2):
        for begin in range(0, 90, batch):
            rows = X[begin : begin + batch]
            mean, variance = (mean + rows.mean(0)) / 2, (variance + rows.var(0)) / 2
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-12)


def test_a_loop_of_ones_own_moves_them_as_fit_does() -> None:
    models = [made(BatchNormalization()) for _ in range(2)]
    for _ in range(3):
        models[0].train_on_batch(X, y)
        models[1].apply_gradients(models[1].loss_and_gradients(X, y)[1])
    for one, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    before = models[1].get_weights()
    models[1].loss_and_gradients(X, y)
    models[1].predict(X)
    models[1].evaluate(X, y)
    for one, other in zip(before, models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # gradients of nobody's: there is no batch to follow
    models[1].apply_gradients(models[0].loss_and_gradients(X, y)[1])
    still = models[1].get_weights()
    models[1].apply_gradients(models[0].loss_and_gradients(X, y)[1])
    np.testing.assert_array_equal(still[4], models[1].get_weights()[4])


def test_a_step_that_diverges_moves_nothing() -> None:
    model = made(BatchNormalization())
    model.fit(X, y, verbose=0)
    before = model.get_weights()
    wrong = X.astype(np.float32)
    wrong[40] = 3e38
    with pytest.raises(fastdnn.DivergenceError):
        model.fit(wrong, y, batch_size=90, verbose=0)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@each_kind
def test_a_sample_is_predicted_alike_in_any_batch(kind: Any) -> None:
    model = made(kind())
    model.fit(X, y, verbose=0)
    whole = model.predict(X)
    for batch in (1, 7, 64):
        np.testing.assert_array_equal(model.predict(X, batch_size=batch), whole)
    np.testing.assert_array_equal(model.predict(X[3:4]), whole[3:4])


def test_the_jacobian_is_that_of_predictions() -> None:
    model = made(BatchNormalization(), dtype="float64")
    model.fit(X, y, epochs=3, verbose=0)
    J, h = model.jacobian(X[:3]), 1e-6
    for k in range(5):
        up, down = X[:3].copy(), X[:3].copy()
        up[:, k] += h
        down[:, k] -= h
        slope = (model.predict(up) - model.predict(down)) / (2 * h)
        np.testing.assert_allclose(J[:, :, k], slope, atol=1e-8)


def test_names_of_the_table() -> None:
    assert set(NORMALIZATIONS.values()) == set(KINDS)
    for name in (None, *NORMALIZATIONS):
        check_normalization(name)
    with pytest.raises(ValueError, match="normalization: unknown name 'batsh'; did you mean 'batc"):
        check_normalization("batsh")
    with pytest.raises(TypeError, match=r"normalization: want one of .* got 3"):
        hidden_layers(4, "relu", normalization=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [None, *NORMALIZATIONS])
@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_a_hidden_layer_of_several(name: str | None, dropout: float) -> None:
    settings: dict[str, Any] = {"kernel_regularizer": fastdnn.L2(0.5), "use_bias": False}
    layers = hidden_layers(7, "relu", normalization=name, dropout=dropout, **settings)
    wanted: list[Any] = [Dense]
    if name is not None:
        wanted += [NORMALIZATIONS[name], Activation]
    wanted += [fastdnn.Dropout] * (dropout > 0)
    assert [type(layer) for layer in layers] == wanted
    dense: Any = layers[0]
    assert (dense.units, dense.use_bias, dense.kernel_regularizer) == (7, False, fastdnn.L2(0.5))
    assert dense.kernel_initializer == "he_normal"
    assert dense.activation == ("relu" if name is None else "identity")
