"""The verdict on a load: a fault of the path is a FAIL, a limit of the generator is INVALID."""

from __future__ import annotations

import pytest

from echosvc.probe.traffic.generator_stats import GeneratorStats
from echosvc.probe.traffic.histogram import Histogram
from echosvc.probe.traffic.tally import FAULTS, Tally
from echosvc.probe.traffic.verdict import Bounds, judge


def answered(latency: float = 0.001) -> Tally:
    """A run in which a message was sent and answered."""
    tally = Tally()
    tally.count_sent(1, 64, 1.0)
    tally.count_answer(1.0, 1.0, 1.0 + latency)
    return tally


def generator(lag: float = 0.0, **known: object) -> GeneratorStats:
    """One at a rate, whose lag was this every time."""
    histogram = Histogram()
    histogram.record(lag)
    return GeneratorStats(**{"at_rate": True, "lag": histogram, **known})


def test_a_clean_run_is_ok_and_says_nothing():
    for stats in (GeneratorStats(), generator(lag=0.000_1)):
        verdict = judge(answered(), stats)
        assert (verdict.word, verdict.exit_status, str(verdict)) == ("OK", 0, "OK")
        assert verdict.reasons == verdict.notes == ()


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_message_is_a_failure_with_its_count(fault):
    for count, word in ((1, "was" if fault in ("lost", "damaged") else "came"), (2, "2 ")):
        tally = answered()
        tally.count(fault, count, 1.0)
        verdict = judge(tally, GeneratorStats())
        assert (verdict.word, verdict.exit_status) == ("FAIL", 1)
        assert word in verdict.why
        assert verdict.why.startswith(f"{count} ")


@pytest.mark.parametrize("cause", ["refused", "reset", "fin", "timeout", "mismatch", "ehostdown"])
def test_each_error_of_a_connection_is_a_failure(cause):
    tally = answered()
    tally.count_error(cause, 1.0)
    verdict = judge(tally, GeneratorStats())
    assert verdict.word == "FAIL"
    assert verdict.why.startswith("1 connection was ")


def test_a_peer_that_takes_nothing_fails():
    verdict = judge(answered(), generator(unsent=3))
    assert str(verdict) == "FAIL: 3 messages were due while the peer took or answered nothing"


@pytest.mark.parametrize("cause", ["ports", "descriptors"])
def test_what_this_machine_has_no_more_of_is_invalid(cause):
    tally = answered()
    tally.count_error(cause, 1.0)
    verdict = judge(tally, GeneratorStats())
    assert (verdict.word, verdict.exit_status) == ("INVALID", 3)
    assert "used up" in verdict.why


@pytest.mark.parametrize(
    ("stats", "word"),
    [
        (generator(lag=0.011), "too late: p99 of its own lag is 11 ms, more than 10 ms"),
        (generator(missed=1), "1 message never left the generator in time"),
        (generator(held=2), "2 messages could not be sent, since too few may be in flight"),
        (generator(lag=0.002, cpu_share=0.97), "97% of a core"),
        (generator(lag=0.002, wait_share=0.5), "waited for a processor 50% of the time"),
        (GeneratorStats(wait_share=0.5), "waited for a processor 50% of the time"),
    ],
)
def test_a_generator_at_its_limit_is_invalid(stats, word):
    verdict = judge(answered(), stats)
    assert verdict.word == "INVALID"
    assert word in verdict.why


def test_a_run_in_which_nothing_was_sent_is_invalid():
    assert str(judge(Tally(), GeneratorStats())) == "INVALID: no message was sent"


def test_other_bounds_may_be_asked_for():
    bounds = Bounds(send_lag=1.0, cpu_wait=1.0)
    assert judge(answered(), generator(lag=0.5), bounds).word == "OK"
    assert judge(answered(), GeneratorStats(wait_share=0.99), bounds).word == "OK"


def test_a_closed_loop_at_full_processor_is_ok_and_says_what_it_measured():
    verdict = judge(answered(), GeneratorStats(cpu_share=0.99))
    assert verdict.word == "OK"
    assert "the server may be faster" in verdict.notes[0]


def test_a_generator_that_is_woken_often_and_is_not_late_is_ok():
    assert judge(answered(), generator(lag=0.0005, wait_share=0.5)).word == "OK"


def test_a_lag_that_is_much_of_the_latency_is_noted():
    verdict = judge(answered(latency=0.003), generator(lag=0.002))
    assert verdict.word == "OK"
    assert "own lag" in verdict.notes[0]


def test_a_fault_of_the_path_counts_more_than_a_limit_of_the_generator():
    tally = answered()
    tally.count("damaged", 1, 1.0)
    verdict = judge(tally, generator(lag=1.0))
    assert verdict.word == "FAIL"
    assert verdict.reasons[0] == "1 reply was damaged"
    assert verdict.reasons[1].startswith("besides, the figures mean nothing")


def test_where_the_figures_mean_nothing_no_note_repeats_the_reason():
    late = judge(answered(latency=0.003), generator(lag=0.5))
    assert (late.word, late.notes) == ("INVALID", ())
    starved = GeneratorStats(wait_share=0.9)
    assert judge(answered(), starved, limits=("a.json: it waited",)).notes == ()
    assert judge(answered(), GeneratorStats(wait_share=0.3)).notes != ()


def test_a_generator_that_stood_still_measured_itself():
    verdict = judge(answered(), generator(paused=1.0) + generator(paused=0.2))
    assert str(verdict) == "INVALID: the generator itself stood still for 1 s"
    assert judge(answered(), generator(paused=0.9)).word == "OK"
