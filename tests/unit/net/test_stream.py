"""An accepted connection: Twisted's in all that a protocol can see of it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from select import select
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.internet.ssl import CertificateOptions
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from echosvc import EchoFactory, EchoProtocol
from echosvc.net.addresses import make_address
from echosvc.net.epoll import MORE
from echosvc.net.reactor import LeanReactor
from echosvc.net.stream import CACHED_SIZES, RECV_SIZE, ReplyBuffer, Stream
from tests.support.listening import Listening
from tests.support.sockets import receive_exactly

LIMIT = 20


@implementer(IHalfCloseableProtocol)
class Halving(Listening):
    """Is told of the end of one direction."""

    ended = False

    def readConnectionLost(self) -> None:
        self.ended = True

    def writeConnectionLost(self) -> None:
        pass


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


class StreamTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = LeanReactor()
        self.addCleanup(self.close)

    def close(self) -> None:
        for selectable in self.reactor.removeAll():
            selectable.connectionLost(Failure(ConnectionDone()))
        self.reactor._poller.close()

    def made(self, kind: Callable[[], Any] = Listening) -> tuple[socket.socket, Stream]:
        """A client's socket, and the server's end of its connection."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname(), LIMIT)
            handle, name = listener.accept()
        self.addCleanup(client.close)
        handle.setblocking(False)
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * RECV_SIZE)
        stream = Stream(handle, kind(), make_address(name), self.reactor)
        stream.protocol.makeConnection(stream)
        self.addCleanup(stream.connectionLost, Failure(ConnectionDone()))
        return client, stream

    def wait_for(self, stream: Stream, size: int) -> None:
        """Wait until so many bytes can be read at once."""
        end = time.monotonic() + LIMIT
        while len(stream.socket.recv(2 * size, socket.MSG_PEEK)) < size:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.001)

    def until(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + LIMIT
        while not true():
            self.assertLess(time.monotonic(), end)
            self.reactor.iterate(0.01)


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


class Counted(Listening):
    """Lets its stream answer."""

    def __init__(self) -> None:
        super().__init__()
        self.fast_bytes = self.fast_messages = 0
        self.rest = b""

    def send_remainder(self, data: bytes) -> None:
        self.rest += data


class TakesThree(socket.socket):
    """One with hardly any room for what is sent."""

    def send(self, data: bytes) -> int:  # type: ignore[override]
        return super().send(data[:3])


class OwnAnswerTests(StreamTestCase):
    """With replies, the stream answers what is simple, and passes on what is not."""

    def answering(self) -> tuple[socket.socket, Stream, Counted]:
        client, stream = self.made(Counted)
        stream.replies = ReplyBuffer(b"> ")
        return client, stream, stream.protocol

    def test_a_read_comes_back_behind_the_prefix_and_is_counted(self) -> None:
        client, _, protocol = self.answering()
        for number in (1, 2):
            client.sendall(b"hello")
            self.until(lambda number=number: protocol.fast_messages == number)
            self.assertEqual(client.recv(99), b"> hello")
        self.assertEqual((protocol.fast_bytes, protocol.heard), (10, b""))

    def test_behind_what_waits_the_protocol_answers(self) -> None:
        for queue in (
            lambda stream: setattr(stream, "dataBuffer", b"x"),  # the kernel has not taken
            lambda stream: stream.write(b"x"),
            lambda stream: stream.writeSequence([b"x"]),
        ):
            client, stream, protocol = self.answering()
            stream.startWriting = lambda: None  # as if the kernel never had room
            queue(stream)
            client.sendall(b"hello")
            self.until(lambda protocol=protocol: protocol.heard)
            self.assertEqual((protocol.heard, protocol.fast_messages), (b"hello", 0))

    def test_reads_of_every_size_come_back_whole(self) -> None:
        """Of one size after another: nothing is left of the read before, nothing is cut."""
        client, stream, protocol = self.answering()
        for size in (
            1,
            CACHED_SIZES + 1,
            CACHED_SIZES,
            CACHED_SIZES - 1,
            CACHED_SIZES - 1,
            RECV_SIZE,
            2,
            RECV_SIZE - 1,
            1,
        ):
            data, before = os.urandom(size), protocol.fast_messages
            stream.pauseProducing()
            client.sendall(data)
            self.wait_for(stream, len(data))
            stream.resumeProducing()
            self.until(lambda before=before: protocol.fast_messages > before)
            self.assertEqual(protocol.fast_messages, before + 1)
            self.assertEqual(receive_exactly(client, size + 2), b"> " + data)

    def test_a_read_that_fills_its_buffer_says_that_more_may_be_ready(self) -> None:
        client, stream, _ = self.answering()
        client.sendall(bytes(RECV_SIZE + 1))
        self.wait_for(stream, RECV_SIZE + 1)
        self.assertIs(stream.doRead(), MORE)
        self.assertIsNone(stream.doRead())

    def test_what_is_longer_than_the_room_is_read_piece_by_piece(self) -> None:
        client, stream, protocol = self.answering()
        data = os.urandom(RECV_SIZE + 5)
        stream.pauseProducing()
        client.sendall(data)
        self.wait_for(stream, len(data))
        stream.resumeProducing()
        self.until(lambda: protocol.fast_messages == 2)
        expected = b"> " + data[:RECV_SIZE] + b"> " + data[RECV_SIZE:]
        with client.makefile("rb") as received:
            self.assertEqual(received.read(RECV_SIZE + 9), expected)

    def test_streams_that_share_their_replies_do_not_mix_them(self) -> None:
        """Also where the kernel takes only a part, and the rest is sent later."""
        (first, one, left), (second, two, _) = self.answering(), self.answering()
        two.replies = one.replies
        one.socket = TakesThree(fileno=one.socket.detach())
        first.sendall(b"AAAA")
        self.until(lambda: left.fast_messages)
        second.sendall(b"BBBB")
        self.until(lambda: two.protocol.fast_messages)
        self.assertEqual(second.recv(99), b"> BBBB")
        self.assertEqual((first.recv(99), left.rest), (b"> A", b"AAA"))

    def test_what_the_kernel_does_not_take_is_left_to_the_protocol(self) -> None:
        client, stream, protocol = self.answering()
        stream.socket = TakesThree(fileno=stream.socket.detach())
        client.sendall(b"hello")
        self.until(lambda: protocol.fast_messages)
        self.assertEqual((client.recv(3), protocol.rest), (b"> h", b"ello"))
        self.assertEqual(protocol.fast_bytes, 5)

    def test_the_echo_sends_what_the_kernel_did_not_take(self) -> None:
        client, stream = self.made(lambda: EchoFactory(log="quiet").buildProtocol(None))
        stream.socket = TakesThree(fileno=stream.socket.detach())
        client.sendall(b"hello")
        self.until(lambda: stream.protocol.bytes_out == 14 and not stream.protocol.queued)
        self.assertEqual(receive_exactly(client, 14), b"Sending: hello")

    def test_an_error_of_the_send_is_met_again_by_the_protocol(self) -> None:
        client, stream, protocol = self.answering()
        stream.socket.shutdown(socket.SHUT_WR)
        client.sendall(b"hello")
        self.until(lambda: protocol.heard)
        self.assertEqual((protocol.heard, protocol.fast_messages), (b"hello", 0))

    def test_a_fin_is_no_message(self) -> None:
        client, _, protocol = self.answering()
        client.shutdown(socket.SHUT_WR)
        self.until(lambda: protocol.reason)
        self.assertEqual(protocol.fast_messages, 0)

    def test_another_protocol_is_told_all(self) -> None:
        client, stream, before = self.answering()
        stream.protocol = after = Listening()
        client.sendall(b"hello")
        self.until(lambda: after.heard)
        self.assertEqual((after.heard, before.fast_messages), (b"hello", 0))

    def test_an_echo_that_is_no_more_told_answers_no_more(self) -> None:
        client, stream = self.made(lambda: EchoFactory(log="quiet").buildProtocol(None))
        echo = stream.protocol
        self.assertIsNotNone(stream.replies)
        stream.protocol = after = Listening()
        echo.pause()
        echo.resume()  # which opens its short way again
        client.sendall(b"hello")
        self.until(lambda: after.heard)
        self.assertEqual((after.heard, echo.messages), (b"hello", 0))

    def test_a_hook_may_put_its_own_in_place_of_what_is_told_of_data(self) -> None:
        heard: list[bytes] = []

        def spy(connection: EchoProtocol) -> None:
            echo = connection.dataReceived
            connection.dataReceived = lambda data: (heard.append(data), echo(data))

        factory = EchoFactory(log="quiet", on_connect=spy)
        client, _ = self.made(lambda: factory.buildProtocol(None))
        client.sendall(b"hello")
        self.until(lambda: heard)
        self.assertEqual(heard, [b"hello"])
        self.assertEqual(client.recv(99), b"Sending: hello")

    def test_behind_a_proxy_header_the_stream_answers_too(self) -> None:
        factory = EchoFactory(log="quiet", proxy_protocol="require", proxy_from=("127.0.0.0/8",))
        proxy = IPv4Address("TCP", "127.0.0.1", 7)
        client, stream = self.made(lambda: factory.buildProtocol(proxy))
        client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello")
        self.until(lambda: isinstance(stream.protocol, EchoProtocol))
        self.assertEqual(client.recv(99), b"Sending: hello")
        self.assertIs(stream.replies, factory.reply_buffer(b"Sending: "))

    def test_once_tls_starts_nothing_is_answered_in_plain_text(self) -> None:
        client, stream, _ = self.answering()
        stream.startTLS(CertificateOptions())
        client.sendall(b"hello")
        client.settimeout(LIMIT)
        self.until(lambda: select([client], [], [], 0)[0])
        self.assertNotIn(b"hello", client.recv(99))


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
