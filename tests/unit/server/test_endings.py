"""How a server's connection ends, and how it is paused."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from echosvc import EchoProtocol, Outcome
from echosvc.connection.sender import HIGH_WATER
from tests.support.server import ServerTestCase, lines_of


class OwnEndTests(ServerTestCase):
    def test_the_rest_of_a_read_is_answered_before_our_own_end(self) -> None:
        """Its lines wait while the client takes no replies."""
        for idle_action in ("log", "close"):
            line, connection = self.line(
                framing="line", idle_action=idle_action, linger=20.0, send_buffer=4096
            )
            line.send(b"x\n" * 20_000)
            line.turn(3)
            read = connection.bytes_in // 2
            self.assertLess(connection.messages, read)  # some do wait
            if idle_action == "log":
                connection.factory.end_all()
            else:
                line.wait(1.1)
            self.assertEqual(line.receive_all(), b"Sending: x\n" * read)
            outcome = Outcome.DRAINED if idle_action == "log" else Outcome.TIMED_OUT
            self.assertIs(connection.outcome, outcome)

    def test_no_more_is_queued_for_it_than_at_other_times(self) -> None:
        line, connection = self.line(
            prefix=b"y" * 10_000, framing="line", send_buffer=4096, idle_timeout=0
        )
        line.send(b"\n" * 3000)
        line.turn(3)
        read = connection.bytes_in
        self.assertLess(connection.messages, read)
        connection.factory.end_all()
        peak, got = 0, 0
        while not line.at_end():
            peak = max(peak, connection.queued)
            got += len(line.receive())
            line.turn()
        self.assertEqual(got, read * 10_001)
        self.assertLessEqual(peak, HIGH_WATER + 10_001)
        self.assertIs(connection.outcome, Outcome.DRAINED)

    def test_a_client_that_takes_nothing_is_given_up_after_the_linger(self) -> None:
        line, connection = self.line(
            prefix=b"y" * 10_000, framing="line", send_buffer=4096, idle_timeout=0, linger=3.0
        )
        line.send(b"\n" * 3000)
        line.turn(3)
        connection.factory.end_all()
        line.wait(2.9)
        self.assertIsNone(connection.outcome)
        line.wait(1.2)
        self.assertIs(connection.outcome, Outcome.DRAINED)
        self.assertFalse(line.transport.connected)

    def test_a_pause_of_the_application_does_not_outlast_it(self) -> None:
        line, connection = self.line(framing="line")
        line.send(b"one\n")
        connection.pause()
        connection._framer.feed(b"two\n")  # as read in one piece with the first
        connection.factory.end_all()
        line.turn()
        self.assertEqual(line.receive(), b"Sending: one\nSending: two\n")


class UntoldEndTests(ServerTestCase):
    def test_what_an_end_without_a_fin_leaves_has_its_word(self) -> None:
        """Twisted's own TLS tells of the end only when it is too late to answer."""
        for framing, data, outcome in (
            ("chunk", b"x", Outcome.FINISHED),
            ("line", b"x\n", Outcome.FINISHED),
            ("line", b"x\ny", Outcome.STALLED),
            ("length", b"\0\0\0\1x", Outcome.FINISHED),
            ("length", b"\0\0\0\2x", Outcome.STALLED),
        ):
            connection = self.factory(framing=framing).buildProtocol(None)
            connection.makeConnection(StringTransport())
            connection.dataReceived(data)
            connection.connectionLost(Failure(ConnectionDone()))
            self.assertIs(connection.outcome, outcome, (framing, data))


class HalfOpenTests(ServerTestCase):
    def test_our_side_stays_open_for_the_application(self) -> None:
        line, connection = self.line(allow_half_open=True)
        line.send(b"hi")
        line.finish()
        self.assertEqual(line.receive(), b"Sending: hi")
        line.wait(100)
        self.assertFalse(line.at_end())
        connection.write(b"bye")
        connection.finish()
        line.turn()
        self.assertEqual(line.receive(), b"bye")
        self.assertTrue(line.at_end())
        self.assertIs(connection.outcome, Outcome.CLOSED)

    def test_it_ends_after_the_half_open_time_out(self) -> None:
        for options in ({}, {"idle_timeout": 0}, {"idle_timeout": 60}):
            line, connection = self.line(allow_half_open=True, half_open_timeout=2.0, **options)
            line.wait(1)
            line.finish()
            line.wait(1.9)
            self.assertFalse(line.at_end())
            line.wait(0.5)
            self.assertTrue(line.at_end())
            self.assertIs(connection.outcome, Outcome.FINISHED)

    def test_a_short_half_open_time_out_is_little_late(self) -> None:
        line, _ = self.line(
            allow_half_open=True, half_open_timeout=0.3, idle_timeout=0, linger=30.0
        )
        line.finish()
        line.wait(0.3 + max(0.05, 0.3 / 5))
        self.assertTrue(line.at_end())

    def test_the_peers_end_is_told_once_whatever_is_written_after_it(self) -> None:
        told = []

        class Answering(EchoProtocol):
            def peer_ended(self) -> None:
                told.append(self)
                if len(told) < 5:  # or it would never end
                    self.write(b"x" * 400_000)

        line, connection = self.line(Answering, allow_half_open=True, send_buffer=4096)
        line.finish()
        self.assertEqual(len(line.receive_all()), 400_000)
        connection.pause()
        connection.resume()
        self.assertEqual(len(told), 1)

    def test_writing_on_does_not_prolong_the_half_open_time_out(self) -> None:
        line, connection = self.line(allow_half_open=True, half_open_timeout=2.0)
        line.finish()
        for _ in range(10):
            line.wait(0.5)
            connection.write(b"still here")
            connection.pause()
            connection.resume()
        line.receive()
        self.assertTrue(line.at_end())


class PauseTests(ServerTestCase):
    def test_nothing_is_read_of_a_connection_that_starts_paused(self) -> None:
        line, connection = self.line(pause_on_connect=True)
        line.send(b"early")
        line.wait(0.9)
        self.assertEqual((line.receive(), connection.bytes_in), (b"", 0))
        connection.resume()
        line.turn()
        self.assertEqual(line.receive(), b"Sending: early")

    def test_its_idle_time_out_is_reported_meanwhile(self) -> None:
        with capturedLogs() as events:
            line, _ = self.line(pause_on_connect=True)
            line.wait(0.9)
        self.assertEqual(sum("Timed out" in text for text in lines_of(events)), 1)

    def test_what_tls_hands_over_while_paused_waits(self) -> None:
        connection = self.factory(pause_on_connect=True).buildProtocol(None)
        transport = StringTransport()
        connection.makeConnection(transport)
        self.assertEqual(transport.producerState, "producing")  # for the handshake
        connection.dataReceived(b"early")
        self.assertEqual((transport.value(), transport.producerState), (b"", "paused"))
        connection.resume()
        self.assertEqual(transport.value(), b"Sending: early")
        self.assertEqual(transport.producerState, "producing")

    def test_tls_started_on_a_paused_connection_stops_no_deadline(self) -> None:
        """Twisted's ``getHandle`` gives OpenSSL's connection then, not the socket."""
        line, connection = self.line(idle_timeout=0.5, idle_action="close")
        line.transport.getHandle = object
        connection.pause()
        line.wait(1.0)
        self.assertIs(connection.outcome, Outcome.TIMED_OUT)

    def test_a_reset_while_paused_is_seen_soon_whatever_was_due_before(self) -> None:
        """Also where the pause comes right before the end of an idle time-out."""
        line, connection = self.line(idle_timeout=4.0)
        line.wait(3.93)
        line.send(b"x")
        connection.pause()
        line.peer.close()  # with the reply unread
        line.wait(0.5)
        self.assertIs(connection.outcome, Outcome.RESET)

    def test_a_paused_connection_can_be_finished_and_aborted(self) -> None:
        for end, outcome in (("finish", Outcome.CLOSED), ("abort", Outcome.ABORTED)):
            line, connection = self.line(pause_on_connect=True)
            getattr(connection, end)()
            line.turn(2)
            line.peer.close()
            line.turn(2)
            self.assertIs(connection.outcome, outcome)
            self.assertEqual(connection.factory.count, 0)
