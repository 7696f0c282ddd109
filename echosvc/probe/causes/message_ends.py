"""Which bytes are removed at the ends of messages, as servers do that trim lines."""

from __future__ import annotations

from dataclasses import dataclass

from echosvc._text import quote
from echosvc.probe.causes.marked_messages import MarkedMessages
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.connection import ProbeConnection
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path

#: What programs take for white space, and NUL. The first ones are those that all of them do.
_WHITE_SPACE = b" \t\r\n\0\v\f\x1c\x1d\x1e\x1f\x85\xa0"
#: As many are enough to see whether anything is trimmed.
_ENOUGH = 5


@dataclass(frozen=True)
class Trimming:
    """What is removed at the ends of messages.

    :ivar leading: values that are removed at the beginning.
    :ivar trailing: values that are removed at the end.
    """

    leading: bytes = b""
    trailing: bytes = b""

    @property
    def values(self) -> bytes:
        """All of them."""
        return bytes(sorted({*self.leading, *self.trailing}))

    def __bool__(self) -> bool:
        return bool(self.values)


@cause(order=11, seconds=6.0)
async def explain_by_trimming(path: Path, failed: Failed) -> Cause | None:
    """Return that the byte that is wrong is one that is removed at the ends of messages."""
    fault, known = failed.fault, path.context.knowledge.trimmed
    if fault is None or "changed" in failed.facts or not _may_be_trimmed(path, fault):
        return None
    trimming = await find_trimming(path)
    if set(trimming.values) <= set(known):  # the payload did not contain them
        return None
    if path.settings.framing != "length" and fault.expected[0] not in trimming.values:
        return None
    path.context.knowledge.trimmed = trimming.values
    words = describe_trimming(path, trimming)
    return Cause("bytes", *words, trimming_facts(trimming), avoidable=True)


def _may_be_trimmed(path: Path, fault: Fault) -> bool:
    """Return whether the first byte that is missing is white space.

    With a length in front of a message the first wrong byte is in the length. Whether white space
    was the cause shows when the probe runs again without.
    """
    if path.settings.framing == "length":
        return fault.kind is not FaultKind.CUT
    return fault.expected[:1] in {bytes((value,)) for value in _WHITE_SPACE} and (
        fault.kind is not FaultKind.CUT or 0 < fault.length <= len(fault.expected)
    )


def describe_trimming(path: Path, trimming: Trimming) -> tuple[str, str]:
    """Return what is removed, in words, and the likeliest cause."""
    message = "line" if path.settings.framing == "line" else "message"
    places = [("beginning", trimming.leading), ("end", trimming.trailing)]
    if trimming.leading == trimming.trailing:
        places = [("beginning and at the end", trimming.leading)]
    parts = [
        f"at the {place} of a {message}: {_list(values)}" for place, values in places if values
    ]
    finding = f"bytes are removed {', and '.join(parts)}"
    if trimming == Trimming(b"", b"\r") and message == "line":
        return finding, "line ends are translated on the path, or by the server"
    return finding, "the server, or a middlebox, trims what it takes for lines of text"


def _list(values: bytes) -> str:
    return ", ".join(quote(bytes((value,))) for value in values)


def trimming_facts(trimming: Trimming) -> dict[str, str]:
    """Return the same for programs, hexadecimal."""
    return {"trimmed_leading": trimming.leading.hex(), "trimmed_trailing": trimming.trailing.hex()}


async def find_trimming(path: Path, connection: ProbeConnection | None = None) -> Trimming:
    """Return what is removed at the ends of messages.

    :param connection: to ask on; ``None``: a new one.
    :raises Failed: there is no connection.
    """
    connection = connection or await path.open()
    framing, reserved = path.settings.framing, connection.prefix_matcher.boundary_bytes
    try:
        marked = MarkedMessages(framing, reserved)
    except ValueError:
        return Trimming()
    left_out = reserved + b"\n" * (framing == "line")
    values = [bytes((value,)) for value in _WHITE_SPACE if value not in left_out]
    few = await _find_trimming(connection, marked, values[:_ENOUGH])
    if not few:
        return few
    more = await _find_trimming(connection, marked, values[_ENOUGH:])
    return Trimming(few.leading + more.leading, few.trailing + more.trailing)


async def _find_trimming(
    connection: ProbeConnection, marked: MarkedMessages, values: list[bytes]
) -> Trimming:
    """Send each value at both ends of a message of its own, around a mark."""
    leading = trailing = b""
    mark = marked.mark(0)
    for value in values:
        came = await marked.exchange_one(connection, value + mark + value)
        before, found, behind = came.partition(mark)
        if not found:
            continue
        leading += value if value not in before else b""
        if value not in behind and not await _is_held_back(connection, marked, value):
            trailing += value
    return Trimming(leading, trailing)


async def _is_held_back(connection: ProbeConnection, marked: MarkedMessages, value: bytes) -> bool:
    """Return whether the end of the last message comes with the next one."""
    came = await marked.exchange_one(connection, marked.mark(0))
    return value in came.partition(marked.mark(0))[0]
