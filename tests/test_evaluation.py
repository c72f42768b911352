"""The loss and the metrics of many samples: whole, by parts, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import fastdnn
from fastdnn import evaluation
from fastdnn.data import rows
from fastdnn.evaluation import Measured, metric_functions
from fastdnn.metrics import METRICS
from tests.nets import classifier, regressor, samples
from tests.sources import SOURCES, batches, function, loader, peak

Array = np.ndarray[Any, Any]
M = 150
X, y = samples(M)
W = np.random.default_rng(1).uniform(0.5, 2.0, M)


def least(y_true: Array, y_pred: Array) -> float:
    """Return a number that is no mean over the samples."""
    return float(np.sort(y_pred[np.arange(len(y_true)), y_true.astype(int)])[3])


# ------------------------------------------------------------------------- sources of batches
@pytest.mark.parametrize("name", SOURCES)
def test_a_source_has_the_scores_of_its_samples(name: str) -> None:
    metrics = ["accuracy", "f1_macro", least]
    model = classifier(metrics=metrics, dtype="float64")
    for weights in ({}, {"sample_weight": W}):
        for size in (1, 32, 150):
            source = SOURCES[name](batches(size, X, y, *weights.values()))
            found = model.evaluate(source)
            assert found == pytest.approx(model.evaluate(X, y, **weights), rel=1e-12)
            assert list(found) == ["loss", *model.metrics]
    assert model.evaluate(source, return_dict=False) == list(found.values())


@pytest.mark.parametrize("entry", ["accuracy", "mse", "mae", "rmse", "r2"])
def test_every_metric_of_batches_is_that_of_all(entry: str) -> None:
    assert entry in METRICS
    if entry == "accuracy":
        model, targets = classifier(metrics=[entry], dtype="float64"), y
    else:
        model, targets = regressor(), np.random.default_rng(2).normal(size=M)
        model.compile("sgd", "mse", [entry])
    wanted = model.evaluate(X, targets)
    for size in (7, 64):
        found = model.evaluate(batches(size, X, targets))
        assert found == pytest.approx(wanted, rel=1e-12)


def test_penalties_count_once() -> None:
    model = fastdnn.Sequential(
        [fastdnn.Dense(3, "softmax", kernel_regularizer=fastdnn.L2(0.5))], input_size=4, seed=0
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert model.evaluate(batches(32, X, y)) == pytest.approx(model.evaluate(X, y), rel=1e-6)


def test_a_loader() -> None:
    pytest.importorskip("torch", reason="PyTorch has the loader: pip install torch")
    model = classifier()
    source = loader(batches(32, X, y))
    assert model.evaluate(source) == pytest.approx(model.evaluate(X, y), rel=1e-6)
    np.testing.assert_array_equal(model.predict(source), model.predict(X))


@pytest.mark.parametrize("batch_size", [None, 1, 7, 999])
def test_predict_of_a_source(batch_size: int | None) -> None:
    model = classifier()
    wanted = model.predict(X)
    for make in SOURCES.values():
        for given in (batches(32, X, y), batches(32, X, y, W)):
            np.testing.assert_array_equal(model.predict(make(given), batch_size), wanted)
    alone = [one[0] for one in batches(32, X)]
    for source in (iter(alone), function(alone), iter([scipy.sparse.csr_array(X)])):
        np.testing.assert_array_equal(model.predict(source, batch_size), wanted)


def test_errors_of_sources() -> None:
    model = classifier()
    bad = function([*batches(32, X, y)[:2], (X[:, :3], y)])
    cases: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: model.evaluate(X), ValueError, r"y: want the targets of X, of shape \(150, 4\)"),
        (lambda: model.evaluate(X.tolist()), ValueError, "y: want the targets of X, a list of 150"),
        (lambda: model.evaluate([]), ValueError, "X: it gave no batch"),
        (lambda: model.evaluate(iter([])), ValueError, "X: it gave no batch"),
        (lambda: model.predict(iter([])), ValueError, "X: it gave no batch"),
        (lambda: model.evaluate(function([]), y), ValueError, "y: got ndarray; the batches of X"),
        (lambda: model.evaluate(batches(9, X, y), y), ValueError, "y: got ndarray; the batches"),
        (
            lambda: model.evaluate(batches(9, X, y), sample_weight=W),
            ValueError,
            "sample_weight: got array.*; the batches of X have it in them",
        ),
        (lambda: model.evaluate("path"), TypeError, "X: want samples with their y, or .* got str"),
        (lambda: model.evaluate({"X": X}), TypeError, "X: want samples with their y.* got dict"),
        (lambda: model.evaluate(bad), ValueError, "X: batch 2: X: want 4 features.*got 3"),
        (lambda: model.predict(bad), ValueError, "X: batch 2: X: want 4 features.*got 3"),
        (lambda: model.predict(iter([X, "a"])), TypeError, "X: batch 1: X: want real numbers"),
        (lambda: model.predict(iter([{}])), TypeError, "X: batch 0: X: want an array of real"),
        (lambda: model.evaluate(iter([X])), TypeError, r"X: batch 0: want a tuple .* got ndarray"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=f"^{message}"):
            call()


def test_a_new_model_is_not_made_by_what_it_evaluates() -> None:
    model = classifier(input_size=None)
    source = iter(batches(32, X, y))
    for call in (lambda: model.evaluate(source), lambda: model.predict(source)):
        with pytest.raises(RuntimeError, match="no parameters yet"):
            call()
    assert len(list(source)) == 5


# ------------------------------------------------------------------------------------- by parts
@pytest.mark.parametrize("kind", ["int8", "float16", ">f8", "csr", "csc"])
@pytest.mark.parametrize("batch", [1, 7, 64, None])
def test_parts_have_the_bits_of_an_array(
    kind: str, batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make: Any = {"csr": scipy.sparse.csr_array, "csc": scipy.sparse.csc_matrix}
    given = make[kind](X) if kind in make else X.astype(kind)
    for dtype in ("float32", "float64"):
        model = classifier(metrics=["accuracy", "f1_macro"], dtype=dtype)
        for weights in (None, W):
            wanted = model.evaluate(X, y, batch, sample_weight=weights)
            for size in (1, 3000):
                monkeypatch.setattr(rows, "PART_BYTES", size)
                assert model.evaluate(given, y, batch, sample_weight=weights) == wanted
                np.testing.assert_array_equal(model.predict(given, batch), model.predict(X))


def test_a_source_is_not_held_whole() -> None:
    """100 batches of 1.6 MB."""
    model = classifier(input_size=400)

    def generate() -> Any:
        for _ in range(100):
            yield np.zeros((1000, 400), np.float32), np.zeros(1000, int)

    for call in (
        lambda: model.evaluate(generate()),
        lambda: model.predict(generate()),
        lambda: model.fit(generate, verbose=0),
        lambda: model.fit(generate, validation_data=generate, verbose=0),
    ):
        call()
        assert peak(call) < 15e6


# -------------------------------------------------------------------------------------- functions
def test_measured_joins_what_is_no_mean() -> None:
    functions = metric_functions(["accuracy", least], classifier().loss, 3)
    outputs = np.random.default_rng(0).dirichlet([1, 1, 1], M)
    whole, by_parts = Measured(functions), Measured(functions)
    whole.add(y, outputs)
    for one in batches(16, y, outputs):
        by_parts.add(*one)
    assert list(by_parts.values()) == ["accuracy", "least"]
    assert by_parts.values() == pytest.approx(whole.values(), rel=1e-14)
    assert len(by_parts._pieces) == 10


# -------------------------------------------------------------------------------------- functions
def test_penalty() -> None:
    layers = [
        fastdnn.Dense(3, kernel_regularizer=fastdnn.L1L2(0.5, 0.25)),
        fastdnn.Dense(2),
        fastdnn.Dense(1, kernel_regularizer=fastdnn.L2(2.0)),
    ]
    model = fastdnn.Sequential(layers, input_size=4, dtype="float64", seed=0)
    first, _, last = (layer.W for layer in layers)
    expected = 0.5 * np.abs(first).sum() + 0.25 * (first**2).sum() + 2 * (last**2).sum()
    assert evaluation.penalty(model.engine) == pytest.approx(expected, rel=1e-14)


def test_the_loss_of_a_step_has_the_penalty_of_before_it() -> None:
    layer = fastdnn.Dense(1, kernel_regularizer=fastdnn.L2(1.0))
    model = fastdnn.Sequential([layer], input_size=4, dtype="float64", seed=0)
    model.compile("sgd", "mse")
    before = model.evaluate(X, y)["loss"]
    assert model.train_on_batch(X, y)["loss"] == pytest.approx(before, rel=1e-13)
