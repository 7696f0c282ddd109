"""A server of the dialect ``gateway-api`` answers lines, and keeps what every server promises."""

from __future__ import annotations

import json
import os
import socket

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from echosvc import ConfigError, EchoFactory, EchoProtocol, Outcome
from echosvc.connection.sender import HIGH_WATER
from echosvc.server.gateway_api import GatewayAPIProtocol
from echosvc.wire.gateway_api import MAX_LINE, WELCOME
from tests.support.server import ServerTestCase
from tests.support.transports import Line

DIALECT = "gateway-api"


class GatewayAPITests(ServerTestCase):
    def talk(self, *pieces: bytes, **options: object) -> bytes:
        """What comes back behind the greeting."""
        factory = EchoFactory(clock=Clock(), dialect=DIALECT, **options)
        came = self.exchange(*pieces, factory=factory)
        self.assertTrue(came.startswith(WELCOME))
        return came.removeprefix(WELCOME)

    def test_the_greeting_comes_first_and_lines_are_answered_in_order(self) -> None:
        self.patch_environment(POD_NAME="v1-abc")
        came = self.talk(b"PING\nTEST\n", b"unknown\nIS_TLS\n")
        first, second, third = came.splitlines()
        self.assertEqual((first, third), (b"PONG", b"false"))
        self.assertEqual(json.loads(second)["pod"], "v1-abc")
        self.assertIs(self.outcome, Outcome.FINISHED)

    def patch_environment(self, **variables: str) -> None:
        self.patch(os, "environ", variables)

    def test_a_last_line_without_its_end_is_answered(self) -> None:
        self.assertEqual(self.talk(b"PING\nPING"), b"PONG\nPONG\n")

    @given(st.lists(st.integers(1, 24), max_size=8))
    def test_any_cut_of_the_stream_gives_the_same_answers(self, sizes: list[int]) -> None:
        data, pieces = b"PING\nx\r\nIS_TLS\r\nPING\n", []
        for size in sizes:
            pieces.append(data[:size])
            data = data[size:]
        came = self.talk(*filter(None, [*pieces, data]))
        self.assertEqual(came, b"PONG\nfalse\nPONG\n")

    def test_a_line_of_64_kib_is_read_and_a_longer_one_ends_the_connection(self) -> None:
        longest = b"x" * (MAX_LINE - 1) + b"\n"
        self.assertEqual(self.talk(longest + b"PING\n"), b"PONG\n")
        self.assertEqual(self.talk(b"PING\nx" + longest), b"PONG\n")
        self.assertIs(self.outcome, Outcome.TOO_LONG)

    def test_the_port_of_the_connection_is_said(self) -> None:
        found = json.loads(self.talk(b"TEST\n"))
        self.assertEqual((found["tcpport"], found["isTLS"]), ("", False))  # it is a socket pair

    def test_a_client_that_never_reads_cannot_make_it_grow(self) -> None:
        factory = EchoFactory(clock=Clock(), dialect=DIALECT)
        connection = factory.buildProtocol(None)
        line = Line(connection, factory.timers._clock, 4096)
        self.addCleanup(line.close)
        for _ in range(200):
            try:
                line.peer.send(b"TEST\n" * 1000)
            except BlockingIOError:
                break
            line.turn(3)
        else:
            self.fail("it reads on though nothing is taken")
        self.assertLessEqual(connection.sender.queued(), HIGH_WATER + 1000)

    def test_with_discard_it_greets_and_answers_nothing(self) -> None:
        self.assertEqual(self.talk(b"TEST\n", discard=True), b"")

    def test_the_bytes_are_counted(self) -> None:
        factory = EchoFactory(clock=Clock(), dialect=DIALECT)
        line, connection = self.line(factory=factory)
        line.send(b"PING\n")
        self.assertEqual((connection.bytes_in, connection.bytes_out), (5, len(WELCOME) + 5))
        line.send(b"\n")
        self.assertEqual((connection.messages, connection.replies), (2, 1))
        line.peer.shutdown(socket.SHUT_WR)
        line.receive_all()
        self.assertEqual((factory.bytes_in, factory.bytes_out), (6, len(WELCOME) + 5))

    def test_a_factory_with_a_protocol_of_its_own_has_no_other_dialect(self) -> None:
        class Own(EchoFactory):
            protocol = GatewayAPIProtocol

        error = self.assertRaises(ConfigError, Own, dialect=DIALECT)
        self.assertEqual(error.field, "dialect")

    def test_the_default_dialect_is_an_echo(self) -> None:
        self.assertIs(EchoFactory(dialect="echosvc").protocol, EchoProtocol)
