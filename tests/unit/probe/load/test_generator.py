"""A load in memory: what is sent and when, and how it ends."""

from __future__ import annotations

from twisted.internet.task import Clock

from echosvc.wire.template import Template
from tests.support.memory_network import MemoryConnection, MemoryServer, refuse
from tests.unit.probe.load.loads import NO_PREFIX, LoadTestCase, faults


class CleanPathTests(LoadTestCase):
    def test_a_closed_loop_sends_as_soon_as_it_is_answered(self) -> None:
        result = self.load(MemoryServer(), connections=2, depth=3, duration=0.1)
        self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))
        self.assertEqual(result.tally.sent, result.tally.answered)
        rounds = 0.1 / 0.0005
        self.near(result.tally.sent / (2 * 3 * rounds), 1, 0.05)
        self.assertEqual(result.tally.connections, 2)

    def test_a_fixed_rate_sends_exactly_its_messages_at_their_times(self) -> None:
        result = self.load(MemoryServer(), connections=3, rate=100.0, duration=2.0)
        self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))
        self.assertEqual((result.tally.sent, result.tally.answered), (200, 200))
        self.assertEqual(result.tally.send_lag.largest, 0)
        self.assertEqual(result.generator.lag.total, 200)
        self.assertAlmostEqual(result.seconds, 2.0)
        self.assertAlmostEqual(result.messages_per_second, 100.0)

    def test_the_rate_of_a_server_that_is_too_slow_is_its_own(self) -> None:
        clock, free = self.clock, [0.0]

        class Serial(MemoryServer):  # one message of 16 bytes in 10 ms: 100 a second
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                for at in range(0, len(data), 16):
                    free[0] = max(free[0], clock.seconds()) + 0.01
                    wait = free[0] - clock.seconds()
                    clock.callLater(wait, connection.answer, data[at : at + 16])

        result = self.load(Serial(), connections=1, size=16, rate=400.0, duration=1.0,
                           grace=9.0)  # fmt: skip
        self.assertEqual((result.tally.answered, result.seconds), (400, 1.0))
        self.near(result.messages_per_second, 100.0, 1.0)
        self.near(result.bytes_per_second, 1600.0, 16.0)

    def test_a_closed_loop_goes_on_where_a_connection_is_not_answered(self) -> None:
        class Forgetful(MemoryServer):  # it answers nothing more on the first connection
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                seen.append(connection)
                if connection is not seen[0] or len(seen) < 5:
                    connection.answer(data)

        seen: list[MemoryConnection] = []
        result = self.load(Forgetful(), 0.01, connections=1, duration=10.0, grace=1.0)
        self.assertEqual((result.tally.lost, dict(result.tally.errors)), (1, {"timeout": 1}))
        self.assertEqual((result.tally.connections, result.tally.owed), (2, 0))
        self.assertGreater(result.tally.answered, 300)  # 20 ms each, in about eight seconds

    def test_a_latency_that_is_always_the_same_is_no_backlog(self) -> None:
        result = self.load(MemoryServer(), 0.25, connections=1, rate=100.0, duration=1.0)
        self.near(result.messages_per_second, 100.0, 0.1)

    def test_poisson_arrivals_have_the_rate_in_the_mean(self) -> None:
        result = self.load(MemoryServer(), connections=5, rate=500.0, duration=4.0,
                           arrivals="poisson")  # fmt: skip
        self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))
        self.near(result.tally.sent / 2000, 1, 0.1)

    def test_the_shards_together_send_the_messages_of_the_whole(self) -> None:
        for arrivals in ("fixed", "poisson"):
            parts = [
                self.load(MemoryServer(), connections=4, rate=50.0, duration=1.0, seed=3,
                          arrivals=arrivals, shard=(index, 3))
                for index in (1, 2, 3)
            ]  # fmt: skip
            whole = self.load(MemoryServer(), connections=4, rate=50.0, duration=1.0, seed=3,
                              arrivals=arrivals)  # fmt: skip
            self.assertEqual(sum(each.tally.sent for each in parts), whole.tally.sent)
            self.assertEqual(sum(each.tally.connections for each in parts), 4)

    def test_the_times_of_the_warm_up_are_not_counted(self) -> None:
        result = self.load(MemoryServer(), rate=100.0, duration=1.0, warmup=0.4)
        self.assertEqual((result.tally.answered, result.tally.corrected.total), (100, 60))
        self.assertAlmostEqual(result.messages_per_second, 100.0)

    def test_sizes_are_spread_over_the_range(self) -> None:
        result = self.load(MemoryServer(), size=20, max_size=100, rate=500.0, duration=1.0)
        self.assertEqual(str(result.verdict), "OK")
        self.near(result.tally.bytes_sent / 500, 60, 5)

    def test_prefix_and_greeting_are_detected(self) -> None:
        class Greeting(MemoryServer):
            def connected(self, connection: MemoryConnection) -> None:
                connection.answer(b"hello\n")

            def received(self, connection: MemoryConnection, data: bytes) -> None:
                connection.answer(b"> " + data)

        result = self.load(Greeting(), prefix=None)
        self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))
        self.assertGreater(result.tally.answered, 100)

    def test_a_server_that_speaks_first_has_greeted_though_its_prefix_was_given(self) -> None:
        class Numbering(MemoryServer):
            count = 0

            def connected(self, connection: MemoryConnection) -> None:
                self.count += 1
                connection.answer(b"hel")
                self.late(connection)

            def late(self, connection: MemoryConnection) -> None:
                connection.answer(b"lo %d\n" % self.count if self.numbers else b"lo\n")

        for numbers in (False, True):
            server = Numbering()
            server.numbers = numbers
            result = self.load(server, connections=3, rate=60.0, lifetime=0.2, duration=1.0)
            self.assertGreater(result.tally.connections, 9)
            self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))

    def test_a_prefix_with_fields_is_known_after_the_first_answer(self) -> None:
        class Naming(MemoryServer):
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                connection.answer(b"192.0.2.1:1024 " + data)

        result = self.load(Naming(), prefix=Template.parse("{peer} "))
        self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))
        self.assertGreater(result.tally.answered, 100)


class LifetimeTests(LoadTestCase):
    def test_connections_are_replaced_without_loss(self) -> None:
        for pace in ({"rate": 200.0}, {"depth": 4}):
            server = MemoryServer()
            result = self.load(server, 0.005, connections=3, lifetime=0.1, duration=1.0, **pace)
            self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))
            self.assertGreaterEqual(result.tally.connections, 3 * 7)

    def test_the_first_connections_do_not_all_end_at_once(self) -> None:
        load = self.make_load(MemoryServer(), connections=4, lifetime=1.0, duration=10.0)
        self.begin(load, 0.6)
        self.assertEqual(load.tally.connections, 4 + 2)
        load.interrupt()


class PauseTests(LoadTestCase):
    """This process is stopped, as by SIGSTOP, while the server has answered."""

    def paused(self, **options: object) -> None:
        load = self.make_load(
            MemoryServer(), delay=0.01, connections=3, duration=6.0, grace=1.0, **options
        )
        running = self.begin(load, 2.0)
        self.clock.advance(9.0)
        self._settle(running)
        result = self.successResultOf(running)
        self.assertEqual((faults(result), dict(result.tally.errors)), ({}, {}))
        self.assertEqual(result.verdict.word, "INVALID", str(result.verdict))
        self.assertIn("the generator itself stood still for", result.verdict.why)

    def test_a_stopped_closed_loop_accuses_nobody(self) -> None:
        self.paused()

    def test_a_stopped_load_at_a_rate_accuses_nobody(self) -> None:
        self.paused(rate=300.0)


class ConnectRateTests(LoadTestCase):
    def test_connections_are_opened_at_the_rate(self) -> None:
        load = self.make_load(MemoryServer(), connections=10, connect_rate=10.0)
        self.begin(load, 0.55)
        self.assertEqual(load.tally.connections, 6)
        self.assertEqual(load.tally.sent, 0)
        load.interrupt()

    def test_no_more_than_a_hundred_are_tried_at_once(self) -> None:
        server, seen = MemoryServer(), []

        class Slow(MemoryServer):
            def admit(self) -> bool:
                seen.append(clock.seconds())
                return True

        server, clock = Slow(), self.clock
        result = self.load(server, connections=250, rate=250.0, duration=1.0)
        self.assertEqual(result.tally.connections, 250)
        self.assertEqual([seen.count(each) for each in sorted(set(seen))], [100, 100, 50])


class Stalling(MemoryServer):
    """Answers nothing for a second, once, and then all at once.

    :param begin: when, by the clock.
    """

    def __init__(self, clock: Clock, begin: float) -> None:
        super().__init__()
        self._clock, self._begin = clock, begin
        self._waiting: list[tuple[MemoryConnection, bytes]] = []

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        now = self._clock.seconds()
        if not self._begin <= now < self._begin + 1:
            connection.answer(data)
            return
        if not self._waiting:
            self._clock.callLater(self._begin + 1 - now, self._release)
        self._waiting.append((connection, data))

    def _release(self) -> None:
        for connection, data in self._waiting:
            connection.answer(data)


class StallTests(LoadTestCase):
    def test_a_stall_is_in_the_latency_of_all_that_was_due_meanwhile(self) -> None:
        server = Stalling(self.clock, 2.0)
        result = self.load(server, connections=2, rate=100.0, duration=10.0)
        self.assertEqual(faults(result), {})
        corrected = result.tally.corrected
        self.assertEqual(corrected.total, 1000)
        self.near(corrected.percentiles([99.0])[99.0] / 1e6, 0.9, 0.02)
        self.assertEqual(str(result.verdict), "OK")

    def test_a_peer_that_takes_nothing_holds_back_what_is_due(self) -> None:
        class Held(MemoryServer):
            def connected(self, connection: MemoryConnection) -> None:
                connection.stop()

        result = self.load(
            Held(), connections=1, rate=1000.0, depth=1000, size=1000, duration=1.0, grace=0.5
        )
        self.assertEqual(result.verdict.word, "FAIL")
        self.assertLess(result.tally.bytes_sent, 200_000)
        self.assertEqual(result.tally.sent + result.generator.unsent, 1000)
        self.assertEqual(result.generator.missed, 0)
        self.assertEqual(result.generator.lag_p99, 0)  # it is the peer's, not the generator's
        self.assertIn("were due while the peer took or answered nothing", result.verdict.why)

    def test_a_peer_that_answers_nothing_is_told_from_too_few_messages_in_flight(self) -> None:
        class Mute(MemoryServer):
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                pass

        result = self.load(Mute(), connections=1, rate=100.0, depth=2, duration=1.0, grace=1.0)
        self.assertEqual((result.generator.unsent, result.generator.held), (98, 0))
        self.assertEqual(result.verdict.word, "FAIL")
        slow = self.load(
            MemoryServer(), 0.1, connections=1, rate=100.0, depth=2, duration=1.0, grace=1.0
        )
        self.assertEqual(slow.generator.unsent, 0)
        self.near(slow.generator.held, 60, 5)
        self.assertEqual(slow.verdict.word, "INVALID")
        self.assertIn("more --connections or --depth", slow.verdict.why)

    def test_a_wait_for_room_is_in_the_corrected_latency_alone(self) -> None:
        server = Stalling(self.clock, 2.0)
        result = self.load(server, connections=2, rate=100.0, depth=2, duration=10.0)
        self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))
        self.near(result.tally.corrected.percentiles([99.0])[99.0] / 1e6, 0.9, 0.02)
        self.assertLess(result.tally.uncorrected.percentiles([99.0])[99.0] / 1e6, 0.01)


class FaultTests(LoadTestCase):
    def test_what_is_not_answered_within_the_grace_is_lost(self) -> None:
        class Mute(MemoryServer):
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                pass

        result = self.load(Mute(), connections=3, duration=0.1, grace=2.0)
        self.assertEqual(faults(result), {"lost": 3, "unanswered": 3})
        self.assertEqual(dict(result.tally.errors), {"timeout": 3})
        self.assertEqual(result.verdict.exit_status, 1)
        self.near(self.clock.seconds(), 2.1, 0.1)

    def test_without_a_grace_what_is_in_flight_is_abandoned(self) -> None:
        result = self.load(MemoryServer(), delay=0.3, duration=0.5, grace=0.0)
        self.assertEqual(faults(result), {"abandoned": 2})
        self.assertEqual(str(result.verdict), "OK")

    def test_an_answer_after_the_grace_is_late(self) -> None:
        result = self.load(MemoryServer(), delay=0.3, connections=1, duration=0.5, grace=0.2)
        self.assertEqual(faults(result), {"late": 1, "lost": 1, "unanswered": 1})

    def test_a_refused_server_fails_at_once_and_says_why(self) -> None:
        class Closed(MemoryServer):
            def admit(self) -> bool:
                refuse()

        result = self.load(Closed(), connections=3, duration=100.0)
        self.assertEqual(result.verdict.word, "FAIL")
        self.assertIn("no connection to nowhere:1: ECONNREFUSED", result.verdict.why)
        self.assertEqual(dict(result.tally.errors), {"refused": 3})
        self.assertLess(self.clock.seconds(), 1)

    def test_a_server_that_is_not_there_is_not_asked_for_each_of_many_connections(self) -> None:
        class Absent(MemoryServer):
            tries = 0

            def admit(self) -> bool:
                self.tries += 1
                return refuse() if self.refuses else False

        for refuses, cause in ((True, "refused"), (False, "timeout")):
            server, began = Absent(), self.clock.seconds()
            server.refuses = refuses
            result = self.load(server, connections=5000, duration=100.0, timeout=3.0)
            self.assertIn("no connection to nowhere:1", result.verdict.why)
            self.assertEqual(dict(result.tally.errors), {cause: 100})
            self.assertLess(server.tries, 210)
            self.assertLess(self.clock.seconds() - began, 4)

    def test_a_limit_of_connections_is_not_waited_for_with_each_of_many(self) -> None:
        class Limited(MemoryServer):  # as one whose backlog is full
            def admit(self) -> bool:
                return len(self.open) < 150

        for prefix in (NO_PREFIX, None):
            began = self.clock.seconds()
            result = self.load(
                Limited(), 0.01, connections=400, timeout=3.0, duration=1.0, grace=1.0,
                prefix=prefix, rate=100.0,
            )  # fmt: skip
            self.assertEqual((result.verdict.word, result.tally.connections), ("FAIL", 150))
            self.assertEqual(set(result.tally.errors), {"timeout"})
            self.assertEqual((faults(result), result.tally.owed), ({}, 0))
            self.assertGreater(result.tally.answered, 10)
            self.assertLess(self.clock.seconds() - began, 7)

    def test_connections_that_are_refused_later_are_tried_again(self) -> None:
        class Second(MemoryServer):
            count = 0

            def admit(self) -> bool:
                self.count += 1
                return True if self.count != 2 else refuse()

        result = self.load(Second(), connections=2, duration=1.0)
        self.assertEqual(dict(result.tally.errors), {"refused": 1})
        self.assertEqual(result.tally.connections, 2)
        self.assertEqual(result.verdict.why, "1 connection was refused")

    def test_an_end_by_the_server_is_an_error_and_what_was_due_is_lost(self) -> None:
        class Ending(MemoryServer):
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                if connection.taken == 64 * 10:
                    connection.finish()
                else:
                    connection.answer(data)

        result = self.load(Ending(), connections=1, duration=0.05)
        self.assertGreaterEqual(result.tally.errors["fin"], 1)
        self.assertEqual(result.tally.lost, result.tally.errors["fin"])
        self.assertGreaterEqual(result.tally.connections, 1)

    def test_a_server_of_which_nothing_comes_back_fails_before_the_load(self) -> None:
        class Other(MemoryServer):
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                connection.answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        result = self.load(Other(), prefix=None, timeout=1.0)
        self.assertEqual((result.verdict.word, result.tally.sent), ("FAIL", 0))
        self.assertTrue(result.failure)


class EndTests(LoadTestCase):
    def test_each_connection_ends_by_fin_and_a_peer_that_never_ends_is_no_error(self) -> None:
        class Deaf(MemoryServer):
            def finished(self, connection: MemoryConnection) -> None:
                self.ends.append(connection)

            ends: list[MemoryConnection] = []

        server = Deaf()
        result = self.load(server, connections=3)
        self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))
        self.assertEqual(len(server.ends), 3)

    def test_an_interrupt_abandons_what_is_in_flight_and_has_a_result(self) -> None:
        load = self.make_load(MemoryServer(), delay=0.01, connections=3, duration=100.0)
        running = self.begin(load, 1.0)
        load.interrupt()
        result = load.result()
        self.assertTrue(result.interrupted)
        self.assertFalse(result.ok)
        self.assertEqual(faults(result), {"abandoned": 3})
        self.near(result.seconds, 1.0, 0.15)
        self.assertEqual(self.successResultOf(running), result)
        self.clock.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_interrupt_before_the_first_message_has_a_result(self) -> None:
        load = self.make_load(MemoryServer(), connections=3, connect_rate=1.0)
        running = self.begin(load, 0.5)
        load.interrupt()
        self.assertEqual(load.result().verdict.word, "INVALID")
        self.assertEqual(self.successResultOf(running).tally.sent, 0)

    def test_cancelling_ends_everything(self) -> None:
        load = self.make_load(MemoryServer(), connections=3, duration=100.0)
        running = self.begin(load, 1.0)
        running.addErrback(lambda _: None)
        running.cancel()
        self.clock.advance(1)
        self.assertEqual(load.open_connections, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
