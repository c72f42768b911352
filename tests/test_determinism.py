"""The same parameters, bit for bit: with any number of threads, in any process, however timed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import loop
from fastdnn.activations import ACTIVATIONS
from fastdnn.optimizers import OPTIMIZERS
from tests.cases import OPTIMIZER_SETTINGS, name_of

pytestmark = pytest.mark.usefixtures("awake_threads")

# A step too small to share, one that is not, and more than one block of rows and of depth in the
# forward and the backward products.
WIDTHS = {"tiny": (3, 5, 5, 2), "small": (20, 64, 33, 3), "blocked": (130, 300, 270, 10)}
BATCH = {"tiny": 7, "small": 65, "blocked": 270}
CLIPPING: list[dict[str, float]] = [{"clipnorm": 0.1}, {"global_clipnorm": 0.1}]


def data(widths: tuple[int, ...], m: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(m, widths[0])), rng.integers(widths[-1], size=m)


def trained(
    name: str,
    settings: dict[str, Any],
    net: str,
    *,
    dtype: str = "float32",
    n_threads: int = 2,
    activation: str = "relu",
    seed: int = 5,
) -> fastdnn.Sequential:
    """A model after two epochs with dropout, shuffling, weights and a smaller last batch."""
    *hidden, n_classes = WIDTHS[net][1:]
    layers: list[Any] = [fastdnn.Dropout(0.1)]
    for n in hidden:
        regularizer = fastdnn.L1L2(1e-4, 1e-3)
        layers += [fastdnn.Dense(n, activation, kernel_regularizer=regularizer)]
        layers += [fastdnn.Dropout(0.3)]
    layers += [fastdnn.Dense(n_classes, "softmax")]
    model = fastdnn.Sequential(layers, input_size=WIDTHS[net][0], dtype=dtype, seed=seed)
    model.compile(OPTIMIZERS[name](**settings), "sparse_categorical_crossentropy")
    X, y = data(WIDTHS[net], (20 if net == "tiny" else 1) * BATCH[net] + BATCH[net] // 3)
    weights = np.linspace(0.5, 1.5, len(X))
    with fastdnn.num_threads(n_threads):
        model.fit(X, y, epochs=2, batch_size=BATCH[net], sample_weight=weights, verbose=0)
    return model


def digest(model: fastdnn.Sequential) -> str:
    return hashlib.sha256(model.parameters.tobytes()).hexdigest()


@pytest.mark.parametrize("net", WIDTHS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "settings"), OPTIMIZER_SETTINGS, ids=name_of)
def test_any_number_of_threads(name: str, settings: dict[str, Any], dtype: str, net: str) -> None:
    one, two, three = (
        trained(name, settings, net, dtype=dtype, n_threads=n_threads).parameters
        for n_threads in (1, 2, 3)
    )
    assert np.isfinite(one).all()
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() == three.tobytes()


@pytest.mark.parametrize("net", WIDTHS)
@pytest.mark.parametrize("clipping", CLIPPING, ids=name_of)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_number_of_threads_with_clipping(
    name: str, clipping: dict[str, float], net: str
) -> None:
    bits = {digest(trained(name, clipping, net, n_threads=n)) for n in (1, 2, 3)}
    assert len(bits) == 1


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_any_number_of_threads_with_every_activation(activation: str) -> None:
    bits = {
        digest(trained("adam", {}, "blocked", n_threads=n, activation=activation))
        for n in (1, 2, 3)
    }
    assert len(bits) == 1


@pytest.mark.parametrize("n_threads", [2, 3])
def test_outputs_losses_and_gradients_with_any_number_of_threads(n_threads: int) -> None:
    model = trained("sgd", {}, "blocked")
    X, y = data(WIDTHS["blocked"], 257)

    def results() -> list[Any]:
        loss, gradients = model.loss_and_gradients(X, y)
        arrays = [model.predict(X), *(part for pair in gradients for part in pair)]
        return [loss, model.evaluate(X, y), *(array.tobytes() for array in arrays)]

    with fastdnn.num_threads(1):
        expected = results()
    with fastdnn.num_threads(n_threads):
        assert results() == expected


@pytest.mark.parametrize("net", WIDTHS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_again_in_this_process(name: str, net: str) -> None:
    first, second = (digest(trained(name, {}, net)) for _ in range(2))
    assert first == second


def test_another_seed_is_another_model() -> None:
    assert digest(trained("adam", {}, "small")) != digest(trained("adam", {}, "small", seed=6))


def test_the_global_generator_changes_nothing_and_is_left_alone() -> None:
    np.random.seed(0)  # noqa: NPY002 - this is the generator that must not matter
    first = digest(trained("adam", {}, "small"))
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert digest(trained("adam", {}, "small")) == first


@pytest.mark.parametrize("seconds", [0.0, 1e-4, 1e9])
def test_the_length_of_a_slice_changes_nothing(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 is a native call for every step, 1e9 s one for every epoch."""
    expected = trained("adam", {}, "tiny")
    monkeypatch.setattr(loop, "SLICE_SECONDS", seconds)
    sliced = trained("adam", {}, "tiny")
    assert sliced.parameters.tobytes() == expected.parameters.tobytes()
    assert sliced.history.history["loss"] == pytest.approx(expected.history.history["loss"])


@pytest.mark.parametrize("n_threads", [1, 3])
def test_in_another_process(n_threads: int) -> None:
    program = (
        "from tests.test_determinism import digest, trained\n"
        "for net in ('small', 'blocked'):\n"
        f"    print(digest(trained('adam', {{}}, net, n_threads={n_threads})))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [digest(trained("adam", {}, net)) for net in ("small", "blocked")]
