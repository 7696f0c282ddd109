"""How a server answers: what stands before each reply, and where prefixes may come.

Theory of operation. With ``line`` and ``length`` framing a server knows messages, and a head comes
before each reply: the prefix, behind the length header if there is one. With ``chunk`` framing a
server answers each of its reads, and TCP decides where reads are cut. So a prefix may come at any
offset, and there may be one for several messages. No message contains a byte that a prefix begins
with (:attr:`ReplyFormat.excluded`). So prefixes are cut out of the stream before the rest is
compared.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from itertools import islice

from echosvc.wire.prefix_matching import (
    DIGITS,
    MAX_NUMBER,
    VISIBLE,
    PrefixMatcher,
    match_template,
)
from echosvc.wire.template import Field, Part, Template

_HEADER = struct.Struct("!I")
#: Bytes in which the first prefix of a connection must end.
MAX_PREFIX = 4096
#: So many places are tried where it may end.
_MAX_ENDS = 64


class ReplyFormat:
    """What a server sends before its replies.

    :param framing: ``chunk``, ``line`` or ``length``.
    :param template: the prefix. Where it has other fields than ``{message}``, they are found in the
        first reply of each connection.
    :ivar anywhere: prefixes may come at any offset, and must be split off.
    :ivar has_heads: something comes before each reply, and nowhere else.
    :ivar prefix: one as it may come.
    :ivar is_bound: the template has no field but ``{message}``.
    :ivar excluded: bytes that messages must not contain, besides LF where they are lines.
    """

    def __init__(self, framing: str, template: Template) -> None:
        self.framing, self.template = framing, template
        self._prefix = PrefixMatcher(template)
        self.prefix = template.render(0)
        self.anywhere = framing == "chunk" and bool(self._prefix)
        self.is_bound = not any(_is_unknown(part) for part in template.parts)
        self.excluded = self._boundary_bytes() if self.anywhere else b""
        self._head = lru_cache(maxsize=1024)(self._make_head)
        self._matcher = lru_cache(maxsize=64)(self._make_matcher)
        self.has_heads = framing == "length" or (framing == "line" and bool(self._prefix))

    def _boundary_bytes(self) -> bytes:
        """Return with which bytes a prefix may begin, or go on at its end."""
        first = VISIBLE if _is_unknown(self.template.parts[0]) else b""
        return bytes({*first, *self._prefix.boundary_bytes})

    @property
    def varies(self) -> bool:
        """Whether heads differ by the number of the reply."""
        return self.has_heads and self.template.constant is None

    def frame(self, message: bytes) -> bytes:
        """Return a message as it is sent."""
        return _HEADER.pack(len(message)) + message if self.framing == "length" else message

    def reply(self, message: bytes) -> bytes:
        """Return the whole reply that is due; of heads that vary, one that is as long."""
        return self._head(len(message)) + message if self.has_heads else message

    def find_head(self, data: bytes, start: int, size: int) -> int | None:
        """Return where the head that begins at ``start`` ends.

        :param size: of the message behind it, bytes.
        :return: -1: the data ends before it does; ``None``: no head begins there.
        """
        return self._matcher(size).match(data, start)

    def head_before(self, data: bytes, end: int, size: int) -> int | None:
        """Return where the head begins that ends at ``end``; ``None``: there is none."""
        if not self.varies:
            head = self._head(size) if self.has_heads else b""
            return end - len(head) if data.endswith(head, 0, end) else None
        matcher = self._matcher(size)
        for start in range(max(0, end - matcher.max_length), end):
            if matcher.match(data, start) == end:
                return start
        return None

    def head_size(self, size: int) -> int:
        """Return how many bytes a head has, about, before a message of ``size`` bytes."""
        return len(self._head(size)) if self.has_heads else 0

    def _make_head(self, size: int) -> bytes:
        header = _HEADER.pack(len(self.prefix) + size) if self.framing == "length" else b""
        return header + self.prefix

    def _make_matcher(self, size: int) -> PrefixMatcher:
        sizes = frozenset({size} if self.framing == "length" else ())
        return PrefixMatcher(self.template, sizes)


def _is_unknown(part: Part) -> bool:
    return isinstance(part, Field) and part.name != "message"


class PrefixBinder:
    """Finds the prefix of a connection in its first reply, if it has fields: who answered.

    :param replies: with fields that are not known yet.
    :param key: with which the first message begins.
    :ivar data: what came so far.
    """

    def __init__(self, replies: ReplyFormat, key: bytes) -> None:
        self._replies, self._key = replies, key
        self.data = b""

    def feed(self, data: bytes) -> ReplyFormat | None:
        """Take what came; return the same with the fields known; ``None``: more must come."""
        self.data += data
        scope = self._scope()
        if scope.endswith(self._key) or len(scope) > MAX_PREFIX:
            return self.bind()
        return self._find(scope)

    def bind(self) -> ReplyFormat:
        """Return the same with the fields known, or as if ``{name}`` were the text of each."""
        literal = Template.literal(self._replies.template.describe())
        return self._find(self._scope()) or ReplyFormat(self._replies.framing, literal)

    def _scope(self) -> bytes:
        """Return what is searched, so that it does not matter how much more came."""
        scope = self.data[: MAX_PREFIX + 1]
        end = scope.find(self._key)
        return scope if end < 0 else scope[: end + len(self._key)]

    def _find(self, scope: bytes) -> ReplyFormat | None:
        """Return the same with the fields known, if the key came behind a prefix.

        A server may have read the first message in pieces: then there are prefixes in the key.
        """
        ends = [scope.find(self._key)]
        if self._replies.anywhere:
            found = re.finditer(re.escape(self._key[:1]), scope)
            ends = [each.start() for each in islice(found, _MAX_ENDS)]
        for end in ends:
            bound = self._bind_at(scope, end) if end >= 0 else None
            if bound is not None:
                return bound
        return None

    def _bind_at(self, scope: bytes, end: int) -> ReplyFormat | None:
        """Return the same, if the first prefix ends there."""
        framing, template = self._replies.framing, self._replies.template
        start = _HEADER.size if framing == "length" else 0
        bound = match_template(template, scope[start:end])
        if bound is None:
            return None
        replies, came = ReplyFormat(framing, bound), scope[end:]
        if replies.anywhere:
            came = b"".join(PrefixSplitter(replies).split(came))
        return replies if came.startswith(self._key) else None


class PrefixSplitter:
    """Cuts the prefixes out of what a server with ``chunk`` framing sends.

    :param replies: whose prefixes may come anywhere.
    :ivar held: what may be the beginning of a prefix.
    """

    def __init__(self, replies: ReplyFormat) -> None:
        parts, self._matcher = replies.template.parts, PrefixMatcher(replies.template)
        self._literal = self._matcher.literal
        self._pattern = re.compile(_expression(parts), re.DOTALL)
        begin = re.escape(parts[0][:1]) if isinstance(parts[0], bytes) else DIGITS
        self._begin = re.compile(b"[" + begin + b"]")
        self.held = b""

    def split(self, data: bytes) -> list[bytes]:
        """Return what stands between prefixes: a prefix came before each piece but the first."""
        if self.held:
            data, self.held = self.held + data, b""
        pieces = data.split(self._literal) if self._literal else self._pattern.split(data)
        hold = self._find_partial(pieces[-1])
        if hold >= 0:
            pieces[-1], self.held = pieces[-1][:hold], pieces[-1][hold:]
        return pieces

    def _find_partial(self, data: bytes) -> int:
        """Return where a prefix begins that is not whole yet; -1: none does."""
        start = max(0, len(data) - self._matcher.max_length)
        while (found := self._begin.search(data, start)) is not None:
            if self._matcher.match(data, found.start()) == -1:
                return found.start()
            start = found.start() + 1
        return -1


def _expression(parts: tuple[Part, ...]) -> bytes:
    """Return the regular expression of a prefix whose fields are numbers."""
    number = b"[0-9]{1,%d}" % MAX_NUMBER
    whole = b"".join(re.escape(part) if isinstance(part, bytes) else number for part in parts)
    # At the end of what came, a number may have more digits.
    return whole if isinstance(parts[-1], bytes) else whole + b"(?=[^0-9])"
