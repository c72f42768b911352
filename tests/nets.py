"""Small models and their data, for the tests of what a user can do with a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastdnn

Array = np.ndarray[Any, Any]
N_0, N_CLASSES = 4, 3


def samples(m: int = 50, seed: int = 0) -> tuple[Array, Array]:
    """X (m, 4) of whole numbers, exact in every dtype, and a class for each row."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-3, 4, size=(m, N_0)).astype(float)
    return X, (X.sum(axis=1) + rng.integers(-1, 2, size=m)).astype(int) % N_CLASSES


def classifier(
    optimizer: Any = "adam", metrics: Any = ("accuracy",), dropout: float = 0.0, **options: Any
) -> fastdnn.Sequential:
    """A compiled network 4-6-3 for class numbers."""
    layers: list[Any] = [fastdnn.Dense(6, "tanh")]
    if dropout:
        layers = [fastdnn.Dropout(dropout), *layers, fastdnn.Dropout(dropout)]
    layers.append(fastdnn.Dense(N_CLASSES, "softmax"))
    model = fastdnn.Sequential(layers, **{"input_size": N_0, "seed": 0, **options})
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics)
    return model


def regressor(optimizer: Any = "sgd", loss: Any = "mse", **options: Any) -> fastdnn.Sequential:
    """A compiled network 4-1 without activation."""
    model = fastdnn.Sequential(
        [fastdnn.Dense(1)], **{"input_size": N_0, "seed": 0, "dtype": "float64", **options}
    )
    model.compile(optimizer, loss)
    return model


def wide(
    optimizer: Any = "adam", metrics: Any = (), dropout: float = 0.0, **options: Any
) -> fastdnn.Sequential:
    """A compiled network 4-40-3 for class numbers, too wide to be tiny."""
    drops = [fastdnn.Dropout(dropout)] if dropout else []
    made = fastdnn.Sequential(
        [fastdnn.Dense(40, "relu"), *drops, fastdnn.Dense(N_CLASSES, "softmax")],
        **{"input_size": N_0, "seed": 0, **options},
    )
    made.compile(optimizer, "sparse_categorical_crossentropy", metrics)
    return made


# a net and a batch for each way through the kernels: tiny, resident, blocked, one sample, one unit
WAYS: dict[str, tuple[Callable[..., fastdnn.Sequential], int]] = {
    "tiny": (classifier, 32),
    "tiny, one sample": (classifier, 1),
    "resident": (wide, 64),
    "blocked": (wide, 5),
    "blocked, one sample": (wide, 1),
    "one unit": (regressor, 32),
}


def fingerprint(model: fastdnn.Sequential) -> tuple[Any, ...]:
    """All that a training changes: if two are equal, nothing has happened between them."""
    engine, state = model._engine, model._state
    return (
        model.built,
        model.built and model.parameters.tobytes(),
        None if engine is None else engine.slots.tobytes(),
        (state.steps, state.epochs),
        model.__dict__.get("optimizer"),
        repr(model.__dict__.get("optimizer")),
        model.__dict__.get("loss"),
        tuple(model.metrics.items()),
        id(model.__dict__.get("history")),
        model.input_size,
    )


# Every way to hand data with targets to a model.
WITH_TARGETS: dict[str, Callable[..., Any]] = {
    "fit": lambda model, X, y: model.fit(X, y, verbose=0),
    "train_on_batch": lambda model, X, y: model.train_on_batch(X, y),
    "evaluate": lambda model, X, y: model.evaluate(X, y),
    "loss_and_gradients": lambda model, X, y: model.loss_and_gradients(X, y),
}


class Spy(fastdnn.Callback):
    """Notes what it is called with; acts where it is told to."""

    def __init__(self, **actions: Callable[[Any], None]) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.actions = actions

    def note(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        self.actions.get(name, lambda model: None)(self.model)

    def on_train_begin(self) -> None:
        self.note("train_begin")

    def on_train_end(self) -> None:
        self.note("train_end")

    def on_epoch_begin(self, epoch: int) -> None:
        self.note("epoch_begin", epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.note("epoch_end", epoch)

    def on_batches_end(self, step: int, n_steps: int, logs: dict[str, float]) -> None:
        self.note("batches_end", step, n_steps, dict(logs))


def dense(model: fastdnn.Sequential) -> list[fastdnn.Dense]:
    """The model's Dense layers."""
    return [layer for layer in model.layers if isinstance(layer, fastdnn.Dense)]
