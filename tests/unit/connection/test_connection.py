"""One connection's life: its deadlines, its pauses and its ends."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory
from twisted.internet.ssl import ClientContextFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from echosvc.config.schema import Config
from echosvc.connection.blocks import BACK_PRESSURE, EOF
from echosvc.connection.connection import Connection
from echosvc.connection.outcome import Outcome
from echosvc.connection.scheduler import MIN_DELAY, SCANS_PER_IDLE, DeadlineScheduler
from echosvc.connection.timeouts import CLOSE_STALL_TIMEOUT, MIN_LINGER
from tests.unit.connection.test_sending import Line


class Talker(Connection):
    """Keeps what it is told."""

    def __init__(
        self, clock: Clock, idle_timeout: float = 0.0, linger: float = 2.0, **more: float
    ) -> None:
        config = Config(idle_timeout=idle_timeout, linger=linger, **more)
        timers = DeadlineScheduler(clock, config.timeouts(), config.idle_timeout)
        self.factory = SimpleNamespace(config=config, timers=timers)
        self.events: list[object] = []
        self.idles: list[float] = []
        self.received = b""

    def _transport_ready(self) -> None:
        self.events.append("started")

    def _resumed(self) -> None:
        self.events.append("go on")

    def _peer_eof(self, just_now: bool = False) -> None:
        self.events.append("peer ended")

    def _timed_out(self, seconds: float) -> None:
        self.idles.append(self.factory.timers.now())

    def _closed(self, outcome: Outcome, reason: Failure, opened: bool) -> None:
        self.events.append(outcome)

    def dataReceived(self, data: bytes) -> None:
        self._record_activity()
        self._bytes_in += len(data)
        self.received += data


class ConnectionTestCase(SynchronousTestCase):
    def line(self, send_buffer: int = 4096, **settings: float) -> tuple[Line, Talker]:
        clock = Clock()
        talker = Talker(clock, **settings)
        line = Line(talker, clock, send_buffer)
        self.addCleanup(line.close)
        return line, talker


class StartTests(ConnectionTestCase):
    def test_it_is_told_of_half_closes_and_is_its_own_producer(self) -> None:
        line, talker = self.line()
        verifyObject(IHalfCloseableProtocol, talker)
        verifyObject(IPushProducer, talker)
        self.assertIs(line.transport.producer, talker)
        self.assertTrue(line.transport.streamingProducer)
        self.assertEqual(talker.events, ["started"])
        self.assertFalse(talker.closing)

    def test_behind_twisteds_tls_it_is_no_producer_before_the_handshake(self) -> None:
        for wrapped in (False, True):
            talker = Talker(Clock())
            inner = ProtocolWrapper(WrappingFactory(Factory()), talker) if wrapped else talker
            building = Factory()
            building.buildProtocol = lambda _, inner=inner: inner
            factory = TLSMemoryBIOFactory(ClientContextFactory(), True, building)
            transport = StringTransport()
            factory.buildProtocol(None).makeConnection(transport)
            self.assertEqual(talker.events, ["started"])
            self.assertIsNone(transport.producer)

    def test_elsewhere_it_is_one_from_the_start(self) -> None:
        transport = StringTransport()
        talker = Talker(Clock())
        talker.makeConnection(transport)
        self.assertIs(transport.producer, talker)

    def test_addresses_and_age(self) -> None:
        clock = Clock()
        talker = Talker(clock)
        talker.makeConnection(StringTransport())
        clock.advance(1.5)
        self.assertEqual((talker.local, talker.remote), ("10.0.0.1:12345", "192.168.1.1:54321"))
        self.assertEqual(talker.local_address.port, 12345)
        self.assertEqual(talker.remote_address.host, "192.168.1.1")
        self.assertEqual(talker.age, 1.5)
        self.assertEqual(talker.queued, 0)


class IdleTests(ConnectionTestCase):
    def assert_reported(self, talker: Talker, *times: float) -> None:
        self.assertEqual(len(talker.idles), len(times), talker.idles)
        for found, wanted in zip(talker.idles, times, strict=True):
            self.assertTrue(wanted <= found <= wanted + MIN_DELAY + 1e-9, (found, wanted))

    def test_an_idle_period_is_reported_once(self) -> None:
        line, talker = self.line(idle_timeout=0.5)
        line.wait(5)
        self.assert_reported(talker, 0.5)

    def test_each_read_begins_a_new_period(self) -> None:
        line, talker = self.line(idle_timeout=0.4)
        for _ in range(2):
            line.wait(0.3)
            line.send(b"x")
        line.wait(0.39)
        self.assert_reported(talker)
        line.wait(5)
        self.assertEqual(len(talker.idles), 1)
        self.assertTrue(
            1.0 <= talker.idles[0] <= 1.0 + 0.4 / SCANS_PER_IDLE + MIN_DELAY, talker.idles
        )
        line.send(b"x")
        line.wait(5)
        self.assertEqual(len(talker.idles), 2)

    def test_zero_is_off(self) -> None:
        line, talker = self.line(idle_timeout=0)
        line.wait(1000)
        self.assert_reported(talker)

    def test_the_time_out_runs_while_paused(self) -> None:
        line, talker = self.line(idle_timeout=0.5)
        talker.pause()
        line.wait(2)
        self.assertEqual(len(talker.idles), 1)
        self.assertTrue(0.5 <= talker.idles[0] <= 0.6)

    def test_progress_of_a_write_is_activity(self) -> None:
        line, talker = self.line(idle_timeout=0.5)
        talker._send(b"x" * 400_000)
        while talker.queued:
            line.receive()
            line.wait(0.3)
        self.assertEqual(talker.idles, [])
        self.assertGreater(line.clock.seconds(), 1)

    def test_a_reader_that_stalls_is_reported_after_one_to_two_periods(self) -> None:
        line, talker = self.line(idle_timeout=0.5)
        talker._send(b"x" * 400_000)
        line.wait(5)
        self.assertEqual(len(talker.idles), 1)
        self.assertTrue(0.5 <= talker.idles[0] <= 1.0, talker.idles)

    @settings(deadline=None)
    @given(st.floats(0.0, 50), st.floats(0.001, 50))
    def test_a_report_is_never_early_and_little_late(self, start: float, timeout: float) -> None:
        """Whatever the rounding of the times."""
        clock = Clock()
        clock.advance(start)
        talker = Talker(clock, idle_timeout=timeout)
        talker.makeConnection(StringTransport())
        for _ in range(2000):
            calls = clock.getDelayedCalls()
            if not calls or talker.idles or clock.seconds() > start + 3 * timeout + 1:
                break
            clock.advance(max(0.0, calls[0].getTime() - clock.seconds()))
        self.assertEqual(len(talker.idles), 1)
        late = talker.idles[0] - start - timeout
        self.assertGreaterEqual(late, -1e-9)
        self.assertLessEqual(late, max(0.05, timeout / 5) + 1e-6)

    def test_no_timer_is_left_when_it_is_gone(self) -> None:
        clock = Clock()
        talker = Talker(clock, idle_timeout=0.5)
        talker.makeConnection(StringTransport())
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        talker.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(clock.getDelayedCalls(), [])


class StallTests(ConnectionTestCase):
    def test_a_peer_that_takes_nothing_is_reset_never_early_and_little_late(self) -> None:
        line, talker = self.line(stall_timeout=3.0)
        line.wait(100)  # that nothing waited meanwhile does not count
        talker._send(b"x" * 400_000)
        line.wait(2.9)
        self.assertIsNone(talker.outcome)
        line.wait(3.7 - 2.9)
        self.assertIs(talker.outcome, Outcome.STALLED)
        self.assertEqual(talker.events[-1], Outcome.STALLED)

    def test_a_peer_that_takes_a_little_now_and_then_is_not(self) -> None:
        line, talker = self.line(stall_timeout=3.0)
        talker._send(b"x" * 4_000_000)
        for _ in range(20):
            line.wait(2.5)
            line.receive()
            line.turn(3)
        self.assertIsNone(talker.outcome)
        line.wait(4)
        self.assertIs(talker.outcome, Outcome.STALLED)

    def test_who_owes_nothing_is_never_stalled(self) -> None:
        line, talker = self.line(stall_timeout=1.0, idle_timeout=0.3)
        for _ in range(10):
            line.send(b"x")
            line.wait(5)
        self.assertIsNone(talker.outcome)

    def test_a_pause_of_the_applications_is_no_stall(self) -> None:
        line, talker = self.line(stall_timeout=1.0)
        talker.pause()
        line.wait(50)
        self.assertIsNone(talker.outcome)

    def test_zero_is_off(self) -> None:
        line, talker = self.line(stall_timeout=0)
        talker._send(b"x" * 400_000)
        line.wait(1000)
        self.assertIsNone(talker.outcome)

    def test_it_holds_for_the_end_too(self) -> None:
        line, talker = self.line(stall_timeout=5.0)
        talker._send(b"x" * 400_000)
        talker.close_with(Outcome.FINISHED)
        line.wait(4.9)
        self.assertNotIn(Outcome.STALLED, talker.events)
        line.wait(1.5)
        self.assertIs(talker.outcome, Outcome.STALLED)


class LifeTests(ConnectionTestCase):
    def test_a_life_ends_politely_at_its_time(self) -> None:
        line, talker = self.line(max_lifetime=10.0, idle_timeout=0.3)
        talker._send(b"x" * 10)
        line.wait(9.95)
        self.assertIsNone(talker.outcome)
        line.wait(0.2)
        self.assertIs(talker.outcome, Outcome.EXPIRED)
        line.turn(2)
        self.assertEqual(line.receive(), b"x" * 10)
        self.assertTrue(line.at_end())

    def test_idleness_is_reported_all_the_same(self) -> None:
        line, talker = self.line(max_lifetime=100.0, idle_timeout=0.5)
        line.wait(5)
        line.send(b"x")
        line.wait(5)
        line.send(b"x")
        line.wait(5)
        self.assertEqual(len(talker.idles), 3)

    def test_activity_does_not_prolong_it(self) -> None:
        line, talker = self.line(max_lifetime=2.0)
        for _ in range(21):
            line.send(b"x")
            line.wait(0.1)
        self.assertIs(talker.outcome, Outcome.EXPIRED)

    def test_zero_is_for_ever(self) -> None:
        line, talker = self.line(max_lifetime=0)
        line.wait(1e6)
        self.assertIsNone(talker.outcome)


class PauseTests(ConnectionTestCase):
    def test_nothing_is_read_while_paused(self) -> None:
        line, talker = self.line()
        talker.pause()
        line.send(b"abc")
        line.turn(3)
        self.assertEqual(talker.received, b"")
        talker.resume()
        line.turn()
        self.assertEqual(talker.received, b"abc")

    def test_two_reasons_to_pause_do_not_undo_each_other(self) -> None:
        line, talker = self.line()
        for first, second in (
            (talker.resume, talker.resumeProducing),
            (talker.resumeProducing, talker.resume),
        ):
            talker.received = b""
            talker.pause()
            talker.pauseProducing()
            line.send(b"abc")
            first()
            line.turn(2)
            self.assertEqual(talker.received, b"")
            second()
            line.turn(2)
            self.assertEqual(talker.received, b"abc")

    def test_a_full_transport_stops_the_reading_until_it_is_empty(self) -> None:
        line, talker = self.line()
        talker._send(b"x" * 400_000)
        line.send(b"abc")
        line.turn(3)
        self.assertEqual(talker.received, b"")
        self.assertEqual(len(line.receive_all()), 400_000)
        self.assertEqual(talker.received, b"abc")

    def test_a_reset_is_noticed_while_paused(self) -> None:
        """The reactor does not look at a socket that is neither read nor written."""
        line, talker = self.line(idle_timeout=0.5)
        talker.pause()
        talker._send(b"never read")
        line.turn()
        line.peer.close()  # with bytes unread: a reset
        line.wait(0.2)
        self.assertEqual(talker.outcome, Outcome.RESET)
        self.assertEqual(talker.events[-1], Outcome.RESET)

    def test_a_fin_while_paused_is_told_after_the_data_before_it(self) -> None:
        line, talker = self.line()
        talker.pause()
        line.peer.send(b"last words")
        line.finish()
        self.assertNotIn("peer ended", talker.events)
        talker.resume()
        line.turn(3)
        self.assertEqual(talker.received, b"last words")
        self.assertTrue(talker.eof_received)
        self.assertEqual(talker.events.count("peer ended"), 1)

    def test_pause_and_resume_do_nothing_once_it_is_gone(self) -> None:
        line, talker = self.line()
        line.finish()
        talker.close_with(Outcome.FINISHED)
        line.turn(2)
        talker.pause()
        talker.resume()
        talker.stopProducing()
        talker.resumeProducing()
        self.assertEqual(talker.events[-1], Outcome.FINISHED)


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
            line.wait(0.2)
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
