"""What is counted while a soak lasts: each minute, in slices, and in all. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable

from echosvc.probe.soak.events import Event, Minute
from echosvc.probe.soak.limits import failures
from echosvc.probe.soak.result import Slice, SoakResult
from echosvc.probe.soak.settings import SoakSettings
from echosvc.probe.soak.slices import Slices
from echosvc.probe.soak.timeline import Timeline
from echosvc.probe.traffic.series import Second
from echosvc.probe.traffic.tally import Tally

#: Seconds from one event of what happened to the next.
MINUTE = 60.0
#: The counters that a result has.
_COUNTERS = (
    "sent", "answered", "lost", "damaged", "duplicated", "reordered", "abandoned",
    "unexpected_bytes",
)  # fmt: skip


class Statistics:
    """The figures of a soak.

    :param timeline: of the same soak.
    :param now: when it begins.
    :param epoch: the Unix time when the caller's clock said 0.
    :param listen: called with an event each minute.
    :ivar tally: what became of the messages. Its seconds are taken out, so that it does not grow.
    """

    def __init__(
        self, timeline: Timeline, now: float, epoch: float, listen: Callable[[Event], object]
    ) -> None:
        self._timeline, self._listen = timeline, listen
        self._began, self._epoch = now, epoch
        self.tally = Tally(epoch)
        self._slices = Slices()
        self._minute, self._minute_began, self._gaps_before = Second(), now, 0

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._timeline.records)

    @property
    def up(self) -> int:
        """How many of them were opened, and are not in a gap."""
        return self._timeline.up

    @property
    def gaps(self) -> int:
        """How many gaps were noticed."""
        return self._timeline.noticed

    @property
    def longest(self) -> float:
        """The longest gap that is over, seconds."""
        return self._timeline.longest

    def advance(self, now: float) -> None:
        """Note that time has passed."""
        self._slices.note(now - self._began, Slice(fewest=self.up))
        self._take_seconds(now)
        if now - self._minute_began >= MINUTE:
            self._tell_minute(now)

    def _take_seconds(self, until: float) -> None:
        """Take out of the tally the seconds that are over, and add them to the slices."""
        series = self.tally.series
        for number in [each for each in series if each + 1 <= until + self._epoch]:
            second = series.pop(number)
            offset = number - self._epoch - self._began
            self._slices.note(offset, Slice(second.answered, second.largest))
            self._minute.add(second)

    def _tell_minute(self, now: float) -> None:
        minute, began = self._minute, self._minute_began
        noticed = self._timeline.noticed
        self._listen(
            Minute(
                now + self._timeline.epoch, now - began, self.connections, self.up,
                minute.answered, minute.percentile(50), minute.percentile(99), minute.largest,
                noticed - self._gaps_before,
            )
        )  # fmt: skip
        self._minute, self._minute_began, self._gaps_before = Second(), now, noticed

    def result(
        self, endpoint: str, settings: SoakSettings, seconds: float, complete: bool, now: float
    ) -> SoakResult:
        """Return the result of a soak that is over.

        :param seconds: how long it lasted.
        :param complete: as long as was asked for.
        """
        self._take_seconds(now + 1)
        timeline, messages = self._timeline, self._messages()
        return SoakResult(
            endpoint, settings.as_dict(), self._began + self._epoch, seconds,
            complete=complete,
            why=tuple(failures(settings, timeline, messages)),
            messages=messages,
            latency_us=self.tally.corrected.summary(),
            breaks=timeline.breaks,
            gap_count=timeline.gaps.total,
            causes=dict(timeline.causes.most_common()),
            failures=dict(timeline.failures.most_common()),
            longest=timeline.longest,
            gaps=timeline.gaps.kept(),
            outage_count=timeline.outages.total,
            outages=timeline.outages.kept(),
            mark_count=timeline.mark_count,
            marks=tuple(timeline.marks),
            servers=dict(timeline.servers.most_common()),
            stalls=timeline.stalls,
            longest_stall=timeline.longest_stall,
            slice_seconds=self._slices.seconds,
            slices=tuple(self._slices.slices),
        )  # fmt: skip

    def _messages(self) -> dict[str, int]:
        """Return what became of the messages; skipped ones are lost though a later one was not."""
        counted = {name: getattr(self.tally, name) for name in _COUNTERS}
        return {**counted, "skipped": self.tally.lost - self.tally.unanswered}
