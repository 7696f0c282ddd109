"""Outages are the groups of gaps that overlap, however late each gap is noticed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from echosvc.probe.soak.outages import OutageRecord, begun_together, overlap
from echosvc.probe.soak.result import Gap, Outage
from tests.support.examples import examples

#: How late a gap is noticed at most, and how close "the same moment" is.
DELAY, MOMENT = 5, 1
TOTAL = 4
#: For each connection: how long it is answered, how long it is not, how late that is noticed.
TURNS = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 30), st.integers(0, DELAY)), max_size=6
)
CONNECTIONS = st.lists(TURNS, min_size=TOTAL, max_size=TOTAL)


def gaps_of(connections) -> list[tuple[Gap, int]]:
    """Each gap, and when it is noticed."""
    found = []
    for connection, turns in enumerate(connections, 1):
        now = 0
        for answered, silent, late in turns:
            began, now = now + answered, now + answered + silent
            if silent > 0:
                gap = Gap(0, connection, began, silent, "fin" if connection % 2 else "silence")
                found.append((gap, began + min(late, silent)))
    return found


def outages_of(noticed: list[tuple[Gap, int]]) -> list[tuple[Outage, list[Gap]]]:
    """What the record makes of gaps that are noticed, and end, in the order of time."""
    record, outages = OutageRecord(TOTAL, DELAY, MOMENT), []
    members: dict[int, list[Gap]] = defaultdict(list)
    changes = [(when, 0, at) for at, (_, when) in enumerate(noticed)]
    changes += [(gap.began + gap.seconds, 1, at) for at, (gap, _) in enumerate(noticed)]
    for when, ends, at in sorted(changes):
        gap = noticed[at][0]
        outages.append(record.advance(when))
        if ends:
            record.end(gap)
        else:
            record.begin(gap.began)
            members[record.number].append(gap)
    outages.append(record.finish())
    return [(each, members[each.number]) for each in outages if each is not None]


@given(CONNECTIONS)
@examples(400)
def test_gaps_that_overlap_are_one_outage_and_those_far_apart_are_not(connections):
    noticed = gaps_of(connections)
    outages = outages_of(noticed)
    assert sum(len(group) for _, group in outages) == len(noticed)
    over = -1.0
    for number, (outage, group) in enumerate(outages, 1):
        group.sort(key=lambda gap: gap.began)
        assert (outage.number, outage.gaps) == (number, len(group))
        assert outage.began == group[0].began > over
        over = group[0].began
        for gap in group:
            assert gap.began <= over + DELAY
            over = max(over, gap.began + gap.seconds)
        assert outage.began + outage.seconds == over
        assert outage.connections == len({gap.connection for gap in group})
        assert sum(outage.causes.values()) == len(group)


@given(CONNECTIONS)
@examples(200)
def test_what_was_at_once_is_what_counting_each_moment_gives(connections):
    gaps = [gap for gap, _ in gaps_of(connections)]
    moments: dict[float, int] = defaultdict(int)
    for gap in gaps:
        for half in range(int(2 * gap.seconds)):
            moments[gap.began + half / 2] += 1
    most, all_out = overlap([(gap.began, gap.began + gap.seconds) for gap in gaps], TOTAL)
    assert all_out == sum(0.5 for count in moments.values() if count == TOTAL)
    assert most >= max(moments.values(), default=0)
    began = [gap.began for gap in gaps]
    assert begun_together(began, MOMENT) == max(
        (sum(first <= each <= first + MOMENT for each in began) for first in began), default=0
    )


def test_gaps_that_only_touch_are_one_outage():
    assert overlap([(1, 2), (2, 3)], 2) == (2, 0)
    noticed = [(Gap(0, 1, 1, 1, "fin"), 1), (Gap(0, 2, 2, 1, "fin"), 2)]
    ((outage, _),) = outages_of(noticed)
    assert outage.gaps == 2


def test_an_outage_of_all_connections_that_had_no_answer_is_known_as_one():
    noticed = [(Gap(0, each, 1, 4, "refused", answered=False), 1) for each in range(1, TOTAL + 1)]
    ((outage, _),) = outages_of(noticed)
    assert not outage.ever_answered
    ((fewer, _),) = outages_of(noticed[1:])
    assert fewer.ever_answered
    for known in ({"answered": True}, {"since_answer": 0.5}):
        some = [(replace(noticed[0][0], **known), 1), *noticed[1:]]
        ((outage, _),) = outages_of(some)
        assert outage.ever_answered
