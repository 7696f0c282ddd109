"""Options of sockets, and what the kernel knows of one. Linux first; others where they can."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import sys
import termios
from typing import cast

#: Longest TCP_USER_TIMEOUT that the kernel accepts, ms.
_MAX_USER_TIMEOUT = 2**31 - 1
#: macOS calls the option TCP_KEEPALIVE.
_KEEP_IDLE = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"

#: Bytes that are asked for of ``struct tcp_info``: more than any Linux knows so far, 280.
_TCP_INFO_SIZE = 512


def tune(handle: socket.SocketType, nagle: bool, keep_alive: int, stall: float) -> None:
    """Set the options of a TCP socket; do nothing to another. Linux copies a listener's.

    :param nagle: whether to delay small segments (Nagle's algorithm).
    :param keep_alive: seconds without traffic until the first keep-alive probe; 0 = none.
    :param stall: seconds without progress after which this package ends the connection; 0 =
        never. The kernel ends it (TCP_USER_TIMEOUT) a little later.
    :raises OSError: the connection is closed.
    """
    if not is_tcp(handle):
        return
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, not nagle)
    if keep_alive:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        set_tcp(handle, _KEEP_IDLE, keep_alive)
        set_tcp(handle, "TCP_KEEPINTVL", 1)
        set_tcp(handle, "TCP_KEEPCNT", 10)
    if stall:
        # Later than our own check, which records the outcome as a stall.
        limit = min(int(1000 * (1.25 * stall + 1)), _MAX_USER_TIMEOUT)
        set_tcp(handle, "TCP_USER_TIMEOUT", limit)


def cork(handle: socket.SocketType) -> None:
    """Hold back small segments of a TCP socket until the FIN, at most 200 ms.

    Linux only; nothing happens elsewhere. Source: tcp(7), TCP_CORK.

    :raises OSError: the connection is gone.
    """
    if is_tcp(handle):
        set_tcp(handle, "TCP_CORK", 1)


def is_tcp(handle: socket.SocketType) -> bool:
    """Return whether a stream socket is one of TCP, not of UNIX."""
    return handle.family in (socket.AF_INET, socket.AF_INET6)


def has_error(handle: socket.SocketType) -> bool:
    """Return whether an error, such as a reset, waits on the socket; it is taken from there."""
    return handle.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def take_error(handle: socket.SocketType) -> str:
    """Return the name of the error that waits on a socket, and take it from there; "": none.

    It may be a soft one, such as an ICMP message that Linux noted while it went on trying.
    """
    try:
        number = handle.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError:
        return ""
    return errno.errorcode.get(number, "") if number else ""


def unacknowledged(fd: int) -> int:
    """Return the bytes in a socket's send queue that the peer's kernel has not confirmed.

    0 where that cannot be known. Source: tcp(7), SIOCOUTQ.
    """
    try:
        size = fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError, AttributeError):  # no such call, or closed already
        return 0
    return cast(int, struct.unpack("i", size)[0])


def read_tcp_info(handle: socket.SocketType) -> bytes:
    """Return Linux's ``struct tcp_info`` of a TCP connection, as long as this kernel has it.

    ``b""``: it is no TCP connection, it is gone, or the kernel is not Linux: others have another
    structure of that name.
    """
    known = sys.platform == "linux" and hasattr(socket, "TCP_INFO")
    if not known or not is_tcp(handle):
        return b""
    try:
        return handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    except OSError:
        return b""


def set_tcp(handle: socket.SocketType, name: str, value: int) -> None:
    """Set a TCP option, if the system has it."""
    option: int | None = getattr(socket, name, None)
    if option is not None:
        handle.setsockopt(socket.IPPROTO_TCP, option, value)
