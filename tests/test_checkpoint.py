"""Model files: what comes back from one, and that training goes on to the bit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import fastdnn
from fastdnn import Dense, Dropout
from fastdnn._config import to_config
from tests.cases import OPTIMIZER_SETTINGS
from tests.nets import classifier, dense, fingerprint, samples

Array = np.ndarray[Any, Any]
X, y = samples()
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def again(model: fastdnn.Sequential, path: Path) -> fastdnn.Sequential:
    model.save(path)
    return fastdnn.load(path)


# --------------------------------------------------------------------------------- exact resuming
SCHEDULES = [
    fastdnn.StepDecay(0.1, 0.5, 3),
    fastdnn.ExponentialDecay(0.1, 5, 0.5, staircase=True),
    fastdnn.CosineDecay(0.1, 16, alpha=0.1, warmup_steps=6, warmup_start=0.01),
]
OPTIMIZERS = [
    *(fastdnn.optimizers.OPTIMIZERS[name](**settings) for name, settings in OPTIMIZER_SETTINGS),
    *(fastdnn.SGD(schedule, momentum=0.9) for schedule in SCHEDULES),
    fastdnn.Adam(SCHEDULES[2], clipnorm=0.5),
    fastdnn.RMSprop(global_clipnorm=0.5),
]


@pytest.mark.parametrize("seed", [3, None])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_two_epochs_and_three_are_five(
    optimizer: Any, dtype: str, seed: int | None, path: Path
) -> None:
    """Shuffling, dropout and the optimizer's memory go on as if there had been no file."""
    model = classifier(optimizer, dropout=0.25, dtype=dtype, seed=seed)
    model.fit(X, y, epochs=2, **FIT)
    loaded = again(model, path)
    assert fingerprint(loaded)[:4] == fingerprint(model)[:4]
    histories = [
        one.fit(X, y, epochs=5, initial_epoch=2, validation_split=0.2, **FIT).history
        for one in (model, loaded)
    ]
    assert histories[0] == histories[1]
    assert fingerprint(loaded)[:4] == fingerprint(model)[:4]


def test_a_file_of_the_middle_of_a_fit_goes_on_there(tmp_path: Path) -> None:
    model, path = classifier(dropout=0.25), str(tmp_path / "{epoch}")
    model.fit(X, y, epochs=5, callbacks=[fastdnn.ModelCheckpoint(path)], **FIT)
    loaded = fastdnn.load(tmp_path / "2")
    loaded.fit(X, y, epochs=5, initial_epoch=2, **FIT)
    assert np.array_equal(loaded.parameters, model.parameters)
    for epoch in range(1, 6):
        assert fastdnn.load(tmp_path / f"{epoch}")._state.epochs == epoch


def test_a_lowered_learning_rate_stays_lowered(path: Path) -> None:
    model = classifier(fastdnn.SGD(0.5))
    plateau = fastdnn.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=10.0)
    model.fit(X, y, epochs=3, callbacks=[plateau], **FIT)
    assert again(model, path).optimizer == model.optimizer != fastdnn.SGD(0.5)


# ----------------------------------------------------------------------------- what a file holds
def network(**options: Any) -> fastdnn.Sequential:
    """Every kind of layer and setting."""
    layers = [
        Dropout(0.25),
        Dense(5, "leaky_relu", kernel_regularizer=fastdnn.L1L2(1e-4, 1e-3)),
        Dense(4, "swish", use_bias=False, kernel_initializer=fastdnn.initializers.Normal(0.1)),
        Dropout(0.5),
        Dense(3, "softmax", kernel_initializer="lecun", kernel_regularizer="l2"),
    ]
    return fastdnn.Sequential(layers, **{"input_size": 4, **options})


@pytest.mark.parametrize("seed", [7, None, 2**100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_network_comes_back(dtype: str, seed: int | None, path: Path) -> None:
    model = network(dtype=dtype, seed=seed)
    loaded = again(model, path)
    assert repr(loaded.layers) == repr(model.layers)
    assert (loaded.input_size, loaded.dtype, loaded.seed) == (4, dtype, seed)
    assert np.array_equal(loaded.parameters, model.parameters)
    assert loaded.predict(X).tobytes() == model.predict(X).tobytes()
    dense(loaded)[0].W = 0  # its own parameters
    assert not loaded.parameters[:20].any()
    assert dense(model)[0].W.any()


def test_a_model_that_was_never_compiled(path: Path) -> None:
    loaded = again(network(), path)
    with pytest.raises(RuntimeError, match="call compile first"):
        loaded.evaluate(X, y)
    loaded.compile("adam", "mse")
    loaded.fit(X, np.eye(3)[y], **FIT)


@pytest.mark.parametrize(
    "loss",
    [
        fastdnn.Huber(0.125),
        "mae",
        "binary_crossentropy",
        "categorical_crossentropy",
        "sparse_categorical_crossentropy",
    ],
    ids=str,
)
def test_the_training_comes_back(loss: Any, path: Path) -> None:
    targets = y if loss == "sparse_categorical_crossentropy" else np.eye(3)[y]
    model = network(dtype="float64")
    model.compile(fastdnn.AdamW(0.01, weight_decay=0.5), loss, ["accuracy"])
    loaded = again(model, path)
    assert (loaded.optimizer, loaded.loss) == (model.optimizer, model.loss)
    assert loaded.evaluate(X, targets) == model.evaluate(X, targets)


def test_a_file_of_the_first_format_loads(path: Path) -> None:
    """Written out as version 0.1.0 wrote it: files outlive the code that wrote them."""
    config = (
        '{"layers": [{"class": "Dropout", "rate": 0.25}, {"class": "Dense", "units": 3, '
        '"activation": "softmax", "use_bias": true, "kernel_initializer": {"class": '
        '"VarianceScaling", "scale": 2.0, "fan": "fan_in", "distribution": "normal"}, '
        '"kernel_regularizer": {"class": "L1L2", "l1": 0.0, "l2": 0.5}}], "input_size": 4, '
        '"dtype": "float64", "seed": 7, "state": {"entropy": "7", "steps": 12, "epochs": 3}, '
        '"optimizer": {"class": "SGD", "learning_rate": {"class": "StepDecay", "initial": 0.5, '
        '"factor": 0.5, "every_steps": 3}, "clipnorm": 2.0, "global_clipnorm": null, '
        '"momentum": 0.9, "nesterov": true}, "loss": {"class": "Loss", "name": '
        '"sparse_categorical_crossentropy", "parameter": 1.0}, "metrics": ["acc"]}'
    )
    rng = np.random.default_rng(0)
    W, b, slots = rng.normal(size=(3, 4)), rng.normal(size=3), rng.normal(size=15)
    safetensors.numpy.save_file(
        {"W1": W, "b1": b, "optimizer": slots},
        path,
        metadata={"fastdnn.format": "1", "fastdnn.model": config, "data": "iris"},
    )
    model = fastdnn.load(path)
    layer = model.layers[1]
    assert isinstance(layer, Dense)
    assert np.array_equal(layer.W, W)
    assert np.array_equal(layer.b, b)  # type: ignore[arg-type]
    assert layer.kernel_regularizer == fastdnn.L2(0.5)
    assert model.optimizer == fastdnn.SGD(
        fastdnn.StepDecay(0.5, 0.5, 3), momentum=0.9, nesterov=True, clipnorm=2.0
    )
    assert (list(model.metrics), model.metadata) == (["acc"], {"data": "iris"})
    state = json.loads(config)
    written = model.get_state()[0]
    assert written.pop("loss") == to_config(fastdnn.SparseCategoricalCrossentropy())
    del state["loss"]
    assert written == state
    assert np.array_equal(model.get_state()[1]["optimizer"], slots)


@pytest.mark.parametrize(
    "loss",
    [
        fastdnn.Quantile(0.9),
        fastdnn.Quantile([0.1, 0.5, 0.9]),
        fastdnn.LogCosh(),
        fastdnn.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
        fastdnn.BinaryFocalCrossentropy(True, gamma=1.5, from_logits=True),
        fastdnn.CategoricalFocalCrossentropy(from_logits=True),
        fastdnn.SparseCategoricalCrossentropy(from_logits=True, label_smoothing=0.25),
    ],
    ids=repr,
)
def test_a_loss_comes_back_with_its_settings(loss: Any, path: Path) -> None:
    model = fastdnn.Sequential([Dense(3)], input_size=4, seed=0)
    model.compile("sgd", loss, ["mse"] if "sparse" not in loss.name else ["log_loss"])
    loaded = again(model, path)
    assert loaded.loss == loss
    assert repr(loaded.loss) == repr(loss)
    targets = y if "sparse" in loss.name or loss.n_targets(3) == 1 else np.eye(3)[y]
    assert loaded.evaluate(X, targets) == model.evaluate(X, targets)


def test_tensors_have_the_notes_names_and_shapes(path: Path) -> None:
    """So whoever reads safetensors can read the network."""
    model = network()
    model.compile("adam", "mse")
    model.fit(X, np.eye(3)[y], **FIT)
    model.save(path)
    tensors = safetensors.numpy.load_file(path)
    first, second, third = dense(model)
    expected = {"W1": first.W, "b1": first.b, "W2": second.W, "W3": third.W, "b3": third.b}
    assert set(tensors) == {*expected, "optimizer"}
    for name, array in expected.items():
        assert np.array_equal(tensors[name], array)
    assert tensors["optimizer"].shape == (2 * model.parameters.size,)


def test_the_memory_of_a_former_optimizer_is_not_kept(path: Path) -> None:
    model = classifier("adam")
    model.fit(X, y, **FIT)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, y, **FIT)
    model.save(path)
    assert "optimizer" not in safetensors.numpy.load_file(path)


def test_metadata(path: Path) -> None:
    model = network()
    model.save(path, metadata={"data": "Träume.csv", "": "line\nbreak"})
    assert model.metadata == {}
    loaded = fastdnn.load(path)
    assert loaded.metadata == {"data": "Träume.csv", "": "line\nbreak"}
    assert again(loaded, path).metadata == loaded.metadata
    loaded.save(path, metadata={})
    assert fastdnn.load(path).metadata == {}


@pytest.mark.parametrize("metadata", [{"epochs": 3}, {3: "epochs"}, {"a": None}])
def test_wrong_metadata(metadata: Any, path: Path) -> None:
    with pytest.raises(TypeError, match=r"^metadata: want strings, got "):
        network().save(path, metadata=metadata)
    assert not path.exists()


@pytest.mark.parametrize("key", ["fastdnn.format", "fastdnn.model", "fastdnn.checksum"])
def test_metadata_of_fastdnns_own_names_are_refused(key: str, path: Path) -> None:
    """A file with them could not be read again."""
    with pytest.raises(ValueError, match=rf"^metadata: .* does not use itself, got '{key}'$"):
        network().save(path, metadata={"data": "iris", key: "1"})
    assert not path.exists()


# ------------------------------------------------------------------- what a file cannot hold whole
def test_functions_are_left_out(path: Path) -> None:
    """A user's initializer has done its work; a user's metric has to be given again."""

    def ones(n: int, n_prev: int, rng: Any) -> Any:
        return np.ones((n, n_prev))

    @dataclass
    class Twos:
        def __call__(self, n: int, n_prev: int, rng: Any) -> Any:
            return np.full((n, n_prev), 2.0)

    def largest(y_true: Any, y_pred: Any) -> float:
        return float(y_pred.max())

    layers = [Dense(3, "relu", kernel_initializer=ones), Dense(3, kernel_initializer=Twos())]
    model = fastdnn.Sequential(layers, input_size=4)
    model.compile("adam", "mse", [largest, "accuracy", "mae"])
    model.fit(X, np.eye(3)[y], **FIT)
    loaded = again(model, path)
    assert np.array_equal(loaded.parameters, model.parameters)
    assert list(loaded.metrics) == ["accuracy", "mae"]
    assert layers[0].kernel_initializer is ones  # saving changes nothing
    assert [layer.kernel_initializer for layer in dense(loaded)] == ["he_normal", "glorot_uniform"]


@dataclass(frozen=True)
class Harmonic(fastdnn.Schedule):
    initial: float

    def __call__(self, steps: Any) -> Any:
        return self.initial / (1 + steps)


def test_a_schedule_of_ones_own_costs_no_model(path: Path) -> None:
    model = classifier(fastdnn.SGD(Harmonic(0.5), momentum=0.9))
    model.fit(X, y, epochs=2, **FIT)
    with pytest.warns(UserWarning, match=r"holds the present learning rate 0\.0\d+.*Harmonic\("):
        model.save(path)
    assert model.optimizer.learning_rate == Harmonic(0.5)
    loaded = fastdnn.load(path)
    assert loaded.optimizer == fastdnn.SGD(0.5 / 9, momentum=0.9)  # 8 steps are done
    loaded.optimizer.learning_rate = Harmonic(0.5)  # as the warning says
    for one in (model, loaded):
        one.fit(X, y, epochs=4, initial_epoch=2, **FIT)
    assert np.array_equal(loaded.parameters, model.parameters)


def test_an_optimizer_of_ones_own_costs_no_model(path: Path) -> None:
    class Own(fastdnn.Adam):
        pass

    model = classifier(Own())
    model.fit(X, y, **FIT)
    with pytest.warns(UserWarning, match=r"the file cannot hold .*Own\(.*compile the model after"):
        model.save(path)
    loaded = fastdnn.load(path)
    assert np.array_equal(loaded.parameters, model.parameters)
    with pytest.raises(RuntimeError, match="call compile first"):
        loaded.evaluate(X, y)


def test_the_warning_points_at_the_user(path: Path) -> None:
    model = classifier(fastdnn.SGD(Harmonic(0.5)))
    with pytest.warns(UserWarning, match="Harmonic") as caught:
        model.save(path)
    assert caught[0].filename == __file__


def test_load_is_sequentials(path: Path) -> None:
    class Own(fastdnn.Sequential):
        pass

    network().save(path)
    assert type(Own.load(path)) is Own
    assert type(fastdnn.load(path)) is fastdnn.Sequential
