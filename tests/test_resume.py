"""A training that is cut short and resumed ends with the bits of one that was never stopped."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import fastdnn
from fastdnn import loop
from fastdnn.resume import check_same, pack, unpack
from tests import tiers
from tests.nets import samples

Array = np.ndarray[Any, Any]
X, y = samples(200)
UNSEEN = samples(50, seed=3)
BATCH = 32
Fit = Callable[[fastdnn.Sequential, dict[str, Any]], fastdnn.History]


METRICS: tuple[Any, ...] = ("accuracy", "f1_macro")


def network(rate: Any = 1e-3, units: int = 40, metrics: tuple[Any, ...] = METRICS) -> Any:
    model = fastdnn.Sequential(
        [fastdnn.Dense(units, "relu"), fastdnn.Dropout(0.2), fastdnn.Dense(3, "softmax")], seed=0
    )
    model.compile(fastdnn.Adam(rate), "sparse_categorical_crossentropy", list(metrics))
    return model


def batches() -> list[tuple[Array, Array]]:
    return [(X[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(X), BATCH)]


WAYS: dict[str, Fit] = {
    "samples": lambda model, given: model.fit(X, y, BATCH, **given),
    "samples, in order": lambda model, given: model.fit(X, y, BATCH, shuffle=False, **given),
    "samples, epochs of 4": lambda model, given: model.fit(X, y, BATCH, steps_per_epoch=4, **given),
    "samples, epochs of 9": lambda model, given: model.fit(X, y, BATCH, steps_per_epoch=9, **given),
    "batches": lambda model, given: model.fit(batches(), **given),
    "batches, epochs of 4": lambda model, given: model.fit(batches(), steps_per_epoch=4, **given),
    "iterator": lambda model, given: model.fit(
        itertools.chain(*(batches() for _ in range(7))), steps_per_epoch=5, **given
    ),
}


class KilledError(Exception):
    """The end of a process."""


def cut_short(fit: Fit, model: fastdnn.Sequential, given: dict[str, Any], after: int) -> None:
    """Train until a checkpoint after so many steps has been written, or not at all."""
    offer = fastdnn.ModelCheckpoint.on_safe_point

    def on_safe_point(self: Any, epoch: int, steps: int, save: Callable[[str], object]) -> None:
        offer(self, epoch, steps, save)
        if steps >= after:
            raise KilledError

    with (
        mock.patch.object(fastdnn.ModelCheckpoint, "on_safe_point", on_safe_point),
        pytest.raises(KilledError),
    ):
        fit(model, given)


def bits(model: fastdnn.Sequential) -> tuple[Any, ...]:
    """All that a training changes."""
    state, engine = model._state, model.engine
    return engine.parameters.tobytes(), engine.slots.tobytes(), state.steps, state.epochs


def callbacks(path: Path, rate: Any, when: dict[str, Any]) -> list[fastdnn.Callback]:
    plateau = fastdnn.ReduceLROnPlateau(patience=1, factor=0.5, min_delta=0.0)
    return [
        fastdnn.EarlyStopping(patience=2, restore_best_weights=True, min_delta=0.02),
        *([plateau] if isinstance(rate, float) else []),
        fastdnn.ModelCheckpoint(path, **when),
    ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("when", [{"every_n_steps": 1}, {"every_n_steps": 5}, {}], ids=str)
@pytest.mark.parametrize("rate", [0.01, fastdnn.CosineDecay(0.01, 30)], ids=["float", "schedule"])
@pytest.mark.filterwarnings("ignore:X. the iterator has given its last batch")
def test_the_bits_of_one_that_was_never_stopped(
    way: str, when: dict[str, Any], rate: Any, tmp_path: Path
) -> None:
    fit, path = WAYS[way], tmp_path / "model"

    def given() -> dict[str, Any]:
        watching = callbacks(path, rate, when)
        return {"epochs": 5, "verbose": 0, "validation_data": UNSEEN, "callbacks": watching}

    whole = network(rate)
    expected = fit(whole, given())
    for after in (1, 6, 7, 13) if tiers.NIGHTLY else (6, 7):  # around the end of an epoch
        cut_short(fit, network(rate), given(), after)
        model = network(rate)
        with fastdnn.num_threads(1):
            history = fit(model, {**given(), "resume_from": path})
        assert bits(model) == bits(whole)
        assert history.history == expected.history
        assert history.epoch == expected.epoch


def test_slices_end_where_a_checkpoint_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SLICE_SECONDS", 1e9)
    saved = fastdnn.ModelCheckpoint(tmp_path / "{step}-{epoch}", every_n_steps=3)
    network().fit(X, y, BATCH, 2, verbose=0, callbacks=[saved])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["12-2", "3-1", "6-1", "9-2"]  # 7 steps an epoch


def test_a_finished_training_stays_finished(tmp_path: Path) -> None:
    path = tmp_path / "model"
    given: dict[str, Any] = {"verbose": 0, "validation_data": UNSEEN}

    def watching() -> list[fastdnn.Callback]:
        stop = fastdnn.EarlyStopping(patience=1, min_delta=1e9, restore_best_weights=True)
        return [stop, fastdnn.ModelCheckpoint(path)]

    whole, again = network(), network()
    expected = whole.fit(X, y, epochs=5, callbacks=watching(), **given).history
    found = again.fit(X, y, epochs=5, callbacks=watching(), resume_from=path, **given).history
    assert found == expected
    np.testing.assert_array_equal(again.parameters, whole.parameters)


def test_more_epochs_than_before(tmp_path: Path) -> None:
    path = tmp_path / "model"
    whole, again = network(), network()
    whole.fit(X, y, epochs=4, verbose=0)
    network().fit(X, y, epochs=2, verbose=0, callbacks=[fastdnn.ModelCheckpoint(path)])
    history = again.fit(
        X,
        y,
        epochs=4,
        verbose=0,
        callbacks=[fastdnn.ModelCheckpoint(tmp_path / "b")],
        resume_from=path,
    )
    assert bits(again) == bits(whole)
    assert history.epoch == [0, 1, 2, 3]


def test_a_model_of_the_file_goes_on_too(tmp_path: Path) -> None:
    path = tmp_path / "model"
    whole = network(metrics=("accuracy",))
    checkpoints = [fastdnn.ModelCheckpoint(path, every_n_steps=5)]
    whole.fit(X, y, epochs=3, verbose=0, callbacks=checkpoints)
    model = fastdnn.load(path)
    model.fit(X, y, epochs=3, verbose=0, callbacks=checkpoints, resume_from=path)
    assert bits(model) == bits(whole)


def test_a_csv_log_goes_on(tmp_path: Path) -> None:
    path, log, whole = tmp_path / "model", tmp_path / "log.csv", tmp_path / "whole.csv"

    def watching(to: Path) -> list[fastdnn.Callback]:
        return [fastdnn.CSVLogger(to), fastdnn.ModelCheckpoint(path, every_n_steps=5)]

    network().fit(X, y, epochs=4, verbose=0, callbacks=watching(whole))
    # the log has the line of an epoch that the file does not know yet
    cut_short(
        WAYS["samples"], network(), {"epochs": 2, "verbose": 0, "callbacks": watching(log)}, 10
    )
    log.write_text(log.read_text() + "1,0.5,0.5,0.5,0.1\n")
    network().fit(X, y, BATCH, 4, verbose=0, callbacks=watching(log), resume_from=path)
    assert [line[:2] for line in log.read_text().splitlines()[1:]] == ["0,", "1,", "2,", "3,"]


# ------------------------------------------------------------------------------------- refusals
WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "layers": (
        lambda: network(units=41),
        {},
        r"model's layers\[0\] 'units' .* 40, got 41",
    ),
    "optimizer": (
        lambda: network(fastdnn.CosineDecay(0.1, 9)),
        {},
        "optimizer's 'learning_rate'",
    ),
    "batch": (network, {"batch_size": 16}, "data's 'batch_size' .* 32, got 16"),
    "samples": (network, {"validation_split": 0.5}, "data's 'samples' .* 200, got 100"),
    "epochs": (network, {"steps_per_epoch": 3}, "data's 'steps_per_epoch' .* None, got 3"),
    "callbacks": (network, {"callbacks": []}, "callbacks"),
}


@pytest.mark.parametrize("what", WRONG)
def test_another_training_is_refused(what: str, tmp_path: Path) -> None:
    make, options, message = WRONG[what]
    path = tmp_path / "model"
    network().fit(X, y, verbose=0, callbacks=[fastdnn.ModelCheckpoint(path)])
    model = make()
    given: dict[str, Any] = {"verbose": 0, "callbacks": [fastdnn.ModelCheckpoint(path)], **options}
    with pytest.raises(ValueError, match=rf"^resume_from: .*: want the {message}"):
        model.fit(X, y, resume_from=path, **given)
    assert model._state.steps == 0


def test_files_that_hold_no_training(tmp_path: Path) -> None:
    model = network()
    with pytest.raises(FileNotFoundError, match="no such file"):
        model.fit(X, y, verbose=0, resume_from=tmp_path / "none")
    model.fit(X, y, verbose=0)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"^resume_from: .*want a file that ModelCheckpoint wrote"):
        network().fit(X, y, verbose=0, resume_from=tmp_path / "model")


def test_a_source_that_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "model"
    saved = [fastdnn.ModelCheckpoint(path, every_n_steps=5)]
    network().fit(batches(), verbose=0, callbacks=saved)
    with pytest.raises(ValueError, match=r"^X: want a source that has given 5 batches"):
        network().fit(batches()[:3], verbose=0, callbacks=saved, resume_from=path)


# ------------------------------------------------------------------------------------- functions
def test_pack() -> None:
    value = {"a": np.arange(3), "b": [1, None, {"c": np.eye(2)}], "d": np.float32(0.5), "e": ()}
    tensors: dict[str, Array] = {}
    packed = pack(value, tensors)
    assert sorted(tensors) == ["training.a.", "training.b.2.c."]
    found = unpack(packed, tensors)
    assert found["b"][:2] == [1, None]
    assert (found["d"], found["e"]) == (0.5, [])
    np.testing.assert_array_equal(found["a"], value["a"])
    np.testing.assert_array_equal(found["b"][2]["c"], np.eye(2))
    with pytest.raises(KeyError):
        unpack(packed, {})


def test_check_same_names_what_differs() -> None:
    check_same("f", "x", {"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]})
    with pytest.raises(ValueError, match=r"^resume_from: f: want the x 'a'\[1\] 'b' .*, 3, got 2"):
        check_same("f", "x", {"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]})
    with pytest.raises(ValueError, match=r"want the x 'a' of .* None, got 1"):
        check_same("f", "x", {"a": 1}, {})
