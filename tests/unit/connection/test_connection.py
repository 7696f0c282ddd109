"""One connection's life: its deadlines, its pauses and its ends."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory
from twisted.internet.ssl import ClientContextFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from echosvc.connection.outcome import Outcome
from echosvc.connection.scheduler import MIN_DELAY, SCANS_PER_IDLE
from tests.support.connection import ConnectionTestCase, Talker


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
