"""Verification that a stream came back whole, once and in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from echosvc.probe.engine.diagnosis import diagnose
from echosvc.probe.engine.fault import SAMPLE_SIZE, Fault, FaultKind
from echosvc.probe.engine.payload import AnyPayload
from echosvc.wire.compare import common_prefix_length
from echosvc.wire.prefix_matching import PrefixMatcher

#: Bytes from the first wrong one on that are examined.
WINDOW = 256 * 1024
#: Bytes before the first wrong one that a fault has.
CONTEXT = 8
#: Bytes of the first comparison; each further one has four times as many.
_FIRST_STEP = 1024
#: Parts of a prefix that are tried at the beginning of what came.
_MAX_PARTS = 4
#: How far before and behind that byte the payload is searched for what came, bytes.
SEARCH_RANGE = 4 * 1024 * 1024


class Verifier:
    """Compares what comes back with what was sent; prefixes may occur at any offset.

    The first wrong byte is found at once; what happened there is known a little later, when
    :attr:`fault` is set: after :data:`WINDOW` bytes more, or at :meth:`end`.

    :param payload: what is sent.
    :param prefix: what the server sends before its replies.
    :param message_size: bytes of a message, if the server knows messages: a prefix comes before
        each, and nowhere else. 0: one comes first, and others may come at any offset.
    :ivar offset: bytes of the payload that came, in order.
    :ivar replies: how many replies began.
    :ivar received: bytes that came.
    """

    def __init__(self, payload: AnyPayload, prefix: PrefixMatcher, message_size: int = 0) -> None:
        self._payload, self._prefix = payload, prefix
        # Without prefixes nothing is due between messages.
        self._message_size = message_size if prefix else 0
        self.offset = self.replies = self.received = 0
        self.fault: Fault | None = None
        self._partial = b""  # may be the beginning of a prefix
        self._needed = 0  # bytes of it before it can be a whole one
        self._tail = b""  # payload since the last prefix: a prefix may begin with it
        self._unexpected: bytearray | None = None  # what came from the first wrong byte on
        # In a payload that contains no prefix, each prefix is one: two in a row are wrong, and one
        # at the end is.
        self._unambiguous = bool(self._message_size) or (
            bool(prefix.boundary_bytes) and set(prefix.boundary_bytes) <= set(payload.excluded)
        )
        self._after_prefix = False  # a prefix has just ended

    @property
    def payload(self) -> AnyPayload:
        """What is sent."""
        return self._payload

    @property
    def wrong(self) -> bool:
        """Whether a wrong byte has come."""
        return self._unexpected is not None

    @property
    def unused(self) -> int:
        """Bytes that came and are not known to be right."""
        return len(self._partial if self._unexpected is None else self._unexpected)

    @property
    def complete(self) -> bool:
        """Whether everything came, and nothing else so far."""
        return not self.wrong and not self._partial and self.offset == self._payload.size

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self.received += len(data)
        if self._unexpected is None:
            self._compare(data)
        else:
            self._unexpected += data
        if self._unexpected is not None and len(self._unexpected) >= WINDOW:
            self._diagnose(final=False)

    def end(self) -> Fault | None:
        """Note that nothing more will come; return what is wrong."""
        self._needed = 0
        if self._unexpected is None and self._partial:
            self._compare(b"")
        if self.fault is None and not self.complete:
            if self._unexpected is None and self.offset == self._payload.size:
                # The beginning of a prefix, and nothing is due.
                self._report_insertion(self._partial)
            elif self._unexpected is None:
                self._report()
            else:
                self._diagnose(final=True)
        return self.fault

    def diagnose_now(self) -> None:
        """Find the fault from what came so far."""
        if self._unexpected is not None and self.fault is None:
            self._diagnose(final=False)

    def _report(self, kind: FaultKind = FaultKind.CUT, seen: bytes = b"") -> None:
        before = self._payload.at(self.offset - CONTEXT, min(CONTEXT, self.offset))
        due, left = self._payload.at(self.offset, SAMPLE_SIZE), self._payload.size - self.offset
        length = left if kind is FaultKind.CUT else self._prefix.max_length
        self.fault = Fault(kind, self.offset, length, before=before, expected=due, seen=seen)

    def _compare(self, data: bytes) -> None:
        data, position = self._partial + data, 0
        if len(data) < self._needed:
            self._partial = data
            return
        self._partial, self._needed = b"", 0
        while position < len(data) and self._unexpected is None and not self._partial:
            if self._prefix_is_due():
                position = self._consume_prefix(data, position, self._prefix.match(data, position))
                continue
            position = self._consume_payload(data, position)
            if position < len(data) and not self._prefix_is_due():
                position = self._consume_prefix(data, position, self._find_prefix(data, position))

    def _prefix_is_due(self) -> bool:
        """Return whether a reply must begin here."""
        if not self._prefix or self._after_prefix or self.offset == self._payload.size:
            return False
        return self.offset % self._message_size == 0 if self._message_size else self.offset == 0

    def _consume_payload(self, data: bytes, position: int) -> int:
        """Consume what is due, at most to the end of a message; return the position behind it."""
        end = len(data)
        if self._message_size:
            end = min(end, position + self._message_size - self.offset % self._message_size)
        agreed, step = 0, _FIRST_STEP
        while position + agreed < end:  # the bytes compared are proportional to those that agree
            came = data[position + agreed : min(end, position + agreed + step)]
            more = common_prefix_length(self._payload.at(self.offset + agreed, len(came)), came)
            agreed, step = agreed + more, 4 * step
            if more < len(came):
                break
        self.offset += agreed
        position += agreed
        self._after_prefix = self._after_prefix and not agreed
        if self._prefix and not self._message_size:
            new = data[max(0, position - agreed, position - self._prefix.max_length) : position]
            self._tail = (self._tail + new)[-self._prefix.max_length :]
        return position

    def _consume_prefix(self, data: bytes, position: int, end: int | None) -> int:
        """Consume the prefix that ends at ``end``; return the position behind what was used.

        :param end: -1: it is not whole yet; ``None``: there is none.
        """
        doubled = self._after_prefix or self.offset == self._payload.size
        if end is not None and end < 0:
            self._partial = data[position:]
            self._needed = self._needed or self._prefix.min_length
        elif end is None or (doubled and self._unambiguous):
            self._unexpected = bytearray(data[position:])
        else:
            self.replies += 1
            self._tail, self._after_prefix = b"", True
            return end
        return len(data)

    def _only_inserted_prefix(self, seen: bytes, due: bytes) -> bool:
        """Return whether the stream is right but for a prefix that was inserted."""
        unexpected = bytes((self._unexpected or b"")[: self._prefix.max_length + 1])
        if not self._unambiguous or (self._prefix.match(unexpected, 0) or -1) < 0:
            return False
        size = min(len(seen), len(due))
        return seen[:size] == due[:size] if size else not seen

    def _only_missing_prefix(self, seen: bytes, due: bytes) -> bool:
        """Return whether the stream is right but for a prefix that is missing."""
        size = min(len(seen), len(due))
        return self._prefix_is_due() and size > 0 and seen[:size] == due[:size]

    def _report_insertion(self, prefix: bytes) -> None:
        """Report a prefix without a reply behind it."""
        self._unexpected = self._unexpected or bytearray(prefix)
        before = self._payload.at(self.offset - CONTEXT, min(CONTEXT, self.offset))
        due = self._payload.at(self.offset, SAMPLE_SIZE)
        self.fault = Fault(
            FaultKind.INSERTED,
            self.offset,
            len(prefix),
            before=before,
            expected=due,
            seen=prefix[:SAMPLE_SIZE],
        )

    def _find_prefix(self, data: bytes, position: int) -> int | None:
        """Return the end of the prefix that begins here, or a little before.

        Its first bytes may be like the payload's, and so were consumed as such.
        """
        if not self._prefix or self._message_size:
            return None
        here = self._prefix.match(data, position)
        if here is not None or not self._tail:
            return here
        behind = len(self._tail)
        joined = self._tail + data[position : position + self._prefix.max_length + 1]
        for start, end in self._prefix.match_backwards(joined, behind):
            if end < 0:
                self._needed = self._prefix.min_length - max(0, behind - start)
                return -1  # a later start is preferred: wait for its rest
            if end >= behind and self._continues_behind(joined[end : end + 1], behind - start):
                self.offset -= behind - start
                return position + end - behind
        return None

    def _continues_behind(self, behind: bytes, back: int) -> bool:
        """Return whether what comes behind a prefix is what is due, as far as it came."""
        return not behind or behind == self._payload.at(self.offset - back, 1) or not back

    def _diagnose(self, final: bool) -> None:
        assert self._unexpected is not None  # noqa: S101 - for the type alone
        seen = self._prefix.strip(bytes(self._unexpected))
        if not final:
            seen = seen[: -self._prefix.max_length or None]
        before = self._payload.at(
            self.offset - min(SEARCH_RANGE, self.offset), min(SEARCH_RANGE, self.offset)
        )
        due = self._payload.at(self.offset, SEARCH_RANGE + len(seen))
        left = self._payload.size - self.offset
        if self._only_inserted_prefix(seen, due):
            self._report_insertion(bytes(self._unexpected)[: self._prefix.max_length])
            return
        if self._only_missing_prefix(seen, due):
            self._report(FaultKind.UNMARKED, seen[:SAMPLE_SIZE])
            return
        if final and not seen:
            self._report()
            return
        final = final and len(due) == left
        best = self._best(
            diagnose(before, due, piece, self.offset, final) for piece in self._variants(seen)
        )
        right = self._payload.at(best.offset - CONTEXT, min(CONTEXT, best.offset))
        self.fault = replace(best, before=right)

    @staticmethod
    def _best(faults: Iterator[Fault]) -> Fault:
        """Return the first that alone explains everything, otherwise the one that explains most."""
        best = next(faults)
        while not (best.explained and best.count == 1):
            other = next(faults, None)
            if other is None:
                break
            if other.explained and (other.count == 1 or not best.explained):
                best = other
        return best

    def _variants(self, seen: bytes) -> list[bytes]:
        """Return what came, and the same without a part of a prefix at its beginning."""
        literal, sizes = self._prefix.literal or b"", range(1, 64)
        begun = [literal[:size] for size in sizes if size < len(literal)]
        ended = [literal[size:] for size in sizes if size < len(literal)][::-1]
        # Only the longest: what a server sends may begin with very many of them.
        likely = [part for part in begun if seen.startswith(part)][-_MAX_PARTS:]
        likely += [part for part in ended if seen.startswith(part)][-_MAX_PARTS:]
        return [seen, *(seen[len(part) :] for part in likely)]
