"""A server that records what tests ask for."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.logger import formatEvent, globalLogPublisher

from echosvc import EchoFactory, EchoProtocol, Outcome
from tests.support.payload import TOO_MUCH
from tests.support.reactor import until, within
from tests.support.sockets import push
from tests.support.waiting import LIMIT


class Recorded(EchoProtocol):
    """Notes what tests ask for, at every moment at which it changes."""

    factory: Recording
    stuck = False
    answered = 0

    def _note(self) -> None:
        self.factory.peak = max(self.factory.peak, self.queued)
        self.factory.held = max(self.factory.held, self.bytes_in - self.answered)

    def reply(self, message: bytes) -> bytes | None:
        self.answered += len(message)
        return super().reply(message)

    def opened(self) -> None:
        super().opened()
        self._note()

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self._note()

    def pauseProducing(self) -> None:
        self.stuck = True
        super().pauseProducing()
        self._note()

    def resumeProducing(self) -> None:
        self.stuck = False
        super().resumeProducing()
        self._note()

    def idle(self, seconds: float) -> None:
        self.factory.idles.append((self.number, time.monotonic()))

    def peer_ended(self) -> None:
        self.factory.peers_ended += 1

    def ended(self, outcome: Outcome) -> None:
        self.factory.outcomes.append(outcome)


class Recording(EchoFactory):
    """Nothing logged, no idle time-out unless asked for.

    :ivar peak: the most that any connection had queued.
    :ivar held: the most that any had read and not answered yet.
    :ivar idles: the idle reports: which connection, when.
    """

    protocol = Recorded

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"idle_timeout": 0, "log": "quiet", **settings})
        self.peak = self.held = self.peers_ended = 0
        self.idles: list[tuple[int, float]] = []
        self.outcomes: list[Outcome] = []

    @property
    def only(self) -> Any:
        (connection,) = self.connections
        return connection

    @property
    def stuck(self) -> bool:
        return any(connection.stuck for connection in self.connections)


def answering(answer: bytes) -> type[Recorded]:
    """A protocol that answers every message with ``answer``."""

    class Answering(Recorded):
        def reply(self, message: bytes) -> bytes:
            return answer

    return Answering


async def stalled(factory: Recording, client: socket.socket, looks_in_a_row: int = 1) -> int:
    """Send, and never read, until nothing moves any more; give how much was sent.

    The server is stuck for a moment now and then, and a full kernel tries again after
    some 200 ms. Where nothing may move any more at all, ask for many looks in a row.
    """
    sent = 0
    looks: list[tuple[int, int]] = []

    def stands_still() -> bool:
        nonlocal sent
        more = push(client)
        sent += more
        assert sent < TOO_MUCH, "the sender is never held up"
        state = factory.bytes_in, factory.bytes_out - sum(c.queued for c in factory.connections)
        if more or not factory.stuck or (looks and looks[-1] != state):
            looks.clear()
        looks.append(state)
        return not more and factory.stuck and len(looks) >= looks_in_a_row

    await until(stands_still)
    return sent


async def all_gone(factory: Recording, limit: float = LIMIT) -> None:
    """Wait until every connection has ended and has said how."""
    await within(factory.when_idle(), limit)
    await until(lambda: len(factory.outcomes) == factory.accepted)


@contextmanager
def logged_lines() -> Iterator[list[str]]:
    """What is logged meanwhile by the package."""
    found: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event.get("log_namespace") == "echosvc":
            found.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        yield found
    finally:
        globalLogPublisher.removeObserver(observe)
