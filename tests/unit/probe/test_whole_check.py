"""A whole check of a path in memory: what breaks one thing has one FAIL, under its own name."""

from __future__ import annotations

import random
import string
from codecs import encode
from collections.abc import Callable

from echosvc.endpoints.client import ClientTarget
from echosvc.probe.check import Check
from echosvc.probe.result import CheckResult
from echosvc.probe.settings import CheckSettings
from echosvc.probe.validation import PROBES
from tests.support.memory_network import (
    MemoryConnection,
    MemoryEndpoint,
    MemoryServer,
    NetworkTestCase,
)

#: They measure by another clock, or send much.
SKIPPED = ("idle", "find-idle", "lifetime", "rtt", "back-pressure", "late-answers")
#: Those that do not apply here: there is no prefix, no TLS, no kernel and no reset.
WITHOUT = {"greeting", "identity", "path", "tls", "proxy", "reset", "server-fin"}


class Eating(MemoryServer):
    """Removes a byte value."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        connection.answer(data.replace(b"\xff", b""))


class Translating(MemoryServer):
    """Makes CR LF of LF."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        connection.answer(data.replace(b"\n", b"\r\n"))


class Moving(MemoryServer):
    """Moves letters by 13 places in the alphabet."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        connection.answer(encode(data.decode("latin-1"), "rot13").encode("latin-1"))


class Capitalizing(MemoryServer):
    """Makes capitals on each fourth connection."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.others = 0, set[MemoryConnection]()

    def connected(self, connection: MemoryConnection) -> None:
        self.count += 1
        if self.count % 4 == 0:
            self.others.add(connection)

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        connection.answer(data.upper() if connection in self.others else data)


class Mixing(MemoryServer):
    """One of 40 answers goes to another connection."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        others = [each for each in self.open if each is not connection]
        if others and self.random.random() < 1 / 40:
            connection = self.random.choice(others)
        connection.answer(data)


class Stopping(MemoryServer):
    """Answers nothing more in the middle of long streams of some connections.

    :ivar stopped: how many there were.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.stopped = most, 0

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        super().received(connection, data)
        if connection.taken > 65_600 and self.stopped < self.most:
            self.stopped += 1
            connection.mute()


class Losing(MemoryServer):
    """Loses some bytes of long streams."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        start = 50_000 - (connection.taken - len(data))
        if 0 <= start < len(data) - 7:
            data = data[:start] + data[start + 7 :]
        connection.answer(data)


class Narrow(MemoryServer):
    """Behind a link that drops long segments."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        super().received(connection, data)
        if min(connection.segment, len(data)) > 1300:
            connection.mute()


class Few(MemoryServer):
    """Answers a few connections at once."""

    def connected(self, connection: MemoryConnection) -> None:
        if len(self.open) > 5:
            connection.mute()


class FewPorts(MemoryServer):
    """Behind a router with five ports for its translations, which does not find each free one.

    Linux gives a port of a connection that has ended to the next one if its first sequence number
    is greater, which is so every other time.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random, self.used = random.Random(seed), 0

    def admit(self) -> bool:
        fresh, free = 5 - self.used, self.used - len(self.open)
        return fresh > 0 or any(self.random.random() < 0.5 for _ in range(free))

    def connected(self, connection: MemoryConnection) -> None:
        self.used = max(self.used, len(self.open))


class FewAndSlow(Few):
    """Ends those that are more than a number in a second, too."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def connected(self, connection: MemoryConnection) -> None:
        super().connected(connection)
        now = connection.clock.seconds()
        self.times = [each for each in self.times if each > now - 1] + [now]
        if len(self.times) > 20:
            connection.cut()


class Lines(MemoryServer):
    """Answers lines, each as a function changes it, and what is left of one at FIN."""

    def __init__(self, change: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self.change, self.kept = change, dict[MemoryConnection, bytes]()

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        *lines, rest = (self.kept.get(connection, b"") + data).split(b"\n")
        self.kept[connection] = rest
        connection.answer(b"".join(self.change(line) + b"\n" for line in lines))

    def finished(self, connection: MemoryConnection) -> None:
        if rest := self.kept.get(connection):
            connection.answer(self.change(rest))
        connection.finish()


class Unfinished(MemoryServer):
    """Never ends its own direction."""

    def finished(self, connection: MemoryConnection) -> None:
        pass


class Inspecting(MemoryServer):
    """Behind a proxy that waits until it knows whether the first line is one of HTTP."""

    def __init__(self) -> None:
        super().__init__()
        self.first = dict[MemoryConnection, bytes]()

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        first = self.first.get(connection, b"")
        self.first[connection] = first + data
        if not self.may_be_http(self.first[connection]):
            connection.answer(data if not self.may_be_http(first) else first + data)

    def may_be_http(self, data: bytes) -> bool:
        return data.strip(string.printable.encode()) == b"" and b"\n" not in data


class Discarding(MemoryServer):
    """Answers nothing."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        pass


class WholeCheckTests(NetworkTestCase):
    def check(self, server: MemoryServer, **settings: object) -> CheckResult:
        endpoint = MemoryEndpoint(self.clock, server)
        target = ClientTarget(endpoint, "nowhere:1", endpoint)
        asked = CheckSettings(**{"skip": SKIPPED, "max_size": 70_000, **settings})
        probes = [each for each in PROBES if each.name != "connect"]  # it resolves in a thread
        check = Check(self.clock, target, asked, "nowhere:1", probes=probes)
        return self.result(check.run())

    def failures(self, server: MemoryServer, **settings: object) -> dict[str, str]:
        probes = self.check(server, **settings).probes
        return {each.name: each.finding for each in probes if each.result == "fail"}

    def test_a_path_that_breaks_nothing_is_accused_of_nothing(self) -> None:
        result = self.check(MemoryServer(), skip=SKIPPED[:4])
        self.assertTrue(result.ok, result)
        names = {each.name for each in result.probes}
        skipped = {each.name for each in result.probes if each.result == "skip"}
        self.assertLessEqual({"bytes", "sizes", "order", "half-close", "back-pressure"}, names)
        self.assertEqual(skipped, WITHOUT)

    def test_servers_of_all_framings_are_accused_of_nothing(self) -> None:
        for framing, server in (("line", Lines(lambda line: line)), ("length", MemoryServer())):
            self.assertEqual(self.failures(server, framing=framing), {})

    def test_letters_that_are_all_moved(self) -> None:
        found = self.failures(Moving())
        (finding,) = self.one(found, "bytes")
        self.assertIn("52 of 256 values do not come back as they were sent", finding)

    def test_letters_that_one_of_several_servers_changes(self) -> None:
        (finding,) = self.one(self.failures(Capitalizing()), "bytes")
        self.assertRegex(finding, "^26 of 256 values do not come back")

    def test_answers_that_go_to_another_connection(self) -> None:
        for seed in range(3):
            (finding,) = self.one(self.failures(Mixing(seed)), "connections")
            self.assertIn("bytes of another connection came in", finding)

    def test_a_stream_that_stops_is_sent_again_and_told_how_often(self) -> None:
        for probe in ("sizes", "order"):
            found = self.failures(Stopping(1), only=(probe,), max_size=65_700)
            self.assertRegex(found[probe], r"then nothing more came \(1 of 4 times\)$")

    def test_lines_that_are_trimmed(self) -> None:
        found = self.failures(Lines(bytes.strip), framing="line")
        (finding,) = self.one(found, "bytes")
        self.assertIn("bytes are removed at the beginning", finding)

    def test_line_ends_that_are_translated(self) -> None:
        (finding,) = self.one(self.failures(Translating()), "bytes")
        self.assertIn("0x0a comes as 0d 0a", finding)

    def test_a_value_that_is_removed(self) -> None:
        (finding,) = self.one(self.failures(Eating()), "bytes")
        self.assertIn("ff", finding)

    def test_bytes_that_are_lost(self) -> None:
        found = self.failures(Losing(), only=("sizes",))
        self.assertRegex(found["sizes"], "7 bytes lost at offset 4999")

    def test_segments_that_are_dropped(self) -> None:
        (finding,) = self.one(self.failures(Narrow()), "path-mtu")
        self.assertIn("packets of more than 1340 bytes are dropped", finding)

    def test_a_limit_of_connections(self) -> None:
        (finding,) = self.one(self.failures(Few()), "limit")
        self.assertRegex(finding, "^5 of 10 connections at once were answered")

    def test_a_few_ports_of_a_router_are_one_limit_and_soon_found(self) -> None:
        for seed in range(2):
            began = self.clock.seconds()
            result = self.check(FewPorts(seed))
            failed = [each for each in result.probes if each.result == "fail"]
            self.assertEqual([each.name for each in failed], ["limit"], failed)
            self.assertRegex(failed[0].finding, "^(.* to )?5 of 10 connections at once")
            self.assertLess(self.clock.seconds() - began, 60.0)

    def test_two_limits_of_connections_are_each_reported_once(self) -> None:
        result = self.check(FewAndSlow())
        failed = [each for each in result.probes if each.result == "fail"]
        self.assertEqual([each.name for each in failed], ["limit", "limit"], result)
        self.assertIn("a limit of open connections", failed[0].cause)
        self.assertIn("a limit of connections a second", failed[1].cause)
        self.assertIn("sizes", {each.name for each in result.probes if each.result == "pass"})

    def test_a_fin_that_is_not_answered(self) -> None:
        (finding,) = self.one(self.failures(Unfinished()), "half-close")
        self.assertIn("all replies came, but no FIN within 10 s", finding)

    def test_a_first_line_that_is_inspected_is_told_and_nothing_else_skipped_for_it(self) -> None:
        result = self.check(Inspecting())
        self.assertTrue(result.ok, result)
        found = {each.name: each for each in result.probes}
        self.assertEqual(found["first-bytes"].result, "info")
        self.assertRegex(found["first-bytes"].finding, r"'~\\n' was answered at once$")
        skipped = {each.name for each in result.probes if each.result == "skip"}
        self.assertEqual(skipped, WITHOUT)

    def test_a_server_that_answers_nothing_is_waited_for_once(self) -> None:
        (finding,) = self.one(self.failures(Discarding(), timeout=10.0), "echo")
        self.assertIn("no answer to '~' within 10 s", finding)
        self.assertLess(self.clock.seconds(), 15.0)

    def one(self, failures: dict[str, str], name: str) -> list[str]:
        """The findings of all failures, of which there is one, of that name."""
        self.assertEqual([*failures], [name], failures)
        return [*failures.values()]
