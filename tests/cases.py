"""Small networks with data away from every kink, for the tests that need derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

import fastdnn
from fastdnn import losses
from fastdnn.kernels.elementwise.loss_facts import NOT_NEGATIVE, PROBABILITY
from fastdnn.optimizers import OPTIMIZERS
from tests import naive
from tests.naive import Array, Pair

MARGIN = 0.01  # every Z, W and probability is at least so far from where a derivative jumps
STEEP = 10.0  # no |Z| is larger: exp of exp would leave nothing but roundings

# Every optimizer with its defaults, and every setting that changes its formula.
OPTIMIZER_SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in OPTIMIZERS),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adam", {"beta_1": 0.5, "beta_2": 0.7, "epsilon": 1e-3}),
    ("adamw", {"weight_decay": 0.3}),
    ("rmsprop", {"rho": 0.5, "epsilon": 1e-3}),
]


def name_of(value: object) -> str | None:
    """A test's name for an optimizer's settings: momentum=0.9,nesterov=True."""
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in value.items()) or "defaults"
    return None


@dataclass(frozen=True)
class Case:
    """A network and its data, in the specification's terms: samples are columns."""

    activations: tuple[str, ...]
    loss: str
    parameters: list[Pair]
    X: Array
    Y: Array

    @property
    def y(self) -> np.ndarray[Any, Any]:
        """The targets as the model takes them, samples in rows."""
        return self.Y.argmax(axis=0) if losses.get(self.loss, 3).entry.labels else self.Y.T

    def model(
        self,
        optimizer: Any = "sgd",
        *,
        dtype: str = "float64",
        loss: Any = None,
        regularizers: Sequence[Any] | None = None,
    ) -> fastdnn.Sequential:
        """The same network as a model."""
        layers = [
            fastdnn.Dense(len(W), activation, kernel_regularizer=regularizer)
            for (W, _), activation, regularizer in zip(
                self.parameters,
                self.activations,
                regularizers or [None] * len(self.parameters),
                strict=True,
            )
        ]
        model = fastdnn.Sequential(layers, input_size=len(self.X), dtype=dtype)
        model.compile(optimizer)
        # past compile, which refuses some of these losses and activations: no user has them
        # together, but their derivatives are right
        model.loss = losses.get(self.loss if loss is None else loss, len(self.Y))
        for layer, (W, b) in zip(layers, self.parameters, strict=True):
            layer.W[...], layer.b[...] = W, b[:, 0]
        return model


def draw(
    activations: tuple[str, ...], loss: str, *, sizes: tuple[int, ...] = (3, 4, 3), m: int = 5
) -> Case:
    """The first random network that is away from every kink; `sizes` are repeated as needed."""
    widths = [sizes[0], *(sizes[1 + i % (len(sizes) - 1)] for i in range(len(activations)))]
    for seed in range(2000):
        with np.errstate(over="ignore", invalid="ignore"):  # of exp; such a network is refused
            case = _draw(activations, loss, widths, m, np.random.default_rng(seed))
            smooth = _is_smooth(case)
        if smooth:
            return case
    raise AssertionError(f"no smooth data for {activations} and {loss}")


def _draw(
    activations: tuple[str, ...], loss: str, widths: list[int], m: int, rng: np.random.Generator
) -> Case:
    parameters = [
        (rng.normal(size=(n, n_prev)) / np.sqrt(n_prev), rng.uniform(-1, 1, size=(n, 1)))
        for n_prev, n in pairwise(widths)
    ]
    W, b = parameters[-1]
    # outputs that may well be probabilities
    parameters[-1] = 0.4 * W, np.abs(b) if activations[-1] != "exponential" else -0.5 - np.abs(b)
    X = rng.normal(size=(widths[0], m))
    A = naive.forward(X, parameters, activations)[0][-1]
    entry = losses.get(loss, 3).entry
    if entry.kind == "multiclass":
        Y = naive.one_hot(rng.integers(len(A), size=m), len(A))
    elif entry.targets == PROBABILITY:
        Y = rng.integers(2, size=A.shape).astype(float)
    elif entry.targets == NOT_NEGATIVE:
        Y = rng.integers(4, size=A.shape).astype(float)
    else:  # residuals on both sides of 0 and of Huber's delta = 1
        Y = A + rng.choice([-1, 1], size=A.shape) * rng.choice([0.3, 0.7, 1.4], size=A.shape)
    return Case(activations, loss, parameters, X, Y)


def _is_smooth(case: Case) -> bool:
    A, Z = naive.forward(case.X, case.parameters, case.activations)
    if min(np.abs(z).min() for z in Z) < MARGIN:
        return False
    if min(np.abs(W).min() for W, _ in case.parameters) < MARGIN:
        return False
    P = A[-1]
    if not max(np.abs(z).max() for z in Z) <= STEEP:
        return False
    entry = losses.get(case.loss, 3).entry
    if entry.outputs == NOT_NEGATIVE and not (P > MARGIN).all():
        return False  # a logarithm bends as sharply there
    if entry.outputs == PROBABILITY and (case.activations[-1], case.loss) not in naive.FUSED:
        if entry.kind == "multiclass":
            P = P / (P.sum(axis=0) if (P.sum(axis=0) > MARGIN).all() else np.nan)
        if not ((P > MARGIN) & (P < 1 - MARGIN)).all():
            return False
    _, gradients = naive.loss_and_gradients(
        case.X, case.Y, case.parameters, case.activations, case.loss
    )
    return all(np.linalg.norm(dW) > 1e-3 for dW, _ in gradients)


def derivative(f: Callable[[], float], x: np.ndarray[Any, Any], h: float = 1e-4) -> Array:
    """df/dx by the five-point formula, changing x in place; its error is of order h^4."""
    result = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        start = x[index]
        values = []
        for steps in (-2, -1, 1, 2):
            x[index] = start + steps * h
            values.append(f())
        x[index] = start
        result[index] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    return result


def settings_of(optimizer: Any) -> dict[str, Any]:
    """What an optimizer was made with, as the specification takes it."""
    return {field.name: getattr(optimizer, field.name) for field in fields(optimizer) if field.init}


def tensors(model: fastdnn.Sequential) -> Iterator[np.ndarray[Any, Any]]:
    """W and b of every layer that has them, as they are now."""
    for layer in model.layers:
        if isinstance(layer, fastdnn.Dense):
            yield layer.W.copy()
            yield layer.b.copy()
