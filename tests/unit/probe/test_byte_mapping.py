"""A change of values is the cause of a fault only if it predicts what came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.causes.byte_mapping import explains, read_contents
from echosvc.probe.causes.known_mappings import apply_changes, explain_changes, list_changes
from echosvc.probe.causes.translation import read_translation, shuffled_values
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.knowledge import Knowledge
from echosvc.probe.engine.payload import Payload
from echosvc.probe.engine.verifier import Verifier
from echosvc.wire.prefix_matching import PrefixMatcher
from echosvc.wire.template import Template
from tests.support.examples import examples

NO_PREFIX = PrefixMatcher(Template.literal(b""))
values = st.integers(0, 255).map(lambda value: bytes((value,)))
changes = st.dictionaries(values, st.binary(max_size=3), min_size=1, max_size=4).map(
    lambda given: {value: came for value, came in given.items() if came != value}
)


def fault_of(payload: Payload, came: bytes) -> Fault | None:
    verifier = Verifier(payload, NO_PREFIX)
    verifier.feed(came)
    return verifier.end()


@given(changes, st.integers(0, 99))
@examples(100)
def test_a_stream_whose_values_are_changed_is_explained(changed, seed):
    payload = Payload(5000, seed)
    fault = fault_of(payload, apply_changes(changed, payload.at(0, payload.size)))
    assert (fault is None) == (not changed)
    if fault is not None:
        assert explains(changed, fault)


@given(st.integers(0, 10_000), st.sampled_from(("replace", "ignore")))
@examples(100)
def test_a_stream_that_is_decoded_is_explained_though_some_of_it_is_valid(seed, errors):
    """A value that is changed by itself is not changed in the middle of a character."""
    payload = Payload(3000, seed)
    came = payload.at(0, payload.size).decode("utf-8", errors).encode()
    changed = {
        bytes((value,)): bytes((value,)).decode("utf-8", errors).encode()
        for value in range(128, 256)
    }
    fault = fault_of(payload, came)
    assert fault is not None
    assert explains(changed, fault)


@given(st.integers(0, 4000), st.integers(1, 900), st.integers(0, 99))
@examples(100)
def test_another_fault_is_not_explained_by_it(start, size, seed):
    """The path changes 0xff always, but the bytes that are lost are others."""
    payload = Payload(5000, seed, excluded=b"\xff")
    sent = payload.at(0, payload.size)
    fault = fault_of(payload, sent[:start] + sent[start + size :])
    assert fault is not None
    assert not explains({b"\xff": b"\xff\xff"}, fault)


def test_a_stream_that_ends_early_is_explained_where_only_changed_values_are_missing():
    changed = {b"\xc3": b"\xef\xbf\xbd", b"\r": b""}
    cut = Fault(FaultKind.CUT, 100, 2, before=b"before", expected=b"\xc3\r")
    assert explains(changed, cut)
    assert not explains(changed, Fault(FaultKind.CUT, 100, 2, expected=b"\xc3a"))
    assert not explains(changed, Fault(FaultKind.CUT, 100, 5000, expected=b"\xc3" * 16))


def test_what_is_known_to_make_the_changes_is_named():
    line_ends = "line ends are translated on the path, or by the server"
    assert explain_changes({b"\r": b"\n", b"\n": b"\r\n"}) == line_ends
    assert explain_changes({b"\r\n": b"\n"}) == line_ends
    assert explain_changes({b"\r": b"\r\0"}) == "NUL is added to CR: a middlebox speaks Telnet"
    both = explain_changes({b"\n": b"\r\n", b"\xff": b"\xff\xff"})
    assert both == f"{line_ends}; 0xff is doubled: a middlebox speaks Telnet"
    unknown = "a middlebox, or the server, interprets the bytes as text or as commands"
    assert explain_changes({b"\n": b"\r\n", b"B": b"C"}) == unknown


def test_the_changes_are_counted_and_the_first_are_listed():
    one = "1 of 256 values does not come back as it was sent: 0x0d comes as nothing"
    assert list_changes({b"\r": b""}) == one
    many = {bytes((value,)): b"?" for value in range(5)}
    assert list_changes(many) == (
        "5 of 256 values do not come back as they were sent:"
        " 0x00 comes as 3f, 0x01 comes as 3f, 0x02 comes as 3f, and 2 more"
    )
    pair = "all values come back as they were sent, but not as pairs: 0d 0a comes as 0a"
    assert list_changes({b"\r\n": b"\n"}) == pair


def test_payloads_avoid_both_line_ends_if_one_is_changed():
    assert Knowledge().avoided == b""
    assert Knowledge(changed_values={255: b"", 0: b""}).avoided == b"\0\xff"
    assert Knowledge(changed_values={13: b""}).avoided == b"\n\r"
    assert Knowledge(changed_pairs={b"\r\n": b"\n"}).avoided == b"\n\r"
    assert Knowledge(trimmed=b" \t").avoided == b"\t "


def changed(found: dict[int, bytes]) -> dict[bytes, bytes]:
    """What is changed of the values a, b, c and d, of which each was sent with a z behind it."""
    known = read_contents([b"a", b"b", b"c", b"d"], found, b"z")
    return {value: came for value, came in known.items() if value != came}


def test_a_value_is_not_accused_where_the_answer_was_cut():
    for last in (b"", b"c", b"cz"):
        assert changed({0: b"az", 1: b"bz", 2: last}) == {}
    assert changed({0: b"az", 1: b"bz", 2: b"cc"}) == {b"c": b"cc"}
    assert changed({0: b"z", 1: b"bz", 2: b"cz"}) == {b"a": b""}


def test_a_value_is_not_accused_where_a_mark_was_changed():
    """The content before it goes on with others."""
    assert changed({0: b"azxxbz", 3: b"dz"}) == {}
    assert changed({0: b"Qzxxbz", 3: b"dz"}) == {b"a": b"Q"}
    assert changed({0: b"a@", 1: b"b@", 2: b"c@", 3: b"d@"}) == {}


def test_what_stands_behind_the_last_letter_is_the_end_of_a_line():
    assert changed({0: b"AZ", 1: b"BZ\r\n", 2: b"z", 3: b"dz", 4: b""}) == {
        b"a": b"A",
        b"b": b"B",
        b"c": b"",
    }


ORDERS = tuple(map(shuffled_values, (1, 2)))


@given(st.permutations(range(256)))
@examples(20)
def test_a_translation_is_read_from_all_values_in_two_orders(table):
    came = [order.translate(bytes(table)) for order in ORDERS]
    changed = {bytes((value,)): bytes((table[value],)) for value in range(256)}
    assert read_translation(ORDERS, came) == {a: b for a, b in changed.items() if a != b}


def test_what_is_no_translation_of_single_bytes_changes_no_value():
    for change in (
        lambda data: data[::-1],
        lambda data: data[128:] + data[:128],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: bytes(byte ^ place for place, byte in enumerate(data)),
    ):
        assert read_translation(ORDERS, [change(order) for order in ORDERS]) == {}


def test_a_table_of_single_values_is_named_for_what_it_does():
    ebcdic = {
        bytes((value,)): bytes((value,)).decode("cp037").encode("latin-1") for value in range(256)
    }
    words = "bytes are translated by a table, as between character sets (EBCDIC), or encrypted"
    assert explain_changes({a: b for a, b in ebcdic.items() if a != b}) == words
    moved = {b"a": b"n", b"b": b"o", b"Z": b"M"}
    assert explain_changes(moved) == "letters are moved by 13 places in the alphabet (ROT13)"
