"""Soaks of a server in memory, on a clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from echosvc.endpoints.client import ClientTarget
from echosvc.net.timer import ReactorTimer, Timer
from echosvc.probe.soak.events import Event
from echosvc.probe.soak.result import SoakResult
from echosvc.probe.soak.session import Soak
from echosvc.probe.soak.settings import SoakSettings
from tests.support.memory_network import (
    MemoryConnection,
    MemoryEndpoint,
    MemoryServer,
    NetworkTestCase,
    refuse,
)

#: The Unix time when the clock said 0.
EPOCH = 1_800_000_000.0
#: How long a connection takes to open, and each answer, seconds.
DELAY = 0.001
Kind = TypeVar("Kind")


class Server(MemoryServer):
    """Answers, unless it is away, or holds what it got.

    :ivar away: connections are refused.
    :ivar holds: nothing is answered, until :meth:`release`.
    :ivar attempts: when a connection was tried.
    """

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self.clock, self.away, self.holds = clock, False, False
        self.attempts: list[float] = []
        self._held: list[tuple[MemoryConnection, bytes]] = []

    def admit(self) -> bool:
        self.attempts.append(self.clock.seconds())
        if self.away:
            refuse()
        return True

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        if self.holds:
            self._held.append((connection, data))
        else:
            connection.answer(data)

    def release(self) -> None:
        self.holds, held, self._held = False, self._held, []
        for connection, data in held:
            connection.answer(data)

    def reset_all(self) -> None:
        for each in list(self.open):
            each.lose(ConnectionLost())

    def leave(self) -> None:
        self.away = True
        self.reset_all()

    def come_back(self) -> None:
        self.away = False


class SoakTestCase(NetworkTestCase):
    """Runs soaks in memory. Time passes only as far as something is due."""

    def setUp(self) -> None:
        super().setUp()
        self.server, self.events = Server(self.clock), list[Event]()

    def at(self, *calls: tuple[float, Callable[..., object]]) -> None:
        """Let things happen at these times."""
        for when, call in calls:
            self.clock.callLater(when, call)

    def make_soak(self, **settings: Any) -> Soak:
        endpoint: Any = MemoryEndpoint(self.clock, self.server, DELAY)
        asked = SoakSettings(**{"connections": 1, "duration": 20.0, **settings})

        def timer(reactor: Any, call: Callable[[], object]) -> Timer:
            return ReactorTimer(reactor, call, self.clock.seconds)

        return Soak(
            self.clock, ClientTarget(endpoint, "nowhere:1", endpoint), asked, "nowhere",
            self.events.append, now=self.clock.seconds,
            wall=lambda: EPOCH + self.clock.seconds(), timer=timer,
        )  # fmt: skip

    def begin(self, **settings: Any) -> Deferred[SoakResult]:
        self.soak = self.make_soak(**settings)
        return Deferred.fromCoroutine(self.soak.run())

    def soak_result(self, **settings: Any) -> SoakResult:
        """The result of a whole soak."""
        return self.result(self.make_soak(**settings).run())

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [each for each in self.events if isinstance(each, kind)]

    def near(self, found: float, expected: float, tolerance: float = 1e-5) -> None:
        self.assertLessEqual(abs(found - expected), tolerance, (found, expected))
