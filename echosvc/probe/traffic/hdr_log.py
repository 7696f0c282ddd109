"""The log of HdrHistogram, which its own tools read. No I/O but to the file that is given."""

from __future__ import annotations

from typing import TextIO

from echosvc.probe.traffic.tally import Tally

#: The histograms of a log, each with its tag.
TAGS = ("corrected", "uncorrected")
_COMMENT = "[Written by echosvc; values are in microseconds, Interval_Max is in milliseconds]"


def write_log(file: TextIO, tally: Tally) -> None:
    """Write the latencies of a run as one interval for each tag, in version 1.2 of the format.

    The times of an interval are Unix time. The values of a histogram are in µs, and the largest one
    is named in ms, as that of HdrHistogram's own writers.
    """
    from hdrh.log import HistogramLogWriter

    writer, start = HistogramLogWriter(file), float(min(tally.series, default=0))
    length = max(tally.series, default=0) + 1.0 - start
    writer.output_comment(_COMMENT)
    writer.output_log_format_version()
    file.write(f"#[StartTime: {start:.3f} (seconds since epoch)]\n")
    writer.output_legend()
    for tag in TAGS:  # the writer of hdrh has no tags, and cuts the largest value to whole numbers
        histogram = getattr(tally, tag)
        encoded = histogram.to_hdr().encode().decode("ascii")
        largest = histogram.largest / 1000
        file.write(f"Tag={tag},{start:.3f},{length:.3f},{largest:.3f},{encoded}\n")
