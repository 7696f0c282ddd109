"""Whether what came back answers what was sent.

A server answers with prefix + piece, and it is TCP that decides where the pieces
are cut. No Twisted, no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from echosvc.prefix import Field, Template

_NUMBERS = ("pid", "connection", "message")
_DIGITS = frozenset(b"0123456789")
_VISIBLE = frozenset(range(0x21, 0x7F))
#: Longest text taken for one field, for one that is a number, bytes.
_LONGEST_FIELD = 255
_LONGEST_NUMBER = 20
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
            steps.append(Step(_DIGITS if part.name in _NUMBERS else _VISIBLE, repeats=True))
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
        self._tail = b""  # what came last, behind the last prefix
        self._last_sent = b""
        self.sent = 0
        self.received = 0
        self._prefix_bytes = 0
        self._greeting = 0  # bytes before the first prefix
        self._look_alike = 0  # bytes sent that look like prefixes
        self._unsure = False  # or may do: the prefix was not known yet

    def send(self, data: bytes) -> None:
        """Take note of what goes out."""
        self.sent += len(data)
        if self._longest:
            data = self._last_sent + data
            found = [*self._prefix.finditer(data)] if self._taught else []
            self._look_alike += sum(len(match[0]) for match in found)
            self._unsure |= not self._taught
            start = max(found[-1].end() if found else 0, len(data) - self._longest + 1)
            self._last_sent = data[start:]

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self.received += len(data)
        if not self._longest:
            return
        data = self._tail + data
        if not self._taught:
            self._learn(data)
        end = 0
        before = self.received - len(data)
        for match in self._prefix.finditer(data) if self._taught else ():
            if not self._prefix_bytes:
                self._greeting = before + match.start()
            self._prefix_bytes += len(match[0])
            end = match.end()
        self._tail = data[max(end, len(data) - max(1, self._longest) + 1) :]

    @property
    def payload(self) -> int:
        """Bytes that came back, without what looks like prefixes, or a greeting."""
        # A server without prefixes may give back a payload that contains one.
        greeting = 0 if self._look_alike or self._unsure else self._greeting
        return self.received - greeting - self._prefix_bytes - self._begun()

    @property
    def surplus(self) -> bool:
        """Whether more came back than went out, from a server that puts in prefixes."""
        return self._prefix_bytes > 0 and self.payload > self.sent

    @property
    def complete(self) -> bool:
        """Whether as many bytes came back as went out.

        Where the payload itself contains the prefix, not all of those that came back
        were put in by the server.
        """
        missing = self.sent - self.payload
        if missing <= 0:
            return True
        if self._unsure:
            return self.sent + self._shortest <= self.received and missing < self._prefix_bytes
        if missing > self._look_alike:
            return False
        return self._shortest != self._longest or missing % self._shortest == 0

    def _use(self, template: Template) -> None:
        parts = template.parts
        self._template = template
        self._prefix = prefix_pattern(template)
        self._steps = steps_of(template)
        self._shortest = sum(len(part) if isinstance(part, bytes) else 1 for part in parts)
        self._longest = sum(
            len(part) if isinstance(part, bytes) else _width(part) for part in parts
        )

    def _learn(self, data: bytes) -> None:
        match = self._prefix.search(data[:_LESSON])
        if match is not None:
            fields = {name: text.decode("ascii") for name, text in match.groupdict().items()}
            self._use(self._template.bind(fields))
        elif len(data) >= _LESSON:
            self._use(Template.literal(b""))  # this server has no such prefix
        self._taught = match is not None or len(data) >= _LESSON

    def _begun(self) -> int:
        """Bytes at the end that may be the beginning of a prefix, and are not payload."""
        for size in range(min(len(self._tail), self._longest), 0, -1):
            end = self._tail[-size:]
            if begins(self._steps, end) and not self._last_sent.endswith(end):
                return size
        return 0


def begins(steps: list[Step], data: bytes) -> bool:
    """Whether ``data`` is the beginning of a prefix, and not a whole one."""
    places = {0}
    for byte in data:
        allowed = {place for place in places if place < len(steps) and byte in steps[place].allowed}
        places = {place + 1 for place in allowed} | {
            place for place in allowed if steps[place].repeats
        }
    return any(place < len(steps) for place in places)


def _width(field: Field) -> int:
    """The longest text taken for a field, bytes."""
    return _LONGEST_NUMBER if field.name in _NUMBERS else _LONGEST_FIELD


def prefix_pattern(template: Template) -> re.Pattern[bytes]:
    """The prefix as an expression; each field but ``{message}`` is a named group."""
    expression, seen = b"", {"message"}
    for part in template.parts:
        if isinstance(part, bytes):
            expression += re.escape(part)
            continue
        name, letters = part.name.encode(), b"[0-9]" if part.name in _NUMBERS else b"[!-~]"
        some = letters + b"{1,%d}?" % _width(part)
        if part.name not in seen:
            expression += b"(?P<%s>%s)" % (name, some)
        else:
            expression += some if part.name == "message" else b"(?P=%s)" % name
        seen.add(part.name)
    return re.compile(expression, re.DOTALL)
