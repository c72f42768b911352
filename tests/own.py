"""A user's own functions that are also in fastdnn's tables."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import fastdnn


def relu(z: float) -> float:
    return max(z, 0.0)


def relu_prime(z: float) -> float:
    return 1.0 if z > 0 else 0.0


def tanh_prime(z: float) -> float:
    return 1 - math.tanh(z) ** 2


def swish(z: float) -> float:
    return z / (1 + math.exp(-z))


def swish_prime(z: float) -> float:
    s = 1 / (1 + math.exp(-z))
    return s * (1 + z * (1 - s))


def square(a: float, y: float) -> float:
    return (a - y) ** 2


def square_prime(a: float, y: float) -> float:
    return 2 * (a - y)


def huber(a: float, y: float) -> float:
    e = abs(a - y)
    return e * e / 2 if e <= 1 else e - 0.5


def huber_prime(a: float, y: float) -> float:
    return min(max(a - y, -1.0), 1.0)


ACTIVATIONS = {
    "relu": (relu, relu_prime),
    "tanh": (math.tanh, tanh_prime),
    "silu": (swish, swish_prime),
}
LOSSES = {"mean_squared_error": (square, square_prime), "huber": (huber, huber_prime)}


@cache
def activation(name: str) -> fastdnn.ScalarActivation:
    """The table's activation, as a user's own."""
    return fastdnn.ScalarActivation(*ACTIVATIONS[name], name=f"own {name}")


@cache
def loss(name: str) -> fastdnn.ScalarLoss:
    """The table's loss, as a user's own."""
    return fastdnn.ScalarLoss(*LOSSES[name], name=f"own {name}")


def square_of_arrays(y: Any, a: Any) -> tuple[Any, Any]:
    """The mean squared error of each sample."""
    return ((a - y) ** 2).mean(axis=1), 2 * (a - y) / a.shape[1]


def square_of_batch(y: Any, a: Any) -> tuple[Any, Any]:
    """The mean squared error of all samples."""
    return ((a - y) ** 2).mean(), 2 * (a - y) / a.size


ARRAYS = {"of samples": square_of_arrays, "of a batch": square_of_batch}
