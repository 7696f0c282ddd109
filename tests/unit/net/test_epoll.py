"""Many connections behind one descriptor: served in any reactor, and never in its way."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.internet.pollreactor import PollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from echosvc.net.addresses import make_address
from echosvc.net.epoll import (
    MAX_EVENTS,
    MAX_POLLS,
    MORE,
    EpollGroup,
    EpollHandler,
    ReactorGroup,
    _ReactorAdapter,
)
from echosvc.net.stream import Stream
from tests.support.listening import Listening

LIMIT = 20


class Answering(Listening):
    """Answers in capitals; ``!`` raises."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if data == b"!":
            raise ValueError("on purpose")
        self.transport.write(data.upper())


class Counting(EpollHandler):
    """Reads nothing; counts its reads, each of which returns the next of some values."""

    interest = EPOLLIN
    connected = True

    def __init__(self, handle: socket.socket, group: EpollGroup, returns: tuple[Any, ...]) -> None:
        self._handle, self.reactor, self._returns = handle, group, iter(returns)
        self.reads = 0
        self.why: BaseException | None = None

    def fileno(self) -> int:
        return self._handle.fileno()

    def doRead(self) -> Any:
        self.reads += 1
        return next(self._returns, None)

    def connectionLost(self, reason: Failure) -> None:
        self.why = reason.value
        self.reactor.unregister(self.fileno(), self.interest)


class OfMembers:
    """What holds for all that tells handlers of their events."""

    kind: Callable[[Any], Any]
    reactor_kind: Callable[[], Any] = SelectReactor

    def setUp(self) -> None:
        self.reactor = self.reactor_kind()
        self.group = self.kind(self.reactor)
        self.addCleanup(self.close)

    def close(self) -> None:
        for member in self.group.handlers:
            member.connectionLost(Failure(ConnectionDone()))
        for selectable in self.reactor.removeAll():
            selectable.connectionLost(Failure(ConnectionDone()))

    def member(self, kind: type[Listening] = Answering) -> tuple[socket.socket, Stream]:
        client, handle = socket.socketpair()
        self.addCleanup(client.close)
        client.settimeout(LIMIT)
        handle.setblocking(False)
        stream = Stream(handle, kind(), make_address(""), self.group)
        stream.protocol.makeConnection(stream)
        self.addCleanup(stream.connectionLost, Failure(ConnectionDone()))
        return client, stream

    def until(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + LIMIT
        while not true():
            self.assertLess(time.monotonic(), end)
            self.reactor.iterate(0.01)

    def readers(self) -> list[Any]:
        return [
            each for each in self.reactor.getReaders() if isinstance(each, (EpollGroup, Stream))
        ]

    def test_members_are_served(self) -> None:
        pairs = [self.member() for _ in range(10)]
        for number, (client, _) in enumerate(pairs):
            client.sendall(b"m%d" % number)
        self.until(lambda: all(stream.protocol.heard for _, stream in pairs))
        self.until(lambda: all(stream.interest == EPOLLIN for _, stream in pairs))
        for number, (client, _) in enumerate(pairs):
            self.assertEqual(client.recv(9), b"M%d" % number)

    def test_who_waits_to_write_and_does_not_read_is_told_of_room(self) -> None:
        client, stream = self.member()
        stream.pauseProducing()
        stream.write(b"hello")
        self.assertEqual(stream.interest, EPOLLOUT)
        self.until(lambda: not stream.interest)
        self.assertEqual(client.recv(9), b"hello")

    def test_who_reads_and_waits_to_write_is_told_of_both(self) -> None:
        client, stream = self.member()
        stream.write(b"hello")
        client.sendall(b"x")
        self.until(lambda: stream.protocol.heard)
        self.assertEqual(client.recv(5), b"hello")

    def test_a_fault_is_logged_and_ends_its_member_alone(self) -> None:
        (bad, _), (good, working) = self.member(), self.member()
        bad.sendall(b"!")
        good.sendall(b"x")
        self.until(lambda: working.protocol.heard)
        self.until(lambda: self.group.handlers == [working])
        (logged,) = self.flushLoggedErrors(ValueError)
        self.assertIn("on purpose", logged.getTraceback())

    def test_who_vanished_while_only_writing_is_lost(self) -> None:
        client, stream = self.member(Listening)
        protocol = stream.protocol
        stream.pauseProducing()
        stream.write(b"x" * 10_000_000)
        client.close()
        self.until(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionLost))
        self.assertEqual(self.readers(), [])

    def test_an_event_of_a_closed_member_harms_no_new_one_of_the_same_number(self) -> None:
        _, old = self.member(Listening)
        number = old.socket.fileno()
        old.connectionLost(Failure(ConnectionDone()))
        handle, client = socket.socketpair()  # the lowest number that is free comes first
        self.addCleanup(client.close)
        handle.setblocking(False)
        new = Stream(handle, Listening(), make_address(""), self.group)
        self.addCleanup(new.connectionLost, Failure(ConnectionDone()))
        self.assertEqual(new.fileno(), number)
        for event in (EPOLLIN, EPOLLHUP, EPOLLERR, EPOLLIN | EPOLLHUP | EPOLLERR, EPOLLOUT):
            self.group._dispatch([(number, event)])
            self.assertTrue(new.connected, event)

    def test_timers_are_the_reactors(self) -> None:
        fired: list[str] = []
        self.group.callLater(0, fired.append, "now")
        self.until(lambda: fired)

    def test_the_end_of_the_reactor_is_that_of_all_members(self) -> None:
        pairs = [self.member() for _ in range(3)]
        protocols = [stream.protocol for _, stream in pairs]
        for selectable in self.reactor.removeAll():
            selectable.connectionLost(Failure(ConnectionLost()))
        self.assertTrue(all(each.reason.check(ConnectionLost) for each in protocols))
        self.assertEqual(self.readers(), [])


class GroupTests(OfMembers, SynchronousTestCase):
    kind: Callable[[Any], Any] = EpollGroup

    def test_it_is_a_reader_to_the_reactor(self) -> None:
        verifyObject(IReadDescriptor, self.group)

    def test_the_reactor_knows_it_while_it_has_members_and_never_them(self) -> None:
        self.assertEqual(self.readers(), [])
        (_, first), (_, second) = self.member(), self.member()
        self.assertEqual(self.readers(), [self.group])
        self.assertEqual(self.group.handlers, [first, second])
        first.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.readers(), [self.group])
        second.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.readers(), self.group.handlers), ([], []))

    def test_more_members_than_one_look_takes_are_all_served(self) -> None:
        pairs = [self.member() for _ in range(MAX_EVENTS // 4)]
        self.group.doRead()
        for client, _ in pairs:
            client.sendall(b"x")
        self.until(lambda: all(stream.protocol.heard for _, stream in pairs))

    def ready(self, *returns: Any) -> Counting:
        """Register a handler that is always readable."""
        here, there = socket.socketpair()
        self.addCleanup(here.close)
        self.addCleanup(there.close)
        there.send(b"x")
        handler = Counting(here, self.group, returns)
        self.group.register(here.fileno(), handler)
        return handler

    def test_a_stream_is_read_on_in_one_turn_of_the_reactor(self) -> None:
        handler = self.ready(MORE, MORE, None)
        self.group.doRead()
        self.assertEqual(handler.reads, 3)

    def test_a_turn_of_the_reactor_ends_whatever_is_ready(self) -> None:
        handler = self.ready(*[MORE] * 100)
        self.group.doRead()
        self.assertEqual(handler.reads, MAX_POLLS)
        others = [self.ready() for _ in range(MAX_EVENTS // 2 - 1)]
        self.group.doRead()
        self.assertEqual({each.reads for each in others}, {2})

    def test_one_message_is_not_asked_for_twice(self) -> None:
        handler = self.ready(None)
        self.group.doRead()
        self.assertEqual(handler.reads, 1)

    def test_a_fault_in_a_stream_that_is_read_on_ends_it(self) -> None:
        handler = self.ready(MORE, ValueError("on purpose"))
        self.group.doRead()
        self.assertEqual((handler.reads, str(handler.why)), (2, "on purpose"))

    def test_who_reads_no_more_is_told_nothing_until_it_does_again(self) -> None:
        client, stream = self.member()
        stream.pauseProducing()
        client.sendall(b"x")
        self.reactor.iterate(0)
        self.assertEqual((stream.protocol.heard, stream.interest), (b"", 0))
        self.assertEqual(self.group._poller.poll(0), [])
        stream.resumeProducing()
        stream.resumeProducing()
        self.until(lambda: stream.protocol.heard)

    def test_what_nobody_has_any_more_is_forgotten(self) -> None:
        """Another process may keep what a number stood for; the kernel then tells of it."""
        here, there = socket.socketpair()
        self.addCleanup(here.close)
        self.addCleanup(there.close)
        self.group._poller.register(here, EPOLLIN)
        there.send(b"x")
        self.group.doRead()
        self.assertEqual(self.group._poller.poll(0), [])

    def test_when_its_descriptor_is_lost_all_members_end_and_that_is_told(self) -> None:
        told: list[OSError] = []
        self.group._failed = told.append
        (_, first), (_, second) = self.member(), self.member()
        protocols = [first.protocol, second.protocol]
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, self.group.fileno())
        os.close(null)
        self.until(lambda: told)
        self.assertEqual([error.errno for error in told], [errno.EINVAL])
        self.assertTrue(all(each.reason.check(OSError) for each in protocols))
        self.assertEqual((self.readers(), self.group.handlers), ([], []))
        here, handle = socket.socketpair()
        self.addCleanup(here.close)
        self.addCleanup(handle.close)
        with self.assertRaises(OSError):
            Stream(handle, Listening(), make_address(""), self.group)
        self.assertEqual(len(told), 2)

    def test_one_that_fails_at_the_end_stops_no_other(self) -> None:
        (_, first), (_, second) = self.member(), self.member()
        protocols = [first.protocol, second.protocol]

        def fail(reason: Failure) -> None:
            heard.append(reason)
            raise ValueError("on purpose")

        heard: list[Failure] = []
        for protocol in protocols:
            protocol.connectionLost = fail
        self.group.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(len(heard), 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)


class SinglesTests(OfMembers, SynchronousTestCase):
    """The same without epoll: each member is known to the reactor."""

    kind: Callable[[Any], Any] = ReactorGroup

    def watched(self) -> tuple[int, int]:
        """How many handlers the reactor watches for reading, and for writing."""
        return tuple(
            sum(isinstance(each, _ReactorAdapter) for each in known)
            for known in (self.reactor.getReaders(), self.reactor.getWriters())
        )

    def test_the_reactor_knows_it_while_it_has_members_and_never_them(self) -> None:
        _, stream = self.member()
        self.assertEqual((self.watched(), self.group.handlers), ((1, 0), [stream]))
        stream.write(b"x")
        self.assertEqual(self.watched(), (1, 1))
        stream.pauseProducing()
        self.assertEqual(self.watched(), (0, 1))
        stream.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.watched(), self.group.handlers), ((0, 0), []))

    def test_who_reads_no_more_is_told_nothing_until_it_does_again(self) -> None:
        client, stream = self.member()
        stream.pauseProducing()
        client.sendall(b"x")
        self.reactor.iterate(0)
        self.assertEqual((stream.protocol.heard, stream.interest), (b"", 0))
        stream.resumeProducing()
        stream.resumeProducing()
        self.until(lambda: stream.protocol.heard)

    def test_a_member_is_what_the_reactor_expects(self) -> None:
        _, stream = self.member()
        (watch,) = (each for each in self.reactor.getReaders() if isinstance(each, _ReactorAdapter))
        for interface in (IReadDescriptor, IWriteDescriptor, IHalfCloseableDescriptor):
            verifyObject(interface, watch)
        self.assertEqual(watch.fileno(), stream.fileno())
        self.assertEqual(watch.logPrefix(), "connections")

    def test_a_hang_up_is_the_end_of_what_comes(self) -> None:
        client, stream = self.member(Listening)
        protocol = stream.protocol
        client.close()
        self.until(lambda: protocol.reason)
        self.assertEqual(self.watched(), (0, 0))


class PolledSinglesTests(SinglesTests):
    reactor_kind: Callable[[], Any] = PollReactor
