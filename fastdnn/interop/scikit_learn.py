"""Networks of scikit-learn made Sequentials, and the other way round."""

from __future__ import annotations

import json
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from fastdnn.kernels import ACTIVATIONS
from fastdnn.layer import Activation_, Array
from fastdnn.layers import Activation, Dense, Dropout
from fastdnn.model import Sequential

from . import _common
from ._common import Found, at

LIBRARY = "scikit-learn"
CLASSES, CLASSES_DTYPE = "classes", "classes_dtype"  # in a model's metadata; the second of dates
HIDDEN = ("identity", "sigmoid", "tanh", "relu")
THEIRS = {name: entry.sklearn or name for name, entry in ACTIVATIONS.items()}
OURS = {theirs: name for name, theirs in THEIRS.items()}


# -------------------------------------------------------------------------------- from scikit-learn
def from_sklearn(mlp: Any) -> Sequential:
    """Return a Sequential with the outputs of a fitted MLPClassifier or MLPRegressor."""
    # fastdnn's are known by their parameters: nothing imports that room
    if not isinstance(mlp, BaseEstimator) or "hidden_layer_sizes" not in mlp.get_params(deep=False):
        raise TypeError(
            "mlp: want a fitted MLPClassifier or MLPRegressor of scikit-learn or fastdnn, got "
            f"{type(mlp).__name__}"
        )
    check_is_fitted(mlp)
    own = getattr(mlp, "model_", None)
    model = _uncompiled(own) if isinstance(own, Sequential) else _read(mlp)
    if hasattr(mlp, "classes_"):
        model.metadata = _written(np.asarray(mlp.classes_))
    return model


def _written(classes: Array) -> dict[str, str]:
    """Return the metadata of classes, which `_classes` reads."""
    if classes.dtype.kind != "M":
        return {CLASSES: json.dumps(classes.tolist())}
    # JSON has no dates
    return {CLASSES: json.dumps(classes.astype(str).tolist()), CLASSES_DTYPE: classes.dtype.str}


def _read(mlp: Any) -> Sequential:
    found = Found(_common.one_dtype(str(W.dtype) for W in mlp.coefs_))
    activations = [mlp.activation] * (len(mlp.coefs_) - 1) + [mlp.out_activation_]
    for W, b, g in zip(mlp.coefs_, mlp.intercepts_, activations, strict=True):
        found.takes(W.shape[0])
        found.add(Dense(W.shape[1]), W=W.T, b=b)
        found.activate(OURS[g])
    return found.model()


def _uncompiled(model: Sequential) -> Sequential:
    """Return a copy of an estimator's network that can be compiled."""
    layers = [layer.unplaced() for layer in model.layers]
    other = Sequential(
        layers, input_size=model.input_size, dtype=model.dtype.name, seed=model.seed
    )  # fmt: skip
    other.set_weights(model.get_weights())
    return other


# ---------------------------------------------------------------------------------- to scikit-learn
class _Product(NamedTuple):
    """A Dense layer, as scikit-learn has them, and where it stands."""

    place: str
    W: Array
    b: Array
    g: Activation_


def to_sklearn(model: Sequential) -> Any:
    """Return a fitted MLPClassifier or MLPRegressor with a model's parameters."""
    model = _common.still(model, "to_sklearn")
    *hidden, last = _products(model)
    for one in hidden:
        if one.g not in HIDDEN or one.g != hidden[0].g:
            wanted = hidden[0].g if hidden[0].g in HIDDEN else f"one of {', '.join(HIDDEN)}"
            raise ValueError(
                f"{one.place}: {LIBRARY} has one activation for all hidden layers: want {wanted}, "
                f"got {one.g}"
            )
    last = _last(model, last)
    settings = {
        "hidden_layer_sizes": tuple(len(one.b) for one in hidden),
        "activation": THEIRS[str(hidden[0].g)] if hidden else "relu",
        "alpha": 0.0,
    }
    products = [*hidden, last]
    if last.g in ("softmax", "sigmoid"):
        return _filled(_classifier(model, last, settings), products)
    if last.g == "exponential":
        settings["loss"] = "poisson"
    return _filled(MLPRegressor(**settings), products)


def _products(model: Sequential) -> list[_Product]:
    products: list[_Product] = []
    for number, layer in enumerate(model.layers):
        place = _common.place(number, layer)
        if isinstance(layer, Dense):
            b = np.zeros(layer.units, model.dtype) if layer.b is None else layer.b.copy()
            g = layer.activation or "identity"
            products.append(_Product(place, layer.W.T.copy(), b, g))
        elif isinstance(layer, Activation) and products and products[-1].g == "identity":
            products[-1] = products[-1]._replace(g=layer.activation, place=place)
        elif not isinstance(layer, Dropout):
            raise ValueError(f"{place}: a network of {LIBRARY} has Dense layers alone")
    for one in products:
        with at(one.place):
            _common.named(one.g, LIBRARY)
    return products


def _last(model: Sequential, last: _Product) -> _Product:
    """Return the last layer as scikit-learn has it."""
    loss = getattr(model, "loss", None)
    if loss is not None and loss.from_logits:  # then there is no activation
        last = last._replace(g=next(iter(loss.entry.fused)))
    can_count = "loss" in signature(MLPRegressor).parameters  # since 1.7
    if last.g not in ("softmax", "sigmoid", "identity", *(["exponential"] * can_count)):
        raise ValueError(
            f"{last.place}: want softmax or sigmoid for classes, or no activation for numbers, as "
            f"{LIBRARY} has no other last layer; got {last.g}"
        )
    if last.g == "softmax" and len(last.b) == 2:
        # softmax(z)_1 = sigmoid(z_1 - z_0)
        return last._replace(W=np.diff(last.W), b=np.diff(last.b), g="sigmoid")
    if last.g == "softmax" and len(last.b) == 1:
        raise ValueError(f"{last.place}: a softmax of one output is always 1")
    return last


def _classifier(model: Sequential, last: _Product, settings: dict[str, Any]) -> Any:
    """Return a classifier that knows its classes."""
    mlp, n = MLPClassifier(**settings), len(last.b)
    several = last.g == "sigmoid" and n > 1  # labels a sample
    known = np.repeat([[0], [1]], n, axis=1) if several else _classes(model, n)
    mlp._label_binarizer = LabelBinarizer().fit(known)
    mlp.classes_ = mlp._label_binarizer.classes_
    return mlp


def _classes(model: Sequential, outputs: int) -> Any:
    """Return the classes' labels, ascending, or 0, 1, …."""
    n = max(outputs, 2)
    if model.preparation is not None and model.preparation.classes is not None:
        return model.preparation.classes
    try:
        classes = np.asarray(json.loads(model.metadata[CLASSES]), model.metadata.get(CLASSES_DTYPE))
    except (KeyError, TypeError, ValueError):  # none, or a text of the user's own
        return np.arange(n)
    # a network that was fitted to one class alone has one output too
    fits = classes.shape in ((n,), *([(1,)] if outputs == 1 else []))
    fits = fits and len(np.unique(classes)) == len(classes)
    return classes if fits else np.arange(n)


def _filled(mlp: Any, products: list[_Product]) -> Any:
    """Give an estimator what its fit would have."""
    mlp.coefs_ = [np.ascontiguousarray(one.W) for one in products]
    mlp.intercepts_ = [one.b for one in products]
    mlp.n_features_in_ = len(products[0].W)
    mlp.n_layers_, mlp.n_outputs_ = len(products) + 1, len(products[-1].b)
    mlp.out_activation_ = THEIRS[str(products[-1].g)]
    # nothing is known of a training; partial_fit begins one with these
    mlp.n_iter_ = mlp.t_ = mlp._no_improvement_count = 0
    mlp.loss_curve_, mlp.loss_, mlp.best_loss_ = [], np.nan, np.inf
    mlp.validation_scores_ = mlp.best_validation_score_ = None
    return mlp
