"""`Differentiable`: a compiled network whose gradients a user can ask for, and give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from fastdnn.kernels.cpu import threads
from fastdnn.kernels.dense import linear_forward
from fastdnn.kernels.elementwise.losses import GIVEN
from fastdnn.kernels.engine import Engine, Targets, twin_of

from ._checks import check_flag
from ._inputs import Data, check_gradients, check_vector
from .compiled import Compiled
from .hessian import double_of, hessian_product
from .layer import Array

Gradients = list[tuple[Array | None, ...]]


class Differentiable(Compiled):
    """A compiled network with the steps of a training loop of the user's own."""

    @overload
    def loss_and_gradients(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        inputs: Literal[False] = False,
        *,
        n_threads: int | None = None,
    ) -> tuple[float, Gradients]: ...

    @overload
    def loss_and_gradients(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        inputs: Literal[True],
        n_threads: int | None = None,
    ) -> tuple[float, Gradients, Array]: ...

    def loss_and_gradients(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        inputs: bool = False,
        *,
        n_threads: int | None = None,
    ) -> tuple[float, Gradients] | tuple[float, Gradients, Array]:
        """Return the loss of X as one batch, and its derivatives; no parameter changes, no dropout.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        inputs : bool
            Whether to return the loss's derivatives by X too.
        n_threads : int, optional
            As in `fit`.

        Returns
        -------
        loss : float
            Penalties included.
        gradients : list of tuples
            (dW, db) for every Dense layer, in the shapes of its W and b (None without b), and for
            other layers what they train, such as (dgamma, dbeta); copies.
        dX : ndarray of shape (m, n_0)
            With `inputs` only: dX = dZ_1 W_1 for samples in rows. The loss is a mean over the m
            samples, so row i is 1 / m of the derivative of sample i's own loss.
        """
        inputs = check_flag("inputs", inputs)
        with threads.of_call(n_threads), self.lock:
            data = self._checked(X, y, sample_weight, self.input_size)
            engine = self._ready(data)
            if inputs:
                loss, dX = _input_derivatives(engine, data)
            else:
                loss = engine.differentiate(data.X, data.targets, weights=data.weights)
            gradients = [
                tuple(None if one is None else one.copy() for one in of_layer)
                for of_layer in engine.gradients()
            ]
            return (loss, gradients, dX) if inputs else (loss, gradients)

    def input_gradient(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> Array:
        """Return the loss's derivatives by X: what in the samples raises the loss.

        Parameters
        ----------
        X, y, sample_weight, n_threads
            As in `fit`.

        Returns
        -------
        ndarray of shape (m, n_0)
            dX = dZ_1 W_1 for samples in rows. The loss is a mean over the m samples, so row i is
            1 / m of the derivative of sample i's own loss. `BatchNormalization` works as in
            `predict`.
        """
        with threads.of_call(n_threads), self.lock:
            data = self._checked(X, y, sample_weight, self.input_size)
            return _input_derivatives(self._ready(data), data, learning=False)[1]

    def jacobian(self, X: ArrayLike, *, n_threads: int | None = None) -> Array:
        """Return every output's derivatives by every input: how outputs follow a sample's numbers.

        Parameters
        ----------
        X : array_like of shape (m, n_0)
        n_threads : int, optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (m, n_L, n_0)
            Element (i, j, k) is da_j / dx_k of sample i. Each output takes one step's forward and
            backward pass.

        Raises
        ------
        TypeError, ValueError
            If X is not of the model's width, or not finite.
        RuntimeError
            If the model has no parameters yet.
        """
        with threads.of_call(n_threads), self.lock:
            engine = twin_of(self.engine)  # a training under way keeps its loss
            rows = self._read_X(X)
            m, n = len(rows), engine.layers[-1].n
            engine.set_loss(GIVEN)  # whose targets are dA
            weights = np.full(m, m, self.dtype)  # against the mean over the samples
            found = np.empty((m, n, rows.shape[1]), self.dtype)
            for j in range(n if m else 0):
                dA = np.zeros((m, n), self.dtype)
                dA[:, j] = 1.0
                of_j = Data(rows, dA, Targets(dA), weights)
                found[:, j] = _input_derivatives(engine, of_j, learning=False)[1]
            return found

    @overload
    def hvp(
        self,
        X: ArrayLike,
        y: ArrayLike,
        v: Array,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> Array: ...

    @overload
    def hvp(
        self,
        X: ArrayLike,
        y: ArrayLike,
        v: Iterable[Sequence[ArrayLike | None]],
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> Gradients: ...

    def hvp(
        self,
        X: ArrayLike,
        y: ArrayLike,
        v: Array | Iterable[Sequence[ArrayLike | None]],
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> Array | Gradients:
        """Return H v: the loss's Hessian by the parameters, at X as one batch, times a vector.

        H itself is never made, so Newton's and conjugate-gradient methods, and the largest
        eigenvalues, cost little more than gradients. Penalties are included; no dropout; nothing
        of the model changes.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        v : ndarray of shape (P,), or list of (vW, vb)
            As `parameters`, or as the gradients of `loss_and_gradients`.
        n_threads : int, optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (P,), or list of (HvW, Hvb)
            In the form of v, in the model's dtype.

        Raises
        ------
        TypeError, ValueError
            If an argument is wrong: of another shape, or not finite.
        RuntimeError
            If `compile` has not been called, or the model has no parameters yet.

        Notes
        -----
        H v comes from differences of gradients along v, at parameters near the model's, in float64
        whatever the model's dtype. Where activations and loss are smooth, its error is below
        1e-9 |H v| in float64; in float32 the result's own rounding is the larger part. That holds
        unless H v is some orders smaller than |v| times the gradient over the parameters, in which
        case the gradient's rounding shows.

        The second derivative of relu and its like, and of the absolute error, is taken as 0: at a
        kink it is no number. If a sample's Z passes a kink between two of the gradients, H v has a
        large error. So these lie very near each other for such functions, and nearer still if their
        difference tells of a kink; what remains is a Z that is 0 to some 8 digits. A Z that is
        exactly 0 (biases of 0 with inputs of 0) has no H v unless v leaves it 0. The second
        derivative of an L1 penalty counts as 0 throughout.

        It takes the time of at most 5 forward and backward passes. The first call of a float32
        model compiles the float64 program, if no float64 model has. A copy of the parameters, and
        memory to compute in, are kept with the model for the next call.
        """
        with threads.of_call(n_threads), self.lock:
            data = self._checked(X, y, sample_weight, self.input_size)
            engine = self.engine
            double = double_of(engine)
            if hasattr(v, "shape"):
                vector = check_vector("v", v, engine.parameters.shape, self.dtype)
                return hessian_product(engine, self.loss, data, vector).astype(self.dtype)
            views = double.gradients()
            for view, array in check_gradients(v, views, self.dtype, name="v", what="(vW, vb)"):
                view[...] = array
            double.gradient[:] = hessian_product(engine, self.loss, data, double.gradient.copy())
            return [
                tuple(None if one is None else one.astype(self.dtype, "C") for one in of_layer)
                for of_layer in views
            ]

    def apply_gradients(
        self,
        gradients: Iterable[Sequence[ArrayLike | None]],
        *,
        n_threads: int | None = None,
    ) -> None:
        """Take one step of the optimizer with these gradients.

        With those of `loss_and_gradients`, and without dropout, the parameters become those that
        `train_on_batch` makes of the same samples, to the bit.

        Parameters
        ----------
        gradients : iterable of tuples
            For every layer with parameters, as `loss_and_gradients` gives them: sums of such, what
            comes from other machines, the derivatives of a loss of your own. Penalties are not
            added.
        n_threads : int, optional
            As in `fit`.

        Raises
        ------
        TypeError, ValueError
            If one is of another shape than its W or b, or not finite; no parameter has changed.
        RuntimeError
            If `compile` has not been called, or the model has no parameters yet.
        """
        self._check_compiled()
        engine = self.engine
        limit = threads.of_call(n_threads)
        if isinstance(gradients, Iterator):
            gradients = list(gradients)  # what makes them may use the model
        with limit, self.lock:
            number, views = self._state.steps, engine.gradients()
            checked = check_gradients(gradients, views, self.dtype)
            rule = self.optimizer.rule(np.array([number]))
            for view, array in checked:
                view[...] = array
            engine.update(rule)
            self._state.steps = number + 1


def _input_derivatives(engine: Engine, data: Data, *, learning: bool = True) -> tuple[float, Array]:
    """Return the loss of samples as one batch, and dX; the gradient is left in the engine."""
    first = engine.layers[0]
    dZ_1 = np.empty((len(data.X), first.n), engine.dtype)
    loss = engine.differentiate(
        data.X, data.targets, weights=data.weights, dZ_1=dZ_1, learning=learning
    )
    if not first.is_dense:  # then it passes X on, and dZ_1 is dX
        return loss, dZ_1
    return loss, linear_forward(dZ_1.T, engine.weights(1).T, None).T
