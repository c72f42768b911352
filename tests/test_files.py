import errno
import os
from pathlib import Path

import pytest

from fastdnn._files import checked_output, replacing


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


def test_a_link_stays_and_a_file_keeps_its_mode(tmp_path: Path) -> None:
    target, link = tmp_path / "folder" / "a.txt", tmp_path / "link.txt"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(target.parent.iterdir()) == [target]


def test_a_pipe_is_refused_and_stays(tmp_path: Path) -> None:
    path, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(path)
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(ValueError, match=f"^path: {name} is a device or a pipe"):
            replacing(name).__enter__()
        with pytest.raises(ValueError, match=f"^--output: {name} is a device or a pipe"):
            checked_output(str(name), "--output")
    assert path.is_fifo()
    assert link.is_symlink()


def test_an_output_is_no_input(tmp_path: Path) -> None:
    data, link = tmp_path / "data.csv", tmp_path / "link.csv"
    data.touch()
    link.symlink_to(data)
    for name in (data, link):
        with pytest.raises(ValueError, match=r"^--output: want another file than the input, got "):
            checked_output(str(name), "--output", ["other.csv", str(data)])
    new = tmp_path / "new.csv"
    assert checked_output(str(new), "--output", [str(data)]) == new


def test_the_folder_of_an_output_is_where_its_link_leads(tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "no" / "a.csv")
    with pytest.raises(ValueError, match=f"^--output: there is no folder {tmp_path}/no; make it"):
        checked_output(str(link), "--output")


def test_errors_name_the_path_that_was_given(tmp_path: Path) -> None:
    path = tmp_path / "no" / "a.txt"
    with pytest.raises(FileNotFoundError) as error:
        replacing(path).__enter__()
    assert error.value.filename == str(path)
    assert error.value.__suppress_context__
    path = tmp_path / "file" / "a.txt"
    path.parent.touch()
    with pytest.raises(NotADirectoryError) as error:
        replacing(path).__enter__()
    assert error.value.filename == str(path)


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / f"{251 * 'a'}.txt"
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc, where nobody makes files")
def test_a_folder_that_only_looks_writable() -> None:
    with pytest.raises(ValueError, match=r"^--output: the folder /proc cannot be written; choose"):
        checked_output("/proc/a.txt", "--output")


# ---------------------------------------------------------------------------- temporary files
def test_what_a_killed_process_left_is_taken_again(tmp_path: Path) -> None:
    left = tmp_path / ".fastdnn-0.txt"
    left.write_text("a part that is longer than what comes")
    for name in ("a.txt", "b.txt"):
        with replacing(tmp_path / name) as temporary:
            assert temporary == left
            assert temporary.read_text() == ""
            temporary.write_text(name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_two_writers_have_files_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as one:
        with replacing(path) as other:
            assert one != other
            one.write_text("one")
            other.write_text("other")
        assert path.read_text() == "other"
        third = replacing(path)
        assert third.__enter__() == other
        assert not third.__exit__(KeyError, KeyError(), None)
        assert not other.exists()
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_file_of_ours_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("other")
    (tmp_path / ".fastdnn-0.txt").symlink_to(other)
    (tmp_path / ".fastdnn-1.txt").mkdir()
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert other.read_text() == "other"
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("call", ["fsync", "fchmod", "replace"])
def test_a_failing_call_leaves_the_old_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left") as error, replacing(path) as temporary:
        temporary.write_text("new")
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
