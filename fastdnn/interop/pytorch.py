"""Modules of PyTorch made Sequentials, and the other way round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from fastdnn.embedding import ColumnEmbedding, PeriodicEmbedding, PiecewiseLinearEmbedding
from fastdnn.layer import Layer
from fastdnn.layers import Activation, Dense, Dropout
from fastdnn.model import Sequential
from fastdnn.normalization import BatchNormalization, LayerNormalization, RMSNormalization
from fastdnn.residual import PReLU, Residual

from . import _common, torch_modules
from ._common import Found, at

Module = Any  # as mypy does not follow PyTorch's imports
SOFTPLUS = 40.0  # from where on softplus(z) is z, in float64 too


class Counterpart(NamedTuple):
    """PyTorch's module of an activation."""

    kind: Any
    made_with: Mapping[str, Any] = {}
    is_it: Callable[[Module], bool] = lambda module: True  # whether its settings are fastdnn's


ACTIVATIONS: dict[str, Counterpart] = {
    "identity": Counterpart(nn.Identity),
    "sigmoid": Counterpart(nn.Sigmoid),
    "relu": Counterpart(nn.ReLU),
    "tanh": Counterpart(nn.Tanh),
    "leaky_relu": Counterpart(nn.LeakyReLU),
    "elu": Counterpart(nn.ELU, {}, lambda module: module.alpha == 1),
    "gelu": Counterpart(nn.GELU, {}, lambda module: module.approximate == "none"),
    "silu": Counterpart(nn.SiLU),
    "softplus": Counterpart(
        nn.Softplus,
        {"threshold": SOFTPLUS},
        # PyTorch's own threshold of 20 leaves out 2e-9
        lambda module: module.beta == 1 and module.threshold >= 20,
    ),
    "exponential": Counterpart(torch_modules.Exponential),
    "softmax": Counterpart(nn.Softmax, {"dim": -1}, lambda module: module.dim in (None, 1, -1)),
}


# ------------------------------------------------------------------------------------ from PyTorch
def from_torch(module: Module) -> Sequential:
    """Return a Sequential that predicts what a module does in eval mode."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: want a torch.nn.Module, got {type(module).__name__}")
    if any(nn.parameter.is_lazy(one) for one in [*module.parameters(), *module.buffers()]):
        raise ValueError("module: want one that knows its sizes; run a batch through it first")
    tensors = [*module.parameters(), *module.buffers()]
    floats = {str(one.dtype) for one in tensors if one.is_floating_point()}
    with at("module"):
        found = Found(_common.one_dtype(one.removeprefix("torch.") for one in floats))
    _read_all(found, module)
    with at("module"):
        return found.model()


def _read_all(found: Found, module: Module) -> None:
    for place, one in _in_row(module, ""):
        with at(f"{place}: {one!r}".splitlines()[0] if place else "module"):
            _reader(one)(found, one)


def _in_row(module: Module, place: str) -> Iterator[tuple[str, Module]]:
    """Yield the modules of a Sequential, and of those inside it, with their places."""
    if module._forward_pre_hooks or module._forward_hooks:
        raise ValueError(
            f"{place or 'module'}: {type(module).__name__}: want no forward hooks, which may "
            "change what it computes; remove them first (those of torch.nn.utils.weight_norm by "
            "remove_weight_norm, of spectral_norm by remove_spectral_norm, of prune by "
            "prune.remove)"
        )
    if not _is(module, nn.Sequential):
        yield place, module
        return
    for name, one in module._modules.items():
        yield from _in_row(one, f"{place}.{name}" if place else name)


def _is(module: Module, kind: Any) -> bool:
    """Return whether a module computes what those of a class do, of which it may be a subclass."""
    return isinstance(module, kind) and type(module).forward is kind.forward


def _reader(module: Module) -> Callable[[Found, Module], None]:
    for kind, reader in READERS.items():
        if _is(module, kind):
            return reader
    known = ", ".join(sorted(kind.__name__ for kind in READERS))
    raise TypeError(
        f"{type(module).__name__} has no counterpart in fastdnn; want a torch.nn.Sequential of "
        f"{known}"
    )


def _read_activation(found: Found, module: Module) -> None:
    (name,) = (name for name, one in ACTIVATIONS.items() if _is(module, one.kind))
    if not ACTIVATIONS[name].is_it(module):
        raise ValueError(f"fastdnn has no such {name}; want {_activation(name)!r}")
    found.activate(name)


def _read_linear(found: Found, module: Module) -> None:
    n, n_prev = module.weight.shape
    found.takes(n_prev)
    tensors = {"W": _array(module.weight)}
    if module.bias is not None:
        tensors["b"] = _array(module.bias)
    found.add(Dense(n, use_bias=module.bias is not None), **tensors)


def _read_flatten(found: Found, module: Module) -> None:
    if module.start_dim != 1 or module.end_dim != -1:
        raise ValueError("want Flatten(start_dim=1, end_dim=-1), which keeps samples apart")
    found.flatten()


def _read_layer_norm(found: Found, module: Module) -> None:
    (settings, tensors) = _affine(module)
    found.takes(_width(module))
    found.add(LayerNormalization(module.eps, **settings), **tensors)


def _read_rms_norm(found: Found, module: Module) -> None:
    epsilon = torch.finfo(getattr(torch, found.dtype)).eps if module.eps is None else module.eps
    found.takes(_width(module))
    tensors = {} if module.weight is None else {"gamma": _array(module.weight)}
    found.add(RMSNormalization(epsilon), **tensors)


def _width(module: Module) -> int:
    if len(module.normalized_shape) != 1:
        raise ValueError(f"want one axis, got normalized_shape {tuple(module.normalized_shape)}")
    return int(module.normalized_shape[0])


def _read_batch_norm(found: Found, module: Module) -> None:
    if module.running_mean is None:
        raise ValueError("want track_running_stats=True: fastdnn predicts with moving averages")
    if module.momentum is None:
        raise ValueError("want a momentum: fastdnn has no cumulative average")
    (settings, tensors) = _affine(module)
    found.takes(module.num_features)
    found.add(
        BatchNormalization(_complement(module.momentum), module.eps, **settings),
        **tensors,
        moving_mean=_array(module.running_mean),
        moving_variance=_array(module.running_var),
    )


def _affine(module: Module) -> tuple[dict[str, bool], dict[str, Any]]:
    """Return whether there are beta and gamma, and what they are."""
    tensors = {"gamma": module.weight, "beta": module.bias}
    for name, other, plain in (("gamma", "beta", 1), ("beta", "gamma", 0)):
        one, beside = tensors[name], tensors[other]
        # as `_set_affine` leaves one out
        if one is not None and beside is not None and beside.requires_grad > one.requires_grad:
            tensors[name] = None if (one == plain).all() else one
    arrays = {name: _array(one) for name, one in tensors.items() if one is not None}
    return {"center": "beta" in arrays, "scale": "gamma" in arrays}, arrays


def _read_prelu(found: Found, module: Module) -> None:
    if module.num_parameters > 1:
        found.takes(module.num_parameters)
    found.add(PReLU(float(module.init)), alpha=_array(module.weight))


def _read_embedding(found: Found, module: Module) -> None:
    if module.max_norm is not None:
        raise ValueError("want max_norm=None: fastdnn does not bound an embedding's vectors")
    found.look_up(_array(module.weight))


def _read_columns(found: Found, module: Module) -> None:
    found.takes(module.n_prev)
    E = [_array(one.weight) for one in module.E]
    cardinalities, dims = zip(*(one.shape for one in E), strict=True)
    layer = ColumnEmbedding(module.columns, cardinalities, dims)
    found.add(layer, **{f"E{t}": one for t, one in enumerate(E, 1)})


def _read_periodic(found: Found, module: Module) -> None:
    found.takes(module.n_prev)
    layer = PeriodicEmbedding(module.c.shape[1], module.scale, module.columns)
    found.add(layer, c=_array(module.c))


def _read_piecewise(found: Found, module: Module) -> None:
    found.takes(module.n_prev)
    found.add(PiecewiseLinearEmbedding(module.boundaries, module.columns))


def _read_residual(found: Found, module: Module) -> None:
    inner = Found(found.dtype, found.n)
    for name, one in module._modules.items():
        with at(name):
            _read_all(inner, one)
    found.block(inner, Residual(tuple(inner.layers)))


READERS: dict[Any, Callable[[Found, Module], None]] = {
    **{one.kind: _read_activation for one in ACTIVATIONS.values()},
    nn.LeakyReLU: lambda found, module: found.bend(float(module.negative_slope)),
    nn.Linear: _read_linear,
    nn.Dropout: lambda found, module: found.add(Dropout(module.p)),
    nn.Flatten: _read_flatten,
    nn.LayerNorm: _read_layer_norm,
    nn.RMSNorm: _read_rms_norm,
    nn.BatchNorm1d: _read_batch_norm,
    nn.PReLU: _read_prelu,
    nn.Embedding: _read_embedding,
    torch_modules.ColumnEmbedding: _read_columns,
    torch_modules.PeriodicEmbedding: _read_periodic,
    torch_modules.PiecewiseLinearEmbedding: _read_piecewise,
    torch_modules.Residual: _read_residual,
}


# -------------------------------------------------------------------------------------- to PyTorch
def to_torch(model: Sequential) -> Module:
    """Return a torch.nn.Sequential that does what a model predicts."""
    model = _common.still(model, "to_torch")
    assert model.input_size is not None
    return nn.Sequential(*_modules(model.layers, model.input_size, model)).eval()


def _modules(layers: tuple[Layer, ...], n: int, model: Sequential) -> Iterator[Module]:
    for number, layer in enumerate(layers):
        with at(_common.place(number, layer)):
            writer = WRITERS.get(type(layer))
            if writer is None:
                raise _common.no_counterpart("PyTorch", WRITERS)
            yield from writer(layer, n, model)
        n = layer.width(n)


def _activation(name: str) -> Module:
    found = ACTIVATIONS.get(name)
    if found is None:
        raise ValueError(f"PyTorch has no activation {name!r}")
    return found.kind(**found.made_with)


def _write_dense(layer: Dense, n: int, model: Sequential) -> Iterator[Module]:
    # made without its random start, which would move the generator of the user's program
    linear = nn.Linear(n, layer.units, layer.use_bias, device="meta")
    yield _filled(linear, weight=layer.W, bias=layer.b)
    g = _common.named(layer.activation or "identity", "PyTorch")
    if g != "identity":
        yield _activation(g)


def _write_activation(layer: Activation, n: int, model: Sequential) -> Iterator[Module]:
    yield _activation(_common.named(layer.activation, "PyTorch"))


def _write_layer_norm(layer: LayerNormalization, n: int, model: Sequential) -> Iterator[Module]:
    norm = nn.LayerNorm(n, layer.epsilon, layer.scale or layer.center, layer.center)
    yield _set_affine(norm, layer)


def _write_rms_norm(layer: RMSNormalization, n: int, model: Sequential) -> Iterator[Module]:
    yield _filled(nn.RMSNorm(n, layer.epsilon), weight=layer.gamma)


def _write_batch_norm(layer: BatchNormalization, n: int, model: Sequential) -> Iterator[Module]:
    affine = layer.scale or layer.center
    norm = nn.BatchNorm1d(n, layer.epsilon, _complement(layer.momentum), affine)
    _filled(norm, running_mean=layer.moving_mean, running_var=layer.moving_variance)
    yield _set_affine(norm.to(_tensor(model.parameters).dtype), layer)


def _set_affine(module: Module, layer: LayerNormalization | BatchNormalization) -> Module:
    """Set gamma and beta; PyTorch has one that the layer has not, and which is not trained."""
    _filled(module, weight=layer.gamma, bias=layer.beta)
    beside = layer.tensors().get("gamma", layer.beta)
    for name, own in (("weight", layer.gamma), ("bias", layer.beta)):
        given = getattr(module, name)
        if own is None and given is not None:
            given.data = given.data.to(_tensor(beside).dtype)
            given.requires_grad_(False)
    return module


def _write_prelu(layer: PReLU, n: int, model: Sequential) -> Iterator[Module]:
    yield _filled(nn.PReLU(n, layer.alpha_initializer), weight=layer.alpha)


def _write_columns(layer: ColumnEmbedding, n: int, model: Sequential) -> Iterator[Module]:
    yield torch_modules.ColumnEmbedding(n, layer.columns, [_tensor(E) for E in layer.E])


def _write_periodic(layer: PeriodicEmbedding, n: int, model: Sequential) -> Iterator[Module]:
    yield torch_modules.PeriodicEmbedding(n, layer.columns, _tensor(layer.c), layer.scale)


def _write_piecewise(
    layer: PiecewiseLinearEmbedding, n: int, model: Sequential
) -> Iterator[Module]:
    dtype = _tensor(model.parameters).dtype
    yield torch_modules.PiecewiseLinearEmbedding(n, layer.columns, layer.boundaries, dtype)


def _write_residual(layer: Residual, n: int, model: Sequential) -> Iterator[Module]:
    yield torch_modules.Residual(*_modules(layer.layers, n, model))


WRITERS: dict[type[Layer], Callable[[Any, int, Sequential], Iterator[Module]]] = {
    Dense: _write_dense,
    Activation: _write_activation,
    Dropout: lambda layer, n, model: iter([nn.Dropout(layer.rate)]),
    LayerNormalization: _write_layer_norm,
    RMSNormalization: _write_rms_norm,
    BatchNormalization: _write_batch_norm,
    PReLU: _write_prelu,
    ColumnEmbedding: _write_columns,
    PeriodicEmbedding: _write_periodic,
    PiecewiseLinearEmbedding: _write_piecewise,
    Residual: _write_residual,
}


# -------------------------------------------------------------------------------------------- both
def _complement(momentum: float) -> float:
    """Turn Keras's momentum, of what was, into PyTorch's, of what comes; and back."""
    return round(1.0 - momentum, 15)  # or 0.9 would come back as 0.9000000000000001


def _array(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy()


def _tensor(view: Any) -> Any:
    return torch.from_numpy(view.copy())


def _filled(module: Module, **tensors: Any) -> Module:
    """Set parameters and averages to copies; None leaves one as it is."""
    for name, view in tensors.items():
        if view is not None:
            own = _tensor(view)
            is_parameter = name in module._parameters
            setattr(module, name, nn.Parameter(own) if is_parameter else own)
    return module
