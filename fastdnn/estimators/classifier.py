"""`MLPClassifier`: scikit-learn's classifier, trained by fastdnn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from fastdnn._inputs import Data
from fastdnn.losses import Loss

from ._base import BaseMLP, has_steps
from ._compat import with_callbacks
from ._losses import of_classes, targets_of

Array = NDArray[Any]


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A fully connected network for classes: scikit-learn's `MLPClassifier` on fastdnn's engine.

    Two classes have one sigmoid output, more a softmax over them; labels that may be true together,
    as rows of 0 and 1, have a sigmoid each.

    Parameters
    ----------
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
    loss : str or Loss
        "log_loss" is the cross-entropy. Others are fastdnn's losses of classes, by name or object.
    class_weight : dict, "balanced" or None
        Multiplies the weights of each class's samples; "balanced" weighs classes inversely to
        their shares.
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
    classes_ : ndarray
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

    def __init__(
        self,
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
        loss: str | Loss = "log_loss",
        class_weight: str | Mapping[Any, float] | None = None,
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

    # ----------------------------------------------------------------------------- targets
    def _targets(self, X: Any, y: Array, *, reset: bool, unseen: bool) -> Data:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if reset or not hasattr(self, "classes_"):
            self._set_classes(y)
        else:
            self._check_classes(y, wants_all=self.warm_start and not unseen)
        n, _, loss = self._output()
        if self._is_multilabel:
            y = y.astype(X.dtype)
            return Data(X, y, targets_of(loss, y, n, X.dtype), None)
        y = np.searchsorted(self.classes_, y)
        codes = y if loss.entry.labels or n == 1 else np.eye(n, dtype=X.dtype)[y]
        return Data(X, y, targets_of(loss, codes, n, X.dtype), None)

    def _set_classes(self, y: Array) -> None:
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError("y: want one class, or 0 and 1 for each label, got several classes")
        self._is_multilabel = kind == "multilabel-indicator"
        self.classes_ = unique_labels(y)

    def _check_classes(self, y: Array, *, wants_all: bool) -> None:
        """Refuse classes that the network was not made for."""
        columns = (len(self.classes_),) if self._is_multilabel else ()
        if y.shape[1:] != columns:
            wanted = (len(y), *columns)
            raise ValueError(f"y: want shape {wanted} for the classes known, got {y.shape}")
        classes = unique_labels(y)
        if wants_all:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {classes}."
            )

    @property
    def _n_outputs(self) -> int:
        n = len(self.classes_)
        return n if self._is_multilabel or n > 2 else 1

    def _output(self) -> tuple[int, str, Loss]:
        n, loss = self._n_outputs, self.loss
        together = n > 1 and not self._is_multilabel
        if loss == "log_loss":
            loss = "sparse_categorical_crossentropy" if together else "binary_crossentropy"
        return n, *of_classes(loss, n, together=together)

    @property
    def _summed(self) -> float:  # type: ignore[override]
        # scikit-learn adds the losses of the labels, the engine takes their mean
        return float(self._n_outputs) if self._is_multilabel and self.loss == "log_loss" else 1.0

    def _strata(self, data: Data) -> Array | None:
        return data.y.astype(bool).reshape(-1, 1) if self._n_outputs == 1 else None

    def _labels(self, data: Data) -> Array:
        return data.y if self._is_multilabel else self.classes_[data.y]

    def _class_weights(self, data: Data, weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return weight
        weights: Array = compute_sample_weight(self.class_weight, self._labels(data))
        weights = weights if weight is None else weights * weight
        return weights.astype(data.X.dtype)

    def _predicted(self, A: Array) -> Array:
        """Return the number of the class of each row, or 0 and 1 for each label."""
        if self._is_multilabel:
            return (A > 0.5).astype(int)
        if len(self.classes_) == 1:
            return np.zeros(len(A), int)
        return A.argmax(axis=1) if A.shape[1] > 1 else (A[:, 0] > 0.5).astype(int)

    def _score_outputs(self, A: Array, data: Data) -> float:
        right = self._predicted(A) == data.y
        right = right.all(axis=1) if right.ndim == 2 else right
        return float(np.average(right, weights=data.weights))

    # -------------------------------------------------------------------------- public part
    @available_if(has_steps)
    @with_callbacks
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """Train one epoch more, with the optimizer's memory of those before.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array_like, optional
            All classes there are; wanted by the first call.

        Returns
        -------
        self
        """
        if classes is None and not hasattr(self, "classes_"):
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if classes is not None:
            classes = unique_labels(classes)
            if not hasattr(self, "classes_"):
                self._is_multilabel = type_of_target(y) == "multilabel-indicator"
                self.classes_ = classes
            elif not np.array_equal(self.classes_, classes):
                raise ValueError(
                    f"classes: want {self.classes_} as in the calls before, got {classes}"
                )
        self._fit(X, y, sample_weight, None, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """Return the class of each row of X; with several labels, 0 and 1 for each."""
        predicted = self._predicted(self._outputs(X))
        return predicted if self._is_multilabel else self.classes_[predicted]

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, in the order of `classes_`, for each row of X."""
        A = self._outputs(X)
        return np.hstack([1 - A, A]) if A.shape[1] == 1 and not self._is_multilabel else A

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):  # log 0 = -inf
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
