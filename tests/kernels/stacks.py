"""Networks with each operation, for the tests of operations, and what naive says of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastdnn.kernels.engine.engine import Engine
from fastdnn.kernels.engine.parameters import Layer
from fastdnn.kernels.layers.operations import CONSTANT
from tests import naive_layers as naive
from tests.kernels.common import Array, draw

NORM: dict[str, Any] = {
    "epsilon": 1e-3,
    "scale": True,
    "center": True,
    "centered": True,
    "groups": 1,
}
BATCH = {**NORM, "momentum": 0.75}
NUMBERS: dict[str, Any] = {"columns": (3, 0)}
BOUNDARIES = ((-1.5, -0.5, 0.25, 1.0), (-1.0, 0.0, 0.125, 2.0))
TABLES: dict[str, Any] = {"columns": (2, 0), "cardinalities": (3, 5), "dims": (2, 19)}
# an operation, its outputs of 5 inputs (6 where the units are grouped), and settings
ROWS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "identity": ("identity", 5, {}),
    "prelu": ("prelu", 5, {"alpha": 0.25}),
    "layer": ("layer_normalization", 5, NORM),
    "rms": ("layer_normalization", 5, {**NORM, "center": False, "centered": False}),
    "groups": ("layer_normalization", 6, {**NORM, "groups": 2}),
    "without": ("layer_normalization", 5, {**NORM, "center": False, "scale": False}),
    "batch": ("batch_normalization", 5, BATCH),
    "batch without": ("batch_normalization", 5, {**BATCH, "center": False, "scale": False}),
    "columns": ("column_embedding", 24, TABLES),
    "periodic": ("periodic_embedding", 3 + 2 * 2 * 9, NUMBERS),
    "piecewise": (
        "piecewise_linear_embedding",
        3 + 2 * 3,
        {**NUMBERS, "boundaries": BOUNDARIES},
    ),
}


def inputs_of(kind: str) -> int:
    """How many inputs the case has."""
    return 6 if kind == "groups" else 5


def layers_of(kind: str, activation: str = "identity") -> list[Layer]:
    """A first row that passes X on, the operation with an activation behind it, and a product."""
    operation, n, settings = ROWS[kind]
    n_prev = inputs_of(kind)
    return [
        Layer(n_prev, n_prev, operation="identity"),
        Layer(n_prev, n, activation, operation=operation, settings=settings),
        Layer(n, 2),
    ]


def residual(width: int = 5) -> list[Layer]:
    """A block within a block, with a norm inside."""
    norm = Layer(width, width, "relu", operation="layer_normalization", settings=NORM)
    return [
        Layer(width, width, operation="fork", settings={"join": 7}),
        norm,
        Layer(width, width, "tanh"),
        Layer(width, width, operation="fork", settings={"join": 6}),
        Layer(width, width, "sigmoid"),
        Layer(width, width, operation="join", settings={"fork": 4}),
        Layer(width, width, operation="join", settings={"fork": 1}),
        Layer(width, 2),
    ]


def engine_of(layers: list[Layer], dtype: Any = np.float64) -> Engine:
    """An engine whose trained tensors are drawn; so are moving averages, if it has any."""
    engine = Engine(layers, dtype=dtype)
    for l in range(1, len(layers) + 1):
        for i, one in enumerate(engine._layout.tensors[l - 1]):
            if one.tensor.role != CONSTANT:
                view = one.view(engine.values)
                view[...] = draw(31 * l + i, *view.shape) / 2
                if one.tensor.name == "moving_variance":
                    view[...] = np.abs(view) + 0.5
    return engine


def inputs(kind: str, m: int) -> Array:
    """X, with categories in the columns that are embedded."""
    X = draw(7, m, inputs_of(kind))
    if kind == "columns":
        for column, count in zip(TABLES["columns"], TABLES["cardinalities"], strict=True):
            X[:, column] = np.random.default_rng(column).integers(0, count, m)
    return X


def operated(kind: str, engine: Engine, X: Array, learning: bool) -> tuple[Array, naive.Back]:
    """Z of row 2, and its backward pass, by naive."""
    own = {name: view.astype(np.float64) for name, view in engine.tensors(2).items()}
    _, _, settings = ROWS[kind]
    if kind == "identity":
        return X, lambda d: (d, [])
    if kind == "prelu":
        return naive.prelu(X, own["alpha"])
    if kind in ("layer", "rms", "groups", "without"):
        centered, epsilon, n = settings["centered"], settings["epsilon"], settings["groups"]
        Z, back = naive.grouped(X, own["gamma"], own["beta"], epsilon, n, centered=centered)
    elif kind.startswith("batch"):
        Z, back = naive.normalised(X, own["gamma"], own["beta"], settings["epsilon"], axis=0)
        if not learning:
            deviation = np.sqrt(own["moving_variance"] + settings["epsilon"])
            hat = (X - own["moving_mean"]) / deviation
            Z = own["gamma"] * hat + own["beta"]

            def back(d: Array) -> tuple[Array, list[Array]]:
                return d * own["gamma"] / deviation, [(d * hat).sum(0), d.sum(0)]
    elif kind == "columns":
        return naive.embedded(X, settings["columns"], list(own.values()))
    elif kind == "periodic":
        return naive.periodic(X, settings["columns"], own["c"])
    else:
        return naive.piecewise(X, settings["columns"], BOUNDARIES)
    return Z, _only(back, _trained(settings))


def _trained(settings: dict[str, Any]) -> tuple[bool, bool]:
    return settings["scale"], settings["center"]


def _only(back: naive.Back, trained: tuple[bool, bool]) -> naive.Back:
    def of_trained(d: Array) -> tuple[Array, list[Array]]:
        dX, both = back(d)
        return dX, [g for g, is_there in zip(both, trained, strict=True) if is_there]

    return of_trained
