"""Options of sockets."""

from __future__ import annotations

import socket

#: The kernel takes no longer TCP_USER_TIMEOUT, ms.
_LONGEST_LIMIT = 2**31 - 1


_HAS_IDLE = hasattr(socket, "TCP_KEEPIDLE")


def tune(handle: socket.SocketType, nagle: bool, keep_alive: int, stall: float) -> None:
    """As :meth:`Sender.tune`. What a listening socket has, its connections have from it.

    :raises OSError: the connection is gone.
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
        # Later than we would find out: then the connection has its own word for it.
        limit = min(int(1000 * (1.25 * stall + 1)), _LONGEST_LIMIT)
        set_tcp(handle, "TCP_USER_TIMEOUT", limit)


def set_tcp(handle: socket.SocketType, name: str, value: int) -> None:
    """Set an option of TCP, where the system has it."""
    option: int | None = getattr(socket, name, None)
    if option is not None:
        handle.setsockopt(socket.IPPROTO_TCP, option, value)
