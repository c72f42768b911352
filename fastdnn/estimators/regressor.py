"""`MLPRegressor`: scikit-learn's regressor, trained by fastdnn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if

from fastdnn._inputs import Data
from fastdnn.losses import Loss, Quantile

from ._base import BaseMLP, has_steps
from ._compat import with_callbacks
from ._losses import convention_of, d2_of_quantiles, of_numbers, targets_of

Array = NDArray[Any]


class MLPRegressor(RegressorMixin, BaseMLP):
    """A fully connected network for numbers: scikit-learn's `MLPRegressor` on fastdnn's engine.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, other name or Loss
        The first two as in scikit-learn: half the squared error, and half the Poisson deviance with
        exp as the output activation. Others are fastdnn's losses of numbers, by name or object.
    hidden_layer_sizes : int or sequence of int
        Units of the hidden layers; an empty sequence makes a linear model.
    activation : str or sequence of str
        g of the hidden layers, or one name for each: "identity", "logistic", "tanh", "relu" as in
        scikit-learn, and all of `fastdnn.activations.ACTIVATIONS`.
    solver : {"adam", "sgd", "lbfgs", "adamw", "nadam", "lion", "rmsprop", "adagrad"} or Optimizer
        "lbfgs" is SciPy's, over all samples. An `Optimizer` of fastdnn brings its own learning
        rate and clipping.
    alpha : float
        L2 penalty: a batch's loss gains alpha / 2 sum W^2 / m, with its m samples.
    batch_size : int or "auto"
        "auto" is min(200, m).
    learning_rate : {"constant", "invscaling", "adaptive"} or Schedule
        The first three as in scikit-learn, for "sgd"; a schedule of fastdnn, such as `CosineDecay`
        with a warm-up, for every solver by name but "lbfgs".
    learning_rate_init, power_t : float
        As in scikit-learn.
    max_iter : int
        Epochs at most; iterations for "lbfgs".
    shuffle : bool
        Draw a new order of the samples for every epoch.
    random_state : int, RandomState or None
        Makes the start, the validation part, the orders and dropout's masks. The first three are
        scikit-learn's of the same `random_state`.
    tol : float
        An epoch whose loss is lower (or score higher) by less than this counts as none better.
    verbose : bool, int or "bar"
        True prints a line for each epoch, "bar" shows a progress bar.
    warm_start : bool
        `fit` goes on from the parameters that are there.
    momentum, nesterovs_momentum
        Of "sgd", as in scikit-learn.
    early_stopping : bool
        End the training when the score of samples set aside stops improving, and take the
        parameters of the best epoch.
    validation_fraction : float
        The share of these samples, unless `fit` is given `validation_data`.
    beta_1, beta_2, epsilon : float
        Of "adam", "adamw" and "nadam"; epsilon of "rmsprop" and "adagrad" too.
    n_iter_no_change : int or inf
        How many epochs in a row may be none better before the training ends.
    max_fun : int
        Evaluations of the loss by "lbfgs" at most.
    dropout : float
        The rate of dropout after each hidden layer.
    normalization : {"batch", "layer", "rms"}, optional
        Normalise Z of each hidden layer before g, by a `BatchNormalization`, `LayerNormalization`
        or `RMSNormalization`, which `model_` holds. Of batches' statistics "lbfgs" takes none.
    clipnorm, global_clipnorm : float, optional
        Bounds of the gradient's norm: of each W's and b's, or of all together.
    scoring : str, callable or None
        What validation samples are scored by: a scorer of scikit-learn or a function
        (estimator, X, y); "loss" takes minus the validation loss; None takes `score`'s measure.
    restore_best_weights : bool, optional
        Whether to end with the parameters of the best epoch; None does where `early_stopping` is
        set. The best is that of the score, without validation samples that of the training loss.
    callbacks : list of Callback, optional
        fastdnn's callbacks; the logs hold "loss", "learning_rate", and with validation samples
        "val_loss" and "val_score". scikit-learn's own come by `set_callbacks`.
    n_threads : int, optional
        Of this estimator; None takes `fastdnn.get_num_threads`.
    dtype : {"float32", "float64"}, optional
        Of all computation; None takes X's.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        W of shape (n_prev, n) and b of shape (n,) of each dense layer: views into `model_`.
    model_ : Sequential
        The network itself.
    loss_, loss_curve_ : float, list of float
        The loss of the last epoch, and of each.
    best_loss_, best_validation_score_ : float or None
    validation_scores_, validation_curve_ : list of float or None
        The score and the loss of the validation samples after each epoch.
    n_iter_, t_ : int
        Epochs of the last `fit`, and training samples seen in all.
    n_layers_, n_outputs_, n_features_in_ : int
    out_activation_ : str
    feature_names_in_ : ndarray of str
        If X is a data frame.

    Notes
    -----
    Parameters up to `max_fun` are those of scikit-learn 1.9, with its defaults. With the same
    `random_state` the start, the validation part and the orders are the same too, so that the loss
    curves agree but for rounding.
    """

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
        normalization: str | None = None,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
        scoring: Any = None,
        restore_best_weights: bool | None = None,
        callbacks: Any = None,
        n_threads: int | None = None,
        dtype: str | None = None,
    ) -> None:
        self._keep(locals())

    def _targets(self, X: Any, y: Array, *, reset: bool, unseen: bool) -> Data:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        y = np.ascontiguousarray(y, X.dtype).reshape(len(y), -1)
        if reset or not hasattr(self, "_n_targets"):
            self._n_targets = y.shape[1]
        elif y.shape[1] != self._n_targets:
            raise ValueError(
                f"y: want {self._n_targets} numbers for each sample as before, got {y.shape[1]}"
            )
        n, _, loss = self._output()
        return Data(X, y, targets_of(loss, y, n, X.dtype), None)

    def _output(self) -> tuple[int, str, Loss]:
        convention = convention_of(self.loss)
        return of_numbers(convention.loss if convention else self.loss, self._n_targets)

    @property
    def _summed(self) -> float:  # type: ignore[override]
        convention = convention_of(self.loss)
        return convention.factor * self._n_targets if convention else 1.0

    @property
    def _averaged(self) -> float:  # type: ignore[override]
        convention = convention_of(self.loss)
        return float(self._n_targets) if convention and convention.tells_mean else 1.0

    def _constants(self, data: Data) -> Array | None:
        convention = convention_of(self.loss)
        if convention is None or convention.constants is None:
            return None
        return convention.constants(data.y)

    def _labels(self, data: Data) -> Array:
        return data.y[:, 0] if data.y.shape[1] == 1 else data.y

    def _score_outputs(self, A: Array, data: Data) -> float:
        if isinstance(self.loss, Quantile):
            return d2_of_quantiles(self.loss, data.y, A, data.weights)
        return float(r2_score(data.y, A, sample_weight=data.weights))

    @available_if(has_steps)
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

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R^2 of `predict`, with a `Quantile` loss the mean of its quantiles' D^2.

        Both are 1 at best, and 0 for the best constant; D^2 takes the pinball loss for the square.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        """
        if not isinstance(self.loss, Quantile):
            return float(super().score(X, y, sample_weight))
        A = self.predict(X).reshape(len(y), -1)
        return d2_of_quantiles(self.loss, np.reshape(y, (len(y), -1)), A, sample_weight)

    def predict(self, X: Any) -> Array:
        """Return the output for each row of X: (m,), or (m, n_outputs) if there are several."""
        A = self._outputs(X)
        return A[:, 0] if A.shape[1] == 1 else A
