"""Modules of PyTorch made Sequentials, and the other way round, compared with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import Activation, ColumnEmbedding, Dense, Dropout, PReLU, Sequential
from fastdnn.kernels import ACTIVATIONS
from tests.interop import cases
from tests.interop.cases import DTYPES, LAYERS, activated, assert_close, assert_same, net

torch = pytest.importorskip("torch", reason="these modules are PyTorch's: pip install torch")
torch.set_num_threads(1)  # others would wait beside fastdnn's, on the same cores
nn = torch.nn
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def outputs(module: Any, X: Any) -> Any:
    with torch.no_grad():
        return module(torch.from_numpy(np.ascontiguousarray(X))).numpy()


def test_every_entry_of_the_tables_has_its_counterpart() -> None:
    from fastdnn.interop import pytorch

    missing = set(ACTIVATIONS) ^ set(pytorch.ACTIVATIONS)
    assert not missing, cases.hint("ACTIVATIONS of pytorch.py", missing)
    missing = cases.kinds() ^ {kind.__name__ for kind in pytorch.WRITERS}
    assert not missing, cases.hint("WRITERS and READERS of pytorch.py", missing)
    assert cases.kinds() == cases.named_in(LAYERS), "tests/interop/cases.py: LAYERS"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_to_pytorch_and_back(name: str, dtype: str) -> None:
    model, X = net(name, dtype)
    module = model.to_torch()
    assert not module.training
    assert all(not one.training for one in module.modules())
    want = model.predict(X)
    got = outputs(module, X)
    assert got.dtype == want.dtype
    assert_close(got, want, TOLERANCE[dtype])
    assert_close(outputs(module, X[:1]), want[:1], TOLERANCE[dtype])
    before = [one.clone() for one in module.parameters()]
    back = fastdnn.from_torch(module)
    if name != "Dense, with a penalty":  # which no module has
        assert_same(back, plain(model))
    assert np.array_equal(back.predict(X), want)
    back.parameters[...] = 0  # a copy
    model.parameters[...] = 0
    assert all(torch.equal(*pair) for pair in zip(before, module.parameters(), strict=True))


def plain(model: Sequential) -> Sequential:
    """The model with the activations inside their Dense, as `from_torch` puts them."""
    layers: list[Any] = []
    for layer in model.layers:
        if isinstance(layer, Activation) and layers and repr(layers[-1]) == "Dense(3)":
            layers[-1] = Dense(3, layer.activation)
        else:
            layers.append(layer.unplaced())
    other = Sequential(layers, input_size=model.input_size, dtype=model.dtype.name)
    other.set_weights(model.get_weights())
    return other


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_to_pytorch_and_back(name: str, alone: bool, dtype: str) -> None:
    model, X = activated(name, dtype, alone=alone)
    module = model.to_torch()
    assert_close(outputs(module, X), model.predict(X), TOLERANCE[dtype])
    back = fastdnn.from_torch(module)
    assert_close(back.predict(X), outputs(module, X), TOLERANCE[dtype])
    assert_same(back, model)


FROM: dict[str, Callable[[], Any]] = {
    "a Linear": lambda: nn.Linear(4, 3),
    "nested": lambda: nn.Sequential(
        nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.ReLU())), nn.Linear(5, 3)
    ),
    "no bias": lambda: nn.Sequential(
        nn.Linear(4, 5, bias=False), nn.Tanh(), nn.Linear(5, 3, bias=False)
    ),
    "flat": lambda: nn.Sequential(nn.Flatten(), nn.Identity(), nn.Linear(4, 3), nn.Softmax(dim=1)),
    "dropout": lambda: nn.Sequential(
        nn.Dropout(0.5), nn.Linear(4, 5), nn.Dropout(), nn.SiLU(), nn.Linear(5, 3)
    ),
    "norms": lambda: nn.Sequential(
        nn.LayerNorm(4), nn.Linear(4, 5), nn.RMSNorm(5), nn.GELU(), nn.Linear(5, 3)
    ),
    "norms, plain": lambda: nn.Sequential(
        nn.LayerNorm([4], elementwise_affine=False),
        nn.Linear(4, 5),
        nn.RMSNorm(5, elementwise_affine=False),
        nn.LayerNorm(5, bias=False),
        nn.Linear(5, 3),
    ),
    "batch norms": lambda: nn.Sequential(
        nn.BatchNorm1d(4), nn.Linear(4, 5), nn.BatchNorm1d(5, affine=False, momentum=0.3)
    ),
    "slopes": lambda: nn.Sequential(
        nn.LeakyReLU(0.2), nn.Linear(4, 5), nn.PReLU(), nn.Linear(5, 5), nn.PReLU(5, 0.4)
    ),
    "softplus": lambda: nn.Sequential(nn.Linear(4, 5), nn.Softplus(), nn.Linear(5, 3), nn.ELU()),
    "a weight norm": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))),
    "one layer twice": lambda: nn.Sequential(*[nn.Linear(4, 4), nn.ReLU()] * 2),
    "a subclass": lambda: type("Net", (nn.Sequential,), {})(nn.Linear(4, 3), nn.ReLU()),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FROM)
def test_from_torch_predicts_what_eval_does(name: str, dtype: str) -> None:
    torch.manual_seed(0)
    module = FROM[name]().to(getattr(torch, dtype))
    X = np.random.default_rng(0).normal([-3, -1, 1, 3], size=(31, 4)).astype(dtype)
    module.train()
    with torch.no_grad():
        for one in module.parameters():
            one.add_(0.1)
        module(torch.from_numpy(3 * X + 1))  # the averages move
    model = fastdnn.from_torch(module)
    assert module.training
    assert not hasattr(model, "loss")
    assert model.dtype == dtype
    assert_close(model.predict(X), outputs(module.eval(), X), TOLERANCE[dtype])
    before = model.parameters.copy()
    with torch.no_grad():
        for one in module.parameters():
            one.zero_()
    assert np.array_equal(model.parameters, before)


def test_settings_are_taken_over() -> None:
    module = nn.Sequential(
        nn.Linear(4, 5), nn.ReLU(), nn.Dropout(0.25), nn.BatchNorm1d(5, 0.5, 0.1), nn.PReLU(5, 0.5),
        nn.RMSNorm(5), nn.LeakyReLU(0.2), nn.Linear(5, 3), nn.LeakyReLU(),
    )  # fmt: skip
    layers = fastdnn.from_torch(module).layers
    assert list(map(repr, layers)) == [
        "Dense(5, 'relu')",
        "Dropout(0.25)",
        "BatchNormalization(momentum=0.9, epsilon=0.5)",
        "PReLU(alpha_initializer=0.5)",
        f"RMSNormalization(epsilon={np.finfo(np.float32).eps})",
        "PReLU(alpha_initializer=0.2)",
        "Dense(3, 'leaky_relu')",
    ]
    assert isinstance(layers[0], Dense)
    assert layers[0].kernel_initializer == "he_normal"


@pytest.mark.parametrize("count", [1, 3])
def test_an_embedding_is_one_of_each_column(count: int) -> None:
    torch.manual_seed(0)
    layers = [nn.Embedding(10, 4, padding_idx=0), nn.Flatten(), nn.Linear(4 * count, 3)]
    X = np.random.default_rng(0).integers(0, 10, (20, count))
    module = nn.Sequential(*layers)
    model = fastdnn.from_torch(module)
    assert isinstance(model.layers[0], ColumnEmbedding)
    assert model.input_size == count
    assert_close(model.predict(X), outputs(module, X), 1e-6)


def test_an_embedding_of_numbers_alone_needs_no_flatten() -> None:
    module = nn.Sequential(nn.Embedding(10, 4), nn.ReLU(), nn.Linear(4, 3))
    X = np.arange(10)
    model = fastdnn.from_torch(module)
    assert_close(model.predict(X[:, None]), outputs(module, X), 1e-6)


def hooked(whole: bool = False) -> Any:
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    if whole:
        module.register_forward_pre_hook(lambda module, given: given)
    else:
        module[1].register_forward_hook(lambda module, given, made: 2 * made)
    return module


E_FIRST = "want an embedding first"
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no module": (lambda: 3, TypeError, "module: want a torch.nn.Module, got int"),
    "a class": (lambda: nn.Linear, TypeError, "module: want a torch.nn.Module, got type"),
    "a convolution": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(3, 8, 3))),
        TypeError,
        r"1.1: Conv2d\(3, 8, .*: Conv2d has no counterpart in fastdnn; want .*BatchNorm1d, .*Tanh",
    ),
    "an own forward": (
        lambda: type("Net", (nn.Linear,), {"forward": lambda self, X: 2 * X})(4, 3),
        TypeError,
        "module: Net has no counterpart",
    ),
    "SELU": (lambda: nn.Sequential(nn.Linear(4, 3), nn.SELU()), TypeError, r"1: SELU\(\): SELU"),
    "gelu's tanh": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.GELU("tanh")),
        ValueError,
        r"1: GELU\(approximate='tanh'\): fastdnn has no such gelu; want GELU\(approximate='none'\)",
    ),
    "elu's alpha": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.ELU(2)),
        ValueError,
        "1: ELU.* no such elu",
    ),
    "softplus's beta": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Softplus(2)),
        ValueError,
        "1: Softplus",
    ),
    "softplus's threshold": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Softplus(1, 5)),
        ValueError,
        "1: Soft",
    ),
    "softmax of samples": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Softmax(0)),
        ValueError,
        "1: Softmax",
    ),
    "flatten of samples": (
        lambda: nn.Sequential(nn.Flatten(0), nn.Linear(4, 3)),
        ValueError,
        "0: Flatten.*start_dim=1",
    ),
    "a norm of two axes": (
        lambda: nn.Sequential(nn.LayerNorm([2, 4]), nn.Linear(4, 3)),
        ValueError,
        "0: LayerNorm.* one axis",
    ),
    "no averages": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)),
        ValueError,
        "1: BatchNorm1d.*track_running_stats=True",
    ),
    "a cumulative average": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=None)),
        ValueError,
        "1: BatchNorm1d.* want a momentum",
    ),
    "all dropped": (
        lambda: nn.Sequential(nn.Dropout(1.0), nn.Linear(4, 3)),
        ValueError,
        r"0: Dropout.*in \[0, 1\)",
    ),
    "unknown sizes": (
        lambda: nn.Sequential(nn.LazyLinear(3)),
        ValueError,
        "module: .*run a batch through",
    ),
    "sizes that differ": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2)),
        ValueError,
        "1: Linear.*takes 5 numbers, and the layer before gives 3",
    ),
    "float16": (
        lambda: nn.Linear(4, 3).half(),
        ValueError,
        "module: want .*float32 or float64, got float16",
    ),
    "two dtypes": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2).double()),
        ValueError,
        "module: .*got float32, float64",
    ),
    "nothing": (lambda: nn.Sequential(), ValueError, "module: want parameters"),
    "no Linear": (lambda: nn.LayerNorm(3), ValueError, "module: layers: want at least one Dense"),
    "dropout last": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout()),
        ValueError,
        "module: layers: want another last",
    ),
    "bounded vectors": (
        lambda: nn.Sequential(nn.Embedding(9, 4, max_norm=1.0), nn.Linear(4, 3)),
        ValueError,
        "0: Embedding.*max_norm=None",
    ),
    "a late embedding": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Embedding(9, 4)),
        ValueError,
        f"1: Embedding.*{E_FIRST}",
    ),
    "vectors in a row": (
        lambda: nn.Sequential(nn.Embedding(9, 4), nn.Linear(8, 3)),
        ValueError,
        "1: Linear.*which nothing flattens",
    ),
    "an embedding alone": (
        lambda: nn.Sequential(nn.Embedding(9, 4), nn.Flatten()),
        ValueError,
        "module: want a layer behind the embedding",
    ),
    "a hook": (lambda: hooked(), ValueError, "1: ReLU: want no forward hooks.*weight_norm"),
    "a hook of the whole": (
        lambda: hooked(whole=True),
        ValueError,
        "module: Sequential: want no forward hooks",
    ),
    "a part of a vector": (
        lambda: nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(9, 3)),
        ValueError,
        "2: Linear.*vectors of 4",
    ),
    "softmax of a vector": (
        lambda: nn.Sequential(nn.Embedding(9, 4), nn.Softmax(-1), nn.Flatten(), nn.Linear(8, 3)),
        ValueError,
        "1: Softmax.*flattened",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_has_no_counterpart_is_named(name: str) -> None:
    make, error, message = WRONG[name]
    with pytest.raises(error, match=f"^{message}"):
        fastdnn.from_torch(make())


def test_parameters_that_are_not_finite_are_refused() -> None:
    module = nn.Linear(4, 3)
    module.weight.data[1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"^module: W.*nan"):
        fastdnn.from_torch(module)


def test_gradients_flow_through_every_parameter() -> None:
    model, X = net("together", "float64")
    module = model.to_torch()
    module.train()
    given = torch.from_numpy(X)
    optimizer = torch.optim.SGD(module.parameters(), 0.01)
    module(given)[:, 0].sum().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in module.parameters())
    optimizer.step()
    assert not np.array_equal(fastdnn.from_torch(module).parameters, model.parameters)


def test_the_generator_of_pytorch_is_left_alone() -> None:
    model, _ = net("together", "float32")
    state = torch.get_rng_state()
    model.to_torch()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_state_dict_has_pytorchs_names() -> None:
    model = Sequential([Dense(5, "relu"), Dropout(0.1), Dense(3)], input_size=4)
    assert list(model.to_torch().state_dict()) == ["0.weight", "0.bias", "3.weight", "3.bias"]


def test_what_pytorch_cannot_have_is_named() -> None:
    own = fastdnn.ScalarActivation(lambda z: z, lambda z: 1.0, name="mine")
    model = Sequential([Dense(3), fastdnn.Residual([PReLU(), Activation(own)])], input_size=4)
    message = r"layers\[1\], Residual: layers\[1\], Activation: .*'mine'.* your own, which PyTorch"
    with pytest.raises(ValueError, match=message):
        model.to_torch()
    with pytest.raises(RuntimeError, match="no parameters yet"):
        Sequential([Dense(3)]).to_torch()


class Own(Dense):
    """A layer of a user's own."""


def test_a_layer_of_a_users_own_is_named() -> None:
    with pytest.raises(ValueError, match=r"^layers\[0\], Own: PyTorch has none; want Activation, "):
        Sequential([Own(3)], input_size=4).to_torch()
