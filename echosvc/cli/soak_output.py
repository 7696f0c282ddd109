"""What ``echosvc soak`` shows while it runs: lines, or one JSON object at the end."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from echosvc._text import format_duration, plural
from echosvc.cli.live_line import LiveLine
from echosvc.cli.terminal import OutputError, Sink, write_text

if TYPE_CHECKING:
    from echosvc.probe.soak.events import Event
    from echosvc.probe.soak.result import SoakResult
    from echosvc.probe.soak.statistics import Statistics


class SoakOutput:
    """Lines on standard output as things happen, and one on the terminal that changes.

    :param out: standard output.
    :param as_json: write one JSON object at the end, and no lines.
    :param lines: write the lines, where it is not JSON.
    :ivar error: of standard output; ``None``: it takes what it is given.
    """

    def __init__(self, out: Sink, as_json: bool, lines: bool) -> None:
        self._out, self._json, self._lines = out, as_json, lines and not as_json
        self._line, self._began = LiveLine(timed=False), time.monotonic()
        self.error: OutputError | None = None

    def tell(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        from echosvc.reports.soak_text import live_line

        if self._lines and (line := live_line(event)):
            self._line.hide()
            self._write(f"{line}\n")

    def show(self, statistics: Statistics) -> None:
        """Change the line on the terminal."""
        from echosvc.reports.soak_text import long_time

        gaps, longest = statistics.gaps, statistics.longest
        told = (
            f"{plural(gaps, 'gap')}, the longest {format_duration(longest)}" if gaps else "no gap"
        )
        change = self._line.change if self._line.is_shown else self._line.show
        change(
            f"{long_time(time.monotonic() - self._began)}: {statistics.up} of"
            f" {statistics.connections} up, {statistics.tally.answered} answered, {told}"
        )

    def finish(self, result: SoakResult) -> None:
        """Write the summary."""
        from echosvc.reports.soak_text import summary_lines

        self._line.hide()
        if self._json:
            self._write(json.dumps(result.as_dict(), indent=2) + "\n")
        elif self._lines:
            self._write(summary_lines(result))

    def hide(self) -> None:
        """Clear the line on the terminal."""
        self._line.hide()

    def _write(self, text: str) -> None:
        try:
            write_text(self._out, text)
        except OutputError as error:
            self.error = error
