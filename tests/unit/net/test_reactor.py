"""The lean reactor: as Twisted's in everything but what it leaves out."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.plugin import getPlugins
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from echosvc.net.reactor import LeanReactor

LIMIT = 20


STOPPING = """
import sys, socket
from echosvc.net.reactor import install
install()
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
class Stopping(Protocol):
    def stop(self, *_):
        reactor.stop()
setattr(Stopping, sys.argv[1], Stopping.stop)
port = reactor.listenTCP(0, Factory.forProtocol(Stopping), interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", port.getHost().port))
client.sendall(b"x")
client.shutdown(socket.SHUT_WR)
reactor.run()
print("stopped")
"""


class Upper(Protocol):
    """Answers in capitals; ``!`` raises, ``?`` raises when the connection is gone."""

    reason: Failure | None = None
    seen = b""

    def dataReceived(self, data: bytes) -> None:
        self.seen += data
        if data == b"!":
            raise ValueError("on purpose")
        self.transport.write(data.upper())

    def connectionLost(self, reason: Failure) -> None:
        self.reason = reason
        if self.seen == b"?":
            raise KeyError("on purpose")


@implementer(IHalfCloseableProtocol)
class Halving(Upper):
    """Goes on after the peer's FIN."""

    ended = False

    def readConnectionLost(self) -> None:
        self.ended = True

    def writeConnectionLost(self) -> None:
        pass


class LeanReactorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = LeanReactor()
        self.addCleanup(self.close)
        self.made: list[Upper] = []
        self.factory = Factory()
        self.factory.noisy = False

    def close(self) -> None:
        for selectable in self.reactor.removeAll():
            selectable.connectionLost(Failure(ConnectionDone()))
        self.reactor._poller.close()
        self.flushLoggedErrors()

    def connected(self, kind: type[Upper] = Upper) -> tuple[socket.socket, Upper]:
        """A client on a real socket, and the server's protocol."""

        def build(_: object) -> Upper:
            self.made.append(kind())
            return self.made[-1]

        self.factory.buildProtocol = build
        port = self.reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        client = socket.create_connection(("127.0.0.1", port.getHost().port), LIMIT)
        self.addCleanup(client.close)
        count = len(self.made)
        self.until(lambda: len(self.made) > count)
        return client, self.made[-1]

    def until(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + LIMIT
        while not true():
            self.assertLess(time.monotonic(), end)
            self.reactor.iterate(0.01)

    def test_twistd_knows_it_once(self) -> None:
        from twisted.application.reactors import IReactorInstaller

        found = [each for each in getPlugins(IReactorInstaller) if each.shortName == "lean"]
        self.assertEqual([each.moduleName for each in found], ["echosvc.net.reactor"])

    def test_its_clock_is_monotonic(self) -> None:
        before = time.monotonic()
        self.assertTrue(before <= self.reactor.seconds() <= time.monotonic())

    def test_it_serves(self) -> None:
        client, server = self.connected()
        client.sendall(b"hello")
        self.until(lambda: server.seen)
        self.reactor.iterate(0)
        self.assertEqual(client.recv(9), b"HELLO")

    def test_a_clean_end_and_a_reset_are_told_apart(self) -> None:
        for linger, reason in ((b"\0" * 8, ConnectionDone), (b"\1" + b"\0" * 7, ConnectionLost)):
            client, server = self.connected()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.close()
            self.until(lambda server=server: server.reason)
            self.assertTrue(server.reason.check(reason), (server.reason, reason))

    def test_a_half_close_is_told_and_survived(self) -> None:
        client, server = self.connected(Halving)
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        self.until(lambda: server.ended)
        self.assertIsNone(server.reason)
        server.transport.write(b" again")
        server.transport.loseConnection()
        self.until(lambda: server.reason)
        self.assertEqual(client.recv(99) + client.recv(99), b"HELLO again")

    def test_an_exception_is_logged_and_ends_its_connection_alone(self) -> None:
        (bad, failing), (good, working) = self.connected(), self.connected()
        bad.sendall(b"!")
        good.sendall(b"x")
        self.until(lambda: failing.reason and working.seen)
        self.assertTrue(failing.reason.check(ValueError))
        (logged,) = self.flushLoggedErrors(ValueError)
        self.assertIn("on purpose", logged.getTraceback())
        self.reactor.iterate(0)
        self.assertEqual(good.recv(1), b"X")

    def test_an_exception_at_the_end_is_logged_and_stops_nobody(self) -> None:
        (bad, failing), (good, working) = self.connected(), self.connected()
        bad.sendall(b"?")
        self.until(lambda: failing.seen)
        bad.close()
        good.sendall(b"x")
        self.until(lambda: failing.reason and working.seen)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_who_ends_another_connection_of_the_same_turn_is_no_fault(self) -> None:
        """Its event is there already when its descriptor is not any more."""
        (one, first), (two, second) = self.connected(), self.connected()
        for own, other in ((first, second), (second, first)):
            own.dataReceived = lambda _, other=other: other.transport.abortConnection()
        one.sendall(b"x")
        two.sendall(b"x")
        self.until(lambda: first.reason or second.reason)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_one_iteration_of_the_main_loop_ends_for_each_of_its_reasons(self) -> None:
        """While connections keep it busy; else a timer would wait for ever."""
        self.reactor.running = True
        client, server = self.connected()
        fired: list[str] = []
        reasons: dict[str, Callable[[], object]] = {
            "a new timer": lambda: self.reactor.callLater(0, fired.append, "timer"),
            "a call from a thread": lambda: self.reactor.callFromThread(fired.append, "thread"),
            "the stop": lambda: setattr(self.reactor, "_justStopped", True),
            "the crash": lambda: setattr(self.reactor, "running", False),
        }
        for name, reason in reasons.items():
            server.dataReceived = lambda _, reason=reason: reason()
            client.sendall(b"x")
            began = time.monotonic()
            self.reactor.doIteration(LIMIT)
            self.assertLess(time.monotonic() - began, LIMIT / 2, name)
            self.reactor._justStopped = False
            self.reactor.runUntilCurrent()
        self.assertEqual(fired, ["timer", "thread"])

    def test_a_program_that_stops_it_from_a_handler_ends(self) -> None:
        """With no timer that would wake it."""
        for how in ("dataReceived", "connectionLost"):
            done = subprocess.run(
                [sys.executable, "-c", STOPPING, how], capture_output=True, timeout=LIMIT
            )
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"stopped\n", b""))

    def test_a_timer_that_is_moved_to_sooner_is_met(self) -> None:
        self.reactor.running = True
        client, server = self.connected()
        fired: list[float] = []
        timer = self.reactor.callLater(LIMIT, lambda: fired.append(time.monotonic()))
        self.reactor.runUntilCurrent()
        server.dataReceived = lambda _: timer.reset(0.05)
        client.sendall(b"x")
        began = time.monotonic()
        self.reactor.doIteration(self.reactor.timeout())
        self.assertLess(time.monotonic() - began, LIMIT / 2)
        self.reactor.runUntilCurrent()
        self.assertEqual(len(fired), 1)
