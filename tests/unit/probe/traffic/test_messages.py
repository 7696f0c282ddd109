"""Each message is unique, is made again from its number, and contains no excluded byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echosvc.probe.traffic.messages import (
    BEGINNING,
    KEY_SIZE,
    MAX_SIZE,
    NUMBER_SIZE,
    NUMBERS,
    RING_SIZE,
    STAMP_SIZE,
    Messages,
    Ring,
    Rings,
)

RING = Ring(7, 100_000)
LINES = Ring(7, 4096, b"S0123456789", lines=True)
LONG_LINES = Ring(7, 10_000, lines=True)

numbers = st.integers(0, NUMBERS - 1)


@given(numbers, st.integers(0, 1 << 30))
@settings(deadline=None)
def test_a_message_names_its_number(number, connection):
    for ring in (RING, LINES):
        messages = Messages(ring, connection, 64)
        message = messages.make(number)
        assert len(message) == 64
        assert message.startswith(messages.key)
        assert messages.number_in(message[:STAMP_SIZE]) == number


@given(numbers)
@settings(deadline=None)
def test_no_message_contains_an_excluded_byte(number):
    message = Messages(LINES, 3, 200).make(number)
    assert message.endswith(b"\n")
    assert not set(message[:-1]) & set(b"S0123456789\n")


@given(numbers, st.integers(0, NUMBER_SIZE - 1), st.integers(0, 255))
@settings(deadline=None, max_examples=150)
def test_a_stamp_with_a_changed_byte_names_no_message_near(number, place, byte):
    messages = Messages(RING, 1, 64)
    stamp = bytearray(messages.make(number)[:STAMP_SIZE])
    before = bytes(stamp)
    stamp[KEY_SIZE + place] = byte
    other = messages.number_in(bytes(stamp))
    if bytes(stamp) != before and other >= 0:
        assert min((other - number) % NUMBERS, (number - other) % NUMBERS) > 10_000_000


def test_no_change_of_a_letter_leads_to_a_near_number():
    messages = Messages(RING, 1, 64)
    zero = messages.make(0)[:STAMP_SIZE]
    for place in range(KEY_SIZE, STAMP_SIZE):
        for letter in RING.letters[1:]:
            other = messages.number_in(zero[:place] + bytes((letter,)) + zero[place + 1 :])
            assert min(other, NUMBERS - other) > 10_000_000


@given(st.integers(16, 5000), st.integers(0, 3000), numbers)
@settings(deadline=None)
def test_sizes_are_between_the_shortest_and_the_longest(least, more, number):
    message = Messages(RING, 1, least, least + more).make(number)
    assert least <= len(message) <= least + more


def test_sizes_are_spread_evenly():
    messages = Messages(RING, 1, 16, 115)
    sizes = [len(messages.make(number)) for number in range(10_000)]
    counts = [sizes.count(size) for size in range(16, 116)]
    assert min(counts) > 80
    assert max(counts) < 120


@given(numbers, st.integers(17, 9000), st.integers(0, 500))
@settings(deadline=None)
def test_a_message_begins_as_it_is_said(number, least, more):
    for ring in (RING, LONG_LINES):
        messages = Messages(ring, 2, least, least + more)
        beginning = messages.begin(number)
        assert messages.make(number).startswith(beginning)
        assert len(beginning) == min(least - ring.lines, BEGINNING)


def test_messages_of_connections_and_of_seeds_differ():
    rings = Ring(1, 64), Ring(2, 64)
    made = {
        Messages(ring, connection, 16).make(number)
        for ring in rings
        for connection in range(50)
        for number in range(20)
    }
    assert len(made) == 2000


def test_a_message_may_be_longer_than_the_ring():
    ring = Ring(1, 3 * RING_SIZE)
    assert len(Messages(ring, 1, 3 * RING_SIZE).make(NUMBERS - 1)) == 3 * RING_SIZE


def test_sizes_out_of_range_are_refused():
    for size in (15, MAX_SIZE + 1):
        with pytest.raises(ValueError, match="16 to 16777216 bytes"):
            Ring(1, size)
    with pytest.raises(ValueError, match="17 to 4096 bytes, not 16"):
        Messages(LINES, 1, 16)
    with pytest.raises(ValueError, match="not 64-32"):
        Messages(RING, 1, 64, 32)


def test_a_ring_needs_bytes_that_are_not_excluded():
    with pytest.raises(ValueError, match="too few"):
        Ring(1, 64, bytes(set(range(256)) - set(b"abc")))


def test_a_ring_is_made_once_for_each_set_of_bytes():
    rings = Rings(1, 64)
    assert rings.get(b"v1") is rings.get(b"1vv")
    other = rings.get(b"w")
    assert other is not rings.get(b"v1")
    assert (other.excluded, b"w" in other.data) == (b"w", False)
    assert Rings(1, 64, lines=True).get().excluded == b"\n"
