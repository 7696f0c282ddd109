"""The log of HdrHistogram, which its own tools read. No I/O but to the file that is given."""

from __future__ import annotations

from io import StringIO
from typing import TextIO

from echosvc.probe.traffic.tally import Tally

#: The histograms of a log, each with its tag.
TAGS = ("corrected", "uncorrected")
_MICROSECONDS = 1e6


def write_log(file: TextIO, tally: Tally) -> None:
    """Write the latencies of a run as one interval for each tag.

    The times of an interval are Unix time. The largest value is in seconds, and those of a
    histogram are in µs.
    """
    from hdrh.log import HistogramLogWriter

    writer, start = HistogramLogWriter(file), float(min(tally.series, default=0))
    writer.output_comment("[Written by echosvc; values are in microseconds]")
    writer.output_log_format_version()
    file.write(f"#[StartTime: {start:.3f} (seconds since epoch)]\n")
    writer.output_legend()
    for tag in TAGS:
        file.write(f"Tag={tag},{_interval(tally, tag, start)}")


def _interval(tally: Tally, tag: str, start: float) -> str:
    """Return the line of a histogram, without its tag."""
    from hdrh.log import HistogramLogWriter

    line, end = StringIO(), max(tally.series, default=0) + 1.0
    hdr = getattr(tally, tag).to_hdr()
    HistogramLogWriter(line).output_interval_histogram(hdr, start, end, _MICROSECONDS)
    return line.getvalue()
