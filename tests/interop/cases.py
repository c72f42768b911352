"""Networks with every layer and every activation, for the tests of all converters."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdnn import (
    L1L2,
    Activation,
    BatchNormalization,
    ColumnEmbedding,
    Dense,
    Dropout,
    LayerNormalization,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    PReLU,
    Residual,
    RMSNormalization,
    Sequential,
)
from fastdnn._config import CLASSES
from fastdnn.kernels import ACTIVATIONS
from fastdnn.layer import Layer

Array = np.ndarray[Any, Any]
DTYPES = ("float32", "float64")
N_0 = 4
BOUNDARIES = ((-1.0, -0.25, 0.5, 2.0), (-0.5, 0.0, 0.75, 1.0))
# Behind each class's name may stand what is special.
LAYERS: dict[str, list[Layer]] = {
    "Dense": [Dense(5, "tanh"), Dense(3)],
    "Dense without b": [Dense(5, "relu", use_bias=False), Dense(3, use_bias=False)],
    "Dense, with a penalty": [Dense(5, "silu", kernel_regularizer=L1L2(0.5, 0.25)), Dense(3)],
    "Dropout": [Dropout(0.5), Dense(5, "tanh"), Dropout(0.25), Dense(3)],
    "Activation": [Activation("tanh"), Dense(5, "elu"), Activation("silu"), Dense(3)],
    "LayerNormalization": [Dense(5), LayerNormalization(0.1), Activation("relu"), Dense(3)],
    "LayerNormalization without gamma": [Dense(5), LayerNormalization(scale=False)],
    "LayerNormalization without beta": [Dense(5), LayerNormalization(center=False)],
    "LayerNormalization of X alone": [LayerNormalization(1e-5, False, False), Dense(3)],
    "RMSNormalization": [RMSNormalization(), Dense(5), RMSNormalization(0.1), Dense(3)],
    "BatchNormalization": [BatchNormalization(), Dense(5, "relu"), BatchNormalization(0.9, 0.1)],
    "BatchNormalization without gamma": [Dense(5), BatchNormalization(scale=False)],
    "BatchNormalization without beta": [Dense(5), BatchNormalization(center=False)],
    "BatchNormalization alone": [Dense(5), BatchNormalization(0.7, 0.01, False, False)],
    "PReLU": [PReLU(), Dense(5), PReLU(0.25), Dense(3)],
    "Residual": [Residual([Residual([Dense(4, "tanh")]), Dense(4)]), Activation("tanh"), Dense(3)],
    "Residual of a norm": [Dense(6), Residual([LayerNormalization(), Dropout(0.1), Dense(6)])],
    "ColumnEmbedding": [ColumnEmbedding((3, 1), (5, 2), (3, 2)), Dense(3)],
    "ColumnEmbedding of all": [ColumnEmbedding((0, 1, 2, 3), (9,) * 4, (1, 2, 3, 4)), Dense(3)],
    "PeriodicEmbedding": [PeriodicEmbedding(5, scale=0.7), Dense(3)],
    "PeriodicEmbedding of some": [PeriodicEmbedding(3, columns=(2, 0)), Dense(3)],
    "PiecewiseLinearEmbedding": [PiecewiseLinearEmbedding(BOUNDARIES, (3, 0)), Dense(3)],
    "PiecewiseLinearEmbedding of one interval": [
        PiecewiseLinearEmbedding([row[:2] for row in BOUNDARIES * 2]),  # type: ignore[arg-type]
        Dense(3),
    ],
    "together": [
        ColumnEmbedding((3, 1), (5, 2), (3, 2)),
        PiecewiseLinearEmbedding(BOUNDARIES, (6, 5)),
        Dense(8, "gelu"),
        Residual([BatchNormalization(), Dense(8, "relu"), Dropout(0.2), Dense(8)]),
        PReLU(),
        Dense(3),
        Activation("softmax"),
    ],
}


def kinds() -> set[str]:
    """The names of all classes of layers that a file of a model can name."""
    return {
        name for name, one in CLASSES.items() if isinstance(one, type) and issubclass(one, Layer)
    }


def named_in(table: dict[str, Any]) -> set[str]:
    """The classes that a table of networks has."""
    return {name.split()[0].rstrip(",") for name in table} - {"together"}


def with_numbers(layers: list[Layer], dtype: str, seed: int = 3, n: int = N_0) -> Sequential:
    """A model with random parameters and moving averages."""
    copies = [layer.unplaced() for layer in layers]
    model = Sequential(copies, input_size=n, dtype=dtype, seed=seed)
    rng = np.random.default_rng(seed)
    for name, view in model._named_parameters().items():
        view[...] = rng.normal(size=view.shape)
        if name.startswith("moving_variance"):
            view[...] = np.abs(view) + 0.5
    return model


def net(name: str, dtype: str) -> tuple[Sequential, Array]:
    """A network of the table, and samples for it."""
    model = with_numbers(LAYERS[name], dtype)
    X = np.random.default_rng(5).normal(size=(23, N_0))
    X[:, 3], X[:, 1] = np.arange(23) % 5, np.arange(23) % 2
    if name == "ColumnEmbedding of all":
        X[:, 0], X[:, 2] = np.arange(23) % 9, np.arange(23) % 7
    return model, X.astype(dtype)


def activated(name: str, dtype: str, *, alone: bool) -> tuple[Sequential, Array]:
    """A network whose outputs are g(X), and X from where g is flat to where it is steep."""
    g: list[Layer] = [Activation(name)] if alone else []
    layers = [Dense(N_0, None if alone else name), *([Dropout(0.5)] if alone else []), *g]
    model = Sequential(layers, input_size=N_0, dtype=dtype)
    model.layers[0].W = np.eye(N_0)
    top = 6.0 if name == "exponential" else 30.0
    X = np.concatenate([np.linspace(-top, top, 200), np.linspace(-1, 1, 200)])
    return model, X.reshape(-1, N_0).astype(dtype)


def assert_close(got: Any, want: Any, tolerance: float) -> None:
    """Fail if an element is further away than so much of the largest one."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tolerance * max(np.abs(want).max(), 1e-30)


def assert_same(got: Sequential, want: Sequential) -> None:
    """Fail if two networks have other layers, parameters or moving averages."""
    assert list(map(repr, got.layers)) == list(map(repr, want.layers))
    assert (got.input_size, got.dtype) == (want.input_size, want.dtype)
    ours, theirs = got._named_parameters(), want._named_parameters()
    assert list(ours) == list(theirs)
    for name, view in theirs.items():
        assert np.array_equal(ours[name], view), name


def hint(table: str, missing: object) -> str:
    """What a test says where a new entry has no counterpart."""
    return f"give each of these its line in {table} of fastdnn/interop: {missing}"


__all__ = ["ACTIVATIONS"]
