"""One connection of a server, in memory."""

from __future__ import annotations

import socket
import struct

from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from echosvc import EchoFactory, EchoProtocol
from tests.support.transports import Line


class Broken(Exception):
    """Raised by an application."""


def framed(payload: bytes) -> bytes:
    return struct.pack("!I", len(payload)) + payload


def lines_of(events: list[dict[str, object]]) -> list[str]:
    return [formatEvent(event) for event in events if event["log_namespace"] == "echosvc"]


class ServerTestCase(SynchronousTestCase):
    def factory(
        self, protocol: type[EchoProtocol] = EchoProtocol, **options: object
    ) -> EchoFactory:
        factory = EchoFactory(clock=Clock(), **options)
        factory.protocol = protocol
        return factory

    def line(
        self,
        protocol: type[EchoProtocol] = EchoProtocol,
        factory: EchoFactory | None = None,
        send_buffer: int = 0,
        **options: object,
    ) -> tuple[Line, EchoProtocol]:
        """A client of a server, and the server's side of it."""
        factory = factory or self.factory(protocol, **options)
        connection = factory.buildProtocol(None)
        line = Line(connection, factory.timers._clock, send_buffer)
        self.addCleanup(line.close)
        return line, connection

    def exchange(self, *pieces: bytes, **options: object) -> bytes:
        """What comes back in all when the client sends these and finishes."""
        line, connection = self.line(**options)
        for piece in pieces:
            line.send(piece)
        line.peer.shutdown(socket.SHUT_WR)
        received = line.receive_all()
        self.assertTrue(line.at_end())
        self.assertIsNotNone(connection.outcome)
        self.outcome = connection.outcome
        return received
