"""What a compiled model does without `fit`: single steps, evaluation, derivatives, its state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

import fastdnn
from fastdnn import initializers
from tests.nets import classifier, dense, fingerprint, regressor, samples

Array = np.ndarray[Any, Any]
X, y = samples()
FIT: dict[str, Any] = {"epochs": 3, "batch_size": 16, "verbose": 0}


# ---------------------------------------------------------------------------------------- compile
def test_the_defaults_are_adam_and_squares() -> None:
    model = fastdnn.Sequential([fastdnn.Dense(1)])
    model.compile()
    assert (model.optimizer, model.loss.name) == (fastdnn.Adam(), "mean_squared_error")
    assert model.metrics == {}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("accuracy", ["accuracy"]),
        (["accuracy", "acc"], ["accuracy", "acc"]),
        (max, ["max"]),
        ((name for name in ["acc"]), ["acc"]),
        (None, []),
    ],
)
def test_metrics_may_be_given_in_many_ways(given: Any, names: list[str]) -> None:
    assert list(classifier(metrics=given).metrics) == names


@pytest.mark.parametrize("first", ["adam", "rmsprop", fastdnn.SGD(momentum=0.9)], ids=str)
@pytest.mark.parametrize("second", ["adam", fastdnn.SGD(momentum=0.9)], ids=str)
def test_compile_again_forgets_the_training_and_keeps_the_parameters(
    first: Any, second: Any
) -> None:
    model = classifier(first, dropout=0.2)
    model.fit(X, y, **FIT)
    fresh = classifier(second, dropout=0.2)
    fresh.set_weights(model.get_weights())
    weights = model.get_weights()
    model.compile(second, "sparse_categorical_crossentropy", ["accuracy"])
    assert all(map(np.array_equal, model.get_weights(), weights))
    assert model.fit(X, y, **FIT).history == fresh.fit(X, y, **FIT).history
    assert np.array_equal(model.parameters, fresh.parameters)


def test_compile_chooses_another_loss() -> None:
    model = regressor(loss="mse")
    errors = model.predict(X)[:, 0] - y
    for name, expected in (("mse", errors**2), ("mae", np.abs(errors))):
        model.compile("sgd", name)
        assert model.evaluate(X, y)["loss"] == pytest.approx(expected.mean(), rel=1e-12)


# -------------------------------------------------------------------------- batches and evaluation
@pytest.mark.parametrize("optimizer", ["adam", fastdnn.SGD(0.1, momentum=0.9)], ids=str)
def test_train_on_batch_is_fit_of_one_batch(optimizer: Any) -> None:
    batches, epochs = (classifier(optimizer, dropout=0.2) for _ in range(2))
    weights = np.arange(50.0)
    for _ in range(3):
        logs = batches.train_on_batch(X, y, weights)
        options: dict[str, Any] = {"batch_size": 50, "shuffle": False, "verbose": 0}
        history = epochs.fit(X, y, sample_weight=weights, **options).history
        del history["learning_rate"]
        assert {name: [value] for name, value in logs.items()} == history
    assert np.array_equal(batches.parameters, epochs.parameters)


def test_train_on_batch_tells_the_loss_before_its_step() -> None:
    model = classifier()
    before = model.evaluate(X, y)
    assert model.train_on_batch(X, y) == pytest.approx(before, rel=1e-6)
    assert model.evaluate(X, y)["loss"] < before["loss"]


@pytest.mark.parametrize("weights", [None, np.arange(50.0)])
@pytest.mark.parametrize("batch_size", [1, 7, 49, 50, 1000])
def test_evaluate_averages_over_samples(batch_size: int, weights: Array | None) -> None:
    """The last batch of 7 has a single sample: it must not count for seven."""
    model = classifier(dtype="float64")
    A = model.predict(X)
    losses = -np.log(A[np.arange(50), y]) * (1 if weights is None else weights)
    found = model.evaluate(X, y, batch_size=batch_size, sample_weight=weights)
    assert found["loss"] == pytest.approx(losses.mean(), rel=1e-12)
    assert found["accuracy"] == np.mean(A.argmax(axis=1) == y)


def test_loss_and_gradients_are_copies_and_change_nothing() -> None:
    model = classifier()
    before = fingerprint(model)
    _, first = model.loss_and_gradients(X, y)
    kept = [(dW.copy(), db.copy()) for dW, db in first if db is not None]
    model.loss_and_gradients(X[:10], y[:10])
    assert fingerprint(model) == before
    for (dW, db), (dW_kept, db_kept) in zip(first, kept, strict=True):
        assert np.array_equal(dW, dW_kept)
        assert np.array_equal(db, db_kept)  # type: ignore[arg-type]


def test_a_loop_of_ones_own() -> None:
    """Gradient descent by hand on the views is the optimizer's."""
    by_hand, fitted = classifier("sgd", dtype="float64"), classifier("sgd", dtype="float64")
    for _ in range(3):
        _, gradients = by_hand.loss_and_gradients(X, y)
        for layer, (dW, db) in zip(dense(by_hand), gradients, strict=True):
            layer.W -= 0.01 * dW
            layer.b -= 0.01 * db  # type: ignore[operator]
    fitted.fit(X, y, epochs=3, batch_size=50, shuffle=False, verbose=0)
    np.testing.assert_allclose(by_hand.parameters, fitted.parameters, rtol=1e-12)


# ---------------------------------------------------------------------------------------- metrics
def test_metrics_of_scikit_learn() -> None:
    binary = (y > 0).astype(int)
    given = [metrics.roc_auc_score, metrics.log_loss, metrics.r2_score]
    model = fastdnn.Sequential([fastdnn.Dense(1, "sigmoid")], input_size=4, dtype="float64")
    model.compile("sgd", "binary_crossentropy", given)
    model.fit(X, binary, validation_data=(X, binary), **FIT)
    A = model.predict(X)[:, 0]
    expected = {function.__name__: function(binary, A) for function in given}
    found = model.evaluate(X, binary)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["loss"] == pytest.approx(found["log_loss"])
    assert model.history.history["val_r2_score"][-1] == pytest.approx(expected["r2_score"])


@pytest.mark.parametrize(
    ("name", "targets", "shape"),
    [
        ("sparse_categorical_crossentropy", y, (50,)),
        ("sparse_categorical_crossentropy", y[:, None], (50,)),
        ("categorical_crossentropy", np.eye(3)[y], (50, 3)),
        ("mse", np.eye(3)[y], (50, 3)),
    ],
)
def test_a_metric_takes_labels_or_rows_and_the_outputs(
    name: str, targets: Array, shape: tuple[int, ...]
) -> None:
    seen = []

    def largest(y_true: Array, y_pred: Array) -> np.float32:
        seen.append((y_true.shape, y_pred.shape, y_pred.dtype.name))
        return y_pred.max()  # type: ignore[no-any-return]

    model = classifier(metrics=())
    model.compile("sgd", name, [largest])
    value = model.evaluate(X, targets)["largest"]
    assert type(value) is float
    assert value == model.predict(X).max()
    model.fit(X, targets, validation_split=0.2, verbose=0)
    assert seen[0] == (shape, (50, 3), "float32")
    assert [(found[0][0], found[1]) for found in seen[1:]] == [(40, (40, 3)), (10, (10, 3))]


def test_an_error_in_a_metric_comes_through() -> None:
    model = classifier(metrics=[metrics.accuracy_score])  # wants labels, not probabilities
    with pytest.raises(ValueError, match="mix of multiclass and continuous-multioutput"):
        model.fit(X, y, verbose=0)
    model.compile("sgd", "sparse_categorical_crossentropy", "accuracy")
    model.fit(X, y, verbose=0)


@pytest.mark.parametrize("value", [np.zeros(3), None, "high"], ids=str)
def test_a_metric_that_is_no_number_is_named(value: Any) -> None:
    def confusion(y_true: Any, y_pred: Any) -> Any:
        return value

    with pytest.raises(TypeError, match=r"^metrics: want a number from 'confusion', got "):
        classifier(metrics=[confusion]).evaluate(X, y)


# ------------------------------------------------------------------------------ own gradients
OPTIMIZERS = [
    fastdnn.SGD(0.1),
    fastdnn.Adam(fastdnn.StepDecay(0.1, 0.5, 2)),
    fastdnn.SGD(0.1, momentum=0.9, clipnorm=0.01),
    fastdnn.RMSprop(global_clipnorm=0.01),
]
SHAPES = [
    ((6, 3), 50),
    ((100, 10), 200),
    ((300, 40, 3), 70),
    ((30, 3), 1),
]  # tiny, resident, blocked


def network(units: tuple[int, ...], optimizer: Any, **settings: Any) -> fastdnn.Sequential:
    """Also with penalties, and with a layer without b."""
    *hidden, last = units
    layers = [
        fastdnn.Dense(n, "tanh", use_bias=l > 0, kernel_regularizer=fastdnn.L1L2(0.01, 0.02))
        for l, n in enumerate(hidden)
    ]
    model = fastdnn.Sequential([*layers, fastdnn.Dense(last)], input_size=40, seed=0, **settings)
    model.compile(optimizer, "mse")
    return model


def regression(m: int, n: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(m)
    return rng.normal(size=(m, 40)), rng.normal(size=(m, n))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("units", "m"), SHAPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_apply_gradients_is_a_step(
    optimizer: Any, units: tuple[int, ...], m: int, dtype: str
) -> None:
    X, Y = regression(m, units[-1])
    steps, applied = (network(units, optimizer, dtype=dtype) for _ in range(2))
    for _ in range(3):
        loss, gradients = applied.loss_and_gradients(X, Y)
        assert gradients[0][1] is None
        applied.apply_gradients(pair for pair in gradients)
        assert steps.train_on_batch(X, Y)["loss"] == pytest.approx(loss, rel=1e-14)
    assert fingerprint(applied)[:3] == fingerprint(steps)[:3]
    assert applied._state.steps == 3


def test_gradients_of_parts_add_up() -> None:
    X, Y = regression(64, 3)
    whole, parts = (network((6, 3), fastdnn.Adam(0.1), dtype="float64") for _ in range(2))
    whole.apply_gradients(whole.loss_and_gradients(X, Y)[1])
    halves = [parts.loss_and_gradients(X[part::2], Y[part::2])[1] for part in (0, 1)]
    parts.apply_gradients(
        [
            ((dW + dV) / 2, None if db is None else (db + dc) / 2)
            for (dW, db), (dV, dc) in zip(*halves, strict=True)
        ]
    )
    np.testing.assert_allclose(parts.parameters, whole.parameters, rtol=1e-10)


def test_gradients_of_ones_own_need_no_loss_and_gradients_before() -> None:
    model = regressor(fastdnn.SGD(0.5))
    before = model.parameters.copy()
    model.apply_gradients([([[1, 2, 3, 4]], [5])])
    np.testing.assert_allclose(model.parameters, before - 0.5 * np.arange(1, 6), rtol=1e-15)


WRONG_GRADIENTS: list[tuple[Any, type[Exception], str]] = [
    (3, TypeError, r"^gradients: want a list of \(dW, db\), got 3$"),
    ([], ValueError, "^gradients: want .* for 1 layers, got 0$"),
    ([np.ones(5)], TypeError, r"^gradients\[0\]: want \(dW, db\), got array"),
    (
        [(np.ones((4, 1)), [0])],
        ValueError,
        r"^gradients\[0\]\[0\]: want shape \(1, 4\), got \(4, 1",
    ),
    ([(np.ones((1, 4)), None)], ValueError, r"^gradients\[0\]\[1\]: want shape \(1,\), got None$"),
    ([(np.ones((1, 4)), ["0"])], TypeError, r"^gradients\[0\]\[1\]: want real numbers, got dtype"),
    ([(np.ones((1, 4)), [np.nan])], ValueError, r"^gradients\[0\]\[1\]: want finite .*got nan at"),
]


@pytest.mark.parametrize(("gradients", "error", "message"), WRONG_GRADIENTS)
def test_wrong_gradients_change_nothing(
    gradients: Any, error: type[Exception], message: str
) -> None:
    model = regressor("adam")
    model.fit(X, y, verbose=0)
    before = fingerprint(model)
    with pytest.raises(error, match=message):
        model.apply_gradients(gradients)
    assert fingerprint(model) == before


def test_a_b_that_is_not_there_has_no_gradient() -> None:
    model = network((6, 3), "sgd")
    gradients = model.loss_and_gradients(*regression(5, 3))[1]
    gradients[0] = gradients[0][0], np.zeros(6)
    with pytest.raises(ValueError, match=r"^gradients\[0\]\[1\]: want None, as the layer has no b"):
        model.apply_gradients(gradients)


def test_gradients_need_a_compiled_model_with_parameters() -> None:
    with pytest.raises(RuntimeError, match="call compile first"):
        fastdnn.Sequential([fastdnn.Dense(1)], input_size=4).apply_gradients([])
    with pytest.raises(RuntimeError, match="no parameters yet"):
        regressor(input_size=None).apply_gradients([])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("units", "m"), SHAPES)
def test_derivatives_by_X_change_no_other_bit(units: tuple[int, ...], m: int, dtype: str) -> None:
    model = network(units, "sgd", dtype=dtype)
    X, Y = regression(m, units[-1])
    loss, gradients = model.loss_and_gradients(X, Y)
    found = []
    for n_threads in (1, 2, 4):
        with fastdnn.num_threads(n_threads):
            loss_again, gradients_again, dX = model.loss_and_gradients(X, Y, inputs=True)
        assert loss_again == loss
        for pair, again in zip(gradients, gradients_again, strict=True):
            for one, other in zip(pair, again, strict=True):
                assert (one is None) == (other is None)
                assert one is None or np.array_equal(one, other)  # type: ignore[arg-type]
        assert dX.shape == X.shape
        assert dX.dtype == dtype
        found.append(dX.tobytes())
    assert len(set(found)) == 1


def test_derivatives_by_X_are_dZ_1_times_W_1() -> None:
    """And without dropout, also of the input."""
    layers = [fastdnn.Dropout(0.5), fastdnn.Dense(3)]
    model = fastdnn.Sequential(layers, input_size=40, dtype="float64", seed=0)
    model.compile("sgd", "mse")
    X, Y = regression(7, 3)
    _, _, dX = model.loss_and_gradients(X, Y, inputs=True)
    dZ = 2 * (model.predict(X) - Y) / Y.size
    np.testing.assert_allclose(dX, dZ @ model.layers[1].W, rtol=1e-10, atol=1e-15)  # type: ignore[union-attr]


def test_inputs_is_a_flag() -> None:
    with pytest.raises(TypeError, match=r"^inputs: want True or False, got 1$"):
        classifier().loss_and_gradients(X, y, inputs=1)  # type: ignore[call-overload]


# ------------------------------------------------------------------------------------------ state
def test_a_state_makes_the_same_model() -> None:
    model = classifier(dropout=0.2)
    model.fit(X, y, **FIT)
    config, tensors = model.get_state()
    other = fastdnn.Sequential.from_state(config, tensors)
    assert fingerprint(other)[:4] == fingerprint(model)[:4]
    for array in tensors.values():
        array[...] = 0  # copies on both sides
    assert fingerprint(other)[:4] == fingerprint(model)[:4]
    assert other.fit(X, y, **FIT).history == model.fit(X, y, **FIT).history


def test_a_model_without_parameters_has_no_state() -> None:
    with pytest.raises(RuntimeError, match="the model has no parameters yet"):
        classifier(input_size=None).get_state()


# ---------------------------------------------------------------------------- a user's own objects
CHANGING: dict[str, Any] = {
    "plateau": lambda: fastdnn.ReduceLROnPlateau("loss", patience=1, min_delta=100.0),
    "scheduler": lambda: fastdnn.LearningRateScheduler(lambda epoch: 0.5),
}


@pytest.mark.parametrize("name", CHANGING)
def test_an_optimizer_given_to_two_models_is_changed_by_neither(name: str) -> None:
    optimizer = fastdnn.SGD(0.125, momentum=0.5)
    first, second = classifier(optimizer), classifier(optimizer)
    first.fit(X, y, callbacks=[CHANGING[name]()], **FIT)
    assert first.optimizer.learning_rate != 0.125
    assert optimizer == second.optimizer == fastdnn.SGD(0.125, momentum=0.5)
    third = classifier()
    third.optimizer = optimizer
    third.optimizer.learning_rate = 1.0
    assert optimizer.learning_rate == 0.125


def test_one_of_each_serves_two_models_as_its_own_would() -> None:
    def model(*given: Any) -> fastdnn.Sequential:
        optimizer, loss, initializer, regularizer, names = given
        layer = fastdnn.Dense(
            3, "softmax", kernel_initializer=initializer, kernel_regularizer=regularizer
        )
        made = fastdnn.Sequential([layer], seed=0, dtype="float64")
        made.compile(optimizer, loss, names)
        made.fit(X, y, **FIT)
        return made

    def objects() -> tuple[Any, ...]:
        schedule = fastdnn.CosineDecay(0.1, 20)
        loss = fastdnn.SparseCategoricalCrossentropy(label_smoothing=0.1)
        start = initializers.VarianceScaling(2.0)
        return fastdnn.Adam(schedule), loss, start, fastdnn.L2(0.01), ["accuracy"]

    wanted, shared = model(*objects()), objects()
    for _ in range(2):
        np.testing.assert_array_equal(model(*shared).parameters, wanted.parameters)
    assert repr(shared) == repr(objects())


def test_data_weights_and_lists_stay_as_they_are() -> None:
    weights, callbacks, of_class = np.linspace(0.5, 1.5, len(X)), [fastdnn.History()], {0: 2.0}
    given = X.copy(), y.copy(), weights.copy()
    model = classifier()
    model.fit(
        X, y, callbacks=callbacks, sample_weight=weights, class_weight=of_class,
        validation_data=(X, y), **FIT,
    )  # fmt: skip
    for now, before in zip((X, y, weights), given, strict=True):
        np.testing.assert_array_equal(now, before)
    assert (len(callbacks), of_class) == (1, {0: 2.0})


def test_an_early_stopping_given_to_a_second_fit_starts_anew() -> None:
    stop = fastdnn.EarlyStopping("loss", patience=2, min_delta=100.0)
    lengths = [
        len(classifier().fit(X, y, epochs=9, callbacks=[stop], verbose=0).epoch) for _ in range(2)
    ]
    assert lengths == [3, 3]


# ------------------------------------------------------------------------- a softmax of one output
@pytest.mark.parametrize("loss", ["mse", "binary_crossentropy", "poisson"])
def test_a_softmax_of_one_output_is_refused(loss: str) -> None:
    model = fastdnn.Sequential([fastdnn.Dense(4, "relu"), fastdnn.Dense(1, "softmax")])
    with pytest.raises(ValueError, match=r"^layers: a softmax of one output is always 1"):
        model.compile(loss=loss)


def test_a_hidden_softmax_of_one_output_is_warned_of() -> None:
    layers = [fastdnn.Dense(1, "softmax"), fastdnn.Dense(2, "softmax")]
    with pytest.warns(UserWarning, match="^layers: a softmax of one output is always 1"):
        fastdnn.Sequential(layers, input_size=3)
    model = fastdnn.Sequential([fastdnn.Dense(1, "softmax"), fastdnn.Dense(3, "softmax")])
    model.compile(loss="sparse_categorical_crossentropy")
    with pytest.warns(UserWarning, match="^layers: a softmax of one output is always 1"):
        model.fit(X, y, **FIT)
    model.fit(X, y, **FIT)  # once is enough
