"""What the connections of one path share."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from echosvc.probe.engine.context import ProbeContext
from echosvc.probe.engine.verifier import Verifier
from echosvc.probe.settings import CheckSettings
from echosvc.wire.prefix_matching import PrefixMatcher
from echosvc.wire.template import Template


class ProbeContextTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.context = ProbeContext(Clock(), CheckSettings())

    def verifier(self, size: int) -> tuple[Verifier, bytes]:
        """A verifier that is tracked, and what must come back."""
        payload = self.context.payload(size)
        verifier = self.context.track(Verifier(payload, PrefixMatcher(Template.literal(b""))))
        return verifier, payload.at(0, size)

    def test_no_payload_is_sent_twice(self) -> None:
        payloads = {self.context.payload(64).at(0, 64) for _ in range(100)}
        self.assertEqual(len(payloads), 100)

    def test_two_paths_send_different_payloads(self) -> None:
        other = ProbeContext(Clock(), CheckSettings())
        self.assertNotEqual(self.context.payload(64).at(0, 64), other.payload(64).at(0, 64))

    def test_a_payload_keeps_to_the_framing_and_to_what_is_excluded(self) -> None:
        lines = ProbeContext(Clock(), CheckSettings(framing="line"))
        data = lines.payload(4096, excluded=b"ab").at(0, 4096)
        self.assertTrue(data.endswith(b"\n"))
        self.assertFalse(set(b"ab") & set(data))

    def test_a_payload_of_another_size_has_the_same_bytes(self) -> None:
        payload = self.context.payload(100_000, numbered=True)
        self.assertEqual(payload.resized(70_000).at(0, 70_000), payload.at(0, 70_000))
        self.assertEqual(payload.resized(70_000).size, 70_000)

    def test_bytes_that_came_back_right_are_counted_over_all_connections(self) -> None:
        for size in (100, 23):
            verifier, data = self.verifier(size)
            verifier.feed(data)
        self.assertEqual(self.context.verified_bytes(), 123)
        self.context.forget_verifiers()
        self.assertEqual(self.context.verified_bytes(), 0)

    def test_after_one_wrong_byte_nothing_counts(self) -> None:
        right, data = self.verifier(100)
        right.feed(data)
        wrong, data = self.verifier(100)
        wrong.feed(bytes((data[0] ^ 1,)))
        self.assertEqual(self.context.verified_bytes(), 0)
