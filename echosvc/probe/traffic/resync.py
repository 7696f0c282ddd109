"""From the first wrong byte to the next intact message: what became of those between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from echosvc.probe.engine.fault import SAMPLE_SIZE, Fault, FaultKind
from echosvc.probe.engine.payload import FixedPayload
from echosvc.probe.engine.verifier import WINDOW, Verifier
from echosvc.probe.traffic.incidents import Mismatch
from echosvc.probe.traffic.ledger import Ledger
from echosvc.probe.traffic.messages import KEY_SIZE, Messages
from echosvc.probe.traffic.replies import ReplyFormat
from echosvc.probe.traffic.search import IntactMessage, StampSearch
from echosvc.probe.traffic.sent_message import SentMessage, select_damaged
from echosvc.wire.compare import common_prefix_length
from echosvc.wire.prefix_matching import PrefixMatcher
from echosvc.wire.template import Template

#: Bytes behind the first wrong one that are explained, and how many mismatches of a connection are.
#: An explanation takes 1 ms, and up to 6 ms if it is as long.
_EXPLAINED = 16384
_MAX_EXPLANATIONS = 200
_NO_PREFIX = PrefixMatcher(Template.literal(b""))


class Resynchronizer:
    """Finds out what happened to the stream of a connection.

    :param messages: of the connection.
    :param replies: what the server sends before its replies.
    :param ledger: where it is noted what became of each message.
    :ivar active: a wrong byte came, and no intact message behind it yet.
    :ivar has_failed: a wrong byte came.
    :ivar in_excess: all that was due came damaged, and nothing was sent since: what comes now was
        too much in it.
    :ivar replies: what the server sends before its replies.
    :ivar extra: bytes by which heads are longer than those in the replies that are due.
    """

    def __init__(self, messages: Messages, replies: ReplyFormat, ledger: Ledger) -> None:
        self._messages, self.replies, self._ledger = messages, replies, ledger
        self._search = StampSearch(messages)
        self.active = False
        self.extra = 0
        self._unmarked = False
        self._early = 0  # bytes in the buffer that came before anything was due
        self._charged = 0  # bytes in the buffer that were charged to a message
        self._explained, self.has_failed, self.in_excess = 0, False, False

    def begin(self, unmarked: bool) -> None:
        """Begin to search.

        :param unmarked: all bytes are right so far, but a prefix is missing.
        """
        if not self.has_failed:
            self._ledger.tally.count_error("mismatch", self._ledger.now)
        self.has_failed = self.active = True
        self._unmarked, self._early, self._charged = unmarked, 0, 0

    def note_sent(self) -> None:
        """Note that another message is due."""
        if len(self._ledger.pending) == 1:
            self._early = len(self._search.buffer)
        if self.in_excess:
            self.in_excess, self._charged = False, self._early

    def feed(self, data: bytes) -> bytes:
        """Search in what came; return what is behind the next intact message."""
        self._search.buffer += data
        while self.active:
            found = self._search.find(self._limit, self._ledger.sent)
            if found is not None:
                self._accept(found)
            elif self._search.waiting or len(self._search.buffer) < self._limit:
                return b""
            else:
                self._give_up()
        return self._search.consume(len(self._search.buffer))

    def end(self) -> None:
        """Note that nothing more will come."""
        ledger, pending = self._ledger, self._ledger.pending
        seen = self._search.consume(len(self._search.buffer))
        early = self._early if pending else len(seen)
        if not self.in_excess:
            ledger.count("unexpected_bytes", max(0, early - self._charged))
        seen = seen[max(early, self._charged) :]
        damaged = select_damaged(self._without_prefixes(seen), pending)
        if seen:
            self._explain(list(pending), seen)
        ledger.pending = deque(message for message in pending if message not in damaged)
        ledger.skip(damaged, damaged)
        self.active = False

    # -- nothing intact came --------------------------------------------------

    @property
    def _limit(self) -> int:
        """Bytes in which the next intact message must begin."""
        pending = self._ledger.pending
        if not pending:
            return WINDOW
        return self._early + min(self._due_size(), self._reply_size(pending[0]) + WINDOW)

    def _due_size(self) -> int:
        return sum(map(self._reply_size, self._ledger.pending))

    def _reply_size(self, message: SentMessage) -> int:
        return self.replies.head_size(message.size) + self.extra + message.size

    def _give_up(self) -> None:
        """Charge what came to the messages that were due: all, or the first if more may come."""
        pending, limit = self._ledger.pending, self._limit
        all_came = self._due_size() + self._early <= limit
        if pending and not all_came:
            limit = self._early + self._reply_size(pending[0])
        seen = bytes(self._search.buffer[self._charged : limit])
        if not pending:
            self._ledger.count("unexpected_bytes", len(seen))
            self.in_excess = False
        else:
            self._charge(list(pending) if all_came else [pending[0]], seen)
            self.in_excess = all_came
        self._keep_last(seen, limit)

    def _charge(self, messages: list[SentMessage], seen: bytes) -> None:
        self._explain(messages, seen)
        for _ in messages:
            self._ledger.pending.popleft()
        self._ledger.damage_by_place(messages)

    def _keep_last(self, seen: bytes, size: int) -> None:
        """Remove what was charged, but for what may be the beginning of an intact message."""
        key = self._messages.key
        begun = max(each for each in range(KEY_SIZE) if seen.endswith(key[:each]))
        if begun:
            begun = min(size, begun + self.replies.head_size(self._messages.min_size))
        self._search.consume(size - begun)
        self._charged = self._early = begun
        self.active = bool(self._search.buffer)

    # -- an intact message came -----------------------------------------------

    def _accept(self, found: IntactMessage) -> None:
        """Note what came before an intact message, and the message."""
        seen = self._search.consume(found.end)
        junk, whole = self._split(seen, found)
        seen, junk = seen[min(self._charged, len(junk)) :], junk[self._charged :]
        self.active, self._early, self._charged = False, 0, 0
        if not self._ledger.is_pending(found.number):
            junk = b"" if self.in_excess else self._without_prefixes(junk)
            self.in_excess = False
            self._ledger.count("unexpected_bytes", len(junk))
            self._note_again(found.number, seen[found.start - found.end :])
            return
        skipped = self._ledger.take_before(found.number)
        message = self._ledger.pending.popleft()
        if not junk and not skipped and whole:
            self._ledger.answer(message)  # an end was charged by its place before
            return
        fault = self._explain([*skipped, message], seen)
        if skipped:
            damaged = select_damaged(self._without_prefixes(junk), skipped)
            self._ledger.skip(skipped, damaged)
            junk, whole = b"", whole or bool(damaged)
        self._settle(message, junk, whole, fault)

    def _split(self, seen: bytes, found: IntactMessage) -> tuple[bytes, bool]:
        """Return what came before the reply of a message, and whether its head is there."""
        size = found.end - found.start
        head = self.replies.head_before(seen, found.start, size)
        whole = head is not None and not (self._unmarked and found.start == 0)
        if head is None:
            head = max(0, found.start - self.replies.head_size(size))
        return seen[:head], whole

    def _settle(self, message: SentMessage, junk: bytes, whole: bool, fault: Fault | None) -> None:
        """Note what became of an intact message before which none is due."""
        repeated = whole and fault is not None and fault.kind is FaultKind.REPEATED
        if not whole or (junk and not repeated):
            self._ledger.skip([message], [message])
            return
        if junk:
            self._ledger.count("duplicated")
        self._ledger.answer(message)

    def _note_again(self, number: int, seen: bytes) -> None:
        kind = self._ledger.note_again(number)
        self._note(Fault(kind, 0, len(seen), seen=seen[:SAMPLE_SIZE]), number)

    def _without_prefixes(self, junk: bytes) -> bytes:
        """Return what came without prefixes, where these may come anywhere."""
        return junk.replace(self.replies.prefix, b"") if self.replies.anywhere else junk

    # -- explanations ---------------------------------------------------------

    def _explain(self, due: Sequence[SentMessage], seen: bytes) -> Fault | None:
        """Return what happened to the replies that were due, and note it; ``None``: not known.

        :param seen: what came in their place.
        """
        if self._explained >= _MAX_EXPLANATIONS:
            return None
        self._explained += 1
        before = b"" if self._ledger.last is None else self._ledger.last.reply
        expected = b"".join([before, *(message.reply for message in due)])
        fault = _diagnose(expected, before + seen)
        if fault is not None:
            moved = replace(fault, offset=fault.offset - len(before))
            self._note(moved, due[0].number if due else -1)
        return fault

    def _note(self, fault: Fault, number: int) -> None:
        ledger = self._ledger
        mismatch = Mismatch(
            ledger.now, ledger.connection, number, fault.kind.value, fault.offset, fault.length,
            fault.expected, fault.seen,
        )  # fmt: skip
        ledger.tally.note_mismatch(mismatch)


def _diagnose(expected: bytes, seen: bytes) -> Fault | None:
    """Return the first fault of a stream; ``None``: there is none."""
    last = common_prefix_length(expected, seen) + _EXPLAINED
    verifier = Verifier(FixedPayload(expected), _NO_PREFIX)
    verifier.feed(seen[:last])
    if len(seen) <= last:
        return verifier.end()
    verifier.diagnose_now()
    return verifier.fault
