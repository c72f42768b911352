"""Which part of the validation data is evaluated, in which batches, after which epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastdnn
from fastdnn.validation import EVALUATION_BATCH, plan_validation
from tests.nets import classifier, samples

X, y = samples()
OTHER = samples(40, seed=9)
FIT: dict[str, Any] = {"batch_size": 16, "verbose": 0, "validation_data": OTHER}


@pytest.mark.parametrize(
    ("freq", "epochs"),
    [
        (1, [0, 1, 2, 3, 4]),
        (2, [1, 3]),
        (5, [4]),
        (9, []),
        ([1, 4], [0, 3]),
        ((5,), [4]),
        (range(2, 4), [1, 2]),
        (np.array([3]), [2]),
    ],
)
def test_after_which_epochs(freq: Any, epochs: list[int]) -> None:
    history = classifier().fit(X, y, epochs=5, validation_freq=freq, **FIT)
    assert [history.epochs_of(name) for name in history.history if "val_" in name] == (
        [epochs, epochs] if epochs else []
    )
    assert history.epochs_of("loss") == [0, 1, 2, 3, 4]


def test_the_count_goes_on_with_the_epochs() -> None:
    history = classifier().fit(X, y, epochs=6, initial_epoch=3, validation_freq=2, **FIT)
    assert history.epochs_of("val_loss") == [3, 5]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 40),
        ({"validation_steps": 2}, 32),  # batches of 16, as in training
        ({"validation_steps": 2, "validation_batch_size": 5}, 10),
        ({"validation_steps": 9}, 40),
        ({"validation_batch_size": 7}, 40),
    ],
)
def test_how_much_is_evaluated(options: dict[str, Any], count: int) -> None:
    model = classifier(dtype="float64")
    history = model.fit(X, y, **FIT, **options).history
    expected = model.evaluate(OTHER[0][:count], OTHER[1][:count])
    assert history["val_loss"] == [pytest.approx(expected["loss"], rel=1e-12)]
    assert history["val_accuracy"] == [expected["accuracy"]]


def test_batches_are_those_of_evaluate_by_default() -> None:
    data: Any = object()
    for steps, of_validation, rows, batch in (
        (None, None, None, EVALUATION_BATCH),
        (None, 7, None, 7),
        (3, None, 3 * 16, 16),
        (3, 7, 21, 7),
    ):
        found = plan_validation(steps, of_validation, 1, 16)(data)
        assert (found.given, found.most, found.batch) == (data, rows, batch)


def test_callbacks_leave_epochs_without_validation_out(tmp_path: Any) -> None:
    plateau = fastdnn.ReduceLROnPlateau(factor=0.5, patience=1, min_delta=1e9)
    stop = fastdnn.EarlyStopping(patience=2, min_delta=1e9)
    best = fastdnn.ModelCheckpoint(tmp_path / "{epoch}-{val_loss:.3f}")
    every = fastdnn.ModelCheckpoint(tmp_path / "every-{epoch}")
    history = classifier().fit(
        X, y, epochs=9, validation_freq=2, callbacks=[plateau, stop, best, every], **FIT
    )
    assert stop.stopped_epoch == 5  # the best is that of epoch 1; 3 and 5 are no better
    assert history.history["learning_rate"] == [0.001] * 4 + [0.0005] * 2
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.split("-")[0] for name in names[:3]] == ["2", "4", "6"]
    assert names[3:] == [f"every-{epoch}" for epoch in range(1, 7)]


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"validation_freq": 0}, ValueError, r"validation_freq: want an integer in \[1, inf\), got 0"),
    ({"validation_freq": "2"}, TypeError, "validation_freq: want an integer .*, got '2'"),
    ({"validation_freq": [1, 0]}, ValueError, r"validation_freq\[1\]: want an integer .*, got 0"),
    ({"validation_steps": 0}, ValueError, "validation_steps: want an integer .*, got 0"),
    (
        {"validation_batch_size": 1.5},
        TypeError,
        "validation_batch_size: want an integer .*, got 1.5",
    ),
    (
        {"validation_split": np.array([0.1, 0.2])},
        TypeError,
        r"validation_split: want a number in \[0, 1\), got array\(\[0.1, 0.2\]\)",
    ),
    ({"steps_per_epoch": 2**63}, ValueError, r"steps_per_epoch: want .* below 2\^63, got 9223.*"),
    ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch: want an integer .*, got 0"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_wrong_numbers(options: dict[str, Any], error: type[Exception], message: str) -> None:
    model = classifier()
    before = model.parameters.copy()
    with pytest.raises(error, match=f"^{message}$"):
        model.fit(X, y, **FIT, **options)
    assert np.array_equal(model.parameters, before)
