"""Probe of half-close: data and FIN, then all replies, then FIN."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from echosvc._text import format_bytes
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import WRITE_SIZE, ConnectionEnded, ProbeConnection
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed, Finding, Skipped, tls_cause
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.verifier import Verifier
from echosvc.probe.settings import MIB

#: Bytes sent right before the FIN: less than a segment, several segments, more than a buffer.
#: Of the last one nothing is read before the FIN is sent: a path may drop what it holds then.
BEFORE_FIN = (1, 5000, MIB)
#: Sending has stopped if nothing more is sent for so long, seconds.
_BLOCKED_TIME = 0.5
#: Bytes of the message that shows that a connection lives.
_SMALL_SIZE = 100


@probe("half-close", order=80, summary="after data and FIN all replies come, then FIN")
async def half_close(path: Path) -> Finding:
    """Check that after data and FIN all replies come, then the server's FIN."""
    wanted = sorted({min(size, path.settings.max_size) for size in BEFORE_FIN})
    for size in wanted:
        connection = await path.open()
        if not connection.client.half_closes:
            raise Skipped("this transport cannot end one direction alone")
        try:
            await _check_half_close(path, connection, size)
        except Failed as failed:
            raise await _compare_without_fin(path, failed, size) from None
    sizes = ", ".join(map(format_bytes, wanted))
    return Finding(f"after data and FIN ({sizes}) all replies come, then FIN")


async def _check_half_close(path: Path, connection: ProbeConnection, size: int) -> None:
    verifier = await _send_stream(path, connection, size, finish=True)
    try:
        await connection.verify(verifier)
    except Failed as failed:
        raise _explain_cut(failed, size, verifier.offset) from None
    await _expect_fin(path, connection, verifier, size)


async def _expect_fin(
    path: Path, connection: ProbeConnection, verifier: Verifier, size: int
) -> None:
    """Check that the server's FIN follows the replies.

    :raises Failed: something else does, or nothing.
    """
    try:
        verifier.feed(await connection.receive())
    except ConnectionEnded as end:
        reason = end.reason
    else:
        fault = verifier.end()
        raise Failed(
            f"after {format_bytes(size)}, FIN and all replies, more bytes came", fault=fault
        )
    if reason == "silence":
        raise Failed(
            f"after {format_bytes(size)} and FIN all replies came, but no FIN within"
            f" {path.settings.timeout:g} s",
            "a middlebox never passed the FIN on",
            facts={"how": reason},
        )
    if reason != "FIN":
        raise Failed(
            f"after {format_bytes(size)} and FIN all replies came, but then {reason} in place of"
            " FIN",
            "a middlebox ends by reset, which may destroy bytes that are on the path"
            if reason == "RST"
            else tls_cause(reason),
            facts={"how": reason},
        )


async def _send_stream(
    path: Path, connection: ProbeConnection, size: int, finish: bool
) -> Verifier:
    """Send ``size`` bytes; return the verifier of the replies, of which few were read so far."""
    payload = path.payload(size, connection)
    verifier = connection.verifier(payload)
    if finish and size <= WRITE_SIZE:  # FIN in the same segment: no reply can come before it
        connection.client.cork()
    sending = connection.send(payload, finish=finish)
    sending.addErrback(lambda _: None)
    if size > WRITE_SIZE:  # the replies are on the path when the FIN passes
        await _wait_unread(path, connection, sending)
    return verifier


async def _compare_without_fin(path: Path, failed: Failed, size: int) -> Failed:
    """Do the same without FIN: only if that works is the FIN the cause."""
    path.close()
    try:
        connection = await path.open()
        await connection.verify(await _send_stream(path, connection, size, finish=False))
        await connection.exchange(path.payload(_SMALL_SIZE, connection))
    except Failed as other:
        finding = f"{failed.finding}; without FIN as well: {other.finding}"
        return Failed(finding, other.cause, other.fault or failed.fault, failed.facts, other.end)
    return failed


async def _wait_unread(path: Path, connection: ProbeConnection, sending: Deferred[None]) -> None:
    """Read nothing until sending is over or stops, and the FIN has had time to arrive."""
    left = -1
    while (not sending.called or connection.client.queued) and connection.client.queued != left:
        left = connection.client.queued
        await deferLater(path.reactor, max(_BLOCKED_TIME, 2 * connection.rtt))
    await deferLater(path.reactor, 0.1 + 2 * connection.rtt)


def _explain_cut(failed: Failed, size: int, came: int) -> Failed:
    """Return the failure with the cause that a cut after our FIN has."""
    if failed.fault is None or failed.fault.kind is not FaultKind.CUT:
        return failed
    text = f"after {format_bytes(size)} and FIN only {came} of {size} came back"
    why = _CUT_CAUSES.get(failed.end, failed.cause)
    what = failed.finding.rpartition(": ")[2]
    return Failed(f"{text}, {what}", why, failed.fault, end=failed.end)


#: Why the replies end after our FIN, by how the connection ended.
_CUT_CAUSES = {
    "FIN": "a middlebox closed both directions at the FIN",
    "RST": "a middlebox reset the connection at the FIN",
    "silence": "a middlebox stopped passing bytes on at the FIN",
}
