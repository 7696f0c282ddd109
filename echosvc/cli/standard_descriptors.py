"""Descriptors 0, 1 and 2, which the next file or socket takes where they are closed.

Then what is meant for standard output goes into a connection; and when Twisted becomes a
daemon, it puts ``/dev/null`` over its own epoll descriptor, whose main loop then fails
for ever.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

#: How each is opened where it was closed: so that using it still fails with EBADF, as the C
#: library does for set-user-ID programs (glibc, csu/check_fds.c).
_MODES = {0: os.O_WRONLY, 1: os.O_RDONLY, 2: os.O_RDONLY}


def hold_standard() -> None:
    """Open those of the three that are closed, so that nothing else gets their numbers.

    :raises OSError: ``/dev/null`` cannot be opened.
    """
    for number in _MODES:
        if not _is_open(number):
            _hold(number, _MODES[number])


def taken_standard() -> list[int]:
    """Give those of the three that this process itself has opened for something else.

    What came with its start is never closed by ``exec``; what Python opens always is.
    """
    return [number for number in _MODES if _is_open(number) and not os.get_inheritable(number)]


def start_again(environ: Mapping[str, str]) -> None:
    """Execute this program anew, with the three held from the beginning.

    For when something that cannot be moved has one of them, such as the reactor. Does not return.

    :raises OSError: it cannot be executed.
    """
    for number in taken_standard():
        _hold(number, os.O_RDWR)  # the new start takes it for a stream that can be used
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606


def _hold(number: int, mode: int) -> None:
    null = os.open(os.devnull, mode)
    if null == number:
        os.set_inheritable(null, True)
        return
    os.dup2(null, number)  # inheritable, as what came with the start
    os.close(null)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
