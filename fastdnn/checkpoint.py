"""Model files: safetensors with W_l (n, n_prev) and b_l by name, the rest as JSON in the metadata.

Nothing in a file is ever executed. A file holds what a training needs to go on exactly: parameters,
the optimizer's memory, hyper-parameters, counters and the seed.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdnn.kernels.engine import Engine

from . import initializers, losses, optimizers, regularizers, schedules
from ._files import replacing
from .layers import Dense, Dropout

if TYPE_CHECKING:
    from .model import Sequential

FORMAT = "1"
_KEY = "fastdnn.model"
_FORMAT_KEY = "fastdnn.format"
CLASSES: dict[str, type] = {
    one.__name__: one
    for one in (
        Dense,
        Dropout,
        *losses.LOSSES.values(),
        regularizers.L1L2,
        initializers.Normal,
        initializers.Zeros,
        initializers.VarianceScaling,
        schedules.StepDecay,
        schedules.ExponentialDecay,
        schedules.CosineDecay,
        *optimizers.OPTIMIZERS.values(),
    )
}


def _is_known(value: object) -> bool:
    return CLASSES.get(type(value).__name__) is type(value)


def to_config(value: Any) -> Any:
    """`value` as JSON can hold it; one of `CLASSES` becomes its fields and its class's name.

    Raises
    ------
    TypeError
        If it is of a class that a file cannot name.
    """
    if _is_known(value):
        own = {f.name: to_config(getattr(value, f.name)) for f in fields(value) if f.init}
        return {"class": type(value).__name__, **own}
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, tuple):
        return [to_config(item) for item in value]
    if isinstance(value, Real):
        return int(value) if isinstance(value, Integral) else float(value)
    raise TypeError(f"{value!r} cannot be kept in a model file: want one of fastdnn's own classes")


def from_config(config: Any) -> Any:
    """The value that `to_config` wrote."""
    if isinstance(config, dict):
        own = {name: from_config(item) for name, item in config.items() if name != "class"}
        return CLASSES[config["class"]](**own)
    if isinstance(config, list):
        return tuple(from_config(item) for item in config)
    return config


def _layer_config(layer: Dense | Dropout) -> Any:
    if isinstance(layer, Dense):
        initializer = layer.kernel_initializer
        if callable(initializer) and not _is_known(initializer):
            # a user's function has done its work: the weights are in the file
            layer = replace(layer, kernel_initializer=None)
    return to_config(layer)


def _training_config(model: Sequential) -> dict[str, Any]:
    """Optimizer, loss and metrics, as far as a file can name them: no trained model is refused."""
    optimizer = model.optimizer
    rate = optimizer.learning_rate
    if isinstance(rate, schedules.Schedule) and not _is_known(rate):
        now = float(optimizer.learning_rates(np.array([model._state.steps]))[0])
        warnings.warn(
            f"the file holds the present learning rate {now:g}, as it cannot hold {rate!r}; after "
            "load, set model.optimizer.learning_rate to your schedule to go on with it",
            stacklevel=5,
        )
        optimizer = replace(optimizer, learning_rate=now)
    if not _is_known(optimizer):
        warnings.warn(
            f"the file cannot hold {optimizer!r}: compile the model after load", stacklevel=5
        )
        return {}
    return {
        "optimizer": to_config(optimizer),
        "loss": to_config(model.loss),
        "metrics": [m for m in model._metrics_given if isinstance(m, str)],
    }


def _configuration(model: Sequential) -> dict[str, Any]:
    state = model._state
    return {
        "layers": [_layer_config(layer) for layer in model.layers],
        "input_size": model.input_size,
        "dtype": model.dtype.name,
        "seed": model.seed,
        # JSON's readers may not hold 128 bits as a number
        "state": {"entropy": str(state.entropy), "steps": state.steps, "epochs": state.epochs},
        **(_training_config(model) if hasattr(model, "loss") else {}),
    }


def save(model: Sequential, path: str | Path, metadata: Mapping[str, str]) -> None:
    """Write a model's file; see `Sequential.save`."""
    from safetensors.numpy import save_file

    engine = model._built_engine()
    tensors = {}
    for l in range(1, len(engine.layers) + 1):
        tensors[f"W{l}"] = np.ascontiguousarray(engine.weights(l))
        b = engine.bias(l)
        if b is not None:
            tensors[f"b{l}"] = b.copy()
    if engine.slots.size:
        tensors["optimizer"] = engine.slots.copy()
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata: want strings, got {key!r}: {value!r}")
    own = {_FORMAT_KEY: FORMAT, _KEY: json.dumps(_configuration(model))}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={**metadata, **own})


def load(cls: type[Sequential], path: str | Path) -> Sequential:
    """Read a model's file; see `Sequential.load`."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder; want a model that save wrote")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; want a model that save wrote")
    try:
        with safe_open(path, "numpy") as file:
            metadata = dict(file.metadata() or {})
            if metadata.pop(_FORMAT_KEY, None) != FORMAT or _KEY not in metadata:
                raise ValueError(f"{path}: not a model that this version of fastdnn wrote")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from None
    try:
        model = _rebuilt(cls, json.loads(metadata.pop(_KEY)))
        _restore(model._built_engine(), tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: a damaged model file ({error!r})") from error
    model.metadata = metadata
    return model


def _rebuilt(cls: type[Sequential], config: Any) -> Sequential:
    """The model without what the tensors hold."""
    model = cls(
        [from_config(layer) for layer in config["layers"]],
        input_size=config["input_size"],
        dtype=config["dtype"],
        seed=config["seed"],
    )
    if "loss" in config:
        optimizer, loss = from_config(config["optimizer"]), from_config(config["loss"])
        model.compile(optimizer, loss, config["metrics"])
    state = config["state"]
    model._state.entropy = int(state["entropy"])
    model._state.steps, model._state.epochs = int(state["steps"]), int(state["epochs"])
    return model


def _restore(engine: Engine, tensors: dict[str, Any]) -> None:
    for l in range(1, len(engine.layers) + 1):
        for name, view in ((f"W{l}", engine.weights(l)), (f"b{l}", engine.bias(l))):
            if view is None:
                continue
            if name not in tensors or tensors[name].shape != view.shape:
                raise ValueError(f"want a tensor {name} of shape {view.shape}")
            view[...] = tensors[name]
    if "optimizer" in tensors:
        slots, size = tensors["optimizer"], engine.parameters.size
        if slots.shape not in ((size,), (2 * size,)):
            raise ValueError(f"want one or two numbers for each parameter, got {slots.shape}")
        engine.slots = slots.astype(engine.dtype)
