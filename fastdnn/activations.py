"""The names of activations, as users of Keras and of the notes write them.

The functions themselves, g and its derivative, are the entries of `ACTIVATIONS`
(``kernels/activations.py``): identity, sigmoid, relu, tanh, leaky_relu (slope 0.01), elu (alpha 1),
gelu (exact), silu, softplus, exponential, softmax.
"""

from __future__ import annotations

from fastdnn.kernels import ACTIVATIONS
from fastdnn.kernels.lookup import lookup

__all__ = ["ACTIVATIONS", "resolve"]

_ALIASES = {"linear": "identity", "swish": "silu", "exp": "exponential"}
_NAMES = {name: name for name in ACTIVATIONS} | _ALIASES


def resolve(activation: str | None) -> str:
    """Return the table's name of an activation; None means the identity, as in Keras.

    Raises
    ------
    TypeError, ValueError
        If it is no string, or no known name; the nearest known one is proposed.
    """
    return "identity" if activation is None else lookup("activation", activation, _NAMES)
