"""`Differentiable`: a compiled network whose gradients a user can ask for, and give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from fastdnn.kernels import threads
from fastdnn.kernels.dense import linear_forward

from ._checks import check_flag
from ._inputs import check_gradients
from .compiled import Compiled
from .layers import Array

Gradients = list[tuple[Array, Array | None]]


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
        """The loss of X as one batch, and its derivatives; no parameter changes, no dropout.

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
        gradients : list of (dW, db)
            For every Dense layer, in the shapes of its W and b (None without b); copies.
        dX : ndarray of shape (m, n_0)
            With `inputs` only: dX = dZ_1 W_1 for samples in rows. The loss is a mean over the m
            samples, so row i is 1 / m of the derivative of sample i's own loss.
        """
        inputs = check_flag("inputs", inputs)
        with threads.of_call(n_threads), self.lock:
            data = self._checked(X, y, sample_weight, self.input_size)
            engine = self._ready(data)
            dZ_1 = np.empty((len(data.X), engine.layers[0].n), self.dtype) if inputs else None
            loss = engine.differentiate(data.X, data.targets, weights=data.weights, dZ_1=dZ_1)
            pairs = engine.gradients()
            gradients = [(dW.copy(), None if db is None else db.copy()) for dW, db in pairs]
            if dZ_1 is None:
                return loss, gradients
            return loss, gradients, linear_forward(dZ_1.T, engine.weights(1).T, None).T

    def apply_gradients(
        self,
        gradients: Iterable[tuple[ArrayLike, ArrayLike | None]],
        *,
        n_threads: int | None = None,
    ) -> None:
        """Take one step of the optimizer with these gradients.

        With those of `loss_and_gradients`, and without dropout, the parameters become those that
        `train_on_batch` makes of the same samples, to the bit.

        Parameters
        ----------
        gradients : iterable of (dW, db)
            For every Dense layer, as `loss_and_gradients` gives them: sums of such, what comes
            from other machines, the derivatives of a loss of your own. Penalties are not added.
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
