"""Descriptors 0, 1 and 2, which the next file or socket gets where they are closed.

Then what is meant for standard output is sent on a connection. When Twisted becomes a daemon, it
replaces its own epoll descriptor by ``/dev/null``, and its main loop fails from then on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

#: The mode in which each is opened when it was closed. Using it still fails with EBADF, as with
#: the C library for set-user-ID programs (glibc, csu/check_fds.c).
_MODES = {0: os.O_WRONLY, 1: os.O_RDONLY, 2: os.O_RDONLY}


def reserve_descriptors() -> None:
    """Open those of the three that are closed, so that nothing else gets their numbers.

    :raises OSError: ``/dev/null`` cannot be opened.
    """
    for number in _MODES:
        if not _is_open(number):
            _open_null(number, _MODES[number])


def reused_descriptors() -> list[int]:
    """Return those of the three that this process has opened for something else.

    ``exec`` never closes the descriptors that a process is started with, and always closes those
    that Python opens.
    """
    return [number for number in _MODES if _is_open(number) and not os.get_inheritable(number)]


def execute_again(environ: Mapping[str, str]) -> None:
    """Execute this program again, with the three descriptors open. Does not return.

    It is needed when one of them belongs to something that cannot be moved, such as the reactor.

    :raises OSError: it cannot be executed.
    """
    for number in reused_descriptors():
        _open_null(number, os.O_RDWR)  # the new process finds a usable stream
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606


def _open_null(number: int, mode: int) -> None:
    null = os.open(os.devnull, mode)
    if null == number:
        os.set_inheritable(null, True)
        return
    os.dup2(null, number)  # inheritable, like those that a process is started with
    os.close(null)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
