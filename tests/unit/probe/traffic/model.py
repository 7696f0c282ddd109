"""A server and a path in memory, for the tests of a connection of a load."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from hypothesis import strategies as st

from echosvc.probe.traffic.exchange import CLOSED, Exchange
from echosvc.probe.traffic.messages import Messages, Ring
from echosvc.probe.traffic.replies import ReplyFormat
from echosvc.probe.traffic.schedule import ClosedLoop
from echosvc.probe.traffic.tally import COUNTERS, Tally
from echosvc.wire.template import Template

#: Framing and prefix of the servers.
SERVERS = (
    ("chunk", ""),
    ("chunk", "Sending: "),
    ("chunk", "aXa"),
    ("chunk", "#{message}> "),
    ("chunk", "{message}"),
    ("line", ""),
    ("line", "Sending: "),
    ("line", "{message}: "),
    ("length", ""),
    ("length", "Sending: "),
    ("length", "{message}"),
    ("chunk", "{hostname} says: "),
    ("chunk", "by {hostname}#{message}> "),
    ("line", "{hostname} {message}: "),
    ("length", "{connection}/{peer} "),
)
#: What the fields of the prefix are.
VALUES = {"hostname": "web-3", "connection": "17", "peer": "192.0.2.7:4242"}


#: One for each kind of server: a ring takes time to make.
make_ring = lru_cache(Ring)


class Model:
    """A server of one kind, and the connection to it.

    :ivar replies: what the server sends for each message that was sent, whole.
    """

    def __init__(
        self, framing: str, prefix: str, size: int = 64, more: int = 0, depth: int = 1000
    ) -> None:
        template = Template.parse(prefix)
        self.template = template.bind(VALUES)
        self.format = ReplyFormat(framing, template)
        ring = make_ring(5, 4096, self.format.excluded, framing == "line")
        self.messages = Messages(ring, 1, size, size + more)
        self.tally = Tally()
        self.exchange = Exchange(self.messages, self.format, ClosedLoop(depth), self.tally)
        self._answered = 0

    @property
    def framing(self) -> str:
        return self.format.framing

    def reply(self, request: bytes) -> bytes:
        """What the server answers to one message, or to one read."""
        prefix = self.template.render(self._answered)
        self._answered += 1
        if self.framing != "length":
            return prefix + request
        payload = request[4:]
        return struct.pack("!I", len(prefix) + len(payload)) + prefix + payload

    def requests(self, sent: bytes) -> list[bytes]:
        """Messages, cut out of what was sent at once."""
        found, position = [], 0
        while position < len(sent):
            number = self.messages.number_in(sent[position + 4 * (self.framing == "length") :])
            size = len(self.format.frame(self.messages.make(number)))
            found.append(sent[position : position + size])
            position += size
        return found

    def receive(self, stream: bytes, cuts: Sequence[int], now: float = 2.0) -> int:
        """Pass on a stream in reads; return how many messages were answered."""
        return sum(len(self.exchange.received(read, now)) for read in cut(stream, cuts))

    def end(self, how: str = CLOSED, now: float = 3.0) -> dict[str, int]:
        """End the connection; return the counters that are not 0."""
        self.exchange.ended(how, now)
        assert self.tally.owed == 0
        return {name: found for name in COUNTERS[:10] if (found := getattr(self.tally, name))}


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


@dataclass(frozen=True)
class Damage:
    """A fault of a path that changes a stream, as a relay makes it.

    :ivar kind: lost, duplicated, swapped, flipped or inserted.
    """

    kind: str
    start: int
    size: int
    byte: int = 0x20

    def do(self, stream: bytes) -> bytes:
        a = self.start % (len(stream) + 1)
        b = min(len(stream), a + self.size)
        c = min(len(stream), b + self.size)
        if self.kind == "lost":
            return stream[:a] + stream[b:]
        if self.kind == "duplicated":
            return stream[:b] + stream[a:]
        if self.kind == "swapped":
            return stream[:a] + stream[b:c] + stream[a:b] + stream[c:]
        if self.kind == "inserted":
            return stream[:a] + bytes((self.byte,)) * self.size + stream[a:]
        flipped = bytes(byte ^ (self.byte or 1) for byte in stream[a : a + 1])
        return stream[:a] + flipped + stream[a + 1 :]


KINDS = ("lost", "duplicated", "swapped", "inserted", "flipped")
DAMAGES = st.builds(
    Damage,
    st.sampled_from(KINDS),
    st.integers(0, 2000),
    st.integers(1, 300),
    st.integers(0, 255),
)
CUTS = st.lists(st.integers(0, 5000), max_size=12)
MODELS = st.sampled_from(SERVERS)
