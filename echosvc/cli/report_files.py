"""Files that a report is written to: whole, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from secrets import token_hex

from echosvc.cli.terminal import write_all

#: Errors of a new file, or of its move, where an existing one may still be written in place: its
#: directory takes no new files, or it is a mount point, as a file of a container may be.
_IN_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV)


def check_writable(path: str) -> None:
    """Check that a report can be written to a path. Nothing stays behind.

    :raises OSError: it cannot; names the path.
    """
    try:
        mode = _mode(path)
        if mode is None:
            descriptor, temporary = _create_beside(os.path.realpath(path))
            os.close(descriptor)
            os.unlink(temporary)
        elif stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
        elif not os.access(path, os.W_OK):  # to open a device, or a FIFO, would do something
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def write_report(path: str, data: bytes) -> None:
    """Write a report. A reader of the path sees what was there before, or all of it.

    A device, a FIFO, and a file that cannot be replaced, are written in place.

    :raises OSError: it cannot be written; names the path.
    """
    try:
        mode = _mode(path)
        if mode is None or stat.S_ISREG(mode):
            _replace(os.path.realpath(path), data, mode)
        else:
            _write_in_place(path, data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def _mode(path: str) -> int | None:
    """Return the type and the permissions of a file; ``None``: there is none."""
    if not os.path.basename(path):  # realpath would drop the slash
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _replace(path: str, data: bytes, mode: int | None) -> None:
    """Write a new file and move it to the path, with the permissions of the one before."""
    try:
        descriptor, temporary = _create_beside(path)
    except OSError as error:
        _write_after(error, path, data, mode)
        return
    try:
        with os.fdopen(descriptor, "wb", buffering=0):
            write_all(descriptor, data)
            if mode is not None:
                os.fchmod(descriptor, stat.S_IMODE(mode))
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        _write_after(error, path, data, mode)


def _write_after(error: BaseException, path: str, data: bytes, mode: int | None) -> None:
    """Write in place where an existing file cannot be replaced, else raise the error."""
    if mode is None or not isinstance(error, OSError) or error.errno not in _IN_PLACE:
        raise error
    _write_in_place(path, data)


def _write_in_place(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        write_all(descriptor, data)
    finally:
        os.close(descriptor)


def _create_beside(path: str) -> tuple[int, str]:
    """Create a file in the directory of another one; return its descriptor and its path."""
    name = f".echosvc-{os.getpid()}-{token_hex(4)}"
    temporary = os.path.join(os.path.dirname(path), name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.open(temporary, flags, 0o666), temporary
