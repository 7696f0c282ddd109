"""Each connection of a load is recognised by two short messages, unless the prefix was given."""

from __future__ import annotations

from itertools import cycle
from typing import Any

from twisted.internet.error import ConnectionLost

from echosvc.wire.template import Template
from tests.support.memory_network import MemoryConnection, MemoryServer
from tests.unit.probe.load.loads import LoadTestCase, faults


class Backends(MemoryServer):
    """One server after the other gets the next connection, and answers behind its prefix.

    :ivar connections: in the order in which they were made.
    :ivar asked: on how many each message was the first, or the second.
    """

    framing = "chunk"

    def __init__(self, *prefixes: bytes) -> None:
        super().__init__()
        self._next, self._prefixes = cycle(prefixes), dict[MemoryConnection, bytes]()
        self.connections: list[MemoryConnection] = []
        self.counts: dict[MemoryConnection, int] = {}

    def use(self, *prefixes: bytes) -> None:
        """Let connections go to other servers from now on."""
        self._next = cycle(prefixes)

    def connected(self, connection: MemoryConnection) -> None:
        self.connections.append(connection)
        self._prefixes[connection], self.counts[connection] = next(self._next), 0

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        self.counts[connection] += 1
        connection.answer(self.reply(connection, self.prefix_of(connection), data))

    def reply(self, connection: MemoryConnection, prefix: bytes, data: bytes) -> bytes:
        if self.framing == "length":
            message = prefix + data[4:]
            return len(message).to_bytes(4, "big") + message
        return prefix + data

    def prefix_of(self, connection: MemoryConnection) -> bytes:
        return self._prefixes[connection]

    def number(self, connection: MemoryConnection) -> int:
        """Of a connection, from 0."""
        return self.connections.index(connection)

    def is_asked(self, connection: MemoryConnection) -> bool:
        """Whether the first message has come now."""
        return self.counts[connection] == 1


class RecognitionTestCase(LoadTestCase):
    def recognized(self, server: MemoryServer, delay: float = 0.0005, **options: Any) -> Any:
        """The result of a load of which the prefix is not given."""
        return self.load(server, delay, **{"prefix": None, "connections": 6, **options})


class ServerTests(RecognitionTestCase):
    def test_servers_with_different_prefixes_are_no_damage(self) -> None:
        for pace in ({}, {"depth": 3}, {"rate": 500.0}, {"rate": 500.0, "arrivals": "poisson"}):
            result = self.recognized(Backends(b"v1 ", b"v2: ", b""), duration=0.5, **pace)
            self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))
            self.assertEqual(result.tally.connections, 6)
            self.assertEqual(result.tally.servers, {"v1": 2, "v2:": 2})  # one has no prefix
            self.assertEqual(result.tally.sent, result.tally.answered)
            self.assertGreater(result.tally.answered, 200)

    def test_each_framing_is_recognised(self) -> None:
        for framing in ("line", "length"):
            server = Backends(b"v1 ", b"v2: ")
            server.framing = framing
            result = self.recognized(server, framing=framing, duration=0.5)
            self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))

    def test_a_server_that_replaces_another_is_recognised(self) -> None:
        class Upgrade(Backends):
            def upgrade(self) -> None:
                self.use(b"v2 ")

        server = Upgrade(b"v1 ")
        self.clock.callLater(0.5, server.upgrade)
        result = self.recognized(server, rate=300.0, lifetime=0.2, duration=1.5)
        self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))
        self.assertEqual({server.prefix_of(each) for each in server.open}, set())
        newest = [server.prefix_of(each) for each in server.connections]
        self.assertEqual({*newest[:6]} | {*newest[-6:]}, {b"v1 ", b"v2 "})

    def test_only_breaks_are_counted_where_a_server_is_replaced_at_once(self) -> None:
        server = Backends(b"v1 ")

        def replace() -> None:
            server.use(b"v2 ")
            for each in list(server.open):
                each.lose(ConnectionLost())

        self.clock.callLater(0.5, replace)
        result = self.recognized(server, rate=300.0, duration=1.5)
        self.assertEqual(dict(result.tally.errors), {"reset": 6})
        self.assertEqual(faults(result).keys() - {"lost", "unanswered"}, set())
        self.assertEqual(result.tally.connections, 12)

    def test_a_server_may_greet_each_connection_with_other_words(self) -> None:
        class Greeting(Backends):
            def connected(self, connection: MemoryConnection) -> None:
                super().connected(connection)
                connection.answer(b"hello, number %d of v1\n" % self.number(connection))

        result = self.recognized(Greeting(b"v1 "), lifetime=0.1, duration=0.5)
        self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))
        self.assertGreater(result.tally.connections, 12)

    def test_fields_of_a_given_prefix_say_who_answers(self) -> None:
        names = Backends(b"web1 1> ", b"web2 2> ", b"web1 3> ")
        template = Template.parse("{hostname} {connection}> ")
        result = self.load(names, connections=6, prefix=template)
        self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))
        self.assertEqual(result.tally.servers, {"web1 >": 4, "web2 >": 2})

    def test_where_the_prefix_is_given_nothing_else_is_sent(self) -> None:
        seen = set()

        class Noting(Backends):
            def reply(self, connection: MemoryConnection, prefix: bytes, data: bytes) -> bytes:
                seen.add(len(data))
                return super().reply(connection, prefix, data)

        for given, sizes in ((Template.parse("v1 "), {64}), (None, {1, 64})):
            seen.clear()
            result = self.load(Noting(b"v1 "), prefix=given)
            self.assertEqual((str(result.verdict), seen), ("OK", sizes))
            self.assertEqual(result.tally.bytes_sent, 64 * result.tally.sent)
            self.assertEqual(result.tally.bytes_received, 67 * result.tally.sent)


class TimeTests(RecognitionTestCase):
    def test_the_time_to_connect_has_no_messages_in_it(self) -> None:
        result = self.recognized(Backends(b"v1 "), 0.1, duration=1.0)
        self.assertEqual((result.tally.connect.total, result.tally.first_byte.total), (6, 6))
        self.near(result.tally.connect.largest / 1e6, 0.1, 0.001)
        self.near(result.tally.first_byte.largest / 1e6, 0.1, 0.001)

    def test_the_first_byte_is_that_of_the_first_message(self) -> None:
        class Waking(Backends):  # a server that is started by the first message
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                slow = not self.counts[connection]
                self.clock.callLater(0.4 * slow, super().received, connection, data)

        server = Waking(b"v1 ")
        server.clock = self.clock
        result = self.recognized(server, 0.01, duration=1.0)
        self.near(result.tally.first_byte.largest / 1e6, 0.42, 0.01)
        self.assertLess(result.tally.corrected.largest / 1e6, 0.03)

    def test_messages_are_sent_once_all_are_recognised(self) -> None:
        times: list[float] = []
        clock = self.clock

        class Slow(Backends):  # one of them takes long
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                late = self.number(connection) == 3 and len(data) == 1
                if len(data) > 1:
                    times.append(clock.seconds())
                clock.callLater(0.7 * late, super().received, connection, data)

        for pace in ({"rate": 300.0}, {"depth": 2}):
            times.clear()
            began = self.clock.seconds()
            result = self.recognized(Slow(b"v1 ", b"v2 "), duration=0.5, **pace)
            self.assertEqual(str(result.verdict), "OK")
            self.assertGreater(min(times) - began, 1.4)
            self.near(result.seconds, 0.5, 0.01)

    def test_it_costs_two_round_trips(self) -> None:
        for count, rounds in ((100, 2), (101, 3)):  # the first one is opened alone
            began = self.clock.seconds()
            load = self.make_load(Backends(b"v1 "), 1.0, connections=count, prefix=None)
            self.begin(load, 3.0 * rounds + 0.5)
            self.assertEqual(load.tally.connections, count)
            self.near(self.clock.seconds() - began, 3.0 * rounds, 0.5)
            load.interrupt()


class FailureTests(RecognitionTestCase):
    def test_a_prefix_that_is_damaged_in_the_first_reply_is_found(self) -> None:
        damages = {
            "changed": lambda it: b"x" + it[1:],
            "lost": lambda it: it[1:],
            "repeated": lambda it: it + it,
        }
        for name, damage in damages.items():

            class Damaging(Backends):
                how = staticmethod(damage)

                def reply(self, connection: MemoryConnection, prefix: bytes, data: bytes) -> bytes:
                    right = super().reply(connection, prefix, data)
                    hit = self.number(connection) == 3 and self.is_asked(connection)
                    return self.how(right) if hit else right

            result = self.recognized(Damaging(b"v1 ", b"v2 "), rate=100.0, duration=1.0)
            self.assertEqual(dict(result.tally.errors), {"mismatch": 1}, name)
            self.assertEqual((result.verdict.word, result.tally.connections), ("FAIL", 6))
            self.assertEqual((faults(result), result.tally.owed), ({}, 0))

    def test_a_reply_that_comes_twice_is_no_greeting(self) -> None:
        class Twice(Backends):
            def reply(self, connection: MemoryConnection, prefix: bytes, data: bytes) -> bytes:
                hit = self.number(connection) == 2 and self.is_asked(connection)
                return data + data if hit else data

        result = self.recognized(Twice(b""), duration=0.5)
        self.assertEqual((dict(result.tally.errors), faults(result)), ({"mismatch": 1}, {}))

    def test_what_comes_before_the_first_reply_of_some_connections_is_no_greeting(self) -> None:
        class Leftover(Backends):  # a middlebox gives answers to the next client
            def connected(self, connection: MemoryConnection) -> None:
                super().connected(connection)
                if self.number(connection) in self.hit:
                    connection.answer(b"an answer of another")

        for hit in ({2, 5}, {0, 1}):
            server = Leftover(b"v1 ")
            server.hit = hit
            result = self.recognized(server, duration=0.5)
            self.assertEqual(faults(result), {"unexpected_bytes": 2 * 20})
            self.assertEqual(dict(result.tally.errors), {"mismatch": 2})

    def test_one_of_several_servers_may_greet(self) -> None:
        class Some(Backends):
            def connected(self, connection: MemoryConnection) -> None:
                super().connected(connection)
                if self.prefix_of(connection) == b"v1 ":
                    connection.answer(b"welcome\n")

        result = self.recognized(Some(b"v1 ", b"v2 "), duration=0.5)
        self.assertEqual((str(result.verdict), faults(result)), ("OK", {}))

    def test_what_comes_before_a_connection_begins_to_send_is_not_due(self) -> None:
        class Talking(Backends):
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                slow = len(data) == 1 and self.number(connection) == 5  # all wait for it
                clock.callLater(0.5 * slow, super().received, connection, data)
                if self.counts[connection] == 1 and self.number(connection) == 4:
                    clock.callLater(0.1, connection.answer, b"more")

        clock = self.clock
        result = self.recognized(Talking(b"v1 "), 0.02, rate=100.0, duration=0.5)
        self.assertEqual(faults(result), {"damaged": 1})  # of the first message
        self.assertEqual(dict(result.tally.errors), {"mismatch": 1})

    def test_each_way_not_to_be_answered_has_its_cause(self) -> None:
        ways = {
            "timeout": lambda connection: connection.mute(),
            "fin": lambda connection: connection.cut(),
            "reset": lambda connection: connection.lose(ConnectionLost()),
        }
        for asked in (1, 2):
            for cause, end in ways.items():

                class Ending(Backends):
                    how, when = staticmethod(end), asked

                    def received(self, connection: MemoryConnection, data: bytes) -> None:
                        hit = self.number(connection) == 3
                        if hit and self.counts[connection] + 1 == self.when:
                            self.how(connection)
                        else:
                            super().received(connection, data)

                result = self.recognized(Ending(b"v1 "), rate=50.0, timeout=1.0)
                self.assertEqual(dict(result.tally.errors), {cause: 1}, (asked, cause))
                self.assertEqual((faults(result), result.tally.connections), ({}, 6))

    def test_a_first_connection_that_cannot_be_verified_ends_the_run_at_once(self) -> None:
        class Counting(Backends):
            def reply(self, connection: MemoryConnection, prefix: bytes, data: bytes) -> bytes:
                return b"%d: " % self.counts[connection] + data

        server = Counting(b"")
        result = self.recognized(server, duration=100.0)
        self.assertEqual((result.verdict.word, result.verdict.exit_status), ("FAIL", 1))
        self.assertIn("the prefix changes from reply to reply", result.verdict.why)
        self.assertIn("--prefix", result.verdict.why)
        self.assertEqual(dict(result.tally.errors), {"mismatch": 1})
        self.assertEqual((len(server.connections), result.tally.sent), (1, 0))
        self.assertLess(self.clock.seconds(), 1)

    def test_a_first_connection_that_is_not_answered_ends_the_run_with_words(self) -> None:
        class Mute(MemoryServer):
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                pass

        class Once(Backends):
            def received(self, connection: MemoryConnection, data: bytes) -> None:
                if self.counts[connection]:
                    connection.cut()
                else:
                    super().received(connection, data)

        silent = self.recognized(Mute(), timeout=2.0)
        self.assertIn("no answer to '~' within 2 s: nothing came back", silent.failure)
        self.assertEqual(dict(silent.tally.errors), {"timeout": 1})
        self.near(self.clock.seconds(), 2.0, 0.1)
        once = self.recognized(Once(b"v1 "))
        self.assertIn("the first message was answered ('v1 ~'), the second not", once.failure)
        self.assertEqual(dict(once.tally.errors), {"fin": 1})

    def test_an_interrupt_while_connections_are_recognised_leaves_nothing(self) -> None:
        load = self.make_load(Backends(b"v1 "), 1.0, connections=6, prefix=None)
        running = self.begin(load, 4.5)
        load.interrupt()
        self.assertEqual(load.result().verdict.word, "INVALID")
        self.assertEqual(self.successResultOf(running).tally.sent, 0)
        self.clock.advance(0)
        self.clock.advance(5)
        self.assertEqual((self.clock.getDelayedCalls(), load.open_connections), ([], 0))
