"""What is told of a training that diverged: where its numbers ceased to be finite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.dense import linear_forward
from fastdnn.kernels.engine import Engine, Targets

Array = NDArray[Any]


class DivergenceError(ArithmeticError):
    """A loss or a gradient was not finite. The parameters are those before that step.

    Attributes
    ----------
    epoch, step : int
        The epoch, and the step in it, from 0.
    layer : int or None
        The layer, of those with parameters, from 1, whose Z or gradient is not finite (Z is looked
        for where all are Dense); None if all are, and the loss itself, a penalty or dropout's mask
        made it so.
    last_loss : float or None
        The last finite loss of a step of this epoch; None in its first step.
    """

    epoch: int
    step: int
    layer: int | None = None
    last_loss: float | None = None


def find_layer(
    engine: Engine, X: Array, targets: Targets, weights: Array | None
) -> tuple[int | None, str]:
    """Return the first layer whose Z is not finite, or the last one whose gradient is not.

    Parameters
    ----------
    X, targets, weights
        Those of the step, (m, n_0) and as the engine takes them.

    Returns
    -------
    layer : int or None
    what : str
        "Z", or "gradient".
    """
    with np.errstate(over="ignore"):
        A = np.ascontiguousarray(X, engine.dtype).T
    with np.errstate(all="ignore"):
        plain = all(layer.is_dense for layer in engine.layers)
        for l, layer in enumerate(engine.layers if plain else (), 1):
            W, b = engine.weights(l), engine.bias(l)
            Z = np.empty((layer.n, A.shape[1]), engine.dtype)
            A = linear_forward(A, W, b, layer.activation, Z=Z)
            if not np.isfinite(Z).all():
                return l, "Z"
        engine.differentiate(X, targets, weights=weights)
        gradients = engine.gradients()
        for l in range(len(gradients), 0, -1):
            if not all(one is None or np.isfinite(one).all() for one in gradients[l - 1]):
                return l, "gradient"
    return None, ""
