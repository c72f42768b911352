"""Files are written whole or not at all, and a file that is no good model is named."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import fastdnn
from fastdnn import checkpoint
from tests.faults import errors, kills, largest_file
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


def bits(path: Path) -> bytes:
    return fastdnn.load(path).parameters.tobytes()


def test_an_error_at_any_call_of_a_save(path: Path) -> None:
    old, new = classifier(seed=1), classifier(seed=2)
    old.save(path)
    whole, kept = path.read_bytes(), new.parameters.tobytes()
    wanted = bits(path)
    for error in errors(errno.ENOSPC, lambda: new.save(path)):
        assert bits(path) == (kept if error is None else wanted)
        assert error is None or (error.errno, error.filename) == (errno.ENOSPC, str(path))
        assert new.parameters.tobytes() == kept
        path.write_bytes(whole)
    new.save(path)
    assert list(path.parent.iterdir()) == [path]


def test_a_kill_at_any_call_of_a_save(path: Path) -> None:
    old, new = classifier(seed=1), classifier(seed=2)
    old.save(path)
    for _ in kills(lambda: new.save(path)):
        assert bits(path) in (old.parameters.tobytes(), new.parameters.tobytes())
        assert len(list(path.parent.iterdir())) <= 2
    new.save(path)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_a_full_disk(part: float, path: Path) -> None:
    old, new = classifier(seed=1), classifier(seed=2)
    old.save(path)
    size = int(part * path.stat().st_size)
    with largest_file(size), pytest.raises(OSError, match="File too large") as error:
        new.save(path)
    assert (error.value.errno, error.value.filename) == (errno.EFBIG, str(path))
    assert bits(path) == old.parameters.tobytes()
    assert list(path.parent.iterdir()) == [path]
    new.save(path)
    assert bits(path) == new.parameters.tobytes()


def test_a_file_that_does_not_hold_what_was_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may lie: the file is read again before it takes the place of a good one."""
    old, new, real = classifier(seed=1), classifier(seed=2), safetensors.numpy.save_file
    old.save(path)

    def lie(tensors: Any, file: Path, metadata: Any) -> None:
        real(tensors, file, metadata)
        content = bytearray(Path(file).read_bytes())
        content[-1] ^= 1
        Path(file).write_bytes(content)

    monkeypatch.setattr(safetensors.numpy, "save_file", lie)
    with pytest.raises(OSError, match="does not hold what was written") as error:
        new.save(path)
    assert error.value.filename == str(path)
    assert bits(path) == old.parameters.tobytes()


def test_a_model_has_the_mode_of_any_file(path: Path) -> None:
    mask = os.umask(0o022)
    try:
        classifier().save(path)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o644


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


def test_a_flipped_bit_is_found_or_does_no_harm(path: Path) -> None:
    """It may hit the padding, or the checksum's name, as if a file of 0.1.0 had none."""
    model = classifier()
    model.fit(X, y, verbose=0)
    model.save(path, metadata={"kind": "iris"})
    content, rng, found = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(200):
        changed, place = bytearray(content), rng.integers(8 * len(content))
        changed[place // 8] ^= 1 << (place % 8)
        path.write_bytes(changed)
        try:
            loaded = fastdnn.load(path)
        except ValueError as error:
            found += str(error).startswith(f"{path}: ")
        else:
            assert loaded.parameters.tobytes() == model.parameters.tobytes()
            assert loaded.engine.slots.tobytes() == model.engine.slots.tobytes()
    assert found > 190


def test_a_truncated_file_is_named(path: Path) -> None:
    classifier().save(path)
    whole = path.read_bytes()
    for size in (0, 4, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: not a safetensors file"):
            fastdnn.load(path)


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89HDF\r\n\x1a\n" * 20, "an HDF5 file, as Keras writes"),
        (zipped("config.json", "metadata.json", "model.weights.h5"), "a model of Keras"),
        (zipped("model/data.pkl", "model/version"), "a file of PyTorch"),
        (zipped("arr_0.npy"), "a file of NumPy"),
        (zipped("letter.txt"), "a ZIP archive"),
        (pickle.dumps({"W1": [1.0]}), "a pickle"),
        (b"\x93NUMPY\x01\x00v\x00" * 9, "a NumPy array"),
        (b"PK\x03\x04 and no archive", "not a safetensors file"),
        (b"text", "not a safetensors file"),
        (b"", "not a safetensors file"),
    ],
)
def test_a_foreign_file_is_named(content: bytes, kind: str, path: Path) -> None:
    path.write_bytes(content)
    wanted = f"^{re.escape(str(path))}: {kind}; want a model that save wrote"
    with pytest.raises(ValueError, match=wanted):
        fastdnn.load(path)


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("m.h5", "Keras"),
        ("m.hdf5", "Keras"),
        ("m.keras", "Keras"),
        ("m.KERAS", "Keras"),
        ("m.pt", "PyTorch"),
        ("m.pth", "PyTorch"),
        ("m.pkl", "Python's pickles"),
        ("m.npz", "NumPy"),
        ("m.onnx", "ONNX"),
    ],
)
def test_the_suffix_of_another_format_is_refused(name: str, of: str, tmp_path: Path) -> None:
    wanted = rf"path: want the suffix .safetensors, .* got .*{name}, which is {of}'s suffix$"
    with pytest.raises(ValueError, match=f"^{wanted}"):
        classifier().save(tmp_path / name)
    X, y = samples()
    checkpoint = fastdnn.ModelCheckpoint(tmp_path / name)
    model = classifier()
    before = model.parameters.copy()
    with pytest.raises(ValueError, match=rf"^ModelCheckpoint\.{wanted}"):
        model.fit(X, y, callbacks=[checkpoint], verbose=0)
    np.testing.assert_array_equal(model.parameters, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["m", "m.safetensors", "m.model", "net.v1"])
def test_other_names_are_the_users_own(name: str, tmp_path: Path) -> None:
    classifier().save(tmp_path / name)
    fastdnn.load(tmp_path / name)


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
