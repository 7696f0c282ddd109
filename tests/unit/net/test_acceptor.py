"""How connections come in, also when the system has no room for more."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import resource
import socket
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from echosvc import EchoFactory
from echosvc.net.acceptor import ACCEPT_BATCH, PAUSE, IAdmittingFactory
from echosvc.net.epoll import EpollGroup
from echosvc.net.listeners import TCPListener
from echosvc.net.reactor import LeanReactor
from echosvc.server.service import accept_waiting
from echosvc.tls.endpoints import TLSFactory
from tests.support.listening import Listening


class Building(Factory):
    """Counts what it builds."""

    noisy = False

    def __init__(self) -> None:
        self.made: list[Listening] = []
        self.answer: Any = Listening

    def buildProtocol(self, addr: IAddress) -> Any:
        protocol = self.answer()
        if protocol is not None:
            self.made.append(protocol)
        return protocol


def epoll_descriptors() -> list[str]:
    """Those that this process has."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the list
            if "eventpoll" in os.readlink(f"/proc/self/fd/{number}"):
                found.append(number)
    return sorted(found)


class AcceptingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = Building()

    def listen(self, kind: Any = SelectReactor) -> Any:
        self.reactor = kind()
        self.reactor.callLater = self.clock.callLater
        port = self.successResultOf(TCPListener(self.reactor, "127.0.0.1", 0).listen(self.factory))
        self.addCleanup(self.close, port)
        return port

    def close(self, port: Any) -> None:
        if port.connected:
            port.connectionLost(Failure(ConnectionDone()))
        for protocol in self.factory.made:
            protocol.transport.connectionLost(Failure(ConnectionDone()))
        for selectable in self.reactor.removeAll():
            selectable.connectionLost(Failure(ConnectionDone()))

    def client(self, port: Any) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", port.getHost().port), 20)
        self.addCleanup(client.close)
        return client

    def test_tls_passes_on_what_a_factory_decides_and_only_that(self) -> None:
        ours, creator = EchoFactory(log="quiet", max_connections=3), object()
        for factory in (ours, TLSFactory(TLSFactory(ours, creator, False), creator, False)):
            verifyObject(IAdmittingFactory, factory)
            self.assertIs(factory.admission, ours.admission)
        foreign = TLSFactory(self.factory, creator, is_client=False)
        self.assertFalse(IAdmittingFactory.providedBy(foreign))

    def test_all_who_wait_are_accepted_in_order(self) -> None:
        port = self.listen()
        clients = [self.client(port) for _ in range(7)]
        port.doRead()
        peers = [protocol.transport.getPeer().port for protocol in self.factory.made]
        self.assertEqual(peers, [client.getsockname()[1] for client in clients])

    def test_after_many_others_have_their_turn(self) -> None:
        port = self.listen()
        for _ in range(ACCEPT_BATCH + 5):
            self.client(port)
        port.doRead()
        self.assertEqual(len(self.factory.made), ACCEPT_BATCH)
        port.doRead()
        self.assertEqual(len(self.factory.made), ACCEPT_BATCH + 5)

    def test_they_are_one_group_unless_the_reactor_is_lean(self) -> None:
        for kind in (SelectReactor, LeanReactor):
            port = self.listen(kind)
            for _ in range(2):
                self.client(port)
            port.doRead()
            one, two = (protocol.transport.reactor for protocol in self.factory.made[-2:])
            self.assertIs(one, two)
            self.assertEqual(isinstance(one, EpollGroup), kind is SelectReactor)

    def test_whom_the_factory_does_not_want_is_closed(self) -> None:
        port = self.listen()
        self.factory.answer = lambda: None
        client = self.client(port)
        port.doRead()
        self.assertEqual(client.recv(1), b"")

    def test_a_factory_that_fails_resets_that_connection_alone(self) -> None:
        port = self.listen()
        for error in (ValueError, asyncio.CancelledError):

            def fail(error: type[BaseException] = error) -> None:
                self.factory.answer = Listening
                raise error("on purpose")

            self.factory.answer = fail
            bad, _ = self.client(port), self.client(port)
            before = len(self.factory.made)
            port.doRead()
            self.assertRaises(ConnectionResetError, bad.recv, 1)
            self.assertEqual(len(self.factory.made), before + 1)
            self.assertEqual(len(self.flushLoggedErrors(error)), 1)
            self.assertIn(port, self.reactor.getReaders())

    def test_a_protocol_that_fails_at_its_start_is_reset_alone(self) -> None:
        port = self.listen()
        for error in (ValueError, asyncio.CancelledError):

            class Failing(Listening):
                def connectionMade(self, error: type[BaseException] = error) -> None:
                    raise error("on purpose")

            self.factory.answer = Failing
            client = self.client(port)
            port.doRead()
            self.assertRaises(ConnectionResetError, client.recv, 1)
            self.assertTrue(self.factory.made[-1].reason.check(error))
            self.assertEqual(len(self.flushLoggedErrors(error)), 1)
            self.assertIn(port, self.reactor.getReaders())

    def test_without_descriptors_it_waits_and_loses_nobody(self) -> None:
        port = self.listen()
        clients = [self.client(port) for _ in range(3)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            port.doRead()
            self.assertNotIn(port, self.reactor.getReaders())  # it would be told for ever
            self.clock.advance(PAUSE)
            self.assertIn(port, self.reactor.getReaders())
            port.doRead()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(self.factory.made, [])
        self.clock.advance(PAUSE)
        port.doRead()
        self.assertEqual(len(self.factory.made), len(clients))

    def test_the_fault_of_one_connection_is_not_the_next_ones(self) -> None:
        port = self.listen()
        self.client(port)
        real = port.socket

        class Failing:
            """The first accept fails as accept(2) says that it may."""

            def __init__(self) -> None:
                self.errors = [errno.ECONNABORTED, errno.EPERM, errno.EPROTO]

            def _accept(self) -> object:
                if self.errors:
                    raise OSError(self.errors.pop(), "on purpose")
                return real._accept()

        accepted = list(port._accept_all(Failing()))
        self.assertEqual(len(accepted), 1)
        accepted[0][0].close()

    def test_a_port_that_closes_in_a_pause_leaves_no_timer(self) -> None:
        port = self.listen()
        self.client(port)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            port.doRead()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        port.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    # -- errors of accept(2) --------------------------------------------------

    def broken(self, port: Any, number: int) -> tuple[Any, list[int]]:
        """A socket in the port's place that accepts nobody any more; counts how it is asked."""
        asked: list[int] = []
        real = port.socket

        class Broken:
            def _accept(self) -> object:
                asked.append(number)
                raise OSError(number, os.strerror(number))

            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

        port.socket = Broken()
        return port, asked

    def said(self) -> list[str]:
        """What was said since it was asked for."""
        said: list[str] = []

        def observe(event: dict[str, Any]) -> None:
            if event["log_namespace"] == "echosvc":
                said.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return said

    def test_a_listening_socket_that_has_ended_is_closed_with_one_line(self) -> None:
        for number in (errno.EINVAL, errno.EBADF, errno.ENOTSOCK):
            port, asked = self.broken(self.listen(), number)
            ended: list[str] = []
            port.call_when_lost(lambda told=ended: told.append("ended"))
            where, said = f"127.0.0.1:{port.getHost().port}", self.said()
            port.doRead()
            self.assertNotIn(port, self.reactor.getReaders())
            self.assertFalse(port.connected)
            name = errno.errorcode[number]
            self.assertEqual(len(said), 1)
            self.assertIn(f"Server Error: the listener {where} is closed: {name} (", said[0])
            self.assertEqual((ended, len(asked)), (["ended"], 1))

    def test_a_descriptor_that_is_somebody_elses_is_not_closed(self) -> None:
        for number, still_open in ((errno.EINVAL, False), (errno.ENOTSOCK, True)):
            port, _ = self.broken(self.listen(), number)
            descriptor = port.fileno()
            port.doRead()
            if still_open:
                os.close(descriptor)
            with self.assertRaises(OSError):
                os.fstat(descriptor)

    def test_errors_of_connections_are_those_of_accept(self) -> None:
        for number in (
            errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH,
            errno.EOPNOTSUPP, errno.EACCES,
        ):  # fmt: skip
            port, _ = self.broken(self.listen(), number)
            for _ in range(ACCEPT_BATCH // 2):
                port._may_continue(OSError(number, ""))
            self.assertTrue(port.connected)
            self.assertIn(port, self.reactor.getReaders())

    def test_where_every_accept_fails_it_waits_a_while_and_says_so(self) -> None:
        """A rule of the system that forbids it leaves the connection in the queue."""
        for number in (errno.EPERM, errno.EACCES, errno.ECONNABORTED):
            port, asked = self.broken(self.listen(), number)
            said = self.said()
            while port in self.reactor.getReaders():
                port.doRead()
                self.assertLessEqual(len(asked), 2 * ACCEPT_BATCH)
            self.assertEqual(len(said), 1)
            self.assertIn(f"no connection can be accepted: {errno.errorcode[number]}", said[0])
            self.clock.advance(PAUSE)
            self.assertIn(port, self.reactor.getReaders())

    def test_a_stop_tries_once_where_nobody_can_be_accepted(self) -> None:
        port, asked = self.broken(self.listen(), errno.EMFILE)
        self.client(port)
        said = self.said()
        accept_waiting(port)
        accept_waiting(port)
        self.assertEqual((len(asked), len(said)), (2, 2))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_what_the_select_reactor_finds_lost_is_said_too(self) -> None:
        port = self.listen()
        said = self.said()
        os.close(port.socket.detach())
        self.reactor.doIteration(0)
        self.assertFalse(port.connected)
        self.assertEqual(len(said), 1)
        self.assertIn("its socket was closed by other code", said[0])

    def test_a_port_that_nobody_has_any_more_leaves_no_descriptor(self) -> None:
        gc.collect()
        reactor, before = SelectReactor(), epoll_descriptors()
        gc.disable()
        self.addCleanup(gc.enable)
        port: Any = self.successResultOf(TCPListener(reactor, "127.0.0.1", 0).listen(Building()))
        self.assertEqual(len(epoll_descriptors()), len(before) + 1)
        port.stopListening()
        reactor.runUntilCurrent()
        del port
        self.assertEqual(epoll_descriptors(), before)
        for selectable in reactor.removeAll():
            selectable.connectionLost(Failure(ConnectionDone()))

    def test_when_nothing_tells_of_its_connections_it_is_closed(self) -> None:
        port = self.listen()
        client = self.client(port)
        port.doRead()
        self.assertEqual(len(self.factory.made), 1)
        said, group = self.said(), self.factory.made[0].transport.reactor
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, group.fileno())
        os.close(null)
        group.doRead()
        self.assertFalse(port.connected)
        self.assertRaises(ConnectionResetError, client.recv, 1)
        self.assertEqual(len(said), 1)
        self.assertIn("the epoll descriptor of its connections", said[0])
