"""Prefixes are found as a regular expression would find them, but in linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echosvc.wire.pattern import MAX_TRIES, Match, Pattern, Run
from echosvc.wire.prefix_matching import DIGITS, VISIBLE, prefix_pattern
from echosvc.wire.reply_matching import StreamCounter
from echosvc.wire.template import Template
from tests.support.examples import examples
from tests.support.steps import steps

KIB = 1024


def expression(parts: list[bytes | Run], greedy: bool) -> re.Pattern[bytes]:
    """The same as a regular expression, which backtracks."""
    whole, seen = b"", set()
    for part in parts:
        if isinstance(part, bytes):
            whole += re.escape(part)
            continue
        name = part.name.encode()
        letters = b"".join(b"\\x%02x" % letter for letter in part.allowed)
        some = b"[%s]{1,%d}" % (letters, part.max_length) + (b"" if greedy else b"?")
        if name in seen:
            whole += b"(?P=%s)" % name
        else:
            whole += b"(?P<%s>%s)" % (name, some) if name else some
        seen.add(name or None)
    return re.compile(whole, re.DOTALL)


# Few letters, so that many readings are possible at any place.
literals = st.text("a1-", min_size=1, max_size=3).map(str.encode)
runs = st.builds(
    Run, st.sampled_from((DIGITS, VISIBLE, b"a", b"-1")), st.sampled_from((1, 2, 3, 20))
)
named = st.sampled_from((Run(VISIBLE, 3, "one"), Run(b"-1", 4, "two")))
texts = st.text("a1- ", max_size=24).map(str.encode)


def joined(parts: list[bytes | Run]) -> list[bytes | Run]:
    """No two literals in a row, as templates have them."""
    whole: list[bytes | Run] = []
    for part in parts:
        if isinstance(part, bytes) and whole and isinstance(whole[-1], bytes):
            whole[-1] += part
        else:
            whole.append(part)
    return whole


plain_parts = st.lists(literals | runs, min_size=1, max_size=5).map(joined)
all_parts = st.lists(literals | runs | named, min_size=1, max_size=5).map(joined)


@examples(500)
@given(all_parts, texts)
def test_the_first_and_shortest_is_found_as_by_a_regular_expression(parts, text):
    pattern, oracle = Pattern(parts), expression(parts, greedy=False)
    expected = [
        Match(match.start(), match.end(), match.groupdict()) for match in oracle.finditer(text)
    ]
    assert pattern.find_all(text) == expected


@examples(300)
@given(plain_parts, texts)
def test_the_longest_reading_is_found_where_it_is_asked_for(parts, text):
    oracle = expression(parts, greedy=True)
    expected = [(match.start(), match.end()) for match in oracle.finditer(text)]
    assert [found[:2] for found in Pattern(parts, greedy=True).find_all(text)] == expected


@examples(300)
@given(all_parts, texts)
def test_a_whole_text_is_matched_as_by_a_regular_expression(parts, text):
    pattern, oracle = Pattern(parts), expression(parts, greedy=False)
    match, found = oracle.fullmatch(text), pattern.match_whole(text)
    assert (found and found.fields) == (match and match.groupdict())
    ends = (start for start in range(len(text) + 1) if oracle.fullmatch(text[start:]))
    found = pattern.match_suffix(text)
    assert (found and found.start) == next(ends, None)


def begins(parts: list[bytes | Run], text: bytes) -> bool:
    """Return whether the text is a beginning of what matches, and can still become longer."""
    if not text or not parts:
        return bool(parts)
    part, rest = parts[0], parts[1:]
    if isinstance(part, bytes):
        if text.startswith(part):
            return begins(rest, text[len(part) :])
        return part.startswith(text)
    run = len(text) - len(text.lstrip(part.allowed))
    if run == len(text) < part.max_length:
        return True
    return any(begins(rest, text[size:]) for size in range(1, min(run, part.max_length) + 1))


@examples(300)
@given(plain_parts, texts)
def test_the_longest_beginning_at_the_end_is_found(parts, text):
    sizes = (size for size in range(len(text), 0, -1) if begins(parts, text[-size:]))
    assert Pattern(parts).partial_length(text) == next(sizes, 0)


@examples(300)
@given(plain_parts, texts, st.integers(1, 25))
def test_each_place_is_told_from_the_last_to_the_first(parts, text, starts):
    oracle = expression(parts, greedy=True)
    expected = []
    for start in range(min(starts, len(text) + 1) - 1, -1, -1):
        match = oracle.match(text, start)
        if match or begins(parts, text[start:]):
            expected.append((start, match.end() if match else -1))
    found = Pattern(parts, greedy=True).match_backwards(text, starts)
    assert [each[:2] for each in found] == expected


@given(
    st.text("ab", min_size=1, max_size=3).map(lambda text: text.encode() * 40) | literals,
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=3),
)
def test_literals_that_overlap_are_all_found(literal, pieces):
    """A long one is not searched for anew at each place, but in one pass."""
    text = b"".join(piece.encode() * 100 for piece in pieces)
    places = [at for at in range(len(text)) if text.startswith(literal, at)]
    found = Pattern([literal]).match_backwards(text, len(text))
    assert sorted(each.start for each in found if each.end >= 0) == places
    sizes = (n for n in range(len(literal) - 1, 0, -1) if text.endswith(literal[:n]))
    assert Pattern([literal]).partial_length(text) == next(sizes, 0)


# -- time -------------------------------------------------------------------------------


#: Templates that a regular expression takes for ever with, and a letter that makes it.
HARD = [
    ("{hostname}-{peer}-{local}: ", b"-"),
    ("{hostname}{peer}{local}{tls_peer}: ", b"x"),
    ("{message}" * 12 + "x", b"1"),
    ("{peer} {peer}{local}{hostname}: ", b"1"),
    ("{peer}-{peer}-{local}-{local}: ", b"-"),
    ("{peer}{peer}{peer}{peer}: ", b"-"),
]


@pytest.mark.parametrize(("template", "letter"), HARD)
@pytest.mark.parametrize("end", [b"", b" ", b": "])
def test_steps_are_in_proportion_to_what_came(template, letter, end):
    pattern = prefix_pattern(Template.parse(template))
    few, many = (letter * (size * KIB) + end for size in (4, 16))
    calls = [
        lambda text: pattern.find_all(text),
        lambda text: pattern.match_suffix(text),
        lambda text: pattern.partial_length(text),
        lambda text: list(
            pattern.match_backwards(text[-4 * pattern.max_length :], pattern.max_length)
        ),
    ]
    for call in calls:
        assert steps(lambda: call(many)) <= 5 * steps(lambda: call(few)) + 3 * MAX_TRIES  # noqa: B023


@pytest.mark.parametrize(("template", "letter"), HARD)
def test_a_mebibyte_of_one_letter_is_soon_counted(template, letter):
    began, tally = time.monotonic(), StreamCounter(Template.parse(template))
    tally.send(b"x")
    for _ in range(16):
        tally.feed(letter * (64 * KIB))
    assert not tally.has_extra
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("template", ["p" * 1000, "p" * 500 + "{message}" + "p" * 500])
def test_steps_do_not_grow_with_the_square_of_the_prefix(template):
    """Whatever the sizes of the reads are, and where most of the prefix comes again and again."""

    def counted(times: int, size: int) -> int:
        parsed = Template.parse(template.replace("p", "p" * times))
        stream = (parsed.render(1)[:-1] + parsed.render(2) + b"q") * 2

        def count() -> None:
            tally = StreamCounter(parsed)
            tally.send(b"q" * 10)
            for start in range(0, len(stream), size):
                tally.feed(stream[start : start + size])
            assert tally.payload > 0

        return steps(count)

    for size in (1, 100, 64 * KIB):
        assert counted(8, size) <= 10 * counted(1, size) + 1000


def test_every_byte_is_looked_at_a_few_times_however_small_the_reads_are():
    prefix = b"p" * 1000

    def fed() -> None:
        tally = StreamCounter(Template.literal(prefix))
        for _ in range(100_000):
            tally.feed(b"p")
        assert tally.payload == 0

    assert steps(fed) <= 100_000 * 12


def test_fields_that_occur_twice_are_tried_a_bounded_number_of_times():
    """Where each occurrence fits by itself, and no two of them are the same."""
    template = Template.parse("{peer}-{local}-{hostname}-{peer}-{local}-{hostname}: ")
    text = b"-".join(b"%x" % number for number in range(1000, 1300)) + b": "
    pattern = prefix_pattern(template)
    for call in (
        pattern.find_all,
        pattern.match_suffix,
        lambda text: pattern.match_whole(text[-600:]),
    ):
        assert steps(lambda: call(text)) <= 20 * MAX_TRIES + 2000  # noqa: B023
    honest = text + b"here-there-yonder-here-there-yonder: "
    assert pattern.find_all(honest[-37:])[0].fields == {
        "peer": b"here", "local": b"there", "hostname": b"yonder",
    }  # fmt: skip


def test_a_long_prefix_that_overlaps_itself_is_soon_found():
    began, pattern = time.monotonic(), prefix_pattern(Template.parse("p" * 50_000 + "{message}"))
    for _ in range(4):
        assert len(pattern.find_all(b"p" * (256 * KIB) + b"1")) == 1
        assert pattern.partial_length(b"p" * (256 * KIB)) == 50_000
    assert time.monotonic() - began < 30
