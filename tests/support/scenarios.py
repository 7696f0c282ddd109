"""The servers of the thirty scenarios, and what their clients do."""

from __future__ import annotations

import random
import re
import select
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

from tests.support.process import NodeServer, Server
from tests.support.sockets import wait_until_stalled
from tests.support.waiting import LIMIT

PREFIX = b"Sending: "


#: So small that the server soon has to wait for the reader.
SMALL_BUFFER = 16384


TIMED_OUT = "Socket Timed out"


ERROR = "Socket Error"


class Peer:
    """Starts servers of one kind, and ends them.

    :ivar early: by how much a time-out may seem early: Node counts whole milliseconds.
    """

    def __init__(self, kind: str, stack: ExitStack) -> None:
        self.kind = kind
        self.early = 0.005 if kind == "node" else 0.0
        self._stack = stack

    def start(self, *options: str, host: str = "127.0.0.1", node: tuple[str, ...] = ()) -> Server:
        """
        :param options: of both kinds.
        :param node: options of the Node server alone.
        """
        if self.kind == "node":
            server: Server = NodeServer("--host", host, *options, *node)
        else:
            listen = "tcp:0" if host == "::" else f"tcp:0:interface={host}"
            server = Server("--listen", listen, *options)
        self._stack.callback(server.close)
        return server


class Gone(NamedTuple):
    """What a "Client disconnected" line says."""

    outcome: str
    bytes_in: int
    bytes_out: int
    remaining: int


def gone(server: Server, count: int = 1) -> Gone:
    """Wait until ``count`` clients have left; what was said of the last."""
    line = server.wait_lines("Client disconnected", count)[count - 1]
    outcome, *numbers = re.search(
        r"outcome = (\S+) bytes in = (\d+) bytes out = (\d+) .*Remaining Connections: (\d+)$", line
    ).groups()
    return Gone(outcome, *map(int, numbers))


def payload(size: int) -> bytes:
    """Bytes without a pattern: whatever is lost, repeated or moved shows."""
    data = random.Random(size).randbytes(size)
    assert PREFIX not in data
    return data


def unprefixed(stream: bytes) -> bytes:
    return stream.replace(PREFIX, b"")


def finish(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def converse(client: socket.socket, data: bytes, read: Callable[[socket.socket], bytes]) -> bytes:
    """Send ``data`` and FIN in a thread while ``read`` reads."""

    def send() -> None:
        client.sendall(data)
        finish(client)

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        stream = read(client)
        sending.result(LIMIT)
    return stream


def read_slowly(client: socket.socket) -> bytes:
    """Everything until the FIN; each of the first pieces only once the server reads no more."""
    pieces: list[bytes] = []
    while True:
        if len(pieces) < 4:
            wait_until_stalled(client)
        pieces.append(client.recv(65536))
        if not pieces[-1]:
            return b"".join(pieces)


def send_until_stalled(client: socket.socket, data: bytes) -> int:
    """Send all of ``data``, or until nothing was taken for half a second; say how much went."""
    sent = 0
    client.setblocking(False)
    view = memoryview(data)
    while sent < len(data) and select.select([], [client], [], 0.5)[1]:
        sent += client.send(view[sent : sent + 65536])
    client.settimeout(LIMIT)
    return sent
