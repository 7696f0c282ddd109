"""Options of sockets."""

from __future__ import annotations

import socket

#: Longest TCP_USER_TIMEOUT that the kernel accepts, ms.
_MAX_USER_TIMEOUT = 2**31 - 1


_HAS_IDLE = hasattr(socket, "TCP_KEEPIDLE")


def tune(handle: socket.SocketType, nagle: bool, keep_alive: int, stall: float) -> None:
    """Set the options of a TCP socket; do nothing to another. Linux copies a listener's.

    :param nagle: whether to delay small segments (Nagle's algorithm).
    :param keep_alive: seconds without traffic until the first keep-alive probe; 0 = none.
    :param stall: seconds without progress after which this package ends the connection; 0 =
        never. The kernel ends it (TCP_USER_TIMEOUT) a little later.
    :raises OSError: the connection is closed.
    """
    if handle.family not in (socket.AF_INET, socket.AF_INET6):
        return
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, not nagle)
    if keep_alive:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # macOS calls the first one TCP_KEEPALIVE.
        set_tcp(handle, "TCP_KEEPIDLE" if _HAS_IDLE else "TCP_KEEPALIVE", keep_alive)
        set_tcp(handle, "TCP_KEEPINTVL", 1)
        set_tcp(handle, "TCP_KEEPCNT", 10)
    if stall:
        # Later than our own check, which records the outcome as a stall.
        limit = min(int(1000 * (1.25 * stall + 1)), _MAX_USER_TIMEOUT)
        set_tcp(handle, "TCP_USER_TIMEOUT", limit)


def set_tcp(handle: socket.SocketType, name: str, value: int) -> None:
    """Set a TCP option, if the system has it."""
    option: int | None = getattr(socket, name, None)
    if option is not None:
        handle.setsockopt(socket.IPPROTO_TCP, option, value)
