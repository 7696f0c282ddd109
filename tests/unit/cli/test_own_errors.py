"""An error of echosvc itself is reported as one, and never as a failure of the path."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from echosvc.cli.coroutines import exit_status
from echosvc.cli.send_session import SendError, SendOptions, SendSession
from echosvc.cli.terminal import EXIT_FAILURE
from echosvc.endpoints.client import ClientTarget
from tests.support.commands import one_line
from tests.support.memory_network import (
    MemoryConnection,
    MemoryEndpoint,
    MemoryServer,
    NetworkTestCase,
)


class Losing(MemoryServer):
    """Loses each connection for a reason once something came."""

    def __init__(self, reason: Exception) -> None:
        super().__init__()
        self.reason = reason

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        connection.lose(self.reason)


class Output:
    """Standard output that raises an error, if there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def write(self, data: bytes) -> None:
        if self.error is not None:
            raise self.error


class Failing:
    """An endpoint that fails with an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def connect(self, factory: object) -> Deferred[Any]:
        return fail(self.error)


class SendTests(NetworkTestCase):
    def send(self, endpoint: Any, kind: type[Exception], out: Output | None = None) -> str:
        """What a session with an endpoint raises."""
        target = ClientTarget(endpoint, "nowhere:1")
        session = SendSession(self.clock, target, "Test", SendOptions(), out or Output())
        return str(self.error(session.run([b"hello"]), kind))

    def test_an_error_of_the_network_is_the_paths(self) -> None:
        for reason in (ConnectionLost(), OSError(113, "No route to host")):
            endpoint = MemoryEndpoint(self.clock, Losing(reason))
            self.assertIn("Socket Error: ", self.send(endpoint, SendError))
        self.assertIn("ECONNRESET", self.send(Failing(ConnectionResetError(104, "x")), SendError))

    def test_what_a_foreign_endpoint_cannot_resolve_is_the_paths(self) -> None:
        self.assertIn(
            "invalid hostname", self.send(Failing(ValueError("invalid hostname")), SendError)
        )

    def test_an_error_of_a_program_is_none_of_the_path(self) -> None:
        server = MemoryServer()
        endpoint = MemoryEndpoint(self.clock, server)
        self.assertEqual(self.send(endpoint, KeyError, Output(KeyError("printer"))), "'printer'")
        endpoint = MemoryEndpoint(self.clock, Losing(KeyError("protocol")))
        self.assertEqual(self.send(endpoint, KeyError), "'protocol'")
        self.assertEqual(self.send(Failing(TypeError("endpoint")), TypeError), "endpoint")


def test_it_is_one_line_with_its_kind_and_the_exit_status_of_a_failure(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert exit_status([Failure(KeyError("a\nb\x1b"))]) == EXIT_FAILURE
    line = one_line(capfd.readouterr().err.encode())
    assert line.startswith("echosvc: internal error: KeyError: "), line
