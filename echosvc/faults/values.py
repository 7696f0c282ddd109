"""The values of faults: how each is read from text, checked, and written back."""

from __future__ import annotations

import ast
import math
import re
from decimal import Decimal
from typing import Any

from echosvc._text import quote
from echosvc.config.networks import NetworkError, Networks

#: The longest time, seconds: thirty days.
LONGEST_TIME = 30 * 86400.0
#: The last offset in a stream.
LAST_OFFSET = 1 << 62
#: The longest block of bytes that a fault keeps in memory.
LONGEST_BLOCK = 1 << 24

_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
_TIME = re.compile(rf"({_NUMBER})(us|µs|ms|s|m|h|)", re.ASCII)
_SCALES = {"us": "1e-6", "µs": "1e-6", "ms": "1e-3", "": "1", "s": "1", "m": "60", "h": "3600"}
_WHOLE = re.compile(r"([0-9]{1,19})([kKmMgG]?)", re.ASCII)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SHARE = re.compile(rf"({_NUMBER})(%?)", re.ASCII)


class ValueKind:
    """The values that a parameter takes.

    :cvar placeholder: stands for the value in a reference.
    :ivar expected: what a value must be, for messages.
    """

    placeholder = "TEXT"
    expected = ""

    def read(self, text: str) -> Any:
        """Return the value that a text means.

        :raises ValueError: it means none; says what it must be.
        """
        raise NotImplementedError

    def is_valid(self, value: object) -> bool:
        """Return whether a value of Python is of this kind."""
        raise NotImplementedError

    def write(self, value: Any) -> str:
        """Return the shortest text that :meth:`read` reads as this value."""
        raise NotImplementedError

    def normalized(self, value: Any) -> Any:
        """Return a valid value in the one form that :meth:`read` returns."""
        return value

    def checked(self, value: object) -> Any:
        """Return a value that may be given as text.

        :raises ValueError: it is of another kind; says what it must be.
        """
        if isinstance(value, str):
            value = self.read(value)
        if not self.is_valid(value):
            raise self.error(value)
        return self.normalized(value)

    def error(self, value: object) -> ValueError:
        """Return the error for a value of another kind."""
        shown = quote(value) if isinstance(value, (str, bytes)) else repr(value)[:60]
        return ValueError(f"must be {self.expected}, not {shown}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Time(ValueKind):
    """A time, seconds as a float.

    :param endless: whether ``forever`` is allowed, ``math.inf``.
    :param least: the shortest time is above 0, else 0.
    """

    placeholder = "TIME"

    def __init__(self, endless: bool = False, positive: bool = False) -> None:
        self._endless, self._positive = endless, positive
        least = "more than 0, " if positive else ""
        also = ", or forever" if endless else ""
        self.expected = f"a time such as 1.5s, 500ms or 10m, {least}at most 30 days{also}"

    def read(self, text: str) -> float:
        """Read a number of seconds, or one with a unit."""
        if text == "forever" and self._endless:
            return math.inf
        match = _TIME.fullmatch(text)
        if match is None:
            raise self.error(text)
        return float(Decimal(match[1]) * Decimal(_SCALES[match[2]]))

    def is_valid(self, value: object) -> bool:
        """Return whether it is a number within the limits."""
        if not _is_number(value):
            return False
        seconds = float(value)  # type: ignore[arg-type]  # just checked
        if seconds == math.inf:
            return self._endless
        least = math.ulp(0.0) if self._positive else 0.0
        return least <= seconds <= LONGEST_TIME

    def normalized(self, value: Any) -> float:
        """Return it as a float that is not -0."""
        return float(value) + 0.0

    def write(self, value: float) -> str:
        """Write milliseconds below one second, if they are exact; else seconds."""
        if value == math.inf:
            return "forever"
        short = f"{value * 1000:g}ms"
        if 0.001 <= value < 1 and self.read(short) == value:
            return short
        whole = f"{value:g}s"
        return whole if self.read(whole) == value else f"{value!r}s"


class Size(ValueKind):
    """A number of bytes, from ``least`` to ``most``; text may have a unit of powers of 1024."""

    placeholder = "BYTES"

    def __init__(self, least: int = 0, most: int = LAST_OFFSET, noun: str = "bytes") -> None:
        self._least, self._most = least, most
        self.expected = f"a number of {noun} such as 1000 or 64k, {_range(least, most)}"

    def read(self, text: str) -> int:
        """Read digits and a unit."""
        match = _WHOLE.fullmatch(text)
        if match is None:
            raise self.error(text)
        return int(match[1]) * _UNITS[match[2].lower()]

    def is_valid(self, value: object) -> bool:
        """Return whether it is a whole number within the limits."""
        return type(value) is int and self._least <= value <= self._most

    def write(self, value: int) -> str:
        """Write it with the largest unit that shows it exactly."""
        for unit in "gmk":
            if value and value % _UNITS[unit] == 0:
                return f"{value // _UNITS[unit]}{unit.upper() if unit != 'k' else unit}"
        return str(value)


class Count(Size):
    """A number of things, from ``least`` on."""

    placeholder = "N"

    def __init__(self, least: int = 1, most: int = 10**9) -> None:
        super().__init__(least, most)
        self.expected = f"a whole number, {_range(least, most)}"

    def read(self, text: str) -> int:
        """Read digits."""
        match = _WHOLE.fullmatch(text)
        if match is None or match[2]:
            raise self.error(text)
        return int(match[1])

    def write(self, value: int) -> str:
        """Write the digits."""
        return str(value)


def _range(least: int, most: int) -> str:
    return f"at least {least}" if most == LAST_OFFSET else f"from {least} to {most}"


class Share(ValueKind):
    """A part of all, as a float above 0 and at most 1; text may be in percent."""

    placeholder = "SHARE"
    expected = "a share such as 0.25 or 25%, more than 0 and at most 1"

    def read(self, text: str) -> float:
        """Read a number, or percent."""
        match = _SHARE.fullmatch(text)
        if match is None:
            raise self.error(text)
        return float(Decimal(match[1]) / (100 if match[2] else 1))

    def is_valid(self, value: object) -> bool:
        """Return whether it is a number within the limits."""
        return _is_number(value) and 0 < float(value) <= 1  # type: ignore[arg-type]

    def normalized(self, value: Any) -> float:
        """Return it as a float."""
        return float(value)

    def write(self, value: float) -> str:
        """Write the number."""
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)


class Word(ValueKind):
    """One of several words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.placeholder = "|".join(words)
        self.expected = f"one of {', '.join(words)}" if words[1:] else words[0]

    def read(self, text: str) -> str:
        """Read the word."""
        if text not in self.words:
            raise self.error(text)
        return text

    def is_valid(self, value: object) -> bool:
        """Return whether it is one of the words."""
        return isinstance(value, str) and value in self.words

    def write(self, value: str) -> str:
        """Write the word."""
        return value


class Data(ValueKind):
    r"""Bytes, at least one. As text they are UTF-8 with the escapes ``\n \r \t \\ \xHH``.

    A comma is written ``\x2c``: it ends the value.
    """

    placeholder = "DATA"
    expected = r"text of at least one byte, in which \n \r \t \\ and \xHH are bytes"
    _ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[nrt\\]|.?)", re.DOTALL)
    _PLAIN = frozenset(b" !\"#$%&'()*+-./:;<=>?@[]^_`{|}~") | frozenset(
        b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    )

    def read(self, text: str) -> bytes:
        """Read the text and its escapes."""
        try:
            raw = text.encode()
        except UnicodeEncodeError:
            raise self.error(text) from None
        if not raw or any(not _is_escape(each) for each in self._ESCAPE.findall(raw)):
            raise self.error(text)
        return self._ESCAPE.sub(lambda found: _unescape(found[0]), raw)

    def is_valid(self, value: object) -> bool:
        """Return whether it is bytes, at least one and not too many."""
        return isinstance(value, bytes) and 0 < len(value) <= LONGEST_BLOCK

    def write(self, value: bytes) -> str:
        """Write printable ASCII as it is, and all else as escapes."""
        return "".join(chr(byte) if byte in self._PLAIN else _escape(byte) for byte in value)


def _is_escape(text: bytes) -> bool:
    return len(text) == 3 or text in (b"n", b"r", b"t", b"\\")


def _unescape(text: bytes) -> bytes:
    value: bytes = ast.literal_eval(f"b'{text.decode('ascii')}'")
    return value


def _escape(byte: int) -> str:
    short = {10: "\\n", 13: "\\r", 9: "\\t", 92: "\\\\"}
    return short.get(byte) or f"\\x{byte:02x}"


class Peers(ValueKind):
    """Networks in CIDR notation, as a tuple of text; text separates them by ``+``."""

    placeholder = "NETWORK[+NETWORK...]"
    expected = "networks such as 10.0.0.0/8+2001:db8::/32"

    def read(self, text: str) -> tuple[str, ...]:
        """Read the networks."""
        return tuple(text.split("+"))

    def is_valid(self, value: object) -> bool:
        """Return whether it is a tuple or list of networks."""
        return isinstance(value, (tuple, list)) and len(value) > 0

    def checked(self, value: object) -> Any:
        """Return the networks as a tuple; the error says which is wrong."""
        networks = super().checked(value)
        try:
            Networks(networks)
        except NetworkError as error:
            raise ValueError(f"must be {self.expected}: {error}") from None
        return networks

    def normalized(self, value: Any) -> tuple[str, ...]:
        """Return them as a tuple."""
        return tuple(value)

    def write(self, value: tuple[str, ...]) -> str:
        """Write the networks."""
        return "+".join(value)
