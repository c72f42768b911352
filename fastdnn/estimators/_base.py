"""What both estimators share: the data's checks, the start, and the network they train."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from fastdnn._inputs import Data, check_weights, is_finite
from fastdnn.data.rows import is_sparse
from fastdnn.evaluation import outputs_of
from fastdnn.kernels.compiler.compiling import quietly
from fastdnn.kernels.cpu.threads import of_call
from fastdnn.layer import Layer
from fastdnn.layers import Dense
from fastdnn.loop import State
from fastdnn.losses import Loss
from fastdnn.model import Sequential
from fastdnn.normalization import Normalization, hidden_layers
from fastdnn.overflow import warn_of_outputs
from fastdnn.regularizers import L2
from fastdnn.turns import Training
from fastdnn.validation import EVALUATION_BATCH, check_validation

from ._compat import CallbackSupportMixin, FitContext, validate_data, with_callbacks
from ._fitting import fit_by_epochs, fit_by_lbfgs, not_finite
from ._parameters import (
    check_parameters,
    check_unchanged,
    check_use,
    hidden_activations,
    hidden_units,
    output_name,
    start_factor,
)
from ._rules import forget_records, open_records
from ._samples import native
from ._solvers import optimizer_of

Array = NDArray[Any]
SPARSE = ["csr", "csc"]
FLOATS = (np.float64, np.float32)


class BaseMLP(CallbackSupportMixin, BaseEstimator, ABC):
    """A fully connected network with scikit-learn's parameters, attributes and habits."""

    # See `EpochTrainer`.
    _summed = 1.0
    _averaged = 1.0
    _y_settings: dict[str, Any] = {}  # noqa: RUF012 - a constant of the class

    def _keep(self, parameters: dict[str, Any]) -> None:
        """Keep the arguments of a constructor as they are."""
        for name, value in parameters.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    @abstractmethod
    def _targets(self, X: Any, y: Array, *, reset: bool, unseen: bool) -> Data:
        """Check y; return X with the targets that the loss takes, as data without weights.

        `reset` makes the network's outputs those of y, `unseen` says that y is for validation.
        """

    @abstractmethod
    def _output(self) -> tuple[int, str, str | Loss]:
        """Return the number of outputs, fastdnn's name of their activation, and the loss."""

    @abstractmethod
    def _labels(self, data: Data) -> Array:
        """Return y as a user gave it."""

    @abstractmethod
    def _score_outputs(self, A: Array, data: Data) -> float:
        """Return the default score of outputs."""

    def _strata(self, data: Data) -> Array | None:
        """Return the groups of which validation takes equal shares."""
        return None

    def _class_weights(self, data: Data, weight: Array | None) -> Array | None:
        """Return the weights of the samples times those of their classes."""
        return weight

    def _constants(self, data: Data) -> Array | None:
        """Return what each sample's loss has beside the engine's, by scikit-learn's definition."""
        return None

    def _constant(self, data: Data) -> float:
        """Return the mean of `_constants`."""
        terms = self._constants(data)
        return 0.0 if terms is None else float(np.average(terms, weights=data.weights))

    # -------------------------------------------------------------------------------- fit
    @with_callbacks
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None
    ) -> BaseMLP:
        """Train the network on X and y.

        Parameters
        ----------
        X : array_like, data frame or sparse matrix of shape (m, n_features)
            float32 and float64 are kept, other numbers become float64.
        y : array_like of shape (m,) or (m, n_outputs)
        sample_weight : array_like of shape (m,), optional
            w_i in the loss sum_i w_i l_i / sum_i w_i of a batch.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            Scored after each epoch, in place of a part of the training samples.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or the data are wrong, or the training diverges.

        Warns
        -----
        ConvergenceWarning
            If the training ended before it converged.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, *, incremental: bool
    ) -> BaseMLP:
        # no attribute of the constructor's, which scikit-learn wants to set its parameters alone
        with self.__dict__.setdefault("_turn", Training()):
            check_parameters(self)
            goes_on = hasattr(self, "coefs_") and (incremental or self.warm_start)
            validates = validation_data is not None or self.early_stopping
            check_use(self, incremental=incremental, validates=validates)
            if validation_data is not None and self.solver == "lbfgs":
                raise ValueError("validation_data: solver='lbfgs' takes none; use another solver")
            dtype: Any = FLOATS if self.dtype is None else np.dtype(self.dtype)
            if goes_on:
                check_unchanged(self)
                dtype = self.coefs_[0].dtype
            data = self._checked(
                X, y, sample_weight, dtype, reset=not goes_on, incremental=incremental
            )
            unseen = None
            if validation_data is not None:
                check = partial(self._checked, dtype=data.X.dtype, reset=False, unseen=True)
                unseen = check_validation(validation_data, check)
            rng = check_random_state(self.random_state)
            with of_call(self.n_threads), quietly(not self.verbose):
                if not goes_on:
                    self._draw_start(data, rng)
                open_records(self, validates and self.solver != "lbfgs")
                context = FitContext(self, X, y, sample_weight, 1 if incremental else self.max_iter)
                if self.solver == "lbfgs":
                    fit_by_lbfgs(self, data, context)
                else:
                    fit_by_epochs(self, data, unseen, rng, context, incremental=incremental)
                context.close()
            if not np.isfinite(self.model_.engine.values).all():
                raise not_finite()
            return self

    def _checked(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        dtype: Any,
        *,
        reset: bool,
        incremental: bool = False,
        unseen: bool = False,
    ) -> Data:
        """Return everything that a pass with the loss reads, checked and of one dtype."""
        X, y = validate_data(
            self, native(X), y, accept_sparse=SPARSE, multi_output=True, dtype=dtype, reset=reset,
            **self._y_settings,
        )  # fmt: skip
        X = X.tocsr() if is_sparse(X) else X
        y = y.toarray() if is_sparse(y) else y
        data = self._targets(X, y, reset=reset and not incremental, unseen=unseen)
        weight = None
        if sample_weight is not None:
            weight = _checked_weight(sample_weight, len(data.y), X.dtype)
        return data._replace(weights=self._class_weights(data, weight))

    def _draw_start(self, data: Data, rng: np.random.RandomState) -> None:
        """Draw W and b, layer by layer, and start all records."""
        n_outputs, output, _ = self._output()
        units = [data.X.shape[1], *hidden_units(self), n_outputs]
        factor, dtype = start_factor(self), data.X.dtype
        coefs: list[Any] = []
        intercepts: list[Any] = []
        for n_prev, n in pairwise(units):
            bound = np.sqrt(factor / (n_prev + n))
            coefs.append(rng.uniform(-bound, bound, (n_prev, n)).astype(dtype, copy=False))
            intercepts.append(rng.uniform(-bound, bound, n).astype(dtype, copy=False))
        self.coefs_, self.intercepts_ = coefs, intercepts
        self._bound: tuple[Any, ...] = ()
        self._normalized: str | None = self.normalization
        self._norms: list[Array] = []
        self._state = State(0)
        self.n_iter_ = self.t_ = 0
        self.n_layers_, self.n_outputs_ = len(units), n_outputs
        self.out_activation_ = output_name(output)
        forget_records(self)

    # ------------------------------------------------------------------------- the network
    def _build(self, l2: float, seed: int) -> Sequential:
        """Make a network of the present parameters, with the penalty l2 sum W^2."""
        penalty = L2(l2) if l2 > 0 else None
        n_outputs, output, loss = self._output()
        settings: dict[str, Any] = {"kernel_initializer": "zeros", "kernel_regularizer": penalty}
        each = {**settings, "normalization": self._normalization, "dropout": self.dropout}
        layers: list[Layer] = []
        for n, g in zip(hidden_units(self), hidden_activations(self), strict=True):
            layers += hidden_layers(n, g, **each)
        layers.append(Dense(n_outputs, output, **settings))
        n_0, dtype = self.coefs_[0].shape[0], self.coefs_[0].dtype.name
        model = Sequential(layers, input_size=n_0, dtype=dtype, seed=seed)
        model.compile("adam" if self.solver == "lbfgs" else optimizer_of(self), loss)
        model.loss.bind(model.engine)
        for layer, W, b in zip(_dense(model), self.coefs_, self.intercepts_, strict=True):
            layer.W, layer.b = np.transpose(W), b
        if norms := getattr(self, "_norms", ()):  # of a network before, which had as many
            for view, value in zip(_norms(model), norms, strict=True):
                view[...] = value
        return model

    @property
    def _normalization(self) -> str | None:
        """Return what the network was made with; of arrays of the user's own, what is asked for."""
        name: str | None = getattr(self, "_normalized", self.normalization)
        return name

    def _bind(self, model: Sequential) -> None:
        """Have `coefs_`, `intercepts_` and `_norms` be views into the model's values."""
        self.model_ = model
        self.coefs_ = [layer.W.T for layer in _dense(model)]
        self.intercepts_ = [layer.b for layer in _dense(model)]
        self._bound = (*self.coefs_, *self.intercepts_)
        self._normalized, self._norms = self._normalization, _norms(model)

    def _is_bound(self) -> bool:
        """Return whether nobody has put arrays of their own in the place of these views."""
        now, bound = (*self.coefs_, *self.intercepts_), getattr(self, "_bound", ())
        return len(now) == len(bound) and all(a is b for a, b in zip(now, bound, strict=True))

    def _outputs(self, X: Any) -> Array:
        """Return A_L for every row of X."""
        check_is_fitted(self)
        X = validate_data(self, native(X), accept_sparse=SPARSE, dtype=FLOATS, reset=False)
        model = self.model_ if self._is_bound() else self._build(0.0, 0)
        X = X.tocsr() if is_sparse(X) else X
        reading = model.lock.reading(model.engine)
        with of_call(self.n_threads), quietly(not self.verbose), reading as engine:
            A = outputs_of(engine, X, EVALUATION_BATCH)
        if not is_finite(A):
            warn_of_outputs(model.engine, A)
        return A

    def __getstate__(self) -> dict[str, Any]:
        with self.__dict__.get("_turn", nullcontext()):  # while it is fitted, much changes
            return self._state_in_turn()

    def _state_in_turn(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        # views become copies in a pickle: they are made anew from the model
        if hasattr(self, "coefs_") and self._is_bound():
            for name in ("coefs_", "intercepts_", "_norms"):
                del state[name]
        for name in ("_bound", "_turn"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "model_" in state and "coefs_" not in state:
            self._bind(self.model_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def has_steps(estimator: Any) -> bool:
    """Return True; AttributeError where the solver takes none, and so there is no `partial_fit`."""
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit: want a solver that takes steps, got solver='lbfgs'")
    return True


def _dense(model: Sequential) -> list[Dense]:
    return [layer for layer in model.layers if isinstance(layer, Dense)]


def _norms(model: Sequential) -> list[Array]:
    """Return what normalisations have, moving averages too: views."""
    norms = [layer for layer in model.layers if isinstance(layer, Normalization)]
    return [view for layer in norms for view in layer.tensors().values()]


def _checked_weight(weight: Any, m: int, dtype: Any) -> Array:
    """Return one finite weight for each sample."""
    if isinstance(weight, Real):
        weight = np.full(m, weight)
    weight = check_array(weight, ensure_2d=False, dtype=dtype, input_name="sample_weight")
    weights = check_weights(weight, m, dtype)
    if not weights.any():
        raise ValueError("sample_weight: want at least one weight other than 0, got only zeros")
    return weights
