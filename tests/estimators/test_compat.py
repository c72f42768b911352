"""scikit-learn's versions: its callbacks, where it has them, and the check of the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastdnn
from fastdnn.estimators import _compat
from tests.estimators.common import KINDS, parameters_of, quietly, small, weights

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
if not _compat.HAS_CALLBACKS:
    pytest.skip("scikit-learn has callbacks from 1.9 on", allow_module_level=True)

from sklearn.callback import ProgressBar, ScoringMonitor  # noqa: E402


class Recorder:
    """A callback of scikit-learn that notes its calls, and stops after an epoch."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.stop_after = stop_after
        self.calls: list[tuple[Any, ...]] = []
        self.copies: list[Any] = []
        self.outputs: list[Any] = []

    def setup(self, estimator: Any, context: Any) -> None:
        self.calls.append(("setup", context.task_name, context.max_subtasks))

    def teardown(self, estimator: Any, context: Any) -> None:
        self.calls.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.calls.append(("begin", context.task_name))

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any, y: Any, metadata: Any, fitted_estimator: Any
    ) -> bool:
        self.calls.append(("end", context.task_name))
        self.given = X, y, metadata
        if context.task_name != "fit":
            self.copies.append(fitted_estimator)
            self.outputs.append(fitted_estimator.predict(X))
        return len(self.copies) >= self.stop_after


def calls_of(epochs: int, most: int) -> list[tuple[Any, ...]]:
    """What a fit of some epochs calls."""
    each = [(when, f"epoch {i}") for i in range(epochs) for when in ("begin", "end")]
    return [
        ("setup", "fit", most), ("begin", "fit"), *each, ("end", "fit"), ("teardown", "fit"),
    ]  # fmt: skip


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_one_task_for_each_epoch(kind: str, solver: str) -> None:
    X, y = small()
    one = KINDS[kind][0](hidden_layer_sizes=(5,), max_iter=4, random_state=0, solver=solver)
    plain = clone(one).fit(X, y, weights(60))
    recorder = Recorder()
    one.set_callbacks(recorder).fit(X, y, weights(60))
    assert recorder.calls == calls_of(4, 4)
    assert recorder.given[0] is X
    assert recorder.given[1] is y
    np.testing.assert_array_equal(recorder.given[2]["sample_weight"], weights(60))
    # neither the copies nor what they did disturbed the training
    np.testing.assert_array_equal(parameters_of(one), parameters_of(plain))
    for epochs, (copy, outputs) in enumerate(
        zip(recorder.copies, recorder.outputs, strict=True), 1
    ):
        so_far = clone(plain).set_params(max_iter=epochs).fit(X, y, weights(60))
        np.testing.assert_array_equal(outputs, so_far.predict(X))
        np.testing.assert_array_equal(copy.predict(X), so_far.predict(X))


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_callback_ends_the_training(solver: str) -> None:
    X, y = small()
    recorder = Recorder(stop_after=3)
    one = fastdnn.MLPRegressor(
        hidden_layer_sizes=(5,), max_iter=50, random_state=0, solver=solver
    ).set_callbacks(recorder)
    one.fit(X, y)
    assert one.n_iter_ == len(one.loss_curve_) == 3
    assert recorder.calls == calls_of(3, 50)
    np.testing.assert_array_equal(one.predict(X), recorder.outputs[-1])


def test_partial_fit_is_one_task() -> None:
    X, y = small()
    recorder = Recorder()
    one = fastdnn.MLPClassifier((5,), max_iter=4).set_callbacks(recorder)
    for _ in range(2):
        recorder.calls.clear()
        one.partial_fit(X, y, classes=[0, 1])
        assert recorder.calls == calls_of(1, 1)


def test_teardown_follows_an_error() -> None:
    X, y = small()
    recorder = Recorder()
    one = fastdnn.MLPClassifier((5,), max_iter=4, alpha=-1.0).set_callbacks(recorder)
    with pytest.raises(ValueError, match="alpha"):
        one.fit(X, y)
    assert recorder.calls == []
    one.set_params(alpha=0.0, activation="identity", solver="sgd", learning_rate_init=1e200)
    with pytest.raises(ValueError, match="non-finite"):
        one.fit(1e9 * X, y)
    assert recorder.calls[0] == ("setup", "fit", 4)
    assert recorder.calls[-1] == ("teardown", "fit")


def test_scoring_monitor_and_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich", reason="scikit-learn's progress bar is made by rich")
    X, y = small()
    monitor = ScoringMonitor(scoring="accuracy")
    one = fastdnn.MLPClassifier((5,), max_iter=6, random_state=0)
    scores = [clone(one).set_params(max_iter=i).fit(X, y).score(X, y) for i in range(1, 7)]
    one.set_callbacks(monitor, ProgressBar()).fit(X, y)
    logged = [row["accuracy"] for row in _rows(monitor) if row["task_name"] != "fit"]
    assert logged == scores
    assert "MLPClassifier" in capsys.readouterr().out


def test_monitor_in_a_search() -> None:
    X, y = small()
    monitor = ScoringMonitor(scoring="accuracy")
    one = fastdnn.MLPClassifier((5,), max_iter=3, random_state=0).set_callbacks(monitor)
    search = GridSearchCV(make_pipeline(StandardScaler(), one), {"mlpclassifier__alpha": [0, 1]})
    search.fit(X, y)
    assert len(_rows(monitor)) >= 3 * (2 * 5 + 1)


def _rows(monitor: Any) -> list[dict[str, Any]]:
    """What a monitor has logged, of all its runs."""
    logs = monitor.get_logs()
    return [row for log in (logs if isinstance(logs, list) else [logs]) for row in log.data]


def test_nobody_listens_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = small()
    one = fastdnn.MLPClassifier((5,), max_iter=2)

    def fail(**_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(one, "_init_callback_context", fail)
    quietly(one.fit, X, y)
    with pytest.raises(AssertionError):
        one.set_callbacks(Recorder()).fit(X, y)
