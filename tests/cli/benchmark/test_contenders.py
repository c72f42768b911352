import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fastdnn.cli.benchmark import contenders
from fastdnn.cli.benchmark.contenders import CASES, CONTENDERS, Case, Work
from fastdnn.cli.benchmark.race import why_not

# What torch imports to compile warns of torch itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")

SAME_START = [name for name in CONTENDERS if name != "sklearn"]  # which draws its own
OTHERS = [name for name in SAME_START if name != "numpy"]
# The compiled loop is torch's, and each loss takes seconds to compile: one case of it is enough.
EPOCHS = [
    (name, activation, optimizer)
    for name in OTHERS
    for activation in ("relu", "tanh")
    for optimizer in ("adam", "sgd")
    if name != "torch_compile" or (activation, optimizer) == ("tanh", "adam")
]
# In float64 the orders of summation differ by about 1e-16. Adam divides by the root of the second
# moment plus 1e-8, so where a gradient is as small as its rounding the step moves by up to
# 1e-16 / 1e-8 * 0.001 = 1e-11, and later steps build on it.
TOLERANCE = 1e-9


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Work]]:
    """Work on a case of ten steps, made for the test."""
    monkeypatch.setenv("XLA_FLAGS", "")  # JAX's builder sets it
    before = torch_threads()

    def make(outputs: int, activation: str, optimizer: str = "adam") -> Work:
        monkeypatch.setitem(CASES, "small", Case((5, 9, 7, outputs), 8, 80, activation))
        return Work("small", optimizer, "float64", threads=1)

    yield make
    if before is not None:
        import torch

        torch.set_num_threads(before)


def torch_threads() -> int | None:
    if why_not("torch") is not None:
        return None
    import torch

    threads: int = torch.get_num_threads()
    return threads


def built(name: str, work: Work) -> contenders.Network:
    reason = why_not(name)
    if reason is not None:
        pytest.skip(reason)
    if name == "torch_compile" and shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("torch.compile needs a C++ compiler: apt-get install g++")
    return CONTENDERS[name](work)


def copies(network: contenders.Network) -> list[Any]:
    return [np.array(x) for x in network.weights()]


@pytest.mark.parametrize("name", SAME_START)
def test_all_start_from_the_same_parameters(name: str, small: Callable[..., Work]) -> None:
    work = small(4, "relu")
    wanted = [x for pair in contenders.start(work) for x in pair]
    found = copies(built(name, work))
    assert [x.dtype for x in found] == [np.float64] * 6
    for x, y in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(("name", "activation", "optimizer"), EPOCHS)
@pytest.mark.parametrize("outputs", [1, 4])
def test_an_epoch_computes_what_numpy_does(
    name: str, outputs: int, activation: str, optimizer: str, small: Callable[..., Work]
) -> None:
    work = small(outputs, activation, optimizer)
    network, specification = built(name, work), CONTENDERS["numpy"](work)
    start = copies(specification)
    network.epoch()
    specification.epoch()
    for x, y, before in zip(copies(network), copies(specification), start, strict=True):
        assert np.abs(y - before).max() > 1e4 * TOLERANCE, "nothing was trained"
        np.testing.assert_allclose(x, y, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_sklearn_learns_and_is_deterministic(optimizer: str, small: Callable[..., Work]) -> None:
    work = small(4, "relu", optimizer)
    one, two = (built("sklearn", work) for _ in range(2))
    losses = [one.epoch().loss_ for _ in range(20)]
    assert losses[-1] < losses[0]
    for _ in range(20):
        two.epoch()
    for x, y in zip(copies(one), copies(two), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", CASES)
def test_cases_have_whole_batches(name: str) -> None:
    """JAX's scan wants them: else it would train fewer samples than the others."""
    assert CASES[name].samples % CASES[name].batch == 0
    assert Work(name).steps == CASES[name].samples // CASES[name].batch


def test_work_with_fewer_samples() -> None:
    work = Work("digits", samples=500)
    assert work.net == CASES["digits"]._replace(samples=500)
    assert work.steps == 3
    X, labels = contenders.data(work)
    assert X.shape == (500, 64)
    assert X.dtype == np.float32
    assert set(labels) == set(range(10))


def answers(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_serve_answers_each_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs = []
    monkeypatch.setattr("sys.stdin", io.StringIO("go\ngo\n"))
    monkeypatch.setattr(contenders, "SHORTEST", 1e-9)
    contenders.serve(lambda: (lambda: epochs.append(1), "1.2.3"))
    first, *rest = answers(capsys.readouterr().out)
    assert first.keys() == {"first", "version"}
    assert first["version"] == "1.2.3"
    assert [answer.keys() for answer in rest] == [{"seconds"}] * 2
    assert len(epochs) >= 3


@pytest.mark.parametrize("where", ["build", "epoch"])
def test_serve_says_what_fails(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> Any:
        raise OSError("no such library")

    contenders.serve(fail if where == "build" else lambda: (fail, "1"))
    assert answers(capsys.readouterr().out) == [{"error": "OSError: no such library"}]
