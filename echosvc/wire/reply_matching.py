"""Replies to what was sent, recognised in what a peer sends back.

A server answers with prefix + piece for each piece that it reads, and TCP decides where the
pieces are cut. :class:`ReplyMatcher` finds the end of the reply to one message;
:class:`StreamCounter` counts a stream that is too long to be kept.

The verifier of the probes recognises prefixes, too, and does not replace them. It must know the
prefix of its connection byte for byte and what stands before the first reply; in return it names
what is wrong. The client of the command line (``send``) sends its first message before it knows
either: there may be a greeting of any length, fields of the prefix have no value yet, and a
server without the prefix is accepted, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from echosvc.wire.pattern import Pattern
from echosvc.wire.prefix_matching import prefix_parts, prefix_pattern
from echosvc.wire.template import Template

#: How much of a stream is searched for the first prefix, bytes.
_DETECTION_WINDOW = 4096
#: Hypotheses that are followed at a time: a bound for hostile streams.
_MAX_HYPOTHESES = 16

# How a hypothesis began: with a prefix at the start of the reply, with a prefix behind
# something else (a greeting), or with the message itself at the start (a plain echo).
_PREFIXED, _LATER, _PLAIN = range(3)


@dataclass(frozen=True)
class PatternByte:
    """One position of a prefix: the bytes that may be there, and whether any number of them."""

    allowed: frozenset[int]
    repeats: bool = False


def pattern_bytes(template: Template) -> list[PatternByte]:
    """Return what may be at each position of a prefix."""
    positions: list[PatternByte] = []
    for part in prefix_parts(template):
        if isinstance(part, bytes):
            positions += [PatternByte(frozenset((byte,))) for byte in part]
        else:
            positions.append(PatternByte(frozenset(part.allowed), repeats=True))
    return positions


class ReplyMatcher:
    """Finds the reply to one message: its bytes in order, with prefixes between them.

    A nondeterministic automaton. A hypothesis is (bytes of the message seen, position in the
    prefix, how it began). All hypotheses that the stream allows are followed together, so a
    message that contains the prefix, or part of it, is not mistaken for one.

    :param template: the server's prefix; a field matches any text.
    :param message: what was sent.
    :ivar complete: the whole reply came.
    """

    def __init__(self, template: Template, message: bytes) -> None:
        self._prefix = pattern_bytes(template)
        self._message = message
        self._inside = len(self._prefix)  # the position behind the prefix
        self._hypotheses = {(0, self._inside, _PLAIN), (0, 0, _PREFIXED)}
        self.complete = not message

    @property
    def begun(self) -> bool:
        """Whether a prefix came, and behind it nothing but the message so far."""
        return any(
            began != _PLAIN and (seen > 0 or position == self._inside)
            for seen, position, began in self._hypotheses
        )

    def feed(self, data: bytes) -> bool:
        """Take what came; return whether the reply is complete."""
        for byte in data:
            if self.complete:
                break
            self._step(byte)
        return self.complete

    def _step(self, byte: int) -> None:
        after: set[tuple[int, int, int]] = set()
        for hypothesis in self._hypotheses:
            self._follow(hypothesis, byte, after)
        if (0, self._inside, _PREFIXED) in after:  # it was the prefix, not the message
            after = {hypothesis for hypothesis in after if hypothesis[2] != _PLAIN}
        if len(after) > _MAX_HYPOTHESES:
            after = set(sorted(after, reverse=True)[:_MAX_HYPOTHESES])
        self.complete = self._is_answered(after)
        # A greeting may come first: a prefix can begin at any byte.
        self._hypotheses = after | {(0, 0, _LATER)}

    def _follow(
        self, hypothesis: tuple[int, int, int], byte: int, after: set[tuple[int, int, int]]
    ) -> None:
        seen, position, began = hypothesis
        if seen == len(self._message):
            after.add(hypothesis)
            return
        if position == self._inside:
            if byte == self._message[seen]:
                after.add((seen + 1, position, began))
            position = 0  # or a prefix begins here
        if position < self._inside and byte in self._prefix[position].allowed:
            after.add((seen, position + 1, began))
            if self._prefix[position].repeats:
                after.add((seen, position, began))

    def _is_answered(self, hypotheses: set[tuple[int, int, int]]) -> bool:
        whole = [began for seen, _, began in hypotheses if seen == len(self._message)]
        if any(began != _PLAIN for began in whole):
            return True
        # The same bytes may yet turn out to be the prefix.
        opening = any(began == _PREFIXED and not seen for seen, _, began in hypotheses)
        return bool(whole) and not opening


class StreamCounter:
    """Counts a stream that is too long to be kept: what was sent, what came back.

    All fields of a prefix but ``{message}`` have one value for a whole connection. So they are
    bound from the first prefix that comes, and later prefixes are found faster.

    :param template: the server's prefix.
    :ivar sent: bytes that were sent.
    :ivar received: bytes that came, prefixes included.
    """

    def __init__(self, template: Template) -> None:
        self._use(template)
        self._prefix_known = template.constant is not None
        self._out, self._in = _Direction(), _Direction()
        self.sent = 0
        self.received = 0
        self._unsure = False  # something was sent before it could be searched for prefixes

    def send(self, data: bytes) -> None:
        """Note what is sent."""
        self.sent += len(data)
        if self._pattern.max_length:
            self._unsure |= not self._prefix_known
            if self._out.add(data):
                self._search_sent()

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self.received += len(data)
        if self._pattern.max_length and self._in.add(data):
            self._search_received()

    @property
    def payload(self) -> int:
        """Bytes that came back, without a greeting and what looks like prefixes."""
        self._search_sent()
        self._search_received()
        # A server without prefixes may return a payload that contains one.
        ambiguous = self.prefixes_sent or self._unsure
        greeting = 0 if ambiguous else max(0, self._in.first)
        return self.received - greeting - self._in.found - self._partial_prefix()

    @property
    def returned(self) -> int:
        """How many of the bytes sent have come back."""
        return min(self.sent, self.payload)

    @property
    def prefixed(self) -> bool:
        """Whether prefixes came that were not sent: the server adds them."""
        self._search_sent()
        self._search_received()
        return self._in.found > 0 and not self.prefixes_sent

    @property
    def prefixes_sent(self) -> int:
        """How many of the bytes sent look like prefixes."""
        return self._out.found

    @property
    def has_extra(self) -> bool:
        """Whether more came back than was sent, from a server that adds prefixes."""
        return self.payload > self.sent and self._in.found > 0

    @property
    def complete(self) -> bool:
        """Whether as many bytes came back as were sent.

        If the payload itself contains the prefix, the server did not add all those that came.
        """
        missing = self.sent - self.payload
        if missing <= 0:
            return True
        shortest = self._pattern.min_length
        if self._unsure:
            return self.sent + shortest <= self.received and missing < self._in.found
        if missing > self.prefixes_sent:
            return False
        return shortest != self._pattern.max_length or missing % shortest == 0

    def _use(self, template: Template) -> None:
        self._template = template
        self._pattern: Pattern = prefix_pattern(template)

    def _search_sent(self) -> None:
        self._out.search(self._pattern, count=self._prefix_known)

    def _search_received(self) -> None:
        if not self._prefix_known:
            self._detect_prefix(self._in.unsearched())
        if self._prefix_known:
            self._in.search(self._pattern)

    def _detect_prefix(self, data: bytes) -> None:
        """Bind the template from the first prefix."""
        match = next(iter(self._pattern.find_all(data[:_DETECTION_WINDOW])), None)
        if match is not None:
            self._use(self._template.bind(match.values()))
        elif len(data) >= _DETECTION_WINDOW:
            self._use(Template.literal(b""))  # this server has no such prefix
        self._prefix_known = match is not None or len(data) >= _DETECTION_WINDOW

    def _partial_prefix(self) -> int:
        """Return how many bytes at the end may begin a prefix, and do not count as payload."""
        size = self._pattern.partial_length(self._in.tail)
        # What was sent may end like the beginning of a prefix.
        return 0 if self._out.tail.endswith(self._in.tail[len(self._in.tail) - size :]) else size


class _Direction:
    """One direction of a stream, and the prefixes in it.

    A read may end inside a prefix, so the end of what was searched is kept and searched again:
    only when at least as much has come as was kept. So each byte is searched a few times at
    most, even where reads are small and the prefix is long.

    :ivar tail: the last bytes, behind the last prefix.
    :ivar found: bytes in prefixes.
    :ivar first: offset of the first prefix; -1: none was found yet.
    """

    def __init__(self) -> None:
        self.tail = b""
        self.found = 0
        self.first = -1
        self._pieces: list[bytes] = []
        self._waiting = self._passed = 0
        self._searched = True

    def add(self, data: bytes) -> bool:
        """Add bytes; return whether there are enough for a search."""
        self._pieces.append(data)
        self._waiting += len(data)
        self._searched = False
        return self._waiting >= len(self.tail)

    def unsearched(self) -> bytes:
        """Return all bytes that are kept, and keep them."""
        self.tail += b"".join(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        return self.tail

    def search(self, pattern: Pattern, count: bool = True) -> None:
        """Find prefixes; keep what may be the beginning of one.

        :param count: ``False``: find nothing, and keep only the end.
        """
        if self._searched:
            return
        data, end = self.unsearched(), 0
        for match in pattern.find_all(data) if count else ():
            if self.first < 0:
                self.first = self._passed + match.start
            self.found += match.end - match.start
            end = match.end
        start = max(end, len(data) - max(1, pattern.max_length) + 1)
        self.tail = data[start:]
        self._passed += start
        self._searched = True
