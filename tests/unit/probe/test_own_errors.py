"""An error of echosvc itself is no failure of the path that is checked."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionLost

from echosvc.endpoints.client import ClientTarget
from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection
from echosvc.probe.engine.path import NotConnected, Path
from echosvc.probe.settings import CheckSettings
from tests.support.memory_network import MemoryConnection, MemoryServer, NetworkTestCase


class Failing:
    """An endpoint that fails with an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def connect(self, factory: object) -> Deferred[Any]:
        return fail(self.error)


class Stopping(MemoryServer):
    """Takes nothing."""

    def connected(self, connection: MemoryConnection) -> None:
        connection.stop()


class OwnErrorTests(NetworkTestCase):
    def lost(self, reason: Exception) -> ProbeConnection:
        """A connection that was lost for a reason, and had more to send."""
        connection: ProbeConnection = self.result(self.path(Stopping()).connect())
        writing = connection.write(bytes(1 << 20))
        writing.addErrback(lambda _: None)
        transport: Any = connection.client.transport
        transport.lose(reason)
        return connection

    def test_what_ended_a_connection_is_told_if_it_is_the_networks(self) -> None:
        connection = self.lost(ConnectionLost())
        self.error(connection.receive(), ConnectionEnded)

    def test_an_exception_of_a_protocol_is_raised_to_the_receiver(self) -> None:
        connection = self.lost(KeyError("verifier"))
        self.assertEqual(self.error(connection.receive(), KeyError).args, ("verifier",))

    def test_an_exception_of_a_protocol_is_raised_to_the_sender(self) -> None:
        for reason, kind in ((ConnectionLost(), None), (KeyError("sender"), KeyError)):
            connection: ProbeConnection = self.result(self.path(Stopping()).connect())
            sending = Deferred.fromCoroutine(connection.send_message(bytes(1 << 20)))
            transport: Any = connection.client.transport
            transport.lose(reason)
            if kind is None:
                self.assertFalse(self.successResultOf(sending))
            else:
                self.failureResultOf(sending, kind)

    def connecting(self, error: Exception, kind: type[Exception]) -> Exception:
        endpoint: Any = Failing(error)
        path = Path(self.clock, ClientTarget(endpoint, "nowhere:1"), CheckSettings())
        raised: Exception = self.error(path.connect(), kind)
        return raised

    def test_an_attempt_that_fails_by_a_mistake_of_a_program_is_no_failure_of_the_path(
        self,
    ) -> None:
        self.assertEqual(str(self.connecting(TypeError("factory"), TypeError)), "factory")
        for error in (ConnectionRefusedError(111, "x"), ValueError("invalid hostname")):
            self.connecting(error, NotConnected)
