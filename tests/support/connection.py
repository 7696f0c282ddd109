"""One connection in memory, and what it is told."""

from __future__ import annotations

from types import SimpleNamespace

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from echosvc.config.schema import Config
from echosvc.connection.connection import Connection
from echosvc.connection.outcome import Outcome
from echosvc.connection.scheduler import DeadlineScheduler
from tests.support.transports import Line


class Talker(Connection):
    """Keeps what it is told."""

    def __init__(
        self, clock: Clock, idle_timeout: float = 0.0, linger: float = 2.0, **more: float
    ) -> None:
        config = Config(idle_timeout=idle_timeout, linger=linger, **more)
        timers = DeadlineScheduler(clock, config.timeouts(), config.idle_timeout)
        self.factory = SimpleNamespace(config=config, timers=timers)
        self.events: list[object] = []
        self.idles: list[float] = []
        self.received = b""

    def _transport_ready(self) -> None:
        self.events.append("started")

    def _resumed(self) -> None:
        self.events.append("go on")

    def _peer_eof(self, just_now: bool = False) -> None:
        self.events.append("peer ended")

    def _timed_out(self, seconds: float) -> None:
        self.idles.append(self.factory.timers.now())

    def _closed(self, outcome: Outcome, reason: Failure, opened: bool) -> None:
        self.events.append(outcome)

    def dataReceived(self, data: bytes) -> None:
        self._record_activity()
        self._bytes_in += len(data)
        self.received += data


class ConnectionTestCase(SynchronousTestCase):
    def line(self, send_buffer: int = 4096, **settings: float) -> tuple[Line, Talker]:
        clock = Clock()
        talker = Talker(clock, **settings)
        line = Line(talker, clock, send_buffer)
        self.addCleanup(line.close)
        return line, talker
