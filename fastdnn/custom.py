"""Activations and losses of a user's own, from plain functions.

Of scalars, numba compiles them to native code that the compiled step calls by its address: the step
itself is not compiled again. Of arrays, a loss is called by Python once a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastdnn.kernels import ACTIVATIONS, LOSSES
from fastdnn.kernels.compiler import native
from fastdnn.kernels.elementwise import activations
from fastdnn.kernels.elementwise import losses as kernel_losses
from fastdnn.kernels.elementwise.loss_facts import Loss as Entry
from fastdnn.kernels.engine import Engine, Stepwise

from . import _derivatives
from ._checks import check_flag
from ._closed import closed
from ._custom_objects import Custom
from .losses import Loss

Array = NDArray[Any]
Scalar = Callable[..., float]
CHECKED = 8  # elements of an array loss's dA that are compared with finite differences
RANGE = range(-30, 31)  # Z at which an activation is asked for the interval that it stays in


@closed(frozen=True)
class ScalarActivation(Custom):
    """An activation of your own, A = g(Z), from functions of one number.

    Parameters
    ----------
    g, g_prime : callable
        g(z) and its derivative g'(z): Python functions of one number, which numba can compile;
        so they use ``math`` and arithmetic, and read nothing that changes later. They compute in
        float64, and their results are rounded to the network's dtype. Where a function raises, its
        results are NaN.
    name : str, optional
        What `summary` and files call it; None is g's own name.
    check : bool
        Compare g' with finite differences of g at 64 values in [-6, 6], kinks left out. False is
        for a g' that is another function's on purpose, as a straight-through estimator's.

    Raises
    ------
    TypeError
        If numba cannot compile a function, or a parameter is none of these.
    ValueError
        If g' is not the derivative of g, or the name is an activation's of fastdnn.

    Notes
    -----
    Compiling takes half a second in every process, and a second more for the first function. In a
    step a function is called once a strip of many elements, but numba makes no vector code of
    ``math.exp`` and its like: they take 5 to 40 nanoseconds an element, ten times as long as the
    activations of fastdnn and more. W starts by Glorot's rule: beside an activation like relu give
    `Dense` ``kernel_initializer="he_normal"``.

    Examples
    --------
    >>> import math
    >>> def softsign(z):
    ...     return z / (1 + abs(z))
    >>> def softsign_prime(z):
    ...     return 1 / (1 + abs(z)) ** 2
    >>> layer = Dense(64, activation=ScalarActivation(softsign, softsign_prime))
    """

    def __init__(
        self, g: Scalar, g_prime: Scalar, *, name: str | None = None, check: bool = True
    ) -> None:
        own = "ScalarActivation"
        compiled = native.scalar_function(f"{own}.g", g, 1)
        compiled_prime = native.scalar_function(f"{own}.g_prime", g_prime, 1)
        self.name = _name(own, name, g, ACTIVATIONS)
        self.g, self.g_prime = g, g_prime
        if check_flag(f"{own}.check", check):
            _derivatives.check_activation(f"{own}.g_prime", g, g_prime)
        self._outputs = _interval(g)
        self._pair = native.Pair(
            lambda x, y, share: compiled(x), lambda x, y, share: x * compiled_prime(y)
        )

    @property
    def entry(self) -> activations.Activation:
        """Return what the kernels know it by."""
        return activations.native_entry(self._pair, self._outputs)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self.g, self.g_prime, name=self.name, check=False), ()

    def __deepcopy__(self, memo: object) -> ScalarActivation:
        return self

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"ScalarActivation({self.name!r})"


class _OwnLoss(Custom, Loss):
    """A loss that is no entry of the table."""

    def __init__(self, name: str) -> None:
        self.__dict__.update(name=name)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


@closed(frozen=True)
class ScalarLoss(_OwnLoss):
    """A loss of your own, l = 1/n_L sum_j loss(a_j, y_j), from functions of two numbers.

    Parameters
    ----------
    loss, derivative : callable
        loss(a, y) of an output and its target, and its derivative by a: as the functions of
        `ScalarActivation`.
    name : str, optional
        What files call it; None is the name of `loss`.
    check : bool
        Compare the derivative with finite differences, kinks left out, at 128 random outputs with
        random targets: it has to be right for real numbers, for targets in [0, 1], for 0 and 1, for
        -1 and 1, or for counts. False is for a derivative that is another one on purpose.

    Raises
    ------
    TypeError
        If numba cannot compile a function, or a parameter is none of these.
    ValueError
        If `derivative` is not that of `loss`, or the name is a loss's of fastdnn.

    Notes
    -----
    The loss of m samples is averaged and weighted as every other: sum_i w_i l_i / m. Targets have
    the shape (m, n_L). It costs what a `ScalarActivation` costs.
    """

    function: Scalar
    derivative: Scalar
    _pair: native.Pair

    def __init__(
        self, loss: Scalar, derivative: Scalar, *, name: str | None = None, check: bool = True
    ) -> None:
        own, instead = "ScalarLoss", "; or want an ArrayLoss, whose function takes arrays"
        compiled = native.scalar_function(f"{own}.loss", loss, 2, instead)
        slope = native.scalar_function(f"{own}.derivative", derivative, 2, instead)
        super().__init__(_name(own, name, loss, LOSSES))
        if check_flag(f"{own}.check", check):
            _derivatives.check_loss(f"{own}.derivative", loss, derivative)
        pair = native.Pair(
            lambda a, y, share: compiled(a, y), lambda a, y, share: slope(a, y) / share
        )
        self.__dict__.update(function=loss, derivative=derivative, _pair=pair)

    @property
    def entry(self) -> Entry:
        """Return what the kernels know it by."""
        return kernel_losses.native_entry(self._pair)

    def bind(self, engine: Engine) -> Engine:
        """Have an engine use this loss."""
        engine.set_loss(self)
        return engine

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(type(self), self.function, self.derivative, name=self.name, check=False)
        return make, ()

    def __deepcopy__(self, memo: object) -> ScalarLoss:
        return self


@closed(frozen=True)
class ArrayLoss(_OwnLoss):
    """A loss of your own, from a function of arrays that Python calls once a step.

    Parameters
    ----------
    function : callable
        function(y_true, y_pred) -> losses, dA. For a batch of m samples, y_pred is A_L of shape
        (m, n_L) and y_true the samples' targets, of any shape that begins with m, as `fit` was
        given them (of shape (m, 1) where they are (m,) and n_L is 1). `losses` is of shape (m,) and
        dA[i, j] the derivative of losses[i] by y_pred[i, j]; or `losses` is one number, that of
        the whole batch, and dA its derivative, of shape (m, n_L): then samples have no weights.
    name : str, optional
        What files call it; None is the function's own name.
    check : bool
        Before the first step, compare 8 elements of dA with finite differences, kinks left out.
        False is for a dA that is another one on purpose.

    Raises
    ------
    TypeError
        If a parameter is none of these.
    ValueError
        If the name is a loss's of fastdnn. In the first step: if the function returns no such
        arrays, or dA is not the derivative.

    Notes
    -----
    The cost: a step makes the forward pass twice, once for y_pred and once for what the backward
    pass reads, and comes back to Python for the function. A step of a large network takes about
    4/3 of the time, and a step of a small one some 100 microseconds more, besides the function's
    own time. For all samples there are two arrays of shape (m, n_L). Where each output has a term
    of its own, `ScalarLoss` is quicker.
    """

    of_arrays = True
    function: Callable[[Array, Array], tuple[Any, Any]]
    _to_check: bool

    def __init__(
        self,
        function: Callable[[Array, Array], tuple[Any, Any]],
        *,
        name: str | None = None,
        check: bool = True,
    ) -> None:
        if not callable(function):
            raise TypeError(
                f"ArrayLoss.function: want a function of (y_true, y_pred), got {function!r}"
            )
        super().__init__(_name("ArrayLoss", name, function, LOSSES))
        self.__dict__.update(function=function, _to_check=check_flag("ArrayLoss.check", check))

    @property
    def entry(self) -> Entry:
        """Return what the kernels know it by."""
        return kernel_losses.loss_of(kernel_losses.GIVEN)

    def bind(self, engine: Engine) -> Engine:
        """Have an engine use this loss: what comes back is called like the engine."""
        return Stepwise(engine, self.of_batch)  # type: ignore[return-value]

    def of_batch(self, y: Array, A: Array, weights: Array | None) -> tuple[float, Array]:
        """Return the sum of w_i l_i / m, and dA of each sample's l_i."""
        if self._to_check and np.isfinite(A).all():
            self._compare(y, A)
            self.__dict__["_to_check"] = False
        losses, dA = self._called(y, A)
        if losses.ndim == 0:
            if weights is not None:
                raise ValueError(
                    f"sample_weight: want a loss per sample from {self.name!r}, to weigh them, got"
                    " one number"
                )
            return float(losses), dA * len(A)  # the engine divides by m
        return float(np.mean(losses) if weights is None else losses @ weights / len(A)), dA

    def _called(self, y: Array, A: Array) -> tuple[Array, Array]:
        wanted = (
            f"{self.name}: want losses of shape ({len(A)},), or one number, and dA of {A.shape}"
        )
        found = self.function(y, A.copy())
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(f"{wanted}, as a tuple, got {type(found).__name__}")
        losses, dA = np.asarray(found[0]), np.asarray(found[1])
        if losses.dtype.kind not in "fiub" or dA.dtype.kind not in "fiub":
            raise TypeError(f"{wanted}, of real numbers, got {losses.dtype} and {dA.dtype}")
        if losses.shape not in ((), (len(A),)) or dA.shape != A.shape:
            raise ValueError(f"{wanted}, got {losses.shape} and {dA.shape}")
        return losses, dA

    def _compare(self, y: Array, A: Array) -> None:
        """Compare some elements of dA with finite differences."""
        A = A.astype(np.float64)
        losses, dA = self._called(y, A)
        places = np.random.default_rng(0).choice(A.size, min(CHECKED, A.size), replace=False)
        for i, j in zip(*np.unravel_index(places, A.shape), strict=True):

            def loss(a: float, i: Any = i, j: Any = j) -> float:
                changed = A.copy()
                changed[i, j] = a
                value = self._called(y, changed)[0]
                return float(value if losses.ndim == 0 else value[i])

            given = float(dA[i, j])
            found = _derivatives.compare(loss, lambda a, given=given: given, float(A[i, j]))
            if isinstance(found, _derivatives.Mismatch):
                raise ValueError(
                    f"{self.name}: dA[{i}, {j}]: {found}, at y_pred[{i}, {j}] = {found.x:.6g}, "
                    f"y_true[{i}] = {y[i]}"
                )


def _name(own: str, name: str | None, function: Any, table: dict[str, Any]) -> str:
    """Return the name, which no entry of the table has."""
    if name is None:
        name = getattr(function, "__name__", type(function).__name__)
    if not isinstance(name, str):
        raise TypeError(f"{own}.name: want a string, got {name!r}")
    if name in table:
        raise ValueError(f"{own}.name: want a name that fastdnn has not taken, got {name!r}")
    return name


def _interval(g: Scalar) -> tuple[float, float]:
    """Return the interval that a loss may rely on: [0, 1], no negative numbers, or all."""
    values = [_derivatives.value_of(g, float(z)) for z in RANGE]
    if not all(value >= 0 for value in values):
        return -math.inf, math.inf
    return 0.0, 1.0 if max(values) <= 1 else math.inf
