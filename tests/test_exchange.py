"""The ways in and out: their libraries are loaded when they are asked for."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fastdnn
from fastdnn import Dense, Sequential
from tests.test_house import modules_loaded_by

CALLS: dict[str, list[Callable[[Sequential], object]]] = {
    "torch": [lambda model: model.to_torch(), fastdnn.from_torch],
    "keras": [
        lambda model: model.to_keras(),
        lambda model: model.load_weights("net.weights.h5"),
        fastdnn.from_keras,
    ],
    "onnx": [lambda model: model.to_onnx("net.onnx")],
}


@pytest.mark.parametrize("library", CALLS)
def test_a_missing_library_is_named(
    library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    model = Sequential([Dense(3)], input_size=4)
    for call in CALLS[library]:
        with pytest.raises(ImportError, match=f"needs {library}, which is not installed: pip inst"):
            call(model)
    assert not list(tmp_path.iterdir())


def test_what_keras_computes_with_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text("import tensorflow")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match=r"needs tensorflow, .* KERAS_BACKEND to another"):
        Sequential([Dense(3)], input_size=4).to_keras()


def test_import_loads_no_other_library() -> None:
    loaded = modules_loaded_by("import fastdnn") - modules_loaded_by("import numba")
    assert not {one.split(".")[0] for one in loaded} & {"torch", "keras", "onnx", "sklearn"}
    assert not [one for one in loaded if one.startswith("fastdnn.interop")]
