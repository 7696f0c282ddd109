"""Which value each byte comes back as, where not all come back as they were sent."""

from __future__ import annotations

from string import ascii_lowercase

from echosvc.probe.causes.known_mappings import (
    Changes,
    apply_changes,
    explain_changes,
    list_changes,
)
from echosvc.probe.causes.marked_messages import MarkedMessages
from echosvc.probe.causes.registry import Cause, cause
from echosvc.probe.causes.translation import find_translation
from echosvc.probe.engine.fault import Fault, FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.path import Path
from echosvc.wire.compare import common_prefix_length

#: So many values are changed where bytes are decoded as text.
_MANY = 64
#: Where bytes are changed, or a stream is wrong in so many places, so many connections are asked:
#: they may be to different servers.
_SEVERAL, _TRIES = 3, 8
#: Of so many values it is found out whether what follows them in a message is lost.
_MAX_CUTTING = 8
#: The most bytes that are shown of what a value comes back as.
_MAX_CONTENT = 16


@cause(order=10, seconds=6.0)
async def explain_by_mapping(path: Path, failed: Failed) -> Cause | None:
    """Return that the path never carries the value of the byte that is wrong.

    A stream with such a byte cannot come back right, whatever else a path does to it.
    """
    fault = failed.fault
    if fault is None or "changed" in failed.facts:  # it is explained already
        return None
    if fault.kind is FaultKind.CUT and not 0 < fault.length <= len(fault.expected):
        return None
    for number in range(_TRIES if _befalls_values(fault) else 1):
        changes = await find_changes(path)
        path.close()
        if explains(changes, fault):
            note_changes(path, changes)
            but = "; not on every connection" if number else ""
            words = f"{list_changes(changes)}{but}", explain_changes(changes)
            return Cause("bytes", *words, change_facts(changes), avoidable=True)
    return None


def _befalls_values(fault: Fault) -> bool:
    """Return whether a fault may be one of certain values wherever they stand."""
    return fault.kind is FaultKind.CHANGED or fault.count >= _SEVERAL


def explains(changes: Changes, fault: Fault) -> bool:
    """Return whether changes of values predict what came at a fault."""
    if fault.kind is FaultKind.CUT:  # the last bytes are held back, or come as nothing
        rest = fault.expected[: fault.length]
        return 0 < fault.length == len(rest) and all(bytes((value,)) in changes for value in rest)
    if len(changes) >= _MANY and fault.expected[:1] in changes:
        return True  # of a decoder: what comes of a byte depends on its neighbours
    came, agreed = fault.before + fault.seen, common_prefix_length(fault.expected, fault.seen)
    # Before the fault everything came as it was sent, but perhaps there is more of the last byte.
    places = {len(fault.before), max(0, len(fault.before) - 1)}
    sent = fault.before + fault.expected
    predicted = (sent[:place] + apply_changes(changes, sent[place:]) for place in places)
    least = len(fault.before) + agreed
    return any(common_prefix_length(each, came) > least for each in predicted)


def note_changes(path: Path, changes: Changes) -> None:
    """Note what later payloads must not contain."""
    knowledge = path.context.knowledge
    knowledge.changed_values |= {
        value[0]: came for value, came in changes.items() if len(value) == 1
    }
    knowledge.changed_pairs |= {value: came for value, came in changes.items() if len(value) > 1}


def change_facts(changes: Changes) -> dict[str, dict[str, str]]:
    """Return changes for programs, hexadecimal."""
    return {"changed": {value.hex(): came.hex() for value, came in changes.items()}}


async def find_changes(path: Path, backwards: bool = False) -> dict[bytes, bytes]:
    """Return what each value that changes comes back as; none, if that cannot be found out.

    Each value is sent by itself between letters, and CR LF as a pair. Where the letters do not come
    back, all values are sent without.

    :param backwards: the values are sent in the reverse order, so each is in another place.
    :raises Failed: there is no connection.
    """
    known: dict[bytes, bytes] = {}
    for letters in (ascii_lowercase, ascii_lowercase[::-1]):  # the path may change some of them
        values, came = await _ask_for_values(path, letters, backwards)
        path.close()
        known = {**came, **known}
        if len(known) == len(values):
            break
    if not known:
        return await find_translation(path)
    return _without_pairs_of_values({each: came for each, came in known.items() if each != came})


async def _ask_for_values(
    path: Path, letters: str, backwards: bool
) -> tuple[list[bytes], dict[bytes, bytes]]:
    """Return which values were sent, with marks of these letters, and what each came back as."""
    connection = await path.open()
    framing, reserved = path.settings.framing, connection.prefix_matcher.boundary_bytes
    numbers = reversed(range(256)) if backwards else range(256)
    values = [bytes((value,)) for value in numbers if value not in reserved + b"\n"]
    if framing != "line":
        values += [b"\n", b"\r\n"]  # the last ones: LF may end a message
    try:
        marked = MarkedMessages(framing, reserved, letters)
    except ValueError:
        return values, {}
    known: dict[bytes, bytes] = {}
    left = values
    for _ in range(_MAX_CUTTING):
        messages = [marked.mark(place) + value + marked.end for place, value in enumerate(left)]
        found = marked.between(await marked.exchange(connection, messages))
        known |= read_contents(left, found, marked.end)
        last = max(found, default=len(left))
        if last == len(left) or not await _is_cutting(path, marked, left[last]):
            break
        known[left[last]] = b""
        path.context.knowledge.cutting |= set(left[last])
        left = left[last + 1 :]
        connection = await path.open()
    return values, known


async def _is_cutting(path: Path, marked: MarkedMessages, value: bytes) -> bool:
    """Return whether what follows a value in a message is lost, and the value too."""
    connection = await path.open()
    whole = await marked.exchange_one(connection, marked.mark(0) + marked.end)
    came = await marked.exchange_one(connection, marked.mark(0) + value + marked.end)
    lost = marked.between(came).get(0, marked.end)
    return marked.between(whole).get(0) == marked.end and not lost


def read_contents(values: list[bytes], found: dict[int, bytes], end: bytes) -> dict[bytes, bytes]:
    """Return what values came back as, as far as that is known.

    :param found: what came behind the mark of each value, if its mark came.
    :param end: the letter that was sent behind each value.
    """
    if sum(end in content.lower() for content in found.values()) < len(found) / 2:
        return {}  # that letter is changed, too
    known = {}
    for place, value in enumerate(values):
        came = _read_content(value, found.get(place), end, place + 1 in found)
        if came is not None:
            known[value] = came
    return known


def _read_content(value: bytes, found: bytes | None, end: bytes, followed: bool) -> bytes | None:
    """Return what a value came back as; ``None``: it is not known.

    :param followed: the next mark came. Otherwise the content may have been cut, or other contents
        follow it.
    """
    if found is None:
        return None
    lower, sent = found.lower(), (value + end).lower()
    if not followed and sent.startswith(lower):
        return None
    if not followed and lower.startswith(sent):
        return value
    last = lower.rfind(end) if followed else lower.find(end)
    return found[:last] if last >= 0 else found[:_MAX_CONTENT]


def _without_pairs_of_values(changes: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return changes without a pair of which each byte comes as it does alone."""
    singles = {value: came for value, came in changes.items() if len(value) == 1}
    return {
        value: came
        for value, came in changes.items()
        if len(value) == 1 or apply_changes(singles, value) != came
    }
