"""Files of reports: written whole, or not at all; on a real file system."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from echosvc.cli import report_files
from echosvc.cli.report_files import check_writable, write_report
from tests.support.waiting import LIMIT


def test_a_report_is_written_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    check_writable(str(path))
    assert list(tmp_path.iterdir()) == []
    write_report(str(path), b"one")
    write_report(str(path), b"2")
    assert (list(tmp_path.iterdir()), path.read_bytes()) == ([path], b"2")


def test_a_new_report_has_the_permissions_of_a_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_report(str(tmp_path / "a"), b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_report_keeps_the_permissions_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    path.chmod(0o604)
    write_report(str(path), b"1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_symbolic_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to(file)
    for data in (b"1", b"2"):
        check_writable(str(link))
        write_report(str(link), data)
        assert (link.is_symlink(), file.read_bytes()) == (True, data)


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    """The reader opens the path again and again while reports are written."""
    path, sizes, done = tmp_path / "a", set[int](), threading.Event()
    write_report(str(path), b"x" * 1_000_000)

    def read() -> None:
        while not done.is_set():
            sizes.add(len(path.read_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        write_report(str(path), b"x" * 1_000_000)
    done.set()
    reader.join(LIMIT)
    assert sizes == {1_000_000}


def test_a_full_disk_leaves_the_report_before_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    with failing("write_all", errno.ENOSPC, monkeypatch), pytest.raises(OSError, match="No space"):
        write_report(str(path), b"after")
    assert (list(tmp_path.iterdir()), path.read_bytes()) == ([path], b"before")


@contextmanager
def failing(name: str, error: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The system refuses what this function does."""

    def fail(*_: Any) -> None:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        patch.setattr(report_files, name, fail)
        yield


def test_a_file_that_cannot_be_replaced_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a container that is a mount point, or whose directory takes no new files."""
    path = tmp_path / "a"
    path.write_bytes(b"a longer one before")
    with monkeypatch.context() as patch:
        patch.setattr(report_files.os, "replace", _busy)
        write_report(str(path), b"after")
    assert (list(tmp_path.iterdir()), path.read_bytes()) == ([path], b"after")
    with failing("_create_beside", errno.EACCES, monkeypatch):
        write_report(str(path), b"again")
    assert path.read_bytes() == b"again"


def _busy(*_: Any) -> None:
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("missing/a", "No such file"),
        ("", "Is a directory"),
        ("new/", "Is a directory"),
        ("file/a", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("loop", "Too many levels"),
    ],
)
def test_a_path_that_cannot_be_written_is_named(tmp_path: Path, name: str, error: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    path = f"{tmp_path}/{name}"
    with pytest.raises(OSError, match=error) as caught:
        check_writable(path)
    assert caught.value.filename == path
    with pytest.raises(OSError, match=error):
        write_report(path, b"")
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every file")
def test_a_file_without_the_permission_to_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o444)
    with pytest.raises(PermissionError):
        check_writable(str(path))


def test_a_device_and_a_fifo_are_written_in_place(tmp_path: Path) -> None:
    check_writable("/dev/null")
    write_report("/dev/null", b"1")
    with pytest.raises(OSError, match="No space") as caught:
        write_report("/dev/full", b"1")
    assert caught.value.filename == "/dev/full"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    check_writable(str(fifo))
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write_report(str(fifo), b"all of it")
    assert os.read(reader, 100) == b"all of it"
    os.close(reader)
