import os
from pathlib import Path

import pytest

from fastdnn._files import replacing


def test_file_appears_whole_with_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    mask = os.umask(0o022)
    try:
        with replacing(path) as temporary:
            assert temporary.suffix == ".txt"
            temporary.write_text("new")
            assert not path.exists()
    finally:
        os.umask(mask)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path) as temporary:
        temporary.with_name("no such").rename(temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
