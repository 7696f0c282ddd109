"""Clients in numbers, and what a server uses."""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from tests.support.process import Process, Server
from tests.support.waiting import LIMIT

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


_PINGING = """
import json, signal, socket, sys, time
times, wrong, going = [], 0, [True]
signal.signal(signal.SIGTERM, lambda *_: going.clear())
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60)
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print("ready", flush=True)
while going:
    began = time.perf_counter()
    client.sendall(b"ping")
    reply = b""
    while len(reply) < 13 and (piece := client.recv(13 - len(reply))):
        reply += piece
    times.append(time.perf_counter() - began)
    wrong += reply != b"Sending: ping"
    if not reply:
        break
    time.sleep(0.002)
print(json.dumps({"wrong": wrong, "times": sorted(times)}), flush=True)
"""


class Pinger:
    """For the length of a ``with``: one more client, that asks and waits again and again.

    It is a process of its own: in this one it would wait for the others' Python.

    :ivar wrong: replies that were not right.
    :ivar times: how long each took, seconds, in order of length.
    """

    def __init__(self, server: Server) -> None:
        self.wrong = 0
        self.times: list[float] = []
        self._process = Process([sys.executable, "-c", _PINGING, str(server.port)])
        self._process.wait_line("ready")

    def percentile(self, part: float) -> float:
        """So long did a reply take at most in this part of all cases, seconds."""
        return self.times[min(len(self.times) - 1, int(len(self.times) * part))]

    def __enter__(self) -> Pinger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.signal()
        self._process.wait()
        found = json.loads(self._process.lines[-1])
        self._process.close()
        self.wrong, self.times = found["wrong"], found["times"]
