"""Streams of bytes cut anywhere, and what Node's decoder makes of them."""

from __future__ import annotations

import itertools
import re

from hypothesis import strategies as st

NOISE = bytes.fromhex("00 41 80 90 a0 bf c0 c2 c3 df e0 e2 ed ef f0 f4 f5 f7 f8 ff 0a 0d")
FRAGMENTS = st.sampled_from(
    [*(bytes((byte,)) for byte in NOISE), *(text.encode() for text in ("é", "€", "😀", "\ufeff"))]
)
STREAMS = st.lists(FRAGMENTS | st.binary(max_size=5), max_size=30).map(b"".join)


@st.composite
def reads(draw: st.DrawFn, streams: st.SearchStrategy[bytes] = STREAMS) -> list[bytes]:
    """A stream, cut anywhere."""
    data = draw(streams)
    places = draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=12))
    ends = [0, *sorted(places), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(ends)]
    return [piece for piece in pieces if piece]


def text(data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode()


_HELD = re.compile(rb"(?:[\xC0-\xDF]|[\xE0-\xEF][\x80-\xBF]?|[\xF0-\xF7][\x80-\xBF]{0,2})\Z")


def texts_of(pieces: list[bytes]) -> list[bytes]:
    """Node's decoder, by the rule as it is written down."""
    held, result = b"", []
    for piece in pieces:
        parts = []
        while held and piece:
            announced = 2 if held[0] < 0xE0 else 3 if held[0] < 0xF0 else 4
            if 0x80 <= piece[0] <= 0xBF:
                held, piece = held + piece[:1], piece[1:]
                if len(held) < announced:
                    continue
            parts.append(held)
            held = b""
        if not held:
            found = _HELD.search(piece)
            held = found[0] if found else b""
            parts.append(piece[: len(piece) - len(held)])
        result.append(b"".join(map(text, parts)))
    return [each for each in [*result, text(held)] if each]
