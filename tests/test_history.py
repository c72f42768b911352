"""The history: what it collects, and what it can be made into."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from fastdnn import history as history_module
from fastdnn.history import History
from tests.nets import classifier, samples


def collected() -> History:
    """Three epochs, of which the second and last have no validation."""
    history = History()
    history.on_epoch_end(4, {"loss": 3.0, "val_loss": 4.0})
    history.on_epoch_end(5, {"loss": 2.0})
    history.on_epoch_end(6, {"loss": 1.23456, "val_loss": 3.0})
    return history


def test_values_by_name() -> None:
    history = collected()
    assert history.epoch == [4, 5, 6]
    assert history.history == {"loss": [3.0, 2.0, 1.23456], "val_loss": [4.0, 3.0]}
    assert history.epochs_of("loss") == [4, 5, 6]
    assert history.epochs_of("val_loss") == [4, 6]


def test_params_are_those_of_the_training() -> None:
    history = History()
    assert history.params == {}
    history.set_params(given := {"epochs": 3})
    assert history.params == given
    assert history.params is not given


def test_repr_names_the_last_values() -> None:
    assert repr(History()) == "History(0 epochs)"
    assert repr(collected()) == "History(3 epochs, the last: loss 1.2346  val_loss 3.0000)"
    one = History()
    one.on_epoch_end(0, {"loss": 1e-9})
    assert repr(one) == "History(1 epoch, the last: loss 1.00e-09)"


def test_a_history_given_to_a_second_fit_starts_anew() -> None:
    history, model = History(), classifier()
    X, y = samples()
    for epochs in (3, 2):
        model.fit(X, y, epochs=epochs, callbacks=[history], verbose=0)
        assert history.epoch == list(range(epochs))
        assert len(history.history["loss"]) == epochs
        assert history.epochs_of("loss") == history.epoch


def test_frame() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed: pip install 'fastdnn[data]'")
    frame = collected().to_frame()
    assert (list(frame.columns), frame.index.name) == (["loss", "val_loss"], "epoch")
    assert frame.index.tolist() == [4, 5, 6]
    np.testing.assert_array_equal(frame, [[3.0, 4.0], [2.0, np.nan], [1.23456, 3.0]])
    assert History().to_frame().empty


def test_frame_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs pandas, .*: pip install 'fastdnn\[data\]'$"):
        collected().to_frame()


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip(
        "matplotlib", reason="matplotlib is not installed: pip install 'fastdnn[plot]'"
    )
    path = tmp_path / "curves.png"
    (axes,) = collected().plot(path).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    assert drawn == {
        "training": [[5, 3.0], [6, 2.0], [7, 1.23456]],
        "validation": [[5, 4.0], [7, 3.0]],
    }
    assert path.is_file()


def test_the_history_of_a_training() -> None:
    model = classifier()
    history = model.fit(*samples(), epochs=3, validation_split=0.2, validation_freq=2, verbose=0)
    assert history.epochs_of("val_accuracy") == [1]
    assert len(history.history["accuracy"]) == 3


def test_a_copy_has_whole_epochs_of_its_own() -> None:
    history = History()
    history.on_epoch_end(0, {"loss": 1.0})
    for again in (copy.copy(history), copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        history.on_epoch_end(1, {"loss": 0.5})
        assert again.history == {"loss": [1.0]}
        assert (again.epoch, again.epochs_of("loss")) == ([0], [0])
        history.epoch, history.history, history._epochs = [0], {"loss": [1.0]}, {"loss": [0]}
    with history_module._changing:  # as while another thread appends
        thread = threading.Thread(target=lambda: found.append(copy.copy(history)))
        found: list[History] = []
        thread.start()
        thread.join(0.05)
        assert not found
        history.epoch, history.history["loss"] = [0, 1], [1.0, 0.5]
    thread.join()
    assert found[0].history == {"loss": [1.0, 0.5]}
