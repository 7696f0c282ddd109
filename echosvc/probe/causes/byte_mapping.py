"""Which value each byte comes back as, where not all come back as they were sent."""

from __future__ import annotations

import re
from collections.abc import Callable

from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.engine.connection import ConnectionEnded, ProbeConnection
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.findings import CAUSES, Failed
from echosvc.probe.engine.path import Path

#: Around each value, so that each result can be told from its neighbours.
_LEFT, _RIGHT = b"ab", b"cd"
_FOUND = re.compile(re.escape(_LEFT) + b"(.{0,16}?)" + re.escape(_RIGHT), re.DOTALL)
#: Seconds without anything more after which everything has come.
_QUIET = 1.0
#: How many values a finding lists.
_MAX_LISTED = 3


async def describe_mapping(path: Path, failed: Failed) -> Failed:
    """Return which values are changed to what; if that cannot be found out, ``failed``.

    Later payloads do not contain these values.
    """
    changed = await _changed_values(path)
    if not changed:
        return failed
    path.context.knowledge.changed_values |= changed
    count = f"{len(changed)} of 256 values do not come back as they were sent"
    finding, facts = f"{count}: {_list_changes(changed)}", {"changed": _facts(changed)}
    return Failed(finding, _mapping_cause(changed), failed.fault, facts)


@cause(order=10)
async def explain_by_mapping(path: Path, failed: Failed) -> Cause | None:
    """Return that the path never carries the value of the byte that is wrong.

    A stream with such a byte cannot come back right, whatever else a path does to it.
    """
    fault = failed.fault
    if fault is None or not _may_be_mapping(failed, fault):
        return None
    found = await describe_mapping(path, failed)
    if found is failed or fault.expected[0] not in path.context.knowledge.changed_values:
        return None
    return Cause("bytes", found.finding, found.cause, found.facts, avoidable=True)


def _may_be_mapping(failed: Failed, fault: Fault) -> bool:
    """Return whether no better cause is known, and the value of the byte may be the cause."""
    if fault.kind is FaultKind.CUT:
        return 0 < fault.length <= len(fault.expected) and len(set(fault.expected)) == 1
    return bool(fault.expected) and failed.cause in CAUSES.values()


async def _changed_values(path: Path) -> dict[int, bytes]:
    """Return what each value that changes comes back as; none, if that cannot be found out."""
    if path.settings.framing == "length":
        return {}
    try:
        connection = await path.open()
    except Failed:
        return {}
    reserved = connection.prefix_matcher.boundary_bytes + b"\n"
    wanted = [value for value in range(256) if value not in reserved]
    wanted += [10]  # it may end a message
    results = await _exchange_values(connection, wanted)
    if len(results) != len(wanted):
        return {}
    return {
        value: result
        for value, result in zip(wanted, results, strict=True)
        if result != bytes((value,))
    }


async def _exchange_values(connection: ProbeConnection, wanted: list[int]) -> list[bytes]:
    """Send each value; return what came back for each, in order, as far as it came."""
    data = b"".join(_LEFT + bytes((value,)) + _RIGHT for value in wanted)
    connection.write(data).addErrback(lambda _: None)
    came = bytearray()
    try:
        while len(came) < 1 << 16:
            came += await connection.receive(max(_QUIET, 3 * connection.rtt))
            if came.endswith(_RIGHT) and len(_split_reply(connection, came)) == len(wanted):
                break
    except ConnectionEnded:
        pass
    return _split_reply(connection, came)


def _split_reply(connection: ProbeConnection, came: bytearray) -> list[bytes]:
    return _FOUND.findall(connection.prefix_matcher.strip(bytes(came)))


def _facts(changed: dict[int, bytes]) -> dict[str, str]:
    return {f"{value:02x}": came.hex() for value, came in changed.items()}


def _list_changes(changed: dict[int, bytes]) -> str:
    listed = [
        f"0x{value:02x} comes as {came.hex(' ') or 'nothing'}"
        for value, came in list(changed.items())[:_MAX_LISTED]
    ]
    more = f", and {len(changed) - _MAX_LISTED} more" if len(changed) > _MAX_LISTED else ""
    return f"{', '.join(listed)}{more}"


def _mapping_cause(changed: dict[int, bytes]) -> str:
    """Return what is known to make just these changes."""
    for explains, words in _KNOWN_MAPPINGS:
        if all(explains(value, came) for value, came in changed.items()):
            return words
    return "a middlebox, or the server, interprets the bytes as text or as commands"


_KNOWN_MAPPINGS: tuple[tuple[Callable[[int, bytes], bool], str], ...] = (
    (
        lambda _, came: b"\xef\xbf\xbd" in came,
        "the bytes are decoded as UTF-8 on the path or by the server (--encoding utf-8)",
    ),
    (
        lambda value, came: came == bytes((value & 0x7F,)),
        "the eighth bit of each byte is cleared: a middlebox carries 7-bit text only",
    ),
    (lambda value, came: value == 10 and came == b"\r\n", "line ends are translated on the path"),
    (lambda value, came: value == 13 and came != b"\r", "line ends are translated on the path"),
    (
        lambda value, came: value == 255 and came == b"\xff\xff",
        "0xff is doubled: a middlebox speaks Telnet",
    ),
    (
        lambda value, came: value in (0x11, 0x13) and not came,
        "XON and XOFF are removed: a middlebox is made for serial lines",
    ),
    (
        lambda value, came: value == 0 and not came,
        "NUL is removed: a middlebox takes it for the end of a string",
    ),
    (
        lambda value, came: came == bytes((value,)).decode("latin-1").encode(),
        "Latin-1 is converted to UTF-8 on the path",
    ),
    (
        lambda value, came: came.lower() == bytes((value,)).lower(),
        "letters are changed to upper or lower case",
    ),
)
