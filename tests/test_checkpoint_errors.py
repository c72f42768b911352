"""Files are written whole or not at all, and a file that is no good model is named."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import fastdnn
from fastdnn import checkpoint
from tests.nets import classifier, regressor, samples

X, y = samples()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


# --------------------------------------------------------------------------------- whole or not
@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_a_file_is_whole_or_not_there(
    error: BaseException, old: str | None, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(tensors: Any, file: Path, metadata: Any) -> None:
        Path(file).write_bytes(b"half a mod")
        raise error

    if old is not None:
        path.write_text(old)
    monkeypatch.setattr(safetensors.numpy, "save_file", fail)
    with pytest.raises(type(error)):
        classifier().save(path)
    assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == (
        [] if old is None else [(path.name, old)]
    )


def test_a_path_may_be_text_and_a_file_is_replaced(path: Path) -> None:
    first, second = classifier(seed=1), classifier(seed=2)
    first.save(str(path))
    second.save(path)
    assert np.array_equal(fastdnn.load(str(path)).parameters, second.parameters)
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*missing"):
        classifier().save(tmp_path / "missing" / "model")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------ other files
def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
    """Write a good model's file with its tensors and its configuration changed."""
    model = regressor("adam")
    model.fit(X, y, verbose=0)
    model.save(path)
    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    config = json.loads(metadata[checkpoint._KEY])
    change(tensors, config)
    del metadata[checkpoint._CHECKSUM_KEY]  # as 0.1.0 wrote it
    metadata[checkpoint._KEY] = config["text"] if "text" in config else json.dumps(config)
    safetensors.numpy.save_file(tensors, path, metadata=metadata)


def test_a_rewritten_file_is_good_if_nothing_is_changed(path: Path) -> None:
    rewritten(path, lambda tensors, config: None)
    fastdnn.load(path).fit(X, y, verbose=0)


DAMAGED: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "no W1": lambda t, c: t.pop("W1"),
    "no b1": lambda t, c: t.pop("b1"),
    "another shape": lambda t, c: t.update(W1=t["W1"].T.copy()),
    "a short memory": lambda t, c: t.update(optimizer=t["optimizer"][:-1]),
    "a square memory": lambda t, c: t.update(optimizer=t["optimizer"].reshape(2, -1)),
    "no memory at all": lambda t, c: t.update(optimizer=np.zeros(0)),
    "no JSON": lambda t, c: c.update(text="{"),
    "a list": lambda t, c: c.update(text="[]"),
    "no layers": lambda t, c: c.pop("layers"),
    "empty layers": lambda t, c: c.update(layers=[]),
    "a layer of another class": lambda t, c: c["layers"][0].update({"class": "Conv"}),
    "an optimizer as a layer": lambda t, c: c.update(layers=[c["optimizer"]]),
    "an unknown argument": lambda t, c: c["layers"][0].update(stride=2),
    "a wrong argument": lambda t, c: c["layers"][0].update(units=-1),
    "an unknown activation": lambda t, c: c["layers"][0].update(activation="arctan"),
    "no input size": lambda t, c: c.pop("input_size"),
    "an unknown metric": lambda t, c: c.update(metrics=["beauty"]),
    "no state": lambda t, c: c.pop("state"),
    "a wrong state": lambda t, c: c["state"].update(entropy="x"),
    "steps before the first": lambda t, c: c["state"].update(steps=-1),
    "half a step": lambda t, c: c["state"].update(steps=1.5),
    "steps without end": lambda t, c: c["state"].update(steps=2**63),
    "a negative seed": lambda t, c: c["state"].update(entropy="-1"),
    "NaN": lambda t, c: t["W1"].__setitem__((0, 1), np.nan),
    "infinity": lambda t, c: t["b1"].__setitem__(0, np.inf),
    "NaN in the memory": lambda t, c: t["optimizer"].__setitem__(3, np.nan),
    "negative second moments": lambda t, c: t["optimizer"].__setitem__(-1, -1.0),
    "whole numbers": lambda t, c: t.update(W1=t["W1"].astype(np.int64)),
    "other floats": lambda t, c: t.update(W1=t["W1"].astype(np.float32)),
    "depth without end": lambda t, c: c.update(text="[" * 100_000),
    "a large network": lambda t, c: c["layers"][0].update(units=2_000_000_000),
    "many features": lambda t, c: c.update(input_size=10**12),
    "an input size of text": lambda t, c: c.update(input_size="4"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_named(damage: str, path: Path) -> None:
    rewritten(path, DAMAGED[damage])
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: a damaged model file "):
        fastdnn.load(path)


def test_a_small_file_of_a_large_network_allocates_nothing(path: Path) -> None:
    rewritten(path, lambda tensors, config: config["layers"][0].update(units=20_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"want a tensor W1 .* shape \(20000000, 4\)"):
            fastdnn.load(path)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("seed", range(30))
def test_a_flipped_bit_is_found(seed: int, path: Path) -> None:
    model = classifier()
    model.fit(X, y, verbose=0)
    model.save(path, metadata={"kind": "iris"})
    content = bytearray(path.read_bytes())
    place = np.random.default_rng(seed).integers(8 * len(content))
    content[place // 8] ^= 1 << (place % 8)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: "):
        fastdnn.load(path)


def test_a_truncated_file_is_named(path: Path) -> None:
    classifier().save(path)
    whole = path.read_bytes()
    for size in (0, 4, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: not a safetensors file"):
            fastdnn.load(path)


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 a zip file of another library", b"\x89HDF\r\n\x1a\n" * 20, b"text"]
)
def test_a_foreign_file_is_named(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: not a safetensors file"):
        fastdnn.load(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {checkpoint._FORMAT_KEY: "2"}])
def test_safetensors_of_others(metadata: Any, path: Path) -> None:
    safetensors.numpy.save_file({"weight": np.zeros(3)}, path, metadata=metadata)
    with pytest.raises(ValueError, match="not a model that this version of fastdnn wrote"):
        fastdnn.load(path)


def test_a_missing_file(path: Path) -> None:
    for missing in (path, str(path)):
        with pytest.raises(FileNotFoundError, match="no such file; want a model that save wrote"):
            fastdnn.load(missing)


def test_a_folder(tmp_path: Path) -> None:
    message = f"^{re.escape(str(tmp_path))}: a folder; want a model that save wrote$"
    with pytest.raises(IsADirectoryError, match=message):
        fastdnn.load(tmp_path)
    with pytest.raises(ValueError, match=r"is a folder; name a file$"):
        classifier().save("")
