"""A connection keeps few attributes, with any settings.

CPython shares the names of attributes among the instances of a class while there are at most
thirty. A connection with more has a dictionary of its own, which takes 1,300 bytes.
"""

from __future__ import annotations

import itertools
from dataclasses import fields
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from echosvc import EchoFactory, EchoProtocol
from echosvc.config.schema import Config
from echosvc.connection.layer import LayerTransport
from tests.support.transports import Below, Line

#: An application adds its own: CPython shares thirty.
MOST = 26

SETTINGS: dict[str, tuple[Any, ...]] = {
    "log": ("quiet", "connections", "messages"),
    "prefix": (b"> ", "{peer} {local} ", "{message} "),
    "framing": ("chunk", "line", "length"),
    "idle_action": ("log", "close"),
    "max_lifetime": (0.0, 3600.0),
    "allow_half_open": (False, True),
}
OTHERS: tuple[dict[str, Any], ...] = (
    {"idle_timeout": 0.0},
    {"encoding": "utf-8"},
    {"discard": True},
    {"dialect": "gateway-api"},
    {"greeting": "{peer} {connection}"},
    {"keep_alive": 30, "max_per_peer": 5},
    {"stall_timeout": 0.0, "linger": 0.0, "half_open_timeout": 5.0, "allow_half_open": True},
    {"pause_on_connect": True},
    {"nagle": True},
    {"max_message": 7, "handshake_timeout": 3.0, "max_connections": 5, "over_limit": "refuse"},
    {"allow": ("192.0.2.0/24",), "deny": ("192.0.2.7",), "drain": 1.0},
)


class Handshaking(LayerTransport):
    """A layer whose handshake is done when the test says so."""

    def connectionMade(self) -> None:
        self.attach()
        self.wrappedProtocol.makeConnection(self)

    def dataReceived(self, data: bytes) -> None:
        if not self.ready:
            self.handshake_done()
        self.wrappedProtocol.dataReceived(data)


def settings() -> list[dict[str, Any]]:
    product = itertools.product(*SETTINGS.values())
    return [dict(zip(SETTINGS, values, strict=True)) for values in product] + list(OTHERS)


class AttributeTests(SynchronousTestCase):
    def test_every_setting_is_tried(self) -> None:
        tried = {name for options in settings() for name in options}
        # With a PROXY header another protocol comes first; the connection behind it is the same.
        # How the service drains concerns its listeners, and no connection by itself.
        left = {field.name for field in fields(Config)} - tried
        drain = {"drain_delay", "unready_delay", "drain_spread"}
        self.assertEqual(left, {"proxy_protocol", "proxy_from", *drain})

    def assert_few(self, connection: EchoProtocol, about: object) -> None:
        names = sorted(vars(connection))
        self.assertLessEqual(len(names), MOST, f"{about}: {names}")

    def drive(self, connection: EchoProtocol, clock: Clock, transport: Any) -> None:
        """Exchange messages, be idle, send half a message, finish."""
        transport.dataReceived(b"\0\0\0\1x\n")
        self.assert_few(connection, "after a message")
        for _ in range(12):
            clock.advance(0.1)
        self.assert_few(connection, "after the idle time-out")
        transport.dataReceived(b"\0\0\0\5xy")
        self.assert_few(connection, "within a message")
        connection.readConnectionLost()

    def connection(self, **options: Any) -> tuple[EchoProtocol, Clock]:
        clock = Clock()
        factory = EchoFactory(clock=clock, **options)
        connection: EchoProtocol = factory.buildProtocol(None)
        return connection, clock

    def test_with_all_settings_a_connection_keeps_few_attributes(self) -> None:
        with capturedLogs():
            for options in settings():
                connection, clock = self.connection(**options)
                connection.makeConnection(StringTransport())
                self.drive(connection, clock, connection)
                self.assert_few(connection, options)

    def test_directly_on_a_socket_a_connection_keeps_few_attributes(self) -> None:
        with capturedLogs():
            for options in settings():
                connection, clock = self.connection(**options)
                line = Line(connection, clock)
                try:
                    self.drive_line(connection, line)
                finally:
                    line.close()
                self.assert_few(connection, options)

    def drive_line(self, connection: EchoProtocol, line: Line) -> None:
        line.send(b"\0\0\0\1x\n")
        line.wait(1.0)
        line.peer.send(b"\0\0\0\5xy")
        line.turn()
        self.assert_few(connection, "before the end")
        line.finish()

    def test_over_a_layer_with_a_handshake_a_connection_keeps_few_attributes(self) -> None:
        with capturedLogs():
            for options in settings():
                connection, clock = self.connection(**options)
                layer = Handshaking(connection)
                layer.makeConnection(Below())
                self.assert_few(connection, options)
                self.drive(connection, clock, layer)
                self.assert_few(connection, options)

    def test_an_address_that_the_application_asks_for_is_one_attribute_more(self) -> None:
        connection, _ = self.connection(log="quiet")
        connection.makeConnection(StringTransport())
        before = len(vars(connection))
        self.assertNotEqual(connection.local, "-")
        self.assertEqual(len(vars(connection)), before + 1)
