"""The fast path of an accepted connection: it replies by itself to what is simple."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable
from select import select
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.ssl import CertificateOptions

from echosvc import EchoFactory, EchoProtocol
from echosvc.net.epoll import MORE
from echosvc.net.stream import (
    CACHED_SIZES,
    MAX_LONG_READS,
    RECV_SIZE,
    ReplyBuffer,
    Stream,
)
from tests.support.listening import Listening
from tests.support.sockets import receive_exactly
from tests.support.stream_case import Halving, StreamTestCase
from tests.support.waiting import LIMIT


class Counted(Listening):
    """Lets its stream answer."""

    def __init__(self) -> None:
        super().__init__()
        self.fast_bytes = self.fast_messages = 0
        self.rest = b""

    def send_remainder(self, data: bytes) -> None:
        self.rest += data


class HalvingCounted(Halving, Counted):
    """Both."""


class TakesThree(socket.socket):
    """One with hardly any room for what is sent."""

    def send(self, data: bytes) -> int:  # type: ignore[override]
        return super().send(data[:3])


class TakesLittle:
    """A socket whose kernel takes so many bytes of each reply; ``None``: it is full.

    :param taken: of each reply, one after the other; of those after them all.
    :param reads: after so many it is reset.
    :ivar sends: how often a reply was sent.
    """

    def __init__(
        self, below: socket.socket, taken: list[int | None], reads: float = math.inf
    ) -> None:
        self._below, self._taken, self._reads = below, taken, reads
        self.sends = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)

    def recv_into(self, space: memoryview) -> int:
        if not self._reads:
            raise ConnectionResetError
        self._reads -= 1
        return self._below.recv_into(space)

    def send(self, data: memoryview) -> int:
        self.sends += 1
        most = self._taken.pop(0) if self._taken else len(data)
        if most is None:
            raise BlockingIOError
        return self._below.send(data[:most])


class Endless:
    """A socket from which every read is full, and whose kernel takes every reply."""

    received = sent = 0

    def recv_into(self, space: memoryview) -> int:
        self.received += len(space)
        return len(space)

    def send(self, data: memoryview) -> int:
        self.sent += len(data)
        return len(data)


def replies_to(data: bytes) -> bytes:
    """The replies to full reads of these bytes."""
    pieces = [data[at : at + RECV_SIZE] for at in range(0, len(data), RECV_SIZE)]
    return b"".join(b"> " + piece for piece in pieces)


class OwnAnswerTests(StreamTestCase):
    """With replies, the stream answers what is simple, and passes on what is not."""

    def answering(self, kind: Callable[[], Any] = Counted) -> tuple[socket.socket, Stream, Counted]:
        client, stream = self.made(kind)
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

    def receiving(
        self, size: int, kind: Callable[[], Any] = Counted
    ) -> tuple[socket.socket, Stream, Any, bytes]:
        """A stream with ``size`` bytes to be read, and those bytes."""
        client, stream, protocol = self.answering(kind)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * size)
        stream.pauseProducing()
        data = os.urandom(size)
        client.sendall(data)
        self.wait_for(stream, size)
        return client, stream, protocol, data

    def test_a_stream_is_answered_for_one_event_read_by_read(self) -> None:
        for reads in (1, 2, 2.1, 3, 3.9, 4, 4.5):
            client, stream, protocol, data = self.receiving(int(reads * RECV_SIZE))
            stream.socket = counted = TakesLittle(stream.socket, [])
            self.assertIsNone(stream.doRead())
            replies = replies_to(data)
            self.assertEqual(counted.sends, math.ceil(reads))
            self.assertEqual(receive_exactly(client, len(replies)), replies)
            self.assertEqual(protocol.fast_messages, math.ceil(reads))
            self.assertEqual(protocol.fast_bytes, len(data))

    def test_a_long_stream_lets_other_connections_be_served(self) -> None:
        _, stream, protocol = self.answering()
        below, stream.socket = stream.socket, Endless()
        self.assertIs(stream.doRead(), MORE)
        self.assertEqual(protocol.fast_messages, MAX_LONG_READS + 1)
        self.assertEqual(protocol.fast_bytes, stream.socket.received)
        self.assertEqual(stream.socket.sent, len(replies_to(bytes(protocol.fast_bytes))))
        stream.socket = below

    def test_a_reset_behind_full_reads_ends_the_connection(self) -> None:
        for reads in (1, 2):
            _, stream, protocol, _ = self.receiving(2 * RECV_SIZE)
            stream.socket = TakesLittle(stream.socket, [], reads)
            self.assertIs(stream.doRead(), CONNECTION_LOST)
            self.assertEqual((protocol.fast_messages, stream.connected), (reads, 1))

    def test_the_end_behind_two_full_reads_is_seen(self) -> None:
        client, stream, protocol, data = self.receiving(2 * RECV_SIZE, HalvingCounted)
        client.shutdown(socket.SHUT_WR)
        stream.resumeProducing()
        self.until(lambda: protocol.ended)
        replies = replies_to(data)
        self.assertEqual(receive_exactly(client, len(replies)), replies)
        self.assertEqual(stream.connected, 1)

    def test_the_end_of_a_stream_is_seen_behind_a_full_read(self) -> None:
        client, stream, protocol = self.answering(HalvingCounted)
        client.sendall(bytes(RECV_SIZE))
        client.shutdown(socket.SHUT_WR)
        self.until(lambda: protocol.ended)
        self.assertEqual((protocol.fast_bytes, stream.connected), (RECV_SIZE, 1))

    def test_what_the_kernel_does_not_take_of_a_later_reply_is_left_to_the_protocol(self) -> None:
        for taken in (7, RECV_SIZE, RECV_SIZE + 1, None):
            client, stream, protocol, data = self.receiving(5 * RECV_SIZE)
            stream.socket = TakesLittle(stream.socket, [RECV_SIZE + 2, taken])
            self.assertIsNone(stream.doRead())
            replies = replies_to(data[: 2 * RECV_SIZE])
            sent = RECV_SIZE + 2 + (taken or 0)
            self.assertEqual(receive_exactly(client, sent), replies[:sent])
            self.assertEqual(protocol.rest, replies[sent:])
            self.assertEqual((protocol.fast_messages, protocol.fast_bytes), (2, 2 * RECV_SIZE))

    def test_what_the_kernel_does_not_take_of_the_last_reply_is_left_to_the_protocol(self) -> None:
        client, stream, protocol, data = self.receiving(RECV_SIZE + 9)
        stream.socket = TakesLittle(stream.socket, [RECV_SIZE + 2, 7])
        self.assertIsNone(stream.doRead())
        replies = replies_to(data)
        self.assertEqual(receive_exactly(client, RECV_SIZE + 9), replies[: RECV_SIZE + 9])
        self.assertEqual(protocol.rest, replies[RECV_SIZE + 9 :])

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
