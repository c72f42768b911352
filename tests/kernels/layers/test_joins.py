"""What a table of cases does not show of joins: a fork whose derivatives meet, and PReLU at 0."""

from __future__ import annotations

import numpy as np

from fastdnn.kernels.engine.calls import Targets
from fastdnn.kernels.engine.parameters import Layer
from tests.kernels.common import draw
from tests.kernels.stacks import engine_of


def test_a_block_that_makes_nothing_doubles_or_passes() -> None:
    for inner, factor in (("identity", 2.0), ("dense", 1.0)):
        layers = [
            Layer(4, 4, operation="identity"),
            Layer(4, 4, operation="fork", settings={"join": 4}),
            Layer(4, 4, operation=inner),
            Layer(4, 4, operation="join", settings={"fork": 2}),
            Layer(4, 3),
        ]
        engine = engine_of(layers, np.float64)
        if inner == "dense":
            engine.weights(3)[...], engine.bias(3)[...] = 0, 0  # type: ignore[index]
        X, y = draw(1, 9, 4), draw(2, 9, 3)
        W, b = engine.weights(5), engine.bias(5)
        A = factor * X @ W.T + b
        np.testing.assert_allclose(engine.forward(X, batch=9), A, rtol=1e-12)
        dX = np.empty((9, 4))
        engine.differentiate(X, Targets(y), dZ_1=dX)
        np.testing.assert_allclose(dX, factor * 2 * (A - y) @ W / A.size, rtol=1e-12, atol=1e-15)


def test_the_slope_at_0_is_alpha() -> None:
    layers = [
        Layer(2, 2, operation="identity"),
        Layer(2, 2, operation="prelu", settings={"alpha": 0.25}),
        Layer(2, 1),
    ]
    engine = engine_of(layers, np.float64)
    engine.tensors(2)["alpha"][...] = 0.25, 0.5
    dX = np.empty((1, 2))
    engine.differentiate(np.zeros((1, 2)), Targets(np.array([[1.0]])), dZ_1=dX)
    d = 2 * (engine.bias(3) - 1.0)  # type: ignore[operator]
    np.testing.assert_allclose(dX[0], d * engine.weights(3)[0] * [0.25, 0.5], rtol=1e-12)
