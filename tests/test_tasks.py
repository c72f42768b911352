"""``asv_bench/tasks.py``: the tasks, the networks, and the table."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import fastdnn
from tests.benchfiles import bench_module

bench = bench_module("tasks")


def test_the_tasks_are_as_they_say() -> None:
    assert len(bench.TASKS) >= 10
    with_categories = 0
    for name, make in bench.TASKS.items():
        X, y, C = task = make()
        assert X.ndim == 2, name
        assert y.shape == (len(X),), name
        assert np.isfinite(X).all(), name
        if not task.is_regression:
            assert set(y) == set(range(int(y.max()) + 1)), name
        if C is not None:
            with_categories += 1
            assert C.shape[0] == len(X)
            assert C.max() >= 59  # many values
    assert with_categories == 2


@pytest.mark.parametrize("network", [*bench.NETWORKS, bench.EMBEDDED])
def test_each_network_is_trained_on_one_part_and_scored_on_the_other(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "EPOCHS", 3)
    given: dict[str, Any] = {}

    def spy(name: str) -> None:
        original = getattr(fastdnn.Sequential, name)

        def call(self: fastdnn.Sequential, X: Any, *rest: Any, **settings: Any) -> Any:
            given[name], given["model"] = X, self
            return original(self, X, *rest, **settings)

        monkeypatch.setattr(fastdnn.Sequential, name, call)

    spy("fit")
    spy("evaluate")
    rng = np.random.default_rng(0)
    C = rng.integers(0, 5, (400, 1))
    X = np.column_stack([rng.normal(size=(400, 2)), np.ones(400)])
    task = bench.Task(X, X[:, 0] + np.arange(5.0)[C[:, 0]], C)
    found = bench.score(task, network, 0)
    assert -1 < found < 1
    train, test = given["fit"], given["evaluate"]
    assert (len(train), len(test)) == (300, 100)
    assert not {tuple(row) for row in train} & {tuple(row) for row in test}
    np.testing.assert_allclose(train[:, :2].mean(axis=0), 0, atol=1e-9)  # its scale alone is known
    assert abs(test[:, 0].mean()) > 1e-6
    layers = {type(layer).__name__ for layer in given["model"].layers}
    wanted = {
        "batch": "BatchNormalization",
        "layer": "LayerNormalization",
        "residual": "Residual",
        "periodic": "PeriodicEmbedding",
        "piecewise": "PiecewiseLinearEmbedding",
        bench.EMBEDDED: "ColumnEmbedding",
    }
    assert layers >= ({wanted[network]} if network in wanted else {"Dense"})
    assert train.shape[1] == (4 if network == bench.EMBEDDED else 3 + 5)


def test_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def score(task: Any, network: str, seed: int) -> float:
        return 0.5 + 0.25 * seed

    monkeypatch.setattr(bench, "score", score)
    monkeypatch.setattr(sys, "argv", ["tasks.py", "--tasks", "iris,towns", "--seeds", "2"])
    bench.main()
    head, _, iris, towns = capsys.readouterr().out.splitlines()
    assert head.split("|")[1:4] == [" task ", " score ", " dense "]
    cell = " 0.625 ± 0.125 "
    assert iris.split("|")[1:-1] == [" iris ", " accuracy ", *[cell] * 6, "  "]
    assert towns.split("|")[1:-1] == [" towns ", " R2 ", *[cell] * 7]
