"""Whether a stream came back whole, once, and in order. No Twisted, no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from echosvc.probe.engine.diagnosis import SHOWN, Fault, Kind, diagnose
from echosvc.probe.engine.payload import Source
from echosvc.wire.compare import common_prefix_length
from echosvc.wire.prefix_matching import PrefixMatcher

#: So much of what comes after the first wrong byte is looked at, bytes.
WINDOW = 256 * 1024
#: Bytes before the first wrong one that are shown.
CONTEXT = 8
#: Compared with what is due at first, and then four times as much each time, bytes.
_STEP = 1024
#: Parts of a mark that are tried at the beginning of what came.
_LIKELY = 4
#: How far before and behind that byte what came is searched for, bytes.
REACH = 4 * 1024 * 1024


class Verifier:
    """Compares what comes back with what was sent; marks may stand at any place.

    The first wrong byte is found at once; what happened there is known a little later, when
    :attr:`fault` is set: after :data:`WINDOW` bytes more, or at :meth:`end`.

    :param payload: what is sent.
    :param mark: what the server puts before its replies.
    :param every: bytes of a message, where the server knows messages: each has its mark, and
        there is none elsewhere. 0: a mark must stand first, and may stand anywhere.
    :ivar offset: bytes of the payload that came, in order.
    :ivar marks: replies that began.
    :ivar received: bytes that came.
    """

    def __init__(self, payload: Source, mark: PrefixMatcher, every: int = 0) -> None:
        self._payload, self._mark = payload, mark
        self._every = every if mark else 0  # without marks nothing is due between messages
        self.offset = self.marks = self.received = 0
        self.fault: Fault | None = None
        self._rest = b""  # may be the beginning of a mark
        self._needed = 0  # bytes of that, before it can be a whole one
        self._tail = b""  # payload bytes since the last mark, that a mark may begin with
        self._strange: bytearray | None = None  # what came from the first wrong byte on
        # In what contains no mark, a mark is one: then no two may stand together, nor one last.
        self._certain = bool(self._every) or (
            bool(mark.boundary_bytes) and set(mark.boundary_bytes) <= set(payload.without)
        )
        self._replying = False  # a mark has just ended

    @property
    def wrong(self) -> bool:
        """Whether a wrong byte has come."""
        return self._strange is not None

    @property
    def complete(self) -> bool:
        """Whether everything came, and nothing else so far."""
        return not self.wrong and not self._rest and self.offset == self._payload.size

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self.received += len(data)
        if self._strange is None:
            self._compare(data)
        else:
            self._strange += data
        if self._strange is not None and len(self._strange) >= WINDOW:
            self._diagnose(over=False)

    def end(self) -> Fault | None:
        """Nothing more will come; give what is wrong."""
        self._needed = 0
        if self._strange is None and self._rest:
            self._compare(b"")
        if self.fault is None and not self.complete:
            if self._strange is None and self.offset == self._payload.size:
                self._put_in(self._rest)  # the beginning of a mark, and nothing is due
            elif self._strange is None:
                self._name()
            else:
                self._diagnose(over=True)
        return self.fault

    def judge(self) -> None:
        """Name the fault by what came so far."""
        if self._strange is not None and self.fault is None:
            self._diagnose(over=False)

    def _name(self, kind: Kind = Kind.CUT, seen: bytes = b"") -> None:
        before = self._payload.at(self.offset - CONTEXT, min(CONTEXT, self.offset))
        due, left = self._payload.at(self.offset, SHOWN), self._payload.size - self.offset
        length = left if kind is Kind.CUT else self._mark.max_length
        self.fault = Fault(kind, self.offset, length, before=before, expected=due, seen=seen)

    def _compare(self, data: bytes) -> None:
        data, place = self._rest + data, 0
        if len(data) < self._needed:
            self._rest = data
            return
        self._rest, self._needed = b"", 0
        while place < len(data) and self._strange is None and not self._rest:
            if self._mark_is_due():
                place = self._took(data, place, self._mark.match(data, place))
                continue
            place = self._agree(data, place)
            if place < len(data) and not self._mark_is_due():
                place = self._took(data, place, self._after_mark(data, place))

    def _mark_is_due(self) -> bool:
        """Whether a reply must begin here."""
        if not self._mark or self._replying or self.offset == self._payload.size:
            return False
        return self.offset % self._every == 0 if self._every else self.offset == 0

    def _agree(self, data: bytes, place: int) -> int:
        """Take what is due, at most to the end of a message; give the place behind it."""
        end = len(data)
        if self._every:
            end = min(end, place + self._every - self.offset % self._every)
        agreed, step = 0, _STEP
        while place + agreed < end:  # what is compared is in proportion to what agrees
            came = data[place + agreed : min(end, place + agreed + step)]
            more = common_prefix_length(self._payload.at(self.offset + agreed, len(came)), came)
            agreed, step = agreed + more, 4 * step
            if more < len(came):
                break
        self.offset += agreed
        place += agreed
        self._replying = self._replying and not agreed
        if self._mark and not self._every:
            new = data[max(0, place - agreed, place - self._mark.max_length) : place]
            self._tail = (self._tail + new)[-self._mark.max_length :]
        return place

    def _took(self, data: bytes, place: int, end: int | None) -> int:
        """Take note of the mark that ends at ``end``: -1: maybe later; ``None``: there is none."""
        doubled = self._replying or self.offset == self._payload.size
        if end is not None and end < 0:
            self._rest = data[place:]
            self._needed = self._needed or self._mark.min_length
        elif end is None or (doubled and self._certain):
            self._strange = bytearray(data[place:])
        else:
            self.marks += 1
            self._tail, self._replying = b"", True
            return end
        return len(data)

    def _mark_alone(self, seen: bytes, due: bytes) -> bool:
        """Whether all would be well without the mark that came."""
        strange = bytes((self._strange or b"")[: self._mark.max_length + 1])
        if not self._certain or (self._mark.match(strange, 0) or -1) < 0:
            return False
        size = min(len(seen), len(due))
        return seen[:size] == due[:size] if size else not seen

    def _mark_missing(self, seen: bytes, due: bytes) -> bool:
        """Whether all would be well, had the mark come that is due."""
        size = min(len(seen), len(due))
        return self._mark_is_due() and size > 0 and seen[:size] == due[:size]

    def _put_in(self, mark: bytes) -> None:
        """A mark without a reply behind it."""
        self._strange = self._strange or bytearray(mark)
        before = self._payload.at(self.offset - CONTEXT, min(CONTEXT, self.offset))
        due = self._payload.at(self.offset, SHOWN)
        self.fault = Fault(
            Kind.INSERTED, self.offset, len(mark), before=before, expected=due, seen=mark[:SHOWN]
        )

    def _after_mark(self, data: bytes, place: int) -> int | None:
        """Find the mark that begins here, or a little before with bytes like the payload's."""
        if not self._mark or self._every:
            return None
        here = self._mark.match(data, place)
        if here is not None or not self._tail:
            return here
        behind = len(self._tail)
        joined = self._tail + data[place : place + self._mark.max_length + 1]
        for start, end in self._mark.match_backwards(joined, behind):
            if end < 0:
                self._needed = self._mark.min_length - max(0, behind - start)
                return -1  # a nearer one is to be preferred: wait for its rest
            if end >= behind and self._goes_on(joined[end : end + 1], behind - start):
                self.offset -= behind - start
                return place + end - behind
        return None

    def _goes_on(self, behind: bytes, back: int) -> bool:
        """Whether what stands behind a mark is what is due, as far as it is there."""
        return not behind or behind == self._payload.at(self.offset - back, 1) or not back

    def _diagnose(self, over: bool) -> None:
        assert self._strange is not None  # noqa: S101 - for the type alone
        seen = self._mark.strip(bytes(self._strange))
        if not over:
            seen = seen[: -self._mark.max_length or None]
        before = self._payload.at(self.offset - min(REACH, self.offset), min(REACH, self.offset))
        due = self._payload.at(self.offset, REACH + len(seen))
        left = self._payload.size - self.offset
        if self._mark_alone(seen, due):
            self._put_in(bytes(self._strange)[: self._mark.max_length])
            return
        if self._mark_missing(seen, due):
            self._name(Kind.UNMARKED, seen[:SHOWN])
            return
        if over and not seen:
            self._name()
            return
        over = over and len(due) == left
        best = self._best(
            diagnose(before, due, piece, self.offset, over) for piece in self._readings(seen)
        )
        right = self._payload.at(best.offset - CONTEXT, min(CONTEXT, best.offset))
        self.fault = replace(best, before=right)

    @staticmethod
    def _best(faults: Iterator[Fault]) -> Fault:
        """The first that explains everything, or else the first."""
        first = next(faults)
        return first if first.explained else next((f for f in faults if f.explained), first)

    def _readings(self, seen: bytes) -> list[bytes]:
        """What came, and the same without a part of a mark at its beginning."""
        literal, sizes = self._mark.literal or b"", range(1, 64)
        begun = [literal[:size] for size in sizes if size < len(literal)]
        ended = [literal[size:] for size in sizes if size < len(literal)][::-1]
        # Only the longest: a server may send what begins like very many of them.
        likely = [part for part in begun if seen.startswith(part)][-_LIKELY:]
        likely += [part for part in ended if seen.startswith(part)][-_LIKELY:]
        return [seen, *(seen[len(part) :] for part in likely)]
