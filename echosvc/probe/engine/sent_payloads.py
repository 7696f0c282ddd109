"""The payloads that a check has sent, to recognise their bytes where they do not belong.

Theory of operation. A payload is random, and its seed is another one on each connection. So bytes
of it that come on another connection name the connection that they belong to. A payload is made
again from its seed when it is searched, and is not kept.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from echosvc.probe.engine.findings import ANOTHER, EARLIER
from echosvc.probe.engine.payload import BLOCK_SIZE, AnyPayload, Payload

#: How many payloads are remembered, and how many bytes are searched at most.
_MAX_KEPT = 512
_MAX_SEARCHED = 64 * 1024 * 1024
#: Bytes of a sample; as many do not occur in two payloads by chance.
MIN_OWNED = 12
#: How many samples are searched for.
_MAX_SAMPLES = 6
#: Payloads have all values. What has nothing but these is text of a server: its prefix.
_TEXT = bytes(range(0x20, 0x7F)) + b"\r\n\t"


@dataclass
class SentPayload:
    """A payload that was sent on a connection.

    :ivar ended: the connection was ended by this side.
    """

    payload: AnyPayload
    ended: bool = False

    @property
    def owner(self) -> str:
        """Whose it is, in words."""
        return EARLIER if self.ended else ANOTHER


class SentPayloads:
    """The last payloads that were sent."""

    def __init__(self) -> None:
        self._kept: deque[SentPayload] = deque(maxlen=_MAX_KEPT)

    def add(self, payload: AnyPayload) -> SentPayload:
        """Remember a payload that is sent now. One of given bytes proves nothing, and is not."""
        if not isinstance(payload, Payload):
            return SentPayload(payload)
        sent = SentPayload(payload.resized(payload.size))
        self._kept.append(sent)
        return sent

    def owner_of(self, data: bytes, own: AnyPayload | None = None) -> str:
        """Return the connection, in words, that bytes were sent on; "": it is not known.

        :param own: the payload of the connection on which they came. Bytes that occur in it
            prove nothing.
        """
        samples = set(_samples(data))
        if own is not None:
            samples -= _found_in(own, samples)
        if not samples:
            return ""
        left = _MAX_SEARCHED
        for sent in sorted(self._kept, key=lambda each: (not each.ended, each.payload.size)):
            if sent.payload.size <= left and _found_in(sent.payload, samples):
                return sent.owner
            left -= min(left, sent.payload.size)
        return ""


def _samples(data: bytes) -> list[bytes]:
    """Return parts of what came, from its beginning on; none, if it is too short, or text."""
    last = len(data) - MIN_OWNED
    places = range(0, last + 1, max(1, last // (_MAX_SAMPLES - 1)))
    parts = (data[place : place + MIN_OWNED] for place in places)
    return [part for part in parts if part.strip(_TEXT)]


def _found_in(payload: AnyPayload, samples: set[bytes]) -> set[bytes]:
    """Return those of the samples that occur in a payload."""
    found: set[bytes] = set()
    for start in range(0, min(payload.size, _MAX_SEARCHED), BLOCK_SIZE):
        if found == samples:
            break
        block = payload.at(start, BLOCK_SIZE + MIN_OWNED - 1)
        found |= {sample for sample in samples if sample in block}
    return found
