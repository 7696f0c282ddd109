"""A soak on the reactor of the test, and a server that does to it what the test says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from echosvc import SoakResult, soak
from echosvc.probe.soak.events import Event, Opened
from tests.support.reactor import no_faults, until, within
from tests.support.waiting import LIMIT

Kind = TypeVar("Kind")
#: What makes tests short: a silence is a gap soon. It is long for a busy machine.
FAST = {"connections": 3, "interval": 0.02, "silence": 0.5, "max_wait": 0.1}


class _Echo(Protocol):
    factory: Any

    def connectionMade(self) -> None:
        self.factory.open.append(self)

    def connectionLost(self, reason: object = None) -> None:
        self.factory.open.remove(self)

    def dataReceived(self, data: bytes) -> None:
        self.factory.server.received(self.transport, data)


class EchoServer:
    """Echoes behind a prefix.

    :ivar prefix: before each read that is echoed.
    :ivar holds: nothing is answered, until :meth:`release`.
    :ivar counts: each answer has a number in front.
    :ivar refusal: what is answered in place of an echo, with FIN behind it.
    """

    def __init__(self, prefix: bytes = b"v1: ") -> None:
        self.prefix, self.holds, self.port, self.number = prefix, False, None, 0
        self._held: list[tuple[Any, bytes]] = []
        self.factory: Any = Factory.forProtocol(_Echo)
        self.factory.server, self.factory.open = self, []
        self.refusal, self.counts, self._numbers = b"", False, count()

    def listen(self) -> None:
        self.port = reactor.listenTCP(self.number, self.factory, interface="127.0.0.1")
        self.number = self.port.getHost().port

    async def stop_listening(self) -> None:
        port, self.port = self.port, None
        if port is not None:
            await within(port.stopListening())

    def received(self, transport: Any, data: bytes) -> None:
        if self.refusal:
            transport.write(self.refusal)
            transport.loseConnection()
        elif self.holds:
            self._held.append((transport, data))
        else:
            number = b"%d " % next(self._numbers) if self.counts else b""
            transport.write(number + self.prefix + data)

    def stop_reading(self) -> None:
        for each in self.factory.open:
            each.transport.pauseProducing()

    def release(self) -> None:
        self.holds = False
        for transport, data in self._held:
            transport.write(self.prefix + data)
        self._held.clear()

    def reset_all(self) -> None:
        for each in list(self.factory.open):
            each.transport.abortConnection()

    def finish_all(self) -> None:
        for each in list(self.factory.open):
            each.transport.loseConnection()


@asynccontextmanager
async def echoing(prefix: bytes = b"v1: ", listening: bool = True) -> AsyncIterator[EchoServer]:
    server = EchoServer(prefix)
    server.listen()
    try:
        if not listening:
            await server.stop_listening()
        with no_faults():
            yield server
    finally:
        await server.stop_listening()
        server.reset_all()
        await until(lambda: not server.factory.open)


class Soaking:
    """A soak that runs until :meth:`stop`.

    :ivar events: so far.
    """

    def __init__(self, port: int | str, **settings: Any) -> None:
        self.events: list[Event] = []
        self._until: Deferred[None] = Deferred()
        where = f"tcp:127.0.0.1:{port}" if isinstance(port, int) else port
        asked = {**FAST, **settings}
        running = soak(where, until=self._until, listen=self.events.append, **asked)
        self.ended = Deferred.fromCoroutine(running)

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [each for each in self.events if isinstance(each, kind)]

    async def wait_for(self, kind: type, count: int = 1) -> None:
        """Wait for so many events of a kind."""
        await until(lambda: len(self.of(kind)) >= count or self.ended.called)
        assert len(self.of(kind)) >= count, self.ended.result

    async def opened(self, count: int = FAST["connections"]) -> None:
        """Wait until so many connections were opened."""
        await self.wait_for(Opened, count)

    async def stop(self) -> SoakResult:
        self._until.callback(None)
        return await within(self.ended, LIMIT)
