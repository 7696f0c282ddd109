"""Servers that do wrong."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from tests.support.reactor import within

TIMEOUT = 0.5


#: So little that a run is short, and so much that every probe is made.
BRIEF: dict[str, Any] = {
    "timeout": TIMEOUT, "max_size": 65536, "idle": (0.1,), "find_idle": 0.2, "connections": 3,
    "skip": ("back-pressure",),
}  # fmt: skip


PREFIX = b"P: "


@implementer(IHalfCloseableProtocol)
class Server(Protocol):
    """An echo server, until it is none.

    :cvar messages: how many reads are answered; :cvar size: how many bytes.
    """

    messages = size = sys.maxsize
    banner = b""

    def connectionMade(self) -> None:
        self.factory.live.append(self)
        self.read = self.answered = 0
        self.transport.write(self.banner)
        self.look()

    def dataReceived(self, data: bytes) -> None:
        self.read += 1
        self.answered += len(data)
        self.answer(data)
        self.look()

    def answer(self, data: bytes) -> None:
        self.transport.write(PREFIX + data)

    def look(self) -> None:
        if self.read >= self.messages or self.answered >= self.size:
            self.enough()

    def enough(self) -> None:
        self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: object = None) -> None:
        if self in self.factory.live:
            self.factory.live.remove(self)


def server(name: str, base: type[Server] = Server, **more: Any) -> type[Server]:
    return type(name, (base,), more)


class Closing(Server):
    def enough(self) -> None:
        self.transport.loseConnection()


class Deaf(Server):
    """Takes everything and answers nothing."""

    def answer(self, data: bytes) -> None:
        pass


class Garbage(Server):
    def answer(self, data: bytes) -> None:
        self.transport.write(bytes((7 * byte + 13) % 256 for byte in data) * 2)


class Surplus(Server):
    def answer(self, data: bytes) -> None:
        self.transport.write(PREFIX + data + b"more" * 5000)


class Http(Server):
    def answer(self, data: bytes) -> None:
        if b"\n" in data:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            self.transport.loseConnection()


class AtFin(Server):
    """Answers once all has come."""

    def answer(self, data: bytes) -> None:
        self.kept = getattr(self, "kept", b"") + data

    def readConnectionLost(self) -> None:
        self.transport.write(PREFIX + getattr(self, "kept", b""))
        self.transport.loseConnection()


class Mixing(Server):
    """Answers to whoever else is there."""

    def answer(self, data: bytes) -> None:
        others = [each for each in self.factory.live if each is not self]
        (others or [self])[0].transport.write(PREFIX + data)


class Trickle(Server):
    """A byte now and then, for ever."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.loop = LoopingCall(self.transport.write, b"x")
        self.loop.clock = reactor
        self.loop.start(TIMEOUT / 3)

    def answer(self, data: bytes) -> None:
        pass

    def connectionLost(self, reason: object = None) -> None:
        super().connectionLost(reason)
        self.loop.stop()


SERVERS: dict[str, type[Server]] = {
    **{f"resets after {n} messages": server("S", messages=n) for n in range(6)},
    **{f"closes after {n} messages": server("S", Closing, messages=n) for n in range(6)},
    **{f"resets after {n} bytes": server("S", size=n) for n in (1, 2, 3, 4, 5, 70, 700, 50_000)},
    **{f"closes after {n} bytes": server("S", Closing, size=n) for n in (1, 2, 3, 4, 5, 70, 700)},
    "resets with a banner": server("S", messages=0, banner=b"hello\n"),
    "says nothing": Deaf,
    "speaks after a while, for ever": Trickle,
    "gives back garbage": Garbage,
    "gives back too much": Surplus,
    "is a server of HTTP": Http,
    "is a server of mail": server("S", Deaf, banner=b"220 mail.example ESMTP\r\n"),
    "is a server of SSH": server("S", Deaf, banner=b"SSH-2.0-OpenSSH_9.2\r\n"),
    "answers at FIN": AtFin,
    "mixes connections up": Mixing,
}  # fmt: skip


@asynccontextmanager
async def listening(protocol: type[Server]) -> Any:
    """The server; gives its port."""
    factory = Factory.forProtocol(protocol)
    factory.live = []
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        yield port.getHost().port
    finally:
        await within(port.stopListening())
        for each in tuple(factory.live):
            each.transport.abortConnection()
