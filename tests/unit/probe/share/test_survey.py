"""Connections are opened, asked and counted as the settings say, in a network in memory."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from echosvc.endpoints.client import ClientTarget
from echosvc.probe.share.expectation import parse_expectations
from echosvc.probe.share.result import ShareResult
from echosvc.probe.share.settings import ShareSettings, ShareSettingsError
from echosvc.probe.share.survey import LOCAL_PATIENCE, Survey
from echosvc.wire.template import Template
from tests.support.memory_network import (
    MemoryConnection,
    MemoryEndpoint,
    MemoryServer,
    NetworkTestCase,
    refuse,
)

Answer = Callable[[bytes, int], bytes]


class Backends(MemoryServer):
    """Several servers: what each answers to its n-th message, by turns.

    :ivar greetings: what each sends first.
    :ivar opened: when each connection was made.
    :ivar most: connections that were open at once, at most.
    """

    def __init__(self, *answers: Answer, greetings: tuple[bytes, ...] = (b"",)) -> None:
        super().__init__()
        self._answers, self._greetings = answers, greetings
        self.opened: list[float] = []
        self.most = 0

    def connected(self, connection: MemoryConnection) -> None:
        number = len(self.opened)
        self.opened.append(connection.clock.seconds())
        self.most = max(self.most, len(self.open))
        connection.number, connection.messages = number, 0  # type: ignore[attr-defined]
        connection.answer(self._greetings[number % len(self._greetings)])

    def received(self, connection: Any, data: bytes) -> None:
        connection.messages += 1
        answer = self._answers[connection.number % len(self._answers)]
        connection.answer(answer(data, connection.messages))


def prefixed(prefix: bytes) -> Answer:
    """An answer with a prefix, in which %d is the number of the message."""

    def answer(data: bytes, number: int) -> bytes:
        return (prefix % number if b"%d" in prefix else prefix) + data

    return answer


def silent(data: bytes, number: int) -> bytes:
    return b""


V1, V2 = prefixed(b"v1: "), prefixed(b"v2: ")


class SurveyTests(NetworkTestCase):
    def survey(
        self,
        server: MemoryServer,
        endpoint: Any = None,
        on_progress: Callable[[Survey], object] = lambda _: None,
        **settings: Any,
    ) -> Survey:
        endpoint = endpoint or MemoryEndpoint(self.clock, server)
        target = ClientTarget(endpoint, "lb:9", endpoint)
        return Survey(self.clock, target, ShareSettings(**settings), "lb:9", on_progress)

    def found(self, server: MemoryServer, expect: str = "", **settings: Any) -> ShareResult:
        expected = parse_expectations(expect) if expect else ()
        survey = self.survey(server, expect=expected, **settings)
        result: ShareResult = self.result(survey.run())
        return result

    def counts(self, server: MemoryServer, **settings: Any) -> dict[str, int]:
        found = self.found(server, **settings)
        return {each.name: each.count for each in found.shares}

    def failures(self, server: MemoryServer, **settings: Any) -> dict[str, int]:
        found = self.found(server, **settings)
        return {each.cause: each.count for each in found.failures}

    # -- who answers ----------------------------------------------------------

    def test_each_connection_counts_for_the_server_that_answers(self) -> None:
        self.assertEqual(self.counts(Backends(V1, V1, V2), connections=9), {"v1": 6, "v2": 3})

    def test_a_prefix_with_numbers_needs_no_template(self) -> None:
        server = Backends(prefixed(b"v1 #%d: "), prefixed(b"v2 #%d: "))
        self.assertEqual(self.counts(server, connections=6), {"v1": 3, "v2": 3})

    def test_a_greeting_is_no_part_of_the_name(self) -> None:
        server = Backends(V1, V2, greetings=(b"hello\n",))
        self.assertEqual(self.counts(server, connections=6), {"v1": 3, "v2": 3})

    def test_a_greeting_of_each_server_is_no_part_of_the_name_either(self) -> None:
        server = Backends(V1, V2, greetings=(b"I am one\n", b"I am number two\n"))
        self.assertEqual(self.counts(server, connections=6), {"v1": 3, "v2": 3})

    def test_a_server_without_a_prefix_is_named_by_its_greeting(self) -> None:
        server = Backends(prefixed(b""), greetings=(b"I am one\n", b"I am two\n"))
        self.assertEqual(self.counts(server, connections=6), {"I am one": 3, "I am two": 3})

    def test_a_server_that_answers_once_is_counted(self) -> None:
        def once(data: bytes, number: int) -> bytes:
            return b"v1: " + data if number == 1 else b""

        self.assertEqual(self.counts(Backends(once), connections=5, timeout=1.0), {"v1": 5})

    def test_a_template_says_what_names_a_server(self) -> None:
        server = Backends(prefixed(b"a 17/%d> "), prefixed(b"b 18/%d> "))
        prefix = Template.parse("{hostname} {connection}/{message}> ")
        self.assertEqual(self.counts(server, connections=6, prefix=prefix), {"a": 3, "b": 3})

    def test_an_answer_of_another_form_than_the_template_is_a_mismatch(self) -> None:
        prefix = Template.parse("v1 {message}: ")
        server = Backends(prefixed(b"v1 %d: "), prefixed(b"other: "))
        found = self.found(server, connections=6, prefix=prefix)
        self.assertEqual([(each.cause, each.count) for each in found.failures], [("mismatch", 3)])
        self.assertIn("not of the form that --prefix gives", found.failures[0].example)

    def test_length_framing_is_understood(self) -> None:
        def framed(prefix: bytes) -> Answer:
            def answer(data: bytes, number: int) -> bytes:
                reply = prefix + data[4:]
                return len(reply).to_bytes(4, "big") + reply

            return answer

        server = Backends(framed(b"v1: "), framed(b"v22: "), greetings=(b"hi\n",))
        self.assertEqual(self.counts(server, connections=6, framing="length"), {"v1": 3, "v22": 3})

    def test_servers_of_istio_are_named_by_their_words(self) -> None:
        server = Backends(prefixed(b"one "), prefixed(b"two "))
        self.assertEqual(self.counts(server, connections=6, dialect="istio"), {"one": 3, "two": 3})

    def test_servers_of_the_gateway_api_are_named_by_their_pods(self) -> None:
        def pod(name: bytes) -> Answer:
            return lambda data, number: b'{"pod":"%s"}\n' % name if data == b"TEST\n" else b""

        greeting = (b"Gateway API Test TCP Server\n",)
        server = Backends(pod(b"p1"), pod(b"p2"), greetings=greeting)
        counts = self.counts(server, connections=6, dialect="gateway-api")
        self.assertEqual(counts, {"p1": 3, "p2": 3})

    def test_the_dialect_of_a_server_that_greets_is_advised(self) -> None:
        server = Backends(silent, greetings=(b"Gateway API Test TCP Server\n",))
        found = self.found(server, connections=2, timeout=1.0)
        self.assertIn("--dialect gateway-api", found.failures[0].example)

    @pytest.mark.slow
    def test_servers_that_are_chosen_at_random_are_judged_by_their_shares(self) -> None:
        """Whatever the servers' speed is, and however many connections are open at once."""

        class Random(Backends):
            def received(self, connection: Any, data: bytes) -> None:
                first = drawn.random() < truth
                wait = 0.0 if first else 0.05
                answer = (V1 if first else V2)(data, 1)
                connection.clock.callLater(wait, connection.answer, answer)

        for truth, verdict in ((0.8, "pass"), (0.7, "fail"), (0.5, "fail")):
            for seed in range(2):
                drawn = random.Random(seed)
                found = self.found(Random(V1), "v1=80±5,v2=20±5", concurrency=50)
                self.assertEqual((found.verdict, found.failed), (verdict, 0), (truth, seed))

    # -- failures -------------------------------------------------------------

    def test_a_silent_server_is_a_time_out(self) -> None:
        found = self.found(Backends(V1, silent), connections=4, timeout=2.0)
        self.assertEqual([(each.cause, each.count) for each in found.failures], [("timeout", 2)])
        self.assertEqual(found.shares[0].share, 0.5)

    def test_a_server_that_answers_byte_by_byte_is_a_time_out(self) -> None:
        class Dripping(Backends):
            def received(self, connection: Any, data: bytes) -> None:
                connection.answer(b"x")
                connection.clock.callLater(0.5, self.received, connection, data)

        failures = self.failures(Dripping(V1), connections=1, dialect="istio", timeout=2.0)
        self.assertEqual(failures, {"timeout": 1})
        self.assertLess(self.clock.seconds(), 5.0)

    def test_a_refusal_and_an_end_without_an_answer_are_told_apart(self) -> None:
        class Broken(Backends):
            def admit(self) -> bool:
                if self.attempts % 3 == 2:
                    self.attempts += 1
                    refuse()
                self.attempts += 1
                return True

            attempts = 0

            def received(self, connection: Any, data: bytes) -> None:
                if len(self.opened) % 2:
                    super().received(connection, data)
                else:
                    connection.finish()

        failures = self.failures(Broken(V1), connections=9, concurrency=1)
        self.assertEqual(failures, {"fin": 3, "refused": 3})

    def test_a_connection_that_is_never_made_is_a_time_out(self) -> None:
        class Dropping(Backends):
            def admit(self) -> bool:
                return False

        failures = self.failures(Dropping(V1), connections=3, timeout=2.0, dialect="istio")
        self.assertEqual(failures, {"timeout": 3})

    def test_a_wrong_answer_is_a_mismatch(self) -> None:
        failures = self.failures(Backends(prefixed(b"")), connections=2, dialect="istio")
        self.assertEqual(failures, {"mismatch": 2})

    def test_without_any_answer_it_stops_soon(self) -> None:
        class Refusing(Backends):
            def admit(self) -> bool:
                refuse()

        found = self.found(Refusing(V1), "v1=80±5")
        self.assertEqual(found.verdict, "fail")
        self.assertLessEqual(found.connections, 20)

    # -- this machine ---------------------------------------------------------

    def test_trouble_of_this_machine_is_waited_out_once_something_was_answered(self) -> None:
        class Exhausted(Backends):
            def admit(self) -> bool:
                if len(self.opened) >= 3 and connection_clock.seconds() < 30:
                    raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
                return True

        connection_clock = self.clock
        found = self.found(Exhausted(V1), connections=6)
        self.assertEqual((found.connections, found.failed), (6, 0))
        self.assertGreater(found.seconds, 29)

    def test_trouble_of_this_machine_that_stays_ends_it_and_is_no_failure_of_the_path(self) -> None:
        class Exhausted(Backends):
            def admit(self) -> bool:
                if len(self.opened) >= 3:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                return True

        found = self.found(Exhausted(V1), connections=6)
        self.assertEqual((found.verdict, found.failed, found.connections), ("undecided", 0, 3))
        self.assertIn("EMFILE", found.why)
        self.assertLess(self.clock.seconds(), LOCAL_PATIENCE + 10)

    def test_trouble_of_this_machine_at_once_ends_it_at_once(self) -> None:
        class Exhausted(Backends):
            def admit(self) -> bool:
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

        found = self.found(Exhausted(V1), connections=6)
        self.assertEqual((found.verdict, found.connections), ("undecided", 0))
        self.assertLess(self.clock.seconds(), 1.0)

    # -- when connections are opened ------------------------------------------

    def test_no_more_connections_are_open_at_once_than_asked_for(self) -> None:
        server = Backends(V1)
        self.found(server, connections=50, concurrency=4)
        self.assertEqual((server.most, len(server.opened)), (4, 50))

    def test_no_more_connections_are_opened_a_second_than_asked_for(self) -> None:
        server = Backends(V1)
        self.found(server, connections=21, rate=10.0)
        self.assertGreaterEqual(server.opened[-1] - server.opened[0], 1.99)
        self.assertLess(self.clock.seconds(), 2.5)

    def test_it_stops_as_soon_as_it_is_sure(self) -> None:
        server = Backends(V1, V2)
        found = self.found(server, "v1=80±5,v2=20±5")
        self.assertEqual(found.verdict, "fail")
        self.assertLess(len(server.opened), 200)
        self.assertEqual(found.unfinished, len(server.opened) - found.connections)

    def test_connections_count_in_the_order_in_which_they_began(self) -> None:
        """Otherwise the server that answers quickly would seem to have a larger share."""

        class Slow(Backends):
            def received(self, connection: Any, data: bytes) -> None:
                wait = 1.0 if connection.number == 1 else 0.0
                connection.clock.callLater(wait, connection.answer, V1(data, 1))

        def note(survey: Survey) -> None:
            seen.append((self.clock.seconds(), survey.tally.total))

        seen: list[tuple[float, int]] = []
        server = Slow(V1)
        survey = self.survey(server, on_progress=note, connections=40, rate=100.0)
        self.result(survey.run())
        self.assertEqual([total for _, total in seen], list(range(1, 41)))
        self.assertEqual([total for when, total in seen if when < 1.0], [1])
        self.assertLess(server.opened[-1], 0.5)

    def test_shares_are_watched_for_the_time_that_is_asked_for(self) -> None:
        server = Backends(V1)
        found = self.found(server, watch=5.0, rate=50.0)
        self.assertAlmostEqual(found.seconds, 5.0, delta=0.1)
        self.assertAlmostEqual(found.connections, 250, delta=3)
        self.assertEqual(len(found.windows), 10)

    def test_a_watch_ends_earlier_after_the_connections_that_are_asked_for(self) -> None:
        found = self.found(Backends(V1), watch=5.0, rate=50.0, connections=10)
        self.assertEqual(found.connections, 10)
        self.assertLess(found.seconds, 1.0)

    def test_each_connection_has_a_port_of_the_range_and_none_two_at_once(self) -> None:
        class Binding(MemoryEndpoint):
            bind_port = 0

            def connect(self, factory: Any) -> Deferred[Any]:
                ports.append(self.bind_port)
                return super().connect(factory)

        ports: list[int] = []
        server = Backends(V1)
        endpoint = Binding(self.clock, server)
        survey = self.survey(server, endpoint, connections=12, source_ports=(5, 7), concurrency=9)
        self.assertEqual(self.result(survey.run()).connections, 12)
        self.assertEqual(set(ports), {5, 6, 7})
        self.assertEqual(len(ports), 12)
        self.assertLessEqual(server.most, 3)

    def test_ports_are_refused_where_there_are_none(self) -> None:
        target = ClientTarget(MemoryEndpoint(self.clock, Backends(V1)), "unix")  # type: ignore[arg-type]
        with self.assertRaises(ShareSettingsError):
            Survey(self.clock, target, ShareSettings(source_ports=(5, 5)), "unix")

    # -- the end --------------------------------------------------------------

    def test_an_interrupt_leaves_what_was_found_so_far(self) -> None:
        survey = self.survey(Backends(V1), connections=1000)
        running = Deferred.fromCoroutine(survey.run())
        for _ in range(100):
            self.wait(0.001)
        found = survey.result()
        self.assertTrue(found.interrupted)
        self.assertGreater(found.connections, 0)
        running.addErrback(lambda _: None)
        running.cancel()

    def test_all_connections_are_closed_at_the_end(self) -> None:
        server = Backends(V1, silent)
        self.found(server, connections=20, timeout=1.0)
        self.wait(2.0)
        self.assertEqual(server.open, [])

    def test_an_error_of_the_program_is_raised_and_no_failure_of_the_path(self) -> None:
        class Faulty(MemoryEndpoint):
            def connect(self, factory: Any) -> Deferred[Any]:
                raise TypeError("no endpoint does this on purpose")

        server = Backends(V1)
        survey = self.survey(server, Faulty(self.clock, server), connections=5)
        self.error(survey.run(), TypeError)
