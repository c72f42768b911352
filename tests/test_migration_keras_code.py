"""Each row of docs/migration.md's differences from Keras in code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

import fastdnn
from fastdnn import Dense
from fastdnn.layer import Layer
from fastdnn.optimizers import OPTIMIZERS, Optimizer
from tests.migration import (
    LOSS,
    Cells,
    Table,
    exported,
    imported,
    names,
    networks,
    numbers,
)

row = Table("Keras", " in code")
# Keras calls deprecated parts of NumPy, and warns that a generator is not shuffled.
pytestmark = [
    pytest.mark.xdist_group("Keras"),  # which takes long to import
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning"),
]


def default(function: Callable[..., Any], name: str) -> Any:
    return inspect.signature(function).parameters[name].default


@row("Optimizers")
def test_optimizers(cells: Cells) -> None:
    assert exported(Optimizer) == set(names(cells.ours))
    assert {kind.__name__ for kind in OPTIMIZERS.values()} == set(names(cells.ours))
    more = names(cells.theirs)
    for kind in OPTIMIZERS.values():
        assert not set(more) & set(inspect.signature(kind).parameters)
    keras = imported("Keras")
    assert hasattr(keras.optimizers, "Ftrl")
    assert "ftrl" not in OPTIMIZERS
    assert set(more) <= set(inspect.signature(keras.optimizers.Adam).parameters)


@row("`weight_decay`")
def test_weight_decay(cells: Cells) -> None:
    with_it = [
        kind.__name__
        for kind in OPTIMIZERS.values()
        if "weight_decay" in inspect.signature(kind).parameters
    ]
    assert with_it == names(cells.ours)
    keras = imported("Keras")
    for name in exported(Optimizer):
        theirs = getattr(keras.optimizers, "Nadam" if name == "NAdam" else name)
        assert "weight_decay" in inspect.signature(theirs).parameters


@row("The third argument of `compile`")
def test_third_argument(cells: Cells) -> None:
    def third(function: Any) -> list[str]:
        return list(inspect.signature(function).parameters)[3:4]  # self is the first

    assert third(fastdnn.Sequential.compile) == names(cells.ours)
    assert third(imported("Keras").Model.compile) == names(cells.theirs)


@row("`evaluate`")
def test_evaluate(cells: Cells) -> None:
    model, theirs = networks([1.0, 0.0])
    assert set(model.evaluate([[1.0]], [1])) == {"loss", "accuracy"}
    assert isinstance(model.evaluate([[1.0]], [1], return_dict=False), list)
    (flag,) = names(cells.theirs)
    network = theirs("accuracy")
    X, y = np.ones((1, 1)), np.array([1])
    assert isinstance(network.evaluate(X, y, verbose=0), list)
    assert isinstance(network.evaluate(X, y, verbose=0, **{flag: True}), dict)


@row("`train_on_batch`")
def test_train_on_batch(cells: Cells) -> None:
    model, theirs = networks([1.0, 0.0])
    assert set(model.train_on_batch([[1.0]], [1])) == {"loss", "accuracy"}
    (flag,) = names(cells.theirs)
    network = theirs("accuracy")
    X, y = np.ones((1, 1)), np.array([1])
    assert isinstance(network.train_on_batch(X, y), list)
    assert isinstance(network.train_on_batch(X, y, **{flag: True}), dict)
    assert np.ndim(theirs().train_on_batch(X, y)) == 0


@row("`batch_size` of `evaluate` and `predict`")
def test_batch_size(cells: Cells) -> None:
    from fastdnn.validation import EVALUATION_BATCH

    assert numbers(cells.ours) == [EVALUATION_BATCH]
    model, theirs = networks([1.0, 0.0, 2.0])
    X, y = np.random.default_rng(0).normal(size=(70, 1)), np.arange(70) % 3
    assert np.array_equal(model.predict(X, batch_size=1), model.predict(X))
    assert model.evaluate(X, y, batch_size=9) == pytest.approx(model.evaluate(X, y))
    network, seen = theirs(), []

    class Count(imported("Keras").callbacks.Callback):  # type: ignore[misc]
        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(batch)

    network.predict(X, callbacks=[Count()], verbose=0)
    assert len(seen) == -(-len(X) // numbers(cells.theirs)[0])


@row('`history["learning_rate"]`')
def test_learning_rate(cells: Cells) -> None:
    model, theirs = networks([1.0, 0.0])
    model.compile(fastdnn.SGD(fastdnn.StepDecay(0.1, 0.5, every_steps=1)), LOSS)
    X, y = np.ones((4, 1)), np.zeros(4, int)
    history = model.fit(X, y, batch_size=2, epochs=2, verbose=0)
    assert history.history["learning_rate"] == pytest.approx([0.1, 0.025])
    network = theirs()
    assert "learning_rate" not in network.fit(X, y, verbose=0).history
    lower = imported("Keras").callbacks.ReduceLROnPlateau("loss")
    assert "learning_rate" in network.fit(X, y, callbacks=[lower], verbose=0).history


@row("Layers")
def test_layers(cells: Cells) -> None:
    assert exported(Layer) == set(names(cells.ours))
    layers = imported("Keras").layers
    assert all(hasattr(layers, name) for name in ("Conv2D", "LSTM", "LayerNormalization"))
    assert hasattr(layers, "Embedding")


@row("Graphs of layers")
def test_graphs(cells: Cells) -> None:
    with pytest.raises(TypeError, match="layers"):
        fastdnn.Sequential([fastdnn.Sequential([Dense(1)])])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="not callable"):
        Dense(1)(Dense(2))  # type: ignore[operator]
    keras = imported("Keras")
    X = keras.Input((3,))
    outputs = [keras.layers.Dense(n)(X) for n in (1, 2)]
    assert len(keras.Model(X, outputs).outputs) == 2


@row("Penalties and starts of b")
def test_b(cells: Cells) -> None:
    ours = inspect.signature(Dense).parameters
    assert not {*names(cells.theirs), "kernel_constraint", "bias_constraint"} & set(ours)
    assert (
        fastdnn.Sequential([Dense(5)], input_size=2).layers[0].b == numbers(cells.ours)[0]
    ).all()
    theirs = inspect.signature(imported("Keras").layers.Dense).parameters
    assert {*names(cells.theirs), "kernel_constraint", "bias_constraint"} <= set(theirs)


@row("`kernel` (n_prev, n)")
def test_kernel(cells: Cells) -> None:
    model = fastdnn.Sequential([Dense(2)], input_size=3)
    assert model.layers[0].W.shape == (2, 3)
    assert np.array_equal(model.get_weights()[0], model.layers[0].W.T)
    keras = imported("Keras")
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    assert tuple(layer.kernel.shape) == (3, 2)


@row("Data")
def test_data(cells: Cells) -> None:
    def batches() -> Iterator[Any]:
        while True:
            yield np.ones((1, 1)), np.zeros(1, int)

    model, theirs = networks([1.0, 0.0])
    model.fit([[1.0]], [0], verbose=0)
    for one in (model, theirs()):
        one.fit(batches(), steps_per_epoch=2, verbose=0)
    model.fit(csr_matrix([[1.0]]), [0], verbose=0)


@row("The file of `save`")
def test_file(cells: Cells, tmp_path: Path) -> None:
    from safetensors import safe_open

    model, theirs = networks([1.0, 0.0])
    model.save(tmp_path / "any.name")
    with safe_open(tmp_path / "any.name", "numpy") as file:
        assert "W1" in file.keys()  # noqa: SIM118
    network, path = theirs(), tmp_path / f"model{cells.theirs}"
    network.save(path)
    with pytest.raises(ValueError, match="a model of Keras; want a model that save wrote"):
        fastdnn.load(path)
    assert pytest.approx(model.layers[0].W) == fastdnn.from_keras(path).layers[0].W


@row("Progress")
def test_progress(cells: Cells, capsys: pytest.CaptureFixture[str]) -> None:
    model, theirs = networks([1.0, 0.0])
    X, y = np.ones((1, 1)), np.zeros(1, int)
    model.fit(X, y, verbose=2)
    printed = capsys.readouterr()
    assert not printed.out
    assert "loss" in printed.err
    theirs().fit(X, y, verbose=2)
    printed = capsys.readouterr()
    assert "loss" in printed.out
    assert not printed.err


@row("Devices")
def test_devices(cells: Cells) -> None:
    assert "device" not in inspect.signature(fastdnn.Sequential).parameters
    assert hasattr(imported("Keras"), "device")


@row("`stop_training`")
def test_stop_training(cells: Cells) -> None:
    model, theirs = networks([1.0, 0.0])
    X, y = np.ones((8, 1)), np.zeros(8, int)

    def stopper(base: Any) -> Any:
        class Stop(base):  # type: ignore[misc]
            steps = 0

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                self.steps += 1
                self.model.stop_training = True

        return Stop()

    stop = stopper(fastdnn.Callback)
    model.fit(X, y, batch_size=2, epochs=3, callbacks=[stop], verbose=0)
    assert stop.steps == 4
    network = theirs()
    stop = stopper(imported("Keras").callbacks.Callback)
    network.fit(X, y, batch_size=2, epochs=3, callbacks=[stop], verbose=0)
    assert stop.steps == 1


@row("Hooks of prediction and evaluation")
def test_hooks(cells: Cells) -> None:
    for function in (fastdnn.Sequential.evaluate, fastdnn.Sequential.predict):
        assert "callbacks" not in inspect.signature(function).parameters
    model, theirs = networks([1.0, 0.0])
    X, y = np.ones((8, 1)), np.zeros(8, int)

    def counter(base: Any) -> Any:
        class Count(base):  # type: ignore[misc]
            tests = 0

            def on_test_begin(self, logs: Any = None) -> None:
                self.tests += 1

        return Count()

    count = counter(fastdnn.Callback)
    model.fit(X, y, validation_data=(X, y), callbacks=[count], verbose=0)
    assert count.tests == 1
    network = theirs()
    count = counter(imported("Keras").callbacks.Callback)
    network.evaluate(X, y, callbacks=[count], verbose=0)
    assert count.tests == 1


@row("Arguments of callbacks")
def test_arguments_of_callbacks(cells: Cells) -> None:
    callbacks = ("EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau")
    ours = set().union(*(inspect.signature(getattr(fastdnn, c)).parameters for c in callbacks))
    new, old = names(cells.ours)
    assert new in ours
    assert old not in ours
    assert not set(names(cells.theirs)) & ours
    of_keras = imported("Keras").callbacks
    theirs = set().union(*(inspect.signature(getattr(of_keras, c)).parameters for c in callbacks))
    assert set(names(cells.theirs)) <= theirs
    assert old in theirs
    assert new not in theirs


@row("`verbose` of `evaluate` and `predict`")
def test_verbose(cells: Cells) -> None:
    model, keras = fastdnn.Sequential, imported("Keras")
    for name in ("evaluate", "predict"):
        assert str(default(getattr(model, name), "verbose")) == cells.ours
        assert f'"{default(getattr(keras.Model, name), "verbose")}"' == cells.theirs


def test_every_row_is_tested() -> None:
    assert row.tested == set(row.rows)
