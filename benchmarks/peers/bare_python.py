"""The least that an echo with the prefix costs in Python: a loop, and no features.

No back-pressure, no deadlines, no counts, no errors: what the kernel does not take is
lost. Only for messages that always fit.

Usage: ``bare_python.py ADDRESS``; ADDRESS is 127.0.0.1:PORT.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable

PREFIX = b"Sending: "
READ = 65536

host, port = sys.argv[1].split(":")
listener = socket.create_server((host, int(port)), backlog=511)
listener.setblocking(False)
poller = select.epoll()
poller.register(listener, select.EPOLLIN)
clients: dict[int, socket.socket] = {}
receivers: dict[int, Callable[[memoryview], int]] = {}
senders: dict[int, Callable[[memoryview], int]] = {}
whole = memoryview(bytearray(PREFIX + bytes(READ)))
room = whole[len(PREFIX) :]
replies = [whole[: len(PREFIX) + size] for size in range(READ + 1)]


def accept() -> None:
    """Take one client in."""
    client, _ = listener.accept()
    client.setblocking(False)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    fd = client.fileno()
    clients[fd], receivers[fd], senders[fd] = client, client.recv_into, client.send
    poller.register(fd, select.EPOLLIN)


def leave(fd: int) -> None:
    """Close one."""
    poller.unregister(fd)
    clients.pop(fd).close()


while True:
    for fd, _ in poller.poll(-1, 512):
        if fd not in clients:
            accept()
            continue
        try:
            size = receivers[fd](room)
        except OSError:
            size = 0
        if size:
            senders[fd](replies[size])
        else:
            leave(fd)
