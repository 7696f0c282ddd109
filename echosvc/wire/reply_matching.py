"""Whether what came back answers what was sent.

A server answers with prefix + piece, and it is TCP that decides where the pieces
are cut. No Twisted, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

from echosvc.wire.prefix_matching import DIGITS, NUMBERS, VISIBLE, Pattern
from echosvc.wire.template import Field, Template

_DIGITS = frozenset(DIGITS)
_VISIBLE = frozenset(VISIBLE)
#: How much of a stream is searched for the first prefix, bytes.
_LESSON = 4096
#: Readings of the stream that are followed at a time; a bound for hostile streams.
_READINGS = 16

# How a reading began: with a prefix at the very start of the answer, with a prefix
# after something else (a greeting), or without one at the very start (a plain echo).
_PREFIXED, _LATER, _PLAIN = range(3)


@dataclass(frozen=True)
class Step:
    """A place in the prefix: the bytes that may stand there, and whether repeatedly."""

    allowed: frozenset[int]
    repeats: bool = False


def steps_of(template: Template) -> list[Step]:
    """What may stand at each place of a prefix."""
    steps: list[Step] = []
    for part in template.parts:
        if isinstance(part, Field):
            steps.append(Step(_DIGITS if part.name in NUMBERS else _VISIBLE, repeats=True))
        else:
            steps += [Step(frozenset((byte,))) for byte in part]
    return steps


class Answer:
    """Finds one message in what comes back: its bytes in order, prefixes between them.

    A reading is (bytes of the message seen, place in the prefix, how it began); all
    that the stream allows are followed at the same time, so that a message that
    contains the prefix, or part of it, is not mistaken.

    :param template: the server's prefix; fields match whatever may stand there.
    :param message: what was sent.
    """

    def __init__(self, template: Template, message: bytes) -> None:
        self._steps = steps_of(template)
        self._message = message
        self._inside = len(self._steps)  # this place: behind the prefix
        self._readings = {(0, self._inside, _PLAIN), (0, 0, _PREFIXED)}
        self.complete = not message

    @property
    def begun(self) -> bool:
        """Whether a prefix came, and so far nothing but the message behind it."""
        return any(
            began != _PLAIN and (seen > 0 or place == self._inside)
            for seen, place, began in self._readings
        )

    def feed(self, data: bytes) -> bool:
        """Take what came; give whether the message is answered."""
        for byte in data:
            if self.complete:
                break
            self._take(byte)
        return self.complete

    def _take(self, byte: int) -> None:
        after: set[tuple[int, int, int]] = set()
        for reading in self._readings:
            self._follow(reading, byte, after)
        if (0, self._inside, _PREFIXED) in after:  # it was the prefix, not the message
            after = {reading for reading in after if reading[2] != _PLAIN}
        if len(after) > _READINGS:
            after = set(sorted(after, reverse=True)[:_READINGS])
        # Something else may stand first: a prefix can begin anywhere.
        self.complete = self._answered(after)
        self._readings = after | {(0, 0, _LATER)}

    def _follow(
        self, reading: tuple[int, int, int], byte: int, after: set[tuple[int, int, int]]
    ) -> None:
        seen, place, began = reading
        if seen == len(self._message):
            after.add(reading)
            return
        if place == self._inside:
            if byte == self._message[seen]:
                after.add((seen + 1, place, began))
            place = 0  # or a prefix begins here
        if place < self._inside and byte in self._steps[place].allowed:
            after.add((seen, place + 1, began))
            if self._steps[place].repeats:
                after.add((seen, place, began))

    def _answered(self, readings: set[tuple[int, int, int]]) -> bool:
        whole = [began for seen, _, began in readings if seen == len(self._message)]
        if any(began != _PLAIN for began in whole):
            return True
        # The same bytes may yet turn out to be the prefix.
        opening = any(began == _PREFIXED and not seen for seen, _, began in readings)
        return bool(whole) and not opening


def agreeing(one: bytes, other: bytes) -> int:
    """Count the bytes at the beginning that are the same."""
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size
    low, high = 0, size  # the first `low` agree, the first `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


class Tally:
    """Counts a stream that is too long to be kept: what went out, what came back.

    All fields of a prefix but ``{message}`` mean the same for a whole connection, so
    the first prefix that comes teaches them, and the later ones are found quickly.

    :param template: the server's prefix.
    :ivar sent: bytes that went out.
    :ivar received: bytes that came back, prefixes included.
    """

    def __init__(self, template: Template) -> None:
        self._use(template)
        self._taught = template.constant is not None
        self._out, self._in = _Direction(), _Direction()
        self.sent = 0
        self.received = 0
        self._unsure = False  # what went out may look like prefixes: they were not known yet

    def send(self, data: bytes) -> None:
        """Take note of what goes out."""
        self.sent += len(data)
        if self._pattern.longest:
            self._unsure |= not self._taught
            if self._out.take(data):
                self._look_at_sent()

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self.received += len(data)
        if self._pattern.longest and self._in.take(data):
            self._look_at_received()

    @property
    def payload(self) -> int:
        """Bytes that came back, without what looks like prefixes, or a greeting."""
        self._look_at_sent()
        self._look_at_received()
        # A server without prefixes may give back a payload that contains one.
        greeting = 0 if self.look_alike or self._unsure else max(0, self._in.first)
        return self.received - greeting - self._in.found - self._begun()

    @property
    def back(self) -> int:
        """Bytes of what went out that have come back."""
        return min(self.sent, self.payload)

    @property
    def prefixed(self) -> bool:
        """Whether prefixes came that were not sent: the server puts them in."""
        self._look_at_sent()
        self._look_at_received()
        return self._in.found > 0 and not self.look_alike

    @property
    def look_alike(self) -> int:
        """Bytes sent that look like prefixes."""
        return self._out.found

    @property
    def surplus(self) -> bool:
        """Whether more came back than went out, from a server that puts in prefixes."""
        return self.payload > self.sent and self._in.found > 0

    @property
    def complete(self) -> bool:
        """Whether as many bytes came back as went out.

        Where the payload itself contains the prefix, not all of those that came back
        were put in by the server.
        """
        missing = self.sent - self.payload
        if missing <= 0:
            return True
        shortest = self._pattern.shortest
        if self._unsure:
            return self.sent + shortest <= self.received and missing < self._in.found
        if missing > self.look_alike:
            return False
        return shortest != self._pattern.longest or missing % shortest == 0

    def _use(self, template: Template) -> None:
        self._template = template
        self._pattern = Pattern.of(template)

    def _look_at_sent(self) -> None:
        self._out.look(self._pattern, count=self._taught)

    def _look_at_received(self) -> None:
        if not self._taught:
            self._learn(self._in.lesson())
        if self._taught:
            self._in.look(self._pattern)

    def _learn(self, data: bytes) -> None:
        """Find the first prefix."""
        match = next(iter(self._pattern.find_all(data[:_LESSON])), None)
        if match is not None:
            self._use(self._template.bind(match.texts()))
        elif len(data) >= _LESSON:
            self._use(Template.literal(b""))  # this server has no such prefix
        self._taught = match is not None or len(data) >= _LESSON

    def _begun(self) -> int:
        """Bytes at the end that may be the beginning of a prefix, and are not payload."""
        size = self._pattern.begun(self._in.tail)
        # What was sent may end like the beginning of a prefix.
        return 0 if self._out.tail.endswith(self._in.tail[len(self._in.tail) - size :]) else size


class _Direction:
    """One direction of a stream, and the prefixes that are found in it.

    A prefix may be cut anywhere. So what is kept is looked at again, but only when as much
    has come as was kept: where reads are small and the prefix is long, each byte is still
    looked at a few times, no more.

    :ivar tail: what came last, behind the last prefix.
    :ivar found: bytes in prefixes.
    :ivar first: where the first one stands; -1: there is none yet.
    """

    def __init__(self) -> None:
        self.tail = b""
        self.found = 0
        self.first = -1
        self._pieces: list[bytes] = []
        self._waiting = self._passed = 0
        self._looked = True

    def take(self, data: bytes) -> bool:
        """Take what comes; give whether there is enough to look at."""
        self._pieces.append(data)
        self._waiting += len(data)
        self._looked = False
        return self._waiting >= len(self.tail)

    def lesson(self) -> bytes:
        """Give all that is kept; nothing of it is given up."""
        self.tail += b"".join(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        return self.tail

    def look(self, pattern: Pattern, count: bool = True) -> None:
        """Find prefixes, and keep what may be the beginning of one.

        :param count: else only keep the end.
        """
        if self._looked:
            return
        data, end = self.lesson(), 0
        for match in pattern.find_all(data) if count else ():
            if self.first < 0:
                self.first = self._passed + match.start
            self.found += match.end - match.start
            end = match.end
        start = max(end, len(data) - max(1, pattern.longest) + 1)
        self.tail = data[start:]
        self._passed += start
        self._looked = True
