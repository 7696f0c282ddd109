"""A TLS client that chooses its own segments, and the server that it meets."""

from __future__ import annotations

import errno
import fcntl
import select
import socket
import ssl
import sys
import termios
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from echosvc import EchoProtocol
from echosvc import connect as connect_client
from echosvc.endpoints import client_endpoint
from tests.support.payload import KIB, MIB, READ
from tests.support.reactor import serving, until, within
from tests.support.recording import Recording
from tests.support.sockets import connect
from tests.support.waiting import LIMIT

GREETING = b"GREETING GREETING "


#: What TLS adds to what may be queued, generously.
ENCRYPTION = 120 * KIB


#: How a client may say its end.
NOTIFY, NOTIFY_FIN, BARE_FIN = "close_notify", "close_notify and FIN", "FIN alone"


POLITE = (NOTIFY, NOTIFY_FIN)


def context(**settings: Any) -> ssl.SSLContext:
    """A client's, which verifies nothing."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    for name, value in settings.items():
        setattr(made, name, value)
    return made


ANY = context()


def serving_tls(factory: Any, pem: Path) -> Any:
    return serving(factory, f"ssl:0:interface=127.0.0.1:privateKey={pem}")


@dataclass
class Heard:
    """What a client has heard until TCP's end.

    :ivar data: the plain text.
    :ivar notified: a close_notify came before TCP's end.
    :ivar end: ``FIN``, or the name of the error.
    """

    data: bytes
    notified: bool
    end: str

    @property
    def polite(self) -> bool:
        return self.notified and self.end == "FIN"


class Peer:
    """A TLS client: what it sends goes through its own hands.

    Its calls block; every wait is bounded.
    """

    def __init__(
        self,
        address: Any,
        settings: ssl.SSLContext = ANY,
        name: str | None = None,
        receive_buffer: int = 0,
    ) -> None:
        self.socket = connect(address, receive_buffer=receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = settings.wrap_bio(self._in, self._out, server_hostname=name)
        self._data: list[bytes] = []
        self._notified = False

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def last_flight(self) -> bytes:
        """Shake hands; give our last flight, which is not sent yet."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.socket.sendall(self._out.read())
                self._take(self.socket.recv(READ))
            else:
                return self._out.read()

    def shake_hands(self) -> Peer:
        self.socket.sendall(self.last_flight())
        return self

    def _take(self, data: bytes) -> None:
        self._in.write(data) if data else self._in.write_eof()

    def sealed(self, data: bytes = b"", notify: bool = False) -> bytes:
        """``data`` in records, and our close_notify after it; nothing is sent."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.tls.write(rest) :]
        if notify:
            self._decrypt()  # so that there is nothing that OpenSSL might meet meanwhile
            with suppress(ssl.SSLWantReadError):  # the server's need not be there yet
                self.tls.unwrap()
        return self._out.read()

    def _decrypt(self) -> None:
        try:
            while data := self.tls.read(MIB):
                self._data.append(data)
            self._notified = True
        except ssl.SSLZeroReturnError:
            self._notified = True
        except (ssl.SSLWantReadError, ssl.SSLEOFError):
            pass

    def receive(self, size: int) -> bytes:
        """``size`` bytes of plain text, or what came before TCP's end."""
        self._decrypt()
        while sum(map(len, self._data)) < size and self._pull():
            pass
        return self._taken()

    def _taken(self) -> bytes:
        data, self._data = b"".join(self._data), []
        return data

    def converse(self, wire: bytes = b"", end: bool = False) -> Heard:
        """Send these very bytes, in one piece if the kernel takes it, and hear all.

        :param end: with a FIN after them, in the last packet.
        """
        todo, sending, how = memoryview(wire), bool(wire) or end, ""
        while not how:
            writers = [self.socket] if sending else []
            readable, writable, _ = select.select([self.socket], writers, [], LIMIT)
            assert readable or writable, f"nothing within {LIMIT} s"
            try:
                if writable:
                    todo = self._push(todo, end)
                    sending = bool(todo)
                if readable and not self._pull():
                    how = "FIN"
            except BlockingIOError:
                pass  # short of memory, the kernel may change its mind
            except ssl.SSLError:
                raise
            except OSError as error:
                how = errno.errorcode[error.errno]
        return Heard(self._taken(), self._notified, how)

    def _push(self, todo: memoryview, end: bool) -> memoryview:
        if todo:
            more = socket.MSG_MORE if end else 0
            todo = todo[self.socket.send(todo, socket.MSG_DONTWAIT | more) :]
        if end and not todo:
            self.socket.shutdown(socket.SHUT_WR)
        return todo

    def _pull(self) -> bool:
        data = self.socket.recv(READ)
        self._take(data)
        self._decrypt()
        return bool(data)


def ask(
    address: Any,
    data: bytes,
    how: str = NOTIFY,
    settings: ssl.SSLContext = ANY,
    name: str | None = None,
) -> Heard:
    """Say ``data`` and the end in one segment; hear everything."""
    with Peer(address, settings, name) as peer:
        peer.shake_hands()
        return peer.converse(peer.sealed(data, how != BARE_FIN), how != NOTIFY)


LINES = 1070


LONG = b"\xff" * 10_000


async def all_ended(factory: Recording, count: int) -> None:
    """As :func:`all_gone` where some never got as far as to be the application's."""
    await within(factory.when_idle())
    await until(lambda: len(factory.outcomes) == count)


def unread(connection: EchoProtocol) -> int:
    """Bytes that the kernel has for a server's connection."""
    size = fcntl.ioctl(connection.sender.socket.fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(size, sys.byteorder)


def to_server(port: int, roots: Path, host: str = "localhost", **settings: Any) -> Any:
    """Our client, connecting as an endpoint string says."""
    words = f"tls:{host}:{port}:trustRoots={roots}"
    if host != "localhost":
        words += f":endpoint=tcp\\:127.0.0.1\\:{port}"
    return within(connect_client(client_endpoint(reactor, words).endpoint, **settings))
