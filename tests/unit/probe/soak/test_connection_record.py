"""Whatever happens to a connection, its gaps are apart, and each begins and ends where it must."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.soak.connection_record import ConnectionRecord, End
from echosvc.probe.soak.result import Gap
from tests.support.examples import examples

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["answer", "silence", "cut", "owing", "fail", "open"]), st.integers(1, 5)
    ),
    max_size=40,
)


def run(steps) -> tuple[list[Gap], list[int], int]:
    """The gaps, the moments of all answers, and the last moment."""
    record, gaps, answers, now, noticed = ConnectionRecord(1, 0), [], [], 0, 0
    for what, seconds in steps:
        now += seconds
        since = max([now - 2, 0, *answers[-1:]])
        if not record.is_open and what == "fail":
            noticed += record.fail("refused", noticed + 1)
        elif not record.is_open and what == "open":
            answers.append(now)
            gaps += filter(None, [record.open("here", "there", "v1", now)])
        elif not record.is_open:
            continue
        elif what == "answer":
            answers.append(now)
            gaps += filter(None, [record.answer(len(answers), now)])
        elif what == "silence":
            noticed += record.is_silent(since, noticed + 1)
        elif what in ("cut", "owing"):
            end = End("fin", since=since if what == "owing" else None)
            noticed += record.end(end, noticed + 1, now)
    gaps += filter(None, [record.finish(now)])
    assert [gap.number for gap in gaps] == list(range(1, noticed + 1))
    return gaps, answers, now


@given(STEPS)
@examples(400)
def test_gaps_are_apart_and_no_answer_comes_in_one(steps):
    gaps, answers, last = run(steps)
    ended = 0.0
    for gap in gaps:
        assert ended <= gap.began <= gap.began + gap.seconds <= last
        ended = gap.began + gap.seconds
        assert not [each for each in answers if gap.began < each < ended]
        assert (ended in answers) == gap.answered


@given(STEPS)
@examples(400)
def test_the_time_since_the_last_answer_is_known(steps):
    gaps, answers, _ = run(steps)
    for gap in gaps:
        before = [each for each in answers if each <= gap.began]
        ended = gap.began + gap.seconds
        assert gap.since_answer == (ended - before[-1] if before else None)
        assert gap.last == -1 or before


def test_a_second_silence_or_failure_is_part_of_the_open_gap():
    record = ConnectionRecord(1, 0)
    record.open("here", "there", "v1", 1)
    assert record.is_silent(2, 1)
    assert not record.is_silent(2, 2)
    assert not record.end(End("reset", since=2), 2, 4)
    assert not record.fail("refused", 2)
    assert (record.gap_began, record.gap_cause) == (2, "silence")
