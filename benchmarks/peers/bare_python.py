"""The least that an echo with the prefix costs in Python: a loop, and no features.

No back-pressure, no deadlines, no counts, no errors, no limit of a chunk: where the kernel does not
take a reply, it waits until it does. After a full read it reads on without an event.

Usage: ``bare_python.py ADDRESS``; ADDRESS is 127.0.0.1:PORT.
"""

from __future__ import annotations

import mmap
import select
import socket
import sys
from collections.abc import Callable

PREFIX = b"Sending: "
READ = 60 * 1024
CACHED = 2048

host, port = sys.argv[1].split(":")
listener = socket.create_server((host, int(port)), backlog=511)
listener.setblocking(False)
poller = select.epoll()
poller.register(listener, select.EPOLLIN)
clients: dict[int, socket.socket] = {}
receivers: dict[int, Callable[[memoryview], int]] = {}
senders: dict[int, Callable[[memoryview], int]] = {}
# In mid-page, as in floor.c.
middle = mmap.PAGESIZE // 2
memory = memoryview(mmap.mmap(-1, middle + READ, access=mmap.ACCESS_COPY))
whole, room = memory[middle - len(PREFIX) :], memory[middle:]
whole[: len(PREFIX)] = PREFIX
replies = [whole[: len(PREFIX) + size] for size in range(CACHED)]


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


def send_rest(fd: int, rest: memoryview) -> None:
    """Wait until the kernel has taken the rest of a reply."""
    client = clients[fd]
    client.setblocking(True)
    client.sendall(rest)
    client.setblocking(False)


def answer(fd: int) -> bool:
    """Read once and answer; return whether there may be more."""
    try:
        size = receivers[fd](room)
    except BlockingIOError:
        return False
    except OSError:
        size = 0
    if not size:
        leave(fd)
        return False
    reply = replies[size] if size < CACHED else whole[: len(PREFIX) + size]
    try:
        taken = senders[fd](reply)
    except BlockingIOError:
        taken = 0
    if taken < len(reply):
        send_rest(fd, reply[taken:])
    return size == READ


while True:
    for fd, _ in poller.poll(-1, 512):
        if fd in clients:
            while answer(fd):
                pass
        else:
            accept()
