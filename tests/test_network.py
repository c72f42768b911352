"""Layers become a network: what is refused, when it gets its parameters, and what it computes."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from fastdnn import Dense, Dropout, Sequential, set_num_threads
from tests.nets import classifier, dense, fingerprint, regressor, samples

Array = np.ndarray[Any, Any]
X, y = samples()
SHARED, PLACED = Dense(3), Dense(3)
Sequential([PLACED], input_size=2)


# ----------------------------------------------------------------------------------------- layers
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: Sequential().compile(),
            ValueError,
            "layers: want at least one Dense layer",
        ),
        (lambda: Sequential([Dropout(0.1)]), ValueError, "layers: want at least one Dense layer"),
        (
            lambda: Sequential([Dense(2), Dropout(0.1)]),
            ValueError,
            "layers: want another last layer",
        ),
        (lambda: Sequential(Dense(2)), TypeError, "layers: want a list of layers, got Dense("),
        (lambda: Sequential(3), TypeError, "layers: want a list of layers, got 3"),
        (
            lambda: Sequential([3, 2]),
            TypeError,
            "layers: want layers such as Dense and Dropout, got 3",
        ),
        (
            lambda: Sequential([Dense]),
            TypeError,
            "layers: want layers such as Dense and Dropout, got <cl",
        ),
        (lambda: Sequential([SHARED, SHARED]), ValueError, "layers: one layer is there twice"),
        (lambda: Sequential([PLACED]), ValueError, "layers: a Dense layer belongs to another"),
        (
            lambda: Sequential([Dense(1)], input_size=0),
            ValueError,
            "input_size: want an integer in",
        ),
        (lambda: Sequential([Dense(1)], input_size=2.0), TypeError, "input_size: want an integer"),
        (lambda: Sequential([Dense(1)], seed=-1), ValueError, "seed: want an integer in [0, inf)"),
        (
            lambda: Sequential([Dense(1)], seed=2**256),
            ValueError,
            "seed: want an integer below 2^256",
        ),
        (lambda: Sequential([Dense(1)], seed="1"), TypeError, "seed: want an integer in [0, inf)"),
        (
            lambda: Sequential([Dense(1)], dtype="float46"),
            ValueError,
            "dtype: unknown name 'float46'; did you mean 'float64'? Known: float32, float64",
        ),
        (lambda: Sequential([Dense(1)], dtype=None), TypeError, "dtype: want one of ['float32', "),
        (lambda: Sequential([Dense(1)], dtype=np.float16), ValueError, "dtype: unknown name 'floa"),
    ],
)
def test_wrong_arguments(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        make()


def test_layers_may_come_from_any_iterable() -> None:
    model = Sequential((Dense(n) for n in (3, 2)), input_size=4)
    assert isinstance(model.layers, tuple)
    assert [layer.units for layer in dense(model)] == [3, 2]


def test_a_layer_belongs_to_the_model_that_was_built_first() -> None:
    layer = Dense(3)
    first, second = Sequential([layer]), Sequential([layer, Dense(1)])
    for model in (first, second):
        model.compile("sgd", "mse")
    first.fit(X, np.eye(3)[y], verbose=0)
    before = fingerprint(first), fingerprint(second)
    with pytest.raises(ValueError, match=r"^layers: a Dense layer belongs to another model"):
        second.fit(X[:, :2], y, verbose=0)
    assert (fingerprint(first), fingerprint(second)) == before
    assert np.shares_memory(layer.W, first.parameters)


def test_dropouts_may_be_shared() -> None:
    shared = Dropout(0.5)
    models = [
        Sequential([Dense(5, "tanh"), dropout, Dense(1)], input_size=4, seed=0)
        for dropout in (shared, shared, Dropout(0.5), Dropout(0.25))
    ]
    for model in models:
        model.compile("sgd", "mse")
        model.fit(X, y.astype(float), verbose=0)
    one, other, own, less = (model.parameters.tobytes() for model in models)
    assert one == other == own != less


# ------------------------------------------------------------------------------------- parameters
def test_the_first_data_say_the_input_size() -> None:
    late, early = classifier(input_size=None), classifier()
    assert not late.built
    assert late.input_size is None
    assert early.built
    late.fit(X, y, verbose=0)
    early.fit(X, y, verbose=0)
    assert late.input_size == 4
    assert np.array_equal(late.parameters, early.parameters)
    with pytest.raises(ValueError, match=r"^X: want 4 features, as the model's input_size, got 3"):
        late.fit(X[:, :3], y, verbose=0)


@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.parameters,
        lambda model: model.get_weights(),
        lambda model: model.set_weights([]),
        lambda model: model.predict(X),
        lambda model: model.evaluate(X, y),
        lambda model: model.save("never-written"),
    ],
)
def test_without_parameters(use: Callable[[Any], Any]) -> None:
    model = classifier(input_size=None)
    with pytest.raises(RuntimeError, match=r"^the model has no parameters yet: give it an input_"):
        use(model)
    assert not model.built


def test_seeds() -> None:
    def start(seed: int | None) -> bytes:
        return Sequential([Dense(3)], input_size=4, seed=seed).parameters.tobytes()

    assert start(1) == start(1) != start(2)
    assert start(None) != start(None)
    assert start(0) == Sequential([Dense(3)], input_size=4, seed=np.int64(0)).parameters.tobytes()  # type: ignore[arg-type]


def test_layers_start_from_their_own_random_numbers_and_b_at_zero() -> None:
    layers = [Dense(4), Dense(4, "relu", kernel_initializer="zeros"), Dense(4)]
    Sequential(layers, input_size=4, seed=0)
    assert not np.array_equal(layers[0].W, layers[2].W)
    assert not layers[1].W.any()
    assert not any(layer.b.any() for layer in layers)


def test_an_initializer_of_ones_own() -> None:
    seen = []

    def start(n: int, n_prev: int, rng: np.random.Generator) -> Any:
        seen.append((n, n_prev))
        return np.arange(n * n_prev).reshape(n, n_prev)

    layers = [Dense(3, kernel_initializer=start), Dense(2, kernel_initializer=start)]
    Sequential(layers, input_size=4, dtype="float64")
    assert seen == [(3, 4), (2, 3)]
    assert np.array_equal(layers[0].W, np.arange(12).reshape(3, 4))


@pytest.mark.parametrize(
    ("start", "error", "message"),
    [
        (
            lambda n, n_prev, rng: np.zeros((n_prev, n)),
            ValueError,
            "kernel_initializer: want W of shape (n, n_prev) = (3, 4), got (4, 3)",
        ),
        (lambda n, n_prev, rng: 0.5, ValueError, "kernel_initializer: want W of shape (n, n_prev)"),
        (lambda n, n_prev, rng: None, TypeError, "kernel_initializer's W: want real numbers"),
    ],
)
def test_an_initializer_with_a_wrong_W(start: Any, error: type[Exception], message: str) -> None:
    good = Dense(4)
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        Sequential([good, Dense(3, kernel_initializer=start)], input_size=2)
    assert Sequential([good], input_size=2).built  # the failed model has not taken it


def test_weights_are_in_kerass_order_and_shapes() -> None:
    layers = [Dense(3), Dropout(0.5), Dense(2, use_bias=False), Dense(1)]
    model = Sequential(layers, input_size=4, seed=0)
    hidden, _, middle, last = layers
    hidden.b, last.b = [1, 2, 3], 4
    expected = [hidden.W.T, hidden.b, middle.W.T, last.W.T, last.b]
    weights = model.get_weights()
    assert [w.shape for w in weights] == [(4, 3), (3,), (3, 2), (2, 1), (1,)]
    for found, wanted in zip(weights, expected, strict=True):
        assert np.array_equal(found, wanted)
        assert not np.shares_memory(found, model.parameters)
    other = Sequential(
        [Dense(3), Dense(2, use_bias=False), Dense(1)], input_size=4, seed=1, dtype="float64"
    )
    other.set_weights([w.tolist() for w in weights])
    assert np.array_equal(other.parameters, model.parameters)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (None, TypeError, "weights: want a list of arrays, got None"),
        ([], ValueError, "weights: want shapes [(4, 1), (1,)], got []"),
        ([np.ones((1, 4)), [0]], ValueError, "weights: want shapes [(4, 1), (1,)], got [(1, 4), "),
        ([np.ones((4, 1))], ValueError, "weights: want shapes [(4, 1), (1,)], got [(4, 1)]"),
        (
            [[[1], [2], [np.nan], [4]], [0]],
            ValueError,
            "weights[0]: want finite numbers of float64",
        ),
        ([[[1], [2, 3]], [0]], TypeError, "weights[0]: want an array of real numbers; setting an"),
        (
            [[[10**400]] * 4, [0]],
            ValueError,
            "weights[0]: want finite numbers of float64, got a lar",
        ),
        ([np.ones((4, 1)), ["0"]], TypeError, "weights[1]: want real numbers, got dtype <U1"),
    ],
)
def test_wrong_weights_are_refused(weights: Any, error: type[Exception], message: str) -> None:
    model = regressor()
    before = model.parameters.copy()
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        model.set_weights(weights)
    assert np.array_equal(model.parameters, before)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_a_model_of_its_own_at_the_same_point(again: Callable[[Any], Any]) -> None:
    model = classifier(dropout=0.5)
    model.fit(X, y, verbose=0)
    other = again(model)
    assert fingerprint(other)[:4] == fingerprint(model)[:4]
    assert np.shares_memory(dense(other)[0].W, other.parameters)
    assert not np.shares_memory(other.parameters, model.parameters)
    for one in (model, other):
        one.fit(X, y, epochs=2, verbose=0)
    assert np.array_equal(model.parameters, other.parameters)


# -------------------------------------------------------------------------------------- computing
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict_any_number_of_rows(dtype: str) -> None:
    model = classifier(dtype=dtype)
    A = model.predict(X)
    assert (A.shape, A.dtype) == ((50, 3), dtype)
    np.testing.assert_allclose(A.sum(axis=1), 1, rtol=1e-6)
    assert model.predict(X[:0]).shape == (0, 3)
    assert model.predict(X[:0]).dtype == dtype
    assert np.array_equal(model.predict(X[3:4]), A[3:4])
    assert np.array_equal(model.predict(X.astype(dtype)), A)


@pytest.mark.parametrize("batch_size", [1, 7, 49, 50, 1000, np.int32(8)])
def test_the_batch_size_of_predict_changes_nothing(batch_size: int) -> None:
    model = classifier()
    assert np.array_equal(model.predict(X, batch_size=batch_size), model.predict(X))


@pytest.mark.usefixtures("awake_threads")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "units", [(4, 5, 3), (40, 1), (30, 64, 33, 2), (700, 130, 9), (9, 1100, 1), (64, 256, 256, 2)]
)
def test_a_sample_is_predicted_to_the_same_bits_among_any_others(
    units: tuple[int, ...], dtype: str
) -> None:
    layers = [Dense(n, activation="tanh") for n in units[1:-1]]
    net = Sequential([*layers, Dense(units[-1])], input_size=units[0], dtype=dtype, seed=0)
    samples = np.random.default_rng(0).normal(size=(700, units[0])).astype(dtype)
    A = net.predict(samples)
    for threads, layout in ((1, "C"), (2, "C"), (3, "C"), (2, "F")):
        set_num_threads(threads)
        X = np.asarray(samples, order=layout)
        for batch_size in (1, 2, 3, 6, 8, 12, 33, 128, 600):
            assert np.array_equal(net.predict(X, batch_size=batch_size), A)


@pytest.mark.parametrize(
    ("batch_size", "error"),
    [(0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError)],
)
def test_a_wrong_batch_size(batch_size: Any, error: type[Exception]) -> None:
    model = classifier()
    for call in (
        lambda: model.predict(X, batch_size=batch_size),
        lambda: model.evaluate(X, y, batch_size=batch_size),
        lambda: model.fit(X, y, batch_size=batch_size, verbose=0),
    ):
        with pytest.raises(error, match=r"^batch_size: want an integer in \[1, inf\), got "):
            call()


def test_predict_sees_the_parameters_of_the_moment() -> None:
    model = regressor()
    model.parameters[...] = [1, 2, 3, 4, 5]
    assert np.array_equal(model.predict(X)[:, 0], X @ [1, 2, 3, 4] + 5)
    model.layers[0].b = 0  # type: ignore[union-attr]
    assert np.array_equal(model.predict(X)[:, 0], X @ [1, 2, 3, 4])


def test_dropout_is_for_training_only() -> None:
    # a rate of 0 would take another way through the kernels, and so have other roundings
    thinned, whole = classifier(dropout=0.5), classifier(dropout=1e-12)
    thinned.set_weights(whole.get_weights())
    assert np.array_equal(thinned.predict(X), whole.predict(X))
    assert thinned.evaluate(X, y) == whole.evaluate(X, y)
    gradients = [model.loss_and_gradients(X, y)[1] for model in (thinned, whole)]
    for found, expected in zip(*gradients, strict=True):
        assert all(map(np.array_equal, found, expected))
    assert thinned.train_on_batch(X, y) != whole.train_on_batch(X, y)


@pytest.mark.parametrize("rate", [1e-12, 1 - 1e-12])
def test_a_rate_that_is_almost_0_or_1_is_neither(rate: float) -> None:
    model = classifier(dropout=rate)
    for _ in range(5):
        assert np.isfinite(model.train_on_batch(X, y)["loss"])


def layers_with(*dropouts: float) -> list[Any]:
    between = [Dropout(rate) for rate in dropouts]
    return [*between, Dense(8), *(Dropout(rate) for rate in dropouts), Dense(3, "softmax")]


def trained(layers: list[Any]) -> bytes:
    model = Sequential(layers, input_size=4, seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, y, epochs=2, verbose=0)
    return model.parameters.tobytes()


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.75, 0.0), (0.0, 0.5, 0.5)])
def test_dropouts_in_a_row_act_as_one(rates: tuple[float, ...]) -> None:
    assert trained(layers_with(*rates)) == trained(layers_with(0.75))


def test_dropout_of_nothing_is_none() -> None:
    assert trained(layers_with(0.0)) == trained(layers_with()) != trained(layers_with(0.1))


def test_dropout_of_the_input_drops_features() -> None:
    """From W = 0 a step moves W along the sum of (y, -X): features that were dropped do not."""
    dense = Dense(1, use_bias=False, kernel_initializer="zeros")
    model = Sequential([Dropout(0.25), dense], input_size=4000, dtype="float64", seed=0)
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((1, 4000)), [1.0])
    step, share = np.unique(dense.W, return_counts=True)
    assert step == pytest.approx([0, 0.01 * 2 / 0.75])
    assert share[0] / 4000 == pytest.approx(0.25, abs=0.03)  # four standard deviations


def test_threads_of_python_may_share_a_model() -> None:
    layers = [Dense(200, "tanh"), Dense(200, "tanh"), Dense(3, "softmax")]
    model = Sequential(layers, input_size=4, seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    parts = [samples(1000, seed) for seed in range(4)]

    def use(part: tuple[Array, Array]) -> list[Any]:
        loss, gradients = model.loss_and_gradients(*part)
        arrays = [model.predict(part[0]), *(array for pair in gradients for array in pair)]
        return [loss, model.evaluate(*part), *(array.tobytes() for array in arrays)]

    expected = [use(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(use, parts * 5))
    assert found == expected * 5
