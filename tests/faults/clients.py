"""Clients in numbers, and what a server uses."""

from __future__ import annotations

import os
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from tests.harness import LIMIT, Server, connect, receive_exactly

PREFIX = b"Sending: "
#: Loopback addresses that clients use in turn: one has too few ports for ever.
_SOURCES = 8
#: Descriptors for other things than the crowd.
_RESERVE = 200


def allow_descriptors(wanted: int) -> int:
    """Let this process have them; give how many clients it can be, at most ``wanted``."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(hard, wanted + _RESERVE)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return min(wanted, most - _RESERVE)


def descriptors(server: Server) -> int:
    """How many a server has open."""
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def cpu(server: Server) -> float:
    """What a server has used so far, seconds."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def crowd(server: Server, count: int, buffer: int = 0) -> Iterator[list[socket.socket]]:
    """So many connections to a server, non-blocking; closed at the end.

    :param buffer: SO_RCVBUF of each, bytes; 0 = as the system likes.
    """
    clients: list[socket.socket] = []
    try:
        for number in range(count):
            client = socket.socket()
            clients.append(client)
            client.settimeout(LIMIT)
            if buffer:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            client.bind((f"127.0.0.{2 + number % _SOURCES}", 0))
            client.connect(("127.0.0.1", server.port))
            client.setblocking(False)
        yield clients
    finally:
        for client in clients:
            client.close()


def echo_all(clients: list[socket.socket], message: bytes) -> int:
    """Each sends the message and waits for its reply; give how many heard another."""
    for client in clients:
        client.send(message)
    wanted = PREFIX + message
    poller = select.epoll()
    by_number = {client.fileno(): client for client in clients}
    heard = dict.fromkeys(by_number, b"")
    for number in by_number:
        poller.register(number, select.EPOLLIN)
    end = time.monotonic() + LIMIT
    waiting = len(clients)
    while waiting and time.monotonic() < end:
        for number, _ in poller.poll(1.0):
            with suppress(BlockingIOError):
                heard[number] += by_number[number].recv(1000) or b"?"
            if len(heard[number]) >= len(wanted):
                poller.unregister(number)
                waiting -= 1
    poller.close()
    return sum(each != wanted for each in heard.values())


class Pinger:
    """For the length of a ``with``: one more client, that asks and waits again and again.

    :ivar wrong: replies that were not right.
    """

    def __init__(self, server: Server) -> None:
        self.wrong = 0
        self._times: list[float] = []
        self._ended = threading.Event()
        self._socket = connect(("127.0.0.1", server.port))
        self._thread = threading.Thread(target=self._ping, daemon=True)

    def _ping(self) -> None:
        while not self._ended.wait(0.002):
            began = time.perf_counter()
            self._socket.sendall(b"ping")
            self.wrong += receive_exactly(self._socket, 13) != PREFIX + b"ping"
            self._times.append(time.perf_counter() - began)

    def percentile(self, part: float) -> float:
        """So long did a reply take at most in this part of all cases, seconds."""
        times = sorted(self._times)
        assert times, "it never got a reply"
        return times[min(len(times) - 1, int(len(times) * part))]

    def __enter__(self) -> Pinger:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(LIMIT)
        self._socket.close()
