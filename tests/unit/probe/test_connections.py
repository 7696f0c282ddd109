"""The probe of many connections accuses another connection only of what is that one's."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from echosvc.probe.checks.connections import concurrent_connections
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import CAUSES, Failed, describe_fault
from echosvc.probe.engine.payload import Payload
from echosvc.probe.engine.verifier import Verifier
from echosvc.wire.prefix_matching import PrefixMatcher
from echosvc.wire.template import Template

MIXED = "they are another connection's: a middlebox mixes connections up"
COUNT = 3
#: What a path does to a payload, given the next connection's.
Path = Callable[[bytes, bytes], bytes]


class ProbeConnection:
    """A connection in memory over such a path."""

    def __init__(self, path: Memory) -> None:
        self.path, self.prefix_matcher = path, PrefixMatcher(Template.literal(b""))

    async def exchange(self, payload: Payload) -> None:
        at = self.path.payloads.index(payload)
        other = self.path.payloads[(at + 1) % COUNT]
        verifier = Verifier(payload, self.prefix_matcher)
        verifier.feed(self.path.carry(payload.at(0, payload.size), other.at(0, other.size)))
        if fault := verifier.end():
            raise Failed(*describe_fault(fault, "", b""), fault=fault)


class Memory:
    """What the probe needs of a path; its payloads depend on the seed alone."""

    def __init__(self, carry: Path, seed: int) -> None:
        self.carry, self.seed, self.payloads = carry, seed, []
        self.settings = SimpleNamespace(connections=COUNT)

    def allowed(self, count: int) -> int:
        return count

    async def open_many(self, count: int) -> list[ProbeConnection]:
        return [ProbeConnection(self) for _ in range(count)]

    def payload(self, size: int, connection: ProbeConnection) -> Payload:
        self.seed += 1
        self.payloads.append(Payload(size, self.seed))
        return self.payloads[-1]


def eat(own: bytes, other: bytes) -> bytes:
    return own.replace(b"\0", b"")


class ConnectionsTests(SynchronousTestCase):
    def failure_of(self, carry: Path, seed: int = 1) -> Failed:
        path: Any = Memory(carry, seed)
        return self.failureResultOf(
            Deferred.fromCoroutine(concurrent_connections(path)), Failed
        ).value

    def test_a_path_that_carries_all_passes(self) -> None:
        path: Any = Memory(lambda own, other: own, 1)
        finding = self.successResultOf(Deferred.fromCoroutine(concurrent_connections(path)))
        self.assertEqual(finding.facts, {"connections": COUNT})

    def test_a_value_that_is_eaten_is_no_other_connections(self) -> None:
        """Each of them is lost, those that stand close together, too."""
        for seed in range(10):
            failed = self.failure_of(eat, seed)
            self.assertEqual(failed.fault.expected[:1], b"\0")
            self.assertNotEqual(failed.cause, MIXED, seed)
            self.assertIs(failed.fault.kind, FaultKind.LOST)

    def test_what_is_of_the_own_stream_is_no_other_connections(self) -> None:
        ways: dict[FaultKind, Path] = {
            FaultKind.LOST: lambda own, other: own[:1000] + own[2000:],
            FaultKind.REPEATED: lambda own, other: own[:1000] + own[500:],
            FaultKind.REORDERED: lambda own, other: (
                own[:1000] + own[2000:3000] + own[1000:2000] + own[3000:]
            ),
            FaultKind.GARBLED: lambda own, other: own[:1000] + own[2000:2030] + own[9000:9500],
        }
        for kind, carry in ways.items():
            failed = self.failure_of(carry)
            self.assertEqual(failed.cause, CAUSES[failed.fault.kind], kind)

    def test_bytes_of_another_connection_are_named(self) -> None:
        ways: list[Path] = [
            lambda own, other: other,
            lambda own, other: own[:1000] + other[1000:],
            lambda own, other: own[:1000] + other[5000:5100] + own[1000:],
            lambda own, other: own[:1000] + other[5000:5100] + own[1100:],
        ]
        for number, carry in enumerate(ways):
            self.assertEqual(self.failure_of(carry).cause, MIXED, number)

    def test_a_few_bytes_are_no_other_connections(self) -> None:
        failed = self.failure_of(lambda own, other: own + other[:7])
        self.assertEqual((failed.fault.kind, len(failed.fault.seen)), (FaultKind.INSERTED, 7))
        self.assertEqual(failed.cause, CAUSES[FaultKind.INSERTED])
