"""The size from which on packets are dropped is found to the byte, and told from other limits."""

from __future__ import annotations

from typing import Any

from echosvc.probe.causes.path_mtu import LongMessageLost, explain_by_path_mtu
from echosvc.probe.causes.registry import Cause
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.size_limit import Answer, SizeLimit
from tests.support.memory_network import SEGMENT, MemoryConnection, MemoryServer, NetworkTestCase

FAILED = Failed("the stream stopped", fault=Fault(FaultKind.CUT, 0, 5000), end="silence")


class Narrow(MemoryServer):
    """Behind a link that drops longer segments. What is behind them waits for them for ever.

    :param segment: the longest one that passes, bytes.
    :param most: bytes of a connection that pass, in whatever segments.
    """

    def __init__(self, segment: int, most: int = 1 << 30) -> None:
        super().__init__()
        self.segment, self.most = segment, most

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        super().received(connection, data)
        if min(connection.segment, len(data)) > self.segment or connection.taken > self.most:
            connection.mute()


class Short(MemoryServer):
    """Answers short messages alone."""

    def __init__(self, size: int, most: int = 1 << 30) -> None:
        super().__init__()
        self.size, self.most = size, most

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        super().received(connection, data)
        if len(data) > self.size or connection.taken > self.most:
            connection.mute()


class Truncating(MemoryServer):
    """Answers the first bytes of each message."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        connection.answer(data[:1000])


class Ending(Narrow):
    """The same, but the longest segments are answered by FIN."""

    def received(self, connection: MemoryConnection, data: bytes) -> None:
        super().received(connection, data)
        if len(data) > connection.segment == SEGMENT:
            connection.cut()


class PathMTUTests(NetworkTestCase):
    def explain(self, server: MemoryServer, failed: Failed = FAILED) -> Any:
        self.searched = self.path(server)
        return self.result(explain_by_path_mtu(self.searched, failed))

    def test_the_longest_segment_is_found_to_the_byte_and_kept(self) -> None:
        for segment in (536, 1199, 1200, 1360, 1459):
            cause = self.explain(Narrow(segment))
            self.assertEqual((cause.name, cause.avoidable, cause.final), ("path-mtu", True, False))
            self.assertEqual(cause.facts["max_packet"], segment + 40)
            self.assertRegex(
                cause.finding,
                f"^packets of more than {segment + 40} bytes are dropped, and no report of it"
                f" arrives: .* come back with an MSS of {segment}, not with {segment + 1} or more",
            )
            self.assertIn(f"clamp the MSS to {segment} ", cause.advice)
            self.assertEqual(self.searched.context.knowledge.max_segment, segment)
            again = self.result(explain_by_path_mtu(self.searched, FAILED))
            self.assertIsNone(again)  # it is avoided: there is another cause

    def test_where_no_stream_passes_in_small_segments_nothing_more_can_be_asked(self) -> None:
        cause = self.explain(Narrow(1300, most=20_000))
        self.assertEqual((cause.name, cause.avoidable, cause.final), ("path-mtu", False, True))
        self.assertEqual(self.searched.context.knowledge.max_segment, 0)
        again = self.result(explain_by_path_mtu(self.searched, FAILED))
        self.assertEqual(again, cause)

    def test_what_becomes_of_segments_that_are_one_byte_too_long_is_told(self) -> None:
        cause = self.explain(Ending(1200))
        self.assertEqual((cause.name, cause.facts["max_segment"]), ("path-mtu", 1200))
        self.assertEqual(cause.facts["direction"], "unknown")  # there is no kernel

    def test_a_limit_of_messages_is_found_to_the_byte_and_no_mtu(self) -> None:
        cause = self.explain(Short(1000))
        self.assertEqual((cause.name, cause.final), ("message-size", True))
        self.assertRegex(cause.finding, "^messages of up to 1000 bytes are answered, longer ones")
        self.assertEqual(cause.facts["max_message"], 1000)

    def test_messages_of_which_the_first_bytes_come_back_are_called_answered(self) -> None:
        cause = self.explain(Truncating())
        self.assertEqual((cause.name, cause.final), ("message-size", True))
        self.assertRegex(cause.finding, "of longer ones the first 1000 bytes come back,")
        self.assertNotIn("MTU", cause.advice)

    def test_a_limit_of_bytes_is_none_of_their_size(self) -> None:
        self.assertIsNone(self.explain(Short(1000, most=1500)))
        knowledge = self.searched.context.knowledge
        self.assertTrue(knowledge.size_is_no_cause)
        self.assertEqual(knowledge.max_segment, 0)

    def test_where_a_long_message_is_answered_there_is_another_cause(self) -> None:
        self.assertIsNone(self.explain(MemoryServer()))

    def test_what_is_not_silence_in_a_stream_is_another_cause(self) -> None:
        lost = Fault(FaultKind.LOST, 7, 1)
        for failed in (
            Failed("then came FIN", fault=FAILED.fault, end="FIN"),
            Failed("1 byte lost", fault=lost, end="silence"),
            Failed("no answer", end="silence"),
        ):
            self.assertIsNone(self.explain(Narrow(1200), failed))

    def test_the_direction_is_told_as_far_as_it_is_known(self) -> None:
        for answer, size, words, name in (
            (Answer.DROPPED, 3000, "ours are dropped: none is acknowledged", "path-mtu"),
            (Answer.SILENCE, 3000, "ours arrive, the replies are dropped", "path-mtu"),
            (Answer.UNKNOWN, 3000, "in which direction is not known here", "path-mtu"),
            (Answer.UNCONNECTED, 3000, "even the handshake of TLS is dropped", "path-mtu"),
            (Answer.DROPPED, 0, "dropped on the way to the next hop", "path-mtu"),
            (Answer.SILENCE, 0, "messages of up to 1300 bytes are answered", "message-size"),
        ):
            limit = SizeLimit(1300, size, answer, 40)
            cause: Cause = self.explain(Narrow(1300), LongMessageLost("no answer", limit))
            self.assertEqual(cause.name, name)
            self.assertIn(words, cause.finding)
            self.assertTrue(cause.final)
