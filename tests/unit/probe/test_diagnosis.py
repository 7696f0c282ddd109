"""Several faults of one kind are never taken for another kind."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import example, given
from hypothesis import strategies as st

from echosvc.probe.engine.diagnosis import diagnose
from echosvc.probe.engine.fault import MIN_AGREEMENT, SAMPLE_SIZE, Fault, FaultKind
from echosvc.probe.engine.findings import describe_fault
from echosvc.probe.engine.payload import FixedPayload, Payload
from echosvc.probe.engine.verifier import CONTEXT, WINDOW, Verifier
from echosvc.wire.prefix_matching import PrefixMatcher
from echosvc.wire.template import Template
from tests.support.examples import examples
from tests.support.steps import steps

NO_PREFIX = PrefixMatcher(Template.literal(b""))


def fault_of(payload: Payload, came: bytes) -> Fault | None:
    """What the verifier of a payload finds once all that came has come."""
    verifier = Verifier(payload, NO_PREFIX)
    verifier.feed(came)
    return verifier.end()


@dataclass(frozen=True)
class Damage:
    """What happens to the bytes behind a run of right ones."""

    right: int
    size: int
    other: int

    def do(self, kind: FaultKind, sent: bytes, place: int) -> tuple[bytes, int]:
        """What comes, and how many bytes of what was sent it stands for."""
        a = place + self.right
        b, c = a + self.size, a + self.size + self.other
        right, piece, next_one = sent[place:a], sent[a:b], sent[b:c]
        if kind is FaultKind.LOST:
            return right, b - place
        if kind is FaultKind.REPEATED:
            return right + piece + piece, b - place
        if kind is FaultKind.REORDERED:
            return right + next_one + piece, c - place
        if kind is FaultKind.CHANGED:
            return right + bytes(byte ^ 0x55 for byte in piece), b - place
        foreign = random.Random(1 << 80 | a).randbytes(self.size)
        return right + foreign, a - place


def damaged(kind: FaultKind, sent: bytes, damages: list[Damage]) -> tuple[bytes, int]:
    """What comes, and where the first fault begins."""
    came, place = b"", 0
    for damage in damages:
        piece, used = damage.do(kind, sent, place)
        came, place = came + piece, place + used
    first = damages[0].right + damages[0].size * (kind is FaultKind.REPEATED)
    return came + sent[place:], first


KINDS = (
    FaultKind.LOST,
    FaultKind.REPEATED,
    FaultKind.REORDERED,
    FaultKind.CHANGED,
    FaultKind.INSERTED,
)


def damages(nearest: int, smallest: int) -> st.SearchStrategy[list[Damage]]:
    distances = st.one_of(st.integers(nearest, nearest + 30), st.integers(nearest, 5000))
    sizes = st.one_of(st.integers(smallest, smallest + 8), st.integers(smallest, 2000))
    return st.lists(st.builds(Damage, distances, sizes, sizes), min_size=2, max_size=8)


#: How close together two faults may be so that their kind is still certain, bytes; and how short
#: they may be. A repeated byte beside another is an inserted one, too.
NEAREST = {
    FaultKind.LOST: (1, 1),
    FaultKind.CHANGED: (1, 1),
    FaultKind.INSERTED: (1, 3),
    FaultKind.REPEATED: (MIN_AGREEMENT, 1),
    FaultKind.REORDERED: (MIN_AGREEMENT, 3),
}


@given(st.sampled_from(KINDS), st.booleans(), st.data())
@examples(50)
def test_several_faults_of_one_kind_are_of_that_kind(kind, final, data):
    some = data.draw(damages(*NEAREST[kind]))
    payload = Payload(150_000 if final else 2 * WINDOW, data.draw(st.integers(0, 99)))
    sent = payload.at(0, payload.size)
    came, first = damaged(kind, sent, some)
    verifier = Verifier(payload, NO_PREFIX)
    verifier.feed(came if final else came[: WINDOW + 80_000])
    fault = verifier.end() if final else verifier.fault
    assert fault.kind is kind
    assert fault.explained
    assert first - 16 <= fault.offset <= first + 16
    assert 1 <= fault.count <= len(some)


def test_a_move_that_another_one_follows_closely_is_a_move():
    """One byte is right by chance, so too few agree between the two."""
    payload = Payload(2 * WINDOW, 0)
    moves = [Damage(31, 3, 1430), Damage(MIN_AGREEMENT, 3, 3)]
    came, first = damaged(FaultKind.REORDERED, payload.at(0, payload.size), moves)
    fault = fault_of(payload, came)
    assert (fault.kind, fault.offset, fault.explained) == (FaultKind.REORDERED, first, True)


def doubled(value: int, sent: bytes) -> bytes:
    return sent.replace(bytes((value,)), bytes((value, value)))


@example(0, 219)
@example(184, 1376)  # some of them stand so that a piece of three may be the second copy
@given(st.integers(0, 255), st.integers(0, 1000))
@examples(40)
@example(25, 979)  # there are 0x38 0x19 0x38 0x19: what comes next is due, and repeated, too
def test_a_value_that_is_doubled_is_never_out_of_order(value, seed):
    payload = Payload(20_000, seed)
    sent = payload.at(0, payload.size)
    fault = fault_of(payload, doubled(value, sent))
    first = sent.index(bytes((value,)))
    assert fault.kind is FaultKind.REPEATED
    assert (fault.length, fault.explained) == (1, True)
    assert first < fault.offset <= first + 3  # a few of them in a row are all wrong at once
    assert sent[fault.origin] == value


@given(st.sampled_from(KINDS), st.data())
@examples(100)
def test_what_is_shown_stands_at_the_offset(kind, data):
    payload = Payload(20_000, data.draw(st.integers(0, 99)))
    sent = payload.at(0, payload.size)
    came, _ = damaged(kind, sent, data.draw(damages(1, 1)))
    fault = fault_of(payload, came)
    if fault is not None:
        assert fault.before == sent[max(0, fault.offset - CONTEXT) : fault.offset]
        assert fault.expected == sent[fault.offset : fault.offset + SAMPLE_SIZE]
        assert fault.seen == came[fault.offset : fault.offset + SAMPLE_SIZE]


def test_a_swap_may_begin_with_bytes_that_are_right_by_chance():
    payload = Payload(5000)
    head, late, early, tail = (payload.at(start, 50) for start in (0, 100, 200, 300))
    sent = head + b"==" + late + b"==" + early + tail
    came = head + b"==" + early + b"==" + late + tail
    verifier = Verifier(FixedPayload(sent), NO_PREFIX)
    verifier.feed(came)
    fault = verifier.end()
    assert (fault.kind, fault.offset, fault.length) == (FaultKind.REORDERED, 50, 52)
    assert (fault.before, fault.expected, fault.seen) == (head[-8:], sent[50:66], came[50:66])


def test_a_fault_that_is_not_alone_says_so():
    payload = Payload(50_000)
    sent = payload.at(0, payload.size)
    came = sent[:1000] + sent[1007:2000] + b"<html>" + sent[2000:]
    fault = fault_of(payload, came)
    assert (fault.kind, fault.offset, fault.length) == (FaultKind.LOST, 1000, 7)
    assert not fault.explained
    words, _ = describe_fault(fault, "", b"")
    assert words.startswith("7 bytes lost at offset 1000, and more is wrong behind it: after ")


def test_the_number_of_faults_is_told():
    payload = Payload(50_000)
    sent = payload.at(0, payload.size)
    fault = fault_of(payload, sent[:1000] + sent[1007:2000] + sent[2003:3000] + sent[3001:])
    assert (fault.kind, fault.offset, fault.length) == (FaultKind.LOST, 1000, 7)
    assert (fault.explained, fault.count) == (True, 3)
    words, _ = describe_fault(fault, "", b"")
    assert words.startswith("7 bytes lost at offset 1000, the first of at least 3 such faults: ")


def test_a_few_bytes_prove_nothing_as_long_as_more_may_come():
    payload = Payload(50_000)
    for few in (b"\0", b"\0\0\0"):
        verifier = Verifier(payload, NO_PREFIX)
        verifier.feed(payload.at(0, 100) + few)
        verifier.diagnose_now()
        assert verifier.fault.kind is FaultKind.GARBLED
        _, cause = describe_fault(verifier.fault, "silence", b"")
        assert cause == "too few bytes came to tell what happened to them"


def test_a_few_other_bytes_before_the_end_are_no_loss_of_all_the_rest():
    """They occur in it by chance."""
    payload = Payload(60_000)
    fault = fault_of(payload, payload.at(0, 1000) + b"ERR")
    assert (fault.kind, fault.explained) == (FaultKind.GARBLED, False)
    words, cause = describe_fault(fault, "FIN", b"")
    assert words.startswith("the stream is wrong from offset 1000 on: after ")
    assert words.endswith("; then came FIN")
    assert cause == "too few bytes came to tell what happened to them"
    sent = payload.at(0, payload.size)
    fault = fault_of(payload, sent[:1000] + sent[1010:59_990] + b"no echo" * 1000)
    assert (fault.kind, fault.explained) == (FaultKind.LOST, False)


def test_many_short_faults_are_no_accidents():
    payload = Payload(60_000)
    fault = fault_of(payload, payload.at(0, payload.size).replace(b"a", b""))
    assert fault.kind is FaultKind.LOST
    _, cause = describe_fault(fault, "", b"")
    assert cause.startswith("a middlebox, or the server, treats certain bytes as text")


def test_bytes_that_are_rewritten_here_and_there_are_changed():
    """So that hardly any two in a row are right."""
    payload = Payload(2 * WINDOW)
    came = bytes(byte & 0x7F for byte in payload.at(0, WINDOW))
    verifier = Verifier(payload, NO_PREFIX)
    verifier.feed(came)
    assert (verifier.fault.kind, verifier.fault.explained) == (FaultKind.CHANGED, True)


def test_the_search_is_bounded_whatever_came():
    """The blocks of what was due come in any order, so that each is found and none goes on."""
    sent = bytes(range(256)) * 16
    blocks = [sent[at : at + 8] for at in range(0, 256, 8)]

    def look(count: int) -> int:
        seen = b"\xff" + b"".join(blocks[at * 7 % 32] + b"?" for at in range(count))
        return steps(lambda: diagnose(b"", sent, seen, 0, final=False))

    assert look(20_000) <= 2 * look(5_000)


LETTERS = FixedPayload(
    bytes(random.Random(7).choices(b"abcdefghijklmnopqrstuvwxyz0123456789", k=432))
)


@given(st.permutations(range(97, 123)))
@examples(50)
def test_a_translation_of_letters_is_no_move_of_bytes(table):
    sent = LETTERS.at(0, LETTERS.size)
    fault = fault_of(LETTERS, bytes(table[byte - 97] if byte >= 97 else byte for byte in sent))
    assert fault is None or fault.kind is FaultKind.CHANGED


def test_a_permutation_names_no_moved_piece_that_may_stand_there_by_chance():
    """Of a stream that comes back reversed, a few bytes always agree somewhere."""
    for seed in range(20):
        payload = Payload(400, seed)
        fault = fault_of(payload, payload.at(0, payload.size)[::-1])
        assert fault is not None
        assert fault.early == 0
        finding = describe_fault(fault, "", b"")[0]
        assert "came before" not in finding
        assert "400 bytes from offset 0 on came in another order" in finding
