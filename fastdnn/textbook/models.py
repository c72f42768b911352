"""The course's whole models: a training loop over all samples, and its predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from fastdnn._streams import say

from . import shapes as check
from .descent import descend
from .equations import Array, L_model_forward, initialize_parameters, start


def two_layer_model(
    X: ArrayLike,
    Y: ArrayLike,
    layers_dims: Sequence[int],
    learning_rate: float = 0.0075,
    num_iterations: int = 3000,
    print_cost: bool = False,
) -> tuple[dict[str, Array], list[float]]:
    """Train `L_layer_model` with one hidden layer, started by `initialize_parameters`.

    Parameters
    ----------
    layers_dims : (n_x, n_h, n_y)
        n_x is the number of X's rows, n_y is 1.
    X, Y, learning_rate, num_iterations, print_cost
        As for `L_layer_model`.

    Returns
    -------
    parameters : dict
    costs : list of float
    """
    X, Y, dims = check.data(X, Y, layers_dims)
    if len(dims) != 3:
        raise ValueError(f"layers_dims: want (n_x, n_h, n_y), got {tuple(dims)}")
    return descend(X, Y, initialize_parameters(*dims), learning_rate, num_iterations, print_cost)


def L_layer_model(
    X: ArrayLike,
    Y: ArrayLike,
    layers_dims: Sequence[int],
    learning_rate: float = 0.0075,
    num_iterations: int = 3000,
    print_cost: bool = False,
) -> tuple[dict[str, Array], list[float]]:
    """Train by gradient descent on all samples, from W[l] = N(0, 1) / sqrt(n[l-1]) and b = 0.

    W is drawn from seed 1.

    Parameters
    ----------
    X : array_like of shape (n[0], m)
        Where X is float32 all is computed in float32, else in float64.
    Y : array_like of shape (1, m)
    layers_dims : sequence of int
        n[0], …, n[L] = 1; two numbers are a logistic regression.
    learning_rate : float
    num_iterations : int
    print_cost : bool
        Print each recorded cost.

    Returns
    -------
    parameters : dict
        "W1", "b1", …, after the last update.
    costs : list of float
        Before the updates number 0, 100, 200, ….

    Raises
    ------
    DivergenceError
        An ArithmeticError: a cost, gradient or parameter is not finite at the iteration it names.
    """
    X, Y, dims = check.data(X, Y, layers_dims)
    parameters = start(dims, 1, lambda W: W / np.sqrt(W.shape[1]))
    return descend(X, Y, parameters, learning_rate, num_iterations, print_cost)


def predict(
    X: ArrayLike,
    y: ArrayLike | None = None,
    parameters: Mapping[str, ArrayLike] | None = None,
) -> Array:
    """Return 1 where AL > 0.5, else 0; prints the accuracy where the labels are known.

    Parameters
    ----------
    X : array_like of shape (n[0], m)
    y : array_like of shape (1, m), optional
    parameters : dict
        Has to be given: ``predict(X, parameters=parameters)`` is for new samples.

    Returns
    -------
    ndarray of shape (1, m)
        0 and 1, as floats.
    """
    AL, _ = L_model_forward(X, {} if parameters is None else parameters)
    p = (AL > 0.5).astype(AL.dtype)
    if y is not None:
        say(f"Accuracy: {np.mean(p == check.labels('y', y, AL))}")
    return p
