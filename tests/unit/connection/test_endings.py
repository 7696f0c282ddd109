"""How a connection ends, and what is said of it."""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from echosvc.connection.blocks import BACK_PRESSURE, EOF
from echosvc.connection.outcome import Outcome
from echosvc.connection.timeouts import CLOSE_STALL_TIMEOUT, MIN_LINGER
from tests.support.connection import ConnectionTestCase, Talker


class EndTests(ConnectionTestCase):
    def test_the_end_is_flush_then_fin_then_the_peers_fin(self) -> None:
        line, talker = self.line()
        talker._send(b"x" * 400_000)
        talker.close_with(Outcome.CLOSED)
        self.assertTrue(talker.closing)
        self.assertEqual(len(line.receive_all()), 400_000)
        self.assertTrue(line.at_end())
        self.assertTrue(line.transport.connected)
        line.finish()
        self.assertEqual(talker.events[-1], Outcome.CLOSED)
        self.assertFalse(line.transport.connected)

    def test_what_comes_after_our_fin_is_read(self) -> None:
        """Bytes left unread would make the kernel reset the peer."""
        line, talker = self.line()
        talker.pause()
        line.send(b"early")
        talker.close_with(Outcome.CLOSED)
        line.send(b"late")
        line.turn(2)
        self.assertEqual(talker.bytes_in, 9)

    def test_it_ends_while_the_transport_is_full(self) -> None:
        """Twisted's loseConnection waits for ever for a producer that is paused."""
        for peer_first in (False, True):
            line, talker = self.line()
            talker._send(b"x" * 400_000)
            line.turn(2)
            self.assertTrue(talker.blocks & BACK_PRESSURE)
            if peer_first:
                talker.blocks |= EOF
            talker.close_with(Outcome.CLOSED)
            self.assertEqual(len(line.receive_all()), 400_000)
            line.peer.close()
            line.turn(3)
            self.assertEqual(talker.events[-1], Outcome.CLOSED)

    def test_a_peer_that_never_finishes_is_given_up_after_the_linger(self) -> None:
        line, talker = self.line(linger=2.0)
        talker.close_with(Outcome.TIMED_OUT)
        line.wait(1.99)
        self.assertTrue(line.transport.connected)
        line.wait(0.5)
        self.assertFalse(line.transport.connected)
        self.assertEqual(talker.events[-1], Outcome.TIMED_OUT)
        self.assertEqual(line.clock.getDelayedCalls(), [])

    def test_talking_on_does_not_prolong_the_linger(self) -> None:
        line, talker = self.line(linger=1.0)
        talker.close_with(Outcome.CLOSED)
        line.turn()
        for _ in range(15):
            if line.transport.connected:
                line.peer.send(b"and another thing")
                line.wait(0.1)
        self.assertFalse(line.transport.connected)

    def test_without_linger_our_fin_is_sent_all_the_same(self) -> None:
        line, talker = self.line(linger=0.0)
        talker._send(b"bye")
        talker.close_with(Outcome.CLOSED)
        line.turn(2)
        self.assertEqual(line.receive(), b"bye")
        line.wait(MIN_LINGER)
        self.assertEqual(talker.events[-1], Outcome.CLOSED)

    def test_without_linger_what_is_queued_gets_a_grace(self) -> None:
        line, talker = self.line(linger=0.0)
        talker._send(b"x" * 400_000)
        talker.close_with(Outcome.DRAINED)
        line.wait(MIN_LINGER - 0.1)
        self.assertTrue(line.transport.connected)
        line.wait(0.3)
        self.assertFalse(line.transport.connected)

    def test_without_linger_what_the_kernel_still_has_gets_a_grace(self) -> None:
        """Our FIN is out, but the peer has yet to take what is before it."""
        line, talker = self.line(send_buffer=1 << 20, linger=0.0)
        talker._send(b"x" * 800_000)
        talker.close_with(Outcome.DRAINED)
        line.turn(2)
        self.assertEqual(talker.queued, 0)  # all is the kernel's
        for _ in range(10):
            line.wait(0.19)  # so that no deadline falls together with a read
            line.peer.recv(70_000)
        self.assertTrue(line.transport.connected)
        # The last progress is seen at the next check, and the linger counts from there.
        line.wait(MIN_LINGER + talker.factory.timers.interval + 0.2)
        self.assertFalse(line.transport.connected)

    def test_a_peer_that_takes_nothing_is_given_up_as_stalled(self) -> None:
        """After long, where it ended properly; there the reply is owed to it."""
        line, talker = self.line(linger=0.5)
        talker._send(b"x" * 400_000)
        talker.close_with(Outcome.FINISHED)
        line.wait(CLOSE_STALL_TIMEOUT - 0.1)
        self.assertTrue(line.transport.connected)
        line.wait(1.5)
        self.assertEqual(talker.events[-1], Outcome.STALLED)

    def test_others_that_take_nothing_keep_their_word_and_get_the_linger(self) -> None:
        line, talker = self.line(linger=2.0)
        talker._send(b"x" * 400_000)
        talker.close_with(Outcome.DRAINED)
        line.wait(1.9)
        self.assertTrue(line.transport.connected)
        line.wait(0.5)
        self.assertEqual(talker.events[-1], Outcome.DRAINED)

    def test_a_slow_reader_gets_everything(self) -> None:
        line, talker = self.line(linger=0.5)
        talker._send(b"x" * 200_000)
        talker.close_with(Outcome.DRAINED)
        received = 0
        while not line.at_end():
            received += len(line.peer.recv(8000))
            line.wait(0.4)
        self.assertEqual(received, 200_000)
        self.assertGreater(line.clock.seconds(), 5)

    def test_only_the_first_word_counts(self) -> None:
        line, talker = self.line()
        talker.close_with(Outcome.TOO_LONG)
        talker.close_with(Outcome.CLOSED)
        line.turn(2)
        self.assertTrue(line.at_end())  # everything is sent, our FIN too
        talker.abort_with(Outcome.ABORTED)
        line.turn()
        talker.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(talker.events, ["started", Outcome.TOO_LONG])

    def test_an_abort_drops_what_is_queued(self) -> None:
        line, talker = self.line()
        talker._send(b"x" * 400_000)
        talker.abort_with(Outcome.ABORTED)
        line.turn()
        self.assertEqual(talker.events[-1], Outcome.ABORTED)
        self.assertLess(len(line.receive()), 400_000)
        talker.abort_with(Outcome.RESET)
        self.assertEqual(talker.outcome, Outcome.ABORTED)

    def test_an_abort_of_a_polite_end_that_is_not_done_has_its_own_word(self) -> None:
        for size in (1, 400_000):  # what the peer has not read, and what waits here
            line, talker = self.line()
            talker._send(b"x" * size)
            talker.close_with(Outcome.CLOSED)
            line.turn(2)
            talker.abort_with(Outcome.ABORTED)
            line.turn()
            self.assertEqual(talker.events[-1], Outcome.ABORTED)

    def test_what_is_sent_after_an_abort_harms_nobody(self) -> None:
        talker = Talker(clock := Clock())
        talker.makeConnection(StringTransport(lenient=True))
        talker.abort_with(Outcome.ABORTED)
        talker._send(b"too late")
        clock.pump([0.2] * 20)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_behind_tls_the_end_closes_both_directions(self) -> None:
        """Twisted cannot half-close TLS: it would end the TCP below without a word."""
        transport = StringTransport()
        talker = Talker(clock := Clock(), linger=1.5)
        talker.makeConnection(transport)
        talker._register_producer()
        talker.close_with(Outcome.CLOSED)
        self.assertTrue(transport.disconnecting)
        self.assertIsNone(transport.producer)
        self.assertFalse(transport.disconnected)
        clock.pump([0.1] * 14)
        self.assertFalse(transport.disconnected)
        clock.pump([0.1] * 5)
        self.assertTrue(transport.disconnected)

    def test_the_peers_fin_while_we_lingers_ends_it(self) -> None:
        transport = StringTransport()
        talker = Talker(Clock())
        talker.makeConnection(transport)
        talker.close_with(Outcome.CLOSED)
        transport.disconnecting = False
        talker.readConnectionLost()
        self.assertTrue(transport.disconnecting)
        self.assertNotIn("peer ended", talker.events)


class OutcomeTests(SynchronousTestCase):
    def ended(self, word: Outcome | None, reason: type[Exception]) -> Outcome:
        talker = Talker(Clock())
        talker.makeConnection(StringTransport())
        if word is not None:
            talker.close_with(word)
        talker.connectionLost(Failure(reason()))
        self.assertIs(talker.events[-1], talker.outcome)
        return talker.outcome

    def test_a_connection_without_a_word_gets_the_reactors(self) -> None:
        for reason, word in (
            (ConnectionDone, Outcome.FINISHED),
            (ConnectionAborted, Outcome.ABORTED),
            (ConnectionLost, Outcome.RESET),
            (OSError, Outcome.RESET),
        ):
            self.assertIs(self.ended(None, reason), word)

    def test_a_proper_end_keeps_every_word(self) -> None:
        for word in Outcome:
            self.assertIs(self.ended(word, ConnectionDone), word)

    def test_our_own_abort_keeps_every_word(self) -> None:
        for word in Outcome:
            self.assertIs(self.ended(word, ConnectionAborted), word)

    def test_a_reset_spoils_a_good_end_and_no_other(self) -> None:
        for word in Outcome:
            good = word in (Outcome.FINISHED, Outcome.CLOSED)
            expected = Outcome.RESET if good else word
            self.assertIs(self.ended(word, ConnectionLost), expected)

    def test_a_peer_that_is_gone_after_all_was_exchanged_has_finished(self) -> None:
        """One that closes both directions at once looks broken to whoever closes after it."""
        for ended, word in ((True, Outcome.FINISHED), (False, Outcome.RESET)):
            talker = Talker(Clock())
            talker.makeConnection(StringTransport())
            talker.blocks = EOF if ended else 0
            talker.close_with(Outcome.FINISHED)
            talker.connectionLost(Failure(ConnectionLost()))
            self.assertIs(talker.outcome, word)

    def test_the_end_is_told_once(self) -> None:
        talker = Talker(Clock())
        talker.makeConnection(StringTransport())
        for _ in range(2):
            talker.connectionLost()
        self.assertEqual(talker.events, ["started", Outcome.FINISHED])
        self.assertTrue(talker.closing)
