"""What is received on a connection until an answer is whole, or nothing more comes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection

#: The most bytes of an answer to one message.
MAX_ANSWER = 8192


async def receive_answer(
    connection: ProbeConnection,
    is_whole: Callable[[bytes], bool],
    came: bytes = b"",
    seconds: float | None = None,
) -> bytes:
    """Return what comes until it is whole, the connection ends, or it is too long for an answer.

    :param is_whole: returns whether an answer lacks nothing; it is asked of all that came.
    :param came: what came before.
    :param seconds: without a byte, after which nothing more comes; ``None``: the time-out.
    """
    with suppress(ConnectionEnded):
        while not is_whole(came) and len(came) < MAX_ANSWER:
            came += await connection.receive(seconds)
    return came
