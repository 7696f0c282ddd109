"""What a relay does to a stream of messages, and how its client must count it."""

from __future__ import annotations

from typing import Any


def stream_faults(before: int, size: int) -> list[tuple[dict[str, Any], str]]:
    """Faults of one message, each with the counter in which it is 1.

    :param before: bytes of the stream before the message.
    :param size: of each message, bytes.
    """
    return [
        ({"drop": (before, size)}, "lost"),
        ({"drop": (before + 20, 9)}, "damaged"),
        ({"duplicate": (before, size)}, "duplicated"),
        ({"swap": (before, size)}, "reordered"),
        ({"flip": before + 3}, "damaged"),
        ({"flip": before + 12}, "damaged"),
        ({"flip": before + size - 1}, "damaged"),
        ({"insert": (before + 30, b"?")}, "damaged"),
        ({"insert": (before, b"hello, world")}, "damaged"),
    ]
