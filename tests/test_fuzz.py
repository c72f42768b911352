"""Random networks, layouts and inputs: numbers against naive, bits against each other.

`fuzzing.py` draws the networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import fastdnn
from fastdnn.optimizers import OPTIMIZERS
from tests import naive
from tests.cases import settings_of
from tests.fuzzing import Job, Problem, fuzz, gradients, is_moderate, jobs, problem
from tests.kernels.common import ROUNDINGS, Array, roundings, unit
from tests.layouts import Form, forms

pytestmark = pytest.mark.usefixtures("awake_threads")

WOBBLES = 64  # of the changes that roundings of parameters and X make


def parameters_of(model: fastdnn.Sequential, vector: Array | None = None) -> list[naive.Pair]:
    """W and b of every layer in float64, of the model or of a copy of its parameters."""
    engine, pairs = model.engine, []
    now = engine.parameters.copy()
    engine.parameters[...] = now if vector is None else vector
    for l, layer in enumerate(engine.layers, 1):
        b = engine.bias(l)
        b = np.zeros(layer.n) if b is None else b
        pairs.append((engine.weights(l).astype(float), b.astype(float)[:, None]))
    engine.parameters[...] = now
    return pairs


def flat(job: Job, loss: float, pairs: Sequence[naive.Pair], A: Array) -> list[Array]:
    """All results as arrays, of the parameters only those that there are."""
    found = [np.array([loss]), A]
    for (dW, db), use_bias in zip(pairs, job.use_bias, strict=True):
        found += [dW, db.ravel()] if use_bias else [dW]
    return found


def wanted(job: Job, data: Problem, start: Any, rows: Array, step: Any = None) -> Any:
    """Naive's results, and how far roundings may move each."""
    rng, eps = np.random.default_rng(0), unit(job.dtype)
    right = flat(job, *gradients(job, data, start, rows, step))
    wobbles = [np.zeros(())] * len(right)
    for _ in range(3):
        moved = [[x * (1 + eps * rng.choice([-1, 1], x.shape)) for x in pair] for pair in start]
        X = data.X * (1 + eps * rng.choice([-1, 1], data.X.shape))
        other = Problem(X, data.y, data.Y, data.weights, data.given, [])
        found = flat(job, *gradients(job, other, [(W, b) for W, b in moved], rows, step))
        wobbles = [
            np.maximum(w, np.abs(a - b).max())
            for w, a, b in zip(wobbles, right, found, strict=True)
        ]
    largest = max(float(np.abs(x).max()) for x in right[2:])
    if job.activations[-1] == "softmax":
        # whose dZ is a difference: of equal slopes it is 0, up to roundings of these
        slope = max(float(np.abs(data.Y).max()), 1.0) * float(data.weights.max()) / len(rows)
        largest = max(largest, slope * max(float(np.abs(data.X).max()), 1.0))
    sizes = [float(np.abs(right[0]).max()), *(float(np.abs(x).max()) for x in right[1:])]
    sizes[2:] = [max(size, 0.1 * largest) for size in sizes[2:]]
    # a loss is a sum of terms of either sign; and sizes may be zero where all terms cancel
    bounds = [
        WOBBLES * float(w) + roundings(ROUNDINGS, job.dtype) * size + np.finfo(job.dtype).tiny
        for w, size in zip(wobbles, sizes, strict=True)
    ]
    return right, bounds


def check(job: Job, got: Sequence[Any], right: Sequence[Array], bounds: Sequence[float]) -> None:
    """Each is right up to its bound."""
    for i, (one, other, bound) in enumerate(zip(got, right, bounds, strict=True)):
        worst = np.abs(np.asarray(one, float) - other).max()
        assert worst <= bound, f"result {i}: off by {worst}, allowed {bound}"


# ----------------------------------------------------------------------------------------- numbers
@fuzz(50)
@given(jobs(), forms)
def test_steps_are_naives(job: Job, form: Form) -> None:
    """Loss, gradients, outputs and every step of the optimizer."""
    of = problem(job)
    assume(of is not None)
    assert of is not None
    model = job.model(of.parameters)
    X, y = form.of_X(of.X, job.kind), form.of_y(of.y)
    with fastdnn.num_threads(form.n_threads):
        check_pass(job, of, model, X, y)
        if any(job.rates):
            check_dropped_step(job, of, model, X, y)
        else:
            check_steps(job, of, model)


def check_pass(job: Job, of: Problem, model: fastdnn.Sequential, X: Any, y: Any) -> None:
    """`loss_and_gradients`, `predict` and `evaluate` of all samples as one batch."""
    weights = of.weights if np.ptp(of.weights) or of.weights[0] != 1 else None
    right, bounds = wanted(job, of, of.parameters, np.arange(job.m))
    loss, pairs = model.loss_and_gradients(X, y, weights)
    got = [loss, model.predict(X, batch_size=job.batch)]
    for dW, db in pairs:
        got += [dW] if db is None else [dW, db]
    check(job, got, right, bounds)
    evaluated = model.evaluate(X, y, job.batch, sample_weight=weights)
    check(job, [evaluated["loss"]], right[:1], bounds[:1])


def check_dropped_step(job: Job, of: Problem, model: fastdnn.Sequential, X: Any, y: Any) -> None:
    """A step of plain descent at rate 1 shows the gradient with dropout's masks."""
    rows, before = np.arange(job.m), parameters_of(model)
    right, bounds = wanted(job, of, before, rows, step=0)
    loss = model.train_on_batch(X, y, of.weights)["loss"]
    got: list[Any] = [loss, right[1]]
    more = [0.0, 0.0]
    for (W, b), (W_now, b_now), use in zip(before, parameters_of(model), job.use_bias, strict=True):
        for old, new in ((W, W_now), (b, b_now))[: 1 + use]:
            got.append((old - new).reshape(old.shape if old is W else -1))
            more.append(2 * unit(job.dtype) * float(np.maximum(np.abs(old), np.abs(new)).max()))
    check(job, got, right, np.add(bounds, more).tolist())


def check_steps(job: Job, of: Problem, model: fastdnn.Sequential) -> None:
    """Three steps of the optimizer along the gradients that it has; and by its own calls."""
    rng, states, other = np.random.default_rng(job.seed), None, job.model(of.parameters)
    name = {kind: name for name, kind in OPTIMIZERS.items()}[type(job.optimizer)]
    settings, speed = settings_of(job.optimizer), 0.0
    for t in (1, 2, 3):
        if not is_moderate(job, of, parameters_of(model)):
            return  # the rate is too large for such a loss
        rows = rng.permutation(job.m)[: job.batch]
        X, y, weights = of.X[rows], of.y[rows], of.weights[rows]
        loss, pairs = model.loss_and_gradients(X, y, weights)
        slopes = [x.astype(float) for pair in pairs for x in pair if x is not None]
        old = [x.astype(float) for x in tensors(model)]
        new, states = naive.step(name, old, slopes, states, t, **settings)
        assert math.isclose(model.train_on_batch(X, y, weights)["loss"], loss, rel_tol=1e-15)
        # in a sum of slopes of either sign the largest one's roundings stay; so they do in Adam's
        # first moment, next to the root of a second one that holds 1 - beta_2 of its square
        largest = max(float(np.abs(x).max()) for x in slopes)
        speed = max(speed, largest if name == "sgd" else 1.0)
        bound = 64 * speed * settings["learning_rate"]
        for now, right, before in zip(tensors(model), new, old, strict=True):
            allowed = roundings(ROUNDINGS, job.dtype) * (np.abs(right) + np.abs(before) + bound)
            assert (np.abs(now - right) <= allowed).all()
        other.apply_gradients(pairs)
        assert other.parameters.tobytes() == model.parameters.tobytes()


def tensors(model: fastdnn.Sequential) -> list[Array]:
    """Copies of every W, and of every b that there is."""
    engine, found = model.engine, []
    for l in range(1, len(engine.layers) + 1):
        found += [engine.weights(l).copy()]
        found += [b.copy()] if (b := engine.bias(l)) is not None else []
    return found


# -------------------------------------------------------------------------------------------- bits
class Steps(fastdnn.Callback):
    """Notes the parameters before each step."""

    def __init__(self) -> None:
        self.seen: list[Array] = []

    def on_train_batch_begin(self, batch: int) -> None:
        self.seen.append(self.model.parameters.copy())


@fuzz(30)
@given(jobs(), forms, st.booleans())
def test_fit_has_the_same_bits_for_all_threads_and_layouts(
    job: Job, form: Form, shuffle: bool
) -> None:
    """And its losses are naive's of each step."""
    of = problem(job)
    assume(of is not None)
    assert of is not None
    steps = Steps()
    watch = [] if shuffle else [steps]
    base = fitted(job, of, of.X, of.y, of.given, 1, shuffle=shuffle, callbacks=watch)
    given = dict(of.given)
    if "sample_weight" in given:
        given["sample_weight"] = form.of_weights(given["sample_weight"])
    X, y = form.of_X(of.X, job.kind), form.of_y(of.y)
    assert fitted(job, of, X, y, given, form.n_threads, shuffle=shuffle) == base
    if not shuffle:
        check_losses(job, of, base, steps.seen)


def fitted(
    job: Job, of: Problem, X: Any, y: Any, given: dict[str, Any], n_threads: int, **options: Any
) -> tuple[Any, ...]:
    """All that two epochs leave: the losses first."""
    model = job.model(of.parameters)
    with fastdnn.num_threads(n_threads):
        try:
            history = model.fit(
                X, y, job.batch, 2, 0, **{"callbacks": (), **options}, **given
            ).history["loss"]
        except fastdnn.DivergenceError as error:
            return [], str(error), model.parameters.tobytes()
        try:
            outputs = model.predict(X, batch_size=job.batch).tobytes()
        except RuntimeWarning as warning:
            outputs = str(warning).encode()
    return history, model.parameters.tobytes(), outputs


def check_losses(job: Job, of: Problem, base: tuple[Any, ...], seen: Sequence[Array]) -> None:
    """Each epoch's loss is the mean of its steps', from the parameters before each."""
    batch = min(job.batch, job.m)
    starts = range(0, job.m, batch)
    model = job.model(of.parameters)
    for epoch, got in enumerate(base[0]):
        total, allowed = 0.0, 0.0
        for i, begin in enumerate(starts):
            number = epoch * len(starts) + i
            rows = np.arange(begin, min(begin + batch, job.m))
            pairs = parameters_of(model, seen[number])
            if not is_moderate(job, of, pairs):
                return
            right, bounds = wanted(job, of, pairs, rows, number if any(job.rates) else None)
            total, allowed = total + right[0][0] * len(rows), allowed + bounds[0] * len(rows)
        assert abs(got - total / job.m) <= allowed / job.m
