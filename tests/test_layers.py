"""Dense as the notes' building block, its parameters as views, and what layers refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import Dense, Dropout
from fastdnn.activations import ACTIVATIONS
from tests import naive

Array = np.ndarray[Any, Any]
N, N_PREV, M = 5, 7, 11
TOLERANCE = {"float32": 2e-5, "float64": 1e-13}
RNG = np.random.default_rng(3)
A_PREV, DA = RNG.normal(size=(N_PREV, M)), RNG.normal(size=(N, M))
W, B = RNG.normal(size=(N, N_PREV)), RNG.normal(size=N)


def placed(activation: str | None = "tanh", dtype: str = "float64", **options: Any) -> Dense:
    """A layer with the parameters W and B."""
    layer = Dense(N, activation, **options)
    fastdnn.Sequential([layer], input_size=N_PREV, dtype=dtype)
    layer.W = W
    if layer.b is not None:
        layer.b = B
    return layer


# -------------------------------------------------------------------------------- building blocks
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_forward_and_backward_are_the_notes(activation: str, dtype: str, use_bias: bool) -> None:
    layer, tolerance = placed(activation, dtype, use_bias=use_bias), TOLERANCE[dtype]
    A, cache = layer.forward(A_PREV)
    g, g_backward = naive.ACTIVATIONS[activation]
    Z = naive.linear_forward(A_PREV, W, B[:, None] if use_bias else np.zeros((N, 1)))
    assert np.abs(Z).min() > 1e-3  # or float32 might be on the other side of a jump
    dA_prev, dW, db = layer.backward(DA, cache)
    expected = naive.linear_backward(g_backward(DA, Z), A_PREV, W)
    np.testing.assert_allclose(A, g(Z), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(dA_prev, expected[0], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(dW, expected[1], rtol=tolerance, atol=tolerance)
    found = [(array.shape, array.dtype) for array in (A, dA_prev, dW)]
    assert found == [((N, M), dtype), ((N_PREV, M), dtype), ((N, N_PREV), dtype)]
    if use_bias:
        assert db is not None
        assert (db.shape, db.dtype) == ((N,), dtype)
        np.testing.assert_allclose(db, expected[2][:, 0], rtol=tolerance, atol=tolerance)
    else:
        assert db is None


def test_the_cache_holds_what_the_notes_keep() -> None:
    A, cache = placed("gelu").forward(A_PREV)
    assert cache.A is A
    assert np.array_equal(cache.A_prev, A_PREV)
    np.testing.assert_allclose(cache.Z, naive.linear_forward(A_PREV, W, B[:, None]), rtol=1e-12)


def test_blocks_in_a_row_are_the_network() -> None:
    layers = [Dense(6, "relu"), Dense(4, "silu", use_bias=False), Dense(3, "softmax")]
    model = fastdnn.Sequential(layers, input_size=N_PREV, dtype="float64", seed=0)
    model.compile("sgd", "mse")
    A, caches = A_PREV, []
    for layer in layers:
        A, cache = layer.forward(A)
        caches.append(cache)
    np.testing.assert_allclose(A, model.predict(A_PREV.T).T, rtol=1e-13)
    Y = RNG.uniform(size=A.shape)
    gradients = []
    dA = 2 * (A - Y) / len(A)
    for layer, cache in zip(reversed(layers), reversed(caches), strict=True):
        dA, dW, db = layer.backward(dA, cache)
        gradients.insert(0, (dW, db))
    _, expected = model.loss_and_gradients(A_PREV.T, Y.T)
    for (dW, db), (dW_expected, db_expected) in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(dW, dW_expected, rtol=1e-11, atol=1e-15)
        if db is None:
            assert db_expected is None
        else:
            np.testing.assert_allclose(db, db_expected, rtol=1e-11, atol=1e-15)


LAYOUTS: dict[str, Callable[[Array], Any]] = {
    "F": np.asfortranarray,
    "transposed": lambda a: a.T.copy().T,
    "strided": lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "backwards": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "lists": lambda a: a.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_any_layout(layout: str, dtype: str) -> None:
    layer, change = placed(dtype=dtype), LAYOUTS[layout]
    A, cache = layer.forward(change(A_PREV))
    A_expected, cache_expected = layer.forward(A_PREV)
    assert np.array_equal(A, A_expected)
    found = layer.backward(change(DA), cache)
    for array, expected in zip(found, layer.backward(DA, cache_expected), strict=True):
        assert np.array_equal(array, expected)


@pytest.mark.parametrize("m", [0, 1])
def test_few_samples(m: int) -> None:
    layer = placed("softmax")
    A, cache = layer.forward(A_PREV[:, :m])
    dA_prev, dW, db = layer.backward(DA[:, :m], cache)
    assert A.shape == (N, m)
    assert dA_prev.shape == (N_PREV, m)
    assert dW.shape == (N, N_PREV)
    assert db is not None
    assert np.isfinite(dW).all()
    assert np.isfinite(db).all()


def test_blocks_change_nothing() -> None:
    layer = placed("elu")
    before = [A_PREV.copy(), DA.copy(), layer.W.copy(), layer.b.copy()]
    A, cache = layer.forward(A_PREV)
    kept = [array.copy() for array in cache]
    layer.backward(DA, cache)
    layer.backward(DA, cache)
    for found, expected in zip([A_PREV, DA, layer.W, layer.b], before, strict=True):
        assert np.array_equal(found, expected)
    for found, expected in zip(cache, kept, strict=True):
        assert np.array_equal(found, expected)
    assert A is cache.A


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda l, c: l.forward(A_PREV[0]), ValueError, r"A_prev: want 2 dim.*got shape \(11,\)"),
        (lambda l, c: l.forward(A_PREV.T), ValueError, r"W, A_prev: .*got W \(5, 7\) .*\(11, 7\)"),
        (lambda l, c: l.forward(A_PREV.astype(str)), TypeError, "A_prev: want real numbers"),
        (lambda l, c: l.backward(DA.T, c), ValueError, r"dA: .*\(5, 11\); got \(11, 5\)"),
        (lambda l, c: l.backward(DA[:, :3], c), ValueError, r"dA: .*\(5, 11\); got \(5, 3\)"),
        (lambda l, c: l.backward(DA[0], c), ValueError, r"dA: want 2 dimensions"),
        (lambda l, c: l.backward(DA, None), TypeError, "cache: want what forward ret.*, got None"),
        (lambda l, c: l.backward(DA + 1j, c), TypeError, r"dA: want real numbers.*complex128"),
    ],
)
def test_blocks_refuse_wrong_arrays(
    call: Callable[..., Any], error: type[Exception], message: str
) -> None:
    layer = placed()
    _, cache = layer.forward(A_PREV)
    with pytest.raises(error, match=f"^{message}"):
        call(layer, cache)


# ------------------------------------------------------------------------------------- parameters
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_W_and_b_are_views_into_the_parameters(dtype: str) -> None:
    hidden, output = Dense(3, "relu"), Dense(2, use_bias=False)
    model = fastdnn.Sequential([hidden, Dropout(0.5), output], input_size=4, dtype=dtype)
    assert [hidden.W.shape, hidden.b.shape, output.W.shape] == [(3, 4), (3,), (2, 3)]
    assert output.b is None
    model.parameters[...] = np.arange(4 * 3 + 3 + 3 * 2)
    # W^T row by row, then b
    assert np.array_equal(hidden.W, np.arange(12).reshape(4, 3).T)
    assert hidden.b.tolist() == [12, 13, 14]
    assert np.array_equal(output.W, np.arange(15, 21).reshape(3, 2).T)
    for view in (hidden.W, hidden.b, output.W):
        assert view.dtype == dtype
        assert np.shares_memory(view, model.parameters)


def test_parameters_can_be_set_in_every_way() -> None:
    layer = placed("identity")
    view = layer.W
    layer.W[1, 2] = 100.0
    assert layer.forward(A_PREV)[1].Z[1] == pytest.approx(
        (W @ A_PREV)[1] + B[1] + (100 - W[1, 2]) * A_PREV[2]
    )
    layer.W = W.tolist()
    layer.W -= 0.5 * W
    layer.b *= 2
    assert np.array_equal(layer.W, 0.5 * W)
    assert np.array_equal(layer.b, 2 * B)
    layer.W, layer.b = 0, np.float32(3)
    assert not layer.W.any()
    assert layer.forward(A_PREV)[0].tolist() == [[3.0] * M] * N
    assert np.shares_memory(layer.W, view)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("W", W.T, ValueError, "W: want shape (5, 7), got (7, 5)"),
        ("W", W[0], ValueError, "W: want shape (5, 7), got (7,)"),
        ("W", W.astype(str), TypeError, "W: want real numbers, got dtype <U"),
        ("W", None, TypeError, "W: want real numbers, got dtype object"),
        ("W", [[1.0], [2.0, 3.0]], TypeError, "W: want an array of real numbers; setting an array"),
        (
            "b",
            [10**400] * 5,
            ValueError,
            "b: want finite numbers of float64, got a larger int at b",
        ),
        ("W", np.nan, ValueError, "W: want finite numbers of float64, got nan at W[0, 0] (35 such"),
        ("W", np.where(W > 1, -np.inf, W), ValueError, "W: want finite numbers of float64, got"),
        ("b", B + np.inf, ValueError, "b: want finite numbers of float64, got inf at b[0] (5 such"),
        ("b", B[:, None], ValueError, "b: want shape (5,), got (5, 1)"),
        ("b", B[:1], ValueError, "b: want shape (5,), got (1,)"),
        ("b", B + 1j, TypeError, "b: want real numbers, got dtype complex128"),
    ],
)
def test_wrong_parameters_are_refused(
    name: str, value: Any, error: type[Exception], message: str
) -> None:
    layer = placed()
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        setattr(layer, name, value)
    assert np.array_equal(layer.W, W)
    assert np.array_equal(layer.b, B)


def test_parameters_beyond_float32_are_refused() -> None:
    layer = placed(dtype="float32")
    with pytest.raises(ValueError, match=r"^W: want finite numbers of float32, got 1e\+39 at W\[0"):
        layer.W = 1e39
    placed(dtype="float64").W = 1e39


def test_a_layer_without_b_has_none_to_set() -> None:
    layer = placed(use_bias=False)
    assert layer.b is None
    with pytest.raises(AttributeError, match=r"^b: this layer has use_bias=False"):
        layer.b = B


@pytest.mark.parametrize(
    "use",
    [
        lambda layer: layer.W,
        lambda layer: layer.b,
        lambda layer: setattr(layer, "W", W),
        lambda layer: layer.forward(A_PREV),
    ],
)
def test_a_layer_without_parameters_says_how_to_get_them(use: Callable[[Dense], Any]) -> None:
    layer = Dense(N)
    fastdnn.Sequential([layer])
    with pytest.raises(RuntimeError, match=r"^this layer has no parameters yet: .*input_size"):
        use(layer)


# -------------------------------------------------------------------------------------- arguments
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_the_initializer_suits_the_activation(activation: str | None) -> None:
    expected = ACTIVATIONS[activation or "identity"].initializer
    assert Dense(3, activation).kernel_initializer == expected
    if activation in {"relu", "leaky_relu", "elu", "gelu", "silu", "softplus"}:
        assert expected == "he_normal"
    if activation in {None, "identity", "tanh", "sigmoid", "softmax", "exponential"}:
        assert expected == "glorot_uniform"
    assert Dense(3, activation, kernel_initializer="lecun").kernel_initializer == "lecun"


def test_a_layer_equals_itself_only() -> None:
    assert Dense(3) != Dense(3)
    assert Dropout(0.5) != Dropout(0.5)


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        (Dense(3), "Dense(3)"),
        (Dense(3, "linear", True, "glorot_uniform", None), "Dense(3)"),
        (Dense(3, "relu"), "Dense(3, 'relu')"),
        (Dense(3, "swish", kernel_initializer="he_normal"), "Dense(3, 'silu')"),
        (
            Dense(3, "tanh", False, "zeros", "l2"),
            "Dense(3, 'tanh', use_bias=False, kernel_initializer='zeros', "
            "kernel_regularizer=L1L2(l1=0.0, l2=0.01))",
        ),
        (Dropout(0.25), "Dropout(0.25)"),
    ],
)
def test_repr_shows_what_is_not_the_default(layer: Any, shown: str) -> None:
    assert repr(layer) == shown
    again = eval(shown, {"Dense": Dense, "Dropout": Dropout, "L1L2": fastdnn.L1L2})
    assert again.get_config() == layer.get_config()


def test_repr_of_a_layer_of_ones_own() -> None:
    class Own(Dense):
        pass

    assert repr(Own(3, "relu")) == "Own(3, 'relu')"


def test_numbers_of_numpy_will_do() -> None:
    layer = Dense(np.int32(3), use_bias=np.bool_(False))  # type: ignore[arg-type]
    assert (layer.units, type(layer.units), layer.use_bias) == (3, int, False)
    assert Dropout(np.float32(0.5)).rate == 0.5  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Dense(0), ValueError, "Dense.units: want an integer in [1, inf), got 0"),
        (lambda: Dense(2.0), TypeError, "Dense.units: want an integer in [1, inf), got 2.0"),
        (lambda: Dense("relu"), TypeError, "Dense.units: want an integer in [1, inf), got 'relu'"),
        (lambda: Dense(True), TypeError, "Dense.units: want an integer in [1, inf), got True"),
        (lambda: Dense(3, "rel"), ValueError, "activation: unknown name 'rel'; did you mean 'relu"),
        (lambda: Dense(3, None, "he"), TypeError, "Dense.use_bias: want True or False, got 'he'"),
        (
            lambda: Dense(3, kernel_initializer="hee"),
            ValueError,
            "kernel_initializer: unknown name 'hee'; did you mean 'he'",
        ),
        (lambda: Dense(3, kernel_initializer=0.1), TypeError, "kernel_initializer: want one of"),
        (
            lambda: Dense(3, kernel_regularizer="l3"),
            ValueError,
            "kernel_regularizer: unknown name 'l3'; Known: l1, l2",
        ),
        (lambda: Dense(3, kernel_regularizer=0.1), TypeError, "kernel_regularizer: want one of"),
        (lambda: Dropout(1), ValueError, "Dropout.rate: want a number in [0, 1), got 1"),
        (lambda: Dropout(-0.1), ValueError, "Dropout.rate: want a number in [0, 1), got -0.1"),
        (lambda: Dropout(float("nan")), ValueError, "Dropout.rate: want a number in [0, 1)"),
        (lambda: Dropout("0.5"), TypeError, "Dropout.rate: want a number in [0, 1), got '0.5'"),
        (lambda: setattr(Dense(3), "units", -5), ValueError, "Dense.units: want an integer in"),
        (lambda: setattr(Dense(3), "use_bias", 1), TypeError, "Dense.use_bias: want True or False"),
        (lambda: setattr(Dense(3), "activation", "rel"), ValueError, "activation: unknown name"),
        (lambda: setattr(Dropout(0.1), "rate", 5), ValueError, "Dropout.rate: want a number in"),
    ],
)
def test_wrong_arguments(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        make()


def settings_set(layer: Any) -> list[tuple[str, Any]]:
    """Every setting of a layer with another value."""
    others = {
        "units": 7,
        "activation": "tanh",
        "use_bias": False,
        "kernel_initializer": "lecun",
        "kernel_regularizer": fastdnn.L2(0.5),
        "rate": 0.9,
    }
    return [(field.name, others[field.name]) for field in fields(layer) if field.init]


@pytest.mark.parametrize("kind", ["Dense", "Dropout"])
def test_settings_stay_once_the_model_is_built(kind: str) -> None:
    layer = {"Dense": Dense(4, "relu"), "Dropout": Dropout(0.5)}[kind]
    model = fastdnn.Sequential([layer, Dense(2)])
    for name, value in settings_set(layer):
        setattr(layer, name, value)  # they have not been read yet
        assert getattr(layer, name) == value
    model.compile("sgd", "mse")
    model.fit(np.zeros((1, 3)), np.zeros((1, 2)), verbose=0)
    if isinstance(layer, Dense):
        assert (layer.W.shape, layer.b) == ((7, 3), None)
    for name, value in settings_set(Dense(1) if kind == "Dense" else Dropout(0.1)):
        message = rf"^{kind}\.{name}: want .*, as the layer's model is built, got .*new layers$"
        with pytest.raises(AttributeError, match=message):
            setattr(layer, name, value)
        assert getattr(layer, name) == value


def test_what_is_refused_builds_no_model() -> None:
    layer = Dense(3, kernel_initializer=lambda n, n_prev, rng: np.zeros(1))
    with pytest.raises(ValueError, match=r"^kernel_initializer: want W of shape"):
        fastdnn.Sequential([layer], input_size=2)
    layer.kernel_initializer = "zeros"
    fastdnn.Sequential([layer], input_size=2)
