"""A network in memory, on a clock: connections of which a server of the test is the far end."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Coroutine
from typing import Any, NoReturn

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from echosvc.connection.sender import HIGH_WATER, Sender
from echosvc.endpoints.client import ClientTarget
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.settings import CheckSettings

#: The MSS of a connection that asks for no other.
SEGMENT = 1460
#: Turns of the clock after which a test has run away.
_MOST_TURNS = 100_000


def refuse() -> NoReturn:
    """Refuse a connection, as the kernel of a machine does where no server listens."""
    raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


class MemoryServer:
    """Answers all that comes with the same, and FIN with FIN. Subclasses do otherwise.

    :ivar window: while so many bytes of answers are not read, nothing more is taken.
    :ivar open: the connections that live.
    """

    window = 1 << 20

    def __init__(self) -> None:
        self.open: list[MemoryConnection] = []

    def admit(self) -> bool:
        """Return whether the next connection is accepted; where not, there is no answer at all.

        :raises OSError: it is refused.
        """
        return True

    def connected(self, connection: MemoryConnection) -> None:
        """A connection was made."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        connection.answer(data)

    def finished(self, connection: MemoryConnection) -> None:
        connection.finish()


class MemoryConnection(Sender):
    """The transport of a client, and the connection as its server sees it.

    :param delay: seconds of a round trip.
    :ivar segment: its MSS.
    :ivar taken: bytes that the server has taken.
    """

    half_closes = True

    def __init__(
        self, clock: Clock, protocol: Any, server: MemoryServer, segment: int, delay: float
    ) -> None:
        super().__init__(None)
        self.clock, self.segment, self.taken = clock, segment, 0
        self._protocol, self._server, self._delay = protocol, server, delay
        self._outgoing: deque[bytes] = deque()
        self._incoming: deque[bytes] = deque()  # b"" is FIN
        self._reads, self._turn, self._producer = True, None, None
        self._held_up = self._finishing = self._finished = self._closing = False
        self._silent = self._stopped = self.is_gone = False

    # -- what the server does ---------------------------------------------------------------------

    @property
    def unread(self) -> int:
        """Bytes of answers that the client has not read."""
        return sum(map(len, self._incoming))

    def answer(self, data: bytes) -> None:
        if data and not self._silent:
            self._incoming.append(data)
            self._wake()

    def finish(self) -> None:
        """Send FIN."""
        if not self._silent:
            self._incoming.append(b"")
            self._wake()

    def cut(self) -> None:
        """Send FIN in place of all that the client has not read, and nothing more."""
        self._incoming.clear()
        self.finish()
        self._silent = True

    def mute(self) -> None:
        """Send nothing more, not even what was sent already."""
        self._incoming.clear()
        self._silent = True

    def stop(self) -> None:
        """Neither take nor give anything more."""
        self._stopped = True

    def go_on(self) -> None:
        """Take and give again."""
        self._stopped = False
        self._wake()

    # -- what the client does ---------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._outgoing.append(data)
        if self._producer is not None and not self._held_up and self.queued() > HIGH_WATER:
            self._held_up = True
            self._producer.pauseProducing()
        self._wake()

    def send(self, data: bytes, defer: bool = False) -> bool:
        self.write(data)
        return False

    def queued(self) -> int:
        return sum(map(len, self._outgoing))

    def loseWriteConnection(self) -> None:
        self._finishing = True
        self._wake()

    def loseConnection(self) -> None:
        self._finishing = self._closing = True
        self._wake()

    def abort(self) -> bool:
        self._outgoing.clear()
        self.clock.callLater(0, self.lose, ConnectionAborted())
        return True

    def pauseProducing(self) -> None:
        self._reads = False

    def resumeProducing(self) -> None:
        self._reads = True
        self._wake()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 1024)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.2", 7)

    # -- turns ------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._turn is None and not self.is_gone:
            self._turn = self.clock.callLater(self._delay, self._carry)

    def _carry(self) -> None:
        """Carry what can be carried now in both directions."""
        self._turn = None
        before = len(self._outgoing), len(self._incoming)
        self._carry_there()
        self._carry_back()
        if self._outgoing and before != (len(self._outgoing), len(self._incoming)):
            self._wake()  # what was read has made room

    def _carry_there(self) -> None:
        while self._outgoing and self.unread < self._server.window and not self._stopped:
            data = self._outgoing.popleft()
            self.taken += len(data)
            self._server.received(self, data)
        if self._outgoing or self._stopped:
            return
        if self._held_up:
            self._held_up = False
            if self._producer is not None:
                self._producer.resumeProducing()
        elif self._finishing and not self._finished:
            self._finished = True
            self._protocol.writeConnectionLost()
            self._server.finished(self)

    def _carry_back(self) -> None:
        while self._incoming and self._reads and not self._stopped and not self.is_gone:
            if piece := self._incoming.popleft():
                self._protocol.dataReceived(piece)
            else:
                self._protocol.readConnectionLost()
        if self._closing and self._finished and not self._outgoing:
            self.lose(ConnectionDone())

    def lose(self, reason: Exception) -> None:
        """End for a reason."""
        if not self.is_gone:
            self.is_gone = True
            self._server.open.remove(self)
            self._protocol.connectionLost(Failure(reason))


class MemoryEndpoint:
    """Connects to a server in memory.

    :param delay: seconds that a connection takes, and each round trip of it.
    :ivar max_segment: the MSS of the next connection; 0: :data:`SEGMENT`.
    """

    max_segment = 0
    latest = ""

    def __init__(self, clock: Clock, server: MemoryServer, delay: float = 0.0005) -> None:
        self._clock, self._server, self._delay = clock, server, delay

    def connect(self, factory: Any) -> Deferred[Any]:
        attempt: Deferred[Any] = Deferred()
        self._clock.callLater(self._delay, self._connect, factory, attempt)
        return attempt

    def _connect(self, factory: Any, attempt: Deferred[Any]) -> None:
        if attempt.called:
            return
        try:
            if not self._server.admit():
                return
        except OSError:
            attempt.errback(Failure())
            return
        protocol, server = factory.buildProtocol(None), self._server
        segment = self.max_segment or SEGMENT
        connection = MemoryConnection(self._clock, protocol, server, segment, self._delay)
        server.open.append(connection)
        protocol.makeConnection(connection)
        server.connected(connection)
        attempt.callback(protocol)


class NetworkTestCase(SynchronousTestCase):
    """A path to a server in memory. Time passes only as far as something is due."""

    def setUp(self) -> None:
        self.clock = Clock()

    def path(self, server: MemoryServer, delay: float = 0.0005, **settings: Any) -> Path:
        endpoint: Any = MemoryEndpoint(self.clock, server, delay)
        return Path(
            self.clock, ClientTarget(endpoint, "nowhere:1", endpoint), CheckSettings(**settings)
        )

    def result(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine returns; time passes until it does."""
        waiting = Deferred.fromCoroutine(work)
        self._settle(waiting)
        return self.successResultOf(waiting)

    def failure(self, work: Coroutine[Any, Any, Any]) -> Failed:
        """How a probe fails."""
        return self.error(work, Failed)

    def error(self, work: Coroutine[Any, Any, Any], kind: type[Exception]) -> Any:
        """What a coroutine raises."""
        waiting = Deferred.fromCoroutine(work)
        self._settle(waiting)
        return self.failureResultOf(waiting, kind).value

    def _settle(self, waiting: Deferred[Any]) -> None:
        for _ in range(_MOST_TURNS):
            if waiting.called:
                return
            calls = self.clock.getDelayedCalls()
            assert calls, "it waits for something that never happens"
            self.wait(max(0.0, calls[0].getTime() - self.clock.seconds()))
        raise AssertionError("it never ends")

    def wait(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self.clock.advance(seconds)
