"""Which value each byte comes back as where marks do not: their letters are translated, too.

Theory of operation. All values are sent twice, in two random orders. Where each byte is translated
by itself, as many bytes come back as were sent, and both orders tell the same of each value.
Anything else that a path may do to bytes makes the two differ.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from echosvc.probe.engine.connection import ProbeConnection, frame_message
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.prefix_detection import split_frames
from echosvc.probe.engine.receiving import receive_answer

#: Seeds of two orders of the values.
_SEEDS = (1, 2)
#: Seconds without anything more after which everything has come.
_QUIET = 1.0


async def find_translation(path: Path) -> dict[bytes, bytes]:
    """Return what each value that changes comes back as; none, if it is no translation.

    :raises Failed: there is no connection.
    """
    connection = await path.open()
    reserved = connection.prefix_matcher.boundary_bytes + b"\n"
    sent = [shuffled_values(seed).translate(None, reserved) for seed in _SEEDS]
    framing = path.settings.framing
    return read_translation(sent, [await _exchange(connection, framing, each) for each in sent])


def shuffled_values(seed: int) -> bytes:
    """Return all values in a random order, the same one each time."""
    return bytes(random.Random(seed).sample(range(256), 256))  # noqa: S311 - no secret


async def _exchange(connection: ProbeConnection, framing: str, values: bytes) -> bytes:
    """Send values as one message; return what comes of them, without what the server adds."""
    message = values + b"\n" * (framing == "line")
    connection.client.write(frame_message(framing, message)).addErrback(lambda _: None)

    def reply(came: bytes) -> bytes:
        replies = b"".join(split_frames(came)) if framing == "length" else came
        return connection.prefix_matcher.strip(replies)

    quiet = max(_QUIET, 3 * connection.rtt)
    came = await receive_answer(
        connection, lambda came: len(reply(came)) >= len(message), seconds=quiet
    )
    return reply(came)[: len(values)]


def read_translation(sent: Sequence[bytes], came: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return what each value that changes came back as; none, if it is no translation.

    :param sent: the same values in several orders.
    :param came: what came of each.
    """
    table: dict[int, int] = {}
    for values, reply in zip(sent, came, strict=True):
        if len(values) != len(reply):
            return {}
        for value, other in zip(values, reply, strict=True):
            if table.setdefault(value, other) != other:
                return {}
    changed = {value: other for value, other in table.items() if value != other}
    return {bytes((value,)): bytes((other,)) for value, other in sorted(changed.items())}
