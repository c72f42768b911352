"""Random networks with their data for `test_fuzz.py`, and what naive says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import fastdnn
from fastdnn import activations, losses
from fastdnn.kernels import ACTIVATIONS
from fastdnn.kernels.cpu import targets
from fastdnn.losses import LOSSES, Loss
from fastdnn.optimizers import OPTIMIZERS, Optimizer
from tests import naive, tiers
from tests.cases import STEEP
from tests.kernels import masks
from tests.kernels.common import DTYPES, Array, unit

PRIMES = (1, 2, 3, 5, 7, 11, 13, 17, 31, 61, 97, 127)
KINKED = ("relu", "leaky_relu")
TILES = sorted({t.nr + d for t in map(targets.tile, DTYPES) for d in (-1, 0, 1)})


def fuzz(daily: int) -> settings:
    """So many examples, always the same; nightly 10,000 others every time."""
    return settings(
        max_examples=tiers.times(daily, 10_000),
        derandomize=not tiers.NIGHTLY,
        deadline=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# ------------------------------------------------------------------------------------------ losses
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "huber": [{"delta": 0.3}],
    "quantile": [{"q": 0.9}, {"q": (0.1, 0.5, 0.8)}],
    "binary_crossentropy": [{"label_smoothing": 0.2}],
    "categorical_crossentropy": [{"label_smoothing": 0.2}],
    "sparse_categorical_crossentropy": [{"label_smoothing": 0.2}],
    "binary_focal_crossentropy": [
        {"gamma": 0.5, "apply_class_balancing": True},
        {"gamma": 1.0, "label_smoothing": 0.1},
    ],
    "categorical_focal_crossentropy": [{"gamma": 0.5, "alpha": 0.7}, {"label_smoothing": 0.1}],
}


@cache
def outputs() -> list[tuple[str, Loss]]:
    """Each last activation with each loss that `compile` takes after it."""
    found = []
    for name, one in LOSSES.items():
        logits = [{"from_logits": True}] if hasattr(one, "label_smoothing") else []
        for given in ({}, *SETTINGS.get(name, []), *logits):
            loss = one(**given)
            for activation in ACTIVATIONS:
                try:
                    activations.check_output(loss, activation, 3)
                except ValueError:
                    continue
                found.append((activation, loss))
    return found


def of_naive(loss: Loss, n: int) -> dict[str, Any]:
    """A loss's settings as naive takes them, which is given smoothed targets."""
    given = {f.name: getattr(loss, f.name) for f in fields(loss)}
    given.pop("from_logits", None)
    if not loss.entry.labels:
        given.pop("label_smoothing", None)
    if isinstance(loss, losses.Quantile):
        given["q"] = loss.quantiles(n)
    return given


# -------------------------------------------------------------------------------------------- jobs
@dataclass(frozen=True)
class Job:
    """A network and what it is trained on; `rates` are dropout's, of X and of every layer."""

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    use_bias: tuple[bool, ...]
    penalties: tuple[tuple[float, float], ...]
    rates: tuple[float, ...]
    loss: Loss
    optimizer: Optimizer
    dtype: str
    m: int
    batch: int
    kind: str
    weighted: bool
    by_class: bool
    seed: int

    @property
    def inner(self) -> tuple[str, ...]:
        """The activations as the loss sees them: from logits it applies the last one itself."""
        last = next(iter(self.loss.entry.fused)) if self.loss.from_logits else self.activations[-1]
        return (*self.activations[:-1], last)

    def model(self, parameters: Sequence[naive.Pair]) -> fastdnn.Sequential:
        """The compiled network with these parameters."""
        layers: list[Any] = [fastdnn.Dropout(self.rates[0])] if self.rates[0] else []
        each = zip(self.sizes[1:], self.activations, self.use_bias, self.penalties, strict=True)
        for (n, g, use_bias, penalty), rate in zip(each, self.rates[1:], strict=True):
            layers.append(fastdnn.Dense(n, g, use_bias, kernel_regularizer=fastdnn.L1L2(*penalty)))
            layers += [fastdnn.Dropout(rate)] if rate else []
        made = fastdnn.Sequential(
            layers, input_size=self.sizes[0], dtype=self.dtype, seed=self.seed
        )
        made.compile(self.optimizer, self.loss)
        engine = made.engine
        for l, (W, b) in enumerate(parameters, 1):
            engine.weights(l)[...] = W
            if (bias := engine.bias(l)) is not None:
                bias[...] = b[:, 0]
        return made


@st.composite
def optimizers(draw: Any) -> Optimizer:
    """Any rule but Lion, whose step is as large for a rounding as for a gradient; or clipped."""
    name = draw(st.sampled_from([one for one in OPTIMIZERS if one != "lion"]))
    given: dict[str, Any] = {"learning_rate": draw(st.sampled_from([0.0, 0.001, 0.01, 0.1]))}
    other = {
        "sgd": {"momentum": 0.9, "nesterov": draw(st.booleans())},
        "rmsprop": {"rho": 0.5, "epsilon": 1e-3},
        "adam": {"beta_1": 0.5, "beta_2": 0.7, "epsilon": 1e-3},
        "adamw": {"beta_1": 0.0, "weight_decay": 0.3},
        "nadam": {"beta_1": 0.5, "epsilon": 1e-3, "momentum_decay": 0.5},
        "adagrad": {"initial_accumulator_value": 0.5, "epsilon": 1e-3},
    }[name]
    given |= other if draw(st.booleans()) else {}
    clip = draw(st.sampled_from([None, "clipnorm", "global_clipnorm"]))
    given |= {} if clip is None else {clip: draw(st.sampled_from([1e-3, 0.05, 1.0, 100.0]))}
    return OPTIMIZERS[name](**given)


def widths() -> st.SearchStrategy[int]:
    """Small ones, those around a tile, and rarely large ones."""
    small = st.one_of(st.integers(1, 40), st.sampled_from(TILES))
    rare = st.integers(0, 12).flatmap(lambda i: small if i else st.sampled_from([129, 257, 300]))
    return st.one_of(small, small, rare)


@st.composite
def jobs(draw: Any) -> Job:
    """Any network that `compile` takes, with shapes of data and ways to train."""
    last, loss = draw(st.sampled_from(outputs()))
    L = draw(st.integers(1, 4))
    n = draw(st.integers(loss.entry.least_outputs + (last == "softmax"), 12))
    k = len(loss.q) if isinstance(getattr(loss, "q", 0), tuple) else 1
    hidden = draw(st.lists(st.sampled_from(list(ACTIVATIONS)), min_size=L - 1, max_size=L - 1))
    sizes = [*draw(st.lists(widths(), min_size=L, max_size=L)), n + -n % k]
    for l, g in enumerate(hidden, 1):  # a softmax of one unit is warned of
        sizes[l] += g == "softmax"
    m = draw(st.one_of(st.sampled_from(PRIMES), st.integers(1, 300)))
    drops = draw(st.integers(0, 4)) == 0
    rate = st.sampled_from([0.0, 0.25, 0.5]) if drops else st.just(0.0)
    penalty = st.sampled_from([(0.0, 0.0), (0.0, 0.0), (0.02, 0.0), (0.0, 0.05), (0.01, 0.03)])
    return Job(
        tuple(sizes),
        (*hidden, last),
        draw(st.tuples(*[st.sampled_from([True, True, False])] * L)),
        draw(st.tuples(*[penalty] * L)),
        (*draw(st.tuples(*[rate] * L)), 0.0),
        loss,
        # of dropout's steps naive follows those of plain descent
        fastdnn.SGD(1.0) if drops else draw(optimizers()),
        draw(st.sampled_from(["float32", "float64"])),
        m,
        draw(st.one_of(st.integers(1, m), st.sampled_from([m, m + 1, 32]))),
        draw(st.sampled_from(["normal", "normal", "half", "integer", "bool"])),
        draw(st.booleans()),
        draw(st.booleans()) and loss.entry.labels,
        draw(st.integers(0, 2**16)),
    )


# -------------------------------------------------------------------------------------------- data
@dataclass(frozen=True)
class Problem:
    """Data in the model's terms, samples in rows; of y also naive's Y (n_L, m); and a start."""

    X: Array
    y: Array
    Y: Array
    weights: Array  # naive's, of each sample
    given: dict[str, Any]  # what `fit` is given of them
    parameters: list[naive.Pair]


def problem(job: Job) -> Problem | None:
    """Data with no derivative that jumps nearby, and with moderate Z; or None."""
    scale = 1.0
    for attempt in range(12):
        found = _problem(job, np.random.default_rng([job.seed, attempt]), scale)
        if is_smooth(job, found, found.parameters):
            return found
        scale *= 0.8
    return None


def _problem(job: Job, rng: np.random.Generator, scale: float) -> Problem:
    dtype, (n_0, m), n = np.dtype(job.dtype), (job.sizes[0], job.m), job.sizes[-1]
    draws = {
        "normal": lambda: rng.normal(size=(m, n_0)).astype(np.float32),
        "half": lambda: rng.normal(size=(m, n_0)).astype(np.float16),
        "integer": lambda: rng.integers(-3, 4, size=(m, n_0)),
        "bool": lambda: rng.integers(0, 2, size=(m, n_0)),
    }
    X = draws[job.kind]().astype(np.float64)
    y, Y = _targets(job, rng)
    parameters = [
        (
            (scale * rng.normal(size=(n, n_prev)) / np.sqrt(n_prev)).astype(dtype).astype(float),
            (rng.uniform(-scale, scale, size=(n, 1)) * use).astype(dtype).astype(float),
        )
        for n_prev, n, use in zip(job.sizes, job.sizes[1:], job.use_bias, strict=False)
    ]
    given: dict[str, Any] = {}
    weights = np.ones(m)
    if job.weighted:
        given["sample_weight"] = weights = rng.integers(0, 5, size=m) / 2
    if job.by_class:
        of_class = rng.integers(1, 4, size=n) / 2
        given["class_weight"] = dict(enumerate(of_class.tolist()))
        weights = weights * of_class[y]
    return Problem(X, y, Y, weights, given, parameters)


def _targets(job: Job, rng: np.random.Generator) -> tuple[Array, Array]:
    """y as the model takes it, and Y as naive does."""
    n, m, loss, entry = job.sizes[-1], job.m, job.loss, job.loss.entry
    n_targets = loss.n_targets(n)
    if entry.labels:
        labels = rng.integers(n, size=m)
        return labels, naive.one_hot(labels, n)
    if entry.kind == "multiclass":
        Y = naive.one_hot(rng.integers(n, size=m), n)
        Y = naive.softmax(rng.normal(size=(n, m))) if rng.integers(2) else Y
    elif entry.kind == "multilabel":
        Y = rng.integers(2, size=(n, m)).astype(float)
        Y = rng.uniform(size=(n, m)) if rng.integers(2) else Y
    elif entry.targets[0] == 0:
        Y = rng.integers(5, size=(n, m)).astype(float)
    else:
        Y = rng.normal(size=(n_targets, m)) * 2
    Y = Y.astype(np.float32).astype(float)
    return Y.T, loss.smoothed(loss.compared(Y.T, n)).T


def is_moderate(job: Job, data: Problem, parameters: Sequence[naive.Pair]) -> bool:
    """Whether every Z is, and outputs whose logarithm a loss takes are no rounded 0 or 1."""
    with np.errstate(all="ignore"):
        A, Z = naive.forward(data.X.T, parameters, job.inner)
    if not max(np.abs(z).max() for z in Z) <= STEEP:
        return False
    loss, P = job.loss, A[-1]
    if job.inner[-1] in loss.entry.fused:
        return True
    if loss.name == "poisson":  # its logarithm bends sharply there; of no output it is exact
        return bool(((P > 0.01) | (P == 0)).all())
    if loss.entry.outputs == (0, 1):
        P = P / P.sum(axis=0) if "categorical" in loss.name else P
        return bool(((P > 1e-3) & (P < 1 - 1e-3)).all())
    return True


def is_smooth(job: Job, data: Problem, parameters: Sequence[naive.Pair]) -> bool:
    """Whether all is moderate, and roundings change no branch."""
    if not is_moderate(job, data, parameters):
        return False
    margin, names = 400 * unit(job.dtype), job.inner
    A, Z = naive.forward(data.X.T, parameters, names)
    for (W, b), A_prev, z, name in zip(parameters, A[:-1], Z, names, strict=True):
        size = np.abs(W) @ np.abs(A_prev) + np.abs(b)  # where nothing is added up, Z is exact
        if name in KINKED and ((np.abs(z) < margin * size) & (size > 0)).any():
            return False
    if job.loss.name in ("mean_absolute_error", "quantile"):
        return bool((np.abs(A[-1] - data.Y) > 8 * margin * (1 + np.abs(A[-1]))).all())
    return True


# ---------------------------------------------------------------------------------- specification
def gradients(
    job: Job, data: Problem, parameters: Sequence[naive.Pair], rows: Array, step: Any = None
) -> tuple[float, list[naive.Pair], Array]:
    """Loss, (dW, db) of every layer and A_L of some samples; with dropout's masks of a step."""
    seed, m = job.model(parameters)._state.dropout_seed if step is not None else 0, len(rows)

    def drop(A: Array, l: int) -> Array:
        if step is None or not job.rates[l]:
            return A
        kept = masks.kept(seed, step, l, A.size, job.rates[l]).reshape(A.T.shape).T
        return naive.dropout(A, kept, job.rates[l])

    A, Z, names, L = [drop(data.X[rows].T, 0)], list[Array](), job.inner, len(parameters)
    for l, (W, b) in enumerate(parameters, 1):
        Z.append(naive.linear_forward(A[-1], W, b))
        A.append(drop(naive.ACTIVATIONS[names[l - 1]][0](Z[-1]), l))
    settings, w = of_naive(job.loss, job.sizes[-1]), data.weights[rows]
    values, dZ = naive.loss_and_dZ(Z[-1], data.Y[:, rows], names[-1], job.loss.name, **settings)
    total, dZ, found = float(np.sum(w * values) / m), w * dZ, list[naive.Pair]()
    for l in range(L, 0, -1):
        W = parameters[l - 1][0]
        dA_prev, dW, db = naive.linear_backward(dZ, A[l - 1], W)
        value, slope = naive.penalty(W, *job.penalties[l - 1])
        total, found = total + value, [(dW + slope, db), *found]
        if l > 1:
            dZ = naive.ACTIVATIONS[names[l - 2]][1](drop(dA_prev, l - 1), Z[l - 2])
    return total, found, (Z[-1] if job.loss.from_logits else A[-1]).T
