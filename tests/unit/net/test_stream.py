"""An accepted connection: Twisted's in all that a protocol can see of it."""

from __future__ import annotations

import socket

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITCPTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from echosvc.net.addresses import make_address
from echosvc.net.stream import RECV_SIZE, Stream
from tests.support.listening import Listening
from tests.support.sockets import receive_exactly
from tests.support.stream_case import Halving, StreamTestCase
from tests.support.waiting import LIMIT


class CountingProducer:
    """A producer that counts what it is told."""

    def __init__(self) -> None:
        self.paused = self.resumed = self.stopped = 0

    def pauseProducing(self) -> None:
        self.paused += 1

    def resumeProducing(self) -> None:
        self.resumed += 1

    def stopProducing(self) -> None:
        self.stopped += 1


class AddressTests(SynchronousTestCase):
    def test_each_family_gets_its_own_kind(self) -> None:
        for name, address in (
            (("192.0.2.1", 7), IPv4Address("TCP", "192.0.2.1", 7)),
            (("2001:db8::1", 7, 0, 0), IPv6Address("TCP", "2001:db8::1", 7)),
            ("", UNIXAddress(None)),
            ("/run/a", UNIXAddress("/run/a")),
            (b"\0a", UNIXAddress(b"\0a")),
        ):
            self.assertEqual(make_address(name), address)

    def test_a_link_local_address_keeps_its_zone(self) -> None:
        index, name = socket.if_nameindex()[0]
        address = make_address(("fe80::1", 7, 0, index))
        self.assertEqual((address.host, address.scopeID), (f"fe80::1%{name}", index))


class StreamTests(StreamTestCase):
    def test_it_is_a_tcp_transport_with_addresses_and_a_name(self) -> None:
        client, stream = self.made()
        verifyObject(ITCPTransport, stream)
        host, port = client.getsockname()
        self.assertEqual(stream.getPeer(), IPv4Address("TCP", host, port))
        self.assertEqual(stream.getHost(), IPv4Address("TCP", *client.getpeername()))
        self.assertEqual(repr(stream), f"<Stream of {host}:{port}>")
        self.assertEqual(stream.logPrefix(), repr(stream))

    def test_what_comes_is_told(self) -> None:
        client, stream = self.made()
        client.sendall(b"hello")
        self.until(lambda: stream.protocol.heard)
        self.assertEqual(stream.protocol.heard, b"hello")

    def test_one_read_leaves_room_for_a_prefix_in_a_segment(self) -> None:
        """The largest on loopback is 65,483 bytes."""
        self.assertLess(RECV_SIZE + 1000, 65483)

    def test_nothing_to_read_is_no_event(self) -> None:
        _, stream = self.made()
        self.assertIsNone(stream.doRead())
        self.assertEqual((stream.protocol.heard, stream.connected), (b"", 1))

    def test_a_fin_ends_a_protocol_that_does_not_half_close(self) -> None:
        client, stream = self.made()
        protocol = stream.protocol
        client.shutdown(socket.SHUT_WR)
        self.until(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionDone))
        self.assertEqual(client.recv(1), b"")

    def test_a_fin_is_told_once_to_one_that_does(self) -> None:
        client, stream = self.made(Halving)
        client.shutdown(socket.SHUT_WR)
        self.until(lambda: stream.protocol.ended)
        stream.protocol.ended = False
        self.reactor.iterate(0)
        self.assertFalse(stream.protocol.ended)
        stream.write(b"still here")
        self.reactor.iterate(0)
        self.assertEqual(client.recv(99), b"still here")

    def test_a_reset_is_told_as_one(self) -> None:
        client, stream = self.made()
        protocol = stream.protocol
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1" + b"\0" * 7)
        client.close()
        self.until(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionLost))

    def test_an_abort_resets(self) -> None:
        client, stream = self.made()
        protocol = stream.protocol
        stream.abortConnection()
        self.until(lambda: protocol.reason)
        self.assertTrue(protocol.reason.check(ConnectionAborted))
        with self.assertRaises(ConnectionResetError):
            client.recv(1)

    def test_a_close_is_no_reset(self) -> None:
        client, stream = self.made()
        protocol = stream.protocol
        stream.write(b"bye")
        stream.loseConnection()
        self.until(lambda: protocol.reason)
        self.assertEqual(client.recv(9) + client.recv(9), b"bye")

    def test_what_waits_is_each_ones_own(self) -> None:
        (first, one), (second, two) = self.made(), self.made()
        one.write(b"on")
        two.writeSequence([b"t", b"w"])
        one.writeSequence([b"e"])
        two.write(b"o")
        self.reactor.iterate(0)
        self.assertEqual((first.recv(9), second.recv(9)), (b"one", b"two"))

    def test_a_push_producer_is_paused_and_a_pull_producer_is_asked_again(self) -> None:
        client, stream = self.made()
        pushing, pulling = CountingProducer(), CountingProducer()
        for kind in (pushing, pulling, pushing):
            stream.registerProducer(kind, kind is pushing)
            self.assertIs(stream.streamingProducer, kind is pushing)
            self.assertRaises(RuntimeError, stream.registerProducer, kind, True)
            stream.write(bytes(RECV_SIZE + 1))
            self.until(lambda: not (stream.dataBuffer or stream._tempDataLen))
            receive_exactly(client, RECV_SIZE + 1)
            stream.unregisterProducer()
        self.assertEqual((pushing.paused, pushing.resumed), (2, 2))
        self.assertEqual(pulling.paused, 0)
        self.assertGreater(pulling.resumed, 0)

    def test_a_producer_that_comes_too_late_is_stopped(self) -> None:
        _, stream = self.made()
        stream.connectionLost(Failure(ConnectionDone()))
        producer = CountingProducer()
        stream.registerProducer(producer, True)
        self.assertEqual((producer.stopped, stream.disconnected), (1, True))

    def test_an_idle_connection_keeps_few_attributes(self) -> None:
        """Each is 8 bytes for each connection; what all have in common is the class's."""
        _, stream = self.made()
        stream.registerProducer(CountingProducer(), True)
        self.assertLessEqual(len(vars(stream)), 10)

    def test_its_end_is_told_once_and_frees_everything(self) -> None:
        _, stream = self.made()
        protocol, handle = stream.protocol, stream.socket
        stream.registerProducer(protocol, True)
        for _ in range(2):
            stream.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((protocol.stopped, stream.producer), (1, None))
        self.assertEqual((handle.fileno(), stream.fileno()), (-1, -1))
        self.assertNotIn(stream, self.reactor.getReaders())
        stream.write(b"too late")
        self.assertEqual(self.reactor.getWriters(), [])
        self.assertIsNotNone(stream.getPeer())

    def test_one_event_may_tell_of_the_end_and_of_room_to_write(self) -> None:
        """The first of both closes; the second finds nothing to do."""
        client, stream = self.made()
        protocol = stream.protocol
        stream.startWriting()
        client.shutdown(socket.SHUT_WR)
        self.until(lambda: protocol.reason)
        self.assertEqual(self.flushLoggedErrors(), [])


class UNIXTests(StreamTestCase):
    def test_descriptors_that_a_client_passes_are_closed(self) -> None:
        """It reads by recv: the kernel drops what nobody asked for."""
        ours, client = socket.socketpair()
        self.addCleanup(client.close)
        ours.setblocking(False)
        stream = Stream(ours, Listening(), make_address(""), self.reactor)
        reader, writer = socket.socketpair()
        socket.send_fds(client, [b"x"], [writer.fileno()])
        writer.close()
        self.until(lambda: stream.protocol.heard)
        reader.settimeout(LIMIT)
        self.assertEqual(reader.recv(1), b"")  # nobody has the other end
        reader.close()
        self.assertEqual(stream.getPeer(), UNIXAddress(None))
