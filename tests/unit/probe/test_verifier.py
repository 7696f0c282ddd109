"""Any single loss, repetition, swap or change in any stream is found and named."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.engine.diagnosis import diagnose
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.payload import LINE_SIZE, AnyPayload, FixedPayload, Payload
from echosvc.probe.engine.verifier import WINDOW, Verifier
from echosvc.wire.compare import common_prefix_length
from echosvc.wire.prefix_matching import PrefixMatcher, match_template
from echosvc.wire.template import Template
from tests.support.examples import examples
from tests.support.steps import steps

NONE = PrefixMatcher(Template.literal(b""))
SENDING = PrefixMatcher(Template.literal(b"Sending: "))
NUMBERED = PrefixMatcher(Template.parse("#{message}> "))


def verified(
    payload: AnyPayload, mark: PrefixMatcher, pieces: list[bytes], message_size: int = 0
) -> Verifier:
    verifier = Verifier(payload, mark, message_size)
    for piece in pieces:
        verifier.feed(piece)
    return verifier


def whole(payload: AnyPayload) -> bytes:
    return payload.at(0, payload.size)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


def replayed(sent: bytes, fault: Fault) -> bytes:
    """What would have come, had just this happened."""
    at, size = fault.offset, fault.length
    if fault.kind is FaultKind.CUT:
        return sent[:at]
    if fault.kind is FaultKind.LOST:
        return sent[:at] + sent[at + size :]
    if fault.kind is FaultKind.REPEATED:
        return sent[:at] + sent[fault.origin : fault.origin + size] + sent[at:]
    if fault.kind is FaultKind.REORDERED:
        late, early = sent[at : at + size], sent[at + size : at + size + fault.early]
        assert fault.origin == at + size
        return sent[:at] + early + late + sent[at + size + fault.early :]
    assert fault.kind in (FaultKind.CHANGED, FaultKind.INSERTED)
    skip = size if fault.kind is FaultKind.CHANGED else 0
    assert size <= len(fault.seen)
    return sent[:at] + fault.seen[:size] + sent[at + skip :]


@dataclass
class Damage:
    """One thing that happens to a stream."""

    kind: FaultKind
    start: int
    size: int
    more: int

    def do(self, sent: bytes) -> bytes:
        a = self.start % len(sent)
        b = min(len(sent), a + self.size)
        c = min(len(sent), b + self.more)
        if self.kind is FaultKind.LOST:
            return sent[:a] + sent[b:]
        if self.kind is FaultKind.REPEATED:
            return sent[:b] + sent[a:b] + sent[b:]
        if self.kind is FaultKind.REORDERED:
            return sent[:a] + sent[b:c] + sent[a:b] + sent[c:]
        return sent[:a] + bytes((sent[a] ^ 0x40,)) + sent[a + 1 :]


KINDS = (FaultKind.LOST, FaultKind.REPEATED, FaultKind.REORDERED, FaultKind.CHANGED)
damages = st.builds(
    Damage,
    st.sampled_from(KINDS),
    st.integers(0, 1 << 20),
    st.integers(1, 3000),
    st.integers(1, 3000),
)
cuts = st.lists(st.integers(0, 1 << 20), max_size=8)


@given(st.binary(min_size=1, max_size=3000), cuts)
def test_what_comes_back_whole_is_complete(sent, places):
    verifier = verified(FixedPayload(sent), NONE, cut(sent, places))
    assert verifier.complete
    assert verifier.end() is None
    assert verifier.received == len(sent)


@given(st.integers(1, 5000), cuts)
def test_lines_without_a_prefix_are_complete_however_they_are_cut(size, places):
    payload = Payload(size, 1, lines=True)
    assert verified(payload, NONE, cut(whole(payload), places), message_size=LINE_SIZE).complete


@given(st.binary(min_size=1, max_size=300), damages, cuts)
@examples(500)
def test_whatever_the_bytes_are_a_fault_is_found_and_explains_what_came(sent, damage, places):
    came = damage.do(sent)
    verifier = verified(FixedPayload(sent), NONE, cut(came, places))
    fault = verifier.end()
    assert (fault is None) == (came == sent)
    if fault is not None:
        assert fault.explained
        if fault.length <= len(fault.seen) or fault.kind is not FaultKind.CHANGED:
            assert replayed(sent, fault) == came


@given(st.integers(1, 200_000), st.integers(0, 99), damages, cuts)
@examples(300)
def test_in_our_payloads_every_fault_has_its_name_and_place(size, seed, damage, places):
    payload = Payload(size, seed)
    sent = whole(payload)
    came = damage.do(sent)
    verifier = verified(payload, NONE, cut(came, places))
    fault = verifier.end()
    if came == sent:
        assert fault is None
        return
    assert replayed(sent, fault) == came
    if min(damage.size, damage.more, size - damage.start % size) > 8:
        at_end = damage.kind is FaultKind.LOST and came == sent[: len(came)]
        assert fault.kind is (FaultKind.CUT if at_end else damage.kind)


@given(st.data())
@examples(300)
def test_prefixes_may_stand_anywhere_and_hide_nothing(data):
    mark = data.draw(st.sampled_from((SENDING, NUMBERED)))
    payload = Payload(data.draw(st.integers(100, 20_000)), excluded=mark.boundary_bytes)
    sent = whole(payload)
    damage = data.draw(st.none() | damages)
    came = damage.do(sent) if damage else sent
    marked = b"".join(
        (b"Sending: " if mark is SENDING else b"#%d> " % number) + piece
        for number, piece in enumerate(cut(came, data.draw(cuts)))
    )
    verifier = verified(payload, mark, cut(marked, data.draw(cuts)))
    fault = verifier.end()
    if came == sent:
        assert fault is None
    elif (
        damage.kind is FaultKind.CHANGED
        and sent[damage.start % len(sent)] ^ 0x40 in mark.boundary_bytes
    ):
        assert fault is not None
    else:
        assert replayed(sent, fault) == came


few = st.lists(st.sampled_from(b"abc"), min_size=1, max_size=60).map(bytes)
short = st.lists(st.sampled_from(b"abc"), min_size=1, max_size=4).map(bytes)


@given(few, short, cuts, cuts)
@examples(500)
def test_a_payload_that_looks_like_the_prefix_is_not_accused(sent, prefix, places, others):
    mark = PrefixMatcher(Template.literal(prefix))
    if prefix in sent and len(prefix) > 1:
        return
    marked = b"".join(prefix + piece for piece in cut(sent, places))
    verifier = verified(FixedPayload(sent), mark, cut(marked, others))
    assert verifier.end() is None


@given(st.integers(1, 5), st.integers(1, 2000), cuts, damages)
def test_length_frames_are_marks_too(count, size, places, damage):
    mark = PrefixMatcher(Template.literal(b"> "), frozenset((size,)))
    payload = Payload(count * size)
    frames = b"".join(
        (size + 2).to_bytes(4, "big") + b"> " + payload.at(number * size, size)
        for number in range(count)
    )
    assert verified(payload, mark, cut(frames, places), size).complete
    came = damage.do(frames)
    fault = verified(payload, mark, cut(came, places), size).end()
    assert (fault is None) == (came == frames)


@given(st.integers(1, 5), cuts, damages)
def test_each_line_has_its_mark_and_no_other_place(count, places, damage):
    payload = Payload(count * LINE_SIZE - 100, excluded=SENDING.boundary_bytes, lines=True)
    sent = whole(payload)
    lines = b"".join(b"Sending: " + line + b"\n" for line in sent.split(b"\n")[:-1])
    assert verified(payload, SENDING, cut(lines, places), LINE_SIZE).complete
    came = damage.do(lines)
    fault = verified(payload, SENDING, cut(came, places), LINE_SIZE).end()
    assert (fault is None) == (came == lines)


def test_a_reply_without_its_mark_is_named():
    payload = Payload(500, excluded=SENDING.boundary_bytes)
    fault = verified(payload, SENDING, [whole(payload)]).end()
    assert (fault.kind, fault.offset, fault.length) == (FaultKind.UNMARKED, 0, 9)


def test_a_long_stream_is_judged_before_its_end():
    payload = Payload(2 * WINDOW)
    sent = whole(payload)
    verifier = Verifier(payload, NONE)
    verifier.feed(sent[:1000])
    verifier.feed(sent[1700 : 1700 + WINDOW])
    assert (verifier.fault.kind, verifier.fault.offset) == (FaultKind.LOST, 1000)
    assert verifier.fault.length == 700


def test_a_stream_that_stops_is_cut():
    fault_of = Verifier(Payload(100 * 1024 * 1024), NONE)
    fault_of.feed(Payload(100 * 1024 * 1024).at(0, 65536))
    fault = fault_of.end()
    assert (fault.kind, fault.offset, fault.length) == (FaultKind.CUT, 65536, 104857600 - 65536)


def test_a_prefix_that_was_damaged_is_foreign_bytes():
    payload = Payload(500, excluded=SENDING.boundary_bytes)
    verifier = verified(
        payload, SENDING, [b"Sending: " + payload.at(0, 100), b"Senxing: " + payload.at(100, 400)]
    )
    fault = verifier.end()
    assert (fault.kind, fault.offset, fault.length) == (FaultKind.INSERTED, 100, 9)
    assert fault.seen.startswith(b"Senxing: ")


def test_a_loss_across_a_prefix_is_a_loss():
    payload = Payload(500, excluded=SENDING.boundary_bytes)
    for left in (b"Send", b"ing: "):
        verifier = verified(
            payload, SENDING, [b"Sending: " + payload.at(0, 100) + left + payload.at(130, 370)]
        )
        fault = verifier.end()
        assert (fault.kind, fault.offset, fault.length) == (FaultKind.LOST, 100, 30)


def test_a_mark_without_a_reply_is_foreign():
    payload = Payload(500, excluded=SENDING.boundary_bytes)
    mark = b"Sending: "
    for came, offset in (
        ([mark + payload.at(0, 100) + mark + mark + payload.at(100, 400)], 100),
        ([mark, payload.at(0, 100), mark, mark, payload.at(100, 400)], 100),
        ([mark + whole(payload) + mark], 500),
    ):
        fault = verified(payload, SENDING, came).end()
        assert (fault.kind, fault.offset, fault.length) == (FaultKind.INSERTED, offset, 9)
    fault = verified(payload, SENDING, [mark + whole(payload) + b"Send"]).end()
    assert (fault.kind, fault.offset, fault.length) == (FaultKind.INSERTED, 500, 4)


def test_a_block_of_other_bytes_is_a_change():
    payload = Payload(100_000)
    sent = whole(payload)
    others = bytes(byte ^ 0xFF for byte in sent[5000:9096])
    fault = verified(payload, NONE, [sent[:5000] + others + sent[9096:]]).end()
    assert (fault.kind, fault.offset, fault.length) == (FaultKind.CHANGED, 5000, 4096)


def test_a_stream_that_stops_in_a_mark_is_cut():
    payload = Payload(500, excluded=SENDING.boundary_bytes)
    fault = verified(payload, SENDING, [b"Sending: " + payload.at(0, 100) + b"Sendi"]).end()
    assert (fault.kind, fault.offset, fault.length) == (FaultKind.CUT, 100, 400)


def test_a_fault_can_be_judged_before_much_has_come():
    payload = Payload(50_000)
    verifier = verified(payload, NONE, [payload.at(0, 100) + payload.at(107, 1000)])
    assert verifier.fault is None
    verifier.diagnose_now()
    assert (verifier.fault.kind, verifier.fault.offset) == (FaultKind.LOST, 100)


def test_all_of_it_twice_is_a_repetition():
    payload = Payload(500)
    fault = verified(payload, NONE, [whole(payload) * 2]).end()
    assert (fault.kind, fault.offset, fault.length, fault.origin) == (
        FaultKind.REPEATED,
        500,
        500,
        0,
    )


@given(st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=50))
def test_agreeing_counts_the_common_beginning(common, one, other):
    count = common_prefix_length(common + one, common + other)
    assert count >= len(common)
    assert (common + one)[:count] == (common + other)[:count]
    assert (common + one)[count : count + 1] != (common + other)[count : count + 1] or count in (
        len(common + one),
        len(common + other),
    )


def verifying(mark: PrefixMatcher, count: int, message_size: int, size: int) -> int:
    """Count the steps of verifying messages with a prefix before each, ``size`` bytes at a time."""
    payload = Payload(count, excluded=mark.boundary_bytes)
    sent, prefix = whole(payload), mark.literal or b""
    stream = b"".join(prefix + sent[at : at + message_size] for at in range(0, count, message_size))
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]

    def count_steps() -> None:
        assert verified(payload, mark, pieces).complete

    return steps(count_steps)


def test_verifying_takes_steps_in_proportion_to_what_came():
    """However often the server puts in its prefix, however small the reads are."""
    for message_size, size in ((1, 65536), (1, 1), (1000, 1), (1000, 65536)):
        few, many = (verifying(SENDING, count, message_size, size) for count in (1000, 4000))
        assert many <= 5 * few + 1000


def test_verifying_takes_steps_in_proportion_to_the_prefix():
    """Also where it is cut into single bytes, and where much of it comes in vain."""
    for text in ("p", "p{message}"):
        counts = []
        for length in (500, 2000):
            mark = PrefixMatcher(Template.parse(text.replace("p", "p" * length)))
            payload = Payload(200, excluded=mark.boundary_bytes)
            reply = b"p" * length + b"7" * (mark.literal is None)
            stream = reply + payload.at(0, 100) + reply + payload.at(100, 100)
            stream += b"p" * (length - 1) + b"q"
            pieces = [stream[at : at + 1] for at in range(len(stream))]

            def count_steps(payload=payload, mark=mark, pieces=pieces) -> None:
                assert verified(payload, mark, pieces).end() is not None

            counts.append(steps(count_steps))
        assert counts[1] <= 6 * counts[0]


def test_what_begins_like_many_parts_of_a_mark_is_diagnosed_a_few_times():
    mark = PrefixMatcher(Template.literal(b"p" * 64))
    payload = Payload(100_000, excluded=mark.boundary_bytes)
    verifier = verified(payload, mark, [b"p" * 64 + payload.at(0, 50_000)])
    with mock.patch("echosvc.probe.engine.verifier.diagnose", wraps=diagnose) as diagnosed:
        verifier.feed(b"p" * 63 + payload.at(0, 1000)[::-1])
        assert verifier.end().kind is FaultKind.GARBLED
    assert 1 < diagnosed.call_count <= 10


class TestPayload:
    def test_any_part_of_it_can_be_had(self):
        payload = Payload(200_000, seed=5)
        data = whole(payload)
        assert len(data) == 200_000
        for offset, size in (
            (0, 1),
            (65535, 2),
            (65536, 65536),
            (199_999, 9),
            (200_000, 1),
            (-5, 7),
        ):
            start = max(0, offset)
            assert payload.at(offset, size) == data[start : start + size]

    def test_what_it_must_not_have_does_not_occur(self):
        data = whole(Payload(100_000, excluded=b"S0123"))
        assert not set(data) & set(b"S0123")
        assert len(set(data)) == 251

    def test_without_limits_it_has_every_byte(self):
        assert len(set(whole(Payload(10_000)))) == 256

    def test_lines_end_where_they_should(self):
        data = whole(Payload(70_000, lines=True))
        lines = data.split(b"\n")
        assert (lines[-1], {len(line) for line in lines[:-2]}) == (b"", {1023})

    def test_stamps_count(self):
        payload = Payload(200_000, numbered=True)
        assert payload.at(64 * 2000, 8) == b"00002000"

    def test_another_seed_is_another_stream(self):
        assert whole(Payload(100, 1)) != whole(Payload(100, 2))


class TestBound:
    def test_fields_are_learned_and_the_message_number_stays(self):
        template = match_template(
            Template.parse("{hostname} {connection}/{message}: "), b"blue 7/1: "
        )
        assert PrefixMatcher(template).match(b"blue 7/12: x", 0) == 11
        assert PrefixMatcher(template).match(b"blue 8/12: x", 0) is None

    def test_what_is_no_such_prefix_is_refused(self):
        assert match_template(Template.parse("{message}: "), b"x: ") is None
