"""What is counted of a load: messages, times, seconds, errors. Tallies can be added exactly."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from echosvc.probe.traffic.checked import (
    check_format,
    checked_count,
    checked_each,
    checked_member,
    checked_object,
    checked_text,
    checked_whole,
)
from echosvc.probe.traffic.histogram import Histogram
from echosvc.probe.traffic.incidents import (
    MAX_GAPS,
    MAX_MISMATCHES,
    Gap,
    Mismatch,
    kept_gaps,
    kept_mismatches,
)
from echosvc.probe.traffic.series import Second

#: The counters. ``sent`` is the sum of ``answered``, ``lost``, ``damaged``, ``abandoned`` and of
#: what is still owed. ``reordered`` and ``late`` messages are answered, too; ``unanswered`` ones
#: are lost, too.
COUNTERS = (
    "sent", "answered", "lost", "damaged", "abandoned", "reordered", "late", "unanswered",
    "duplicated", "unexpected_bytes", "bytes_sent", "bytes_received", "connections",
)  # fmt: skip
#: What proves that the path or the peer failed.
FAULTS = ("lost", "damaged", "reordered", "late", "duplicated", "unexpected_bytes")
#: The histograms.
HISTOGRAMS = ("corrected", "uncorrected", "send_lag", "connect", "first_byte")
#: What is counted by a text.
COUNTS = ("errors", "servers")
#: So many names of servers are counted in one run, and so many letters of each.
MAX_SERVERS, _MAX_NAME = 1000, 100
_SCHEMA = 1


class Tally:
    """What is counted of one run, or of several. Times never go back from one call to the next.

    :param epoch: the Unix time when the clock of the caller said 0.
    :ivar begin: messages that were intended before this time of the caller's clock are counted,
        but their times are not: the warm-up.
    :ivar last_answer: when the last message was answered whose time is counted. It is of this
        run: neither added nor dumped.
    :ivar sent: messages that were sent.
    :ivar answered: messages whose whole reply came, intact.
    :ivar lost: messages that were not answered, though a later one was, or the connection ended.
    :ivar damaged: messages whose reply was wrong.
    :ivar abandoned: messages in flight when this side gave up without waiting for them.
    :ivar reordered: answered after a later message.
    :ivar late: answered after their deadline.
    :ivar unanswered: lost, and the last ones of their connection: their replies may have been on
        the way.
    :ivar duplicated: replies that came once more.
    :ivar unexpected_bytes: that came where nothing was due.
    :ivar bytes_sent: with their framing.
    :ivar bytes_received: with prefixes and framing.
    :ivar connections: that were opened.
    :ivar corrected: latencies from the intended time.
    :ivar uncorrected: latencies from the time when a message was sent, as a client measures them
        that waits for each reply: only of messages that were sent while no other was in flight on
        their connection. In a closed loop, of all.
    :ivar send_lag: how long after its intended time a message was sent.
    :ivar connect: how long connections took to open.
    :ivar first_byte: from the first message on a connection to the first byte of the answer. Where
        the connection was recognised by short messages, it is the first of these.
    :ivar errors: how often a connection failed, by cause.
    :ivar servers: how many connections each server answered, where its name is known.
    :ivar series: by Unix time in whole seconds.
    :ivar gaps: the longest.
    :ivar mismatches: the earliest.
    """

    def __init__(self, epoch: float = 0.0, begin: float = -math.inf) -> None:
        self._epoch, self.begin, self.last_answer = epoch, begin, begin
        self.sent = self.answered = self.lost = self.damaged = self.abandoned = 0
        self.reordered = self.late = self.unanswered = self.duplicated = 0
        self.unexpected_bytes = self.bytes_sent = self.bytes_received = self.connections = 0
        self.corrected, self.uncorrected, self.send_lag = Histogram(), Histogram(), Histogram()
        self.connect, self.first_byte = Histogram(), Histogram()
        self.errors: Counter[str] = Counter()
        self.servers: Counter[str] = Counter()
        self.series: dict[int, Second] = {}
        self.gaps, self.mismatches = kept_gaps(), kept_mismatches()
        self._now = Second()
        self._until = -math.inf  # the time at which another second begins

    # -- counting -------------------------------------------------------------

    def count_sent(self, count: int, size: int, now: float) -> None:
        """Count messages that were sent at once, of ``size`` bytes together."""
        self.sent += count
        self.bytes_sent += size
        second = self._now if now < self._until else self._at(now)
        second.sent += count

    def count_answer(self, intended: float, sent: float, now: float, alone: bool = True) -> None:
        """Count a message that was answered now.

        :param alone: no other was in flight on its connection when it was sent.
        """
        self.answered += 1
        second = self._now if now < self._until else self._at(now)
        if intended < self.begin:
            second.answered += 1
            return
        self.last_answer = now
        latency = self.corrected.record(now - intended)
        second.answer(latency)
        if sent == intended and alone:  # as in every closed loop
            self.uncorrected.repeat(latency)
            self.send_lag.repeat(0)
            return
        if alone:
            self.uncorrected.record(now - sent)
        self.send_lag.record(sent - intended)

    def count(self, kind: str, count: int, now: float) -> None:
        """Count faults of a kind that were found now.

        :param kind: one of :data:`COUNTERS`.
        """
        setattr(self, kind, getattr(self, kind) + count)
        if kind in FAULTS:
            self._at(now).wrong += count

    def count_connection(self, seconds: float, first_byte: float | None = None) -> None:
        """Count a connection that was opened.

        :param first_byte: seconds from its first message to the first byte of the answer, if that
            was waited for.
        """
        self.connections += 1
        self.connect.record(seconds)
        if first_byte is not None:
            self.first_byte.record(first_byte)

    def count_server(self, name: str) -> None:
        """Count a connection that was answered by a server with a name."""
        name = name[:_MAX_NAME]
        if name in self.servers or len(self.servers) < MAX_SERVERS:
            self.servers[name] += 1

    def count_error(self, cause: str, now: float) -> None:
        """Count a connection that could not be opened, or ended before its time, now."""
        self.errors[cause] += 1
        self._at(now).failed += 1

    def note_gap(self, gap: Gap) -> None:
        """Note a gap. Its time is of the caller's clock."""
        self.gaps.append(gap._replace(began=gap.began + self._epoch))

    def note_mismatch(self, mismatch: Mismatch) -> None:
        """Note a mismatch. Its time is of the caller's clock."""
        self.mismatches.append(mismatch._replace(when=mismatch.when + self._epoch))

    def _at(self, now: float) -> Second:
        """Return the second of a time."""
        if now >= self._until:
            number = math.floor(now + self._epoch)
            if number - self._epoch > now:  # the sum was rounded up
                number -= 1
            self._until = number + 1 - self._epoch
            self._now = self.series.setdefault(number, Second())
        return self._now

    # -- results --------------------------------------------------------------

    @property
    def answering(self) -> float:
        """Seconds in which the answers came whose times are counted: of this run.

        The quickest answer is subtracted, so that a latency which is always the same is no part.
        """
        if not self.corrected.total or not math.isfinite(self.begin):
            return 0.0
        return max(0.0, self.last_answer - self.begin - self.corrected.smallest / 1e6)

    @property
    def owed(self) -> int:
        """How many messages were sent, and have not been answered, lost or damaged yet."""
        return self.sent - self.answered - self.lost - self.damaged - self.abandoned

    @property
    def ok(self) -> bool:
        """Whether everything was answered, once, intact, in order and in time."""
        return not self.owed and not self.errors and not any(getattr(self, each) for each in FAULTS)

    def add(self, other: Tally) -> None:
        """Add what another one counted. The order of additions does not matter."""
        for name in COUNTERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in HISTOGRAMS:
            getattr(self, name).add(getattr(other, name))
        for name in COUNTS:
            getattr(self, name).update(getattr(other, name))
        for number, second in other.series.items():
            self.series.setdefault(number, Second()).add(second)
        self.gaps.add(other.gaps)
        self.mismatches.add(other.mismatches)

    def dump(self) -> dict[str, Any]:
        """Return everything for JSON; histograms in HdrHistogram's own encoding."""
        return {
            "schema": _SCHEMA,
            "counters": {name: getattr(self, name) for name in COUNTERS},
            "histograms": {name: getattr(self, name).dump() for name in HISTOGRAMS},
            **{name: dict(sorted(getattr(self, name).items())) for name in COUNTS},
            "series": {str(number): self.series[number].dump() for number in sorted(self.series)},
            "gaps": {"total": self.gaps.total, "longest": [gap.dump() for gap in self.gaps.best]},
            "mismatches": {
                "total": self.mismatches.total,
                "earliest": [each.dump() for each in self.mismatches.best],
            },
        }

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Tally:
        """Return the tally that was dumped.

        :raises ValueError: it is none, or of another version.
        """
        check_format(dumped, _SCHEMA)
        tally = cls()
        counters, histograms = (
            checked_member(dumped, name, checked_object) for name in ("counters", "histograms")
        )
        for name in COUNTERS:
            setattr(tally, name, checked_member(counters, name, checked_count))
        for name in HISTOGRAMS:
            setattr(tally, name, checked_member(histograms, name, Histogram.load))
        for name in COUNTS:
            getattr(tally, name).update(checked_member(dumped, name, _load_counts))
        tally.series = checked_member(dumped, "series", _load_series)
        checked_member(dumped, "gaps", tally._load_gaps)
        checked_member(dumped, "mismatches", tally._load_mismatches)
        return tally

    def _load_gaps(self, dumped: Any) -> None:
        longest = checked_member(dumped, "longest", lambda it: checked_each(it, MAX_GAPS, Gap.load))
        self.gaps.extend(longest, checked_member(dumped, "total", checked_count))

    def _load_mismatches(self, dumped: Any) -> None:
        earliest = checked_member(
            dumped, "earliest", lambda it: checked_each(it, MAX_MISMATCHES, Mismatch.load)
        )
        self.mismatches.extend(earliest, checked_member(dumped, "total", checked_count))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        names = (*COUNTERS, *HISTOGRAMS, *COUNTS, "series", "gaps", "mismatches")
        return all(getattr(self, name) == getattr(other, name) for name in names)

    __hash__ = None  # type: ignore[assignment]


def _load_counts(dumped: Any) -> dict[str, int]:
    counts = checked_object(dumped)
    return {checked_text(name): checked_member(counts, name, checked_count) for name in counts}


def _load_series(dumped: Any) -> dict[int, Second]:
    series = checked_object(dumped)
    return {_load_number(key): checked_member(series, key, Second.load) for key in series}


def _load_number(key: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,16}", key, re.ASCII):
        raise ValueError(f"no whole number: {ascii(key)[:40]}")
    return checked_whole(int(key))
