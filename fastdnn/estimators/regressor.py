"""`MLPRegressor`: scikit-learn's regressor, trained by fastdnn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if

from fastdnn import losses
from fastdnn._inputs import Data
from fastdnn.kernels.calls import Targets
from fastdnn.losses import Loss

from ._base import BaseMLP
from ._compat import with_callbacks
from .classifier import _has_steps

Array = NDArray[Any]


class MLPRegressor(RegressorMixin, BaseMLP):
    """A fully connected network for numbers, with scikit-learn's parameters."""

    _y_settings = {"y_numeric": True}  # noqa: RUF012

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int | str = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
        scoring: Any = None,
        restore_best_weights: bool | None = None,
        callbacks: Any = None,
        n_threads: int | None = None,
        dtype: str | None = None,
    ) -> None:
        self._keep(locals())

    def _targets(self, X: Any, y: Array, *, reset: bool) -> Data:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._n_targets = 1 if y.ndim == 1 else y.shape[1]
        y = np.ascontiguousarray(y, X.dtype).reshape(len(y), -1)
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(f"y: want values >= 0 with loss='poisson', got {y.min()}")
        return Data(X, y, Targets(y), None)

    def _output(self) -> tuple[int, str, Loss]:
        name = "mean_squared_error" if self.loss == "squared_error" else self.loss
        activation = "exponential" if self.loss == "poisson" else "identity"
        return self._n_targets, activation, losses.get(name, self._n_targets)

    @property
    def _summed(self) -> float:  # type: ignore[override]
        # scikit-learn's are half the squared error and the Poisson loss, summed over the outputs
        if self.loss == "squared_error":
            return 0.5 * self._n_targets
        return float(self._n_targets) if self.loss == "poisson" else 1.0

    @property
    def _averaged(self) -> float:  # type: ignore[override]
        # the squared error that scikit-learn tells is a mean over the outputs all the same
        return float(self._n_targets) if self.loss == "squared_error" else 1.0

    def _constant(self, data: Data) -> float:
        if self.loss != "poisson":
            return 0.0
        y = data.y.astype(np.float64)
        terms = y * np.log(np.where(y > 0, y, 1.0)) - y
        return float(np.average(terms.sum(axis=1), weights=data.weights))

    def _labels(self, data: Data) -> Array:
        return data.y[:, 0] if data.y.shape[1] == 1 else data.y

    def _score_outputs(self, A: Array, data: Data) -> float:
        return float(r2_score(data.y, A, sample_weight=data.weights))

    @available_if(_has_steps)
    @with_callbacks
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train one epoch more, with the optimizer's memory of those before.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        self
        """
        self._fit(X, y, sample_weight, None, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """Return the output for each row of X: (m,), or (m, n_outputs) if there are several."""
        A = self._outputs(X)
        return A[:, 0] if A.shape[1] == 1 else A
