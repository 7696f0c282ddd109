"""What becomes of each value of a byte, where not all come back as they went."""

from __future__ import annotations

import re
from collections.abc import Callable

from echosvc.probe.engine.connection import Ended, Line
from echosvc.probe.engine.diagnosis import Fault, Kind
from echosvc.probe.engine.findings import CAUSES, Failed
from echosvc.probe.engine.path import Path

#: Around each value, so that what becomes of it can be told from its neighbours.
_LEFT, _RIGHT = b"ab", b"cd"
_FOUND = re.compile(re.escape(_LEFT) + b"(.{0,16}?)" + re.escape(_RIGHT), re.DOTALL)
#: Seconds without anything more, after which all has come.
_QUIET = 1.0
#: How many values are named.
_NAMED = 3


async def translated(path: Path, failed: Failed) -> Failed:
    """Say what is done to which values; where that cannot be told, give what failed before."""
    changed = await _changes(path)
    return _described(changed, failed) if changed else failed


async def blamed(path: Path, failed: Failed) -> Failed:
    """Give a failure with another cause where the path never carries the byte that is wrong.

    Streams that hold such a byte cannot come back, whatever else a path does to them.
    """
    fault = failed.fault
    if fault is None or not _may_be_a_value(failed, fault):
        return failed
    changed = await _changes(path)
    if changed and fault.expected[0] in changed:
        failed.cause = f"{_named(changed)}, wherever it stands: {_cause(changed)}"
        failed.facts["changed"] = _facts(changed)
    return failed


def _may_be_a_value(failed: Failed, fault: Fault) -> bool:
    """Whether nothing better is known, and what is missing may be so for its value."""
    if fault.kind is Kind.CUT:
        return 0 < fault.length <= len(fault.expected) and len(set(fault.expected)) == 1
    return bool(fault.expected) and failed.cause in CAUSES.values()


async def _changes(path: Path) -> dict[int, bytes]:
    """Ask what each value comes back as; give those that change, none where it cannot be told."""
    if path.settings.framing == "length":
        return {}
    try:
        line = await path.open()
    except Failed:
        return {}
    wanted = [value for value in range(256) if value not in line.mark.boundary_bytes + b"\n"]
    wanted += [10]  # it may end a message
    line.write(b"".join(_LEFT + bytes((value,)) + _RIGHT for value in wanted)).addErrback(
        lambda _: None
    )
    came = bytearray()
    try:
        while len(came) < 1 << 16:
            came += await line.receive(max(_QUIET, 3 * line.trip))
            if came.endswith(_RIGHT) and len(_found(line, came)) == len(wanted):
                break
    except Ended:
        pass
    results = _found(line, came)
    if len(results) != len(wanted):
        return {}
    return {
        value: result
        for value, result in zip(wanted, results, strict=True)
        if result != bytes((value,))
    }


def _found(line: Line, came: bytearray) -> list[bytes]:
    return _FOUND.findall(line.mark.strip(bytes(came)))


def _described(changed: dict[int, bytes], failed: Failed) -> Failed:
    count = f"{len(changed)} of 256 values do not come back as they went"
    finding, facts = f"{count}: {_named(changed)}", {"changed": _facts(changed)}
    return Failed(finding, _cause(changed), failed.fault, facts)


def _facts(changed: dict[int, bytes]) -> dict[str, str]:
    return {f"{value:02x}": came.hex() for value, came in changed.items()}


def _named(changed: dict[int, bytes]) -> str:
    named = [
        f"0x{value:02x} comes as {came.hex(' ') or 'nothing'}"
        for value, came in list(changed.items())[:_NAMED]
    ]
    more = f", and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    return f"{', '.join(named)}{more}"


def _cause(changed: dict[int, bytes]) -> str:
    """What is known to do just that."""
    for explains, words in _KNOWN:
        if all(explains(value, came) for value, came in changed.items()):
            return words
    return "something between, or the server, takes the bytes for text or for commands"


_KNOWN: tuple[tuple[Callable[[int, bytes], bool], str], ...] = (
    (
        lambda _, came: b"\xef\xbf\xbd" in came,
        "the bytes are decoded as UTF-8 on the way or by the server (--encoding utf-8)",
    ),
    (
        lambda value, came: came == bytes((value & 0x7F,)),
        "the eighth bit of each byte is taken off: something between is made for 7-bit text",
    ),
    (lambda value, came: value == 10 and came == b"\r\n", "line ends are translated on the way"),
    (lambda value, came: value == 13 and came != b"\r", "line ends are translated on the way"),
    (
        lambda value, came: value == 255 and came == b"\xff\xff",
        "0xff is doubled: something between speaks Telnet",
    ),
    (
        lambda value, came: value in (0x11, 0x13) and not came,
        "XON and XOFF are taken out: something between is made for serial lines",
    ),
    (
        lambda value, came: value == 0 and not came,
        "NUL is taken out: something between takes it for an end",
    ),
    (
        lambda value, came: came == bytes((value,)).decode("latin-1").encode(),
        "Latin-1 is turned into UTF-8 on the way",
    ),
    (
        lambda value, came: came.lower() == bytes((value,)).lower(),
        "letters are turned into small or capital ones",
    ),
)
