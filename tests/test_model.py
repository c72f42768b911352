"""`Sequential` as its user meets it: compile, fit, evaluate, and what each keeps and returns."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

import fastdnn
from tests.nets import classifier, fingerprint, samples

Array = np.ndarray[Any, Any]
X, y = samples()
FIT: dict[str, Any] = {"epochs": 3, "batch_size": 16, "verbose": 0}


# ----------------------------------------------------------------------------------------- layers
def test_layers_one_after_the_other() -> None:
    added, given = fastdnn.Sequential(seed=0), classifier()
    added.add(fastdnn.Dense(6, "tanh"))
    added.add(fastdnn.Dropout(0.5))
    assert repr(added.pop()) == "Dropout(0.5)"
    added.add(fastdnn.Dense(3, "softmax"))
    added.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    assert added.fit(X, y, **FIT).history == given.fit(X, y, **FIT).history
    assert np.array_equal(added.parameters, given.parameters)


def test_an_input_size_waits_for_the_layers() -> None:
    model = fastdnn.Sequential(input_size=4, seed=0)
    assert not model.built
    model.add(fastdnn.Dense(6, "tanh"))
    model.add(fastdnn.Dense(3, "softmax"))
    assert np.array_equal(model.predict(X), classifier().predict(X))
    assert model.built


def test_what_cannot_be_added() -> None:
    model = fastdnn.Sequential()
    layer = fastdnn.Dense(1)
    model.add(layer)
    wrong: list[tuple[Any, type[Exception], str]] = [
        (3, TypeError, "^layers: want layers such as Dense and Dropout, got 3$"),
        (layer, ValueError, "^layers: one layer is there twice"),
        (classifier().layers[0], ValueError, "^layers: a Dense layer belongs to another model"),
    ]
    for one, error, message in wrong:
        with pytest.raises(error, match=message):
            model.add(one)
    assert model.layers == (layer,)


def test_layers_come_before_compile() -> None:
    compiled = fastdnn.Sequential([fastdnn.Dense(1)])
    compiled.compile()
    for model in (compiled, fastdnn.Sequential([fastdnn.Dense(1)], input_size=4)):
        with pytest.raises(RuntimeError, match=r"^add: the model is compiled or has parameters"):
            model.add(fastdnn.Dense(1))
        with pytest.raises(RuntimeError, match=r"^pop: the model is compiled or has parameters"):
            model.pop()
        assert len(model.layers) == 1
    with pytest.raises(ValueError, match=r"^pop: the model has no layers$"):
        fastdnn.Sequential().pop()


def test_repr() -> None:
    layers = [fastdnn.Dense(100, "relu"), fastdnn.Dropout(0.2), fastdnn.Dense(10, "softmax")]
    model = fastdnn.Sequential(layers, input_size=64)
    assert repr(model) == (
        "Sequential([Dense(100, 'relu'), Dropout(0.2), Dense(10, 'softmax')], input_size=64, "
        "dtype='float32')"
    )
    assert repr(fastdnn.Sequential(seed=3, dtype="float64")) == (
        "Sequential([], input_size=None, dtype='float64', seed=3)"
    )


def test_count_params() -> None:
    assert classifier().count_params() == 4 * 6 + 6 + 6 * 3 + 3
    with pytest.raises(RuntimeError, match="no parameters yet"):
        classifier(input_size=None).count_params()


# -------------------------------------------------------------------------------------------- fit
def test_arguments_have_kerass_places() -> None:
    placed, named = classifier(), classifier()
    found = placed.fit(X, y, 16, 3, 0, None, 0.2, None, False, {0: 2.0}, np.arange(50.0), 1)
    wanted = named.fit(
        X, y, batch_size=16, epochs=3, verbose=0, callbacks=None, validation_split=0.2,
        validation_data=None, shuffle=False, class_weight={0: 2.0},
        sample_weight=np.arange(50.0), initial_epoch=1,
    )  # fmt: skip
    assert found.history == wanted.history
    assert found.epoch == [1, 2]
    assert np.array_equal(placed.parameters, named.parameters)
    assert np.array_equal(placed.predict(X, 7, 0), named.predict(X))
    weighted = named.evaluate(X, y, sample_weight=np.arange(50.0), batch_size=7)
    assert placed.evaluate(X, y, 7, 0, np.arange(50.0)) == weighted


def test_no_batch_size_is_32() -> None:
    none, given = classifier(), classifier()
    none.fit(X, y, None, 2, 0)
    given.fit(X, y, 32, 2, 0)
    assert np.array_equal(none.parameters, given.parameters)
    assert given._state.steps == 4


def test_evaluate_gives_a_list_to_who_wants_one() -> None:
    model = classifier()
    loss, accuracy = model.evaluate(X, y, return_dict=False)
    assert model.evaluate(X, y, return_dict=True) == {"loss": loss, "accuracy": accuracy}
    with pytest.raises(TypeError, match=r"^return_dict: want True or False, got 'no'$"):
        model.evaluate(X, y, return_dict="no")  # type: ignore[call-overload]


# ------------------------------------------------------------------------------- parts of passes
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("steps", [1, 3, 4, 5, 9])  # a pass has 4
def test_an_epoch_of_so_many_steps(steps: int, shuffle: bool) -> None:
    """The steps are those of whole passes, one after the other, however epochs cut them."""
    cut, whole = (classifier(dropout=0.2, dtype="float64") for _ in range(2))
    history = cut.fit(X, y, 16, 4, 0, shuffle=shuffle, steps_per_epoch=steps)
    assert cut._state.steps == 4 * steps
    assert history.epoch == [0, 1, 2, 3]
    assert history.params == {"epochs": 4, "steps": steps}
    wanted: list[Array] = []
    keep = fastdnn.LambdaCallback(
        on_train_batch_end=lambda batch: wanted.append(whole.parameters.copy())
    )
    whole.fit(X, y, 16, steps, 0, shuffle=shuffle, callbacks=[keep])  # 4 steps each
    assert np.array_equal(cut.parameters, wanted[4 * steps - 1])


def test_the_logs_of_a_part_are_of_its_samples() -> None:
    model = classifier(fastdnn.SGD(0.0), dtype="float64")
    history = model.fit(X, y, 16, 4, 0, shuffle=False, steps_per_epoch=3).history
    parts = [slice(0, 48), np.r_[48:50, 0:32], np.r_[32:50, 0:16], slice(16, 50)]
    for i, part in enumerate(parts):
        expected = model.evaluate(X[part], y[part])
        assert history["loss"][i] == pytest.approx(expected["loss"], rel=1e-12)
        assert history["accuracy"][i] == pytest.approx(expected["accuracy"], rel=1e-12)


def test_an_epoch_may_hold_many_passes() -> None:
    model = classifier(fastdnn.SGD(0.0), dtype="float64")
    expected = model.evaluate(X, y)
    history = model.fit(X, y, 16, 1, 0, steps_per_epoch=8).history
    for name, value in expected.items():
        assert history[name] == [pytest.approx(value, rel=1e-12)]
    assert model._state.epochs == 2


def test_the_next_training_begins_a_pass() -> None:
    """And does not train on the same samples again."""
    orders = []
    for model in (classifier(fastdnn.SGD(0.0)), classifier(fastdnn.SGD(0.0))):
        for _ in range(2):
            orders.append(model._state.orders(50, model._state.epochs, 1, model.dtype).tolist())
            model.fit(X, y, 16, 1, 0, steps_per_epoch=1)
        assert model._state.epochs == 2
    assert orders[:2] == orders[2:]
    assert orders[0] != orders[1]


def test_much_data_are_looked_through_where_an_epoch_does_not_read_them() -> None:
    bad = np.repeat(X, 80, axis=0)
    bad[-1, 0] = np.nan
    model = classifier()
    before = fingerprint(model)
    with pytest.raises(ValueError, match=r"^X: want finite .* at X\[3999, 0\]"):
        model.fit(bad, np.repeat(y, 80), 16, 1, 0, steps_per_epoch=1)
    assert fingerprint(model) == before


# ------------------------------------------------------------------------------- validation data
def test_validation_data_go_before_the_split() -> None:
    both, data = classifier(), classifier()
    other = samples(20, seed=1)
    history = both.fit(X, y, validation_data=other, validation_split=0.5, **FIT)
    assert history.history == data.fit(X, y, validation_data=list(other), **FIT).history
    assert np.array_equal(both.parameters, data.parameters)


def test_validation_data_may_have_weights() -> None:
    model, weights = classifier(), np.arange(50.0)
    history = model.fit(X, y, validation_data=(X, y, weights), **FIT).history
    expected = model.evaluate(X, y, sample_weight=weights)
    assert history["val_loss"][-1] == expected["loss"] != model.evaluate(X, y)["loss"]
    plain = classifier().fit(X, y, validation_data=(X, y, None), **FIT).history
    assert plain == classifier().fit(X, y, validation_data=(X, y), **FIT).history


def test_sample_weights_are_split_and_class_weights_are_for_training() -> None:
    weights, of_class = 1.0 + np.arange(50) % 2, {0: 3.0, 1: 0.5}
    split, given = classifier(), classifier()
    options = {**FIT, "class_weight": of_class}
    found = split.fit(X, y, sample_weight=weights, validation_split=0.4, **options)
    expected = given.fit(
        X[:30], y[:30], sample_weight=weights[:30],
        validation_data=(X[30:], y[30:], weights[30:]), **options,
    )  # fmt: skip
    assert found.history == expected.history
    assert np.array_equal(split.parameters, given.parameters)


def test_no_epochs_train_nothing() -> None:
    model = classifier()
    before = model.parameters.copy()
    for options in ({"epochs": 0}, {"epochs": 3, "initial_epoch": 3}):
        history = model.fit(X, y, validation_data=(X, y), verbose=0, **options)
        assert (history.epoch, history.history) == ([], {})
    assert np.array_equal(model.parameters, before)
    assert (model._state.steps, model._state.epochs) == (0, 0)


def test_a_batch_may_be_larger_than_the_data() -> None:
    one, more = classifier(), classifier()
    assert one.fit(X, y, batch_size=50, verbose=0).history == (
        more.fit(X, y, batch_size=10**9, verbose=0).history
    )
    assert more.history.params == {"epochs": 1, "steps": 1}


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", fastdnn.SGD(momentum=0.9)], ids=str)
def test_fit_again_goes_on(optimizer: Any) -> None:
    parts, whole = (classifier(optimizer, dropout=0.2) for _ in range(2))
    histories = [
        parts.fit(X, y, epochs=2, batch_size=16, verbose=0).history,
        parts.fit(X, y, epochs=5, initial_epoch=2, batch_size=16, verbose=0).history,
    ]
    history = whole.fit(X, y, epochs=5, batch_size=16, verbose=0)
    assert np.array_equal(parts.parameters, whole.parameters)
    assert history.history == {
        name: histories[0][name] + histories[1][name] for name in histories[0]
    }
    assert parts.history.epoch == [2, 3, 4]


def test_history() -> None:
    model = classifier(metrics=["accuracy", metrics.log_loss])
    history = model.fit(X, y, validation_split=0.2, **FIT)
    assert history is model.history
    assert history.params == {"epochs": 3, "steps": 3}  # 40 samples by 16
    assert history.epoch == [0, 1, 2]
    own = ["loss", "accuracy", "log_loss"]
    assert list(history.history) == [*own, *(f"val_{name}" for name in own), "learning_rate"]
    for values in history.history.values():
        assert len(values) == 3
        assert all(type(value) is float for value in values)
    assert history.history["learning_rate"] == [0.001] * 3
    assert model.fit(X, y, verbose=0) is model.history is not history


def test_the_metrics_of_an_epoch_are_those_of_its_steps() -> None:
    """Each sample counts with the output that its step computed."""
    model, steps = classifier("sgd"), classifier("sgd")
    history = model.fit(X, y, batch_size=20, shuffle=False, verbose=0).history
    right = 0.0
    for start in (0, 20, 40):
        part = slice(start, start + 20)
        right += np.sum(steps.predict(X[part]).argmax(axis=1) == y[part])
        steps.train_on_batch(X[part], y[part])
    assert history["accuracy"] == [right / 50]


# --------------------------------------------------------------------------------------- progress
@pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (False, 0), (2, 3), ("auto", 3)])
def test_progress_goes_to_stderr(
    verbose: Any, lines: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where stderr is no terminal, "auto" is 2."""
    model = classifier()
    model.fit(X, y, validation_split=0.2, **{**FIT, "verbose": verbose})
    out, err = capfd.readouterr()
    assert out == ""
    number = r"-?\d\.\d+(e-\d+)?"
    pattern = (
        rf"epoch (\d)/3  loss {number}  accuracy {number}  val_loss {number}  "
        rf"val_accuracy {number}  learning_rate {number}  \d+ samples/s"
    )
    found = [re.fullmatch(pattern, line) for line in err.splitlines()]
    assert [match[1] for match in found if match] == [str(n + 1) for n in range(lines)]
    assert len(found) == lines


def test_a_bar_shows_the_same_lines(capfd: pytest.CaptureFixture[str]) -> None:
    classifier().fit(X, y, **{**FIT, "verbose": 1})
    err = capfd.readouterr().err
    assert [f"epoch {n}/3  loss " in err for n in (1, 2, 3)] == [True] * 3
