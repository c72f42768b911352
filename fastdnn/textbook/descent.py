"""Gradient descent on all samples by the compiled engine, for the textbook's models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn._checks import check_number
from fastdnn._streams import say
from fastdnn.divergence import DivergenceError
from fastdnn.kernels.elementwise.update import COEFFICIENTS
from fastdnn.kernels.engine import Engine, Layer, Rule, Targets
from fastdnn.kernels.layers.layout import FINITE

Array = NDArray[Any]

COST_EVERY = 100  # iterations between two recorded costs
SLICE = 0.1  # seconds that a native call may last: Ctrl-C waits for its end


def descend(
    X: Array,
    Y: Array,
    start: Mapping[str, Array],
    learning_rate: float,
    num_iterations: int,
    print_cost: bool,
) -> tuple[dict[str, Array], list[float]]:
    """Return the last parameters, and the costs of the iterations 0, 100, 200, ….

    `start` holds "W1", "b1", …; X (n[0], m) and Y (1, m) fit it. The hidden layers are relu, the
    output is a sigmoid.
    """
    check_number("learning_rate", learning_rate, "(0, inf)")
    check_number("num_iterations", num_iterations, "[0, inf)", whole=True)
    engine = _engine(start, X.dtype)
    costs = []
    for i, cost in enumerate(_all_costs(engine, X, Y, learning_rate, num_iterations)):
        if i % COST_EVERY == 0:
            costs.append(cost)
            if print_cost:
                say(f"Cost after iteration {i}: {cost:.6f}")
    # copies: views would keep all of the engine's vector
    return {name: view.copy() for name, view in _views(engine)}, costs


def _engine(start: Mapping[str, Array], dtype: np.dtype[Any]) -> Engine:
    weights = [value for name, value in start.items() if name.startswith("W")]
    layers = [Layer(W.shape[1], W.shape[0], "relu") for W in weights]
    layers[-1] = layers[-1]._replace(activation="sigmoid")
    engine = Engine(layers, loss="binary_crossentropy", dtype=dtype)
    for name, view in _views(engine):
        view[...] = start[name]
    return engine


def _views(engine: Engine) -> Iterator[tuple[str, Array]]:
    """Return the engine's parameters by the textbook convention's names and shapes."""
    for l in range(1, len(engine.layers) + 1):
        b = engine.bias(l)
        assert b is not None  # every layer has one
        yield f"W{l}", engine.weights(l)
        yield f"b{l}", b.reshape(-1, 1)


def _all_costs(
    engine: Engine, X: Array, Y: Array, learning_rate: float, num_iterations: int
) -> Iterator[float]:
    """Return the cost before each update, as slices of about `SLICE` seconds make them."""
    targets = Targets(np.ascontiguousarray(Y.T, engine.dtype))
    done, size = 0, 1
    while done < num_iterations:
        began = perf_counter()
        coefficients = np.zeros((min(size, num_iterations - done), COEFFICIENTS))
        coefficients[:, 0] = learning_rate
        outcome = engine.train(X.T, targets, Rule("descent", coefficients), batch=X.shape[1])
        yield from outcome.losses[: outcome.done].tolist()
        done += outcome.done
        # a step looks at what the step before it left, so the last one's result is seen here
        if outcome.reason != FINITE or not np.isfinite(engine.parameters).all():
            raise DivergenceError(
                f"the run diverged at iteration {done}: its cost, a gradient or a parameter is not "
                f"finite. Take a smaller learning_rate than {learning_rate}, or scale X down"
            )
        size = 2 * size if perf_counter() - began < SLICE / 2 else max(size // 2, 1)
