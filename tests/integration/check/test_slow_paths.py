"""``check`` through slow links: what they carry right is never a failure; what is dead is."""

from __future__ import annotations

import socket
from collections import deque
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from echosvc import EchoFactory, check
from echosvc.probe.result import CheckResult
from tests.support.reactor import serving, within
from tests.support.waiting import LIMIT

#: Seconds. The rates are such that a queue holds far more than a link carries in this time.
TIMEOUT = 1.0
TURN = 0.02
#: What a packet holds.
PACKET = 1448


class Direction:
    """A link with a queue without end, which all connections share: first come, first served.

    What stands in it is carried even where its connection is gone, as by a router.
    """

    def __init__(self, rate: int, delay: float) -> None:
        self._rate, self._delay = rate, delay
        self._queue: deque[tuple[int, Any]] = deque()
        self._tokens = 0.0
        self._last = monotonic()
        self.dead = False
        self._loop = LoopingCall(self._carry)
        self._loop.clock = reactor
        self._loop.start(TURN)

    def put(self, size: int, do: Any) -> None:
        self._queue.append((size, do))

    def _carry(self) -> None:
        now = monotonic()
        self._tokens = min(self._tokens + self._rate * (now - self._last), self._rate * 10 * TURN)
        self._last = now
        while self._queue and self._queue[0][0] <= self._tokens:
            size, do = self._queue.popleft()
            self._tokens -= size
            if not self.dead:
                reactor.callLater(self._delay, do)

    def stop(self) -> None:
        self._loop.stop()


@implementer(IHalfCloseableProtocol)
class Side(Protocol):
    def __init__(self, link: Direction) -> None:
        self.link, self.other, self.gone = link, None, False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.met()

    def met(self) -> None:
        """Both are there."""

    def dataReceived(self, data: bytes) -> None:
        for place in range(0, len(data), PACKET):
            piece = data[place : place + PACKET]
            self.link.put(len(piece), lambda piece=piece: self.give(piece))

    def give(self, data: bytes) -> None:
        if not self.other.gone:
            self.other.transport.write(data)

    def readConnectionLost(self) -> None:
        self.link.put(0, lambda: self.other.gone or self.other.transport.loseWriteConnection())

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: object = None) -> None:
        self.gone = True
        if self.other is not None and not self.other.gone:
            self.link.put(0, lambda: self.other.gone or self.other.transport.abortConnection())


class Near(Side):
    def met(self) -> None:
        self.transport.pauseProducing()
        self.factory.dial(self)


class SlowRelay(Factory):
    """Passes everything on over one link in each direction.

    :param rate: bits a second of each.
    :param delay: seconds that everything takes besides, in each direction.
    """

    noisy = False

    def __init__(self, target: tuple[str, int], rate: int, delay: float) -> None:
        self._target = target
        self.up, self.down = Direction(rate // 8, delay), Direction(rate // 8, delay)
        self.sides: list[Side] = []

    def buildProtocol(self, addr: object) -> Side:
        near = Near(self.up)
        near.factory = self
        return near

    def dial(self, near: Side) -> None:
        far = Side(self.down)
        near.other, far.other = far, near
        self.sides += near, far
        far.met = near.transport.resumeProducing
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda _: far
        reactor.connectTCP(*self._target, factory)

    def stop(self) -> None:
        self.up.stop()
        self.down.stop()
        for side in self.sides:
            if side.transport is not None and not side.gone:
                side.transport.abortConnection()


@asynccontextmanager
async def slow(rate: int, delay: float = 0.0, framing: str = "chunk") -> Any:
    """An echo server behind such a relay; gives the relay and its endpoint."""
    async with serving(EchoFactory(log="quiet", framing=framing)) as address:
        relay = SlowRelay(address, rate, delay)
        port = reactor.listenTCP(0, relay, interface="127.0.0.1")
        try:
            yield relay, f"tcp:127.0.0.1:{port.getHost().port}"
        finally:
            await within(port.stopListening())
            relay.stop()


async def checked(endpoint: str, *names: str, **settings: Any) -> CheckResult:
    settings = {"timeout": TIMEOUT, "only": names, **settings}
    return await within(Deferred.fromCoroutine(check(endpoint, **settings)), 4 * LIMIT)


def results(result: CheckResult) -> dict[str, str]:
    return {probe.name: probe.result for probe in result.probes}


@pytest_twisted.ensureDeferred
async def test_many_connections_that_wait_for_each_other_are_no_fault():
    """The last one's first byte comes when the others have all of theirs, after three seconds."""
    async with slow(1_600_000) as (_, endpoint):
        result = await checked(endpoint, "connections")
    assert results(result) == {"connections": "pass"}, result
    assert result.probes[0].seconds > 3


@pytest.mark.slow
@pytest.mark.parametrize("framing", ["line", "length"])
@pytest_twisted.ensureDeferred
async def test_whole_messages_that_are_carried_by_turns_are_no_fault(framing):
    """So that the first reply of any comes when parts of all have been carried."""
    async with slow(800_000, framing=framing) as (_, endpoint):
        settings = {"framing": framing, "only": ("connections",), "connections": 7}
        result = await checked(endpoint, **settings)
    assert results(result) == {"connections": "pass"}, result


class Sipping(Protocol):
    """Takes a message slowly from its kernel, and answers once it has it all."""

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        self.transport.bufferSize = 2048
        self.kept = b""
        self.loop = LoopingCall(self.sip)
        self.loop.clock = reactor
        self.loop.start(0.1)

    def sip(self) -> None:
        if self.transport.doRead() is not None:  # the end, of which no reactor tells a paused one
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self.kept += data
        while len(self.kept) >= 4:
            size = 4 + int.from_bytes(self.kept[:4], "big")
            if len(self.kept) < size:
                break
            self.transport.write(self.kept[:size])
            self.kept = self.kept[size:]

    def connectionLost(self, reason: object = None) -> None:
        self.loop.stop()


@pytest_twisted.ensureDeferred
async def test_a_long_message_on_its_way_is_no_silence():
    """It takes 0.8 s to be taken, and no byte can come before."""
    port = reactor.listenTCP(0, Factory.forProtocol(Sipping), interface="127.0.0.1")
    port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    try:
        endpoint = f"tcp:127.0.0.1:{port.getHost().port}"
        settings = {"framing": "length", "timeout": 0.5, "max_size": 32768}
        result = await checked(endpoint, "order", **settings)
    finally:
        await within(port.stopListening())
    assert results(result) == {"order": "pass"}, result
    assert result.probes[0].seconds > 1


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_what_one_probe_leaves_in_the_queue_is_not_held_against_the_next():
    """It fills the queue for longer than the time-out and than the probe may take."""
    async with slow(3_200_000) as (_, endpoint):
        result = await checked(endpoint, "order", "rtt", "connections")
    assert results(result) == {"order": "info", "connections": "pass", "rtt": "info"}, result
    assert "came back as they were sent" in result.probes[0].finding
    assert "trips: min" in result.probes[2].finding


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "delay"), [(800_000, 0.0), (800_000, 0.15), (400_000, 0.05)])
@pytest_twisted.ensureDeferred
async def test_a_slow_path_is_never_accused(rate, delay):
    skip = ("back-pressure", "find-idle", "reset")  # a queue without end has no back-pressure
    async with slow(rate, delay) as (_, endpoint):
        result = await checked(endpoint, skip=skip, idle=(0.5,), max_size=16384)
    assert "fail" not in results(result).values(), result
    assert result.ok


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_path_that_dies_is_found_at_the_time_out():
    async with slow(1_600_000) as (relay, endpoint):

        def die() -> None:
            relay.down.dead = True

        run = Deferred.fromCoroutine(check(endpoint, timeout=TIMEOUT, only=("connections",)))
        reactor.callLater(1.5, die)
        began = monotonic()
        result = await within(run)
    outage, probe = result.probes
    assert (outage.name, outage.result) == ("outage", "fail")
    assert outage.finding.startswith("nothing has answered any more for ")
    assert (probe.result, "then nothing more came" in probe.finding) == ("skip", True)
    assert monotonic() - began < LIMIT


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_one_stuck_connection_of_many_is_found():
    """It stops after a part; the others are carried slowly for longer than the time-out."""

    class Sticking(Side):
        passed = 0

        def give(self, data: bytes) -> None:
            self.passed += len(data)
            if self.passed < 5000:
                super().give(data)

    async with slow(1_600_000) as (relay, endpoint):
        plain, made = relay.dial, []

        def dial(near: Side) -> None:
            made.append(near)
            if len(made) == 5:  # the first is that of the probe before
                near.__class__ = type("StickingNear", (Sticking, Near), {})
            plain(near)

        relay.dial = dial
        result = await checked(endpoint, "connections", connections=6)
    (probe,) = result.probes
    assert probe.result == "fail"
    assert "then nothing more came" in probe.finding
    assert probe.seconds < 6 * TIMEOUT + 10  # and the experiments that rule out other causes
