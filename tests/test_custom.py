"""Models with a user's own activations and losses."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import ArrayLoss, Dense, Dropout, ScalarActivation, ScalarLoss
from tests import own
from tests.nets import Array

M = 90
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_function = pytest.mark.parametrize("function", own.ARRAYS.values(), ids=own.ARRAYS)


def samples(n: int = 2) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(M, 4))
    return X, np.sin(X[:, :n] + X[:, 1 : n + 1])


def model_of(
    g: Any = "tanh", loss: Any = "mse", *, n: int = 2, metrics: Any = (), **options: Any
) -> fastdnn.Sequential:
    layers: list[Any] = [Dropout(0.1), Dense(6, g, kernel_initializer="glorot_uniform")]
    layers += [Dropout(0.2), Dense(n, kernel_regularizer="l2")]
    model = fastdnn.Sequential(
        layers, **{"input_size": 4, "seed": 1, "dtype": "float64", **options}
    )
    model.compile("adam", loss, metrics)
    return model


def everything(model: fastdnn.Sequential, n: int = 2, **more: Any) -> list[Any]:
    """What every way to use a model gives."""
    X, y = samples(n)
    fitted = model.fit(X, y, epochs=3, batch_size=16, validation_split=0.1, verbose=0, **more)
    loss, pairs = model.loss_and_gradients(X, y)
    return [
        fitted.history["loss"], fitted.history["val_loss"], model.parameters.copy(),
        list(model.train_on_batch(X, y).values()), list(model.evaluate(X, y).values()),
        model.predict(X), loss, *(x for pair in pairs for x in pair),
    ]  # fmt: skip


def assert_alike(got: list[Any], wanted: list[Any], dtype: str) -> None:
    for x, y in zip(got, wanted, strict=True):
        # errors of single roundings, through some twenty steps of Adam
        tolerance = 2e4 * np.finfo(dtype).eps
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@each_dtype
@pytest.mark.parametrize("name", own.ACTIVATIONS)
def test_own_activation_and_loss_train_as_the_tables(dtype: str, name: str) -> None:
    wanted = everything(model_of(name, "huber", metrics=["mae"], dtype=dtype))
    g, loss = own.activation(name), own.loss("huber")
    assert_alike(everything(model_of(g, loss, metrics=["mae"], dtype=dtype)), wanted, dtype)


@each_dtype
@each_function
def test_a_loss_of_arrays_trains_as_the_tables(dtype: str, function: Any) -> None:
    wanted = everything(model_of(metrics=["mae"], dtype=dtype))
    model = model_of(loss=ArrayLoss(function), metrics=["mae"], dtype=dtype)
    assert_alike(everything(model), wanted, dtype)


@pytest.mark.parametrize("loss", [own.loss("mean_squared_error"), ArrayLoss(own.square_of_arrays)])
def test_weights_of_samples_and_classes(loss: Any) -> None:
    more = {"sample_weight": np.linspace(0.5, 1.5, M)}
    wanted = everything(model_of(), **more)
    assert_alike(everything(model_of(loss=loss), **more), wanted, "float64")
    X, y = samples()
    one_hot = np.eye(y.shape[1])[np.arange(M) % y.shape[1]]
    of_class = [model_of(), model_of(loss=loss)]
    for model in of_class:
        model.fit(X, one_hot, class_weight={0: 2.0, 1: 0.5}, verbose=0)
    np.testing.assert_allclose(of_class[1].parameters, of_class[0].parameters, rtol=1e-12)
    weights = np.linspace(0, 1, M)
    got = [
        model.evaluate(X, y, sample_weight=weights)["loss"]
        for model in (model_of(), model_of(loss=loss))
    ]
    assert got[0] == pytest.approx(got[1], rel=1e-12)


def test_a_loss_of_a_batch_takes_no_weights() -> None:
    model, (X, y) = model_of(loss=ArrayLoss(own.square_of_batch)), samples()
    with pytest.raises(ValueError, match="sample_weight: want a loss per sample from 'square_of_b"):
        model.fit(X, y, sample_weight=np.ones(M), verbose=0)


def test_one_output_gets_targets_of_its_shape_and_others_theirs() -> None:
    seen = []

    def function(y: Array, a: Array) -> tuple[Array, Array]:
        seen.append((y.shape[1:], y.dtype))
        return np.zeros(len(a)), np.zeros(a.shape)

    X, _ = samples()
    for y, wanted in (
        (np.arange(M), (1,)),
        (np.arange(2 * M).reshape(M, 2), (2,)),
    ):
        del seen[:]
        model_of(loss=ArrayLoss(function), n=1).evaluate(X, y)
        assert set(seen) == {(wanted, y.dtype)}
    del seen[:]
    model_of(loss=ArrayLoss(function), n=3).evaluate(X, np.arange(M))
    assert set(seen) == {((), np.arange(M).dtype)}
    with pytest.raises(ValueError, match="y: want finite numbers"):
        model_of(loss=ArrayLoss(function)).evaluate(X, np.full(M, np.nan))


def test_layer_blocks_take_an_own_activation() -> None:
    A_prev, _ = samples()
    results = []
    for g in ("silu", own.activation("silu")):
        layer = model_of(g).layers[1]
        assert isinstance(layer, Dense)
        A, cache = layer.forward(A_prev.T)
        results.append([A, *layer.backward(np.cos(A), cache)])
    assert_alike(results[1], results[0], "float64")


# ------------------------------------------------------------------------------- what is refused
def test_functions_alone_are_refused() -> None:
    with pytest.raises(TypeError, match=r"loss: want .* got <function square_of_.* ArrayLoss\("):
        model_of(loss=own.square_of_arrays)
    with pytest.raises(TypeError, match=r"want .* got <function swish .* want ScalarActivation\("):
        Dense(3, own.swish)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: ScalarActivation(own.swish, own.swish), ValueError, "ScalarActivation.g_prime: w"),
        (lambda: ScalarLoss(own.square, own.square), ValueError, "ScalarLoss.derivative: want"),
        (lambda: ScalarActivation(own.swish, 3), TypeError, "ScalarActivation.g_prime: want a"),
        (lambda: ScalarLoss(own.square, own.swish), TypeError, "ScalarLoss.derivative: numba .*"),
        (lambda: ScalarLoss(lambda a, y: str(a), own.square), TypeError, ".* or want an ArrayLoss"),
        (lambda: ArrayLoss(3), TypeError, "ArrayLoss.function: want a function of (y_true"),
        (lambda: ArrayLoss(own.square_of_batch, name="huber"), ValueError, "ArrayLoss.name: want"),
        (lambda: ArrayLoss(own.square_of_batch, name=3), TypeError, "ArrayLoss.name: want a s"),
        (lambda: ArrayLoss(own.square_of_batch, check=1), TypeError, "ArrayLoss.check: want True"),
        (
            lambda: ScalarActivation(own.relu, own.relu_prime),
            ValueError,
            "ScalarActivation.name: want a name that fastdnn has not taken, got 'relu'",
        ),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(make: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says.replace("(", r"\(").replace(")", r"\)")):
        make()


def test_a_surrogate_derivative_may_be_meant() -> None:
    def sign(z: float) -> float:
        return 1.0 if z > 0 else -1.0

    def near_0(z: float) -> float:
        return 1.0 if abs(z) < 1 else 0.0

    with pytest.raises(ValueError, match="want 0, as finite differences give, got 1"):
        ScalarActivation(sign, near_0)
    model = model_of(ScalarActivation(sign, near_0, check=False))
    X, y = samples()
    (dW, _), _ = model.loss_and_gradients(X, y)[1]
    assert np.abs(dW).max() > 0
    ScalarLoss(own.square, lambda a, y: 1.0, check=False)
    wrong = ArrayLoss(lambda y, a: (np.zeros(len(a)), np.ones(a.shape)), check=False)
    model_of(loss=wrong).fit(X, y, verbose=0)


@pytest.mark.parametrize(
    ("function", "error", "says"),
    [
        (lambda y, a: own.square_of_arrays(y, a)[0], TypeError, "as a tuple, got ndarray"),
        (lambda y, a: ((a - y) ** 2, a), ValueError, "got (16, 2) and (16, 2)"),
        (lambda y, a: (a[:, 0], a[:, 0]), ValueError, "got (16,) and (16,)"),
        (lambda y, a: ("x", a), TypeError, "of real numbers, got <U1 and float64"),
        (lambda y, a: (own.square_of_arrays(y, a)[0], a - y / 2), ValueError, ": want .*, as fin"),
        (lambda y, a: (own.square_of_batch(y, a)[0], a - y / 2), ValueError, ": want .*, as fin"),
    ],
)  # fmt: skip
def test_a_wrong_function_of_arrays_changes_no_parameter(
    function: Any, error: type[Exception], says: str
) -> None:
    model, (X, y) = model_of(loss=ArrayLoss(function, name="own")), samples()
    before = model.parameters.copy()
    with pytest.raises(error, match="^own: ?.*" + says.replace("(", r"\(").replace(")", r"\)")):
        model.fit(X, y, batch_size=16, verbose=0)
    np.testing.assert_array_equal(model.parameters, before)


def test_the_error_of_arrays_shows_the_value_and_both_derivatives() -> None:
    def wrong(y: Array, a: Array) -> tuple[Array, Array]:
        return own.square_of_arrays(y, a)[0], 3 * (a - y)

    model, (X, y) = model_of(loss=ArrayLoss(wrong)), samples()
    with pytest.raises(ValueError, match="dA") as raised:
        model.loss_and_gradients(X, y)
    i, j, found, given, _, _, a, _ = re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", str(raised.value))[:8]
    difference = model.predict(X)[int(i), int(j)] - y[int(i), int(j)]
    assert (float(found), float(given)) == pytest.approx((difference, 3 * difference), rel=1e-4)
    assert float(a) == pytest.approx(model.predict(X)[int(i), int(j)], rel=1e-4)


def test_probabilities_of_an_own_activation() -> None:
    def half(z: float) -> float:
        return 0.5 + 0.5 * z / (1 + abs(z))

    def half_prime(z: float) -> float:
        return 0.5 / (1 + abs(z)) ** 2

    model = fastdnn.Sequential([Dense(1, ScalarActivation(half, half_prime))], input_size=4)
    model.compile("adam", "binary_crossentropy")
    X, y = samples(1)
    model.fit(X, y > 0, verbose=0)
    model = fastdnn.Sequential([Dense(1, own.activation("silu"))], input_size=4)
    with pytest.raises(ValueError, match=r"takes probabilities.* got ScalarActivation\('own silu'"):
        model.compile("adam", "binary_crossentropy")


# ------------------------------------------------------------------------------- copies and files
OBJECTS = {"own silu": own.activation("silu"), "own huber": own.loss("huber")}


@pytest.mark.parametrize("loss", [own.loss("huber"), ArrayLoss(own.square_of_arrays)], ids=str)
@pytest.mark.parametrize("make", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_on_alike(make: Any, loss: Any) -> None:
    model, (X, y) = model_of(own.activation("silu"), loss), samples()
    model.fit(X, y, verbose=0)
    again = make(model)
    for one in (model, again):
        one.fit(X, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.parameters, again.parameters)


def test_a_file_keeps_the_names(tmp_path: Path) -> None:
    model, (X, y) = model_of(own.activation("silu"), own.loss("huber"), metrics=["mae"]), samples()
    model.fit(X, y, verbose=0)
    model.save(tmp_path / "model")
    again = fastdnn.load(tmp_path / "model", custom_objects=OBJECTS)
    assert again.loss is OBJECTS["own huber"]
    assert list(again.metrics) == ["mae"]
    for one in (model, again):
        one.fit(X, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.parameters, again.parameters)


def test_a_file_of_a_loss_of_arrays(tmp_path: Path) -> None:
    loss = ArrayLoss(own.square_of_arrays)
    model, (X, y) = model_of(loss=loss), samples()
    model.fit(X, y, verbose=0)
    model.save(tmp_path / "model")
    again = fastdnn.load(tmp_path / "model", custom_objects={"square_of_arrays": loss})
    assert again.evaluate(X, y) == model.evaluate(X, y)


def test_a_file_without_its_functions(tmp_path: Path) -> None:
    model, (X, _) = model_of(own.activation("silu"), own.loss("huber")), samples()
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"custom_objects=.* activations .*\['own silu'\]"):
        fastdnn.load(tmp_path / "model")
    with pytest.raises(TypeError, match="want a ScalarActivation, got ScalarLoss"):
        fastdnn.load(tmp_path / "model", custom_objects={"own silu": own.loss("huber")})
    with pytest.raises(TypeError, match="custom_objects: want a dict of names"):
        fastdnn.load(tmp_path / "model", custom_objects=[own.swish])  # type: ignore[arg-type]
    only = {"own silu": own.activation("silu")}
    with pytest.warns(UserWarning, match="no 'own huber', the loss: compile the model before tra"):
        again = fastdnn.load(tmp_path / "model", custom_objects=only)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert not hasattr(again, "loss")


def test_two_functions_of_one_name_are_not_saved(tmp_path: Path) -> None:
    other = ScalarActivation(own.swish, own.swish_prime, name="own huber")
    model = model_of(other, own.loss("huber"))
    with pytest.raises(ValueError, match="two functions of your own are named 'own huber'"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_summary_names_the_activation(capsys: pytest.CaptureFixture[str]) -> None:
    model_of(own.activation("silu")).summary()
    assert "own silu" in capsys.readouterr().out
    assert repr(own.activation("silu")) == "ScalarActivation('own silu')"
    assert repr(own.loss("huber")) == "ScalarLoss('own huber')"
