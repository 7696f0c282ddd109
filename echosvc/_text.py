"""Text for people: escaped, quoted, on one line; counts, bytes, durations, and their numbers."""

from __future__ import annotations

import re

#: Longest part of a message that a log line shows, characters.
SHOWN = 200


def escaped(data: bytes | str, limit: int = SHOWN) -> str:
    """Quote ``data`` so that it is safe on a terminal and in a log, cut to ``limit``.

    Control characters and whatever else is not printable become escapes.
    """
    text = repr(data[:limit]).removeprefix("b")
    inner = text[1:-1] if text[0] == "'" else text[1:-1].replace("'", "\\'")
    if len(data) > limit or len(inner) > limit:
        inner = inner[: limit - 3] + "..."
    return f"'{inner}'"


#: Longest quotation in a sentence, characters.
_QUOTED = 60


def quote(data: bytes | str) -> str:
    """Return ``data`` quoted as by :func:`escaped`, short enough for a sentence."""
    return escaped(data, _QUOTED)


#: Longest line on standard error, characters.
LONGEST_LINE = 500


#: A byte that is not UTF-8, as Python shows it (PEP 383).
_BYTE = re.compile(r"(?<!\\)\\udc([89a-f][0-9a-f])")


def printable(text: str) -> str:
    """Return ``text`` with everything that could end the line or upset a terminal escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def one_line(text: str) -> str:
    """Return ``text`` as one printable line.

    The middle of a text longer than :data:`LONGEST_LINE` is left out.
    """
    text = _BYTE.sub(r"\\x\1", text)
    if len(text) > LONGEST_LINE:
        text = f"{text[: LONGEST_LINE // 2]} ... {text[-LONGEST_LINE // 2 :]}"
    return printable(text)


def read_whole(text: str, most: int = (1 << 63) - 1) -> int | None:
    """Return the number, from 0 to ``most``, that ASCII digits write; ``None``: it is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        return None
    number = int(text)
    return number if number <= most else None


#: Units of times in µs, and of bytes: what a number with the unit is multiplied by.
_TIME_UNITS = {"us": 1, "\u00b5s": 1, "\u03bcs": 1, "ms": 1e3, "s": 1e6, "m": 6e7, "h": 3.6e9}
BYTE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TIME = re.compile(
    rf"((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)({'|'.join(_TIME_UNITS)}|)", re.ASCII
)


def read_microseconds(text: str, unit: str = "") -> float | None:
    """Return the time, from 0 on, that a number and its unit write; ``None``: it is none.

    The units are ``us``, ``ms``, ``s``, ``m`` and ``h``.

    :param unit: the unit of a number that has none; "": each must have one.
    """
    match = _TIME.fullmatch(text)
    if match is None or not (match[2] or unit):
        return None
    return float(match[1]) * _TIME_UNITS[match[2] or unit]


def plural(count: int, noun: str) -> str:
    """Return a count and its noun, such as ``1 byte`` or ``2 bytes``."""
    return f"{count} {noun}" + "s" * (count != 1)


def format_bytes(size: int) -> str:
    """Return a number of bytes in the largest binary unit that shows it exactly.

    More than 1 MiB that is no multiple of it is rounded to a tenth.
    """
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size / (1 << 20):.1f} MiB" if size > 1 << 20 else plural(size, "byte")


def format_duration(seconds: float) -> str:
    """Return a time in µs, ms or s, with three significant digits where it is short."""
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"
