"""Probe of the server's FIN: whether the client may go on after it.

Theory of operation. A client cannot make an echo server end first. ``--idle-action close`` makes
echosvc do so: FIN after the idle time-out; then it reads on, and discards what comes, for
``--linger`` seconds, and resets a client that has not ended by then. So the client waits for a FIN,
and sends on. If a middlebox has closed both directions, RST comes at once. So it does from a
server that closes both itself: that is a failure only where the probe was asked for by name. RST
after :data:`ENOUGH` seconds or more is the server's: so long, all was open from end to end. If none
comes, a middlebox may have taken the bytes and thrown them away.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Any

from twisted.internet.task import deferLater

from echosvc._text import format_bytes, format_duration
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.idle_end import after_expected_end, idle_wait, wait_for_end
from echosvc.probe.engine.path import Path, gather

#: How long the client goes on, seconds: longer than the server's linger time (2 s by default).
GO_ON = 4.0
#: How long it must be able to, seconds: less than that.
ENOUGH = 1.5
#: How often it is asked, at once, by a check that asks for it by name.
TIMES = 3
#: Bytes that it sends at a time, in all more than buffers hold, and seconds between two times.
_PIECE, _INTERVAL = 1 << 17, 0.05
#: A path that takes nothing for so long takes no more, seconds.
_BLOCKED_TIME = 0.5
_NEEDS = "needs --idle-action close at the server; then ask by --only server-fin"


@dataclass(frozen=True)
class _Going:
    """What happened after the server's FIN.

    :ivar idle: seconds until the FIN.
    :ivar sent: bytes that were taken after it.
    :ivar seconds: how long they were sent.
    :ivar end: why no longer: ``RST``, ``blocked``; "": :data:`GO_ON` was over.
    """

    idle: float
    sent: int
    seconds: float
    end: str

    @property
    def failed(self) -> bool:
        """Whether the client could not go on."""
        return self.end == "blocked" or (self.end == "RST" and self.seconds < ENOUGH)

    @property
    def words(self) -> str:
        """The same, for people."""
        how = {"RST": ", then came RST", "blocked": ", then nothing more was taken", "": ""}
        return (
            f"the server's FIN came after {format_duration(self.idle)}; the client sent on for"
            f" {format_duration(self.seconds)} ({format_bytes(self.sent)}){how[self.end]}"
        )


@probe(
    "server-fin",
    order=142,
    summary="after the server's FIN the client may go on (needs --idle-action close there)",
    min_duration=lambda _: GO_ON,
)
async def server_fin(path: Path) -> Finding:
    """Check that a client may send on after the server's FIN."""
    asked = "server-fin" in path.settings.only
    connections = await path.open_many(TIMES if asked else 1)
    if not connections[0].client.half_closes:
        raise Skipped("this transport cannot end one direction alone")
    wait = idle_wait(path, "server-fin")
    going = await gather([_wait_and_go_on(path, each, wait) for each in connections])
    failed = [each for each in going if each.failed]
    facts: dict[str, Any] = {"times": len(going), "failed": len(failed)}
    facts |= {"seconds": round(min(each.seconds for each in going), 3)}
    if not failed:
        return _conclude(min(going, key=lambda each: each.seconds), facts)
    if not asked:
        raise Skipped(f"{failed[0].words}: {_NEEDS}")
    failure = Failed(
        f"{failed[0].words} ({len(failed)} of {len(going)} times)",
        "a middlebox closes both directions at the server's FIN; or the FIN is not the server's,"
        " or the server has no --idle-action close, or a short --linger",
        facts=facts,
    )
    raise after_expected_end(failure)


def _conclude(going: _Going, facts: dict[str, Any]) -> Finding:
    if going.end:
        return Finding(f"{going.words}, when --linger of the server was over", facts=facts)
    words = f"{going.words}; no RST came, which would show that it has reached the server"
    return Finding(words, info=True, facts=facts)


async def _wait_and_go_on(path: Path, connection: ProbeConnection, wait: float) -> _Going:
    """Wait for the server's FIN, and send on.

    :raises Skipped: it does not come.
    """
    reason, after = await wait_for_end(path, connection, wait)
    if reason == "FIN":
        return await _go_on(path, connection, after)
    came = f"{reason} after {format_duration(after)}" if reason != "silence" else "none came"
    raise Skipped(f"{came}: {_NEEDS}")


async def _go_on(path: Path, connection: ProbeConnection, idle: float) -> _Going:
    """Send for :data:`GO_ON` seconds, as much as is taken; return what happened."""
    client, data = connection.client, path.payload(_PIECE, connection).at(0, _PIECE)
    before, taken, end = client.bytes_out, 0, ""
    began = moved = monotonic()
    while not end and monotonic() < began + GO_ON:
        if not client.queued:  # a write is also what finds a reset: nothing is read any more
            client.write(data).addErrback(lambda _: None)
        await deferLater(path.reactor, _INTERVAL)
        if client.reason is not None:
            end = "RST"
        elif client.bytes_out - before - client.unsent > taken:
            taken, moved = client.bytes_out - before - client.unsent, monotonic()
        elif monotonic() > moved + max(_BLOCKED_TIME, 3 * connection.rtt):
            end = "blocked"
    return _Going(idle, taken, monotonic() - began, end)
