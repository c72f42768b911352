"""Models of Keras made Sequentials, and the other way round."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from errno import ENOENT
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np

from fastdnn.layer import Layer
from fastdnn.layers import Activation, Dense, Dropout
from fastdnn.model import Sequential
from fastdnn.normalization import BatchNormalization, LayerNormalization, RMSNormalization
from fastdnn.regularizers import L1L2
from fastdnn.residual import PReLU

from . import _common
from ._common import Found, at

Keras = Any  # what is Keras's: mypy does not follow its imports
WEIGHTS = ".weights.h5"
# What changes training alone, and fastdnn has not.
_LEFT_OUT = (
    "bias_regularizer", "activity_regularizer", "kernel_constraint", "bias_constraint",
    "beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint",
    "alpha_regularizer", "alpha_constraint", "embeddings_regularizer", "embeddings_constraint",
)  # fmt: skip


class Counterpart(NamedTuple):
    """Keras's name of an activation, and the layer that it is made with, if by none."""

    name: str
    layer: Callable[..., Keras] | None = None


ACTIVATIONS: dict[str, Counterpart] = {
    "identity": Counterpart("linear"),
    "sigmoid": Counterpart("sigmoid"),
    "relu": Counterpart("relu"),
    "tanh": Counterpart("tanh"),
    # the function of this name has the slope 0.2
    "leaky_relu": Counterpart("leaky_relu", lambda **of: keras.layers.LeakyReLU(0.01, **of)),
    "elu": Counterpart("elu"),
    "gelu": Counterpart("gelu"),
    "silu": Counterpart("silu"),
    "softplus": Counterpart("softplus"),
    "exponential": Counterpart("exponential"),
    "softmax": Counterpart("softmax"),
}
SLOPE = 0.2  # of Keras's function leaky_relu


# --------------------------------------------------------------------------------------- from Keras
def from_keras(model: Keras) -> Sequential:
    """Return a Sequential that predicts what a keras.Sequential, or one in a file, does."""
    if isinstance(model, str | PathLike):
        _check_is_file(model)
        model = keras.models.load_model(model, compile=False)
    if not isinstance(model, keras.Sequential):
        raise TypeError(f"model: want a keras.Sequential, got {type(model).__name__}")
    if not model.built or not model.weights:
        raise ValueError("model: want one with weights; give it a keras.Input, or call it on data")
    with at("model"):
        found = Found(_common.one_dtype(_dtypes(model)))
    _read_input(found, model)
    for place, layer in _in_row(model, "layers"):
        with at(f"{place}, {type(layer).__name__}"):
            _reader(layer)(found, layer)
            _warn(place, layer)
    with at("model"):
        return found.model()


def _dtypes(model: Keras) -> set[str]:
    layers = [layer for _, layer in _in_row(model, "") if layer.weights]
    return {str(layer.compute_dtype) for layer in layers} | {
        keras.backend.standardize_dtype(one.dtype) for one in model.weights
    } - {"int32", "int64", "uint32"}  # the state of a dropout's random numbers


def _read_input(found: Found, model: Keras) -> None:
    """Take the width of X, which is flattened first if it has more axes than one."""
    (_, first), *_ = _in_row(model, "layers")
    shape = tuple(model.input_shape[1:])
    if isinstance(first, keras.layers.Embedding):
        return  # the width is that of its columns
    if None in shape or not shape or (len(shape) > 1 and not _is(first, keras.layers.Flatten)):
        raise ValueError(f"model: want an input of shape (n,), or Flatten first, got {shape}")
    found.takes(math.prod(shape))


def _in_row(model: Keras, place: str) -> Iterator[tuple[str, Keras]]:
    """Yield the layers of a Sequential, and of those inside it, with their places."""
    for number, layer in enumerate(model.layers):
        if isinstance(layer, keras.Sequential):
            yield from _in_row(layer, f"{place}[{number}].layers")
        else:
            yield f"{place}[{number}]", layer


def _is(layer: Keras, kind: Keras) -> bool:
    """Return whether a layer computes what those of a class do, of which it may be a subclass."""
    return isinstance(layer, kind) and type(layer).call is kind.call


def _reader(layer: Keras) -> Callable[[Found, Keras], None]:
    for kind, reader in READERS.items():
        if _is(layer, kind):
            return reader
    known = ", ".join(sorted(kind.__name__ for kind in READERS))
    raise TypeError(f"it has no counterpart in fastdnn; want a keras.Sequential of {known}")


def _warn(place: str, layer: Keras) -> None:
    found = [name for name in _LEFT_OUT if getattr(layer, name, None) is not None]
    if found:
        warnings.warn(f"from_keras: {place}: {', '.join(found)} left out", stacklevel=4)


def _activate(found: Found, function: Keras) -> None:
    if isinstance(function, keras.layers.Layer):
        _reader(function)(found, function)
        return
    for name, one in ACTIVATIONS.items():
        if function is getattr(keras.activations, one.name):
            if name == "leaky_relu":
                found.bend(SLOPE)
            else:
                found.activate(name)
            return
    got, known = getattr(function, "__name__", function), (one.name for one in ACTIVATIONS.values())
    raise ValueError(f"fastdnn has no activation {got!r}; want {', '.join(known)}")


def _read_dense(found: Found, layer: Keras) -> None:
    n_prev, n = layer.kernel.shape
    found.takes(n_prev)
    tensors = {"W": _array(layer.kernel).T}
    if layer.use_bias:
        tensors["b"] = _array(layer.bias)
    penalty = _penalty(layer.kernel_regularizer)
    found.add(Dense(n, use_bias=layer.use_bias, kernel_regularizer=penalty), **tensors)
    _activate(found, layer.activation)


def _penalty(regularizer: Keras) -> L1L2:
    if regularizer is None:
        return L1L2()
    kinds = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)
    if type(regularizer) not in kinds:
        kind = type(regularizer).__name__
        raise ValueError(f"kernel_regularizer: want L1, L2 or L1L2 of Keras, got {kind}")
    return L1L2(*(float(getattr(regularizer, name, 0.0)) for name in ("l1", "l2")))


def _read_relu(found: Found, layer: Keras) -> None:
    if layer.max_value is not None or layer.threshold:
        raise ValueError("want max_value=None and threshold=0")
    if layer.negative_slope:
        found.bend(float(layer.negative_slope))
    else:
        found.activate("relu")


def _read_elu(found: Found, layer: Keras) -> None:
    if layer.alpha != 1:
        raise ValueError(f"want alpha=1, got {layer.alpha}")
    found.activate("elu")


def _read_softmax(found: Found, layer: Keras) -> None:
    if layer.axis not in (-1, 1):
        raise ValueError(f"want axis=-1, got {layer.axis}")
    found.activate("softmax")


def _read_norm(found: Found, layer: Keras) -> None:
    if getattr(layer, "rms_scaling", False):
        raise ValueError("want rms_scaling=False; RMSNormalization is a layer of its own")
    _check_axis(found, layer)
    found.add(
        LayerNormalization(layer.epsilon, bool(layer.center), bool(layer.scale)), **_affine(layer)
    )


def _read_batch_norm(found: Found, layer: Keras) -> None:
    _check_axis(found, layer)
    found.add(
        BatchNormalization(layer.momentum, layer.epsilon, bool(layer.center), bool(layer.scale)),
        **_affine(layer),
        moving_mean=_array(layer.moving_mean),
        moving_variance=_array(layer.moving_variance),
    )


def _read_rms_norm(found: Found, layer: Keras) -> None:
    _check_axis(found, layer)
    found.add(RMSNormalization(layer.epsilon), gamma=_array(layer.scale))


def _read_prelu(found: Found, layer: Keras) -> None:
    alpha = _array(layer.alpha)
    if alpha.ndim != 1:
        raise ValueError(f"want an alpha for each unit, got shape {alpha.shape}")
    found.add(PReLU(float(getattr(layer.alpha_initializer, "value", 0.0))), alpha=alpha)


def _read_embedding(found: Found, layer: Keras) -> None:
    found.look_up(_array(layer.embeddings))


def _check_axis(found: Found, layer: Keras) -> None:
    """Refuse a norm that is not over the last axis of two."""
    axis = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if axis not in ([-1], [1]):
        raise ValueError(f"want axis=-1, got {layer.axis}")
    if layer.weights:
        found.takes(int(layer.weights[0].shape[0]))


def _affine(layer: Keras) -> dict[str, Any]:
    tensors = {"gamma": layer.gamma, "beta": layer.beta}
    return {name: _array(one) for name, one in tensors.items() if one is not None}


def _array(tensor: Keras) -> Any:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


READERS: dict[Any, Callable[[Found, Keras], None]] = {
    keras.layers.Dense: _read_dense,
    keras.layers.Activation: lambda found, layer: _activate(found, layer.activation),
    keras.layers.Dropout: lambda found, layer: found.add(Dropout(layer.rate)),
    keras.layers.Identity: lambda found, layer: None,
    keras.layers.Flatten: lambda found, layer: found.flatten(),
    keras.layers.ReLU: _read_relu,
    keras.layers.LeakyReLU: lambda found, layer: found.bend(float(layer.negative_slope)),
    keras.layers.ELU: _read_elu,
    keras.layers.Softmax: _read_softmax,
    keras.layers.PReLU: _read_prelu,
    keras.layers.LayerNormalization: _read_norm,
    keras.layers.BatchNormalization: _read_batch_norm,
    keras.layers.RMSNormalization: _read_rms_norm,
    keras.layers.Embedding: _read_embedding,
}


# ----------------------------------------------------------------------------------------- to Keras
def to_keras(model: Sequential) -> Keras:
    """Return a keras.Sequential that does what a model predicts."""
    return _written(_common.still(model, "to_keras"))


def _written(model: Sequential) -> Keras:
    made: list[Keras] = [keras.Input((model.input_size,), dtype=model.dtype.name)]
    for number, layer in enumerate(model.layers):
        with at(_common.place(number, layer)):
            writer = WRITERS.get(type(layer))
            if writer is None:
                raise _common.no_counterpart("a keras.Sequential", WRITERS)
            made += writer(layer, {"dtype": model.dtype.name})
    found = keras.Sequential(made)
    found.set_weights(model.get_weights())
    return found


def _write_dense(layer: Dense, of: Mapping[str, Any]) -> list[Keras]:
    counterpart = _counterpart(layer.activation or "identity")
    penalty = layer.kernel_regularizer
    assert isinstance(penalty, L1L2)
    regularizer = None if penalty == L1L2() else keras.regularizers.L1L2(penalty.l1, penalty.l2)
    name = counterpart.name if counterpart.layer is None else "linear"
    dense = keras.layers.Dense(
        layer.units, name, layer.use_bias, kernel_regularizer=regularizer, **of
    )  # fmt: skip
    return [dense] if counterpart.layer is None else [dense, counterpart.layer(**of)]


def _write_activation(layer: Activation, of: Mapping[str, Any]) -> list[Keras]:
    found = _counterpart(layer.activation)
    return [keras.layers.Activation(found.name, **of) if found.layer is None else found.layer(**of)]


def _counterpart(g: Any) -> Counterpart:
    name = _common.named(g, "Keras")
    if name not in ACTIVATIONS:
        raise ValueError(f"Keras has no activation {name!r}")
    return ACTIVATIONS[name]


def _write_prelu(layer: PReLU, of: Mapping[str, Any]) -> list[Keras]:
    start = keras.initializers.Constant(layer.alpha_initializer)
    return [keras.layers.PReLU(start, **of)]


def _settings(layer: Layer, *names: str) -> dict[str, Any]:
    return {name: getattr(layer, name) for name in names}


WRITERS: dict[type[Layer], Callable[[Any, Mapping[str, Any]], list[Keras]]] = {
    Dense: _write_dense,
    Activation: _write_activation,
    Dropout: lambda layer, of: [keras.layers.Dropout(layer.rate, **of)],
    PReLU: _write_prelu,
    LayerNormalization: lambda layer, of: [
        keras.layers.LayerNormalization(**_settings(layer, "epsilon", "center", "scale"), **of)
    ],
    RMSNormalization: lambda layer, of: [
        keras.layers.RMSNormalization(**_settings(layer, "epsilon"), **of)
    ],
    BatchNormalization: lambda layer, of: [
        keras.layers.BatchNormalization(
            **_settings(layer, "momentum", "epsilon", "center", "scale"), **of
        )
    ],
}


# -------------------------------------------------------------------------------- a file of weights
def load_weights(model: Sequential, path: str | Path) -> None:
    """Read the parameters and moving averages of a model from a file of Keras's."""
    if not str(path).endswith(WEIGHTS):
        raise ValueError(f"path: want a file *{WEIGHTS} of Keras's save_weights, got {path}")
    _check_is_file(path)
    like = _written(model)
    if not h5py.is_hdf5(path):
        raise ValueError(f"path: want a file of Keras's save_weights, got another kind in {path}")
    like.load_weights(path)
    _check_has_no_more(path, len(like.weights))
    model.set_weights(from_keras(like).get_weights())


def _check_has_no_more(path: str | Path, known: int) -> None:
    """Refuse a file with tensors that the model has not, which Keras leaves out silently."""
    found: list[str] = []
    with h5py.File(path) as file:
        for room in ("layers", "_layer_checkpoint_dependencies"):  # the second of old files
            if room in file:
                file[room].visititems(
                    lambda name, one: found.append(name) if isinstance(one, h5py.Dataset) else None
                )
    found = [name for name in found if "seed_generator" not in name]  # the state of a dropout
    if len(found) > known:
        raise ValueError(
            f"path: want the weights of the model's layers, {known} tensors, got {len(found)}: "
            f"{', '.join(found)}"
        )


def _check_is_file(path: str | PathLike[str]) -> None:
    """Refuse a path of no file, which Keras would call a bad value."""
    if not Path(path).is_file():
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(path))
