"""HdrHistogram's own reader reads the log."""

from __future__ import annotations

import io

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from echosvc.probe.traffic.hdr_log import write_log
from echosvc.probe.traffic.histogram import DIGITS, HIGHEST, LOWEST
from echosvc.probe.traffic.tally import Tally


def test_the_reader_of_hdrhistogram_finds_both_histograms_with_their_tags(tmp_path):
    tally = Tally(epoch=1_700_000_000.25)
    for number in range(100):
        tally.count_answer(1.0, 1.0 + 0.001 * number, 1.5 + number / 50)
    path = tmp_path / "load.hlog"
    with path.open("w") as file:
        write_log(file, tally)
    reader = HistogramLogReader(str(path), HdrHistogram(LOWEST, HIGHEST, DIGITS))
    found = [reader.get_next_interval_histogram() for _ in range(3)]
    reader.close()
    assert [each.get_tag() for each in found[:2]] == ["corrected", "uncorrected"]
    assert found[2] is None
    assert reader.get_start_time_sec() == 1_700_000_001
    for histogram, expected in zip(found, (tally.corrected, tally.uncorrected), strict=False):
        assert histogram.get_total_count() == 100
        assert histogram.get_start_time_stamp() == 1_700_000_001_000
        assert histogram.get_end_time_stamp() == 1_700_000_004_000
        ninety = histogram.get_value_at_percentile(90)
        assert ninety == expected.to_hdr().get_value_at_percentile(90)


def test_the_largest_value_is_named_in_milliseconds(tmp_path):
    tally = Tally(epoch=1_700_000_000.25)
    tally.count_answer(1.0, 1.001, 1.0025)
    log = io.StringIO()
    write_log(log, tally)
    rows = [line.split(",") for line in log.getvalue().splitlines() if line.startswith("Tag=")]
    assert [row[:4] for row in rows] == [
        ["Tag=corrected", "1700000001.000", "1.000", "2.500"],
        ["Tag=uncorrected", "1700000001.000", "1.000", "1.500"],
    ]


def test_an_empty_run_has_a_log(tmp_path):
    path = tmp_path / "load.hlog"
    with path.open("w") as file:
        write_log(file, Tally())
    reader = HistogramLogReader(str(path), HdrHistogram(LOWEST, HIGHEST, DIGITS))
    assert reader.get_next_interval_histogram().get_total_count() == 0
    reader.close()
