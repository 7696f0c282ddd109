"""Results are merged exactly, and only those that belong together."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from echosvc.probe.traffic.merge import MergeError, RunResult, Shard, merge
from echosvc.probe.traffic.tally import Tally

OPTIONS = {"rate": 100, "size": [64, 64]}


def result(*shards: Shard, latencies: tuple[float, ...] = (0.001,), **changes) -> RunResult:
    tally = Tally(epoch=5000.0)
    tally.count_sent(len(latencies), 64 * len(latencies), 1.0)
    for latency in sorted(latencies):
        tally.count_answer(1.0, 1.0, 1.0 + latency)
    values = {"version": "2.0", "endpoint": "tcp:h:1", "options": OPTIONS, **changes}
    return RunResult(**values, shards=shards, tally=tally)


def names(*results: RunResult) -> list[tuple[str, RunResult]]:
    return [(f"{number}.json", each) for number, each in enumerate(results, 1)]


@given(st.lists(st.floats(0, 10), min_size=4, max_size=40))
@example([0.0, 0.0, 9.0, 9.999999999999998])  # with the epoch this is rounded to a whole second
@settings(deadline=None, max_examples=25)
def test_four_shards_are_one_run(latencies):
    shards = [
        result(Shard(7, index, 4), latencies=tuple(latencies[index::4])) for index in range(4)
    ]
    whole = result(Shard(7, 0, 1), latencies=tuple(latencies))
    merged = merge(names(*shards))
    assert merged.tally == whole.tally
    wanted = (50, 90, 99, 99.9, 99.99)
    assert merged.tally.corrected.percentiles(wanted) == whole.tally.corrected.percentiles(wanted)
    assert merged.missing == {}


def test_the_order_of_results_does_not_matter():
    shards = names(*(result(Shard(7, index, 3), latencies=(index,)) for index in range(3)))
    merged = [merge(order).dump() for order in permutations(shards)]
    assert all(each == merged[0] for each in merged)


def test_a_merged_result_can_be_merged_again():
    one, two, three, four = (result(Shard(7, index, 4)) for index in range(4))
    halves = names(merge(names(one, three)), merge(names(four, two)))
    assert merge(halves).dump() == merge(names(one, two, three, four)).dump()


def test_what_is_loaded_is_what_was_dumped():
    whole = result(Shard(7, 0, 2), Shard((1 << 63) - 1, 1, 2))
    assert RunResult.load(json.loads(json.dumps(whole.dump()))) == whole


def test_runs_of_other_seeds_are_merged():
    assert merge(names(result(Shard(1, 0, 1)), result(Shard(2, 0, 1)))).tally.sent == 2


def test_it_is_known_which_part_of_a_run_is_missing():
    merged = merge(names(result(Shard(7, 0, 4)), result(Shard(7, 1, 4)), result(Shard(8, 0, 1))))
    assert merged.missing == {7: Fraction(1, 2)}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"version": "2.1"}, "1.json and 2.json differ in version: '2.0' and '2.1'"),
        ({"endpoint": "tcp:h:2"}, "differ in endpoint: 'tcp:h:1' and 'tcp:h:2'"),
        ({"options": {"rate": 200, "size": [64, 64]}}, "differ in rate: 100 and 200"),
        ({"options": {"rate": 100}}, r"differ in size: \[64, 64\] and not given"),
        ({"options": {**OPTIONS, "tls": True}}, "differ in tls: not given and True"),
    ],
)
def test_results_that_differ_are_refused(changes, why):
    with pytest.raises(MergeError, match=why):
        merge(names(result(Shard(7, 0, 2)), result(Shard(7, 1, 2), **changes)))


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ((0, 4), (0, 4), "1.json and 2.json overlap: both contain shard 1/4 of seed 7"),
        ((1, 2), (3, 4), "shard 2/2 of seed 7 and shard 4/4 of seed 7 have connections in common"),
        ((0, 2), (1, 3), "shard 1/2 of seed 7 and shard 2/3"),
        ((0, 1), (2, 5), "shard 1/1 of seed 7 and shard 3/5"),
    ],
)
def test_results_that_overlap_are_refused(one, other, why):
    with pytest.raises(MergeError, match=why):
        merge(names(result(Shard(7, *one)), result(Shard(7, *other))))


@given(st.integers(1, 8), st.integers(1, 8), st.data())
@settings(deadline=None)
def test_shards_overlap_where_they_have_a_connection_in_common(one, other, data):
    mine = Shard(1, data.draw(st.integers(0, one - 1)), one)
    yours = Shard(1, data.draw(st.integers(0, other - 1)), other)
    common = set(range(mine.index, 200, one)) & set(range(yours.index, 200, other))
    assert mine.overlaps(yours) == bool(common)


def test_the_same_result_twice_is_refused_though_another_is_between():
    shards = [result(Shard(7, index, 3)) for index in (0, 1, 0)]
    with pytest.raises(MergeError, match=r"1.json and 3.json overlap"):
        merge(names(*shards))


def test_nothing_cannot_be_merged():
    with pytest.raises(MergeError, match="nothing"):
        merge([])


def test_what_is_no_result_is_refused():
    whole = result(Shard(7, 0, 1)).dump()
    changed = [{**whole, "schema": 9}, {**whole, "shards": [1]}, {**whole, "tally": 1}]
    for shard in ([7], [7, 0], [7, 0, 0], [7, 2, 2], [7, -1, 2], ["7", 0, 1], [1 << 63, 0, 1]):
        changed.append({**whole, "shards": [shard]})
    changed += [{**whole, "shards": []}, {**whole, "endpoint": 7}, {**whole, "options": 7}]
    lacking = [{key: whole[key] for key in whole if key != name} for name in whole]
    for wrong in (None, [], {}, *changed, *lacking):
        with pytest.raises(ValueError, match=r"no |format |missing"):
            RunResult.load(wrong)
