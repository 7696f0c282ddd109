"""Figures, tables and targets of the benchmarks are right."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import chart, compare, document, lineup, quiet, table, targets, workloads
from benchmarks.cli import choose, parser, too_many
from benchmarks.figures import ratio, summarize
from benchmarks.measure import Sample, read_report
from benchmarks.process import BenchmarkError, environment, processors
from benchmarks.profiling import by_line
from benchmarks.profiling import summarize as summarize_profile
from benchmarks.quiet import Watch, busy, pace
from benchmarks.results import Results
from benchmarks.rounds import IMPORT, Bench, quietest, wanting
from tests.support.benchmarks import report
from tests.support.process import ROOT, need
from tests.support.waiting import LIMIT


def test_the_cost_is_the_servers_time_for_each_message():
    sample = read_report(report(), "ping")
    assert sample.cost == pytest.approx(10.0)  # µs
    assert sample.rate == pytest.approx(2000)
    assert not sample.limited


def test_the_cost_of_a_stream_is_for_each_gib():
    sample = read_report(report(size=1 << 29, messages=1), "bulk")
    assert sample.cost == pytest.approx(20.0)  # ms
    assert sample.rate == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("client", "server", "limited"),
    [(0.5, 0.3, True), (0.5, 0.49, False), (0.4, 0.3, False)],
)
def test_a_client_without_a_rest_is_the_bottleneck(client, server, limited):
    assert read_report(report(load_cpu=client, server_cpu=server), "ping").limited is limited


def test_the_cost_is_the_least_of_the_rounds_and_the_rest_are_medians():
    figures = summarize([Sample(3.0, 30), Sample(1.0, 10), Sample(20.0, 20)])
    assert (figures.cost, figures.median, figures.most) == (1.0, 3.0, 20.0)
    assert (figures.rate, figures.rounds, figures.limited) == (20, 3, False)
    assert ratio(figures, summarize([Sample(2.0)])) == 0.5
    assert ratio(figures, summarize([Sample(0.0)])) is None
    assert ratio(figures, None) is None


def test_a_stream_is_compared_round_by_round():
    ours = summarize([Sample(11.0), Sample(24.0), Sample(36.0)], stream=True)
    floor = summarize([Sample(10.0), Sample(20.0), Sample(40.0)], stream=True)
    assert (ours.cost, ours.costs) == (24.0, (11.0, 24.0, 36.0))
    assert ratio(ours, floor) == pytest.approx(1.1)  # the median of 1.1, 1.2 and 0.9


def test_the_servers_of_a_stream_take_their_turns_forwards_and_backwards(monkeypatch):
    order = []

    def sample(self, server, workload, peer):
        order.append(peer.name)
        return Sample(float(len(order)))

    monkeypatch.setattr(Bench, "start", lambda *_: nullcontext())
    monkeypatch.setattr(Bench, "sample", sample)
    peers = [lineup.BY_NAME[name] for name in ("lean", "ours", "node")]
    workload = replace(workloads.BY_NAME["bulk"], rounds=3)
    found = Bench(None, None, (), lambda words: None, math.inf).measure(workload, peers)
    assert order == ["lean", "ours", "node", "node", "ours", "lean", "lean", "ours", "node"]
    assert [each.cost for each in found["lean"]] == [1.0, 6.0, 7.0]


def test_the_least_disturbed_rounds_count_whatever_they_cost():
    workload = workloads.Workload("w", "w", rounds=2)
    samples = [Sample(1.0, foreign=0.5, pace=2.0), Sample(9.0, foreign=0.01, pace=2.0)]
    samples.append(Sample(1.0, foreign=0.01, pace=3.0))  # on a processor that was slower
    assert wanting(samples, workload, 2.0)
    samples.append(Sample(8.0, foreign=0.02, pace=2.0))
    assert not wanting(samples, workload, 2.0)
    assert [sample.cost for sample in quietest(samples, 2, 2.0)] == [9.0, 8.0]
    assert quietest(samples, 4, 2.0)[-1].disturbed == pytest.approx(0.51)  # both, together


def test_a_watch_tells_how_fast_the_processors_are(floor, monkeypatch):
    seen = []

    def watched():
        seen.append(os.sched_getaffinity(0))
        return pace()

    monkeypatch.setattr(quiet, "pace", watched)
    ours = os.sched_getaffinity(0)
    with Watch(floor) as watch:
        pass
    assert [on for on in processors() if on not in seen] == []  # the client's, the servers'
    assert 0 < watch.pace < 0.1
    assert watch.foreign >= 0
    assert os.sched_getaffinity(0) == ours


def bench_of(monkeypatch, paces, extra):
    """A bench whose samples have these paces, one after the other."""
    left = iter(paces)

    def sample(self, *_):
        taken = Sample(1.0, pace=next(left))
        self.best = min(self.best, taken.pace)
        return taken

    monkeypatch.setattr(Bench, "start", lambda *_: nullcontext())
    monkeypatch.setattr(Bench, "sample", sample)
    return Bench(None, None, (), lambda words: None, extra), left


def test_a_disturbed_round_is_repeated(monkeypatch):
    bench, left = bench_of(monkeypatch, [3.0, 2.0, 3.0, 2.0, 9.0], math.inf)
    workload = workloads.Workload("w", "w", rounds=2)
    found = bench.measure(workload, [lineup.BY_NAME["ours"]])
    assert [sample.disturbed for sample in found["ours"]] == [0.0, 0.0]
    assert list(left) == [9.0]  # no more than needed


def test_the_cheapest_variant_takes_part(monkeypatch):
    costs = {("a", "1"): [3.0, 5.0], ("b", "2"): [9.0, 2.0], ("c", "3"): [4.0, 4.0]}
    base = lineup.Peer("c", "C", lambda place: ["floor"], variants=tuple(costs))
    measured = []

    def sample(self, server, workload, peer):
        manner = tuple(peer.command(None)[1:])
        measured.append(manner)
        return Sample(costs[manner].pop(0) if costs[manner] else 1.0)

    monkeypatch.setattr(Bench, "start", lambda *_: nullcontext())
    monkeypatch.setattr(Bench, "sample", sample)
    bench = Bench(None, None, (), lambda words: None, 0.0)
    found = bench.measure(workloads.Workload("w", "title", rounds=3), [base])
    assert [each.cost for each in found["c"]] == [1.0, 1.0, 1.0]
    assert measured[-3:] == [("b", "2")] * 3
    assert bench.floors == {"title": "b 2"}
    made = Results(floors=bench.floors)
    assert table.notes(made) == ["the C server (manner, size of a read): title: b 2 KiB"]


def test_the_floor_of_a_stream_is_the_loop_that_is_the_cheapest_in_the_middle(monkeypatch):
    costs = {("a", "1"): [1.0, 9.0, 8.0, 9.0, 9.0], ("b", "2"): [5.0, 5.0, 6.0, 4.0, 9.0]}
    base = lineup.Peer("c", "C", lambda place: ["floor"], variants=tuple(costs))

    def sample(self, server, workload, peer):
        left = costs[tuple(peer.command(None)[1:])]
        return Sample(left.pop(0) if left else 1.0)

    monkeypatch.setattr(Bench, "start", lambda *_: nullcontext())
    monkeypatch.setattr(Bench, "sample", sample)
    bench = Bench(None, None, (), lambda words: None, 0.0)
    bench.measure(replace(workloads.BY_NAME["bulk"], rounds=2), [base])
    assert bench.floors == {"stream": "b 2"}
    assert costs == {("a", "1"): [], ("b", "2"): []}


def test_there_is_an_end_to_repeating(monkeypatch):
    workload, peers = workloads.Workload("w", "w", rounds=2), [lineup.BY_NAME["ours"]]
    bench, left = bench_of(monkeypatch, [2.0, *[3.0] * 9], math.inf)
    assert [sample.pace for sample in bench.measure(workload, peers)["ours"]] == [2.0, 3.0]
    assert len(list(left)) == 4  # of ten, two rounds and twice as many more were taken
    bench, left = bench_of(monkeypatch, [2.0, 3.0, 2.0], 0.0)
    bench.measure(workload, peers)
    assert list(left) == [2.0]


def test_a_watch_ends_with_what_it_watches(floor):
    before = set(threading.enumerate())  # some of other tests' may end meanwhile
    with pytest.raises(BenchmarkError), Watch(floor):
        raise BenchmarkError("a wrong byte")
    assert set(threading.enumerate()) - before == set()


def test_busy_time_is_all_but_idle_and_waiting():
    columns = "cpu  100 0 200 9999 9999 1 2 3 50 0\ncpu0 1 1 1\n"
    assert busy(columns) == pytest.approx(306 / 100, rel=1e-6)


def results(**costs):
    """Results of 64 B x 64 with these costs."""
    made = Results(machine={"kernel": "Linux 6"}, options="--quick")
    found = {peer: summarize([Sample(cost, 1000.0)]) for peer, cost in costs.items()}
    made.add(workloads.BY_NAME["pingpong-64x64"], found)
    return made


def row(*ratios):
    """A compared row with these ratios."""
    pairs = tuple((10.0, 10.0 * ratio) for ratio in ratios)
    return compare.Row(workloads.BY_NAME["bulk"], lineup.BY_NAME["ours"], pairs)


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([0.9, 1.0, 1.02, 1.03, 1.3], ""),
        ([1.01, 1.02, 1.04, 1.05, 0.9], ""),
        ([1.01, 1.02, 1.04, 1.05, 1.06], "WORSE"),
        ([0.8, 0.9, 1.04, 1.05, 1.06], "unclear"),
    ],
)
def test_a_row_is_worse_by_its_median_unless_its_spread_forbids_to_say_so(ratios, verdict):
    assert row(*ratios).verdict == verdict


def test_the_comparison_names_what_is_worse():
    fine, worse, unclear = row(1.0, 1.0), row(1.1, 1.2), row(0.9, 1.2)
    assert compare.summary([fine]) == "worse by more than 3%: no row"
    assert compare.summary([fine, worse]) == "worse by more than 3%: stream, echosvc"
    assert "more rounds are needed: stream, echosvc" in compare.summary([unclear])
    text = table.as_text(compare.HEAD, compare.cells([worse]), compare.WORDS)
    assert text.splitlines()[1].split()[-6:] == ["11.5", "1.150", "1.125", "to", "1.175", "WORSE"]


def test_installations_are_measured_one_right_after_the_other_in_turn(monkeypatch):
    measured = []

    def sample(self, server, workload, peer):
        python = peer.command(lineup.Place("127.0.0.1:1", Path("/d"), Path("/f")))[0]
        measured.append(python)
        assert peer.installed
        return Sample(1.0 if python == "/other/python" else 2.0)

    monkeypatch.setattr(Bench, "start", lambda *_: nullcontext())
    monkeypatch.setattr(Bench, "sample", sample)
    bench = Bench(None, None, (), lambda words: None, 0.0)
    chosen = [workloads.BY_NAME["bulk"]]
    (found,) = compare.compare_all(bench, chosen, ["ours"], Path("/other/python"), 3)
    assert found.pairs == ((1.0, 2.0),) * 3
    this, other = sys.executable, "/other/python"
    assert measured == [this, other, other, this, this, other]


def test_a_python_of_another_installation_is_found_in_its_directory(tmp_path):
    directory = Path(sys.executable).parent
    assert compare.interpreter(str(directory)) == directory / "python"
    assert compare.interpreter(sys.executable) == Path(sys.executable)
    with pytest.raises(argparse.ArgumentTypeError, match="there is no Python"):
        compare.interpreter(str(tmp_path))


def test_an_installed_server_does_not_get_this_checkout(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert environment()["PYTHONPATH"] == str(ROOT)
    assert "PYTHONPATH" not in environment(installed=True)


@pytest.mark.slow
def test_two_installations_are_compared():
    need("cc")
    options = ["--quick", "--only=pingpong-64x1", "--peers=ours", "--rounds=2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options, f"--against={sys.executable}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=4 * LIMIT,
        check=False,
    )
    assert done.stderr == ""
    assert "64 B x 1" in done.stdout
    assert done.returncode == ("worse by more than 3%: no row" not in done.stdout)


def test_targets_are_judged_by_ratios():
    judged = targets.judge(results(c=4.0, lean=4.4, ours=10.0, node=6.0, plain=20.0))
    words = {(v.target.who, v.target.against): v.word for v in judged}
    assert words == {
        ("lean", "c"): "met",
        ("lean", "uvloop"): "not measured",
        ("lean", "node"): "NOT MET",
        ("ours", "plain"): "met",
        ("ours", "node"): "NOT MET",
        ("defaults", "plain"): "not measured",
        ("defaults", "node"): "not measured",
    }


def test_a_target_may_be_a_number_or_the_same_server():
    made = Results()
    made.add(workloads.BY_NAME["idle"], {"ours": summarize([Sample(1300.0)])})
    slow_and_fast = [Sample(12.0, alone=10.0), Sample(6.0, alone=5.0), Sample(13.0, alone=10.0)]
    made.add(workloads.BY_NAME["beside"], {"ours": summarize(slow_and_fast)})
    made.add(
        workloads.BY_NAME["start"],
        {"ours": summarize([Sample(130.0)]), IMPORT: summarize([Sample(100.0)])},
    )
    found = {(v.target.workload, v.target.against): v for v in targets.judge(made) if v.value}
    assert found["idle", targets.NUMBER].word == "met"
    assert found["beside", targets.ALONE].value == pytest.approx(1.2)
    assert found["beside", targets.ALONE].word == "NOT MET"
    assert found["start", IMPORT].word == "met"


def test_targets_speak_of_what_exists():
    for target in targets.TARGETS:
        workload = workloads.BY_NAME[target.workload]
        assert target.who in workload.peers
        assert target.words
    for workload in workloads.WORKLOADS:
        assert set(workload.peers) <= set(lineup.BY_NAME)


def test_the_table_is_aligned():
    text = table.as_text(table.HEAD, table.rows(results(c=4.0, ours=10.0, node=1234.5)))
    head, *lines = text.splitlines()
    assert [line.split()[:1] for line in lines] == [["64"], ["echosvc"], ["Node"]]
    end = head.index("cost") + len("cost")
    assert [line[:end].rsplit("  ")[-1].strip() for line in lines] == ["4.00", "10.0", "1,234"]
    assert lines[1].split()[-2:] == ["2.50", "0.01"]  # / C, / Node


def test_markdown_has_as_many_cells_in_each_row():
    text = table.as_markdown(table.HEAD, table.rows(results(c=4.0, ours=10.0)))
    assert {line.count("|") for line in text.splitlines()} == {len(table.HEAD) + 1}


def test_what_is_absent_is_named():
    made = results(c=4.0)
    made.absent["uvloop"] = "uvloop is not installed"
    made.left_out["idle connections"] = too_many(workloads.BY_NAME["idle"], 1024)
    assert table.notes(made) == [
        "uvloop is absent: uvloop is not installed",
        "idle connections is left out: it needs 10,200 descriptors and the limit is 1,024"
        " (ulimit -n)",
    ]


def test_the_chart_is_svg_with_every_value():
    picture = ET.fromstring(chart.draw(results(c=4.0, lean=4.25, ours=10.0, plain=20.0)))
    words = [element.text for element in picture.iter() if element.tag.endswith("text")]
    for expected in ("64 B x 64", "CPU µs/message (less is better)", "4.25", "10.0", "C (floor)"):
        assert expected in words
    assert float(picture.get("height")) > 0


@pytest.mark.parametrize("most", [1e-6, 0.3, 1, 3.9, 7.2, 23.8, 999, 1000, 3768, 123456])
def test_an_axis_ends_above_the_largest_value(most):
    marks = chart.ticks(most)
    assert marks[0] == 0
    assert marks[-1] >= most * (1 - 1e-9)
    assert marks[-2] < most
    assert 3 <= len(marks) <= 6


def test_the_document_has_all_parts_and_no_paths():
    made = results(c=4.0, ours=10.0)
    profile = summarize_profile("echosvc", 10.0, 0.5, [("a.f", f"{n}", 9) for n in range(20)])
    profile = replace(profile, memory=by_line([("a.f", "x = 1", 64000), ("a.f", "y = 2", 9)], 1000))
    profile = replace(profile, idle=0.0007)
    text = document.write(made, targets.judge(made), profile, 300.0)
    parts = ("## The machine", "## Results", "## Targets", "microseconds go", "connection holds")
    for part in (*parts, "| `a.f: x = 1` | 64 |", "all others", "0.07% of a processor"):
        assert part in text
    assert "python -m benchmarks --quick" in text
    assert str(ROOT) not in text
    assert str(Path.home()) not in text
    assert profile.functions == (("a.f", 1.0),)
    assert sum(share for _, share in profile.lines) == pytest.approx(1.0)


def test_memory_is_for_each_connection_by_line():
    counts = [("a", "x", 9000), ("b", "y", 20_000), ("a", "x", 1000), ("c", "z", 100)]
    assert by_line(counts, 1000) == (("b: y", 20.0), ("a: x", 10.0), ("all others", 0.1))


def test_the_results_are_json():
    made = results(c=4.123456789)
    whole = json.loads(made.as_json([verdict.as_dict() for verdict in targets.judge(made)]))
    assert whole["workloads"][0]["figures"]["c"]["cost"] == 4.12346
    assert whole["targets"][0]["verdict"] == "not measured"


def test_quick_is_a_shorter_part():
    every, quick = choose(parser().parse_args([])), choose(parser().parse_args(["--quick"]))
    assert len(every) == len(workloads.WORKLOADS)
    assert {workload.name for workload in quick} < {workload.name for workload in every}
    assert all(workload.rounds <= 2 for workload in quick)
    only = choose(parser().parse_args(["--only", "start,bulk"]))
    assert [workload.name for workload in only] == ["bulk", "start"]
