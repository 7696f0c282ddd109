"""Whether a message is answered that is like the one before it."""

from __future__ import annotations

from echosvc.probe.engine.connection import ConnectionEnded
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path

#: Bytes of each message at most.
_SIZE = 64


async def check_repetition(path: Path) -> None:
    """Send a message twice on a new connection, the second time once it has come back.

    :raises Failed: one of them does not come back as it was sent.
    """
    path.close()
    connection = await path.open()
    payload = path.payload(_size(path), connection)
    await connection.exchange(payload)
    try:
        await connection.exchange(payload, path.answer_time)
    except Failed as failed:
        raise await _explain(path, failed) from None


async def _explain(path: Path, failed: Failed) -> Failed:
    """Return that only repetitions are not answered; or the failure that was found."""
    fault = failed.fault
    if fault is None or fault.kind is not FaultKind.CUT or fault.offset or failed.end != "silence":
        return failed
    try:
        dropped = await _is_dropped(path)
    except (Failed, ConnectionEnded):
        return failed
    if not dropped:
        return failed
    return Failed(
        "a message that is like the one before it is not answered; the one behind it is",
        "the server, or a middlebox, drops what it takes for a repetition",
    )


async def _is_dropped(path: Path) -> bool:
    """Return whether a repetition is not answered, on a new connection.

    :raises Failed: nor is the message before it, or the one behind it.
    :raises ConnectionEnded: the connection ends.
    """
    path.close()
    connection = await path.open()
    payload = path.payload(_size(path), connection)
    await connection.exchange(payload)
    sending = connection.send(payload)
    sending.addErrback(lambda _: None)
    if await connection.listen(path.answer_time):
        return False
    await connection.exchange(path.payload(_size(path), connection), path.answer_time)
    return True


def _size(path: Path) -> int:
    """Return the size of a message of which two are no longer than the longest stream."""
    return max(1, min(_SIZE, path.settings.max_size // 2))
