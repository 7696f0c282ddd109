"""Sending: straight to the kernel where that is safe, else through the transport.

:class:`Line` is a connection with everything real but the network: Twisted's own
UNIX transport on a socket pair, on a reactor of its own that the test turns by hand.
"""

from __future__ import annotations

import os
import socket

from twisted.internet import unix
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from echosvc.connection.sender import HIGH_WATER, SocketSender, make_sender
from tests.support.transports import Line


class PlainSocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.line = Line(Protocol(), send_buffer=4096)
        self.addCleanup(self.line.close)
        self.sender = make_sender(self.line.transport)

    def test_what_the_kernel_takes_is_gone_at_once(self) -> None:
        self.assertTrue(self.sender.send(b"now"))
        self.assertEqual(self.line.receive(), b"now")
        self.assertEqual(self.sender.queued(), 0)

    def test_what_the_kernel_does_not_take_follows_in_order(self) -> None:
        data = os.urandom(300_000)
        self.assertFalse(self.sender.send(data))
        self.assertFalse(self.sender.send(b"last"))
        self.assertGreater(self.sender.queued(), 0)
        self.assertTrue(self.line.receive_all() == data + b"last")
        self.assertEqual(self.sender.queued(), 0)

    def test_nothing_overtakes_what_waits(self) -> None:
        self.line.transport.write(b"first")
        self.assertEqual(self.sender.queued(), 5)
        self.assertFalse(self.sender.send(b"second"))
        self.assertEqual(self.line.receive(), b"")
        self.line.turn()
        self.assertEqual(self.line.receive(), b"firstsecond")

    def test_nothing_overtakes_what_was_sent_in_part(self) -> None:
        data = os.urandom(300_000)
        self.sender.send(data)
        start = self.line.receive()
        self.line.turn()
        start += self.line.receive()  # the kernel has room again
        self.assertGreater(self.sender.queued(), 0)
        self.assertFalse(self.sender.send(b"last"))
        self.assertTrue(start + self.line.receive_all() == data + b"last")

    def test_later_is_the_reactors_next_turn(self) -> None:
        self.assertFalse(self.sender.send(b"later", defer=True))
        self.assertEqual(self.line.receive(), b"")
        self.line.turn()
        self.assertEqual(self.line.receive(), b"later")

    def test_queued_counts_each_byte_once_however_far_it_is_sent(self) -> None:
        self.sender.send(bytes(200_000), defer=True)
        received = 0
        while self.sender.queued():
            self.line.turn()
            received += len(self.line.receive())
            self.assertLessEqual(received, 200_000 - self.sender.queued())
        self.line.turn()
        self.assertEqual(received, 200_000)

    def test_nothing_is_sent_after_our_fin(self) -> None:
        self.line.transport.loseWriteConnection()
        self.line.turn()
        self.assertFalse(self.sender.send(b"too late"))
        self.line.turn()
        self.assertEqual(self.line.receive(), b"")
        self.assertTrue(self.line.at_end())

    def test_nothing_goes_straight_to_the_kernel_while_closing(self) -> None:
        for close in ("loseConnection", "loseWriteConnection"):
            line = Line(Protocol(), send_buffer=4096)
            self.addCleanup(line.close)
            sender = make_sender(line.transport)
            sender.send(b"x" * 200_000)
            getattr(line.transport, close)()
            self.assertFalse(sender.send(b"y"))

    def test_an_error_is_not_raised(self) -> None:
        self.line.peer.close()
        self.assertFalse(self.sender.send(b"to nobody"))
        self.line.turn(2)
        self.assertFalse(self.line.transport.connected)
        self.assertFalse(self.sender.send(b"to nobody"))

    def test_bytes_that_the_peer_has_not_read_are_known(self) -> None:
        self.sender.send(b"x" * 1000)
        self.assertGreater(self.sender.unacknowledged(), 0)
        self.line.receive()
        self.assertEqual(self.sender.unacknowledged(), 0)

    def test_what_the_peer_has_not_taken_is_ours_and_the_kernels(self) -> None:
        self.sender.send(b"x" * 300_000)
        unsent = self.sender.unsent()
        self.assertEqual(unsent, self.sender.queued() + self.sender.unacknowledged())
        self.line.receive()
        self.assertLess(self.sender.unsent(), unsent)

    def test_a_reset_is_seen_without_reading(self) -> None:
        self.sender.send(b"never read")
        self.assertFalse(self.sender.has_socket_error())
        self.line.peer.close()
        self.assertTrue(self.sender.has_socket_error())

    def test_a_socket_that_is_not_tcp_is_not_tuned(self) -> None:
        self.sender.set_socket_options(nagle=False, keep_alive=5)
        ours = self.line.transport.socket
        self.assertEqual(ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 0)

    def test_a_closed_socket_has_nothing_unacknowledged(self) -> None:
        self.line.peer.close()
        self.line.turn(2)
        self.assertEqual(self.sender.unacknowledged(), 0)

    def test_it_is_plain_until_tls_is_started_on_it(self) -> None:
        """From then on the transport's protocol encrypts what is written."""
        encrypting = StringTransport()
        self.assertTrue(self.sender.half_closes)
        self.line.transport.TLS, self.line.transport.protocol = True, encrypting
        self.assertFalse(self.sender.half_closes)
        self.assertFalse(self.sender.send(b"secret"))
        self.line.turn()
        self.assertEqual(self.line.receive(), b"")
        self.assertEqual(encrypting.value(), b"secret")

    def test_the_high_water_mark_is_the_transports(self) -> None:
        self.assertEqual(HIGH_WATER, self.line.transport.bufferSize)


class Wrapper(StringTransport):
    """As TLS does: passes what it does not know on to the socket below."""

    def __init__(self, below: unix.Server) -> None:
        super().__init__()
        self.transport = below

    def __getattr__(self, name: str) -> object:
        return getattr(self.transport, name)


class WrappedSocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.line = Line(Protocol(), send_buffer=4096)
        self.addCleanup(self.line.close)
        self.wrapper = Wrapper(self.line.transport)
        self.sender = make_sender(self.wrapper)

    def test_nothing_goes_past_the_wrapper(self) -> None:
        """Or it would be on the wire in plain text."""
        self.assertFalse(self.sender.send(b"secret"))
        self.line.turn()
        self.assertEqual(self.line.receive(), b"")
        self.assertEqual(self.wrapper.value(), b"secret")
        self.assertNotIsInstance(self.sender, SocketSender)

    def test_the_socket_below_is_known(self) -> None:
        self.line.transport.write(b"x" * 77)
        self.assertEqual(self.sender.queued(), 77)
        self.line.turn()
        self.assertEqual(self.sender.queued(), 0)
        self.assertGreater(self.sender.unacknowledged(), 0)

    def test_a_subclass_of_a_plain_transport_is_not_trusted(self) -> None:
        class Filtering(unix.Server):
            """May do anything in ``write``."""

        self.line.transport.__class__ = Filtering
        sender = make_sender(self.line.transport)
        self.assertNotIsInstance(sender, SocketSender)
        self.assertFalse(sender.send(b"x"))


class TCPSocketTests(SynchronousTestCase):
    def tuned(self, **options: object) -> socket.socket:
        """A TCP socket, not connected, after :meth:`Sender.tune`."""
        ours = socket.socket()
        self.addCleanup(ours.close)
        line = Line(Protocol())
        self.addCleanup(line.close)
        line.transport.socket = ours
        make_sender(line.transport).set_socket_options(**options)
        return ours

    def test_nagles_algorithm_is_off_unless_wanted(self) -> None:
        for nagle in (False, True):
            ours = self.tuned(nagle=nagle, keep_alive=0)
            found = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            self.assertEqual(bool(found), not nagle)
            self.assertEqual(ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 0)

    def test_keep_alive_is_nodes(self) -> None:
        ours = self.tuned(nagle=False, keep_alive=5)
        self.assertEqual(ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        found = [ours.getsockopt(socket.IPPROTO_TCP, name) for name in names]
        self.assertEqual(found, [5, 1, 10])


class OtherTransportTests(SynchronousTestCase):
    def test_a_transport_without_a_socket_is_written_to(self) -> None:
        transport = StringTransport()
        sender = make_sender(transport)
        self.assertFalse(sender.send(b"abc"))
        self.assertFalse(sender.send(b"def", defer=True))
        self.assertEqual(transport.value(), b"abcdef")
        self.assertNotIsInstance(sender, SocketSender)
        self.assertEqual((sender.queued(), sender.unacknowledged(), sender.unsent()), (0, 0, 0))
        self.assertFalse(sender.has_socket_error())
        sender.set_socket_options(nagle=False, keep_alive=5)
