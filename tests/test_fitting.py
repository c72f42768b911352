"""`fit`: what it takes for samples and validation, and what it refuses before any work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import fastdnn
from fastdnn import loop
from tests.nets import Spy, classifier, fingerprint, samples
from tests.sources import SOURCES, Indexed, Iterable, batches, function, loader

Array = np.ndarray[Any, Any]
M = 150
X, y = samples(M)
W = np.random.default_rng(1).uniform(0.5, 2.0, M)
GIVEN = batches(32, X, y)
OTHER = samples(40, seed=9)
UNSEEN = batches(15, *OTHER)
FIT: dict[str, Any] = {"verbose": 0}


# ----------------------------------------------------------------------- refused before any work
def single() -> Any:
    """A map-style data set of PyTorch's: one sample by its number."""
    torch = pytest.importorskip("torch", reason="PyTorch has the data set: pip install torch")
    from torch.utils.data import TensorDataset

    return TensorDataset(torch.from_numpy(X), torch.from_numpy(y))


Refused = tuple[Callable[[], Any], dict[str, Any], type[Exception], str]
REFUSED: dict[str, Refused] = {
    "no y": (lambda: X, {}, ValueError, r"y: want the targets of X, of shape \(150, 4\); got none"),
    "no y of a frame": (lambda: pd.DataFrame(X), {}, ValueError, "y: want the targets of X"),
    "no y of CSR": (lambda: scipy.sparse.csr_array(X), {}, ValueError, "y: want the targets of X"),
    "no y of lists": (
        X.tolist,
        {},
        ValueError,
        "y: want the targets of X, a list of 150; got none",
    ),
    "y too": (lambda: GIVEN, {"y": y}, ValueError, "y: got ndarray; the batches of X have it in"),
    "y too, of a function": (
        lambda: function(GIVEN),
        {"y": y},
        ValueError,
        "y: got ndarray; the b",
    ),
    "y too, of an object": (
        lambda: Indexed(GIVEN),
        {"y": [1]},
        ValueError,
        "y: got list; the batc",
    ),
    "split": (
        lambda: GIVEN,
        {"validation_split": 0.2},
        ValueError,
        "validation_split: got 0.2; the batches of X have it in them",
    ),
    "weights": (
        lambda: GIVEN,
        {"sample_weight": W},
        ValueError,
        r"sample_weight: got array\(.*; the batches of X have it in them",
    ),
    "batch size": (lambda: GIVEN, {"batch_size": 8}, ValueError, "batch_size: got 8; the batches"),
    "iterator": (
        lambda: iter(GIVEN),
        {"epochs": 2},
        ValueError,
        "X: want batches that can be read in each of 2 epochs, got an iterator, .* generator, or",
    ),
    "generator": (
        lambda: (one for one in GIVEN),
        {"epochs": 2},
        ValueError,
        "X: want batches that can be read in each of 2 epochs",
    ),
    "iterator to validate": (
        lambda: GIVEN,
        {"validation_data": iter(UNSEEN)},
        ValueError,
        "validation_data: want batches that can be read after every epoch, got an iterator",
    ),
    "empty": (list, {}, ValueError, "X: it gave no batch; want at least one in each pass"),
    "empty function": (lambda: list, {}, ValueError, "X: it gave no batch"),
    "empty to validate": (
        lambda: GIVEN,
        {"validation_data": list},
        ValueError,
        "validation_data: it gave no batch",
    ),
    "text": (lambda: "file.parquet", {}, TypeError, "X: want samples .* got str"),
    "dict": (lambda: {"a": X}, {}, TypeError, "X: want samples .* got dict"),
    "None": (lambda: None, {}, TypeError, "X: want samples .* got NoneType"),
    "pair": (lambda: (X, y), {}, TypeError, r"X: batch 0: want a tuple \(X, y\) .* got ndarray"),
    "arguments": (lambda: lambda n: GIVEN, {}, TypeError, "X: want a function .* without argum"),
    "single samples": (
        single,
        {},
        ValueError,
        r"X: batch 0: X: want 2 dimensions .*wrap a data set in a torch.utils.data.DataLoader$",
    ),
    "images": (
        lambda: batches(32, np.ones((M, 1, 4, 4)), y),
        {},
        ValueError,
        r"X: batch 0: X: want 2 dim.* \(32, 1, 4, 4\); flatten each sample: X.reshape\(.*\)$",
    ),
    "images as arrays": (
        lambda: np.ones((M, 1, 4, 4)),
        {"y": y},
        ValueError,
        r"X: want 2 dim.* \(150, 1, 4, 4\); flatten each sample",
    ),
    "bad validation batch": (
        lambda: GIVEN,
        {"validation_data": [(OTHER[0][:, :3], OTHER[1])]},
        ValueError,
        "validation_data: batch 0: X: want 4 features.* got 3",
    ),
    "bad validation": (
        lambda: GIVEN,
        {"validation_data": (OTHER[0][:, :3], OTHER[1])},
        ValueError,
        "validation_data: X: want 4 features.* got 3",
    ),
    "validation of text": (
        lambda: GIVEN,
        {"validation_data": "path"},
        ValueError,
        r"validation_data: want a tuple \(X, y\) .* or batches of such, got str",
    ),
    "validation of X": (
        lambda: GIVEN,
        {"validation_data": OTHER[0]},
        ValueError,
        "validation_data: want a tuple .* got ndarray",
    ),
    "class weight": (
        lambda: GIVEN,
        {"class_weight": {7: 1.0}},
        ValueError,
        "X: batch 0: class_weight: want classes of y, got 7",
    ),
    "monitor": (
        lambda: GIVEN,
        {"callbacks": [fastdnn.EarlyStopping("val_loss")]},
        ValueError,
        ".*val_loss",
    ),
    "verbose": (
        lambda: GIVEN,
        {"verbose": 5},
        ValueError,
        "verbose: want 0, 1, 2 or 'auto', got 5",
    ),
    "steps": (
        lambda: GIVEN,
        {"steps_per_epoch": 0},
        ValueError,
        "steps_per_epoch: want an integer",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_mistake_is_told_before_any_work(what: str) -> None:
    make, options, error, message = REFUSED[what]
    model = classifier()
    model.fit(GIVEN, **FIT)
    source, before = make(), fingerprint(model)
    with (
        mock.patch.object(loop.Loop, "run", side_effect=AssertionError),
        pytest.raises(error, match=f"^{message}") as caught,
    ):
        model.fit(source, **{**FIT, **options})
    assert "\n" not in str(caught.value)
    assert fingerprint(model) == before


def test_a_refusal_leaves_an_iterator_whole() -> None:
    source = iter(GIVEN)
    for options in (
        {"epochs": 2},
        {"batch_size": 8},
        {"callbacks": [fastdnn.EarlyStopping("val_loss")]},
        {"validation_freq": 0},
        {"verbose": 5},
    ):
        with pytest.raises(ValueError, match=r"want|got|no "):
            classifier().fit(source, **{**FIT, **options})  # type: ignore[arg-type]
    assert len(list(source)) == 5


# ------------------------------------------------------------------------------------ validation
@pytest.mark.parametrize("name", SOURCES)
def test_validation_on_a_source(name: str) -> None:
    metrics = ["accuracy", "f1_macro"]
    model, wanted = classifier(metrics=metrics), classifier(metrics=metrics)
    unseen = SOURCES[name](UNSEEN)
    options: dict[str, Any] = {"epochs": 3, "shuffle": False, **FIT}
    wanted.fit(X, y, validation_data=OTHER, **options)
    for X_y in ((X, y), (GIVEN, None)):
        model = classifier(metrics=metrics)
        model.fit(*X_y, validation_data=unseen, **options)
        np.testing.assert_array_equal(model.parameters, wanted.parameters)
        for key, values in wanted.history.history.items():
            assert model.history.history[key] == pytest.approx(values, rel=1e-6), key


def test_validation_forms() -> None:
    """Lists and tuples of X and y are no batches."""
    wanted = classifier().fit(X, y, validation_data=OTHER, **FIT).history
    for form in (
        list(OTHER),
        (OTHER[0].tolist(), OTHER[1].tolist()),
        [OTHER[0].tolist(), OTHER[1].tolist()],
        (list(OTHER[0]), OTHER[1]),
        [OTHER],
        (OTHER,),
        [list(OTHER)],
        (*OTHER, None),
        (scipy.sparse.csr_array(OTHER[0]), OTHER[1]),
        (OTHER[0].astype(np.int8), OTHER[1]),
        (pd.DataFrame(OTHER[0]), pd.Series(OTHER[1])),
    ):
        assert classifier().fit(X, y, validation_data=form, **FIT).history == wanted
    weighed = (*OTHER, np.full(40, 2.0))
    for form in (weighed, [weighed], [*weighed]):
        found = classifier().fit(X, y, validation_data=form, **FIT).history
        assert found["val_loss"] == [pytest.approx(2 * wanted["val_loss"][0])]


def test_validation_on_a_loader() -> None:
    pytest.importorskip("torch", reason="PyTorch has the loader: pip install torch")
    wanted = classifier().fit(X, y, validation_data=OTHER, **FIT).history
    found = classifier().fit(X, y, validation_data=loader(UNSEEN), **FIT).history
    assert found["val_loss"] == pytest.approx(wanted["val_loss"], rel=1e-6)


def test_steps_and_frequency_of_validation() -> None:
    source = Iterable(UNSEEN)
    model = classifier(dtype="float64")
    options: dict[str, Any] = {"epochs": 4, "validation_freq": 2, **FIT}
    history = model.fit(GIVEN, validation_data=source, validation_steps=2, **options)
    assert history.epochs_of("val_loss") == [1, 3]
    expected = model.evaluate(OTHER[0][:30], OTHER[1][:30])
    assert history.history["val_loss"][-1] == pytest.approx(expected["loss"], rel=1e-12)
    assert history.history["val_accuracy"][-1] == pytest.approx(expected["accuracy"])
    assert source.passes == 2  # the look before the training is the first pass's beginning
    endless = function(UNSEEN * 100)
    history = model.fit(GIVEN, validation_data=endless, validation_steps=3, **options)
    whole = model.evaluate(*OTHER)
    assert history.history["val_loss"][-1] == pytest.approx(whole["loss"], rel=1e-12)


def test_a_bad_validation_batch_is_named_and_the_epoch_is_kept() -> None:
    unseen = [*UNSEEN, (OTHER[0] * np.nan, OTHER[1])]
    model, spy = classifier(), Spy()
    with pytest.raises(ValueError, match=r"^validation_data: batch 3: X: want finite"):
        model.fit(GIVEN, validation_data=unseen, callbacks=[spy], **FIT)
    assert model._state.steps == 5
    assert spy.calls[-1] == ("train_end",)


def test_callbacks_that_watch_validation() -> None:
    stop = fastdnn.EarlyStopping(patience=2, min_delta=1e9, restore_best_weights=True)
    model = classifier()
    model.fit(GIVEN, epochs=9, validation_data=UNSEEN, callbacks=[stop], **FIT)
    assert stop.stopped_epoch == 2
    wanted = classifier()
    wanted.fit(GIVEN, **FIT)
    np.testing.assert_array_equal(model.parameters, wanted.parameters)


# -------------------------------------------------------------------------------- shares of a count
@pytest.mark.parametrize(
    ("share", "m", "trained"),
    [(0.8, 10, 2), (0.9, 10, 1), (0.8, 100, 20), (0.1, 30, 27), (0.99, 10, 1), (0.01, 10, 9)],
)
def test_validation_split_is_the_nearest_whole_number(share: float, m: int, trained: int) -> None:
    model, wanted = classifier(), classifier()
    options: dict[str, Any] = {"shuffle": False, "batch_size": 1, **FIT}
    history = model.fit(X[:m], y[:m], validation_split=share, **options)
    assert model._state.steps == trained
    unseen = X[trained:m], y[trained:m]
    wanted.fit(X[:trained], y[:trained], validation_data=unseen, **options)
    assert history.history == wanted.history.history
