"""Whole runs of the textbook's models, replayed in plain NumPy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn import textbook
from tests.equations import (
    Array,
    breast_cancer,
    deep_start,
    digits,
    digits_printed,
    images,
    numpy_forward,
    numpy_model,
    same,
    shallow_start,
    small_job,
)
from tests.kernels.common import LAYOUTS


@pytest.mark.parametrize(
    ("num_iterations", "last"), [(301, 0.65), pytest.param(2500, 0.1, marks=pytest.mark.nightly)]
)
def test_replay_of_the_deep_network_on_images(
    num_iterations: int, last: float, capsys: pytest.CaptureFixture[str]
) -> None:
    X, Y = images()
    dims = [12288, 20, 7, 5, 1]
    assert X.shape == (12288, 209)
    p, costs = textbook.L_layer_model(X, Y, dims, num_iterations=num_iterations, print_cost=True)
    printed = re.findall(r"Cost after iteration (\d+): (\d\.\d{6})\n", capsys.readouterr().out)
    expected_p, expected = numpy_model(X, Y, deep_start(dims), 0.0075, num_iterations)
    assert printed == [(str(100 * i), f"{cost:.6f}") for i, cost in enumerate(expected)]
    assert digits_printed(costs) == digits_printed(expected)
    assert expected[0] > 0.65 >= last > expected[-1]
    for name, value in expected_p.items():
        same(p[name], value, 1e-9)


def test_replay_of_the_shallow_network_on_images() -> None:
    X, Y = images()
    dims = [12288, 7, 1]
    _, costs = textbook.two_layer_model(X, Y, dims, num_iterations=201)
    _, expected = numpy_model(X, Y, shallow_start(dims), 0.0075, 201)
    assert digits_printed(costs) == digits_printed(expected)
    assert costs[-1] < costs[0] - 0.05


RUNS: dict[str, tuple[Any, list[int], float]] = {
    "digits shallow": (digits, [64, 7, 1], 0.1),
    "breast cancer deep": (breast_cancer, [30, 16, 8, 1], 0.05),
    "breast cancer shallow": (breast_cancer, [30, 6, 1], 0.05),
    "breast cancer, one layer": (breast_cancer, [30, 1], 0.05),
}


@pytest.mark.parametrize("name", RUNS)
def test_replay_on_real_data(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, dims, learning_rate = RUNS[name]
    X, Y = data()
    shallow = name.endswith("shallow")
    model = textbook.two_layer_model if shallow else textbook.L_layer_model
    start = shallow_start(dims) if shallow else deep_start(dims)
    p, costs = model(X, Y, dims, learning_rate, num_iterations=2500)
    expected_p, expected = numpy_model(X, Y, start, learning_rate, 2500)
    assert digits_printed(costs) == digits_printed(expected)
    assert costs[-1] < 0.5 * costs[0]
    for key, value in expected_p.items():
        same(p[key], value, 1e-8)
    assert capsys.readouterr().out == ""  # print_cost is off
    row = textbook.predict(X, Y, p)
    accuracy = float(capsys.readouterr().out.removeprefix("Accuracy: "))
    assert accuracy == np.mean(row == Y) == np.mean((numpy_forward(X, p)[0][-1] > 0.5) == Y)
    assert accuracy > 0.97


def test_the_functions_in_a_loop_are_the_model() -> None:
    X, Y = small_job()
    dims = [3, 8, 5, 1]
    p = deep_start(dims)
    for _ in range(150):
        AL, caches = textbook.L_model_forward(X, p)
        p = textbook.update_parameters(p, textbook.L_model_backward(AL, Y, caches), 0.3)
    found, _ = textbook.L_layer_model(X, Y, dims, 0.3, 150)
    assert list(found) == list(p)
    for name, value in p.items():
        assert found[name].shape == value.shape
        same(found[name], value, 1e-11)


@pytest.mark.parametrize(
    ("num_iterations", "recorded"), [(0, 0), (1, 1), (100, 1), (101, 2), (250, 3)]
)
def test_costs_are_recorded_every_hundred_iterations(num_iterations: int, recorded: int) -> None:
    X, Y = small_job()
    p, costs = textbook.L_layer_model(X, Y, [3, 5, 1], num_iterations=num_iterations)
    assert len(costs) == recorded
    assert all(type(cost) is float for cost in costs)
    if num_iterations == 0:
        for name, value in deep_start([3, 5, 1]).items():
            assert np.array_equal(p[name], value)


def test_defaults_are_the_courses() -> None:
    X, Y = small_job()
    for model, start in (
        (textbook.L_layer_model, deep_start),
        (textbook.two_layer_model, shallow_start),
    ):
        _, costs = model(X, Y, [3, 5, 1])
        _, expected = numpy_model(X, Y, start([3, 5, 1]), 0.0075, 3000)
        assert digits_printed(costs) == digits_printed(expected)


def test_float32_stays_float32() -> None:
    X, Y = breast_cancer()
    dims = [30, 6, 1]
    p, costs = textbook.L_layer_model(X.astype(np.float32), Y, dims, 0.05, 301)
    _, expected = textbook.L_layer_model(X, Y, dims, 0.05, 301)
    assert {value.dtype for value in p.values()} == {np.dtype(np.float32)}
    same(costs, expected, 1e-5)
    assert costs != expected
    AL, caches = textbook.L_model_forward(X.astype(np.float32), p)
    grads = textbook.L_model_backward(AL, Y, caches)
    assert {value.dtype for value in (AL, *grads.values())} == {np.dtype(np.float32)}
    assert textbook.L_model_forward(X, p)[0].dtype == np.float64  # one float64 array is enough


SAME: dict[str, Callable[[Array], Any]] = {
    **LAYOUTS,
    "int": lambda x: x.astype(np.int64),
    "list": lambda x: x.tolist(),
}


@pytest.mark.parametrize("layout", SAME)
def test_the_layout_of_the_data_changes_nothing(layout: str) -> None:
    X, Y = small_job()
    X = np.round(4 * X)
    expected, _ = textbook.L_layer_model(X, Y, [3, 4, 1], num_iterations=20)
    found, _ = textbook.L_layer_model(SAME[layout](X), Y, [3, 4, 1], num_iterations=20)
    for name, value in expected.items():
        assert found[name].tobytes() == value.tobytes()


def test_predictions_of_new_samples_need_no_labels(capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = small_job()
    p, _ = textbook.L_layer_model(X, Y, [3, 4, 1], num_iterations=20)
    wanted = textbook.predict(X, Y, p)
    assert capsys.readouterr().out.startswith("Accuracy: ")
    for row in (textbook.predict(X, None, p), textbook.predict(X, parameters=p)):
        assert np.array_equal(row, wanted)
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match=r"^parameters: W1 is missing"):
        textbook.predict(X, Y)


def test_labels_may_be_integers_and_booleans() -> None:
    X, Y = small_job()
    expected = textbook.L_layer_model(X, Y, [3, 4, 1], num_iterations=20)[1]
    for labels in (Y.astype(np.int64), Y == 1, Y.tolist()):
        assert textbook.L_layer_model(X, labels, [3, 4, 1], num_iterations=20)[1] == expected


def test_arguments_are_left_as_they_are() -> None:
    X, Y = small_job()
    x, y = X.copy(), Y.copy()
    dims = [3, 4, 1]
    p, _ = textbook.L_layer_model(X, Y, dims, num_iterations=5)
    before = {name: value.copy() for name, value in p.items()}
    textbook.predict(X, Y, p)
    assert np.array_equal(X, x)
    assert np.array_equal(Y, y)
    assert dims == [3, 4, 1]
    assert all(np.array_equal(value, before[name]) for name, value in p.items())


@pytest.mark.usefixtures("awake_threads")
def test_any_number_of_threads_and_the_global_generator() -> None:
    X, Y = breast_cancer()
    dims = [30, 64, 20, 1]
    before = repr(np.random.get_state())  # noqa: NPY002 - it must stay as it is
    runs = []
    for n_threads in (1, 2, 3):
        with fastdnn.num_threads(n_threads):
            p, costs = textbook.L_layer_model(X, Y, dims, 0.05, 201)
            AL, caches = textbook.L_model_forward(X, p)
            grads = textbook.L_model_backward(AL, Y, caches)
            arrays = [AL, *p.values(), *grads.values()]
            runs.append((costs, [array.tobytes() for array in arrays]))
    assert runs[0] == runs[1] == runs[2]
    assert repr(np.random.get_state()) == before  # noqa: NPY002
    np.random.seed(9)  # noqa: NPY002 - nor may it matter
    assert textbook.L_layer_model(X, Y, dims, 0.05, 201)[1] == runs[0][0]
