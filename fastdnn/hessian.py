"""The product of the loss's Hessian with a vector, by central differences of gradients.

H v is the derivative of the gradient along v. Gradients are taken in float64, of a copy of the
parameters p at p + t h v, and penalties are left out of them: l1 has no second derivative, and that
of l2 is known. h is a power of two near c |p| / |v|, so that h v is not rounded.

- Of smooth functions, by t = -2, -1, 1, 2: the error of the formula is of order h^4.
- relu, the absolute error and their like have kinks, and a difference across one is of no use. So h
  is small, t = -1, 0, 1, and the middle tells whether there is a kink; if so, h is 16 times smaller
  (t = -1, 1).
- Of a float32 network the product is rounded to float32, so t = -1, 1 are enough; and float64 takes
  twice the time of float32.

So the cost is that of 4 gradients, of 3 or 5, and of 2 that take twice the time each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels.elementwise.activations import activation_of
from fastdnn.kernels.engine import Engine, Targets, doubled
from fastdnn.kernels.layers.operation_table import operation_of

from ._inputs import Data
from .losses import Loss

Vector = NDArray[np.float64]
Gradient = Callable[[float], Vector]  # at p + t v, of t: it lies there until the next one

# c. With roundings of 2e-16, the error of a gradient's difference is 3e-16 / c or so.
OF_SMOOTH, OF_KINKED, OF_FLOAT32 = 1e-5, 6e-7, 1e-7
NEARER = 16.0
# The part of the second difference in the first one that tells a kink. Where there is none it is c,
# times what the curvature changes by as the parameters double.
KINK = 1e-4

_doubles: WeakKeyDictionary[Engine, Engine] = WeakKeyDictionary()  # with their memory


def double_of(engine: Engine) -> Engine:
    """Return the engine's double in float64, the same one each time, for one call at a time."""
    if engine not in _doubles:
        _doubles[engine] = doubled(engine)
    return _doubles[engine]


def hessian_product(engine: Engine, loss: Loss, data: Data, v: Vector) -> Vector:
    """Return H v at the engine's parameters, which stay as they are.

    Parameters
    ----------
    engine : Engine
    loss : Loss
    data : Data
        As they are for the engine.
    v : ndarray of shape (P,)
        In the order of the engine's parameters.
    """
    largest = float(np.abs(v).max(initial=0.0))
    if largest == 0.0:
        return np.zeros_like(v)
    direction, point = v / largest, engine.parameters.astype(np.float64)
    gradient = _gradients(engine, loss, data, point, direction)
    # where all parameters are 0, so is no length given
    ratio = (_norm(point) or 1.0) / _norm(direction)
    if engine.dtype == np.float32:
        product = _difference(gradient, _step(OF_FLOAT32 * ratio))
    elif is_smooth(engine, loss):
        product = _fine_difference(gradient, _step(OF_SMOOTH * ratio))
    else:
        product = _difference_beside_kinks(gradient, _step(OF_KINKED * ratio))
    if any(layer.l2 for layer in engine.layers):
        product += _second_penalties(engine) * direction
    product *= largest
    return product


def is_smooth(engine: Engine, loss: Loss) -> bool:
    """Return whether the loss is known to have second derivatives everywhere."""
    gs = [activation_of(layer.activation) for layer in engine.layers]
    others = [operation_of(layer.operation) for layer in engine.layers if not layer.is_dense]
    return (
        loss.entry.is_smooth
        and all(g.is_smooth for g in gs)
        and all(one.is_smooth for one in others)
    )


def _gradients(
    engine: Engine, loss: Loss, data: Data, point: Vector, direction: Vector
) -> Gradient:
    double = double_of(engine)
    given = Targets(data.targets.y.astype(np.float64), data.targets.labels)
    weights = None if data.weights is None else data.weights.astype(np.float64)
    network = loss.bind(double)

    def gradient(t: float) -> Vector:
        np.multiply(direction, t, out=double.parameters)
        double.parameters += point
        network.differentiate(data.X, given, weights=weights)
        return double.gradient

    return gradient


def _norm(x: Vector) -> float:
    # not BLAS's: its threads would be in the way of the gradients', and be no part of n_threads
    return math.sqrt(np.square(x).sum())


def _step(size: float) -> float:
    # of parameters that are not finite nothing follows
    return math.ldexp(1.0, round(math.log2(size))) if math.isfinite(size) else math.nan


def _change(gradient: Gradient, h: float) -> Vector:
    change = gradient(h).copy()
    change -= gradient(-h)
    return change


def _difference(gradient: Gradient, h: float) -> Vector:
    change = _change(gradient, h)
    change /= 2.0 * h
    return change


def _fine_difference(gradient: Gradient, h: float) -> Vector:
    near, far = _change(gradient, h), _change(gradient, 2.0 * h)
    near *= 8.0
    near -= far
    near /= 12.0 * h
    return near


def _difference_beside_kinks(gradient: Gradient, h: float) -> Vector:
    before, middle, after = (gradient(t * h).copy() for t in (-1.0, 0.0, 1.0))
    after -= middle
    middle -= before
    first = np.add(after, middle, out=before)
    after -= middle  # the second difference
    if _norm(after) > KINK * _norm(first):
        return _difference(gradient, h / NEARER)
    first /= 2.0 * h
    return first


def _second_penalties(engine: Engine) -> Vector:
    """Return the second derivative of the L2 penalties by each parameter."""
    double = double_of(engine)
    double.gradient[:] = 0.0
    for l, layer in enumerate(engine.layers, 1):
        if layer.l2:
            double.derivatives(l)["W"][...] = 2.0 * layer.l2
    return double.gradient
