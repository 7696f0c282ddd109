"""Something on the path neither takes nor gives while both directions are full: a deadlock.

Theory of operation. A relay that waits until it can write, and does not read meanwhile, works while
its buffers have room. Once both directions are full, it waits for the program behind it, which
waits for the relay. Nobody reads any more, though we do. From here that looks like a path that has
stopped: nothing comes, and sooner or later the window of the next hop is closed.

Two experiments tell it from a server that hangs, and from a limit of bytes. As much is sent again
over new connections, and read only when nothing more is taken: the path stops again, though not
always, since it is a race. Then the same number of bytes is sent in messages of which each is
answered before the next one: all come back. So neither the server nor the number of bytes is the
cause, but how many are on their way. A limit counts at most what was taken and what came, both
together; messages that are answered pass it twice, so half of that sum is enough.
"""

from __future__ import annotations

from echosvc._text import format_bytes
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.size_limit import Answer
from echosvc.probe.engine.tcp_info import Stall
from echosvc.probe.engine.trial import (
    QUIET_TIME,
    receive_or_give_up,
    try_message,
    wait_until_blocked,
)
from echosvc.probe.settings import MIB

#: More than the buffers of a path hold, bytes, and how often it is sent.
_FILLING, _TIMES = 64 * MIB, 3
#: A shorter stream does not fill the buffers of two kernels in both directions, bytes.
_SHORTEST = 262144
#: Bytes of a message that hardly any buffer is too small for.
_MESSAGE = 32768
#: The MSS meanwhile: many full segments are acknowledged at once. A short one at the end would wait
#: for the acknowledgement of the one before, 40 ms, where the peer uses Nagle's algorithm.
_SEGMENT = 1036
#: What is sent that way beyond what was taken before, bytes.
_MORE = MIB


@cause(order=30, seconds=20.0)
async def explain_by_deadlock(path: Path, failed: Failed) -> Cause | None:
    """Return that the path stops when both directions are full."""
    knowledge = path.context.knowledge
    if not _may_be_deadlock(failed) or knowledge.volume is not None:
        return None
    if not knowledge.deadlock_size:
        taken, came = await _fill_until_it_stops(path)
        if not taken or not await _carries_by_turns(path, (taken + came) // 2 + _MORE):
            return None
        knowledge.deadlock_size = taken
    return _describe(knowledge.deadlock_size)


def _may_be_deadlock(failed: Failed) -> bool:
    """Return whether a long stream stopped and no packet of ours was dropped."""
    fault, stall = failed.fault, failed.facts.get("tcp", {}).get("stall")
    if failed.end != "silence" or fault is None or fault.kind is not FaultKind.CUT:
        return False
    return fault.offset + fault.length >= _SHORTEST and stall in _ARRIVED


#: What the kernel knows where packets are not dropped.
_ARRIVED = (Stall.NOT_READ.value, Stall.TAKEN.value)


async def _fill_until_it_stops(path: Path) -> tuple[int, int]:
    """Return the bytes that were taken and that came until the path stopped; 0: it does not."""
    for _ in range(_TIMES):
        if (stopped := await _fill(path))[0]:
            return stopped
    return 0, 0


async def _fill(path: Path) -> tuple[int, int]:
    """Send until nothing more is taken, then read; return what was taken and came when it stopped.

    :return: twice 0: it does not stop.
    """
    path.close()
    connection = await path.open()
    payload = path.payload(_FILLING, connection, limited=False)
    verifier = connection.verifier(payload)
    sending = connection.send(payload)
    sending.addErrback(lambda _: None)
    try:
        await wait_until_blocked(path, connection)
        trial = await receive_or_give_up(path, connection, verifier, QUIET_TIME)
    finally:
        sending.cancel()
    client = connection.client
    if trial.answer is not Answer.SILENCE:
        return 0, 0
    return client.bytes_out - client.unsent, client.bytes_in


async def _carries_by_turns(path: Path, size: int) -> bool:
    """Return whether so many bytes come back, of which few are on their way at a time."""
    path.close()
    knowledge = path.context.knowledge
    before, knowledge.max_segment = knowledge.max_segment, knowledge.max_segment or _SEGMENT
    try:
        connection = await path.open()
    finally:
        knowledge.max_segment = before
    for _ in range(0, size, _MESSAGE):
        trial = await try_message(path, connection, _MESSAGE)
        if trial.answer is not Answer.WHOLE:
            return False
    return True


def _describe(size: int) -> Cause:
    finding = (
        "the path neither takes nor gives while both directions are full: it stops after"
        f" {format_bytes(size)}, though its answers are read; in short messages, each answered"
        " before the next one, as many bytes pass"
    )
    advice = (
        "a deadlock: a relay on the path, or the server, writes and does not read meanwhile, so"
        " each side waits for the other (ncat -e, a filter between pipes); it must read while it"
        " cannot write"
    )
    return Cause("deadlock", finding, advice, {"taken": size})
