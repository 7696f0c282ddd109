"""Results of load are merged exactly, and their verdict is no better than that of any part."""

from __future__ import annotations

import json
from itertools import permutations

import pytest

from echosvc.probe.traffic.load_result import LoadResult, merge_loads
from echosvc.probe.traffic.merge import MergeError, Shard
from echosvc.probe.traffic.tally import COUNTERS, HISTOGRAMS
from tests.unit.reports.load_samples import break_it, result, tally_of

PERCENTILES = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0)


def shard(index: int, total: int = 4, lag: float = 0.0001, seed: int = 7, **more) -> LoadResult:
    tally = tally_of(4, rate=50, shard=index, shards=total)
    return result(tally, (Shard(seed, index, total),), lag, **more)


def named(*results: LoadResult) -> list[tuple[str, LoadResult]]:
    return [(f"{number}.json", each) for number, each in enumerate(results, 1)]


def test_four_shards_equal_one_run() -> None:
    merged = merge_loads(named(*(shard(index) for index in range(4))))
    whole = shard(0, 1)
    for name in COUNTERS:
        assert getattr(merged.tally, name) == sum(
            getattr(shard(index).tally, name) for index in range(4)
        )
    for name in ("corrected", "uncorrected", "send_lag"):
        assert getattr(merged.tally, name).total == getattr(whole.tally, name).total == 200
    assert {each: second.sent for each, second in merged.tally.series.items()} == {
        each: second.sent for each, second in whole.tally.series.items()
    }
    assert (merged.run.missing, merged.seconds) == ({}, 5.0)
    assert merged.messages_per_second == whole.messages_per_second


def test_merged_percentiles_are_those_that_hdrhistogram_says_of_the_sum() -> None:
    shards = [shard(index) for index in range(4)]
    merged = merge_loads(named(*shards))
    for name in HISTOGRAMS:
        summed = getattr(shards[0].tally, name).to_hdr()
        for each in shards[1:]:
            summed.add(getattr(each.tally, name).to_hdr())
        found, largest = getattr(merged.tally, name), getattr(merged.tally, name).largest
        assert found.percentiles(PERCENTILES) == {
            each: min(summed.get_value_at_percentile(each), largest) for each in PERCENTILES
        }


def test_what_is_merged_can_be_merged_again_in_any_order() -> None:
    parts = [
        shard(0, 2),
        shard(1, 2),
        shard(0, 2, seed=8, seconds=9.0),
        shard(1, 2, lag=1.0, seed=8),
    ]
    merged = merge_loads(named(*parts))
    assert (merged.seconds, len(merged.spans)) == (14.0, 2)
    for one, two, three, four in permutations(named(*parts)):
        halves = (("a", merge_loads([one, two])), ("b", merge_loads([three, four])))
        assert merge_loads(halves) == merged
    assert LoadResult.load(json.loads(json.dumps(merged.dump()))) == merged


def test_a_backlog_takes_its_time_in_the_rate_of_what_is_merged_too() -> None:
    parts = [shard(0, 2, answering=8.0), shard(1, 2, answering=10.0)]
    merged = merge_loads(named(*parts))
    assert (parts[0].messages_per_second, merged.messages_per_second) == (100 / 8, 200 / 10)
    other = shard(0, 1, seed=8, answering=1.0)  # quicker than its five seconds
    assert merge_loads(named(merged, other)).messages_per_second == 400 / 15


def test_one_part_that_is_invalid_makes_all_invalid_and_is_named() -> None:
    late = shard(3, lag=0.02)
    assert late.verdict.word == "INVALID"
    good = [shard(index, lag=0.0001) for index in range(3)]
    merged = merge_loads(named(*good, late))
    assert merged.generator.lag_p99 < 0.03
    assert (merged.verdict.word, merged.verdict.exit_status) == ("INVALID", 3)
    assert merged.verdict.why.startswith("4.json: the generator sent too late: p99 of its own lag")
    again = merge_loads([("all.json", merged), ("other.json", shard(0, 1, seed=8))])
    assert again.verdict.why == merged.verdict.why


def test_few_late_messages_of_one_shard_are_not_hidden_by_the_others() -> None:
    """Summed up, the lag of the late one is above the 99th percentile."""
    busy = shard(0, 2)
    for _ in range(100_000):
        busy.generator.lag.record(0.0001)
    merged = merge_loads(named(busy, shard(1, 2, lag=0.02)))
    assert merged.generator.lag_p99 < 0.001
    assert merged.verdict.word == "INVALID"


def test_a_fault_of_one_part_is_a_fault_of_all_whatever_the_generators_were() -> None:
    broken = shard(0, 2)
    break_it(broken.tally)
    merged = merge_loads(named(broken, shard(1, 2, lag=0.02)))
    assert merged.verdict.word == "FAIL"
    assert "besides, the figures mean nothing: 2.json: the generator" in merged.verdict.why
    again = merge_loads([("all.json", merged), ("other.json", shard(0, 1, seed=8))])
    assert again.verdict.reasons == merged.verdict.reasons


def test_a_part_that_was_ended_early_or_sent_nothing_is_not_forgotten() -> None:
    merged = merge_loads(named(shard(0, 2), shard(1, 2, interrupted=True)))
    assert (merged.interrupted, merged.ok) == (True, False)
    failed = merge_loads(named(shard(0, 2), shard(1, 2, failure="nothing answers")))
    assert failed.verdict.word == "FAIL"
    assert failed.verdict.reasons[0] == "nothing answers"


def test_results_that_do_not_belong_together_are_refused_by_name() -> None:
    with pytest.raises(MergeError, match=r"1.json and 2.json overlap: both contain shard 1/4"):
        merge_loads(named(shard(0), shard(0)))
    with pytest.raises(MergeError, match=r"1.json and 2.json differ in version: '2.0' and '2.1'"):
        merge_loads(named(shard(0), shard(1, version="2.1")))
