"""``asv_bench/estimators.py``: both libraries are timed, and the search with one job and two."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from sklearn.neural_network import MLPClassifier

from tests.benchfiles import bench_module


def test_both_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bench = bench_module("estimators")
    monkeypatch.setattr(bench, "GRID", {"alpha": [1e-4, 1e-3]})
    monkeypatch.setattr(bench, "CASES", {"digits": (bench._digits, 2)})
    monkeypatch.setattr(sys, "argv", ["estimators.py", "--cases", "digits", "--rounds", "1"])
    timed = bench.seconds

    def seconds(estimator: Any, X: Any, y: Any) -> float:
        assert timed(estimator, X, y) > 0
        return 0.75 if isinstance(estimator, MLPClassifier) else 0.25

    monkeypatch.setattr(bench, "seconds", seconds)
    bench.main()
    lines = capsys.readouterr().out.splitlines()
    (times,) = [line for line in lines if line.startswith("| digits")]
    assert list(map(float, times.split("|")[3:6])) == [0.75, 0.25, 3.0]
    assert [line.split("|")[1].strip() for line in lines[-3:]] == ["1", "2", "2"]
    assert min(float(line.split("|")[3]) for line in lines[-3:]) > 0
