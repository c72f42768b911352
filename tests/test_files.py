import errno
import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from fastdnn._files import checked_output, replacing
from tests.faults import ERRORS, errors, kills, largest_file


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
    left = tmp_path / ".fastdnn-0"
    left.mkdir()
    for name in ("a.txt", ".tmpXyz"):
        (left / name).write_text("a part that is longer than what comes")
    for name in ("a.txt", "b.txt"):
        with replacing(tmp_path / name) as temporary:
            assert temporary == left / name
            assert list(left.iterdir()) == []
            temporary.write_text(name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_a_writer_may_make_a_file_of_its_own_first(tmp_path: Path) -> None:
    """As safetensors does: the mode goes to the file that there is at the end."""
    path, mask = tmp_path / "a.txt", os.umask(0o027)
    try:
        with replacing(path) as temporary:
            other = temporary.with_name(".tmpXyz")
            other.write_text("new")
            other.chmod(0o600)
            other.rename(temporary)
    finally:
        after = os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o640
    assert after == 0o027  # reading it sets it
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_have_files_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as one:
        with replacing(path) as other:
            assert one != other
            one.write_text("one")
            other.write_text("other")
        assert path.read_text() == "other"
        third = replacing(path)
        other = third.__enter__()
        other.touch()
        assert not third.__exit__(KeyError, KeyError(), None)
        assert not other.exists()
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_folder_of_ours_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("other")
    (tmp_path / ".fastdnn-0").symlink_to(other)
    (tmp_path / ".fastdnn-1").write_text("other")
    (tmp_path / ".fastdnn-2" / "folder").mkdir(parents=True)
    with replacing(tmp_path / "a.txt") as temporary:
        assert temporary.parent.name == ".fastdnn-3"
        temporary.write_text("new")
    assert (other / "file").read_text() == "other"
    assert (tmp_path / ".fastdnn-1").read_text() == "other"
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_another_users_folder_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / ".fastdnn-0").mkdir()
    os.chown(tmp_path / ".fastdnn-0", 54321, 54321)
    with replacing(tmp_path / "a.txt") as temporary:
        assert temporary.parent.name == ".fastdnn-1"
        temporary.write_text("new")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    path = tmp_path / "a.txt"
    with replacing(path) as one:
        one.write_text("one")
        with replacing(path) as other:
            assert other.parent != one.parent
            other.write_text("other")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


# ------------------------------------------------------------------------------------------ faults
@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
def test_an_error_at_any_call(code: int, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    def write() -> None:
        path.write_text("old")
        with replacing(path) as temporary:
            temporary.write_text("new")

    found = set()
    for error in errors(code, write):
        text = path.read_text()
        found.add((text, error is None))
        assert text == "old" or error is None
        if error is not None:
            assert (error.errno, error.filename) == (code, str(path))
        assert len(list(tmp_path.iterdir())) <= 2
    write()
    assert found == {("old", False), ("new", True)}
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_at_any_call(tmp_path: Path) -> None:
    path, found = tmp_path / "a.txt", set()
    path.write_text("old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("new")

    for _ in kills(write):
        found.add(path.read_text())
        assert len(list(tmp_path.iterdir())) <= 2
        path.write_text("old")
    write()
    assert found == {"old", "new"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("size", [0, 1, 4096, 99_999])
def test_a_disk_that_is_full_while_a_file_is_written(size: int, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with (
        largest_file(size),
        pytest.raises(OSError, match="File too large") as error,
        replacing(path) as temporary,
        temporary.open("w") as file,
    ):
        file.write("x" * 100_000)
    assert (error.value.errno, error.value.filename) == (errno.EFBIG, str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / "a.txt"):
        (tmp_path / "missing").read_text()
    assert error.value.filename == str(tmp_path / "missing")


def test_a_disk_that_is_full_before_is_no_wrong_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "xyz"))

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match="No space left") as error:
        checked_output(str(path), "--output")
    assert error.value.filename == str(path)
