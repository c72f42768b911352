"""Model files: safetensors with W_l (n, n_prev) and b_l by name, the rest as JSON in the metadata.

Nothing in a file is ever executed. A file holds what a training needs to go on exactly: parameters,
the optimizer's memory, hyper-parameters, counters and the seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdnn.kernels.engine import Engine

from . import initializers, layers, losses, optimizers, regularizers, schedules
from ._files import replacing

if TYPE_CHECKING:
    from .model import Sequential

FORMAT = "1"
_KEY = "fastdnn.model"
_FORMAT_KEY = "fastdnn.format"
CLASSES: dict[str, type] = {
    one.__name__: one
    for one in (
        layers.Dense,
        layers.Dropout,
        losses.Loss,
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


def to_config(value: Any) -> Any:
    """`value` as JSON can hold it; one of `CLASSES` becomes its fields and its class's name.

    Raises
    ------
    TypeError
        If it is of a class that a file cannot name.
    """
    if is_dataclass(value) and CLASSES.get(type(value).__name__) is type(value):
        own = {f.name: to_config(getattr(value, f.name)) for f in fields(value) if f.init}
        return {"class": type(value).__name__, **own}
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float | np.integer | np.floating):
        return float(value) if isinstance(value, float | np.floating) else int(value)
    raise TypeError(f"{value!r} cannot be kept in a model file: want one of fastdnn's own classes")


def from_config(config: Any) -> Any:
    """The value that `to_config` wrote."""
    if isinstance(config, dict):
        own = {name: from_config(item) for name, item in config.items() if name != "class"}
        return CLASSES[config["class"]](**own)
    return config


def _layer_config(layer: Any) -> Any:
    config: dict[str, Any] = {"class": type(layer).__name__}
    for f in fields(layer):
        if f.init:
            value = getattr(layer, f.name)
            # a function as initializer has done its work: the weights are in the file
            function = (
                f.name == "kernel_initializer" and not is_dataclass(value) and callable(value)
            )
            config[f.name] = None if function else to_config(value)
    return config


def _configuration(model: Sequential) -> dict[str, Any]:
    state = model._state
    config: dict[str, Any] = {
        "layers": [_layer_config(layer) for layer in model.layers],
        "input_size": model.input_size,
        "dtype": model.dtype.name,
        "seed": model.seed,
        # JSON's readers may not hold 128 bits as a number
        "state": {"entropy": str(state.entropy), "steps": state.steps, "epochs": state.epochs},
    }
    if hasattr(model, "loss"):
        config["optimizer"] = to_config(model.optimizer)
        config["loss"] = to_config(model.loss)
        config["metrics"] = [m for m in model._metric_names if isinstance(m, str)]
    return config


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
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; want a model that save wrote")
    try:
        with safe_open(path, "numpy") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from None
    if metadata.pop(_FORMAT_KEY, None) != FORMAT or _KEY not in metadata:
        raise ValueError(f"{path}: not a model that this version of fastdnn wrote")
    config = json.loads(metadata.pop(_KEY))
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
    model._state.steps, model._state.epochs = state["steps"], state["epochs"]
    model.metadata = metadata
    _restore(model._built_engine(), tensors, path)
    return model


def _restore(engine: Engine, tensors: dict[str, Any], path: Path) -> None:
    for l in range(1, len(engine.layers) + 1):
        for name, view in ((f"W{l}", engine.weights(l)), (f"b{l}", engine.bias(l))):
            if view is None:
                continue
            if name not in tensors or tensors[name].shape != view.shape:
                raise ValueError(f"{path}: want a tensor {name} of shape {view.shape}")
            view[...] = tensors[name]
    if "optimizer" in tensors:
        engine.slots = tensors["optimizer"].astype(engine.dtype)
