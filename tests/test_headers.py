"""The description in a model's file is bounded before anything is made of it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from fastdnn import _headers, checkpoint
from fastdnn._headers import check_header, parsed


def headed(path: Path, header: bytes, size: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if size is None else size) + header)
    return path


def test_what_is_usual_comes_back(tmp_path: Path) -> None:
    value: dict[str, Any] = {"a": [1, 2.5, None, {"b": "x"}], "c": {}}
    assert parsed(json.dumps(value)) == parsed(json.dumps(value).encode()) == value
    check_header(headed(tmp_path / "a", json.dumps(value).encode()))


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "b": 2, "a": 3}}]'])
def test_a_name_twice(text: str, tmp_path: Path) -> None:
    for given in (text, text.encode()):
        with pytest.raises(ValueError, match=r"^a name is there twice$"):
            parsed(given)
    with pytest.raises(ValueError, match="twice"):
        check_header(headed(tmp_path / "a", text.encode()))


@pytest.mark.parametrize("mark", ["[],", "{},", "1,"])
def test_many_values(mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_headers, "MOST_VALUES", 20)
    assert len(parsed(f"[{mark * 5}1]")) == 6
    for given in (f"[{mark * 30}1]", f"[{mark * 30}1]".encode()):
        with pytest.raises(ValueError, match=r"^want up to 20 values, got \d\d$"):
            parsed(given)


def test_a_large_header_is_not_read(tmp_path: Path) -> None:
    path = headed(tmp_path / "a", b"{}", size=_headers.MOST_HEADER + 1)
    with pytest.raises(ValueError, match=r"^want a header of up to 20,000,000 bytes, got 2"):
        check_header(path)


def test_many_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_headers, "MOST_TENSORS", 3)
    tensors = {str(i): {"data_offsets": [0, 0]} for i in range(4)}
    with pytest.raises(ValueError, match=r"^want up to 3 tensors, got 4$"):
        check_header(headed(tmp_path / "a", json.dumps(tensors).encode()))
    del tensors["0"]
    check_header(headed(tmp_path / "a", json.dumps(tensors).encode()))


def test_what_could_not_be_read_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "MOST_HEADER", 100)
    path = tmp_path / "model"
    with pytest.raises(OSError, match="description is too large") as error:
        checkpoint.write(path, checkpoint.Content({"a": "x" * 100}, {}, {}))
    assert error.value.filename == str(path)
    assert not path.exists()
