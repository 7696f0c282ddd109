"""The result of a load as text."""

from __future__ import annotations

from hypothesis import given

from echosvc.probe.traffic.generator_stats import GeneratorStats
from echosvc.probe.traffic.histogram import Histogram
from echosvc.probe.traffic.merge import Shard
from echosvc.probe.traffic.tally import Tally
from echosvc.reports.load_text import load_text
from tests.unit.reports.load_samples import NOON, break_it, result, tally_of
from tests.unit.reports.samples import TEXTS


def test_the_verdict_comes_first_with_its_reasons() -> None:
    lines = load_text(result(break_it(tally_of(5)), lag=0.02)).splitlines()
    assert lines[0] == "tcp:lb.example:9000: FAIL"
    assert lines[1] == "  1 message was lost"
    assert "  1 connection was refused" in lines
    reason = "  besides, the figures mean nothing: the generator sent too late: "
    assert any(line.startswith(reason) for line in lines)
    assert load_text(result(lag=0.02)).startswith("tcp:lb.example:9000: INVALID\n  the generator")


def test_servers_are_named_where_there_are_several() -> None:
    found = result()
    found.tally.servers.update({"v1:": 8})
    assert "servers" not in load_text(found)
    found.tally.servers.update({"v2\n": 1200})
    assert "\nservers   'v2\\n' 1,200, 'v1:' 8\n" in load_text(found)
    found.tally.servers.update(f"s{number}" for number in range(20))
    (line,) = (each for each in load_text(found).splitlines() if each.startswith("servers"))
    assert (line.count(","), line[-3:]) == (11, ", …")


def test_a_good_run_is_four_lines_and_a_table() -> None:
    text = load_text(result())
    assert text.startswith(
        "tcp:lb.example:9000: OK\n\n"
        "rate      20/s, 1.25 KiB/s received, over 5 s\n"
        "messages  100 sent, 100 answered, 0 lost\n"
        "errors    none; 10 connections opened\n\n"
    )
    rows = [line.split("  ")[0] for line in text.splitlines()[7:]]
    assert rows == ["corrected", "uncorrected", "send lag", "connect", "first byte"]
    head, corrected = text.splitlines()[6:8]
    assert head.split() == ["p50", "p90", "p99", "p99.9", "p99.99", "max", "values"]
    assert corrected.split()[-1] == "100"
    assert len({len(line) for line in text.splitlines()[6:]}) == 1


def test_everything_that_was_sent_is_accounted_for() -> None:
    tally = tally_of(5)
    tally.sent += 9
    tally.abandoned += 4
    assert "109 sent, 100 answered, 0 lost, 4 given up, 5 owed" in load_text(result(tally))
    broken = load_text(result(break_it(tally_of(5))))
    assert "1 lost, 1 duplicated, 1 reordered, 1 damaged, 1 late" in broken
    assert "errors    1 refused, 1 reset; 10 connections opened" in broken


def test_what_limits_the_figures_is_said() -> None:
    text = load_text(result(interrupted=True, shards=(Shard(7, 0, 4),), warmup=1.0))
    assert text.startswith("tcp:lb.example:9000: OK (interrupted)\n")
    assert "  note: the run was ended before its time\n" in text
    assert "  note: 3/4 of the run of seed 7 is missing\n" in text
    assert "over 5 s with 1 s of warm-up" in text
    many = tuple(Shard(seed, 0, 2) for seed in range(9))
    assert "  note: parts of 6 other runs are missing\n" in load_text(result(shards=many))


def test_a_run_that_sent_nothing_has_no_figures() -> None:
    text = load_text(result(Tally(), failure="nothing answers"))
    assert text == "tcp:lb.example:9000: FAIL\n  nothing answers\n  no message was sent\n"


def test_a_distribution_without_values_is_shown_as_such() -> None:
    tally = tally_of(5)
    tally.first_byte = Histogram()
    last = load_text(result(tally)).splitlines()[-1]
    assert last.split() == ["first", "byte", "-", "-", "-", "-", "-", "-", "0"]


def test_without_a_rate_there_is_no_send_lag() -> None:
    closed = result(generator=GeneratorStats(at_rate=False))
    assert "send lag" not in load_text(closed)
    assert "send lag" in load_text(result())


@given(TEXTS)
def test_a_text_of_a_peer_changes_no_line(text: str) -> None:
    tally = tally_of(1)
    tally.errors[text] += 1
    shown = load_text(result(tally, endpoint=text, failure=f"it said {text}"))
    assert all(line.isprintable() for line in shown.splitlines())
    assert len(shown.split("\n")) == 15


def test_attempts_that_failed_are_no_part_of_the_connections_that_were_opened() -> None:
    tally = tally_of(5)
    for _ in range(12):
        tally.count_error("refused", 1.0)
    assert "errors    12 refused; 10 connections opened\n" in load_text(result(tally))


def test_where_nothing_came_no_bytes_are_shown() -> None:
    tally = Tally(epoch=NOON)
    tally.count_sent(1, 64, 0.0)
    assert "rate      0/s, 0 B/s received, over 5 s\n" in load_text(result(tally))
