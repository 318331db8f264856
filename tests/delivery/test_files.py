"""Files that are there whole or not at all."""

from pathlib import Path

import pytest

from app.delivery.files import DestinationError, write_whole


def test_a_file_is_written_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "2026" / "weekly.csv"

    write_whole(path, b"a,b\r\n")

    assert path.read_bytes() == b"a,b\r\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_was_there_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "weekly.csv"
    path.write_bytes(b"old and longer")

    write_whole(path, b"new")

    assert path.read_bytes() == b"new"


def test_a_folder_in_its_place_is_an_error_that_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "weekly.csv"
    path.mkdir()
    (path / "kept").write_bytes(b"kept")

    with pytest.raises(DestinationError) as caught:
        write_whole(path, b"new")

    assert str(path) in caught.value.message
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == [path]
    assert (path / "kept").read_bytes() == b"kept"


def test_a_file_where_a_folder_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "reports").write_bytes(b"a file")

    with pytest.raises(DestinationError):
        write_whole(tmp_path / "reports" / "weekly.csv", b"new")


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "weekly.csv"
    write_whole(path, b"old")

    with path.open("rb") as reader:
        write_whole(path, b"new")

        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_the_file_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    path = tmp_path / "weekly.csv"
    plain = tmp_path / "plain.csv"
    plain.write_bytes(b"")

    write_whole(path, b"new")

    assert path.stat().st_mode == plain.stat().st_mode
