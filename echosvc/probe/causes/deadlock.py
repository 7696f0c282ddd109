"""Something on the path neither takes nor gives while both directions are full: a deadlock.

Theory of operation. A relay that waits until it can write, and does not read meanwhile, works while
its buffers have room. Once both directions are full, it waits for the program behind it, which
waits for the relay. Nobody reads any more, though we do. From here that looks like a path that has
stopped: nothing comes, and sooner or later the window of the next hop is closed.

Two experiments tell it from a server that hangs, and from a limit of bytes. As much is sent again
over new connections, and read only when nothing more is taken: the path stops again, though not
always, since it is a race. Then the same number of bytes is sent over another connection, few of
them at a time: more only as answers come. All come back. So neither the server nor the number of
bytes is the cause, but how many are on their way. A limit counts at most what was taken and what
came, both together; what comes back passes it twice, so half of that sum is enough.

A path that is only slow, or a machine that is busy, may stop for a moment. A deadlock lasts. So
the connection that has stopped is left as it is during the second experiment, and for
:data:`_LASTING` seconds at least, and must not have gone on then.
"""

from __future__ import annotations

from dataclasses import dataclass

from echosvc._text import format_bytes
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection
from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.knowledge import Knowledge
from echosvc.probe.engine.path import Path
from echosvc.probe.engine.size_limit import Answer
from echosvc.probe.engine.tcp_info import Stall
from echosvc.probe.engine.trial import QUIET_TIME, receive_or_give_up, wait_until_blocked
from echosvc.probe.settings import MIB

#: More than the buffers of a path hold, bytes, and how often it is sent.
_FILLING, _TIMES = 64 * MIB, 3
#: The same where a stream stopped that is shorter than the buffers of two kernels, bytes, in
#: lengths of that stream: a slow path would not be rid of more for long. It is sent once.
_KERNELS, _LENGTHS = 262144, 4
#: So many bytes are on their way at most in the second experiment: hardly any path has too small
#: buffers for them. So where a shorter stream stops, it is not asked about.
FEW = 32768
#: So many, where it stops with these: the buffers of a terminal hold 4 KiB.
_FEWER = 4096
#: They are sent in so many messages.
_PARTS = 4
#: How a stream is answered that the path stops.
_STOPPED = (Answer.SILENCE, Answer.UNKNOWN)
#: How long the second experiment may bring no answer, seconds.
_FEW_QUIET = 2.0
#: What is sent that way beyond what was taken before, bytes.
_MORE = 262144
#: How long nothing must come on a connection that has stopped, seconds.
_LASTING = 2.0
#: How long it is looked for what has come meanwhile, at least, seconds.
_LEAST_WAIT = 0.1


@dataclass(frozen=True)
class _Stopped:
    """A connection on which the path has stopped.

    :ivar taken: bytes that the path had taken.
    :ivar came: bytes that had come back.
    :ivar seen: when it was seen to have stopped, by the reactor.
    """

    connection: ProbeConnection
    taken: int
    came: int
    seen: float


@cause(order=18, seconds=40.0)
async def explain_by_deadlock(path: Path, failed: Failed) -> Cause | None:
    """Return that the path stops when both directions are full."""
    found = await find_deadlock(path, failed)
    return _describe(path.context.knowledge) if found else None


async def find_deadlock(path: Path, failed: Failed) -> bool:
    """Return whether a stream stopped since the path stops when both directions are full.

    After how many bytes it does is known from then on.
    """
    knowledge = path.context.knowledge
    if not _may_be_deadlock(failed) or knowledge.volume is not None:
        return False
    if not knowledge.deadlock_size and path.allowed(2) == 2:
        knowledge.deadlock_size = await _prove_deadlock(path, _filling(failed))
    return knowledge.deadlock_size > 0


def _length(failed: Failed) -> int:
    """Return the size of the stream that stopped."""
    return failed.fault.offset + failed.fault.length if failed.fault is not None else 0


def _filling(failed: Failed) -> int:
    """Return how many bytes are sent to make the path stop again."""
    length = _length(failed)
    return _FILLING if length >= _KERNELS else _LENGTHS * length


async def _prove_deadlock(path: Path, filling: int) -> int:
    """Return after how many bytes the path stops; 0: it cannot be proved."""
    stopped = await _fill_until_it_stops(path, filling)
    if stopped is None:
        return 0
    size = (stopped.taken + stopped.came) // 2 + _MORE
    few = await _find_few(path, size)
    if not few or await _goes_on(path, stopped):
        return 0
    path.context.knowledge.deadlock_free = few
    return stopped.taken


def _may_be_deadlock(failed: Failed) -> bool:
    """Return whether a long stream stopped and no packet of ours was dropped."""
    fault, stall = failed.fault, failed.facts.get("tcp", {}).get("stall")
    if failed.end != "silence" or fault is None or fault.kind is not FaultKind.CUT:
        return False
    return _length(failed) > FEW and stall in _ARRIVED


#: What the kernel knows where packets are not dropped.
_ARRIVED = (Stall.NOT_READ.value, Stall.TAKEN.value)


async def _fill_until_it_stops(path: Path, size: int) -> _Stopped | None:
    """Return the connection on which the path stops; ``None``: it does not."""
    for _ in range(_TIMES if size == _FILLING else 1):
        path.close()
        if (stopped := await _fill(path, size)) is not None:
            return stopped
    return None


async def _fill(path: Path, size: int) -> _Stopped | None:
    """Send until nothing more is taken, then read; return the connection if the path stops."""
    connection = await path.open()
    payload = path.payload(size, connection, limited=False)
    verifier = connection.verifier(payload)
    sending = connection.send(payload)
    sending.addErrback(lambda _: None)
    try:
        await wait_until_blocked(path, connection)
        trial = await receive_or_give_up(path, connection, verifier, QUIET_TIME)
    finally:
        sending.cancel()
    if trial.answer not in _STOPPED:
        return None
    client = connection.client
    taken = client.bytes_out - client.unsent
    return _Stopped(connection, taken, client.bytes_in, path.reactor.seconds())


async def _find_few(path: Path, size: int) -> int:
    """Return how many bytes at a time may be on their way for ``size`` of them to come back.

    :return: 0: they do not come back.
    """
    for few in (FEW, _FEWER):
        answer = await _carry(path, size, few)
        if answer not in _STOPPED:
            return few if answer is Answer.WHOLE else 0
    return 0


async def _carry(path: Path, size: int, few: int) -> Answer:
    """Return how so many bytes are answered, of which few are on their way at a time."""
    connection, part = await path.open(), few // _PARTS
    connection.frame_size = part
    payload = path.payload(size, connection, limited=False)
    verifier = connection.verifier(payload)
    sent = 0

    def send_more() -> None:
        nonlocal sent
        while sent < size and sent + part <= verifier.offset + few:
            message = payload.at(sent, part)
            connection.write(message).addErrback(lambda _: None)
            sent += len(message)

    trial = await receive_or_give_up(path, connection, verifier, _FEW_QUIET, send_more)
    return trial.answer


async def _goes_on(path: Path, stopped: _Stopped) -> bool:
    """Return whether a connection that has stopped goes on, or ends, within some seconds."""
    left = stopped.seen + _LASTING - path.reactor.seconds()
    try:
        await stopped.connection.receive(max(_LEAST_WAIT, left))
    except ConnectionEnded as end:
        return end.reason != "silence"
    return True


def _describe(knowledge: Knowledge) -> Cause:
    finding = (
        "the path neither takes nor gives while both directions are full: it stops after"
        f" {format_bytes(knowledge.deadlock_size)}, though its answers are read; as many bytes"
        f" pass if no more than {format_bytes(knowledge.deadlock_free)} are on their way"
    )
    advice = (
        "a deadlock: a relay on the path, or the server, writes and does not read meanwhile, so"
        " each side waits for the other (ncat -e, a filter between pipes); it must read while it"
        " cannot write"
    )
    return Cause("deadlock", finding, advice, {"taken": knowledge.deadlock_size})
