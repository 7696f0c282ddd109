"""What is known to change values of bytes, by which ones it changes to what."""

from __future__ import annotations

from codecs import encode
from collections.abc import Callable, Mapping

#: What each value, or pair of values, that is changed comes back as.
Changes = Mapping[bytes, bytes]

#: How many changes a sentence lists.
_MAX_LISTED = 3
_REPLACED = "�".encode()
#: So many values that come as one other value each are translated by a table.
_TABLE = 20
_TRANSLATED = "bytes are translated by a table, as between character sets (EBCDIC), or encrypted"
_LINE_ENDS = {b"\n": "LF", b"\r": "CR", b"\r\n": "CR LF"}


def apply_changes(changes: Changes, data: bytes) -> bytes:
    """Return what ``data`` comes back as."""
    pieces, place = [], 0
    while place < len(data):
        size = 2 if data[place : place + 2] in changes else 1
        piece = data[place : place + size]
        pieces.append(changes.get(piece, piece))
        place += size
    return b"".join(pieces)


def list_changes(changes: Changes) -> str:
    """Return how many values are changed, and the first of them."""
    values = [value for value in changes if len(value) == 1]
    listed = [
        f"{_name(value)} comes as {came.hex(' ') or 'nothing'}"
        for value, came in list(changes.items())[:_MAX_LISTED]
    ]
    more = f", and {len(changes) - _MAX_LISTED} more" if len(changes) > _MAX_LISTED else ""
    changed = f"{', '.join(listed)}{more}"
    if not values:
        return f"all values come back as they were sent, but not as pairs: {changed}"
    if len(values) == 1:
        return f"1 of 256 values does not come back as it was sent: {changed}"
    return f"{len(values)} of 256 values do not come back as they were sent: {changed}"


def _name(value: bytes) -> str:
    return f"0x{value.hex()}" if len(value) == 1 else value.hex(" ")


def explain_changes(changes: Changes) -> str:
    """Return what is known to make just these changes."""
    for explains, words in _KNOWN:
        if all(explains(value, came) for value, came in changes.items()):
            return words
    if len(changes) >= _TABLE and all(len(came) == 1 for came in changes.values()):
        return _TRANSLATED
    reasons = [_first_reason(value, came) for value, came in changes.items()]
    distinct = list(dict.fromkeys(reasons))
    if "" in distinct or len(distinct) > _MAX_LISTED:
        return "a middlebox, or the server, interprets the bytes as text or as commands"
    return "; ".join(distinct)


def _first_reason(value: bytes, came: bytes) -> str:
    return next((words for explains, words in _KNOWN if explains(value, came)), "")


def is_decoding(came: bytes) -> bool:
    """Return whether this stands for bytes that were no UTF-8 where they were decoded."""
    return _REPLACED in came


_KNOWN: tuple[tuple[Callable[[bytes, bytes], bool], str], ...] = (
    (
        lambda _, came: is_decoding(came),
        "the bytes are decoded as UTF-8 on the path or by the server (--encoding utf-8)",
    ),
    (
        lambda value, came: value in _LINE_ENDS and not came.strip(b"\r\n"),
        "line ends are translated on the path, or by the server",
    ),
    (
        lambda value, came: came == bytes((value[0] & 0x7F,)),
        "the eighth bit of each byte is cleared: a middlebox carries 7-bit text only",
    ),
    (
        lambda value, came: value == b"\xff" and came == b"\xff\xff",
        "0xff is doubled: a middlebox speaks Telnet",
    ),
    (
        lambda value, came: value == b"\r" and came == b"\r\0",
        "NUL is added to CR: a middlebox speaks Telnet",
    ),
    (
        lambda value, came: value in (b"\x11", b"\x13") and not came,
        "XON and XOFF are removed: a middlebox is made for serial lines",
    ),
    (
        lambda value, came: value == b"\0" and not came,
        "NUL is removed: a middlebox takes it for the end of a string",
    ),
    (
        lambda value, came: came == value.decode("latin-1").encode(),
        "Latin-1 is converted to UTF-8 on the path",
    ),
    (
        lambda value, came: came.lower() == value.lower(),
        "letters are changed to upper or lower case",
    ),
    (
        lambda value, came: came == encode(value.decode("latin-1"), "rot13").encode("latin-1"),
        "letters are moved by 13 places in the alphabet (ROT13)",
    ),
)
