"""The timeline of a soak: gaps of all its connections, outages and marks. No I/O, no clock.

It takes what happens, tells each event to a listener at once, and keeps a bounded part of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from echosvc.probe.soak.connection_record import ConnectionRecord, End
from echosvc.probe.soak.events import Event, GapBegan, Opened, Stall
from echosvc.probe.soak.kept import LongestAndEarliest
from echosvc.probe.soak.outages import OutageRecord
from echosvc.probe.soak.result import Gap, Mark, Outage

#: So many of the longest, and as many of the earliest gaps and outages are kept.
MAX_KEPT = 500
#: So many marks, and names of servers, are kept.
MAX_MARKS = MAX_SERVERS = 1000
#: Gaps that begin within so many seconds, and a message interval, began at the same moment.
SAME_MOMENT = 0.15


class Timeline:
    """What happened to the connections of a soak.

    Moments that methods take are of the caller's clock, and never go back. Those in events are Unix
    times.

    :param connections: how many there are; their numbers begin at 1.
    :param interval: from one message of a connection to the next, seconds.
    :param silence: how long an answer may take before that is a gap, seconds.
    :param now: when it begins.
    :param epoch: the Unix time when the caller's clock said 0.
    :param listen: called with each event.
    :ivar epoch: may be set, since the time of day may be.
    :ivar records: of the connections, in their order.
    :ivar breaks: connections that ended.
    :ivar causes: how many gaps had each cause.
    :ivar failures: attempts that failed, by cause.
    :ivar longest: the longest gap that is over, seconds.
    :ivar unanswered: how many connections were not answered at the end.
    :ivar gaps: that are over.
    :ivar outages: that are over.
    :ivar marks: the earliest ones.
    :ivar mark_count: how many there were.
    :ivar servers: who answered, and how many connections.
    :ivar stalls: how often this process stood still.
    :ivar longest_stall: for how long at most, seconds.
    """

    def __init__(
        self,
        connections: int,
        interval: float,
        silence: float,
        now: float,
        epoch: float,
        listen: Callable[[Event], object] = lambda _: None,
    ) -> None:
        self.epoch, self._listen, self._silence = epoch, listen, silence
        self.records = [ConnectionRecord(number + 1, now) for number in range(connections)]
        self._outages = OutageRecord(connections, silence + interval, SAME_MOMENT + interval)
        self._membership: dict[int, int] = {}  # connections in a gap, and their outages
        self._down = {record.number for record in self.records}  # these, and what was never open
        self._noticed = 0
        self.breaks = self.unanswered = 0
        self.longest = self.longest_stall = 0.0
        self._excused = now
        self.causes: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.servers: Counter[str] = Counter()
        self.gaps: LongestAndEarliest[Gap] = LongestAndEarliest(MAX_KEPT)
        self.outages: LongestAndEarliest[Outage] = LongestAndEarliest(MAX_KEPT)
        self.marks: list[Mark] = []
        self.mark_count = self.stalls = 0

    @property
    def noticed(self) -> int:
        """How many gaps were noticed."""
        return self._noticed

    @property
    def up(self) -> int:
        """How many connections were opened, and are not in a gap."""
        return len(self.records) - len(self._down)

    # -- what happens to a connection -------------------------------------------------------------

    def begin(self, connection: int, now: float) -> None:
        """Note that a connection is opened for the first time."""
        self._record(connection).began = now

    def open(self, connection: int, local: str, peer: str, who: str, now: float) -> None:
        """Note that a connection is open, and was answered by ``who``."""
        gap = self._record(connection).open(local, peer, who, now)
        self._down.discard(connection)
        if who in self.servers or len(self.servers) < MAX_SERVERS:
            self.servers[who] += 1
        self._listen(Opened(now + self.epoch, connection, local, peer, who))
        self._end_gap(gap)

    def answer(self, connection: int, number: int, now: float) -> None:
        """Note that a message was answered."""
        self._end_gap(self._record(connection).answer(number, now))

    def since(self, moment: float) -> float:
        """Return a moment, or until when this process stood still, if that is later."""
        return max(moment, self._excused)

    def check(self, connection: int, since: float, now: float) -> None:
        """Note that something is due on a connection, and nothing was answered, since a moment.

        That is a gap once it is longer than the longest silence.
        """
        since = self.since(since)
        if now - since > self._silence:
            record = self._record(connection)
            self._notice(record, record.is_silent(since, self._noticed + 1), now)

    def end(self, connection: int, end: End, now: float) -> None:
        """Note that a connection has ended."""
        record = self._record(connection)
        if end.since is not None:
            end = replace(end, since=max(end.since, min(self._excused, now)))
        self._notice(record, record.end(end, self._noticed + 1, now), now)

    def fail(self, connection: int, cause: str, now: float, detail: str = "") -> None:
        """Note that no connection could be opened.

        :param detail: more about the cause, in words.
        """
        self.failures[cause] += 1
        record = self._record(connection)
        self._notice(record, record.fail(cause, self._noticed + 1, detail), now)

    def _record(self, connection: int) -> ConnectionRecord:
        return self.records[connection - 1]

    # -- what happens to all ----------------------------------------------------------------------

    def mark(self, name: str, now: float) -> Mark:
        """Note a mark; return it."""
        self.mark_count += 1
        mark = Mark(self.mark_count, now + self.epoch, name)
        if len(self.marks) < MAX_MARKS:
            self.marks.append(mark)
        self._listen(mark)
        return mark

    def stall(self, seconds: float, now: float) -> None:
        """Note that this process stood still until now: no silence before now is counted."""
        self._excused = now
        self.stalls += 1
        self.longest_stall = max(self.longest_stall, seconds)
        self._listen(Stall(now + self.epoch, seconds))

    def advance(self, now: float) -> None:
        """Note that time has passed."""
        self._conclude(self._outages.advance(now))

    def finish(self, now: float) -> None:
        """Note that the soak is over: what is not answered now never was."""
        for record in self.records:
            gap = record.finish(now)
            self.unanswered += gap is not None or not record.was_open
            self._end_gap(gap)
        self._conclude(self._outages.finish())

    # -- gaps and outages -------------------------------------------------------------------------

    def _notice(self, record: ConnectionRecord, begun: bool, now: float) -> None:
        if not begun:
            return
        first = not self._membership
        self._noticed += 1
        self._conclude(self._outages.advance(now))
        self._outages.begin(record.gap_began)
        self._membership[record.number] = self._outages.number
        self._down.add(record.number)
        self._listen(
            GapBegan(
                record.gap_began + self.epoch, self._noticed, record.number, record.gap_cause,
                self._outages.number, first,
            )
        )  # fmt: skip

    def _end_gap(self, gap: Gap | None) -> None:
        if gap is None:
            return
        self._outages.end(gap)
        outage = self._membership.pop(gap.connection)
        self._down.discard(gap.connection)
        gap = replace(gap, began=gap.began + self.epoch, outage=outage)
        self.breaks += gap.is_break
        self.causes[gap.cause] += 1
        self.longest = max(self.longest, gap.seconds)
        self.gaps.add(gap)
        self._listen(gap)

    def _conclude(self, outage: Outage | None) -> None:
        if outage is not None:
            outage = replace(outage, began=outage.began + self.epoch)
            self.outages.add(outage)
            self._listen(outage)
