"""The network that the command line's arguments describe."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace

from fastdnn import optimizers
from fastdnn.data.datasets import Dataset
from fastdnn.data.preparation import Preparation
from fastdnn.data.tables import Array
from fastdnn.embedding import ColumnEmbedding, embedding_size
from fastdnn.layer import Layer
from fastdnn.layers import Dense
from fastdnn.model import Sequential
from fastdnn.normalization import hidden_layers
from fastdnn.optimizers import Optimizer
from fastdnn.regularizers import L2

# Months, weekdays and their like keep an input for each value, whose weights can be read; each
# further value would be a column more of X and of W_1.
EMBED_ABOVE = 16


def hidden_layers_of(arguments: Namespace) -> list[Layer]:
    """Return the hidden layers, made before the data are read: a wrong name shows at once."""
    Dense(1, arguments.activation)  # also where there is no hidden layer
    settings = {"normalization": arguments.normalization, "dropout": arguments.dropout}
    penalty = L2(arguments.l2)
    layers: list[Layer] = []
    for n in arguments.layers:
        layers += hidden_layers(n, arguments.activation, kernel_regularizer=penalty, **settings)
    return layers


def optimizer_of(arguments: Namespace) -> Optimizer:
    """Return the optimizer, with its own learning rate unless another is given."""
    optimizer = optimizers.get(arguments.optimizer)
    if arguments.learning_rate is None:
        return optimizer
    return replace(optimizer, learning_rate=arguments.learning_rate)


def target_scaled(dataset: Dataset, y: Array) -> Array:
    """Return targets as the network learns them: class numbers as they are, others scaled."""
    scaling = dataset.preparation.target_scaling
    return y if scaling is None else scaling.apply(y, dataset.X_train.dtype)


def build(
    hidden: list[Layer],
    optimizer: Optimizer,
    dataset: Dataset,
    arguments: Namespace,
    metrics: Sequence[str] = (),
) -> Sequential:
    """A compiled network for a data set: softmax over its classes, or one output for its target."""
    if dataset.classes is None:
        last, loss = _dense(1, None, arguments), "mean_squared_error"
    else:
        last = _dense(len(dataset.classes), "softmax", arguments)
        loss = "sparse_categorical_crossentropy"
    model = Sequential(
        [*_embedding(dataset.preparation), *hidden, last],
        input_size=dataset.X_train.shape[1],
        dtype=arguments.dtype,
        seed=arguments.seed,
    )
    first = model.layers[0]
    for E in first.E if isinstance(first, ColumnEmbedding) else ():
        E[0] = 0.0  # of what training never shows, as with an input for each value
    model.compile(optimizer, loss, metrics)
    return model


def _embedding(preparation: Preparation) -> list[Layer]:
    """Return the layer for the columns of X that are whole numbers, if there are any."""
    cardinalities = preparation.cardinalities
    if not cardinalities:
        return []
    counts = tuple(cardinalities.values())
    return [ColumnEmbedding(tuple(cardinalities), counts, tuple(map(embedding_size, counts)))]


def _dense(units: int, activation: str | None, arguments: Namespace) -> Dense:
    return Dense(units, activation, kernel_regularizer=L2(arguments.l2))
